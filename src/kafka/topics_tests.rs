//! Topics against the embedded broker, and against a real one where TEST_KAFKA_BROKERS names it.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use super::*;
use crate::kafka::embedded::EmbeddedBroker;
use crate::kafka::test_support::{kafka_config, real_brokers};

const WAIT: Duration = Duration::from_secs(20);

#[tokio::test]
async fn topics_are_listed_with_partitions_replication_and_records() {
    let broker = EmbeddedBroker::start().unwrap();
    broker.create_topic("b", 2).unwrap();
    broker.create_topic("a", 3).unwrap();
    let kafka = kafka_config(broker.bootstrap_servers());
    let producer = crate::kafka::producer::EventProducer::new(&kafka, "test", 1_000).unwrap();
    let headers = crate::domain::record::PackedHeaders::default();
    let record = crate::kafka::producer::Outgoing {
        topic: "b",
        partition: Some(1),
        key: None,
        value: Some(b"{}"),
        headers: &headers,
        timestamp_ms: None,
    };
    producer.send_record(record).await.unwrap();
    let admin = TopicAdmin::new(&kafka, WAIT).unwrap();
    let topics = admin.list().await.unwrap();
    let shown: Vec<_> =
        topics.iter().map(|t| (t.name.as_str(), t.partitions.len(), t.replication(), t.records())).collect();
    assert_eq!(shown, [("a", 3, 1, Some(0)), ("b", 2, 1, Some(1))]);
    assert_eq!(admin.describe("b").await.unwrap().partitions[1].records(), Some(1));
}

#[tokio::test]
async fn what_the_embedded_broker_cannot_do_is_said_at_once() {
    let broker = EmbeddedBroker::start().unwrap();
    broker.create_topic("a", 3).unwrap();
    let admin = TopicAdmin::new(&kafka_config(broker.bootstrap_servers()), WAIT).unwrap();
    for error in [
        admin.settings("a").await.unwrap_err(),
        admin.create("x", 1, -1, &[]).await.unwrap_err(),
        admin.add_partitions("a", 4).await.unwrap_err(),
    ] {
        assert_eq!(error.kind(), KafkaErrorKind::Unsupported, "{error}");
        assert!(error.to_string().contains("unsupported by broker"), "{error}");
    }
    assert_eq!(admin.ensure("a", 9, -1).await.unwrap(), Ensured::Existed(3));
}

#[tokio::test]
async fn a_topic_that_is_missing_is_named_with_the_remedy() {
    let broker = EmbeddedBroker::start().unwrap();
    broker.create_topic("a", 1).unwrap();
    let admin = TopicAdmin::new(&kafka_config(broker.bootstrap_servers()), WAIT).unwrap();
    let error = admin.describe("nope").await.unwrap_err();
    assert_eq!(error.kind(), KafkaErrorKind::UnknownTopic);
    assert!(error.to_string().contains("\"nope\"") && error.to_string().contains("drover topics create"), "{error}");
    assert_eq!(admin.partition_count("nope").await.unwrap(), None);
    assert_eq!(admin.list().await.unwrap().len(), 1, "asking does not create it");
}

#[tokio::test]
async fn a_broker_that_is_away_is_named_with_the_reason() {
    // Port 1 of loopback: nobody listens there.
    let admin = TopicAdmin::new(&kafka_config("127.0.0.1:1"), Duration::from_secs(1)).unwrap();
    let error = admin.list().await.unwrap_err();
    assert!(error.is_transient(), "{error}");
    assert!(error.to_string().contains("Connection refused"), "{error}");
}

#[tokio::test]
async fn a_real_broker_creates_grows_and_refuses_with_reasons() {
    let Some(brokers) = real_brokers() else { return };
    let admin = TopicAdmin::new(&kafka_config(&brokers), WAIT).unwrap();
    let topic = format!("topics-test-{}", uuid::Uuid::new_v4());
    let settings = [("retention.ms".to_owned(), "60000".to_owned())];
    admin.create(&topic, 2, -1, &settings).await.unwrap();
    let error = admin.create(&topic, 2, -1, &[]).await.unwrap_err();
    assert_eq!(error.kind(), KafkaErrorKind::TopicExists, "{error}");
    let shown = admin.settings(&topic).await.unwrap();
    assert!(shown.iter().any(|one| one.name == "retention.ms" && one.value.as_deref() == Some("60000")), "{shown:?}");
    assert_eq!(admin.add_partitions(&topic, 5).await.unwrap(), 2);
    assert_eq!(admin.partition_count(&topic).await.unwrap(), Some(5));
    for to in [5, 3] {
        let error = admin.add_partitions(&topic, to).await.unwrap_err();
        assert_eq!(error.kind(), KafkaErrorKind::Invalid, "{error}");
        assert!(error.to_string().contains("it has 5 partitions"), "{error}");
    }
    let error = admin.create(&format!("{topic}-x"), 1, 99, &[]).await.unwrap_err();
    assert!(error.to_string().contains("fewer brokers"), "{error}");
    let error = admin.create("bad name", 1, -1, &[]).await.unwrap_err();
    assert_eq!(error.kind(), KafkaErrorKind::Invalid, "{error}");
    let wrong = [("no.such.setting".to_owned(), "1".to_owned())];
    let error = admin.create(&format!("{topic}-y"), 1, -1, &wrong).await.unwrap_err();
    assert_eq!(error.kind(), KafkaErrorKind::Invalid, "{error}");
}

#[tokio::test]
async fn many_processes_that_ensure_one_topic_make_it_once() {
    let Some(brokers) = real_brokers() else { return };
    let topic = format!("ensure-test-{}", uuid::Uuid::new_v4());
    let kafka = kafka_config(&brokers);
    let all = (0..6).map(|_| {
        let (kafka, topic) = (kafka.clone(), topic.clone());
        async move { TopicAdmin::new(&kafka, WAIT).unwrap().ensure(&topic, 4, -1).await.unwrap() }
    });
    let all = futures::future::join_all(all).await;
    assert_eq!(all.iter().filter(|one| **one == Ensured::Created(4)).count(), 1, "{all:?}");
    assert_eq!(all.iter().filter(|one| **one == Ensured::Existed(4)).count(), 5, "{all:?}");
}
