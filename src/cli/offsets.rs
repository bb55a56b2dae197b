//! The command line of `drover offsets`.
//!
//! Owns names and help texts of its commands and flags. What an offset may be is checked with what store and Kafka have.

use clap::{Args, Subcommand};
use std::str::FromStr;

use super::{BrokerFlags, StoreFlags};

/// Flags of `drover offsets`.
#[derive(Debug, Args)]
pub struct OffsetsArgs {
    /// What to do.
    #[command(subcommand)]
    pub command: OffsetsCommand,
}

/// What `drover offsets` can do.
#[derive(Debug, Subcommand)]
pub enum OffsetsCommand {
    /// Show the stored position of each partition beside what Kafka has, and whether a start would stop it.
    Show {
        /// Topics; without one those of kafka.topics and of the store.
        topics: Vec<String>,
        /// Print JSON.
        #[arg(long)]
        json: bool,
        /// The brokers.
        #[command(flatten)]
        broker: BrokerFlags,
        /// The store.
        #[command(flatten)]
        store: StoreFlags,
    },
    /// Read records again: what is stored already is skipped as a duplicate. The group must be stopped.
    Rewind {
        /// The topic.
        topic: String,
        /// Only this partition.
        #[arg(long, value_name = "N")]
        partition: Option<i32>,
        /// Where to: an offset, beginning, or a time such as 2026-01-02T12:00:00Z.
        #[arg(long, value_name = "OFFSET|beginning|TIME")]
        to: OffsetTarget,
        /// What the commands that change positions have in common.
        #[command(flatten)]
        change: ChangeFlags,
    },
    /// Give records up, such as those that retention removed unread: the audit reports them as a known loss. The group must
    /// be stopped.
    Skip {
        /// The topic.
        topic: String,
        /// The partition.
        #[arg(long, value_name = "N")]
        partition: i32,
        /// Where to: an offset, beginning (Kafka's oldest record), end, or a time.
        #[arg(long, value_name = "OFFSET|beginning|end|TIME")]
        to: OffsetTarget,
        /// What the commands that change positions have in common.
        #[command(flatten)]
        change: ChangeFlags,
    },
    /// Begin a topic anew beside what is stored of it: after it was created again, was truncated, or its database was
    /// lost. The group must be stopped.
    Restart {
        /// The topic.
        topic: String,
        /// Where: beginning, end, committed (where the group stands in Kafka), or a time. Without it a topic that was
        /// created again or is not in the store starts at its beginning, and one that was truncated where it stands.
        #[arg(long, value_name = "beginning|end|committed|TIME")]
        to: Option<OffsetTarget>,
        /// What the commands that change positions have in common.
        #[command(flatten)]
        change: ChangeFlags,
    },
    /// Give the store to the cluster and group that are configured now. Both groups must be stopped.
    Claim {
        /// The new cluster has the same records at the same offsets, as after cluster linking or a move of its disks: read
        /// on where each partition stands. Without it every topic of another cluster needs a restart.
        #[arg(long)]
        same_offsets: bool,
        /// What the commands that change positions have in common.
        #[command(flatten)]
        change: ChangeFlags,
    },
}

/// What the commands that change positions have in common.
#[derive(Debug, Default, Args)]
pub struct ChangeFlags {
    /// Do it without asking.
    #[arg(long)]
    pub yes: bool,
    /// Only show what would be done.
    #[arg(long, conflicts_with = "yes")]
    pub dry_run: bool,
    /// Print JSON.
    #[arg(long)]
    pub json: bool,
    /// The brokers.
    #[command(flatten)]
    pub broker: BrokerFlags,
    /// The store.
    #[command(flatten)]
    pub store: StoreFlags,
}

impl OffsetsCommand {
    /// The brokers and the store of any of them.
    #[must_use]
    pub fn connections(&self) -> (&BrokerFlags, &StoreFlags) {
        match self {
            Self::Show { broker, store, .. } => (broker, store),
            Self::Rewind { change, .. }
            | Self::Skip { change, .. }
            | Self::Restart { change, .. }
            | Self::Claim { change, .. } => (&change.broker, &change.store),
        }
    }
}

/// Where a position is moved to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OffsetTarget {
    /// This offset.
    Offset(i64),
    /// The oldest record that Kafka has.
    Beginning,
    /// The end of the log.
    End,
    /// What the group committed in Kafka.
    Committed,
    /// The first record at or after this time, in milliseconds since the epoch.
    Time(i64),
}

impl FromStr for OffsetTarget {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if let Ok(offset) = text.parse::<i64>() {
            return if offset >= 0 { Ok(Self::Offset(offset)) } else { Err("offsets begin at 0".into()) };
        }
        match text {
            "beginning" => Ok(Self::Beginning),
            "end" => Ok(Self::End),
            "committed" => Ok(Self::Committed),
            time => chrono::DateTime::parse_from_rfc3339(time).map(|time| Self::Time(time.timestamp_millis())).map_err(
                |_| "is no offset, no time such as 2026-01-02T12:00:00Z, and not beginning, end or committed".into(),
            ),
        }
    }
}
