//! Changing positions by an operator's order, on both stores.

use crate::support::batches::{TOPIC, event, next_offset, push_row, registered, rows, store, store_error};
use crate::support::stores::TestStore;
use drover::domain::batch::Batch;
use drover::domain::failure::FailureClass;
use drover::store::StoreError;
use drover::store::audit::{AuditReport, audit};
use drover::store::audit_log::AuditEntry;
use drover::store::audit_marks::{AuditMark, Audited, IncarnationId};
use drover::store::offsets::{OffsetChange, PositionMove};
use std::collections::BTreeMap;
use std::sync::Arc;

crate::on_both_stores! { true:
    a_position_goes_back_and_what_is_stored_stays,
    a_position_that_was_moved_meanwhile_is_not_set_back_and_nothing_is_written,
    what_is_skipped_is_a_known_loss,
    what_was_skipped_is_stored_after_a_rewind_and_is_no_loss_any_more,
    what_is_stored_in_a_skipped_range_is_not_covered,
    a_topic_gets_its_next_incarnation_beside_the_old_one,
    a_topic_that_the_store_does_not_know_gets_its_first_incarnation,
    the_store_can_be_given_to_another_cluster_and_group,
}

fn entry(action: &str) -> AuditEntry {
    AuditEntry {
        actor: "a@test".into(),
        action: action.into(),
        target: TOPIC.into(),
        outcome: "ok".into(),
        detail: None,
    }
}

async fn change(test: &TestStore, change: OffsetChange) -> Result<(), StoreError> {
    test.store.change_offsets(&change, &entry("test")).await
}

fn at(partition: i32, from: i64, to: i64) -> PositionMove {
    PositionMove { partition, incarnation: 1, from, to }
}

fn rewind(moves: Vec<PositionMove>) -> OffsetChange {
    OffsetChange::Rewind { topic: TOPIC.into(), moves }
}

async fn full(test: &TestStore) -> AuditReport {
    audit(test.store.as_ref(), &[], &mut |_| {}).await.unwrap()
}

async fn logged(test: &TestStore) -> usize {
    test.store.audit_log(10).await.unwrap().len()
}

async fn a_position_goes_back_and_what_is_stored_stays(test: Arc<TestStore>) {
    registered(&test, &[(0, 5), (1, 0)]).await;
    let mut writer = test.store.writer("w");
    store(&mut writer, &rows(0, 5..20)).await;
    let id = IncarnationId { topic: TOPIC.into(), partition: 0, incarnation: 1 };
    let mark = |id, next_offset, from| Audited { mark: AuditMark { id, next_offset }, from };
    test.store.set_audit_marks(&[mark(id.clone(), 20, 0)]).await.unwrap();
    change(&test, rewind(vec![at(0, 20, 12)])).await.unwrap();
    assert_eq!(next_offset(&test, 0).await, 12);
    assert_eq!(test.store.audit_marks().await.unwrap()[0].next_offset, 12, "what is read again is audited again");
    // By an audit that began before, and looked at what is new.
    test.store.set_audit_marks(&[mark(id, 20, 15)]).await.unwrap();
    assert_eq!(test.store.audit_marks().await.unwrap()[0].next_offset, 12, "it vouches for what it saw alone");
    assert_eq!(store(&mut writer, &rows(0, 12..22)).await.duplicates, 8);
    // Further back than where the store began.
    change(&test, rewind(vec![at(0, 22, 2)])).await.unwrap();
    let progress = test.store.topic(TOPIC).await.unwrap().unwrap().partitions[&0];
    assert_eq!((progress.first_offset, progress.next_offset), (2, 2));
    assert_eq!(store(&mut writer, &rows(0, 2..22)).await.rows, 3);
    assert!(full(&test).await.clean);
    assert_eq!(logged(&test).await, 2);
}

