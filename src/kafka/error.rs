//! What can go wrong between drover and Kafka: one error with what was done, where, why, and what to do about it.
//!
//! Pure. The kinds are a closed list, so that callers decide without naming librdkafka.

use rdkafka::error::KafkaError as NativeError;
use rdkafka::types::RDKafkaErrorCode as Code;
use std::fmt;

/// The result of anything that asks Kafka.
pub type KafkaResult<T> = Result<T, KafkaError>;

/// A request to Kafka, or the making of a client, failed.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{doing}: {reason}{}", remedy_suffix(*kind))]
pub struct KafkaError {
    doing: String,
    reason: String,
    kind: KafkaErrorKind,
    fatal: bool,
}

fn remedy_suffix(kind: KafkaErrorKind) -> String {
    kind.remedy().map_or_else(String::new, |remedy| format!(". {remedy}"))
}

/// An error that librdkafka reported beside what it was asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reported {
    /// What it means.
    pub kind: KafkaErrorKind,
    /// In librdkafka's words.
    pub text: String,
}

/// What a failure means to the caller.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum KafkaErrorKind {
    /// No broker answers, or none answers in time.
    Unreachable,
    /// A broker answered that it cannot do it now (leader election, coordinator loading, rebalance in progress).
    Unavailable,
    /// The broker refused the credentials or the TLS handshake failed.
    Authentication,
    /// The principal may not do this.
    Unauthorized,
    /// The principal may not be a member of the group.
    GroupUnauthorized,
    /// The topic does not exist.
    UnknownTopic,
    /// The topic has no such partition.
    UnknownPartition,
    /// A topic of that name exists already.
    TopicExists,
    /// The broker refused the request for its content.
    Invalid,
    /// The record is larger than the broker or the topic takes.
    TooLarge,
    /// The queue of the producer is full.
    QueueFull,
    /// The broker does not know this request.
    Unsupported,
    /// An offset is outside what the partition has.
    OffsetOutOfRange,
    /// Another member with the same id took this one's place.
    Fenced,
    /// The consumer was not polled for longer than `max.poll.interval.ms`.
    PollExceeded,
    /// A librdkafka property is unknown or has a wrong value.
    Configuration,
    /// The client was stopped while the request was under way.
    Canceled,
    /// Anything else.
    Other,
}

impl KafkaErrorKind {
    /// A stable name, for logs and labels of metrics.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Unreachable => "unreachable",
            Self::Unavailable => "unavailable",
            Self::Authentication => "authentication",
            Self::Unauthorized => "unauthorized",
            Self::GroupUnauthorized => "group_unauthorized",
            Self::UnknownTopic => "unknown_topic",
            Self::UnknownPartition => "unknown_partition",
            Self::TopicExists => "topic_exists",
            Self::Invalid => "invalid",
            Self::TooLarge => "too_large",
            Self::QueueFull => "queue_full",
            Self::Unsupported => "unsupported",
            Self::OffsetOutOfRange => "offset_out_of_range",
            Self::Fenced => "fenced",
            Self::PollExceeded => "poll_exceeded",
            Self::Configuration => "configuration",
            Self::Canceled => "canceled",
            Self::Other => "other",
        }
    }

    /// What to do about it, as a sentence.
    fn remedy(self) -> Option<&'static str> {
        Some(match self {
            Self::Unreachable => {
                "Check that the brokers run and that kafka.brokers (KAFKA_BOOTSTRAP_SERVERS) names them as they are reached from here"
            }
            Self::Authentication => {
                "Check security.protocol and the sasl.* and ssl.* properties in [kafka.consumer] and [kafka.producer]"
            }
            Self::Unauthorized | Self::GroupUnauthorized => "Give this principal the right on the broker (kafka-acls)",
            Self::UnknownTopic => "Create it with `drover topics create`, or set kafka.create_topics = true",
            Self::TooLarge => "Raise max.message.bytes of the topic, or send smaller records",
            Self::Unsupported => "The broker is too old for this, or is the embedded one",
            Self::Fenced => "Another process runs with the same replica_id and consumer id; give each its own",
            Self::PollExceeded => "The consumer was busy for too long; it joins the group again by itself",
            Self::Configuration => "Correct the property in [kafka.consumer] or [kafka.producer]",
            _ => return None,
        })
    }
}

impl fmt::Display for KafkaErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl KafkaError {
    /// An error of drover's own finding. `doing` says what was tried, with the topic or broker.
    pub fn new(kind: KafkaErrorKind, doing: impl Into<String>, reason: impl Into<String>) -> Self {
        Self { doing: doing.into(), reason: reason.into(), kind, fatal: false }
    }

