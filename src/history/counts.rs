//! Counters that only the metrics have, summed over consumers, also those that were taken away; and numbers over time.
//!
//! Bound: one entry per consumer; a window has as many values as its owner says. Cannot fail.

use crate::domain::status::{ChildKind, ChildStatus};
use crate::metrics::Metrics;
use prometheus::core::Collector as _;
use std::collections::{BTreeMap, VecDeque};

/// Ends of a child that nobody ordered.
const FAULTS: [&str; 4] = ["error", "panicked", "stalled", "fenced"];

#[derive(Debug, Clone, Copy, Default)]
struct Counted {
    consumed: u64,
    bytes: u64,
    errors: u64,
}

/// See the module.
#[derive(Debug, Default)]
pub struct Counts {
    consumers: BTreeMap<String, Counted>,
    /// Of consumers whose series are gone.
    gone: Counted,
    /// Of children that are no consumers.
    other_errors: u64,
}

impl Counts {
    /// Reads the counters of the consumers that there are.
    pub fn look(&mut self, metrics: &Metrics, children: &[ChildStatus], topics: &[String]) {
        let consumers = || children.iter().filter(|child| child.kind == ChildKind::Consumer);
        for (_, gone) in self.consumers.extract_if(.., |id, _| !consumers().any(|child| child.id == *id)) {
            self.gone.consumed += gone.consumed;
            self.gone.bytes += gone.bytes;
            self.gone.errors += gone.errors;
        }
        for child in consumers() {
            let id = child.id.as_str();
            let mut now = Counted::default();
            for topic in topics {
                now.consumed += metrics.messages_consumed.with_label_values(&[id, topic]).get();
                now.bytes += metrics.messages_consumed_bytes.with_label_values(&[id, topic]).get();
            }
            now.errors += metrics.message_retries.with_label_values(&[id, "process"]).get();
            now.errors += metrics.message_retries.with_label_values(&[id, "store"]).get();
            now.errors += metrics.offset_commits.with_label_values(&[id, "error"]).get();
            now.errors +=
                FAULTS.map(|fault| metrics.consumer_restarts.with_label_values(&[id, fault]).get()).iter().sum::<u64>();
            match self.consumers.get_mut(id) {
                Some(counted) => *counted = now,
                None => drop(self.consumers.insert(id.to_owned(), now)),
            }
        }
        self.other_errors = metrics
            .child_restarts
            .collect()
            .iter()
            .flat_map(|family| family.get_metric())
            .filter(|metric| {
                let label =
                    |name: &str| metric.get_label().iter().find(|pair| pair.name() == name).map(|pair| pair.value());
                label("kind") != Some(ChildKind::Consumer.as_str())
                    && label("cause").is_some_and(|cause| FAULTS.contains(&cause))
            })
            // A counter of whole numbers, so nothing is cut off.
            .map(|metric| metric.get_counter().get_value() as u64)
            .sum();
    }

    fn all(&self, of: fn(&Counted) -> u64) -> u64 {
        self.consumers.values().map(of).sum::<u64>() + of(&self.gone)
    }

    /// Records taken from Kafka.
    pub fn consumed(&self) -> u64 {
        self.all(|counted| counted.consumed)
    }

    /// Bytes taken from Kafka.
    pub fn bytes(&self) -> u64 {
        self.all(|counted| counted.bytes)
    }

    /// Errors of consumers and all other children.
    pub fn errors(&self) -> u64 {
        self.all(|counted| counted.errors) + self.other_errors
    }

    /// Errors of one consumer.
    pub fn errors_of(&self, consumer_id: &str) -> u64 {
        self.consumers.get(consumer_id).map_or(0, |counted| counted.errors)
    }
}

/// The newest values of one number, with their times.
#[derive(Debug, Clone, Default)]
pub struct Window(VecDeque<(i64, f64)>);

impl Window {
    /// Adds a value; `most` are kept.
    pub fn push(&mut self, now_ms: i64, value: f64, most: usize) {
        self.0.push_back((now_ms, value));
        while self.0.len() > most {
            self.0.pop_front();
        }
    }

    /// How much it grew over the window, where there are two values.
    pub fn change(&self) -> Option<f64> {
        let (first, last) = (self.0.front()?, self.0.back()?);
        (self.0.len() > 1).then(|| (last.1 - first.1).max(0.0))
    }

    /// How much a counter grew a second, over the window.
    pub fn rate(&self) -> f64 {
        let over = |first: &(i64, f64), last: &(i64, f64)| per_second(*first, *last);
        self.0.front().zip(self.0.back()).and_then(|(first, last)| over(first, last)).unwrap_or(0.0)
    }

    /// The same since the value before.
    pub fn last_rate(&self) -> Option<f64> {
        let before = self.0.get(self.0.len().checked_sub(2)?)?;
        per_second(*before, *self.0.back()?)
    }

    /// The mean.
    pub fn mean(&self) -> f64 {
        self.0.iter().map(|(_, value)| value).sum::<f64>() / self.0.len().max(1) as f64
    }
}

/// A counter that became smaller began anew.
fn per_second(first: (i64, f64), last: (i64, f64)) -> Option<f64> {
    let ms = last.0 - first.0;
    (ms > 0).then(|| (last.1 - first.1).max(0.0) * 1_000.0 / ms as f64)
}
