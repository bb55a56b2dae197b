//! The two questions of an orchestrator: start it again? send it work? Reads the board. Cannot fail.

use std::time::Duration;

use actix_web::{HttpResponse, web};
use serde::Serialize;
use utoipa::ToSchema;

use super::HttpState;

/// Silence of the supervisor after which the process counts as stuck. It gives a sign of life about once a second.
const SUPERVISOR_SILENCE: Duration = Duration::from_secs(15);

/// An answer to an orchestrator.
#[derive(Serialize, ToSchema)]
pub(super) struct Health {
    /// `live`, `stuck`, `ready` or `not_ready`.
    status: &'static str,
    /// One sentence for each thing that is wrong.
    reasons: Vec<String>,
}

/// Whether the process is alive
///
/// 200 while it is worth keeping: this answers, and the supervisor is not stuck. What is wrong with the broker or the store is
/// no reason to kill it.
#[utoipa::path(get, path = "/health/live", tag = "health", responses(
    (status = 200, description = "It is.", body = Health),
    (status = 503, description = "It is stuck and should be started again.", body = Health),
))]
pub(super) async fn live(state: web::Data<HttpState>) -> HttpResponse {
    match state.board.beat_age() {
        Some(age) if age > SUPERVISOR_SILENCE => HttpResponse::ServiceUnavailable().json(Health {
            status: "stuck",
            reasons: vec![format!("the supervisor has given no sign of life for {} s", age.as_secs())],
        }),
        _ => HttpResponse::Ok().json(Health { status: "live", reasons: vec![] }),
    }
}

/// Whether the process does its work
#[utoipa::path(get, path = "/health/ready", tag = "health", responses(
    (status = 200, description = "It does.", body = Health),
    (status = 503, description = "It does not, for these reasons.", body = Health),
))]
pub(super) async fn ready(state: web::Data<HttpState>) -> HttpResponse {
    let readiness = state.board.readiness();
    if readiness.ready {
        HttpResponse::Ok().json(Health { status: "ready", reasons: vec![] })
    } else {
        HttpResponse::ServiceUnavailable().json(Health { status: "not_ready", reasons: readiness.reasons })
    }
}
