//! `drover produce`: writes events to a topic, made up or typed.
//!
//! Owns a producer for the time of the command. Fails, after its summary, when an event was not delivered; the first Ctrl-C
//! stops it cleanly, the second gives up what is still on its way.

mod generated;
mod interactive;

use crate::cli::{KeyField, ProduceArgs, ProduceMode};
use crate::config::KafkaConfig;
use crate::domain::decode::decode;
use crate::domain::event::{Event, Mapping};
use crate::domain::failure::Rejection;
use crate::domain::record::{PackedHeaders, RecordTimestamp, TimestampType};
use crate::kafka::error::{KafkaError, KafkaErrorKind};
use crate::kafka::producer::{Delivered, EventProducer, Outgoing};
use crate::kafka::topics::{Ensured, TopicAdmin};
use anyhow::{Context, bail};
use std::io::{BufReader, IsTerminal, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

pub(super) use generated::all_delivered;

/// The header by which rows tell who produced them.
const SOURCE_HEADER: &[u8] = b"drover_source";
/// Who they say it was.
const SOURCE: &str = "produce";
/// How long a broker may take to answer before anything is sent.
const FIRST_ANSWER: Duration = Duration::from_secs(10);
/// Largest event that is sent; the broker's own limit is 1 MiB by default.
const MAX_EVENT_BYTES: usize = 64 * 1024 * 1024;

/// Runs the command: results go to `out`, a progress bar to standard error where that is a terminal. `mapping` is the
/// topic's own, so that what is typed is checked as it will be read.
///
/// # Errors
/// The topic does not exist, no broker answers, an event is refused by the check, or one was not delivered.
pub async fn run(
    kafka: &KafkaConfig,
    mapping: &Mapping,
    args: &ProduceArgs,
    out: &mut (dyn Write + Send),
) -> anyhow::Result<()> {
    let topic = match (&args.topic, kafka.topics.first()) {
        (Some(topic), _) | (None, Some(topic)) => topic.clone(),
        (None, None) => bail!("no topic to write to: give --topic or set kafka.topics"),
    };
    // An event that is wrong is said before any broker is asked.
    if let Some(json) = &args.json {
        check(json.as_bytes(), mapping).map_err(refused)?;
    }
    let partitions = find_topic(kafka, &topic).await?;
    let target = Arc::new(Target::new(kafka, &topic, args.key, Some(SOURCE))?);
    let stops = Stops::listen();
    match (&args.json, args.mode) {
        (Some(json), _) => {
            let delivered = target.send_checked(json.as_bytes(), mapping, &stops).await?;
            writeln!(out, "partition {}, offset {}", delivered.partition, delivered.offset)?;
            Ok(())
        }
        (None, ProduceMode::Interactive) => {
            let prompts = std::io::stdin().is_terminal();
            let session = interactive::Session { target: &target, mapping, stops: &stops, prompts };
            session.run(BufReader::new(std::io::stdin()), out).await
        }
        (None, ProduceMode::Batch | ProduceMode::Continuous) => {
            let plan = generated::Plan::new(args, partitions);
            generated::run(plan, target, stops, out).await
        }
    }
}

/// Events that fill a topic.
pub(super) struct Load<'a> {
    pub(super) topic: &'a str,
    pub(super) partitions: i32,
    pub(super) key: KeyField,
    pub(super) events: u64,
    pub(super) event_bytes: u64,
    pub(super) poison_every: u64,
}

/// Fills a topic as `drover produce` does; gives back how many events were delivered.
///
/// # Errors
/// One was not delivered.
pub(super) async fn load(kafka: &KafkaConfig, load: &Load<'_>, stops: &Stops) -> anyhow::Result<u64> {
    let target = Arc::new(Target::new(kafka, load.topic, load.key, None)?);
    let (receipt, delivered) = generated::deliver(generated::Plan::of_load(load), target, stops.clone()).await?;
    delivered?;
    Ok(receipt.counts.delivered)
}

/// The partition count of the topic, which must exist unless `kafka.create_topics` says otherwise.
async fn find_topic(kafka: &KafkaConfig, topic: &str) -> anyhow::Result<i32> {
    let admin = TopicAdmin::new(kafka, FIRST_ANSWER)?;
    let found = if kafka.create_topics {
        match admin.ensure(topic, kafka.partitions, kafka.replication).await? {
            Ensured::Existed(partitions) | Ensured::Created(partitions) => Some(partitions),
        }
    } else {
        admin.partition_count(topic).await?
    };
    // Dropping it waits for its thread.
    tokio::task::spawn_blocking(move || drop(admin));
    found.ok_or_else(|| {
        let doing = format!("writing to topic \"{topic}\" on {}", kafka.brokers);
        KafkaError::new(KafkaErrorKind::UnknownTopic, doing, "there is no such topic").into()
    })
}

