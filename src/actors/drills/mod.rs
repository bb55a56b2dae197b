//! Drills: faults made on purpose, on an instance that allows it, with a report of what they did.
//!
//! [`Drills`] starts one at a time and keeps the last [`REPORTS`] reports. The faults themselves are wrappers around store
//! and group client that are there only where drills are allowed, so nothing of this is on the way of a record elsewhere.
//! A drill that goes wrong is a report that says so; every fault ends with it.

mod faults;
mod ground;
mod kill;
mod load;
pub mod obey;
mod recovery;
mod run;

pub use ground::{Ground, Outage};

use self::load::Load;
use self::run::Run;
use crate::domain::drill::{DrillList, DrillName, DrillRefused, DrillReport, DrillRequest, DrillState, MAX_SECONDS};
use crate::domain::status::ChildKind;
use crate::store::audit_log::AuditEntry;
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::runtime::Handle;

/// Reports that are kept.
pub const REPORTS: usize = 50;

/// Runs drills. Clones share it.
#[derive(Clone)]
pub struct Drills {
    ground: Arc<Ground>,
    /// Of the multi-thread runtime, whichever thread asks.
    runtime: Handle,
    /// Oldest first; the last one may be running.
    reports: Arc<Mutex<VecDeque<Arc<Mutex<DrillReport>>>>>,
}

impl Drills {
    /// Drills on this ground. To be called on the runtime that they run on.
    #[must_use]
    pub fn new(ground: Ground) -> Self {
        Self { ground: Arc::new(ground), runtime: Handle::current(), reports: Arc::default() }
    }

    /// Starts a drill and gives its report as it is now. `actor` is who asked, for the audit log.
    ///
    /// # Errors
    /// One runs already, or the request makes no sense.
    pub fn start(&self, request: &DrillRequest, actor: &str) -> Result<DrillReport, DrillRefused> {
        let (name, seconds) = self.check(request)?;
        let mut reports = self.reports();
        let last = reports.back().map(copy);
        if let Some(running) = last.as_ref().filter(|report| !report.state.is_over()) {
            return Err(DrillRefused::Busy { number: running.number, name: running.name });
        }
        let number = last.map_or(1, |report| report.number + 1);
        let load = Load::new(&self.ground, number).map_err(DrillRefused::Invalid)?;
        let mut report = DrillReport::new(number, name, chrono::Utc::now().timestamp_millis());
        report.consumer_id.clone_from(&request.consumer_id);
        let shared = Arc::new(Mutex::new(report.clone()));
        if reports.len() == REPORTS {
            reports.pop_front();
        }
        reports.push_back(Arc::clone(&shared));
        drop(reports);
        let run = Run {
            ground: Arc::clone(&self.ground),
            report: Arc::clone(&shared),
            load: Arc::new(load),
            name,
            consumer_id: request.consumer_id.clone(),
            seconds,
        };
        let (ground, actor) = (Arc::clone(&self.ground), actor.to_owned());
        self.runtime.spawn(async move {
            write_down(&ground, &actor, &copy(&shared), "started").await;
            // A task of its own, so that a panic in it is seen and the faults end.
            if let Err(error) = tokio::spawn(run.run()).await {
                ground.clear().await;
                let mut report = shared.lock().unwrap_or_else(PoisonError::into_inner);
                report.problems.push(format!("the drill itself failed: {error}"));
                report.end(chrono::Utc::now().timestamp_millis());
            }
            let report = copy(&shared);
            write_down(&ground, &actor, &report, if report.state == DrillState::Passed { "ok" } else { "failed" })
                .await;
        });
        Ok(report)
    }

    fn check(&self, request: &DrillRequest) -> Result<(DrillName, Duration), DrillRefused> {
        let invalid = |why: String| Err(DrillRefused::Invalid(why));
        let Some(name) = DrillName::from_name(&request.name) else {
            let names: Vec<&str> = DrillName::ALL.into_iter().map(DrillName::as_str).collect();
            return invalid(format!("there is no drill {:?}; there are: {}", request.name, names.join(", ")));
        };
        if let Some(id) = &request.consumer_id {
            if !name.takes_consumer() {
                return invalid(format!("{name} concerns no single consumer"));
            }
            let children = self.ground.children();
            let known: Vec<&str> = children
                .iter()
                .filter(|child| child.kind == ChildKind::Consumer)
                .map(|child| child.id.as_str())
                .collect();
            if !known.contains(&id.as_str()) {
                return invalid(format!("there is no consumer {id:?} here; there are: {}", known.join(", ")));
            }
        }
        let seconds = match (request.seconds, name.default_seconds()) {
            (None, default) => default.unwrap_or(0.0),
            (Some(_), None) => return invalid(format!("{name} lasts as long as it takes; it takes no seconds")),
            (Some(seconds), Some(_)) if (0.1..=MAX_SECONDS).contains(&seconds) => seconds,
            (Some(seconds), Some(_)) => return invalid(format!("{seconds} s is not between 0.1 and {MAX_SECONDS}")),
        };
        Ok((name, Duration::from_secs_f64(seconds)))
    }

    /// Every drill and the last reports.
    #[must_use]
    pub fn list(&self) -> DrillList {
        DrillList::with(self.reports().iter().rev().map(copy).collect())
    }

    /// The report of a drill, as long as it is kept.
    #[must_use]
    pub fn report(&self, number: u64) -> Option<DrillReport> {
        self.reports().iter().map(copy).find(|report| report.number == number)
    }

    fn reports(&self) -> MutexGuard<'_, VecDeque<Arc<Mutex<DrillReport>>>> {
        self.reports.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn copy(report: &Arc<Mutex<DrillReport>>) -> DrillReport {
    report.lock().unwrap_or_else(PoisonError::into_inner).clone()
}

/// An entry in the audit log of the store. A drill goes on without it: the store may be what it breaks.
async fn write_down(ground: &Ground, actor: &str, report: &DrillReport, outcome: &str) {
    let entry = AuditEntry {
        actor: actor.to_owned(),
        action: "drill".to_owned(),
        target: report.name.to_string(),
        outcome: outcome.to_owned(),
        detail: serde_json::to_value(report).ok(),
    };
    if let Err(error) = ground.store.append_audit(&entry).await {
        tracing::warn!(error = %error.message, "a drill could not be written to the audit log");
    }
}
