//! Every metric that drover exposes, declared once: name, type, labels and help.
//!
//! Owns one registry, not the global one, so that tests and embedders can hold several. Bound: labels are closed lists,
//! configured names, or partitions that are owned now; what is revoked is taken out again. Nothing here blocks or fails
//! after [`Metrics::new`].

mod series;
mod summary;

pub use summary::{Summary, summary};

use std::collections::HashMap;

use prometheus::core::{Collector, MetricVec, MetricVecBuilder};
use prometheus::process_collector::ProcessCollector;
use prometheus::{
    Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry,
    TextEncoder,
};

/// One metric as documentation shows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MetricInfo {
    /// Full name, with prefix and suffix.
    pub name: &'static str,
    /// `counter`, `gauge` or `histogram`.
    pub kind: &'static str,
    /// Label names in the order in which the field takes their values.
    pub labels: &'static [&'static str],
    /// What it says.
    pub help: &'static str,
}

/// The content type of [`Metrics::encode`]: Prometheus text format 0.0.4.
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// The values of the label `state` of `drover_consumer_state`: the names of the child states.
pub const STATES: [&str; 8] =
    ["starting", "running", "paused", "rebalancing", "backing_off", "draining", "stopped", "failed"];

/// Causes of restarts: the names of the reasons for which a child ends and is started again.
const CAUSES: [&str; 5] = ["error", "panicked", "stalled", "fenced", "requested"];

/// The values of the label `kind` of `drover_partition_held`.
const HOLDS: [&str; 2] = ["paused", "quarantined"];

/// The values of `stage` and `error_type` that are known before a message fails; the database's are born when they occur.
const MESSAGE_ERRORS: [(&str, &str); 11] = [
    ("decode", "value.null"),
    ("decode", "record.too_large"),
    ("decode", "json.encoding"),
    ("decode", "json.syntax"),
    ("decode", "json.not_object"),
    ("decode", "json.text"),
    ("decode", "field.missing"),
    ("decode", "field.type"),
    ("decode", "timestamp.invalid"),
    ("process", "processor.rejected"),
    ("process", "processor.panic"),
];

/// From half a millisecond, a commit on a local disk, to the default deadline of a transaction.
const TRANSACTION_SECONDS: &[f64] =
    &[0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0];
/// From an answer that waited for nothing to the longest wait for what is in flight, and an outage beyond.
const REBALANCE_SECONDS: &[f64] = &[0.001, 0.005, 0.01, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0];
const BATCH_ROWS: &[f64] = &[1.0, 4.0, 16.0, 64.0, 256.0, 1_024.0, 4_096.0, 16_384.0, 65_536.0];
/// 1 KiB to 16 MiB, with the default limit of 2 MiB as a bound of its own.
const BATCH_BYTES: &[f64] =
    &[1_024.0, 4_096.0, 16_384.0, 65_536.0, 262_144.0, 1_048_576.0, 2_097_152.0, 4_194_304.0, 16_777_216.0];

/// The sum of a counter over all its labels.
#[must_use]
pub fn total(counter: &IntCounterVec) -> u64 {
    let families = counter.collect();
    let values = families.iter().flat_map(|family| family.get_metric());
    // A counter of whole numbers, so nothing is cut off.
    values.map(|metric| metric.get_counter().get_value() as u64).sum()
}

/// What the six types of the client library have in common when they are declared.
trait Family: Collector + Clone + 'static {
    const KIND: &'static str;
    fn declare(info: &MetricInfo, buckets: &[f64]) -> Result<Self, prometheus::Error>;
    /// Removes the series with this value of this label.
    fn forget(&self, label: &str, value: &str);
}

fn forget_series<B: MetricVecBuilder>(family: &MetricVec<B>, label: &str, value: &str)
where
    MetricVec<B>: Collector,
{
    for collected in family.collect() {
        for metric in collected.get_metric() {
            let labels: HashMap<&str, &str> = metric.get_label().iter().map(|l| (l.name(), l.value())).collect();
            if labels.get(label) == Some(&value) {
                // An error says that the series is gone already, which is what is wanted.
                let _ = family.remove(&labels);
            }
        }
    }
}

