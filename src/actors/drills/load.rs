//! Events that a drill sends itself: where there is no load to meet the fault, and where the fault is what they hold.
//!
//! Every event carries the drill's name in the header `drover_source`, so that its dead letters are found again. Owns one
//! producer; bounded by its queue. Fails when the brokers do not take the events in time.

use super::ground::Ground;
use crate::domain::event::Mapping;
use crate::domain::generator::{DEFAULT_EVENT_BYTES, EventGenerator, PoisonKind};
use crate::domain::record::PackedHeaders;
use crate::kafka::producer::{EventProducer, Outgoing};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::time::Instant;

/// Events a second where there is no other load.
const RATE: u64 = 500;
/// Time between two looks at what is due.
const PACE: Duration = Duration::from_millis(20);
/// How long one event may wait for room in the queue.
const PATIENCE: Duration = Duration::from_secs(30);
/// How long the brokers have to confirm what was sent.
const FLUSH_TIMEOUT: Duration = Duration::from_secs(60);
/// Ways to break an event that every mapping and every store refuses.
const POISON: [PoisonKind; 6] = [
    PoisonKind::NotJson,
    PoisonKind::Truncated,
    PoisonKind::Array,
    PoisonKind::InvalidUtf8,
    PoisonKind::NulEscape,
    PoisonKind::LoneSurrogate,
];

/// The events of one drill.
pub(super) struct Load {
    producer: EventProducer,
    topic: String,
    mapping: Arc<Mapping>,
    headers: PackedHeaders,
    source: String,
    good: AtomicU64,
    poison: AtomicU64,
}

impl Load {
    /// The events of drill `number`, for the first topic of the configuration.
    pub(super) fn new(ground: &Ground, number: u64) -> Result<Self, String> {
        let topic = ground.kafka.topics.first().cloned().ok_or("no topic is read")?;
        let mapping = ground.mappings.get(&topic).cloned().ok_or("the topic has no mapping")?;
        let producer = EventProducer::new(&ground.kafka, "drover-drill", ground.record_bytes)
            .map_err(|error| error.to_string())?;
        let source = format!("drill-{}-{number}", ground.stamp);
        let mut headers = PackedHeaders::default();
        headers.push(b"drover_source", Some(source.as_bytes()));
        Ok(Self { producer, topic, mapping, headers, source, good: AtomicU64::new(0), poison: AtomicU64::new(0) })
    }

    /// The value of the header that marks the drill's events.
    pub(super) fn source(&self) -> &str {
        &self.source
    }

    /// Good and broken events that were sent.
    pub(super) fn sent(&self) -> (u64, u64) {
        (self.good.load(Ordering::Relaxed), self.poison.load(Ordering::Relaxed))
    }

    /// Sends good events at an even pace until it is dropped. Blocks for moments only: a full queue is waited out.
    pub(super) async fn flow(&self) {
        let started = Instant::now();
        let mut generator = generator();
        let mut sent = 0;
        let mut tick = tokio::time::interval(PACE);
        loop {
            tick.tick().await;
            let due = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX).saturating_mul(RATE) / 1000;
            while sent < due {
                let value = self.good_event(&mut generator);
                if self.try_send(None, &value).is_err() {
                    break;
                }
                self.good.fetch_add(1, Ordering::Relaxed);
                sent += 1;
            }
        }
    }

    /// Sends so many good and broken events, mixed, to `partition` or to all, and waits until the brokers have them.
    pub(super) async fn burst(self: &Arc<Self>, good: u64, poison: u64, partition: Option<i32>) -> Result<(), String> {
        let load = Arc::clone(self);
        blocking(move || load.send_burst(good, poison, partition)).await
    }

    /// Waits until the brokers have confirmed everything.
    pub(super) async fn flush(self: &Arc<Self>) -> Result<(), String> {
        let load = Arc::clone(self);
        blocking(move || load.confirmed()).await
    }

    fn send_burst(&self, good: u64, poison: u64, partition: Option<i32>) -> Result<(), String> {
        let mut generator = generator();
        let mut kinds = POISON.iter().cycle();
        let all = good + poison;
        for n in 0..all {
            // Spread evenly: of `all` events, `poison` are broken.
            let is_poison = (n + 1) * poison / all.max(1) > n * poison / all.max(1);
            let now_ms = chrono::Utc::now().timestamp_millis();
            let (value, count) = match is_poison.then(|| kinds.next()).flatten() {
                Some(&kind) => (generator.next_poison(kind, now_ms).1.unwrap_or_default(), &self.poison),
                None => (self.good_event(&mut generator), &self.good),
            };
            self.producer.send(self.outgoing(partition, &value), PATIENCE).map_err(|error| error.to_string())?;
            count.fetch_add(1, Ordering::Relaxed);
        }
        self.confirmed()
    }

    fn confirmed(&self) -> Result<(), String> {
        self.producer.flush(FLUSH_TIMEOUT).map_err(|error| error.to_string())?;
        let counts = self.producer.counts();
        match counts.failed_total() {
            0 => Ok(()),
            failed => Err(format!("{failed} events of the drill were not delivered: {:?}", counts.failed)),
        }
    }

    fn try_send(&self, partition: Option<i32>, value: &[u8]) -> Result<(), String> {
        self.producer.try_send(self.outgoing(partition, value)).map_err(|error| error.to_string())
    }

    fn outgoing<'a>(&'a self, partition: Option<i32>, value: &'a [u8]) -> Outgoing<'a> {
        let headers = &self.headers;
        Outgoing { topic: &self.topic, partition, key: None, value: Some(value), headers, timestamp_ms: None }
    }

    /// An event that the topic's mapping accepts.
    fn good_event(&self, generator: &mut EventGenerator) -> Vec<u8> {
        let now = chrono::Utc::now();
        let event = generator.next_event(now.timestamp_millis());
        let mapping = &*self.mapping;
        let mut document = serde_json::Map::new();
        for name in &mapping.required {
            document.insert(name.clone(), "drill".into());
        }
        document.insert(mapping.user_id.clone(), event.user_id.clone().into());
        document.insert(mapping.element_id.clone(), event.element_id.into());
        document.insert(mapping.timestamp.clone(), now.to_rfc3339().into());
        document.insert(mapping.event_type.clone(), event.event_type.into());
        serde_json::Value::Object(document).to_string().into_bytes()
    }
}

fn generator() -> EventGenerator {
    EventGenerator::new(rand::random(), DEFAULT_EVENT_BYTES)
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T, String> + Send + 'static) -> Result<T, String> {
    tokio::task::spawn_blocking(work).await.unwrap_or_else(|error| Err(error.to_string()))
}
