//! Events for the HTTP server: searches, where one is, what was counted, and those that are sent.
//!
//! Bound: [`SEARCHES_AT_ONCE`] questions to the store at once, so that consumers and operators always find a connection; more
//! wait for [`TURN_TIMEOUT`] and are then refused. Each takes [`SEARCH_TIME`] at most. Everything runs on the runtime of the
//! store's connections, whoever asked for it.

use super::prepare::{Prepared, impatient};
use super::{bursts::Bursts, mappings};
use crate::board::Board;
use crate::config::{Config, KafkaConfig};
use crate::domain::burst::{BurstPlan, BurstReport};
use crate::domain::command::CommandError;
use crate::domain::event::Mapping;
use crate::domain::event_search::{EventPage, EventSearch, FIELD_CHARACTERS, FoundEvent};
use crate::domain::record::PackedHeaders;
use crate::domain::whereabouts::{Facts, whereabouts};
use crate::http::{EventPort, Later, Location, NewEvent, SentEvent};
use crate::kafka::error::KafkaError;
use crate::kafka::lookup::Lookup;
use crate::kafka::producer::{EventProducer, Outgoing};
use crate::kafka::rebalance::TopicPartition;
use crate::store::statistics::StoredStatistics;
use crate::store::{Store, StoreError, events};
use futures::FutureExt as _;
use serde_json::{Map, Value};
use std::collections::BTreeMap;
use std::future::Future;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::Semaphore;

/// Questions to the store at once. PostgreSQL's pool has four connections, of which others need some.
const SEARCHES_AT_ONCE: usize = 2;
/// How long a question waits for its turn.
const TURN_TIMEOUT: Duration = Duration::from_secs(3);
/// How long one search looks, and how long the other questions may take.
const SEARCH_TIME: Duration = Duration::from_secs(2);
/// How long Kafka may take to tell where a partition begins and ends.
const ENDS_TIMEOUT: Duration = Duration::from_secs(3);
/// How long Kafka may take to confirm an event.
const SEND_TIMEOUT: Duration = Duration::from_secs(10);
/// Events of single requests that are on their way at once.
const SENDS_AT_ONCE: usize = 64;
/// The header by which a row tells who produced it, and what it says of events that come through here.
const SOURCE: (&[u8], &[u8]) = (b"drover_source", b"api");

/// See the module. Clones share everything.
#[derive(Clone)]
pub struct AppEvents(Arc<Inner>);

struct Inner {
    store: Arc<dyn Store>,
    lookup: Arc<Lookup>,
    board: Arc<Board>,
    mappings: BTreeMap<String, Arc<Mapping>>,
    /// The topics that are read, in their order.
    topics: Vec<String>,
    sender: Sender,
    turns: Arc<Semaphore>,
    sends: Arc<Semaphore>,
    bursts: Arc<Bursts>,
    runtime: tokio::runtime::Handle,
}

impl AppEvents {
    /// To be called on the runtime of the store's connections.
    pub fn new(config: &Config, prepared: &Prepared, board: &Arc<Board>) -> Self {
        let inner = Inner {
            store: Arc::clone(&prepared.store),
            lookup: Arc::clone(&prepared.lookup),
            board: Arc::clone(board),
            mappings: mappings(config),
            topics: config.kafka.topics.clone(),
            sender: Sender::new(config),
            turns: Arc::new(Semaphore::new(SEARCHES_AT_ONCE)),
            sends: Arc::new(Semaphore::new(SENDS_AT_ONCE)),
            bursts: Arc::default(),
            runtime: tokio::runtime::Handle::current(),
        };
        Self(Arc::new(inner))
    }

    /// Runs a question when it is its turn.
    fn ask<T, Fut>(&self, question: impl FnOnce(Arc<Inner>) -> Fut + Send + 'static) -> Later<T>
    where
        T: Send + 'static,
        Fut: Future<Output = Result<T, CommandError>> + Send,
    {
        let inner = Arc::clone(&self.0);
        let task = self.0.runtime.spawn(async move {
            let turn = tokio::time::timeout(TURN_TIMEOUT, Arc::clone(&inner.turns).acquire_owned()).await;
            let Ok(Ok(_turn)) = turn else {
                let detail = format!("{SEARCHES_AT_ONCE} questions to the store are under way; try again in a moment");
                return Err(CommandError::Busy(detail));
            };
            question(inner).await
        });
        ended(task)
    }

    /// The topic that is meant.
    fn topic(&self, topic: Option<String>) -> Result<String, CommandError> {
        let read = &self.0.topics;
        match topic {
            None => read.first().cloned().ok_or_else(|| CommandError::Invalid("no topic is read here".into())),
            Some(topic) if read.contains(&topic) => Ok(topic),
            Some(topic) => {
                let detail = format!("topic {topic:?} is not read here; these are: {}", read.join(", "));
                Err(CommandError::Invalid(detail))
            }
        }
    }
}

fn ended<T: Send + 'static>(task: tokio::task::JoinHandle<Result<T, CommandError>>) -> Later<T> {
    async move {
        task.await.unwrap_or_else(|error| Err(CommandError::Internal(format!("a question ended early: {error}"))))
    }
    .boxed()
}