async fn a_position_that_was_moved_meanwhile_is_not_set_back_and_nothing_is_written(test: Arc<TestStore>) {
    registered(&test, &[(0, 0), (1, 0)]).await;
    let mut writer = test.store.writer("w");
    store(&mut writer, &rows(0, 0..20)).await;
    store(&mut writer, &rows(1, 0..20)).await;
    let error = change(&test, rewind(vec![at(0, 20, 0), at(1, 19, 0)])).await.unwrap_err();
    assert_eq!(error.class, FailureClass::Fenced, "{error}");
    let skip = OffsetChange::Skip { topic: TOPIC.into(), of: PositionMove { incarnation: 2, ..at(0, 20, 30) } };
    assert_eq!(change(&test, skip).await.unwrap_err().class, FailureClass::Fenced);
    let restart = |seen, positions: &[(i32, i64)]| OffsetChange::Restart {
        topic: TOPIC.into(),
        topic_id: None,
        seen: Some(seen),
        positions: positions.iter().copied().collect(),
        starts: BTreeMap::from([(0, 0)]),
    };
    let of_another_incarnation = restart(2, &[(0, 20), (1, 20)]);
    assert_eq!(change(&test, of_another_incarnation).await.unwrap_err().class, FailureClass::Fenced);
    // A process that stored after the look, or added a partition: what it stored would be read a second time.
    for positions in [[(0, 20), (1, 19)].as_slice(), &[(0, 20)], &[(0, 20), (1, 20), (2, 0)]] {
        let error = change(&test, restart(1, positions)).await.unwrap_err();
        assert_eq!(error.class, FailureClass::Fenced, "{positions:?}: {error}");
    }
    assert_eq!((next_offset(&test, 0).await, next_offset(&test, 1).await), (20, 20));
    assert_eq!(logged(&test).await, 0);
}

async fn what_is_skipped_is_a_known_loss(test: Arc<TestStore>) {
    registered(&test, &[(0, 0)]).await;
    let mut writer = test.store.writer("w");
    store(&mut writer, &rows(0, 0..20)).await;
    change(&test, OffsetChange::Skip { topic: TOPIC.into(), of: at(0, 20, 50) }).await.unwrap();
    store(&mut writer, &rows(0, 50..60)).await;
    let report = full(&test).await;
    assert!(report.clean, "{report:?}");
    assert_eq!((report.partitions[0].known_loss, report.partitions[0].rows), (30, 30));
    assert_eq!(test.number("SELECT count(*) FROM offset_gaps WHERE reason = 'skipped'").await, 1);
}

async fn what_was_skipped_is_stored_after_a_rewind_and_is_no_loss_any_more(test: Arc<TestStore>) {
    registered(&test, &[(0, 0), (1, 0)]).await;
    let mut writer = test.store.writer("w");
    for partition in [0, 1] {
        store(&mut writer, &rows(partition, 0..20)).await;
        change(&test, OffsetChange::Skip { topic: TOPIC.into(), of: at(partition, 20, 50) }).await.unwrap();
        store(&mut writer, &rows(partition, 50..60)).await;
    }
    // Into the gap, and then to before it.
    for (to, lost) in [(30, 10), (10, 0)] {
        change(&test, rewind(vec![at(0, 60, to)])).await.unwrap();
        assert!(full(&test).await.clean, "while it waits to be read again");
        store(&mut writer, &rows(0, to..60)).await;
        let report = full(&test).await;
        assert!(report.clean, "{report:?}");
        let found: Vec<_> = report.partitions.iter().map(|one| (one.rows, one.known_loss)).collect();
        assert_eq!(found, [(60 - lost, lost), (30, 30)], "the other partition keeps its gap");
    }
}

async fn what_is_stored_in_a_skipped_range_is_not_covered(test: Arc<TestStore>) {
    registered(&test, &[(0, 0)]).await;
    let mut writer = test.store.writer("w");
    store(&mut writer, &rows(0, 0..20)).await;
    change(&test, rewind(vec![at(0, 20, 10)])).await.unwrap();
    change(&test, OffsetChange::Skip { topic: TOPIC.into(), of: at(0, 10, 30) }).await.unwrap();
    let report = full(&test).await;
    assert!(report.clean, "{report:?}");
    assert_eq!((report.partitions[0].rows, report.partitions[0].known_loss), (20, 10));
}

