//! The command line of `drover topics`.
//!
//! Owns names and help texts of its commands and flags. Topics that are named here are not settings: an operator may
//! create a dead-letter topic beside its source, which drover would never read.

use clap::{Args, Subcommand};

use super::BrokerFlags;

/// Flags of `drover topics`.
#[derive(Debug, Args)]
pub struct TopicsArgs {
    /// What to do.
    #[command(subcommand)]
    pub command: TopicsCommand,
}

/// What `drover topics` can do.
#[derive(Debug, Subcommand)]
pub enum TopicsCommand {
    /// List the topics of the cluster.
    List {
        /// The brokers.
        #[command(flatten)]
        broker: BrokerFlags,
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
    /// Show partitions, leaders, replicas, offsets and settings of topics.
    Describe {
        /// Topics; without one those of kafka.topics.
        topics: Vec<String>,
        /// The brokers.
        #[command(flatten)]
        broker: BrokerFlags,
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
    /// Create topics.
    Create {
        /// Topics; without one those of kafka.topics.
        topics: Vec<String>,
        /// The brokers.
        #[command(flatten)]
        broker: BrokerFlags,
        /// Partitions of each.
        #[arg(long, value_name = "N")]
        partitions: Option<i32>,
        /// Copies of each partition; -1 is the broker's default.
        #[arg(long, value_name = "N", allow_negative_numbers = true)]
        replication: Option<i32>,
        /// Setting of the topic, such as retention.ms=86400000; repeat it for more.
        #[arg(long = "set", value_name = "NAME=VALUE", value_parser = name_and_value)]
        settings: Vec<(String, String)>,
    },
    /// Add partitions to a topic. Records of one key may then be in another partition than before.
    AddPartitions {
        /// The topic.
        topic: String,
        /// The brokers.
        #[command(flatten)]
        broker: BrokerFlags,
        /// How many it has in the end.
        #[arg(long, value_name = "N", value_parser = clap::value_parser!(i32).range(1..))]
        partitions: i32,
    },
}

fn name_and_value(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.into(), value.into())),
        _ => Err("is not NAME=VALUE".into()),
    }
}