    /// An error that librdkafka gave. `doing` says what was tried, with the topic or broker.
    pub fn native(doing: impl Into<String>, error: &NativeError) -> Self {
        let kind = kind_of(error);
        let reason = match (error, error.rdkafka_error_code()) {
            (NativeError::ClientConfig(_, why, name, value), _) => {
                // The value may be a secret.
                let shown = if is_secret(name) { "***" } else { value.as_str() };
                format!("{why} (property {name}, value \"{shown}\")")
            }
            (NativeError::ClientCreation(why), _) => why.clone(),
            (_, Some(code)) => code.to_string(),
            _ => error.to_string(),
        };
        let fatal = matches!(error, NativeError::MessageConsumptionFatal(_));
        Self { doing: doing.into(), reason, kind, fatal }
    }

    /// An error by its code alone.
    pub fn from_code(doing: impl Into<String>, code: Code) -> Self {
        Self { doing: doing.into(), reason: code.to_string(), kind: kind_of_code(code), fatal: false }
    }

    /// Adds what librdkafka said beside it, such as "Connection refused" to a call that timed out. A call that timed out
    /// because the login is refused is that; librdkafka's code says so, never its words: those begin with the broker's name,
    /// which with SASL begins with `sasl_ssl://`.
    #[must_use]
    pub fn because(self, said: Option<Reported>) -> Self {
        let Some(Reported { kind, text }) = said else {
            return self;
        };
        let refused = self.kind == KafkaErrorKind::Unreachable && kind == KafkaErrorKind::Authentication;
        let kind = if refused { kind } else { self.kind };
        Self { kind, ..self.with_detail(&text) }
    }

    /// The same for a client that goes on by itself: what the error means is not changed.
    #[must_use]
    pub fn beside(self, said: Option<Reported>) -> Self {
        match said {
            Some(Reported { text, .. }) => self.with_detail(&text),
            None => self,
        }
    }

    /// Adds why, for people.
    #[must_use]
    pub fn with_detail(mut self, detail: &str) -> Self {
        self.reason = format!("{} ({detail})", self.reason);
        self
    }

    /// What the failure means.
    #[must_use]
    pub fn kind(&self) -> KafkaErrorKind {
        self.kind
    }

    /// Whether the client that gave it is dead for good: only another one can go on.
    #[must_use]
    pub fn is_fatal(&self) -> bool {
        self.fatal
    }

    /// Whether waiting and trying again can help without anybody doing anything to drover.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        matches!(
            self.kind,
            KafkaErrorKind::Unreachable
                | KafkaErrorKind::Unavailable
                | KafkaErrorKind::QueueFull
                | KafkaErrorKind::PollExceeded
        )
    }
}

/// The kind of a librdkafka error.
#[must_use]
pub fn kind_of(error: &NativeError) -> KafkaErrorKind {
    match error {
        NativeError::ClientConfig(..) | NativeError::ClientCreation(_) => KafkaErrorKind::Configuration,
        NativeError::Canceled => KafkaErrorKind::Canceled,
        NativeError::AdminOpCreation(_) | NativeError::Nul(_) => KafkaErrorKind::Invalid,
        _ => error.rdkafka_error_code().map_or(KafkaErrorKind::Other, kind_of_code),
    }
}

