//! The one table of settings: path, kind, default, meaning, secrecy and the names that people already use.
//!
//! The file, the environment, `drover config show` and the README's table of settings all come from it; there is no
//! second list. The patterns of its paths are told in `keys.rs`.

use super::keys::{Key, Kind};

/// The kinds of children that have a restart policy of their own, as `<child>` names them.
pub const CHILDREN: [&str; 5] = ["consumer", "db_writer", "dead_letter", "metrics", "replica"];

/// Every setting that drover has.
pub static KEYS: &[Key] = &[
    Key::unset(
        "replica_id",
        Kind::Text,
        "Id of this process among the replicas of the group. Set: static membership, so that a quick restart moves no partition. Not set: the host name (`HOST#2` and so on for further processes of that host), and membership is dynamic.",
    ),
    Key::new("kafka.brokers", Kind::List, "localhost:9092", "Brokers to start from, `host:port`.")
        .legacy("KAFKA_BOOTSTRAP_SERVERS"),
    Key::new("kafka.topics", Kind::List, "user_events", "Topics to read.").legacy("KAFKA_TOPIC_USER_EVENTS"),
    Key::new("kafka.group", Kind::Text, "dashboard_consumer_group", "The consumer group.").legacy("CONSUMER_GROUP"),
    Key::new(
        "kafka.start_from",
        Kind::Start,
        "earliest",
        "Where a topic that was never seen starts when no other program committed a position for the group: `earliest`, `latest` or a time (RFC 3339).",
    ),
    Key::new("kafka.create_topics", Kind::Flag, "false", "Create missing topics at start."),
    Key::new("kafka.partitions", Kind::Whole, "3", "Partitions of a topic that drover creates.")
        .legacy("TOPIC_PARTITIONS"),
    Key::new(
        "kafka.replication",
        Kind::Whole,
        "-1",
        "Replication factor of a topic that drover creates; -1 is the broker's default.",
    ),
    Key::new(
        "kafka.protocol",
        Kind::Choice(&["classic", "consumer"]),
        "classic",
        "Rebalance protocol of the group: `classic` with cooperative-sticky assignment, or `consumer` (KIP-848).",
    ),
    Key::new(
        "kafka.session_timeout",
        Kind::Duration,
        "30s",
        "After this silence the group takes a consumer's partitions away. Not sent with `kafka.protocol = \"consumer\"`, where the broker decides.",
    ),
    Key::unset(
        "kafka.consumer.<property>",
        Kind::Property,
        "Any librdkafka property of consumers, except those that would break the delivery contract.",
    ),
    Key::unset(
        "kafka.producer.<property>",
        Kind::Property,
        "Any librdkafka property of producers, except those that would break the delivery contract.",
    ),
    Key::new("consumers.count", Kind::Whole, "3", "Consumers of this process, named consumer-1 and so on.")
        .legacy("MAX_CONSUMERS"),
    Key::derived(
        "consumers.ids",
        Kind::List,
        "consumer-1 to consumer-`count`",
        "Names of the consumers of this process, instead of a count.",
    ),
    Key::new(
        "consumers.lanes",
        Kind::Whole,
        "2",
        "Batches of one consumer that may be in flight at once, each on partitions of its own.",
    ),
    Key::new(
        "consumers.min_batch_age",
        Kind::Duration,
        "0s",
        "Minimum age of a batch before it is written; 0 commits as soon as a writer is free, 3 to 4 ms halves the transactions at medium load.",
    ),
    Key::new("events.event_type", Kind::Text, "event_type", "JSON field that fills the column `event_type`."),
    Key::new("events.user_id", Kind::Text, "user_id", "JSON field that fills the column `user_id`."),
    Key::new("events.element_id", Kind::Text, "element_id", "JSON field that fills the column `element_id`."),
    Key::new("events.timestamp", Kind::Text, "timestamp", "JSON field that fills the column `occurred_at`."),
    Key::derived(
        "events.required",
        Kind::List,
        "the field of `events.event_type`",
        "JSON fields that must be there and not null.",
    ),
    Key::new(
        "events.store_tombstones",
        Kind::Flag,
        "false",
        "Store a record without a value as a row with a null payload, instead of dead-lettering it.",
    ),
    Key::derived(
        "events.topics.<topic>.event_type",
        Kind::Text,
        "`events.event_type`",
        "The same for one topic. Only in the file.",
    ),
    Key::derived(
        "events.topics.<topic>.user_id",
        Kind::Text,
        "`events.user_id`",
        "The same for one topic. Only in the file.",
    ),
    Key::derived(
        "events.topics.<topic>.element_id",
        Kind::Text,
        "`events.element_id`",
        "The same for one topic. Only in the file.",
    ),
    Key::derived(
        "events.topics.<topic>.timestamp",
        Kind::Text,
        "`events.timestamp`",
        "The same for one topic. Only in the file.",
    ),
    Key::derived(
        "events.topics.<topic>.required",
        Kind::List,
        "`events.required`, or the topic's own `event_type`",
        "The same for one topic. Only in the file.",
    ),
    Key::derived(
        "events.topics.<topic>.store_tombstones",
        Kind::Flag,
        "`events.store_tombstones`",
        "The same for one topic. Only in the file.",
    ),
    Key::unset(
        "store.url",
        Kind::Url,
        "Where rows go: `postgres://user:password@host:5432/database`, several hosts allowed, or `sqlite:PATH`.",
    )
    .legacy("DATABASE_URL")
    .secret(),
    Key::new("store.schema", Kind::Text, "public", "PostgreSQL schema that holds drover's tables."),
    Key::new("store.writers", Kind::Whole, "3", "Writers, each with one connection."),
    Key::new("store.migrate", Kind::Flag, "true", "Migrate the tables at start."),
    Key::new(
        "store.transaction_timeout",
        Kind::Duration,
        "20s",
        "Client-side deadline of one batch transaction; below `watchdog.timeout`.",
    ),
    Key::new(
        "store.lock_timeout",
        Kind::Duration,
        "5s",
        "How long a statement waits for a lock before the batch is retried.",
    ),
    Key::new("store.probe_min", Kind::Duration, "250ms", "First delay between probes while the store is away."),
    Key::new("store.probe_max", Kind::Duration, "5s", "Longest delay between probes while the store is away."),
    Key::new(
        "dead_letters.publish",
        Kind::Flag,
        "true",
        "Publish dead letters to a topic as well as keeping them in the table.",
    ),
    Key::new(
        "dead_letters.topic",
        Kind::Text,
        "{topic}.dlq",
        "Name of that topic; `{topic}` stands for the source topic.",
    ),
    Key::new(
        "dead_letters.create_topic",
        Kind::Flag,
        "true",
        "Create that topic, with the source's partition count, when it is missing.",
    ),
    Key::new(
        "audit.interval",
        Kind::Duration,
        "10m",
        "Time between two audits of what is new, made by one process of the group at a time; 0: only by `drover audit`.",
    ),
    Key::new("limits.memory", Kind::Size, "128MB", "Bytes of all queues and buffers of the process together."),
    Key::new("limits.record_bytes", Kind::Size, "8MiB", "Largest record that is stored; larger ones are dead letters."),
    Key::new("limits.batch_rows", Kind::Whole, "20000", "Most rows of one batch."),
    Key::new("limits.batch_bytes", Kind::Size, "2MiB", "Most bytes of one batch."),
    Key::new(
        "storm.consecutive",
        Kind::Whole,
        "100",
        "Dead letters in a row past which a partition is quarantined instead of dead-lettered; 0 is off.",
    ),
    Key::new(
        "storm.ratio",
        Kind::Number,
        "0.5",
        "Share of dead letters among the last `storm.window` records past which it is; 0 is off.",
    ),
    Key::new("storm.window", Kind::Whole, "1000", "Records of a partition that `storm.ratio` looks at."),
    Key::new(
        "storm.release_after",
        Kind::Duration,
        "15m",
        "How long a quarantine lasts when nobody releases it; 0 keeps it until somebody does.",
    ),
    Key::new(
        "watchdog.timeout",
        Kind::Duration,
        "30s",
        "Silence of a child, or time without progress of a partition that is behind, after which something is done.",
    ),
    Key::new(
        "supervision.<child>.min",
        Kind::Duration,
        "200ms",
        "First delay before a child that failed is started again.",
    ),
    Key::new("supervision.<child>.max", Kind::Duration, "30s", "Longest delay."),
    Key::new("supervision.<child>.factor", Kind::Number, "2", "Growth of the delay per attempt."),
    Key::new("supervision.<child>.jitter", Kind::Number, "0.2", "Share of the delay that is random, 0 to 1."),
    Key::new(
        "supervision.<child>.reset_after",
        Kind::Duration,
        "60s",
        "Undisturbed running after which the delay starts at `min` again.",
    ),
    Key::new(
        "supervision.<child>.intensity",
        Kind::Whole,
        "10",
        "Restarts within `period` past which the child is `failed`.",
    ),
    Key::new("supervision.<child>.period", Kind::Duration, "60s", "The window of `intensity`."),
    Key::new(
        "supervision.escalation",
        Kind::Choice(&["keep_others", "exit"]),
        "keep_others",
        "When a child is `failed`: `keep_others` keeps the others running and turns readiness red, `exit` drains and exits non-zero.",
    ),
    Key::new(
        "drills.enabled",
        Kind::Flag,
        "false",
        "Allow drills, which break things on purpose, and obey `delay_seconds` and `should_fail` in events. For test instances; `drover demo` sets it.",
    ),
    Key::new("http.enabled", Kind::Flag, "true", "Serve page, API and metrics."),
    Key::new(
        "http.addr",
        Kind::Text,
        "127.0.0.1:8080",
        "Address to listen on; any other than loopback needs `http.token` or `http.read_only`.",
    ),
    Key::unset("http.token", Kind::Text, "Token of operators; with it nobody is let in without a token.").secret(),
    Key::unset("http.viewer_token", Kind::Text, "Token of viewers, who see everything and order nothing.").secret(),
    Key::new("http.read_only", Kind::Flag, "false", "Take no orders over HTTP, whoever gives them."),
    Key::unset(
        "http.base_path",
        Kind::Text,
        "Path below which a proxy shows the server, such as `/drover`, whether the proxy takes it off or passes it on.",
    ),
    Key::unset(
        "http.masked_fields",
        Kind::List,
        "JSON fields of events whose values the API and the page never show, nor the columns that they fill.",
    ),
    Key::new(
        "startup.wait",
        Kind::Duration,
        "60s",
        "How long a start waits for a broker or a database that does not answer.",
    ),
    Key::new("shutdown.grace", Kind::Duration, "30s", "How long a stop waits for what is in flight."),
    Key::new(
        "shutdown.leave",
        Kind::Flag,
        "false",
        "Give up the place in the group at once when stopping, also as a static member.",
    ),
    Key::new("log.filter", Kind::Text, "info", "What is logged, such as `info` or `drover=debug,info`."),
    Key::new("log.format", Kind::Choice(&["text", "json"]), "text", "Lines for people or JSON lines."),
];
