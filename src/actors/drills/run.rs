//! One drill from its start to its report: load, fault, recovery, audit.
//!
//! The fault ends before anything is judged, also when the drill goes wrong. Memory: the report and, for a zombie, one batch.

use super::ground::{Ground, between, wait_for};
use super::load::Load;
use super::recovery;
use crate::domain::drill::{DrillName, DrillReport, DrillState};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::time::Instant;

/// How long an instance that is not ready may take to become so before the fault.
const READY_LIMIT: Duration = Duration::from_secs(30);
/// How long the load is looked at before the fault.
const LOOK_AT_LOAD: Duration = Duration::from_millis(500);
/// Records in that time below which there is no load: the drill brings its own.
const SOME_LOAD: i64 = 25;

/// One drill.
pub(super) struct Run {
    pub(super) ground: Arc<Ground>,
    pub(super) report: Arc<Mutex<DrillReport>>,
    pub(super) load: Arc<Load>,
    pub(super) name: DrillName,
    pub(super) consumer_id: Option<String>,
    pub(super) seconds: Duration,
}

impl Run {
    /// Runs it and writes the report.
    pub(super) async fn run(self) {
        let before = self.ground.seen();
        if let Err(problem) = self.stages().await {
            self.problem(problem);
        }
        self.ground.clear().await;
        let seen = between(&before, &self.ground.seen());
        let (good, poison) = self.load.sent();
        self.edit(|report| {
            report.seen = seen;
            report.events_sent = good + poison;
            report.dead_letters_expected += poison;
            report.end(chrono::Utc::now().timestamp_millis());
        });
        let load = self.load;
        // Closing a producer blocks for a moment.
        drop(tokio::task::spawn_blocking(move || drop(load)));
    }

    async fn stages(&self) -> Result<(), String> {
        let ground = &*self.ground;
        wait_for!(
            "the instance to be ready before the fault",
            READY_LIMIT,
            ground.board.readiness().ready.then_some(())
        )
        .map_err(|waited: String| format!("{waited}: {}", ground.board.readiness().reasons.join("; ")))?;
        let children = ground.running();
        let quiet = !self.has_load().await?;
        let flow = quiet.then(|| {
            self.step("there is no load; the drill brings its own");
            let load = Arc::clone(&self.load);
            AbortOnDrop(tokio::spawn(async move { load.flow().await }))
        });
        let fault_began = Instant::now();
        let injected = super::faults::inject(self).await;
        let fault_ended = Instant::now();
        ground.clear().await;
        self.edit(|report| {
            report.state = DrillState::Recovering;
            report.fault_ms = Some(millis(fault_ended - fault_began));
        });
        drop(flow);
        // The fault's own failure is told beside what the recovery shows.
        if let Err(problem) = injected {
            self.problem(problem);
        }
        self.load.flush().await?;
        let ends = recovery::ends(ground).await?;
        match recovery::recovered(ground, &ends, &children, fault_ended).await {
            Ok(took) => self.edit(|report| report.recovery_ms = Some(millis(took))),
            Err(problem) => self.problem(problem),
        }
        self.edit(|report| report.state = DrillState::Auditing);
        let (lost, doubled) = recovery::lost_and_doubled(ground).await?;
        let letters = recovery::dead_letters(ground, &self.load).await?;
        self.edit(|report| {
            report.lost = Some(lost);
            report.doubled = Some(doubled + report.doubled.unwrap_or(0));
            report.dead_letters_found = letters;
        });
        Ok(())
    }

    /// Whether records come without the drill.
    async fn has_load(&self) -> Result<bool, String> {
        let before: i64 = self.ground.ends().await?.values().sum();
        tokio::time::sleep(LOOK_AT_LOAD).await;
        let after: i64 = self.ground.ends().await?.values().sum();
        Ok(after - before >= SOME_LOAD)
    }

    /// Changes the report.
    pub(super) fn edit(&self, change: impl FnOnce(&mut DrillReport)) {
        change(&mut self.report.lock().unwrap_or_else(PoisonError::into_inner));
    }

    /// Notes what happened.
    pub(super) fn step(&self, what: impl Into<String>) {
        let what = what.into();
        tracing::info!(drill = %self.name, "{what}");
        self.edit(|report| report.steps.push(what));
    }

    /// Notes what was wrong.
    pub(super) fn problem(&self, what: String) {
        tracing::warn!(drill = %self.name, "{what}");
        self.edit(|report| report.problems.push(what));
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

/// A task that ends with whoever wanted it.
pub(super) struct AbortOnDrop(tokio::task::JoinHandle<()>);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}
