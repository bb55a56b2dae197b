//! Rebalances: taking partitions with positions from the store, giving them up with nothing in flight.
//!
//! An assign is answered when the store has told the positions, however long that takes; polling goes on meanwhile. A
//! revoke waits for what is in flight at most [`REVOKE_TIMEOUT`]: the compare-and-swap makes giving up safe. Lost
//! partitions wait for nothing.

use super::owned::{OwnedPartition, TopicCounters};
use super::processing::InProcess;
use super::start::{Start, StartError, Starts};
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
            Answer::Assigned(ask_until_answered(&starts, &partitions, &consumer_id, |_| true).await)
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
        let Start { id, incarnation, next_offset, stop, unanswered, .. } = start;
        if unanswered {
            // Until somebody tells where it is read, its records are dropped.
            self.resets.push(id.clone());
        }
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
            read: (stop.is_none() && !unanswered).then(|| ReadPosition::at(next_offset)),
            incarnation,
            stored: next_offset,
            newest_timestamp_ms: None,
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

    pub(super) fn next_epoch(&mut self) -> u64 {
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
}

/// Asks until store and cluster answer, and `enough` of it: while they do not, the partitions wait and the membership is kept.
pub(super) async fn ask_until_answered(
    starts: &Starts,
    partitions: &[TopicPartition],
    consumer_id: &str,
    enough: impl Fn(&[Start]) -> bool,
) -> Vec<Start> {
    let mut delay = ASK_AGAIN.0;
    loop {
        match starts.of(partitions).await {
            Ok(found) if enough(&found) => return found,
            Ok(_) => {
                tracing::warn!(consumer_id, "partitions without a leader cannot tell where they are read; they wait")
            }
            Err(error) => log_unanswered(&error, consumer_id),
        }
        tokio::time::sleep(delay).await;
        delay = (delay * 2).min(ASK_AGAIN.1);
    }
}

fn log_unanswered(error: &StartError, consumer_id: &str) {
    tracing::warn!(consumer_id, error = %error, "positions cannot be had yet, partitions wait");
}
