//! Children made of closures, and a real System to supervise them on. Every wait has a deadline.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on should fail where it stands")]

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use actix::System;
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;

use super::child::ChildSpec;
use super::exit::ExitError;
use super::lifecycle::{Control, Task};
use super::supervisor::{StartChild, SupervisionObserver, SupervisorHandle, start_supervisor};
use crate::domain::backoff::Backoff;
use crate::domain::restart::{Escalation, RestartPolicy};
use crate::domain::status::{ChildKind, ChildState, ChildStatus, ExitRecord};

/// How long any test waits for anything before it fails.
const PATIENCE: Duration = Duration::from_secs(30);

/// Runs a test on a System over a multi-thread runtime, as drover does.
pub fn on_system<T>(test: impl Future<Output = T>) -> T {
    let system = System::with_tokio_rt(|| {
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap()
    });
    system.block_on(test)
}

/// Fails the test when the future takes too long.
pub async fn soon<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, future).await.expect("nothing happened within the patience of the test")
}

/// A moment far enough away that nothing in a test reaches it.
pub fn far() -> Instant {
    Instant::now() + PATIENCE
}

/// A task whose work is a closure.
pub struct Scripted<F>(pub F);

impl<F, Work> Task for Scripted<F>
where
    F: FnOnce(Control) -> Work + Send + 'static,
    Work: Future<Output = Result<(), ExitError>> + Send + 'static,
{
    fn run(self, control: Control) -> impl Future<Output = Result<(), ExitError>> + Send {
        (self.0)(control)
    }
}

/// What a factory that always panics would have built.
pub struct Unbuilt;

impl Task for Unbuilt {
    async fn run(self, _: Control) -> Result<(), ExitError> {
        Ok(())
    }
}

/// A child whose every generation does `work`.
pub fn child<F, Work>(id: &str, kind: ChildKind, work: F) -> ChildSpec
where
    F: Fn(Control) -> Work + Clone + Send + Sync + 'static,
    Work: Future<Output = Result<(), ExitError>> + Send + 'static,
{
    ChildSpec::new(id, kind, quick(3), move || Scripted(work.clone()))
}

/// Delays of 10, 20, 40 ... ms without jitter.
pub fn quick(intensity: u32) -> RestartPolicy {
    RestartPolicy {
        backoff: Backoff {
            min: Duration::from_millis(10),
            max: Duration::from_secs(1),
            factor: 2.0,
            jitter: 0.0,
            reset_after: Duration::from_secs(600),
        },
        intensity,
        period: Duration::from_secs(600),
    }
}

/// Runs until it is told to drain.
pub async fn obedient(control: Control) -> Result<(), ExitError> {
    control.set_state(ChildState::Running);
    control.drain_requested().await;
    Ok(())
}

/// Passes ends on to the test.
struct Tell(mpsc::UnboundedSender<(ExitRecord, ChildStatus)>);

impl SupervisionObserver for Tell {
    fn on_exit(&self, exit: &ExitRecord, status: &ChildStatus) {
        assert_ne!(exit.message, "kill the supervisor");
        let _ = self.0.send((exit.clone(), status.clone()));
    }
}

/// A supervisor under test.
pub struct Herd {
    pub handle: SupervisorHandle,
    exits: mpsc::UnboundedReceiver<(ExitRecord, ChildStatus)>,
}

impl Herd {
    pub fn new(escalation: Escalation) -> Self {
        let (tell, exits) = mpsc::unbounded_channel();
        Self { handle: start_supervisor(escalation, Tell(tell)), exits }
    }

    pub async fn start(&self, spec: ChildSpec) {
        soon(self.handle.addr.send(StartChild(spec))).await.unwrap().unwrap();
    }

    /// The next end of any child and what came of it.
    pub async fn exit(&mut self) -> (ExitRecord, ChildStatus) {
        soon(self.exits.recv()).await.unwrap()
    }

    /// Waits until a child's status is as wanted, and gives it.
    pub async fn until(&self, id: &str, wanted: impl Fn(&ChildStatus) -> bool) -> ChildStatus {
        let mut children = self.handle.children.clone();
        let find = |all: &Arc<Vec<ChildStatus>>| all.iter().find(|child| child.id == id && wanted(child)).cloned();
        let found = soon(children.wait_for(|all| find(all).is_some())).await.unwrap().clone();
        find(&found).unwrap()
    }

    pub async fn until_state(&self, id: &str, state: ChildState) -> ChildStatus {
        self.until(id, |child| child.state == state).await
    }
}

/// A gate that a test opens for good.
pub fn gate() -> (watch::Sender<bool>, impl Fn() -> futures::future::BoxFuture<'static, ()> + Clone + Send + Sync) {
    let (open, opened) = watch::channel(false);
    let wait = move || -> futures::future::BoxFuture<'static, ()> {
        let mut opened = opened.clone();
        Box::pin(async move {
            // A gate whose test is over lets everybody through.
            let _ = opened.wait_for(|open| *open).await;
        })
    };
    (open, wait)
}
