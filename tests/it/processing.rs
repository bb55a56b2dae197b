//! The processor's step: records that have to wait for it, and what of the others goes on.

use crate::support::embedded::{TOPIC, with_embedded};
use drover::domain::record::OwnedRecord;
use drover::processor::{Processed, Processor, ProcessorError};
use drover::store::{self, DeadLetterFilter};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU32, Ordering};

/// Cannot do offset 3 of partition 0 while its gate is closed, and rejects offset 5 of it at the third try.
#[derive(Default)]
struct Gate {
    open: AtomicBool,
    tries: AtomicU32,
    /// The last offset of partition 0 that it was shown.
    furthest: AtomicI64,
}

impl Processor for Gate {
    fn process(&self, record: OwnedRecord) -> Processed<'_> {
        Box::pin(async move {
            if record.partition == 0 {
                self.furthest.fetch_max(record.offset, Ordering::SeqCst);
            }
            match (record.partition, record.offset) {
                (0, 3) if !self.open.load(Ordering::SeqCst) => Err(ProcessorError::Transient("closed".into())),
                (0, 5) if self.tries.fetch_add(1, Ordering::SeqCst) < 2 => {
                    Err(ProcessorError::Transient("not yet".into()))
                }
                (0, 5) => Err(ProcessorError::Permanent("never".into())),
                _ => Ok(record),
            }
        })
    }
}

/// More than there are places for records in process, so that one partition could take all of them.
const EVENTS: usize = 1_000;

#[test]
fn a_record_that_waits_for_the_processor_holds_up_its_own_partition_in_order_and_no_other() {
    let gate = Arc::new(Gate::default());
    let processor = Arc::clone(&gate);
    let receipt = with_embedded(processor, 2, &[("consumers.count", "1")], |drover| async move {
        drover.send(0, EVENTS).await;
        drover.send(1, EVENTS).await;
        let all = i64::try_from(EVENTS).unwrap();
        drover.until_stored(1, all).await;
        assert_eq!(drover.position(0), Some(3), "what lies before it is stored, what lies behind it waits");
        let furthest = gate.furthest.load(Ordering::SeqCst);
        assert!(furthest < 3 + 128, "half of the places are its share, but it was read up to {furthest}");
        gate.open.store(true, Ordering::SeqCst);
        drover.until_stored(0, all).await;
        let store = store::open(&drover.store).unwrap();
        let letters = store.dead_letters(&DeadLetterFilter { limit: 9, ..Default::default() }).await.unwrap();
        assert_eq!(letters.len(), 1);
        assert_eq!(
            (letters[0].record.topic.as_str(), letters[0].record.partition, letters[0].record.offset),
            (TOPIC, 0, 5)
        );
        assert_eq!((letters[0].code.as_str(), letters[0].attempts), ("processor.rejected", 3));
        let retries = drover.metrics.message_retries.with_label_values(&["consumer-1", "process"]).get();
        assert!(retries >= 3, "{retries} retries were counted");
    });
    assert!(receipt.is_clean(), "{receipt}");
    assert_eq!((receipt.stored, receipt.dead_letters, receipt.duplicates), (2 * EVENTS as u64 - 1, 1, 0));
}
