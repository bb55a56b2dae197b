//! Rebalances and resets: taking partitions with positions from the store, giving them up with nothing in flight.
//!
//! An assign is answered when the store has told the positions, however long that takes; polling goes on meanwhile. A
//! revoke waits for what is in flight at most [`REVOKE_TIMEOUT`]: the compare-and-swap makes giving up safe. Lost
//! partitions wait for nothing.

use super::owned::{OwnedPartition, TopicCounters};
use super::processing::InProcess;
use super::start::{Start, StartError, Starts, out_of_bounds};
use super::{Answer, ExitError, Work, failed};
use crate::domain::failure::StopCode;
use crate::domain::offsets::ReadPosition;
use crate::domain::status::PartitionStop;
use crate::domain::storm::StormGuard;
use crate::domain::watchdog::PositionWatch;
use crate::kafka::group_client::{Group, GroupClient as _};
use crate::kafka::rebalance::{RebalanceEvent, TopicPartition};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// Longest wait for batches of partitions that are being given up.
const REVOKE_TIMEOUT: Duration = Duration::from_secs(5);
/// First and longest delay between questions to a store or cluster that does not answer.
const ASK_AGAIN: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(2));

/// A revoke that waits for what is in flight.
pub struct Revoking {
    partitions: Vec<TopicPartition>,
    deadline: Instant,
}

