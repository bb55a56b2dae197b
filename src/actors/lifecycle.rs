//! The life of one child: a thin actor on the System thread that owns one tokio task, and what the task sees of it.
//!
//! The task does the work on the multi-thread runtime; the actor passes orders on and sees the end. Nothing queues here:
//! state and drain order are single values that the newest overwrites. When the task or the actor panics, the other one
//! is ended too and the guard reports one exit; when the supervisor is gone, so is the reader of that report.

use std::future::{Future, pending};
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use actix::prelude::*;
use futures::FutureExt as _;
use futures::stream;
use tokio::sync::watch;
use tokio::task::{AbortHandle, JoinError};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::exit::{Exit, ExitCause, ExitError, ExitGuard};
use super::panics::{PanicSlot, install_hook};
use crate::domain::status::{ChildState, ExitReason};

/// How long an exit waits for an aborted task to let go of what it holds. A task that blocks its thread cannot be ended
/// from outside; its successor must not wait for ever, and the store's compare-and-swap fences what it may still do.
const TASK_END_GRACE: Duration = Duration::from_secs(5);

/// Looks at a heartbeat within the silence that it may keep.
const LOOKS_PER_LIMIT: u32 = 20;

/// Time between two heartbeats of a child that waits for work.
const HEARTBEAT: Duration = Duration::from_secs(1);

/// The work of a child, built by a factory for every generation and run as one tokio task.
///
/// Orders beside draining (pause, a queue of batches) reach a task through channels that the factory captures, so that
/// they outlive a restart.
pub trait Task: Send + 'static {
    /// Works until it is done, told to drain, or cannot go on. It may be dropped at any await.
    ///
    /// # Errors
    /// What ended the work; the reason decides whether the supervisor starts it again.
    fn run(self, control: Control) -> impl Future<Output = Result<(), ExitError>> + Send;
}

/// What makes a new task for each generation. It runs inside the task, so it may be slow and even panic.
pub type TaskFactory<T> = Arc<dyn Fn() -> T + Send + Sync>;

/// What a task sees of its supervision.
#[derive(Debug, Clone)]
pub struct Control {
    id: Arc<str>,
    generation: u64,
    state: watch::Sender<ChildState>,
    drain: watch::Receiver<Option<Instant>>,
    progress: Arc<AtomicU64>,
}

impl Control {
    /// The child's id.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }

    /// How often the child has been built, this time included.
    #[must_use]
    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// Waits for the order to finish what is in flight and gives the moment at which the task is aborted.
    ///
    /// # Cancel safety
    /// Cancel safe; once ordered it is ready for ever.
    pub async fn drain_requested(&self) -> Instant {
        let mut drain = self.drain.clone();
        let ordered = drain.wait_for(Option::is_some).await.ok().and_then(|deadline| *deadline);
        match ordered {
            Some(deadline) => deadline,
            // The actor is gone: it aborts this task, so there is nothing to wait for.
            None => pending().await,
        }
    }

    /// The deadline of the drain, once it is ordered.
    #[must_use]
    pub fn draining(&self) -> Option<Instant> {
        *self.drain.borrow()
    }

    /// Says that the child is running, paused or rebalancing. Other states are the supervisor's and are ignored.
    pub fn set_state(&self, state: ChildState) {
        if matches!(state, ChildState::Running | ChildState::Paused | ChildState::Rebalancing) {
            self.state.send_if_modified(|now| std::mem::replace(now, state) != state);
        }
    }

    /// The heartbeat: call it in every turn of the work's loop, also while paused.
    pub fn progress(&self) {
        self.progress.fetch_add(1, Ordering::Relaxed);
    }

    /// Waits for what may take any time, such as work or a delay, with a heartbeat. Not for what must answer in time: a
    /// silence there is what the watchdog looks for.
    ///
    /// # Cancel safety
    /// As that of `waited_for`.
    pub async fn while_idle<T>(&self, waited_for: impl Future<Output = T>) -> T {
        let mut waited_for = std::pin::pin!(waited_for);
        loop {
            self.progress();
            match tokio::time::timeout(HEARTBEAT, &mut waited_for).await {
                Ok(done) => return done,
                Err(_) => continue,
            }
        }
    }

