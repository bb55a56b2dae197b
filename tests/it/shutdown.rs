//! The end of a process: what is in flight is finished or named, and the group learns what it should.

use crate::support::drover::{Drover, DroverCommand};
use crate::support::events::events;
use crate::support::scene::Scene;
use crate::support::wait::until;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sigterm_under_load_ends_with_a_receipt_and_kafka_knows_the_positions() {
    let Some(scene) = Scene::new(3).await else { return };
    let mut drover = scene.run(2).set("DROVER_LIMITS_BATCH_ROWS", 100).start("drover");
    // A partition that is on its way from one consumer to the other belongs to neither, and is in no receipt.
    until("each consumer to own something", async || {
        let owned = drover.owned().await;
        owned.values().all(|&count| count > 0) && owned.values().sum::<usize>() == 3
    })
    .await;
    let (sent, ended) = futures::join!(scene.send(events(0..30_000)), async {
        scene.database.until_accounted(&scene.topic, 1_000).await;
        drover.terminate().await
    });
    assert_eq!(ended.code, Some(0), "{}", ended.stdout);
    assert!(ended.stdout.contains("nothing was left"), "{}", ended.stdout);
    let stored = scene.database.accounted(&scene.topic).await;
    assert!(ended.stdout.contains(&format!("receipt: {stored} stored, 0 dead letters")), "{}", ended.stdout);
    scene.database.assert_tiled(&scene.topic).await;
    let store_id = scene.database.until_text("the id of the store", "SELECT store_id FROM store_identity").await;
    let progress = scene.database.progress(&scene.topic).await;
    let committed = scene.committed();
    for (partition, progress) in &progress {
        let line = format!("{}/{partition} next offset {}", scene.topic, progress.next);
        assert!(ended.stdout.contains(&line), "{line}: {}", ended.stdout);
        if progress.next > 0 {
            assert_eq!(committed.get(partition), Some(&(progress.next, format!("drover:{store_id}"))));
        }
    }
    // What it left on the topic is read at the next start, and nothing else.
    let mut drover = scene.run(2).start("drover-again");
    scene.database.until_accounted(&scene.topic, 30_000).await;
    drover.stop().await;
    scene.database.assert_stored(&scene.topic, &sent).await;
}

/// A process that cannot finish what it has in flight: somebody else holds the positions.
async fn stuck(scene: &Scene, command: &DroverCommand) -> (Drover, crate::support::database::HeldPositions) {
    scene.send(events(0..1_000)).await;
    let drover = command.start("drover-stuck");
    scene.database.until_accounted(&scene.topic, 1_000).await;
    let held = scene.database.hold_positions().await;
    scene.send(events(1_000..2_000)).await;
    scene.database.until_writers_wait(1).await;
    (drover, held)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_signal_ends_at_once_and_loses_nothing() {
    let Some(scene) = Scene::new(1).await else { return };
    let command = scene
        .run(1)
        .set("DROVER_STORE_LOCK_TIMEOUT", "120s")
        .set("DROVER_STORE_TRANSACTION_TIMEOUT", "120s")
        .set("DROVER_WATCHDOG_TIMEOUT", "180s");
    let (mut drover, held) = stuck(&scene, &command.clone().set("DROVER_SHUTDOWN_GRACE", "120s")).await;
    drover.signal("TERM");
    drover.until_logged("draining").await;
    let ended = drover.terminate().await;
    assert_eq!(ended.code, Some(1));
    assert!(ended.log.contains("second signal"), "{}", ended.log);
    held.let_go().await;
    let mut drover = command.start("drover-again");
    scene.database.until_accounted(&scene.topic, 2_000).await;
    drover.stop().await;
    scene.database.assert_tiled(&scene.topic).await;
    let doubled = scene.database.number("SELECT count(*) - count(DISTINCT payload->>'number') FROM events").await;
    assert_eq!(doubled, Some(0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_not_stored_within_the_grace_is_named_and_the_exit_says_so() {
    let Some(scene) = Scene::new(1).await else { return };
    let command = scene
        .run(1)
        .set("DROVER_STORE_LOCK_TIMEOUT", "120s")
        .set("DROVER_STORE_TRANSACTION_TIMEOUT", "120s")
        .set("DROVER_WATCHDOG_TIMEOUT", "180s");
    let (mut drover, held) = stuck(&scene, &command.clone().set("DROVER_SHUTDOWN_GRACE", "4s")).await;
    let ended = drover.terminate().await;
    assert_eq!(ended.code, Some(1), "{}", ended.stdout);
    assert!(ended.stdout.contains("left: consumer-1"), "{}", ended.stdout);
    held.let_go().await;
    let mut drover = command.start("drover-again");
    scene.database.until_accounted(&scene.topic, 2_000).await;
    drover.stop().await;
    scene.database.assert_tiled(&scene.topic).await;
}

/// Two processes with static membership and a session that outlasts the test.
async fn two_static(scene: &Scene) -> (DroverCommand, Drover, Drover) {
    let command = |id: &str| {
        scene
            .drover(&["consume", "--consumer-id", "consumer-1", "--replica-id", id])
            .set("DROVER_KAFKA_SESSION_TIMEOUT", "120s")
    };
    let (a, b) = (command("a").start("a"), command("b").start("b"));
    a.until_each_owns(2).await;
    b.until_each_owns(2).await;
    (command("a"), a, b)
}

fn rebalances(drover: &Drover) -> (usize, usize) {
    (drover.logged("partitions assigned"), drover.logged("partitions revoked"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_static_member_that_restarts_quickly_moves_nothing() {
    let Some(scene) = Scene::new(4).await else { return };
    let (command, mut a, mut b) = two_static(&scene).await;
    let before = rebalances(&b);
    a.stop().await;
    let mut a = command.start("a-again");
    a.until_each_owns(2).await;
    let sent = scene.send(events(0..1_000)).await;
    scene.database.until_accounted(&scene.topic, 1_000).await;
    assert_eq!(rebalances(&b), before);
    a.stop().await;
    b.stop().await;
    scene.database.assert_stored(&scene.topic, &sent).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_static_member_that_leaves_gives_its_partitions_up_at_once() {
    let Some(scene) = Scene::new(4).await else { return };
    let (_, mut a, mut b) = two_static(&scene).await;
    a.stop().await;
    let command = scene.drover(&["consume", "--consumer-id", "consumer-1", "--replica-id", "a", "--leave"]);
    let mut a = command.set("DROVER_KAFKA_SESSION_TIMEOUT", "120s").start("a-leaves");
    a.until_each_owns(2).await;
    a.stop().await;
    until("the other to own all", async || b.owned().await.values().sum::<usize>() == 4).await;
    let sent = scene.send(events(0..1_000)).await;
    scene.database.until_accounted(&scene.topic, 1_000).await;
    b.stop().await;
    scene.database.assert_stored(&scene.topic, &sent).await;
}
