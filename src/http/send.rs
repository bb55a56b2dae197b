//! Sending events through Kafka: one, or a burst. Every one is an order: it needs the operator's role and is in the audit log.
//!
//! Bound: [`EVENT_BYTES`] for one, and those of bursts (domain/burst.rs). Fails with 422 for what can never be sent, with 409
//! while a burst is under way, with 429 while too many are on their way, with 503 while Kafka does not confirm.

use actix_web::http::StatusCode;
use actix_web::{HttpRequest, HttpResponse, web};
use serde::{Deserialize, Serialize};
use serde_json::json;
use serde_json::value::RawValue;
use utoipa::ToSchema;

use super::HttpState;
use super::command_request::{actor, body, body_within};
use super::error::Problem;
use super::event_port::NewEvent;
use crate::domain::burst::{BurstPlan, BurstReport, HIGHEST_RATE, MOST_EVENTS};
use crate::domain::command::CommandError;
use crate::store::audit_log::AuditEntry;

/// Largest body of a request that sends an event: what brokers take, unless told otherwise.
const EVENT_BYTES: usize = 1 << 20;
/// Who the rows say produced them.
const SOURCE: &str = "api";

/// An event to be sent: either `event` or `value`.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct SendEvent {
    /// Where to; one of the topics that are read, the first if not said.
    topic: Option<String>,
    /// Key of the record; the event's user if not said.
    key: Option<String>,
    /// The event, which is sent as it is written here.
    #[schema(value_type = Option<Object>)]
    event: Option<Box<RawValue>>,
    /// The value of the record as text, for one that is to be broken.
    value: Option<String>,
}

/// Where an event came to lie.
#[derive(Serialize, ToSchema)]
pub(super) struct Sent {
    /// Topic.
    topic: String,
    /// Partition.
    partition: i32,
    /// Offset.
    offset: i64,
    /// Who its row will say produced it.
    source: &'static str,
}

/// Send an event through Kafka
///
/// Answers when Kafka has confirmed it; `/api/v1/events/{topic}/{partition}/{offset}` tells how it goes on. The header
/// `drover_source` of the record is `api`.
#[utoipa::path(post, path = "/api/v1/events", tag = "events", request_body = SendEvent,
    responses((status = 202, description = "Kafka has it.", body = Sent)))]
pub(super) async fn send(
    state: web::Data<HttpState>,
    request: HttpRequest,
    payload: web::Payload,
) -> Result<HttpResponse, Problem> {
    let who = actor(&state.config, &request)?;
    let SendEvent { topic, key, event, value } = body_within(payload, EVENT_BYTES).await?;
    let value = match (event, value) {
        (Some(event), None) if event.get().starts_with('{') => event.get().as_bytes().to_vec(),
        (Some(_), None) => return Err(unprocessable("event is not a JSON object; send any other text as value")),
        (None, Some(value)) => value.into_bytes(),
        _ => return Err(unprocessable("send either event, a JSON object, or value, a text")),
    };
    let sending = state.events.get()?.send(NewEvent { topic: topic.clone(), key, value });
    // Whoever goes away before the answer has sent it all the same, and that is noted.
    let sending = actix_web::rt::spawn(async move {
        let sent = sending.await;
        let target = match &sent {
            Ok(sent) => format!("{} [{}] {}", sent.topic, sent.partition, sent.offset),
            Err(_) => topic.unwrap_or_default(),
        };
        note(&state, who, "send", target, sent.as_ref().err());
        sent
    });
    let sent = sending.await.map_err(|error| Problem::internal(format!("sending an event ended early: {error}")))??;
    let sent = Sent { topic: sent.topic, partition: sent.partition, offset: sent.offset, source: SOURCE };
    Ok(HttpResponse::Accepted().json(sent))
}

/// Made-up events to be sent.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct StartBurst {
    /// How many.
    #[schema(minimum = 1, maximum = 10000)]
    count: u64,
    /// How many a second.
    #[schema(minimum = 1, maximum = 2000)]
    rate_per_s: u64,
    /// Which share is broken on purpose; none if not said.
    #[schema(minimum = 0, maximum = 1)]
    poison_ratio: Option<f64>,
    /// Where to; one of the topics that are read, the first if not said.
    topic: Option<String>,
}

/// A burst that began.
#[derive(Serialize, ToSchema)]
pub(super) struct BurstStarted {
    /// Its number.
    burst_id: u64,
}

/// Send a burst of made-up events
///
/// One at a time. `/api/v1/events/burst/{id}` tells how it goes.
#[utoipa::path(post, path = "/api/v1/events/burst", tag = "events", request_body = StartBurst,
    responses((status = 202, description = "It has begun.", body = BurstStarted)))]
