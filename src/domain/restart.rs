//! The restart policy of a supervised child: start it again after a backoff, or give up.
//!
//! Pure: `now` is the time since any fixed moment, randomness is a number. A budget remembers at most `intensity`
//! restarts. Intensity and backoff are set together: delays that add up to more than `period` before `intensity`
//! restarts are used mean that the child is started again for ever.

use std::collections::VecDeque;
use std::time::Duration;

use super::backoff::{Backoff, Retries};

/// When and how often a child is started again.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct RestartPolicy {
    /// The delays between starts.
    pub backoff: Backoff,
    /// Restarts within `period` past which the child is given up.
    pub intensity: u32,
    /// The window of `intensity`.
    pub period: Duration,
}

/// What happens when a child spends its restarts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Escalation {
    /// The others keep running; the child stays `failed` until an operator starts it.
    KeepOthers,
    /// The process drains and exits non-zero.
    Exit,
}

/// What to do about a child that failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RestartDecision {
    /// Start it again after this time.
    RestartAfter(Duration),
    /// Its restarts are spent.
    GiveUp,
}

/// A policy and what a child has used of it.
#[derive(Debug, Clone, PartialEq)]
pub struct RestartBudget {
    policy: RestartPolicy,
    retries: Retries,
    /// Times of the restarts within the period, oldest first; never more than `intensity`.
    used: VecDeque<Duration>,
}

impl RestartBudget {
    /// A full budget.
    #[must_use]
    pub fn new(policy: RestartPolicy) -> Self {
        Self { policy, retries: Retries::new(policy.backoff), used: VecDeque::new() }
    }

    /// Decides about a child that failed at `now` after `stable_for` of undisturbed running (zero if it never ran).
    pub fn on_failure(&mut self, now: Duration, stable_for: Duration, random: f64) -> RestartDecision {
        self.forget_before(now);
        if self.used.len() >= self.policy.intensity as usize {
            return RestartDecision::GiveUp;
        }
        self.used.push_back(now);
        RestartDecision::RestartAfter(self.retries.next_delay(stable_for, random))
    }

    /// Restarts that are left at `now`.
    #[must_use]
    pub fn budget_left(&self, now: Duration) -> u32 {
        let used = self.used.iter().filter(|at| self.counts(**at, now)).count();
        self.policy.intensity.saturating_sub(u32::try_from(used).unwrap_or(u32::MAX))
    }

    /// Failures since the last stable time.
    #[must_use]
    pub fn attempt(&self) -> u32 {
        self.retries.attempt()
    }

    /// The policy.
    #[must_use]
    pub fn policy(&self) -> &RestartPolicy {
        &self.policy
    }

    /// A full budget again: an operator started the child.
    pub fn refill(&mut self) {
        self.used.clear();
        self.retries.reset();
    }

    /// Whether a restart at `at` still counts at `now`.
    fn counts(&self, at: Duration, now: Duration) -> bool {
        now.saturating_sub(at) < self.policy.period
    }

    fn forget_before(&mut self, now: Duration) {
        while self.used.front().is_some_and(|at| !self.counts(*at, now)) {
            self.used.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn policy(intensity: u32, period_ms: u64) -> RestartPolicy {
        RestartPolicy {
            backoff: Backoff {
                min: Duration::from_millis(100),
                max: Duration::from_secs(5),
                factor: 2.0,
                jitter: 0.0,
                reset_after: Duration::from_secs(10),
            },
            intensity,
            period: Duration::from_millis(period_ms),
        }
    }

    #[test]
    fn delays_grow_and_the_restart_past_the_intensity_is_refused() {
        let mut budget = RestartBudget::new(policy(3, 60_000));
        let mut fail = |at_ms| budget.on_failure(Duration::from_millis(at_ms), Duration::ZERO, 0.5);
        assert_eq!(fail(0), RestartDecision::RestartAfter(Duration::from_millis(100)));
        assert_eq!(fail(200), RestartDecision::RestartAfter(Duration::from_millis(200)));
        assert_eq!(fail(500), RestartDecision::RestartAfter(Duration::from_millis(400)));
        assert_eq!(fail(900), RestartDecision::GiveUp);
        assert_eq!(budget.budget_left(Duration::from_millis(900)), 0);
        budget.refill();
        assert_eq!(budget.budget_left(Duration::from_millis(900)), 3);
        assert_eq!(budget.attempt(), 0);
    }

    #[test]
    fn an_intensity_of_zero_never_restarts() {
        let mut budget = RestartBudget::new(policy(0, 60_000));
        assert_eq!(budget.on_failure(Duration::ZERO, Duration::ZERO, 0.0), RestartDecision::GiveUp);
    }

    proptest! {
        /// The model keeps every restart ever made and counts those within the period.
        #[test]
        fn the_budget_agrees_with_a_model_that_forgets_nothing(
            intensity in 0u32..6,
            period_ms in 1u64..5_000,
            failures in prop::collection::vec((0u64..2_000, 0u64..20_000), 0..60),
        ) {
            let policy = policy(intensity, period_ms);
            let mut budget = RestartBudget::new(policy);
            let mut restarts: Vec<u64> = Vec::new();
            let mut attempt = 0;
            let mut now = 0;
            for (passed, stable_ms) in failures {
                now += passed;
                let at = Duration::from_millis(now);
                let recent = restarts.iter().filter(|then| now - **then < period_ms).count();
                prop_assert_eq!(budget.budget_left(at) as usize, intensity as usize - recent);
                let expected = if recent >= intensity as usize {
                    RestartDecision::GiveUp
                } else {
                    restarts.push(now);
                    if Duration::from_millis(stable_ms) >= policy.backoff.reset_after {
                        attempt = 0;
                    }
                    attempt += 1;
                    RestartDecision::RestartAfter(policy.backoff.delay(attempt - 1, 0.0))
                };
                prop_assert_eq!(budget.on_failure(at, Duration::from_millis(stable_ms), 0.0), expected);
                prop_assert!(budget.used.len() <= intensity as usize);
            }
        }
    }
}
