//! Topics: listing, describing, creating and growing them.
//!
//! Owns two clients, one that asks and one that administers; neither joins a group. Every request ends within the timeout
//! given at the start. A broker that does not know a request is a normal answer ([`KafkaErrorKind::Unsupported`]), not a
//! failure of the whole.

use super::client::{LoggingContext, admin_client_config};
use super::embedded::CLUSTER_ID_PREFIX;
use super::error::{KafkaError, KafkaErrorKind, KafkaResult};
use super::offsets::OffsetReader;
use crate::config::KafkaConfig;
use rdkafka::admin::{
    AdminClient, AdminOptions, ConfigSource, NewPartitions, NewTopic, ResourceSpecifier, TopicReplication,
};
use rdkafka::consumer::Consumer as _;
use rdkafka::types::RDKafkaErrorCode as Code;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Pause between two looks at whether a topic that was just created is known to the brokers.
const APPEARANCE_PAUSE: Duration = Duration::from_millis(50);

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

/// A topic's setting that is not the default.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TopicSetting {
    /// Kafka's name.
    pub name: String,
    /// Value; `None` where the broker keeps it secret.
    pub value: Option<String>,
    /// Where it was set: `topic` or `broker`.
    pub source: &'static str,
}

/// What [`TopicAdmin::ensure`] found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ensured {
    /// The topic was there, with this many partitions.
    Existed(i32),
    /// It was created here, with this many partitions.
    Created(i32),
}

/// Asks about topics and administers them.
pub struct TopicAdmin {
    reader: Arc<OffsetReader>,
    admin: AdminClient<LoggingContext>,
    timeout: Duration,
}

impl TopicAdmin {
    /// Makes the clients; they connect in the background. `timeout` bounds each request. Dropping it blocks for up to 0.1 s.
    ///
    /// # Errors
    /// When a property is refused by librdkafka.
    pub fn new(kafka: &KafkaConfig, timeout: Duration) -> KafkaResult<Self> {
        let admin = admin_client_config(kafka, "drover-admin")
            .create_with_context(LoggingContext::new("drover-admin"))
            .map_err(|error| KafkaError::native("making a Kafka client", &error))?;
        Ok(Self { reader: Arc::new(OffsetReader::new(kafka, "drover-admin")?), admin, timeout })
    }

    /// All topics, by name.
    ///
    /// # Errors
    /// When no broker answers in time.
    pub async fn list(&self) -> KafkaResult<Vec<TopicInfo>> {
        self.blocking(|reader, timeout| fetch(reader, None, timeout)).await
    }

    /// One topic.
    ///
    /// # Errors
    /// When it does not exist ([`KafkaErrorKind::UnknownTopic`]) or no broker answers in time.
    pub async fn describe(&self, topic: &str) -> KafkaResult<TopicInfo> {
        let name = topic.to_owned();
        self.blocking(move |reader, timeout| fetch(reader, Some(&name), timeout)).await.map(|mut found| found.remove(0))
    }

    /// The partition count of a topic; `None` when there is no such topic. Cheaper than [`TopicAdmin::describe`].
    ///
    /// # Errors
    /// When no broker answers in time.
    pub async fn partition_count(&self, topic: &str) -> KafkaResult<Option<i32>> {
        let name = topic.to_owned();
        let counted = self.blocking(move |reader, timeout| count_partitions(reader, &name, timeout)).await?;
        Ok(counted.map(|(partitions, _)| partitions))
    }

    /// The settings of a topic that are not the defaults.
    ///
    /// # Errors
    /// [`KafkaErrorKind::Unsupported`] where the broker does not tell.
    pub async fn settings(&self, topic: &str) -> KafkaResult<Vec<TopicSetting>> {
        let doing = format!("reading the settings of topic \"{topic}\"");
        self.refuse_embedded(&doing).await?;
        let specifier = [ResourceSpecifier::Topic(topic)];
        let found = self.admin.describe_configs(&specifier, &self.options()).await;
        let resource = match found.map(|mut all| all.pop()) {
            Ok(Some(Ok(resource))) => resource,
            Ok(Some(Err(code))) => return Err(KafkaError::from_code(doing, code)),
            Ok(None) => return Ok(Vec::new()),
            Err(error) => return Err(self.explain(KafkaError::native(doing, &error)).await),
        };
        let mut settings: Vec<_> = resource
            .entries
            .into_iter()
            .filter_map(|entry| {
                let source = match entry.source {
                    ConfigSource::DynamicTopic => "topic",
                    ConfigSource::Default | ConfigSource::Unknown => return None,
                    ConfigSource::DynamicBroker | ConfigSource::DynamicDefaultBroker | ConfigSource::StaticBroker => {
                        "broker"
                    }
                };
                Some(TopicSetting { name: entry.name, value: entry.value, source })
            })
            .collect();
        settings.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(settings)
    }

