//! What the HTTP server asks of the running process: the port through which orders reach it.
//!
//! The server starts first, so that a start that waits can be seen; until the process can take orders the port is empty
//! and every order is answered with 503. One place, set once. Cannot fail.

use std::sync::{Arc, OnceLock};

use actix_web::http::StatusCode;
use futures::future::BoxFuture;

use super::error::Problem;
use crate::domain::command::{Command, CommandError, Done};
use crate::domain::status::ExitRecord;
use crate::store::audit_log::{AuditEntry, LoggedEntry};

/// Carries out orders. A future that is dropped does not undo or stop an order that was begun.
pub trait Operator: Send + Sync + 'static {
    /// Carries out an order of `actor` and writes it to the audit log, whatever became of it.
    fn execute(&self, actor: String, command: Command) -> BoxFuture<'static, Result<Done, CommandError>>;

    /// Writes down what somebody did that is no order to drover itself, such as logging in.
    fn note(&self, entry: AuditEntry) -> BoxFuture<'static, ()>;

    /// The last ends of a child, oldest first.
    fn exits(&self, child: String) -> BoxFuture<'static, Result<Vec<ExitRecord>, CommandError>>;

    /// The newest entries of the audit log, newest first.
    fn audit_log(&self, limit: u32) -> BoxFuture<'static, Result<Vec<LoggedEntry>, CommandError>>;
}

/// The place of the operator. Clones share it.
#[derive(Clone, Default)]
pub struct OperatorSlot(Arc<OnceLock<Arc<dyn Operator>>>);

impl OperatorSlot {
    /// Takes orders from now on. A second operator is ignored: a process has one.
    pub fn set(&self, operator: Arc<dyn Operator>) {
        // Only a second call is refused, see above.
        let _ = self.0.set(operator);
    }

    /// The operator, once there is one.
    pub(super) fn get(&self) -> Result<Arc<dyn Operator>, Problem> {
        self.0.get().cloned().ok_or_else(|| {
            let detail = "drover is still starting and takes no orders yet; /health/ready tells what it waits for";
            Problem::new(StatusCode::SERVICE_UNAVAILABLE, detail)
        })
    }
}

impl From<CommandError> for Problem {
    fn from(error: CommandError) -> Self {
        let status = match &error {
            CommandError::Unknown(_) => StatusCode::NOT_FOUND,
            CommandError::NotNow(_) => StatusCode::CONFLICT,
            CommandError::Invalid(_) => StatusCode::UNPROCESSABLE_ENTITY,
            CommandError::Busy(_) => StatusCode::TOO_MANY_REQUESTS,
            CommandError::Unavailable(_) => StatusCode::SERVICE_UNAVAILABLE,
            CommandError::Internal(_) => StatusCode::INTERNAL_SERVER_ERROR,
        };
        let problem = Self::new(status, error.to_string());
        if matches!(error, CommandError::Busy(_)) { problem.retry_after(1) } else { problem }
    }
}
