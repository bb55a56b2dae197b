//! What writers answer: positions move, the hint goes to Kafka, metrics and status are fed, all per batch.
//!
//! The hint is committed at most once a second, and when nothing is in flight, on a revoke and at the stop.

use super::owned::TopicCounters;
use super::start::HINT_PREFIX;
use super::{Answer, ExitError, IDENTITY_CHECK, IDLE_MEMBER_AFTER, Work, store_failed};
use crate::actors::writer_pool::{WriteReply, WriterSlot};
use crate::domain::batch::Batch;
use crate::domain::failure::{FailureClass, StopCode};
use crate::domain::offsets::{Passed, ReadPosition};
use crate::domain::status::{ChildState, PartitionStatus};
use crate::kafka::group_client::{Group, GroupClient as _, RecordStream as _, RecordsOf};
use crate::kafka::rebalance::TopicPartition;
use crate::metrics::Metrics;
use std::collections::BTreeMap;
use std::time::Duration;
use tokio::time::Instant;

/// Least time between two commits of the hint while work goes on.
const HINT_INTERVAL: Duration = Duration::from_secs(1);
/// How long the stop waits for Kafka's answer to the last hint: it is only a hint.
const LAST_HINT_TIMEOUT: Duration = Duration::from_secs(2);

/// Positions that Kafka has not been told.
pub struct Hint {
    dirty: BTreeMap<TopicPartition, i64>,
    last: Instant,
    /// Answers that were counted already.
    counted: crate::kafka::group_consumer::CommitCounts,
    sent: u64,
}

impl Hint {
    pub fn new(now: Instant) -> Self {
        Self { dirty: BTreeMap::new(), last: now, counted: Default::default(), sent: 0 }
    }

    pub fn forget(&mut self, id: &TopicPartition) {
        self.dirty.remove(id);
    }
}

impl TopicCounters {
    /// The counters of a consumer and a topic.
    pub fn of(metrics: &Metrics, consumer_id: &str, topic: &str) -> Self {
        let processed = |outcome: &str| metrics.messages_processed.with_label_values(&[consumer_id, topic, outcome]);
        Self {
            consumed: metrics.messages_consumed.with_label_values(&[consumer_id, topic]),
            consumed_bytes: metrics.messages_consumed_bytes.with_label_values(&[consumer_id, topic]),
            stored: processed("stored"),
            duplicates: processed("duplicate"),
            rejected: metrics.duplicates_rejected.with_label_values(&[topic]),
            dead_lettered: processed("dead_lettered"),
        }
    }
}

