//! Seeks, and what follows when one fails: the partition waits without a position and is tried again.
//!
//! A seek concerns one partition; librdkafka refuses it while the partition's fetcher starts or stops. Bounded by
//! [`SEEK_TRIES`]: past them the consumer ends and its successor begins anew.

use super::{Answer, ExitError, Work, failed};
use crate::domain::offsets::ReadPosition;
use crate::kafka::group_client::{Group, GroupClient as _};
use crate::kafka::rebalance::TopicPartition;
use std::time::Duration;

/// Tries of one seek.
const SEEK_TRIES: u32 = 10;
/// Delay before the second try, which doubles with each.
const SEEK_PAUSE: Duration = Duration::from_millis(20);

/// A seek that failed.
pub struct SeekAgain {
    id: TopicPartition,
    /// The epoch of the partition when it failed: a partition that was reset or taken anew since has a position of its own.
    epoch: u64,
    offset: i64,
    tries: u32,
}

impl<G: Group> Work<'_, G> {
    /// Reads a partition on from `offset`, which is its expected one. `tries` have failed already.
    pub(super) fn seek(&mut self, id: &TopicPartition, offset: i64, tries: u32) -> Result<(), ExitError> {
        let Err(error) = self.consumer.seek(&id.topic, id.partition, offset) else {
            return Ok(());
        };
        let tries = tries + 1;
        if tries >= SEEK_TRIES {
            return Err(failed(error));
        }
        let Some(partition) = self.owned.get(id) else {
            return Ok(());
        };
        tracing::warn!(
            consumer_id = %self.task.id, topic = %id.topic, partition = id.partition, offset, tries, error = %error,
            "a seek failed, the partition waits"
        );
        // What comes meanwhile is from another place; it is dropped and comes again.
        partition.read = None;
        let again = SeekAgain { id: id.clone(), epoch: partition.epoch, offset, tries };
        self.task.metrics.position_resets.with_label_values(&[self.task.id.as_str(), "seek"]).inc();
        self.answers.push(Box::pin(async move {
            tokio::time::sleep(SEEK_PAUSE * 2_u32.pow(tries - 1)).await;
            Answer::SeekAgain(again)
        }));
        Ok(())
    }

    /// The pause after a failed seek is over.
    pub(super) fn seek_again(&mut self, again: SeekAgain) -> Result<(), ExitError> {
        let SeekAgain { id, epoch, offset, tries } = again;
        let waits = |p: &&mut super::owned::OwnedPartition| p.epoch == epoch && p.read.is_none() && !p.revoking;
        let Some(partition) = self.owned.get(&id).filter(waits) else {
            return Ok(());
        };
        partition.read = Some(ReadPosition::at(offset));
        self.seek(&id, offset, tries)
    }
}
