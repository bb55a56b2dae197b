//! What the next record of an owned partition may be: the expected offset, and how a jump is judged.
//!
//! Pure. A jump between two records that were delivered one after the other is a gap (transaction markers, compaction).
//! A jump at the first record after an assign or a seek could as well be a wrong seek, so it is read a second time from
//! the expected offset and believed only when the same record comes again.

/// The reading position of one owned partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReadPosition {
    expected: i64,
    fresh: bool,
    confirming: Option<i64>,
}

/// What to do with a delivered record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Delivered {
    /// It is the next one: take it.
    Take,
    /// It lies below the position: stored already, skip and count it.
    Duplicate,
    /// It is the next one after a gap that ends at it: write the gap down, then take it.
    AfterGap,
    /// A jump at the first record: drop it, seek to the expected offset and look again.
    Confirm,
}

/// What it means that the client passed offsets without delivering a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Passed {
    /// It passed none.
    Nothing,
    /// They are a gap.
    Gap,
    /// Nothing was delivered since the assign or the seek, which may have been wrong: seek to the expected offset and look
    /// again.
    Confirm,
}

impl ReadPosition {
    /// A position after an assign or a seek to `expected`.
    #[must_use]
    pub fn at(expected: i64) -> Self {
        Self { expected, fresh: true, confirming: None }
    }

    /// The offset that is read next.
    #[must_use]
    pub fn expected(&self) -> i64 {
        self.expected
    }

    /// Judges a record by its offset. After `Take` and `AfterGap` the position is behind the record.
    pub fn deliver(&mut self, offset: i64) -> Delivered {
        if offset < self.expected {
            return Delivered::Duplicate;
        }
        let jump = offset > self.expected;
        if jump && self.fresh && self.confirming != Some(offset) {
            self.confirming = Some(offset);
            return Delivered::Confirm;
        }
        self.expected = offset + 1;
        self.fresh = false;
        self.confirming = None;
        if jump { Delivered::AfterGap } else { Delivered::Take }
    }

    /// The client fetches anew, or reported an error: the next jump is confirmed like one after a seek.
    pub fn doubt(&mut self) {
        self.fresh = true;
    }

    /// The client passed to `position` without delivering a record (markers or aborted records at the end of the log).
    /// After `Gap` the position is at its end.
    pub fn pass_to(&mut self, position: i64) -> Passed {
        if position <= self.expected {
            return Passed::Nothing;
        }
        if self.fresh && self.confirming != Some(position) {
            self.confirming = Some(position);
            return Passed::Confirm;
        }
        self.expected = position;
        self.fresh = false;
        self.confirming = None;
        Passed::Gap
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_jump_at_the_first_record_is_read_twice() {
        let mut position = ReadPosition::at(10);
        assert_eq!(position.deliver(15), Delivered::Confirm);
        assert_eq!(position.expected(), 10);
        assert_eq!(position.deliver(15), Delivered::AfterGap);
        assert_eq!(position.expected(), 16);
        assert_eq!(position.deliver(18), Delivered::AfterGap, "between two delivered records");
    }

    #[test]
    fn a_wrong_seek_is_not_certified_as_a_gap() {
        let mut position = ReadPosition::at(10);
        assert_eq!(position.deliver(500), Delivered::Confirm);
        assert_eq!(position.deliver(10), Delivered::Take);
        assert_eq!(position.deliver(9), Delivered::Duplicate);
    }

    #[test]
    fn a_tail_that_was_passed_before_any_record_is_read_twice() {
        let mut position = ReadPosition::at(10);
        assert_eq!(position.pass_to(10), Passed::Nothing);
        assert_eq!(position.pass_to(15), Passed::Confirm);
        assert_eq!(position.expected(), 10);
        assert_eq!(position.pass_to(15), Passed::Gap);
        assert_eq!(position.pass_to(18), Passed::Gap, "the client was where it should be");
        position.doubt();
        assert_eq!(position.pass_to(25), Passed::Confirm, "it may have passed records over");
        assert_eq!(position.deliver(18), Delivered::Take);
    }

    proptest! {
        #[test]
        fn every_offset_is_taken_once_or_lies_in_a_gap(start in 0_i64..50, mut offsets in prop::collection::vec(0_i64..200, 1..60)) {
            // A log with holes, delivered in order with random re-deliveries of the whole tail.
            offsets.sort_unstable();
            offsets.dedup();
            let mut position = ReadPosition::at(start);
            let (mut taken, mut covered) = (Vec::new(), start);
            for round in 0..3 {
                for &offset in &offsets {
                    let before = position.expected();
                    match position.deliver(offset) {
                        Delivered::Take => { prop_assert_eq!(offset, before); taken.push(offset); covered = offset + 1; }
                        Delivered::AfterGap => { prop_assert!(offset > before); taken.push(offset); covered = offset + 1; }
                        Delivered::Duplicate => prop_assert!(offset < before),
                        Delivered::Confirm => { prop_assert_eq!(position.expected(), before); break; }
                    }
                    prop_assert_eq!(position.expected(), covered);
                }
                let _ = round;
            }
            let expected: Vec<_> = offsets.iter().copied().filter(|&o| o >= start).collect();
            prop_assert_eq!(taken, expected);
        }
    }
}
