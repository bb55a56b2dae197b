//! What a benchmark makes of what it saw: rates from positions over time, percentiles of latencies, the median of runs.
//!
//! Pure. Times are as the caller measured them; what cannot be told from them is `None`, never a made-up number.

use serde::Serialize;
use std::time::Duration;

/// Share of the rows at which the steady rate begins and ends: joining the group lies before it, the last, thinning batches
/// behind it.
const STEADY: (f64, f64) = (0.1, 0.9);

/// How many rows were stored at a moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sample {
    /// When, counted from any fixed moment.
    pub at: Duration,
    /// Rows stored by then.
    pub rows: u64,
}

/// How fast rows were stored.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Rates {
    /// From the last moment without a row to the first one with all of them, in seconds.
    pub seconds: f64,
    /// Rows a second in that time.
    pub rows_per_s: f64,
    /// Rows a second from 10 to 90 % of the rows.
    pub steady_rows_per_s: f64,
    /// The last moment without a row, in seconds, on the clock of the samples.
    pub began_s: f64,
}

/// The rates of `total` rows; `None` unless the samples reach from no row to all of them.
#[must_use]
pub fn rates(samples: &[Sample], total: u64) -> Option<Rates> {
    let first = samples.iter().rposition(|sample| sample.rows == 0)?;
    let last = samples.iter().find(|sample| sample.rows >= total && total > 0)?;
    let began_s = samples[first].at.as_secs_f64();
    let seconds = last.at.as_secs_f64() - began_s;
    let rows = total as f64;
    let steady_s = crossing(samples, rows * STEADY.1)? - crossing(samples, rows * STEADY.0)?;
    (seconds > 0.0 && steady_s > 0.0).then(|| Rates {
        seconds,
        rows_per_s: rows / seconds,
        steady_rows_per_s: rows * (STEADY.1 - STEADY.0) / steady_s,
        began_s,
    })
}

/// When so many rows were stored, in seconds: on the straight line between the two samples around it.
fn crossing(samples: &[Sample], rows: f64) -> Option<f64> {
    let pair = samples.windows(2).find(|pair| pair[1].rows as f64 >= rows)?;
    let [(before, there), (after, then)] =
        [0, 1].map(|which: usize| (pair[which].at.as_secs_f64(), pair[which].rows as f64));
    let share = if then > there { ((rows - there) / (then - there)).clamp(0.0, 1.0) } else { 0.0 };
    Some(before + share * (after - before))
}

/// How latencies are spread, in milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Percentiles {
    /// Half of them are at most this.
    pub p50: f64,
    /// 90 %.
    pub p90: f64,
    /// 99 %.
    pub p99: f64,
    /// 99.9 %.
    pub p999: f64,
    /// The largest.
    pub max: f64,
}

/// The percentiles of these values, each one of them (nearest rank); `None` of nothing.
#[must_use]
pub fn percentiles(mut values: Vec<f64>) -> Option<Percentiles> {
    values.sort_by(f64::total_cmp);
    let rank = |share: f64| {
        let rank = (share * values.len() as f64).ceil() as usize;
        values.get(rank.max(1) - 1).copied()
    };
    Some(Percentiles { p50: rank(0.5)?, p90: rank(0.9)?, p99: rank(0.99)?, p999: rank(0.999)?, max: rank(1.0)? })
}

