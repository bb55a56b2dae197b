//! Carries out the orders of operators and writes each to the audit log.
//!
//! An order runs as a task of its own: whoever asked for it may go away, it is carried out and logged all the same. Nothing
//! queues here: of more than [`ORDERS_AT_ONCE`] the last is refused, and only that one is not in the table. A log entry that
//! the store does not take is counted and goes, whole, into the process's own log.

use super::children::Fleet;
use crate::actors::holds::Holds;
use crate::actors::supervisor::{GetExits, RestartChild, SupervisorActor, SupervisorError};
use crate::board::Board;
use crate::domain::command::{Command, CommandError, Done};
use crate::domain::status::ExitRecord;
use crate::http::Operator;
use crate::metrics::Metrics;
use crate::store::Store;
use crate::store::audit_log::{AuditEntry, LoggedEntry};
use actix::{Addr, MailboxError};
use futures::FutureExt as _;
use futures::future::BoxFuture;
use serde_json::json;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Mutex, Semaphore};
use tokio::time::Instant;

/// How long the store may take to write an entry of the audit log down, or to show the log.
const LOG_TIMEOUT: Duration = Duration::from_secs(5);

/// Orders that are carried out at once, also of senders that went away: many operators' worth, and few enough that nobody
/// fills the memory with them. Each ends by itself, after `shutdown.grace` and some seconds at the latest.
const ORDERS_AT_ONCE: usize = 32;
/// Entries about sent events and logins that are being written. Of more the process's own log has all that there is.
const NOTES_AT_ONCE: usize = 16;

/// See the module. Clones share everything.
#[derive(Clone)]
pub struct AppOperator {
    pub(super) supervisor: Addr<SupervisorActor>,
    pub(super) fleet: Arc<Fleet>,
    pub(super) store: Arc<dyn Store>,
    pub(super) holds: Arc<Holds>,
    pub(super) board: Arc<Board>,
    metrics: Metrics,
    /// How long a child may take to finish what it has in flight.
    pub(super) grace: Duration,
    /// As many as may be carried out at once.
    places: Arc<Semaphore>,
    /// Of entries about what others carried out; they share the store's few connections with heartbeats and holds.
    notes: Arc<Semaphore>,
    /// Held while the number of children changes.
    pub(super) scaling: Arc<Mutex<()>>,
    /// Where orders run: the caller's own runtime may end with its connection.
    runtime: tokio::runtime::Handle,
}

impl AppOperator {
    /// The operator of this fleet. To be called on the runtime that carries out the orders.
    pub fn new(supervisor: Addr<SupervisorActor>, fleet: Arc<Fleet>, grace: Duration) -> Self {
        let (store, holds) = (Arc::clone(&fleet.store), Arc::clone(&fleet.holds));
        let (board, metrics) = (Arc::clone(&fleet.board), fleet.metrics.clone());
        let (scaling, runtime) = (Arc::default(), tokio::runtime::Handle::current());
        let [places, notes] = [ORDERS_AT_ONCE, NOTES_AT_ONCE].map(|most| Arc::new(Semaphore::new(most)));
        Self { supervisor, fleet, store, holds, board, metrics, grace, places, notes, scaling, runtime }
    }

    async fn carry_out(&self, actor: &str, command: &Command) -> Result<Done, CommandError> {
        match command {
            Command::Hold { scope, kind, reason, lasts } => {
                self.hold(actor, scope, *kind, reason.as_deref(), *lasts).await
            }
            Command::Release { scope, kind } => self.release(scope, *kind).await,
            Command::Restart { child } => self.restart(child).await,
            Command::Scale { consumers, writers } => self.scale(*consumers, *writers).await,
        }
    }

    async fn restart(&self, child: &str) -> Result<Done, CommandError> {
        let deadline = Instant::now() + self.grace;
        let order = RestartChild { id: child.to_owned(), deadline };
        self.supervisor.send(order).await.map_err(gone)?.map_err(refused)?;
        Ok(Done::new(format!("{child} drains if it runs, and starts again")))
    }

    /// Writes down what was ordered and what became of it.
    async fn log(&self, actor: String, command: &Command, result: &Result<Done, CommandError>) {
        let (outcome, message) = match result {
            Ok(done) => ("ok", done.message.clone()),
            Err(error) => (error.outcome(), error.to_string()),
        };
        self.metrics.commands.with_label_values(&[command.action(), outcome]).inc();
        let entry = AuditEntry {
            actor,
            action: command.action().to_owned(),
            target: command.target(),
            outcome: outcome.to_owned(),
            detail: Some(json!({ "message": message })),
        };
        tracing::info!(
            actor = %entry.actor, action = %entry.action, target = %entry.target, outcome = %entry.outcome, message,
            "an operator's order"
        );
        self.append(entry).await;
    }

