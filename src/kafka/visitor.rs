//! A member that joins the group for a moment and leaves again, for drills: the others rebalance twice for it.
//!
//! It reads nothing: partitions that it is given are paused at once, and it commits nothing. Bound: one client. Fails when
//! the client cannot be made.

use super::client::ClientIds;
use super::error::KafkaResult;
use super::group_consumer::{Former, GroupConsumer};
use super::rebalance::RebalanceEvent;
use crate::config::KafkaConfig;
use std::sync::Arc;
use std::time::Duration;

/// Its name in the group.
const NAME: &str = "drill-visitor";
/// It fetches as little as can be.
const FETCH_BYTES: usize = 1 << 20;
/// How long closing may take before it goes on in the background.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(5);

/// Joins the group, stays so long, and leaves. Gives back how many partitions it was given.
///
/// # Errors
/// A property that librdkafka does not take.
pub async fn visit(kafka: &KafkaConfig, stay: Duration) -> KafkaResult<usize> {
    let ids = ClientIds { consumer_id: NAME, group_instance_id: None };
    let visitor = GroupConsumer::join(kafka, &ids, FETCH_BYTES, &Former::default(), &Arc::default())?;
    let mut given = 0;
    {
        let mut records = visitor.records();
        let serve = async {
            loop {
                tokio::select! {
                    event = visitor.rebalance() => given += answer(&visitor, event),
                    // Polling keeps the membership; what comes was not meant to be read here, and is read again.
                    _ = records.next() => {}
                }
            }
        };
        let _ = tokio::time::timeout(stay, serve).await;
    }
    visitor.close(true, CLOSE_TIMEOUT).await;
    Ok(given)
}

/// Takes partitions without reading them, gives them back at once, and tells how many it was given.
fn answer(visitor: &GroupConsumer, event: RebalanceEvent) -> usize {
    let answered = match &event {
        RebalanceEvent::Assign(partitions) => {
            let at_the_start: Vec<_> = partitions.iter().map(|id| (id.clone(), 0)).collect();
            visitor.assign(&at_the_start).and_then(|()| visitor.pause(partitions))
        }
        RebalanceEvent::Revoke { partitions, .. } => visitor.unassign(partitions),
    };
    if let Err(error) = answered {
        tracing::debug!(error = %error, "the visitor's rebalance was overtaken");
    }
    match event {
        RebalanceEvent::Assign(partitions) => partitions.len(),
        RebalanceEvent::Revoke { .. } => 0,
    }
}
