//! The history: one look at the process each second, from which rates, ages and trends follow.
//!
//! Owns the looks of the last hour (`domain/history.rs`) and the ends of partitions over time (`domain/end_times.rs`). Bound:
//! those of both, for the consumers and partitions of the last minutes. A look costs what the board's own entries cost, and
//! never waits for anything but the board's locks. Cannot fail.

mod counts;
pub mod snapshot;

use self::counts::{Counts, Window};
use self::snapshot::{ConsumerView, Memory, PartitionView, Rates, Snapshot, StreamView, Totals, Writers};
use crate::board::Board;
use crate::domain::audit::AuditResult;
use crate::domain::end_times::EndTimes;
use crate::domain::group::ReplicaState;
use crate::domain::history::{History, HistoryView, Point, time_to_zero_s};
use crate::domain::limiting::Load;
use crate::domain::status::{ChildKind, ChildStatus, ConsumerStatus, PartitionStatus};
use crate::metrics::Metrics;
use rustix::time::{ClockId, clock_gettime};
use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Looks over which the rates of a snapshot are told: one second alone jumps.
const RATE_LOOKS: usize = 4;
/// Looks over which load is told: batches of a second or two must not change the answer.
const LOAD_LOOKS: usize = 10;
/// How long the ends of a partition are kept that nobody of this process owns: it may come back after a rebalance.
const KEEP_ENDS_MS: i64 = 600_000;

/// See the module.
pub struct Sampler {
    board: Arc<Board>,
    metrics: Metrics,
    cores: f64,
    past: Mutex<Past>,
}

/// The ends of a partition, and when it was owned last.
#[derive(Default)]
struct Ends {
    times: EndTimes,
    seen_ms: i64,
}

/// What earlier looks left.
#[derive(Default)]
struct Past {
    counts: Counts,
    consumed: Window,
    stored: Window,
    dead_letters: Window,
    errors: Window,
    bytes: Window,
    by_consumer: BTreeMap<String, Window>,
    ends: HashMap<String, HashMap<i32, Ends>>,
    busy: Window,
    batches: Window,
    rows: Window,
    cpu: Window,
    history: History,
    latest: Option<Arc<Snapshot>>,
}

impl Sampler {
    /// Nothing was looked at yet.
    #[must_use]
    pub fn new(board: Arc<Board>, metrics: Metrics) -> Self {
        let cores = std::thread::available_parallelism().map_or(1.0, |cores| cores.get() as f64);
        Self { board, metrics, cores, past: Mutex::default() }
    }

    /// The last look; makes the first one.
    #[must_use]
    pub fn latest(&self, now_ms: i64) -> Arc<Snapshot> {
        let latest = self.past().latest.clone();
        latest.unwrap_or_else(|| self.look(now_ms))
    }

    /// The last minutes.
    #[must_use]
    pub fn history(&self, minutes: u32) -> HistoryView {
        self.past().history.view(minutes)
    }

    /// Looks. To be called once a second.
    pub fn look(&self, now_ms: i64) -> Arc<Snapshot> {
        let board = &self.board;
        let (children, statuses) = (board.children(), board.consumers());
        let past = &mut *self.past();
        let identity = board.identity();
        past.counts.look(&self.metrics, &children, &identity.topics);
        let consumers = past.consumers(now_ms, &children, statuses);
        past.ends.retain(|_, partitions| {
            partitions.retain(|_, ends| now_ms - ends.seen_ms < KEEP_ENDS_MS);
            !partitions.is_empty()
        });
        let totals = past.totals(board, &children, &consumers);
        let partitions = || consumers.iter().flat_map(|consumer| &consumer.partitions);
        let lag = sum(partitions().map(|partition| partition.status.lag));
        let lag_seconds = oldest(partitions());
        past.push(now_ms, &totals, lag, lag_seconds, &consumers);
        let lag_trend_per_s = past.history.lag_trend_per_s();
        let breaker = board.breaker();
        let writers = Writers {
            busy: self.metrics.queue_depth.with_label_values(&["writers"]).get(),
            count: self.metrics.queue_capacity.with_label_values(&["writers"]).get(),
        };
        self.push_load(past, now_ms, writers);
        let behind = consumers.iter().filter(|consumer| consumer.lag != Some(0)).count();
        let load = Load {
            store_away: breaker.open,
            lag,
            lag_held: consumers.iter().map(lag_held).sum(),
            per_s: past.stored.rate() + past.dead_letters.rate(),
            writers_busy: past.busy.mean(),
            rows_per_batch: past
                .rows
                .change()
                .zip(past.batches.change())
                .and_then(|(rows, batches)| (batches > 0.0).then(|| rows / batches)),
            cores_used: past.cpu.rate(),
            cores: self.cores.min(behind as f64),
        };
        let snapshot = Arc::new(Snapshot {
            now_ms,
            version: identity.version,
            replica_id: identity.replica_id,
            group: identity.group,
            topics: identity.topics,
            store: identity.store,
            started_at_ms: board.started_at_ms(),
            draining: board.draining(),
            readiness: board.readiness(),
            breaker,
            audit: board.audit().map(unclean),
            replicas: board
                .group()
                .map(|group| group.replicas.iter().filter(|replica| replica.state == ReplicaState::Alive).count()),
            totals,
            rates: past.rates(),
            lag,
            lag_seconds,
            lag_trend_per_s,
            time_to_zero_s: time_to_zero_s(lag, lag_trend_per_s),
            limiting_stage: load.limiting_stage(),
            writers,
            memory: Memory {
                used_bytes: self.metrics.memory_reserved_bytes.get(),
                limit_bytes: self.metrics.memory_limit_bytes.get(),
            },
            consumers,
            children: children.to_vec(),
            stream: StreamView {
                clients: self.metrics.stream_clients.get(),
                dropped: self.metrics.stream_dropped_events.get(),
            },
        });
        past.latest = Some(Arc::clone(&snapshot));
        snapshot
    }

