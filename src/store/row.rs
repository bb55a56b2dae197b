//! The encoded form of a row of `events`: a tuple of PostgreSQL's COPY BINARY format (documentation of COPY, "Tuples").
//!
//! Both stores take it: PostgreSQL as the bytes of its COPY stream, SQLite decoded again. Pure; encoding cannot fail,
//! decoding gives `None` for bytes that [`encode`] did not make.

use crate::domain::event::EventRow;
use std::borrow::Cow;

/// The columns in the order of the encoded form.
pub const COLUMNS: &str = "topic, partition, incarnation, \"offset\", key, user_id, event_type, element_id, occurred_at, payload, consumer_id, source";
const COLUMN_COUNT: i16 = 12;
/// PostgreSQL counts time from 2000-01-01; this is its distance from the epoch in microseconds.
const PG_EPOCH_US: i64 = 946_684_800_000_000;
/// The version byte of jsonb's binary form.
const JSONB_VERSION: u8 = 1;

/// What a COPY BINARY stream begins with: signature, flags, length of the extension.
pub const STREAM_HEADER: &[u8] = b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0";
/// What it ends with.
pub const STREAM_TRAILER: &[u8] = &(-1_i16).to_be_bytes();

/// Appends a row.
pub fn encode(row: &EventRow<'_>, out: &mut Vec<u8>) {
    out.extend_from_slice(&COLUMN_COUNT.to_be_bytes());
    field(out, Some(row.topic.as_bytes()));
    out.extend_from_slice(&4_i32.to_be_bytes());
    out.extend_from_slice(&row.partition.to_be_bytes());
    out.extend_from_slice(&4_i32.to_be_bytes());
    out.extend_from_slice(&row.incarnation.to_be_bytes());
    out.extend_from_slice(&8_i32.to_be_bytes());
    out.extend_from_slice(&row.offset.to_be_bytes());
    field(out, row.key.as_deref());
    field(out, row.user_id.as_deref().map(str::as_bytes));
    field(out, Some(row.event_type.as_bytes()));
    field(out, row.element_id.as_deref().map(str::as_bytes));
    match row.occurred_at_us {
        Some(us) => {
            out.extend_from_slice(&8_i32.to_be_bytes());
            out.extend_from_slice(&(us - PG_EPOCH_US).to_be_bytes());
        }
        None => out.extend_from_slice(&(-1_i32).to_be_bytes()),
    }
    match &row.payload {
        Some(payload) => {
            out.extend_from_slice(&length(payload.len() + 1).to_be_bytes());
            out.push(JSONB_VERSION);
            out.extend_from_slice(payload);
        }
        None => out.extend_from_slice(&(-1_i32).to_be_bytes()),
    }
    field(out, Some(row.consumer_id.as_bytes()));
    field(out, row.source.as_deref().map(str::as_bytes));
}

fn length(bytes: usize) -> i32 {
    i32::try_from(bytes).expect("a field is below limits.record_bytes, which is below 1 GiB")
}

fn field(out: &mut Vec<u8>, bytes: Option<&[u8]>) {
    match bytes {
        Some(bytes) => {
            out.extend_from_slice(&length(bytes.len()).to_be_bytes());
            out.extend_from_slice(bytes);
        }
        None => out.extend_from_slice(&(-1_i32).to_be_bytes()),
    }
}

/// The fields of a tuple, from the first to the last.
struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    /// The next field: `None` where the bytes end too early, `Some(None)` for a null.
    fn next(&mut self) -> Option<Option<&'a [u8]>> {
        let (len, after) = self.0.split_first_chunk::<4>()?;
        self.0 = after;
        let Ok(len) = usize::try_from(i32::from_be_bytes(*len)) else {
            return Some(None);
        };
        let (field, after) = self.0.split_at_checked(len)?;
        self.0 = after;
        Some(Some(field))
    }

    fn next_text(&mut self) -> Option<Option<Cow<'a, str>>> {
        match self.next()? {
            None => Some(None),
            Some(bytes) => Some(Some(Cow::Borrowed(std::str::from_utf8(bytes).ok()?))),
        }
    }
}

/// The row that these bytes encode.
#[must_use]
pub fn decode(bytes: &[u8]) -> Option<EventRow<'_>> {
    let (count, rest) = bytes.split_first_chunk::<2>()?;
    if i16::from_be_bytes(*count) != COLUMN_COUNT {
        return None;
    }
    let mut fields = Fields(rest);
    Some(EventRow {
        topic: fields.next_text()??,
        partition: i32::from_be_bytes(fields.next()??.try_into().ok()?),
        incarnation: i32::from_be_bytes(fields.next()??.try_into().ok()?),
        offset: i64::from_be_bytes(fields.next()??.try_into().ok()?),
        key: fields.next()?.map(Cow::Borrowed),
        user_id: fields.next_text()?,
        event_type: fields.next_text()??,
        element_id: fields.next_text()?,
        occurred_at_us: match fields.next()? {
            Some(bytes) => Some(i64::from_be_bytes(bytes.try_into().ok()?).checked_add(PG_EPOCH_US)?),
            None => None,
        },
        payload: match fields.next()? {
            Some(bytes) => Some(Cow::Borrowed(bytes.strip_prefix(&[JSONB_VERSION])?)),
            None => None,
        },
        consumer_id: fields.next_text()??,
        source: fields.next_text()?,
    })
}

/// Key and value of the record that a row was made of: what a dead letter needs.
#[must_use]
pub fn key_and_value(bytes: &[u8]) -> (Option<Vec<u8>>, Option<Vec<u8>>) {
    match decode(bytes) {
        Some(row) => (row.key.map(Cow::into_owned), row.payload.map(Cow::into_owned)),
        None => (None, None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn optional_text() -> impl Strategy<Value = Option<Cow<'static, str>>> {
        prop::option::of("\\PC{0,20}".prop_map(Cow::Owned))
    }

    proptest! {
        #[test]
        fn a_row_comes_back_as_it_was_encoded(
            ids in (any::<i32>(), any::<i32>(), any::<i64>()),
            texts in (optional_text(), optional_text(), optional_text()),
            bytes in (prop::option::of(prop::collection::vec(any::<u8>(), 0..40)), prop::option::of(prop::collection::vec(any::<u8>(), 0..40))),
            at in prop::option::of(-62_135_596_800_000_000_i64..253_402_300_799_999_000),
        ) {
            let row = EventRow {
                topic: "t".into(), partition: ids.0, incarnation: ids.1, offset: ids.2,
                key: bytes.0.map(Cow::Owned), user_id: texts.0, event_type: "a".into(), element_id: texts.1,
                occurred_at_us: at, payload: bytes.1.map(Cow::Owned), consumer_id: "c".into(), source: texts.2,
            };
            let mut encoded = Vec::new();
            encode(&row, &mut encoded);
            prop_assert_eq!(decode(&encoded), Some(row));
        }

        #[test]
        fn no_bytes_make_decoding_panic(bytes in prop::collection::vec(any::<u8>(), 0..100)) {
            let _ = decode(&bytes);
        }
    }
}
