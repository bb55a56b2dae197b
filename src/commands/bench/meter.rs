//! What a run cost: CPU of drover, of the database and of the broker, bytes of write-ahead log, memory; and the positions
//! while it ran.
//!
//! Owns nothing that outlives the run. Positions are read every [`LOOK`] on the session's one connection; memory about every
//! [`MEMORY_LOOK`]. Fails when the store does not answer, or when no row was stored for [`STALL`].

use super::processes::{self, Cpu};
use crate::domain::bench::Sample;
use crate::store::bench::{BenchSession, ServerFacts};
use anyhow::bail;
use indicatif::{ProgressBar, ProgressStyle};
use std::io::IsTerminal as _;
use std::time::{Duration, Instant};
use tokio::time::MissedTickBehavior;

/// Time between two looks at the positions.
const LOOK: Duration = Duration::from_millis(20);
/// Time between two looks at memory: summing up its pages costs the process that is measured a little.
pub const MEMORY_LOOK: Duration = Duration::from_millis(100);
/// How long nothing may be stored before it is given up. Longer than joining a group of many members takes.
const STALL: Duration = Duration::from_secs(120);

/// Where costs are counted from.
pub struct Meter {
    postmaster: Option<i32>,
    broker: Option<i32>,
    own: Cpu,
    backends_s: f64,
    server_s: Option<f64>,
    broker_s: Option<f64>,
    wal_bytes: Option<u64>,
    busy_s: Option<f64>,
    measuring: Cpu,
    at: Instant,
}

/// What was spent since.
#[derive(Debug, Clone, Copy, Default)]
pub struct Costs {
    /// CPU of drover.
    pub own: Option<Cpu>,
    /// CPU seconds of the database's processes that serve drover.
    pub backends_s: Option<f64>,
    /// CPU seconds of the whole database server.
    pub server_s: Option<f64>,
    /// CPU seconds of the broker.
    pub broker_s: Option<f64>,
    /// Bytes of write-ahead log.
    pub wal_bytes: Option<u64>,
    /// The most memory that drover has had resident since it started, in bytes.
    pub peak_resident_bytes: Option<u64>,
    /// Cores that were busy with none of these, nor with this process: what disturbed the measurement.
    pub other_cores: Option<f64>,
}

impl Meter {
    /// Counts from now on. `own` is the process of drover where it runs already; else all that it uses is counted.
    /// `brokers` is there where there is a broker.
    ///
    /// # Errors
    /// The store does not answer.
    pub async fn start(
        session: &mut dyn BenchSession,
        facts: &ServerFacts,
        brokers: Option<&str>,
        own: Option<i32>,
    ) -> anyhow::Result<Self> {
        let postmaster = facts.backend.and_then(processes::postmaster);
        let broker = brokers.and_then(processes::broker);
        let mut meter = Self {
            postmaster,
            broker,
            own: own.and_then(processes::cpu).unwrap_or_default(),
            backends_s: 0.0,
            server_s: postmaster.and_then(processes::cpu_with_children),
            broker_s: broker.and_then(processes::cpu).map(Cpu::total_s),
            wal_bytes: session.wal_bytes().await?,
            busy_s: processes::machine_busy_s(),
            measuring: processes::cpu(here()).unwrap_or_default(),
            at: Instant::now(),
        };
        if own.is_some() {
            meter.backends_s = meter.backends(session).await?.unwrap_or_default();
        }
        Ok(meter)
    }

    /// Whether database and drover run on one machine, and so by one clock.
    #[must_use]
    pub fn is_local(&self) -> bool {
        self.postmaster.is_some()
    }

    async fn backends(&self, session: &mut dyn BenchSession) -> anyhow::Result<Option<f64>> {
        // Process ids of another machine mean nothing here.
        if self.postmaster.is_none() {
            return Ok(None);
        }
        Ok(processes::cpu_of_all(&session.backends().await?))
    }

