//! `GET /api/v1/status`: the whole board as one JSON document. Bound: one entry per child and owned partition. Cannot fail.

use std::collections::BTreeMap;
use std::time::{SystemTime, UNIX_EPOCH};

use actix_web::{HttpResponse, web};
use serde::Serialize;
use utoipa::ToSchema;

use super::HttpState;
use crate::board::{Board, Identity, Readiness};
use crate::domain::audit::AuditResult;
use crate::domain::status::{BreakerStatus, ChildKind, ChildState, ChildStatus, ConsumerStatus};

/// The document. Times that end in `_ms` are milliseconds since the epoch, `uptime_ms` milliseconds since the start.
#[derive(Serialize, ToSchema)]
pub(super) struct Status<'a> {
    #[serde(flatten)]
    identity: Identity,
    started_at_ms: i64,
    now_ms: i64,
    uptime_ms: u64,
    draining: bool,
    readiness: Readiness,
    breaker: BreakerStatus,
    /// The last audit of the group; null before the first, and where none is scheduled.
    audit: Option<AuditResult>,
    consumers: Vec<Consumer>,
    children: &'a [ChildStatus],
}

/// A consumer: what it says of itself, and what the supervisor says of it.
#[derive(Serialize, ToSchema)]
#[schema(as = StatusConsumer)]
struct Consumer {
    #[serde(flatten)]
    status: ConsumerStatus,
    state: Option<ChildState>,
    restarts: u64,
    /// Sum over the owned partitions; `None` while one of them is unknown.
    lag: Option<i64>,
}

/// The supervision tree, consumers, partitions with lag, and the breaker
#[utoipa::path(get, path = "/api/v1/status", tag = "process",
    responses((status = 200, description = "What the process knows of itself now.", body = Status<'_>)))]
pub(super) async fn status(state: web::Data<HttpState>) -> HttpResponse {
    let board = &state.board;
    let children = board.children();
    HttpResponse::Ok().json(Status {
        identity: board.identity(),
        started_at_ms: board.started_at_ms(),
        now_ms: now_ms(),
        uptime_ms: u64::try_from(board.uptime().as_millis()).unwrap_or(u64::MAX),
        draining: board.draining(),
        readiness: board.readiness(),
        breaker: board.breaker(),
        audit: board.audit(),
        consumers: consumers(board, &children),
        children: &children,
    })
}

/// Every consumer that either side knows: one that has not said anything yet shows zeros.
fn consumers(board: &Board, children: &[ChildStatus]) -> Vec<Consumer> {
    let mut said: BTreeMap<String, ConsumerStatus> =
        board.consumers().into_iter().map(|status| (status.id.clone(), status)).collect();
    let supervised = children.iter().filter(|child| child.kind == ChildKind::Consumer).map(|child| {
        let silent = || ConsumerStatus { id: child.id.clone(), ..Default::default() };
        (said.remove(&child.id).unwrap_or_else(silent), Some(child))
    });
    let mut all: Vec<_> = supervised.collect();
    all.extend(said.into_values().map(|status| (status, None)));
    all.into_iter()
        .map(|(status, child)| Consumer {
            lag: status.partitions.iter().map(|partition| partition.lag).sum(),
            state: child.map(|child| child.state),
            restarts: child.map_or(0, |child| child.restarts),
            status,
        })
        .collect()
}

fn now_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}
