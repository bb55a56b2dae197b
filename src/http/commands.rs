//! Orders: from a request to a command, and its answer; and the log of all of them.
//!
//! Bound: bodies as in `command_request.rs`, at most [`MAX_ENTRIES`] entries of the log in one answer. A refused order is a problem
//! document: 404 for a name that is not there, 409 for what is not possible now, 422 for a value that never is, 503 while
//! something that is needed does not answer.

use actix_web::{HttpRequest, HttpResponse, web};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::HttpState;
use super::command_request::{actor, body};
use super::error::Problem;
use super::query::{query, within};
use crate::domain::command::{Command, Done};
use crate::store::audit_log::{LoggedEntry, MAX_ENTRIES};

/// Entries of the log in one answer, when the request does not say.
const LOG_DEFAULT: u32 = 100;

/// Carries out the command that `make` reads out of the body.
pub(super) async fn answer<T: DeserializeOwned>(
    state: &HttpState,
    request: &HttpRequest,
    payload: web::Payload,
    make: impl FnOnce(T) -> Result<Command, Problem>,
) -> Result<HttpResponse, Problem> {
    let actor = actor(&state.config, request)?;
    let command = make(body(payload).await?)?;
    let done = state.operator.get()?.execute(actor, command).await?;
    Ok(HttpResponse::Ok().json(done))
}

/// How many there shall be.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Scale {
    /// Consumers; as many as now if not said.
    consumers: Option<usize>,
    /// Writers, likewise.
    writers: Option<usize>,
}

/// Change how many consumers and writers there are
#[utoipa::path(post, path = "/api/v1/scale", tag = "orders", request_body = Scale,
    responses((status = 200, description = "It was done.", body = Done)))]
pub(super) async fn scale(
    state: web::Data<HttpState>,
    request: HttpRequest,
    payload: web::Payload,
) -> Result<HttpResponse, Problem> {
    answer(&state, &request, payload, |Scale { consumers, writers }| Ok(Command::Scale { consumers, writers })).await
}

/// What may be asked of the log.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields, default)]
#[into_params(parameter_in = Query)]
pub(super) struct LogQuery {
    /// At most so many; 100 if not said.
    #[param(minimum = 1, maximum = 1000)]
    limit: Option<u32>,
}

/// The audit log.
#[derive(Serialize, ToSchema)]
pub(super) struct AuditLog {
    /// Newest first.
    entries: Vec<LoggedEntry>,
}

/// Who ordered what, when, and what became of it
#[utoipa::path(get, path = "/api/v1/audit-log", tag = "orders", params(LogQuery),
    responses((status = 200, description = "The newest entries.", body = AuditLog)))]
pub(super) async fn audit_log(state: web::Data<HttpState>, request: HttpRequest) -> Result<HttpResponse, Problem> {
    let asked: LogQuery = query(&request)?;
    let limit = within("limit", asked.limit.unwrap_or(LOG_DEFAULT), 1, MAX_ENTRIES)?;
    let entries = state.operator.get()?.audit_log(limit).await?;
    Ok(HttpResponse::Ok().json(AuditLog { entries }))
}
