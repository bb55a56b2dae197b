//! One generation of a child: every way to end gives one exit with its cause.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on should fail where it stands")]

use std::future::{Future, pending};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use actix::prelude::*;
use tokio::sync::mpsc;

use super::exit::{Exit, ExitError};
use super::lifecycle::{Control, Drain, End, Launch, Task, TaskActor, launch};
use super::test_tasks::{Scripted, Unbuilt, far, obedient, on_system, soon};
use crate::domain::status::ExitReason;

struct Observed<T: Task> {
    addr: Addr<TaskActor<T>>,
    exits: mpsc::UnboundedReceiver<Exit>,
}

impl<T: Task> Observed<T> {
    fn start(factory: impl Fn() -> T + Send + Sync + 'static, stall_after: Option<Duration>) -> Self {
        let (tell, exits) = mpsc::unbounded_channel();
        let order = Launch {
            id: "child".into(),
            generation: 1,
            stall_after,
            on_state: Box::new(|_| {}),
            on_exit: Box::new(move |exit| tell.send(exit).unwrap()),
        };
        Self { addr: launch(Arc::new(factory), order), exits }
    }

    /// The only exit: the channel closes after it.
    async fn exit(mut self) -> Exit {
        let exit = soon(self.exits.recv()).await.unwrap();
        assert_eq!(soon(self.exits.recv()).await, None, "a second exit was reported");
        exit
    }
}

fn observed<F, Work>(work: F) -> Observed<Scripted<F>>
where
    F: Fn(Control) -> Work + Clone + Send + Sync + 'static,
    Work: Future<Output = Result<(), ExitError>> + Send + 'static,
{
    Observed::start(move || Scripted(work.clone()), None)
}

/// Makes the handler of a child's actor panic.
#[derive(Message)]
#[rtype(result = "()")]
struct Explode;

impl<T: Task> Handler<Explode> for TaskActor<T> {
    type Result = ();

    fn handle(&mut self, _: Explode, _: &mut Self::Context) {
        panic!("boom in a handler");
    }
}

/// Says that it was dropped.
struct Flag(Arc<AtomicBool>);

impl Drop for Flag {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

/// Panics when it is dropped.
struct Bomb;

impl Drop for Bomb {
    fn drop(&mut self) {
        panic!("boom in a drop");
    }
}

#[test]
fn a_finished_task_is_told_from_one_that_was_stopped() {
    on_system(async {
        assert_eq!(observed(|_| async { Ok(()) }).exit().await.reason, ExitReason::Finished);
        let child = observed(obedient);
        child.addr.do_send(Drain { deadline: far() });
        assert_eq!(child.exit().await.reason, ExitReason::Requested);
    });
}

#[test]
fn an_error_keeps_its_reason_and_message() {
    on_system(async {
        let exit = observed(|_| async { Err(ExitError::error("no route to the broker")) }).exit().await;
        assert_eq!(exit, Exit::new(ExitReason::Error, "no route to the broker"));
        let exit = observed(|_| async { Err(ExitError::fenced("another member took consumer-1")) }).exit().await;
        assert_eq!(exit.reason, ExitReason::Fenced);
    });
}

#[test]
fn a_panic_in_a_task_is_reported_with_message_and_place() {
    on_system(async {
        let line = line!() + 1;
        let exit = observed(|control| async move { panic!("boom in {}", control.id()) }).exit().await;
        assert_eq!(exit.reason, ExitReason::Panicked);
        assert_eq!(exit.message, "boom in child");
        assert_eq!(exit.location, Some(format!("{}:{line}", file!())));
    });
}

#[test]
fn a_panic_in_a_factory_is_the_end_of_its_child() {
    on_system(async {
        let factory = || -> Unbuilt { panic!("no such topic") };
        let exit = Observed::start(factory, None).exit().await;
        assert_eq!((exit.reason, exit.message.as_str()), (ExitReason::Panicked, "no such topic"));
        assert!(exit.location.unwrap().starts_with(file!()));
    });
}

#[test]
fn a_panic_in_the_actor_ends_its_task_before_it_is_reported() {
    on_system(async {
        let dropped = Arc::new(AtomicBool::new(false));
        let seen = Arc::clone(&dropped);
        let (running, mut runs) = mpsc::unbounded_channel();
        let child = observed(move |_| {
            let (flag, running) = (Flag(Arc::clone(&seen)), running.clone());
            async move {
                let _flag = flag;
                running.send(()).unwrap();
                pending().await
            }
        });
        soon(runs.recv()).await.unwrap();
        child.addr.do_send(Explode);
        let exit = child.exit().await;
        assert_eq!((exit.reason, exit.message.as_str()), (ExitReason::Panicked, "boom in a handler"));
        assert!(exit.location.unwrap().starts_with(file!()));
        assert!(dropped.load(Ordering::SeqCst));
    });
}

#[test]
fn a_panic_in_the_drop_of_a_finished_task_is_its_cause() {
    on_system(async {
        let exit = observed(|_| async {
            let _bomb = Bomb;
            Ok(())
        })
        .exit()
        .await;
        assert_eq!((exit.reason, exit.message.as_str()), (ExitReason::Panicked, "boom in a drop"));
    });
}

#[test]
fn a_panic_in_the_drop_of_an_aborted_task_is_added_to_the_cause() {
    on_system(async {
        let (running, mut runs) = mpsc::unbounded_channel();
        let child = observed(move |_| {
            let running = running.clone();
            async move {
                let _bomb = Bomb;
                running.send(()).unwrap();
                pending().await
            }
        });
        soon(runs.recv()).await.unwrap();
        child.addr.do_send(End { exit: Exit::new(ExitReason::Requested, "aborted") });
        let exit = child.exit().await;
        assert_eq!(exit.reason, ExitReason::Requested);
        assert!(exit.message.contains("boom in a drop"), "{}", exit.message);
        assert!(exit.location.unwrap().starts_with(file!()));
    });
}

#[test]
fn a_silent_heartbeat_ends_the_task_as_stalled() {
    on_system(async {
        let factory = || Scripted(|_| pending());
        let exit = Observed::start(factory, Some(Duration::from_millis(40))).exit().await;
        assert_eq!(exit, Exit::new(ExitReason::Stalled, "no progress for 40 ms"));
    });
}

#[test]
fn an_actor_that_is_aborted_with_its_runtime_reports_nothing_twice_and_drops_its_task() {
    let dropped = Arc::new(AtomicBool::new(false));
    let seen = Arc::clone(&dropped);
    on_system(async move {
        let (running, mut runs) = mpsc::unbounded_channel();
        let _child = observed(move |_| {
            let (flag, running) = (Flag(Arc::clone(&seen)), running.clone());
            async move {
                let _flag = flag;
                running.send(()).unwrap();
                pending().await
            }
        });
        soon(runs.recv()).await.unwrap();
    });
    assert!(dropped.load(Ordering::SeqCst));
}
