//! Lanes: each has one batch being written and one filling, on partitions of its own.
//!
//! One transaction is in flight per partition, because a partition belongs to one lane. Bounded by rows and bytes per
//! batch and by the byte budget of the process; a full lane stops the taking of records, never the polling.

use crate::actors::memory::MemoryBudget;
use crate::actors::spares::SpareBatches;
use crate::domain::batch::Batch;
use crate::kafka::rebalance::TopicPartition;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// Bytes by which a lane asks the budget for more: few enough requests not to be felt, small beside a batch.
const RESERVE_STEP: usize = 256 * 1024;

/// Bounds of a batch.
#[derive(Debug, Clone, Copy)]
pub struct LaneLimits {
    /// Most rows and dead letters.
    pub rows: usize,
    /// Most bytes.
    pub bytes: usize,
    /// Age below which a batch that is not full waits.
    pub min_age: Duration,
}

/// One lane.
pub struct Lane {
    /// What is being filled.
    pub filling: Batch,
    /// Bytes reserved for it.
    reserved: usize,
    /// When its first record came.
    opened: Option<Instant>,
    /// The partitions, with their epochs, of the batch being written, and the bytes reserved for it.
    pub in_flight: Option<(Vec<(TopicPartition, u64)>, usize)>,
    /// Its partitions are paused because it was full for too long.
    pub paused: bool,
}

/// See the module.
pub struct Lanes {
    list: Vec<Lane>,
    limits: LaneLimits,
    budget: Arc<MemoryBudget>,
    spares: SpareBatches,
    consumer_id: String,
    /// Since it was last asked, a lane filled up or took bytes of the budget: there may be no room any more.
    tighter: bool,
}

impl Lanes {
    /// `count` empty lanes.
    pub fn new(
        consumer_id: &str,
        count: usize,
        limits: LaneLimits,
        budget: Arc<MemoryBudget>,
        spares: SpareBatches,
    ) -> Self {
        let lane =
            || Lane { filling: Batch::new(consumer_id), reserved: 0, opened: None, in_flight: None, paused: false };
        Self {
            list: std::iter::repeat_with(lane).take(count).collect(),
            limits,
            budget,
            spares,
            consumer_id: consumer_id.to_owned(),
            tighter: false,
        }
    }

    /// How many.
    pub fn count(&self) -> usize {
        self.list.len()
    }

