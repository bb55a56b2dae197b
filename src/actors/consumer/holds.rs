//! Obeying holds: partitions that are held are paused in the client, and nothing of them is taken.
//!
//! What is in a batch already is stored. On release the partition is read on from the offset behind the last record taken,
//! and a jump there is confirmed as after a seek. Membership, position and the checks of the position stay as they are.

use super::{ExitError, TopicPartition, Work, failed};
use crate::domain::hold::{Hold, HoldKind, hold_of, hold_of_consumer};
use crate::domain::offsets::ReadPosition;
use crate::kafka::group_client::{Group, GroupClient as _};

impl<G: Group> Work<'_, G> {
    /// The hold that a partition is under now, if any.
    pub(super) fn present_hold(&self, id: &TopicPartition) -> Option<Hold> {
        let list = self.holds.borrow();
        hold_of(&list, &id.topic, id.partition, &self.task.id, &self.task.holds.replica_id()).cloned()
    }

    /// The hold that this consumer itself is under now, if any.
    pub(super) fn own_hold(&self) -> Option<Hold> {
        hold_of_consumer(&self.holds.borrow(), &self.task.id, &self.task.holds.replica_id()).cloned()
    }

    /// Brings every partition in line with the list.
    pub(super) fn obey_holds(&mut self) -> Result<(), ExitError> {
        self.holds.mark_unchanged();
        let ids: Vec<TopicPartition> = self.owned.iter().map(|partition| partition.id.clone()).collect();
        for id in ids {
            let now = self.present_hold(&id);
            let Some(partition) = self.owned.get(&id).filter(|partition| partition.held != now) else {
                continue;
            };
            let is_quarantined = |hold: &Option<Hold>| hold.as_ref().is_some_and(|h| h.kind == HoldKind::Quarantined);
            let ended = is_quarantined(&partition.held) && !is_quarantined(&now);
            let before = std::mem::replace(&mut partition.held, now);
            self.show_hold(&id);
            if let Some(was) = before.as_ref().filter(|_| ended) {
                self.quarantine_ended(&id, was);
            }
            match before {
                None => self.consumer.pause(std::slice::from_ref(&id)).map_err(failed)?,
                Some(hold) => self.release(&id, &hold)?,
            }
        }
        self.publish();
        Ok(())
    }

    /// Logs and counts the hold of a partition.
    pub(super) fn show_hold(&mut self, id: &TopicPartition) {
        let Some(partition) = self.owned.get(id) else {
            return;
        };
        self.task.metrics.set_partition_held(
            &id.topic,
            id.partition,
            partition.held.as_ref().map(|hold| hold.kind.as_str()),
        );
        if let Some(hold) = &partition.held {
            tracing::info!(
                consumer_id = %self.task.id, topic = %id.topic, partition = id.partition, kind = hold.kind.as_str(),
                by = %hold.by, reason = %hold.reason, "partition held"
            );
        }
    }

    /// Reads a partition on whose hold has ended.
    fn release(&mut self, id: &TopicPartition, was: &Hold) -> Result<(), ExitError> {
        let stopping = self.stopping.is_some();
        let Some(partition) = self.owned.get(id).filter(|partition| partition.held.is_none()) else {
            return Ok(());
        };
        tracing::info!(
            consumer_id = %self.task.id, topic = %id.topic, partition = id.partition, kind = was.kind.as_str(),
            "partition released"
        );
        if stopping || partition.revoking || partition.stop.is_some() {
            return Ok(());
        }
        let (lane, waiting) = (partition.lane, partition.waiting);
        // Without a position a reset is under way, which seeks when it has one.
        let expected = partition.read.as_ref().map(ReadPosition::expected);
        if let Some(expected) = expected {
            // Records may have been dropped while it was held.
            partition.read = Some(ReadPosition::at(expected));
            self.seek(id, expected, 0)?;
        }
        if self.lanes_paused(lane) || waiting {
            return Ok(());
        }
        self.consumer.resume(std::slice::from_ref(id)).map_err(failed)
    }

    /// Whether this consumer waits by order: it is held itself, or everything that it owns is.
    pub(super) fn is_held(&self) -> bool {
        let itself = self.own_hold().is_some();
        let mut owned = self.owned.iter().peekable();
        itself || (owned.peek().is_some() && owned.all(|partition| partition.held.is_some()))
    }
}
