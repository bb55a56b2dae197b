//! What must be there before the first record: a store that answers and is migrated, a cluster that answers, the topics, and
//! the store's word that these are its cluster and group.
//!
//! Waits for what does not answer at most `startup.wait`, with a line every few seconds; what is refused is not waited for.

use crate::actors::dead_letter::Producers;
use crate::actors::holds::Holds;
use crate::actors::leases::LeaseError;
use crate::config::{Config, KafkaConfig};
use crate::domain::failure::FailureClass;
use crate::kafka::error::{KafkaError, KafkaErrorKind};
use crate::kafka::faulty::ClientFaults;
use crate::kafka::lookup::Lookup;
use crate::kafka::producer::EventProducer;
use crate::kafka::topics::{Ensured, TopicAdmin};
use crate::store::faulty::{FaultyStore, StoreFaults};
use crate::store::{self, Store, StoreError, StoreIdentity};
use std::future::Future;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::time::Instant;

/// Longest wait for one answer of the cluster.
const ASK_TIMEOUT: Duration = Duration::from_secs(10);
/// The same for the first question, so that a cluster that is not there is told of every few seconds.
const FIRST_ASK_TIMEOUT: Duration = Duration::from_secs(1);
/// librdkafka looks once a second for records whose time is over, and their answers take a moment.
const TIMEOUT_SCAN: Duration = Duration::from_secs(2);
/// Time between two looks at what does not answer, and between two lines about it.
const LOOK_AGAIN: Duration = Duration::from_millis(500);
const SAY_AGAIN: Duration = Duration::from_secs(5);