    fn push_load(&self, past: &mut Past, now_ms: i64, writers: Writers) {
        let busy = if writers.count > 0 { (writers.busy as f64 / writers.count as f64).min(1.0) } else { 0.0 };
        past.busy.push(now_ms, busy, LOAD_LOOKS);
        let rows = &self.metrics.store_batch_rows;
        past.batches.push(now_ms, rows.get_sample_count() as f64, LOAD_LOOKS);
        past.rows.push(now_ms, rows.get_sample_sum(), LOAD_LOOKS);
        let cpu = clock_gettime(ClockId::ProcessCPUTime);
        past.cpu.push(now_ms, cpu.tv_sec as f64 + cpu.tv_nsec as f64 / 1e9, LOAD_LOOKS);
    }

    fn past(&self) -> MutexGuard<'_, Past> {
        self.past.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Past {
    /// Every consumer that either side knows: one that has not said anything yet shows zeros.
    fn consumers(&mut self, now_ms: i64, children: &[ChildStatus], statuses: Vec<ConsumerStatus>) -> Vec<ConsumerView> {
        let mut said: BTreeMap<String, ConsumerStatus> =
            statuses.into_iter().map(|status| (status.id.clone(), status)).collect();
        let mut all = Vec::new();
        for child in children.iter().filter(|child| child.kind == ChildKind::Consumer) {
            let silent = || ConsumerStatus { id: child.id.clone(), ..ConsumerStatus::default() };
            let status = said.remove(&child.id).unwrap_or_else(silent);
            all.push(self.consumer(now_ms, status, Some(child)));
        }
        all.extend(said.into_values().map(|status| self.consumer(now_ms, status, None)).collect::<Vec<_>>());
        self.by_consumer.retain(|id, _| all.iter().any(|consumer| consumer.id == *id));
        all
    }

    fn consumer(&mut self, now_ms: i64, status: ConsumerStatus, child: Option<&ChildStatus>) -> ConsumerView {
        let stored = match self.by_consumer.get_mut(&status.id) {
            Some(stored) => stored,
            None => self.by_consumer.entry(status.id.clone()).or_default(),
        };
        stored.push(now_ms, status.stored as f64, RATE_LOOKS);
        let stored_per_s = stored.rate();
        let partitions: Vec<PartitionView> = status
            .partitions
            .into_iter()
            .map(|status| PartitionView { lag_seconds: self.lag_seconds(now_ms, &status), status })
            .collect();
        ConsumerView {
            state: child.map(|child| child.state),
            since_ms: child.map(|child| child.since_ms),
            restarts: child.map_or(0, |child| child.restarts),
            budget_left: child.map(|child| child.budget_left),
            next_start_ms: child.and_then(|child| child.next_start_ms),
            generation: child.map_or(0, |child| child.generation),
            stored: status.stored,
            dead_letters: status.dead_letters,
            duplicates: status.duplicates,
            errors: self.counts.errors_of(&status.id),
            stored_per_s,
            lag: sum(partitions.iter().map(|partition| partition.status.lag)),
            lag_seconds: oldest(partitions.iter()),
            held: status.held,
            last_exit: child.and_then(|child| child.last_exit.clone()),
            id: status.id,
            partitions,
        }
    }

    /// The age of the first record that is not stored. The ends of the log tell when it was written; for what was there
    /// before the first look, the record that was stored just before it does.
    fn lag_seconds(&mut self, now_ms: i64, status: &PartitionStatus) -> Option<f64> {
        let of_topic = match self.ends.get_mut(&status.topic) {
            Some(of_topic) => of_topic,
            None => self.ends.entry(status.topic.clone()).or_default(),
        };
        let ends = of_topic.entry(status.partition).or_default();
        ends.seen_ms = now_ms;
        let end = status.end_offset?;
        ends.times.observe(end, now_ms);
        ends.times.forget_below(status.next_offset);
        if end <= status.next_offset {
            return Some(0.0);
        }
        let written_ms = ends.times.written_ms(status.next_offset).or(status.newest_timestamp_ms)?;
        // Clocks differ.
        Some((now_ms - written_ms).max(0) as f64 / 1_000.0)
    }

    fn totals(&self, board: &Board, children: &[ChildStatus], consumers: &[ConsumerView]) -> Totals {
        let retired = board.retired();
        let all = |of: fn(&ConsumerView) -> u64| consumers.iter().map(of).sum::<u64>();
        Totals {
            consumed: self.counts.consumed(),
            stored: all(|consumer| consumer.stored) + retired.stored,
            dead_letters: all(|consumer| consumer.dead_letters) + retired.dead_letters,
            duplicates: all(|consumer| consumer.duplicates) + retired.duplicates,
            errors: self.counts.errors(),
            restarts: children.iter().map(|child| child.restarts).sum(),
        }
    }

    fn push(
        &mut self,
        now_ms: i64,
        totals: &Totals,
        lag: Option<i64>,
        lag_seconds: Option<f64>,
        consumers: &[ConsumerView],
    ) {
        self.consumed.push(now_ms, totals.consumed as f64, RATE_LOOKS);
        self.stored.push(now_ms, totals.stored as f64, RATE_LOOKS);
        self.dead_letters.push(now_ms, totals.dead_letters as f64, RATE_LOOKS);
        self.errors.push(now_ms, totals.errors as f64, RATE_LOOKS);
        self.bytes.push(now_ms, self.counts.bytes() as f64, RATE_LOOKS);
        let point = Point {
            all: [
                self.stored.last_rate(),
                self.dead_letters.last_rate(),
                self.errors.last_rate(),
                lag.map(|lag| lag as f64),
                lag_seconds,
            ],
            consumers: consumers
                .iter()
                .map(|consumer| {
                    let rate = self.by_consumer.get(&consumer.id).and_then(Window::last_rate);
                    (consumer.id.clone(), [rate, consumer.lag.map(|lag| lag as f64)])
                })
                .collect(),
        };
        self.history.push(now_ms, point);
    }

    fn rates(&self) -> Rates {
        Rates {
            consumed_per_s: self.consumed.rate(),
            stored_per_s: self.stored.rate(),
            dead_letters_per_s: self.dead_letters.rate(),
            errors_per_s: self.errors.rate(),
            bytes_per_s: self.bytes.rate(),
        }
    }
}

/// The sum; unknown while one of them is.
fn sum(mut lags: impl Iterator<Item = Option<i64>>) -> Option<i64> {
    lags.try_fold(0_i64, |sum, lag| Some(sum.saturating_add(lag?)))
}

/// The largest age; unknown while one of them is: it may be the oldest.
fn oldest<'p>(mut partitions: impl Iterator<Item = &'p PartitionView>) -> Option<f64> {
    partitions.try_fold(0.0, |oldest: f64, partition| Some(oldest.max(partition.lag_seconds?)))
}

fn lag_held(consumer: &ConsumerView) -> i64 {
    let held = |partition: &&PartitionView| {
        consumer.held.is_some() || partition.status.held.is_some() || partition.status.stopped.is_some()
    };
    consumer.partitions.iter().filter(held).filter_map(|partition| partition.status.lag).sum()
}

/// Of hundreds of clean partitions nobody reads anything.
fn unclean(mut audit: AuditResult) -> AuditResult {
    audit.partitions.retain(|partition| partition.unaccounted > 0 || partition.overlapping > 0);
    audit
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
