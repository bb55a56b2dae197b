//! The command line: clap types and how flags become settings.
//!
//! Owns names, defaults and help texts of commands and flags; a doc comment here is the text of `--help`. Decides
//! nothing: what a flag may say is checked with the rest of the configuration.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::config::units::parse_duration;
use crate::config::{Override, hide_password};

mod bench;
mod consumers;
mod drill;
mod offsets;
mod overrides;
mod topics;

pub use bench::{
    BenchArgs, BenchCommand, BenchFlags, BenchLatencyArgs, BenchPipelineArgs, BenchStoreArgs, Compression,
};
pub use consumers::{ConsumersArgs, ConsumersCommand, PartitionFlags, ServerFlags, TargetFlags};
pub use drill::DrillArgs;
pub use offsets::{ChangeFlags, OffsetTarget, OffsetsArgs, OffsetsCommand};
pub use topics::{TopicsArgs, TopicsCommand};

/// Drives herds of Kafka consumers: supervised, exactly once into PostgreSQL, with every failure in view.
///
/// Settings come from defaults, then drover.toml, then the environment, then flags; the later ones win. `drover config
/// show` tells each value and where it came from.
#[derive(Debug, Parser)]
#[command(name = "drover", version)]
pub struct Cli {
    /// Configuration file; without it drover.toml in the working directory is read when it exists.
    #[arg(long, global = true, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// What is logged, such as info or drover=debug,info.
    #[arg(long, global = true, value_name = "FILTER")]
    pub log: Option<String>,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What drover can do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Read topics into the store with supervised consumers, until stopped.
    Run(Box<RunArgs>),
    /// The same with one consumer; several such processes share the group.
    Consume(Box<ConsumeArgs>),
    /// Everything in one process, with nothing installed: embedded broker, store, events, consumers, page.
    Demo(DemoArgs),
    /// Write events to a topic.
    Produce(ProduceArgs),
    /// List, describe, create and grow topics.
    Topics(TopicsArgs),
    /// Show, rewind, skip and restart positions.
    Offsets(OffsetsArgs),
    /// See and drive the consumers of a running drover.
    Consumers(ConsumersArgs),
    /// Read the records that could not be stored as rows.
    DeadLetters(DeadLettersArgs),
    /// Prove that every offset is accounted for, once; exit 0 only then.
    Audit(AuditArgs),
    /// Make a running instance meet a fault, where that is allowed, and prove that nothing was lost; exit 0 only then.
    Drill(DrillArgs),
    /// Measure rate, cost and latency on servers of your own.
    Bench(Box<BenchArgs>),
    /// Bring the store's tables up to date.
    Migrate(MigrateArgs),
    /// Show or check the effective configuration.
    Config(ConfigArgs),
}

/// The URL of a store from the command line; Debug hides its password.
#[derive(Clone, PartialEq, Eq)]
pub struct DatabaseUrl(pub String);

impl fmt::Debug for DatabaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", hide_password(&self.0))
    }
}

impl From<&str> for DatabaseUrl {
    fn from(url: &str) -> Self {
        Self(url.to_owned())
    }
}

/// The brokers that a command speaks to.
#[derive(Debug, Default, Args)]
pub struct BrokerFlags {
    /// Brokers to start from, host:port, comma separated.
    #[arg(long, value_name = "HOST:PORT")]
    pub brokers: Option<String>,
}

/// The store that a command speaks to.
#[derive(Debug, Default, Args)]
pub struct StoreFlags {
    /// Where rows go: postgres://user:password@host:5432/database or sqlite:PATH. Others on this machine can see
    /// flags; DATABASE_URL keeps the password to yourself.
    #[arg(long, value_name = "URL")]
    pub database_url: Option<DatabaseUrl>,
}

