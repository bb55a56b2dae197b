//! The supervisor on a real System: restarts, limits, orders and the shutdown.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on should fail where it stands")]

use std::future::pending;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::Instant;

use super::child::{ChildSpec, EXITS_KEPT};
use super::exit::{Exit, ExitError};
use super::lifecycle::Control;
use super::shutdown::{ShutDown, ShutdownReport};
use super::supervisor::*;
use super::test_tasks::*;
use crate::domain::restart::Escalation;
use crate::domain::status::{ChildKind, ChildState, ChildStatus, ExitReason};

fn delay_ms(status: &ChildStatus) -> i64 {
    status.next_start_ms.unwrap() - status.since_ms
}

async fn fails(_: Control) -> Result<(), ExitError> {
    Err(ExitError::error("the broker is away"))
}

#[test]
fn a_panicking_child_restarts_with_growing_delays_until_it_is_given_up_and_its_sibling_runs_on() {
    on_system(async {
        let mut herd = Herd::new(Escalation::KeepOthers);
        herd.start(child("steady", ChildKind::Consumer, obedient)).await;
        herd.start(child("flaky", ChildKind::Consumer, |_| async { panic!("boom") })).await;
        for (generation, delay) in [(1, 10), (2, 20), (3, 40)] {
            let (exit, status) = herd.exit().await;
            assert_eq!(
                (exit.generation, exit.reason, exit.message.as_str()),
                (generation, ExitReason::Panicked, "boom")
            );
            assert!(exit.location.as_ref().unwrap().starts_with(file!()));
            assert_eq!((status.state, delay_ms(&status)), (ChildState::BackingOff, delay));
            assert_eq!(u64::from(status.budget_left), 3 - generation);
            assert_eq!(status.last_exit, Some(exit));
        }
        let (exit, status) = herd.exit().await;
        assert_eq!((exit.generation, status.state, status.restarts), (4, ChildState::Failed, 3));
        assert_eq!((status.budget_left, status.next_start_ms), (0, None));
        let steady = herd.until_state("steady", ChildState::Running).await;
        assert_eq!((steady.generation, steady.restarts, steady.last_exit), (1, 0, None));
        assert_eq!(*herd.handle.verdict.borrow(), None, "keep_others keeps the process");
    });
}

#[test]
fn a_panicking_factory_counts_like_any_other_end() {
    on_system(async {
        let mut herd = Herd::new(Escalation::KeepOthers);
        let factory = || -> Unbuilt { panic!("no such topic") };
        herd.start(ChildSpec::new("metrics", ChildKind::Metrics, quick(1), factory)).await;
        let (exit, status) = herd.exit().await;
        assert_eq!((exit.reason, status.state), (ExitReason::Panicked, ChildState::BackingOff));
        assert_eq!(herd.exit().await.1.state, ChildState::Failed);
    });
}

#[test]
fn a_fenced_child_is_never_restarted_and_a_finished_one_is_stopped() {
    on_system(async {
        let mut herd = Herd::new(Escalation::Exit);
        let fenced = |_| async { Err(ExitError::fenced("another member took its place")) };
        herd.start(child("fenced", ChildKind::Consumer, fenced)).await;
        let (exit, status) = herd.exit().await;
        assert_eq!((exit.reason, status.state), (ExitReason::Fenced, ChildState::Failed));
        herd.start(child("done", ChildKind::Metrics, |_| async { Ok(()) })).await;
        let (exit, status) = herd.exit().await;
        assert_eq!((exit.reason, status.state), (ExitReason::Finished, ChildState::Stopped));
        assert_eq!(*herd.handle.verdict.borrow(), None, "being fenced is not the spending of restarts");
    });
}

#[test]
fn a_stalled_child_is_ended_and_restarted() {
    on_system(async {
        let mut herd = Herd::new(Escalation::KeepOthers);
        let silent = child("silent", ChildKind::Consumer, |_| pending()).stall_after(Duration::from_millis(40));
        herd.start(silent).await;
        let (exit, status) = herd.exit().await;
        assert_eq!((exit.reason, status.state), (ExitReason::Stalled, ChildState::BackingOff));
        herd.until("silent", |child| child.generation == 2).await;
    });
}

