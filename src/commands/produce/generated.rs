//! Made-up events: a batch as fast as the brokers take it, or a steady stream.
//!
//! Owns the loop that sends, on a blocking thread. Memory is bounded by the producer's queue: a full queue slows the loop.
//! Events of a stream are due at fixed times from its start, so that pauses and slow brokers do not make it drift.

use super::{Load, Stops, Target, now_ms};
use crate::cli::{ProduceArgs, ProduceMode};
use crate::domain::burst::Pace;
use crate::domain::generator::{DEFAULT_EVENT_BYTES, EventGenerator, PoisonKind};
use crate::kafka::error::{KafkaErrorKind, KafkaResult};
use crate::kafka::producer::DeliveryCounts;
use anyhow::Context;
use indicatif::{ProgressBar, ProgressStyle};
use std::collections::BTreeMap;
use std::io::{IsTerminal, Write};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How long the loop goes on without looking for Ctrl-C.
const LOOK_FOR_STOP: Duration = Duration::from_millis(100);
/// How long a stop waits for what is on its way.
const STOP_PATIENCE: Duration = Duration::from_secs(10);
/// Events between two moves of the progress bar.
const PROGRESS_STEP: u64 = 512;
/// Shortest sleep of a stream: at high rates events go out in small bursts instead of a spinning loop.
const SHORTEST_PAUSE: Duration = Duration::from_millis(1);

/// What is to be sent.
pub(super) struct Plan {
    /// Events; `None`: until stopped.
    total: Option<u64>,
    /// Events a second; `None`: as fast as possible.
    rate: Option<u64>,
    poison_every: u64,
    seed: u64,
    event_bytes: usize,
    partitions: i32,
}

impl Plan {
    pub(super) fn new(args: &ProduceArgs, partitions: i32) -> Self {
        let (total, rate) = match args.mode {
            ProduceMode::Continuous => {
                let rate = args.events_per_second;
                let total = args.duration.map(|duration| Pace { rate }.due(duration));
                (total, Some(rate))
            }
            _ => (Some(args.batch_size), None),
        };
        Self {
            total,
            rate,
            poison_every: args.poison_every,
            seed: args.seed.unwrap_or_else(rand::random),
            event_bytes: usize::try_from(args.event_bytes).unwrap_or(DEFAULT_EVENT_BYTES),
            partitions,
        }
    }

    pub(super) fn of_load(load: &Load<'_>) -> Self {
        Self {
            total: Some(load.events),
            rate: None,
            poison_every: load.poison_every,
            seed: rand::random(),
            event_bytes: usize::try_from(load.event_bytes).unwrap_or(DEFAULT_EVENT_BYTES),
            partitions: load.partitions,
        }
    }
}

/// What was done.
pub(super) struct Receipt {
    pub(super) counts: DeliveryCounts,
    pub(super) poison: BTreeMap<&'static str, u64>,
    pub(super) took: Duration,
}

/// Sends what the plan says and writes the summary.
pub(super) async fn run(
    plan: Plan,
    target: Arc<Target>,
    stops: Stops,
    out: &mut (dyn Write + Send),
) -> anyhow::Result<()> {
    let topic = target.topic.clone();
    let partitions = plan.partitions;
    let (receipt, delivered) = deliver(plan, target, stops).await?;
    summarize(&receipt, &topic, partitions, out)?;
    delivered
}

/// Sends what the plan says; gives back what was done, and what was not.
pub(super) async fn deliver(
    plan: Plan,
    target: Arc<Target>,
    stops: Stops,
) -> anyhow::Result<(Receipt, anyhow::Result<()>)> {
    let (receipt, failure) = tokio::task::spawn_blocking(move || send_all(&plan, &target, &stops))
        .await
        .context("the thread that makes events ended")?;
    let delivered = failure.map_err(anyhow::Error::from).and_then(|()| all_delivered(&receipt.counts));
    Ok((receipt, delivered))
}

/// # Errors
/// Some were given up.
pub(in crate::commands) fn all_delivered(counts: &DeliveryCounts) -> anyhow::Result<()> {
    let failed = counts.failed_total();
    if failed > 0 {
        let reasons: Vec<_> = counts.failed.iter().map(|(reason, count)| format!("{count} {reason}")).collect();
        anyhow::bail!("{failed} of {} events were not delivered: {}", counts.sent, reasons.join("; "));
    }
    Ok(())
}

