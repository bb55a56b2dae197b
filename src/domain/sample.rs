//! A sample of what passes by: all of it while it is little, else as many as are kept, each with the same chance.
//!
//! Pure: the randomness is a seed's. Bounded by its size. What is passed over costs nothing: the next one to be taken is drawn
//! ahead (Li, Reservoir-sampling algorithms of time complexity O(n(1+log(N/n))), algorithm L). Cannot fail.

/// The number of none.
const NEVER: u64 = u64::MAX;

/// See the module.
#[derive(Debug, Clone)]
pub struct Sample<T> {
    size: usize,
    /// Past so many, a smaller sample is kept.
    crowd: u64,
    size_in_crowd: usize,
    /// With the number of each among all that passed.
    kept: Vec<(u64, T)>,
    passed: u64,
    /// The number of the next one to be taken, once the sample is full.
    next: u64,
    /// The largest of as many random keys as are kept, in algorithm L.
    key: f64,
    seed: u64,
}

impl<T> Sample<T> {
    /// Keeps `size`, or `size_in_crowd` of `crowd` and more, which are more than `size`.
    #[must_use]
    pub fn new(size: usize, crowd: u64, size_in_crowd: usize, seed: u64) -> Self {
        Self { size, crowd, size_in_crowd, kept: Vec::new(), passed: 0, next: NEVER, key: 1.0, seed }
    }

    /// So many pass by; `make` is called for those that are kept, with their place among these.
    pub fn offer(&mut self, count: usize, mut make: impl FnMut(usize) -> T) {
        let first = self.passed;
        let end = first + count as u64;
        let mut make = |number: u64| {
            let place = usize::try_from(number - first).expect("it is one of those that pass by now");
            (number, make(place))
        };
        self.passed = end;
        let mut number = first;
        // Not full yet: everything is kept.
        while number < end && self.next == NEVER {
            self.kept.push(make(number));
            number += 1;
            if self.kept.len() == self.size {
                self.key = 1.0;
                self.skip(number);
            }
        }
        self.replace(end.min(self.crowd), &mut make);
        if end >= self.crowd && self.kept.len() > self.size_in_crowd {
            self.thin_out();
        }
        self.replace(end, &mut make);
    }

    /// Takes what was drawn of those before `end`.
    fn replace(&mut self, end: u64, make: &mut impl FnMut(u64) -> (u64, T)) {
        while self.next < end {
            let at = self.draw_below(self.kept.len());
            self.kept[at] = make(self.next);
            self.skip(self.next + 1);
        }
    }

    /// Gives back what was kept, in the order in which it passed, and how many passed. The sample begins anew.
    pub fn take(&mut self) -> (Vec<T>, u64) {
        let mut kept = std::mem::take(&mut self.kept);
        kept.sort_unstable_by_key(|(number, _)| *number);
        self.next = NEVER;
        let passed = std::mem::take(&mut self.passed);
        (kept.into_iter().map(|(_, one)| one).collect(), passed)
    }

    /// Where so many pass by that nobody could look at all of them anyway, fewer are enough.
    fn thin_out(&mut self) {
        while self.kept.len() > self.size_in_crowd {
            let at = self.draw_below(self.kept.len());
            self.kept.swap_remove(at);
        }
        // As it would be after so many, on average.
        self.key = self.size_in_crowd as f64 / self.crowd as f64;
        self.skip(self.crowd);
    }

    /// Draws which one is taken next, from this number on.
    fn skip(&mut self, from: u64) {
        let kept = self.kept.len().max(1) as f64;
        self.key *= (self.draw().ln() / kept).exp();
        let passed_over = (self.draw().ln() / (1.0 - self.key).ln()).floor();
        // Beyond what a float tells, no more are taken.
        self.next = if passed_over < 1e15 { from + passed_over as u64 } else { NEVER };
    }

    /// Between zero and one, neither of them (SplitMix64).
    fn draw(&mut self) -> f64 {
        self.seed = self.seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.seed;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^= mixed >> 31;
        ((mixed >> 11) as f64 + 0.5) / (1_u64 << 53) as f64
    }

    fn draw_below(&mut self, count: usize) -> usize {
        ((self.draw() * count as f64) as usize).min(count.saturating_sub(1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// What is kept of `count`, offered in these portions in turn.
    fn sampled(sample: &mut Sample<u64>, count: u64, portions: &[usize]) -> (Vec<u64>, u64, usize) {
        let (mut offered, mut made) = (0_u64, 0);
        let mut portions = portions.iter().cycle();
        while offered < count {
            let portion = (*portions.next().expect("it goes round")).min((count - offered) as usize);
            sample.offer(portion, |place| {
                made += 1;
                offered + place as u64
            });
            offered += portion as u64;
        }
        let (kept, passed) = sample.take();
        (kept, passed, made)
    }

    proptest! {
        #[test]
        fn all_are_kept_while_they_are_few_and_never_more_than_the_size(
            count in 0..3_000_u64, portions in prop::collection::vec(1..300_usize, 1..5), seed: u64,
        ) {
            let mut sample = Sample::new(100, 1_000, 20, seed);
            for _ in 0..2 {
                let (kept, passed, _) = sampled(&mut sample, count, &portions);
                prop_assert_eq!(passed, count);
                let expected = if count < 1_000 { count.min(100) } else { 20 };
                prop_assert_eq!(kept.len() as u64, expected);
                prop_assert!(kept.is_sorted_by(|a, b| a < b) && kept.iter().all(|&one| one < count));
                if count <= 100 {
                    prop_assert_eq!(kept, (0..count).collect::<Vec<_>>());
                }
            }
        }
    }

    #[test]
    fn each_has_the_same_chance_and_few_are_made() {
        for (count, size) in [(900, 50), (20_000, 10)] {
            let mut sample = Sample::new(50, 2_000, 10, 7);
            let rounds = 4_000;
            let mut tenths = [0_u32; 10];
            for _ in 0..rounds {
                let (kept, _, made) = sampled(&mut sample, count, &[64, 1, 300]);
                kept.iter().for_each(|&one| tenths[(one * 10 / count) as usize] += 1);
                assert!(made < 700, "{made} of {count}");
            }
            let expected = f64::from(rounds * size / 10);
            for (tenth, &found) in tenths.iter().enumerate() {
                let off = (f64::from(found) - expected).abs() / expected;
                assert!(off < 0.06, "tenth {tenth} of {count}: {found}, {expected} expected");
            }
        }
    }
}
