//! The last hour as numbers: five minutes in seconds, sixty in twelve seconds each.
//!
//! Pure. Bound: [`POINTS`] points of each step for each series, two series for each consumer that was there within the hour. What
//! was not measured is unknown, not zero; a time in which nobody measured is filled with unknown points. Cannot fail.

use serde::Serialize;
use std::collections::{BTreeMap, VecDeque};

/// Time between two points of the fine step, in milliseconds.
pub const STEP_MS: i64 = 1_000;
/// Fine points that make a coarse one.
const COARSE: usize = 12;
/// Points that are kept of each step.
pub const POINTS: usize = 300;
/// Minutes that the fine step reaches back.
pub const FINE_MINUTES: u32 = 5;
/// Minutes that the coarse step reaches back.
pub const MOST_MINUTES: u32 = 60;
/// Points over which a trend is told.
const TREND_POINTS: usize = 30;
/// Fewer known points are no trend.
const FEWEST_TREND_POINTS: usize = 5;

/// The names of the series of the whole process, in their order.
pub const SERIES: [&str; 5] = ["stored_per_s", "dead_letters_per_s", "errors_per_s", "lag", "lag_seconds"];
/// The names of the series of a consumer, in their order.
pub const CONSUMER_SERIES: [&str; 2] = ["stored_per_s", "lag"];

/// The newest points of one number, oldest first.
#[derive(Debug, Clone, Default)]
struct Ring(VecDeque<Option<f64>>);

impl Ring {
    fn push(&mut self, value: Option<f64>) {
        if self.0.len() == POINTS {
            self.0.pop_front();
        }
        self.0.push_back(value);
    }

    fn is_unknown(&self) -> bool {
        self.0.iter().all(Option::is_none)
    }

    /// The newest `count` points; unknown where there are fewer.
    fn newest(&self, count: usize) -> Vec<Option<f64>> {
        let missing = count.saturating_sub(self.0.len());
        let there = self.0.iter().skip(self.0.len().saturating_sub(count)).copied();
        // More digits than anybody reads would only be sent.
        let rounded = |value: f64| (value * 1_000.0).round() / 1_000.0;
        std::iter::repeat_n(None, missing).chain(there.map(|value| value.map(rounded))).collect()
    }
}

#[derive(Debug, Clone, Default)]
struct Series {
    fine: Ring,
    coarse: Ring,
}

impl Series {
    fn push(&mut self, value: Option<f64>, coarse: bool) {
        self.fine.push(value.filter(|value| value.is_finite()));
        if coarse {
            let known: Vec<f64> = self.fine.0.iter().rev().take(COARSE).flatten().copied().collect();
            self.coarse.push((!known.is_empty()).then(|| known.iter().sum::<f64>() / known.len() as f64));
        }
    }
}

/// What is measured at one time.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Point {
    /// In the order of [`SERIES`].
    pub all: [Option<f64>; 5],
    /// By consumer, in the order of [`CONSUMER_SERIES`].
    pub consumers: BTreeMap<String, [Option<f64>; 2]>,
}

/// The history as it is shown.
#[derive(Debug, Clone, PartialEq, Serialize, utoipa::ToSchema)]
pub struct HistoryView {
    /// Time between two points.
    pub step_ms: i64,
    /// When the first point was measured, in milliseconds since the epoch.
    pub from_ms: i64,
    /// How many points each series has.
    pub points: usize,
    /// Of the whole process, by name; null where unknown.
    pub series: BTreeMap<&'static str, Vec<Option<f64>>>,
    /// By consumer and name.
    pub consumers: BTreeMap<String, BTreeMap<&'static str, Vec<Option<f64>>>>,
}

/// See the module.
#[derive(Debug, Clone, Default)]
pub struct History {
    all: [Series; 5],
    consumers: BTreeMap<String, [Series; 2]>,
    ticks: usize,
    fine_at_ms: i64,
    coarse_at_ms: i64,
}

