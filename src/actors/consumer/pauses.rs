//! Back-pressure: when records are not taken, and when partitions are paused for it.
//!
//! A full lane stops the taking of records, and so does a partition whose share of the processor is used up. Past
//! [`PAUSE_AFTER`] the partitions that are in the way are paused, so that the others, and polling, which keeps the membership,
//! can go on; they are resumed as soon as there is room, whatever made it.

use super::processing::Share;
use super::{ExitError, TopicPartition, Work, failed};
use crate::kafka::group_client::{Group, GroupClient as _};
use std::time::Duration;
use tokio::time::Instant;

/// What is full for longer than this has its partitions paused. A pause throws away what was fetched ahead, so ordinary
/// back-pressure must not cause one.
pub const PAUSE_AFTER: Duration = Duration::from_secs(1);

impl<G: Group> Work<'_, G> {
    /// Whether the next record might have no place: it could be of a partition that is not paused and in the way.
    pub(super) fn is_blocked(&mut self) -> bool {
        let intake_full = !self.intake.has_room();
        let share = Share::of(self.owned.len(), &self.task.budget);
        let full = self.owned.iter().any(|partition| {
            partition.is_read()
                && !partition.waiting
                && !self.lanes_paused(partition.lane)
                && (intake_full || partition.processing.is_full(share) || !self.lanes.has_room(partition.lane))
        });
        if full && self.stopping.is_none() {
            self.blocked_since.get_or_insert_with(Instant::now);
            true
        } else {
            self.blocked_since = None;
            false
        }
    }

    pub(super) fn lanes_paused(&self, lane: usize) -> bool {
        self.lanes.iter().nth(lane).is_some_and(|lane| lane.paused)
    }

    /// Pauses whatever is in the way.
    pub(super) fn pause_full(&mut self) -> Result<(), ExitError> {
        let share = Share::of(self.owned.len(), &self.task.budget);
        let mut paused: Vec<TopicPartition> = Vec::new();
        for partition in self.owned.iter_mut().filter(|partition| partition.is_read() && !partition.waiting) {
            if partition.processing.is_full(share) {
                partition.waiting = true;
                paused.push(partition.id.clone());
            }
        }
        // While the processor is full, every partition waits for it.
        let all = !self.intake.has_room();
        for lane in 0..self.lanes.count() {
            if (all || !self.lanes.has_room(lane)) && !self.lanes.at(lane).paused {
                paused.extend(self.readable(lane));
                self.lanes.at(lane).paused = true;
            }
        }
        self.task.metrics.partition_pauses.with_label_values(&[&self.task.id]).inc_by(paused.len() as u64);
        self.blocked_since = None;
        self.consumer.pause(&paused).map_err(failed)
    }

    /// Resumes what is not in the way any more.
    pub(super) fn resume_with_room(&mut self) -> Result<(), ExitError> {
        if self.stopping.is_some() {
            return Ok(());
        }
        let mut resumed: Vec<TopicPartition> = Vec::new();
        for lane in 0..self.lanes.count() {
            if self.lanes.at(lane).paused && self.lanes.has_room(lane) && self.intake.has_room() {
                self.lanes.at(lane).paused = false;
                resumed.extend(self.readable(lane));
            }
        }
        // Half of it, so that a partition is not paused and resumed for every record.
        let share = Share::of(self.owned.len(), &self.task.budget);
        let lanes = &self.lanes;
        let paused = |lane: usize| lanes.iter().nth(lane).is_some_and(|lane| lane.paused);
        for partition in self.owned.iter_mut().filter(|partition| partition.waiting) {
            if partition.processing.has_room_again(share) {
                partition.waiting = false;
                if partition.is_read() && !paused(partition.lane) {
                    resumed.push(partition.id.clone());
                }
            }
        }
        for id in &resumed {
            // The client fetches anew: a jump at its first record is confirmed like one after a seek.
            if let Some(read) = self.owned.get(id).and_then(|partition| partition.read.as_mut()) {
                read.doubt();
            }
        }
        if resumed.is_empty() {
            return Ok(());
        }
        self.consumer.resume(&resumed).map_err(failed)
    }

    /// The partitions of a lane that are read.
    fn readable(&self, lane: usize) -> Vec<TopicPartition> {
        let read =
            self.owned.iter().filter(|partition| partition.lane == lane && partition.is_read() && !partition.waiting);
        read.map(|partition| partition.id.clone()).collect()
    }
}
