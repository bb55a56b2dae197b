//! The supervisor: starts the children in order, starts again what fails, gives up what fails too often, and stops all
//! in order.
//!
//! It owns the table of children; its size is the number of [`StartChild`]s without a [`RemoveChild`]. Every transition is logged once and
//! published once. Its mailbox takes lifecycle events only, a few per child and generation, never records. When it
//! panics, [`SupervisorHandle::verdict`] says so and the process must exit non-zero: nobody supervises it from inside.

use std::sync::Arc;
use std::time::Duration;

use actix::prelude::*;
use tokio::sync::{oneshot, watch};
use tokio::time::Instant;

use super::child::{Child, ChildSpec, Order};
use super::exit::Exit;
use super::lifecycle::watched;
use super::panics::PanicSlot;
use super::shutdown::Shutdown;
use crate::domain::restart::Escalation;
use crate::domain::status::{ChildState, ChildStatus, ExitRecord};

/// Is told of ends and starts, for metrics and the live view. Called on the System thread: it must not block or panic.
pub trait SupervisionObserver: 'static {
    /// A child ended; `status` says what comes of it (`backing_off`, `stopped`, `failed`, or `starting` again by order).
    fn on_exit(&self, exit: &ExitRecord, status: &ChildStatus);

    /// A child was started again.
    fn on_restart(&self, status: &ChildStatus) {
        let _ = status;
    }
}

/// Why the process must end.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Verdict {
    /// A child spent its restarts and the escalation rule is [`Escalation::Exit`].
    #[error("{child} failed more often than its restart policy allows; the last cause was: {cause}")]
    Escalated {
        /// The child's id.
        child: String,
        /// Reason and message of its last end.
        cause: String,
    },
    /// The supervisor itself ended.
    #[error("the supervisor ended: {0}")]
    SupervisorEnded(String),
}

/// What the rest of the process holds of the supervisor. Clones share it.
#[derive(Clone)]
pub struct SupervisorHandle {
    /// Takes the messages of this file.
    pub addr: Addr<SupervisorActor>,
    /// All children in the order of their start, replaced at each transition.
    pub children: watch::Receiver<Arc<Vec<ChildStatus>>>,
    /// Becomes `Some` when the process must end non-zero.
    pub verdict: watch::Receiver<Option<Verdict>>,
}

/// Starts the supervisor. To be called on the System thread.
pub fn start_supervisor(escalation: Escalation, observer: impl SupervisionObserver) -> SupervisorHandle {
    let (published, children) = watch::channel(Arc::new(Vec::new()));
    let (judge, verdict) = watch::channel(None);
    let actor = SupervisorActor {
        children: Vec::new(),
        escalation,
        observer: Box::new(observer),
        published,
        judge: judge.clone(),
        shutdown: None,
        epoch: Instant::now(),
    };
    let (addr, ended) = watched(actor, &PanicSlot::default());
    actix::spawn(async move {
        let cause = match ended.await {
            Some(panic) => format!("{} at {}", panic.message, panic.location.as_deref().unwrap_or("unknown")),
            None => "its thread was stopped".to_owned(),
        };
        judge.send_if_modified(|verdict| {
            let first = verdict.is_none();
            verdict.get_or_insert(Verdict::SupervisorEnded(cause));
            first
        });
    });
    SupervisorHandle { addr, children, verdict }
}

/// Why an order to the supervisor was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SupervisorError {
    /// No child has this id.
    #[error("there is no child {id:?}; GET /api/v1/children lists them")]
    UnknownChild {
        /// The id asked for.
        id: String,
    },
    /// A child with this id is there already.
    #[error("there is a child {id:?} already; ids are unique within a process")]
    DuplicateChild {
        /// The id asked for.
        id: String,
    },
    /// The process is stopping.
    #[error("{id:?} cannot be started: drover is shutting down")]
    ShuttingDown {
        /// The id asked for.
        id: String,
    },
    /// The child is on its way out.
    #[error("{id:?} is being stopped for good")]
    Leaving {
        /// The id asked for.
        id: String,
    },
}

/// Adds a child and starts it.
#[derive(Message)]
#[rtype(result = "Result<(), SupervisorError>")]
pub struct StartChild(pub ChildSpec);

