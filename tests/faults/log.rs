//! What lies on a topic's log, read with a consumer of its own.

use rdkafka::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::KafkaError;
use rdkafka::message::Message as _;
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use std::collections::{BTreeMap, HashMap, HashSet};
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(30);

/// Where every record lies that Kafka gives out, below these ends, with the id in its document.
pub async fn read(brokers: &str, topic: &str, ends: &BTreeMap<i32, i64>) -> HashMap<(i32, i64), Option<i64>> {
    let (brokers, topic, ends) = (brokers.to_owned(), topic.to_owned(), ends.clone());
    tokio::task::spawn_blocking(move || read_blocking(&brokers, &topic, &ends)).await.unwrap()
}

fn read_blocking(brokers: &str, topic: &str, ends: &BTreeMap<i32, i64>) -> HashMap<(i32, i64), Option<i64>> {
    let consumer: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", brokers)
        .set("group.id", "faults-reader")
        .set("enable.auto.commit", "false")
        .set("enable.partition.eof", "true")
        .create()
        .unwrap();
    let mut all = TopicPartitionList::new();
    for partition in ends.keys() {
        all.add_partition_offset(topic, *partition, Offset::Beginning).unwrap();
    }
    consumer.assign(&all).unwrap();
    let (mut found, mut ended) = (HashMap::new(), HashSet::new());
    while ended.len() < ends.len() {
        match consumer.poll(PATIENCE) {
            Some(Ok(message)) => {
                // The log grows while it is read: what is behind the end of before is of no matter.
                if message.offset() + 1 >= ends[&message.partition()] {
                    ended.insert(message.partition());
                }
                found.insert((message.partition(), message.offset()), message.payload().and_then(id));
            }
            Some(Err(KafkaError::PartitionEOF(partition))) => {
                ended.insert(partition);
            }
            other => panic!("reading the log: {:?}", other.map(|message| message.map(|_| ()))),
        }
    }
    found
}

/// The id in a document, good or broken.
fn id(document: &[u8]) -> Option<i64> {
    let at = document.windows(5).position(|window| window == b"\"id\":")? + 5;
    let digits: Vec<u8> = document[at..].iter().copied().take_while(u8::is_ascii_digit).collect();
    String::from_utf8(digits).ok()?.parse().ok()
}
