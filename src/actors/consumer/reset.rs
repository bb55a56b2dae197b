//! Positions that are taken from the store again, and positions that are compared with what Kafka has.
//!
//! Both ask the store and the cluster, however long they take; polling goes on meanwhile. An answer that is stale by the time
//! it comes is known by the partition's epoch. Nothing fails but the client itself.

use super::owned::OwnedPartition;
use super::revoke::ask_until_answered;
use super::start::{Start, out_of_bounds};
use super::{Answer, ExitError, Work, failed};
use crate::domain::failure::StopCode;
use crate::domain::offsets::ReadPosition;
use crate::kafka::group_client::{Group, GroupClient as _};
use crate::kafka::rebalance::TopicPartition;

impl<G: Group> Work<'_, G> {
    /// The position of a partition must be taken from the store again. What is in its lane's batch is thrown away with it.
    pub fn reset(&mut self, id: &TopicPartition, cause: &str) {
        let mut waiting = vec![id.clone()];
        while let Some(id) = waiting.pop() {
            let epoch = self.next_epoch();
            let Some(partition) = self.owned.get(&id) else {
                continue;
            };
            partition.epoch = epoch;
            partition.read = None;
            partition.processing.clear();
            let lane = partition.lane;
            if !self.resets.contains(&id) {
                self.task.metrics.position_resets.with_label_values(&[self.task.id.as_str(), cause]).inc();
                self.resets.push(id);
            }
            waiting.extend(self.lanes.discard(lane));
        }
    }

    /// Asks the store for the positions of partitions whose lanes are not in flight any more.
    pub fn start_resets(&mut self) {
        if self.resets.is_empty() {
            return;
        }
        let mut now = Vec::new();
        let mut later = Vec::new();
        for id in std::mem::take(&mut self.resets) {
            let Some(partition) = self.owned.get(&id).filter(|partition| partition.stop.is_none()) else {
                continue;
            };
            let (lane, epoch) = (partition.lane, partition.epoch);
            if self.lanes.at(lane).in_flight.is_some() {
                later.push(id);
            } else {
                now.push((id, epoch));
            }
        }
        self.resets = later;
        if now.is_empty() {
            return;
        }
        let starts = self.task.starts.clone();
        let consumer_id = self.task.id.clone();
        self.answers.push(Box::pin(async move {
            let asked: Vec<TopicPartition> = now.iter().map(|(id, _)| id.clone()).collect();
            let told = |starts: &[Start]| starts.iter().any(|start| !start.unanswered);
            let found = ask_until_answered(&starts, &asked, &consumer_id, told).await;
            Answer::Reset(now, found)
        }));
    }

    /// The store has told the positions of partitions that were reset.
    pub fn was_reset(&mut self, asked: &[(TopicPartition, u64)], starts: Vec<Start>) -> Result<(), ExitError> {
        for Start { id, incarnation, next_offset, stop, unanswered, .. } in starts {
            // Given up, taken again, stopped or reset once more meanwhile: this answer is stale.
            let epoch = asked.iter().find(|(other, _)| *other == id).map(|(_, epoch)| *epoch);
            if self.owned.get(&id).map(|partition| partition.epoch) != epoch {
                continue;
            }
            if let Some((code, message)) = stop {
                self.stop_partition(&id, code, message)?;
                continue;
            }
            if unanswered {
                self.resets.push(id);
                continue;
            }
            let Some(partition) = self.owned.get(&id).filter(|p| !p.revoking && p.stop.is_none()) else {
                continue;
            };
            tracing::info!(
                consumer_id = %self.task.id, topic = %id.topic, partition = id.partition, believed = partition.stored,
                stored = next_offset, "position taken from the store again"
            );
            partition.incarnation = incarnation;
            partition.stored = next_offset;
            partition.queued = next_offset;
            partition.read = Some(ReadPosition::at(next_offset));
            self.seek(&id, next_offset, 0)?;
        }
        Ok(())
    }

    /// Compares all positions with what Kafka has, because the client reported an offset outside the log or because it is
    /// time.
    pub fn check_positions(&mut self) {
        if self.checking {
            self.check_again |= self.seek_after_check;
            return;
        }
        let looked_at = |p: &&OwnedPartition| !p.revoking && (p.stop.is_none() || p.is_missing());
        let partitions: Vec<TopicPartition> = self.owned.iter().filter(looked_at).map(|p| p.id.clone()).collect();
        if partitions.is_empty() {
            return;
        }
        self.checking = true;
        let starts = self.task.starts.clone();
        let consumer_id = self.task.id.clone();
        self.answers.push(Box::pin(async move {
            Answer::Checked(ask_until_answered(&starts, &partitions, &consumer_id, |_| true).await)
        }));
    }

    /// Stops what lies outside, and seeks again where nothing is wrong: after such an error the client fetches no more.
    pub fn checked(&mut self, starts: Vec<Start>) -> Result<(), ExitError> {
        self.checking = false;
        if std::mem::take(&mut self.check_again) {
            self.check_positions();
            return Ok(());
        }
        let seek = std::mem::take(&mut self.seek_after_check);
        for Start { id, stop, beginning, unanswered, .. } in starts {
            let is_missing = matches!(&stop, Some((StopCode::TopicMissing, _)));
            if self.owned.get(&id).is_some_and(|p| p.is_missing() && !p.revoking && !is_missing && !unanswered) {
                self.found_again(&id)?;
            }
            let Some(partition) = self.owned.get(&id).filter(|p| !p.revoking && p.stop.is_none()) else {
                continue;
            };
            let expected = partition.read.as_ref().map_or(partition.stored, ReadPosition::expected);
            // What was fetched already is safe, whatever retention has removed since.
            let stop = match stop {
                Some((StopCode::PositionExpired, _)) => out_of_bounds(&id, expected, (beginning, None)),
                stop => stop,
            };
            match stop {
                Some((code, message)) => self.stop_partition(&id, code, message)?,
                None if seek && partition.read.is_some() => {
                    partition.read = Some(ReadPosition::at(expected));
                    self.seek(&id, expected, 0)?;
                }
                None => {}
            }
        }
        Ok(())
    }

    /// The topic of a partition that was stopped because it was missing is there again: it is read from the store's position.
    fn found_again(&mut self, id: &TopicPartition) -> Result<(), ExitError> {
        let stopping = self.stopping.is_some();
        let Some(partition) = self.owned.get(id) else {
            return Ok(());
        };
        tracing::info!(consumer_id = %self.task.id, topic = %id.topic, partition = id.partition, "partition is there again");
        partition.stop = None;
        let resume = partition.is_read() && !partition.waiting && !stopping;
        let lane = partition.lane;
        self.task.metrics.clear_partition_stopped(&id.topic, id.partition);
        self.reset(id, "rebuild");
        if resume && !self.lanes_paused(lane) {
            return self.consumer.resume(std::slice::from_ref(id)).map_err(failed);
        }
        Ok(())
    }
}
