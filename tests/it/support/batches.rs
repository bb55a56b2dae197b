//! Batches as consumers fill them.

use crate::support::stores::TestStore;
use drover::domain::batch::Batch;
use drover::domain::event::EventRow;
use drover::domain::failure::{DeadLetterCode, Rejection};
use drover::domain::record::{OwnedRecord, PackedHeaders, RecordTimestamp, TimestampType};
use drover::store::{Receipt, StoreError, StoreWriter, WriteError, row};
use std::collections::BTreeMap;
use std::ops::Range;

pub const TOPIC: &str = "user_events";

/// An ordinary event.
pub fn event(partition: i32, offset: i64) -> OwnedRecord {
    let mut headers = PackedHeaders::default();
    headers.push(b"trace", Some(b"abc"));
    OwnedRecord {
        topic: TOPIC.to_owned(),
        partition,
        offset,
        key: Some(format!("user-{offset}").into_bytes()),
        value: Some(format!(r#"{{"event_type":"click","n":{offset}}}"#).into_bytes()),
        timestamp: RecordTimestamp { ms: 1_767_322_845_678 + offset, kind: TimestampType::CreateTime },
        headers,
    }
}

/// Adds a record as a row.
pub fn push_row(batch: &mut Batch, slot: u16, record: &OwnedRecord) {
    let incarnation = batch.advances()[usize::from(slot)].incarnation;
    let consumer_id = batch.consumer_id().to_owned();
    batch.push_row(slot, record, "click", |out| {
        row::encode(
            &EventRow {
                topic: record.topic.as_str().into(),
                partition: record.partition,
                incarnation,
                offset: record.offset,
                key: record.key.as_deref().map(Into::into),
                user_id: Some("user_0042".into()),
                event_type: "click".into(),
                element_id: None,
                occurred_at_us: Some(record.timestamp.ms * 1_000 + 7),
                payload: record.value.as_deref().map(Into::into),
                consumer_id: consumer_id.as_str().into(),
                source: Some("a test".into()),
            },
            out,
        );
    });
}

pub fn rejection() -> Rejection {
    Rejection::new(DeadLetterCode::JsonSyntax, "the value is not JSON")
}

/// A batch of ordinary rows of one partition.
pub fn rows(partition: i32, offsets: Range<i64>) -> Batch {
    let mut batch = Batch::new("consumer-1");
    let slot = batch.slot(TOPIC, partition, 1, offsets.start);
    for offset in offsets {
        push_row(&mut batch, slot, &event(partition, offset));
    }
    batch
}

/// Stores a batch, which must go well.
pub async fn store(writer: &mut Box<dyn StoreWriter>, batch: &Batch) -> Receipt {
    writer.write(batch).await.unwrap()
}

/// The error of a batch that must not be stored for a reason other than a row.
pub fn store_error(result: Result<Receipt, WriteError>) -> StoreError {
    match result {
        Err(WriteError::Store(error) | WriteError::Differs { error, .. }) => error,
        other => panic!("expected an error of the store, got {other:?}"),
    }
}

/// Two partitions: rows, a dead letter and both kinds of gaps.
pub fn mixed() -> Batch {
    let mut batch = Batch::new("consumer-1");
    let zero = batch.slot(TOPIC, 0, 1, 0);
    let one = batch.slot(TOPIC, 1, 1, 100);
    for offset in 0..5 {
        push_row(&mut batch, zero, &event(0, offset));
    }
    batch.push_dead_letter(zero, event(0, 5), rejection(), 1);
    batch.push_gap(zero, 9, "jump");
    push_row(&mut batch, zero, &event(0, 9));
    push_row(&mut batch, one, &event(1, 100));
    batch.push_gap(one, 104, "tail");
    batch
}

pub async fn registered(test: &TestStore, starts: &[(i32, i64)]) {
    let starts: BTreeMap<i32, i64> = starts.iter().copied().collect();
    test.store.register_topic(TOPIC, Some("id-1"), &starts).await.unwrap();
}

pub async fn next_offset(test: &TestStore, partition: i32) -> i64 {
    test.store.topic(TOPIC).await.unwrap().unwrap().partitions[&partition].next_offset
}