/// What `run` and `consume` have in common.
#[derive(Debug, Default, Args)]
pub struct PipelineFlags {
    /// The brokers.
    #[command(flatten)]
    pub broker: BrokerFlags,
    /// The store.
    #[command(flatten)]
    pub store: StoreFlags,
    /// Topic to read; repeat it for more.
    #[arg(long = "topic", value_name = "TOPIC")]
    pub topics: Vec<String>,
    /// The consumer group.
    #[arg(long)]
    pub group: Option<String>,
    /// Address of page, API and metrics.
    #[arg(long, value_name = "ADDRESS:PORT")]
    pub http_addr: Option<String>,
    /// Take no orders over HTTP, whoever gives them.
    #[arg(long)]
    pub read_only: bool,
    /// Id of this process among the replicas of the group; makes its membership static.
    #[arg(long, value_name = "ID")]
    pub replica_id: Option<String>,
    /// Give up the place in the group at once when stopping.
    #[arg(long)]
    pub leave: bool,
    /// Do not migrate the store's tables at start.
    #[arg(long)]
    pub no_migrate: bool,
}

/// Flags of `drover run`.
#[derive(Debug, Default, Args)]
pub struct RunArgs {
    /// What it has in common with `consume`.
    #[command(flatten)]
    pub pipeline: PipelineFlags,
    /// Number of consumers, named consumer-1 and so on.
    #[arg(long, value_name = "N", conflicts_with = "consumer_ids")]
    pub consumers: Option<usize>,
    /// Id of a consumer; repeat it for more.
    #[arg(long = "consumer-id", value_name = "ID")]
    pub consumer_ids: Vec<String>,
}

/// Flags of `drover consume`.
#[derive(Debug, Args)]
pub struct ConsumeArgs {
    /// Id of the consumer.
    #[arg(long, value_name = "ID")]
    pub consumer_id: String,
    /// What it has in common with `run`.
    #[command(flatten)]
    pub pipeline: PipelineFlags,
}

/// Flags of `drover demo`.
#[derive(Debug, Args)]
pub struct DemoArgs {
    /// Events to write a second.
    #[arg(long, value_name = "N", default_value_t = 200, value_parser = clap::value_parser!(u64).range(1..))]
    pub events_per_second: u64,
    /// Number of consumers.
    #[arg(long, value_name = "N")]
    pub consumers: Option<usize>,
    /// Partitions of the topic.
    #[arg(long, value_name = "N")]
    pub partitions: Option<i32>,
    /// One event in so many is broken; 0: none.
    #[arg(long, value_name = "K", default_value_t = 100)]
    pub poison_every: u64,
    /// Stop after this time, such as 30s; without it run until stopped.
    #[arg(long, value_name = "TIME", value_parser = parse_duration)]
    pub duration: Option<Duration>,
    /// Address of page, API and metrics.
    #[arg(long, value_name = "ADDRESS:PORT")]
    pub http_addr: Option<String>,
    /// Take no orders over HTTP, whoever gives them.
    #[arg(long)]
    pub read_only: bool,
    /// The store; without it a fresh SQLite file.
    #[command(flatten)]
    pub store: StoreFlags,
    /// Directory of the SQLite file; without it a temporary one.
    #[arg(long, value_name = "DIR", conflicts_with = "database_url")]
    pub data_dir: Option<PathBuf>,
}

/// Flags of `drover produce`.
#[derive(Debug, Args)]
pub struct ProduceArgs {
    /// How events are written.
    #[arg(long, value_enum, default_value_t = ProduceMode::Batch)]
    pub mode: ProduceMode,
    /// Events of a batch.
    #[arg(long, alias = "count", value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u64).range(1..))]
    pub batch_size: u64,
    /// Events a second in continuous mode.
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..))]
    pub events_per_second: u64,
    /// Stop continuous mode after this time, such as 300 or 5m; without it run until stopped.
    #[arg(long, value_name = "TIME", value_parser = parse_duration)]
    pub duration: Option<Duration>,
    /// Send this one event and show its partition and offset.
    #[arg(long, value_name = "EVENT", conflicts_with_all = ["mode", "batch_size", "events_per_second", "duration"])]
    pub json: Option<String>,
    /// Field whose value is the key of the record, and so decides its partition.
    #[arg(long, value_enum, default_value_t = KeyField::UserId)]
    pub key: KeyField,
    /// Break one event in so many, each time in another way; 0: none.
    #[arg(long, value_name = "K", default_value_t = 0)]
    pub poison_every: u64,
    /// Makes the same events again; without it they are different each time.
    #[arg(long, value_name = "N")]
    pub seed: Option<u64>,
    /// Size of an event, in bytes; the smallest have some 170.
    #[arg(long, value_name = "BYTES", default_value_t = 240, value_parser = clap::value_parser!(u64).range(..=50_000_000))]
    pub event_bytes: u64,
    /// The brokers.
    #[command(flatten)]
    pub broker: BrokerFlags,
    /// Topic to write to; without it the first of kafka.topics.
    #[arg(long)]
    pub topic: Option<String>,
}

