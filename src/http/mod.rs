//! The HTTP server: what the board knows, for people, programs and Prometheus, and the orders of operators.
//!
//! | route | answer |
//! | --- | --- |
//! | `GET /`, and what is below it without a dot | the page |
//! | `GET /assets/…` | its styles, scripts and icons |
//! | `GET`, `POST`, `DELETE /api/v1/session` | who asks; logging in, and out |
//! | `GET /api/v1/stream` | server-sent events: the process each second, what is committed, states, orders |
//! | `GET /api/v1/snapshot`, `/api/v1/history` | the process as it is now, and the last minutes as numbers |
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
//! `HEAD` works wherever `GET` does. Everything else is a problem document (RFC 9457). All of it is there below
//! `http.base_path` as well. Whoever was not recognised sees the page, health and whether a login is needed, and nothing else.
//! Bound: [`MAX_CONNECTIONS`] connections on one worker thread. Fails at start when the address cannot be taken, and then not
//! again.

mod assets;
mod auth;
mod children;
mod command_request;
mod commands;
mod configuration;
mod drills;
mod error;
mod event_port;
mod events;
mod group;
mod health;
mod holds;
mod limits;
mod openapi;
mod openapi_page;
mod operator;
mod query;
mod queue;
mod send;
mod session;
mod statistics;
mod status;
mod stream;
mod types;

pub use command_request::{ACTOR_HEADER, REQUEST_HEADER};
pub use drills::{DrillPort, DrillSlot};
pub use event_port::{EventPort, EventSlot, Later, Location, NewEvent, SentEvent};
pub use openapi::document as openapi;
pub use operator::{Operator, OperatorSlot};

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use actix_web::body::{BoxBody, MessageBody};
use actix_web::dev::{HttpServiceFactory, Server, ServiceRequest, ServiceResponse};
use actix_web::http::StatusCode;
use actix_web::http::header::{self, HeaderMap, HeaderName, HeaderValue};
use actix_web::middleware::{Compress, Next, from_fn};
use actix_web::{App, HttpRequest, HttpResponse, HttpServer, Resource, Responder, Route, guard, web};

use self::assets::Assets;
use self::error::Problem;
use self::limits::Limits;
use self::session::{Sessions, WRONG_TOKEN_DELAY};
use self::stream::{Hub, Sources};
use crate::board::Board;
use crate::config::{DrillsConfig, HttpConfig, Setting};
use crate::domain::mask::Mask;
use crate::domain::sketch::Popular;
use crate::feed::Feed;
use crate::history::Sampler;
use crate::metrics::{CONTENT_TYPE, Metrics};

/// Connections at once; more wait in the listener's backlog. The page holds one per tab, Prometheus one.
const MAX_CONNECTIONS: usize = 256;
/// How long a stop waits for answers that are being written.
const STOP_SECONDS: u64 = 2;
/// How long the head of a request may take to arrive.
const HEAD_TIMEOUT: Duration = Duration::from_secs(5);

/// What the handlers see.
#[derive(Clone)]
pub struct HttpState {
    /// The live state of the process.
    pub board: Arc<Board>,
    /// The metrics that `/metrics` shows and requests are counted in.
    pub metrics: Metrics,
    /// Address, tokens, and what is hidden.
    pub config: HttpConfig,
    /// Who carries out orders.
    pub operator: OperatorSlot,
    /// Who runs drills.
    pub drills: DrillSlot,
    /// What of events is never shown.
    pub mask: Arc<Mask>,
    /// Who finds, counts and sends events.
    pub events: EventSlot,
    /// What is frequent among the events of this process.
    pub popular: Arc<Popular>,
    /// What the configuration was made from; secrets are hidden in it.
    pub settings: Arc<Vec<Setting>>,
    hub: Arc<Hub>,
    sampler: Arc<Sampler>,
    assets: Arc<Assets>,
    sessions: Arc<Sessions>,
    limits: Arc<Limits>,
}

