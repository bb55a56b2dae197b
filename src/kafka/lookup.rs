//! Questions to the cluster: its id, topics and their ids, offsets at the ends and by time, committed offsets.
//!
//! Owns one client that never joins the group. Every call blocks up to its timeout and belongs in `spawn_blocking`.

use super::client::{LoggingContext, admin_client_config};
use super::embedded::CLUSTER_ID_PREFIX;
use super::error::{KafkaError, KafkaErrorKind, KafkaResult};
pub use super::native::GroupMember;
use super::native::{self, TopicIdentity};
use super::offsets::{self, PartitionOffset};
use super::rebalance::TopicPartition;
use super::revive::look_after;
use crate::config::KafkaConfig;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::KafkaError as NativeError;
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use rdkafka::types::RDKafkaErrorCode as Code;
use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

/// Reports of the background that are looked at for the reason of an error, and how long each is waited for.
const REPORTS: usize = 10;
const REPORT_WAIT: Duration = Duration::from_millis(20);

/// See the module.
pub struct Lookup {
    client: Arc<BaseConsumer<LoggingContext>>,
    timeout: Duration,
    /// Whether it is the embedded broker, once that was asked.
    embedded: OnceLock<bool>,
}

/// A topic as the cluster describes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TopicDescription {
    /// Kafka's id of the topic, where the broker has ids.
    pub topic_id: Option<String>,
    /// Its partitions.
    pub partitions: Vec<i32>,
}

/// Offsets of partitions, as far as the cluster told them.
#[derive(Debug, Clone, Default)]
pub struct KnownOffsets {
    /// What was told.
    pub offsets: BTreeMap<TopicPartition, i64>,
    /// Partitions without an answer, such as those without a leader, and why. The others do not suffer for it.
    pub refused: BTreeMap<TopicPartition, KafkaError>,
}

impl KnownOffsets {
    /// All of them, for whoever can do nothing with some.
    fn all(self) -> KafkaResult<BTreeMap<TopicPartition, i64>> {
        match self.refused.into_values().next() {
            Some(error) => Err(error),
            None => Ok(self.offsets),
        }
    }
}

/// An offset that the group committed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Committed {
    /// The next offset to read, as committed.
    pub offset: i64,
    /// Who committed it, if it says so.
    pub metadata: String,
}

impl Lookup {
    /// Makes the client; nothing is asked yet. `timeout` bounds every question.
    ///
    /// # Errors
    /// A property that librdkafka does not take.
    pub fn new(kafka: &KafkaConfig, timeout: Duration) -> KafkaResult<Self> {
        let mut config = admin_client_config(kafka, "drover-lookup");
        // Committed offsets belong to a group; without a subscription the client does not join it.
        config
            .set("group.id", &kafka.group)
            .set("enable.auto.commit", "false")
            .set("isolation.level", "read_committed")
            .set("allow.auto.create.topics", "false");
        let client: BaseConsumer<_> = config
            .create_with_context(LoggingContext::new("drover-lookup"))
            .map_err(|error| KafkaError::native("making the client that asks the cluster", &error))?;
        let client = Arc::new(client);
        look_after(&client, |client| client.client(), client.context().all_down(), &kafka.brokers);
        Ok(Self { client, timeout, embedded: OnceLock::new() })
    }

    fn failed(&self, doing: String, error: &NativeError) -> KafkaError {
        self.explained(KafkaError::native(doing, error))
    }

    /// Adds why, where librdkafka said it.
    fn explained(&self, error: KafkaError) -> KafkaError {
        // Serves the callbacks, so that the reason of a timeout is known; this client fetches nothing, so no record is lost.
        for _ in 0..REPORTS {
            if self.client.poll(REPORT_WAIT).is_none() {
                break;
            }
        }
        error.because(self.client.context().take_last_error())
    }