impl<G: Group> Work<'_, G> {
    /// Sends a lane's batch to a writer.
    pub fn send(&mut self, lane: usize, slot: WriterSlot) {
        let ids: Vec<TopicPartition> = self
            .lanes
            .at(lane)
            .filling
            .advances()
            .iter()
            .map(|advance| TopicPartition { topic: advance.topic.clone(), partition: advance.partition })
            .collect();
        let partitions = ids
            .into_iter()
            .map(|id| (self.owned.get(&id).map_or(0, |partition| partition.epoch), id))
            .map(|(e, id)| (id, e))
            .collect();
        let guard = self.batch_guard(lane);
        let batch = self.lanes.send_off(lane, partitions);
        let answer = self.task.pool.send(batch, guard, slot);
        self.answers.push(Box::pin(async move { Answer::Written(lane, answer.await.ok().map(Box::new)) }));
    }

    /// Something that was waited for is there.
    pub fn answered(&mut self, answer: Answer) -> Result<(), ExitError> {
        match answer {
            Answer::Written(lane, reply) => {
                self.written(lane, reply)?;
                self.resume_with_room()
            }
            Answer::Assigned(starts) => self.assigned(starts),
            Answer::Reset(asked, starts) => self.was_reset(&asked, starts),
            Answer::Checked(starts) => self.checked(starts),
            Answer::SeekAgain(again) => self.seek_again(again),
        }
    }

    fn written(&mut self, lane: usize, reply: Option<Box<WriteReply>>) -> Result<(), ExitError> {
        let Some(WriteReply { batch, result, differs, storm }) = reply.map(|reply| *reply) else {
            tracing::warn!(consumer_id = %self.task.id, "a writer died with a batch; its positions are taken from the store");
            for (id, _) in self.lanes.landed(lane, None) {
                self.reset(&id, "lost_answer");
            }
            return Ok(());
        };
        if let Some((slot, storm)) = storm {
            let advance = &batch.advances()[usize::from(slot)];
            let stormy = TopicPartition { topic: advance.topic.clone(), partition: advance.partition };
            for (id, _) in self.lanes.landed(lane, Some(batch)) {
                self.reset(&id, "storm");
            }
            return self.quarantine(&stormy, &storm);
        }
        match result {
            Ok(receipt) => {
                self.moved(lane, &batch, receipt.duplicates);
                self.owned.note_newest(&batch, Instant::now());
                self.task.feed.committed(&batch);
                let storms = self.judge_stored(&batch);
                if !batch.dead_letters().is_empty() {
                    self.task.dead_letters.notify_one();
                }
                self.lanes.landed(lane, Some(batch));
                for (id, storm) in storms {
                    self.quarantine(&id, &storm)?;
                }
                Ok(())
            }
            Err(error) if error.class == FailureClass::Fenced => {
                tracing::warn!(consumer_id = %self.task.id, error = %error.message, "a batch lost its race and was rolled back");
                for (id, _) in self.lanes.landed(lane, Some(batch)) {
                    self.reset(&id, "fenced");
                }
                Ok(())
            }
            Err(error) if error.class == FailureClass::RowDiffers => {
                let culprit = differs.and_then(|slot| batch.advances().get(usize::from(slot)));
                let culprit = culprit.map(|advance| (advance.topic.clone(), advance.partition));
                for (id, _) in self.lanes.landed(lane, Some(batch)) {
                    if culprit
                        .as_ref()
                        .is_none_or(|(topic, partition)| *topic == id.topic && *partition == id.partition)
                    {
                        self.stop_partition(&id, StopCode::RowDiffers, error.message.clone())?;
                    } else {
                        // Rolled back with it, and nothing is wrong with its rows.
                        self.reset(&id, "rebuild");
                    }
                }
                Ok(())
            }
            Err(error) => Err(store_failed(&error)),
        }
    }

    /// Positions and counters after a commit.
    ///
    /// `duplicates` were found by their key after a rewind. The receipt does not say of which partition; they are counted
    /// for the first that has so many rows.
    fn moved(&mut self, lane: usize, batch: &Batch, mut duplicates: u64) {
        let epochs =
            self.lanes.at(lane).in_flight.as_ref().map(|(partitions, _)| partitions.clone()).unwrap_or_default();
        for (slot, advance) in batch.advances().iter().enumerate() {
            let id = TopicPartition { topic: advance.topic.clone(), partition: advance.partition };
            let letters = batch.dead_letters().iter().filter(|letter| usize::from(letter.slot) == slot);
            let mut letter_count = 0;
            for letter in letters {
                letter_count += 1;
                let code = letter.rejection.code.to_string();
                let labels =
                    [self.task.id.as_str(), advance.topic.as_str(), letter.rejection.code.stage(), code.as_str()];
                self.task.metrics.message_errors.with_label_values(&labels).inc();
            }
            let rows: i64 =
                batch.rollups().iter().filter(|rollup| usize::from(rollup.slot) == slot).map(|r| r.count).sum();
            let rows = u64::try_from(rows).unwrap_or(0);
            let skipped = rows.min(duplicates);
            duplicates -= skipped;
            let rows = rows - skipped;
            self.status.duplicates += skipped;
            self.status.stored += rows;
            self.status.dead_letters += letter_count;
            for gap in batch.gaps().iter().filter(|gap| usize::from(gap.slot) == slot) {
                let labels = [self.task.id.as_str(), advance.topic.as_str(), gap.reason];
                self.task.metrics.offset_gaps.with_label_values(&labels).inc();
            }
            let epoch = epochs.iter().find(|(other, _)| *other == id).map(|(_, epoch)| *epoch);
            if let Some(partition) = self.owned.get(&id) {
                partition.counters.stored.inc_by(rows);
                partition.counters.duplicates.inc_by(skipped);
                partition.counters.rejected.inc_by(skipped);
                partition.counters.dead_lettered.inc_by(letter_count);
                if epoch == Some(partition.epoch) {
                    partition.stored = advance.to;
                    self.hint.dirty.insert(id, advance.to);
                }
            }
        }
    }

    /// What happens four times a second.
    pub fn tick(&mut self) -> Result<(), ExitError> {
        let now = Instant::now();
        if !self.joined && now >= self.started + IDLE_MEMBER_AFTER && self.rebalances.is_empty() {
            // More consumers than partitions: the group has nothing to say to this one.
            self.joined = true;
        }
        self.write_tail_gaps()?;
        let idle = self.is_drained();
        if !self.hint.dirty.is_empty() && (idle || now >= self.hint.last + HINT_INTERVAL) {
            self.commit_hint();
        }
        if now >= self.next_identity_check {
            self.next_identity_check = now + IDENTITY_CHECK;
            self.check_positions();
        }
        self.publish();
        Ok(())
    }

    /// Offsets that the client passed without a record, at the end of a log: transaction markers and aborted records.
    fn write_tail_gaps(&mut self) -> Result<(), ExitError> {
        if self.stopping.is_some()
            || self.owned.iter().all(|p| p.read.as_ref().is_none_or(|read| read.expected() != p.stored))
        {
            return Ok(());
        }
        let Ok(positions) = self.consumer.positions() else {
            return Ok(());
        };
        for (id, position) in positions {
            let Some(partition) = self.owned.get(&id) else {
                continue;
            };
            // The client passes records of a held partition that nobody took.
            let idle = partition.processing.is_empty()
                && !partition.revoking
                && partition.held.is_none()
                && partition.queued == partition.stored;
            let Some(read) = partition.read.as_mut().filter(|read| idle && read.expected() == partition.stored) else {
                continue;
            };
            let (expected, passed) = (read.expected(), read.pass_to(position));
            if passed == Passed::Confirm {
                self.seek(&id, expected, 0)?;
            } else if passed == Passed::Gap {
                let lane = partition.lane;
                let batch = &mut self.lanes.at(lane).filling;
                let slot = batch.slot(&id.topic, id.partition, partition.incarnation, partition.queued);
                batch.push_gap(slot, position, "tail");
                partition.queued = position;
                self.lanes.filled(lane);
            }
        }
        Ok(())
    }

    /// Tells Kafka the positions, for lag tools.
    pub fn commit_hint(&mut self) {
        if self.hint.dirty.is_empty() {
            return;
        }
        let positions: Vec<(TopicPartition, i64)> = std::mem::take(&mut self.hint.dirty).into_iter().collect();
        self.hint.last = Instant::now();
        let metadata = format!("{HINT_PREFIX}{}", self.task.starts.store_id);
        match self.consumer.commit_hint(&positions, &metadata) {
            Ok(()) => self.hint.sent += 1,
            Err(error) => {
                tracing::debug!(consumer_id = %self.task.id, error = %error, "the hint could not be committed");
                self.task.metrics.offset_commits.with_label_values(&[self.task.id.as_str(), "error"]).inc();
            }
        }
    }

    /// Feeds the metrics with what was taken of a partition.
    pub fn flush_counters(&mut self, id: &TopicPartition) {
        if let Some(partition) = self.owned.get(id) {
            partition.counters.consumed.inc_by(std::mem::take(&mut partition.taken));
            partition.counters.consumed_bytes.inc_by(std::mem::take(&mut partition.taken_bytes));
            let duplicates = std::mem::take(&mut partition.duplicates);
            partition.counters.duplicates.inc_by(duplicates);
            partition.counters.rejected.inc_by(duplicates);
            self.status.duplicates += duplicates;
        }
    }

    /// Shows state, positions and counters.
    pub fn publish(&mut self) {
        let ids: Vec<TopicPartition> = self.owned.iter().map(|partition| partition.id.clone()).collect();
        for id in &ids {
            self.flush_counters(id);
        }
        let commits = self.consumer.commits();
        for (outcome, now, before) in
            [("ok", commits.ok, &mut self.hint.counted.ok), ("error", commits.failed, &mut self.hint.counted.failed)]
        {
            let counter = self.task.metrics.offset_commits.with_label_values(&[self.task.id.as_str(), outcome]);
            counter.inc_by(now.saturating_sub(*before));
            *before = now;
        }
        let metrics = &self.task.metrics;
        let consumer_id = self.task.id.as_str();
        self.status.held = self.own_hold();
        self.status.partitions.clear();
        for partition in self.owned.iter() {
            let (topic, number) = (partition.id.topic.as_str(), partition.id.partition.to_string());
            let end_offset = self.task.ends.of(&partition.id);
            // The end was read a moment before the position.
            let lag = end_offset.map(|end| (end - partition.stored).max(0));
            metrics.consumer_position_offset.with_label_values(&[consumer_id, topic, &number]).set(partition.stored);
            if let (Some(end), Some(lag)) = (end_offset, lag) {
                metrics.partition_end_offset.with_label_values(&[topic, &number]).set(end);
                metrics.consumer_lag_messages.with_label_values(&[consumer_id, topic, &number]).set(lag);
            }
            if let Some(stop) = &partition.stop {
                metrics.keep_partition_stopped(topic, partition.id.partition, &stop.code);
            }
            if let Some(hold) = &partition.held {
                metrics.keep_partition_held(topic, partition.id.partition, hold.kind.as_str());
            }
            self.status.partitions.push(PartitionStatus {
                topic: topic.to_owned(),
                partition: partition.id.partition,
                next_offset: partition.stored,
                read_offset: partition.read.as_ref().map(ReadPosition::expected),
                end_offset,
                lag,
                newest_timestamp_ms: partition.newest_timestamp_ms,
                stopped: partition.stop.clone(),
                held: partition.held.clone(),
            });
        }
        for topic in self.task.mappings.keys() {
            let owned = self.owned.iter().filter(|partition| partition.id.topic == *topic).count();
            let gauge = metrics.consumer_assigned_partitions.with_label_values(&[consumer_id, topic.as_str()]);
            gauge.set(i64::try_from(owned).unwrap_or(i64::MAX));
        }
        self.status.partitions.sort_by(|a, b| (&a.topic, a.partition).cmp(&(&b.topic, b.partition)));
        self.task.board.set_consumer(self.status.clone());
        let state = self.state();
        if state != ChildState::Starting {
            self.control.set_state(state);
        }
    }

    /// The last hint and the last status, before the client closes.
    pub async fn finish(&mut self, records: &mut RecordsOf<'_, G>) {
        self.publish();
        let answered = self.consumer.commits();
        self.commit_hint();
        if self.hint.sent > answered.ok + answered.failed {
            // The answer arrives only while the client is polled.
            let wait = async {
                loop {
                    let commits = self.consumer.commits();
                    if commits.ok + commits.failed >= self.hint.sent {
                        break;
                    }
                    let _ = tokio::time::timeout(Duration::from_millis(20), records.next()).await;
                }
            };
            if tokio::time::timeout(LAST_HINT_TIMEOUT, wait).await.is_err() {
                tracing::debug!(consumer_id = %self.task.id, "Kafka did not answer the last hint");
            }
        }
        self.publish();
    }
}
