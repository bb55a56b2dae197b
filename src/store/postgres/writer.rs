//! The batch transaction on PostgreSQL, in two flights: what it opens with, then its rows with all that closes it.
//!
//! Owns one connection, made at first use. Compare-and-swap, COPY BINARY, dead letters, gaps and rollups commit together or
//! not at all. Every answer of the flights is read before the batch counts as stored, because COMMIT answers well also
//! when the server rolled back. The whole runs against a client-side deadline; past it, or when the connection is lost, the
//! outcome is unknown and [`StoreWriter::recover`] asks the positions.

use super::connect::{PgSettings, Session, connect_session, error_from};
use super::statements::{self, BEGIN, END_BLOCKERS, END_SESSION, Positions, Statements};
use crate::domain::batch::{Advance, Batch};
use crate::domain::failure::FailureClass;
use crate::store::row::{STREAM_HEADER, STREAM_TRAILER};
use crate::store::{Receipt, Resolution, StoreError, StoreWriter, WriteError};
use bytes::Bytes;
use chrono::{DateTime, Utc};
use futures::SinkExt as _;
use futures::future::BoxFuture;
use std::ops::Range;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio_postgres::{Client, CopyInSink, Error, Row, Statement};

/// Bytes of one COPY message: large enough that messages cost nothing, small enough that a copy of it is not felt.
const COPY_CHUNK: usize = 256 * 1024;
/// Every statement of a batch finds its rows by index. A plan that was made while a table was small would read all of it,
/// and would be kept while the table grows, until the next ANALYZE. Without JIT, because where an index is missing (the
/// staging table) the penalty for reading all would look like a plan worth compiling.
const SESSION_SETTINGS: &str = "SET enable_seqscan = off; SET plan_cache_mode = force_generic_plan; SET jit = off";
/// How long a session that was told to end may take to be gone.
const END_SESSION_TIMEOUT: Duration = Duration::from_secs(5);

/// See the module.
pub struct PgWriter {
    settings: PgSettings,
    application_name: String,
    connection: Option<Connection>,
    /// Sessions that were given up and may still run on the server, holding their locks. Each is ended before another is
    /// used, so there are as many as attempts to reach a server that does not answer.
    orphans: Vec<Backend>,
    /// The last error was a lock wait: somebody else holds a position.
    lock_wait: bool,
}

/// A session that is ready for batches.
pub(super) struct Connection {
    pub(super) session: Session,
    pub(super) statements: Statements,
    backend: Backend,
    /// Answers no longer match questions: see [`Connection::write_directly`].
    pub(super) out_of_step: AtomicBool,
}

/// What tells a session of the server from every other, before and after it.
#[derive(Debug, Clone, Copy)]
struct Backend {
    pid: i32,
    started: DateTime<Utc>,
}

impl PgWriter {
    /// A writer that connects at its first use. `name` shows in `pg_stat_activity` as `drover/<name>`.
    #[must_use]
    pub fn new(settings: PgSettings, name: &str) -> Self {
        Self {
            settings,
            application_name: format!("drover/{name}"),
            connection: None,
            orphans: Vec::new(),
            lock_wait: false,
        }
    }

    async fn connect(&mut self) -> Result<(), StoreError> {
        if self.connection.as_ref().is_some_and(|connection| connection.session.client.is_closed()) {
            self.give_up();
        }
        if self.connection.is_some() {
            return Ok(());
        }
        let what = "preparing a writer's connection";
        let session = connect_session(&self.settings, &self.application_name).await?;
        let prepared = async {
            let row = session
                .client
                .query_one("SELECT pid, backend_start FROM pg_stat_activity WHERE pid = pg_backend_pid()", &[])
                .await?;
            let backend = Backend { pid: row.try_get(0)?, started: row.try_get(1)? };
            session.client.batch_execute(SESSION_SETTINGS).await?;
            Ok::<_, Error>((backend, Statements::prepare(&session.client).await?))
        };
        let (backend, statements) = tokio::time::timeout(self.settings.transaction_timeout, prepared)
            .await
            .map_err(|_| no_answer(what, self.settings.transaction_timeout))?
            .map_err(|error| error_from(&error, what))?;
        self.connection = Some(Connection { session, statements, backend, out_of_step: AtomicBool::new(false) });
        Ok(())
    }

    /// Closes the connection and remembers its session, which may live on without it.
    fn give_up(&mut self) {
        if let Some(connection) = self.connection.take() {
            self.orphans.push(connection.backend);
        }
    }