    /// The id of the cluster. Blocks for up to twice `timeout`, which may be shorter than that of the other questions.
    ///
    /// # Errors
    /// No broker answers in time.
    pub fn cluster_id(&self, timeout: Duration) -> KafkaResult<String> {
        // The id comes with the metadata. Waiting for it alone takes a second: until librdkafka's timer asks for that.
        match self.client.fetch_metadata(None, timeout) {
            // Redpanda before 23 and old brokers have no id; the contract needs a name that stays.
            Ok(_) => Ok(self.client.client().fetch_cluster_id(timeout).unwrap_or_else(|| "unnamed".to_owned())),
            Err(error) => Err(self.failed("asking the cluster for its id".into(), &error)),
        }
    }

    fn is_embedded(&self) -> bool {
        *self.embedded.get_or_init(|| {
            let id = self.client.client().fetch_cluster_id(self.timeout);
            id.is_some_and(|id| id.starts_with(CLUSTER_ID_PREFIX))
        })
    }

    /// A topic's id and partitions; `None` when it does not exist.
    ///
    /// # Errors
    /// No broker answers in time, or the topic may not be described or read.
    pub fn topic(&self, topic: &str) -> KafkaResult<Option<TopicDescription>> {
        let doing = || format!("reading the partitions of topic \"{topic}\"");
        let metadata =
            self.client.fetch_metadata(Some(topic), self.timeout).map_err(|error| self.failed(doing(), &error))?;
        let Some(found) = metadata.topics().iter().find(|found| found.name() == topic) else {
            return Ok(None);
        };
        if let Some(code) = found.error() {
            let error = KafkaError::from_code(doing(), code.into());
            return if error.kind() == KafkaErrorKind::UnknownTopic { Ok(None) } else { Err(error) };
        }
        if found.partitions().is_empty() {
            return Ok(None);
        }
        let partitions = found.partitions().iter().map(rdkafka::metadata::MetadataPartition::id).collect();
        if self.is_embedded() {
            // It never answers the question for topic ids, and its topics live as long as the process.
            return Ok(Some(TopicDescription { topic_id: None, partitions }));
        }
        let identity = match native::topic_identity(self.client.client(), topic, self.timeout) {
            Ok(identity) => identity,
            Err(error) if error.kind() == KafkaErrorKind::Unsupported => TopicIdentity::default(),
            Err(error) => return Err(error),
        };
        if identity.read_denied {
            return Err(KafkaError::from_code(doing(), Code::TopicAuthorizationFailed));
        }
        Ok(Some(TopicDescription { topic_id: identity.id, partitions }))
    }

    /// The offset after the last record that a reader of committed records gets (the last stable offset).
    ///
    /// # Errors
    /// No broker answers in time, or a partition has no leader.
    pub fn ends(&self, partitions: &[TopicPartition]) -> KafkaResult<BTreeMap<TopicPartition, i64>> {
        self.known_ends(partitions)?.all()
    }

    /// As [`Lookup::ends`], of those partitions that have an answer.
    ///
    /// # Errors
    /// No broker answers in time.
    pub fn known_ends(&self, partitions: &[TopicPartition]) -> KafkaResult<KnownOffsets> {
        self.by_partition(partitions, |asked, timeout| offsets::end_offsets(&*self.client, asked, timeout))
    }

    /// The offset of the oldest record that Kafka still has.
    ///
    /// # Errors
    /// As [`Lookup::ends`].
    pub fn beginnings(&self, partitions: &[TopicPartition]) -> KafkaResult<BTreeMap<TopicPartition, i64>> {
        self.known_beginnings(partitions)?.all()
    }

    /// As [`Lookup::beginnings`], of those partitions that have an answer.
    ///
    /// # Errors
    /// As [`Lookup::known_ends`].
    pub fn known_beginnings(&self, partitions: &[TopicPartition]) -> KafkaResult<KnownOffsets> {
        self.by_partition(partitions, |asked, timeout| offsets::beginning_offsets(&*self.client, asked, timeout))
    }

