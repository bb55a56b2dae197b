//! The questions about events to a store that fails on demand. Bound and failures: as the wrapped one.

use super::FaultyStore;
use super::questions::Answer;
use crate::domain::event_search::EventFilter;
use crate::domain::lookback::{Partition, Run, Window};
use crate::store::events::{EventStore, ReadRun, StoredEvent};
use crate::store::statistics::{StatisticsStore, StoredStatistics};
use std::collections::BTreeMap;
use std::time::Duration;

impl EventStore for FaultyStore {
    fn event_partitions(&self) -> Answer<'_, Vec<Partition>> {
        self.gated(|| self.inner.event_partitions())
    }
    fn has_event_index<'a>(&'a self, column: &'a str) -> Answer<'a, bool> {
        self.gated(move || self.inner.has_event_index(column))
    }
    fn last_below<'a>(
        &'a self,
        runs: &'a [Run],
        asked: &'a [(usize, i64)],
        limit: Duration,
    ) -> Answer<'a, BTreeMap<usize, (i64, i64)>> {
        self.gated(move || self.inner.last_below(runs, asked, limit))
    }
    fn look_back<'a>(
        &'a self,
        runs: &'a [Run],
        windows: &'a [Window],
        rows: usize,
        filter: &'a EventFilter,
        limit: Duration,
    ) -> Answer<'a, Vec<ReadRun>> {
        self.gated(move || self.inner.look_back(runs, windows, rows, filter, limit))
    }
    fn event<'a>(&'a self, topic: &'a str, partition: i32, offset: i64) -> Answer<'a, Option<StoredEvent>> {
        self.gated(move || self.inner.event(topic, partition, offset))
    }
    fn gap_at<'a>(&'a self, topic: &'a str, partition: i32, offset: i64) -> Answer<'a, Option<String>> {
        self.gated(move || self.inner.gap_at(topic, partition, offset))
    }
}

impl StatisticsStore for FaultyStore {
    fn statistics(&self, since_ms: i64, limit: Duration) -> Answer<'_, StoredStatistics> {
        self.gated(move || self.inner.statistics(since_ms, limit))
    }
}
