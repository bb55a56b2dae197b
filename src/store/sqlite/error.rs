//! What an error of SQLite means.
//!
//! diesel keeps SQLite's message and drops its result code, so the messages are matched: they are constants of SQLite
//! (sqlite3_errstr), never translated. What is not in the table waits and turns readiness red.

use crate::domain::batch::Batch;
use crate::domain::failure::FailureClass;
use crate::store::{StoreError, WriteError};
use diesel::result::{DatabaseErrorKind, Error};
use std::path::Path;

/// An error inside an operation, before it is said which operation that was.
#[derive(Debug)]
pub(super) enum Failure {
    /// Of the database as a whole.
    Database { class: FailureClass, code: Option<&'static str>, message: String },
    /// Of the row with this index in the batch: nothing of the batch may be stored.
    Row { index: usize, code: &'static str, message: String },
    /// The row that is stored at this place differs.
    Differs { topic: String, partition: i32, offset: i64 },
}

impl Failure {
    /// A failure that SQLite has no part in.
    pub(super) fn new(class: FailureClass, message: impl Into<String>) -> Self {
        Self::Database { class, code: None, message: message.into() }
    }

    /// The same error, blamed on a row where its data is the cause.
    pub(super) fn of_row(self, index: usize) -> Self {
        match self {
            Self::Database { class: FailureClass::Split, code: Some(code), message } => {
                Self::Row { index, code, message }
            }
            other => other,
        }
    }

    /// Says what failed, and where.
    pub(super) fn context(self, what: &str, path: &Path) -> StoreError {
        match self {
            Self::Database { class, code, message } => StoreError {
                class,
                code: code.map(str::to_owned),
                message: format!("cannot {what} in {}: {message}{}", path.display(), advice(code)),
            },
            Self::Row { index, code, message } => StoreError {
                class: FailureClass::Bug,
                code: Some(code.to_owned()),
                message: format!("cannot {what} in {}: row {index}: {message}", path.display()),
            },
            Self::Differs { topic, partition, offset } => StoreError {
                class: FailureClass::RowDiffers,
                code: None,
                message: format!("cannot {what} in {}: {topic} [{partition}] offset {offset} differs", path.display()),
            },
        }
    }

    /// The same for a batch, where a bad row is named.
    pub(super) fn of_write(self, batch: &Batch, path: &Path) -> WriteError {
        match self {
            Self::Differs { topic, partition, offset } => WriteError::differs(batch, &topic, partition, offset),
            Self::Row { index, code, message } => WriteError::Row { index, code: code.to_owned(), message },
            other => WriteError::Store(other.context("store a batch", path)),
        }
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        let message = match &error {
            Error::DatabaseError(_, information) => information.message().to_owned(),
            other => other.to_string(),
        };
        let (class, code) = match &error {
            Error::DatabaseError(kind, _) => classify(kind, &message),
            // What cannot be bound is too large for SQLite's 32-bit lengths: the data of the row.
            Error::SerializationError(_) => (FailureClass::Split, Some("SQLITE_TOOBIG")),
            Error::DeserializationError(_) | Error::QueryBuilderError(_) => (FailureClass::Bug, None),
            _ => (FailureClass::Unknown, None),
        };
        Self::Database { class, code, message }
    }
}

impl From<diesel::ConnectionError> for Failure {
    fn from(error: diesel::ConnectionError) -> Self {
        let message = error.to_string();
        let (class, code) = match classify(&DatabaseErrorKind::Unknown, &message) {
            // A file that cannot be opened may be a mount that comes back.
            (FailureClass::Unknown, code) => (FailureClass::Breaker, code),
            known => known,
        };
        Self::Database { class, code, message }
    }
}

/// The class of an error, and the name of its result code.
fn classify(kind: &DatabaseErrorKind, message: &str) -> (FailureClass, Option<&'static str>) {
    match kind {
        DatabaseErrorKind::UniqueViolation => return (FailureClass::Split, Some("SQLITE_CONSTRAINT_UNIQUE")),
        DatabaseErrorKind::ForeignKeyViolation => return (FailureClass::Split, Some("SQLITE_CONSTRAINT_FOREIGNKEY")),
        DatabaseErrorKind::NotNullViolation => return (FailureClass::Split, Some("SQLITE_CONSTRAINT_NOTNULL")),
        DatabaseErrorKind::CheckViolation => return (FailureClass::Split, Some("SQLITE_CONSTRAINT_CHECK")),
        _ => {}
    }
    const TABLE: &[(&str, FailureClass, &str)] = &[
        ("database is locked", FailureClass::RetryBatch, "SQLITE_BUSY"),
        ("database table is locked", FailureClass::RetryBatch, "SQLITE_LOCKED"),
        ("database schema has changed", FailureClass::RetryBatch, "SQLITE_SCHEMA"),
        ("interrupted", FailureClass::RetryBatch, "SQLITE_INTERRUPT"),
        ("database or disk is full", FailureClass::Breaker, "SQLITE_FULL"),
        ("disk I/O error", FailureClass::Breaker, "SQLITE_IOERR"),
        ("unable to open database file", FailureClass::Breaker, "SQLITE_CANTOPEN"),
        ("attempt to write a readonly database", FailureClass::Breaker, "SQLITE_READONLY"),
        ("out of memory", FailureClass::Breaker, "SQLITE_NOMEM"),
        ("locking protocol", FailureClass::Breaker, "SQLITE_PROTOCOL"),
        ("string or blob too big", FailureClass::Split, "SQLITE_TOOBIG"),
        // Only an operator can mend these: writing on would make it worse.
        ("database disk image is malformed", FailureClass::Configuration, "SQLITE_CORRUPT"),
        ("file is not a database", FailureClass::Configuration, "SQLITE_NOTADB"),
        ("no such table", FailureClass::Configuration, "SQLITE_ERROR"),
        ("no such column", FailureClass::Configuration, "SQLITE_ERROR"),
        ("has no column named", FailureClass::Configuration, "SQLITE_ERROR"),
    ];
    TABLE
        .iter()
        .find(|(text, ..)| message.to_ascii_lowercase().contains(&text.to_ascii_lowercase()))
        .map_or((FailureClass::Unknown, None), |&(_, class, code)| (class, Some(code)))
}

fn advice(code: Option<&str>) -> &'static str {
    match code {
        Some("SQLITE_CORRUPT") => "; check it with `sqlite3 FILE .recover`, or restore it from a backup",
        Some("SQLITE_NOTADB") => "; store.url must name a file that drover made",
        Some("SQLITE_ERROR") => "; run `drover migrate`",
        Some("SQLITE_CANTOPEN" | "SQLITE_READONLY") => {
            "; the file and its directory must exist and be writable for this user"
        }
        Some("SQLITE_FULL") => "; free some space",
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_outage_is_never_blamed_on_a_row() {
        for message in ["database is locked", "database or disk is full", "disk I/O error", "who knows"] {
            let error = Error::DatabaseError(DatabaseErrorKind::Unknown, Box::new(message.to_owned()));
            assert!(matches!(Failure::from(error).of_row(3), Failure::Database { .. }), "{message}");
        }
        let error = Error::DatabaseError(DatabaseErrorKind::CheckViolation, Box::new("CHECK".to_owned()));
        assert!(matches!(Failure::from(error).of_row(3), Failure::Row { index: 3, .. }));
    }

    #[test]
    fn a_damaged_file_stops_loudly() {
        let (class, code) = classify(&DatabaseErrorKind::Unknown, "database disk image is malformed");
        assert_eq!((class, code), (FailureClass::Configuration, Some("SQLITE_CORRUPT")));
    }
}
