//! From effective values to the validated [`Config`].
//!
//! Owns the ranges of single settings. What compares settings with each other is in `rules.rs`. Fails with every problem
//! at once.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::RangeInclusive;
use std::time::Duration;

use super::error::ConfigError;
use super::forbidden::Client;
use super::raw::{Layers, properties};
use super::reader::Reader;
use super::{
    AuditConfig, Config, ConsumersConfig, DeadLettersConfig, DrillsConfig, Escalation, EventsConfig, FieldMapping,
    GroupProtocol, KafkaConfig, LimitsConfig, LogConfig, LogFormat, RestartConfig, ShutdownConfig, StartFrom,
    StartupConfig, StoreConfig, SupervisionConfig,
};
use super::{guards, http, rules};

/// Most consumers of one process: each has a librdkafka client with threads of its own.
pub const MOST_CONSUMERS: usize = 256;
/// Most writers of one process: each is a connection, and PostgreSQL allows a hundred as it comes, for all of its clients.
pub const MOST_WRITERS: usize = 64;

/// What a command needs beyond what every command needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Needs {
    /// `store.url`, which has no default.
    pub store: bool,
}

const DAY: Duration = Duration::from_secs(24 * 3600);
const MS: Duration = Duration::from_millis(1);
/// A time span that may be zero.
const ANY: RangeInclusive<Duration> = Duration::ZERO..=DAY;
/// A time span that has to pass.
const SOME: RangeInclusive<Duration> = MS..=DAY;

/// Checks the effective values and makes the configuration of them.
pub(super) fn validate(layers: &Layers, needs: Needs) -> Result<Config, ConfigError> {
    let mut reader = Reader::new(layers);
    let r = &mut reader;
    let config = Config {
        replica_id: r.optional_text("replica_id"),
        kafka: kafka(r),
        consumers: ConsumersConfig {
            lanes: r.whole("consumers.lanes", 1..=64),
            min_batch_age: r.duration("consumers.min_batch_age", Duration::ZERO..=Duration::from_secs(60)),
            ids: consumer_ids(r),
        },
        events: events(r),
        store: store(r),
        dead_letters: DeadLettersConfig {
            publish: r.flag("dead_letters.publish"),
            topic: r.text("dead_letters.topic"),
            create_topic: r.flag("dead_letters.create_topic"),
        },
        audit: AuditConfig { interval: r.duration("audit.interval", ANY) },
        limits: LimitsConfig {
            memory: r.size("limits.memory", 16_000_000..=1 << 40),
            record_bytes: r.size("limits.record_bytes", 1 << 10..=1 << 30),
            batch_rows: r.whole("limits.batch_rows", 1..=1_000_000),
            batch_bytes: r.size("limits.batch_bytes", 1 << 10..=1 << 30),
        },
        storm: guards::storm(r),
        watchdog: guards::watchdog(r),
        supervision: SupervisionConfig {
            consumer: restart(r, "consumer"),
            db_writer: restart(r, "db_writer"),
            dead_letter: restart(r, "dead_letter"),
            metrics: restart(r, "metrics"),
            replica: restart(r, "replica"),
            escalation: r.choice("supervision.escalation", |word| match word {
                "keep_others" => Some(Escalation::KeepOthers),
                "exit" => Some(Escalation::Exit),
                _ => None,
            }),
        },
        drills: DrillsConfig { enabled: r.flag("drills.enabled") },
        http: http::http(r),
        startup: StartupConfig { wait: r.duration("startup.wait", ANY) },
        shutdown: ShutdownConfig { grace: r.duration("shutdown.grace", ANY), leave: r.flag("shutdown.leave") },
        log: LogConfig {
            filter: r.text("log.filter"),
            format: r.choice("log.format", |word| match word {
                "text" => Some(LogFormat::Text),
                "json" => Some(LogFormat::Json),
                _ => None,
            }),
        },
    };
    rules::check(r, &config, needs);
    let problems = [layers.problems.clone(), reader.problems].concat();
    if problems.is_empty() { Ok(config) } else { Err(ConfigError { problems }) }
}

fn kafka(r: &mut Reader<'_>) -> KafkaConfig {
    let protocol = r.choice("kafka.protocol", |word| match word {
        "classic" => Some(GroupProtocol::Classic),
        "consumer" => Some(GroupProtocol::Consumer),
        _ => None,
    });
    let mut of = |client| {
        let (properties, problems) = properties(r.layers(), client, protocol == GroupProtocol::Consumer);
        r.problems.extend(problems);
        properties
    };
    let (consumer, producer) = (of(Client::Consumer), of(Client::Producer));
    KafkaConfig {
        brokers: r.list("kafka.brokers").join(","),
        topics: r.list("kafka.topics"),
        group: r.text("kafka.group"),
        start_from: r.choice("kafka.start_from", start_from),
        create_topics: r.flag("kafka.create_topics"),
        partitions: r.whole("kafka.partitions", 1..=10_000),
        replication: replication(r),
        protocol,
        // Six seconds is what brokers accept as they come (group.min.session.timeout.ms), half an hour the most.
        session_timeout: r.duration("kafka.session_timeout", Duration::from_secs(6)..=Duration::from_secs(1800)),
        consumer,
        producer,
    }
}