impl HttpState {
    /// What is there before anything takes orders: no drills. `mask` hides what of events is never shown, `feed` tells what
    /// was committed and ordered.
    #[must_use]
    pub fn new(board: Arc<Board>, metrics: Metrics, config: HttpConfig, mask: Mask, feed: Arc<Feed>) -> Self {
        let popular = feed.popular();
        let (mask, sessions) = (Arc::new(mask), Arc::new(Sessions::new(&config)));
        let sampler = Arc::new(Sampler::new(Arc::clone(&board), metrics.clone()));
        let sources = Sources {
            board: Arc::clone(&board),
            sampler: Arc::clone(&sampler),
            feed,
            mask: Arc::clone(&mask),
            sessions: Arc::clone(&sessions),
            metrics: metrics.clone(),
        };
        Self {
            popular,
            events: EventSlot::default(),
            settings: Arc::default(),
            hub: Arc::new(Hub::new(sources)),
            sampler,
            board,
            metrics,
            assets: Arc::new(Assets::new(&config.base_path)),
            sessions,
            config,
            operator: OperatorSlot::default(),
            drills: DrillSlot::new(&DrillsConfig { enabled: false }),
            mask,
            limits: Arc::default(),
        }
    }
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
        // On the worker's own thread, so that an event wakes no other one.
        actix_web::rt::spawn(Arc::clone(&state.hub).run());
        let base = web::scope(&state.config.base_path).configure(routes);
        App::new()
            .app_data(web::Data::new(state.clone()))
            .app_data(web::PathConfig::default().error_handler(|error, _| query::invalid(error.to_string()).into()))
            .wrap(Compress::default())
            .wrap(from_fn(gate))
            // A proxy takes the base path off, or passes it on.
            .configure(|app| {
                if !state.config.base_path.is_empty() {
                    app.service(base);
                }
            })
            .configure(routes)
            .default_service(web::to(assets::page))
    })
    .workers(1)
    .max_connections(MAX_CONNECTIONS)
    .client_request_timeout(HEAD_TIMEOUT)
    .shutdown_timeout(STOP_SECONDS)
    .disable_signals()
    .bind(addr)
    .map_err(|source| bind_error(addr, &source))?;
    let bound = server.addrs().first().copied().unwrap_or(addr);
    Ok((server.run(), bound))
}

fn routes(app: &mut web::ServiceConfig) {
    app.service(resource("/metrics", get().to(metrics)))
        .service(open("/health/live", get().to(health::live)))
        .service(open("/health/ready", get().to(health::ready)))
        .service(
            place("/api/v1/session", "GET, HEAD, POST, DELETE")
                .route(get().to(session::show))
                .route(web::post().to(session::begin))
                .route(web::delete().to(session::end)),
        )
        .service(resource("/api/v1/stream", get().to(stream::stream)))
        .service(resource("/api/v1/snapshot", get().to(stream::snapshot)))
        .service(resource("/api/v1/history", get().to(stream::history)))
        .service(resource("/api/v1/status", get().to(status::status)))
        .service(resource("/api/v1/children", get().to(children::children)))
        .service(resource("/api/v1/children/{id}/exits", get().to(children::exits)))
        .service(order("/api/v1/children/{id}/restart", web::post().to(children::restart)))
        .service(both("/api/v1/drills", get().to(drills::list), web::post().to(drills::start)))
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
        .service(both("/api/v1/events", get().to(events::list), web::post().to(send::send)))
        .service(resource("/api/v1/events/find", get().to(events::find)))
        .service(order("/api/v1/events/burst", web::post().to(send::burst)))
        .service(resource("/api/v1/events/burst/{id}", get().to(send::burst_report)))
        .service(resource("/api/v1/events/{topic}/{partition}/{offset}", get().to(events::locate)))
        .service(resource("/api/v1/statistics", get().to(statistics::statistics)))
        .service(resource("/api/v1/queue", get().to(queue::queue)))
        .service(resource("/api/v1/configuration", get().to(configuration::configuration)))
        .service(open("/api/v1/openapi.json", get().to(openapi::json)))
        .service(open("/api", get().to(openapi::page)))
        .service(open("/api/page.css", get().to(openapi::style)))
        .service(open("/", get().to(assets::page)))
        .service(open("/assets/{name:.*}", get().to(assets::page)));
}

