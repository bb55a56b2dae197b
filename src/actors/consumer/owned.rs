//! The partitions that a consumer owns: where each is read, where it is stored, and what keeps it from being read on.
//!
//! Bounded by the assignment. Looked up once per record, so the last answer is tried first: records of a partition come in
//! runs.

use super::processing::InProcess;
use crate::domain::batch::Batch;
use crate::domain::event::Mapping;
use crate::domain::failure::StopCode;
use crate::domain::hold::Hold;
use crate::domain::offsets::ReadPosition;
use crate::domain::record::TimestampType;
use crate::domain::status::PartitionStop;
use crate::domain::storm::StormGuard;
use crate::domain::watchdog::PositionWatch;
use crate::kafka::rebalance::TopicPartition;
use prometheus::IntCounter;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// Rows of a batch that are always looked at for their newest timestamps: a glance.
const FEW_ROWS: usize = 256;
/// Of larger batches one in this time.
const LOOK_AGAIN: Duration = Duration::from_millis(500);

/// One owned partition.
pub struct OwnedPartition {
    /// Which.
    pub id: TopicPartition,
    /// Incarnation of its topic.
    pub incarnation: i32,
    /// Where it is read; `None` while the position has to be taken from the store, and for a stopped partition: records
    /// without an expected offset are dropped, they will be read again.
    pub read: Option<ReadPosition>,
    /// The position in the store, as this owner believes.
    pub stored: i64,
    /// Timestamp of the newest record that was stored, in milliseconds since the epoch; not looked at in every batch.
    pub newest_timestamp_ms: Option<i64>,
    /// The position that batches under way lead to: where the next batch begins.
    pub queued: i64,
    /// The lane of its batches.
    pub lane: usize,
    /// Why it is not read on.
    pub stop: Option<PartitionStop>,
    /// By whose order it is not read.
    pub held: Option<Hold>,
    /// Moves with every reset, so that what was begun before is known as stale.
    pub epoch: u64,
    /// It is being given up: nothing new is taken.
    pub revoking: bool,
    /// Records of it that are being processed.
    pub processing: InProcess,
    /// Its share of the records in process is used up for so long that it is paused.
    pub waiting: bool,
    /// Watches what cannot be decoded or processed.
    pub taken_guard: StormGuard,
    /// Watches what the database refuses.
    pub stored_guard: StormGuard,
    /// Watches whether it moves.
    pub watch: PositionWatch,
    /// Which fields fill the columns.
    pub mapping: Arc<Mapping>,
    /// Metrics of its topic.
    pub counters: Arc<TopicCounters>,
    /// Records taken since the metrics were fed.
    pub taken: u64,
    /// Bytes taken since the metrics were fed.
    pub taken_bytes: u64,
    /// Duplicates skipped since the metrics were fed.
    pub duplicates: u64,
}

impl OwnedPartition {
    /// Whether it is stopped because its topic was not there, or could not be read.
    pub fn is_missing(&self) -> bool {
        self.stop.as_ref().is_some_and(|stop| stop.code == StopCode::TopicMissing.as_str())
    }

    /// Whether records of it are taken, as far as it depends on the partition itself.
    pub fn is_read(&self) -> bool {
        self.stop.is_none() && self.held.is_none()
    }
}

/// The counters of a consumer and a topic, looked up once.
pub struct TopicCounters {
    /// Records taken.
    pub consumed: IntCounter,
    /// Bytes taken.
    pub consumed_bytes: IntCounter,
    /// Rows stored.
    pub stored: IntCounter,
    /// Records stored already.
    pub duplicates: IntCounter,
    /// The same of all consumers.
    pub rejected: IntCounter,
    /// Dead letters.
    pub dead_lettered: IntCounter,
}

/// See the module.
#[derive(Default)]
pub struct Owned {
    list: Vec<OwnedPartition>,
    last: usize,
    /// When a batch was last looked at for its newest timestamps.
    looked: Option<Instant>,
}

impl Owned {
    /// The place of a partition.
    pub fn place(&mut self, topic: &str, partition: i32) -> Option<usize> {
        let is = |owned: &OwnedPartition| owned.id.partition == partition && owned.id.topic == topic;
        if self.list.get(self.last).is_some_and(is) {
            return Some(self.last);
        }
        let place = self.list.iter().position(is)?;
        self.last = place;
        Some(place)
    }

    /// The partition at a place that [`Owned::place`] gave.
    pub fn at(&mut self, place: usize) -> &mut OwnedPartition {
        &mut self.list[place]
    }

    /// A partition by its name.
    pub fn get(&mut self, id: &TopicPartition) -> Option<&mut OwnedPartition> {
        let place = self.place(&id.topic, id.partition)?;
        Some(&mut self.list[place])
    }

    /// Takes a partition over, in place of what was known of it.
    pub fn insert(&mut self, partition: OwnedPartition) {
        self.remove(&partition.id);
        self.list.push(partition);
    }

    /// Forgets a partition.
    pub fn remove(&mut self, id: &TopicPartition) -> Option<OwnedPartition> {
        let place = self.place(&id.topic, id.partition)?;
        self.last = 0;
        Some(self.list.swap_remove(place))
    }

    /// Notes how new the last row of each partition in a committed batch is. Not in every batch: it is shown once a second.
    pub fn note_newest(&mut self, batch: &Batch, now: Instant) {
        if batch.metas().len() > FEW_ROWS && self.looked.is_some_and(|looked| now < looked + LOOK_AGAIN) {
            return;
        }
        self.looked = Some(now);
        for (slot, advance) in batch.advances().iter().enumerate() {
            let last = batch.metas().iter().rev().find(|meta| usize::from(meta.slot) == slot);
            let known = last.filter(|meta| meta.timestamp.kind != TimestampType::NotAvailable);
            if let (Some(meta), Some(place)) = (known, self.place(&advance.topic, advance.partition)) {
                self.list[place].newest_timestamp_ms = Some(meta.timestamp.ms);
            }
        }
    }

    /// How many.
    pub fn len(&self) -> usize {
        self.list.len()
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = &OwnedPartition> {
        self.list.iter()
    }

    /// All of them, to change.
    pub fn iter_mut(&mut self) -> impl Iterator<Item = &mut OwnedPartition> {
        self.list.iter_mut()
    }

    /// The lane with the fewest partitions.
    pub fn emptiest_lane(&self, lanes: usize) -> usize {
        (0..lanes).min_by_key(|&lane| self.list.iter().filter(|owned| owned.lane == lane).count()).unwrap_or(0)
    }
}
