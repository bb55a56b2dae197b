//! What brokers say about topics: partitions, leaders, replicas, and the offsets that they hold.
//!
//! Owns nothing. The functions **block** until the brokers answer or the timeout is over.

use super::error::{KafkaError, KafkaResult};
use super::offsets::OffsetReader;
use rdkafka::consumer::Consumer as _;
use rdkafka::types::RDKafkaErrorCode as Code;
use std::time::Duration;

/// One partition, as the brokers describe it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PartitionInfo {
    /// Partition.
    pub partition: i32,
    /// Broker that leads it; `None` while there is none.
    pub leader: Option<i32>,
    /// Brokers that hold a replica.
    pub replicas: Vec<i32>,
    /// Brokers whose replica is in sync.
    pub in_sync: Vec<i32>,
    /// First offset that is still there; `None` when it could not be asked.
    pub low: Option<i64>,
    /// Offset up to which records can be read; `None` when it could not be asked.
    pub end: Option<i64>,
}

impl PartitionInfo {
    /// Offsets between low and end: the records, but for markers and compacted ones.
    #[must_use]
    pub fn records(&self) -> Option<i64> {
        Some(self.end? - self.low?)
    }
}

/// One topic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TopicInfo {
    /// Name.
    pub name: String,
    /// Partitions, in order.
    pub partitions: Vec<PartitionInfo>,
}

impl TopicInfo {
    /// Replicas of the partition that has most of them.
    #[must_use]
    pub fn replication(&self) -> usize {
        self.partitions.iter().map(|partition| partition.replicas.len()).max().unwrap_or(0)
    }

    /// Records of all partitions, about; `None` when one of them could not be asked.
    #[must_use]
    pub fn records(&self) -> Option<i64> {
        self.partitions.iter().map(PartitionInfo::records).sum()
    }
}

/// How many partitions the topic has, and how many of them have a leader; `None` when there is no such topic.
pub(super) fn count_partitions(
    reader: &OffsetReader,
    topic: &str,
    timeout: Duration,
) -> KafkaResult<Option<(i32, i32)>> {
    let doing = format!("reading the partitions of topic \"{topic}\"");
    let metadata = reader
        .consumer()
        .fetch_metadata(Some(topic), timeout)
        .map_err(|error| reader.explain(KafkaError::native(doing.clone(), &error)))?;
    let Some(found) = metadata.topics().iter().find(|one| one.name() == topic) else { return Ok(None) };
    match found.error().map(Code::from) {
        None => {
            let led = found.partitions().iter().filter(|partition| partition.leader() >= 0).count();
            let count = |n: usize| i32::try_from(n).unwrap_or(i32::MAX);
            Ok(Some((count(found.partitions().len()), count(led))))
        }
        Some(Code::UnknownTopicOrPartition | Code::UnknownTopic) => Ok(None),
        Some(code) => Err(KafkaError::from_code(doing, code)),
    }
}

/// One topic or all of them, by name, with their offsets.
pub(super) fn fetch(reader: &OffsetReader, topic: Option<&str>, timeout: Duration) -> KafkaResult<Vec<TopicInfo>> {
    let doing = || topic.map_or_else(|| "listing the topics".into(), |topic| format!("describing topic \"{topic}\""));
    let metadata = reader
        .consumer()
        .fetch_metadata(topic, timeout)
        .map_err(|error| reader.explain(KafkaError::native(doing(), &error)))?;
    let mut topics = Vec::new();
    for found in metadata.topics() {
        if topic.is_some()
            && let Some(code) = found.error().map(Code::from)
        {
            return Err(KafkaError::from_code(doing(), code));
        }
        let mut partitions: Vec<_> = found
            .partitions()
            .iter()
            .map(|partition| PartitionInfo {
                partition: partition.id(),
                leader: Some(partition.leader()).filter(|&leader| leader >= 0),
                replicas: partition.replicas().to_vec(),
                in_sync: partition.isr().to_vec(),
                low: None,
                end: None,
            })
            .collect();
        partitions.sort_by_key(|partition| partition.partition);
        topics.push(TopicInfo { name: found.name().to_owned(), partitions });
    }
    if topic.is_some() && topics.is_empty() {
        return Err(KafkaError::from_code(doing(), Code::UnknownTopicOrPartition));
    }
    topics.sort_by(|a, b| a.name.cmp(&b.name));
    add_offsets(reader, &mut topics, timeout);
    Ok(topics)
}

/// Fills in what can be asked; a partition without a leader, or one that must not be read, stays without.
fn add_offsets(reader: &OffsetReader, topics: &mut [TopicInfo], timeout: Duration) {
    let asked: Vec<(String, i32)> = topics
        .iter()
        .flat_map(|topic| topic.partitions.iter().map(|partition| (topic.name.clone(), partition)))
        .filter(|(_, partition)| partition.leader.is_some())
        .map(|(name, partition)| (name, partition.partition))
        .collect();
    let asked: Vec<(&str, i32)> = asked.iter().map(|(name, partition)| (name.as_str(), *partition)).collect();
    let lows = reader.beginnings(&asked, timeout);
    let ends = reader.ends(&asked, timeout);
    if let Some(error) = lows.as_ref().err().or(ends.as_ref().err()) {
        tracing::warn!(%error, "the offsets of some topics could not be asked");
    }
    for (answers, is_end) in [(lows, false), (ends, true)] {
        for found in answers.into_iter().flatten() {
            let partition = topics
                .binary_search_by(|topic| topic.name.cmp(&found.topic))
                .ok()
                .and_then(|at| topics[at].partitions.iter_mut().find(|one| one.partition == found.partition));
            if let Some(partition) = partition {
                *if is_end { &mut partition.end } else { &mut partition.low } = found.offset.ok();
            }
        }
    }
}
