//! The command line of `drover drill`.
//!
//! Owns names and help texts of its flags. What a drill may be told is checked by the instance that runs it.

use clap::{ArgGroup, Args};

use super::ServerFlags;

/// Flags of `drover drill`.
#[derive(Debug, Args)]
#[command(group(ArgGroup::new("what").required(true).args(["name", "list", "all"])))]
pub struct DrillArgs {
    /// The drill, such as panic-consumer.
    pub name: Option<String>,
    /// List the drills and the last reports.
    #[arg(long)]
    pub list: bool,
    /// Run every drill, one after the other.
    #[arg(long)]
    pub all: bool,
    /// The consumer that it concerns; without it one that owns partitions.
    #[arg(long, value_name = "ID", requires = "name")]
    pub consumer: Option<String>,
    /// How long the fault lasts, in seconds, where it has a length.
    #[arg(long, value_name = "S", requires = "name")]
    pub seconds: Option<f64>,
    /// Print JSON.
    #[arg(long)]
    pub json: bool,
    /// The running drover.
    #[command(flatten)]
    pub server: ServerFlags,
}