/// Which of these values is the median; of an even number the lower one of the two in the middle. `None` of nothing.
#[must_use]
pub fn median(values: &[f64]) -> Option<usize> {
    let mut order: Vec<usize> = (0..values.len()).collect();
    order.sort_by(|&a, &b| values[a].total_cmp(&values[b]));
    order.get(values.len().checked_sub(1)? / 2).copied()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a missing value is the failure of the test")]
    use super::*;
    use proptest::prelude::*;

    fn samples(points: &[(u64, u64)]) -> Vec<Sample> {
        points.iter().map(|&(ms, rows)| Sample { at: Duration::from_millis(ms), rows }).collect()
    }

    #[test]
    fn the_clock_runs_from_the_last_moment_without_a_row_to_the_first_with_all() {
        let seen = samples(&[(0, 0), (500, 0), (1_500, 500), (2_500, 1_000), (9_000, 1_000)]);
        let rates = rates(&seen, 1_000).unwrap();
        assert_eq!((rates.seconds, rates.rows_per_s, rates.began_s), (2.0, 500.0, 0.5));
        assert!((rates.steady_rows_per_s - 500.0).abs() < 1e-9);
    }

    #[test]
    fn the_steady_rate_leaves_a_slow_start_and_a_slow_end_out() {
        let seen = samples(&[(0, 0), (10_000, 100), (11_000, 900), (30_000, 1_000)]);
        let rates = rates(&seen, 1_000).unwrap();
        assert!((rates.steady_rows_per_s - 800.0).abs() < 1e-9, "{rates:?}");
        assert!((rates.rows_per_s - 1_000.0 / 30.0).abs() < 1e-9);
    }

    #[test]
    fn what_never_began_or_never_ended_has_no_rate() {
        assert_eq!(rates(&[], 10), None);
        assert_eq!(rates(&samples(&[(0, 0), (10, 9)]), 10), None);
        assert_eq!(rates(&samples(&[(0, 5), (10, 10)]), 10), None);
        assert_eq!(rates(&samples(&[(0, 0), (10, 0)]), 0), None);
    }

    #[test]
    fn percentiles_are_values_that_were_there() {
        let p = percentiles((1..=1_000).rev().map(f64::from).collect()).unwrap();
        assert_eq!((p.p50, p.p90, p.p99, p.p999, p.max), (500.0, 900.0, 990.0, 999.0, 1_000.0));
        let one = percentiles(vec![7.0]).unwrap();
        assert_eq!((one.p50, one.p999, one.max), (7.0, 7.0, 7.0));
        assert_eq!(percentiles(Vec::new()), None);
    }

    #[test]
    fn the_median_is_one_of_the_runs() {
        assert_eq!(median(&[]), None);
        assert_eq!(median(&[3.0]), Some(0));
        assert_eq!(median(&[3.0, 1.0]), Some(1));
        assert_eq!(median(&[3.0, 1.0, 2.0]), Some(2));
    }

    proptest! {
        #[test]
        fn a_drain_that_goes_on_has_rates_that_fit_its_times(
            steps in prop::collection::vec((1_u64..1_000, 0_u64..100_000), 1..60),
            idle in 0_u64..10_000,
        ) {
            let (mut at, mut rows) = (idle, 0);
            let mut points = vec![(0, 0), (idle, 0)];
            for (ms, more) in steps {
                at += ms;
                rows += more;
                points.push((at, rows));
            }
            let seen = samples(&points);
            match rates(&seen, rows) {
                None => prop_assert_eq!(rows, 0),
                Some(found) => {
                    prop_assert!(found.seconds > 0.0 && found.seconds <= (at - idle) as f64 / 1_000.0 + 1e-9);
                    // 80 % of the rows cannot take longer than all of them.
                    prop_assert!(found.steady_rows_per_s >= found.rows_per_s * 0.8 - 1e-6, "{:?}", found);
                }
            }
        }

        #[test]
        fn percentiles_ascend_and_the_median_has_as_many_below_as_above(
            values in prop::collection::vec(0.0_f64..1e6, 1..200),
        ) {
            let p = percentiles(values.clone()).unwrap();
            prop_assert!(p.p50 <= p.p90 && p.p90 <= p.p99 && p.p99 <= p.p999 && p.p999 <= p.max);
            prop_assert!(values.contains(&p.p50) && values.contains(&p.max));
            let middle = values[median(&values).unwrap()];
            prop_assert!(values.iter().filter(|&&value| value < middle).count() <= values.len() / 2);
            prop_assert!(values.iter().filter(|&&value| value > middle).count() <= values.len() / 2);
        }
    }
}
