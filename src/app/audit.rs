//! The audit that runs by itself, as a child.

use super::policy;
use super::prepare::Prepared;
use crate::actors::audit::{AuditKafka, AuditTask};
use crate::actors::child::ChildSpec;
use crate::board::Board;
use crate::config::Config;
use crate::domain::status::ChildKind;
use crate::metrics::Metrics;
use std::sync::Arc;

/// The schedule of the audit; `None` where `audit.interval` is zero. It restarts like the metrics actor: both only look.
pub fn audit_child(
    config: &Config,
    prepared: &Prepared,
    board: &Arc<Board>,
    metrics: &Metrics,
    replica_id: &str,
) -> Option<ChildSpec> {
    let interval = config.audit.interval;
    if interval.is_zero() {
        return None;
    }
    let kafka = AuditKafka { config: Arc::new(config.kafka.clone()), lookup: Arc::clone(&prepared.lookup) };
    let (store, board, metrics, replica_id) =
        (Arc::clone(&prepared.store), Arc::clone(board), metrics.clone(), replica_id.to_owned());
    let task = move || AuditTask {
        store: Arc::clone(&store),
        kafka: kafka.clone(),
        interval,
        replica_id: replica_id.clone(),
        board: Arc::clone(&board),
        metrics: metrics.clone(),
    };
    Some(ChildSpec::new("audit", ChildKind::Audit, policy(&config.supervision.metrics), task))
}
