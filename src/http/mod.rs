//! The HTTP server: what the board knows, for people, programs and Prometheus, and the orders of operators.
//!
//! | route | answer |
//! | --- | --- |
//! | `GET /` | the status page |
//! | `GET /assets/…` | its style, script and icon |
//! | `GET /api/v1/status` | the supervision tree, consumers, partitions and breaker as JSON |
//! | `GET /api/v1/children` | the supervised children: state, generation, restarts, budget, last end |
//! | `GET /api/v1/children/{id}/exits` | the last ends of a child |
//! | `POST /api/v1/children/{id}/restart` | starts a child again |
//! | `GET /api/v1/drills` | the drills, and the last reports |
//! | `GET /api/v1/drills/{number}` | the report of a drill |
//! | `POST /api/v1/drills` | runs a drill, where drills are allowed |
//! | `POST /api/v1/consumers/{id}/pause`, `/resume` | holds all that a consumer of this process owns, and lets go |
//! | `POST /api/v1/partitions/{topic}/{partition}/pause`, `/resume`, `/quarantine`, `/release` | the same of one partition |
//! | `POST /api/v1/scale` | changes how many consumers and writers there are |
//! | `GET /api/v1/audit-log` | who ordered what, when, and what became of it |
//! | `GET /api/v1/group` | all processes of the group with their consumers, and every partition with its owner |
//! | `GET /api/v1/rebalances` | the last rebalances of this process |
//! | `GET /metrics` | Prometheus text format 0.0.4 |
//! | `GET /health/live` | 200 while the process is alive |
//! | `GET /health/ready` | 200 while it does its work, else 503 with the reasons |
//!
//! `HEAD` works wherever `GET` does. Everything else is a problem document (RFC 9457). Bound: [`MAX_CONNECTIONS`]
//! connections on one worker thread. Fails at start when the address cannot be taken, and then not again.

mod assets;
mod auth;
mod children;
mod command_request;
mod commands;
mod drills;
mod error;
mod group;
mod health;
mod holds;
mod operator;
mod status;

pub use command_request::{ACTOR_HEADER, REQUEST_HEADER};
pub use drills::{DrillPort, DrillSlot};
pub use operator::{Operator, OperatorSlot};

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use actix_web::body::{BoxBody, MessageBody};
use actix_web::dev::{Server, ServiceRequest, ServiceResponse};
use actix_web::http::header::{self, HeaderMap, HeaderName, HeaderValue};
use actix_web::middleware::{Compress, Next, from_fn};
use actix_web::{App, HttpResponse, HttpServer, Responder, Route, guard, web};

use self::error::Problem;
use crate::board::Board;
use crate::config::HttpConfig;
use crate::metrics::{CONTENT_TYPE, Metrics};

/// Connections at once; more wait in the listener's backlog. The page holds one per tab, Prometheus one.
const MAX_CONNECTIONS: usize = 256;
/// How long a stop waits for answers that are being written.
const STOP_SECONDS: u64 = 2;

/// What the handlers see.
#[derive(Clone)]
pub struct HttpState {
    /// The live state of the process.
    pub board: Arc<Board>,
    /// The metrics that `/metrics` shows and requests are counted in.
    pub metrics: Metrics,
    /// Address and token.
    pub config: HttpConfig,
    /// Who carries out orders.
    pub operator: OperatorSlot,
    /// Who runs drills.
    pub drills: DrillSlot,
}

/// Takes the address and gives the server with the address that it really has. To be called inside an `actix::System`;
/// the server works once it is spawned or awaited, and ends through its [`handle`](Server::handle). Signals are not its
/// business.
///
/// # Errors
/// When the address cannot be taken; the message names it and what to do.
pub fn serve(state: HttpState) -> io::Result<(Server, SocketAddr)> {
    let addr = state.config.addr;
    let server = HttpServer::new(move || {
        App::new()
            .app_data(web::Data::new(state.clone()))
            .wrap(Compress::default())
            .wrap(from_fn(gate))
            .configure(routes)
            .default_service(web::to(error::not_found))
    })
    .workers(1)
    .max_connections(MAX_CONNECTIONS)
    .shutdown_timeout(STOP_SECONDS)
    .disable_signals()
    .bind(addr)
    .map_err(|source| bind_error(addr, &source))?;
    let bound = server.addrs().first().copied().unwrap_or(addr);
    Ok((server.run(), bound))
}

