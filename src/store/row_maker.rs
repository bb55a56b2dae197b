//! How a record becomes a row of a batch: checked, decoded once, encoded once.
//!
//! Pure, and what every record goes through: it allocates nothing as long as the batch's buffers hold the row, except for
//! what a document forces (tests/allocations.rs), and its instructions have a budget (scripts/instructions). What cannot
//! be a row is a rejection and leaves the batch as it was.

use super::row;
use crate::domain::batch::Batch;
use crate::domain::decode::decode_caught;
use crate::domain::event::{EventRow, Mapping};
use crate::domain::failure::{DeadLetterCode, Rejection};
use crate::domain::record::RawRecord;
use std::borrow::Cow;

/// The header that says who produced a record.
pub const SOURCE_HEADER: &[u8] = b"drover_source";

/// What one look at the key, the value and the headers of a record tells.
#[derive(Debug, Clone, Copy)]
pub struct Seen<'r> {
    /// Bytes of all three.
    pub bytes: usize,
    /// Of those, names and values of headers.
    pub header_bytes: usize,
    /// Who produced it.
    pub source: Option<&'r str>,
}

impl<'r> Seen<'r> {
    /// Looks.
    #[must_use]
    pub fn of(record: &'r impl RawRecord) -> Self {
        let (mut header_bytes, mut source) = (0, None);
        record.for_each_header(&mut |name, value| {
            header_bytes += name.len() + value.map_or(0, <[u8]>::len);
            if name == SOURCE_HEADER {
                source = value.and_then(clean_text);
            }
        });
        let bytes = record.key().map_or(0, <[u8]>::len) + record.value().map_or(0, <[u8]>::len) + header_bytes;
        Self { bytes, header_bytes, source }
    }
}

/// Makes the rows of one consumer.
#[derive(Debug, Clone)]
pub struct RowMaker {
    consumer_id: String,
    record_bytes: usize,
}

impl RowMaker {
    /// The rows say that `consumer_id` stored them. A record whose key, value and headers have more than `record_bytes` bytes
    /// cannot be one.
    #[must_use]
    pub fn new(consumer_id: &str, record_bytes: usize) -> Self {
        Self { consumer_id: consumer_id.to_owned(), record_bytes }
    }

    /// Adds the row of a record, of which `seen` tells, to its slot of a batch.
    ///
    /// # Errors
    /// A [`Rejection`] when the record cannot be a row. A panic of the decoder concerns this record alone.
    pub fn add(
        &self,
        record: &impl RawRecord,
        seen: Seen<'_>,
        mapping: &Mapping,
        batch: &mut Batch,
        slot: u16,
    ) -> Result<(), Rejection> {
        let Seen { bytes, source, .. } = seen;
        if bytes > self.record_bytes {
            return Err(Rejection::new(
                DeadLetterCode::RecordTooLarge,
                format!("the record has {bytes} bytes, limits.record_bytes allows {}", self.record_bytes),
            ));
        }
        let event = decode_caught(record.value(), record.timestamp(), mapping)?;
        let row = EventRow {
            topic: Cow::Borrowed(record.topic()),
            partition: record.partition(),
            incarnation: batch.advances()[usize::from(slot)].incarnation,
            offset: record.offset(),
            key: record.key().map(Cow::Borrowed),
            user_id: event.user_id.as_deref().map(Cow::Borrowed),
            event_type: event.event_type,
            element_id: event.element_id.as_deref().map(Cow::Borrowed),
            occurred_at_us: event.occurred_at_us,
            payload: event.payload.map(Cow::Borrowed),
            consumer_id: Cow::Borrowed(&self.consumer_id),
            source: source.map(Cow::Borrowed),
        };
        batch.push_row(slot, record, &row.event_type, |out| row::encode(&row, out));
        Ok(())
    }
}

/// Text that a text column takes.
fn clean_text(bytes: &[u8]) -> Option<&str> {
    std::str::from_utf8(bytes).ok().filter(|text| !text.contains('\0'))
}
