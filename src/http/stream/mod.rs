//! `GET /api/v1/stream`, `/snapshot` and `/history`: what goes on, as it goes on, and as it went.
//!
//! | event | when |
//! | --- | --- |
//! | `snapshot` | each second: the whole process |
//! | `feed` | four times a second: what was committed, and how many rows more there were |
//! | `state` | a child changed |
//! | `command` | an order was carried out or refused |
//!
//! Every event has a number; whoever comes back with the last one that it saw gets what it missed. Bound: see `hub.rs`. Past the
//! last place a client is told to come back later.

mod client;
mod hub;
mod ring;

pub(super) use hub::{Hub, MOST_CLIENTS, Sources};

use super::HttpState;
use super::auth::{Caller, Entrance};
use super::error::Problem;
use super::query::{query, within};
use crate::domain::history::{FINE_MINUTES, HistoryView, MOST_MINUTES};
use crate::history::snapshot::Snapshot;
use actix_web::http::header::{self, HeaderName};
use actix_web::http::{Method, StatusCode};
use actix_web::{HttpRequest, HttpResponse, web};
use serde::Deserialize;
use utoipa::IntoParams;

/// The last event that a client saw.
const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");
/// When a client that found no place may come back, in seconds.
const COME_BACK_SECONDS: u64 = 5;

/// What a client of the stream wants.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields, default)]
#[into_params(parameter_in = Query)]
pub(super) struct StreamQuery {
    /// 0: no rows of the feed.
    #[param(minimum = 0, maximum = 1)]
    feed: Option<u8>,
    /// The last event that was seen, where the header `Last-Event-ID` cannot be set: a browser sets it only when it asks again
    /// by itself. The header counts.
    last_event_id: Option<String>,
}

/// What goes on, as it goes on
///
/// Server-sent events: `snapshot` each second, `feed` with what was committed, `state` of a child that changed, and `command`
/// for each order. Goes on until the client does; with the header `Last-Event-ID` (or `last_event_id`) it begins with what was missed.
#[utoipa::path(get, path = "/api/v1/stream", tag = "live", params(StreamQuery),
    responses((status = 200, description = "Events without end.", body = String, content_type = "text/event-stream")))]
pub(super) async fn stream(state: web::Data<HttpState>, request: HttpRequest) -> Result<HttpResponse, Problem> {
    let query: StreamQuery = query(&request)?;
    let feed = match query.feed {
        None | Some(1) => true,
        Some(0) => false,
        Some(other) => {
            return Err(Problem::new(StatusCode::BAD_REQUEST, format!("feed is {other}, and neither 0 nor 1")));
        }
    };
    let mut answer = HttpResponse::Ok();
    answer
        .content_type("text/event-stream")
        // Neither we nor a proxy may hold events back to compress or collect them.
        .insert_header((header::CONTENT_ENCODING, "identity"))
        .insert_header(("x-accel-buffering", "no"));
    if request.method() == Method::HEAD {
        return Ok(answer.finish());
    }
    let session = match Caller::of(&request).map(|caller| caller.entrance) {
        Some(Entrance::Session(id)) => Some(id),
        _ => None,
    };
    let last = request.headers().get(LAST_EVENT_ID).and_then(|id| id.to_str().ok()).or(query.last_event_id.as_deref());
    match state.hub.join(feed, session, last) {
        Some(events) => Ok(answer.body(events)),
        None => {
            let detail = format!("{MOST_CLIENTS} clients look at the stream, which are all that there may be");
            let problem = Problem::new(StatusCode::SERVICE_UNAVAILABLE, detail).code("too_many_streams");
            Err(problem.retry_after(COME_BACK_SECONDS))
        }
    }
}

/// The process as it is now
///
/// What the stream sends each second.
#[utoipa::path(get, path = "/api/v1/snapshot", tag = "live",
    responses((status = 200, description = "The process.", body = Snapshot)))]
pub(super) async fn snapshot(state: web::Data<HttpState>) -> HttpResponse {
    HttpResponse::Ok().content_type("application/json").body(state.hub.snapshot())
}

/// How far back.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields, default)]
#[into_params(parameter_in = Query)]
pub(super) struct HistoryQuery {
    /// Minutes; 5 if not said. Up to 5 the steps are of a second, past that of twelve.
    #[param(minimum = 1, maximum = 60)]
    minutes: Option<u32>,
}

/// The last minutes as series, for charts
#[utoipa::path(get, path = "/api/v1/history", tag = "live", params(HistoryQuery),
    responses((status = 200, description = "The series, of this process.", body = HistoryView)))]
pub(super) async fn history(state: web::Data<HttpState>, request: HttpRequest) -> Result<HttpResponse, Problem> {
    let asked: HistoryQuery = query(&request)?;
    let minutes = within("minutes", asked.minutes.unwrap_or(FINE_MINUTES), 1, MOST_MINUTES)?;
    Ok(HttpResponse::Ok().json(state.sampler.history(minutes)))
}
