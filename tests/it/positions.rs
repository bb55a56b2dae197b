//! Where reading starts, and when it refuses to: positions that disagree with Kafka stop their partition by name, and
//! nothing is skipped.

use crate::support::database::Progress;
use crate::support::events::{Event, Sent, event, events, events_to};
use crate::support::scene::Scene;
use rdkafka::consumer::{CommitMode, Consumer as _};
use rdkafka::topic_partition_list::TopicPartitionList;

/// Stores `sent` and stops.
async fn store_and_stop(scene: &Scene, count: i64) {
    let mut drover = scene.run(1).start("drover-before");
    scene.database.until_accounted(&scene.topic, count).await;
    drover.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_topic_that_was_created_again_and_has_grown_past_the_old_position_is_not_read() {
    let Some(scene) = Scene::new(1).await else { return };
    let sent = scene.send(events_to(0, 0..100)).await;
    store_and_stop(&scene, 100).await;
    scene.delete_topic().await;
    scene.create_topic(1).await;
    scene.send(events_to(0, 1_000..1_150)).await;
    let mut drover = scene.run(1).start("drover-after");
    let reason = drover.until_not_ready("topic.recreated").await;
    assert!(reason.contains(&scene.topic), "{reason}");
    let ended = drover.terminate().await;
    assert_eq!(ended.code, Some(1), "a stopped partition is something left: {}", ended.stdout);
    assert!(ended.stdout.contains("is stopped"), "{}", ended.stdout);
    scene.database.assert_stored(&scene.topic, &sent).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_that_was_dropped_beside_a_living_group_is_position_lost() {
    let Some(scene) = Scene::new(2).await else { return };
    scene.send(events(0..100)).await;
    store_and_stop(&scene, 100).await;
    scene.database.drop_schema().await;
    scene.send(events(100..200)).await;
    let mut drover = scene.run(1).start("drover-after");
    let reason = drover.until_not_ready("position.lost").await;
    assert!(reason.contains(&scene.topic) && reason.contains("drover offsets restart"), "{reason}");
    assert_eq!(drover.terminate().await.code, Some(1));
    assert_eq!(scene.database.number("SELECT count(*) FROM events").await, Some(0));
    assert_eq!(scene.database.number("SELECT count(*) FROM partition_progress").await, Some(0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn records_that_retention_removed_unread_stop_their_partition_and_no_other() {
    let Some(scene) = Scene::new(2).await else { return };
    let mut sent = scene.send(events_to(0, 0..50).chain(events_to(1, 50..100))).await;
    store_and_stop(&scene, 100).await;
    scene.send(events_to(0, 100..150)).await;
    scene.delete_records(0, 80).await;
    sent.extend(scene.send(events_to(1, 200..300)).await);
    let mut drover = scene.run(1).start("drover-after");
    let reason = drover.until_not_ready("position.expired").await;
    assert!(reason.contains("50") && reason.contains("80"), "both offsets are named: {reason}");
    scene.database.until_accounted(&scene.topic, 200).await;
    assert_eq!(drover.terminate().await.code, Some(1));
    scene.database.assert_stored(&scene.topic, &sent).await;
    assert_eq!(scene.database.progress(&scene.topic).await[&0], Progress { first: 0, next: 50 });
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_store_refuses_another_group_and_another_cluster() {
    let Some(scene) = Scene::new(1).await else { return };
    scene.send(events(0..10)).await;
    store_and_stop(&scene, 10).await;
    let ended = scene.run(1).set("CONSUMER_GROUP", "another-group").run("other-group").await;
    assert_eq!(ended.code, Some(1));
    assert!(ended.log.contains("another-group") && ended.log.contains(&scene.group), "{}", ended.log);
    scene.database.execute("UPDATE store_identity SET cluster_id = 'another-cluster'").await;
    let ended = scene.run(1).run("other-cluster").await;
    assert_eq!(ended.code, Some(1));
    assert!(ended.log.contains("another-cluster"), "{}", ended.log);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_partition_that_is_added_later_starts_at_its_beginning_even_with_latest() {
    let Some(mut scene) = Scene::new(1).await else { return };
    scene.send(events_to(0, 0..100)).await;
    let mut drover = scene
        .run(1)
        .set("DROVER_KAFKA_START_FROM", "latest")
        .set("DROVER_KAFKA_CONSUMER_TOPIC_METADATA_REFRESH_INTERVAL_MS", 500)
        .start("drover");
    drover.until_each_owns(1).await;
    let mut sent = scene.send(events_to(0, 100..150)).await;
    scene.database.until_accounted(&scene.topic, 50).await;
    scene.add_partitions(2).await;
    // Most likely there before drover hears of the partition; at its beginning all the same.
    sent.extend(scene.send(events_to(1, 150..200)).await);
    scene.database.until_accounted(&scene.topic, 100).await;
    drover.stop().await;
    scene.database.assert_stored(&scene.topic, &sent).await;
    let progress = scene.database.progress(&scene.topic).await;
    assert_eq!(progress[&0], Progress { first: 100, next: 150 });
    assert_eq!(progress[&1], Progress { first: 0, next: 50 });
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_new_topic_starts_at_the_time_that_was_asked_for() {
    let Some(scene) = Scene::new(2).await else { return };
    let noon = 1_767_355_200_000; // 2026-01-02T12:00:00Z
    let at = |number: usize| {
        let minutes = i64::try_from(number).unwrap() - 50;
        let partition = Some(i32::try_from(number % 2).unwrap());
        Event { partition, timestamp_ms: Some(noon + minutes * 60_000), ..event(number) }
    };
    let sent = scene.send((0..100).map(at)).await;
    let later: Vec<Sent> = sent.into_iter().filter(|sent| sent.event.timestamp_ms >= Some(noon)).collect();
    let mut drover = scene.run(1).set("DROVER_KAFKA_START_FROM", "2026-01-02T12:00:00Z").start("drover");
    scene.database.until_accounted(&scene.topic, 50).await;
    drover.stop().await;
    assert_eq!(later.len(), 50);
    scene.database.assert_stored(&scene.topic, &later).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_new_topic_starts_where_another_program_of_the_group_stopped() {
    let Some(scene) = Scene::new(2).await else { return };
    let sent = scene.send(events_to(0, 0..100).chain(events_to(1, 100..200))).await;
    let mut committed = TopicPartitionList::new();
    committed.add_partition_offset(&scene.topic, 0, rdkafka::Offset::Offset(60)).unwrap();
    scene.member("another-program").commit(&committed, CommitMode::Sync).unwrap();
    let mut drover = scene.run(1).start("drover");
    scene.database.until_accounted(&scene.topic, 140).await;
    drover.stop().await;
    let rest: Vec<Sent> = sent.into_iter().filter(|sent| sent.partition == 1 || sent.offset >= 60).collect();
    scene.database.assert_stored(&scene.topic, &rest).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_group_that_is_ahead_of_the_store_is_read_again_from_the_store() {
    let Some(scene) = Scene::new(1).await else { return };
    let mut sent = scene.send(events_to(0, 0..100)).await;
    store_and_stop(&scene, 100).await;
    sent.extend(scene.send(events_to(0, 100..200)).await);
    let mut ahead = TopicPartitionList::new();
    ahead.add_partition_offset(&scene.topic, 0, rdkafka::Offset::Offset(180)).unwrap();
    scene.member("another-program").commit(&ahead, CommitMode::Sync).unwrap();
    store_and_stop(&scene, 200).await;
    scene.database.assert_stored(&scene.topic, &sent).await;
    assert_eq!(scene.committed()[&0].0, 200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_store_that_was_set_back_skips_the_rows_that_it_has() {
    let Some(scene) = Scene::new(1).await else { return };
    let mut sent = scene.send(events_to(0, 0..1_000)).await;
    store_and_stop(&scene, 1_000).await;
    scene.database.execute("UPDATE partition_progress SET next_offset = 300").await;
    sent.extend(scene.send(events_to(0, 1_000..1_500)).await);
    let mut drover = scene.run(1).start("drover-after");
    scene.database.until_accounted(&scene.topic, 1_500).await;
    let ended = drover.terminate().await;
    assert_eq!(ended.code, Some(0), "{}", ended.stdout);
    assert!(ended.stdout.contains("500 stored, 0 dead letters, 700 duplicates"), "{}", ended.stdout);
    scene.database.assert_stored(&scene.topic, &sent).await;
    assert_eq!(scene.database.number("SELECT sum(count) FROM event_rollups").await, Some(1_500));
}
