//! The supervised children: all of them, the last ends of one, and the order to start one again. Bound: one entry per child,
//! and as many ends as the supervisor keeps. Fails when no child has the name.

use actix_web::{HttpRequest, HttpResponse, web};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::HttpState;
use super::commands::answer;
use super::error::Problem;
use crate::domain::command::{Command, Done};
use crate::domain::status::{ChildStatus, ExitRecord};

/// All children.
#[derive(Serialize, ToSchema)]
pub(super) struct Children<'a> {
    /// In the order of their start.
    children: &'a [ChildStatus],
}

/// The last ends of a child.
#[derive(Serialize, ToSchema)]
pub(super) struct Exits {
    /// Newest first.
    exits: Vec<ExitRecord>,
}

/// The supervised children
///
/// State, generation, restarts, budget and last end of each.
#[utoipa::path(get, path = "/api/v1/children", tag = "process",
    responses((status = 200, description = "The table of the supervisor.", body = Children<'_>)))]
pub(super) async fn children(state: web::Data<HttpState>) -> HttpResponse {
    HttpResponse::Ok().json(Children { children: &state.board.children() })
}

/// The last ends of a child
#[utoipa::path(get, path = "/api/v1/children/{id}/exits", tag = "process",
    params(("id" = String, Path, description = "Name of the child, such as `consumer-1`.")),
    responses(
        (status = 200, description = "Its ends.", body = Exits),
        (status = 404, description = "No child has this name.", body = super::openapi::Problem, content_type = "application/problem+json"),
    ))]
pub(super) async fn exits(state: web::Data<HttpState>, id: web::Path<String>) -> Result<HttpResponse, Problem> {
    let mut exits = state.operator.get()?.exits(id.into_inner()).await?;
    exits.reverse();
    Ok(HttpResponse::Ok().json(Exits { exits }))
}

/// A body without fields.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Nothing {}

/// Start a child again
///
/// Drains it if it lives, and starts it with a full budget, also out of `failed`.
#[utoipa::path(post, path = "/api/v1/children/{id}/restart", tag = "orders", request_body = Option<Nothing>,
    params(("id" = String, Path, description = "Name of the child, such as `consumer-1`.")),
    responses(
        (status = 200, description = "It was ordered.", body = Done),
        (status = 404, description = "No child has this name.", body = super::openapi::Problem, content_type = "application/problem+json"),
    ))]
pub(super) async fn restart(
    state: web::Data<HttpState>,
    request: HttpRequest,
    id: web::Path<String>,
    payload: web::Payload,
) -> Result<HttpResponse, Problem> {
    answer(&state, &request, payload, |_: Nothing| Ok(Command::Restart { child: id.into_inner() })).await
}
