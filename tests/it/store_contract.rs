//! What every store promises, run against SQLite, and against PostgreSQL where TEST_DATABASE_URL names one.

use crate::support::batches::{
    TOPIC, event, mixed, next_offset, push_row, registered, rejection, rows, store, store_error,
};
use crate::support::stores::TestStore;
use drover::domain::audit::OffsetRange;
use drover::domain::batch::Batch;
use drover::domain::failure::{DeadLetterCode, FailureClass, Rejection};
use drover::domain::record::{OwnedRecord, PackedHeaders, RecordTimestamp, TimestampType};
use drover::store::audit::audit;
use drover::store::{DeadLetterFilter, PublishOutcome, Resolution, WriteError, row};
use std::collections::BTreeMap;
use std::sync::Arc;

crate::on_both_stores! { true:
    a_store_belongs_to_one_cluster_and_group,
    the_first_registration_of_a_topic_wins,
    a_partition_that_is_added_later_keeps_the_others,
    a_batch_is_stored_whole,
    a_batch_from_a_wrong_position_stores_nothing,
    a_batch_of_another_incarnation_stores_nothing,
    of_two_writers_at_one_position_exactly_one_wins,
    dead_letters_keep_every_byte,
    dead_letters_are_listed_newest_first_and_filtered,
    one_process_at_a_time_publishes_dead_letters,
    dead_letters_of_topics_that_are_passed_over_hold_up_none_of_the_others,
    what_became_of_a_batch_is_told_by_the_positions,
    a_row_that_the_database_refuses_is_found_and_the_others_are_stored,
    an_audit_passes_exactly_when_everything_tiles,
    a_store_answers_whether_it_takes_writes,
}

async fn a_store_belongs_to_one_cluster_and_group(test: Arc<TestStore>) {
    let claimed = test.store.claim_identity("cluster-a", "group-a").await.unwrap();
    assert_eq!(test.of_another_process().claim_identity("cluster-a", "group-a").await.unwrap(), claimed);
    for (cluster, group) in [("cluster-b", "group-a"), ("cluster-a", "group-b")] {
        let refused = test.store.claim_identity(cluster, group).await.unwrap_err();
        assert_eq!(refused.class, FailureClass::Configuration);
        assert!(refused.message.contains("cluster-a") && refused.message.contains("group-a"), "{refused}");
    }
}

async fn the_first_registration_of_a_topic_wins(test: Arc<TestStore>) {
    assert_eq!(test.store.topic(TOPIC).await.unwrap(), None);
    let one = BTreeMap::from([(0, 10), (1, 20)]);
    let two = BTreeMap::from([(0, 99), (1, 99), (2, 99)]);
    let other = test.of_another_process();
    let (a, b) = tokio::join!(
        test.store.register_topic(TOPIC, Some("id-1"), &one),
        other.register_topic(TOPIC, Some("id-2"), &two),
    );
    let (a, b) = (a.unwrap(), b.unwrap());
    assert_eq!(a, b, "both are told what is written down");
    let winner = if a.topic_id.as_deref() == Some("id-1") { one } else { two };
    let starts: BTreeMap<i32, i64> = a.partitions.iter().map(|(&p, progress)| (p, progress.next_offset)).collect();
    assert_eq!(starts, winner);
    assert!(a.partitions.values().all(|p| p.first_offset == p.next_offset && p.incarnation == 1));
    assert_eq!(test.store.topic(TOPIC).await.unwrap(), Some(a));
    assert_eq!(test.store.topics().await.unwrap(), [TOPIC]);
}

async fn a_partition_that_is_added_later_keeps_the_others(test: Arc<TestStore>) {
    registered(&test, &[(0, 5)]).await;
    let both = BTreeMap::from([(0, 0), (1, 0)]);
    let progress = test.store.add_partitions(TOPIC, &both).await.unwrap();
    assert_eq!(progress.partitions[&0].next_offset, 5);
    assert_eq!(progress.partitions[&1].next_offset, 0);
    assert!(test.store.add_partitions("unheard_of", &both).await.is_err());
}

