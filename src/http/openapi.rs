//! The description of the API: an OpenAPI 3.1 document made from the types and handlers, and a page that shows it.
//!
//! What every route can answer, because it stands before all of them, is added in one place. The document is made once; the
//! copy in docs/openapi.json is compared with it by a test. Cannot fail.

use std::sync::LazyLock;

use actix_web::{HttpResponse, web};
use serde::Serialize;
use serde_json::json;
use utoipa::openapi::path::{Operation, ParameterBuilder, ParameterIn};
use utoipa::openapi::security::{ApiKey, ApiKeyValue, Http, HttpAuthScheme, SecurityScheme};
use utoipa::openapi::{
    ContentBuilder, ObjectBuilder, OpenApi as Document, Ref, RefOr, Required, Response, ResponseBuilder, Type,
};
use utoipa::{Modify, OpenApi, ToSchema};

use super::command_request::{ACTOR_CHARACTERS, ACTOR_HEADER, REQUEST_HEADER};
use super::{HttpState, children, commands, configuration, drills, events, group, health, holds, openapi_page, queue};
use super::{send, session, statistics, status, stream};

/// What goes wrong with a request (RFC 9457), of type `application/problem+json`.
#[derive(Serialize, ToSchema)]
pub(super) struct Problem {
    /// Always `about:blank`: status and code tell the kind.
    r#type: String,
    /// The status in words.
    title: String,
    /// The status.
    status: u16,
    /// What is wrong and what to do, for people.
    detail: String,
    /// What is wrong, as a stable word for programs, such as `not_found`, `invalid_parameter`, `forbidden` or `unavailable`.
    code: String,
}

#[derive(OpenApi)]
#[openapi(
    info(
        title = "drover",
        description = "What a drover knows and does. Errors are problem documents (RFC 9457) with a stable `code`. Times that end in `_ms` are milliseconds since the epoch, or durations where the name says so.",
        license(name = "MIT OR Apache-2.0"),
        contact()
    ),
    tags(
        (name = "process", description = "The process, its supervision tree and the group that it belongs to."),
        (name = "live", description = "What goes on now, and what went on a moment ago."),
        (name = "events", description = "What was stored and could not be, and how to send more."),
        (name = "orders", description = "What an operator can order, and the log of it."),
        (name = "drills", description = "Faults made on purpose, where that is allowed."),
        (name = "session", description = "Logging in with a browser."),
        (name = "health", description = "For orchestrators and Prometheus."),
    ),
    paths(
        status::status,
        children::children,
        children::exits,
        children::restart,
        stream::stream,
        stream::snapshot,
        stream::history,
        group::group,
        group::rebalances,
        configuration::configuration,
        events::list,
        events::find,
        events::locate,
        send::send,
        send::burst,
        send::burst_report,
        statistics::statistics,
        queue::queue,
        holds::pause_consumer,
        holds::resume_consumer,
        holds::partition,
        commands::scale,
        commands::audit_log,
        drills::list,
        drills::start,
        drills::report,
        session::show,
        session::begin,
        session::end,
        health::live,
        health::ready,
        super::metrics,
        json,
    ),
    components(schemas(Problem, holds::PartitionOrder)),
    modifiers(&Everywhere),
)]
struct Api;

/// What every route can answer, and how to be let in.
struct Everywhere;

impl Modify for Everywhere {
    fn modify(&self, document: &mut Document) {
        document.info.contact = None;
        for (path, item) in &mut document.paths.paths {
            let is_open = path.starts_with("/health/") || path == "/api/v1/session" || path == "/api/v1/openapi.json";
            let methods = [(&mut item.get, false), (&mut item.post, true), (&mut item.delete, true)];
            for (operation, changes) in methods.into_iter().filter_map(|(one, changes)| Some((one.as_mut()?, changes)))
            {
                refusals(operation, is_open, changes);
                let asks_running = path.starts_with("/api/v1/") && !is_open;
                if asks_running {
                    add(
                        operation,
                        503,
                        "What is needed for the answer does not answer, or the process is still starting.",
                    );
                }
            }
        }
        if let Some(components) = &mut document.components {
            components.add_security_scheme("token", SecurityScheme::Http(Http::new(HttpAuthScheme::Bearer)));
            let cookie = ApiKeyValue::new("drover_session_8080");
            components.add_security_scheme("session", SecurityScheme::ApiKey(ApiKey::Cookie(cookie)));
        }
    }
}