    /// Creates a topic and waits until the brokers know it. `replication` -1 takes the broker's default.
    ///
    /// # Errors
    /// [`KafkaErrorKind::TopicExists`], [`KafkaErrorKind::Unauthorized`], [`KafkaErrorKind::Invalid`] for a bad name, count
    /// or setting, [`KafkaErrorKind::Unsupported`] with the embedded broker.
    pub async fn create(
        &self,
        topic: &str,
        partitions: i32,
        replication: i32,
        settings: &[(String, String)],
    ) -> KafkaResult<()> {
        let doing = format!(
            "creating topic \"{topic}\" with {partitions} partitions, replication {}",
            if replication == -1 { "by the broker's default".to_owned() } else { replication.to_string() }
        );
        self.refuse_embedded(&doing).await?;
        let mut new = NewTopic::new(topic, partitions, TopicReplication::Fixed(replication));
        for (name, value) in settings {
            new = new.set(name, value);
        }
        let created = self.admin.create_topics([&new], &self.options()).await;
        match created.map(|mut all| all.pop()) {
            Ok(Some(Ok(_))) => self.appeared(topic, partitions).await,
            Ok(Some(Err((_, code)))) => Err(refused(doing, code)),
            Ok(None) => Err(KafkaError::new(KafkaErrorKind::Other, doing, "the broker's answer was empty")),
            Err(error) => Err(self.explain(KafkaError::native(doing, &error)).await),
        }
    }

    /// Grows a topic to `to` partitions. Partitions can never be taken away.
    ///
    /// # Errors
    /// [`KafkaErrorKind::Invalid`] unless `to` is more than there are; [`KafkaErrorKind::UnknownTopic`];
    /// [`KafkaErrorKind::Unsupported`] with the embedded broker.
    pub async fn add_partitions(&self, topic: &str, to: i32) -> KafkaResult<i32> {
        let doing = format!("growing topic \"{topic}\" to {to} partitions");
        self.refuse_embedded(&doing).await?;
        let Some(now) = self.partition_count(topic).await? else {
            return Err(KafkaError::from_code(doing, Code::UnknownTopicOrPartition));
        };
        if to <= now {
            let why = if to == now { "it has that many already" } else { "Kafka cannot take partitions away" };
            return Err(KafkaError::new(KafkaErrorKind::Invalid, doing, format!("it has {now} partitions; {why}")));
        }
        // A partition count above zero fits.
        let new = NewPartitions::new(topic, usize::try_from(to).unwrap_or(0));
        let grown = self.admin.create_partitions([&new], &self.options()).await;
        match grown.map(|mut all| all.pop()) {
            Ok(Some(Ok(_))) => self.appeared(topic, to).await.map(|()| now),
            Ok(Some(Err((_, code)))) => Err(refused(doing, code)),
            Ok(None) => Err(KafkaError::new(KafkaErrorKind::Other, doing, "the broker's answer was empty")),
            Err(error) => Err(self.explain(KafkaError::native(doing, &error)).await),
        }
    }

    /// Makes sure that a topic exists. Safe to call from many processes at once: who comes second finds it there. A topic that
    /// exists stays as it is, whatever its partition count.
    ///
    /// # Errors
    /// As [`TopicAdmin::create`], except that it exists.
    pub async fn ensure(&self, topic: &str, partitions: i32, replication: i32) -> KafkaResult<Ensured> {
        if let Some(count) = self.partition_count(topic).await? {
            return Ok(Ensured::Existed(count));
        }
        match self.create(topic, partitions, replication, &[]).await {
            Ok(()) => Ok(Ensured::Created(partitions)),
            Err(error) if error.kind() == KafkaErrorKind::TopicExists => {
                // Somebody else created it in between; this broker may hear of it a moment later.
                self.appeared(topic, 1).await?;
                let count = self.partition_count(topic).await?;
                count.map(Ensured::Existed).ok_or(error)
            }
            Err(error) => Err(error),
        }
    }