macro_rules! family {
    ($type:ty, $kind:literal, |$info:ident, $buckets:ident| $make:expr, |$family:ident, $label:ident, $value:ident| $forget:expr) => {
        impl Family for $type {
            const KIND: &'static str = $kind;
            fn declare($info: &MetricInfo, $buckets: &[f64]) -> Result<Self, prometheus::Error> {
                $make
            }
            fn forget(&self, $label: &str, $value: &str) {
                let $family = self;
                $forget
            }
        }
    };
}

family!(IntCounter, "counter", |info, _buckets| Self::new(info.name, info.help), |_one, _label, _value| {});
family!(IntGauge, "gauge", |info, _buckets| Self::new(info.name, info.help), |_one, _label, _value| {});
family!(
    Histogram,
    "histogram",
    |info, buckets| Self::with_opts(HistogramOpts::new(info.name, info.help).buckets(buckets.to_vec())),
    |_one, _label, _value| {}
);
family!(
    IntCounterVec,
    "counter",
    |info, _buckets| Self::new(Opts::new(info.name, info.help), info.labels),
    |family, label, value| forget_series(family, label, value)
);
family!(
    IntGaugeVec,
    "gauge",
    |info, _buckets| Self::new(Opts::new(info.name, info.help), info.labels),
    |family, label, value| forget_series(family, label, value)
);
family!(
    HistogramVec,
    "histogram",
    |info, buckets| Self::new(HistogramOpts::new(info.name, info.help).buckets(buckets.to_vec()), info.labels),
    |family, label, value| forget_series(family, label, value)
);

