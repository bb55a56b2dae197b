//! The librdkafka settings of every client that drover makes, and the context through which librdkafka speaks.
//!
//! Owns no connection. The settings here are the ones that the delivery contract and the measured memory bounds stand on;
//! what the configuration adds under `kafka.consumer` and `kafka.producer` was checked there against the forbidden list
//! and is laid over them, except for the few that are set last because no other value is safe.

use super::error::{Reported, kind_of};
use super::revive::AllDown;
use crate::config::{GroupProtocol, KafkaConfig};
use rdkafka::ClientContext;
use rdkafka::config::{ClientConfig, RDKafkaLogLevel};
use rdkafka::consumer::ConsumerContext;
use rdkafka::error::KafkaError as NativeError;
use rdkafka::statistics::Statistics;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};

/// Most bytes of one fetch answer, whatever a consumer's share of memory would allow. An answer is held in memory until the last of
/// its records was taken, so it decides what a consumer of many partitions needs; larger ones are not faster.
pub const MAX_FETCH_BYTES: usize = 4 * 1024 * 1024;
/// Fewest bytes of one fetch answer that are worth a request. A larger record comes alone.
const MIN_FETCH_BYTES: usize = 512 * 1024;
/// Most and fewest bytes of records that wait to be taken, in KiB. Small queues keep memory flat, and are only fast when the fetcher
/// looks again soon (docs/BENCHMARKS.md).
const QUEUE_KBYTES: (usize, usize) = (128, 2048);
/// Time between two heartbeats in the classic protocol. Two small requests a second for each consumer are nothing to a broker.
const HEARTBEAT_MS: u128 = 500;
/// Bytes that librdkafka may hold for records that wait to be sent, in KiB. Bounds a producer's memory.
const PRODUCER_QUEUE_KBYTES: usize = 32 * 1024;
/// Room beside a record's own bytes for the headers that a dead letter gets and the protocol's framing.
const RECORD_OVERHEAD_BYTES: usize = 1024 * 1024;

/// Who a group member is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClientIds<'a> {
    /// The logical consumer; brokers see it as client id `drover-<consumer id>`.
    pub consumer_id: &'a str,
    /// Static membership (`group.instance.id`). `None`: dynamic.
    pub group_instance_id: Option<&'a str>,
}

/// The settings of a group member. Manual assignment and plain look-ups work with them too.
///
/// `fetch_bytes` is the consumer's share of `limits.memory` for what it fetches ahead: half of it for one fetch answer, at most
/// [`MAX_FETCH_BYTES`], and half for the records that wait. `session.timeout.ms`, `heartbeat.interval.ms` and the assignment strategy exist in the classic protocol only:
/// with `kafka.protocol = "consumer"` librdkafka would refuse to make the client.
#[must_use]
pub fn consumer_client_config(kafka: &KafkaConfig, ids: &ClientIds<'_>, fetch_bytes: usize) -> ClientConfig {
    let mut config = base_config(kafka, &format!("drover-{}", ids.consumer_id));
    let answer_bytes = (fetch_bytes / 2).clamp(MIN_FETCH_BYTES, MAX_FETCH_BYTES);
    let queue_kbytes = (fetch_bytes / 2 / 1024).clamp(QUEUE_KBYTES.0, QUEUE_KBYTES.1);
    config
        .set("group.id", &kafka.group)
        .set("max.poll.interval.ms", "300000")
        .set("fetch.min.bytes", "1")
        .set("fetch.max.bytes", answer_bytes.to_string())
        // Nobody sees them here, and with a hundred consumers keeping them was a third of what a record costs.
        .set("enable.metrics.push", "false")
        // It never asks for less than this in one answer, and its default is a megabyte.
        .set("message.max.bytes", answer_bytes.to_string())
        .set("queued.min.messages", "3000")
        .set("queued.max.messages.kbytes", queue_kbytes.to_string())
        .set("fetch.queue.backoff.ms", "5");
    match kafka.protocol {
        GroupProtocol::Classic => {
            let session_ms = kafka.session_timeout.as_millis();
            config
                .set("group.protocol", "classic")
                .set("partition.assignment.strategy", "cooperative-sticky")
                .set("session.timeout.ms", session_ms.to_string())
                // A member hears of a rebalance in the answer to its heartbeat, twice for each cooperative one, and partitions
                // rest until all have heard: librdkafka's default of 3 s is what a move would cost.
                .set("heartbeat.interval.ms", (session_ms / 3).clamp(1, HEARTBEAT_MS).to_string());
        }
        GroupProtocol::Consumer => {
            config.set("group.protocol", "consumer");
        }
    }
    if let Some(id) = ids.group_instance_id {
        config.set("group.instance.id", id);
    }
    lay_over(&mut config, &kafka.consumer);
    // Set last: the contract stands on them. Offsets are committed after the database, and librdkafka never chooses a
    // position by itself.
    config
        .set("enable.auto.commit", "false")
        .set("enable.auto.offset.store", "false")
        .set("auto.offset.reset", "error")
        .set("isolation.level", "read_committed")
        .set("allow.auto.create.topics", "false");
    config
}

/// The settings of a producer.
///
/// `max_record_bytes` is the largest record (key, value and headers) that it must take; the broker may still refuse it.
/// librdkafka's `batch.size` bounds one message set of one partition, after its first record, as the Java client's does;
/// a record larger than it travels alone.
#[must_use]
pub fn producer_client_config(kafka: &KafkaConfig, client_id: &str, max_record_bytes: usize) -> ClientConfig {
    let mut config = base_config(kafka, client_id);
    config
        .set("batch.size", "16384")
        .set("linger.ms", "10")
        .set("compression.type", "snappy")
        .set("message.max.bytes", (max_record_bytes + RECORD_OVERHEAD_BYTES).min(1_000_000_000).to_string())
        .set("queue.buffering.max.messages", "100000")
        .set("queue.buffering.max.kbytes", PRODUCER_QUEUE_KBYTES.to_string());
    lay_over(&mut config, &kafka.producer);
    config
        .set("acks", "all")
        .set("enable.idempotence", "true")
        // A misspelt topic is an error, not a topic with the broker's defaults.
        .set("allow.auto.create.topics", "false");
    config
}

