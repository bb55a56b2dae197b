//! The command line of `drover bench`.
//!
//! Owns names, defaults and help texts of its flags. Everything that is not a flag here is as `drover run` would have it.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Subcommand, ValueEnum};

use super::{BrokerFlags, KeyField, StoreFlags};
use crate::config::units::parse_duration;

/// Largest share of broken events: from half on, the storm guard would quarantine the partitions instead of draining them.
const MOST_POISON: f64 = 0.2;

/// Flags of `drover bench`.
#[derive(Debug, Args)]
pub struct BenchArgs {
    /// What is measured.
    #[command(subcommand)]
    pub command: BenchCommand,
}

/// What `drover bench` can measure.
#[derive(Debug, Subcommand)]
pub enum BenchCommand {
    /// How fast `drover run` drains a full topic into the store, and what it costs.
    ///
    /// Makes a topic of its own and fills it; each run starts `drover run` as a process of its own, with a group and a schema
    /// of their own (a file of its own for SQLite), and follows the positions. All of it is removed at the end. Two rates are
    /// told: from the first row to the last, and from 10 to 90 % of the rows. The members of the group join one after the
    /// other, as they do; --wait-for-group leaves that out. Other work on the same servers is in the figures of CPU and WAL.
    Pipeline(BenchPipelineArgs),
    /// The ceiling: the same writers with the same transactions and rows, without Kafka.
    ///
    /// The rows are made before the clock starts, so that only their encoding is in it; the next batch is encoded while one is
    /// written.
    Store(BenchStoreArgs),
    /// How long an event takes from the producer to its commit, at a steady rate.
    ///
    /// Every event carries the time at which it was handed to the producer. PostgreSQL with track_commit_timestamp = on tells
    /// when each row was committed (when its commit record was written, shortly before that reached the disk); else the beginning
    /// of its transaction counts. The first second is left out. Both clocks must be one: run it on the machine of the database.
    Latency(BenchLatencyArgs),
}

/// What all of them have in common.
#[derive(Debug, Args)]
pub struct BenchFlags {
    /// Measure so often; the median run is marked and stands at the top of the JSON.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=99))]
    pub repeat: u32,
    /// Write everything as one JSON object to this file; - is standard output, instead of the table.
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,
    /// Keep what was made: topic, group, schema and log.
    #[arg(long)]
    pub keep: bool,
    /// Size of an event, in bytes; the smallest have some 170.
    #[arg(long, value_name = "BYTES", default_value_t = 240, value_parser = clap::value_parser!(u64).range(1..=900_000))]
    pub event_bytes: u64,
    /// Partitions of the topic.
    #[arg(long, value_name = "N", default_value_t = 6, value_parser = clap::value_parser!(i32).range(1..=10_000))]
    pub partitions: i32,
    /// Writers; without it as many as `run` would use.
    #[arg(long, value_name = "W")]
    pub writers: Option<usize>,
    /// The store.
    #[command(flatten)]
    pub store: StoreFlags,
}

/// Flags of `drover bench pipeline`.
#[derive(Debug, Args)]
pub struct BenchPipelineArgs {
    /// Events on the topic.
    #[arg(long, value_name = "N", default_value_t = 1_000_000, value_parser = clap::value_parser!(u64).range(1..))]
    pub events: u64,
    /// Share of broken events, such as 0.001; of eleven kinds in turn, one of which only the database refuses.
    #[arg(long, value_name = "SHARE", default_value_t = 0.0, value_parser = parse_poison)]
    pub poison: f64,
    /// How batches on the topic are compressed, whatever kafka.producer says.
    #[arg(long, value_enum, default_value_t = Compression::None)]
    pub compression: Compression,
    /// Field whose value is the key of the record, and so decides its partition.
    #[arg(long, value_enum, default_value_t = KeyField::UserId)]
    pub key: KeyField,
    /// Consumers; without it as many as `run` would use.
    #[arg(long, value_name = "N")]
    pub consumers: Option<usize>,
    /// Hold all partitions until every consumer owns some, and let go of them at once. PostgreSQL only.
    #[arg(long)]
    pub wait_for_group: bool,
    /// Before each run measure the ceiling as `drover bench store` does, and tell the ratio.
    #[arg(long)]
    pub with_store: bool,
    /// What all have in common.
    #[command(flatten)]
    pub common: BenchFlags,
    /// The brokers.
    #[command(flatten)]
    pub broker: BrokerFlags,
}

/// Flags of `drover bench store`.
#[derive(Debug, Args)]
pub struct BenchStoreArgs {
    /// Rows to store.
    #[arg(long, value_name = "N", default_value_t = 1_000_000, value_parser = clap::value_parser!(u64).range(1..))]
    pub events: u64,
    /// What all have in common.
    #[command(flatten)]
    pub common: BenchFlags,
}

/// Flags of `drover bench latency`.
#[derive(Debug, Args)]
pub struct BenchLatencyArgs {
    /// Events a second, evenly paced.
    #[arg(long, value_name = "R", default_value_t = 2_000, value_parser = clap::value_parser!(u64).range(1..=1_000_000))]
    pub rate: u64,
    /// Seconds that are measured, after the first one.
    #[arg(long, value_name = "S", default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=3_600))]
    pub seconds: u64,
    /// How long the producer waits for more events before it sends a batch, such as 5ms.
    #[arg(long, value_name = "TIME", default_value = "0", value_parser = parse_duration)]
    pub linger: Duration,
    /// Consumers; without it as many as `run` would use.
    #[arg(long, value_name = "N")]
    pub consumers: Option<usize>,
    /// What all have in common.
    #[command(flatten)]
    pub common: BenchFlags,
    /// The brokers.
    #[command(flatten)]
    pub broker: BrokerFlags,
}

/// How batches on the topic are compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Compression {
    /// Not at all.
    None,
    /// gzip.
    Gzip,
    /// Snappy.
    Snappy,
    /// LZ4.
    Lz4,
    /// Zstandard.
    Zstd,
}

impl Compression {
    /// The word of `compression.type`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Gzip => "gzip",
            Self::Snappy => "snappy",
            Self::Lz4 => "lz4",
            Self::Zstd => "zstd",
        }
    }
}

impl BenchCommand {
    /// What all of them have in common.
    #[must_use]
    pub fn common(&self) -> &BenchFlags {
        match self {
            Self::Pipeline(args) => &args.common,
            Self::Store(args) => &args.common,
            Self::Latency(args) => &args.common,
        }
    }
}

fn parse_poison(text: &str) -> Result<f64, String> {
    let share: f64 = text.parse().map_err(|_| "expected a share such as 0.001".to_owned())?;
    if (0.0..=MOST_POISON).contains(&share) {
        Ok(share)
    } else {
        Err(format!("{share} is not from 0 to {MOST_POISON}; from half on the storm guard would quarantine partitions"))
    }
}