/// An operator's order: drains the child if it lives and starts it again with a full budget, also out of `failed`.
/// Answered when the order is taken, not when the child runs.
#[derive(Debug, Clone, Message)]
#[rtype(result = "Result<(), SupervisorError>")]
pub struct RestartChild {
    /// The child's id.
    pub id: String,
    /// When it is aborted if it has not drained.
    pub deadline: Instant,
}

/// Drains a child and leaves it `stopped`. Answered when it has ended: `true` when it finished what was in flight,
/// `false` when it was aborted at the deadline or failed while it drained.
#[derive(Debug, Clone, Message)]
#[rtype(result = "Result<bool, SupervisorError>")]
pub struct StopChild {
    /// The child's id.
    pub id: String,
    /// When it is aborted if it has not drained.
    pub deadline: Instant,
}

/// Drains a child and forgets it, with its ends. Answered as [`StopChild`] is. A shutdown that begins meanwhile goes first:
/// the child is then stopped and stays in the table.
#[derive(Debug, Clone, Message)]
#[rtype(result = "Result<bool, SupervisorError>")]
pub struct RemoveChild {
    /// The child's id.
    pub id: String,
    /// When it is aborted if it has not drained.
    pub deadline: Instant,
}

/// All children as they are now, with the present budgets.
#[derive(Debug, Clone, Copy, Message)]
#[rtype(result = "Arc<Vec<ChildStatus>>")]
pub struct GetStatus;

/// The last ends of a child, oldest first; at most [`super::child::EXITS_KEPT`].
#[derive(Debug, Clone, Message)]
#[rtype(result = "Result<Vec<ExitRecord>, SupervisorError>")]
pub struct GetExits {
    /// The child's id.
    pub id: String,
}

/// A child's guard reported its end.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub(super) struct ChildExited {
    pub(super) id: Arc<str>,
    pub(super) generation: u64,
    pub(super) exit: Exit,
}

/// A child's task gave a new state.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub(super) struct ChildStateChanged {
    pub(super) id: Arc<str>,
    pub(super) generation: u64,
    pub(super) state: ChildState,
}

/// The supervisor; see the module.
pub struct SupervisorActor {
    /// In the order of their start.
    pub(super) children: Vec<Child>,
    escalation: Escalation,
    observer: Box<dyn SupervisionObserver>,
    /// HTTP, metrics and tests read the other end.
    published: watch::Sender<Arc<Vec<ChildStatus>>>,
    /// `app.rs` reads the other end.
    judge: watch::Sender<Option<Verdict>>,
    /// There from the first [`super::shutdown::ShutDown`] on.
    pub(super) shutdown: Option<Shutdown>,
    /// Where the clock of the budgets starts.
    epoch: Instant,
}

impl SupervisorActor {
    /// Time since it was started: the clock of the budgets.
    pub(super) fn now(&self) -> Duration {
        self.epoch.elapsed()
    }

    pub(super) fn child(&mut self, id: &str) -> Option<&mut Child> {
        self.children.iter_mut().find(|child| child.spec.id() == id)
    }

    /// The child, as long as it lives in this generation: what older ones still say is late and void.
    pub(super) fn living(&mut self, id: &str, generation: u64) -> Option<&mut Child> {
        self.child(id).filter(|child| child.is_alive() && child.status.generation == generation)
    }

    fn known(&mut self, id: &str) -> Result<&mut Child, SupervisorError> {
        self.child(id).ok_or_else(|| SupervisorError::UnknownChild { id: id.to_owned() })
    }

    pub(super) fn observer(&self) -> &dyn SupervisionObserver {
        self.observer.as_ref()
    }

    /// Applies the escalation rule to a child that was given up.
    pub(super) fn escalate(&self, child: &str, exit: &ExitRecord) {
        if self.escalation == Escalation::Exit {
            let cause = format!("{}: {}", exit.reason.as_str(), exit.message);
            self.judge.send_if_modified(|verdict| {
                let first = verdict.is_none();
                verdict.get_or_insert(Verdict::Escalated { child: child.to_owned(), cause });
                first
            });
        }
    }

