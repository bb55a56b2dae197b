//! `drover bench latency`: from the producer to the commit, at a steady rate.
//!
//! One run: a fresh topic, group and store, `drover run` until it is ready, then the stream: what is due is sent every
//! millisecond, and each event carries the moment of its sending. Bound: the producer's queue, which holds up nothing but
//! the measurement; an event that finds it full is sent as soon as there is room, with the time of that. Fails when an event
//! is not delivered or not stored.

use super::figures::{Run, per_million, round};
use super::ground::{Ground, Stage};
use super::meter::{Follow, MEMORY_LOOK, Meter, progress_bar};
use super::pipeline::child_stopped;
use super::processes::{self, pid_of};
use crate::commands::produce::all_delivered;
use crate::config::KafkaConfig;
use crate::domain::bench::percentiles;
use crate::domain::burst::Pace;
use crate::domain::generator::EventGenerator;
use crate::domain::record::PackedHeaders;
use crate::kafka::error::KafkaErrorKind;
use crate::kafka::producer::{EventProducer, Outgoing};
use crate::store::bench::{Passage, SENT_FIELD};
use anyhow::{Context as _, bail};
use std::io::Write as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};
use tokio::time::MissedTickBehavior;

/// Time between two looks at what is due.
const PACE: Duration = Duration::from_millis(1);
/// What is left out at the beginning.
const WARM_UP: Duration = Duration::from_secs(1);
/// How long the last events may take to be delivered.
const FLUSH_TIMEOUT: Duration = Duration::from_secs(30);
/// Looks at memory are rare here: each holds the process up for a moment, which would be seen.
const MEMORY_LOOKS: u32 = 10;

/// What is sent.
pub struct Stream {
    /// Events a second.
    pub rate: u64,
    /// How long, after the warm-up.
    pub seconds: u64,
    /// Size of each.
    pub event_bytes: u64,
    /// Partitions of the topic.
    pub partitions: i32,
    /// How long the producer waits for more.
    pub linger: Duration,
}

/// Measures once.
///
/// # Errors
/// See the module.
pub async fn run(ground: &mut Ground<'_>, stream: &Stream) -> anyhow::Result<Run> {
    let consumers = ground.config.consumers.ids.len();
    let brokers = ground.config.kafka.brokers.clone();
    let topic = ground.create_topic(stream.partitions, stream.event_bytes).await?;
    let producer = Arc::new(producer(&ground.config.kafka, stream)?);
    let (_, store) = ground.set_stage().await?;
    drop(store);
    let Stage { session, facts, child, .. } = ground.start(&topic)?;
    let child = child.as_mut().context("it was started just now")?;
    let partitions = usize::try_from(stream.partitions).unwrap_or(0);
    child.until_owned(consumers, partitions, true).await?;
    let (pid, own) = (pid_of(child.id()), pid_of(std::process::id()));
    let before = child.transactions(0).await?;
    let meter = Meter::start(&mut **session, facts, Some(&brokers), Some(pid)).await?;
    let produced = processes::cpu(own);
    let sent = Arc::new(AtomicU64::new(0));
    let began = Instant::now();
    let mut sending = tokio::spawn(send(Arc::clone(&producer), topic.clone(), Plan::of(stream), Arc::clone(&sent)));
    let bar =
        progress_bar(stream.rate * (stream.seconds + WARM_UP.as_secs()), "{wide_bar} {human_pos}/{human_len} events");
    let mut looking = tokio::time::interval(MEMORY_LOOK * MEMORY_LOOKS);
    let mut peak = None;
    let measured_from_us = loop {
        tokio::select! {
            ended = &mut sending => break ended.context("the stream of events ended")??,
            _ = looking.tick() => {
                child.check_alive()?;
                peak = peak.max(processes::pss_bytes(pid));
                bar.set_position(sent.load(Ordering::Relaxed));
            }
        }
    };
    bar.finish_and_clear();
    let seconds = began.elapsed().as_secs_f64();
    let flushing = Arc::clone(&producer);
    tokio::task::spawn_blocking(move || flushing.flush(FLUSH_TIMEOUT)).await.context("the flush ended")??;
    let producer_cpu = processes::cpu(own).zip(produced).map(|(now, before)| now.since(before).total_s());
    let counts = producer.counts();
    all_delivered(&counts)?;
    let delivered = counts.delivered;
    let follow = Follow { session: &mut **session, topic: &topic, total: delivered, pid, clock: began };
    let seen = follow.until_stored(|| child.check_alive()).await?;
    let costs = meter.stop(&mut **session, pid).await?;
    if !facts.version.starts_with("SQLite") && !meter.is_local() {
        tracing::warn!("the database seems to run elsewhere: what its clock is ahead or behind is in the latency");
    }
    let after = child.transactions(delivered).await?;
    let until = if facts.commit_timestamps { "commit_timestamp" } else { "stored_at" };
    child_stopped(ground).await?;
    let Stage { session, .. } = ground.stage()?;
    let account = session.account(&topic).await?;
    let passages = session.passages(&topic).await?;
    let latencies = latencies(&passages, measured_from_us);
    let mut run = Run { delivered, transactions: after - before, ..Run::default() };
    run.account(account);
    run.costs(&costs);
    run.seconds = Some(round(seconds));
    run.rows_per_s = Some((delivered as f64 / seconds).round());
    run.producer_cpu_s_per_million = producer_cpu.map(|seconds| per_million(seconds, delivered));
    run.peak_pss_mb = peak.max(seen.peak_pss_bytes).map(|bytes| round(bytes as f64 / 1e6));
    run.latency_events = Some(latencies.len() as u64);
    run.latency_ms = percentiles(latencies);
    run.latency_until = Some(until);
    Ok(run)
}