    async fn try_write(&mut self, batch: &Batch) -> Result<Receipt, WriteError> {
        let timeout = self.settings.transaction_timeout;
        // One deadline for all of it: whoever watches the writer knows how long it may be silent.
        let deadline = tokio::time::Instant::now() + timeout;
        let connected = tokio::time::timeout_at(deadline, self.connect()).await;
        connected.unwrap_or_else(|_| Err(no_answer("connecting a writer", timeout))).map_err(WriteError::Store)?;
        let connection = self.connection.as_ref().expect("connect() succeeded");
        let outcome = tokio::time::timeout_at(deadline, connection.write(batch)).await;
        let result = outcome.unwrap_or_else(|_| Err(WriteError::Store(no_answer("storing a batch", timeout))));
        self.lock_wait = matches!(&result, Err(WriteError::Store(error)) if error.code.as_deref() == Some("55P03"));
        // No answer of the server: what runs there is unknown, and only ending it makes it known.
        let unanswered = matches!(&result, Err(WriteError::Store(error)) if error.code.is_none());
        if unanswered || connection.out_of_step.load(Ordering::Relaxed) {
            self.give_up();
        }
        result
    }

    async fn try_recover(&mut self, batch: &Batch) -> Result<Resolution, StoreError> {
        self.connect().await?;
        let connection = self.connection.as_ref().expect("connect() succeeded");
        let positions = Positions::of(batch);
        let client = &connection.session.client;
        let what = "reading the positions of a batch without an answer";
        let failed = |error: Error| error_from(&error, what);
        while let Some(&orphan) = self.orphans.last() {
            end_session(client, orphan, &self.application_name).await?;
            self.orphans.pop();
        }
        if self.lock_wait {
            let ended =
                client.query(END_BLOCKERS, &[&positions.topics, &positions.partitions]).await.map_err(failed)?;
            if !ended.is_empty() {
                tracing::warn!(
                    sessions = ended.len(),
                    "ended sessions that held the lock on positions of this consumer"
                );
            }
            self.lock_wait = false;
        }
        let rows = client
            .query(&connection.statements.positions, &[&positions.topics, &positions.partitions])
            .await
            .map_err(failed)?;
        let mut stored = std::collections::BTreeMap::new();
        for row in &rows {
            let topic: &str = row.try_get(0).map_err(failed)?;
            let partition: i32 = row.try_get(1).map_err(failed)?;
            let incarnation: i32 = row.try_get(2).map_err(failed)?;
            let next: i64 = row.try_get(3).map_err(failed)?;
            stored.insert((topic, partition, incarnation), next);
        }
        let stored_at = |a: &Advance| stored.get(&(a.topic.as_str(), a.partition, a.incarnation)).copied();
        Ok(if batch.advances().iter().all(|a| stored_at(a) == Some(a.to)) {
            Resolution::Committed
        } else if batch.advances().iter().all(|a| stored_at(a) == Some(a.from)) {
            Resolution::NotCommitted
        } else {
            Resolution::Moved
        })
    }
}

impl StoreWriter for PgWriter {
    fn write<'a>(&'a mut self, batch: &'a Batch) -> BoxFuture<'a, Result<Receipt, WriteError>> {
        Box::pin(self.try_write(batch))
    }

    fn recover<'a>(&'a mut self, batch: &'a Batch) -> BoxFuture<'a, Result<Resolution, StoreError>> {
        Box::pin(async move {
            let timeout = self.settings.transaction_timeout;
            let outcome = tokio::time::timeout(timeout, self.try_recover(batch)).await;
            let result = outcome
                .unwrap_or_else(|_| Err(no_answer("reading the positions of a batch without an answer", timeout)));
            if result.is_err() {
                self.give_up();
            }
            result
        })
    }
}

fn no_answer(what: &str, timeout: Duration) -> StoreError {
    StoreError {
        class: FailureClass::RetryBatch,
        code: None,
        message: format!("{what}: no answer within {timeout:?} (store.transaction_timeout)"),
    }
}