fn routes(app: &mut web::ServiceConfig) {
    app.service(resource("/metrics", get().to(metrics)))
        .service(resource("/health/live", get().to(health::live)))
        .service(resource("/health/ready", get().to(health::ready)))
        .service(resource("/api/v1/status", get().to(status::status)))
        .service(resource("/api/v1/children", get().to(children::children)))
        .service(resource("/api/v1/children/{id}/exits", get().to(children::exits)))
        .service(order("/api/v1/children/{id}/restart", web::post().to(children::restart)))
        .service(resource("/api/v1/drills", get().to(drills::list)).route(web::post().to(drills::start)))
        .service(resource("/api/v1/drills/{number}", get().to(drills::report)))
        .service(order("/api/v1/consumers/{id}/pause", web::post().to(holds::pause_consumer)))
        .service(order("/api/v1/consumers/{id}/resume", web::post().to(holds::resume_consumer)))
        .service(order(
            "/api/v1/partitions/{topic}/{partition}/{order:pause|resume|quarantine|release}",
            web::post().to(holds::partition),
        ))
        .service(order("/api/v1/scale", web::post().to(commands::scale)))
        .service(resource("/api/v1/audit-log", get().to(commands::audit_log)))
        .service(resource("/api/v1/group", get().to(group::group)))
        .service(resource("/api/v1/rebalances", get().to(group::rebalances)))
        .service(resource("/", get().to(assets::index)))
        .service(resource("/assets/{name}", get().to(assets::asset)));
}

fn resource(path: &'static str, route: Route) -> actix_web::Resource {
    web::resource(path).route(route).default_service(web::to(error::method_not_allowed))
}

/// A place that takes orders and shows nothing.
fn order(path: &'static str, route: Route) -> actix_web::Resource {
    web::resource(path).route(route).default_service(web::to(error::not_an_order))
}

fn get() -> Route {
    web::route().guard(guard::Any(guard::Get()).or(guard::Head()))
}

/// Stands before every route: refuses strange hosts, missing tokens and orders of foreign pages, counts, and adds the
/// security headers.
async fn gate(
    state: web::Data<HttpState>,
    request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<BoxBody>, actix_web::Error> {
    // The pattern, not the path: a scanner must not be able to make series.
    let route = request.match_pattern().unwrap_or_else(|| "unmatched".to_owned());
    let refusal = auth::refusal(&state.config, &request).or_else(|| command_request::refusal(&state.config, &request));
    let mut response = match refusal {
        Some(problem) => request.into_response(HttpResponse::from(problem)),
        None => next.call(request).await?.map_into_boxed_body(),
    };
    secure(response.headers_mut());
    state.metrics.http_requests.with_label_values(&[route.as_str(), response.status().as_str()]).inc();
    Ok(response)
}

/// Everything that is shown comes from this server, and nobody may frame it or keep it.
fn secure(headers: &mut HeaderMap) {
    const CSP: &str =
        "default-src 'self'; base-uri 'none'; object-src 'none'; form-action 'self'; frame-ancestors 'none'";
    for (name, value) in [
        (header::CONTENT_SECURITY_POLICY, CSP),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
        (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
        (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    if !headers.contains_key(header::CACHE_CONTROL) {
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    }
}

async fn metrics(state: web::Data<HttpState>) -> Result<impl Responder, Problem> {
    let text = state.metrics.encode().map_err(|error| Problem::internal(format!("metrics as text: {error}")))?;
    Ok(HttpResponse::Ok().content_type(CONTENT_TYPE).body(text))
}

fn bind_error(addr: SocketAddr, source: &io::Error) -> io::Error {
    let remedy = match source.kind() {
        io::ErrorKind::AddrInUse => {
            "another program, perhaps another drover, has it; choose another port, or 0 for any"
        }
        io::ErrorKind::PermissionDenied => "ports below 1024 need a privilege; choose a higher one",
        io::ErrorKind::AddrNotAvailable => "this machine has no such address; choose 127.0.0.1 or one of its own",
        _ => "choose another address",
    };
    let message = format!(
        "cannot listen on http.addr = {addr}: {source}; {remedy} (--http-addr, DROVER_HTTP_ADDR), or switch the server \
         off with http.enabled = false"
    );
    io::Error::new(source.kind(), message)
}