#[test]
fn states_that_a_task_gives_are_published_and_those_of_the_supervisor_are_not_its_to_give() {
    on_system(async {
        let herd = Herd::new(Escalation::KeepOthers);
        let (open, opened) = gate();
        let work = move |control: Control| {
            let opened = opened.clone();
            async move {
                control.set_state(ChildState::Failed);
                control.set_state(ChildState::Rebalancing);
                opened().await;
                control.set_state(ChildState::Paused);
                obedient_without_state(control).await
            }
        };
        herd.start(child("c", ChildKind::Consumer, work)).await;
        herd.until_state("c", ChildState::Rebalancing).await;
        open.send_replace(true);
        herd.until_state("c", ChildState::Paused).await;
    });
}

async fn obedient_without_state(control: Control) -> Result<(), ExitError> {
    control.drain_requested().await;
    Ok(())
}

#[test]
fn an_operator_restarts_a_failed_child_with_a_full_budget() {
    on_system(async {
        let mut herd = Herd::new(Escalation::KeepOthers);
        herd.start(ChildSpec::new("c", ChildKind::Consumer, quick(1), || Scripted(fails))).await;
        assert_eq!(herd.exit().await.1.state, ChildState::BackingOff);
        assert_eq!(herd.exit().await.1.state, ChildState::Failed);
        let restart = RestartChild { id: "c".into(), deadline: far() };
        soon(herd.handle.addr.send(restart)).await.unwrap().unwrap();
        let (exit, status) = herd.exit().await;
        assert_eq!((exit.generation, status.state), (3, ChildState::BackingOff));
        assert_eq!((delay_ms(&status), status.budget_left, status.restarts), (10, 0, 2));
    });
}

#[test]
fn an_operator_restarts_a_running_child_after_it_has_drained() {
    on_system(async {
        let mut herd = Herd::new(Escalation::KeepOthers);
        herd.start(child("c", ChildKind::Consumer, obedient)).await;
        herd.until_state("c", ChildState::Running).await;
        let restart = RestartChild { id: "c".into(), deadline: far() };
        soon(herd.handle.addr.send(restart)).await.unwrap().unwrap();
        assert_eq!(herd.exit().await.0.reason, ExitReason::Requested);
        let again = herd.until("c", |child| child.generation == 2 && child.state == ChildState::Running).await;
        assert_eq!((again.budget_left, again.restarts), (3, 1));
    });
}

#[test]
fn a_late_exit_of_an_old_generation_changes_nothing() {
    on_system(async {
        let mut herd = Herd::new(Escalation::KeepOthers);
        let work = |control: Control| async move {
            if control.generation() == 1 {
                return Err(ExitError::error("first try"));
            }
            obedient(control).await
        };
        herd.start(child("c", ChildKind::Consumer, work)).await;
        herd.exit().await;
        let before = herd.until("c", |child| child.generation == 2 && child.state == ChildState::Running).await;
        let late = ChildExited { id: "c".into(), generation: 1, exit: Exit::new(ExitReason::Panicked, "late") };
        soon(herd.handle.addr.send(late)).await.unwrap();
        let status = soon(herd.handle.addr.send(GetStatus)).await.unwrap();
        assert_eq!(*status, [before]);
        let exits = soon(herd.handle.addr.send(GetExits { id: "c".into() })).await.unwrap().unwrap();
        assert_eq!(exits.len(), 1);
    });
}

#[test]
fn the_last_ends_are_kept_and_no_more() {
    on_system(async {
        let mut herd = Herd::new(Escalation::KeepOthers);
        let mut policy = quick(60);
        policy.backoff.max = Duration::from_millis(1);
        herd.start(ChildSpec::new("c", ChildKind::DbWriter, policy, || Scripted(fails))).await;
        while herd.exit().await.1.state != ChildState::Failed {}
        let exits = soon(herd.handle.addr.send(GetExits { id: "c".into() })).await.unwrap().unwrap();
        assert_eq!(exits.len(), EXITS_KEPT);
        assert_eq!((exits[0].generation, exits[EXITS_KEPT - 1].generation), (12, 61));
    });
}

#[test]
fn a_child_that_spends_its_restarts_ends_the_process_when_the_rule_says_so() {
    on_system(async {
        let mut herd = Herd::new(Escalation::Exit);
        herd.start(ChildSpec::new("c", ChildKind::Consumer, quick(0), || Scripted(fails))).await;
        let verdict = soon(herd.handle.verdict.wait_for(Option::is_some)).await.unwrap().clone();
        let cause = "error: the broker is away".to_owned();
        assert_eq!(verdict, Some(Verdict::Escalated { child: "c".into(), cause }));
    });
}

