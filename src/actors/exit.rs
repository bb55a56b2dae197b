//! Why a child ended, and the guard that says so exactly once.
//!
//! The guard lives in the future that watches the child. Whatever ends that future, its `Drop` reports: an actor that
//! panics, a task that is aborted and a runtime that is torn down all give one exit, none gives two. Never fails.

use std::sync::{Arc, Mutex, PoisonError};

use crate::domain::status::ExitReason;

/// One end of a child as its guard reports it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Exit {
    /// Why.
    pub reason: ExitReason,
    /// The error or panic message, for people.
    pub message: String,
    /// Source location of a panic, `file:line`.
    pub location: Option<String>,
}

impl Exit {
    /// An end that is no panic.
    #[must_use]
    pub fn new(reason: ExitReason, message: impl Into<String>) -> Self {
        Self { reason, message: message.into(), location: None }
    }
}

/// What the work of a child returns when it cannot go on. Its reason decides whether the child is started again:
/// [`ExitReason::Fenced`] never is.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct ExitError {
    /// [`ExitReason::Error`], [`ExitReason::Fenced`] or [`ExitReason::Stalled`].
    pub reason: ExitReason,
    /// What failed, with which value, and what to do.
    pub message: String,
}

impl ExitError {
    /// An error that a restart may cure.
    #[must_use]
    pub fn error(message: impl Into<String>) -> Self {
        Self { reason: ExitReason::Error, message: message.into() }
    }

    /// Another member took this one's place: starting again would only drive that one out.
    #[must_use]
    pub fn fenced(message: impl Into<String>) -> Self {
        Self { reason: ExitReason::Fenced, message: message.into() }
    }

    /// The child found by itself that it makes no progress.
    #[must_use]
    pub fn stalled(message: impl Into<String>) -> Self {
        Self { reason: ExitReason::Stalled, message: message.into() }
    }
}

impl From<anyhow::Error> for ExitError {
    /// The whole chain of causes in one line.
    fn from(error: anyhow::Error) -> Self {
        Self::error(format!("{error:#}"))
    }
}

/// The place where a child's cause of death is written down; clones share it. The first cause stands.
#[derive(Debug, Clone, Default)]
pub struct ExitCause(Arc<Mutex<Option<Exit>>>);

impl ExitCause {
    /// Writes a cause down. When one is there already it stands, and a panic that came after it is added to its message.
    pub fn set(&self, exit: Exit) {
        let mut cause = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match cause.as_mut() {
            None => *cause = Some(exit),
            Some(first) if exit.reason == ExitReason::Panicked => {
                let at = exit.location.as_deref().unwrap_or("an unknown place");
                first.message = format!("{}; while it ended it panicked at {at}: {}", first.message, exit.message);
                first.location = first.location.take().or(exit.location);
            }
            Some(_) => {}
        }
    }

    /// Adds a remark to the cause, if there is one.
    pub fn remark(&self, remark: &str) {
        if let Some(exit) = self.0.lock().unwrap_or_else(PoisonError::into_inner).as_mut() {
            exit.message = format!("{}; {remark}", exit.message);
        }
    }

    fn take(&self) -> Option<Exit> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

/// Reports the cause of a child's end when it is dropped: once, and always.
pub struct ExitGuard {
    cause: ExitCause,
    report: Option<Box<dyn FnOnce(Exit)>>,
}

impl ExitGuard {
    /// A guard that reads `cause` when it is dropped and passes it to `report`.
    pub fn new(cause: ExitCause, report: impl FnOnce(Exit) + 'static) -> Self {
        Self { cause, report: Some(Box::new(report)) }
    }
}

impl Drop for ExitGuard {
    fn drop(&mut self) {
        let exit = self.cause.take().unwrap_or_else(|| {
            Exit::new(ExitReason::Error, "ended without giving a cause: the thread of its actor was stopped")
        });
        if let Some(report) = self.report.take() {
            report(exit);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::RefCell;
    use std::rc::Rc;

    fn reported(cause: &ExitCause) -> Vec<Exit> {
        let seen = Rc::new(RefCell::new(Vec::new()));
        let sink = Rc::clone(&seen);
        drop(ExitGuard::new(cause.clone(), move |exit| sink.borrow_mut().push(exit)));
        seen.take()
    }

    #[test]
    fn the_first_cause_stands_and_is_reported_once() {
        let cause = ExitCause::default();
        cause.set(Exit::new(ExitReason::Stalled, "no progress for 30 s"));
        cause.set(Exit::new(ExitReason::Requested, "aborted"));
        assert_eq!(reported(&cause), [Exit::new(ExitReason::Stalled, "no progress for 30 s")]);
    }

    #[test]
    fn a_panic_while_ending_is_added_to_the_cause() {
        let cause = ExitCause::default();
        cause.set(Exit::new(ExitReason::Requested, "aborted"));
        cause.set(Exit { reason: ExitReason::Panicked, message: "boom".into(), location: Some("a.rs:1".into()) });
        let exits = reported(&cause);
        assert_eq!(exits[0].reason, ExitReason::Requested);
        assert_eq!(exits[0].message, "aborted; while it ended it panicked at a.rs:1: boom");
        assert_eq!(exits[0].location.as_deref(), Some("a.rs:1"));
    }

    #[test]
    fn a_guard_without_a_cause_reports_an_error() {
        assert_eq!(reported(&ExitCause::default())[0].reason, ExitReason::Error);
    }

    #[test]
    fn an_error_chain_becomes_one_line() {
        let error = anyhow::anyhow!("connection refused").context("cannot reach the store");
        assert_eq!(ExitError::from(error), ExitError::error("cannot reach the store: connection refused"));
    }
}
