//! Orders that keep partitions from being read, and that let them be read again. Bound: a reason of [`REASON_CHARACTERS`]. Fails
//! with a problem document when nothing has the name, nothing is held, or the store, which keeps holds, does not answer.

use std::time::Duration;

use actix_web::http::StatusCode;
use actix_web::{HttpRequest, HttpResponse, web};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::HttpState;
use super::commands::answer;
use super::error::Problem;
use crate::domain::command::{Command, Done, Scope};
use crate::domain::hold::HoldKind;

/// Longest reason: it stands in the log and on the page.
const REASON_CHARACTERS: usize = 500;
/// Longest time after which a hold ends by itself, in seconds.
const LASTS_SECONDS: u64 = 366 * 24 * 3600;

/// Why a consumer is paused.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct HoldConsumer {
    /// Why, for people: at most 500 characters.
    #[schema(max_length = 500)]
    reason: Option<String>,
}

/// Why a partition is held, and whether only while a consumer owns it.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct HoldPartition {
    /// Why, for people: at most 500 characters.
    #[schema(max_length = 500)]
    reason: Option<String>,
    /// Only if this consumer of this process owns it now.
    consumer_id: Option<String>,
    /// Until it ends by itself; until it is released if not said.
    #[schema(minimum = 1, maximum = 31622400)]
    for_seconds: Option<u64>,
}

/// What may be ordered about a partition.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[expect(dead_code, reason = "its handler takes the path as text, and this describes it")]
pub(super) enum PartitionOrder {
    /// Read no further.
    Pause,
    /// End a pause.
    Resume,
    /// Read no further, because somebody has to look.
    Quarantine,
    /// End a quarantine.
    Release,
}

/// Whether a partition is released only while a consumer owns it.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct ReleasePartition {
    /// Only if this consumer of this process owns it now.
    consumer_id: Option<String>,
}

/// Pause a consumer
///
/// Holds all that the consumer of this process owns.
#[utoipa::path(post, path = "/api/v1/consumers/{id}/pause", tag = "orders", request_body = Option<HoldConsumer>,
    params(("id" = String, Path, description = "Id of the consumer.")),
    responses((status = 200, description = "It is paused.", body = Done), (status = 404, description = "Nothing here has this name.", body = super::openapi::Problem, content_type = "application/problem+json")))]
pub(super) async fn pause_consumer(
    state: web::Data<HttpState>,
    request: HttpRequest,
    id: web::Path<String>,
    payload: web::Payload,
) -> Result<HttpResponse, Problem> {
    answer(&state, &request, payload, |body: HoldConsumer| {
        let scope = Scope::Consumer(id.into_inner());
        Ok(Command::Hold { scope, kind: HoldKind::Paused, reason: checked(body.reason)?, lasts: None })
    })
    .await
}

/// Let a paused consumer read on
#[utoipa::path(post, path = "/api/v1/consumers/{id}/resume", tag = "orders", request_body = Option<super::children::Nothing>,
    params(("id" = String, Path, description = "Id of the consumer.")),
    responses((status = 200, description = "It reads on.", body = Done), (status = 404, description = "Nothing here has this name.", body = super::openapi::Problem, content_type = "application/problem+json")))]
pub(super) async fn resume_consumer(
    state: web::Data<HttpState>,
    request: HttpRequest,
    id: web::Path<String>,
    payload: web::Payload,
) -> Result<HttpResponse, Problem> {
    answer(&state, &request, payload, |_: super::children::Nothing| {
        Ok(Command::Release { scope: Scope::Consumer(id.into_inner()), kind: HoldKind::Paused })
    })
    .await
}

/// Pause, resume, quarantine or release one partition
///
/// Whoever owns it, in any process of the group. To resume and release, only `consumer_id` may be said.
#[utoipa::path(post, path = "/api/v1/partitions/{topic}/{partition}/{order}", tag = "orders", request_body = Option<HoldPartition>,
    params(
        ("topic" = String, Path, description = "Topic."),
        ("partition" = i32, Path, description = "Partition.", minimum = 0),
        ("order" = PartitionOrder, Path, description = "What to do."),
    ),
    responses((status = 200, description = "It was done.", body = Done), (status = 404, description = "Nothing here has this name.", body = super::openapi::Problem, content_type = "application/problem+json")))]
pub(super) async fn partition(
    state: web::Data<HttpState>,
    request: HttpRequest,
    path: web::Path<(String, String, String)>,
    payload: web::Payload,
) -> Result<HttpResponse, Problem> {
    let (topic, number, verb) = path.into_inner();
    let Ok(partition) = number.parse::<i32>() else {
        return Err(Problem::new(StatusCode::NOT_FOUND, format!("{number:?} is not the number of a partition")));
    };
    let hold = |kind: HoldKind| {
        let topic = topic.clone();
        move |body: HoldPartition| {
            let scope = Scope::Partition { topic, partition, owner: body.consumer_id };
            Ok(Command::Hold { scope, kind, reason: checked(body.reason)?, lasts: lasts(body.for_seconds)? })
        }
    };
    let release = |kind: HoldKind| {
        let topic = topic.clone();
        move |body: ReleasePartition| {
            Ok(Command::Release { scope: Scope::Partition { topic, partition, owner: body.consumer_id }, kind })
        }
    };
    match verb.as_str() {
        "pause" => answer(&state, &request, payload, hold(HoldKind::Paused)).await,
        "quarantine" => answer(&state, &request, payload, hold(HoldKind::Quarantined)).await,
        "resume" => answer(&state, &request, payload, release(HoldKind::Paused)).await,
        // The route lets nothing else through.
        _ => answer(&state, &request, payload, release(HoldKind::Quarantined)).await,
    }
}

fn checked(reason: Option<String>) -> Result<Option<String>, Problem> {
    match reason {
        Some(reason) if reason.chars().count() > REASON_CHARACTERS || reason.chars().any(char::is_control) => {
            let detail = format!("reason is longer than {REASON_CHARACTERS} characters, or has control characters");
            Err(Problem::new(StatusCode::UNPROCESSABLE_ENTITY, detail))
        }
        reason => Ok(reason.map(|reason| reason.trim().to_owned()).filter(|reason| !reason.is_empty())),
    }
}

fn lasts(seconds: Option<u64>) -> Result<Option<Duration>, Problem> {
    if let Some(seconds) = seconds.filter(|seconds| !(1..=LASTS_SECONDS).contains(seconds)) {
        let detail = format!("for_seconds is {seconds}, and not 1 to {LASTS_SECONDS}, a year");
        return Err(Problem::new(StatusCode::UNPROCESSABLE_ENTITY, detail));
    }
    Ok(seconds.map(Duration::from_secs))
}
