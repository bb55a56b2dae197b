//! A COMMIT whose answer is lost is neither a success nor a failure: the position in the database tells which.

use crate::support::events::events;
use crate::support::proxy::{CutAt, Proxy};
use crate::support::scene::Scene;

const EVENTS: usize = 5_000;
const CUTS: usize = 5;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_commit_whose_answer_is_lost_is_stored_once() {
    connections_cut_at(CutAt::Answer).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_commit_that_never_arrived_is_written_again() {
    connections_cut_at(CutAt::Commit).await;
}

async fn connections_cut_at(cut_at: CutAt) {
    let Some(scene) = Scene::new(3).await else { return };
    let sent = scene.send(events(0..EVENTS)).await;
    let mut url = url::Url::parse(scene.database.url()).unwrap();
    let server = format!("{}:{}", url.host_str().unwrap(), url.port().unwrap_or(5432));
    let proxy = Proxy::cutting(server, cut_at, CUTS).await;
    url.set_host(Some("127.0.0.1")).unwrap();
    url.set_port(Some(proxy.port)).unwrap();
    let mut drover = scene
        .run(2)
        .set("DATABASE_URL", url)
        .set("DROVER_LIMITS_BATCH_ROWS", 200)
        .set("DROVER_STORE_WRITERS", 2)
        .start("drover");
    scene.database.until_accounted(&scene.topic, i64::try_from(EVENTS).unwrap()).await;
    assert_eq!(proxy.cuts_left(), 0, "every cut was made before the drain was over");
    drover.stop().await;
    scene.database.assert_stored(&scene.topic, &sent).await;
    let doubled = scene.database.number("SELECT count(*) - count(DISTINCT payload->>'number') FROM events").await;
    assert_eq!(doubled, Some(0));
    assert_eq!(scene.database.number("SELECT count(*) FROM dead_letters").await, Some(0));
    let counted = scene.database.number("SELECT sum(count) FROM event_rollups").await;
    assert_eq!(counted, Some(i64::try_from(EVENTS).unwrap()), "the rollups count each row once");
    assert_eq!(drover.logged("child backing off"), 0, "no child was restarted");
}