/// A place that shows something, to those who were recognised.
fn resource(path: &'static str, route: Route) -> impl HttpServiceFactory {
    closed(open(path, route))
}

/// A place that takes orders and shows nothing.
fn order(path: &'static str, route: Route) -> impl HttpServiceFactory {
    closed(place(path, "POST").route(route))
}

/// A place that shows something and takes orders.
fn both(path: &'static str, show: Route, order: Route) -> impl HttpServiceFactory {
    closed(place(path, "GET, HEAD, POST").route(show).route(order))
}

/// A place for everybody that shows something.
fn open(path: &'static str, route: Route) -> Resource {
    place(path, "GET, HEAD").route(route)
}

/// A place that refuses every method but those of its routes, which it names.
fn place(path: &'static str, methods: &'static str) -> Resource {
    let refuse = move |request: HttpRequest| async move { error::method_not_allowed(&request, methods) };
    web::resource(path).default_service(web::to(refuse))
}

/// The same only for those who were recognised.
fn closed(resource: Resource) -> impl HttpServiceFactory {
    resource.wrap(from_fn(auth::let_in))
}

fn get() -> Route {
    web::route().guard(guard::Any(guard::Get()).or(guard::Head()))
}

/// Stands before every route: finds out who asks, refuses strange hosts and orders of foreign pages, counts, and adds the
/// security headers.
async fn gate(
    state: web::Data<HttpState>,
    request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<BoxBody>, actix_web::Error> {
    // The pattern, not the path: a scanner must not be able to make series.
    let route = request.match_pattern().unwrap_or_else(|| "unmatched".to_owned());
    let mut response = match admit(&state, &request).await {
        Err(problem) => request.into_response(HttpResponse::from(problem)),
        Ok(()) => next.call(request).await?.map_into_boxed_body(),
    };
    secure(response.headers_mut());
    let route = auth::without_base(&state.config, &route);
    state.metrics.http_requests.with_label_values(&[route, response.status().as_str()]).inc();
    Ok(response)
}

async fn admit(state: &HttpState, request: &ServiceRequest) -> Result<(), Problem> {
    if auth::recognise(&state.config, &state.sessions, request)? {
        let peer = request.peer_addr().map(|peer| peer.ip());
        if let Err(wait) = state.limits.take(peer, Instant::now()) {
            let problem = Problem::new(StatusCode::TOO_MANY_REQUESTS, "too many wrong tokens from this address");
            return Err(problem.retry_after(wait.as_secs() + 1));
        }
        tracing::warn!(?peer, "a request with a wrong token");
        tokio::time::sleep(WRONG_TOKEN_DELAY).await;
        if command_request::is_order(request) {
            return Err(auth::unknown());
        }
    }
    if command_request::is_order(request)
        && let Err(wait) = state.limits.take(request.peer_addr().map(|peer| peer.ip()), Instant::now())
    {
        let problem = Problem::new(StatusCode::TOO_MANY_REQUESTS, "too many orders from this address; send fewer");
        return Err(problem.retry_after(wait.as_secs() + 1));
    }
    command_request::refusal(request).map_or(Ok(()), Err)
}

/// Everything that is shown comes from this server, and nobody may frame it or keep it.
fn secure(headers: &mut HeaderMap) {
    const CSP: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; \
                       font-src 'self'; connect-src 'self'; base-uri 'self'; form-action 'self'; frame-ancestors 'none'";
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

/// The metrics
#[utoipa::path(get, path = "/metrics", tag = "health",
    responses((status = 200, description = "Prometheus text format 0.0.4.", body = String, content_type = "text/plain")))]
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