    /// Gives the table to whoever watches it.
    pub(super) fn publish(&mut self) -> Arc<Vec<ChildStatus>> {
        let now = self.now();
        for child in &mut self.children {
            child.status.budget_left = child.budget.budget_left(now);
        }
        let statuses = Arc::new(self.children.iter().map(|child| child.status.clone()).collect::<Vec<_>>());
        self.published.send_if_modified(|old| {
            let changed = **old != *statuses;
            *old = Arc::clone(&statuses);
            changed
        });
        statuses
    }
}

impl Actor for SupervisorActor {
    type Context = Context<Self>;
}

impl Handler<StartChild> for SupervisorActor {
    type Result = Result<(), SupervisorError>;

    fn handle(&mut self, StartChild(spec): StartChild, ctx: &mut Self::Context) -> Self::Result {
        let id = spec.id().to_owned();
        if self.shutdown.is_some() {
            return Err(SupervisorError::ShuttingDown { id });
        }
        if self.child(&id).is_some() {
            return Err(SupervisorError::DuplicateChild { id });
        }
        self.children.push(Child::new(spec, now_ms()));
        self.start(&id, ctx);
        Ok(())
    }
}

impl Handler<RestartChild> for SupervisorActor {
    type Result = Result<(), SupervisorError>;

    fn handle(&mut self, RestartChild { id, deadline }: RestartChild, ctx: &mut Self::Context) -> Self::Result {
        let shutting_down = self.shutdown.is_some();
        let child = self.known(&id)?;
        if shutting_down {
            return Err(SupervisorError::ShuttingDown { id });
        }
        if matches!(child.order, Some(Order::Stop | Order::Remove)) && child.is_alive() {
            return Err(SupervisorError::Leaving { id });
        }
        if child.is_alive() {
            self.drain(&id, Order::Restart, deadline, ctx);
        } else {
            child.budget.refill();
            self.start(&id, ctx);
        }
        Ok(())
    }
}

impl Handler<StopChild> for SupervisorActor {
    type Result = ResponseFuture<Result<bool, SupervisorError>>;

    fn handle(&mut self, StopChild { id, deadline }: StopChild, ctx: &mut Self::Context) -> Self::Result {
        let (done, ended) = oneshot::channel();
        match self.known(&id) {
            Ok(child) => child.waiting.push(done),
            Err(error) => return Box::pin(async { Err(error) }),
        }
        self.stop(&id, deadline, ctx);
        // A dropped sender means that the supervisor is gone, and the child's actor with its thread.
        Box::pin(async { Ok(ended.await.unwrap_or(false)) })
    }
}

impl Handler<RemoveChild> for SupervisorActor {
    type Result = ResponseFuture<Result<bool, SupervisorError>>;

    fn handle(&mut self, RemoveChild { id, deadline }: RemoveChild, ctx: &mut Self::Context) -> Self::Result {
        let (done, ended) = oneshot::channel();
        let shutting_down = self.shutdown.is_some();
        match self.known(&id) {
            Ok(_) if shutting_down => return Box::pin(async { Err(SupervisorError::ShuttingDown { id }) }),
            Ok(child) => child.waiting.push(done),
            Err(error) => return Box::pin(async { Err(error) }),
        }
        self.remove(&id, deadline, ctx);
        Box::pin(async { Ok(ended.await.unwrap_or(false)) })
    }
}

impl Handler<GetStatus> for SupervisorActor {
    type Result = Arc<Vec<ChildStatus>>;

    fn handle(&mut self, _: GetStatus, _: &mut Self::Context) -> Self::Result {
        self.publish()
    }
}

impl Handler<GetExits> for SupervisorActor {
    type Result = Result<Vec<ExitRecord>, SupervisorError>;

    fn handle(&mut self, GetExits { id }: GetExits, _: &mut Self::Context) -> Self::Result {
        Ok(self.known(&id)?.exits.iter().cloned().collect())
    }
}

impl Handler<ChildStateChanged> for SupervisorActor {
    type Result = ();

    fn handle(&mut self, news: ChildStateChanged, _: &mut Self::Context) {
        self.state_given(&news.id, news.generation, news.state);
    }
}

impl Handler<ChildExited> for SupervisorActor {
    type Result = ();

    fn handle(&mut self, news: ChildExited, ctx: &mut Self::Context) {
        self.exited(&news.id, news.generation, news.exit, ctx);
    }
}

/// Milliseconds since the epoch.
pub(super) fn now_ms() -> i64 {
    chrono::Utc::now().timestamp_millis()
}