    /// Waits until the topic has at least so many partitions with a leader.
    async fn appeared(&self, topic: &str, partitions: i32) -> KafkaResult<()> {
        let deadline = Instant::now() + self.timeout;
        loop {
            let name = topic.to_owned();
            // While a new topic has no leader yet, the brokers say so as an error.
            let counted = self.blocking(move |reader, timeout| count_partitions(reader, &name, timeout)).await;
            let led = match counted {
                Ok(counted) => counted.map_or(0, |(_, led)| led),
                Err(error) if error.kind() == KafkaErrorKind::Unavailable => 0,
                Err(error) => return Err(error),
            };
            if led >= partitions {
                return Ok(());
            }
            if Instant::now() >= deadline {
                return Err(KafkaError::new(
                    KafkaErrorKind::Unavailable,
                    format!("waiting for topic \"{topic}\" after its creation"),
                    format!("{led} of {partitions} partitions have a leader after {} s", self.timeout.as_secs()),
                ));
            }
            tokio::time::sleep(APPEARANCE_PAUSE).await;
        }
    }

    fn options(&self) -> AdminOptions {
        AdminOptions::new().request_timeout(Some(self.timeout)).operation_timeout(Some(self.timeout))
    }

    /// The embedded broker leaves administration unanswered, which would cost the whole timeout to find out.
    async fn refuse_embedded(&self, doing: &str) -> KafkaResult<()> {
        let id = self.blocking(|reader, timeout| Ok(reader.cluster_id(timeout))).await?;
        match id {
            Some(id) if id.starts_with(CLUSTER_ID_PREFIX) => {
                Err(KafkaError::new(KafkaErrorKind::Unsupported, doing, "unsupported by broker"))
            }
            _ => Ok(()),
        }
    }

    async fn explain(&self, error: KafkaError) -> KafkaError {
        let reader = Arc::clone(&self.reader);
        let copy = error.clone();
        tokio::task::spawn_blocking(move || reader.explain(copy)).await.unwrap_or(error)
    }

    async fn blocking<T: Send + 'static>(
        &self,
        ask: impl FnOnce(&OffsetReader, Duration) -> KafkaResult<T> + Send + 'static,
    ) -> KafkaResult<T> {
        let (reader, timeout) = (Arc::clone(&self.reader), self.timeout);
        tokio::task::spawn_blocking(move || ask(&reader, timeout)).await.unwrap_or_else(|ended| {
            Err(KafkaError::new(KafkaErrorKind::Canceled, "asking Kafka about topics", ended.to_string()))
        })
    }
}

/// The broker's text is lost on the way through the client library, so the likely cause is said here.
fn refused(doing: String, code: Code) -> KafkaError {
    let hint = match code {
        Code::TopicAlreadyExists => "; `drover topics describe` shows it, `drover topics add-partitions` grows it",
        Code::InvalidReplicationFactor => "; there are fewer brokers than replicas asked for",
        Code::InvalidPartitions => "; the number of partitions must be at least 1 and more than there are",
        Code::InvalidTopic => "; names have 1 to 249 of the characters a-z A-Z 0-9 . _ -",
        Code::InvalidConfig => "; a --config has an unknown name or a wrong value",
        _ => "",
    };
    KafkaError::from_code(doing, code).because((!hint.is_empty()).then(|| hint[2..].to_owned()))
}

/// How many partitions the topic has, and how many of them have a leader; `None` when there is no such topic.
fn count_partitions(reader: &OffsetReader, topic: &str, timeout: Duration) -> KafkaResult<Option<(i32, i32)>> {
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

fn fetch(reader: &OffsetReader, topic: Option<&str>, timeout: Duration) -> KafkaResult<Vec<TopicInfo>> {
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

#[cfg(test)]
#[path = "topics_tests.rs"]
mod tests;
