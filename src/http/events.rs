//! Events: pages of them, newest first, and where one is. Bound: a page, and the time and records of a search. Fails with 503
//! while the store does not answer, and with 429 while too many search.

use actix_web::{HttpRequest, HttpResponse, web};

use super::HttpState;
use super::error::Problem;
use super::query::{EventQuery, invalid, query, topic, within};
use super::types::{EventLocation, Events};

/// The newest events, or those that are looked for
///
/// Newest first by the time of storing. A search by a column looks back from the newest record on, within bounds of records
/// and time; `complete` is false when it stopped, `looked_back_to_ms` says how far it got, and `next` goes on from there. A
/// search by a time goes straight there. Where there is an index on the column and `stored_at` it is used.
#[utoipa::path(get, path = "/api/v1/events", tag = "events", params(EventQuery),
    responses((status = 200, description = "A page of events.", body = Events)))]
pub(super) async fn list(state: web::Data<HttpState>, request: HttpRequest) -> Result<HttpResponse, Problem> {
    answer(&state, query(&request)?).await
}

/// Events of one key or one user
///
/// As `/api/v1/events`, but `key` or `user_id` must be there.
#[utoipa::path(get, path = "/api/v1/events/find", tag = "events", params(EventQuery),
    responses((status = 200, description = "A page of events.", body = Events)))]
pub(super) async fn find(state: web::Data<HttpState>, request: HttpRequest) -> Result<HttpResponse, Problem> {
    let asked: EventQuery = query(&request)?;
    if asked.key.is_none() && asked.user_id.is_none() {
        return Err(invalid("say what to find: key or user_id"));
    }
    answer(&state, asked).await
}

async fn answer(state: &HttpState, asked: EventQuery) -> Result<HttpResponse, Problem> {
    let search = asked.search(&state.mask)?;
    let page = state.events.get()?.search(search).await?;
    Ok(HttpResponse::Ok().json(Events::new(page, &state.mask)))
}

/// Where one event is
///
/// Stored, a dead letter, being written, not read yet, expired, or skipped; with its document, or the record as it came.
#[utoipa::path(get, path = "/api/v1/events/{topic}/{partition}/{offset}", tag = "events",
    params(
        ("topic" = String, Path, description = "Topic.", pattern = "^[a-zA-Z0-9._-]{1,249}$"),
        ("partition" = i32, Path, description = "Partition.", minimum = 0),
        ("offset" = i64, Path, description = "Offset.", minimum = 0),
    ),
    responses((status = 200, description = "Where it is, also when nobody knows of it.", body = EventLocation)))]
pub(super) async fn locate(
    state: web::Data<HttpState>,
    path: web::Path<(String, i32, i64)>,
) -> Result<HttpResponse, Problem> {
    let (name, partition, offset) = path.into_inner();
    let name = topic(name)?;
    within("partition", partition, 0, i32::MAX)?;
    within("offset", offset, 0, i64::MAX)?;
    let found = state.events.get()?.locate(name, partition, offset).await?;
    Ok(HttpResponse::Ok().json(EventLocation::new(found, &state.mask)))
}
