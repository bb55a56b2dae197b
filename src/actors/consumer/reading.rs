//! Taking records: in bursts of those that are fetched already, and what the client reports between them.
//!
//! A burst is at most [`BURST`] records, so that receipts, rebalances and orders never wait long. Fails with what ends the
//! consumer: a fatal error of the client, one that fences it, or one that only a person can mend.

use super::intake::Taken;
use super::{ExitError, Work};
use crate::actors::leases::Place;
use crate::domain::failure::StopCode;
use crate::domain::record::RawRecord as _;
use crate::kafka::error::{KafkaError, KafkaErrorKind};
use crate::kafka::group_client::{Group, RecordOf, RecordStream as _, RecordsOf};
use std::time::Duration;

/// Records taken in one go before receipts, rebalances and orders are looked at again.
const BURST: usize = 256;
/// Pause after an error of the client, which otherwise reports hundreds a second while no broker answers.
const ERROR_PAUSE: Duration = Duration::from_millis(100);

impl<'c, G: Group> Work<'c, G> {
    /// Takes a record and those that are fetched already.
    pub(super) async fn take_burst(
        &mut self,
        first: Result<RecordOf<'c, G>, KafkaError>,
        records: &mut RecordsOf<'c, G>,
    ) -> Result<(), ExitError> {
        let mut next = Some(first);
        let mut taken = 0;
        // What the client has handed over is never dropped: it would look like a gap to the record behind it. So the
        // loop decides whether to go on before it asks for the next one.
        while let Some(record) = next {
            match record {
                Ok(record) => self.take(&record)?,
                Err(error) => return self.client_error(&error).await,
            }
            taken += 1;
            // Whether there is room depends on every owned partition, and is asked only where the answer may have changed.
            let may_block = self.lanes.is_tighter() || self.intake.is_processing();
            next = if taken < BURST && !(may_block && self.is_blocked()) { records.next_fetched() } else { None };
        }
        Ok(())
    }

    fn take(&mut self, record: &RecordOf<'c, G>) -> Result<(), ExitError> {
        if self.stopping.is_some() {
            return Ok(());
        }
        match self.intake.take(record, &mut self.owned, &mut self.lanes) {
            Taken::Yes | Taken::Skipped => Ok(()),
            Taken::LookAgain(id, offset) => {
                tracing::info!(
                    consumer_id = %self.task.id, topic = %id.topic, partition = id.partition, expected = offset,
                    delivered = record.offset(), "the first record lies behind its position; reading once more to confirm the gap"
                );
                self.seek(&id, offset, 0)
            }
            Taken::Storm(id, storm) => self.quarantine(&id, &storm),
            Taken::TooLarge(id, bytes) => {
                let message = self.too_large(&id, record.offset(), bytes);
                self.stop_partition(&id, StopCode::RecordExceedsMemory, message)
            }
        }
    }

    /// An error between records: most pass by themselves.
    async fn client_error(&mut self, error: &KafkaError) -> Result<(), ExitError> {
        if error.is_fatal() && error.kind() != KafkaErrorKind::Fenced {
            // The client is dead for good; the next generation makes another.
            return Err(ExitError::error(error.to_string()));
        }
        match error.kind() {
            KafkaErrorKind::Fenced if self.task.place.as_ref().is_some_and(Place::is_held) => {
                // No other process of this store can be it. Kafka also says so of a member that came back under its static
                // id after an outage longer than its session, when a commit from before is still on its way.
                return Err(ExitError::error(format!("{error}; its place is its own, so it joins again")));
            }
            KafkaErrorKind::Fenced => return Err(ExitError::fenced(error.to_string())),
            KafkaErrorKind::Configuration | KafkaErrorKind::GroupUnauthorized => {
                return Err(ExitError::error(error.to_string()));
            }
            KafkaErrorKind::OffsetOutOfRange => {
                self.seek_after_check = true;
                self.check_positions();
            }
            _ if error.is_transient() => {
                tracing::debug!(consumer_id = %self.task.id, error = %error, "reading was interrupted");
            }
            _ => {
                // It may have passed records over: a jump behind it must be confirmed.
                tracing::warn!(consumer_id = %self.task.id, error = %error, "reading met an error");
                for partition in self.owned.iter_mut() {
                    if let Some(read) = partition.read.as_mut() {
                        read.doubt();
                    }
                }
                if error.kind() == KafkaErrorKind::Unauthorized {
                    // It concerns one topic and does not say which: the others are read on.
                    self.check_positions();
                }
            }
        }
        tokio::time::sleep(ERROR_PAUSE).await;
        Ok(())
    }
}
