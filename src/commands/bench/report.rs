//! What a benchmark tells: a table for people, one JSON object for programs.
//!
//! Owns the columns of the table. What could not be measured is `-` there, and null in the object. The run with the median
//! rate (of latency: the median p99) is marked, and its figures stand at the top of the JSON object. Fails only where nobody
//! takes the output.

use super::figures::{Run, Runs, StreamCost, round};
use super::processes::Machine;
use crate::commands::table::print_table;
use crate::domain::bench::Percentiles;
use crate::store::bench::ServerFacts;
use anyhow::Context as _;
use serde::Serialize;
use std::io::Write;
use std::path::Path;

/// All that a benchmark found.
#[derive(Debug, Serialize)]
pub struct Report {
    /// `pipeline`, `store` or `latency`.
    pub bench: &'static str,
    /// Part of the names of all that was made.
    pub id: String,
    /// The runs.
    #[serde(flatten)]
    pub runs: Runs,
    /// The runs of the ceiling, where it was measured.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub store: Option<Runs>,
    /// What clients of the live stream cost, where there were any.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stream: Option<StreamCost>,
    /// The median steady rate over that of the ceiling.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ratio: Option<f64>,
    /// What was asked for.
    pub settings: serde_json::Value,
    /// The machine that measured.
    pub machine: Machine,
    /// What was measured.
    pub versions: Versions,
    /// When, RFC 3339.
    pub at: String,
}

/// What was measured.
#[derive(Debug, Clone, Serialize)]
pub struct Versions {
    /// drover.
    pub drover: &'static str,
    /// Whether it was built for speed.
    pub optimised: bool,
    /// The library that reads and writes Kafka.
    pub librdkafka: String,
    /// The database.
    pub database: String,
    /// Settings of the database that decide what a rate means.
    pub database_settings: std::collections::BTreeMap<String, String>,
}

impl Versions {
    /// Those of this program, with what the server says of itself.
    #[must_use]
    pub fn new(facts: &ServerFacts) -> Self {
        Self {
            drover: env!("CARGO_PKG_VERSION"),
            optimised: !cfg!(debug_assertions),
            librdkafka: crate::kafka::client::librdkafka_version(),
            database: facts.version.clone(),
            database_settings: facts.settings.clone(),
        }
    }
}

impl Report {
    /// The ratio to the ceiling, from the medians of both.
    #[must_use]
    pub fn ratio(runs: &Runs, store: Option<&Runs>) -> Option<f64> {
        let ceiling = store?.steady().filter(|&rate| rate > 0.0)?;
        Some(round(runs.steady()? / ceiling))
    }

    /// Whether every run stored everything once.
    #[must_use]
    pub fn is_exact(&self) -> bool {
        let ceiling = self.store.iter().flat_map(|runs| &runs.runs);
        let without = self.stream.iter().flat_map(|stream| &stream.without.runs);
        self.runs.runs.iter().chain(ceiling).chain(without).all(Run::is_exact)
    }

    /// Writes the JSON object where it is wanted, and the table to `out` unless that is where.
    ///
    /// # Errors
    /// The file or `out` cannot be written.
    pub fn write(&self, json: Option<&Path>, out: &mut (dyn Write + Send)) -> anyhow::Result<()> {
        if json == Some(Path::new("-")) {
            serde_json::to_writer_pretty(&mut *out, self)?;
            writeln!(out)?;
            return Ok(());
        }
        if let Some(path) = json {
            let text = serde_json::to_string_pretty(self)?;
            std::fs::write(path, text + "\n").with_context(|| format!("writing {}", path.display()))?;
        }
        self.print(out).context("printing the figures")
    }

    fn print(&self, out: &mut (dyn Write + Send)) -> std::io::Result<()> {
        let Versions { drover, optimised, librdkafka, database, database_settings } = &self.versions;
        let Machine { system, cores, cpu, .. } = &self.machine;
        let cpu = cpu.as_deref().unwrap_or("CPU unknown");
        let build = if *optimised { "" } else { " (a debug build: its rates mean nothing)" };
        writeln!(out, "drover {drover}{build}, {database}, librdkafka {librdkafka}; {cores} cores, {cpu}, {system}")?;
        let settings: Vec<_> = database_settings.iter().map(|(name, value)| format!("{name} {value}")).collect();
        writeln!(out, "{}", settings.join(", "))?;
        if let Some(store) = &self.store {
            writeln!(out, "\nstore alone, the ceiling")?;
            print_drains(store, out)?;
            writeln!(out, "\npipeline")?;
        } else {
            writeln!(out)?;
        }
        if let Some(stream) = &self.stream {
            writeln!(out, "nobody looks at the live stream")?;
            print_drains(&stream.without, out)?;
            writeln!(out, "\n{} clients look at it", stream.clients)?;
        }
        if self.bench == "latency" {
            print_latency(&self.runs, out)?
        } else {
            print_drains(&self.runs, out)?
        }
        if self.runs.runs.len() > 1 {
            writeln!(out, "* the median run")?;
        }
        if let Some(StreamCost { clients, added_own_cpu_s_per_million: added, pairs, .. }) = &self.stream {
            let pairs: Vec<String> = pairs.iter().map(|pair| format!("{pair:+.3}")).collect();
            let (added, pairs) = (shown(*added, 3), pairs.join(" "));
            writeln!(
                out,
                "\n{clients} clients of the live stream add {added} own CPU seconds per million events ({pairs})"
            )?;
        }
        if let Some(ratio) = self.ratio {
            writeln!(out, "\npipeline / store, steady: {ratio:.2}")?;
        }
        Ok(())
    }
}

