//! Back-pressure: when records are not taken, and when partitions are paused for it.
//!
//! A full lane stops the taking of records. Past [`PAUSE_AFTER`] its partitions are paused, so that polling, which keeps the
//! membership, can go on; they are resumed as soon as there is room, whatever made it.

use super::{ExitError, TopicPartition, Work, failed};
use crate::kafka::group_client::{Group, GroupClient as _};
use std::time::Duration;
use tokio::time::Instant;

/// A lane that is full for longer than this has its partitions paused. A pause throws away what was fetched ahead, so
/// ordinary back-pressure must not cause one.
pub const PAUSE_AFTER: Duration = Duration::from_secs(1);

impl<G: Group> Work<'_, G> {
    /// Whether a lane that is not paused is full: then the next record might have no place.
    pub(super) fn is_blocked(&mut self) -> bool {
        let intake_full = !self.intake.has_room();
        let full = self.owned.iter().any(|partition| {
            partition.is_read()
                && !self.lanes_paused(partition.lane)
                && (intake_full || !self.lanes.has_room(partition.lane))
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

    pub(super) fn pause_full_lanes(&mut self) -> Result<(), ExitError> {
        // While the processor is full, every partition waits for it.
        let all = !self.intake.has_room();
        for lane in 0..self.lanes.count() {
            if (all || !self.lanes.has_room(lane)) && !self.lanes.at(lane).paused {
                self.lanes.at(lane).paused = true;
                let partitions = self.readable(lane);
                self.task.metrics.partition_pauses.with_label_values(&[&self.task.id]).inc_by(partitions.len() as u64);
                self.consumer.pause(&partitions).map_err(failed)?;
            }
        }
        self.blocked_since = None;
        Ok(())
    }

    pub(super) fn resume_lanes_with_room(&mut self) -> Result<(), ExitError> {
        for lane in 0..self.lanes.count() {
            if self.lanes.at(lane).paused
                && self.lanes.has_room(lane)
                && self.intake.has_room()
                && self.stopping.is_none()
            {
                self.lanes.at(lane).paused = false;
                let partitions = self.readable(lane);
                for id in &partitions {
                    // The client fetches anew: a jump at its first record is confirmed like one after a seek.
                    if let Some(read) = self.owned.get(id).and_then(|partition| partition.read.as_mut()) {
                        read.doubt();
                    }
                }
                self.consumer.resume(&partitions).map_err(failed)?;
            }
        }
        Ok(())
    }

    /// The partitions of a lane that are read.
    fn readable(&self, lane: usize) -> Vec<TopicPartition> {
        let read = self.owned.iter().filter(|partition| partition.lane == lane && partition.is_read());
        read.map(|partition| partition.id.clone()).collect()
    }
}
