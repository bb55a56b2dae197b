//! What the supervisor does when a child starts, changes state or ends: every transition of the table is here, logged
//! once and published once. The decisions are [`crate::domain::restart`]'s.

use std::sync::Arc;
use std::time::Duration;

use actix::prelude::*;
use tokio::sync::oneshot;
use tokio::time::Instant;

use super::child::{Child, Order};
use super::exit::Exit;
use super::supervisor::{ChildExited, ChildStateChanged, SupervisorActor, now_ms};
use crate::domain::restart::RestartDecision;
use crate::domain::status::{ChildState, ExitReason, ExitRecord};

/// What comes after an end.
enum Next {
    /// By order or because there is nothing left to do.
    Stopped,
    /// By order, and out of the table.
    Removed,
    /// Never again without an operator; the flag: the escalation rule applies.
    Failed { escalate: bool },
    /// Again, after this time.
    BackingOff(Duration),
    /// Again at once: an operator said so.
    Restart,
}

impl SupervisorActor {
    /// Builds and starts the next generation of a child that does not live.
    pub(super) fn start(&mut self, id: &str, ctx: &mut Context<Self>) {
        let Some(child) = self.child(id) else { return };
        if let Some(timer) = child.timer.take() {
            ctx.cancel_future(timer);
        }
        child.status.generation += 1;
        child.status.next_start_ms = None;
        let again = child.status.generation > 1;
        if again {
            child.status.restarts += 1;
        }
        let (generation, id) = (child.status.generation, Arc::<str>::from(id));
        let (news, state_id) = (ctx.address(), Arc::clone(&id));
        // Lifecycle news ignores the mailbox bound: a child gives one exit per generation, and of states only the newest.
        let on_state = move |state| news.do_send(ChildStateChanged { id: Arc::clone(&state_id), generation, state });
        let (news, exit_id) = (ctx.address(), Arc::clone(&id));
        let on_exit = move |exit| news.do_send(ChildExited { id: exit_id, generation, exit });
        enter(child, ChildState::Starting);
        child.launch(on_state, on_exit);
        tracing::info!(child = %id, kind = child.status.kind.as_str(), generation, "child starting");
        if again {
            let status = child.status.clone();
            self.observer().on_restart(&status);
        }
        self.publish();
    }

    /// A child said what it does now.
    pub(super) fn state_given(&mut self, id: &str, generation: u64, state: ChildState) {
        let now = self.now();
        let Some(child) = self.living(id, generation) else { return };
        if child.order.is_some() || child.status.state == state {
            // A draining child may still rebalance; to others it is draining.
            return;
        }
        if state == ChildState::Running {
            child.ran_at.get_or_insert(now);
        }
        enter(child, state);
        tracing::info!(
            child = id,
            kind = child.status.kind.as_str(),
            generation,
            state = state.as_str(),
            "child changed state"
        );
        self.publish();
    }

    /// Orders a living child to drain and aborts it at the deadline.
    pub(super) fn drain(&mut self, id: &str, order: Order, deadline: Instant, ctx: &mut Context<Self>) {
        let Some(child) = self.child(id) else { return };
        if let Some(timer) = child.timer.take() {
            ctx.cancel_future(timer);
        }
        let generation = child.status.generation;
        child.drain(order, deadline);
        let overdue = id.to_owned();
        child.timer = Some(ctx.run_later(deadline.saturating_duration_since(Instant::now()), move |actor, ctx| {
            if let Some(child) = actor.living(&overdue, generation) {
                child.timer = None;
                child.overrun();
                actor.advance_shutdown(ctx);
            }
        }));
        enter(child, ChildState::Draining);
        tracing::info!(child = id, kind = child.status.kind.as_str(), generation, "child draining");
        self.publish();
    }

    /// Stops a child, whatever it does: drains it when it lives, cancels its next start when it does not.
    pub(super) fn stop(&mut self, id: &str, deadline: Instant, ctx: &mut Context<Self>) {
        let Some(child) = self.child(id) else { return };
        if child.is_alive() {
            return self.drain(id, Order::Stop, deadline, ctx);
        }
        if let Some(timer) = child.timer.take() {
            ctx.cancel_future(timer);
        }
        child.status.next_start_ms = None;
        if child.status.state != ChildState::Stopped {
            enter(child, ChildState::Stopped);
            tracing::info!(
                child = id,
                kind = child.status.kind.as_str(),
                generation = child.status.generation,
                "child stopped"
            );
        }
        let waiting = std::mem::take(&mut child.waiting);
        self.publish();
        answer(waiting, true);
    }

    /// Stops a child, whatever it does, and forgets it when it has ended.
    pub(super) fn remove(&mut self, id: &str, deadline: Instant, ctx: &mut Context<Self>) {
        let Some(child) = self.child(id) else { return };
        if child.is_alive() {
            return self.drain(id, Order::Remove, deadline, ctx);
        }
        let waiting = std::mem::take(&mut child.waiting);
        self.stop(id, deadline, ctx);
        self.forget(id);
        self.publish();
        answer(waiting, true);
    }

