//! What the cluster tells of some partitions while it refuses others.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use super::*;
use crate::kafka::embedded::EmbeddedBroker;
use crate::kafka::test_support::kafka_config;

fn of(partition: i32) -> TopicPartition {
    TopicPartition { topic: "user_events".into(), partition }
}

fn refusal(kind: KafkaErrorKind) -> KafkaError {
    KafkaError::new(kind, "asking", "a test says so")
}

#[test]
fn a_refusal_that_is_given_for_all_partitions_is_kept_to_the_one_that_it_concerns() {
    let broker = EmbeddedBroker::start().unwrap();
    let lookup = Lookup::new(&kafka_config(broker.bootstrap_servers()), Duration::from_secs(20)).unwrap();
    let answer = |kind: KafkaErrorKind| {
        // As librdkafka answers: one error for the whole question.
        lookup.by_partition(&[of(0), of(1), of(2)], move |asked, _| {
            if asked.iter().any(|(_, partition)| *partition == 1) {
                return Err(refusal(kind));
            }
            let told =
                |&(topic, partition): &(&str, i32)| PartitionOffset { topic: topic.into(), partition, offset: Ok(7) };
            Ok(asked.iter().map(told).collect())
        })
    };
    let known = answer(KafkaErrorKind::Unavailable).unwrap();
    assert_eq!(known.offsets, BTreeMap::from([(of(0), 7), (of(2), 7)]));
    assert_eq!(known.refused.keys().collect::<Vec<_>>(), [&of(1)]);
    assert!(known.all().is_err(), "whoever needs all of them is told");
    assert!(answer(KafkaErrorKind::Unreachable).is_err(), "nobody answered");
}
