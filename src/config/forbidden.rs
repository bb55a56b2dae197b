//! The librdkafka properties that would break the delivery contract or fight drover's own settings, each with the reason.
//!
//! Owns the list, and which properties are secrets. Everything that is not in it passes to librdkafka as it is.

/// The client whose properties are meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Client {
    /// Consumers, `[kafka.consumer]`.
    Consumer,
    /// Producers, `[kafka.producer]`.
    Producer,
}

impl Client {
    /// The start of the paths of this client's properties.
    #[must_use]
    pub fn family(self) -> &'static str {
        match self {
            Self::Consumer => "kafka.consumer.",
            Self::Producer => "kafka.producer.",
        }
    }
}

/// When a property is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum When {
    /// Whatever its value.
    Always,
    /// With any value but these.
    Unless(&'static [&'static str]),
    /// With `kafka.protocol = "consumer"`.
    ConsumerProtocol,
}

/// One refused property.
#[derive(Debug, Clone, Copy)]
pub struct Forbidden {
    /// The clients for which it is refused.
    pub clients: &'static [Client],
    /// librdkafka's name for it.
    pub name: &'static str,
    /// When it is refused.
    pub when: When,
    /// Why, as the end of a sentence that starts with the property.
    pub reason: &'static str,
    /// What to do instead, as a sentence.
    pub remedy: &'static str,
}

use Client::{Consumer, Producer};
use When::{Always, ConsumerProtocol, Unless};

const fn refused(
    clients: &'static [Client],
    name: &'static str,
    when: When,
    reason: &'static str,
    remedy: &'static str,
) -> Forbidden {
    Forbidden { clients, name, when, reason, remedy }
}

const COMMITS: &str = "would commit offsets before their rows are in the store, and records would be lost";
const POSITION: &str =
    "would let librdkafka choose a position by itself, and an expired range would pass as a harmless gap";
const OWN_KEY: &str = "has a setting of its own, and two values could disagree";
const BROKER_DECIDES: &str =
    "is decided by the broker with kafka.protocol = \"consumer\", and the client could not be created";
const REMOVE: &str = "Remove it.";
const TRUE: &[&str] = &["true", "t", "1"];

/// Every refused property.
pub static FORBIDDEN: &[Forbidden] = &[
    refused(&[Consumer], "enable.auto.commit", Always, COMMITS, REMOVE),
    refused(&[Consumer], "auto.commit.enable", Always, COMMITS, REMOVE),
    refused(&[Consumer], "enable.auto.offset.store", Always, COMMITS, REMOVE),
    refused(&[Consumer], "auto.offset.reset", Always, POSITION, "Say where a new topic starts with kafka.start_from."),
    refused(
        &[Consumer],
        "isolation.level",
        Unless(&["read_committed"]),
        "would store records of transactions that are aborted",
        "Remove it; read_committed is set.",
    ),
    refused(
        &[Consumer],
        "allow.auto.create.topics",
        Always,
        "would create a misspelt topic with the broker's defaults",
        "Set kafka.create_topics = true.",
    ),
    refused(
        &[Consumer],
        "enable.partition.eof",
        Always,
        "is set by drover, which listens for the ends of partitions itself",
        REMOVE,
    ),
    refused(&[Consumer], "group.id", Always, OWN_KEY, "Set kafka.group."),
    refused(
        &[Consumer],
        "group.instance.id",
        Always,
        "must differ for each consumer, so drover makes it of replica and consumer id",
        "Set replica_id.",
    ),
    refused(&[Consumer], "group.protocol", Always, OWN_KEY, "Set kafka.protocol."),
    refused(&[Consumer], "partition.assignment.strategy", ConsumerProtocol, BROKER_DECIDES, REMOVE),
    refused(
        &[Consumer],
        "session.timeout.ms",
        ConsumerProtocol,
        BROKER_DECIDES,
        "Remove it; set group.consumer.session.timeout.ms on the broker.",
    ),
    refused(
        &[Consumer],
        "heartbeat.interval.ms",
        ConsumerProtocol,
        BROKER_DECIDES,
        "Remove it; set group.consumer.heartbeat.interval.ms on the broker.",
    ),
    refused(&[Consumer], "group.protocol.type", ConsumerProtocol, BROKER_DECIDES, REMOVE),
    refused(
        &[Producer],
        "acks",
        Unless(&["all", "-1"]),
        "would report records as written that a broker can still lose",
        "Remove it; acks=all is set.",
    ),
    refused(
        &[Producer],
        "request.required.acks",
        Unless(&["all", "-1"]),
        "would report records as written that a broker can still lose",
        "Remove it; acks=all is set.",
    ),
    refused(
        &[Producer],
        "enable.idempotence",
        Unless(TRUE),
        "would write a record twice when an answer of the broker is lost",
        "Remove it; idempotence is on.",
    ),
    refused(
        &[Producer],
        "transactional.id",
        Always,
        "would hold back every record until a commit that drover never sends",
        REMOVE,
    ),
    refused(
        &[Producer],
        "delivery.report.only.error",
        Always,
        "would hide the confirmations by which drover counts what was delivered",
        REMOVE,
    ),
    refused(&[Consumer, Producer], "bootstrap.servers", Always, OWN_KEY, "Set kafka.brokers."),
    refused(&[Consumer, Producer], "metadata.broker.list", Always, OWN_KEY, "Set kafka.brokers."),
    refused(
        &[Consumer, Producer],
        "test.mock.num.brokers",
        Always,
        "would replace the brokers by one that forgets everything",
        "Run `drover demo` for an embedded broker.",
    ),
];

/// Why `name = value` is refused for `client`, and the remedy; `None` when it is not.
#[must_use]
pub fn refusal(client: Client, name: &str, value: &str, consumer_protocol: bool) -> Option<(String, String)> {
    let property = FORBIDDEN.iter().find(|property| property.name == name && property.clients.contains(&client))?;
    let refused = match property.when {
        Always => true,
        Unless(allowed) => !allowed.contains(&value),
        ConsumerProtocol => consumer_protocol,
    };
    refused.then(|| (format!("is refused: it {}", property.reason), property.remedy.to_owned()))
}

/// Whether a librdkafka property is a secret by its name.
#[must_use]
pub fn is_secret(name: &str) -> bool {
    ["password", "secret", "passphrase", "token"].iter().any(|part| name.contains(part))
        || name.starts_with("sasl.oauthbearer.")
        || name.starts_with("sasl.jaas")
        || name.ends_with("key.pem")
}
