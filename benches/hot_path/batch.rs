//! Filling of batches whose buffers were filled before: rows that are encoded already, and the whole way of a record.

use crate::load::Load;
use crate::records::{generated, record};
use divan::Bencher;
use divan::counter::ItemsCount;
use drover::domain::batch::Batch;
use drover::domain::record::OwnedRecord;

/// Rows of a batch.
const ROWS: usize = 6_000;
/// More bytes than a batch of the load has, so that it keeps its buffers.
const KEEP_BYTES: usize = 16 * 1024 * 1024;

/// One partition, its records of so many event types in turn.
#[divan::bench(args = [1, 5, 100, 1_000])]
fn event_types(bencher: Bencher<'_, '_>, types: usize) {
    push_rows(bencher, 1, types);
}

/// Records of so many partitions in turn, which is the worst order, of five event types.
#[divan::bench(args = [1, 6, 60, 300])]
fn partitions_in_turn(bencher: Bencher<'_, '_>, partitions: i32) {
    push_rows(bencher, partitions, 5);
}

fn push_rows(bencher: Bencher<'_, '_>, partitions: i32, types: usize) {
    let mut records: Vec<OwnedRecord> = (0..partitions).map(|at| record(at, "user_0042", b"")).collect();
    let types: Vec<String> = (0..types).map(|number| format!("event_type_{number}")).collect();
    let encoded = [0; 370];
    let mut batch = Batch::new("consumer-1");
    bencher.counter(ItemsCount::new(ROWS)).bench_local(move || {
        batch.clear(KEEP_BYTES);
        for (at, event_type) in (0..ROWS).zip(types.iter().cycle()) {
            let count = records.len();
            let record = &mut records[at % count];
            record.offset += 1;
            let slot = batch.slot(&record.topic, record.partition, 1, record.offset);
            batch.push_row(slot, record, event_type, |out| out.extend_from_slice(&encoded));
        }
        batch.bytes()
    });
}

/// Decoded, encoded and added: records of 6 partitions, by their size.
#[divan::bench(args = [60, 240, 1_000])]
fn record_to_row(bencher: Bencher<'_, '_>, event_bytes: usize) {
    let mut load = Load::new((0..6).map(|partition| generated(partition, event_bytes, ROWS / 6)));
    let mut batch = Batch::new("consumer-1");
    bencher.counter(ItemsCount::new(load.len())).bench_local(move || {
        batch.clear(KEEP_BYTES);
        load.fill(&mut batch);
        batch.bytes()
    });
}
