//! What must be there before the first record: a store that answers and is migrated, a cluster that answers, the topics, and
//! the store's word that these are its cluster and group.
//!
//! Waits for what does not answer at most `startup.wait`, with a line every few seconds; what is refused is not waited for.

use crate::actors::holds::Holds;
use crate::actors::leases::LeaseError;
use crate::config::Config;
use crate::domain::failure::FailureClass;
use crate::kafka::error::{KafkaError, KafkaErrorKind};
use crate::kafka::faulty::ClientFaults;
use crate::kafka::lookup::Lookup;
use crate::kafka::producer::EventProducer;
use crate::kafka::topics::{Ensured, TopicAdmin};
use crate::store::faulty::{FaultyStore, StoreFaults};
use crate::store::{self, Store, StoreError, StoreIdentity};
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// Longest wait for one answer of the cluster.
const ASK_TIMEOUT: Duration = Duration::from_secs(10);
/// The same for the first question, so that a cluster that is not there is told of every few seconds.
const FIRST_ASK_TIMEOUT: Duration = Duration::from_secs(1);
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

/// The producer of the dead-letter topics.
pub fn dead_letter_producer(config: &Config) -> Result<Arc<EventProducer>, AppError> {
    Ok(Arc::new(EventProducer::new(&config.kafka, "drover-dead-letter", config.limits.record_bytes)?))
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
