//! The figures of one run, and of the runs of one kind.
//!
//! Owns the names of the figures in the JSON object. Pure. A figure that could not be measured is `None`, which is null.

use super::meter::{Costs, Seen};
use crate::domain::bench::{Percentiles, median, rates};
use crate::store::bench::Account;
use serde::Serialize;

/// One run.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Run {
    /// Events on the topic, as the brokers confirmed them; without Kafka, rows handed to the writers.
    pub delivered: u64,
    /// Rows in the store.
    pub rows: u64,
    /// Dead letters in the store.
    pub dead_letters: u64,
    /// Offsets that nothing in the store accounts for.
    pub lost: u64,
    /// Rows and dead letters beyond one for each offset.
    pub doubled: u64,
    /// Seconds from the start of the process to the last moment without a row.
    pub start_s: Option<f64>,
    /// Seconds from then until all was stored; of latency, seconds of sending.
    pub seconds: Option<f64>,
    /// Rows and dead letters a second from the first to the last.
    pub rows_per_s: Option<f64>,
    /// The same from 10 to 90 % of them.
    pub steady_rows_per_s: Option<f64>,
    /// CPU seconds of drover per million events, from its start until the last one was seen stored.
    pub own_cpu_s_per_million: Option<f64>,
    /// Of these in user mode.
    pub own_cpu_user_s_per_million: Option<f64>,
    /// Of these in the kernel.
    pub own_cpu_system_s_per_million: Option<f64>,
    /// The same of the database's processes that serve drover.
    pub database_cpu_s_per_million: Option<f64>,
    /// The same of the whole database server: also its checkpoints, its vacuum and whoever else uses it.
    pub database_server_cpu_s_per_million: Option<f64>,
    /// The same of the broker.
    pub broker_cpu_s_per_million: Option<f64>,
    /// The same of this process, where it produces.
    pub producer_cpu_s_per_million: Option<f64>,
    /// Cores of the machine that were busy with anything else: what disturbed the run.
    pub other_cpu_cores: Option<f64>,
    /// Largest proportional set size of drover, in MB (1,000,000 bytes).
    pub peak_pss_mb: Option<f64>,
    /// Most memory that drover had resident, in MB.
    pub peak_rss_mb: Option<f64>,
    /// Transactions.
    pub transactions: u64,
    /// Rows in each of them.
    pub rows_per_transaction: Option<f64>,
    /// Bytes of write-ahead log that the server wrote meanwhile.
    pub wal_bytes: Option<u64>,
    /// Bytes that the clients of the live stream read together.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stream_bytes: Option<u64>,
    /// From the producer to the commit, in milliseconds.
    pub latency_ms: Option<Percentiles>,
    /// Events in it.
    pub latency_events: Option<u64>,
    /// What counts as the commit: `commit_timestamp`, or `stored_at`, the beginning of the transaction.
    pub latency_until: Option<&'static str>,
}

impl Run {
    /// The figures of a drain; `total` events in all, of which the samples tell the rates.
    #[must_use]
    pub fn of_drain(total: u64, seen: &Seen, costs: &Costs, transactions: u64, account: Account) -> Self {
        let mut run = Self { delivered: total, transactions, ..Self::default() };
        if let Some(rates) = rates(&seen.samples, total) {
            run.start_s = Some(round(rates.began_s));
            run.seconds = Some(round(rates.seconds));
            run.rows_per_s = Some(rates.rows_per_s.round());
            run.steady_rows_per_s = Some(rates.steady_rows_per_s.round());
        }
        run.peak_pss_mb = seen.peak_pss_bytes.map(megabytes);
        run.account(account);
        run.costs(costs);
        run
    }

    /// Fills in what is stored.
    pub fn account(&mut self, account: Account) {
        let stored = account.rows + account.dead_letters;
        self.rows = account.rows;
        self.dead_letters = account.dead_letters;
        self.lost = self.delivered.saturating_sub(account.distinct);
        // More offsets than were delivered would be rows from nowhere.
        self.doubled = stored - account.distinct.min(self.delivered);
        let transactions = self.transactions;
        self.rows_per_transaction = (transactions > 0).then(|| round(account.rows as f64 / transactions as f64));
    }

    /// Fills in what was spent.
    pub fn costs(&mut self, costs: &Costs) {
        let delivered = self.delivered;
        let per_million = |seconds: f64| per_million(seconds, delivered);
        self.own_cpu_s_per_million = costs.own.map(|cpu| per_million(cpu.total_s()));
        self.own_cpu_user_s_per_million = costs.own.map(|cpu| per_million(cpu.user_s));
        self.own_cpu_system_s_per_million = costs.own.map(|cpu| per_million(cpu.system_s));
        self.database_cpu_s_per_million = costs.backends_s.map(per_million);
        self.database_server_cpu_s_per_million = costs.server_s.map(per_million);
        self.broker_cpu_s_per_million = costs.broker_s.map(per_million);
        self.peak_rss_mb = costs.peak_resident_bytes.map(megabytes);
        self.wal_bytes = costs.wal_bytes;
        self.other_cpu_cores = costs.other_cores.map(round);
    }