/// Why drover did not start.
#[derive(Debug, thiserror::Error)]
pub enum AppError {
    /// Something did not answer within `startup.wait`.
    #[error("{what} did not answer within {wait:?} (startup.wait): {reason}")]
    NotThere {
        /// The store or the cluster.
        what: &'static str,
        /// How long it was waited for.
        wait: Duration,
        /// The last error.
        reason: String,
    },
    /// The store refuses.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Another process has a consumer of this replica.
    #[error(transparent)]
    Place(#[from] LeaseError),
    /// The cluster refuses.
    #[error(transparent)]
    Kafka(#[from] KafkaError),
    /// The HTTP server cannot listen.
    #[error(transparent)]
    Http(std::io::Error),
    /// drover itself is wrong.
    #[error("{0}; this is a bug in drover")]
    Internal(String),
}

/// What a start has prepared.
pub struct Prepared {
    pub store: Arc<dyn Store>,
    pub lookup: Arc<Lookup>,
    pub identity: StoreIdentity,
    /// Read already, so that nothing is read that is held.
    pub holds: Arc<Holds>,
    /// There where drills are allowed.
    pub faults: Option<Faults>,
}

/// What drills break, where they are allowed.
pub struct Faults {
    /// The store as it is without faults.
    pub real_store: Arc<dyn Store>,
    pub store: Arc<StoreFaults>,
    pub clients: Arc<ClientFaults>,
}

/// Where drills are allowed the store is one that can fail on demand; elsewhere it is what it was.
fn with_faults(real: Arc<dyn Store>, allowed: bool) -> (Arc<dyn Store>, Option<Faults>) {
    if !allowed {
        return (real, None);
    }
    let faults = Faults { real_store: real, store: Arc::default(), clients: Arc::default() };
    (Arc::new(FaultyStore::new(Arc::clone(&faults.real_store), Arc::clone(&faults.store))), Some(faults))
}

/// Prepares store and cluster.
pub async fn prepare(config: &Config, replica_id: &str) -> Result<Prepared, AppError> {
    let wait = config.startup.wait;
    let deadline = Instant::now() + wait;
    let (store, faults) = with_faults(store::open(&config.store)?, config.drills.enabled);
    let waits = |error: &StoreError| {
        matches!(error.class, FailureClass::Breaker | FailureClass::RetryBatch | FailureClass::Unknown)
    };
    if config.store.migrate {
        for name in until_answered("the store", wait, deadline, waits, || store.migrate()).await? {
            tracing::info!(migration = %name, "migrated the store");
        }
    } else {
        until_answered("the store", wait, deadline, waits, || store.check_schema()).await?;
    }
    let lookup = Arc::new(Lookup::new(&config.kafka, ASK_TIMEOUT)?);
    let cluster_id = until_answered("Kafka", wait, deadline, KafkaError::is_transient, || {
        let left = deadline.saturating_duration_since(Instant::now());
        let timeout = left.clamp(LOOK_AGAIN, FIRST_ASK_TIMEOUT);
        ask(&lookup, move |lookup| lookup.cluster_id(timeout))
    })
    .await?;
    let admin = TopicAdmin::new(&config.kafka, ASK_TIMEOUT)?;
    for topic in &config.kafka.topics {
        let partitions = ensure_source(config, &admin, topic, deadline).await?;
        ensure_dead_letter_topic(config, &admin, topic, partitions).await;
    }
    // Dropping its clients blocks for a moment.
    drop(tokio::task::spawn_blocking(move || drop(admin)));
    let identity =
        until_answered("the store", wait, deadline, waits, || store.claim_identity(&cluster_id, &config.kafka.group))
            .await?;
    let holds = Arc::new(Holds::new(Arc::clone(&store), replica_id));
    let now_ms = chrono::Utc::now().timestamp_millis();
    until_answered("the store", wait, deadline, waits, || holds.refresh(now_ms)).await?;
    Ok(Prepared { store, lookup, identity, holds, faults })
}

async fn ask<T: Send + 'static>(
    lookup: &Arc<Lookup>,
    question: impl FnOnce(&Lookup) -> Result<T, KafkaError> + Send + 'static,
) -> Result<T, KafkaError> {
    let lookup = Arc::clone(lookup);
    tokio::task::spawn_blocking(move || question(&lookup)).await.unwrap_or_else(|_| {
        Err(KafkaError::new(KafkaErrorKind::Canceled, "asking the cluster", "the question was not finished"))
    })
}

/// The partition count of a topic that is read; a missing one is created where the configuration says so.
async fn ensure_source(config: &Config, admin: &TopicAdmin, topic: &str, deadline: Instant) -> Result<i32, AppError> {
    let wait = config.startup.wait;
    let found =
        until_answered("Kafka", wait, deadline, KafkaError::is_transient, || admin.partition_count(topic)).await?;
    if let Some(partitions) = found {
        return Ok(partitions);
    }
    if !config.kafka.create_topics {
        return Err(AppError::Kafka(KafkaError::new(
            KafkaErrorKind::UnknownTopic,
            format!("looking for topic \"{topic}\""),
            "the topic does not exist",
        )));
    }
    match admin.ensure(topic, config.kafka.partitions, config.kafka.replication).await? {
        Ensured::Existed(partitions) => Ok(partitions),
        Ensured::Created(partitions) => {
            tracing::info!(topic, partitions, "created a topic");
            Ok(partitions)
        }
    }
}

/// The dead-letter topic, with the source's partition count. Where it cannot be made, dead letters wait in the table.
async fn ensure_dead_letter_topic(config: &Config, admin: &TopicAdmin, source: &str, partitions: i32) {
    if !config.dead_letters.publish || !config.dead_letters.create_topic {
        return;
    }
    let topic = config.dead_letters.topic.replace("{topic}", source);
    if let Err(error) = admin.ensure(&topic, partitions, config.kafka.replication).await {
        tracing::warn!(topic, error = %error, "the dead-letter topic could not be created; dead letters wait in the table");
    }
}

/// Makes the producer of the dead-letter topics, a new one for each generation of the actor. The first is made now, so
/// that a property which librdkafka refuses ends the start.
pub fn dead_letter_producers(config: &Config, patience: Duration) -> Result<Producers, AppError> {
    let (kafka, record_bytes) = (impatient(&config.kafka, patience), config.limits.record_bytes);
    let make = move || EventProducer::new(&kafka, "drover-dead-letter", record_bytes);
    let first = Mutex::new(Some(make()?));
    Ok(Arc::new(move || {
        let made = first.lock().unwrap_or_else(PoisonError::into_inner).take();
        made.map_or_else(&make, Ok)
    }))
}

/// The same cluster for a producer whose records are given up within `patience`: whoever stops waiting for one and sends it
/// again would have it on the topic twice.
pub fn impatient(kafka: &KafkaConfig, patience: Duration) -> KafkaConfig {
    let mut kafka = kafka.clone();
    let most = patience.saturating_sub(TIMEOUT_SCAN).as_millis();
    for name in ["message.timeout.ms", "delivery.timeout.ms"] {
        // 0 is for ever. What is no number is librdkafka's to refuse.
        if kafka.producer.get(name).is_some_and(|ms| ms.parse().is_ok_and(|ms: u128| ms == 0 || ms > most)) {
            kafka.producer.remove(name);
        }
    }
    if !kafka.producer.contains_key("delivery.timeout.ms") {
        kafka.producer.entry("message.timeout.ms".to_owned()).or_insert_with(|| most.to_string());
    }
    kafka
}

async fn until_answered<T, E: std::fmt::Display, F: Future<Output = Result<T, E>>>(
    what: &'static str,
    wait: Duration,
    deadline: Instant,
    waits: impl Fn(&E) -> bool,
    ask: impl Fn() -> F,
) -> Result<T, AppError>
where
    AppError: From<E>,
{
    let mut said: Option<Instant> = None;
    loop {
        let error = match ask().await {
            Ok(answer) => return Ok(answer),
            Err(error) if waits(&error) => error,
            Err(error) => return Err(error.into()),
        };
        let now = Instant::now();
        if now >= deadline {
            return Err(AppError::NotThere { what, wait, reason: error.to_string() });
        }
        if said.is_none_or(|said| now >= said + SAY_AGAIN) {
            tracing::warn!(left_s = (deadline - now).as_secs(), reason = %error, "waiting for {what}");
            said = Some(now);
        }
        tokio::time::sleep(LOOK_AGAIN.min(deadline - now)).await;
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]

    use super::*;
    use crate::kafka::test_support::kafka_config;

    #[test]
    fn no_dead_letter_is_with_librdkafka_when_its_sender_stops_waiting() {
        let given = |properties: &[(&str, &str)]| {
            let mut kafka = kafka_config("127.0.0.1:9");
            kafka.producer = properties.iter().map(|&(name, value)| (name.to_owned(), value.to_owned())).collect();
            impatient(&kafka, Duration::from_secs(15)).producer.into_iter().collect::<Vec<_>>()
        };
        let is = |name: &str, value: &str| vec![(name.to_owned(), value.to_owned())];
        assert_eq!(given(&[]), is("message.timeout.ms", "13000"));
        assert_eq!(given(&[("message.timeout.ms", "300000")]), is("message.timeout.ms", "13000"));
        assert_eq!(given(&[("message.timeout.ms", "0")]), is("message.timeout.ms", "13000"));
        assert_eq!(given(&[("message.timeout.ms", "4000")]), is("message.timeout.ms", "4000"), "what is shorter stays");
        assert_eq!(given(&[("delivery.timeout.ms", "4000")]), is("delivery.timeout.ms", "4000"));
        assert_eq!(given(&[("delivery.timeout.ms", "300000")]), is("message.timeout.ms", "13000"));
        assert_eq!(given(&[("message.timeout.ms", "soon")]), is("message.timeout.ms", "soon"), "and is refused");
    }
}