impl<G: Group> Work<'_, G> {
    /// Begins the next rebalance, or finishes the one that waits.
    pub fn advance_rebalance(&mut self) -> Result<(), ExitError> {
        if let Some(revoking) = self.revoking.take() {
            let in_flight = revoking.partitions.iter().any(|id| self.is_in_flight(id));
            let over = Instant::now() >= revoking.deadline;
            self.revoking = Some(revoking);
            if over || !in_flight {
                self.finish_revoke()?;
            }
        }
        while self.revoking.is_none() && !self.assigning {
            let Some(event) = self.rebalances.pop_front() else {
                break;
            };
            self.joined = true;
            match event {
                RebalanceEvent::Assign(partitions) => self.begin_assign(partitions)?,
                RebalanceEvent::Revoke { partitions, lost } => self.begin_revoke(partitions, lost)?,
            }
        }
        Ok(())
    }

    fn count_rebalance(&self, event: &str) {
        self.task.metrics.consumer_rebalances.with_label_values(&[self.task.id.as_str(), event]).inc();
    }

    fn begin_assign(&mut self, partitions: Vec<TopicPartition>) -> Result<(), ExitError> {
        self.count_rebalance("assign");
        tracing::info!(consumer_id = %self.task.id, partitions = partitions.len(), "partitions assigned");
        self.record_assign();
        if partitions.is_empty() {
            self.consumer.assign(&[]).map_err(failed)?;
            self.record_assigned(&[]);
            return Ok(());
        }
        self.assigning = true;
        let starts = self.task.starts.clone();
        let consumer_id = self.task.id.clone();
        self.answers.push(Box::pin(async move {
            Answer::Assigned(ask_until_answered(&starts, &partitions, &consumer_id).await)
        }));
        Ok(())
    }

    /// The store has told where to read: answers the assign.
    pub fn assigned(&mut self, starts: Vec<Start>) -> Result<(), ExitError> {
        self.assigning = false;
        let list: Vec<(TopicPartition, i64)> =
            starts.iter().map(|start| (start.id.clone(), start.next_offset)).collect();
        self.consumer.assign(&list).map_err(failed)?;
        self.record_assigned(&list);
        for start in starts {
            self.own(start);
        }
        // A pause of an earlier assignment would live on in the client: each partition is told.
        let (mut read, mut stopped) = (Vec::new(), Vec::new());
        for partition in self.owned.iter() {
            if list.iter().any(|(id, _)| *id == partition.id) {
                let held = !partition.is_read()
                    || partition.waiting
                    || self.stopping.is_some()
                    || self.lanes_paused(partition.lane);
                if held { &mut stopped } else { &mut read }.push(partition.id.clone());
            }
        }
        self.consumer.resume(&read).map_err(failed)?;
        self.consumer.pause(&stopped).map_err(failed)
    }

    fn own(&mut self, start: Start) {
        let Start { id, incarnation, next_offset, stop, .. } = start;
        // One transaction in flight per partition: a batch of an earlier ownership may still be under way.
        let lane = self.lanes.writing(&id).unwrap_or_else(|| self.owned.emptiest_lane(self.lanes.count()));
        let mapping = match self.task.mappings.get(&id.topic) {
            Some(mapping) => Arc::clone(mapping),
            None => return tracing::error!(topic = %id.topic, "a topic without a mapping was assigned; it is not read"),
        };
        // Whoever owned it before in this process may have left a mark.
        self.task.metrics.clear_partition_stopped(&id.topic, id.partition);
        let stop = stop.map(|(code, message)| self.stopped(&id, code, message));
        let epoch = self.next_epoch();
        let (held, shown) = (self.present_hold(&id), id.clone());
        self.owned.insert(OwnedPartition {
            read: stop.is_none().then(|| ReadPosition::at(next_offset)),
            incarnation,
            stored: next_offset,
            queued: next_offset,
            lane,
            stop,
            held,
            epoch,
            revoking: false,
            processing: InProcess::default(),
            waiting: false,
            watch: PositionWatch::default(),
            taken_guard: StormGuard::new(self.task.storm),
            stored_guard: StormGuard::new(self.task.storm),
            mapping,
            counters: Arc::new(TopicCounters::of(&self.task.metrics, &self.task.id, &id.topic)),
            taken: 0,
            taken_bytes: 0,
            duplicates: 0,
            id,
        });
        self.show_hold(&shown);
    }

    fn next_epoch(&mut self) -> u64 {
        self.epochs += 1;
        self.epochs
    }

    fn stopped(&self, id: &TopicPartition, code: StopCode, message: String) -> PartitionStop {
        tracing::error!(
            consumer_id = %self.task.id, topic = %id.topic, partition = id.partition, code = code.as_str(),
            "partition stopped: {message}"
        );
        self.task.metrics.set_partition_stopped(&id.topic, id.partition, code.as_str());
        PartitionStop { code: code.as_str().to_owned(), message, since_ms: chrono::Utc::now().timestamp_millis() }
    }

    /// Stops a partition: it stays owned, and nothing of it is read until an operator acts.
    pub fn stop_partition(&mut self, id: &TopicPartition, code: StopCode, message: String) -> Result<(), ExitError> {
        if self.owned.get(id).is_none_or(|partition| partition.stop.is_some()) {
            return Ok(());
        }
        let stop = self.stopped(id, code, message);
        let epoch = self.next_epoch();
        if let Some(partition) = self.owned.get(id) {
            partition.stop = Some(stop);
            partition.read = None;
            if code == StopCode::RecordExceedsMemory {
                // What was taken before it is good, and is stored: the position then stands at the record that is too large.
                return self.consumer.pause(std::slice::from_ref(id)).map_err(failed);
            }
            partition.processing.clear();
            partition.epoch = epoch;
            let lane = partition.lane;
            // What waits to be written may be records of another topic or log.
            for other in self.lanes.discard(lane) {
                if other != *id {
                    self.reset(&other, "rebuild");
                }
            }
        }
        self.consumer.pause(std::slice::from_ref(id)).map_err(failed)
    }

    fn begin_revoke(&mut self, partitions: Vec<TopicPartition>, lost: bool) -> Result<(), ExitError> {
        self.count_rebalance(if lost { "lost" } else { "revoke" });
        tracing::info!(consumer_id = %self.task.id, partitions = partitions.len(), lost, "partitions revoked");
        for id in &partitions {
            if let Some(partition) = self.owned.get(id) {
                partition.revoking = true;
            }
        }
        self.record_revoke(&partitions, lost);
        let timeout = if lost { Duration::ZERO } else { REVOKE_TIMEOUT };
        if lost {
            // Nothing may be committed for them, not even the hint.
            partitions.iter().for_each(|id| self.hint.forget(id));
        }
        let wait = !lost && partitions.iter().any(|id| self.is_in_flight(id));
        self.revoking = Some(Revoking { partitions, deadline: Instant::now() + timeout });
        if wait { Ok(()) } else { self.finish_revoke() }
    }

    fn is_in_flight(&mut self, id: &TopicPartition) -> bool {
        let Some(partition) = self.owned.get(id) else {
            return false;
        };
        let (lane, processing) = (partition.lane, !partition.processing.is_empty());
        processing || self.lanes.holds(lane, id)
    }

    fn finish_revoke(&mut self) -> Result<(), ExitError> {
        let Some(Revoking { partitions, .. }) = self.revoking.take() else {
            return Ok(());
        };
        for id in &partitions {
            if !self.is_in_flight(id) {
                continue;
            }
            // Given up with something in hand: what was not sent is thrown away, what was sent decides itself by the
            // compare-and-swap. Others in the same batch read again from the store.
            tracing::warn!(consumer_id = %self.task.id, topic = %id.topic, partition = id.partition, "partition given up with records in flight");
            let lane = self.owned.get(id).map_or(0, |partition| partition.lane);
            for other in self.lanes.discard(lane) {
                if !partitions.contains(&other) {
                    self.reset(&other, "rebuild");
                }
            }
        }
        self.record_positions_given_up(&partitions);
        self.commit_hint();
        for id in &partitions {
            self.flush_counters(id);
            if self.owned.remove(id).is_some() {
                self.task.metrics.clear_partition(&self.task.id, &id.topic, id.partition);
            }
            self.hint.forget(id);
            self.resets.retain(|other| other != id);
        }
        if let Err(error) = self.consumer.unassign(&partitions) {
            // Lost meanwhile: there is nothing left to give up.
            tracing::debug!(consumer_id = %self.task.id, error = %error, "partitions were gone before they were given up");
        }
        self.record_given_up();
        Ok(())
    }

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
            let found = ask_until_answered(&starts, &asked, &consumer_id).await;
            Answer::Reset(now, found)
        }));
    }

    /// The store has told the positions of partitions that were reset.
    pub fn was_reset(&mut self, asked: &[(TopicPartition, u64)], starts: Vec<Start>) -> Result<(), ExitError> {
        for Start { id, incarnation, next_offset, stop, .. } in starts {
            // Given up, taken again, stopped or reset once more meanwhile: this answer is stale.
            let epoch = asked.iter().find(|(other, _)| *other == id).map(|(_, epoch)| *epoch);
            if self.owned.get(&id).map(|partition| partition.epoch) != epoch {
                continue;
            }
            if let Some((code, message)) = stop {
                self.stop_partition(&id, code, message)?;
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
        let partitions: Vec<TopicPartition> =
            self.owned.iter().filter(|p| p.stop.is_none() && !p.revoking).map(|p| p.id.clone()).collect();
        if partitions.is_empty() {
            return;
        }
        self.checking = true;
        let starts = self.task.starts.clone();
        let consumer_id = self.task.id.clone();
        self.answers.push(Box::pin(async move {
            Answer::Checked(ask_until_answered(&starts, &partitions, &consumer_id).await)
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
        for Start { id, stop, beginning, .. } in starts {
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
}

/// Asks until store and cluster answer: while they do not, the partitions wait and the membership is kept.
async fn ask_until_answered(starts: &Starts, partitions: &[TopicPartition], consumer_id: &str) -> Vec<Start> {
    let mut delay = ASK_AGAIN.0;
    loop {
        match starts.of(partitions).await {
            Ok(found) => return found,
            Err(error) => {
                log_unanswered(&error, consumer_id);
                tokio::time::sleep(delay).await;
                delay = (delay * 2).min(ASK_AGAIN.1);
            }
        }
    }
}

fn log_unanswered(error: &StartError, consumer_id: &str) {
    tracing::warn!(consumer_id, error = %error, "positions cannot be had yet, partitions wait");
}