async fn a_batch_is_stored_whole(test: Arc<TestStore>) {
    registered(&test, &[(0, 0), (1, 100)]).await;
    let mut writer = test.store.writer("w");
    let receipt = store(&mut writer, &mixed()).await;
    assert_eq!((receipt.rows, receipt.dead_letters, receipt.duplicates), (7, 1, 0));
    assert_eq!((next_offset(&test, 0).await, next_offset(&test, 1).await), (10, 104));
    assert_eq!(test.number("SELECT count(*) FROM events").await, 7);
    assert_eq!(test.number("SELECT sum(count) FROM event_rollups").await, 7);
    assert_eq!(test.number("SELECT sum(next_offset - first_offset) FROM offset_gaps").await, 6);
    let exact = "SELECT count(*) FROM events WHERE topic = 'user_events' AND partition = 0 AND incarnation = 1 \
                 AND \"offset\" = 3 AND user_id = 'user_0042' AND event_type = 'click' AND element_id IS NULL \
                 AND consumer_id = 'consumer-1' AND source = 'a test' AND stored_at IS NOT NULL AND occurred_at IS NOT NULL \
                 AND payload ->> 'n' = '3'";
    assert_eq!(test.number(&exact.replace("'3'", if test.store.kind() == "sqlite" { "3" } else { "'3'" })).await, 1);
    let report = audit(test.store.as_ref(), &[], &mut |_| {}).await.unwrap();
    assert!(report.clean, "{report:?}");
}

async fn a_batch_from_a_wrong_position_stores_nothing(test: Arc<TestStore>) {
    registered(&test, &[(0, 0), (1, 100)]).await;
    let mut writer = test.store.writer("w");
    store(&mut writer, &rows(0, 0..3)).await;
    // Partition 1 is right, partition 0 is not: neither may move.
    let error = store_error(writer.write(&mixed()).await);
    assert_eq!(error.class, FailureClass::Fenced, "{error}");
    assert_eq!((next_offset(&test, 0).await, next_offset(&test, 1).await), (3, 100));
    let stored = "SELECT (SELECT count(*) FROM events) + (SELECT count(*) FROM dead_letters) \
                  + (SELECT count(*) FROM offset_gaps)";
    assert_eq!(test.number(stored).await, 3);
    assert_eq!(store(&mut writer, &rows(0, 3..5)).await.rows, 2, "the writer goes on");
}

async fn a_batch_of_another_incarnation_stores_nothing(test: Arc<TestStore>) {
    registered(&test, &[(0, 0)]).await;
    test.execute("UPDATE partition_progress SET incarnation = 2").await;
    let mut writer = test.store.writer("w");
    assert_eq!(store_error(writer.write(&rows(0, 0..3)).await).class, FailureClass::Fenced);
    assert_eq!(test.number("SELECT count(*) FROM events").await, 0);
}

async fn of_two_writers_at_one_position_exactly_one_wins(test: Arc<TestStore>) {
    registered(&test, &[(0, 0)]).await;
    let (mut a, mut b) = (test.store.writer("a"), test.of_another_process().writer("b"));
    for round in 0..5 {
        let from = next_offset(&test, 0).await;
        let (short, long) = (rows(0, from..from + 200), rows(0, from..from + 300));
        let (one, two) = tokio::join!(a.write(&short), b.write(&long));
        let (winner, loser) = if one.is_ok() { (one, two) } else { (two, one) };
        let error = store_error(loser);
        assert_eq!(error.class, FailureClass::Fenced, "round {round}: {error}");
        let stored = i64::try_from(winner.unwrap().rows).unwrap();
        assert_eq!(next_offset(&test, 0).await, from + stored);
    }
    let next = next_offset(&test, 0).await;
    assert_eq!(test.number("SELECT count(*) FROM events").await, next);
}

