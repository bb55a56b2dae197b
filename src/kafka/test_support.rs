//! What tests of this and of other modules need: a configuration for an embedded broker.

use crate::config::{GroupProtocol, KafkaConfig, StartFrom};
use std::collections::BTreeMap;
use std::time::Duration;

/// The defaults, for these brokers.
pub(crate) fn kafka_config(brokers: &str) -> KafkaConfig {
    KafkaConfig {
        brokers: brokers.into(),
        topics: vec!["user_events".into()],
        group: "dashboard_consumer_group".into(),
        start_from: StartFrom::Earliest,
        create_topics: false,
        partitions: 3,
        replication: -1,
        protocol: GroupProtocol::Classic,
        session_timeout: Duration::from_secs(30),
        consumer: BTreeMap::new(),
        producer: BTreeMap::new(),
    }
}

/// The brokers of a real Kafka, where the run has one: `scripts/test` sets TEST_KAFKA_BROKERS.
pub(crate) fn real_brokers() -> Option<String> {
    std::env::var("TEST_KAFKA_BROKERS").ok().filter(|brokers| !brokers.is_empty())
}
