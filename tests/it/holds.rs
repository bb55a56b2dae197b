//! Holds: partitions that are not read by order, whoever gave it and whoever owns them.

use crate::support::drover::Drover;
use crate::support::events::{events, events_to};
use crate::support::scene::Scene;
use crate::support::wait::until;
use serde_json::Value;

/// Places a hold as another process of the group would: in the store.
async fn hold_partition(scene: &Scene, partition: i32, kind: &str) {
    let sql = format!(
        "INSERT INTO holds VALUES ('partition', '{}', {partition}, '', '{kind}', 'a test', 'somebody', now(), NULL)",
        scene.topic
    );
    scene.database.execute(&sql).await;
}

async fn release_all(scene: &Scene) {
    scene.database.execute("DELETE FROM holds").await;
}

/// The hold of each owned partition, as the status shows it.
async fn held(drover: &Drover) -> Vec<(i64, Value)> {
    let status = drover.status().await;
    let partitions = |consumer: &Value| consumer["partitions"].as_array().unwrap().clone();
    let mut all: Vec<(i64, Value)> = status["consumers"]
        .as_array()
        .unwrap()
        .iter()
        .flat_map(partitions)
        .map(|partition| (partition["partition"].as_i64().unwrap(), partition["held"].clone()))
        .collect();
    all.sort_by_key(|(partition, _)| *partition);
    all
}

async fn until_held(drover: &Drover, expected: &[bool]) {
    until(&format!("the status to show {expected:?} as held"), async || {
        held(drover).await.iter().map(|(_, hold)| !hold.is_null()).eq(expected.iter().copied())
    })
    .await;
}

async fn state_of(drover: &Drover, child: &str) -> String {
    let status = drover.status().await;
    let children = status["children"].as_array().unwrap();
    let found = children.iter().find(|other| other["id"] == child).unwrap();
    found["state"].as_str().unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_partition_that_is_held_is_not_read_also_after_a_restart_and_goes_on_where_it_stood() {
    let Some(scene) = Scene::new(2).await else { return };
    let mut sent = scene.send(events_to(0, 0..500).chain(events_to(1, 500..1_000))).await;
    let mut drover = scene.run(1).start("first");
    scene.database.until_accounted(&scene.topic, 1_000).await;
    hold_partition(&scene, 0, "paused").await;
    until_held(&drover, &[true, false]).await;
    sent.extend(scene.send(events_to(0, 1_000..1_500).chain(events_to(1, 1_500..2_000))).await);
    scene.database.until_accounted(&scene.topic, 1_500).await;
    drover.until_ready().await;
    assert_eq!(held(&drover).await[0].1["by"], "somebody");
    drover.stop().await;

    let mut drover = scene.run(1).start("second");
    until_held(&drover, &[true, false]).await;
    sent.extend(scene.send(events_to(1, 2_000..2_500)).await);
    scene.database.until_accounted(&scene.topic, 2_000).await;
    assert_eq!(scene.database.progress(&scene.topic).await[&0].next, 500, "nothing of it was taken");

    release_all(&scene).await;
    scene.database.until_accounted(&scene.topic, 2_500).await;
    until_held(&drover, &[false, false]).await;
    drover.stop().await;
    scene.database.assert_stored(&scene.topic, &sent).await;
}

/// Under load, again and again: what was fetched when the order came is neither lost nor taken for a gap.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn partitions_that_are_held_and_released_under_load_lose_and_double_nothing() {
    let Some(scene) = Scene::new(3).await else { return };
    let drover_command = scene.run(2).set("DROVER_LIMITS_BATCH_ROWS", 200);
    let mut drover = drover_command.start("drover");
    drover.until_ready().await;
    let mut sent = Vec::new();
    for round in 0..6 {
        let numbers = round * 3_000..(round + 1) * 3_000;
        let load = scene.send(events(numbers));
        let orders = async {
            hold_partition(&scene, i32::try_from(round).unwrap() % 3, "paused").await;
            until("a partition to be held", async || held(&drover).await.iter().any(|(_, hold)| !hold.is_null())).await;
        };
        let (more, ()) = futures::join!(load, orders);
        sent.extend(more);
        release_all(&scene).await;
        until("all partitions to be released", async || held(&drover).await.iter().all(|(_, hold)| hold.is_null()))
            .await;
    }
    scene.database.until_accounted(&scene.topic, i64::try_from(sent.len()).unwrap()).await;
    drover.stop().await;
    scene.database.assert_stored(&scene.topic, &sent).await;
    assert_eq!(scene.database.number("SELECT count(*) FROM offset_gaps").await, Some(0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_consumer_that_is_held_is_paused_and_ready_while_the_other_goes_on() {
    let Some(scene) = Scene::new(2).await else { return };
    let mut drover = scene.run(2).set("DROVER_REPLICA_ID", "a").start("drover");
    drover.until_each_owns(1).await;
    let hold = |replica: &str| {
        format!(
            "INSERT INTO holds VALUES ('consumer', 'consumer-1', -1, '{replica}', 'paused', 'a test', 'b', now(), NULL)"
        )
    };
    scene.database.execute(&hold("another")).await;
    scene.database.execute(&hold("a")).await;
    until("the consumer to be paused", async || state_of(&drover, "consumer-1").await == "paused").await;
    let sent = scene.send(events_to(0, 0..300).chain(events_to(1, 300..600))).await;
    scene.database.until_accounted(&scene.topic, 300).await;
    drover.until_ready().await;
    assert_eq!(state_of(&drover, "consumer-2").await, "running");
    scene.database.execute("DELETE FROM holds WHERE replica_id = 'a'").await;
    scene.database.until_accounted(&scene.topic, 600).await;
    until("the consumer to run", async || state_of(&drover, "consumer-1").await == "running").await;
    drover.stop().await;
    scene.database.assert_stored(&scene.topic, &sent).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_quarantine_is_named_by_readiness_and_ends_by_itself() {
    let Some(scene) = Scene::new(1).await else { return };
    let mut drover = scene.run(1).start("drover");
    drover.until_ready().await;
    hold_partition(&scene, 0, "quarantined").await;
    let reason = drover.until_not_ready("quarantined").await;
    assert!(reason.contains(&format!("{}/0", scene.topic)) && reason.contains("a test"), "{reason}");
    scene.database.execute("UPDATE holds SET until = now()").await;
    drover.until_ready().await;
    assert_eq!(scene.database.number("SELECT count(*) FROM holds").await, Some(0));
    drover.stop().await;
}
