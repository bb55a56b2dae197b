//! `GET /api/v1/group` and `GET /api/v1/rebalances`: the group as this process knows it. Bound: one entry per process,
//! child and partition, and the rebalances that are kept. The group is 503 until the store was asked for the first time.

use actix_web::http::StatusCode;
use actix_web::{HttpResponse, web};
use serde::Serialize;
use utoipa::ToSchema;

use super::HttpState;
use super::error::Problem;
use crate::domain::group::GroupView;
use crate::domain::rebalance::{KEPT, ReplicaRebalance, tell_who_took};

/// The rebalances of this process.
#[derive(Serialize, ToSchema)]
pub(super) struct Rebalances {
    /// The process.
    replica_id: String,
    /// Oldest first.
    rebalances: Vec<ReplicaRebalance>,
}

/// All processes of the group with their consumers, and every partition with its owner
#[utoipa::path(get, path = "/api/v1/group", tag = "process",
    responses((status = 200, description = "The group as this process knows it.", body = GroupView)))]
pub(super) async fn group(state: web::Data<HttpState>) -> Result<HttpResponse, Problem> {
    match state.board.group() {
        Some(group) => Ok(HttpResponse::Ok().json(&*group)),
        None => Err(Problem::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "the group is not known yet: this process has just started, or the store does not answer; /health/ready says why",
        )),
    }
}

/// What the last rebalances of this process moved
#[utoipa::path(get, path = "/api/v1/rebalances", tag = "process",
    responses((status = 200, description = "The rebalances that are kept.", body = Rebalances)))]
pub(super) async fn rebalances(state: web::Data<HttpState>) -> HttpResponse {
    let replica_id = state.board.identity().replica_id;
    let entry = |rebalance| ReplicaRebalance { replica_id: replica_id.clone(), rebalance };
    let rebalances = tell_who_took(state.board.rebalances(KEPT).into_iter().map(entry).collect());
    HttpResponse::Ok().json(Rebalances { replica_id, rebalances })
}
