//! The dead-letter actor: publishes dead letters from their table to the dead-letter topics, after the commit.
//!
//! An outbox: the table holds each dead letter exactly once, the topic at least once, with a stable id in a header. One
//! process of the group publishes at a time. A broker that does not answer, or a missing topic, stops nothing: rows wait in
//! the table and are counted, and those of other source topics are published meanwhile. What a broker will never take (too
//! large) is marked and passed. Memory is bounded by what [`Outbox::pending`] reads at once. Each generation has a producer
//! of its own, and ends when that has failed for good.

use super::exit::ExitError;
use super::lifecycle::{Control, Task, TaskActor};
use crate::domain::record::{PackedHeaders, TimestampType};
use crate::domain::status::ChildState;
use crate::kafka::error::{KafkaError, KafkaErrorKind, KafkaResult};
use crate::kafka::lookup::Lookup;
use crate::kafka::producer::{EventProducer, Outgoing};
use crate::metrics::Metrics;
use crate::store::{Outbox, PublishOutcome, Store, StoreError, StoredDeadLetter};
use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Notify;
use tokio::time::Instant;

/// The actor that publishes.
pub type DeadLetterActor = TaskActor<DeadLetterTask>;

/// Dead letters that are read and sent together, at most.
const BATCH: u32 = 500;
/// How often the table is looked at without a call: another process may have stored dead letters.
const LOOK_EVERY: Duration = Duration::from_secs(2);
/// First and longest delay after a failure, of the store or of one source topic.
const RETRY: (Duration, Duration) = (Duration::from_millis(200), Duration::from_secs(5));

/// What makes a producer for each generation.
pub type Producers = Arc<dyn Fn() -> KafkaResult<EventProducer> + Send + Sync>;

/// What the dead-letter actor is made of.
pub struct DeadLetterTask {
    /// The table.
    pub store: Arc<dyn Store>,
    /// Makes its producer. A record that it was given must be answered for within `patience`.
    pub producers: Producers,
    /// Tells how many partitions a dead-letter topic has.
    pub lookup: Arc<Lookup>,
    /// Name of the dead-letter topic; `{topic}` stands for the source topic.
    pub topic: String,
    /// The group, for a header.
    pub group: String,
    /// Woken when dead letters were stored here.
    pub stored: Arc<Notify>,
    /// Metrics.
    pub metrics: Metrics,
    /// Longest wait for one answer of the store or the brokers.
    pub patience: Duration,
}

impl Task for DeadLetterTask {
    async fn run(self, control: Control) -> Result<(), ExitError> {
        let producer = (self.producers)().map_err(|error| ExitError::error(error.to_string()))?;
        let producer = ClosedBeside(Some(producer));
        control.set_state(ChildState::Running);
        let mut outbox: Option<Box<dyn Outbox>> = None;
        let mut topics = Topics::default();
        let mut delay = RETRY.0;
        loop {
            control.progress();
            let published = self.publish_some(&control, producer.get(), &mut outbox, &mut topics).await;
            if control.draining().is_none()
                && !matches!(published, Ok(Published::Nothing))
                && let Some(reason) = producer.get().fatal_error()
            {
                return Err(ExitError::error(format!(
                    "the producer of dead letters has failed for good ({reason}); another one is made"
                )));
            }
            let wait = match published {
                Ok(Published::Some) => {
                    delay = RETRY.0;
                    continue;
                }
                Ok(Published::Nothing) => {
                    topics.next_try(Instant::now()).map_or(LOOK_EVERY, |wait| wait.min(LOOK_EVERY))
                }
                Err(reason) => {
                    tracing::warn!(reason = %reason, delay_ms = delay.as_millis() as u64, "dead letters wait to be published");
                    // The right may be gone with the connection.
                    outbox = None;
                    let wait = delay;
                    delay = (delay * 2).min(RETRY.1);
                    wait
                }
            };
            if control.draining().is_some() {
                // What could not be published waits in the table for the next start.
                return Ok(());
            }
            tokio::select! {
                _ = control.drain_requested() => {}
                () = self.stored.notified() => {}
                () = tokio::time::sleep(wait) => {}
            }
        }
    }
}

enum Published {
    /// Some were tried. Those that could not be published rest.
    Some,
    Nothing,
}

/// A producer that is closed beside the runtime's threads: closing waits for threads of its own.
struct ClosedBeside(Option<EventProducer>);

impl ClosedBeside {
    fn get(&self) -> &EventProducer {
        self.0.as_ref().expect("it is there until it is dropped")
    }
}

impl Drop for ClosedBeside {
    fn drop(&mut self) {
        let producer = self.0.take();
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            drop(runtime.spawn_blocking(move || drop(producer)));
        }
    }
}