    /// Puts an entry into the table and shows it to those who look.
    async fn append(&self, entry: AuditEntry) {
        let id = self.append_to_store(&entry).await;
        self.fleet.feed.ordered(LoggedEntry { id, at_ms: chrono::Utc::now().timestamp_millis(), entry });
    }

    /// The id of the entry, which is 0 when the store did not take it.
    async fn append_to_store(&self, entry: &AuditEntry) -> i64 {
        let failure = match tokio::time::timeout(LOG_TIMEOUT, self.store.append_audit(entry)).await {
            Ok(Ok(id)) => return id,
            Ok(Err(error)) => error.to_string(),
            Err(_) => format!("no answer within {LOG_TIMEOUT:?}"),
        };
        self.metrics.audit_log_failures.inc();
        let message = entry.detail.as_ref().and_then(|detail| detail["message"].as_str()).unwrap_or_default();
        tracing::error!(
            actor = %entry.actor, action = %entry.action, target = %entry.target, outcome = %entry.outcome, message,
            error = %failure, "an operator's order is not in the table audit_log; this line is all that there is of it"
        );
        0
    }
}

impl Operator for AppOperator {
    fn execute(&self, actor: String, command: Command) -> BoxFuture<'static, Result<Done, CommandError>> {
        let Ok(place) = Arc::clone(&self.places).try_acquire_owned() else {
            self.metrics.commands.with_label_values(&[command.action(), "refused"]).inc();
            tracing::warn!(%actor, action = command.action(), target = %command.target(), "an order was refused: {ORDERS_AT_ONCE} are being carried out");
            let detail = format!("{ORDERS_AT_ONCE} orders are being carried out; try again when one is done");
            return async { Err(CommandError::NotNow(detail)) }.boxed();
        };
        let operator = self.clone();
        let task = self.runtime.spawn(async move {
            let _place = place;
            let result = operator.carry_out(&actor, &command).await;
            operator.log(actor, &command, &result).await;
            result
        });
        async move {
            task.await.unwrap_or_else(|error| Err(CommandError::Internal(format!("an order ended early: {error}"))))
        }
        .boxed()
    }

    fn note(&self, entry: AuditEntry) -> BoxFuture<'static, ()> {
        tracing::info!(
            actor = %entry.actor, action = %entry.action, target = %entry.target, outcome = %entry.outcome, "noted"
        );
        let Ok(place) = Arc::clone(&self.notes).try_acquire_owned() else {
            self.metrics.audit_log_failures.inc();
            tracing::error!(actor = %entry.actor, action = %entry.action, target = %entry.target, outcome = %entry.outcome,
                "{NOTES_AT_ONCE} entries of the audit log are being written; this line is all that there is of one more");
            return async {}.boxed();
        };
        let operator = self.clone();
        let task = self.runtime.spawn(async move {
            let _place = place;
            operator.append(entry).await;
        });
        // A failure was counted and told where it happened.
        async move { drop(task.await) }.boxed()
    }

    fn exits(&self, child: String) -> BoxFuture<'static, Result<Vec<ExitRecord>, CommandError>> {
        let asked = self.supervisor.send(GetExits { id: child });
        async move { asked.await.map_err(gone)?.map_err(refused) }.boxed()
    }

    fn audit_log(&self, limit: u32) -> BoxFuture<'static, Result<Vec<LoggedEntry>, CommandError>> {
        let store = Arc::clone(&self.store);
        // The store's connections live on this runtime.
        let task = self.runtime.spawn(async move {
            match tokio::time::timeout(LOG_TIMEOUT, store.audit_log(limit)).await {
                Ok(Ok(entries)) => Ok(entries),
                Ok(Err(error)) => Err(CommandError::Unavailable(error.to_string())),
                Err(_) => Err(CommandError::Unavailable(format!("the store did not answer within {LOG_TIMEOUT:?}"))),
            }
        });
        async move { task.await.unwrap_or_else(|error| Err(CommandError::Internal(format!("a look ended early: {error}")))) }
            .boxed()
    }
}

/// What a refusal of the supervisor means to an operator.
pub(super) fn refused(error: SupervisorError) -> CommandError {
    match error {
        SupervisorError::UnknownChild { .. } => CommandError::Unknown(error.to_string()),
        SupervisorError::DuplicateChild { .. }
        | SupervisorError::ShuttingDown { .. }
        | SupervisorError::Leaving { .. } => CommandError::NotNow(error.to_string()),
    }
}

/// The supervisor has ended, and the process ends with it.
pub(super) fn gone(_: MailboxError) -> CommandError {
    CommandError::NotNow("drover is ending".to_owned())
}
