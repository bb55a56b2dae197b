//! Replicas of one group: each has its place, all see each other, and every move of a partition is written down.

use crate::support::drover::{Drover, DroverCommand};
use crate::support::events::events;
use crate::support::scene::Scene;
use crate::support::wait::{PATIENCE, until, until_some};
use rdkafka::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use serde_json::Value;
use std::collections::BTreeMap;
use std::time::Duration;

/// `drover run` with two consumers as this replica.
fn replica(scene: &Scene, id: &str) -> DroverCommand {
    scene.run(2).set("DROVER_REPLICA_ID", id)
}

async fn rebalances(drover: &Drover) -> Vec<Value> {
    drover.api("api/v1/rebalances").await["rebalances"].as_array().unwrap().clone()
}

async fn restarts(drover: &Drover) -> u64 {
    let status = drover.status().await;
    status["children"].as_array().unwrap().iter().map(|child| child["restarts"].as_u64().unwrap()).sum()
}

async fn is_audited(scene: &Scene) {
    let audit = scene.drover(&["audit"]).run("audit").await;
    assert_eq!(audit.code, Some(0), "{}", audit.stdout);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_process_of_one_replica_is_refused_and_the_first_goes_on_undisturbed() {
    let Some(scene) = Scene::new(4).await else { return };
    let mut first = replica(&scene, "r-1").start("first");
    first.until_each_owns(2).await;
    first.until_ready().await;
    let before = rebalances(&first).await;
    let second = replica(&scene, "r-1").start("second").ended().await;
    assert_eq!(second.code, Some(75), "{}", second.log);
    assert!(second.log.contains("waiting for it to leave"), "{}", second.log);
    let who = format!("pid {} on ", first.pid());
    assert!(second.log.contains("replica \"r-1\"") && second.log.contains(&who), "{}", second.log);
    scene.send(events(0..1_000)).await;
    scene.database.until_accounted(&scene.topic, 1_000).await;
    assert_eq!(rebalances(&first).await, before, "the group was not moved");
    assert_eq!(restarts(&first).await, 0);
    // Another consumer of the same replica is nobody's place.
    let mut other = scene.drover(&["consume", "--consumer-id", "other"]).set("DROVER_REPLICA_ID", "r-1").start("other");
    other.until_ready().await;
    other.stop().await;
    first.stop().await;
    is_audited(&scene).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_process_that_starts_while_the_old_one_is_killed_takes_its_place() {
    let Some(scene) = Scene::new(4).await else { return };
    let mut first = replica(&scene, "r-1").start("first");
    first.until_each_owns(2).await;
    let mut second = replica(&scene, "r-1").start("second");
    second.until_logged("waiting for it to leave").await;
    first.kill();
    second.until_each_owns(2).await;
    second.until_ready().await;
    second.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_place_whose_session_was_ended_is_taken_again_and_work_goes_on() {
    let Some(scene) = Scene::new(4).await else { return };
    let mut drover = replica(&scene, "r-1").start("drover");
    drover.until_each_owns(2).await;
    let before = rebalances(&drover).await;
    scene.send(events(0..1_000)).await;
    let ended = format!(
        "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE application_name LIKE 'drover/lease pid {} %'",
        drover.pid()
    );
    assert_eq!(scene.database.number(&ended).await, Some(1));
    until("both places to be taken again", async || drover.logged("this consumer's place was taken again") == 2).await;
    scene.send(events(1_000..2_000)).await;
    scene.database.until_accounted(&scene.topic, 2_000).await;
    drover.until_ready().await;
    assert_eq!((rebalances(&drover).await, restarts(&drover).await), (before, 0));
    drover.stop().await;
    is_audited(&scene).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_place_that_somebody_else_took_meanwhile_fences_its_consumer_alone() {
    let Some(scene) = Scene::new(4).await else { return };
    let mut drover = replica(&scene, "r-1").set("DROVER_KAFKA_SESSION_TIMEOUT", "6s").start("drover");
    drover.until_each_owns(2).await;
    // Another session stands in line for the place of one consumer, and gets it when the session that has it is ended.
    let other = scene.database.connect().await;
    let name = format!("drover lease {} consumer {} r-1 consumer-1", scene.database.schema(), scene.group);
    let wait = format!(
        "SET application_name = 'drover/lease pid 4711 on elsewhere'; SET lock_timeout = '50s'; SELECT pg_advisory_lock(hashtextextended('{name}', 0))"
    );
    let fence = async {
        let waits = "SELECT count(*) FROM pg_stat_activity WHERE application_name LIKE 'drover/lease pid 4711 %' AND wait_event_type = 'Lock'";
        until("the other one to stand in line", async || scene.database.number(waits).await == Some(1)).await;
        let ended = format!(
            "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE application_name LIKE 'drover/lease pid {} %'",
            drover.pid()
        );
        scene.database.number(&ended).await
    };
    let (taken, ended) = futures::join!(other.batch_execute(&wait), fence);
    taken.unwrap();
    assert_eq!(ended, Some(1));
    let reason = drover.until_not_ready("has failed").await;
    assert!(reason.contains("consumer-1") && reason.contains("fenced"), "{reason}");
    assert!(reason.contains("pid 4711 on elsewhere"), "{reason}");
    // The other consumer of the process took its own place again and reads everything.
    until("the other consumer to own all", async || drover.owned().await.get("consumer-2") == Some(&4)).await;
    scene.send(events(0..1_000)).await;
    scene.database.until_accounted(&scene.topic, 1_000).await;
    assert_eq!(restarts(&drover).await, 0, "a fenced consumer is not started again by itself");
    drop(other);
    drover.terminate().await;
    is_audited(&scene).await;
}

/// Kafka fences a member that came back after an outage longer than its session, because of its own late commit. That is
/// told from another process by the place, which the store lends to one.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_member_that_kafka_fences_while_its_place_is_its_own_joins_again() {
    let Some(scene) = Scene::new(4).await else { return };
    let mut drover = replica(&scene, "r-1").start("drover");
    drover.until_each_owns(2).await;
    let (brokers, group, topic) = (scene.brokers.clone(), scene.group.clone(), scene.topic.clone());
    let fence = tokio::task::spawn_blocking(move || {
        let other: BaseConsumer = ClientConfig::new()
            .set("bootstrap.servers", brokers)
            .set("group.id", group)
            .set("group.instance.id", "r-1-consumer-1")
            .set("partition.assignment.strategy", "cooperative-sticky")
            .set("enable.auto.commit", "false")
            .create()
            .unwrap();
        other.subscribe(&[&topic]).unwrap();
        // Until it is fenced in its turn, by the member that joined again.
        let deadline = std::time::Instant::now() + PATIENCE;
        while other.client().fatal_error().is_none() {
            assert!(std::time::Instant::now() < deadline, "the other member was never fenced");
            let _ = other.poll(Duration::from_millis(100));
        }
    });
    fence.await.unwrap();
    assert!(restarts(&drover).await >= 1, "it was started again");
    drover.until_each_owns(2).await;
    scene.send(events(0..1_000)).await;
    scene.database.until_accounted(&scene.topic, 1_000).await;
    drover.until_ready().await;
    drover.stop().await;
    is_audited(&scene).await;
}

/// The members of a list of `/api/v1/group`, by a text field.
fn by(list: &Value, field: &str) -> BTreeMap<String, Value> {
    let of = |entry: &Value| (entry[field].as_str().unwrap().to_owned(), entry.clone());
    list.as_array().unwrap().iter().map(of).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_replica_shows_the_whole_group() {
    let Some(scene) = Scene::new(4).await else { return };
    // Two processes of one host without an id: their names stay apart.
    let drovers = [scene.run(1).start("first"), scene.run(1).start("second")];
    for drover in &drovers {
        drover.until_each_owns(2).await;
    }
    scene.send(events(0..1_000)).await;
    scene.database.until_accounted(&scene.topic, 1_000).await;
    for drover in &drovers {
        let group = until_some("the whole group", async || {
            let group = drover.api("api/v1/group").await;
            let partitions = group["partitions"].as_array()?;
            let stored: i64 = partitions.iter().filter_map(|partition| partition["next_offset"].as_i64()).sum();
            let owned = partitions.iter().filter(|partition| partition["state"] == "owned").count();
            (group["replicas"].as_array()?.len() == 2 && owned == 4 && stored == 1_000).then_some(group)
        })
        .await;
        let replicas = by(&group["replicas"], "replica_id");
        let names: Vec<&String> = replicas.keys().collect();
        assert_eq!(names[1], &format!("{}#2", names[0]));
        let pids: Vec<u64> = replicas.values().map(|replica| replica["pid"].as_u64().unwrap()).collect();
        assert!(drovers.iter().all(|drover| pids.contains(&u64::from(drover.pid()))), "{pids:?}");
        for (name, replica) in &replicas {
            assert_eq!(replica["state"], "alive");
            assert_eq!(replica["ready"], true, "{replica}");
            assert_eq!(replica["consumers"][0]["id"], "consumer-1");
            assert!(replica["http"].as_str().unwrap().starts_with("http://127.0.0.1:"));
            let of = |partition: &&Value| partition["owner"]["replica_id"] == name.as_str();
            assert_eq!(group["partitions"].as_array().unwrap().iter().filter(of).count(), 2);
        }
    }
    let url = drovers[1].url("").await;
    let listed = scene.drover(&["consumers", "list", "--all", "--url", &url]).run("list").await;
    assert_eq!(listed.code, Some(0), "{}", listed.log);
    for drover in &drovers {
        assert!(listed.stdout.contains(&format!(" {} ", drover.pid())), "{}", listed.stdout);
    }
    assert!(listed.stdout.contains(&format!("{}/3", scene.topic)), "{}", listed.stdout);
    // An order to one of them is not obeyed by the other, whose consumer has the same id.
    scene.order(&drovers[1], &["pause", "consumer-1"]).await;
    drovers[1].until_child_is("consumer-1", "paused").await;
    // The other obeys an order that came later, so it has read the list with the first.
    let of_other = async || drovers[0].status().await["consumers"][0].clone();
    let number = of_other().await["partitions"][0]["partition"].to_string();
    let partition = ["--topic", scene.topic.as_str(), "--partition", number.as_str()];
    scene.order(&drovers[1], &[&["pause"], &partition[..]].concat()).await;
    until("the later order to be obeyed", async || of_other().await["partitions"][0]["held"]["kind"] == "paused").await;
    assert_eq!(of_other().await["partitions"][1]["held"], Value::Null);
    assert_eq!(drovers[0].child("consumer-1").await.unwrap()["state"], "running");
    scene.order(&drovers[1], &[&["resume"], &partition[..]].concat()).await;
    scene.order(&drovers[1], &["resume", "consumer-1"]).await;
    let [mut first, mut second] = drovers;
    first.stop().await;
    until("the one that stopped to be gone", async || {
        let group = second.api("api/v1/group").await;
        group["replicas"].as_array().unwrap().len() == 1
            && group["partitions"].as_array().unwrap().iter().all(|partition| partition["state"] == "owned")
    })
    .await;
    second.stop().await;
    assert_eq!(scene.database.number("SELECT count(*) FROM replicas").await, Some(0));
}

/// The last revoke of this process, with who took its partitions, as the picture of the group has it.
async fn revoke(drover: &Drover) -> Value {
    until_some("the revoke, taken by another process", async || {
        let group = drover.api("api/v1/group").await;
        let pid = u64::from(drover.pid());
        let own = group["replicas"].as_array()?.iter().find(|replica| replica["pid"] == pid)?.clone();
        let all = group["rebalances"].as_array()?.clone();
        let of = |entry: &&Value| entry["replica_id"] == own["replica_id"] && entry["kind"] == "revoke";
        let last = all.iter().rev().find(of)?.clone();
        last["partitions"].as_array()?.iter().all(|partition| partition["taken"].is_object()).then_some(last)
    })
    .await
}

fn sum(revoke: &Value, field: &str) -> i64 {
    let of = |partition: &Value| partition[field].as_i64().or(partition["taken"][field].as_i64());
    revoke["partitions"].as_array().unwrap().iter().filter_map(of).sum()
}

/// A revoke while a batch waits for a lock of the database, which is given back before or after the consumer gives up.
async fn revoke_with_a_batch_in_flight(gives_up: bool) {
    let Some(scene) = Scene::new(2).await else { return };
    let mut first = scene.run(1).start("first");
    first.until_each_owns(2).await;
    let blocker = scene.database.connect().await;
    blocker.batch_execute("BEGIN; SELECT * FROM partition_progress FOR UPDATE").await.unwrap();
    scene.send(events(0..1_000)).await;
    until("all records to be read", async || first.metric("drover_messages_consumed_total").await == Some(1_000.0))
        .await;
    let second = scene.run(1).start("second");
    if gives_up {
        first.until_logged("partition given up with records in flight").await;
    } else {
        until("the revoke to wait", async || {
            let status = first.status().await;
            status["consumers"][0]["state"] == "rebalancing"
        })
        .await;
    }
    blocker.batch_execute("COMMIT").await.unwrap();
    let revoke = revoke(&first).await;
    assert!(revoke["generation"].as_i64().unwrap() > 0, "{revoke}");
    let (in_flight, drained, given_up) = (sum(&revoke, "in_flight"), sum(&revoke, "drained"), sum(&revoke, "given_up"));
    assert!(in_flight > 0, "{revoke}");
    if gives_up {
        assert_eq!((drained, given_up), (0, in_flight), "{revoke}");
    } else {
        assert_eq!((drained, given_up, sum(&revoke, "re_read")), (in_flight, 0, 0), "{revoke}");
    }
    scene.database.until_accounted(&scene.topic, 1_000).await;
    let mut second = second;
    second.stop().await;
    first.stop().await;
    is_audited(&scene).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_revoke_waits_for_the_batch_in_flight_and_tells_what_was_drained() {
    revoke_with_a_batch_in_flight(false).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_revoke_that_gives_up_tells_what_and_who_took_it() {
    revoke_with_a_batch_in_flight(true).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_consumer_that_was_taken_away_leaves_its_place_to_another_process() {
    let Some(scene) = Scene::new(4).await else { return };
    let mut first = replica(&scene, "r-1").start("first");
    first.until_each_owns(2).await;
    scene.order(&first, &["scale", "--consumers", "1"]).await;
    let settings = scene.drover(&["consume", "--consumer-id", "consumer-2"]).set("DROVER_REPLICA_ID", "r-1");
    let mut other = settings.start("other");
    other.until_ready().await;
    other.stop().await;
    first.stop().await;
}
