//! What the embedded broker can do and what it cannot: the rest of drover relies on both.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use super::*;
use crate::kafka::offsets::OffsetReader;
use crate::kafka::test_support::kafka_config;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use std::time::{Duration, Instant};

const WAIT: Duration = Duration::from_secs(20);

fn broker_with_records() -> (EmbeddedBroker, crate::config::KafkaConfig) {
    let broker = EmbeddedBroker::start().unwrap();
    broker.create_topic("user_events", 3).unwrap();
    let kafka = kafka_config(broker.bootstrap_servers());
    let producer: BaseProducer =
        crate::kafka::client::producer_client_config(&kafka, "test", 1_000_000).create().unwrap();
    for n in 0..30 {
        let value = n.to_string();
        producer.send(BaseRecord::<(), _>::to("user_events").partition(n % 3).payload(&value)).unwrap();
    }
    producer.flush(WAIT).unwrap();
    (broker, kafka)
}

#[test]
fn it_answers_for_beginnings_and_ends_of_all_partitions_in_one_call() {
    let (_broker, kafka) = broker_with_records();
    let reader = OffsetReader::new(&kafka, "test").unwrap();
    let all = [("user_events", 0), ("user_events", 1), ("user_events", 2)];
    let offsets = |found: Vec<crate::kafka::offsets::PartitionOffset>| {
        found.into_iter().map(|one| one.offset.unwrap()).collect::<Vec<_>>()
    };
    assert_eq!(offsets(reader.ends(&all, WAIT).unwrap()), [10, 10, 10]);
    assert_eq!(offsets(reader.beginnings(&all, WAIT).unwrap()), [0, 0, 0]);
    assert!(reader.cluster_id(WAIT).unwrap().starts_with(CLUSTER_ID_PREFIX));
}

#[test]
fn a_kip_848_group_starts_at_given_offsets_and_keeps_commit_metadata() {
    let (_broker, mut kafka) = broker_with_records();
    kafka.protocol = crate::config::GroupProtocol::Consumer;
    let ids = crate::kafka::client::ClientIds { consumer_id: "c", group_instance_id: None };
    let config = crate::kafka::client::consumer_client_config(&kafka, &ids, 1_000_000);
    let consumer: BaseConsumer<AssignAt4> = config.create_with_context(AssignAt4).unwrap();
    consumer.subscribe(&["user_events"]).unwrap();
    let mut seen = Vec::new();
    let deadline = Instant::now() + WAIT;
    while seen.len() < 18 && Instant::now() < deadline {
        if let Some(Ok(message)) = consumer.poll(Duration::from_millis(100)) {
            use rdkafka::Message as _;
            seen.push(message.offset());
        }
    }
    seen.sort_unstable();
    assert_eq!(seen, [4, 4, 4, 5, 5, 5, 6, 6, 6, 7, 7, 7, 8, 8, 8, 9, 9, 9]);

    let mut hint = TopicPartitionList::new();
    let mut element = hint.add_partition("user_events", 0);
    element.set_offset(Offset::Offset(10)).unwrap();
    element.set_metadata("store-id");
    consumer.commit(&hint, CommitMode::Sync).unwrap();
    let mut asked = TopicPartitionList::new();
    asked.add_partition("user_events", 0);
    let committed = consumer.committed_offsets(asked, WAIT).unwrap();
    let element = committed.find_partition("user_events", 0).unwrap();
    assert_eq!((element.offset(), element.metadata()), (Offset::Offset(10), "store-id"));
}

/// Takes every assignment at offset 4, as a group consumer takes it at the store's position.
struct AssignAt4;
impl rdkafka::ClientContext for AssignAt4 {}
impl rdkafka::consumer::ConsumerContext for AssignAt4 {
    fn rebalance(
        &self,
        consumer: &BaseConsumer<Self>,
        error: rdkafka::types::RDKafkaRespErr,
        list: &mut TopicPartitionList,
    ) {
        use rdkafka::types::RDKafkaRespErr as Code;
        if error == Code::RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS {
            list.set_all_offsets(Offset::Offset(4)).unwrap();
            consumer.incremental_assign(list).unwrap();
        } else {
            consumer.incremental_unassign(list).unwrap();
        }
    }
}

#[test]
fn an_outage_ends_with_everything_still_there() {
    let (broker, kafka) = broker_with_records();
    broker.set_down(true).unwrap();
    let reader = OffsetReader::new(&kafka, "test").unwrap();
    let error = reader.ends(&[("user_events", 0)], Duration::from_millis(500)).unwrap_err();
    assert!(error.is_transient(), "{error}");
    broker.set_down(false).unwrap();
    assert_eq!(*reader.ends(&[("user_events", 0)], WAIT).unwrap()[0].offset.as_ref().unwrap(), 10);
}

#[test]
fn a_topic_that_exists_cannot_be_created_again() {
    let broker = EmbeddedBroker::start().unwrap();
    broker.create_topic("t", 1).unwrap();
    assert!(broker.create_topic("t", 1).is_err());
}