/// Decodes as a consumer of the topic will.
fn check<'a>(value: &'a [u8], mapping: &Mapping) -> Result<Event<'a>, Rejection> {
    decode(Some(value), RecordTimestamp { ms: now_ms(), kind: TimestampType::CreateTime }, mapping)
}

fn refused(rejection: Rejection) -> anyhow::Error {
    anyhow::anyhow!("the event would be a dead letter ({}): {}", rejection.code, rejection.message)
}

fn now_ms() -> i64 {
    chrono::Utc::now().timestamp_millis()
}

/// Where events go.
struct Target {
    producer: EventProducer,
    topic: String,
    key: KeyField,
    headers: PackedHeaders,
}

impl Target {
    /// `source` says in a header who sent the events, where that is of interest.
    fn new(kafka: &KafkaConfig, topic: &str, key: KeyField, source: Option<&str>) -> anyhow::Result<Self> {
        let producer = EventProducer::new(kafka, "drover-produce", MAX_EVENT_BYTES)?;
        let mut headers = PackedHeaders::default();
        if let Some(source) = source {
            headers.push(SOURCE_HEADER, Some(source.as_bytes()));
        }
        Ok(Self { producer, topic: topic.to_owned(), key, headers })
    }

    fn record<'a>(&'a self, key: Option<&'a [u8]>, value: Option<&'a [u8]>, time_ms: i64) -> Outgoing<'a> {
        let (topic, headers) = (self.topic.as_str(), &self.headers);
        Outgoing { topic, partition: None, key, value, headers, timestamp_ms: Some(time_ms) }
    }

    fn key<'a>(&self, user_id: Option<&'a str>, element_id: Option<&'a str>) -> Option<&'a [u8]> {
        match self.key {
            KeyField::UserId => user_id,
            KeyField::ElementId => element_id,
            KeyField::None => None,
        }
        .map(str::as_bytes)
    }

    /// Checks one event, sends it and waits for the brokers.
    async fn send_checked(&self, value: &[u8], mapping: &Mapping, stops: &Stops) -> anyhow::Result<Delivered> {
        let event = check(value, mapping).map_err(refused)?;
        let key = self.key(event.user_id.as_deref(), event.element_id.as_deref());
        let sending = self.producer.send_record(self.record(key, Some(value), now_ms()));
        tokio::select! {
            delivered = sending => delivered.context("the event was not delivered"),
            () = stops.first() => bail!("stopped before the brokers confirmed the event; it may have been written"),
        }
    }
}

/// How often Ctrl-C (or SIGTERM) came.
#[derive(Clone)]
pub(super) struct Stops {
    count: Arc<AtomicU32>,
    arrived: Arc<tokio::sync::Notify>,
}

impl Stops {
    fn new() -> Self {
        Self { count: Arc::default(), arrived: Arc::default() }
    }

    /// Counts signals from now on, until the process ends.
    pub(super) fn listen() -> Self {
        let stops = Self::new();
        let counting = stops.clone();
        tokio::spawn(async move {
            use tokio::signal::unix::{SignalKind, signal};
            let mut terminate = match signal(SignalKind::terminate()) {
                Ok(terminate) => terminate,
                Err(error) => return tracing::warn!(%error, "SIGTERM cannot be listened for"),
            };
            loop {
                tokio::select! {
                    interrupt = tokio::signal::ctrl_c() => if let Err(error) = interrupt {
                        return tracing::warn!(%error, "Ctrl-C cannot be listened for");
                    },
                    _ = terminate.recv() => {}
                }
                counting.add();
            }
        });
        stops
    }

    fn add(&self) {
        self.count.fetch_add(1, Ordering::Relaxed);
        self.arrived.notify_waiters();
    }

    fn count(&self) -> u32 {
        self.count.load(Ordering::Relaxed)
    }

    /// Ends when the first signal has come.
    pub(super) async fn first(&self) {
        loop {
            let arrived = self.arrived.notified();
            tokio::pin!(arrived);
            // Listening begins before the count is looked at, so that no signal falls between the two.
            arrived.as_mut().enable();
            if self.count() > 0 {
                return;
            }
            arrived.await;
        }
    }
}

#[cfg(test)]
#[path = "produce/tests.rs"]
mod tests;
