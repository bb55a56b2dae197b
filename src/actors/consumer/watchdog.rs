//! The consumer's watchdog: partitions that are behind and do not move, though nothing explains it.
//!
//! Looks at every tick. What waits in a batch, for the processor or for a position has watchers of its own (the writers'
//! deadlines and heartbeats, the processor's time per try): here a fetch is found that got stuck.

use super::{ExitError, TopicPartition, Work, failed};
use crate::domain::offsets::ReadPosition;
use crate::domain::watchdog::{Look, WatchAction};
use crate::kafka::group_client::{Group, GroupClient as _};
use tokio::time::Instant;

impl<G: Group> Work<'_, G> {
    /// Looks at all owned partitions.
    pub(super) fn watch(&mut self) -> Result<(), ExitError> {
        let now = Instant::now();
        let since = now - std::mem::replace(&mut self.watched, now);
        let rebalancing = self.assigning || self.revoking.is_some() || !self.rebalances.is_empty();
        let excused = rebalancing || self.stopping.is_some() || self.task.breaker.is_open() || !self.has_place();
        let ids: Vec<TopicPartition> = self.owned.iter().map(|partition| partition.id.clone()).collect();
        for id in ids {
            let end = self.task.ends.of(&id);
            let Some(partition) = self.owned.get(&id) else {
                continue;
            };
            let lane = partition.lane;
            let own_excuse = !partition.is_read() || !partition.processing.is_empty() || partition.read.is_none();
            let in_batch = self.lanes.holds(lane, &id);
            // A lane that is full waits for its writer, and every partition of it with it.
            let full = self.lanes_paused(lane) || !self.lanes.has_room(lane);
            let Some(partition) = self.owned.get(&id) else {
                continue;
            };
            let look = Look {
                position: partition.stored,
                behind: end.map(|end| end > partition.stored),
                excused: excused || own_excuse || in_batch || full,
            };
            if let Some(action) = partition.watch.look(since, self.task.watchdog_timeout, look) {
                self.act(&id, action)?;
            }
        }
        Ok(())
    }

    fn act(&mut self, id: &TopicPartition, action: WatchAction) -> Result<(), ExitError> {
        let timeout = self.task.watchdog_timeout;
        self.task.metrics.watchdog_actions.with_label_values(&[self.task.id.as_str(), action.as_str()]).inc();
        let Some(partition) = self.owned.get(id) else {
            return Ok(());
        };
        let (stored, lane, waiting) = (partition.stored, partition.lane, partition.waiting);
        let expected = partition.read.as_ref().map_or(stored, ReadPosition::expected);
        let stands = format!(
            "partition {}/{} is behind and has stood at offset {stored} for {timeout:?}",
            id.topic, id.partition
        );
        if action == WatchAction::Rebuild {
            return Err(ExitError::stalled(format!("{stands} after it was sought again")));
        }
        tracing::warn!(consumer_id = %self.task.id, topic = %id.topic, partition = id.partition, "{stands}; seeking again");
        partition.read = Some(ReadPosition::at(expected));
        self.seek(id, expected, 0)?;
        if waiting || self.lanes_paused(lane) {
            return Ok(());
        }
        // A pause that nobody remembers would look the same.
        self.consumer.resume(std::slice::from_ref(id)).map_err(failed)
    }
}
