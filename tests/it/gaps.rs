//! Gaps against Kafka: the one thing that the store cannot prove by itself.

use crate::support::events::events;
use crate::support::scene::Scene;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_record_that_was_written_down_as_a_gap_is_found_by_the_audit() {
    let Some(scene) = Scene::new(1).await else { return };
    // More than are taken in one go, so that nothing is lost between two goes either.
    let sent = scene.send(events(0..2_000)).await;
    let mut drover = scene.run(1).start("drover");
    scene.database.until_accounted(&scene.topic, 2_000).await;
    drover.stop().await;
    scene.database.assert_stored(&scene.topic, &sent).await;
    let clean = scene.drover(&["audit"]).run("audit").await;
    assert_eq!(clean.code, Some(0), "{}", clean.stdout);
    scene
        .database
        .execute(
            "DELETE FROM events WHERE \"offset\" IN (256, 1500);
             INSERT INTO offset_gaps (topic, partition, incarnation, first_offset, next_offset, reason)
             SELECT topic, partition, incarnation, v.at, v.at + 1, 'jump' FROM partition_progress, (VALUES (256), (1500)) v(at)",
        )
        .await;
    let audit = scene.drover(&["audit", "--full"]).run("audit").await;
    assert_eq!(audit.code, Some(1), "{}", audit.stdout);
    assert!(audit.stdout.contains("Kafka delivers 2 records inside gaps: 256, 1500"), "{}", audit.stdout);
    let next = scene.drover(&["audit"]).run("next").await;
    assert_eq!(next.code, Some(1), "it is found again until it is mended: {}", next.stdout);
    assert!(next.stdout.contains("inside gaps: 256, 1500"), "{}", next.stdout);
}