async fn dead_letters_keep_every_byte(test: Arc<TestStore>) {
    registered(&test, &[(0, 0)]).await;
    let mut odd_headers = PackedHeaders::default();
    odd_headers.push(b"twice", Some(b"1"));
    odd_headers.push(b"null", None);
    odd_headers.push(b"twice", Some(&[0xff, 0x00, 0xfe]));
    odd_headers.push(b"", Some(b""));
    odd_headers.push(&[0xc3, 0x28, 0x00], Some(b"name that is no text"));
    odd_headers.push("größe".as_bytes(), Some(b"4"));
    let binary: Vec<u8> = (0..=255).collect();
    let shapes = [
        (Some(binary.clone()), Some(binary), 0, TimestampType::CreateTime),
        (None, Some(Vec::new()), -1, TimestampType::NotAvailable),
        (Some(Vec::new()), None, i64::MIN, TimestampType::LogAppendTime),
        (Some(b"k".to_vec()), Some(vec![b'x'; 300_000]), i64::MAX, TimestampType::CreateTime),
    ];
    let mut batch = Batch::new("consumer-1");
    let slot = batch.slot(TOPIC, 0, 1, 0);
    let mut letters = Vec::new();
    for (offset, (key, value, ms, kind)) in (0_i64..).zip(shapes) {
        let mut record = event(0, offset);
        (record.key, record.value) = (key, value);
        record.timestamp = RecordTimestamp { ms, kind };
        record.headers = if offset == 1 { PackedHeaders::default() } else { odd_headers.clone() };
        letters.push(record.clone());
        batch.push_dead_letter(slot, record, rejection(), 3);
    }
    let mut writer = test.store.writer("w");
    assert_eq!(store(&mut writer, &batch).await.dead_letters, 4);
    for record in letters {
        let stored = test.store.dead_letter(TOPIC, 0, record.offset).await.unwrap().unwrap();
        assert_eq!(stored.record, record);
        assert_eq!((stored.code.as_str(), stored.stage.as_str()), ("json.syntax", "decode"));
        assert_eq!((stored.message.as_str(), stored.attempts), ("the value is not JSON", 3));
        assert_eq!((stored.consumer_id.as_str(), stored.incarnation), ("consumer-1", 1));
        assert!(stored.failed_at_ms > 1_600_000_000_000 && stored.published_at_ms.is_none());
    }
    assert_eq!(test.store.dead_letter(TOPIC, 0, 4).await.unwrap(), None);
    assert_eq!(test.store.dead_letter("unheard_of", 0, 0).await.unwrap(), None);
}

async fn dead_letters_are_listed_newest_first_and_filtered(test: Arc<TestStore>) {
    registered(&test, &[(0, 0)]).await;
    let mut batch = Batch::new("consumer-1");
    let slot = batch.slot(TOPIC, 0, 1, 0);
    for offset in 0..6 {
        let code = if offset % 2 == 0 { DeadLetterCode::JsonSyntax } else { DeadLetterCode::Database("22P02".into()) };
        batch.push_dead_letter(slot, event(0, offset), Rejection::new(code, "m"), 1);
    }
    let mut writer = test.store.writer("w");
    store(&mut writer, &batch).await;
    let offsets = async |topic: Option<&str>, code: Option<&str>, limit| {
        let filter = DeadLetterFilter { topic: topic.map(Into::into), code: code.map(Into::into), limit };
        let list = test.store.dead_letters(&filter).await.unwrap();
        list.iter().map(|letter| letter.record.offset).collect::<Vec<_>>()
    };
    assert_eq!(offsets(None, None, 4).await, [5, 4, 3, 2]);
    assert_eq!(offsets(Some(TOPIC), Some("db.22P02"), 10).await, [5, 3, 1]);
    assert!(offsets(Some("unheard_of"), None, 10).await.is_empty());
    assert_eq!(test.store.unpublished().await.unwrap(), 6);
}