/// The kind of a librdkafka or broker error code.
#[must_use]
pub fn kind_of_code(code: Code) -> KafkaErrorKind {
    use KafkaErrorKind as Kind;
    match code {
        Code::BrokerTransportFailure
        | Code::AllBrokersDown
        | Code::OperationTimedOut
        | Code::MessageTimedOut
        | Code::Resolve
        | Code::TimedOutQueue
        | Code::NodeUpdate
        | Code::BrokerDestroy => Kind::Unreachable,
        Code::LeaderNotAvailable
        | Code::NotLeaderForPartition
        | Code::RequestTimedOut
        | Code::BrokerNotAvailable
        | Code::ReplicaNotAvailable
        | Code::NetworkException
        | Code::CoordinatorLoadInProgress
        | Code::CoordinatorNotAvailable
        | Code::NotCoordinator
        | Code::NotEnoughReplicas
        | Code::NotEnoughReplicasAfterAppend
        | Code::RebalanceInProgress
        | Code::IllegalGeneration
        | Code::UnknownMemberId
        | Code::NotController
        | Code::WaitingForCoordinator
        | Code::InProgress
        | Code::PreviousInProgress
        | Code::AssignmentLost
        | Code::KafkaStorageError
        | Code::OffsetNotAvailable
        | Code::PreferredLeaderNotAvailable
        | Code::FencedLeaderEpoch
        | Code::UnknownLeaderEpoch
        | Code::ThrottlingQuotaExceeded
        | Code::Retry
        | Code::StaleMemberEpoch
        // A static member of KIP-848 whose predecessor died: the broker lets go of its id when the session ends.
        | Code::UnreleasedInstanceId => Kind::Unavailable,
        Code::Authentication | Code::SaslAuthenticationFailed | Code::SSL | Code::UnsupportedSASLMechanism => {
            Kind::Authentication
        }
        Code::GroupAuthorizationFailed => Kind::GroupUnauthorized,
        Code::TopicAuthorizationFailed
        | Code::ClusterAuthorizationFailed
        | Code::TransactionalIdAuthorizationFailed => Kind::Unauthorized,
        Code::UnknownTopic | Code::UnknownTopicOrPartition | Code::UnknownTopicId => Kind::UnknownTopic,
        Code::UnknownPartition => Kind::UnknownPartition,
        Code::TopicAlreadyExists => Kind::TopicExists,
        Code::InvalidTopic
        | Code::InvalidPartitions
        | Code::InvalidReplicationFactor
        | Code::InvalidReplicaAssignment
        | Code::InvalidConfig
        | Code::InvalidRequest
        | Code::InvalidArgument
        | Code::InvalidTimestamp
        | Code::InvalidRecord
        | Code::PolicyViolation => Kind::Invalid,
        Code::MessageSizeTooLarge | Code::InvalidMessageSize => Kind::TooLarge,
        Code::QueueFull => Kind::QueueFull,
        Code::UnsupportedVersion | Code::UnsupportedFeature | Code::NotImplemented => Kind::Unsupported,
        Code::OffsetOutOfRange | Code::AutoOffsetReset | Code::NoOffset => Kind::OffsetOutOfRange,
        Code::FencedInstanceId | Code::Fenced | Code::InvalidProducerEpoch => Kind::Fenced,
        Code::PollExceeded => Kind::PollExceeded,
        Code::PurgeQueue | Code::PurgeInflight => Kind::Canceled,
        _ => Kind::Other,
    }
}

fn is_secret(property: &str) -> bool {
    ["password", "secret", "passphrase", "token", "key.pem", "sasl.oauthbearer"]
        .iter()
        .any(|part| property.contains(part))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_outage_is_transient_and_a_refusal_is_not() {
        for code in [Code::BrokerTransportFailure, Code::LeaderNotAvailable, Code::NotCoordinator, Code::QueueFull] {
            assert!(KafkaError::from_code("asking", code).is_transient(), "{code}");
        }
        for code in
            [Code::TopicAuthorizationFailed, Code::UnknownTopic, Code::MessageSizeTooLarge, Code::FencedInstanceId]
        {
            assert!(!KafkaError::from_code("asking", code).is_transient(), "{code}");
        }
    }

    #[test]
    fn the_message_says_what_was_done_why_it_failed_and_what_to_do() {
        let error = KafkaError::from_code("reading the partitions of topic \"orders\"", Code::UnknownTopicOrPartition);
        let text = error.to_string();
        assert!(text.starts_with("reading the partitions of topic \"orders\": "), "{text}");
        assert!(text.contains("drover topics create"), "{text}");
    }

    #[test]
    fn a_refused_login_is_told_from_a_broker_that_is_away() {
        let timed_out = || KafkaError::from_code("connecting", Code::OperationTimedOut);
        let said = |code, text: &str| Some(Reported { kind: kind_of_code(code), text: text.into() });
        let refused = "sasl_ssl://b1:9093/1: SASL authentication error: Authentication failed";
        let error = timed_out().because(said(Code::Authentication, refused));
        assert_eq!(error.kind(), KafkaErrorKind::Authentication);
        assert!(!error.is_transient() && error.to_string().contains(refused));
        // The broker's name says how it is reached, and a handshake that was cut off is no refusal.
        for text in ["sasl_ssl://b1:9093/1: Connect failed: Connection refused", "SSL handshake failed: Disconnected"] {
            assert!(timed_out().because(said(Code::BrokerTransportFailure, text)).is_transient(), "{text}");
        }
        assert!(timed_out().beside(said(Code::Authentication, refused)).is_transient(), "the client goes on by itself");
    }

    #[test]
    fn a_secret_does_not_show_in_the_error_about_it() {
        let error = rdkafka::ClientConfig::new().set("sasl.password", "\0hunter2").create_native_config().err();
        if let Some(error) = error {
            assert!(!KafkaError::native("making a client", &error).to_string().contains("hunter2"));
        }
        let error = NativeError::ClientConfig(
            rdkafka::types::RDKafkaConfRes::RD_KAFKA_CONF_INVALID,
            "bad value".into(),
            "ssl.key.password".into(),
            "hunter2".into(),
        );
        let text = KafkaError::native("making a client", &error).to_string();
        assert!(text.contains("ssl.key.password") && !text.contains("hunter2"), "{text}");
    }
}
