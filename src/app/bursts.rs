//! Bursts of made-up events: one at a time, at the pace that was asked for, each event followed to its place in Kafka.
//!
//! Bound: [`IN_FLIGHT`] events on their way, [`KEPT`] reports. A burst of which [`FAILED_ENOUGH`] events were given up sends no
//! more; what it did not send counts as failed, so that sent and failed always add up to what was asked for.

use super::events::send;
use crate::domain::burst::{BurstEvent, BurstPlan, BurstReport, Pace};
use crate::domain::command::CommandError;
use crate::domain::generator::{DEFAULT_EVENT_BYTES, EventGenerator};
use crate::kafka::producer::EventProducer;
use futures::StreamExt as _;
use futures::stream::FuturesUnordered;
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::time::Instant;

/// Events of a burst that are on their way to Kafka at once.
const IN_FLIGHT: usize = 256;
/// Events that are given up before a burst is.
const FAILED_ENOUGH: u64 = 100;
/// Reports that are kept.
const KEPT: usize = 16;
/// Time between two looks at what is due.
const PACE: Duration = Duration::from_millis(10);

/// The bursts of a process.
#[derive(Default)]
pub struct Bursts(Mutex<Reports>);

#[derive(Default)]
struct Reports {
    begun: u64,
    /// Newest first.
    reports: VecDeque<BurstReport>,
}

impl Bursts {
    /// Writes down that a burst begins.
    ///
    /// # Errors
    /// One is under way.
    pub fn begin(&self, plan: BurstPlan) -> Result<BurstReport, CommandError> {
        let mut reports = self.reports();
        if let Some(running) = reports.reports.front().filter(|report| !report.done) {
            let (id, count) = (running.id, running.plan.count);
            let left = count - running.sent - running.failed;
            return Err(CommandError::NotNow(format!("burst {id} is under way, {left} of {count} events are left")));
        }
        reports.begun += 1;
        let report = BurstReport::new(reports.begun, plan, chrono::Utc::now().timestamp_millis());
        reports.reports.truncate(KEPT - 1);
        reports.reports.push_front(report.clone());
        Ok(report)
    }

    /// How a burst goes.
    pub fn report(&self, id: u64) -> Option<BurstReport> {
        self.reports().reports.iter().find(|report| report.id == id).cloned()
    }

    fn change(&self, id: u64, change: impl FnOnce(&mut BurstReport)) {
        if let Some(report) = self.reports().reports.iter_mut().find(|report| report.id == id) {
            change(report);
        }
    }

    fn reports(&self) -> MutexGuard<'_, Reports> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Ends a burst however its task ends, so that another one can begin.
struct End {
    bursts: Arc<Bursts>,
    id: u64,
}

impl Drop for End {
    fn drop(&mut self) {
        self.bursts.change(self.id, |report| {
            report.failed = report.plan.count - report.sent;
            report.done = true;
        });
    }
}

/// Sends the events of a burst.
pub async fn run(bursts: Arc<Bursts>, producer: Arc<EventProducer>, report: BurstReport) {
    let (id, plan) = (report.id, report.plan);
    let end = End { bursts: Arc::clone(&bursts), id };
    let pace = Pace { rate: plan.rate };
    let mut generator = EventGenerator::new(rand::random(), DEFAULT_EVENT_BYTES);
    let mut on_their_way = FuturesUnordered::new();
    let mut tick = tokio::time::interval(PACE);
    let (started, mut begun, mut failed) = (Instant::now(), 0, 0);
    loop {
        // The first is due at once.
        let due = (pace.due(started.elapsed()) + 1).min(plan.count);
        while begun < due && failed < FAILED_ENOUGH && on_their_way.len() < IN_FLIGHT {
            let poison = plan.poison(begun);
            begun += 1;
            let now_ms = chrono::Utc::now().timestamp_millis();
            let (event, value) = match poison {
                Some(kind) => generator.next_poison(kind, now_ms),
                None => {
                    let event = generator.next_event(now_ms);
                    (event, Some(event.value.clone()))
                }
            };
            let (key, producer, topic) = (event.user_id.clone(), &producer, plan.topic.as_str());
            on_their_way.push(async move {
                let sent = send(producer, topic, Some(key.as_bytes()), value.as_deref()).await;
                (sent, poison.is_some())
            });
        }
        let all_begun = begun >= plan.count || failed >= FAILED_ENOUGH;
        tokio::select! {
            Some((sent, poison)) = on_their_way.next() => match sent {
                Ok(at) => bursts.change(id, |report| {
                    report.delivered(BurstEvent { partition: at.partition, offset: at.offset, poison });
                }),
                Err(error) => {
                    failed += 1;
                    bursts.change(id, |report| {
                        report.failed += 1;
                        report.error = Some(error.to_string());
                    });
                }
            },
            _ = tick.tick(), if !all_begun => {}
            else => break,
        }
    }
    drop(end);
}
