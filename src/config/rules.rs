//! The rules between settings, and the names that Kafka and PostgreSQL accept.
//!
//! Owns what no single value shows. A rule about a value that is wrong in itself is passed over. Pure.

use std::collections::BTreeSet;
use std::time::Duration;

use super::reader::Reader;
use super::units::{format_duration, format_size};
use super::validate::Needs;
use super::{Config, GroupProtocol, RestartConfig, table};

/// Longest name of a topic; Kafka makes file names of them.
const LONGEST_TOPIC: usize = 249;

/// Longest id of a replica or consumer: together, with a dash, they still fit `group.instance.id`.
const LONGEST_ID: usize = 120;

/// librdkafka's default of `max.poll.interval.ms`.
const MAX_POLL_INTERVAL: Duration = Duration::from_secs(300);

/// Checks every rule and tells the reader's problems.
pub(super) fn check(r: &mut Reader<'_>, config: &Config, needs: Needs) {
    names(r, config);
    kafka(r, config);
    events(r, config);
    store(r, config, needs);
    limits(r, config);
    let policies = &config.supervision;
    let policies = [policies.consumer, policies.db_writer, policies.dead_letter, policies.metrics, policies.replica];
    table::CHILDREN.iter().zip(policies).for_each(|(child, policy)| restart(r, child, &policy));
    super::http::check(r, &config.http);
    r.check(
        &["log.filter"],
        tracing_subscriber::EnvFilter::try_new(&config.log.filter).is_ok(),
        "is not a filter",
        "Write a level such as info, or targets with levels such as drover=debug,info.",
    );
}

/// Whether Kafka accepts the name for a topic.
fn is_topic(name: &str) -> bool {
    let legal = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    (1..=LONGEST_TOPIC).contains(&name.len()) && name.chars().all(legal) && name != "." && name != ".."
}

fn is_id(id: &str) -> bool {
    is_topic(id) && id.len() <= LONGEST_ID
}

/// The first that comes a second time.
fn repeated(names: &[String]) -> Option<&String> {
    let mut seen = BTreeSet::new();
    names.iter().find(|name| !seen.insert(*name))
}

const ID_CHARACTERS: &str = "Use letters, digits, dot, underscore and dash, at most 120.";

fn names(r: &mut Reader<'_>, config: &Config) {
    let id = config.replica_id.as_deref();
    r.check(&["replica_id"], id.is_none_or(is_id), "is not an id", ID_CHARACTERS);
    let ids = ["consumers.ids", "consumers.count"];
    if let Some(id) = config.consumers.ids.iter().find(|id| !is_id(id)) {
        r.check(&ids, false, format!("holds {id:?}, which is not an id"), ID_CHARACTERS);
    }
    if let Some(id) = repeated(&config.consumers.ids) {
        r.check(&ids, false, format!("holds {id:?} twice"), "Give each consumer an id of its own.");
    }
}

fn kafka(r: &mut Reader<'_>, config: &Config) {
    let kafka = &config.kafka;
    let brokers: Vec<&str> = kafka.brokers.split(',').filter(|broker| !broker.is_empty()).collect();
    let legal = !brokers.is_empty() && brokers.iter().all(|broker| is_broker(broker));
    let remedy = "Write host:port, several with commas, such as kafka-1:9092,kafka-2:9092.";
    r.check(&["kafka.brokers"], legal, "does not name brokers", remedy);

    r.check(&["kafka.topics"], !kafka.topics.is_empty(), "names no topic", "Name at least one.");
    if let Some(topic) = kafka.topics.iter().find(|topic| !is_topic(topic)) {
        let remedy = "Use letters, digits, dot, underscore and dash, at most 249.";
        r.check(&["kafka.topics"], false, format!("holds {topic:?}, which no topic can be called"), remedy);
    }
    if let Some(topic) = repeated(&kafka.topics) {
        r.check(&["kafka.topics"], false, format!("holds {topic:?} twice"), "Name each topic once.");
    }
    let group = &kafka.group;
    let legal =
        !group.is_empty() && group.len() <= 255 && group.trim() == group && !group.chars().any(char::is_control);
    let remedy = "Write a name of 1 to 255 characters without control characters or spaces around it.";
    r.check(&["kafka.group"], legal, "is not the name of a group", remedy);

    if kafka.protocol == GroupProtocol::Classic {
        let interval = kafka.consumer.get("max.poll.interval.ms").and_then(|interval| interval.parse().ok());
        let interval = interval.map_or(MAX_POLL_INTERVAL, Duration::from_millis);
        r.check(
            &["kafka.session_timeout", "kafka.consumer.max.poll.interval.ms"],
            kafka.session_timeout <= interval,
            format!(
                "contradicts: kafka.session_timeout is {}, and max.poll.interval.ms only {}",
                format_duration(kafka.session_timeout),
                format_duration(interval)
            ),
            "Set max.poll.interval.ms in [kafka.consumer] to at least the session timeout.",
        );
    }
    dead_letters(r, config);
}

fn dead_letters(r: &mut Reader<'_>, config: &Config) {
    let sources = &config.kafka.topics;
    let paths = ["dead_letters.topic", "kafka.topics"];
    for source in sources {
        let topic = config.dead_letters.topic.replace("{topic}", source);
        if !is_topic(&topic) {
            let remedy =
                "Write a name of letters, digits, dot, underscore and dash, at most 249 with {topic} filled in.";
            return r.check(&paths, false, format!("makes {topic:?}, which no topic can be called"), remedy);
        }
        if sources.contains(&topic) {
            let what =
                format!("makes {topic:?} the dead-letter topic of {source:?}, and drover reads that topic itself");
            return r.check(&paths, false, what, "Name a topic that is not in kafka.topics, such as {topic}.dlq.");
        }
    }
}

