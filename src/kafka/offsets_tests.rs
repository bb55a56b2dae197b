//! Ends and beginnings on a real broker: the embedded one knows neither times nor open transactions.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use super::*;
use crate::kafka::test_support::{kafka_config, real_brokers};
use rdkafka::ClientConfig;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer as _};

const WAIT: Duration = Duration::from_secs(20);

fn offsets(found: KafkaResult<Vec<PartitionOffset>>) -> Vec<i64> {
    found.unwrap().into_iter().map(|one| one.offset.unwrap()).collect()
}

#[tokio::test]
async fn the_end_is_the_last_stable_offset_and_one_bad_partition_spoils_no_other() {
    let Some(brokers) = real_brokers() else { return };
    let kafka = kafka_config(&brokers);
    let topic = format!("offsets-test-{}", uuid::Uuid::new_v4());
    let admin = crate::kafka::topics::TopicAdmin::new(&kafka, WAIT).unwrap();
    admin.create(&topic, 3, -1, &[]).await.unwrap();
    let plain: BaseProducer = ClientConfig::new().set("bootstrap.servers", &brokers).create().unwrap();
    let send = |producer: &BaseProducer, partition: i32, at: i64| {
        producer.send(BaseRecord::<(), str>::to(&topic).partition(partition).payload("{}").timestamp(at)).unwrap();
    };
    for n in 0..30 {
        send(&plain, n % 3, 1_000_000 + i64::from(n));
    }
    plain.flush(WAIT).unwrap();
    let open: BaseProducer =
        ClientConfig::new().set("bootstrap.servers", &brokers).set("transactional.id", &topic).create().unwrap();
    open.init_transactions(WAIT).unwrap();
    open.begin_transaction().unwrap();
    for _ in 0..5 {
        send(&open, 0, 2_000_000);
    }
    open.flush(WAIT).unwrap();

    let reader = OffsetReader::new(&kafka, "test").unwrap();
    let all = [(topic.as_str(), 2), (topic.as_str(), 0), (topic.as_str(), 1)];
    assert_eq!(offsets(reader.ends(&all, WAIT)), [10, 10, 10], "the five open records cannot be read yet");
    assert_eq!(offsets(reader.beginnings(&all, WAIT)), [0, 0, 0]);
    assert_eq!(offsets(reader.at_time(&all, 1_000_015, WAIT)), [5, 5, 5], "the sixth of each partition");
    assert_eq!(offsets(reader.at_time(&all, 4_000_000_000_000, WAIT)), [10, 10, 10], "none so late: the end");
    let mixed = reader.ends(&[(&topic, 0), (&topic, 99), ("no-such-topic", 0)], WAIT).unwrap();
    assert_eq!(*mixed[0].offset.as_ref().unwrap(), 10);
    assert!(mixed[1].offset.is_err() && mixed[2].offset.is_err(), "{mixed:?}");

    open.commit_transaction(WAIT).unwrap();
    let deadline = std::time::Instant::now() + WAIT;
    while offsets(reader.ends(&all[1..2], WAIT)) != [16] {
        assert!(std::time::Instant::now() < deadline, "five records and the marker of the commit");
    }
    assert!(reader.cluster_id(WAIT).is_some());
}
