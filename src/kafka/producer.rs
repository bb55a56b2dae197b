//! The producer: of `drover produce`, of the demo, of events that come over HTTP, and of the dead-letter topics.
//!
//! Owns one librdkafka producer and the thread that serves its delivery reports. Bounded by librdkafka's queue (100,000
//! records, 32 MiB). A full queue is never passed over in silence: [`EventProducer::send`] waits for room,
//! [`EventProducer::try_send`] says so, [`EventProducer::send_record`] waits without blocking its thread. Every record that
//! was taken ends as delivered or as failed, and both are counted.

use super::client::{LoggingContext, producer_client_config};
use super::error::{KafkaError, KafkaErrorKind, KafkaResult, Reported, kind_of};
use super::revive::look_after;
use crate::config::KafkaConfig;
use crate::domain::record::PackedHeaders;
use rdkafka::ClientContext;
use rdkafka::Message as _;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::error::KafkaError as NativeError;
use rdkafka::message::{DeliveryResult, Header, OwnedHeaders};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer as _, ProducerContext, PurgeConfig};
use rdkafka::statistics::Statistics;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::oneshot;

/// How long one wait for delivery reports takes at most. They are served as they come; but the client library spins through the last
/// millisecond of each wait, so that waits of 100 ms, as its own thread makes them, cost one per cent of a core for nothing.
const POLL: Duration = Duration::from_secs(1);

/// How long a sender sleeps before it looks again whether a full queue has room.
const FULL_QUEUE_PAUSE: Duration = Duration::from_millis(5);

/// A record on its way to Kafka, borrowed: librdkafka copies it.
#[derive(Debug, Clone, Copy)]
pub struct Outgoing<'a> {
    /// Topic.
    pub topic: &'a str,
    /// Partition; `None` lets librdkafka choose by the key (and at random without one).
    pub partition: Option<i32>,
    /// Key; `None` is Kafka's null.
    pub key: Option<&'a [u8]>,
    /// Value; `None` is a tombstone.
    pub value: Option<&'a [u8]>,
    /// Headers in order. Values go out byte for byte, nulls too. Kafka's protocol says that names are UTF-8: bytes that are
    /// not are replaced by U+FFFD, since librdkafka's interface takes text only; dead letters keep the exact name in their
    /// table.
    pub headers: &'a PackedHeaders,
    /// Milliseconds since the epoch; `None` takes the time of sending.
    pub timestamp_ms: Option<i64>,
}

/// Where a record came to lie.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Delivered {
    /// Partition.
    pub partition: i32,
    /// Offset.
    pub offset: i64,
}

/// What became of the records that the producer took.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct DeliveryCounts {
    /// Records that librdkafka took.
    pub sent: u64,
    /// Records that the brokers confirmed.
    pub delivered: u64,
    /// Records given up, by reason.
    pub failed: BTreeMap<String, u64>,
    /// Waits because the queue was full.
    pub queue_full: u64,
}

impl DeliveryCounts {
    /// Records given up, all reasons together.
    #[must_use]
    pub fn failed_total(&self) -> u64 {
        self.failed.values().sum()
    }
}

/// Sends records with acks=all, idempotently. Cheap to share behind an `Arc`.
pub struct EventProducer {
    producer: Arc<BaseProducer<DeliveryContext>>,
    /// Set when it is dropped: its thread ends by itself, and the client with it.
    dropped: Arc<AtomicBool>,
    sent: AtomicU64,
    queue_full: AtomicU64,
}

