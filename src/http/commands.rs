//! Orders: from a request to a command, and its answer; and the log of all of them.
//!
//! Bound: bodies as in `command_request.rs`, at most [`MAX_ENTRIES`] entries of the log in one answer. A refused order is a problem
//! document: 404 for a name that is not there, 409 for what is not possible now, 422 for a value that never is, 503 while
//! something that is needed does not answer.

use actix_web::http::StatusCode;
use actix_web::{HttpRequest, HttpResponse, web};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::json;

use super::HttpState;
use super::command_request::{actor, body};
use super::error::Problem;
use crate::domain::command::Command;
use crate::store::audit_log::MAX_ENTRIES;

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
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Scale {
    consumers: Option<usize>,
    writers: Option<usize>,
}

/// Changes how many consumers and writers there are.
pub(super) async fn scale(
    state: web::Data<HttpState>,
    request: HttpRequest,
    payload: web::Payload,
) -> Result<HttpResponse, Problem> {
    answer(&state, &request, payload, |Scale { consumers, writers }| Ok(Command::Scale { consumers, writers })).await
}

/// What may be asked of the log.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct LogQuery {
    limit: Option<u32>,
}

/// Answers with the newest entries of the audit log, newest first.
pub(super) async fn audit_log(
    state: web::Data<HttpState>,
    query: Result<web::Query<LogQuery>, actix_web::Error>,
) -> Result<HttpResponse, Problem> {
    let query = query.map_err(|error| Problem::new(StatusCode::BAD_REQUEST, error.to_string()))?;
    let limit = query.limit.unwrap_or(LOG_DEFAULT);
    if !(1..=MAX_ENTRIES).contains(&limit) {
        let detail = format!("limit is {limit}, and not 1 to {MAX_ENTRIES}");
        return Err(Problem::new(StatusCode::BAD_REQUEST, detail));
    }
    let entries = state.operator.get()?.audit_log(limit).await?;
    Ok(HttpResponse::Ok().json(json!({ "entries": entries })))
}