#[test]
fn a_panic_of_the_supervisor_itself_ends_the_process() {
    on_system(async {
        let mut herd = Herd::new(Escalation::KeepOthers);
        let work = |_| async { Err(ExitError::error("kill the supervisor")) };
        herd.start(child("c", ChildKind::Consumer, work)).await;
        let verdict = soon(herd.handle.verdict.wait_for(Option::is_some)).await.unwrap().clone();
        assert!(matches!(verdict, Some(Verdict::SupervisorEnded(_))), "{verdict:?}");
    });
}

#[test]
fn stopping_a_child_that_backs_off_cancels_its_next_start() {
    on_system(async {
        let mut herd = Herd::new(Escalation::KeepOthers);
        let mut policy = quick(3);
        policy.backoff.min = Duration::from_secs(600);
        policy.backoff.max = Duration::from_secs(600);
        herd.start(ChildSpec::new("c", ChildKind::Consumer, policy, || Scripted(fails))).await;
        assert_eq!(herd.exit().await.1.state, ChildState::BackingOff);
        let stop = StopChild { id: "c".into(), deadline: far() };
        assert_eq!(soon(herd.handle.addr.send(stop)).await.unwrap(), Ok(true));
        let status = herd.until_state("c", ChildState::Stopped).await;
        assert_eq!(status.next_start_ms, None);
    });
}

#[test]
fn orders_that_cannot_be_followed_are_refused_by_name() {
    on_system(async {
        let herd = Herd::new(Escalation::KeepOthers);
        let addr = &herd.handle.addr;
        herd.start(child("c", ChildKind::Consumer, obedient)).await;
        let id = || "c".to_owned();
        let twice = soon(addr.send(StartChild(child("c", ChildKind::Consumer, obedient)))).await.unwrap();
        assert_eq!(twice, Err(SupervisorError::DuplicateChild { id: id() }));
        let unknown = soon(addr.send(StopChild { id: "x".into(), deadline: far() })).await.unwrap();
        assert_eq!(unknown, Err(SupervisorError::UnknownChild { id: "x".into() }));
        assert_eq!(soon(addr.send(ShutDown { deadline: far() })).await.unwrap(), ShutdownReport::default());
        let late = soon(addr.send(RestartChild { id: id(), deadline: far() })).await.unwrap();
        assert_eq!(late, Err(SupervisorError::ShuttingDown { id: id() }));
        let late = soon(addr.send(StartChild(child("d", ChildKind::Consumer, obedient)))).await.unwrap();
        assert_eq!(late, Err(SupervisorError::ShuttingDown { id: "d".into() }));
    });
}

#[test]
fn a_shutdown_stops_kinds_in_order_lets_them_drain_and_names_what_failed_to() {
    on_system(async {
        let mut herd = Herd::new(Escalation::KeepOthers);
        let (drained, mut order) = mpsc::unbounded_channel();
        // Children are started in another order than they stop.
        let kinds = [ChildKind::Metrics, ChildKind::DeadLetter, ChildKind::DbWriter, ChildKind::Consumer];
        let (open, opened) = gate();
        for kind in kinds {
            let (drained, opened) = (drained.clone(), opened.clone());
            let work = move |control: Control| {
                let (drained, opened) = (drained.clone(), opened.clone());
                async move {
                    control.set_state(ChildState::Running);
                    control.drain_requested().await;
                    drained.send(control.id().to_owned()).unwrap();
                    if kind == ChildKind::Consumer {
                        opened().await;
                    }
                    if kind == ChildKind::DeadLetter {
                        return Err(ExitError::error("the broker is away"));
                    }
                    Ok(())
                }
            };
            herd.start(child(kind.as_str(), kind, work)).await;
        }
        for kind in kinds {
            herd.until_state(kind.as_str(), ChildState::Running).await;
        }
        let shutdown = herd.handle.addr.send(ShutDown { deadline: far() });
        let checks = async {
            assert_eq!(order.recv().await.unwrap(), "consumer");
            // What the consumer has in flight still needs its writer.
            let now = herd.handle.addr.send(GetStatus).await.unwrap();
            let states: Vec<_> = now.iter().map(|child| child.state).collect();
            assert_eq!(states, [ChildState::Running, ChildState::Running, ChildState::Running, ChildState::Draining]);
            open.send_replace(true);
        };
        let (report, ()) = soon(async { tokio::join!(shutdown, checks) }).await;
        assert_eq!(report.unwrap().unfinished, ["dead_letter"]);
        let mut ended = Vec::new();
        for _ in kinds {
            let (_, status) = herd.exit().await;
            assert_eq!(status.state, ChildState::Stopped);
            ended.push(status.id);
        }
        assert_eq!(ended, ["consumer", "db_writer", "dead_letter", "metrics"]);
    });
}

