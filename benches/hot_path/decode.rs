//! Decoding of a value, by the kind of document.

use crate::records::{generated, mapping, record};
use divan::Bencher;
use divan::counter::BytesCount;
use drover::domain::decode::decode;
use drover::domain::record::OwnedRecord;

#[derive(Debug)]
enum Document {
    Small,
    Bytes240,
    Bytes1000,
    Bytes10000,
    Escapes,
    IntegerUser,
    Nested,
    Truncated,
    NoEventType,
}

impl Document {
    fn record(&self) -> OwnedRecord {
        let generated = |bytes| generated(0, bytes, 1).remove(0);
        let text = match self {
            Self::Bytes240 => return generated(240),
            Self::Bytes1000 => return generated(1_000),
            Self::Bytes10000 => return generated(10_000),
            Self::Truncated => {
                let mut record = generated(240);
                record.value.as_mut().expect("events have a value").truncate(160);
                return record;
            }
            Self::Small => r#"{"event_type":"scroll","user_id":"user_0042"}"#,
            Self::Escapes => {
                r#"{"event_type":"b\u00fctton\tclick","user_id":"\"user_0042\"","element_id":"a\/b","timestamp":"2026-01-02T03:04:05.678+00:00","note":"\ud83d\ude00 and \u00e9"}"#
            }
            Self::IntegerUser => r#"{"event_type":"scroll","user_id":42,"timestamp":1767323045678}"#,
            Self::Nested => r#"{"event_type":"scroll","cart":[{"item":{"tags":["a","b"],"price":1.5}}],"on":true}"#,
            Self::NoEventType => r#"{"user_id":"user_0042","element_id":"checkout_btn"}"#,
        };
        record(0, "key", text.as_bytes())
    }
}

#[divan::bench(args = [
    Document::Small,
    Document::Bytes240,
    Document::Bytes1000,
    Document::Bytes10000,
    Document::Escapes,
    Document::IntegerUser,
    Document::Nested,
    Document::Truncated,
    Document::NoEventType,
])]
fn document(bencher: Bencher<'_, '_>, document: &Document) {
    let (record, mapping) = (document.record(), mapping());
    let value = record.value.as_deref();
    bencher
        .counter(BytesCount::of_slice(value.unwrap_or_default()))
        .bench(|| decode(divan::black_box(value), record.timestamp, &mapping).is_ok());
}
