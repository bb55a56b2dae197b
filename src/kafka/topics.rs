//! Topics: listing, describing, creating and growing them.
//!
//! Owns two clients, one that asks and one that administers; neither joins a group. Every request ends within the timeout
//! given at the start. A broker that does not know a request is a normal answer ([`KafkaErrorKind::Unsupported`]), not a
//! failure of the whole.

use super::client::{LoggingContext, admin_client_config};
use super::embedded::CLUSTER_ID_PREFIX;
use super::error::{KafkaError, KafkaErrorKind, KafkaResult};
use super::offsets::OffsetReader;
use super::topic_info::{TopicInfo, count_partitions, fetch};
use crate::config::KafkaConfig;
use rdkafka::admin::{
    AdminClient, AdminOptions, ConfigSource, NewPartitions, NewTopic, ResourceSpecifier, TopicReplication,
};
use rdkafka::error::KafkaError as NativeError;
use rdkafka::types::RDKafkaErrorCode as Code;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Pause between two looks at whether a topic that was just created is known to the brokers.
const APPEARANCE_PAUSE: Duration = Duration::from_millis(50);

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

    /// Deletes topics and groups; those that are not there are passed over.
    ///
    /// # Errors
    /// [`KafkaErrorKind::Unauthorized`]; a group that still has members; no broker answers in time.
    pub async fn delete(&self, topics: &[&str], groups: &[&str]) -> KafkaResult<()> {
        let doing = || format!("deleting {}", [topics, groups].concat().join(", "));
        let native = |error: NativeError| KafkaError::native(doing(), &error);
        let gone =
            |code: Code| matches!(code, Code::UnknownTopicOrPartition | Code::UnknownTopic | Code::GroupIdNotFound);
        let mut answers = Vec::new();
        if !topics.is_empty() {
            answers = self.admin.delete_topics(topics, &self.options()).await.map_err(native)?;
        }
        if !groups.is_empty() {
            answers.extend(self.admin.delete_groups(groups, &self.options()).await.map_err(native)?);
        }
        match answers.into_iter().filter_map(Result::err).find(|(_, code)| !gone(*code)) {
            Some((name, code)) => Err(KafkaError::from_code(format!("deleting {name}"), code)),
            None => Ok(()),
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
        Code::TopicAlreadyExists => "`drover topics describe` shows it, `drover topics add-partitions` grows it",
        Code::InvalidReplicationFactor => "there are fewer brokers than replicas asked for",
        Code::InvalidPartitions => "the number of partitions must be at least 1 and more than there are",
        Code::InvalidTopic => "names have 1 to 249 of the characters a-z A-Z 0-9 . _ -",
        Code::InvalidConfig => "a --set has an unknown name or a wrong value",
        _ => return KafkaError::from_code(doing, code),
    };
    KafkaError::from_code(doing, code).with_detail(hint)
}

#[cfg(test)]
#[path = "topics_tests.rs"]
mod tests;