#[test]
fn a_shutdown_aborts_and_names_what_overruns_and_does_not_wait_for_a_blocked_thread() {
    let (release, blocked) = std::sync::mpsc::channel::<()>();
    let blocked = std::sync::Arc::new(std::sync::Mutex::new(blocked));
    let report = on_system(async move {
        let mut herd = Herd::new(Escalation::KeepOthers);
        herd.start(child("quick", ChildKind::Consumer, obedient)).await;
        let endless = |control: Control| async move {
            control.set_state(ChildState::Running);
            pending().await
        };
        herd.start(child("endless", ChildKind::Consumer, endless)).await;
        let blocking = move |control: Control| {
            let blocked = std::sync::Arc::clone(&blocked);
            async move {
                control.set_state(ChildState::Running);
                // Until the test is over: the sender is dropped then.
                let _ = blocked.lock().unwrap().recv();
                Ok(())
            }
        };
        herd.start(child("blocking", ChildKind::DbWriter, blocking)).await;
        for id in ["quick", "endless", "blocking"] {
            herd.until_state(id, ChildState::Running).await;
        }
        let deadline = Instant::now() + Duration::from_secs(1);
        let report = soon(herd.handle.addr.send(ShutDown { deadline })).await.unwrap();
        let (exit, _) = herd.exit().await;
        assert_eq!(exit.message, "stopped by order");
        let (exit, status) = herd.exit().await;
        assert_eq!((status.id.as_str(), exit.reason), ("endless", ExitReason::Requested));
        assert!(exit.message.starts_with("aborted"), "{}", exit.message);
        // Answered although the blocked one still lives.
        assert_eq!(herd.until("blocking", |_| true).await.state, ChildState::Draining);
        drop(release);
        report
    });
    assert_eq!(report.unfinished, ["endless", "blocking"]);
}

#[test]
fn a_child_that_is_removed_drains_and_leaves_the_table_and_its_id_can_be_taken_again() {
    on_system(async {
        let mut herd = Herd::new(Escalation::KeepOthers);
        let (open, opened) = gate();
        let work = move |control: Control| {
            let opened = opened.clone();
            async move {
                obedient(control).await?;
                opened().await;
                Ok(())
            }
        };
        herd.start(child("stays", ChildKind::Consumer, obedient)).await;
        herd.start(child("goes", ChildKind::Consumer, work)).await;
        herd.until_state("goes", ChildState::Running).await;
        let removed = herd.handle.addr.send(RemoveChild { id: "goes".into(), deadline: far() });
        let removed = actix::spawn(removed);
        herd.until_state("goes", ChildState::Draining).await;
        let restart = RestartChild { id: "goes".into(), deadline: far() };
        let refused = soon(herd.handle.addr.send(restart)).await.unwrap();
        assert_eq!(refused, Err(SupervisorError::Leaving { id: "goes".into() }));
        open.send_replace(true);
        assert_eq!(soon(removed).await.unwrap().unwrap(), Ok(true));
        let left: Vec<String> = herd.handle.children.borrow().iter().map(|child| child.id.clone()).collect();
        assert_eq!(left, ["stays"], "whoever is told that it is gone finds it gone");
        assert_eq!(herd.exit().await.1.state, ChildState::Stopped);
        let asked = soon(herd.handle.addr.send(GetExits { id: "goes".into() })).await.unwrap();
        assert_eq!(asked, Err(SupervisorError::UnknownChild { id: "goes".into() }), "its ends went with it");
        herd.start(child("goes", ChildKind::Consumer, obedient)).await;
        assert_eq!(herd.until_state("goes", ChildState::Running).await.generation, 1);
    });
}

#[test]
fn a_failed_child_is_removed_at_once_and_one_that_does_not_drain_at_its_deadline() {
    on_system(async {
        let mut herd = Herd::new(Escalation::KeepOthers);
        herd.start(ChildSpec::new("failed", ChildKind::Consumer, quick(0), || Scripted(fails))).await;
        assert_eq!(herd.exit().await.1.state, ChildState::Failed);
        herd.start(child("deaf", ChildKind::Consumer, |_| pending())).await;
        let soon_due = Instant::now() + Duration::from_millis(30);
        for (id, finished) in [("failed", true), ("deaf", false)] {
            let remove = RemoveChild { id: id.into(), deadline: soon_due };
            assert_eq!(soon(herd.handle.addr.send(remove)).await.unwrap(), Ok(finished), "{id}");
        }
        assert!(herd.handle.children.borrow().is_empty());
    });
}
