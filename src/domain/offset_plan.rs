//! Where positions may be moved to by an operator's order, and where a restarted topic begins.
//!
//! Pure. What Kafka no longer has cannot be read again, and what lies ahead is not skipped by going back.

use std::collections::BTreeMap;

/// Offsets that Kafka has of a partition: the oldest, and the one that the next record gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LogBounds {
    /// The oldest record.
    pub beginning: i64,
    /// The end, up to which records can be read.
    pub end: i64,
}

/// Why a position may not be moved so.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PlanError {
    /// A rewind to a later offset.
    #[error(
        "the position is {from}: {to} lies ahead of it; `drover offsets skip` passes records, and writes down which"
    )]
    Ahead {
        /// The position.
        from: i64,
        /// The order.
        to: i64,
    },
    /// A skip to an earlier offset.
    #[error("the position is {from}: {to} is not ahead of it; `drover offsets rewind` reads records again")]
    NotAhead {
        /// The position.
        from: i64,
        /// The order.
        to: i64,
    },
    /// A rewind to what Kafka no longer has.
    #[error("Kafka's oldest record is {beginning}: {to} cannot be read again")]
    Expired {
        /// The oldest record.
        beginning: i64,
        /// The order.
        to: i64,
    },
    /// Past the end of the log.
    #[error("the log ends at {end}: {to} lies behind it")]
    BehindEnd {
        /// The end.
        end: i64,
        /// The order.
        to: i64,
    },
}

/// Whether a position may go back to `to`; `false` when it is there already.
///
/// # Errors
/// It would go ahead, or before what Kafka has.
pub fn rewind(from: i64, to: i64, log: LogBounds) -> Result<bool, PlanError> {
    match () {
        () if to > from => Err(PlanError::Ahead { from, to }),
        () if to < log.beginning => Err(PlanError::Expired { beginning: log.beginning, to }),
        () => Ok(to < from),
    }
}

/// Whether a position may go past everything below `to`.
///
/// # Errors
/// It would not go ahead, or past the end.
pub fn skip(from: i64, to: i64, log: LogBounds) -> Result<(), PlanError> {
    match () {
        () if to <= from => Err(PlanError::NotAhead { from, to }),
        () if to > log.end => Err(PlanError::BehindEnd { end: log.end, to }),
        () => Ok(()),
    }
}

/// Where each partition of a topic begins its next incarnation when nobody says: another topic of this name at its
/// beginning; the same topic where each partition stands, as far as the log has that.
#[must_use]
pub fn restart(same_topic: bool, positions: &BTreeMap<i32, i64>, log: &BTreeMap<i32, LogBounds>) -> BTreeMap<i32, i64> {
    log.iter()
        .map(|(&partition, bounds)| {
            let position = positions.get(&partition).filter(|_| same_topic);
            // A log that is being truncated may for a moment end before its beginning.
            let start = position.map_or(bounds.beginning, |at| *at.min(&bounds.end).max(&bounds.beginning));
            (partition, start)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOG: LogBounds = LogBounds { beginning: 10, end: 100 };

    #[test]
    fn a_rewind_goes_back_to_what_kafka_has() {
        assert_eq!(rewind(50, 20, LOG), Ok(true));
        assert_eq!(rewind(50, 50, LOG), Ok(false));
        assert_eq!(rewind(50, 9, LOG), Err(PlanError::Expired { beginning: 10, to: 9 }));
        assert_eq!(rewind(50, 51, LOG), Err(PlanError::Ahead { from: 50, to: 51 }));
        assert_eq!(rewind(150, 100, LOG), Ok(true), "a truncated log can be read from its end");
    }

    #[test]
    fn a_skip_goes_ahead_within_the_log() {
        assert_eq!(skip(5, 10, LOG), Ok(()));
        assert_eq!(skip(5, 100, LOG), Ok(()));
        assert_eq!(skip(5, 101, LOG), Err(PlanError::BehindEnd { end: 100, to: 101 }));
        assert_eq!(skip(50, 50, LOG), Err(PlanError::NotAhead { from: 50, to: 50 }));
    }

    #[test]
    fn another_topic_begins_anew_and_a_truncated_one_at_its_ends() {
        let log = BTreeMap::from([(0, LOG), (1, LOG), (2, LOG), (3, LOG)]);
        let positions = BTreeMap::from([(0, 150), (1, 50), (2, 5), (9, 7)]);
        assert_eq!(restart(true, &positions, &log), BTreeMap::from([(0, 100), (1, 50), (2, 10), (3, 10)]));
        assert_eq!(restart(false, &positions, &log), BTreeMap::from([(0, 10), (1, 10), (2, 10), (3, 10)]));
    }
}