async fn a_topic_gets_its_next_incarnation_beside_the_old_one(test: Arc<TestStore>) {
    registered(&test, &[(0, 0), (1, 0)]).await;
    let mut writer = test.store.writer("w");
    store(&mut writer, &rows(0, 0..20)).await;
    let restart = OffsetChange::Restart {
        topic: TOPIC.into(),
        topic_id: Some("id-2".into()),
        seen: Some(1),
        positions: BTreeMap::from([(0, 20), (1, 0)]),
        starts: BTreeMap::from([(0, 3), (2, 0)]),
    };
    change(&test, restart).await.unwrap();
    let topic = test.store.topic(TOPIC).await.unwrap().unwrap();
    assert_eq!((topic.topic_id.as_deref(), topic.incarnation), (Some("id-2"), 2));
    let starts: Vec<_> = topic.partitions.iter().map(|(&p, at)| (p, at.incarnation, at.first_offset)).collect();
    assert_eq!(starts, [(0, 2, 3), (2, 2, 0)], "a partition that is gone is not read any more");
    // An owner of the old incarnation is a zombie.
    assert_eq!(store_error(writer.write(&rows(0, 20..21)).await).class, FailureClass::Fenced);
    let mut batch = Batch::new("consumer-1");
    let slot = batch.slot(TOPIC, 0, 2, 3);
    push_row(&mut batch, slot, &event(0, 3));
    store(&mut writer, &batch).await;
    assert_eq!(test.number("SELECT count(*) FROM events").await, 21);
    let report = full(&test).await;
    assert!(report.clean, "{report:?}");
    let past: Vec<_> = report.partitions.iter().filter(|one| one.past).map(|one| (one.incarnation, one.rows)).collect();
    assert_eq!(past, [(1, 20)], "closed incarnations are audited too");
    test.execute("DELETE FROM events WHERE incarnation = 1 AND \"offset\" = 7").await;
    assert!(!full(&test).await.clean, "a loss in a closed incarnation is one");
}

async fn a_topic_that_the_store_does_not_know_gets_its_first_incarnation(test: Arc<TestStore>) {
    let restart = |seen| OffsetChange::Restart {
        topic: TOPIC.into(),
        topic_id: Some("id-1".into()),
        seen,
        positions: BTreeMap::new(),
        starts: BTreeMap::from([(0, 7)]),
    };
    change(&test, restart(None)).await.unwrap();
    let topic = test.store.topic(TOPIC).await.unwrap().unwrap();
    assert_eq!((topic.incarnation, topic.partitions[&0].first_offset), (1, 7));
    assert_eq!(change(&test, restart(None)).await.unwrap_err().class, FailureClass::Fenced, "somebody was faster");
}

async fn the_store_can_be_given_to_another_cluster_and_group(test: Arc<TestStore>) {
    assert_eq!(test.store.identity().await.unwrap(), None);
    let seen = test.store.claim_identity("cluster-a", "group-a").await.unwrap();
    registered(&test, &[(0, 0)]).await;
    assert_eq!(test.store.identity().await.unwrap(), Some(seen.clone()));
    let claim = OffsetChange::Claim {
        seen: seen.clone(),
        cluster_id: "cluster-b".into(),
        group: "group-b".into(),
        topic_ids: BTreeMap::from([(TOPIC.to_owned(), Some("id-9".to_owned()))]),
    };
    change(&test, claim.clone()).await.unwrap();
    let now = test.of_another_process().claim_identity("cluster-b", "group-b").await.unwrap();
    assert_eq!(now.store_id, seen.store_id);
    assert_eq!(test.store.topic(TOPIC).await.unwrap().unwrap().topic_id.as_deref(), Some("id-9"));
    assert_eq!(change(&test, claim).await.unwrap_err().class, FailureClass::Fenced, "it is not as it was seen");
    assert!(test.store.claim_identity("cluster-a", "group-a").await.is_err());
}