/// In milliseconds, of those that were sent after the warm-up.
fn latencies(passages: &[Passage], measured_from_us: i64) -> Vec<f64> {
    let measured = passages.iter().filter(|passage| passage.sent_us >= measured_from_us);
    measured.map(|passage| (passage.stored_us - passage.sent_us) as f64 / 1e3).collect()
}

fn producer(kafka: &KafkaConfig, stream: &Stream) -> anyhow::Result<EventProducer> {
    let mut kafka = kafka.clone();
    // It has two names.
    kafka.producer.remove("queue.buffering.max.ms");
    kafka.producer.insert("linger.ms".to_owned(), (stream.linger.as_secs_f64() * 1e3).to_string());
    let largest = usize::try_from(stream.event_bytes)?.saturating_mul(2);
    Ok(EventProducer::new(&kafka, "drover-bench", largest)?)
}

struct Plan {
    pace: Pace,
    length: Duration,
    event_bytes: usize,
}

impl Plan {
    fn of(stream: &Stream) -> Self {
        Self {
            pace: Pace { rate: stream.rate },
            length: WARM_UP + Duration::from_secs(stream.seconds),
            event_bytes: usize::try_from(stream.event_bytes).unwrap_or(usize::MAX),
        }
    }
}

/// Sends the stream; gives back from when on it is measured, in microseconds since the epoch.
async fn send(producer: Arc<EventProducer>, topic: String, plan: Plan, counter: Arc<AtomicU64>) -> anyhow::Result<i64> {
    // The field that is added belongs to the size that was asked for.
    let field_bytes = SENT_FIELD.len() + 20;
    let mut generator = EventGenerator::new(rand::random(), plan.event_bytes.saturating_sub(field_bytes));
    let headers = PackedHeaders::default();
    let mut value = Vec::with_capacity(plan.event_bytes * 2);
    let mut tick = tokio::time::interval(PACE);
    // What was missed is due all the same; the looks themselves need not be made up for.
    tick.set_missed_tick_behavior(MissedTickBehavior::Skip);
    let measured_from = chrono::Utc::now() + WARM_UP;
    let started = Instant::now();
    let total = plan.pace.due(plan.length);
    let mut sent = 0;
    while sent < total {
        tick.tick().await;
        let due = plan.pace.due(started.elapsed()).min(total);
        while sent < due {
            let now = chrono::Utc::now();
            let event = generator.next_event(now.timestamp_millis());
            value.clear();
            // The closing brace comes after the field.
            value.extend_from_slice(event.value.strip_suffix(b"}").unwrap_or(&event.value));
            write!(value, ",\"{SENT_FIELD}\":{}}}", now.timestamp_micros())?;
            let outgoing = Outgoing {
                topic: &topic,
                partition: None,
                key: Some(event.user_id.as_bytes()),
                value: Some(&value),
                headers: &headers,
                timestamp_ms: Some(now.timestamp_millis()),
            };
            match producer.try_send(outgoing) {
                Ok(()) => sent += 1,
                // The brokers are behind: it is sent with the next look.
                Err(error) if error.kind() == KafkaErrorKind::QueueFull => break,
                Err(error) => bail!(error),
            }
        }
        counter.store(sent, Ordering::Relaxed);
    }
    Ok(measured_from.timestamp_micros())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_warm_up_is_left_out() {
        let passage = |sent_us, stored_us| Passage { sent_us, stored_us };
        let all = [passage(10, 1_010), passage(20, 520), passage(30, 2_030)];
        assert_eq!(latencies(&all, 20), [0.5, 2.0]);
    }
}
