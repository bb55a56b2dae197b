//! Series that come and go: of partitions, stops, holds, consumers and findings. Bounded by what this process owns.
//! Nothing here fails: a series that is gone already is what was wanted.

use super::{HOLDS, Metrics, STATES};
use prometheus::core::Collector as _;
use prometheus::proto::MetricFamily;
use std::collections::{BTreeMap, BTreeSet, HashMap};

impl Metrics {
    /// Replaces the findings of the audit: partitions that are gone lose their series.
    pub fn set_unaccounted(&self, offsets: &BTreeMap<(String, i32), i64>) {
        for family in self.unaccounted_offsets.collect() {
            for metric in family.get_metric() {
                let labels: HashMap<&str, &str> = metric.get_label().iter().map(|l| (l.name(), l.value())).collect();
                let there = |(topic, partition): &(String, i32)| {
                    labels.get("topic") == Some(&topic.as_str())
                        && labels.get("partition") == Some(&partition.to_string().as_str())
                };
                if !offsets.keys().any(there) {
                    // An error says that the series is gone already, which is what is wanted.
                    let _ = self.unaccounted_offsets.remove(&labels);
                }
            }
        }
        for ((topic, partition), &count) in offsets {
            self.unaccounted_offsets.with_label_values(&[topic, &partition.to_string()]).set(count);
        }
    }

    /// Removes every series of consumers and children that are not among these: a child that was taken away for good would
    /// look like one that stands still.
    pub fn forget_others(&self, consumers: &[&str], children: &[&str]) {
        let gone = |family: Vec<MetricFamily>, label: &str, kept: &[&str]| -> BTreeSet<String> {
            let metrics = family.iter().flat_map(MetricFamily::get_metric);
            let values = metrics.flat_map(|metric| metric.get_label()).filter(|pair| pair.name() == label);
            values.map(|pair| pair.value().to_owned()).filter(|value| !kept.contains(&value.as_str())).collect()
        };
        for consumer_id in gone(self.consumer_state.collect(), "consumer_id", consumers) {
            self.forget("consumer_id", &consumer_id);
        }
        for child in gone(self.child_restarts.collect(), "child", children) {
            self.forget("child", &child);
        }
    }

    /// Sets the series of this state to 1 and those of the others to 0; `state` is one of [`STATES`].
    pub fn set_consumer_state(&self, consumer_id: &str, state: &str) {
        for name in STATES {
            self.consumer_state.with_label_values(&[consumer_id, name]).set(i64::from(name == state));
        }
    }

    /// Marks the partition as stopped for this reason, and for no other.
    pub fn set_partition_stopped(&self, topic: &str, partition: i32, code: &str) {
        self.clear_partition_stopped(topic, partition);
        self.keep_partition_stopped(topic, partition, code);
    }

    /// Sets the mark of [`Self::set_partition_stopped`] again: whoever owned the partition before, in the same process, may have
    /// taken it away with its own.
    pub fn keep_partition_stopped(&self, topic: &str, partition: i32, code: &str) {
        self.partitions_stopped.with_label_values(&[topic, &partition.to_string(), code]).set(1);
    }

    /// Takes the mark of [`Self::set_partition_stopped`] away.
    pub fn clear_partition_stopped(&self, topic: &str, partition: i32) {
        let partition = partition.to_string();
        // The code is not known here, so the series are found by the other two labels.
        for family in self.partitions_stopped.collect() {
            for metric in family.get_metric() {
                let labels: HashMap<&str, &str> = metric.get_label().iter().map(|l| (l.name(), l.value())).collect();
                if labels.get("topic") == Some(&topic) && labels.get("partition") == Some(&partition.as_str()) {
                    // An error says that the series is gone already, which is what is wanted.
                    let _ = self.partitions_stopped.remove(&labels);
                }
            }
        }
    }

    /// Marks the partition as held by this kind of hold, or as not held.
    pub fn set_partition_held(&self, topic: &str, partition: i32, kind: Option<&str>) {
        let partition = partition.to_string();
        for other in HOLDS {
            if kind == Some(other) {
                self.partition_held.with_label_values(&[topic, &partition, other]).set(1);
            } else {
                // An error says that the series was never set, which is what is wanted.
                let _ = self.partition_held.remove_label_values(&[topic, &partition, other]);
            }
        }
    }

    /// Sets the mark of [`Self::set_partition_held`] again, for the same reason.
    pub fn keep_partition_held(&self, topic: &str, partition: i32, kind: &str) {
        self.partition_held.with_label_values(&[topic, &partition.to_string(), kind]).set(1);
    }

    /// Removes the gauges of what a consumer that has ended owned.
    pub fn clear_consumer<'p>(
        &self,
        consumer_id: &str,
        topics: impl Iterator<Item = &'p String>,
        owned: impl Iterator<Item = (&'p str, i32)>,
    ) {
        for (topic, partition) in owned {
            self.clear_partition(consumer_id, topic, partition);
        }
        for topic in topics {
            // Removed and not zero: the consumer itself may be forgotten already. An error says that it is.
            let _ = self.consumer_assigned_partitions.remove_label_values(&[consumer_id, topic]);
        }
    }

    /// Removes the gauges of a partition that the consumer does not own any more.
    pub fn clear_partition(&self, consumer_id: &str, topic: &str, partition: i32) {
        let number = partition.to_string();
        // Errors say that the series was never set, which is what is wanted.
        let _ = self.consumer_lag_messages.remove_label_values(&[consumer_id, topic, &number]);
        let _ = self.consumer_position_offset.remove_label_values(&[consumer_id, topic, &number]);
        let _ = self.partition_end_offset.remove_label_values(&[topic, &number]);
        self.clear_partition_stopped(topic, partition);
        self.set_partition_held(topic, partition, None);
    }
}