impl EventProducer {
    /// Makes a producer; it connects in the background. `max_record_bytes` is the largest record that it must take.
    ///
    /// # Errors
    /// When a property is refused by librdkafka.
    pub fn new(kafka: &KafkaConfig, client_id: &str, max_record_bytes: usize) -> KafkaResult<Self> {
        let context = DeliveryContext {
            logging: LoggingContext::new(client_id),
            delivered: AtomicU64::new(0),
            failed: Mutex::new(BTreeMap::new()),
        };
        let doing = "making a Kafka producer";
        let producer: BaseProducer<_> = producer_client_config(kafka, client_id, max_record_bytes)
            .create_with_context(context)
            .map_err(|error| KafkaError::native(doing, &error))?;
        let (producer, dropped) = (Arc::new(producer), Arc::new(AtomicBool::new(false)));
        look_after(&producer, |producer| producer.client(), producer.context().logging.all_down(), &kafka.brokers);
        let (polled, over) = (Arc::clone(&producer), Arc::clone(&dropped));
        let poll = move || {
            while !over.load(Ordering::Acquire) {
                polled.poll(POLL);
            }
        };
        let thread = std::thread::Builder::new().name("kafka-reports".to_owned()).spawn(poll);
        thread.map_err(|error| {
            KafkaError::new(KafkaErrorKind::Other, doing, format!("no thread for its reports: {error}"))
        })?;
        Ok(Self { producer, dropped, sent: AtomicU64::new(0), queue_full: AtomicU64::new(0) })
    }

    /// Hands a record to librdkafka; what becomes of it is counted.
    ///
    /// # Errors
    /// [`KafkaErrorKind::QueueFull`] when there is no room now, and any other when the record can never be sent (too large,
    /// unknown partition, a fatal error of the producer).
    pub fn try_send(&self, record: Outgoing<'_>) -> KafkaResult<()> {
        self.enqueue(record, None).map_err(|(error, _)| error)
    }

    /// Hands a record to librdkafka, and blocks while its queue is full: the caller goes as fast as the brokers do.
    ///
    /// # Errors
    /// As [`EventProducer::try_send`]; the queue is still full only after `patience`.
    pub fn send(&self, record: Outgoing<'_>, patience: Duration) -> KafkaResult<()> {
        let mut waiting_since = None;
        loop {
            match self.enqueue(record, None) {
                Err((error, _)) if error.kind() == KafkaErrorKind::QueueFull => {
                    if waiting_since.get_or_insert_with(Instant::now).elapsed() > patience {
                        return Err(error.because(self.last_error()));
                    }
                    self.queue_full.fetch_add(1, Ordering::Relaxed);
                    std::thread::sleep(FULL_QUEUE_PAUSE);
                }
                outcome => return outcome.map_err(|(error, _)| error),
            }
        }
    }

    /// Sends a record and waits until the brokers have confirmed it. Dropping the future does not call the record back.
    ///
    /// # Errors
    /// When the record cannot be sent or was given up: see [`KafkaError::kind`] for whether trying again can help. Waiting
    /// ends with librdkafka's `message.timeout.ms` (5 minutes unless configured).
    pub async fn send_record(&self, record: Outgoing<'_>) -> KafkaResult<Delivered> {
        let (report, reported) = oneshot::channel();
        let mut report = Some(report);
        while let Err((error, back)) = self.enqueue(record, report) {
            if error.kind() != KafkaErrorKind::QueueFull {
                return Err(error);
            }
            report = back;
            self.queue_full.fetch_add(1, Ordering::Relaxed);
            tokio::time::sleep(FULL_QUEUE_PAUSE).await;
        }
        match reported.await {
            Ok(Ok(delivered)) => Ok(delivered),
            Ok(Err(error)) => Err(KafkaError::native(doing(record.topic), &error).because(self.last_error())),
            Err(_) => Err(KafkaError::new(KafkaErrorKind::Canceled, doing(record.topic), "the producer was stopped")),
        }
    }

    fn enqueue(&self, record: Outgoing<'_>, report: Report) -> Result<(), (KafkaError, Report)> {
        let mut native: BaseRecord<'_, [u8], [u8], Box<Report>> =
            BaseRecord::with_opaque_to(record.topic, Box::new(report));
        native.partition = record.partition;
        native.key = record.key;
        native.payload = record.value;
        native.timestamp = record.timestamp_ms;
        if !record.headers.is_empty() {
            let mut headers = OwnedHeaders::new();
            for (name, value) in record.headers.iter() {
                headers = headers.insert(Header { key: &String::from_utf8_lossy(name), value });
            }
            native.headers = Some(headers);
        }
        match self.producer.send(native) {
            Ok(()) => {
                self.sent.fetch_add(1, Ordering::Relaxed);
                Ok(())
            }
            Err((error, back)) => {
                let mut error = KafkaError::native(doing(record.topic), &error);
                if let Some((_, reason)) = self.producer.client().fatal_error() {
                    error = error.with_detail(&format!("the producer has failed for good: {reason}"));
                }
                Err((error, *back.delivery_opaque))
            }
        }
    }