impl History {
    /// Adds what was measured now, a step after the last time.
    pub fn push(&mut self, now_ms: i64, point: Point) {
        if self.ticks > 0 {
            let missed = (now_ms - self.fine_at_ms + STEP_MS / 2) / STEP_MS - 1;
            let most = i64::from(MOST_MINUTES) * 60;
            for step in (1..=missed.clamp(0, most)).rev() {
                self.push_one(now_ms - step * STEP_MS, Point::default());
            }
        }
        self.push_one(now_ms, point);
    }

    fn push_one(&mut self, now_ms: i64, mut point: Point) {
        self.ticks += 1;
        self.fine_at_ms = now_ms;
        let coarse = self.ticks.is_multiple_of(COARSE);
        if coarse {
            self.coarse_at_ms = now_ms;
        }
        for (series, value) in self.all.iter_mut().zip(point.all) {
            series.push(value, coarse);
        }
        for (id, all) in &mut self.consumers {
            let values = point.consumers.remove(id).unwrap_or_default();
            all.iter_mut().zip(values).for_each(|(series, value)| series.push(value, coarse));
        }
        for (id, values) in point.consumers {
            let all = self.consumers.entry(id).or_default();
            all.iter_mut().zip(values).for_each(|(series, value)| series.push(value, coarse));
        }
        // A consumer that was taken away is shown as long as something of it is.
        if coarse {
            let known = |series: &Series| !series.fine.is_unknown() || !series.coarse.is_unknown();
            self.consumers.retain(|_, all| all.iter().any(known));
        }
    }