/// What is known of topics. Bounded by the source topics of dead letters that wait.
#[derive(Default)]
struct Topics {
    /// How many partitions each dead-letter topic has.
    partitions: BTreeMap<String, i32>,
    /// Until when the dead letters of a source topic rest because one of them could not be published, and how long the next
    /// rest is.
    resting: BTreeMap<String, (Instant, Duration)>,
}

impl Topics {
    /// The source topics that rest now.
    fn resting(&self, now: Instant) -> Vec<String> {
        let resting = self.resting.iter().filter(|(_, (until, _))| *until > now);
        resting.map(|(source, _)| source.clone()).collect()
    }

    /// How long it is to the end of the first rest.
    fn next_try(&self, now: Instant) -> Option<Duration> {
        self.resting.values().filter(|(until, _)| *until > now).map(|(until, _)| *until - now).min()
    }

    /// A dead letter of this source topic could not be published. Gives back how long all of them rest.
    fn failed(&mut self, source: &str, now: Instant) -> Duration {
        let (until, next) = self.resting.entry(source.to_owned()).or_insert((now, RETRY.0));
        let rest = *next;
        (*until, *next) = (now + rest, (rest * 2).min(RETRY.1));
        rest
    }
}

#[derive(Debug, thiserror::Error)]
enum Waits {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("{0} did not answer within {1:?}")]
    Silent(&'static str, Duration),
}

impl DeadLetterTask {
    async fn publish_some(
        &self,
        control: &Control,
        producer: &EventProducer,
        outbox: &mut Option<Box<dyn Outbox>>,
        topics: &mut Topics,
    ) -> Result<Published, Waits> {
        if outbox.is_none() {
            *outbox = self.answer(control, "the store", self.store.outbox()).await??;
        }
        let Some(outbox) = outbox.as_mut() else {
            return Ok(Published::Nothing);
        };
        let except = topics.resting(Instant::now());
        let letters = self.answer(control, "the store", outbox.pending(BATCH, &except)).await??;
        if letters.is_empty() {
            return Ok(Published::Nothing);
        }
        for letter in &letters {
            let topic = self.topic_of(&letter.record.topic);
            if let Entry::Vacant(unknown) = topics.partitions.entry(topic) {
                // A topic that is missing stops its own dead letters only; sending says so for each.
                if let Ok(Ok(count)) = self.answer(control, "the cluster", self.partitions_of(unknown.key())).await {
                    unknown.insert(count);
                }
            }
        }
        let partitions = &topics.partitions;
        // librdkafka gives up before time is up. What it does not answer all the same is sent again: the topic has to bear it.
        let sent = futures::future::join_all(letters.iter().map(|letter| async {
            match tokio::time::timeout(self.patience, self.send(producer, letter, partitions)).await {
                Ok(answer) => answer,
                Err(_) => Err(KafkaError::new(
                    KafkaErrorKind::Unavailable,
                    "publishing dead letters",
                    format!("no answer within {:?}", self.patience),
                )),
            }
        }));
        control.progress();
        let sent = sent.await;
        let mut answers = Vec::with_capacity(sent.len());
        let mut failed: BTreeMap<&str, KafkaError> = BTreeMap::new();
        for (letter, answer) in letters.iter().zip(sent) {
            let topic = self.topic_of(&letter.record.topic);
            let outcome = match answer {
                Ok(()) => "published",
                Err(error) if is_final(error.kind()) => {
                    tracing::error!(
                        topic, source = %letter.record.topic, partition = letter.record.partition, offset = letter.record.offset,
                        error = %error, "the broker will never take this dead letter; it stays in the table"
                    );
                    answers.push((letter.id, PublishOutcome::Refused(error.to_string())));
                    "refused"
                }
                Err(error) => {
                    failed.insert(&letter.record.topic, error);
                    "error"
                }
            };
            if outcome == "published" {
                answers.push((letter.id, PublishOutcome::Published));
            }
            self.metrics.dead_letters_published.with_label_values(&[topic.as_str(), outcome]).inc();
        }
        if !answers.is_empty() {
            self.answer(control, "the store", outbox.mark(&answers)).await??;
        }
        let now = Instant::now();
        topics.resting.retain(|source, _| {
            failed.contains_key(source.as_str()) || !letters.iter().any(|letter| letter.record.topic == *source)
        });
        for (source, error) in failed {
            let rest = topics.failed(source, now);
            // The topic may be gone with its partitions: they are looked up anew.
            topics.partitions.remove(&self.topic_of(source));
            tracing::warn!(
                topic = source, reason = %error, delay_ms = rest.as_millis() as u64,
                "dead letters of a topic wait to be published"
            );
        }
        Ok(Published::Some)
    }

