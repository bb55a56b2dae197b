//! Judging of records by their offset.

use divan::Bencher;
use divan::counter::ItemsCount;
use drover::domain::offsets::ReadPosition;

/// Records of a round.
const RECORDS: i64 = 1_000;

/// Every record is the one that was expected.
#[divan::bench]
fn in_order(bencher: Bencher<'_, '_>) {
    deliver(bencher, 0, 1);
}

/// Between two records an offset that Kafka never delivers.
#[divan::bench]
fn after_gaps(bencher: Bencher<'_, '_>) {
    deliver(bencher, 0, 2);
}

/// Every record was stored before.
#[divan::bench]
fn duplicates(bencher: Bencher<'_, '_>) {
    deliver(bencher, RECORDS, 1);
}

fn deliver(bencher: Bencher<'_, '_>, position: i64, step: i64) {
    bencher.counter(ItemsCount::new(RECORDS.unsigned_abs())).bench(|| {
        let mut read = ReadPosition::at(position);
        for record in 0..RECORDS {
            divan::black_box(read.deliver(divan::black_box(record * step)));
        }
        read
    });
}