/// Waits for an answer of the store.
async fn answered<T>(asked: impl Future<Output = Result<T, StoreError>>) -> Result<T, CommandError> {
    match tokio::time::timeout(SEARCH_TIME, asked).await {
        Ok(answer) => answer.map_err(|error| CommandError::Unavailable(error.to_string())),
        Err(_) => Err(CommandError::Unavailable(format!("the store did not answer within {SEARCH_TIME:?}"))),
    }
}

impl EventPort for AppEvents {
    fn search(&self, search: EventSearch) -> Later<EventPage> {
        self.ask(move |inner| async move {
            let read = |event: &mut FoundEvent, value: &[u8]| {
                if let Some(mapping) = inner.mappings.get(&event.at.topic) {
                    fill(event, value, mapping);
                }
            };
            let page = events::search(&*inner.store, search, SEARCH_TIME, &read).await;
            page.map_err(|error| CommandError::Unavailable(error.to_string()))
        })
    }

    fn locate(&self, topic: String, partition: i32, offset: i64) -> Later<Location> {
        self.ask(move |inner| async move { inner.locate(topic, partition, offset).await })
    }

    fn statistics(&self, minutes: u32) -> Later<StoredStatistics> {
        self.ask(move |inner| async move {
            let now_ms = chrono::Utc::now().timestamp_millis();
            let this_minute = now_ms - now_ms.rem_euclid(60_000);
            let since_ms = this_minute - i64::from(minutes.saturating_sub(1)) * 60_000;
            answered(inner.store.statistics(since_ms, SEARCH_TIME)).await
        })
    }

    fn send(&self, event: NewEvent) -> Later<SentEvent> {
        let topic = match self.topic(event.topic) {
            Ok(topic) => topic,
            Err(error) => return async { Err(error) }.boxed(),
        };
        let Ok(place) = Arc::clone(&self.0.sends).try_acquire_owned() else {
            let detail = format!("{SENDS_AT_ONCE} events are on their way; try again in a moment");
            return async { Err(CommandError::Busy(detail)) }.boxed();
        };
        let inner = Arc::clone(&self.0);
        ended(self.0.runtime.spawn(async move {
            let _place = place;
            let producer = inner.sender.producer()?;
            // As every producer of user events has it: the events of one user stay in order.
            let user =
                || inner.mappings.get(&topic).and_then(|mapping| text(&document(&event.value)?, &mapping.user_id));
            let key = event.key.clone().or_else(user);
            let sent = send(&producer, &topic, key.as_deref().map(str::as_bytes), Some(&event.value)).await;
            let delivered = sent.map_err(|error| unsent(&error))?;
            Ok(SentEvent { topic, partition: delivered.partition, offset: delivered.offset })
        }))
    }

    fn start_burst(&self, mut plan: BurstPlan) -> Result<BurstReport, CommandError> {
        plan.topic = self.topic(Some(plan.topic).filter(|topic| !topic.is_empty()))?;
        let producer = self.0.sender.producer()?;
        let report = self.0.bursts.begin(plan)?;
        self.0.runtime.spawn(super::bursts::run(Arc::clone(&self.0.bursts), producer, report.clone()));
        Ok(report)
    }

    fn burst(&self, id: u64) -> Option<BurstReport> {
        self.0.bursts.report(id)
    }
}

