//! What the audit remembers, on both stores: marks, the right to audit, the last result.

use crate::support::batches::{TOPIC, event, mixed, push_row, registered, rows, store};
use crate::support::stores::TestStore;
use drover::domain::audit::{AuditResult, GapReason, OffsetRange, PartitionResult};
use drover::domain::batch::Batch;
use drover::store::audit::{AuditReport, AuditScope, audit_scope};
use std::sync::Arc;

crate::on_both_stores! { true:
    an_audit_goes_on_from_the_last_clean_point,
    what_is_not_clean_is_marked_up_to_its_first_fault_and_found_again,
    what_a_full_audit_found_below_the_mark_is_found_by_every_later_one,
    a_mark_ahead_of_the_position_vouches_for_nothing,
    gaps_are_told_by_their_reason,
    one_process_at_a_time_audits,
    the_last_result_is_there_for_all,
}

async fn audited(test: &TestStore, full: bool) -> AuditReport {
    let scope = AuditScope { full, ..AuditScope::default() };
    let report = audit_scope(test.store.as_ref(), &scope, &mut |_| {}).await.unwrap();
    let marks: Vec<_> = report.partitions.iter().filter_map(|partition| partition.mark()).collect();
    test.store.set_audit_marks(&marks).await.unwrap();
    report
}

fn ranges(report: &AuditReport) -> Vec<(i64, i64)> {
    report.partitions.iter().map(|partition| (partition.from, partition.next_offset)).collect()
}

async fn an_audit_goes_on_from_the_last_clean_point(test: Arc<TestStore>) {
    registered(&test, &[(0, 0), (1, 100)]).await;
    let mut writer = test.store.writer("w");
    store(&mut writer, &mixed()).await;
    assert_eq!(ranges(&audited(&test, false).await), [(0, 10), (100, 104)]);
    store(&mut writer, &rows(0, 10..30)).await;
    let report = audited(&test, false).await;
    assert_eq!((ranges(&report), report.partitions[0].rows, report.offsets), (vec![(10, 30), (104, 104)], 20, 20));
    assert_eq!(ranges(&audited(&test, true).await), [(0, 30), (100, 104)], "all of it, when that is asked for");
    let marks = test.of_another_process().audit_marks().await.unwrap();
    assert_eq!(marks.iter().map(|mark| mark.next_offset).max(), Some(104));
}

async fn what_is_not_clean_is_marked_up_to_its_first_fault_and_found_again(test: Arc<TestStore>) {
    registered(&test, &[(0, 0), (1, 100)]).await;
    let mut writer = test.store.writer("w");
    store(&mut writer, &mixed()).await;
    test.execute("DELETE FROM events WHERE partition = 0 AND \"offset\" = 3").await;
    for from in [0, 3] {
        let report = audited(&test, false).await;
        assert!(!report.clean);
        assert_eq!(report.partitions[0].unaccounted, [OffsetRange { first: 3, next: 4 }]);
        assert_eq!(report.partitions[0].from, from, "it is looked at until it is mended");
    }
    assert_eq!(audited(&test, false).await.partitions[1].from, 104, "the other partition has its mark");
}

async fn what_a_full_audit_found_below_the_mark_is_found_by_every_later_one(test: Arc<TestStore>) {
    registered(&test, &[(0, 0), (1, 0)]).await;
    let mut writer = test.store.writer("w");
    store(&mut writer, &rows(0, 0..30)).await;
    store(&mut writer, &rows(1, 0..30)).await;
    assert!(audited(&test, false).await.clean);
    test.execute(
        "DELETE FROM events WHERE partition = 0 AND \"offset\" IN (4, 9); \
         INSERT INTO offset_gaps (topic, partition, incarnation, first_offset, next_offset, reason, recorded_at) \
         VALUES ('user_events', 1, 1, 6, 8, 'jump', CURRENT_TIMESTAMP)",
    )
    .await;
    assert!(audited(&test, false).await.clean, "the marks vouch for it");
    assert_eq!(
        (audited(&test, true).await.clean, ranges(&audited(&test, false).await)),
        (false, vec![(4, 30), (6, 30)])
    );
    store(&mut writer, &rows(0, 30..40)).await;
    let report = audited(&test, false).await;
    let found: Vec<_> = report.partitions.iter().map(|one| (one.unaccounted_offsets, one.overlapping)).collect();
    assert_eq!((report.clean, found), (false, vec![(2, 0), (0, 2)]));
}