fn send_all(plan: &Plan, target: &Target, stops: &Stops) -> (Receipt, KafkaResult<()>) {
    let started = Instant::now();
    let mut poison = BTreeMap::new();
    let bar = progress_bar(plan);
    let failure = send_events(plan, target, stops, started, &mut poison, &bar);
    bar.finish_and_clear();
    let stopping = Instant::now();
    while target.producer.flush(LOOK_FOR_STOP).is_err() {
        if stops.count() > 1 || (stops.count() > 0 && stopping.elapsed() > STOP_PATIENCE) {
            target.producer.give_up();
        }
    }
    (Receipt { counts: target.producer.counts(), poison, took: started.elapsed() }, failure)
}

fn send_events(
    plan: &Plan,
    target: &Target,
    stops: &Stops,
    started: Instant,
    poison: &mut BTreeMap<&'static str, u64>,
    bar: &ProgressBar,
) -> KafkaResult<()> {
    let mut generator = EventGenerator::new(plan.seed, plan.event_bytes);
    let mut kinds = PoisonKind::ALL.iter().cycle();
    let mut n = 0;
    while plan.total.is_none_or(|total| n < total) && stops.count() == 0 {
        if let Some(rate) = plan.rate {
            let pace = Pace { rate };
            let elapsed = started.elapsed();
            if pace.due(elapsed) <= n {
                bar.set_position(n);
                let wait = pace.due_at(n + 1).saturating_sub(elapsed);
                std::thread::sleep(wait.clamp(SHORTEST_PAUSE, LOOK_FOR_STOP));
                continue;
            }
        }
        n += 1;
        if n % PROGRESS_STEP == 0 {
            bar.set_position(n);
        }
        let time_ms = now_ms();
        let broken = (plan.poison_every > 0 && n % plan.poison_every == 0).then(|| kinds.next()).flatten();
        match broken {
            None => {
                let event = generator.next_event(time_ms);
                let key = target.key(Some(&event.user_id), Some(event.element_id));
                send(target, key, Some(&event.value), time_ms, stops)?;
            }
            Some(&kind) => {
                let (event, value) = generator.next_poison(kind, time_ms);
                let key = target.key(Some(&event.user_id), Some(event.element_id));
                send(target, key, value.as_deref(), time_ms, stops)?;
                *poison.entry(kind.as_str()).or_default() += 1;
            }
        }
    }
    bar.set_position(n);
    Ok(())
}

/// Hands one event over, however long the queue is full, unless a stop comes.
fn send(target: &Target, key: Option<&[u8]>, value: Option<&[u8]>, time_ms: i64, stops: &Stops) -> KafkaResult<()> {
    loop {
        match target.producer.send(target.record(key, value, time_ms), LOOK_FOR_STOP) {
            Err(error) if error.kind() == KafkaErrorKind::QueueFull && stops.count() == 0 => {}
            // Not a failure: it was never handed over, so it is not counted as sent either.
            Err(error) if error.kind() == KafkaErrorKind::QueueFull => return Ok(()),
            outcome => return outcome,
        }
    }
}

fn progress_bar(plan: &Plan) -> ProgressBar {
    if !std::io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let (bar, template) = match plan.total {
        Some(total) => (ProgressBar::new(total), "{wide_bar} {human_pos}/{human_len} events, {per_sec}, {eta} left"),
        None => (ProgressBar::new_spinner(), "{spinner} {human_pos} events, {per_sec}, {elapsed}"),
    };
    match ProgressStyle::with_template(template) {
        Ok(style) => bar.with_style(style),
        Err(_) => bar,
    }
}

pub(super) fn summarize(
    receipt: &Receipt,
    topic: &str,
    partitions: i32,
    out: &mut (dyn Write + Send),
) -> std::io::Result<()> {
    let counts = &receipt.counts;
    let seconds = receipt.took.as_secs_f64();
    let rate = if seconds > 0.0 { counts.delivered as f64 / seconds } else { 0.0 };
    writeln!(out, "sent       {} events to {topic} ({partitions} partitions)", counts.sent)?;
    writeln!(out, "delivered  {}", counts.delivered)?;
    writeln!(out, "failed     {}", counts.failed_total())?;
    for (reason, count) in &counts.failed {
        writeln!(out, "  {count} {reason}")?;
    }
    let broken: u64 = receipt.poison.values().sum();
    if broken > 0 {
        writeln!(out, "poison     {broken}, of these:")?;
        for (kind, count) in &receipt.poison {
            writeln!(out, "  {count} {kind}")?;
        }
    }
    writeln!(out, "took       {seconds:.2} s, {rate:.0} events/s")
}
