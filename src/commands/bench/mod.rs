//! `drover bench`: measures the pipeline, the store alone, and the latency, on servers of the user's own.
//!
//! Owns the order of the runs. Everything that is made is removed at the end, also after an error or Ctrl-C, unless it is to
//! be kept. Fails when a run does, and says no (exit code 1) when something was lost or doubled.

mod child;
mod figures;
mod ground;
mod latency;
mod meter;
mod pipeline;
mod processes;
mod report;
mod store;

use super::produce::{Load, Stops, load};
use crate::app;
use crate::cli::{BenchCommand, BenchFlags, BenchLatencyArgs, BenchPipelineArgs, BenchStoreArgs};
use crate::config::{Config, EventsConfig, KafkaConfig};
use anyhow::{Context as _, bail};
use figures::{Run, Runs};
use ground::Ground;
use latency::Stream;
use pipeline::Drain;
use processes::Machine;
use report::{Report, Versions};
use serde_json::{Value, json};
use std::io::Write;
use std::path::Path;
use store::Rows;

/// Runs the benchmark; gives back whether everything was stored once.
///
/// # Errors
/// What kept it from being measured.
pub async fn run(
    command: &BenchCommand,
    config_file: Option<&Path>,
    config: &Config,
    out: &mut (dyn Write + Send),
) -> anyhow::Result<bool> {
    let common = command.common();
    if let Some(path) = common.json.as_deref().filter(|path| *path != Path::new("-")) {
        // Before minutes are spent.
        let mut options = std::fs::File::options();
        options.create(true).append(true).open(path).with_context(|| format!("writing {}", path.display()))?;
    }
    let with_kafka = !matches!(command, BenchCommand::Store(_));
    let stops = Stops::listen();
    let mut ground = Ground::new(config, config_file, common.keep, with_kafka)?;
    let measured = tokio::select! {
        measured = measure(command, &mut ground, &stops) => measured,
        () = stops.first() => Err(anyhow::anyhow!("stopped before all was measured")),
    };
    ground.clear().await;
    let report = measured?;
    report.write(common.json.as_deref(), out)?;
    if !report.is_exact() {
        eprintln!("drover bench: not everything was stored once; these figures mean nothing");
    }
    Ok(report.is_exact())
}

async fn measure(command: &BenchCommand, ground: &mut Ground<'_>, stops: &Stops) -> anyhow::Result<Report> {
    match command {
        BenchCommand::Pipeline(args) => measure_pipeline(args, ground, stops).await,
        BenchCommand::Store(args) => measure_store(args, ground).await,
        BenchCommand::Latency(args) => measure_latency(args, ground).await,
    }
}

async fn measure_pipeline(args: &BenchPipelineArgs, ground: &mut Ground<'_>, stops: &Stops) -> anyhow::Result<Report> {
    let BenchFlags { partitions, event_bytes, repeat, .. } = args.common;
    let config = ground.config;
    if args.wait_for_group && config.store.url.starts_with("sqlite:") {
        bail!("--wait-for-group holds partitions in the store while another process has it, which SQLite cannot do");
    }
    // One in so many; rounded, since whole events are broken.
    let poison_every = if args.poison > 0.0 { (1.0 / args.poison).round() as u64 } else { 0 };
    let topic = ground.create_topic(partitions, event_bytes).await?;
    let filled = Load { topic: &topic, partitions, key: args.key, events: args.events, event_bytes, poison_every };
    let delivered = load(&producing(&config.kafka, args), &filled, stops).await?;
    if delivered != args.events {
        bail!("{delivered} of {} events were sent", args.events);
    }
    let drain = Drain { topic: &topic, partitions, delivered, wait_for_group: args.wait_for_group };
    let rows = Rows { events: args.events, event_bytes, partitions };
    let (mut runs, mut ceilings) = (Vec::new(), Vec::new());
    let mut versions = None;
    for number in 1..=repeat {
        tracing::info!(run = number, of = repeat, "measuring");
        // In turn, because machines drift.
        if args.with_store {
            let run = store::run(ground, &rows, &mapping()).await;
            ceilings.push(finish(ground, &mut versions, run).await?);
        }
        let run = pipeline::run(ground, &drain).await;
        runs.push(finish(ground, &mut versions, run).await?);
    }
    let settings = json!({
        "events": args.events,
        "poison": args.poison,
        "compression": args.compression.as_str(),
        "wait_for_group": args.wait_for_group,
    });
    report("pipeline", runs, ceilings, settings, &args.common, ground, versions)
}

