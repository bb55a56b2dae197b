//! When a partition's log reached an offset, from looks at its end: how old a record is that nobody has read.
//!
//! Pure. Right also while nothing is read: the ends go on being looked at. Bounded by [`MOST_LOOKS`]; when more are needed,
//! older ones are thinned out, and times between them are interpolated. What lies before the first look is not known.

use std::collections::VecDeque;

/// Looks that are kept of a partition.
const MOST_LOOKS: usize = 128;

/// The log ended at `end` from the first of these looks to the last of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Look {
    end: i64,
    first_ms: i64,
    last_ms: i64,
}

/// See the module.
#[derive(Debug, Clone, Default)]
pub struct EndTimes(VecDeque<Look>);

impl EndTimes {
    /// The log was seen to end there.
    pub fn observe(&mut self, end: i64, now_ms: i64) {
        match self.0.back_mut() {
            Some(last) if last.end == end => last.last_ms = now_ms,
            Some(last) if last.end > end => {
                // Another log, or a part of it is gone: what is known says nothing any more.
                self.0.clear();
                self.0.push_back(Look { end, first_ms: now_ms, last_ms: now_ms });
            }
            _ => self.0.push_back(Look { end, first_ms: now_ms, last_ms: now_ms }),
        }
        if self.0.len() > MOST_LOOKS {
            self.thin_out();
        }
    }

    /// Nobody will ask for offsets below this one.
    pub fn forget_below(&mut self, offset: i64) {
        // The last look before it is where interpolation begins.
        while self.0.get(1).is_some_and(|second| second.end <= offset) {
            self.0.pop_front();
        }
    }

    /// When the record at `offset` was written, in milliseconds since the epoch, if it was written between two looks.
    #[must_use]
    pub fn written_ms(&self, offset: i64) -> Option<i64> {
        let after = self.0.partition_point(|look| look.end <= offset);
        let (before, after) = (self.0.get(after.checked_sub(1)?)?, self.0.get(after)?);
        // The middle of its share of the time.
        let share = (2 * (offset - before.end) + 1) as f64 / (2 * (after.end - before.end)) as f64;
        let between = (after.first_ms - before.last_ms).max(0);
        Some(before.last_ms + (between as f64 * share) as i64)
    }

    /// Every second look of the older half goes.
    fn thin_out(&mut self) {
        let half = self.0.len() / 2;
        let mut at = 0;
        self.0.retain(|_| {
            at += 1;
            // The first one stays: before it nothing is known.
            at > half || at % 2 == 1
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn looks(looks: &[(i64, i64)]) -> EndTimes {
        let mut times = EndTimes::default();
        looks.iter().for_each(|&(end, now_ms)| times.observe(end, now_ms));
        times
    }

    #[test]
    fn a_record_was_written_between_the_looks_before_and_after_it() {
        let times = looks(&[(100, 1_000), (110, 2_000), (110, 9_000), (111, 10_000)]);
        assert_eq!(times.written_ms(100), Some(1_050));
        assert_eq!(times.written_ms(109), Some(1_950));
        assert_eq!(times.written_ms(110), Some(9_500), "the producer was silent until then");
        assert_eq!(times.written_ms(99), None, "it was there before the first look");
        assert_eq!(times.written_ms(111), None, "it is not there yet");
        assert_eq!(EndTimes::default().written_ms(0), None);
    }

    #[test]
    fn a_log_that_became_shorter_is_known_anew() {
        let mut times = looks(&[(100, 1_000), (110, 2_000), (5, 3_000)]);
        assert_eq!(times.written_ms(105), None);
        times.observe(15, 4_000);
        assert_eq!(times.written_ms(10), Some(3_550));
    }

    proptest! {
        /// Whatever is thinned out and forgotten, a record that is still asked for is told with the error of a few looks.
        #[test]
        fn a_partition_that_is_paused_for_long_still_knows_how_old_its_next_record_is(
            rates in prop::collection::vec(0..50_i64, 20..2_000), read in 0..200_usize,
        ) {
            let (mut times, mut end) = (EndTimes::default(), 0);
            let mut written = Vec::new();
            times.observe(0, 0);
            let mut next = 0;
            for (second, &rate) in rates.iter().enumerate() {
                let now_ms = (second as i64 + 1) * 1_000;
                written.extend(std::iter::repeat_n(now_ms - 500, rate as usize));
                end += rate;
                times.observe(end, now_ms);
                if second < read {
                    next = end;
                }
                times.forget_below(next);
                prop_assert!(times.0.len() <= MOST_LOOKS);
                if next < end {
                    let told = times.written_ms(next).expect("it was written between two looks");
                    let age = now_ms - written[next as usize];
                    prop_assert!((told - written[next as usize]).abs() <= 1_500 + age / 4, "{told} {age}");
                }
            }
        }
    }
}