async fn a_mark_ahead_of_the_position_vouches_for_nothing(test: Arc<TestStore>) {
    registered(&test, &[(0, 0)]).await;
    store(&mut test.store.writer("w"), &rows(0, 0..10)).await;
    audited(&test, false).await;
    test.execute("UPDATE partition_progress SET next_offset = 7").await;
    let report = audited(&test, false).await;
    assert_eq!((ranges(&report), report.partitions[0].stored_ahead), (vec![(0, 7)], 3));
}

async fn gaps_are_told_by_their_reason(test: Arc<TestStore>) {
    registered(&test, &[(0, 0)]).await;
    let mut batch = Batch::new("consumer-1");
    let slot = batch.slot(TOPIC, 0, 1, 0);
    batch.push_gap(slot, 4, "jump");
    push_row(&mut batch, slot, &event(0, 4));
    batch.push_gap(slot, 6, "tail");
    store(&mut test.store.writer("w"), &batch).await;
    test.execute(
        "INSERT INTO offset_gaps (topic, partition, incarnation, first_offset, next_offset, reason, recorded_at) \
         VALUES ('user_events', 0, 1, 6, 16, 'skipped', CURRENT_TIMESTAMP), \
                ('user_events', 0, 1, 16, 17, 'of a later version', CURRENT_TIMESTAMP)",
    )
    .await;
    test.execute("UPDATE partition_progress SET next_offset = 17").await;
    let report = audited(&test, true).await;
    let partition = &report.partitions[0];
    let reasons: Vec<_> = partition.gap_offsets_by_reason.iter().map(|(&reason, &offsets)| (reason, offsets)).collect();
    assert_eq!(reasons, [(GapReason::Jump, 4), (GapReason::Tail, 1), (GapReason::Skipped, 10), (GapReason::Other, 1)]);
    assert_eq!((partition.known_loss, partition.gap_offsets, report.clean), (10, 16, true));
}

async fn one_process_at_a_time_audits(test: Arc<TestStore>) {
    let other = test.of_another_process();
    let turn = test.store.audit_turn().await.unwrap();
    assert!(turn.is_some());
    assert!(other.audit_turn().await.unwrap().is_none(), "it is taken");
    drop(turn);
    let deadline = tokio::time::Instant::now() + crate::support::wait::PATIENCE;
    while other.audit_turn().await.unwrap().is_none() {
        assert!(tokio::time::Instant::now() < deadline, "the right is given back");
        tokio::task::yield_now().await;
    }
}

async fn the_last_result_is_there_for_all(test: Arc<TestStore>) {
    assert_eq!(test.store.audit_result().await.unwrap(), None);
    let mut result = AuditResult {
        finished_at_ms: 1_767_322_845_678,
        took_ms: 12,
        by: "host-1".into(),
        full: false,
        clean: false,
        offsets: 10,
        unaccounted: 2,
        overlapping: 0,
        partitions: vec![PartitionResult {
            topic: TOPIC.into(),
            partition: 0,
            incarnation: 1,
            audited: OffsetRange { first: 0, next: 10 },
            unaccounted: 2,
            overlapping: 0,
        }],
    };
    test.store.set_audit_result(&result).await.unwrap();
    result.by = "host-2".into();
    test.store.set_audit_result(&result).await.unwrap();
    assert_eq!(test.of_another_process().audit_result().await.unwrap(), Some(result));
}
