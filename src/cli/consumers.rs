//! The command line of `drover consumers`.
//!
//! Owns names and help texts of its commands and flags. They speak to a running drover; the token is never a flag, because
//! others on the machine can see flags.

use clap::{ArgGroup, Args, Subcommand};
use std::path::PathBuf;
use std::time::Duration;

use crate::config::units::parse_duration;

/// The running drover that a command speaks to.
#[derive(Debug, Args)]
pub struct ServerFlags {
    /// Its address.
    #[arg(long, value_name = "URL", env = "DROVER_URL", default_value = "http://127.0.0.1:8080")]
    pub url: String,
    /// File that holds its token; without it DROVER_HTTP_TOKEN is the token, when it is set.
    #[arg(long, value_name = "FILE")]
    pub token_file: Option<PathBuf>,
}

/// Flags of `drover consumers`.
#[derive(Debug, Args)]
pub struct ConsumersArgs {
    /// What to do.
    #[command(subcommand)]
    pub command: ConsumersCommand,
}

/// What `drover consumers` can do.
#[derive(Debug, Subcommand)]
pub enum ConsumersCommand {
    /// List the consumers of a running drover: state, restarts, partitions, lag, and what is held.
    List {
        /// Those of all replicas of the group, and every partition with its owner.
        #[arg(long)]
        all: bool,
        /// Print JSON.
        #[arg(long)]
        json: bool,
        /// The running drover.
        #[command(flatten)]
        server: ServerFlags,
    },
    /// Read no further, until resumed: all that a consumer owns, or one partition, whoever owns it.
    Pause {
        /// What to pause.
        #[command(flatten)]
        target: TargetFlags,
        /// Why, for those who see it paused.
        #[arg(long, value_name = "TEXT")]
        reason: Option<String>,
        /// The running drover.
        #[command(flatten)]
        server: ServerFlags,
    },
    /// Read on what was paused.
    Resume {
        /// What to resume.
        #[command(flatten)]
        target: TargetFlags,
        /// The running drover.
        #[command(flatten)]
        server: ServerFlags,
    },
    /// Drain a consumer, or any other child, and start it again with a full restart budget, also out of failed.
    Restart {
        /// Id of the child, such as consumer-1, writer-1, dead-letter, audit, metrics or replica.
        id: String,
        /// The running drover.
        #[command(flatten)]
        server: ServerFlags,
    },
    /// Keep a partition from being read because its records want somebody's attention: readiness turns red.
    Quarantine {
        /// The partition.
        #[command(flatten)]
        partition: PartitionFlags,
        /// Ends by itself after this time, such as 30m; without it when it is released.
        #[arg(long = "for", value_name = "DURATION", value_parser = parse_duration)]
        lasts: Option<Duration>,
        /// Why, for those who see it quarantined.
        #[arg(long, value_name = "TEXT")]
        reason: Option<String>,
        /// The running drover.
        #[command(flatten)]
        server: ServerFlags,
    },
    /// Read on what was quarantined, by an operator or by the storm guard.
    Release {
        /// The partition.
        #[command(flatten)]
        partition: PartitionFlags,
        /// The running drover.
        #[command(flatten)]
        server: ServerFlags,
    },
    /// Change how many consumers and writers a running drover has; those that go finish what they have in flight.
    #[command(group = ArgGroup::new("counts").required(true).multiple(true).args(["consumers", "writers"]))]
    Scale {
        /// Consumers.
        #[arg(long, value_name = "N")]
        consumers: Option<usize>,
        /// Writers.
        #[arg(long, value_name = "M")]
        writers: Option<usize>,
        /// The running drover.
        #[command(flatten)]
        server: ServerFlags,
    },
}

/// A consumer or a partition. With both, the partition, if the consumer owns it.
#[derive(Debug, Args)]
#[command(group = ArgGroup::new("target").required(true).multiple(true).args(["id", "topic"]))]
pub struct TargetFlags {
    /// Id of the consumer, such as consumer-1.
    pub id: Option<String>,
    /// Topic of the partition.
    #[arg(long, requires = "partition")]
    pub topic: Option<String>,
    /// Number of the partition.
    #[arg(long, value_name = "N", requires = "topic")]
    pub partition: Option<u16>,
}

/// A partition.
#[derive(Debug, Args)]
pub struct PartitionFlags {
    /// Its topic.
    #[arg(long)]
    pub topic: String,
    /// Its number.
    #[arg(long, value_name = "N")]
    pub partition: u16,
}
