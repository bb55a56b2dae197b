//! The dead-letter actor against the embedded broker: what it does about topics and producers that fail.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use super::*;
use crate::domain::batch::Batch;
use crate::domain::failure::{DeadLetterCode, Rejection};
use crate::domain::record::OwnedRecord;
use crate::domain::status::ExitReason;
use crate::kafka::embedded::EmbeddedBroker;
use crate::kafka::test_support::kafka_config;
use crate::store::sqlite::SqliteStore;
use std::sync::Mutex;

const WAIT: Duration = Duration::from_secs(20);

/// A store in which dead letters of topic "a" wait.
async fn with_letters(directory: &tempfile::TempDir, letters: i64) -> Arc<dyn Store> {
    let url = format!("sqlite:{}", directory.path().join("store.db").display());
    let store: Arc<dyn Store> = Arc::new(SqliteStore::open(&url).unwrap());
    store.migrate().await.unwrap();
    store.register_topic("a", None, &BTreeMap::from([(0, 0)])).await.unwrap();
    let mut batch = Batch::new("consumer-1");
    let slot = batch.slot("a", 0, 1, 0);
    for offset in 0..letters {
        let record = OwnedRecord { topic: "a".into(), offset, ..OwnedRecord::default() };
        batch.push_dead_letter(slot, record, Rejection::new(DeadLetterCode::JsonSyntax, "no JSON"), 1);
    }
    store.writer("writer-1").write(&batch).await.unwrap();
    store
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_producer_that_has_failed_for_good_ends_the_actor_and_the_next_one_publishes_with_another() {
    let broker = EmbeddedBroker::start().unwrap();
    broker.create_topic("a.dlq", 1).unwrap();
    let (directory, metrics) = (tempfile::tempdir().unwrap(), Metrics::new().unwrap());
    let store = with_letters(&directory, 3).await;
    let kafka = kafka_config(broker.bootstrap_servers());
    let lookup = Arc::new(Lookup::new(&kafka, WAIT).unwrap());
    let made = Arc::new(Mutex::new(0));
    let producers: Producers = Arc::new(move || {
        let producer = EventProducer::new(&kafka, "test", 1_000_000)?;
        let mut made = made.lock().unwrap();
        if *made == 0 {
            producer.fail_for_good();
        }
        *made += 1;
        Ok(producer)
    });
    let task = || DeadLetterTask {
        store: Arc::clone(&store),
        producers: Arc::clone(&producers),
        lookup: Arc::clone(&lookup),
        topic: "{topic}.dlq".into(),
        group: "group".into(),
        stored: Arc::default(),
        metrics: metrics.clone(),
        patience: WAIT,
    };

    let (control, _drain) = Control::detached("dead-letter");
    let ended = tokio::time::timeout(WAIT, task().run(control)).await.unwrap().unwrap_err();
    assert_eq!(ended.reason, ExitReason::Error);
    assert!(ended.message.contains("failed for good") && ended.message.contains("made by a test"), "{ended}");
    assert_eq!(store.unpublished().await.unwrap(), 3);

    let (control, drain) = Control::detached("dead-letter");
    drain.send_replace(Some(Instant::now() + WAIT));
    tokio::time::timeout(WAIT, task().run(control)).await.unwrap().unwrap();
    assert_eq!(store.unpublished().await.unwrap(), 0);
    let published = |outcome| metrics.dead_letters_published.with_label_values(&["a.dlq", outcome]).get();
    assert_eq!((published("error"), published("published")), (3, 3));
}

#[test]
fn topics_that_fail_rest_for_longer_each_time_and_each_for_itself() {
    let (mut topics, start) = (Topics::default(), Instant::now());
    let ms = Duration::from_millis;
    assert_eq!(topics.next_try(start), None);
    assert_eq!(topics.failed("a", start), ms(200));
    assert_eq!(topics.failed("b", start), ms(200));
    assert_eq!(topics.resting(start), ["a", "b"]);
    assert_eq!(topics.resting(start + ms(200)), [""; 0]);
    assert_eq!(topics.failed("a", start + ms(200)), ms(400));
    assert_eq!(topics.resting(start + ms(300)), ["a"]);
    assert_eq!(topics.next_try(start + ms(300)), Some(ms(300)));
    let longest = (0..10).map(|_| topics.failed("a", start)).last();
    assert_eq!(longest, Some(RETRY.1));
}