/// The settings of a client that only asks and administers. Connection and security properties are those of consumers;
/// what belongs to a group is left out, so that it never joins one.
#[must_use]
pub fn admin_client_config(kafka: &KafkaConfig, client_id: &str) -> ClientConfig {
    let mut config = base_config(kafka, client_id);
    // Whoever asks waits for about so long; a connection that answers nothing must not cost the next question as well.
    config.set("socket.timeout.ms", "10000");
    for (name, value) in &kafka.consumer {
        if is_connection_property(name) {
            config.set(name, value);
        }
    }
    config
}

/// The version of librdkafka that is linked in.
#[must_use]
pub fn librdkafka_version() -> String {
    rdkafka::util::get_rdkafka_version().1
}

/// Whether a property concerns reaching the brokers rather than what is done there.
fn is_connection_property(name: &str) -> bool {
    [
        "security.",
        "sasl.",
        "ssl.",
        "enable.ssl.",
        "socket.",
        "broker.",
        "client.dns",
        "reconnect.",
        "connections.",
        "https.",
    ]
    .iter()
    .any(|prefix| name.starts_with(prefix))
        || matches!(name, "enable.sasl.oauthbearer.unsecure.jwt" | "api.version.request" | "debug" | "client.rack")
}

fn base_config(kafka: &KafkaConfig, client_id: &str) -> ClientConfig {
    let mut config = ClientConfig::new();
    config
        .set("bootstrap.servers", &kafka.brokers)
        .set("client.id", client_id)
        // The default of 10 s between attempts would alone break the time to recover from a broker's restart.
        .set("reconnect.backoff.ms", "50")
        .set("reconnect.backoff.max.ms", "2000")
        .set("topic.metadata.refresh.interval.ms", "30000")
        // A connection that answers nothing any more, and is never closed, is given up before the session of the group is
        // over (30 s), so that the membership is kept. The default is 60 s. A fetch must come within it.
        .set("socket.timeout.ms", "20000")
        .set("statistics.interval.ms", "0")
        // librdkafka's own signal for "connection closed while idle" is not news.
        .set("log.connection.close", "false")
        .set_log_level(log_level());
    config
}

fn lay_over(config: &mut ClientConfig, properties: &std::collections::BTreeMap<String, String>) {
    for (name, value) in properties {
        config.set(name, value);
    }
}

/// The most that librdkafka says is what `tracing` would show.
fn log_level() -> RDKafkaLogLevel {
    if tracing::enabled!(target: "librdkafka", tracing::Level::DEBUG) {
        RDKafkaLogLevel::Debug
    } else {
        RDKafkaLogLevel::Info
    }
}

/// Passes librdkafka's log lines and errors to `tracing` (target `librdkafka`) and keeps the last error, which says why a
/// broker cannot be reached when the call itself only timed out.
#[derive(Debug, Default)]
pub struct LoggingContext {
    client: String,
    last_error: Mutex<Option<Reported>>,
    all_down: AllDown,
}

impl LoggingContext {
    /// The context of the client with this name; the name goes into every line.
    #[must_use]
    pub fn new(client: impl Into<String>) -> Self {
        Self { client: client.into(), ..Self::default() }
    }

    /// Set when librdkafka reports that all brokers are down; whoever revives the client clears it.
    pub(super) fn all_down(&self) -> AllDown {
        Arc::clone(&self.all_down)
    }

    /// Takes the last error that librdkafka reported, if there was one since the last call.
    pub fn take_last_error(&self) -> Option<Reported> {
        self.last_error.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

impl ClientContext for LoggingContext {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, line: &str) {
        let client = self.client.as_str();
        match level {
            RDKafkaLogLevel::Emerg | RDKafkaLogLevel::Alert | RDKafkaLogLevel::Critical | RDKafkaLogLevel::Error => {
                tracing::error!(target: "librdkafka", client, facility, "{line}");
            }
            RDKafkaLogLevel::Warning => tracing::warn!(target: "librdkafka", client, facility, "{line}"),
            RDKafkaLogLevel::Notice | RDKafkaLogLevel::Info => {
                tracing::info!(target: "librdkafka", client, facility, "{line}");
            }
            RDKafkaLogLevel::Debug => tracing::debug!(target: "librdkafka", client, facility, "{line}"),
        }
    }

    fn stats(&self, _statistics: Statistics) {}

    fn error(&self, error: NativeError, reason: &str) {
        tracing::warn!(target: "librdkafka", client = self.client.as_str(), "{reason}");
        let all_down = error.rdkafka_error_code() == Some(rdkafka::types::RDKafkaErrorCode::AllBrokersDown);
        if all_down {
            self.all_down.store(true, Ordering::Relaxed);
        }
        let mut last = self.last_error.lock().unwrap_or_else(PoisonError::into_inner);
        // "1/1 brokers are down" follows the error that says why; that one is worth more.
        if last.is_none() || !all_down {
            *last = Some(Reported { kind: kind_of(&error), text: reason.to_owned() });
        }
    }
}

impl ConsumerContext for LoggingContext {}

#[cfg(test)]
#[path = "client_tests.rs"]
mod tests;
