//! What an operator can order of a running drover, and why an order was not carried out.
//!
//! Pure data, shared by whoever takes orders (HTTP) and whoever carries them out. Names are those of the audit log.

use super::hold::HoldKind;
use serde::Serialize;
use std::fmt;
use std::time::Duration;

/// An order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    /// Read no further, until released.
    Hold {
        /// What is held.
        scope: Scope,
        /// A pause, or a quarantine.
        kind: HoldKind,
        /// Why, in the operator's words.
        reason: Option<String>,
        /// When it ends by itself.
        lasts: Option<Duration>,
    },
    /// Read on.
    Release {
        /// What was held.
        scope: Scope,
        /// A pause, or a quarantine.
        kind: HoldKind,
    },
    /// Drain a child if it lives and start it again with a full budget, also out of `failed`.
    Restart {
        /// Id of the child.
        child: String,
    },
    /// Change how many consumers and writers this process has.
    Scale {
        /// Consumers; `None` leaves them.
        consumers: Option<usize>,
        /// Writers; `None` leaves them.
        writers: Option<usize>,
    },
}

/// What an order to hold or release is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Scope {
    /// All that a consumer of this process owns.
    Consumer(String),
    /// One partition, whoever owns it.
    Partition {
        /// Topic.
        topic: String,
        /// Partition.
        partition: i32,
        /// Only if this consumer of this process owns it now.
        owner: Option<String>,
    },
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Consumer(id) => f.write_str(id),
            Self::Partition { topic, partition, .. } => write!(f, "{topic} [{partition}]"),
        }
    }
}

impl Command {
    /// Its name in the audit log.
    #[must_use]
    pub fn action(&self) -> &'static str {
        match self {
            Self::Hold { kind: HoldKind::Paused, .. } => "pause",
            Self::Hold { kind: HoldKind::Quarantined, .. } => "quarantine",
            Self::Release { kind: HoldKind::Paused, .. } => "resume",
            Self::Release { kind: HoldKind::Quarantined, .. } => "release",
            Self::Restart { .. } => "restart",
            Self::Scale { .. } => "scale",
        }
    }

    /// What it is about, as the audit log writes it.
    #[must_use]
    pub fn target(&self) -> String {
        match self {
            Self::Hold { scope, .. } | Self::Release { scope, .. } => scope.to_string(),
            Self::Restart { child } => child.clone(),
            Self::Scale { consumers, writers } => {
                let named = [("consumers", consumers), ("writers", writers)];
                let named = named.iter().filter_map(|(name, count)| count.map(|count| format!("{name}={count}")));
                named.collect::<Vec<_>>().join(" ")
            }
        }
    }
}

/// What an order did.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct Done {
    /// One sentence for people.
    pub message: String,
}

impl Done {
    /// An order that was carried out.
    #[must_use]
    pub fn new(message: impl Into<String>) -> Self {
        Self { message: message.into() }
    }
}

/// Why an order was not carried out. The text says what to do.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CommandError {
    /// Nothing here has this name.
    #[error("{0}")]
    Unknown(String),
    /// Not possible as things are now.
    #[error("{0}")]
    NotNow(String),
    /// Never possible with this value.
    #[error("{0}")]
    Invalid(String),
    /// Too much is asked at once.
    #[error("{0}")]
    Busy(String),
    /// What is needed for it does not answer.
    #[error("{0}")]
    Unavailable(String),
    /// drover itself is wrong.
    #[error("{0}; this is a bug in drover")]
    Internal(String),
}

impl CommandError {
    /// Its outcome in the audit log: `refused` when the order was wrong, `failed` when carrying it out was.
    #[must_use]
    pub fn outcome(&self) -> &'static str {
        match self {
            Self::Unknown(_) | Self::NotNow(_) | Self::Invalid(_) | Self::Busy(_) => "refused",
            Self::Unavailable(_) | Self::Internal(_) => "failed",
        }
    }
}

/// The first name of the form `{prefix}-N`, N from 1, that nobody has.
#[must_use]
pub fn next_free(prefix: &str, taken: &[String]) -> String {
    let mut numbers = 1..;
    let free = numbers.find_map(|number: u64| {
        let name = format!("{prefix}-{number}");
        (!taken.contains(&name)).then_some(name)
    });
    free.expect("there are more numbers than names")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_next_id_is_the_first_that_nobody_has() {
        let taken = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect::<Vec<_>>();
        assert_eq!(next_free("consumer", &[]), "consumer-1");
        assert_eq!(next_free("consumer", &taken(&["consumer-1", "consumer-2", "consumer-3"])), "consumer-4");
        assert_eq!(next_free("consumer", &taken(&["consumer-1", "consumer-3"])), "consumer-2");
        assert_eq!(next_free("consumer", &taken(&["left", "right"])), "consumer-1");
    }

    #[test]
    fn the_audit_log_names_what_an_order_is_about() {
        let scope = Scope::Partition { topic: "user_events".into(), partition: 3, owner: None };
        let release = Command::Release { scope, kind: HoldKind::Quarantined };
        assert_eq!((release.action(), release.target().as_str()), ("release", "user_events [3]"));
        let scale = Command::Scale { consumers: Some(3), writers: None };
        assert_eq!((scale.action(), scale.target().as_str()), ("scale", "consumers=3"));
        let scale = Command::Scale { consumers: Some(3), writers: Some(2) };
        assert_eq!(scale.target(), "consumers=3 writers=2");
    }
}