async fn one_process_at_a_time_publishes_dead_letters(test: Arc<TestStore>) {
    registered(&test, &[(0, 0)]).await;
    let mut batch = Batch::new("consumer-1");
    let slot = batch.slot(TOPIC, 0, 1, 0);
    for offset in 0..4 {
        batch.push_dead_letter(slot, event(0, offset), rejection(), 1);
    }
    store(&mut test.store.writer("w"), &batch).await;

    let other = test.of_another_process();
    let mut outbox = test.store.outbox().await.unwrap().unwrap();
    assert!(other.outbox().await.unwrap().is_none(), "the right is taken");
    let pending = outbox.pending(3, &[]).await.unwrap();
    assert_eq!(pending.iter().map(|letter| letter.record.offset).collect::<Vec<_>>(), [0, 1, 2]);
    let answers =
        [(pending[0].id, PublishOutcome::Published), (pending[1].id, PublishOutcome::Refused("too large".into()))];
    outbox.mark(&answers).await.unwrap();
    let rest: Vec<i64> = outbox.pending(10, &[]).await.unwrap().iter().map(|letter| letter.record.offset).collect();
    assert_eq!(rest, [2, 3], "a refused one is passed");
    assert_eq!(test.store.unpublished().await.unwrap(), 2);
    let refused = test.store.dead_letter(TOPIC, 0, 1).await.unwrap().unwrap();
    assert_eq!(refused.publish_outcome.as_deref(), Some("refused"));
    assert_eq!(refused.publish_error.as_deref(), Some("too large"));
    assert!(refused.published_at_ms.is_some());

    drop(outbox);
    let deadline = tokio::time::Instant::now() + std::time::Duration::from_secs(20);
    while other.outbox().await.unwrap().is_none() {
        assert!(tokio::time::Instant::now() < deadline, "the right is given back");
        tokio::task::yield_now().await;
    }
}

async fn dead_letters_of_topics_that_are_passed_over_hold_up_none_of_the_others(test: Arc<TestStore>) {
    for (topic, letters) in [("a", 4), ("b", 2), ("c", 1)] {
        test.store.register_topic(topic, None, &BTreeMap::from([(0, 0)])).await.unwrap();
        let mut batch = Batch::new("consumer-1");
        let slot = batch.slot(topic, 0, 1, 0);
        for offset in 0..letters {
            batch.push_dead_letter(slot, OwnedRecord { topic: topic.into(), ..event(0, offset) }, rejection(), 1);
        }
        store(&mut test.store.writer("w"), &batch).await;
    }
    let mut outbox = test.store.outbox().await.unwrap().unwrap();
    for (except, limit, expected) in [
        (vec![], 3, vec!["a"; 3]),
        (vec!["a"], 2, vec!["b"; 2]),
        (vec!["a"], 9, vec!["b", "b", "c"]),
        (vec!["c", "a"], 9, vec!["b", "b"]),
        (vec!["a", "b", "c"], 9, vec![]),
        (vec!["unheard of"], 5, vec!["a", "a", "a", "a", "b"]),
    ] {
        let except: Vec<String> = except.into_iter().map(str::to_owned).collect();
        let pending = outbox.pending(limit, &except).await.unwrap();
        let topics: Vec<&str> = pending.iter().map(|letter| letter.record.topic.as_str()).collect();
        assert_eq!(topics, expected, "except {except:?}");
    }
}

async fn what_became_of_a_batch_is_told_by_the_positions(test: Arc<TestStore>) {
    registered(&test, &[(0, 0), (1, 100)]).await;
    let mut writer = test.store.writer("w");
    let batch = mixed();
    assert_eq!(writer.recover(&batch).await.unwrap(), Resolution::NotCommitted);
    store(&mut writer, &batch).await;
    assert_eq!(writer.recover(&batch).await.unwrap(), Resolution::Committed);
    test.execute("UPDATE partition_progress SET next_offset = 7 WHERE partition = 0").await;
    assert_eq!(writer.recover(&batch).await.unwrap(), Resolution::Moved);
    // Half before and half after is nobody's doing but another owner's.
    test.execute("UPDATE partition_progress SET next_offset = 0 WHERE partition = 0").await;
    assert_eq!(writer.recover(&batch).await.unwrap(), Resolution::Moved);
    test.execute("UPDATE partition_progress SET next_offset = first_offset, incarnation = 2").await;
    assert_eq!(writer.recover(&batch).await.unwrap(), Resolution::Moved);
}