/// Ends a session of our own on the server and waits until it is gone, so that it cannot commit afterwards.
async fn end_session(client: &Client, backend: Backend, application_name: &str) -> Result<(), StoreError> {
    let what = "ending a lost session of drover's own";
    let deadline = tokio::time::Instant::now() + END_SESSION_TIMEOUT;
    loop {
        let alive = client
            .query(END_SESSION, &[&backend.pid, &backend.started, &application_name])
            .await
            .map_err(|error| error_from(&error, what))?;
        if alive.is_empty() {
            return Ok(());
        }
        if tokio::time::Instant::now() > deadline {
            return Err(StoreError {
                class: FailureClass::RetryBatch,
                code: None,
                message: format!("{what}: pid {} is still there after {END_SESSION_TIMEOUT:?}", backend.pid),
            });
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

impl Connection {
    async fn write(&self, batch: &Batch) -> Result<Receipt, WriteError> {
        match self.write_directly(batch).await {
            Ok(Some(receipt)) => Ok(receipt),
            Ok(None) => self.write_staged(batch).await,
            // Stored by somebody between the look and the COPY.
            Err(Flight::Rows(error)) if is_own_key(&error) => self.write_staged(batch).await,
            Err(Flight::Rows(error)) => Err(self.bad_row(batch, &error, Way::Direct).await),
            Err(Flight::Other(error)) => Err(WriteError::Store(other_error(&error))),
            Err(Flight::Differs(row)) => {
                Err(differs(batch, &row).unwrap_or_else(|e| WriteError::Store(other_error(&e))))
            }
        }
    }

    /// The ordinary way; `None` when something is stored there already. Each flight is queued at once and answered in order;
    /// an error in one statement makes the server refuse those behind it, so the COMMIT at the end of the queue rolls back.
    ///
    /// A COPY that is refused before it begins leaves the driver one answer behind: it ends the COPY that never was with a
    /// second Sync, and the server answers that too. Such a connection must not be used again.
    async fn write_directly(&self, batch: &Batch) -> Result<Option<Receipt>, Flight> {
        let client = &self.session.client;
        let positions = Positions::of(batch);
        let swap_parameters = positions.parameters();
        let has_rows = !batch.metas().is_empty();
        let (begun, swapped, sink) = futures::join!(
            client.batch_execute(BEGIN),
            client.query_one(&self.statements.compare_and_swap, &swap_parameters),
            async { if has_rows { self.copy_in(&self.statements.copy).await.map(Some) } else { Ok(None) } },
        );
        let opened = begun.and(swapped.and_then(|row| row.try_get::<_, bool>(0)));
        let (known, sink) = match opened.and_then(|known| Ok((known, sink?))) {
            Ok(opened) => opened,
            Err(error) => {
                if !self.out_of_step.load(Ordering::Relaxed) {
                    self.roll_back().await;
                }
                return Err(Flight::Other(error));
            }
        };
        if known {
            drop(sink);
            self.roll_back().await;
            return Ok(None);
        }
        let (copied, letters, gaps, rollups, committed) = futures::join!(
            async {
                match sink {
                    Some(sink) => copy_rows(sink, batch, 0..batch.metas().len()).await,
                    None => Ok(0),
                }
            },
            statements::write_dead_letters(client, &self.statements, batch),
            statements::write_gaps(client, &self.statements, batch),
            statements::write_rollups(client, &self.statements, batch),
            client.batch_execute("COMMIT"),
        );
        let rows = copied.map_err(Flight::Rows)?;
        let new_letters = letters.map_err(Flight::Other)?;
        gaps.and(rollups).and(committed).map_err(Flight::Other)?;
        let duplicates = batch.dead_letters().len() as u64 - new_letters;
        Ok(Some(Receipt { rows, duplicates, dead_letters: new_letters }))
    }

    /// Begins a COPY; where that is refused the connection is out of step.
    pub(super) async fn copy_in(&self, statement: &Statement) -> Result<CopyInSink<Bytes>, Error> {
        let sink = self.session.client.copy_in(statement).await;
        if sink.is_err() {
            self.out_of_step.store(true, Ordering::Relaxed);
        }
        sink
    }

    pub(super) async fn roll_back(&self) {
        // Where it fails the connection is gone, and its transaction with it; what is asked next says so.
        if let Err(error) = self.session.client.batch_execute("ROLLBACK").await {
            tracing::debug!(error = %error, "rollback was not answered");
        }
    }
}

impl Positions<'_> {
    pub(super) fn parameters(&self) -> [&(dyn tokio_postgres::types::ToSql + Sync); 5] {
        [&self.topics, &self.partitions, &self.incarnations, &self.from, &self.to]
    }
}

/// How the rows of a batch go into `events`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Way {
    /// By COPY.
    Direct,
    /// Through the staging table, past what is there already.
    Staged,
}

/// Where in the transaction an error arose: only an error of the rows may be the fault of a row.
pub(super) enum Flight {
    Rows(Error),
    Other(Error),
    /// What is stored for this row differs.
    Differs(Row),
}

pub(super) fn differs(batch: &Batch, row: &Row) -> Result<WriteError, Error> {
    let (topic, partition, offset): (&str, i32, i64) = (row.try_get(0)?, row.try_get(1)?, row.try_get(2)?);
    Ok(WriteError::differs(batch, topic, partition, offset))
}

/// Sends rows and the end of the stream, and waits for the count.
pub(super) async fn copy_rows(sink: CopyInSink<Bytes>, batch: &Batch, range: Range<usize>) -> Result<u64, Error> {
    let metas = batch.metas();
    let start = metas.get(range.start).map_or(0, |meta| meta.start);
    let end = metas.get(range.end).map_or(batch.rows().len(), |meta| meta.start);
    let mut sink = std::pin::pin!(sink);
    sink.feed(Bytes::from_static(STREAM_HEADER)).await?;
    for chunk in batch.rows()[start..end].chunks(COPY_CHUNK) {
        sink.feed(Bytes::copy_from_slice(chunk)).await?;
    }
    sink.feed(Bytes::from_static(STREAM_TRAILER)).await?;
    sink.finish().await
}

/// Whether the error is the primary key of `events`: the row is there already.
fn is_own_key(error: &Error) -> bool {
    error.as_db_error().and_then(|db| db.constraint()) == Some("events_pkey")
}

/// An error of a statement that carries no rows can never be the fault of a row.
pub(super) fn other_error(error: &Error) -> StoreError {
    let error = error_from(error, "storing a batch");
    if error.class == FailureClass::Split { StoreError { class: FailureClass::Bug, ..error } } else { error }
}
