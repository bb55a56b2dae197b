//! Records as `drover produce` sends them: one kind of load for benchmarks, the budget of instructions and tests.

use drover::domain::event::Mapping;
use drover::domain::generator::EventGenerator;
use drover::domain::record::{OwnedRecord, PackedHeaders, RecordTimestamp, TimestampType};

/// The topic of all records.
const TOPIC: &str = "user_events";
/// When they were made: 2026-01-02T03:04:05.678Z.
const TIME_MS: i64 = 1_767_323_045_678;

/// The mapping that reads them, as it is by default.
pub fn mapping() -> Mapping {
    Mapping {
        event_type: "event_type".to_owned(),
        user_id: "user_id".to_owned(),
        element_id: "element_id".to_owned(),
        timestamp: "timestamp".to_owned(),
        required: vec!["event_type".to_owned()],
        store_tombstones: false,
    }
}

/// A record with this value, a key and the header of its producer. Whoever adds it to a batch sets its offset.
pub fn record(partition: i32, key: &str, value: &[u8]) -> OwnedRecord {
    let mut headers = PackedHeaders::default();
    headers.push(b"drover_source", Some(b"produce"));
    OwnedRecord {
        topic: TOPIC.to_owned(),
        partition,
        offset: 0,
        key: Some(key.as_bytes().to_vec()),
        value: Some(value.to_vec()),
        timestamp: RecordTimestamp { ms: TIME_MS, kind: TimestampType::CreateTime },
        headers,
    }
}

/// Made-up events of about `event_bytes` bytes, the same ones each time.
pub fn generated(partition: i32, event_bytes: usize, count: usize) -> Vec<OwnedRecord> {
    let mut generator = EventGenerator::new(1, event_bytes);
    let mut next = || {
        let event = generator.next_event(TIME_MS);
        record(partition, &event.user_id, &event.value)
    };
    (0..count).map(|_| next()).collect()
}