pub(super) async fn burst(
    state: web::Data<HttpState>,
    request: HttpRequest,
    payload: web::Payload,
) -> Result<HttpResponse, Problem> {
    let who = actor(&state.config, &request)?;
    let StartBurst { count, rate_per_s, poison_ratio, topic } = body(payload).await?;
    let poison_ratio = poison_ratio.unwrap_or(0.0);
    for (name, fits, range) in [
        ("count", (1..=MOST_EVENTS).contains(&count), format!("1 to {MOST_EVENTS}")),
        ("rate_per_s", (1..=HIGHEST_RATE).contains(&rate_per_s), format!("1 to {HIGHEST_RATE}")),
        ("poison_ratio", (0.0..=1.0).contains(&poison_ratio), "0 to 1".to_owned()),
    ] {
        if !fits {
            return Err(unprocessable(format!("{name} is not {range}")));
        }
    }
    let plan = BurstPlan { topic: topic.unwrap_or_default(), count, rate: rate_per_s, poison_ratio };
    let begun = state.events.get()?.start_burst(plan);
    let target = begun.as_ref().map_or_else(|_| String::new(), |report| format!("{} count={count}", report.plan.topic));
    note(&state, who, "burst", target, begun.as_ref().err());
    Ok(HttpResponse::Accepted().json(BurstStarted { burst_id: begun?.id }))
}

/// An event of a burst that Kafka has confirmed.
#[derive(Serialize, ToSchema)]
struct BurstEvent {
    /// Topic.
    topic: String,
    /// Partition.
    partition: i32,
    /// Offset.
    offset: i64,
    /// It was broken on purpose.
    poison: bool,
}

/// How a burst goes.
#[derive(Serialize, ToSchema)]
pub(super) struct Burst {
    /// Its number.
    id: u64,
    /// Events that were asked for.
    count: u64,
    /// Events that Kafka has confirmed.
    sent: u64,
    /// Broken ones among them.
    poison: u64,
    /// Events that were given up, or not sent after too many of those.
    failed: u64,
    /// The last reason.
    error: Option<String>,
    /// Nothing is on its way any more.
    done: bool,
    /// When it began, in milliseconds since the epoch.
    started_at_ms: i64,
    /// The last events, at most 20, newest first.
    last: Vec<BurstEvent>,
}

impl From<BurstReport> for Burst {
    fn from(report: BurstReport) -> Self {
        let topic = &report.plan.topic;
        let event = |one: &crate::domain::burst::BurstEvent| BurstEvent {
            topic: topic.clone(),
            partition: one.partition,
            offset: one.offset,
            poison: one.poison,
        };
        Self {
            id: report.id,
            count: report.plan.count,
            sent: report.sent,
            poison: report.poison,
            failed: report.failed,
            done: report.done,
            started_at_ms: report.started_at_ms,
            last: report.last.iter().map(event).collect(),
            error: report.error,
        }
    }
}

/// How a burst goes
#[utoipa::path(get, path = "/api/v1/events/burst/{id}", tag = "events",
    params(("id" = u64, Path, description = "Number of the burst.", minimum = 0)),
    responses(
        (status = 200, description = "Its counts.", body = Burst),
        (status = 404, description = "There was no such burst, or its report is not kept any more.", body = super::openapi::Problem, content_type = "application/problem+json"),
    ))]
pub(super) async fn burst_report(state: web::Data<HttpState>, id: web::Path<u64>) -> Result<HttpResponse, Problem> {
    let id = id.into_inner();
    let report = state.events.get()?.burst(id).ok_or_else(|| {
        Problem::new(StatusCode::NOT_FOUND, format!("there is no report of a burst {id}; the last ones are kept"))
    })?;
    Ok(HttpResponse::Ok().json(Burst::from(report)))
}

fn unprocessable(detail: impl Into<String>) -> Problem {
    Problem::new(StatusCode::UNPROCESSABLE_ENTITY, detail)
}

/// Counts what was ordered and puts it into the audit log, which nobody waits for.
fn note(state: &HttpState, actor: String, action: &str, target: String, error: Option<&CommandError>) {
    let outcome = error.map_or("ok", CommandError::outcome);
    state.metrics.commands.with_label_values(&[action, outcome]).inc();
    let Ok(operator) = state.operator.get() else { return };
    let detail = error.map(|error| json!({ "message": error.to_string() }));
    // It is written down where it runs; a failure is counted and told there.
    drop(operator.note(AuditEntry { actor, action: action.to_owned(), target, outcome: outcome.to_owned(), detail }));
}
