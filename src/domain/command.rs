//! What an operator can order of a running drover, and why an order was not carried out.
//!
//! Pure data, shared by whoever takes orders (HTTP) and whoever carries them out. Names are those of the audit log.

use serde::Serialize;
use std::fmt;

/// An order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    /// Drain a child if it lives and start it again with a full budget, also out of `failed`.
    Restart {
        /// Id of the child.
        child: String,
    },
}

impl Command {
    /// Its name in the audit log.
    #[must_use]
    pub fn action(&self) -> &'static str {
        match self {
            Self::Restart { .. } => "restart",
        }
    }

    /// What it is about, as the audit log writes it.
    #[must_use]
    pub fn target(&self) -> String {
        match self {
            Self::Restart { child } => child.clone(),
        }
    }
}

impl fmt::Display for Command {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.action(), self.target())
    }
}

/// What an order did.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
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
            Self::Unknown(_) | Self::NotNow(_) | Self::Invalid(_) => "refused",
            Self::Unavailable(_) | Self::Internal(_) => "failed",
        }
    }
}
