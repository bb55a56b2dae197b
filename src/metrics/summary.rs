//! A histogram in three figures, for people. Pure; as exact as the buckets are.

use prometheus::HistogramVec;
use prometheus::core::Collector as _;

/// What a histogram says.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Summary {
    /// Observations.
    pub count: u64,
    /// Their mean; `None` without any.
    pub mean: Option<f64>,
    /// The value that 95 of 100 do not exceed, estimated within its bucket as Prometheus does; of the last bucket its bound.
    pub p95: Option<f64>,
}

/// The series of a histogram whose label has this value.
#[must_use]
pub fn summary(histogram: &HistogramVec, label: &str, value: &str) -> Summary {
    let families = histogram.collect();
    let mut series = families.iter().flat_map(|family| family.get_metric());
    let wanted = series.find(|one| one.get_label().iter().any(|l| l.name() == label && l.value() == value));
    let Some(wanted) = wanted.map(|one| one.get_histogram()).filter(|one| one.get_sample_count() > 0) else {
        return Summary::default();
    };
    let count = wanted.get_sample_count();
    let buckets: Vec<(f64, u64)> =
        wanted.get_bucket().iter().map(|bucket| (bucket.upper_bound(), bucket.cumulative_count())).collect();
    Summary { count, mean: Some(wanted.get_sample_sum() / count as f64), p95: Some(quantile(0.95, count, &buckets)) }
}

/// The value below which this share of `count` observations lies. `buckets` are (upper bound, observations up to it).
fn quantile(share: f64, count: u64, buckets: &[(f64, u64)]) -> f64 {
    let rank = share * count as f64;
    let (mut bound, mut below) = (0.0, 0);
    for &(upper, observed) in buckets {
        if observed as f64 >= rank {
            let within = (rank - below as f64) / (observed - below).max(1) as f64;
            return if upper.is_finite() { bound + (upper - bound) * within } else { bound };
        }
        if upper.is_finite() {
            (bound, below) = (upper, observed);
        }
    }
    bound
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a missing value is the failure of the test")]

    use super::*;
    use prometheus::HistogramOpts;

    #[test]
    fn a_quantile_is_estimated_within_its_bucket() {
        let options = HistogramOpts::new("h", "h").buckets(vec![1.0, 2.0, 4.0]);
        let histogram = HistogramVec::new(options, &["outcome"]).unwrap();
        assert_eq!(summary(&histogram, "outcome", "stored"), Summary::default());
        let stored = histogram.with_label_values(&["stored"]);
        histogram.with_label_values(&["error"]).observe(100.0);
        for _ in 0..90 {
            stored.observe(0.5);
        }
        for _ in 0..10 {
            stored.observe(3.0);
        }
        let found = summary(&histogram, "outcome", "stored");
        assert_eq!((found.count, found.mean), (100, Some(0.75)));
        assert_eq!(found.p95, Some(3.0), "half of the way through the bucket from 2 to 4");
        for _ in 0..900 {
            stored.observe(50.0);
        }
        assert_eq!(summary(&histogram, "outcome", "stored").p95, Some(4.0), "the last bound that is known");
    }
}
