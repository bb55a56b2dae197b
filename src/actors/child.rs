//! What the supervisor knows of one child: how to build it, what it may cost, and how it fared.
//!
//! Bounded by [`EXITS_KEPT`] ends per child. Plain bookkeeping without effects, except that starting builds the actor.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use actix::{Recipient, SpawnHandle};
use tokio::sync::oneshot;
use tokio::time::Instant;

use super::exit::Exit;
use super::lifecycle::{Drain, End, Launch, Task, TaskFactory, launch};
use crate::domain::restart::{RestartBudget, RestartPolicy};
use crate::domain::status::{ChildKind, ChildState, ChildStatus, ExitReason, ExitRecord};

/// Ends kept per child for whoever asks: enough to see a pattern, and small.
pub const EXITS_KEPT: usize = 50;

/// How a child is built and when it is started again.
pub struct ChildSpec {
    id: Arc<str>,
    kind: ChildKind,
    policy: RestartPolicy,
    stall_after: Option<Duration>,
    launch: Box<dyn Fn(Launch) -> ChildLink + Send>,
}

impl ChildSpec {
    /// A child with a unique `id` whose work `factory` builds anew for every start. The factory runs inside the new
    /// task, off the System thread; when it panics, the child has ended by that panic.
    pub fn new<T: Task>(
        id: &str,
        kind: ChildKind,
        policy: RestartPolicy,
        factory: impl Fn() -> T + Send + Sync + 'static,
    ) -> Self {
        let factory: TaskFactory<T> = Arc::new(factory);
        Self {
            id: id.into(),
            kind,
            policy,
            stall_after: None,
            launch: Box::new(move |order| ChildLink::new(&launch(Arc::clone(&factory), order))),
        }
    }

    /// Ends the child as stalled when it gives no heartbeat ([`super::lifecycle::Control::progress`]) for this long.
    #[must_use]
    pub fn stall_after(mut self, limit: Duration) -> Self {
        self.stall_after = Some(limit);
        self
    }

    /// The child's id.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }
}

/// The orders that a living child takes.
pub(super) struct ChildLink {
    pub(super) drain: Recipient<Drain>,
    pub(super) end: Recipient<End>,
}

impl ChildLink {
    fn new<T: Task>(addr: &actix::Addr<super::lifecycle::TaskActor<T>>) -> Self {
        Self { drain: addr.clone().recipient(), end: addr.clone().recipient() }
    }
}

/// What was ordered of a living child.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Order {
    /// End and stay ended.
    Stop,
    /// End and be forgotten.
    Remove,
    /// End and start again with a full budget.
    Restart,
}

/// One row of the supervisor's table.
pub(super) struct Child {
    pub(super) spec: ChildSpec,
    pub(super) status: ChildStatus,
    pub(super) budget: RestartBudget,
    /// Oldest first.
    pub(super) exits: VecDeque<ExitRecord>,
    /// There while the present generation lives.
    pub(super) link: Option<ChildLink>,
    /// When the present generation first ran, by the supervisor's clock.
    pub(super) ran_at: Option<Duration>,
    pub(super) order: Option<Order>,
    /// Told to end, it was aborted at its deadline or failed while draining: what it had in flight was left.
    pub(super) unfinished: bool,
    /// The next start, or the end of the drain's time.
    pub(super) timer: Option<SpawnHandle>,
    /// Who waits for the child to stop; told whether it finished.
    pub(super) waiting: Vec<oneshot::Sender<bool>>,
}

impl Child {
    pub(super) fn new(spec: ChildSpec, now_ms: i64) -> Self {
        let budget = RestartBudget::new(spec.policy);
        let status = ChildStatus {
            id: spec.id.to_string(),
            kind: spec.kind,
            state: ChildState::Starting,
            since_ms: now_ms,
            generation: 0,
            restarts: 0,
            budget_left: spec.policy.intensity,
            next_start_ms: None,
            last_exit: None,
        };
        Self {
            spec,
            status,
            budget,
            exits: VecDeque::new(),
            link: None,
            ran_at: None,
            order: None,
            unfinished: false,
            timer: None,
            waiting: Vec::new(),
        }
    }

    pub(super) fn is_alive(&self) -> bool {
        self.link.is_some()
    }

    /// Builds the next generation; its number is in the status already.
    pub(super) fn launch(&mut self, on_state: impl Fn(ChildState) + 'static, on_exit: impl FnOnce(Exit) + 'static) {
        self.order = None;
        self.unfinished = false;
        self.ran_at = None;
        self.link = Some((self.spec.launch)(Launch {
            id: Arc::clone(&self.spec.id),
            generation: self.status.generation,
            stall_after: self.spec.stall_after,
            on_state: Box::new(on_state),
            on_exit: Box::new(on_exit),
        }));
    }

    /// Orders it to finish what is in flight.
    pub(super) fn drain(&mut self, order: Order, deadline: Instant) {
        self.order = Some(order);
        if let Some(link) = &self.link {
            // A lifecycle order ignores the mailbox bound: at most a few per generation are ever sent.
            link.drain.do_send(Drain { deadline });
        }
    }

    /// Aborts a child that did not drain in time.
    pub(super) fn overrun(&mut self) {
        self.unfinished = true;
        if let Some(link) = &self.link {
            let exit = Exit::new(ExitReason::Requested, "aborted: it did not finish what was in flight in time");
            link.end.do_send(End { exit });
        }
    }

    /// Writes its end down.
    pub(super) fn record(&mut self, exit: Exit, now_ms: i64) -> ExitRecord {
        let record = ExitRecord {
            reason: exit.reason,
            message: exit.message,
            location: exit.location,
            at_ms: now_ms,
            generation: self.status.generation,
        };
        self.link = None;
        let failed = !matches!(record.reason, ExitReason::Finished | ExitReason::Requested);
        self.unfinished |= self.order.is_some() && failed;
        if self.exits.len() == EXITS_KEPT {
            self.exits.pop_front();
        }
        self.exits.push_back(record.clone());
        self.status.last_exit = Some(record.clone());
        record
    }
}
