//! A load in transactions, of which every third is aborted when all its records are on the log.

use super::{Deliveries, Ids, LoadSpec};
use rdkafka::producer::{BaseRecord, Producer as _, ThreadedProducer};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// Events of one transaction.
const EVENTS: i64 = 1_000;
const PATIENCE: Duration = Duration::from_secs(60);

/// Sends transactions until told to stop; the last one is whole.
pub(super) fn send(
    spec: &LoadSpec,
    producer: &ThreadedProducer<Deliveries>,
    rate: &AtomicU64,
    stopped: &AtomicBool,
) -> Ids {
    producer.init_transactions(PATIENCE).unwrap();
    let mut ids = Ids { end: spec.first_id, aborted: Vec::new() };
    let mut next = Instant::now();
    for number in 0.. {
        if stopped.load(Ordering::Relaxed) {
            break;
        }
        std::thread::sleep(next.saturating_duration_since(Instant::now()));
        next += Duration::from_secs_f64(EVENTS as f64 / rate.load(Ordering::Relaxed) as f64);
        let first = ids.end;
        producer.begin_transaction().unwrap();
        while ids.end < first + EVENTS {
            let (key, value) = (spec.key(ids.end), spec.value(ids.end));
            let record = BaseRecord::with_opaque_to(&spec.topic, usize::try_from(ids.end).unwrap_or(0));
            let record = record.partition(spec.partition(ids.end)).key(key.as_bytes()).payload(&value);
            producer.send(record).map_err(|(error, _)| error).unwrap();
            ids.end += 1;
        }
        // An abort would take back what has not left yet; these are to be on the log.
        producer.flush(PATIENCE).unwrap();
        if number % 3 == 2 {
            producer.abort_transaction(PATIENCE).unwrap();
            ids.aborted.push(first..ids.end);
        } else {
            producer.commit_transaction(PATIENCE).unwrap();
        }
    }
    ids
}
