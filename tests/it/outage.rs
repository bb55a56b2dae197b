//! A database that goes away in the middle of the work, and comes back.

use crate::support::drover::Drover;
use crate::support::events::events;
use crate::support::scene::Scene;
use crate::support::servers::{self, PrivatePostgres, Servers};
use std::time::Duration;

const EVENTS: usize = 60_000;
/// How long the database is away: longer than the session of the group and than the time allowed between two polls.
const OUTAGE: Duration = Duration::from_secs(10);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_that_crashes_in_a_drain_costs_no_record_no_dead_letter_and_no_membership() {
    let Some(shared) = servers::shared() else { return };
    let Some(postgres) = PrivatePostgres::start() else { return };
    let scene = Scene::on(&Servers { brokers: shared.brokers, database_url: postgres.url() }, 4).await;
    let sent = scene.send(events(0..EVENTS)).await;
    let total = i64::try_from(EVENTS).unwrap();
    let mut drover = scene
        .run(2)
        .set("DROVER_LIMITS_BATCH_ROWS", 10)
        .set("DROVER_STORE_WRITERS", 2)
        .set("DROVER_KAFKA_SESSION_TIMEOUT", "6s")
        .set("DROVER_KAFKA_CONSUMER_MAX_POLL_INTERVAL_MS", 6_000)
        .start("drover");
    drover.until_each_owns(2).await;
    scene.database.until_accounted(&scene.topic, total / 10).await;
    let rebalances = |drover: &Drover| (drover.logged("partitions assigned"), drover.logged("partitions revoked"));
    let before = rebalances(&drover);
    postgres.crash();
    let reason = drover.until_not_ready("breaker").await;
    assert!(reason.contains("store"), "{reason}");
    // The outage itself, not a wait for anything.
    tokio::time::sleep(OUTAGE).await;
    assert_eq!(drover.not_ready().await.map(|reasons| reasons.len()), Some(1), "the outage alone makes it red");
    postgres.start_again();
    assert!(
        scene.database.accounted(&scene.topic).await < total,
        "the crash came after the drain: the test shows nothing"
    );
    drover.until_ready().await;
    scene.database.until_accounted(&scene.topic, total).await;
    assert_eq!(rebalances(&drover), before, "the consumers kept their partitions");
    assert_eq!(drover.logged("child backing off"), 0, "no child was restarted");
    drover.stop().await;
    scene.database.assert_stored(&scene.topic, &sent).await;
    assert_eq!(scene.database.number("SELECT count(*) FROM dead_letters").await, Some(0));
}