    /// What somebody answers, with a heartbeat before it, so that each silence is shorter than the watchdog's patience.
    async fn answer<T>(
        &self,
        control: &Control,
        who: &'static str,
        asked: impl Future<Output = T>,
    ) -> Result<T, Waits> {
        control.progress();
        tokio::time::timeout(self.patience, asked).await.map_err(|_| Waits::Silent(who, self.patience))
    }

    fn topic_of(&self, source: &str) -> String {
        self.topic.replace("{topic}", source)
    }

    async fn partitions_of(&self, topic: &str) -> Result<i32, KafkaError> {
        let (lookup, name) = (Arc::clone(&self.lookup), topic.to_owned());
        let doing = || format!("publishing dead letters to topic \"{topic}\"");
        let described = tokio::task::spawn_blocking(move || lookup.topic(&name))
            .await
            .map_err(|_| KafkaError::new(KafkaErrorKind::Canceled, doing(), "the question was not finished"))??;
        match described {
            Some(described) => Ok(i32::try_from(described.partitions.len()).unwrap_or(i32::MAX)),
            None => Err(KafkaError::new(KafkaErrorKind::UnknownTopic, doing(), "the topic does not exist")),
        }
    }

    async fn send(
        &self,
        producer: &EventProducer,
        letter: &StoredDeadLetter,
        partitions: &BTreeMap<String, i32>,
    ) -> Result<(), KafkaError> {
        let record = &letter.record;
        let topic = self.topic_of(&record.topic);
        let headers = headers(letter, &self.group);
        let Some(&count) = partitions.get(&topic) else {
            let doing = format!("publishing dead letters to topic \"{topic}\"");
            return Err(KafkaError::new(
                KafkaErrorKind::UnknownTopic,
                doing,
                "the topic does not exist or cannot be described",
            ));
        };
        let same = (record.partition < count).then_some(record.partition);
        let outgoing = Outgoing {
            topic: &topic,
            partition: same,
            key: record.key.as_deref(),
            value: record.value.as_deref(),
            headers: &headers,
            timestamp_ms: (record.timestamp.kind != TimestampType::NotAvailable).then_some(record.timestamp.ms),
        };
        producer.send_record(outgoing).await.map(|_| ())
    }
}

/// Whether the broker will never take the record.
fn is_final(kind: KafkaErrorKind) -> bool {
    matches!(kind, KafkaErrorKind::TooLarge | KafkaErrorKind::Invalid)
}

/// The headers of a published dead letter: those of the record, then Spring Kafka's with its encodings (numbers are
/// big-endian; names and encodings from Spring's KafkaHeaders and DeadLetterPublishingRecoverer), then readable ones.
#[must_use]
pub fn headers(letter: &StoredDeadLetter, group: &str) -> PackedHeaders {
    let record = &letter.record;
    let mut headers = record.headers.clone();
    let failed_at = chrono::DateTime::from_timestamp_millis(letter.failed_at_ms).unwrap_or_default().to_rfc3339();
    let id = format!("{}/{}/{}/{}", record.topic, record.partition, letter.incarnation, record.offset);
    let (partition, offset, attempts) =
        (record.partition.to_string(), record.offset.to_string(), letter.attempts.to_string());
    let list: [(&str, &[u8]); 18] = [
        ("kafka_dlt-original-topic", record.topic.as_bytes()),
        ("kafka_dlt-original-partition", &record.partition.to_be_bytes()),
        ("kafka_dlt-original-offset", &record.offset.to_be_bytes()),
        ("kafka_dlt-original-timestamp", &record.timestamp.ms.to_be_bytes()),
        ("kafka_dlt-original-timestamp-type", record.timestamp.kind.as_str().as_bytes()),
        ("kafka_dlt-original-consumer-group", group.as_bytes()),
        ("kafka_dlt-exception-fqcn", letter.code.as_bytes()),
        ("kafka_dlt-exception-message", letter.message.as_bytes()),
        ("drover_dead_letter_id", id.as_bytes()),
        ("drover_code", letter.code.as_bytes()),
        ("drover_message", letter.message.as_bytes()),
        ("drover_stage", letter.stage.as_bytes()),
        ("drover_attempts", attempts.as_bytes()),
        ("drover_consumer_id", letter.consumer_id.as_bytes()),
        ("drover_failed_at", failed_at.as_bytes()),
        ("drover_original_topic", record.topic.as_bytes()),
        ("drover_original_partition", partition.as_bytes()),
        ("drover_original_offset", offset.as_bytes()),
    ];
    for (name, value) in list {
        headers.push(name.as_bytes(), Some(value));
    }
    headers
}

#[cfg(test)]
#[path = "dead_letter_tests.rs"]
mod tests;
