//! What gives no sign of life is found within `watchdog.timeout` and replaced, and nothing is lost or doubled by it.

use crate::support::embedded::{TOPIC, with_broker, with_embedded};
use crate::support::events::events;
use crate::support::proxy::Proxy;
use crate::support::scene::Scene;
use crate::support::servers::{self, PrivatePostgres, Servers};
use crate::support::wait::until;
use drover::domain::record::OwnedRecord;
use drover::domain::status::ExitReason;
use drover::processor::{Processed, Processor};
use rdkafka::mocking::MockCluster;
use rdkafka::types::{RDKafkaApiKey, RDKafkaRespErr};
use std::collections::BTreeSet;
use std::sync::{Arc, Condvar, Mutex};

/// As short as it may be.
const SETTINGS: [(&str, &str); 2] = [("watchdog.timeout", "10s"), ("store.transaction_timeout", "8s")];

/// Blocks its thread at the first record of each partition, the first time that it sees it.
#[derive(Default)]
struct Blocks {
    blocked: Mutex<BTreeSet<i32>>,
    end: (Mutex<bool>, Condvar),
}

impl Processor for Blocks {
    fn process(&self, record: OwnedRecord) -> Processed<'_> {
        Box::pin(async move {
            if self.blocked.lock().unwrap().insert(record.partition) {
                let mut ended = self.end.0.lock().unwrap();
                while !*ended {
                    ended = self.end.1.wait(ended).unwrap();
                }
            }
            Ok(record)
        })
    }
}

#[test]
fn processors_that_block_their_threads_are_found_and_their_consumers_replaced() {
    let blocks = Arc::new(Blocks::default());
    let processor = Arc::clone(&blocks);
    let settings = [SETTINGS[0], SETTINGS[1], ("consumers.count", "2")];
    with_embedded(processor, 2, &settings, |drover| async move {
        until("both consumers to own a partition", async || {
            (0..2).all(|partition| drover.position(partition).is_some())
        })
        .await;
        drover.send(0, 100).await;
        drover.send(1, 100).await;
        drover.until_stored(0, 100).await;
        drover.until_stored(1, 100).await;
        assert_eq!(blocks.blocked.lock().unwrap().len(), 2);
        for child in drover.board.children().iter().filter(|child| child.id.starts_with("consumer-")) {
            let exit = child.last_exit.as_ref().map(|exit| exit.reason);
            assert_eq!((exit, child.restarts), (Some(ExitReason::Stalled), 1), "{}", child.id);
        }
        *blocks.end.0.lock().unwrap() = true;
        blocks.end.1.notify_all();
    });
}

#[test]
fn a_fetch_that_is_stuck_is_sought_again_and_then_its_consumer_is_rebuilt() {
    let cluster = MockCluster::new(1).unwrap();
    for topic in [TOPIC, "user_events.dlq"] {
        cluster.create_topic(topic, 1, 1).unwrap();
    }
    let settings = [SETTINGS[0], SETTINGS[1], ("consumers.count", "1")];
    let receipt = with_broker(&cluster.bootstrap_servers(), None, &settings, async |drover| {
        drover.send(0, 100).await;
        drover.until_stored(0, 100).await;
        let stuck = vec![RDKafkaRespErr::RD_KAFKA_RESP_ERR_KAFKA_STORAGE_ERROR; 100_000];
        cluster.request_errors(RDKafkaApiKey::Fetch, &stuck);
        drover.send(0, 100).await;
        let actions = |action| drover.metrics.watchdog_actions.with_label_values(&["consumer-1", action]).get();
        until("the partition to be sought again", async || actions("seek") > 0).await;
        assert_eq!(actions("rebuild"), 0);
        until("the consumer to be rebuilt", async || actions("rebuild") > 0).await;
        cluster.clear_request_errors(RDKafkaApiKey::Fetch);
        drover.until_stored(0, 200).await;
        let restarts = drover.metrics.consumer_restarts.with_label_values(&["consumer-1", "stalled"]).get();
        assert!(restarts >= 1);
    });
    assert_eq!((receipt.stored, receipt.duplicates), (200, 0), "{receipt}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_query_that_never_returns_is_given_up_and_ended_on_the_server() {
    let Some(shared) = servers::shared() else { return };
    let Some(postgres) = PrivatePostgres::start() else { return };
    let mut url = url::Url::parse(&postgres.url()).unwrap();
    let server = format!("{}:{}", url.host_str().unwrap(), url.port().unwrap_or(5432));
    let proxy = Proxy::to(server).await;
    url.set_port(Some(proxy.port)).unwrap();
    let scene = Scene::on(&Servers { brokers: shared.brokers, database_url: postgres.url() }, 3).await;
    let mut drover = scene
        .run(2)
        .set("DATABASE_URL", &url)
        .set("DROVER_STORE_TRANSACTION_TIMEOUT", "3s")
        .set("DROVER_STORE_LOCK_TIMEOUT", "1s")
        .set("DROVER_LIMITS_BATCH_ROWS", 100)
        .start("drover");
    drover.until_ready().await;
    let mut sent = scene.send(events(0..2_000)).await;
    let (more, ()) = futures::join!(scene.send(events(2_000..8_000)), async {
        scene.database.until_accounted(&scene.topic, 2_500).await;
        proxy.freeze();
    });
    sent.extend(more);
    scene.database.until_accounted(&scene.topic, 8_000).await;
    assert!(drover.logged("no answer within 3s") > 0, "{}", drover.log());
    assert_eq!(drover.logged("child backing off"), 0, "a deadline is enough, nobody had to be replaced");
    drover.stop().await;
    let left = "SELECT count(*) FROM pg_stat_activity WHERE application_name LIKE 'drover/writer%'";
    until("the sessions of the writers to be gone", async || scene.database.number(left).await == Some(0)).await;
    scene.database.assert_stored(&scene.topic, &sent).await;
}