    /// What was spent; `own` is the process of drover, which must still be there.
    ///
    /// # Errors
    /// The store does not answer.
    pub async fn stop(&self, session: &mut dyn BenchSession, own: i32) -> anyhow::Result<Costs> {
        // First what goes on being spent.
        let used = processes::cpu(own).map(|now| now.since(self.own));
        let server = self.postmaster.and_then(processes::cpu_with_children);
        let broker = self.broker.and_then(processes::cpu).map(Cpu::total_s);
        let (busy, here) = (processes::machine_busy_s(), processes::cpu(here()).filter(|_| own != here()));
        let seconds = self.at.elapsed().as_secs_f64();
        let backends = self.backends(session).await?;
        let wal = session.wal_bytes().await?;
        let server_s = server.zip(self.server_s).map(|(now, before)| now - before);
        let broker_s = broker.zip(self.broker_s).map(|(now, before)| now - before);
        let known = [used.map(Cpu::total_s), server_s, broker_s, here.map(|now| now.since(self.measuring).total_s())];
        let known: f64 = known.into_iter().flatten().sum();
        Ok(Costs {
            own: used,
            backends_s: backends.map(|now| (now - self.backends_s).max(0.0)),
            server_s,
            broker_s,
            // The counters tick in hundredths, each on its own.
            other_cores: busy.zip(self.busy_s).map(|(now, before)| ((now - before - known) / seconds).max(0.0)),
            wal_bytes: wal.zip(self.wal_bytes).map(|(now, before)| now.saturating_sub(before)),
            peak_resident_bytes: processes::peak_resident_bytes(own),
        })
    }
}

/// The process id of this one.
fn here() -> i32 {
    processes::pid_of(std::process::id())
}

/// What was seen of a run.
#[derive(Debug, Default)]
pub struct Seen {
    /// The positions, on the clock of `Follow::clock`.
    pub samples: Vec<Sample>,
    /// The largest proportional set size, in bytes.
    pub peak_pss_bytes: Option<u64>,
}

/// Follows the positions of a topic.
pub struct Follow<'a> {
    /// The session.
    pub session: &'a mut dyn BenchSession,
    /// The topic.
    pub topic: &'a str,
    /// Offsets that are to be accounted for.
    pub total: u64,
    /// The process whose memory is looked at.
    pub pid: i32,
    /// What times are counted from.
    pub clock: Instant,
}

impl Follow<'_> {
    /// Looks until all is stored. `alive` tells whether it still can be.
    ///
    /// # Errors
    /// The store does not answer, `alive` says no, or nothing is stored any more.
    pub async fn until_stored(self, mut alive: impl FnMut() -> anyhow::Result<()>) -> anyhow::Result<Seen> {
        let bar = progress_bar(self.total, "{wide_bar} {human_pos}/{human_len} rows, {per_sec}, {eta} left");
        let mut seen = Seen::default();
        let mut tick = tokio::time::interval(LOOK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let (mut moved, mut memory_looked) = (Instant::now(), None::<Instant>);
        let mut last = 0;
        loop {
            tick.tick().await;
            let rows = self.session.stored(self.topic).await?;
            let now = Instant::now();
            seen.samples.push(Sample { at: now - self.clock, rows });
            bar.set_position(rows);
            if memory_looked.is_none_or(|at| now - at >= MEMORY_LOOK) || rows >= self.total {
                seen.peak_pss_bytes = seen.peak_pss_bytes.max(processes::pss_bytes(self.pid));
                memory_looked = Some(now);
            }
            if rows >= self.total {
                bar.finish_and_clear();
                return Ok(seen);
            }
            if rows > last {
                (last, moved) = (rows, now);
            }
            alive()?;
            if now - moved > STALL {
                bail!("{rows} of {} events were stored, and no more within {STALL:?}", self.total);
            }
        }
    }
}

/// A bar on standard error where that is a terminal.
#[must_use]
pub fn progress_bar(total: u64, template: &str) -> ProgressBar {
    if !std::io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let bar = ProgressBar::new(total);
    match ProgressStyle::with_template(template) {
        Ok(style) => bar.with_style(style),
        Err(_) => bar,
    }
}
