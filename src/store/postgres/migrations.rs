//! The migrations of the schema: one process at a time, by a session advisory lock that is polled.
//!
//! Polled, because a session that waits for a lock has a snapshot open, and CREATE INDEX CONCURRENTLY waits for all
//! snapshots: both would wait for good. A migration itself has no deadline: building an index takes as long as it takes.

use super::connect::{PgSettings, connect, error_from};
use super::error::Failure;
use crate::domain::failure::FailureClass;
use crate::store::rules::migration_state;
use crate::store::{Migration, StoreError};
use diesel::migration::{Migration as _, MigrationSource};
use diesel::pg::Pg;
use diesel::prelude::*;
use diesel_async::async_connection_wrapper::AsyncConnectionWrapper;
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use diesel_migrations::{EmbeddedMigrations, MigrationHarness, embed_migrations};
use std::time::Duration;
use tokio::time::Instant;

const MIGRATIONS: EmbeddedMigrations = embed_migrations!("migrations/postgres");
/// How long a process waits for another one that migrates.
const LOCK_DEADLINE: Duration = Duration::from_secs(300);
const LOCK_POLL: Duration = Duration::from_millis(100);

/// The sync face of a connection that diesel's migrations want.
type Wrapped = AsyncConnectionWrapper<AsyncPgConnection>;

fn failed(error: Box<dyn std::error::Error + Send + Sync>) -> Failure {
    match error.downcast::<diesel::result::Error>() {
        Ok(error) => Failure::Query(*error),
        Err(error) => Failure::Refused(FailureClass::Unknown, error.to_string()),
    }
}

/// Version and name of those that this binary has, oldest first.
fn known() -> Result<Vec<(String, String)>, Failure> {
    let mut known: Vec<_> = MigrationSource::<Pg>::migrations(&MIGRATIONS)
        .map_err(failed)?
        .iter()
        .map(|migration| (migration.name().version().to_string(), migration.name().to_string()))
        .collect();
    known.sort();
    Ok(known)
}

/// Versions that the schema has, oldest first; none when it has no table of them.
async fn applied(connection: &mut AsyncPgConnection) -> Result<Vec<String>, Failure> {
    let there: bool = diesel::select(diesel::dsl::sql::<diesel::sql_types::Bool>(
        "to_regclass('__diesel_schema_migrations') IS NOT NULL",
    ))
    .get_result(connection)
    .await?;
    if !there {
        return Ok(Vec::new());
    }
    #[derive(QueryableByName)]
    struct Version {
        #[diesel(sql_type = diesel::sql_types::Text)]
        version: String,
    }
    let versions: Vec<Version> =
        diesel::sql_query("SELECT version::text FROM __diesel_schema_migrations ORDER BY version")
            .load(connection)
            .await?;
    Ok(versions.into_iter().map(|row| row.version).collect())
}

fn judge(applied: &[String], known: &[(String, String)], may_be_older: bool) -> Result<(), Failure> {
    migration_state(applied, known, may_be_older)
        .map_err(|message| Failure::Refused(FailureClass::Configuration, message))
}

pub(super) async fn list(connection: &mut AsyncPgConnection) -> Result<Vec<Migration>, Failure> {
    let applied = applied(connection).await?;
    Ok(known()?.into_iter().map(|(version, name)| Migration { name, applied: applied.contains(&version) }).collect())
}

pub(super) async fn check(connection: &mut AsyncPgConnection) -> Result<(), Failure> {
    judge(&applied(connection).await?, &known()?, false)
}

/// Applies what is missing.
pub(super) async fn apply(settings: &PgSettings) -> Result<Vec<String>, StoreError> {
    let what = "apply migrations";
    locked(settings, what, true, |connection, _| {
        let known = known()?;
        let done = connection.run_pending_migrations(MIGRATIONS).map_err(failed)?;
        let done: Vec<String> = done.iter().map(ToString::to_string).collect();
        Ok(known.into_iter().filter(|(version, _)| done.contains(version)).map(|(_, name)| name).collect())
    })
    .await
}

/// Takes the newest one back.
pub(super) async fn revert(settings: &PgSettings) -> Result<Option<String>, StoreError> {
    locked(settings, "revert a migration", false, |connection, applied| {
        if applied.is_empty() {
            return Ok(None);
        }
        let version = connection.revert_last_migration(MIGRATIONS).map_err(failed)?.to_string();
        Ok(known()?.into_iter().find(|(known, _)| *known == version).map(|(_, name)| name))
    })
    .await
}

/// Runs `work` on a blocking thread, on a connection of its own that holds the lock; closing it gives the lock back.
async fn locked<T: Send + 'static>(
    settings: &PgSettings,
    what: &str,
    create_schema: bool,
    work: impl FnOnce(&mut Wrapped, &[String]) -> Result<T, Failure> + Send + 'static,
) -> Result<T, StoreError> {
    let client = connect(settings, "drover/migrate").await?;
    let sql_error = |error: tokio_postgres::Error| error_from(&error, &format!("cannot {what}"));
    let deadline = Instant::now() + LOCK_DEADLINE;
    let pid = loop {
        let row = client
            .query_one(
                "SELECT pg_try_advisory_lock(hashtextextended('drover migrate ' || $1::text, 0)), pg_backend_pid()",
                &[&settings.schema],
            )
            .await
            .map_err(sql_error)?;
        if row.get(0) {
            break row.get::<_, i32>(1);
        }
        if Instant::now() >= deadline {
            return Err(Failure::Refused(
                FailureClass::RetryBatch,
                format!("another process has been migrating schema {:?} for {LOCK_DEADLINE:?}", settings.schema),
            )
            .context(what));
        }
        tokio::time::sleep(LOCK_POLL).await;
    };
    if create_schema {
        let name = settings.schema.replace('"', "\"\"");
        // Asked first, because CREATE SCHEMA needs a right on the database even when the schema is there.
        let there: bool = client
            .query_one("SELECT to_regnamespace(quote_ident($1)) IS NOT NULL", &[&settings.schema])
            .await
            .map_err(sql_error)?
            .get(0);
        if !there {
            client.batch_execute(&format!("CREATE SCHEMA IF NOT EXISTS \"{name}\"")).await.map_err(sql_error)?;
        }
        // A migration may wait for locks longer than a batch may.
        client.batch_execute("SET lock_timeout = '60s'").await.map_err(sql_error)?;
    }
    let mut connection = AsyncPgConnection::try_from(client).await.map_err(|error| StoreError {
        class: FailureClass::Breaker,
        code: None,
        message: format!("cannot {what}: {error}"),
    })?;
    let applied = async {
        let applied = applied(&mut connection).await?;
        judge(&applied, &known()?, true)?;
        Ok::<_, Failure>(applied)
    };
    let applied = applied.await.map_err(|failure| failure.context(what))?;
    // diesel's migrations are sync: on this thread they may block for the connection.
    let task = tokio::task::spawn_blocking(move || {
        let mut wrapped = Wrapped::from(connection);
        let done = work(&mut wrapped, &applied)?;
        let now: i32 = diesel::RunQueryDsl::get_result(
            diesel::select(diesel::dsl::sql::<diesel::sql_types::Integer>("pg_backend_pid()")),
            &mut wrapped,
        )?;
        if now != pid {
            return Err(Failure::Refused(FailureClass::Configuration, super::POOLER_REFUSED.to_owned()));
        }
        Ok(done)
    });
    task.await
        .unwrap_or_else(|error| Err(Failure::Refused(FailureClass::Bug, format!("the migration panicked: {error}"))))
        .map_err(|failure| failure.context(what))
}