/// Declares struct, constructor and listing from one table, so that none of them can forget a metric.
macro_rules! metrics {
    ($(#[doc = $help:literal] $field:ident: $type:ident = $name:literal [$($label:literal),*] $(in $buckets:ident)?;)*) => {
        /// All metrics. Clones share their values.
        #[derive(Clone)]
        pub struct Metrics {
            registry: Registry,
            $(#[doc = $help] pub $field: $type,)*
        }

        impl Metrics {
            /// Registers every metric and the process collector (`process_*`) in a registry of their own.
            ///
            /// # Errors
            /// Only when a declaration below is wrong, which a test excludes.
            pub fn new() -> Result<Self, prometheus::Error> {
                let registry = Registry::new();
                registry.register(Box::new(ProcessCollector::for_self()))?;
                let mut declared = Self::all().iter();
                $(
                    let info = declared.next().expect("the listing is made from the same table");
                    let buckets: &[f64] = &[];
                    $(let buckets: &[f64] = if buckets.is_empty() { $buckets } else { buckets };)?
                    let $field = <$type as Family>::declare(info, buckets)?;
                    registry.register(Box::new($field.clone()))?;
                )*
                let metrics = Self { registry, $($field,)* };
                metrics.build_info.with_label_values(&[env!("CARGO_PKG_VERSION")]).set(1);
                Ok(metrics)
            }

            fn forget(&self, label: &str, value: &str) {
                $(self.$field.forget(label, value);)*
            }

            /// Every metric that drover itself declares, for documentation; `process_*` comes from the client library.
            #[must_use]
            pub fn all() -> &'static [MetricInfo] {
                const { &[$(MetricInfo {
                    name: $name,
                    kind: <$type as Family>::KIND,
                    labels: &[$($label),*],
                    help: $help.trim_ascii(),
                },)*] }
            }
        }
    };
}

metrics! {
    /// Always 1; the label is the version that runs.
    build_info: IntGaugeVec = "drover_build_info" ["version"];
    /// 1 for the state that the consumer is in, 0 for the others.
    consumer_state: IntGaugeVec = "drover_consumer_state" ["consumer_id", "state"];
    /// Restarts of a consumer, by the cause of its end.
    consumer_restarts: IntCounterVec = "drover_consumer_restarts_total" ["consumer_id", "cause"];
    /// Restarts of any supervised child, by the cause of its end.
    child_restarts: IntCounterVec = "drover_child_restarts_total" ["child", "kind", "cause"];
    /// Partitions that the consumer owns now.
    consumer_assigned_partitions: IntGaugeVec = "drover_consumer_assigned_partitions" ["consumer_id", "topic"];
    /// Rebalances that the consumer took part in; event is assign, revoke, lost or error.
    consumer_rebalances: IntCounterVec = "drover_consumer_rebalances_total" ["consumer_id", "event"];
    /// Time from the beginning of a rebalance to this consumer's answer; event is assign, revoke or lost.
    rebalance_duration_seconds: HistogramVec = "drover_rebalance_duration_seconds" ["consumer_id", "event"] in REBALANCE_SECONDS;
    /// Offsets read and not stored when a partition was to be given up; outcome is drained or given_up.
    rebalance_offsets: IntCounterVec = "drover_rebalance_offsets_total" ["consumer_id", "outcome"];
    /// Messages taken from Kafka, whatever became of them.
    messages_consumed: IntCounterVec = "drover_messages_consumed_total" ["consumer_id", "topic"];
    /// Bytes of keys and values taken from Kafka.
    messages_consumed_bytes: IntCounterVec = "drover_messages_consumed_bytes_total" ["consumer_id", "topic"];
    /// Messages whose end is committed; outcome is stored, duplicate or dead_lettered.
    messages_processed: IntCounterVec = "drover_messages_processed_total" ["consumer_id", "topic", "outcome"];
    /// Messages that could not be rows, by the stage that refused them and the dead-letter code.
    message_errors: IntCounterVec = "drover_message_errors_total" ["consumer_id", "topic", "stage", "error_type"];
    /// Attempts that were repeated after a transient error, by stage.
    message_retries: IntCounterVec = "drover_message_retries_total" ["consumer_id", "stage"];
    /// Messages between the stored position and the end of an owned partition.
    consumer_lag_messages: IntGaugeVec = "drover_consumer_lag_messages" ["consumer_id", "topic", "partition"];
    /// Next offset of an owned partition that is not stored yet.
    consumer_position_offset: IntGaugeVec = "drover_consumer_position_offset" ["consumer_id", "topic", "partition"];
    /// Last stable offset of an owned partition.
    partition_end_offset: IntGaugeVec = "drover_partition_end_offset" ["topic", "partition"];
    /// Commits of the hint to Kafka after the database; outcome is ok or error.
    offset_commits: IntCounterVec = "drover_offset_commits_total" ["consumer_id", "outcome"];
    /// Ranges of offsets that Kafka never delivers, written down as confirmed gaps.
    offset_gaps: IntCounterVec = "drover_offset_gaps_total" ["consumer_id", "topic", "reason"];
    /// Positions set again: read from the database (cause fenced, lost_answer, rebuild or storm), or sought again after a seek that failed (seek).
    position_resets: IntCounterVec = "drover_position_resets_total" ["consumer_id", "cause"];
    /// Dead letters sent to their topic; outcome is published, refused or error.
    dead_letters_published: IntCounterVec = "drover_dead_letters_published_total" ["topic", "outcome"];
    /// Dead letters that wait in the table to be published.
    dead_letter_backlog_messages: IntGauge = "drover_dead_letter_backlog_messages" [];
    /// Duration of one batch transaction; outcome is stored, fenced or error.
    store_transaction_duration_seconds: HistogramVec = "drover_store_transaction_duration_seconds" ["outcome"] in TRANSACTION_SECONDS;
    /// Rows of one committed batch.
    store_batch_rows: Histogram = "drover_store_batch_rows" [] in BATCH_ROWS;
    /// Bytes of one committed batch in the form that the store takes.
    store_batch_bytes: Histogram = "drover_store_batch_bytes" [] in BATCH_BYTES;
    /// Errors of the store, by what follows from them.
    store_errors: IntCounterVec = "drover_store_errors_total" ["class"];
    /// 1 while the breaker in front of the store is open, else 0.
    store_breaker_open: IntGauge = "drover_store_breaker_open" [];
    /// Times that the breaker opened.
    store_breaker_trips: IntCounter = "drover_store_breaker_trips_total" [];
    /// Items in a queue now.
    queue_depth: IntGaugeVec = "drover_queue_depth" ["queue"];
    /// Items that a queue can hold.
    queue_capacity: IntGaugeVec = "drover_queue_capacity" ["queue"];
    /// Bytes of queues and buffers that are reserved now.
    memory_reserved_bytes: IntGauge = "drover_memory_reserved_bytes" [];
    /// Bytes that queues and buffers may hold together.
    memory_limit_bytes: IntGauge = "drover_memory_limit_bytes" [];
    /// 1 for each owned partition that is not read on, with the code of the reason.
    partitions_stopped: IntGaugeVec = "drover_partitions_stopped" ["topic", "partition", "code"];
    /// 1 for each owned partition that is not read by order; kind is paused or quarantined.
    partition_held: IntGaugeVec = "drover_partition_held" ["topic", "partition", "kind"];
    /// What the watchdog did about partitions that stood still; action is seek or rebuild.
    watchdog_actions: IntCounterVec = "drover_watchdog_actions_total" ["consumer_id", "action"];
    /// Times that the Kafka cluster did not answer for as long as `watchdog.timeout`.
    cluster_silences: IntCounter = "drover_cluster_silences_total" [];
    /// Partitions that the storm guard quarantined; rule is consecutive or ratio.
    storm_quarantines: IntCounterVec = "drover_storm_quarantines_total" ["consumer_id", "topic", "rule"];
    /// Times that a consumer paused a partition because what follows could not keep up.
    partition_pauses: IntCounterVec = "drover_partition_pauses_total" ["consumer_id"];
    /// Offsets that the last audit of the group found unaccounted for, and records that Kafka delivers inside gaps: lost.
    unaccounted_offsets: IntGaugeVec = "drover_unaccounted_offsets" ["topic", "partition"];
    /// Records that were delivered again and not stored again.
    duplicates_rejected: IntCounterVec = "drover_duplicates_rejected_total" ["topic"];
    /// Orders of operators, by what became of them: ok, refused or failed.
    commands: IntCounterVec = "drover_commands_total" ["action", "outcome"];
    /// Orders of operators that the store did not take into its audit log; each is in the process's own log.
    audit_log_failures: IntCounter = "drover_audit_log_failures_total" [];
    /// Clients that look at the live stream.
    stream_clients: IntGauge = "drover_stream_clients" [];
    /// Rows of the feed that a client of the live stream was too slow for.
    stream_dropped_events: IntCounter = "drover_stream_dropped_events_total" [];
    /// HTTP requests, by route pattern and status.
    http_requests: IntCounterVec = "drover_http_requests_total" ["route", "status"];
}

impl Metrics {
    /// The text that `/metrics` answers, of the type [`CONTENT_TYPE`].
    ///
    /// # Errors
    /// When the client library cannot write a family as text.
    pub fn encode(&self) -> Result<String, prometheus::Error> {
        TextEncoder::new().encode_to_string(&self.registry.gather())
    }

    /// Gives the consumer's counters their zeros, because a rate over a series that is born with 1 misses that 1.
    pub fn init_consumer(&self, consumer_id: &str, topics: &[String]) {
        for topic in topics {
            self.consumer_assigned_partitions.with_label_values(&[consumer_id, topic]);
            self.messages_consumed.with_label_values(&[consumer_id, topic]);
            self.duplicates_rejected.with_label_values(&[topic]);
            self.messages_consumed_bytes.with_label_values(&[consumer_id, topic]);
            for outcome in ["stored", "duplicate", "dead_lettered"] {
                self.messages_processed.with_label_values(&[consumer_id, topic, outcome]);
            }
            for rule in ["consecutive", "ratio"] {
                self.storm_quarantines.with_label_values(&[consumer_id, topic, rule]);
            }
            for (stage, error_type) in MESSAGE_ERRORS {
                self.message_errors.with_label_values(&[consumer_id, topic, stage, error_type]);
            }
        }
        for cause in CAUSES {
            self.consumer_restarts.with_label_values(&[consumer_id, cause]);
        }
        for event in ["assign", "revoke", "lost", "error"] {
            self.consumer_rebalances.with_label_values(&[consumer_id, event]);
        }
        for outcome in ["drained", "given_up"] {
            self.rebalance_offsets.with_label_values(&[consumer_id, outcome]);
        }
        for action in ["seek", "rebuild"] {
            self.watchdog_actions.with_label_values(&[consumer_id, action]);
        }
        for stage in ["process", "store"] {
            self.message_retries.with_label_values(&[consumer_id, stage]);
        }
        for outcome in ["ok", "error"] {
            self.offset_commits.with_label_values(&[consumer_id, outcome]);
        }
        for cause in ["fenced", "lost_answer", "rebuild", "storm", "seek"] {
            self.position_resets.with_label_values(&[consumer_id, cause]);
        }
        self.partition_pauses.with_label_values(&[consumer_id]);
    }
}

#[cfg(test)]
#[path = "metrics_tests.rs"]
mod tests;
