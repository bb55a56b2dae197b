//! The producer against the embedded broker: what arrives, byte for byte, and what is counted when nothing can.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use super::*;
use crate::kafka::embedded::EmbeddedBroker;
use crate::kafka::test_support::kafka_config;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::message::{Headers as _, OwnedMessage, Timestamp};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};

const WAIT: Duration = Duration::from_secs(20);

fn record<'a>(value: Option<&'a [u8]>, headers: &'a PackedHeaders) -> Outgoing<'a> {
    Outgoing { topic: "t", partition: Some(1), key: Some(b""), value, headers, timestamp_ms: Some(1_767_323_045_678) }
}

fn read(brokers: &str, partition: i32, count: usize) -> Vec<OwnedMessage> {
    let consumer: BaseConsumer =
        rdkafka::ClientConfig::new().set("bootstrap.servers", brokers).set("group.id", "reader").create().unwrap();
    let mut list = TopicPartitionList::new();
    list.add_partition_offset("t", partition, Offset::Beginning).unwrap();
    consumer.assign(&list).unwrap();
    let deadline = Instant::now() + WAIT;
    let mut found = Vec::new();
    while found.len() < count && Instant::now() < deadline {
        if let Some(Ok(message)) = consumer.poll(Duration::from_millis(100)) {
            found.push(message.detach());
        }
    }
    found
}

#[tokio::test]
async fn a_record_arrives_byte_for_byte_with_its_headers_and_time() {
    let broker = EmbeddedBroker::start().unwrap();
    broker.create_topic("t", 2).unwrap();
    let producer = EventProducer::new(&kafka_config(broker.bootstrap_servers()), "test", 1_000_000).unwrap();
    let mut headers = PackedHeaders::default();
    headers.push(b"a", Some(&[0, 255, 7]));
    headers.push(b"null", None);
    headers.push(b"empty", Some(b""));
    headers.push(b"\xffname", Some(b"x"));
    headers.push(b"a", Some(b"again"));
    let first = producer.send_record(record(Some(b"\xfe\x00"), &headers)).await.unwrap();
    assert_eq!(first, Delivered { partition: 1, offset: 0 });
    let none = PackedHeaders::default();
    let second = Outgoing { key: None, ..record(None, &none) };
    assert_eq!(producer.send_record(second).await.unwrap().offset, 1);
    assert_eq!(producer.send_record(record(Some(b""), &none)).await.unwrap().offset, 2);

    let brokers = broker.bootstrap_servers().to_owned();
    let found = tokio::task::spawn_blocking(move || read(&brokers, 1, 3)).await.unwrap();
    assert_eq!((found[0].key(), found[0].payload()), (Some(&b""[..]), Some(&b"\xfe\x00"[..])));
    assert_eq!(found[0].timestamp(), Timestamp::CreateTime(1_767_323_045_678));
    let got: Vec<_> = found[0]
        .headers()
        .unwrap()
        .iter()
        .map(|header| (header.key.to_owned(), header.value.map(<[u8]>::to_vec)))
        .collect();
    assert_eq!(
        got,
        [
            ("a".into(), Some(vec![0, 255, 7])),
            ("null".into(), None),
            ("empty".into(), Some(vec![])),
            ("\u{fffd}name".into(), Some(b"x".to_vec())),
            ("a".to_owned(), Some(b"again".to_vec())),
        ]
    );
    assert_eq!((found[1].key(), found[1].payload()), (None, None), "null is not empty");
    assert_eq!(found[2].payload(), Some(&b""[..]), "empty is not null");
    assert_eq!(producer.counts().delivered, 3);
}

#[test]
fn a_full_queue_makes_the_sender_wait_and_loses_nothing() {
    let broker = EmbeddedBroker::start().unwrap();
    broker.create_topic("t", 2).unwrap();
    let mut kafka = kafka_config(broker.bootstrap_servers());
    kafka.producer.insert("queue.buffering.max.messages".into(), "50".into());
    let producer = EventProducer::new(&kafka, "test", 1_000_000).unwrap();
    let headers = PackedHeaders::default();
    for _ in 0..2_000 {
        producer.send(record(Some(b"{}"), &headers), WAIT).unwrap();
    }
    producer.flush(WAIT).unwrap();
    let counts = producer.counts();
    assert_eq!((counts.sent, counts.delivered, counts.failed_total()), (2_000, 2_000, 0));
    assert!(counts.queue_full > 0, "the queue was never full: the test shows nothing");
    assert_eq!(read(broker.bootstrap_servers(), 1, 2_000).len(), 2_000);
}

#[test]
fn records_that_no_broker_takes_are_counted_with_the_reason() {
    let broker = EmbeddedBroker::start().unwrap();
    broker.create_topic("t", 2).unwrap();
    let mut kafka = kafka_config(broker.bootstrap_servers());
    kafka.producer.insert("message.timeout.ms".into(), "1000".into());
    let producer = EventProducer::new(&kafka, "test", 1_000_000).unwrap();
    let headers = PackedHeaders::default();
    producer.send(record(Some(b"{}"), &headers), WAIT).unwrap();
    producer.flush(WAIT).unwrap();
    broker.set_down(true).unwrap();
    for _ in 0..7 {
        producer.send(record(Some(b"{}"), &headers), WAIT).unwrap();
    }
    producer.flush(WAIT).unwrap();
    let counts = producer.counts();
    assert_eq!((counts.sent, counts.delivered, counts.failed_total()), (8, 1, 7), "{counts:?}");
    assert!(counts.failed.keys().all(|reason| reason.starts_with("unreachable")), "{counts:?}");
}

#[tokio::test]
async fn a_record_that_can_never_be_sent_is_refused_at_once() {
    let broker = EmbeddedBroker::start().unwrap();
    broker.create_topic("t", 2).unwrap();
    let producer = EventProducer::new(&kafka_config(broker.bootstrap_servers()), "test", 1_000).unwrap();
    let large = vec![b'x'; 3_000_000];
    let headers = PackedHeaders::default();
    let error = producer.send_record(record(Some(&large), &headers)).await.unwrap_err();
    assert_eq!(error.kind(), KafkaErrorKind::TooLarge);
    assert!(!error.is_transient());
    let unknown = Outgoing { partition: Some(9), ..record(Some(b"{}"), &headers) };
    let error = producer.send_record(unknown).await.unwrap_err();
    assert_eq!(error.kind(), KafkaErrorKind::UnknownPartition, "{error}");
}

#[test]
fn records_that_are_given_up_are_counted_too() {
    let broker = EmbeddedBroker::start().unwrap();
    broker.create_topic("t", 2).unwrap();
    broker.set_down(true).unwrap();
    let producer = EventProducer::new(&kafka_config(broker.bootstrap_servers()), "test", 1_000_000).unwrap();
    let headers = PackedHeaders::default();
    for _ in 0..5 {
        producer.try_send(record(Some(b"{}"), &headers)).unwrap();
    }
    assert!(producer.flush(Duration::from_millis(50)).is_err());
    producer.give_up();
    producer.flush(WAIT).unwrap();
    assert_eq!((producer.counts().failed_total(), producer.in_flight()), (5, 0));
}
