//! The settings that the contract stands on, checked against librdkafka itself.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use super::*;
use crate::config::KafkaConfig;

fn kafka(protocol: GroupProtocol) -> KafkaConfig {
    KafkaConfig { protocol, ..crate::kafka::test_support::kafka_config("127.0.0.1:1") }
}

const IDS: ClientIds<'_> = ClientIds { consumer_id: "consumer-1", group_instance_id: Some("a-consumer-1") };

#[test]
fn both_protocols_make_a_client_that_librdkafka_accepts() {
    for protocol in [GroupProtocol::Classic, GroupProtocol::Consumer] {
        let config = consumer_client_config(&kafka(protocol), &IDS, usize::MAX);
        let consumer: Result<rdkafka::consumer::BaseConsumer<LoggingContext>, _> =
            config.create_with_context(LoggingContext::new("test"));
        assert!(consumer.is_ok(), "{protocol:?}: {:?}", consumer.err());
    }
}

#[test]
fn the_consumer_protocol_leaves_to_the_broker_what_the_broker_decides() {
    let config = consumer_client_config(&kafka(GroupProtocol::Consumer), &IDS, 1_000_000);
    for name in ["session.timeout.ms", "heartbeat.interval.ms", "partition.assignment.strategy"] {
        assert_eq!(config.get(name), None, "{name}");
    }
    let config = consumer_client_config(&kafka(GroupProtocol::Classic), &IDS, 1_000_000);
    assert_eq!(config.get("session.timeout.ms"), Some("30000"));
    assert_eq!(config.get("partition.assignment.strategy"), Some("cooperative-sticky"));
}

#[test]
fn no_property_of_the_configuration_overrides_the_contract() {
    let mut kafka = kafka(GroupProtocol::Classic);
    for name in ["enable.auto.commit", "enable.auto.offset.store", "allow.auto.create.topics"] {
        kafka.consumer.insert(name.into(), "true".into());
    }
    kafka.consumer.insert("auto.offset.reset".into(), "latest".into());
    kafka.producer.insert("acks".into(), "0".into());
    kafka.consumer.insert("fetch.min.bytes".into(), "100".into());
    let config = consumer_client_config(&kafka, &IDS, 1_000_000);
    assert_eq!(config.get("enable.auto.commit"), Some("false"));
    assert_eq!(config.get("enable.auto.offset.store"), Some("false"));
    assert_eq!(config.get("allow.auto.create.topics"), Some("false"));
    assert_eq!(config.get("auto.offset.reset"), Some("error"));
    assert_eq!(config.get("isolation.level"), Some("read_committed"));
    assert_eq!(config.get("fetch.min.bytes"), Some("100"));
    assert_eq!(producer_client_config(&kafka, "p", 1).get("acks"), Some("all"));
}

#[test]
fn what_is_fetched_ahead_keeps_to_four_megabytes_and_to_the_share() {
    let kafka = kafka(GroupProtocol::Classic);
    for (share, answer, queue) in [(usize::MAX, 4_194_304, 2048), (2_000_000, 1_000_000, 976), (100, 524_288, 128)] {
        let config = consumer_client_config(&kafka, &IDS, share);
        assert_eq!(config.get("fetch.max.bytes"), Some(answer.to_string().as_str()));
        assert_eq!(config.get("queued.max.messages.kbytes"), Some(queue.to_string().as_str()));
        // librdkafka raises the one to the other.
        assert_eq!(config.get("message.max.bytes"), config.get("fetch.max.bytes"));
    }
}

#[test]
fn an_administrating_client_takes_security_but_no_group() {
    let mut kafka = kafka(GroupProtocol::Classic);
    kafka.consumer.insert("security.protocol".into(), "plaintext".into());
    kafka.consumer.insert("queued.min.messages".into(), "7".into());
    let config = admin_client_config(&kafka, "drover-admin");
    assert_eq!(config.get("security.protocol"), Some("plaintext"));
    assert_eq!(config.get("queued.min.messages"), None);
    assert_eq!(config.get("group.id"), None);
    assert!(config.create::<rdkafka::producer::BaseProducer>().is_ok());
}
