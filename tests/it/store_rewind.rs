//! What happens when records are read again, after a rewind or a restored backup.

use crate::support::batches::{TOPIC, event, mixed, next_offset, push_row, registered, rejection, rows, store};
use crate::support::stores::TestStore;
use drover::domain::batch::Batch;
use drover::domain::failure::FailureClass;
use drover::store::WriteError;
use drover::store::audit::audit;
use std::sync::Arc;

crate::on_both_stores! { true:
    what_is_read_again_is_counted_and_not_doubled,
    what_a_record_ended_as_first_stands_when_it_is_read_again,
    a_gap_that_grew_since_does_not_cover_what_is_stored,
    a_stored_row_that_differs_stops_the_partition,
}

async fn rewind(test: &TestStore, to: i64) {
    test.execute(&format!("UPDATE partition_progress SET next_offset = {to}")).await;
}

async fn what_is_read_again_is_counted_and_not_doubled(test: Arc<TestStore>) {
    registered(&test, &[(0, 0), (1, 100)]).await;
    let mut writer = test.store.writer("w");
    store(&mut writer, &mixed()).await;
    test.execute("UPDATE partition_progress SET next_offset = first_offset").await;
    let receipt = store(&mut writer, &mixed()).await;
    assert_eq!((receipt.rows, receipt.dead_letters, receipt.duplicates), (0, 0, 8));

    // Half of it known, half of it new, by another consumer.
    test.execute("UPDATE partition_progress SET next_offset = 2 WHERE partition = 0").await;
    let mut batch = Batch::new("consumer-2");
    let slot = batch.slot(TOPIC, 0, 1, 2);
    for offset in 2..5 {
        push_row(&mut batch, slot, &event(0, offset));
    }
    batch.push_dead_letter(slot, event(0, 5), rejection(), 1);
    batch.push_gap(slot, 9, "jump");
    for offset in 9..12 {
        push_row(&mut batch, slot, &event(0, offset));
    }
    let receipt = store(&mut writer, &batch).await;
    assert_eq!((receipt.rows, receipt.dead_letters, receipt.duplicates), (2, 0, 5));
    assert_eq!(test.number("SELECT count(*) FROM events").await, 9);
    assert_eq!(test.number("SELECT sum(count) FROM event_rollups").await, 9);
    let report = audit(test.store.as_ref(), &[], &mut |_| {}).await.unwrap();
    assert!(report.clean, "{report:?}");
}

async fn what_a_record_ended_as_first_stands_when_it_is_read_again(test: Arc<TestStore>) {
    registered(&test, &[(0, 0)]).await;
    let mut writer = test.store.writer("w");
    let mut batch = rows(0, 0..2);
    let slot = batch.slot(TOPIC, 0, 1, 0);
    batch.push_dead_letter(slot, event(0, 2), rejection(), 1);
    batch.push_dead_letter(slot, event(0, 3), rejection(), 1);
    store(&mut writer, &batch).await;

    // The mapping has changed: what was a dead letter decodes, and what was a row does not.
    rewind(&test, 2).await;
    let receipt = store(&mut writer, &rows(0, 2..4)).await;
    assert_eq!((receipt.rows, receipt.dead_letters, receipt.duplicates), (0, 0, 2), "only dead letters");
    rewind(&test, 0).await;
    let mut batch = Batch::new("consumer-1");
    let slot = batch.slot(TOPIC, 0, 1, 0);
    batch.push_dead_letter(slot, event(0, 0), rejection(), 1);
    for offset in 1..4 {
        push_row(&mut batch, slot, &event(0, offset));
    }
    let receipt = store(&mut writer, &batch).await;
    assert_eq!((receipt.rows, receipt.dead_letters, receipt.duplicates), (0, 0, 4), "both ways");
    let report = audit(test.store.as_ref(), &[], &mut |_| {}).await.unwrap();
    assert!(report.clean, "{report:?}");
    assert_eq!(test.number("SELECT sum(count) FROM event_rollups").await, 2);
}

async fn a_gap_that_grew_since_does_not_cover_what_is_stored(test: Arc<TestStore>) {
    registered(&test, &[(0, 0)]).await;
    let mut writer = test.store.writer("w");
    let mut batch = rows(0, 0..3);
    let slot = batch.slot(TOPIC, 0, 1, 0);
    batch.push_gap(slot, 5, "jump");
    push_row(&mut batch, slot, &event(0, 5));
    batch.push_dead_letter(slot, event(0, 6), rejection(), 1);
    push_row(&mut batch, slot, &event(0, 7));
    store(&mut writer, &batch).await;

    // Compaction has removed 1 to 6 in the meantime.
    rewind(&test, 0).await;
    let mut batch = rows(0, 0..1);
    let slot = batch.slot(TOPIC, 0, 1, 0);
    batch.push_gap(slot, 7, "jump");
    push_row(&mut batch, slot, &event(0, 7));
    store(&mut writer, &batch).await;
    let report = audit(test.store.as_ref(), &[], &mut |_| {}).await.unwrap();
    assert!(report.clean, "{report:?}");
    assert_eq!(test.number("SELECT sum(next_offset - first_offset) FROM offset_gaps").await, 2);
}

async fn a_stored_row_that_differs_stops_the_partition(test: Arc<TestStore>) {
    registered(&test, &[(0, 0), (1, 0)]).await;
    let mut writer = test.store.writer("w");
    store(&mut writer, &rows(0, 0..5)).await;
    rewind(&test, 0).await;
    let mut batch = Batch::new("consumer-1");
    let innocent = batch.slot(TOPIC, 1, 1, 0);
    push_row(&mut batch, innocent, &event(1, 0));
    let slot = batch.slot(TOPIC, 0, 1, 0);
    for offset in 0..5 {
        let mut record = event(0, offset);
        if offset == 3 {
            record.value = Some(br#"{"event_type":"click","n":"another"}"#.to_vec());
        }
        push_row(&mut batch, slot, &record);
    }
    match writer.write(&batch).await {
        Err(WriteError::Differs { slot: culprit, error }) => {
            assert_eq!(culprit, slot, "the partition of the row is named");
            assert_eq!(error.class, FailureClass::RowDiffers);
            assert!(error.message.contains("offset 3"), "{error}");
        }
        other => panic!("{other:?}"),
    }
    assert_eq!((next_offset(&test, 0).await, next_offset(&test, 1).await), (0, 0), "nothing moves");
    assert_eq!(store(&mut writer, &rows(0, 0..5)).await.duplicates, 5, "the writer goes on");
}