/// How `drover produce` writes events.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum ProduceMode {
    /// So many events, as fast as possible.
    Batch,
    /// So many events a second.
    Continuous,
    /// Events that you type.
    Interactive,
}

/// The field of an event that becomes the key of its record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum KeyField {
    /// Events of one user stay in order.
    #[value(name = "user_id")]
    UserId,
    /// Events of one element stay in order.
    #[value(name = "element_id")]
    ElementId,
    /// No key: events are spread over the partitions.
    #[value(name = "none")]
    None,
}

/// Flags of `drover dead-letters`.
#[derive(Debug, Args)]
pub struct DeadLettersArgs {
    /// What to do.
    #[command(subcommand)]
    pub command: DeadLettersCommand,
}

/// What `drover dead-letters` can do.
#[derive(Debug, Subcommand)]
pub enum DeadLettersCommand {
    /// List dead letters, newest first.
    List {
        /// Only those of this topic.
        #[arg(long)]
        topic: Option<String>,
        /// Only those with this error code.
        #[arg(long)]
        code: Option<String>,
        /// How many at most.
        #[arg(long, value_name = "N", default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..))]
        limit: u32,
        /// Print JSON.
        #[arg(long)]
        json: bool,
        /// The store.
        #[command(flatten)]
        store: StoreFlags,
    },
    /// Show one dead letter with key, value and headers.
    Show {
        /// Its topic.
        topic: String,
        /// Its partition.
        partition: i32,
        /// Its offset.
        offset: i64,
        /// Print JSON.
        #[arg(long)]
        json: bool,
        /// The store.
        #[command(flatten)]
        store: StoreFlags,
    },
}

/// Flags of `drover audit`.
#[derive(Debug, Args)]
pub struct AuditArgs {
    /// Only this topic; repeat it for more. Without it every topic of the store.
    #[arg(long = "topic", value_name = "TOPIC")]
    pub topics: Vec<String>,
    /// Look at everything again, and not only at what came since the last clean audit.
    #[arg(long)]
    pub full: bool,
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

/// Flags of `drover migrate`.
#[derive(Debug, Args)]
pub struct MigrateArgs {
    /// Only tell which migrations are applied and which are not.
    #[arg(long, conflicts_with = "revert")]
    pub status: bool,
    /// Take the latest migration back.
    #[arg(long)]
    pub revert: bool,
    /// The store.
    #[command(flatten)]
    pub store: StoreFlags,
}

/// Flags of `drover config`.
#[derive(Debug, Args)]
pub struct ConfigArgs {
    /// What to do.
    #[command(subcommand)]
    pub command: ConfigCommand,
}

/// What `drover config` can do.
#[derive(Debug, Subcommand)]
pub enum ConfigCommand {
    /// Show every effective value and where it came from, secrets hidden. Takes the flags of `run`.
    Show {
        /// Print JSON.
        #[arg(long)]
        json: bool,
        /// The flags to show with.
        #[command(flatten)]
        run: Box<RunArgs>,
    },
    /// Tell everything that is wrong with what `run` would use; exit 64 when something is. Takes the flags of `run`.
    Check {
        /// The flags to check with.
        #[command(flatten)]
        run: Box<RunArgs>,
    },
}

#[cfg(test)]
mod tests;
