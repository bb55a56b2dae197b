//! Quarantine: what the storm guard finds becomes a hold, and the hold's end tells the guard how to go on.
//!
//! Two guards watch a partition, in the order in which records are judged: one what cannot be decoded or processed, one what
//! the database refuses, batch by batch; within a batch the writer looks by itself.

use super::{ExitError, TopicPartition, Work};
use crate::domain::batch::Batch;
use crate::domain::failure::DeadLetterCode;
use crate::domain::hold::{Hold, HoldKind, HoldScope};
use crate::domain::offsets::ReadPosition;
use crate::domain::storm::{BatchGuard, Storm};
use crate::kafka::group_client::Group;

/// Who placed the hold, in the store and wherever it is shown.
const STORM_GUARD: &str = "storm guard";
/// How far the clocks of two replicas may be apart, in milliseconds: a quarantine that ends so close to its time ended by it.
const CLOCKS_APART_MS: i64 = 5_000;

impl<G: Group> Work<'_, G> {
    /// The guard that goes along with the batch of a lane to its writer.
    pub(super) fn batch_guard(&mut self, lane: usize) -> BatchGuard {
        let ids: Vec<TopicPartition> = self
            .lanes
            .at(lane)
            .filling
            .advances()
            .iter()
            .map(|advance| TopicPartition { topic: advance.topic.clone(), partition: advance.partition })
            .collect();
        let mut pardoned =
            |id: &TopicPartition| self.owned.get(id).is_some_and(|owned| owned.stored_guard.is_pardoned());
        let slots = (0_u16..).zip(&ids).filter(|(_, id)| pardoned(id)).map(|(slot, _)| slot).collect();
        BatchGuard::new(self.task.storm, slots)
    }

    /// Shows the guard what became of the rows of a batch that was stored; gives back the partitions that are in a storm.
    pub(super) fn judge_stored(&mut self, batch: &Batch) -> Vec<(TopicPartition, Storm)> {
        let mut storms = Vec::new();
        for (slot, advance) in (0_u16..).zip(batch.advances()) {
            let id = TopicPartition { topic: advance.topic.clone(), partition: advance.partition };
            let Some(partition) = self.owned.get(&id) else {
                continue;
            };
            let mut refused: Vec<(i64, &DeadLetterCode)> = batch
                .dead_letters()
                .iter()
                .filter(|letter| letter.slot == slot && matches!(letter.rejection.code, DeadLetterCode::Database(_)))
                .map(|letter| (letter.record.offset, &letter.rejection.code))
                .collect();
            if refused.is_empty() {
                let rows = batch.rollups().iter().filter(|rollup| rollup.slot == slot);
                let rows: i64 = rows.map(|rollup| rollup.count).sum();
                partition.stored_guard.good_many(usize::try_from(rows).unwrap_or(0));
                continue;
            }
            refused.sort_by_key(|(offset, _)| *offset);
            let mut rows = batch.metas().iter().filter(|meta| meta.slot == slot).map(|meta| meta.offset).peekable();
            for (offset, code) in refused {
                while rows.next_if(|&row| row < offset).is_some() {
                    partition.stored_guard.good();
                }
                if let Some(storm) = partition.stored_guard.dead(code, offset) {
                    storms.push((id.clone(), storm));
                }
            }
            partition.stored_guard.good_many(rows.count());
        }
        storms
    }

    /// Puts a partition into quarantine: at once here, and in the store as soon as it takes it.
    pub(super) fn quarantine(&mut self, id: &TopicPartition, storm: &Storm) -> Result<(), ExitError> {
        let limits = self.task.storm;
        tracing::error!(
            consumer_id = %self.task.id, topic = %id.topic, partition = id.partition, code = %storm.code,
            example_offset = storm.example, release_after_s = limits.release_after.as_secs(),
            "partition quarantined: {storm}"
        );
        self.task.metrics.storm_quarantines.with_label_values(&[&self.task.id, &id.topic, storm.rule.as_str()]).inc();
        if let Some(partition) = self.owned.get(id) {
            let queued = partition.queued;
            match partition.read.as_mut() {
                // What is being processed is read again afterwards.
                Some(read) => {
                    partition.processing.clear();
                    *read = ReadPosition::at(queued);
                }
                // A seek that is tried again would lead behind what is being processed: the store says where to go on.
                None => self.reset(id, "storm"),
            }
        }
        let since_ms = chrono::Utc::now().timestamp_millis();
        let lasts = i64::try_from(limits.release_after.as_millis()).unwrap_or(i64::MAX);
        self.task.holds.insist(Hold {
            scope: HoldScope::Partition { topic: id.topic.clone(), partition: id.partition },
            kind: HoldKind::Quarantined,
            reason: storm.to_string(),
            by: STORM_GUARD.to_owned(),
            since_ms,
            until_ms: (lasts > 0).then(|| since_ms.saturating_add(lasts)),
        });
        self.obey_holds()
    }

    /// Why a record stops its partition that has no place in memory.
    pub(super) fn too_large(&self, id: &TopicPartition, offset: i64, bytes: usize) -> String {
        format!(
            "topic \"{}\" partition {}: the record at offset {offset} has {bytes} bytes, and limits.memory leaves {} for one; \
             it cannot even be kept as a dead letter. Raise limits.memory and restart; or give it up with `drover offsets skip {} \
             --partition {} --to {}` while drover is stopped",
            id.topic,
            id.partition,
            self.task.budget.most_for_one(),
            id.topic,
            id.partition,
            offset + 1
        )
    }

    /// The quarantine of a partition has ended: by its time, or by somebody who lets what follows pass.
    pub(super) fn quarantine_ended(&mut self, id: &TopicPartition, was: &Hold) {
        // Another replica whose clock is ahead may have seen its time come first.
        let released = !was.is_over(chrono::Utc::now().timestamp_millis().saturating_add(CLOCKS_APART_MS));
        if let Some(partition) = self.owned.get(id) {
            for guard in [&mut partition.taken_guard, &mut partition.stored_guard] {
                if released {
                    guard.pardon();
                } else {
                    guard.start_fresh();
                }
            }
        }
        if released {
            tracing::info!(
                consumer_id = %self.task.id, topic = %id.topic, partition = id.partition,
                "released by order: its records pass the storm guard until the flood is over"
            );
        }
    }
}