/// `host`, `host:port`, `[address]:port`, each also after `protocol://`.
fn is_broker(broker: &str) -> bool {
    let address = broker.split_once("://").map_or(broker, |(_, address)| address);
    let (host, port) = match address.rsplit_once(':') {
        // The colons of an address without a port belong to it.
        Some((host, port)) if !port.ends_with(']') => (host, Some(port)),
        _ => (address, None),
    };
    let legal = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-' | '[' | ']' | ':');
    !host.is_empty()
        && host.chars().all(legal)
        && port.is_none_or(|port| port.parse::<u16>().is_ok_and(|port| port > 0))
}

fn events(r: &mut Reader<'_>, config: &Config) {
    let own = config.events.topics.iter().map(|(topic, mapping)| (format!("events.topics.{topic}."), mapping));
    for (path, mapping) in std::iter::once(("events.".to_owned(), &config.events.default)).chain(own) {
        for (name, field) in [
            ("event_type", &mapping.event_type),
            ("user_id", &mapping.user_id),
            ("element_id", &mapping.element_id),
            ("timestamp", &mapping.timestamp),
        ] {
            let path = format!("{path}{name}");
            r.check(&[&path], !field.is_empty(), "is empty", "Write the name of the JSON field.");
        }
        let path = format!("{path}required");
        let legal = mapping.required.iter().all(|field| !field.is_empty());
        r.check(&[&path], legal, "holds an empty name", "Write the names of JSON fields.");
    }
}

fn store(r: &mut Reader<'_>, config: &Config, needs: Needs) {
    let store = &config.store;
    if r.entry("store.url").is_some() {
        let scheme = store.url.split_once(':').map(|(scheme, rest)| (scheme, rest.trim_start_matches('/')));
        let (known, complete) = match scheme {
            Some(("postgres" | "postgresql", rest)) => (store.url.contains("://"), !rest.is_empty()),
            Some(("sqlite", rest)) => (true, !rest.is_empty()),
            _ => (false, false),
        };
        let remedy = "Write postgres://user:password@host:5432/database or sqlite:PATH.";
        r.check(&["store.url"], known, "is not a URL of a store that drover knows", remedy);
        r.check(&["store.url"], complete, "names a store but no place", remedy);
    } else if needs.store {
        r.missing(
            "store.url",
            "is needed and not set",
            "Set DATABASE_URL or --database-url to postgres://user:password@host:5432/database or sqlite:PATH; \
             `drover demo` needs none.",
        );
    }
    let mut characters = store.schema.chars();
    let legal = characters.next().is_some_and(|c| c.is_ascii_lowercase() || c == '_')
        && characters.all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_')
        && store.schema.len() <= 63
        && !store.schema.starts_with("pg_");
    let remedy = "Use small letters, digits and underscore, a letter first, at most 63, and not pg_ at the start.";
    r.check(&["store.schema"], legal, "is not a plain identifier", remedy);
    order(r, "store.probe_min", store.probe_min, "store.probe_max", store.probe_max);
    r.check(
        &["store.transaction_timeout", "watchdog.timeout"],
        store.transaction_timeout < config.watchdog.timeout,
        format!(
            "contradicts: store.transaction_timeout ({}) is not below watchdog.timeout ({}), so that a writer would be ended \
             while it waits for its deadline",
            format_duration(store.transaction_timeout),
            format_duration(config.watchdog.timeout)
        ),
        "Lower store.transaction_timeout, or raise watchdog.timeout.",
    );
    order(r, "store.lock_timeout", store.lock_timeout, "store.transaction_timeout", store.transaction_timeout);
}

/// Tells when `low` is above `high`.
fn order(r: &mut Reader<'_>, low: &str, low_value: Duration, high: &str, high_value: Duration) {
    let (low_text, high_text) = (format_duration(low_value), format_duration(high_value));
    r.check(
        &[low, high],
        low_value <= high_value,
        format!("contradicts: {low} is {low_text}, and {high} only {high_text}"),
        format!("Set {low} to at most {high}."),
    );
}

fn limits(r: &mut Reader<'_>, config: &Config) {
    let limits = &config.limits;
    let memory = format_size(limits.memory);
    r.check(
        &["limits.batch_bytes", "limits.memory"],
        limits.batch_bytes <= limits.memory / 4,
        format!(
            "contradicts: limits.batch_bytes ({}) is more than a quarter of limits.memory ({memory})",
            format_size(limits.batch_bytes)
        ),
        format!("Set limits.batch_bytes to at most {}, or raise limits.memory.", format_size(limits.memory / 4)),
    );
    r.check(
        &["limits.record_bytes", "limits.batch_bytes", "limits.memory"],
        limits.record_bytes.saturating_add(limits.batch_bytes) <= limits.memory,
        format!(
            "contradicts: limits.record_bytes ({}) and limits.batch_bytes ({}) together are more than limits.memory ({memory})",
            format_size(limits.record_bytes),
            format_size(limits.batch_bytes)
        ),
        "Lower one of the two, or raise limits.memory.",
    );
}

fn restart(r: &mut Reader<'_>, child: &str, policy: &RestartConfig) {
    order(r, &format!("supervision.{child}.min"), policy.min, &format!("supervision.{child}.max"), policy.max);
}
