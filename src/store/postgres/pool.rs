//! A few connections for everything but batches: diesel over connections that `connect` makes.
//!
//! Bounded by [`MAX_CONNECTIONS`]: who finds none waits, within its deadline. A connection goes back only after an
//! operation that succeeded; after an error, a missed deadline or a caller that gave up it is closed, so that nothing
//! half-done is ever met again.

use super::connect::{PgSettings, connect};
use super::error::Failure;
use crate::domain::failure::FailureClass;
use crate::store::StoreError;
use diesel_async::AsyncPgConnection;
use std::future::Future;
use std::sync::{Mutex, PoisonError};
use tokio::sync::{Semaphore, SemaphorePermit};

/// Questions to the store are few; batches have connections of their own.
const MAX_CONNECTIONS: usize = 4;

/// See the module.
pub(super) struct Pool {
    settings: PgSettings,
    idle: Mutex<Vec<AsyncPgConnection>>,
    permits: Semaphore,
}

/// A connection that is out.
pub(super) struct Lease<'p> {
    pool: &'p Pool,
    connection: AsyncPgConnection,
    _permit: SemaphorePermit<'p>,
}

impl Pool {
    pub(super) fn new(settings: PgSettings) -> Self {
        Self { settings, idle: Mutex::default(), permits: Semaphore::new(MAX_CONNECTIONS) }
    }

    pub(super) fn settings(&self) -> &PgSettings {
        &self.settings
    }

    /// A connection, idle or new.
    pub(super) async fn lease(&self, what: &str) -> Result<Lease<'_>, StoreError> {
        let limit = self.settings.transaction_timeout;
        let permit = tokio::time::timeout(limit, self.permits.acquire())
            .await
            .map_err(|_| StoreError {
                class: FailureClass::Breaker,
                code: None,
                message: format!("cannot {what}: all {MAX_CONNECTIONS} connections were busy for {limit:?}"),
            })?
            .expect("the semaphore is never closed");
        let idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let connection = match idle {
            Some(connection) => connection,
            None => open(&self.settings, "drover/store").await?,
        };
        Ok(Lease { pool: self, connection, _permit: permit })
    }
}

impl Lease<'_> {
    pub(super) fn connection(&mut self) -> &mut AsyncPgConnection {
        &mut self.connection
    }

    /// Gives the connection back, or closes it after an error, of which it says what failed.
    pub(super) fn finish<T>(self, what: &str, answer: Result<T, Failure>) -> Result<T, StoreError> {
        match answer {
            Ok(answer) => {
                self.pool.idle.lock().unwrap_or_else(PoisonError::into_inner).push(self.connection);
                Ok(answer)
            }
            Err(failure) => Err(failure.context(what)),
        }
    }
}

/// A new connection for diesel.
pub(super) async fn open(settings: &PgSettings, application_name: &str) -> Result<AsyncPgConnection, StoreError> {
    let client = connect(settings, application_name).await?;
    AsyncPgConnection::try_from(client).await.map_err(|error| StoreError {
        class: FailureClass::Breaker,
        code: None,
        message: format!("cannot set up a connection to PostgreSQL: {error}"),
    })
}

/// Waits for an answer as long as a batch may take.
pub(super) async fn bounded<T>(
    settings: &PgSettings,
    answer: impl Future<Output = Result<T, Failure>>,
) -> Result<T, Failure> {
    let limit = settings.transaction_timeout;
    tokio::time::timeout(limit, answer).await.unwrap_or(Err(Failure::NoAnswer(limit)))
}
