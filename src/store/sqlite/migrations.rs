//! The migrations of the file.

use super::error::Failure;
use crate::domain::failure::FailureClass;
use crate::store::{Migration, migration_state};
use diesel::SqliteConnection;
use diesel::migration::{Migration as _, MigrationSource};
use diesel::prelude::*;
use diesel::sqlite::Sqlite;
use diesel_migrations::{EmbeddedMigrations, MigrationHarness, embed_migrations};

const MIGRATIONS: EmbeddedMigrations = embed_migrations!("migrations/sqlite");

/// What a migration said, in the form of the store's errors.
fn failed(error: Box<dyn std::error::Error + Send + Sync>) -> Failure {
    match error.downcast::<diesel::result::Error>() {
        Ok(error) => Failure::from(*error),
        Err(error) => Failure::new(FailureClass::Unknown, error.to_string()),
    }
}

/// Versions that the file has, oldest first; none when it has no table of them.
fn applied(connection: &mut SqliteConnection) -> Result<Vec<String>, Failure> {
    #[derive(QueryableByName)]
    struct Version {
        #[diesel(sql_type = diesel::sql_types::Text)]
        version: String,
    }
    let table = diesel::sql_query(
        "SELECT name AS version FROM sqlite_master WHERE type = 'table' AND name = '__diesel_schema_migrations'",
    );
    if table.load::<Version>(connection)?.is_empty() {
        return Ok(Vec::new());
    }
    let versions: Vec<Version> =
        diesel::sql_query("SELECT version FROM __diesel_schema_migrations ORDER BY version").load(connection)?;
    Ok(versions.into_iter().map(|row| row.version).collect())
}

/// Version and name of those that this binary has, oldest first.
fn known() -> Result<Vec<(String, String)>, Failure> {
    let mut known: Vec<_> = MigrationSource::<Sqlite>::migrations(&MIGRATIONS)
        .map_err(failed)?
        .iter()
        .map(|migration| (migration.name().version().to_string(), migration.name().to_string()))
        .collect();
    known.sort();
    Ok(known)
}

pub(super) fn list(connection: &mut SqliteConnection) -> Result<Vec<Migration>, Failure> {
    let applied = applied(connection)?;
    Ok(known()?.into_iter().map(|(version, name)| Migration { name, applied: applied.contains(&version) }).collect())
}

pub(super) fn check(connection: &mut SqliteConnection) -> Result<(), Failure> {
    migration_state(&applied(connection)?, &known()?, false)
        .map_err(|message| Failure::new(FailureClass::Configuration, message))
}

pub(super) fn apply(connection: &mut SqliteConnection) -> Result<Vec<String>, Failure> {
    let known = known()?;
    migration_state(&applied(connection)?, &known, true)
        .map_err(|message| Failure::new(FailureClass::Configuration, message))?;
    let done = connection.run_pending_migrations(MIGRATIONS).map_err(failed)?;
    let done: Vec<String> = done.iter().map(ToString::to_string).collect();
    Ok(known.into_iter().filter(|(version, _)| done.contains(version)).map(|(_, name)| name).collect())
}

pub(super) fn revert(connection: &mut SqliteConnection) -> Result<Option<String>, Failure> {
    let applied = applied(connection)?;
    let known = known()?;
    migration_state(&applied, &known, true).map_err(|message| Failure::new(FailureClass::Configuration, message))?;
    if applied.is_empty() {
        return Ok(None);
    }
    let version = connection.revert_last_migration(MIGRATIONS).map_err(failed)?.to_string();
    Ok(known.into_iter().find(|(known, _)| *known == version).map(|(_, name)| name))
}