async fn a_row_that_the_database_refuses_is_found_and_the_others_are_stored(test: Arc<TestStore>) {
    registered(&test, &[(0, 0)]).await;
    let mut batch = Batch::new("consumer-1");
    let slot = batch.slot(TOPIC, 0, 1, 0);
    for offset in 0..500 {
        let mut record = event(0, offset);
        if [0, 250, 251, 499].contains(&offset) {
            record.value = Some(b"{not json".to_vec());
        }
        push_row(&mut batch, slot, &record);
    }
    let mut writer = test.store.writer("w");
    let mut refused = Vec::new();
    let receipt = loop {
        match writer.write(&batch).await {
            Ok(receipt) => break receipt,
            Err(WriteError::Row { index, code, message }) => {
                assert_eq!(test.number("SELECT count(*) FROM events").await, 0, "nothing is stored");
                refused.push(batch.metas()[index].offset);
                batch.refuse(index, Rejection::new(DeadLetterCode::Database(code), message), row::key_and_value);
            }
            Err(WriteError::Differs { error, .. } | WriteError::Store(error)) => panic!("{error}"),
        }
        assert!(refused.len() <= 4, "{refused:?}");
    };
    assert_eq!(refused, [0, 250, 251, 499]);
    assert_eq!((receipt.rows, receipt.dead_letters), (496, 4));
    let letter = test.store.dead_letter(TOPIC, 0, 251).await.unwrap().unwrap();
    let mut expected = event(0, 251);
    expected.value = Some(b"{not json".to_vec());
    assert_eq!(letter.record, expected, "byte for byte, with headers and timestamp");
    assert_eq!(test.number("SELECT sum(count) FROM event_rollups").await, 496);
    assert!(audit(test.store.as_ref(), &[], &mut |_| {}).await.unwrap().clean);
}

async fn an_audit_passes_exactly_when_everything_tiles(test: Arc<TestStore>) {
    registered(&test, &[(0, 0), (1, 100)]).await;
    let mut writer = test.store.writer("w");
    store(&mut writer, &mixed()).await;
    store(&mut writer, &rows(0, 10..2_000)).await;
    let mut seen = Vec::new();
    let report = audit(test.store.as_ref(), &[TOPIC.to_owned()], &mut |p| seen.push(p.offsets)).await.unwrap();
    assert!(report.clean, "{report:?}");
    assert!(!seen.is_empty() && seen.is_sorted());
    let zero = &report.partitions[0];
    assert_eq!((zero.first_offset, zero.next_offset), (0, 2_000));
    assert_eq!((zero.rows, zero.dead_letters, zero.gap_offsets), (1_996, 1, 3));
    assert_eq!(report.partitions[1].gap_offsets, 3);

    test.execute("DELETE FROM events WHERE partition = 0 AND \"offset\" BETWEEN 1000 AND 1002").await;
    let report = audit(test.store.as_ref(), &[], &mut |_| {}).await.unwrap();
    assert!(!report.clean);
    assert_eq!(report.partitions[0].unaccounted, [OffsetRange { first: 1_000, next: 1_003 }]);
    assert!(report.partitions[1].clean());

    test.execute("UPDATE offset_gaps SET next_offset = next_offset + 1 WHERE partition = 0").await;
    let report = audit(test.store.as_ref(), &[], &mut |_| {}).await.unwrap();
    assert_eq!((report.partitions[0].overlapping, report.partitions[0].unaccounted_offsets), (1, 3));

    test.execute("UPDATE partition_progress SET next_offset = 1500 WHERE partition = 0").await;
    let report = audit(test.store.as_ref(), &[], &mut |_| {}).await.unwrap();
    assert_eq!((report.partitions[0].next_offset, report.partitions[0].stored_ahead), (1_500, 500));
    assert!(audit(test.store.as_ref(), &["unheard_of".to_owned()], &mut |_| {}).await.is_err());
}

async fn a_store_answers_whether_it_takes_writes(test: Arc<TestStore>) {
    test.store.ping().await.unwrap();
    test.store.claim_identity("c", "g").await.unwrap();
    test.store.ping().await.unwrap();
    test.store.check_schema().await.unwrap();
}
