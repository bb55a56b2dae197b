//! Encoding of a decoded row into the form that COPY BINARY takes.

use crate::records::{generated, mapping};
use divan::Bencher;
use divan::counter::BytesCount;
use drover::domain::decode::decode;
use drover::domain::event::EventRow;
use drover::store::row;
use std::borrow::Cow;

#[divan::bench(args = [240, 1_000, 10_000])]
fn event_bytes(bencher: Bencher<'_, '_>, event_bytes: usize) {
    let record = generated(0, event_bytes, 1).remove(0);
    let event = decode(record.value.as_deref(), record.timestamp, &mapping()).expect("generated events decode");
    let row = EventRow {
        topic: Cow::Borrowed(&record.topic),
        partition: 0,
        incarnation: 1,
        offset: 0,
        key: record.key.as_deref().map(Cow::Borrowed),
        user_id: event.user_id.as_deref().map(Cow::Borrowed),
        event_type: event.event_type,
        element_id: event.element_id.as_deref().map(Cow::Borrowed),
        occurred_at_us: event.occurred_at_us,
        payload: event.payload.map(Cow::Borrowed),
        consumer_id: Cow::Borrowed("consumer-1"),
        source: Some(Cow::Borrowed("produce")),
    };
    encode(bencher, &row);
}

#[divan::bench]
fn nulls(bencher: Bencher<'_, '_>) {
    let row = EventRow {
        topic: Cow::Borrowed("user_events"),
        partition: 0,
        incarnation: 1,
        offset: 0,
        key: None,
        user_id: None,
        event_type: Cow::Borrowed("tombstone"),
        element_id: None,
        occurred_at_us: None,
        payload: None,
        consumer_id: Cow::Borrowed("consumer-1"),
        source: None,
    };
    encode(bencher, &row);
}

fn encode(bencher: Bencher<'_, '_>, row: &EventRow<'_>) {
    let mut out = Vec::new();
    row::encode(row, &mut out);
    bencher.counter(BytesCount::of_slice(&out)).bench_local(move || {
        out.clear();
        row::encode(divan::black_box(row), &mut out);
        out.len()
    });
}