fn shown(value: Option<f64>, decimals: usize) -> String {
    value.map_or_else(|| "-".into(), |value| format!("{value:.decimals$}"))
}

/// The number of a run, and whether it is the median.
fn number(runs: &Runs, at: usize) -> String {
    let star = if runs.runs.len() > 1 && at == runs.median_run { "*" } else { "" };
    format!("{}{star}", at + 1)
}

fn print_drains(runs: &Runs, out: &mut (dyn Write + Send)) -> std::io::Result<()> {
    let row = |(at, run): (usize, &Run)| {
        vec![
            number(runs, at),
            shown(run.steady_rows_per_s, 0),
            shown(run.rows_per_s, 0),
            shown(run.seconds, 2),
            shown(run.own_cpu_s_per_million, 2),
            shown(run.database_cpu_s_per_million, 2),
            shown(run.database_server_cpu_s_per_million, 2),
            shown(run.broker_cpu_s_per_million, 2),
            shown(run.other_cpu_cores, 2),
            shown(run.peak_pss_mb, 1),
            shown(run.rows_per_transaction, 0),
            shown(run.wal_bytes.map(|bytes| bytes as f64 / 1e6), 0),
            run.dead_letters.to_string(),
            run.lost.to_string(),
            run.doubled.to_string(),
        ]
    };
    let rows = runs.runs.iter().enumerate().map(row).collect();
    let header = [
        "RUN",
        "STEADY/S",
        "ROWS/S",
        "SECONDS",
        "OWN S/M",
        "BACKENDS S/M",
        "SERVER S/M",
        "BROKER S/M",
        "OTHER CORES",
        "PSS MB",
        "ROWS/TX",
        "WAL MB",
        "DEAD",
        "LOST",
        "DOUBLED",
    ];
    print_table(&header, rows, out)?;
    writeln!(
        out,
        "S/M: CPU seconds per million events. STEADY/S: from 10 to 90 % of the rows; ROWS/S: first to last. \
         OTHER CORES: cores busy with anything else, which disturbs."
    )
}

fn print_latency(runs: &Runs, out: &mut (dyn Write + Send)) -> std::io::Result<()> {
    let row = |(at, run): (usize, &Run)| {
        let of = |value: fn(&Percentiles) -> f64| shown(run.latency_ms.as_ref().map(value), 2);
        // Seconds a million events times events a second: the share of one core.
        let share = |per_million: Option<f64>| {
            shown(per_million.zip(run.rows_per_s).map(|(seconds, rate)| seconds * rate / 1e4), 1)
        };
        let events = run.delivered.max(1) as f64;
        vec![
            number(runs, at),
            shown(run.rows_per_s, 0),
            of(|p| p.p50),
            of(|p| p.p90),
            of(|p| p.p99),
            of(|p| p.p999),
            of(|p| p.max),
            shown(Some(run.transactions as f64 / events), 3),
            share(run.own_cpu_s_per_million),
            share(run.producer_cpu_s_per_million),
            share(run.database_server_cpu_s_per_million),
            shown(run.other_cpu_cores.map(|cores| cores * 100.0), 1),
            shown(run.peak_pss_mb, 1),
            run.lost.to_string(),
            run.doubled.to_string(),
        ]
    };
    let rows = runs.runs.iter().enumerate().map(row).collect();
    let header = [
        "RUN",
        "EVENTS/S",
        "P50 MS",
        "P90",
        "P99",
        "P99.9",
        "MAX",
        "TX/EVENT",
        "OWN CPU %",
        "PRODUCER %",
        "SERVER %",
        "OTHER %",
        "PSS MB",
        "LOST",
        "DOUBLED",
    ];
    print_table(&header, rows, out)?;
    match runs.figures.latency_until {
        Some("commit_timestamp") => {
            writeln!(out, "From the producer to the commit timestamp of the row. CPU in percent of one core.")
        }
        _ => writeln!(
            out,
            "From the producer to the beginning of the row's transaction, because the store keeps no commit timestamps \
             (track_commit_timestamp). CPU in percent of one core."
        ),
    }
}
