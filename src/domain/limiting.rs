//! Which stage of the pipeline limits it now: what a person who wants more throughput looks at first.
//!
//! Pure; a rule of thumb over what is measured anyway, in the order in which one cause hides the next. Cannot fail.

use serde::Serialize;

/// Less lag than this many seconds of work is none: a consumer that keeps up is always a moment behind.
const KEEPS_UP_S: f64 = 1.5;
/// From this share on, the writers count as busy all the time.
const BUSY: f64 = 0.7;
/// Below so many rows a transaction costs more by itself than by its rows.
const SMALL_BATCH: f64 = 64.0;
/// From this share of the cores that it could use on, the process has no time left.
const NO_TIME_LEFT: f64 = 0.75;

/// See the module.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Stage {
    /// There is nothing to do: it keeps up.
    Idle,
    /// The brokers, or the network to them, deliver no faster.
    Fetch,
    /// The process has no CPU left to decode and encode with.
    Decode,
    /// The store takes no more rows.
    Write,
    /// The store commits no faster: its transactions are small, and all writers wait for them.
    Commit,
    /// What is behind is held or stopped.
    Held,
    /// The store is away.
    StoreAway,
}

/// What is measured.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Load {
    /// The breaker in front of the store is open.
    pub store_away: bool,
    /// Records behind; `None` while unknown.
    pub lag: Option<i64>,
    /// Records behind in partitions that are held or stopped.
    pub lag_held: i64,
    /// Records stored per second.
    pub per_s: f64,
    /// Share of the writers that were busy.
    pub writers_busy: f64,
    /// Rows of a transaction, on average; `None` where there was none.
    pub rows_per_batch: Option<f64>,
    /// Cores that the process used.
    pub cores_used: f64,
    /// Cores that it could use: no more than it has consumers with work.
    pub cores: f64,
}

impl Load {
    /// The stage that limits.
    #[must_use]
    pub fn limiting_stage(&self) -> Stage {
        if self.store_away {
            return Stage::StoreAway;
        }
        let lag = self.lag.unwrap_or(0);
        let free = lag.saturating_sub(self.lag_held);
        let keeps_up = free as f64 <= self.per_s * KEEPS_UP_S;
        match self.rows_per_batch {
            _ if keeps_up && self.lag_held > 0 => Stage::Held,
            _ if keeps_up => Stage::Idle,
            Some(rows) if self.writers_busy >= BUSY && rows < SMALL_BATCH => Stage::Commit,
            _ if self.writers_busy >= BUSY => Stage::Write,
            _ if self.cores_used >= NO_TIME_LEFT * self.cores && self.cores > 0.0 => Stage::Decode,
            _ => Stage::Fetch,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_stage_is_told_by_what_it_leaves_behind() {
        let behind = Load { lag: Some(100_000), per_s: 5_000.0, cores: 2.0, ..Load::default() };
        let busy = Load { writers_busy: 0.9, rows_per_batch: Some(2_000.0), ..behind };
        for (expected, load) in [
            (Stage::Idle, Load::default()),
            (Stage::Idle, Load { lag: Some(6_000), per_s: 5_000.0, ..Load::default() }),
            (Stage::Fetch, behind),
            (Stage::Fetch, Load { cores_used: 1.0, ..behind }),
            (Stage::Decode, Load { cores_used: 1.6, ..behind }),
            (Stage::Write, busy),
            (Stage::Write, Load { cores_used: 1.9, ..busy }),
            (Stage::Commit, Load { rows_per_batch: Some(3.0), ..busy }),
            (Stage::Held, Load { lag_held: 99_000, ..busy }),
            (Stage::Write, Load { lag_held: 50_000, ..busy }),
            (Stage::StoreAway, Load { store_away: true, ..busy }),
        ] {
            assert_eq!(load.limiting_stage(), expected, "{load:?}");
        }
    }
}
