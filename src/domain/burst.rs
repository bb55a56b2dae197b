//! Bursts: made-up events that somebody asked for, so many at such a rate, some of them broken.
//!
//! Pure. Which of them are broken is spread evenly and follows from their number alone.

use super::generator::PoisonKind;
use std::collections::VecDeque;
use std::time::Duration;

/// Most events of one burst.
pub const MOST_EVENTS: u64 = 10_000;
/// Highest rate, in events per second.
pub const HIGHEST_RATE: u64 = 2_000;
/// Delivered events that a report names, at most.
const LAST: usize = 20;

/// The ways in which the events of a burst are broken: those that no store takes, whatever the topic's mapping.
pub const POISON: [PoisonKind; 9] = [
    PoisonKind::NotJson,
    PoisonKind::Truncated,
    PoisonKind::Array,
    PoisonKind::EventTypeNumber,
    PoisonKind::EventTypeMissing,
    PoisonKind::TimestampInvalid,
    PoisonKind::InvalidUtf8,
    PoisonKind::NulEscape,
    PoisonKind::LoneSurrogate,
];

/// A steady stream: event `n` is due at a fixed time from its start, so that pauses and slow brokers do not make it drift.
#[derive(Debug, Clone, Copy)]
pub struct Pace {
    /// Events a second.
    pub rate: u64,
}

impl Pace {
    /// Events that are due when so much time has passed.
    #[must_use]
    pub fn due(self, elapsed: Duration) -> u64 {
        u64::try_from(elapsed.as_nanos() * u128::from(self.rate) / 1_000_000_000).unwrap_or(u64::MAX)
    }

    /// When event `n` (from 1 on) is due: the first moment at which [`Pace::due`] counts it.
    #[must_use]
    pub fn due_at(self, n: u64) -> Duration {
        let nanos = (u128::from(n) * 1_000_000_000).div_ceil(u128::from(self.rate.max(1)));
        Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
    }
}

/// What is asked for.
#[derive(Debug, Clone, PartialEq)]
pub struct BurstPlan {
    /// Where the events go.
    pub topic: String,
    /// How many, 1 to [`MOST_EVENTS`].
    pub count: u64,
    /// How many a second, 1 to [`HIGHEST_RATE`].
    pub rate: u64,
    /// Which share is broken, 0 to 1.
    pub poison_ratio: f64,
}

impl BurstPlan {
    /// How event `n` (from 0 on) is broken, if it is.
    #[must_use]
    pub fn poison(&self, n: u64) -> Option<PoisonKind> {
        let broken_before = |n: u64| (n as f64 * self.poison_ratio).floor();
        // The events before it and the ways to break one are few, so nothing is cut off.
        let kind = || POISON[broken_before(n) as usize % POISON.len()];
        (broken_before(n + 1) > broken_before(n)).then(kind)
    }
}

/// A delivered event of a burst.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BurstEvent {
    /// Partition.
    pub partition: i32,
    /// Offset.
    pub offset: i64,
    /// It was broken on purpose.
    pub poison: bool,
}

/// How a burst goes.
#[derive(Debug, Clone, PartialEq)]
pub struct BurstReport {
    /// Its number in this process, from 1.
    pub id: u64,
    /// What was asked for.
    pub plan: BurstPlan,
    /// When it began, in milliseconds since the epoch.
    pub started_at_ms: i64,
    /// Events that the brokers confirmed.
    pub sent: u64,
    /// Broken ones among them.
    pub poison: u64,
    /// Events that were given up.
    pub failed: u64,
    /// The last reason.
    pub error: Option<String>,
    /// Nothing is on its way any more.
    pub done: bool,
    /// The last that were delivered, newest first.
    pub last: VecDeque<BurstEvent>,
}

impl BurstReport {
    /// A burst that begins.
    #[must_use]
    pub fn new(id: u64, plan: BurstPlan, started_at_ms: i64) -> Self {
        let (last, error) = (VecDeque::new(), None);
        Self { id, plan, started_at_ms, sent: 0, poison: 0, failed: 0, error, done: false, last }
    }

    /// Counts a delivered event.
    pub fn delivered(&mut self, event: BurstEvent) {
        self.sent += 1;
        self.poison += u64::from(event.poison);
        self.last.truncate(LAST - 1);
        self.last.push_front(event);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn the_share_of_broken_events_is_the_one_that_was_asked_for(count in 1_u64..3_000, ratio in 0.0_f64..=1.0) {
            let plan = BurstPlan { topic: "t".into(), count, rate: 1, poison_ratio: ratio };
            let broken = (0..count).filter(|&n| plan.poison(n).is_some()).count();
            prop_assert!((broken as f64 - count as f64 * ratio).abs() < 1.0 + 1e-6);
        }

        #[test]
        fn the_pace_never_drifts(rate in 1_u64..2_000_000, n in 1_u64..10_000_000) {
            let pace = Pace { rate };
            let at = pace.due_at(n);
            prop_assert!(pace.due(at) >= n, "due when its time has come");
            prop_assert!(pace.due(at.saturating_sub(Duration::from_nanos(1))) < n, "and not before");
        }
    }

    #[test]
    fn every_kind_has_its_turn_and_a_report_names_the_last_events() {
        let plan = BurstPlan { topic: "t".into(), count: 18, rate: 1, poison_ratio: 0.5 };
        let kinds: Vec<_> = (0..18).filter_map(|n| plan.poison(n)).collect();
        assert_eq!(kinds, POISON);
        let mut report = BurstReport::new(1, plan, 0);
        for offset in 0..30 {
            report.delivered(BurstEvent { partition: 0, offset, poison: offset == 7 });
        }
        assert_eq!((report.sent, report.poison, report.last.len(), report.last[0].offset), (30, 1, 20, 29));
    }
}
