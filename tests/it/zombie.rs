//! Two processes that both believe they own a partition: the database lets one of them through, and rolls the other back.

use crate::support::database::Account;
use crate::support::drover::{Drover, DroverCommand};
use crate::support::events::{events, events_to};
use crate::support::scene::Scene;
use crate::support::wait::until;

/// What a process says whose batch came too late, and one whose partitions are somebody else's.
const LOST_RACE: &str = "a batch lost its race and was rolled back";
const LOST_PARTITIONS: &str = "lost=true";

fn consume(scene: &Scene, id: &str) -> DroverCommand {
    scene
        .drover(&["consume", "--consumer-id", id])
        .set("DROVER_KAFKA_SESSION_TIMEOUT", "6s")
        .set("DROVER_STORE_WRITERS", 1)
}

async fn until_back(zombie: &mut Drover, logged: &str) {
    zombie.signal("CONT");
    zombie.until_logged(logged).await;
    // It goes on as an ordinary member of the group.
    until("the zombie to be ready", async || zombie.not_ready().await == Some(vec![])).await;
    assert_eq!(zombie.logged("child backing off"), 0, "losing a race is no failure");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_process_that_was_frozen_in_a_drain_wakes_up_to_what_its_heir_has_stored() {
    let Some(scene) = Scene::new(2).await else { return };
    let mut sent = scene.send(events(0..20_000)).await;
    let mut zombie = consume(&scene, "zombie").set("DROVER_LIMITS_BATCH_ROWS", 50).start("zombie");
    scene.database.until_accounted(&scene.topic, 4_000).await;
    zombie.signal("STOP");
    assert!(
        scene.database.accounted(&scene.topic).await < 20_000,
        "it was frozen after the drain: the test shows nothing"
    );
    let mut heir = consume(&scene, "heir").set("DROVER_STORE_LOCK_TIMEOUT", "500ms").start("heir");
    scene.database.until_accounted(&scene.topic, 20_000).await;
    // Whether it still comes to write depends on what it had in hand; that it may not is the other test's matter.
    until_back(&mut zombie, LOST_PARTITIONS).await;
    sent.extend(scene.send(events(20_000..21_000)).await);
    scene.database.until_accounted(&scene.topic, 21_000).await;
    zombie.stop().await;
    heir.stop().await;
    scene.database.assert_stored(&scene.topic, &sent).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_process_that_was_frozen_with_a_lock_in_its_hand_is_ended_by_its_heir() {
    let Some(scene) = Scene::new(1).await else { return };
    let mut sent = scene.send(events_to(0, 0..1_000)).await;
    let patient =
        consume(&scene, "zombie").set("DROVER_STORE_TRANSACTION_TIMEOUT", "60s").set("DROVER_WATCHDOG_TIMEOUT", "90s");
    let mut zombie = patient.set("DROVER_STORE_LOCK_TIMEOUT", "60s").start("zombie");
    scene.database.until_accounted(&scene.topic, 1_000).await;
    let held = scene.database.hold_positions().await;
    sent.extend(scene.send(events_to(0, 1_000..1_500)).await);
    scene.database.until_writers_wait(1).await;
    zombie.signal("STOP");
    // Now the frozen process's transaction gets the lock, moves the position and waits for rows that never come.
    held.let_go().await;
    let schema = scene.database.schema();
    // In its COPY, or before it, where the process was frozen with that still to be sent.
    let has_lock = format!(
        "SELECT 'yes' FROM pg_stat_activity a JOIN pg_locks l USING (pid) \
         WHERE a.application_name LIKE 'drover/writer%' AND a.wait_event = 'ClientRead' AND l.mode = 'RowExclusiveLock' \
         AND l.relation = '{schema}.partition_progress'::regclass"
    );
    scene.database.until_text("the frozen process to hold the lock and send nothing", &has_lock).await;
    let mut heir = consume(&scene, "heir").set("DROVER_STORE_LOCK_TIMEOUT", "500ms").start("heir");
    scene.database.until_accounted(&scene.topic, 1_500).await;
    assert!(heir.logged("ended sessions that held the lock") >= 1);
    until_back(&mut zombie, LOST_RACE).await;
    sent.extend(scene.send(events_to(0, 1_500..2_000)).await);
    scene.database.until_accounted(&scene.topic, 2_000).await;
    zombie.stop().await;
    heir.stop().await;
    let accounts = scene.database.assert_stored(&scene.topic, &sent).await;
    for offset in 1_000..1_500 {
        let Account::Row { consumer_id, .. } = &accounts[&(0, offset)] else { unreachable!("checked above") };
        assert_eq!(consumer_id, "heir", "what the zombie had in hand was stored by its heir");
    }
}