impl Inner {
    async fn locate(&self, topic: String, partition: i32, offset: i64) -> Result<Location, CommandError> {
        // The position before the record, see `whereabouts`.
        let progress = answered(self.store.topic(&topic)).await?;
        let progress = progress.and_then(|topic| topic.partitions.get(&partition).copied());
        let read_offset = self
            .board
            .consumers()
            .into_iter()
            .flat_map(|consumer| consumer.partitions)
            .find(|owned| owned.topic == topic && owned.partition == partition)
            .and_then(|owned| owned.read_offset);
        let event = answered(self.store.event(&topic, partition, offset)).await?;
        let dead_letter = match event {
            Some(_) => None,
            None => answered(self.store.dead_letter(&topic, partition, offset)).await?,
        };
        let gap = match (&event, &dead_letter) {
            (None, None) => answered(self.store.gap_at(&topic, partition, offset)).await?,
            _ => None,
        };
        let (low_offset, end_offset) = match progress {
            Some(_) => self.ends(&topic, partition).await,
            None => (None, None),
        };
        let facts = Facts {
            stored: event.is_some(),
            dead_letter: dead_letter.is_some(),
            gap,
            progress: progress.map(|progress| (progress.first_offset, progress.next_offset)),
            read_offset,
            low_offset,
            end_offset,
        };
        let (whereabouts, detail) = whereabouts(offset, &facts);
        Ok(Location { whereabouts, detail, event, dead_letter, facts })
    }

    /// The oldest offset that Kafka has, and the one after the newest; unknown where it does not answer.
    async fn ends(&self, topic: &str, partition: i32) -> (Option<i64>, Option<i64>) {
        let lookup = Arc::clone(&self.lookup);
        let of = TopicPartition { topic: topic.to_owned(), partition };
        let asked = tokio::task::spawn_blocking(move || {
            let of = [of];
            let first = |known: Result<BTreeMap<TopicPartition, i64>, KafkaError>| known.ok()?.into_values().next();
            (first(lookup.beginnings(&of)), first(lookup.ends(&of)))
        });
        match tokio::time::timeout(ENDS_TIMEOUT, asked).await {
            Ok(Ok(ends)) => ends,
            _ => (None, None),
        }
    }
}

/// What the value of a dead letter says of itself, as far as it can be read.
fn fill(event: &mut FoundEvent, value: &[u8], mapping: &Mapping) {
    let Some(document) = document(value) else { return };
    let cut = |text: String| text.chars().take(FIELD_CHARACTERS + 1).collect();
    event.user_id = text(&document, &mapping.user_id).map(cut);
    event.element_id = text(&document, &mapping.element_id).map(cut);
    if document.get(&mapping.event_type).is_some_and(Value::is_string) {
        event.event_type = text(&document, &mapping.event_type).map(cut);
    }
}

fn document(value: &[u8]) -> Option<Map<String, Value>> {
    serde_json::from_slice(value).ok()
}

/// A string or an integer, as the columns have it.
fn text(document: &Map<String, Value>, field: &str) -> Option<String> {
    match document.get(field)? {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) if number.is_i64() || number.is_u64() => Some(number.to_string()),
        _ => None,
    }
}

/// Sends one record with the header that says where it came from.
pub(super) async fn send(
    producer: &EventProducer,
    topic: &str,
    key: Option<&[u8]>,
    value: Option<&[u8]>,
) -> Result<crate::kafka::producer::Delivered, KafkaError> {
    let mut headers = PackedHeaders::default();
    headers.push(SOURCE.0, Some(SOURCE.1));
    let record = Outgoing { topic, partition: None, key, value, headers: &headers, timestamp_ms: None };
    producer.send_record(record).await
}

fn unsent(error: &KafkaError) -> CommandError {
    use crate::kafka::error::KafkaErrorKind as Kind;
    match error.kind() {
        Kind::TooLarge | Kind::Invalid => CommandError::Invalid(error.to_string()),
        _ => CommandError::Unavailable(error.to_string()),
    }
}

/// The producer, made when the first event is sent: most processes never send one.
struct Sender {
    kafka: KafkaConfig,
    record_bytes: usize,
    made: Mutex<Option<Arc<EventProducer>>>,
}

impl Sender {
    fn new(config: &Config) -> Self {
        let kafka = impatient(&config.kafka, SEND_TIMEOUT);
        Self { kafka, record_bytes: config.limits.record_bytes, made: Mutex::default() }
    }

    /// The producer; another one where it has failed for good.
    fn producer(&self) -> Result<Arc<EventProducer>, CommandError> {
        let mut made = self.made.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(producer) = made.as_ref().filter(|producer| producer.fatal_error().is_none()) {
            return Ok(Arc::clone(producer));
        }
        let producer = EventProducer::new(&self.kafka, "drover-api", self.record_bytes)
            .map_err(|error| CommandError::Unavailable(error.to_string()))?;
        Ok(Arc::clone(made.insert(Arc::new(producer))))
    }
}