    fn forget(&mut self, id: &str) {
        self.children.retain(|child| child.spec.id() != id);
        tracing::info!(child = id, "child removed");
    }

    /// A child's guard reported its end.
    pub(super) fn exited(&mut self, id: &str, generation: u64, exit: Exit, ctx: &mut Context<Self>) {
        let now = self.now();
        let Some(child) = self.living(id, generation) else {
            tracing::debug!(child = id, generation, error = exit.message, "late exit of an old generation ignored");
            return;
        };
        if let Some(timer) = child.timer.take() {
            ctx.cancel_future(timer);
        }
        let next = match (child.order, exit.reason) {
            (Some(Order::Stop), _) | (None, ExitReason::Finished | ExitReason::Requested) => Next::Stopped,
            (Some(Order::Remove), _) => Next::Removed,
            (Some(Order::Restart), _) => Next::Restart,
            (None, ExitReason::Fenced) => Next::Failed { escalate: false },
            (None, ExitReason::Error | ExitReason::Panicked | ExitReason::Stalled) => {
                let stable_for = child.ran_at.map_or(Duration::ZERO, |ran_at| now.saturating_sub(ran_at));
                match child.budget.on_failure(now, stable_for, rand::random()) {
                    RestartDecision::RestartAfter(delay) => Next::BackingOff(delay),
                    RestartDecision::GiveUp => Next::Failed { escalate: true },
                }
            }
        };
        let record = child.record(exit, now_ms());
        self.follow(id, &record, &next, ctx);
        self.advance_shutdown(ctx);
    }

    /// Carries out what comes after an end.
    fn follow(&mut self, id: &str, exit: &ExitRecord, next: &Next, ctx: &mut Context<Self>) {
        let now = self.now();
        let Some(child) = self.child(id) else { return };
        match next {
            Next::Stopped | Next::Removed => enter(child, ChildState::Stopped),
            Next::Failed { .. } => enter(child, ChildState::Failed),
            Next::Restart => {
                enter(child, ChildState::Starting);
                child.budget.refill();
            }
            Next::BackingOff(delay) => {
                enter(child, ChildState::BackingOff);
                let delay_ms = i64::try_from(delay.as_millis()).unwrap_or(i64::MAX);
                child.status.next_start_ms = Some(child.status.since_ms.saturating_add(delay_ms));
                let due = id.to_owned();
                child.timer = Some(ctx.run_later(*delay, move |actor, ctx| actor.start(&due, ctx)));
                // The restart leaves the window of the budget later, without any other transition to publish it.
                ctx.run_later(child.budget.policy().period, |actor, _| {
                    actor.publish();
                });
            }
        }
        log_end(child, exit, next);
        child.status.budget_left = child.budget.budget_left(now);
        let (status, finished) = (child.status.clone(), !child.unfinished);
        let ended = matches!(next, Next::Stopped | Next::Removed);
        let waiting = if ended { std::mem::take(&mut child.waiting) } else { Vec::new() };
        if matches!(next, Next::Removed) {
            self.forget(id);
        }
        self.publish();
        answer(waiting, finished);
        self.observer().on_exit(exit, &status);
        match next {
            Next::Failed { escalate: true } => self.escalate(id, exit),
            Next::Restart => self.start(id, ctx),
            Next::Stopped | Next::Removed | Next::BackingOff(_) | Next::Failed { escalate: false } => {}
        }
    }
}

/// Puts a child into a state.
pub(super) fn enter(child: &mut Child, state: ChildState) {
    child.status.state = state;
    child.status.since_ms = now_ms();
}

/// Tells whoever waits for a child to stop whether it finished what was in flight.
fn answer(waiting: Vec<oneshot::Sender<bool>>, finished: bool) {
    for waiting in waiting {
        // Whoever asked may have stopped waiting.
        let _ = waiting.send(finished);
    }
}

fn log_end(child: &Child, exit: &ExitRecord, next: &Next) {
    let (id, kind) = (child.spec.id(), child.status.kind.as_str());
    let (generation, cause, error) = (exit.generation, exit.reason.as_str(), exit.message.as_str());
    let location = exit.location.as_deref();
    match next {
        Next::Stopped | Next::Removed => {
            tracing::info!(child = id, kind, generation, cause, error, location, "child stopped")
        }
        Next::Restart => {
            tracing::info!(
                child = id,
                kind,
                generation,
                cause,
                error,
                location,
                "child ended to be restarted by order"
            );
        }
        Next::BackingOff(delay) => {
            let delay_ms = u64::try_from(delay.as_millis()).unwrap_or(u64::MAX);
            tracing::warn!(child = id, kind, generation, cause, error, location, delay_ms, "child backing off");
        }
        Next::Failed { .. } => {
            tracing::error!(
                child = id,
                kind,
                generation,
                cause,
                error,
                location,
                "child failed; it starts again only by order"
            );
        }
    }
}