    /// Whether everything was stored once.
    #[must_use]
    pub fn is_exact(&self) -> bool {
        self.lost == 0 && self.doubled == 0
    }
}

/// CPU seconds as they would be for a million events.
#[must_use]
pub fn per_million(seconds: f64, events: u64) -> f64 {
    round(seconds * 1e6 / events.max(1) as f64)
}

fn megabytes(bytes: u64) -> f64 {
    (bytes as f64 / 1e5).round() / 10.0
}

/// Three decimals: more would be noise.
#[must_use]
pub fn round(value: f64) -> f64 {
    (value * 1e3).round() / 1e3
}

/// What clients of the live stream cost, from pairs of runs without and with them.
#[derive(Debug, Clone, Serialize)]
pub struct StreamCost {
    /// How many there were.
    pub clients: u32,
    /// CPU seconds of drover per million events that they added: the median of the pairs.
    pub added_own_cpu_s_per_million: Option<f64>,
    /// Of each pair.
    pub pairs: Vec<f64>,
    /// The runs without them.
    pub without: Runs,
}

impl StreamCost {
    /// From the runs without them and those with them, in pairs.
    #[must_use]
    pub fn new(clients: u32, without: Runs, with: &Runs) -> Self {
        let added =
            |(without, with): (&Run, &Run)| Some(round(with.own_cpu_s_per_million? - without.own_cpu_s_per_million?));
        let pairs: Vec<f64> = without.runs.iter().zip(&with.runs).filter_map(added).collect();
        let added_own_cpu_s_per_million = median(&pairs).and_then(|at| pairs.get(at).copied());
        Self { clients, added_own_cpu_s_per_million, pairs, without }
    }
}

/// The runs of one kind, the median among them.
#[derive(Debug, Clone, Serialize)]
pub struct Runs {
    /// Those of the median run.
    #[serde(flatten)]
    pub figures: Run,
    /// Which of `runs` these figures are, from 0.
    pub median_run: usize,
    /// All runs, in their order.
    pub runs: Vec<Run>,
}

impl Runs {
    /// `None` of no runs.
    #[must_use]
    pub fn new(runs: Vec<Run>) -> Option<Self> {
        let value = |run: &Run| match (run.latency_ms, run.steady_rows_per_s) {
            (Some(latency), _) => latency.p99,
            (None, rate) => rate.unwrap_or_default(),
        };
        let median_run = median(&runs.iter().map(value).collect::<Vec<_>>())?;
        Some(Self { figures: runs.get(median_run)?.clone(), median_run, runs })
    }

    /// The steady rate of the median run.
    #[must_use]
    pub fn steady(&self) -> Option<f64> {
        self.figures.steady_rows_per_s
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a missing value is the failure of the test")]
    use super::*;

    fn stored(delivered: u64, account: Account) -> (u64, u64) {
        let mut run = Run { delivered, ..Run::default() };
        run.account(account);
        (run.lost, run.doubled)
    }

    #[test]
    fn lost_and_doubled_do_not_hide_each_other() {
        assert_eq!(stored(10, Account { rows: 8, dead_letters: 2, distinct: 10 }), (0, 0));
        assert_eq!(stored(10, Account { rows: 8, dead_letters: 1, distinct: 9 }), (1, 0));
        assert_eq!(stored(10, Account { rows: 10, dead_letters: 0, distinct: 9 }), (1, 1));
        assert_eq!(stored(10, Account { rows: 11, dead_letters: 0, distinct: 11 }), (0, 1));
    }

    #[test]
    fn what_clients_cost_is_the_median_of_the_pairs() {
        let runs = |costs: [f64; 3]| {
            let run = |cost| Run { own_cpu_s_per_million: Some(cost), ..Run::default() };
            Runs::new(costs.map(run).to_vec()).unwrap()
        };
        let cost = StreamCost::new(20, runs([1.0, 2.0, 3.0]), &runs([1.05, 2.5, 3.01]));
        assert_eq!((cost.added_own_cpu_s_per_million, cost.pairs), (Some(0.05), vec![0.05, 0.5, 0.01]));
    }

    #[test]
    fn the_median_run_is_by_rate_and_of_latency_by_p99() {
        let rate = |rate| Run { steady_rows_per_s: Some(rate), ..Run::default() };
        let runs = Runs::new(vec![rate(3.0), rate(1.0), rate(2.0)]).unwrap();
        assert_eq!((runs.median_run, runs.figures.steady_rows_per_s), (2, Some(2.0)));
        let latency = |p99| {
            let latency = Percentiles { p50: 1.0, p90: 1.0, p99, p999: 9.0, max: 9.0 };
            Run { latency_ms: Some(latency), steady_rows_per_s: Some(p99), ..Run::default() }
        };
        assert_eq!(Runs::new(vec![latency(8.0), latency(2.0), latency(4.0)]).unwrap().median_run, 2);
        assert!(Runs::new(Vec::new()).is_none());
    }
}
