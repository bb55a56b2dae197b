//! The optional step between decoding and storing: a program that embeds drover may change or reject records.
//!
//! Runs beside the polling path, bounded in number and time; a panic is caught and concerns its record alone.

use crate::domain::record::OwnedRecord;
use std::future::Future;
use std::pin::Pin;

/// What a processor gives back.
pub type Processed<'a> = Pin<Box<dyn Future<Output = Result<OwnedRecord, ProcessorError>> + Send + 'a>>;

/// Why a processor did not give back a record.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ProcessorError {
    /// It may work later: the record is tried again with backoff, and its partition waits.
    #[error("{0}")]
    Transient(String),
    /// It will never work: the record becomes a dead letter (`processor.rejected`).
    #[error("{0}")]
    Permanent(String),
}

/// Changes or rejects records. Called for every record that decodes; what it gives back is decoded again, so it must hold
/// a document that the mapping accepts. A dead letter keeps the record as Kafka delivered it.
///
/// Records of one partition are stored in their order, whatever order their processing ends in. A record may be processed
/// more than once (after a rebalance or a restart) but is stored once; a processor with effects of its own must bear that.
pub trait Processor: Send + Sync + 'static {
    /// Processes one record.
    fn process(&self, record: OwnedRecord) -> Processed<'_>;
}
