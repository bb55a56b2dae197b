//! A process that dies without a word, in the middle of its work.

use crate::support::events::events;
use crate::support::scene::Scene;

const EVENTS: usize = 30_000;
const KILLS: usize = 5;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_process_that_is_killed_again_and_again_in_a_drain_loses_nothing_and_stores_nothing_twice() {
    let Some(scene) = Scene::new(4).await else { return };
    let sent = scene.send(events(0..EVENTS)).await;
    let total = i64::try_from(EVENTS).unwrap();
    // Static membership, so that each start goes on at once; small batches, so that the drain lasts.
    let command = scene.run(2).arg("--replica-id=a").set("DROVER_LIMITS_BATCH_ROWS", 10).set("DROVER_STORE_WRITERS", 2);
    for kill in 0..KILLS {
        let mut drover = command.start(&format!("drover-{kill}"));
        let until = total * i64::try_from(kill + 1).unwrap() / i64::try_from(KILLS + 2).unwrap();
        scene.database.until_accounted(&scene.topic, until).await;
        drover.kill();
        let accounted = scene.database.accounted(&scene.topic).await;
        assert!(accounted < total, "kill {kill} came after the drain: the test shows nothing");
        scene.database.assert_tiled(&scene.topic).await;
    }
    let mut drover = command.start("drover-last");
    scene.database.until_accounted(&scene.topic, total).await;
    drover.stop().await;
    scene.database.assert_stored(&scene.topic, &sent).await;
    let audit = scene.drover(&["audit"]).run("audit").await;
    assert_eq!(audit.code, Some(0), "{}", audit.stdout);
}
