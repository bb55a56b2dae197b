//! What an error of a query through diesel means.
//!
//! diesel keeps an SQLSTATE only where it has a kind for it, so the classes here are coarser than those of the batch
//! transaction: what cannot be told waits and turns readiness red, which is the answer to anything unknown.

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
        _ => None,
    };
    let class = match code {
        // No row is written here, so a constraint is never the fault of one.
        Some(code) if code.starts_with("23") => FailureClass::Bug,
        Some(code) => classify_sqlstate(code),
        // The server gives a position only for a statement that it could not understand: a table or column is missing.
        None if information.statement_position().is_some() => FailureClass::Configuration,
        None => FailureClass::Unknown,
    };
    let mut message = format!("cannot {what}: {}", information.message());
    if let Some(hint) = information.hint() {
        message = format!("{message} ({hint})");
    }
    if class == FailureClass::Configuration {
        message.push_str("; if the schema is not there yet, run `drover migrate`");
    }
    StoreError { class, code: code.map(str::to_owned), message }
}