fn refusals(operation: &mut Operation, is_open: bool, changes: bool) {
    add(operation, 421, "Without a token only addresses and localhost are known as hosts.");
    if !is_open {
        add(operation, 401, "A token is needed.");
    }
    if operation.parameters.as_ref().is_some_and(|parameters| !parameters.is_empty()) || changes {
        add(operation, 400, "A parameter or the body has a value that it cannot have.");
    }
    if is_events(operation) {
        add(operation, 429, "Too much is asked at once; Retry-After says when to come back.");
    }
    if changes {
        headers(operation);
        add(operation, 403, "A viewer, a foreign page, or anybody where no orders are taken.");
        add(operation, 408, "The body did not arrive in time.");
        add(operation, 409, "Not possible as things are now.");
        add(operation, 413, "The body is too large.");
        add(operation, 415, "Send a JSON object, or no body and the header X-Drover-Request.");
        add(operation, 422, "Never possible with this value.");
        add(operation, 429, "Too many orders of this address; Retry-After says when to come back.");
    }
}

/// The headers of what changes something.
fn headers(operation: &mut Operation) {
    let header = |name: &str, schema: ObjectBuilder, required: bool, description: &str| {
        let required = if required { Required::True } else { Required::False };
        let header = ParameterBuilder::new().name(name).parameter_in(ParameterIn::Header).required(required);
        RefOr::T(header.schema(Some(schema)).description(Some(description)).build())
    };
    let text = || ObjectBuilder::new().schema_type(Type::String);
    let meant = text().examples([json!("1")]);
    let actor = text().pattern(Some(format!("^[!-~]{{1,{ACTOR_CHARACTERS}}}$"))).max_length(Some(ACTOR_CHARACTERS));
    let no_body = operation.request_body.is_none();
    let said = "Says that a request without a body was meant; a foreign page cannot send it.";
    let parameters = operation.parameters.get_or_insert_default();
    parameters.push(header(REQUEST_HEADER, meant, no_body, said));
    // A session is its own name.
    if !operation.tags.as_ref().is_some_and(|tags| tags.iter().any(|tag| tag == "session")) {
        let sender = "Who sends the order, for the audit log. It proves nothing.";
        parameters.push(header(ACTOR_HEADER, actor, false, sender));
    }
}

/// Whether it asks the store under a limit of its own.
fn is_events(operation: &Operation) -> bool {
    operation.tags.as_ref().is_some_and(|tags| tags.iter().any(|tag| tag == "events"))
}

/// Adds a problem document as an answer, unless the handler described that status itself.
fn add(operation: &mut Operation, status: u16, description: &str) {
    let answer = || -> RefOr<Response> {
        let problem = ContentBuilder::new().schema(Some(Ref::from_schema_name("Problem"))).build();
        let answer = ResponseBuilder::new().description(description).content("application/problem+json", problem);
        answer.build().into()
    };
    operation.responses.responses.entry(status.to_string()).or_insert_with(answer);
}

/// The document.
#[must_use]
pub fn document() -> Document {
    Api::openapi()
}

static JSON: LazyLock<String> =
    LazyLock::new(|| document().to_pretty_json().expect("a document of names and texts is JSON"));
static PAGE: LazyLock<String> = LazyLock::new(|| {
    let document = serde_json::from_str(&JSON).expect("it was written as JSON");
    openapi_page::page(&document)
});

/// This description
#[utoipa::path(get, path = "/api/v1/openapi.json", tag = "process",
    responses((status = 200, description = "OpenAPI 3.1.", body = Object)))]
pub(super) async fn json(_state: web::Data<HttpState>) -> HttpResponse {
    HttpResponse::Ok().content_type("application/json").body(JSON.as_str())
}

/// The description for people.
pub(super) async fn page() -> HttpResponse {
    HttpResponse::Ok().content_type("text/html; charset=utf-8").body(PAGE.as_str())
}

/// How it looks.
pub(super) async fn style() -> HttpResponse {
    HttpResponse::Ok().content_type("text/css; charset=utf-8").body(include_str!("page/openapi.css"))
}
