//! What a record may allocate on its way into a batch whose buffers were used before: nothing, unless its document forces it.
//!
//! Counted exactly, in any profile, by an allocator that only this binary has.
#![allow(missing_docs, reason = "tests are named by sentences")]

#[path = "../benches/hot_path/load.rs"]
mod load;
#[path = "../benches/hot_path/records.rs"]
mod records;

use drover::domain::batch::Batch;
use drover::domain::record::OwnedRecord;
use load::Load;
use records::{generated, record};

/// More than any batch here has, so that it keeps its buffers.
const KEEP_BYTES: usize = 16 * 1024 * 1024;

/// Allocations of a batch with `count` copies of the record, when the same batch was filled with twice as many before.
fn allocations(template: &OwnedRecord, count: usize) -> u64 {
    let load = |count| Load::new([vec![template.clone(); count]]);
    let (mut before, mut counted) = (load(2 * count), load(count));
    let mut batch = Batch::new("consumer-1");
    before.fill(&mut batch);
    batch.clear(KEEP_BYTES);
    let counted = allocation_counter::measure(|| counted.fill(&mut batch)).count_total;
    assert_eq!(batch.len(), count);
    counted
}

/// Allocations that one more record of this kind brings.
fn per_record(template: &OwnedRecord) -> f64 {
    let (few, many) = (allocations(template, 100), allocations(template, 1_100));
    #[allow(clippy::cast_precision_loss, reason = "they are few")]
    let per_record = (many - few) as f64 / 1_000.0;
    per_record
}

fn document(text: &str) -> OwnedRecord {
    record(0, "user_0042", text.as_bytes())
}

#[track_caller]
fn costs(expected: f64, template: &OwnedRecord) {
    let found = per_record(template);
    assert!(
        (found - expected).abs() < f64::EPSILON,
        "{found} allocations a record, {expected} expected: {}",
        String::from_utf8_lossy(template.value.as_deref().unwrap_or_default())
    );
}

#[test]
fn an_event_allocates_nothing() {
    for bytes in [60, 240, 1_000, 10_000] {
        costs(0.0, &generated(0, bytes, 1)[0]);
    }
    costs(0.0, &document(r#"{"event_type":"scroll"}"#));
    costs(0.0, &document(r#"{"event_type":"scroll","user_id":null,"timestamp":1767323045678,"cart":{"item":1.5e3}}"#));
}

#[test]
fn a_key_or_a_header_more_allocates_nothing() {
    let mut template = generated(0, 240, 1).remove(0);
    for number in 0..20_u8 {
        template.headers.push(b"trace", Some(&[number; 100]));
        template.headers.push(&[0xff, number], None);
    }
    costs(0.0, &template);
    template.key = Some(vec![0; 1_000]);
    costs(0.0, &template);
    template.key = None;
    costs(0.0, &template);
}

#[test]
fn escapes_in_what_fills_no_column_allocate_nothing() {
    costs(0.0, &document(r#"{"event_type":"scroll","note":"a\tb \ud83d\ude00 \u00e9"}"#));
}

#[test]
fn an_integer_as_user_allocates_nothing() {
    costs(0.0, &document(r#"{"event_type":"scroll","user_id":42}"#));
}

#[test]
fn nesting_below_the_first_level_allocates_once() {
    costs(1.0, &document(r#"{"event_type":"scroll","cart":[{"item":{"tags":["a"]}},{"item":{}}],"page":{"at":[1]}}"#));
}

#[test]
fn what_a_batch_allocates_follows_its_partitions_and_types_not_its_records() {
    let partitions = 6;
    let mut load = Load::new((0..partitions).map(|partition| generated(partition, 240, 900)));
    let mut batch = Batch::new("consumer-1");
    load.fill(&mut batch);
    batch.clear(KEEP_BYTES);
    let counted = allocation_counter::measure(|| load.fill(&mut batch)).count_total;
    // The topic's name for each partition, and the name of each type that a partition counts.
    let named = batch.advances().len() + batch.rollups().len();
    assert_eq!(counted, named as u64, "{} records", load.len());
}
