//! What watches over the flow of records: the storm guard and the watchdog.

use super::reader::Reader;
use std::time::Duration;

/// Shortest time after which a child counts as stalled: closing a client may take half of it.
const SHORTEST: Duration = Duration::from_secs(10);

/// When a partition whose records fail is quarantined instead of dead-lettered.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct StormConfig {
    /// Dead letters in a row; 0 is off.
    pub consecutive: u32,
    /// Share of dead letters among the last `window` records; 0 is off.
    pub ratio: f64,
    /// Records that the ratio looks at.
    pub window: usize,
    /// How long a quarantine lasts when nobody releases it; zero: until somebody does.
    pub release_after: Duration,
}

/// When something counts as stalled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WatchdogConfig {
    /// Silence of a child's heartbeat after which it is ended, and time without progress of a partition that is behind
    /// after which it is sought again.
    pub timeout: Duration,
}

pub(super) fn storm(r: &mut Reader<'_>) -> StormConfig {
    StormConfig {
        consecutive: r.whole("storm.consecutive", 0..=1_000_000),
        ratio: r.number("storm.ratio", 0.0..=1.0),
        window: r.whole("storm.window", 1..=100_000),
        release_after: r.duration("storm.release_after", Duration::ZERO..=Duration::from_secs(30 * 24 * 3600)),
    }
}

pub(super) fn watchdog(r: &mut Reader<'_>) -> WatchdogConfig {
    WatchdogConfig { timeout: r.duration("watchdog.timeout", SHORTEST..=Duration::from_secs(3600)) }
}