    /// The last minutes: in seconds as far as they reach, else in steps of twelve.
    #[must_use]
    pub fn view(&self, minutes: u32) -> HistoryView {
        let fine = minutes <= FINE_MINUTES;
        let (step_ms, at_ms) =
            if fine { (STEP_MS, self.fine_at_ms) } else { (STEP_MS * COARSE as i64, self.coarse_at_ms) };
        let ring = |series: &Series| -> Ring { if fine { series.fine.clone() } else { series.coarse.clone() } };
        let most = usize::try_from(i64::from(minutes) * 60_000 / step_ms).unwrap_or(POINTS);
        let points = ring(&self.all[0]).0.len().min(most);
        let newest = |series: &Series| ring(series).newest(points);
        let named = |names: &[&'static str], all: &[Series]| -> BTreeMap<&'static str, Vec<Option<f64>>> {
            names.iter().copied().zip(all.iter().map(newest)).collect()
        };
        HistoryView {
            step_ms,
            from_ms: at_ms - step_ms * (points.max(1) as i64 - 1),
            points,
            series: named(&SERIES, &self.all),
            consumers: self.consumers.iter().map(|(id, all)| (id.clone(), named(&CONSUMER_SERIES, all))).collect(),
        }
    }

    /// How much the lag grew a second, over the last half minute; `None` while too little is known.
    #[must_use]
    pub fn lag_trend_per_s(&self) -> Option<f64> {
        slope(self.all[3].fine.0.iter().rev().take(TREND_POINTS).copied())
    }
}

/// The slope of the line through these points, newest first, a second apart, by least squares.
fn slope(newest_first: impl Iterator<Item = Option<f64>>) -> Option<f64> {
    let known: Vec<(f64, f64)> = newest_first.enumerate().filter_map(|(ago, y)| Some((-(ago as f64), y?))).collect();
    if known.len() < FEWEST_TREND_POINTS {
        return None;
    }
    let count = known.len() as f64;
    let mean = |of: fn(&(f64, f64)) -> f64| known.iter().map(of).sum::<f64>() / count;
    let (x, y) = (mean(|point| point.0), mean(|point| point.1));
    let (above, below) = known.iter().fold((0.0, 0.0), |(above, below), point| {
        (above + (point.0 - x) * (point.1 - y), below + (point.0 - x).powi(2))
    });
    Some(above / below)
}

/// Seconds until nothing is behind, when it goes on like this; `None` where it does not shrink.
#[must_use]
pub fn time_to_zero_s(lag: Option<i64>, trend_per_s: Option<f64>) -> Option<f64> {
    match (lag?, trend_per_s) {
        (0, _) => Some(0.0),
        (lag, Some(trend)) if trend < 0.0 => Some(lag as f64 / -trend),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn point(value: f64) -> Point {
        Point { all: [Some(value); 5], ..Point::default() }
    }

    fn of(id: &str, value: f64) -> Point {
        Point { consumers: BTreeMap::from([(id.to_owned(), [Some(value), None])]), ..point(value) }
    }

    #[test]
    fn five_minutes_are_kept_in_seconds_and_an_hour_in_steps_of_twelve() {
        let mut history = History::default();
        assert_eq!((history.view(5).points, history.view(60).points), (0, 0));
        for second in 1..=4_000_i64 {
            history.push(second * 1_000, point(second as f64));
        }
        let fine = history.view(5);
        assert_eq!((fine.step_ms, fine.points, fine.from_ms), (1_000, 300, 3_701_000));
        assert_eq!(fine.series["lag"][0], Some(3_701.0));
        assert_eq!(fine.series["lag"][299], Some(4_000.0));
        assert_eq!(history.view(1).series["stored_per_s"].len(), 60);
        let coarse = history.view(60);
        // The last whole step ended with the second 3996.
        assert_eq!((coarse.step_ms, coarse.points, coarse.from_ms), (12_000, 300, 3_996_000 - 299 * 12_000));
        assert_eq!(coarse.series["lag"][299], Some(3_990.5));
        assert_eq!(history.view(10).points, 50);
        assert_eq!(coarse.series.len(), SERIES.len());
    }

    #[test]
    fn what_nobody_measured_is_unknown() {
        let mut history = History::default();
        history.push(1_000, point(1.0));
        history.push(4_100, point(2.0));
        let view = history.view(5);
        assert_eq!(view.series["lag"], [Some(1.0), None, None, Some(2.0)]);
        assert_eq!(view.from_ms, 1_100);
        history.push(5_100, Point { all: [Some(f64::NAN), None, None, None, None], ..Point::default() });
        assert_eq!(history.view(5).series["stored_per_s"][4], None);
        // A machine that slept for a day has no history, and wakes at once.
        history.push(90_000_000, point(3.0));
        assert_eq!(history.view(5).series["lag"].iter().flatten().count(), 1);
    }

    #[test]
    fn a_consumer_has_its_own_series_and_goes_when_nothing_of_it_is_left() {
        let mut history = History::default();
        history.push(1_000, of("a", 1.0));
        history.push(2_000, of("b", 2.0));
        let view = history.view(5);
        assert_eq!(view.consumers["a"]["stored_per_s"], [Some(1.0), None]);
        assert_eq!(view.consumers["b"]["stored_per_s"], [None, Some(2.0)]);
        for second in 3..=3_700 {
            history.push(second * 1_000, of("b", 2.0));
        }
        assert_eq!(history.view(5).consumers.keys().collect::<Vec<_>>(), ["b"]);
    }

    #[test]
    fn the_trend_of_the_lag_tells_when_it_will_be_gone() {
        let mut history = History::default();
        for second in 0..4 {
            history.push(second * 1_000, point(1_000.0 - 20.0 * second as f64));
        }
        assert_eq!(history.lag_trend_per_s(), None, "too little is known");
        for second in 4..10 {
            history.push(second * 1_000, point(1_000.0 - 20.0 * second as f64));
        }
        let trend = history.lag_trend_per_s();
        assert!((trend.unwrap_or_default() + 20.0).abs() < 1e-9, "{trend:?}");
        assert!((time_to_zero_s(Some(820), trend).unwrap_or_default() - 41.0).abs() < 1e-9);
        assert_eq!(time_to_zero_s(Some(820), Some(3.0)), None);
        assert_eq!(time_to_zero_s(Some(820), None), None);
        assert_eq!(time_to_zero_s(Some(0), None), Some(0.0));
        assert_eq!(time_to_zero_s(None, Some(-3.0)), None);
    }
}
