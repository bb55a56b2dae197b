//! Exponential backoff with jitter: how long to wait before the next attempt.
//!
//! Pure: time and randomness are arguments. Holds one counter, never fails; values that make no sense (a factor below 1,
//! a jitter outside 0 to 1) are taken as the nearest one that does.

use std::time::Duration;

/// How delays grow from attempt to attempt.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Backoff {
    /// Delay of the first attempt, before jitter.
    pub min: Duration,
    /// Longest delay.
    pub max: Duration,
    /// Growth of the delay per attempt, at least 1.
    pub factor: f64,
    /// Share of the delay that is random, 0 to 1. Some of it keeps children that failed together from starting together.
    pub jitter: f64,
    /// Time of undisturbed running after which the delay starts at `min` again.
    pub reset_after: Duration,
}

impl Backoff {
    /// The delay before attempt number `attempt`, counted from 0; `random` is between 0 and 1.
    ///
    /// It lies between `(1 - jitter)` of the undisturbed delay and that delay, so it never exceeds `max`.
    #[must_use]
    pub fn delay(&self, attempt: u32, random: f64) -> Duration {
        if self.min.is_zero() {
            return Duration::ZERO;
        }
        let factor = if self.factor >= 1.0 { self.factor } else { 1.0 };
        let exponent = i32::try_from(attempt).unwrap_or(i32::MAX);
        let grown = self.min.as_secs_f64() * factor.powi(exponent);
        let full = if grown < self.max.as_secs_f64() { Duration::from_secs_f64(grown) } else { self.max };
        let jitter = share(self.jitter);
        full.mul_f64(1.0 - jitter + jitter * share(random)).min(self.max)
    }
}

/// The number within 0 to 1; what is not a number is 0.
fn share(value: f64) -> f64 {
    if value.is_nan() { 0.0 } else { value.clamp(0.0, 1.0) }
}

/// A backoff and how far it has got.
#[derive(Debug, Clone, PartialEq)]
pub struct Retries {
    backoff: Backoff,
    attempt: u32,
}

impl Retries {
    /// Nothing has failed yet.
    #[must_use]
    pub fn new(backoff: Backoff) -> Self {
        Self { backoff, attempt: 0 }
    }

    /// The delay after a failure that ended `stable_for` of undisturbed running (zero if it never ran).
    pub fn next_delay(&mut self, stable_for: Duration, random: f64) -> Duration {
        if stable_for >= self.backoff.reset_after {
            self.reset();
        }
        let delay = self.backoff.delay(self.attempt, random);
        self.attempt = self.attempt.saturating_add(1);
        delay
    }

    /// Failures since the last reset.
    #[must_use]
    pub fn attempt(&self) -> u32 {
        self.attempt
    }

    /// Starts at `min` again.
    pub fn reset(&mut self) {
        self.attempt = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn backoffs() -> impl Strategy<Value = Backoff> {
        (1u64..10_000, 0u64..100_000, 1.0f64..4.0, 0.0f64..=1.0).prop_map(|(min, more, factor, jitter)| Backoff {
            min: Duration::from_millis(min),
            max: Duration::from_millis(min + more),
            factor,
            jitter,
            reset_after: Duration::from_secs(60),
        })
    }

    proptest! {
        #[test]
        fn a_delay_never_leaves_its_bounds(b in backoffs(), attempt: u32, random in 0.0f64..=1.0) {
            let delay = b.delay(attempt, random);
            prop_assert!(delay <= b.max);
            prop_assert!(delay + Duration::from_micros(1) >= b.min.mul_f64(1.0 - b.jitter));
        }

        #[test]
        fn without_jitter_delays_grow_until_the_longest(b in backoffs(), attempt in 0u32..200, random in 0.0f64..=1.0) {
            let b = Backoff { jitter: 0.0, ..b };
            prop_assert!(b.delay(attempt, random) <= b.delay(attempt + 1, random));
            prop_assert_eq!(b.delay(0, random), b.min);
        }

        #[test]
        fn a_stable_time_starts_the_delays_again(b in backoffs(), failures in 1u32..50) {
            let b = Backoff { jitter: 0.0, ..b };
            let mut retries = Retries::new(b);
            for n in 0..failures {
                prop_assert_eq!(retries.next_delay(Duration::from_secs(59), 0.0), b.delay(n, 0.0));
            }
            prop_assert_eq!(retries.attempt(), failures);
            prop_assert_eq!(retries.next_delay(b.reset_after, 0.0), b.min);
            prop_assert_eq!(retries.attempt(), 1);
        }

        #[test]
        fn senseless_numbers_never_panic_and_keep_the_longest_delay(factor: f64, jitter: f64, random: f64, attempt: u32, min: u32, max: u32) {
            let b = Backoff {
                min: Duration::from_millis(min.into()),
                max: Duration::from_millis(max.into()),
                factor,
                jitter,
                reset_after: Duration::ZERO,
            };
            prop_assert!(b.delay(attempt, random) <= b.max);
        }
    }
}