    /// One of them.
    pub fn at(&mut self, lane: usize) -> &mut Lane {
        &mut self.list[lane]
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = &Lane> {
        self.list.iter()
    }

    /// Notes that something was added to a lane's batch, and reserves bytes for it.
    pub fn filled(&mut self, lane: usize) {
        let Lane { filling, reserved, opened, .. } = &mut self.list[lane];
        opened.get_or_insert_with(Instant::now);
        while filling.bytes() > *reserved {
            let step = RESERVE_STEP.max(filling.bytes() - *reserved);
            // The record is in the batch: whether it fits is asked before the next one is taken.
            self.budget.reserve_anyway(step);
            *reserved += step;
            self.tighter = true;
        }
        self.tighter |= filling.len() >= self.limits.rows || filling.bytes() >= self.limits.bytes;
    }

    /// Whether this consumer left less room since this was last asked, so that [`Lanes::has_room`] is worth asking again
    /// between the records of one burst.
    pub fn is_tighter(&mut self) -> bool {
        std::mem::take(&mut self.tighter)
    }

    /// Whether a lane may take another record.
    pub fn has_room(&self, lane: usize) -> bool {
        let Lane { filling, reserved, .. } = &self.list[lane];
        if filling.len() >= self.limits.rows || filling.bytes() >= self.limits.bytes {
            return false;
        }
        // Within what is reserved there is always room; beyond it only within the budget. A lane that holds nothing must be
        // able to go on: it waits only while the next record, which may be as large as one can be, might not fit beside
        // what others hold, and they let go of it without this lane.
        *reserved > filling.bytes()
            || (filling.is_empty() && self.budget.has_room_for_one())
            || self.budget.reserved() + RESERVE_STEP <= self.budget.limit()
    }

    /// The lane whose batch should be written next, if any: not in flight, not empty, old enough or full.
    pub fn ready(&self, now: Instant, urgent: bool) -> Option<usize> {
        (0..self.list.len())
            .filter(|&at| {
                let lane = &self.list[at];
                lane.in_flight.is_none()
                    && !lane.filling.is_empty()
                    && (urgent
                        || lane.opened.is_none_or(|opened| now >= opened + self.limits.min_age)
                        || !self.has_room(at))
            })
            // A full lane holds the consumer up; among the others the one that waits longest, so that none starves.
            .min_by_key(|&at| (self.has_room(at), self.list[at].opened))
    }

    /// When the youngest waiting batch is old enough.
    pub fn next_ready(&self) -> Option<Instant> {
        let waiting = self.list.iter().filter(|lane| lane.in_flight.is_none() && !lane.filling.is_empty());
        waiting.filter_map(|lane| lane.opened).min().map(|opened| opened + self.limits.min_age)
    }

    /// Takes a lane's batch to be written.
    pub fn send_off(&mut self, lane: usize, partitions: Vec<(TopicPartition, u64)>) -> Batch {
        let consumer_id = &self.consumer_id;
        let lane = &mut self.list[lane];
        lane.in_flight = Some((partitions, std::mem::take(&mut lane.reserved)));
        lane.opened = None;
        let next = self.spares.take(consumer_id);
        std::mem::replace(&mut lane.filling, next)
    }

    /// Notes that a lane's batch was answered (or lost) and gives back its partitions.
    pub fn landed(&mut self, lane: usize, batch: Option<Batch>) -> Vec<(TopicPartition, u64)> {
        let lane = &mut self.list[lane];
        if let Some(batch) = batch {
            // Its room is beside what the budget counts: where many lanes share that, each begins with none.
            if self.budget.reserved() <= self.budget.limit() / 2 {
                self.spares.put(batch, self.limits.bytes);
            }
        }
        let Some((partitions, reserved)) = lane.in_flight.take() else {
            return Vec::new();
        };
        self.budget.release(reserved);
        partitions
    }

    /// Throws a lane's filling batch away and gives back the partitions that had something in it.
    pub fn discard(&mut self, lane: usize) -> Vec<TopicPartition> {
        let keep = self.limits.bytes;
        let lane = &mut self.list[lane];
        let partitions = lane
            .filling
            .advances()
            .iter()
            .filter(|advance| advance.from != advance.to)
            .map(|advance| TopicPartition { topic: advance.topic.clone(), partition: advance.partition })
            .collect();
        lane.filling.clear(keep);
        lane.opened = None;
        self.budget.release(std::mem::take(&mut lane.reserved));
        partitions
    }

    /// Whether anything of a partition is in a batch, filling or being written.
    pub fn holds(&self, lane: usize, id: &TopicPartition) -> bool {
        let lane = &self.list[lane];
        let filling = lane.filling.advances().iter().any(|advance| {
            advance.from != advance.to && advance.partition == id.partition && advance.topic == id.topic
        });
        filling
            || lane.in_flight.as_ref().is_some_and(|(partitions, _)| partitions.iter().any(|(other, _)| other == id))
    }

    /// The lane whose batch being written holds a partition.
    pub fn writing(&self, id: &TopicPartition) -> Option<usize> {
        let holds =
            |lane: &Lane| lane.in_flight.as_ref().is_some_and(|(all, _)| all.iter().any(|(other, _)| other == id));
        self.list.iter().position(holds)
    }

    /// Rows and dead letters that are not stored yet.
    pub fn unstored(&self) -> usize {
        self.list.iter().map(|lane| lane.filling.len() + usize::from(lane.in_flight.is_some())).sum()
    }
}

impl Drop for Lanes {
    fn drop(&mut self) {
        // Also when the consumer panics: what it held is free again.
        for lane in &mut self.list {
            let in_flight = lane.in_flight.take().map_or(0, |(_, reserved)| reserved);
            self.budget.release(in_flight + lane.reserved);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::record::OwnedRecord;

    fn lanes(rows: usize, limit: usize) -> Lanes {
        let limits = LaneLimits { rows, bytes: 1 << 20, min_age: Duration::ZERO };
        Lanes::new("consumer-1", 1, limits, Arc::new(MemoryBudget::new(limit)), SpareBatches::default())
    }

    /// Takes the record at this offset.
    fn take(lanes: &mut Lanes, offset: i64) {
        let batch = &mut lanes.at(0).filling;
        let slot = batch.slot("t", 0, 1, 0);
        let record = OwnedRecord { offset, ..OwnedRecord::default() };
        batch.push_row(slot, &record, "view", |out| out.push(0));
        lanes.filled(0);
    }

    #[test]
    fn between_records_room_is_asked_for_when_bytes_were_reserved_and_when_a_batch_is_full() {
        let mut lanes = lanes(3, 1 << 30);
        take(&mut lanes, 0);
        assert!(lanes.is_tighter(), "the first record reserved bytes");
        take(&mut lanes, 1);
        assert!(!lanes.is_tighter(), "it had a place in them");
        take(&mut lanes, 2);
        assert!(lanes.is_tighter() && !lanes.has_room(0), "three rows are all that a batch takes");
    }
}
