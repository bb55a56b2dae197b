//! The audit that `drover run` makes by itself.

use crate::support::events::events_to;
use crate::support::scene::Scene;
use crate::support::wait::{until, until_some};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lost_row_turns_readiness_red_and_shows_in_status_and_metrics_until_it_is_back() {
    let Some(scene) = Scene::new(1).await else { return };
    scene.send(events_to(0, 0..100)).await;
    let mut before = scene.run(1).set("DROVER_AUDIT_INTERVAL", "0s").start("before");
    scene.database.until_accounted(&scene.topic, 100).await;
    assert!(before.status().await["audit"].is_null(), "none is scheduled");
    before.stop().await;
    scene
        .database
        .execute("CREATE TABLE aside AS SELECT * FROM events WHERE \"offset\" IN (7, 42); DELETE FROM events WHERE \"offset\" IN (7, 42)")
        .await;
    let mut drover = scene.run(1).set("DROVER_AUDIT_INTERVAL", "200ms").start("drover");
    let reason = drover.until_not_ready("the audit found 2 offsets").await;
    assert!(reason.contains(&scene.topic), "{reason}");
    let audit = drover.status().await["audit"].clone();
    assert_eq!((&audit["clean"], &audit["unaccounted"]), (&false.into(), &2.into()), "{audit}");
    assert_eq!(audit["partitions"][0]["audited"]["next"], 100);
    let series = format!("drover_unaccounted_offsets{{partition=\"0\",topic=\"{}\"}}", scene.topic);
    let gauge = async || {
        let metrics = drover.get("metrics").await?.1;
        metrics.lines().find_map(|line| line.strip_prefix(&series)?.trim().parse::<i64>().ok())
    };
    assert_eq!(until_some("the gauge", async || gauge().await).await, 2);
    // It goes on storing meanwhile: a loss stops nothing.
    scene.send(events_to(0, 100..200)).await;
    scene.database.until_accounted(&scene.topic, 200).await;

    scene.database.execute("INSERT INTO events SELECT * FROM aside; DROP TABLE aside").await;
    drover.until_ready().await;
    until("the gauge to be zero", async || gauge().await == Some(0)).await;
    until("a mark at the end", async || {
        scene.database.number("SELECT next_offset FROM audit_marks").await == Some(200)
    })
    .await;
    drover.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_several_replicas_one_audits_and_all_show_it() {
    let Some(scene) = Scene::new(2).await else { return };
    scene.send(events_to(0, 0..50).chain(events_to(1, 50..100))).await;
    let mut replicas: Vec<_> =
        (0..3).map(|n| scene.run(1).set("DROVER_REPLICA_ID", format!("r{n}")).start("replica")).collect();
    scene.database.until_accounted(&scene.topic, 100).await;
    let mut found = Vec::new();
    for replica in &replicas {
        let audit = until_some("the result of the audit", async || {
            let audit = replica.status().await["audit"].clone();
            (!audit.is_null()).then_some(audit)
        });
        found.push(audit.await);
    }
    assert!(found.iter().all(|one| *one == found[0]), "one audit for all: {found:?}");
    for replica in &mut replicas {
        replica.stop().await;
    }
}