    /// A control without a supervisor, for tests of a task by itself; the sender orders the drain.
    #[must_use]
    pub fn detached(id: &str) -> (Self, watch::Sender<Option<Instant>>) {
        let (drain, ordered) = watch::channel(None);
        let control = Self {
            id: id.into(),
            generation: 1,
            state: watch::channel(ChildState::Starting).0,
            drain: ordered,
            progress: Arc::default(),
        };
        (control, drain)
    }

    /// The state that the task gave last.
    #[must_use]
    pub fn state(&self) -> ChildState {
        *self.state.borrow()
    }
}

/// Order to finish what is in flight and end. A later order moves the deadline.
#[derive(Debug, Clone, Copy, Message)]
#[rtype(result = "()")]
pub struct Drain {
    /// When whoever ordered it stops waiting.
    pub deadline: Instant,
}

/// Order to abort the task now; the exit is reported with this cause.
#[derive(Debug, Clone, Message)]
#[rtype(result = "()")]
pub struct End {
    /// The cause to report.
    pub exit: Exit,
}

/// The actor of a child; what differs between kinds is the task.
pub struct TaskActor<T: Task> {
    /// Makes the task; used once, when the actor starts.
    factory: TaskFactory<T>,
    /// Given to the task; the actor reads state and progress of it.
    control: Control,
    /// The task and whoever holds a `Control` read the other end.
    drain: watch::Sender<Option<Instant>>,
    /// Silence of the heartbeat after which the task is ended as stalled.
    stall_after: Option<Duration>,
    /// Called with each state that the task gives, on the System thread.
    on_state: Box<dyn Fn(ChildState)>,
    cause: ExitCause,
    panics: PanicSlot,
    /// Cancelled when the task's future is dropped, or given up on: the watcher waits for it before it reports.
    ended: CancellationToken,
    task: Option<AbortHandle>,
}

/// All that one generation of a child needs beside its factory.
pub struct Launch {
    /// The child's id.
    pub id: Arc<str>,
    /// How often the child has been built, this time included.
    pub generation: u64,
    /// Silence of the heartbeat after which the task is ended as stalled; `None` trusts it.
    pub stall_after: Option<Duration>,
    /// Called with each state that the task gives.
    pub on_state: Box<dyn Fn(ChildState)>,
    /// Called once, when actor and task have ended.
    pub on_exit: Box<dyn FnOnce(Exit)>,
}

/// Starts one generation of a child. To be called on the System thread.
pub fn launch<T: Task>(factory: TaskFactory<T>, launch: Launch) -> Addr<TaskActor<T>> {
    let (drain, ordered) = watch::channel(None);
    let control = Control {
        id: launch.id,
        generation: launch.generation,
        state: watch::channel(ChildState::Starting).0,
        drain: ordered,
        progress: Arc::default(),
    };
    let (cause, panics, ended) = (ExitCause::default(), PanicSlot::default(), CancellationToken::new());
    let guard = ExitGuard::new(cause.clone(), launch.on_exit);
    let (addr, actor_ended) = watched(
        TaskActor {
            factory,
            control,
            drain,
            stall_after: launch.stall_after,
            on_state: launch.on_state,
            cause: cause.clone(),
            panics: panics.clone(),
            ended: ended.clone(),
            task: None,
        },
        &panics,
    );
    actix::spawn(async move {
        // Owned here, so that it reports however this future ends.
        let _guard = guard;
        if let Some(panic) = actor_ended.await {
            cause.set(panic);
        }
        if tokio::time::timeout(TASK_END_GRACE, ended.cancelled()).await.is_err() {
            cause.remark(ABANDONED);
        }
    });
    addr
}

/// Said of a task that could not be ended.
const ABANDONED: &str = "its task blocks a thread and was left behind";

/// Starts an actor; the future gives its panic, if it ended by one. To be called on the System thread.
pub fn watched<A: Actor<Context = Context<A>>>(
    actor: A,
    panics: &PanicSlot,
) -> (Addr<A>, impl Future<Output = Option<Exit>> + use<A>) {
    install_hook();
    let context = Context::<A>::new();
    let addr = context.address();
    // The inner catch keeps the payload and drops the actor outside of unwinding, where a second panic would abort the
    // process; that second panic then is a JoinError of the spawned task.
    let life = AssertUnwindSafe(context.into_future(actor)).catch_unwind();
    let life = actix::spawn(panics.watch(life));
    let panics = panics.clone();
    let ended = async move {
        match life.await {
            Ok(Ok(())) => None,
            Ok(Err(payload)) => Some(panics.exit(payload.as_ref())),
            Err(error) => exit_of_join(error, &panics),
        }
    };
    (addr, ended)
}

