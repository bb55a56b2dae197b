//! More or fewer consumers and writers while running.
//!
//! One such order at a time. Children are added one after the other and taken away all at once, the newest first; each that
//! goes finishes what it has in flight, at most `shutdown.grace` long, and a consumer gives its places in the group and among the
//! replicas up. Writers
//! come before the consumers that need them and go after those that do not need them any more. What could not be finished
//! in time is not lost: its position has not moved, so it is read again.

use super::operator::{AppOperator, gone, refused};
use crate::actors::child::ChildSpec;
use crate::actors::supervisor::{GetStatus, RemoveChild, StartChild};
use crate::config::MOST_CONSUMERS;
use crate::domain::command::{CommandError, Done, next_free};
use crate::domain::status::ChildKind;
use futures::future::join_all;
use std::time::Duration;
use tokio::time::Instant;

/// How long the rest of the process may take to see who came and went; it looks at every change.
const SEEN_TIMEOUT: Duration = Duration::from_secs(5);

impl AppOperator {
    pub(super) async fn scale(&self, consumers: Option<usize>, writers: Option<usize>) -> Result<Done, CommandError> {
        self.check(consumers, writers)?;
        let Ok(_only) = self.scaling.try_lock() else {
            let detail = "another order to scale is being carried out; try again when it is done";
            return Err(CommandError::NotNow(detail.into()));
        };
        let mut said = Vec::new();
        let (have_consumers, have_writers) =
            (self.ids(ChildKind::Consumer).await?, self.ids(ChildKind::DbWriter).await?);
        if let Some(want) = writers.filter(|&want| want > have_writers.len()) {
            said.push(self.add_writers(have_writers.clone(), want).await?);
        }
        if let Some(want) = consumers {
            // Before anybody is built.
            self.fleet.share_among(want);
            said.push(match want > have_consumers.len() {
                true => self.add_consumers(have_consumers, want).await?,
                false => self.remove_consumers(have_consumers, want).await?,
            });
        }
        if let Some(want) = writers.filter(|&want| want <= have_writers.len()) {
            said.push(self.remove_writers(have_writers, want).await?);
        }
        self.seen().await;
        Ok(Done::new(said.join("; ")))
    }

    fn check(&self, consumers: Option<usize>, writers: Option<usize>) -> Result<(), CommandError> {
        if consumers.is_none() && writers.is_none() {
            return Err(CommandError::Invalid("say how many consumers, how many writers, or both".into()));
        }
        if let Some(consumers) = consumers.filter(|consumers| !(1..=MOST_CONSUMERS).contains(consumers)) {
            return Err(CommandError::Invalid(format!(
                "{consumers} consumers, and not 1 to {MOST_CONSUMERS}: each has a client with threads of its own; to read \
                 nothing pause them, for more start another process of the group"
            )));
        }
        let (most, why) = self.fleet.most_writers();
        if let Some(writers) = writers.filter(|writers| !(1..=most).contains(writers)) {
            return Err(CommandError::Invalid(format!("{writers} writers, and not 1 to {most}: {why}")));
        }
        Ok(())
    }

    async fn ids(&self, kind: ChildKind) -> Result<Vec<String>, CommandError> {
        let children = self.supervisor.send(GetStatus).await.map_err(gone)?;
        Ok(children.iter().filter(|child| child.kind == kind).map(|child| child.id.clone()).collect())
    }

    async fn add_consumers(&self, ids: Vec<String>, want: usize) -> Result<String, CommandError> {
        self.add("consumer", ids, want, |id| self.fleet.consumer(id)).await
    }

    async fn add_writers(&self, ids: Vec<String>, want: usize) -> Result<String, CommandError> {
        let said = self.add("writer", ids, want, |id| self.fleet.writer(id)).await?;
        self.fleet.pool().resize(want);
        Ok(said)
    }

    async fn add(
        &self,
        name: &str,
        mut ids: Vec<String>,
        want: usize,
        build: impl Fn(&str) -> ChildSpec,
    ) -> Result<String, CommandError> {
        let before = ids.len();
        while ids.len() < want {
            let id = next_free(name, &ids);
            let spec = build(&id);
            self.supervisor.send(StartChild(spec)).await.map_err(gone)?.map_err(refused)?;
            ids.push(id);
        }
        Ok(format!("{name}s: from {before} to {want}, with {}", ids[before..].join(", ")))
    }

    async fn remove_consumers(&self, mut ids: Vec<String>, want: usize) -> Result<String, CommandError> {
        let before = ids.len();
        let removed = ids.split_off(want);
        for id in &removed {
            self.fleet.leave_for_good(id);
        }
        let children = self.supervisor.send(GetStatus).await.map_err(gone)?;
        let stay = children.iter().filter(|child| removed.contains(&child.id) && self.fleet.cannot_leave(child.state));
        let stay: Vec<String> = stay.map(|child| child.id.clone()).collect();
        let late = self.remove(&removed).await?;
        for id in &removed {
            self.forget_pause(id).await;
            if let Some(place) = self.fleet.place(id) {
                place.give_back().await;
            }
        }
        let mut said = told("consumer", before, want, &removed, &late);
        if !stay.is_empty() {
            let ids = stay.join(", ");
            let keeps = still_member(&ids);
            tracing::warn!(consumers = %ids, "{keeps}");
            said.push_str(&format!(" ({keeps})"));
        }
        Ok(said)
    }

    async fn remove_writers(&self, mut ids: Vec<String>, want: usize) -> Result<String, CommandError> {
        let before = ids.len();
        let removed = ids.split_off(want);
        // First, so that no batch is sent that nobody is there for.
        self.fleet.pool().resize(want);
        let late = self.remove(&removed).await?;
        Ok(told("writer", before, want, &removed, &late))
    }

    /// Takes children away; gives back those that did not finish.
    async fn remove(&self, ids: &[String]) -> Result<Vec<String>, CommandError> {
        let deadline = Instant::now() + self.grace;
        let orders = ids.iter().map(|id| self.supervisor.send(RemoveChild { id: id.clone(), deadline }));
        let mut late = Vec::new();
        for (id, answer) in ids.iter().zip(join_all(orders).await) {
            if !answer.map_err(gone)?.map_err(refused)? {
                late.push(id.clone());
            }
        }
        Ok(late)
    }

    /// Waits until the board, which everybody reads, shows what the supervisor has.
    async fn seen(&self) {
        let Ok(children) = self.supervisor.send(GetStatus).await else { return };
        let ids: Vec<&str> = children.iter().map(|child| child.id.as_str()).collect();
        let mut shown = self.board.subscribe();
        let same = shown.wait_for(|shown| shown.iter().map(|child| child.id.as_str()).eq(ids.iter().copied()));
        // Whoever looks a moment later sees it then.
        let _ = tokio::time::timeout(SEEN_TIMEOUT, same).await;
    }
}

fn told(name: &str, before: usize, want: usize, removed: &[String], late: &[String]) -> String {
    if removed.is_empty() {
        return format!("{name}s: {want}, as before");
    }
    let mut said = format!("{name}s: from {before} to {want}, without {}", removed.join(", "));
    if !late.is_empty() {
        let late = late.join(", ");
        said.push_str(&format!(" ({late} did not finish within shutdown.grace; what it had in hand is read again)"));
    }
    said
}

/// What is said of consumers that had ended before they were taken away.
fn still_member(ids: &str) -> String {
    format!(
        "{ids} was not running, so its static member did not leave the group: until kafka.session_timeout after its end nobody \
         reads the partitions that it had"
    )
}
