//! The command line of `drover drill`.
//!
//! Owns names and help texts of its flags. What a drill may be told is checked by the instance that runs it.

use clap::{ArgGroup, Args};

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
    /// Where the drover listens that is to be drilled.
    #[arg(long, value_name = "URL", default_value = "http://127.0.0.1:8080")]
    pub url: String,
}