/// The panic in a join error; `None` when the task was aborted.
fn exit_of_join(error: JoinError, panics: &PanicSlot) -> Option<Exit> {
    error.try_into_panic().ok().map(|payload| panics.exit(payload.as_ref()))
}

impl<T: Task> TaskActor<T> {
    fn finished(&self, result: Result<Result<(), ExitError>, JoinError>) -> Exit {
        match result {
            Ok(Ok(())) if self.control.draining().is_some() => Exit::new(ExitReason::Requested, "stopped by order"),
            Ok(Ok(())) => Exit::new(ExitReason::Finished, "its work was done"),
            Ok(Err(error)) => Exit::new(error.reason, error.message),
            Err(error) => exit_of_join(error, &self.panics)
                .unwrap_or_else(|| Exit::new(ExitReason::Error, "its task was aborted by the runtime")),
        }
    }

    fn end(&mut self, exit: Exit, ctx: &mut Context<Self>) {
        self.cause.set(exit);
        if let Some(task) = &self.task {
            task.abort();
        }
        // The task's end stops the actor; this is for a task that never gets to its next await.
        ctx.run_later(TASK_END_GRACE, |actor, ctx| {
            actor.cause.remark(ABANDONED);
            actor.ended.cancel();
            ctx.stop();
        });
    }

    /// Ends the task when its heartbeat is silent for `limit`.
    fn watch_progress(&self, limit: Duration, ctx: &mut Context<Self>) {
        let (mut seen, mut silent) = (self.control.progress.load(Ordering::Relaxed), Duration::ZERO);
        let mut looked = Instant::now();
        let mut ended = false;
        let pause = limit / LOOKS_PER_LIMIT;
        // The silence counts from the look that saw the last heartbeat: a stall is found at most two looks after the limit.
        ctx.run_interval(pause, move |actor, ctx| {
            let progress = actor.control.progress.load(Ordering::Relaxed);
            // A process that was frozen itself has not watched.
            let since = looked.elapsed().min(2 * pause);
            looked = Instant::now();
            if progress != seen {
                (seen, silent) = (progress, Duration::ZERO);
                return;
            }
            silent += since;
            if !ended && silent >= limit {
                ended = true;
                let message = format!("no progress for {} ms", limit.as_millis());
                actor.end(Exit::new(ExitReason::Stalled, message), ctx);
            }
        });
    }
}

impl<T: Task> Actor for TaskActor<T> {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        let (factory, control) = (Arc::clone(&self.factory), self.control.clone());
        let ended = self.ended.clone().drop_guard();
        // Before the task is there, or its first state could be taken for one that was seen already.
        let states = self.control.state.subscribe();
        let work = async move {
            // Declared first, so dropped last: what the task holds is gone when the end is seen.
            let _ended = ended;
            factory().run(control).await
        };
        let task = tokio::spawn(self.panics.watch(work));
        self.task = Some(task.abort_handle());
        ctx.spawn(task.into_actor(self).map(|result, actor, ctx| {
            actor.cause.set(actor.finished(result));
            ctx.stop();
        }));
        let states = stream::unfold(states, |mut states| async move {
            states.changed().await.ok()?;
            let state = *states.borrow_and_update();
            Some((state, states))
        });
        ctx.spawn(states.into_actor(self).map(|state, actor, _| (actor.on_state)(state)).finish());
        if let Some(limit) = self.stall_after {
            self.watch_progress(limit, ctx);
        }
    }
}

impl<T: Task> Drop for TaskActor<T> {
    fn drop(&mut self) {
        match &self.task {
            Some(task) => task.abort(),
            None => self.ended.cancel(),
        }
    }
}

impl<T: Task> Handler<Drain> for TaskActor<T> {
    type Result = ();

    fn handle(&mut self, order: Drain, _: &mut Self::Context) {
        self.drain.send_replace(Some(order.deadline));
    }
}

impl<T: Task> Handler<End> for TaskActor<T> {
    type Result = ();

    fn handle(&mut self, order: End, ctx: &mut Self::Context) {
        self.end(order.exit, ctx);
    }
}
