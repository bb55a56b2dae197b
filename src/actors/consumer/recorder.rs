//! The rebalance recorder: what a rebalance moved, what was in hand, and how long it took, as it happens.
//!
//! Holds at most the one rebalance that is under way; finished ones go to the board, the log and the metrics. It looks and
//! changes nothing, so a rebalance never depends on it.

use super::Work;
use crate::domain::offsets::ReadPosition;
use crate::domain::rebalance::{MovedPartition, Rebalance, RebalanceKind};
use crate::kafka::group_client::{Group, GroupClient as _};
use crate::kafka::rebalance::TopicPartition;
use tokio::time::Instant;

/// See the module.
#[derive(Default)]
pub struct Recorder {
    open: Option<(Instant, Rebalance)>,
}

impl<G: Group> Work<'_, G> {
    /// An assign begins.
    pub(super) fn record_assign(&mut self) {
        self.open_record(RebalanceKind::Assign, Vec::new());
    }

    /// The assign was answered with these positions.
    pub(super) fn record_assigned(&mut self, positions: &[(TopicPartition, i64)]) {
        let partition = |(id, position): &(TopicPartition, i64)| MovedPartition {
            topic: id.topic.clone(),
            partition: id.partition,
            position: *position,
            read_to: *position,
            ..MovedPartition::default()
        };
        if let Some((_, record)) = &mut self.recorder.open {
            record.partitions = positions.iter().map(partition).collect();
        }
        self.close_record();
    }

    /// A revoke begins: what is in hand now either lands or is given up.
    pub(super) fn record_revoke(&mut self, partitions: &[TopicPartition], lost: bool) {
        let kind = if lost { RebalanceKind::Lost } else { RebalanceKind::Revoke };
        let moved = partitions.iter().map(|id| {
            let (position, read_to) = self.positions_of(id);
            MovedPartition {
                topic: id.topic.clone(),
                partition: id.partition,
                position,
                read_to,
                in_flight: read_to - position,
                ..MovedPartition::default()
            }
        });
        let moved = moved.collect();
        self.open_record(kind, moved);
    }

    /// Nothing is waited for any more; the partitions are still known.
    pub(super) fn record_positions_given_up(&mut self, partitions: &[TopicPartition]) {
        for id in partitions {
            let (position, _) = self.positions_of(id);
            let Some((_, record)) = &mut self.recorder.open else { return };
            let is = |moved: &&mut MovedPartition| moved.partition == id.partition && moved.topic == id.topic;
            if let Some(moved) = record.partitions.iter_mut().find(is) {
                // A reset may have thrown away what was in hand and put the position anywhere.
                moved.drained = (position - moved.position).clamp(0, moved.in_flight);
                moved.given_up = moved.in_flight - moved.drained;
                moved.position = position;
            }
        }
    }

    /// The revoke was answered.
    pub(super) fn record_given_up(&mut self) {
        self.close_record();
    }

    /// The stored position of an owned partition, and the offset that is read next.
    fn positions_of(&mut self, id: &TopicPartition) -> (i64, i64) {
        self.owned.get(id).map_or((0, 0), |partition| {
            let read_to = partition.read.as_ref().map_or(partition.stored, ReadPosition::expected);
            (partition.stored, read_to.max(partition.stored))
        })
    }

    fn open_record(&mut self, kind: RebalanceKind, partitions: Vec<MovedPartition>) {
        let record = Rebalance {
            number: 0,
            consumer_id: self.task.id.clone(),
            generation: self.consumer.generation(),
            kind,
            at_ms: chrono::Utc::now().timestamp_millis(),
            duration_ms: 0,
            partitions,
        };
        self.recorder.open = Some((Instant::now(), record));
    }

    fn close_record(&mut self) {
        let Some((begun, mut record)) = self.recorder.open.take() else { return };
        let took = begun.elapsed();
        record.duration_ms = i64::try_from(took.as_millis()).unwrap_or(i64::MAX);
        let (drained, given_up) = record.drained_and_given_up();
        let (metrics, consumer_id) = (&self.task.metrics, self.task.id.as_str());
        let event = record.kind.as_str();
        metrics.rebalance_duration_seconds.with_label_values(&[consumer_id, event]).observe(took.as_secs_f64());
        for (outcome, offsets) in [("drained", drained), ("given_up", given_up)] {
            let count = u64::try_from(offsets).unwrap_or(0);
            metrics.rebalance_offsets.with_label_values(&[consumer_id, outcome]).inc_by(count);
        }
        let names: Vec<String> =
            record.partitions.iter().map(|moved| format!("{}/{}", moved.topic, moved.partition)).collect();
        tracing::info!(
            consumer_id, event, generation = record.generation, partitions = %names.join(","), drained, given_up,
            duration_ms = record.duration_ms, "rebalance"
        );
        self.task.board.add_rebalance(record);
    }
}