    /// The offset of the first record at or after a time (milliseconds since the epoch); the end where there is none.
    ///
    /// # Errors
    /// As [`Lookup::ends`].
    pub fn at_time(&self, partitions: &[TopicPartition], ms: i64) -> KafkaResult<BTreeMap<TopicPartition, i64>> {
        self.by_partition(partitions, |asked, timeout| offsets::offsets_at_time(&*self.client, asked, ms, timeout))?
            .all()
    }

    fn by_partition(
        &self,
        partitions: &[TopicPartition],
        ask: impl Fn(&[(&str, i32)], Duration) -> KafkaResult<Vec<PartitionOffset>>,
    ) -> KafkaResult<KnownOffsets> {
        let deadline = Instant::now() + self.timeout;
        let asked: Vec<(&str, i32)> = partitions.iter().map(|id| (id.topic.as_str(), id.partition)).collect();
        let found = match ask(&asked, self.timeout) {
            Ok(found) => found,
            // librdkafka gives what a broker refused for one partition as the answer for all: so each is asked alone.
            Err(error) if concerns_partitions(error.kind()) => {
                let alone = |&(topic, partition): &(&str, i32)| {
                    let left = deadline.saturating_duration_since(Instant::now());
                    let refused =
                        |error| vec![PartitionOffset { topic: topic.to_owned(), partition, offset: Err(error) }];
                    match asked.len() {
                        1 => refused(error.clone()),
                        _ => ask(&[(topic, partition)], left).unwrap_or_else(refused),
                    }
                };
                asked.iter().flat_map(alone).collect()
            }
            Err(error) => return Err(self.explained(error)),
        };
        let mut known = KnownOffsets::default();
        for PartitionOffset { topic, partition, offset } in found {
            let id = TopicPartition { topic, partition };
            match offset {
                Ok(offset) => drop(known.offsets.insert(id, offset)),
                Err(error) => drop(known.refused.insert(id, error)),
            }
        }
        Ok(known)
    }

    /// The members of the group now; a static member stays one until its session ends.
    ///
    /// # Errors
    /// The coordinator does not answer in time.
    pub fn members(&self, group: &str) -> KafkaResult<Vec<GroupMember>> {
        native::group_members(self.client.client(), group, self.timeout)
    }

    /// What the group committed for these partitions; those without a commit are left out.
    ///
    /// # Errors
    /// The coordinator does not answer in time.
    pub fn committed(&self, partitions: &[TopicPartition]) -> KafkaResult<BTreeMap<TopicPartition, Committed>> {
        let doing = || "reading the offsets that the group committed".to_owned();
        let mut asked = TopicPartitionList::with_capacity(partitions.len());
        for partition in partitions {
            asked.add_partition(&partition.topic, partition.partition);
        }
        let answer =
            self.client.committed_offsets(asked, self.timeout).map_err(|error| self.failed(doing(), &error))?;
        let mut found = BTreeMap::new();
        for element in answer.elements() {
            element.error().map_err(|error| self.failed(doing(), &error))?;
            if let Offset::Offset(offset) = element.offset() {
                found.insert(
                    TopicPartition { topic: element.topic().to_owned(), partition: element.partition() },
                    Committed { offset, metadata: element.metadata().to_owned() },
                );
            }
        }
        Ok(found)
    }
}

/// Whether a broker answered, and refused something of a partition: no silence of the cluster.
fn concerns_partitions(kind: KafkaErrorKind) -> bool {
    use KafkaErrorKind as Kind;
    matches!(
        kind,
        Kind::Unavailable
            | Kind::Unauthorized
            | Kind::UnknownTopic
            | Kind::UnknownPartition
            | Kind::OffsetOutOfRange
            | Kind::Other
    )
}

#[cfg(test)]
#[path = "lookup_tests.rs"]
mod tests;