fn replication(r: &mut Reader<'_>) -> i32 {
    let replication = r.whole("kafka.replication", -1..=i64::from(i16::MAX));
    r.check(
        &["kafka.replication"],
        replication != 0,
        "would keep no copy of a record",
        "Set 1 or more, or -1 for the broker's default.",
    );
    replication
}

fn start_from(word: &str) -> Option<StartFrom> {
    match word {
        "earliest" => Some(StartFrom::Earliest),
        "latest" => Some(StartFrom::Latest),
        time => chrono::DateTime::parse_from_rfc3339(time).ok().map(|time| StartFrom::Time(time.timestamp_millis())),
    }
}

fn consumer_ids(r: &mut Reader<'_>) -> Vec<String> {
    let ids = r.list("consumers.ids");
    if r.entry("consumers.ids").is_some_and(|entry| entry.derived.is_none()) {
        let named = (1..=MOST_CONSUMERS).contains(&ids.len());
        let what = format!("names {} consumers, and not 1 to {MOST_CONSUMERS}", ids.len());
        r.check(&["consumers.ids"], named, what, "Name at least one; run more processes for very many.");
    }
    let count: usize = r.whole("consumers.count", 1..=MOST_CONSUMERS as i64);
    let both = ["consumers.ids", "consumers.count"];
    r.check(
        &both,
        ids.len() == count,
        format!("names {} consumers, and consumers.count says {count}", ids.len()),
        "Remove one of the two, or make them agree.",
    );
    ids
}

fn events(r: &mut Reader<'_>) -> EventsConfig {
    // A list that nobody wrote follows the field that fills event_type, also the one of a single topic.
    let required_given = r.entry("events.required").is_some_and(|entry| entry.derived.is_none());
    let default = FieldMapping {
        event_type: r.text("events.event_type"),
        user_id: r.text("events.user_id"),
        element_id: r.text("events.element_id"),
        timestamp: r.text("events.timestamp"),
        required: r.list("events.required"),
        store_tombstones: r.flag("events.store_tombstones"),
    };
    // The topic's name as the path writes it, and as it is.
    let topics: BTreeSet<(String, String)> = (r.layers().entries.values())
        .filter(|entry| entry.key.path.starts_with("events.topics."))
        .filter_map(|entry| {
            let written = entry.path.strip_prefix("events.topics.")?.rsplit_once('.')?.0;
            let name = written.strip_prefix('"').and_then(|name| name.strip_suffix('"')).unwrap_or(written);
            Some((written.to_owned(), name.to_owned()))
        })
        .collect();
    let mut mappings = BTreeMap::new();
    for (written, topic) in topics {
        let path = |field: &str| format!("events.topics.{written}.{field}");
        let mut text = |field: &str, inherited: &String| r.optional_text(&path(field)).unwrap_or(inherited.clone());
        let event_type = text("event_type", &default.event_type);
        let user_id = text("user_id", &default.user_id);
        let element_id = text("element_id", &default.element_id);
        let timestamp = text("timestamp", &default.timestamp);
        let required = match r.entry(&path("required")) {
            Some(_) => r.list(&path("required")),
            None if required_given => default.required.clone(),
            None => vec![event_type.clone()],
        };
        let store_tombstones = match r.entry(&path("store_tombstones")) {
            Some(_) => r.flag(&path("store_tombstones")),
            None => default.store_tombstones,
        };
        let mapping = FieldMapping { event_type, user_id, element_id, timestamp, required, store_tombstones };
        mappings.insert(topic, mapping);
    }
    EventsConfig { default, topics: mappings }
}

fn store(r: &mut Reader<'_>) -> StoreConfig {
    StoreConfig {
        url: r.text("store.url"),
        schema: r.text("store.schema"),
        writers: r.whole("store.writers", 1..=MOST_WRITERS as i64),
        migrate: r.flag("store.migrate"),
        transaction_timeout: r.duration("store.transaction_timeout", SOME),
        lock_timeout: r.duration("store.lock_timeout", SOME),
        probe_min: r.duration("store.probe_min", SOME),
        probe_max: r.duration("store.probe_max", SOME),
    }
}

fn restart(r: &mut Reader<'_>, child: &str) -> RestartConfig {
    let path = |name: &str| format!("supervision.{child}.{name}");
    RestartConfig {
        min: r.duration(&path("min"), SOME),
        max: r.duration(&path("max"), SOME),
        factor: r.number(&path("factor"), 1.0..=100.0),
        jitter: r.number(&path("jitter"), 0.0..=1.0),
        reset_after: r.duration(&path("reset_after"), ANY),
        intensity: r.whole(&path("intensity"), 0..=1_000_000),
        period: r.duration(&path("period"), SOME),
    }
}
