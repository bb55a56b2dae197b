//! Many processes, one group: partitions are shared, and moving them loses and doubles nothing. In both group protocols.

use crate::support::database::Account;
use crate::support::drover::Drover;
use crate::support::events::events;
use crate::support::scene::Scene;
use std::collections::BTreeSet;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn three_processes_with_one_consumer_each_share_a_group() {
    three_processes_share_a_group("classic").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn three_processes_with_one_consumer_each_share_a_group_of_the_consumer_protocol() {
    three_processes_share_a_group("consumer").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rebalance_under_load_loses_and_doubles_nothing() {
    rebalance_under_load("classic").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rebalance_under_load_loses_and_doubles_nothing_in_the_consumer_protocol() {
    rebalance_under_load("consumer").await;
}

fn consume(scene: &Scene, protocol: &str, id: &str) -> Drover {
    scene.drover(&["consume", "--consumer-id", id]).set("DROVER_KAFKA_PROTOCOL", protocol).start(id)
}

async fn three_processes_share_a_group(protocol: &str) {
    let Some(scene) = Scene::new(6).await else { return };
    let ids = ["consumer-1", "consumer-2", "consumer-3"];
    // All at once, on an empty schema: one of them migrates and registers the topic.
    let mut drovers = ids.map(|id| consume(&scene, protocol, id));
    for drover in &drovers {
        drover.until_each_owns(2).await;
    }
    let sent = scene.send(events(0..10_000)).await;
    scene.database.until_accounted(&scene.topic, 10_000).await;
    for (drover, id) in drovers.iter().zip(ids) {
        drover.until_ready().await;
        assert_eq!(drover.owned().await.into_iter().collect::<Vec<_>>(), [(id.to_owned(), 2)]);
    }
    for drover in &mut drovers {
        drover.stop().await;
    }
    let accounts = scene.database.assert_stored(&scene.topic, &sent).await;
    let by: BTreeSet<&str> = accounts
        .values()
        .filter_map(|account| match account {
            Account::Row { consumer_id, .. } => Some(consumer_id.as_str()),
            _ => None,
        })
        .collect();
    assert_eq!(by.into_iter().collect::<Vec<_>>(), ids, "each of them stored rows");
}

async fn rebalance_under_load(protocol: &str) {
    let Some(scene) = Scene::new(6).await else { return };
    let mut first = consume(&scene, protocol, "first");
    first.until_each_owns(6).await;
    let load = async {
        let mut sent = Vec::new();
        for round in 0..40 {
            sent.extend(scene.send(events(round * 500..(round + 1) * 500)).await);
        }
        sent
    };
    let moves = async {
        scene.database.until_accounted(&scene.topic, 1_000).await;
        let second = consume(&scene, protocol, "second");
        second.until_each_owns(3).await;
        let third = consume(&scene, protocol, "third");
        third.until_each_owns(2).await;
        first.stop().await;
        second.until_each_owns(3).await;
        third.until_each_owns(3).await;
        (second, third)
    };
    let (sent, (mut second, mut third)) = futures::join!(load, moves);
    // Whatever of the load came before the last move: these come after it.
    let mut sent = sent;
    sent.extend(scene.send(events(20_000..21_000)).await);
    scene.database.until_accounted(&scene.topic, 21_000).await;
    second.stop().await;
    third.stop().await;
    scene.database.assert_stored(&scene.topic, &sent).await;
    assert_eq!(scene.database.number("SELECT count(*) FROM dead_letters").await, Some(0));
    let audit = scene.drover(&["audit"]).run("audit").await;
    assert_eq!(audit.code, Some(0), "{}", audit.stdout);
}
