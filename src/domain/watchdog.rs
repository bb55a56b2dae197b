//! The watchdog of a partition: behind and not moving for too long.
//!
//! Pure. First the partition is sought again; if it stays frozen for as long again, its consumer is to be rebuilt. The clock
//! stops while something explains the standstill: an order, the breaker, a batch that waits for the store, a rebalance.

use std::time::Duration;

/// Longest time that counts between two looks: a process that was frozen itself has not watched.
const MOST_BETWEEN_LOOKS: Duration = Duration::from_secs(2);

/// What is to be done about a partition that does not move.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WatchAction {
    /// Read it again from the expected offset.
    Seek,
    /// That did not help: make a new consumer.
    Rebuild,
}

impl WatchAction {
    /// The name used in metrics.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Seek => "seek",
            Self::Rebuild => "rebuild",
        }
    }
}

/// What is seen of a partition at one look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Look {
    /// The stored position.
    pub position: i64,
    /// Whether records are known to lie behind it; `None` where the end is not known.
    pub behind: Option<bool>,
    /// Something explains that it stands.
    pub excused: bool,
}

/// The clock of one partition.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PositionWatch {
    position: Option<i64>,
    frozen: Duration,
    sought: bool,
}

impl PositionWatch {
    /// Looks once, `since` after the look before.
    pub fn look(&mut self, since: Duration, timeout: Duration, look: Look) -> Option<WatchAction> {
        let moved = self.position != Some(look.position);
        if moved || look.behind == Some(false) {
            *self = Self { position: Some(look.position), ..Self::default() };
            return None;
        }
        if look.excused || look.behind.is_none() {
            return None;
        }
        self.frozen += since.min(MOST_BETWEEN_LOOKS);
        if self.frozen < timeout {
            return None;
        }
        self.frozen = Duration::ZERO;
        if std::mem::replace(&mut self.sought, true) { Some(WatchAction::Rebuild) } else { Some(WatchAction::Seek) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TIMEOUT: Duration = Duration::from_secs(30);
    const FROZEN: Look = Look { position: 7, behind: Some(true), excused: false };

    /// Looks once a second, and gives back what was to be done, with the second.
    fn actions(watch: &mut PositionWatch, seconds: u64, look: impl Fn(u64) -> Look) -> Vec<(u64, WatchAction)> {
        let second = Duration::from_secs(1);
        (1..=seconds).filter_map(|at| watch.look(second, TIMEOUT, look(at)).map(|action| (at, action))).collect()
    }

    #[test]
    fn a_partition_that_stands_is_sought_and_then_its_consumer_is_rebuilt() {
        // The first look only tells the position.
        let done = actions(&mut PositionWatch::default(), 70, |_| FROZEN);
        assert_eq!(done, [(31, WatchAction::Seek), (61, WatchAction::Rebuild)]);
    }

    #[test]
    fn a_position_that_moves_begins_anew() {
        let done =
            actions(&mut PositionWatch::default(), 100, |at| Look { position: 7 + i64::from(at > 40), ..FROZEN });
        assert_eq!(done, [(31, WatchAction::Seek), (71, WatchAction::Seek)]);
        assert_eq!(actions(&mut PositionWatch::default(), 300, |at| Look { position: (at / 25) as i64, ..FROZEN }), []);
    }

    #[test]
    fn nothing_to_read_and_an_unknown_end_are_no_standstill() {
        for behind in [Some(false), None] {
            assert_eq!(actions(&mut PositionWatch::default(), 300, |_| Look { behind, ..FROZEN }), []);
        }
    }

    #[test]
    fn the_clock_stops_while_the_standstill_is_explained() {
        let excused = |at| (11..100).contains(&at);
        let done = actions(&mut PositionWatch::default(), 130, |at| Look { excused: excused(at), ..FROZEN });
        assert_eq!(done, [(120, WatchAction::Seek)], "ten seconds before and twenty after");
    }

    #[test]
    fn a_process_that_was_frozen_itself_does_not_blame_its_partitions() {
        let mut watch = PositionWatch::default();
        watch.look(Duration::ZERO, TIMEOUT, FROZEN);
        assert_eq!(watch.look(Duration::from_secs(3600), TIMEOUT, FROZEN), None);
    }
}
