//! The supervised children: all of them, the last ends of one, and the order to start one again. Bound: one entry per child,
//! and as many ends as the supervisor keeps. Fails when no child has the name.

use actix_web::{HttpRequest, HttpResponse, web};
use serde::Deserialize;
use serde_json::json;

use super::HttpState;
use super::commands::answer;
use super::error::Problem;
use crate::domain::command::Command;

/// Answers with the table of the supervisor.
pub(super) async fn children(state: web::Data<HttpState>) -> HttpResponse {
    HttpResponse::Ok().json(json!({ "children": &*state.board.children() }))
}

/// Answers with the last ends of a child, newest first.
pub(super) async fn exits(state: web::Data<HttpState>, id: web::Path<String>) -> Result<HttpResponse, Problem> {
    let mut exits = state.operator.get()?.exits(id.into_inner()).await?;
    exits.reverse();
    Ok(HttpResponse::Ok().json(json!({ "exits": exits })))
}

/// A body without fields.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Nothing {}

/// Starts a child again.
pub(super) async fn restart(
    state: web::Data<HttpState>,
    request: HttpRequest,
    id: web::Path<String>,
    payload: web::Payload,
) -> Result<HttpResponse, Problem> {
    answer(&state, &request, payload, |_: Nothing| Ok(Command::Restart { child: id.into_inner() })).await
}
