//! Drills: their list, their reports, and the order to run one. Bound: the reports that are kept. Where drills are not
//! allowed every answer is 403 with the reason, and nothing else is there.

use std::sync::{Arc, OnceLock};

use actix_web::http::StatusCode;
use actix_web::{HttpRequest, HttpResponse, web};

use super::HttpState;
use super::command_request::{actor, body};
use super::error::Problem;
use crate::config::DrillsConfig;
use crate::domain::drill::{DrillList, DrillRefused, DrillReport, DrillRequest};

/// Who runs drills.
pub trait DrillPort: Send + Sync + 'static {
    /// Starts a drill and gives its report as it is now.
    ///
    /// # Errors
    /// One runs already, or the request makes no sense.
    fn start(&self, request: &DrillRequest, actor: &str) -> Result<DrillReport, DrillRefused>;

    /// Every drill and the last reports.
    fn list(&self) -> DrillList;

    /// The report of one drill, as long as it is kept.
    fn report(&self, number: u64) -> Option<DrillReport>;
}

/// The place of whoever runs drills. Clones share it.
#[derive(Clone)]
pub struct DrillSlot {
    allowed: bool,
    port: Arc<OnceLock<Arc<dyn DrillPort>>>,
}

impl DrillSlot {
    /// An empty place; it stays one where drills are not allowed.
    #[must_use]
    pub fn new(config: &DrillsConfig) -> Self {
        Self { allowed: config.enabled, port: Arc::default() }
    }

    /// Takes orders from now on. A second port is ignored: a process has one.
    pub fn set(&self, port: Arc<dyn DrillPort>) {
        // Only a second call is refused, see above.
        let _ = self.port.set(port);
    }

    /// Whether drills may be run here.
    pub(super) fn allowed(&self) -> bool {
        self.allowed
    }

    fn get(&self) -> Result<&Arc<dyn DrillPort>, Problem> {
        if !self.allowed {
            return Err(DrillRefused::NotAllowed.into());
        }
        self.port.get().ok_or_else(|| {
            let detail = "drover is still starting and runs no drills yet; /health/ready tells what it waits for";
            Problem::new(StatusCode::SERVICE_UNAVAILABLE, detail)
        })
    }
}

impl From<DrillRefused> for Problem {
    fn from(refused: DrillRefused) -> Self {
        let status = match &refused {
            DrillRefused::NotAllowed => StatusCode::FORBIDDEN,
            DrillRefused::Busy { .. } => StatusCode::CONFLICT,
            DrillRefused::Invalid(_) => StatusCode::UNPROCESSABLE_ENTITY,
        };
        Self::new(status, refused.to_string())
    }
}

/// The drills, and the last reports
#[utoipa::path(get, path = "/api/v1/drills", tag = "drills",
    responses((status = 200, description = "Newest report first.", body = DrillList), (status = 403, description = "Drills are not allowed here.", body = super::openapi::Problem, content_type = "application/problem+json")))]
pub(super) async fn list(state: web::Data<HttpState>) -> Result<HttpResponse, Problem> {
    Ok(HttpResponse::Ok().json(state.drills.get()?.list()))
}

/// Run a drill
///
/// It breaks something on purpose, and goes on when the sender goes away.
#[utoipa::path(post, path = "/api/v1/drills", tag = "drills", request_body = DrillRequest,
    responses((status = 202, description = "Its report as it is now.", body = DrillReport)))]
pub(super) async fn start(
    state: web::Data<HttpState>,
    request: HttpRequest,
    payload: web::Payload,
) -> Result<HttpResponse, Problem> {
    let actor = actor(&state.config, &request)?;
    let port = state.drills.get()?;
    let wanted: DrillRequest = body(payload).await?;
    Ok(HttpResponse::Accepted().json(port.start(&wanted, &actor)?))
}

/// The report of a drill
#[utoipa::path(get, path = "/api/v1/drills/{number}", tag = "drills",
    params(("number" = u64, Path, description = "Number of the drill.", minimum = 0)),
    responses(
        (status = 200, description = "Its report.", body = DrillReport), (status = 403, description = "Drills are not allowed here.", body = super::openapi::Problem, content_type = "application/problem+json"),
        (status = 404, description = "There was no such drill, or its report is not kept any more.", body = super::openapi::Problem, content_type = "application/problem+json"),
    ))]
pub(super) async fn report(state: web::Data<HttpState>, number: web::Path<u64>) -> Result<HttpResponse, Problem> {
    let number = number.into_inner();
    let report = state.drills.get()?.report(number).ok_or_else(|| {
        Problem::new(StatusCode::NOT_FOUND, format!("there is no report of a drill {number}; the last ones are kept"))
    })?;
    Ok(HttpResponse::Ok().json(report))
}