async fn measure_store(args: &BenchStoreArgs, ground: &mut Ground<'_>) -> anyhow::Result<Report> {
    let BenchFlags { partitions, event_bytes, repeat, .. } = args.common;
    let rows = Rows { events: args.events, event_bytes, partitions };
    let (mut runs, mut versions) = (Vec::new(), None);
    for number in 1..=repeat {
        tracing::info!(run = number, of = repeat, "measuring");
        let run = store::run(ground, &rows, &mapping()).await;
        runs.push(finish(ground, &mut versions, run).await?);
    }
    report("store", runs, Vec::new(), json!({ "events": args.events }), &args.common, ground, versions)
}

async fn measure_latency(args: &BenchLatencyArgs, ground: &mut Ground<'_>) -> anyhow::Result<Report> {
    let BenchFlags { partitions, event_bytes, repeat, .. } = args.common;
    let stream = Stream { rate: args.rate, seconds: args.seconds, event_bytes, partitions, linger: args.linger };
    let (mut runs, mut versions) = (Vec::new(), None);
    for number in 1..=repeat {
        tracing::info!(run = number, of = repeat, "measuring");
        let run = latency::run(ground, &stream).await;
        runs.push(finish(ground, &mut versions, run).await?);
    }
    let settings = json!({ "rate": args.rate, "seconds": args.seconds, "linger_ms": args.linger.as_secs_f64() * 1e3 });
    report("latency", runs, Vec::new(), settings, &args.common, ground, versions)
}

/// Removes what a run made and keeps what the server said of itself. After an error the last look is left to the caller.
async fn finish(
    ground: &mut Ground<'_>,
    versions: &mut Option<Versions>,
    run: anyhow::Result<Run>,
) -> anyhow::Result<Run> {
    let run = run?;
    *versions = Some(Versions::new(&ground.stage()?.facts));
    ground.clear_stage().await;
    Ok(run)
}

/// The settings of the producer that fills the topic.
fn producing(kafka: &KafkaConfig, args: &BenchPipelineArgs) -> KafkaConfig {
    let mut kafka = kafka.clone();
    // It has two names.
    kafka.producer.remove("compression.codec");
    kafka.producer.insert("compression.type".to_owned(), args.compression.as_str().to_owned());
    kafka
}

/// The mapping of the events that are made up.
fn mapping() -> crate::domain::event::Mapping {
    app::mapping(&EventsConfig::default(), "")
}

fn report(
    bench: &'static str,
    runs: Vec<Run>,
    ceilings: Vec<Run>,
    mut settings: Value,
    common: &BenchFlags,
    ground: &Ground<'_>,
    versions: Option<Versions>,
) -> anyhow::Result<Report> {
    let config = ground.config;
    settings["event_bytes"] = common.event_bytes.into();
    settings["partitions"] = common.partitions.into();
    settings["writers"] = config.store.writers.into();
    settings["batch_bytes"] = config.limits.batch_bytes.into();
    settings["batch_rows"] = config.limits.batch_rows.into();
    if bench != "store" {
        settings["consumers"] = config.consumers.ids.len().into();
        settings["lanes"] = config.consumers.lanes.into();
    }
    let runs = Runs::new(runs).context("--repeat is at least 1")?;
    let store = Runs::new(ceilings);
    Ok(Report {
        bench,
        id: ground.id.clone(),
        ratio: Report::ratio(&runs, store.as_ref()),
        runs,
        store,
        settings,
        machine: Machine::here(),
        versions: versions.context("--repeat is at least 1")?,
        at: chrono::Utc::now().to_rfc3339_opts(chrono::SecondsFormat::Secs, true),
    })
}
