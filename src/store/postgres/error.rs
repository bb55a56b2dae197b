//! What an error of a query through diesel means.
//!
//! diesel keeps an SQLSTATE only where it has a kind for it, so the others are told by the server's message. What cannot be
//! told waits and turns readiness red, which is the answer to anything unknown. The batch transaction does not go through
//! diesel and has every SQLSTATE.

use crate::domain::failure::{FailureClass, classify_sqlstate};
use crate::store::StoreError;
use diesel::result::{DatabaseErrorKind, Error};
use std::time::Duration;

/// An error inside an operation, before it is said which operation that was.
#[derive(Debug)]
pub(super) enum Failure {
    /// What diesel says.
    Query(Error),
    /// No answer within this time.
    NoAnswer(Duration),
    /// What drover itself refuses.
    Refused(FailureClass, String),
    /// An error that is complete.
    Store(StoreError),
}

impl Failure {
    /// Says what failed.
    pub(super) fn context(self, what: &str) -> StoreError {
        match self {
            Self::Query(error) => query_error(&error, what),
            Self::NoAnswer(limit) => StoreError {
                class: FailureClass::Breaker,
                code: None,
                message: format!("cannot {what}: PostgreSQL did not answer within {limit:?}"),
            },
            Self::Refused(class, message) => {
                StoreError { class, code: None, message: format!("cannot {what}: {message}") }
            }
            Self::Store(error) => error,
        }
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Query(error)
    }
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

fn query_error(error: &Error, what: &str) -> StoreError {
    let Error::DatabaseError(kind, information) = error else {
        let class = match error {
            Error::DeserializationError(_) | Error::SerializationError(_) | Error::QueryBuilderError(_) => {
                FailureClass::Bug
            }
            Error::BrokenTransactionManager => FailureClass::Breaker,
            _ => FailureClass::Unknown,
        };
        return StoreError { class, code: None, message: format!("cannot {what}: {error}") };
    };
    let code = match kind {
        DatabaseErrorKind::UniqueViolation => Some("23505"),
        DatabaseErrorKind::ForeignKeyViolation => Some("23503"),
        DatabaseErrorKind::NotNullViolation => Some("23502"),
        DatabaseErrorKind::CheckViolation => Some("23514"),
        DatabaseErrorKind::SerializationFailure => Some("40001"),
        DatabaseErrorKind::ReadOnlyTransaction => Some("25006"),
        // The driver says so when it lost the connection.
        DatabaseErrorKind::UnableToSendCommand | DatabaseErrorKind::ClosedConnection => Some("08006"),
        _ => code_of_message(information.message()),
    };
    let class = match code.map(|code| (code, classify_sqlstate(code))) {
        // No row is written here, so data is never the fault of one.
        Some((_, FailureClass::Split)) => FailureClass::Bug,
        Some((_, class)) => class,
        // The server gives a position only for a statement that it could not understand: a table or column is missing.
        None if information.statement_position().is_some() => FailureClass::Configuration,
        None => FailureClass::Unknown,
    };
    let mut message = format!("cannot {what}: {}", information.message());
    if let Some(code) = code {
        message = format!("{message} (SQLSTATE {code})");
    }
    if let Some(hint) = information.hint() {
        message = format!("{message} ({hint})");
    }
    if class == FailureClass::Configuration {
        message.push_str("; if the schema is not there yet, run `drover migrate`");
    }
    StoreError { class, code: code.map(str::to_owned), message }
}

/// The SQLSTATE of a message of the server, for those that diesel has no kind for. They are constants of PostgreSQL in the
/// language of its `lc_messages`: in another language than English they are unknown, which waits and turns readiness red.
fn code_of_message(message: &str) -> Option<&'static str> {
    const TABLE: &[(&str, &str)] = &[
        ("deadlock detected", "40P01"),
        ("canceling statement due to lock timeout", "55P03"),
        ("could not obtain lock on", "55P03"),
        ("canceling statement due to", "57014"),
        ("terminating connection due to idle-in-transaction timeout", "25P03"),
        ("terminating connection due to idle-session timeout", "57P05"),
        ("terminating connection because of crash", "57P02"),
        ("terminating connection due to", "57P01"),
        ("the database system is", "57P03"),
        ("too many clients already", "53300"),
        ("too many connections for", "53300"),
        ("remaining connection slots are reserved", "53300"),
        ("No space left on device", "53100"),
        ("Disk quota exceeded", "53100"),
        ("out of memory", "53200"),
        ("out of shared memory", "53200"),
        ("could not read block", "58030"),
        ("could not write", "58030"),
        ("could not fsync", "58030"),
        ("could not open file", "58P01"),
        ("permission denied for", "42501"),
        ("must be owner of", "42501"),
        ("invalid byte sequence for encoding", "22021"),
        ("invalid input syntax for type", "22P02"),
        ("exceeds btree", "54000"),
        ("exceeds maximum", "54000"),
    ];
    // A table that is not there; the position says that it is the statement's, not a function's of the user.
    let missing = message.starts_with("relation ") && message.ends_with(" does not exist");
    let found = TABLE.iter().find(|(text, _)| message.contains(text)).map(|&(_, code)| code);
    found.or(missing.then_some("42P01"))
}
