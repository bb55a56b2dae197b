//! The ordered, bounded shutdown: consumers, db writers, dead letter, audit, metrics, replica.
//!
//! Each kind drains in parallel and only when the kind before it has ended, because what a consumer has in flight needs
//! a writer. Children of a later kind are still restarted while they wait for their turn. What does not end in time is
//! aborted and named in the report; the call never waits for it.

use std::time::Duration;

use actix::prelude::*;
use tokio::sync::oneshot;
use tokio::time::Instant;

use super::supervisor::SupervisorActor;
use crate::domain::status::{ChildKind, ChildState};

/// The order in which kinds stop: up the stream before down, those that only watch last.
const ORDER: [ChildKind; 6] = [
    ChildKind::Consumer,
    ChildKind::DbWriter,
    ChildKind::DeadLetter,
    ChildKind::Audit,
    ChildKind::Metrics,
    ChildKind::Replica,
];

/// The most that is kept back of the deadline for each later kind: a consumer that overruns must not cost the writers
/// the moment that they need to close.
const RESERVE_MAX: Duration = Duration::from_secs(1);

/// Stops all children and starts none any more. Answered when all have ended, or at the deadline at the latest. A second
/// order joins the first and does not move its deadline.
#[derive(Debug, Clone, Copy, Message)]
#[rtype(result = "ShutdownReport")]
pub struct ShutDown {
    /// When what has not drained is aborted.
    pub deadline: Instant,
}

/// How a shutdown went.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ShutdownReport {
    /// Ids of the children that were aborted at their deadline or failed while they drained, in the order of their turn.
    pub unfinished: Vec<String>,
}

/// A shutdown under way.
pub(super) struct Shutdown {
    deadline: Instant,
    /// Kept back for each kind that is still to come.
    reserve: Duration,
    /// How many kinds of [`ORDER`] have had their turn, the present one included.
    turn: usize,
    /// Who waits for the report.
    waiting: Vec<oneshot::Sender<ShutdownReport>>,
}

impl Handler<ShutDown> for SupervisorActor {
    type Result = ResponseFuture<ShutdownReport>;

    fn handle(&mut self, ShutDown { deadline }: ShutDown, ctx: &mut Self::Context) -> Self::Result {
        let (done, report) = oneshot::channel();
        if self.shutdown.is_none() {
            // What was stopped before is not this shutdown's to report.
            self.children.iter_mut().filter(|child| !child.is_alive()).for_each(|child| child.unfinished = false);
        }
        let shutdown = self.shutdown.get_or_insert_with(|| Shutdown {
            deadline,
            reserve: (deadline.saturating_duration_since(Instant::now()) / 10).min(RESERVE_MAX),
            turn: 0,
            waiting: Vec::new(),
        });
        shutdown.waiting.push(done);
        self.advance_shutdown(ctx);
        // A dropped sender means that the supervisor is gone; then nothing was left to drain by it.
        Box::pin(async { report.await.unwrap_or_default() })
    }
}

impl SupervisorActor {
    /// Goes on to the next kind when the present one has ended or was given up, and answers after the last.
    pub(super) fn advance_shutdown(&mut self, ctx: &mut Context<Self>) {
        loop {
            let Some(shutdown) = &mut self.shutdown else { return };
            let busy = |kind: ChildKind| {
                self.children.iter().any(|child| child.status.kind == kind && child.is_alive() && !child.unfinished)
            };
            if shutdown.turn > 0 && busy(ORDER[shutdown.turn - 1]) {
                return;
            }
            let Some(kind) = ORDER.get(shutdown.turn).copied() else {
                return self.report();
            };
            shutdown.turn += 1;
            let later = ORDER[shutdown.turn..].iter().filter(|kind| busy(**kind)).count();
            let kept_back = shutdown.reserve.saturating_mul(u32::try_from(later).unwrap_or(u32::MAX));
            let deadline = shutdown.deadline.checked_sub(kept_back).unwrap_or(shutdown.deadline);
            self.stop_kind(kind, deadline, ctx);
        }
    }

    fn stop_kind(&mut self, kind: ChildKind, deadline: Instant, ctx: &mut Context<Self>) {
        let ids: Vec<String> = self
            .children
            .iter()
            // A failed child stays failed: the last picture of the tree should say so.
            .filter(|child| child.status.kind == kind && child.status.state != ChildState::Failed)
            .map(|child| child.spec.id().to_owned())
            .collect();
        for id in ids {
            self.stop(&id, deadline, ctx);
        }
    }

    fn report(&mut self) {
        let mut left: Vec<_> = self.children.iter().filter(|child| child.unfinished).collect();
        left.sort_by_key(|child| child.status.kind);
        let report = ShutdownReport { unfinished: left.iter().map(|child| child.spec.id().to_owned()).collect() };
        for waiting in self.shutdown.iter_mut().flat_map(|shutdown| shutdown.waiting.drain(..)) {
            // Whoever asked may have stopped waiting.
            let _ = waiting.send(report.clone());
        }
    }
}