    /// Waits until every record that was taken is delivered or given up. Blocks.
    ///
    /// # Errors
    /// When records are still on their way after `patience`.
    pub fn flush(&self, patience: Duration) -> KafkaResult<()> {
        self.producer.flush(patience).map_err(|error| {
            let doing = format!("waiting for the delivery of {} records", self.producer.in_flight_count());
            KafkaError::native(doing, &error).because(self.last_error())
        })
    }

    /// Gives up every record that is not yet confirmed; each counts as failed. Some of them may have been written.
    pub fn give_up(&self) {
        self.producer.purge(PurgeConfig::default().queue().inflight());
    }

    /// Records taken that are neither delivered nor given up.
    #[must_use]
    pub fn in_flight(&self) -> u64 {
        u64::try_from(self.producer.in_flight_count()).unwrap_or(0)
    }

    /// What became of the records so far.
    #[must_use]
    pub fn counts(&self) -> DeliveryCounts {
        let context = self.producer.context();
        DeliveryCounts {
            delivered: context.delivered.load(Ordering::Relaxed),
            failed: context.failed.lock().unwrap_or_else(PoisonError::into_inner).clone(),
            sent: self.sent.load(Ordering::Relaxed),
            queue_full: self.queue_full.load(Ordering::Relaxed),
        }
    }

    /// Why it can send nothing any more, if it has failed for good: only another producer can go on.
    #[must_use]
    pub fn fatal_error(&self) -> Option<String> {
        self.producer.client().fatal_error().map(|(code, reason)| format!("{code}: {reason}"))
    }

    /// Makes it fail for good, as a broker can that refuses its id or loses its sequence.
    #[cfg(test)]
    pub(crate) fn fail_for_good(&self) {
        super::native::fail_for_good(self.producer.client());
    }

    /// Why the brokers do not answer, as librdkafka said it last.
    pub fn last_error(&self) -> Option<Reported> {
        self.producer.context().logging.take_last_error()
    }
}

impl Drop for EventProducer {
    fn drop(&mut self) {
        self.dropped.store(true, Ordering::Release);
    }
}

fn doing(topic: &str) -> String {
    format!("sending to topic \"{topic}\"")
}

/// Whoever waits for one record's delivery.
type Report = Option<oneshot::Sender<Result<Delivered, NativeError>>>;

struct DeliveryContext {
    logging: LoggingContext,
    delivered: AtomicU64,
    failed: Mutex<BTreeMap<String, u64>>,
}

impl ClientContext for DeliveryContext {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, line: &str) {
        self.logging.log(level, facility, line);
    }
    fn stats(&self, _statistics: Statistics) {}
    fn error(&self, error: NativeError, reason: &str) {
        self.logging.error(error, reason);
    }
}

impl ProducerContext for DeliveryContext {
    type DeliveryOpaque = Box<Report>;

    fn delivery(&self, result: &DeliveryResult<'_>, report: Box<Report>) {
        let outcome = match result {
            Ok(message) => {
                self.delivered.fetch_add(1, Ordering::Relaxed);
                Ok(Delivered { partition: message.partition(), offset: message.offset() })
            }
            Err((error, _)) => {
                let reason = error.rdkafka_error_code().map_or_else(|| error.to_string(), |code| code.to_string());
                let mut failed = self.failed.lock().unwrap_or_else(PoisonError::into_inner);
                *failed.entry(format!("{}: {reason}", kind_of(error))).or_default() += 1;
                Err(error.clone())
            }
        };
        if let Some(report) = *report {
            // A waiter that went away needs no answer; the count above is kept.
            let _ = report.send(outcome);
        }
    }
}

#[cfg(test)]
#[path = "producer_tests.rs"]
mod tests;
