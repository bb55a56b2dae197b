//! The end of a drill: waits until everything is as before, then accounts for every offset.
//!
//! Bound: [`RECOVERY_LIMIT`] for the wait. What is missing after it is a finding of the report, not an error.

use super::ground::{Ground, wait_for};
use super::load::Load;
use crate::actors::audit::{AuditKafka, audit_now};
use crate::kafka::rebalance::TopicPartition;
use crate::store::DeadLetterFilter;
use crate::store::audit::AuditScope;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// How long everything has to be as before: longer than a session of a group.
pub(super) const RECOVERY_LIMIT: Duration = Duration::from_secs(120);
/// How long brokers that were away have to answer again.
const ANSWER_LIMIT: Duration = Duration::from_secs(30);
/// Dead letters beside those of the drill that are looked through.
const OTHER_LETTERS: u32 = 5_000;

/// Where the logs ended when the fault did.
pub(super) async fn ends(ground: &Ground) -> Result<BTreeMap<TopicPartition, i64>, String> {
    let mut last = String::new();
    let found = wait_for!(
        "the ends of the partitions",
        ANSWER_LIMIT,
        match ground.ends().await {
            Ok(ends) => Some(ends),
            Err(error) => {
                last = error;
                None
            }
        }
    );
    found.map_err(|waited: String| format!("{waited}: {last}"))
}

/// Waits until every partition is stored past `ends`, `children` run and readiness is green; gives back how long that took
/// since `since`.
pub(super) async fn recovered(
    ground: &Ground,
    ends: &BTreeMap<TopicPartition, i64>,
    children: &BTreeSet<String>,
    since: Instant,
) -> Result<Duration, String> {
    let mut missing;
    let whole = wait_for!("everything to be as before", RECOVERY_LIMIT, {
        missing = what_is_missing(ground, ends, children).await;
        missing.is_empty().then(|| since.elapsed())
    });
    whole.map_err(|waited: String| format!("{waited}: {missing}"))
}

/// Empty when nothing is missing.
async fn what_is_missing(ground: &Ground, ends: &BTreeMap<TopicPartition, i64>, children: &BTreeSet<String>) -> String {
    let running = ground.running();
    if let Some(child) = children.difference(&running).next() {
        return format!("{child} does not run");
    }
    let readiness = ground.board.readiness();
    if !readiness.ready {
        return readiness.reasons.join("; ");
    }
    let positions = match ground.positions().await {
        Ok(positions) => positions,
        Err(error) => return error,
    };
    for (id, &end) in ends {
        let stored = positions.get(id).copied().unwrap_or(0);
        if stored < end {
            return format!("{} [{}] is stored up to {stored} of {end}", id.topic, id.partition);
        }
    }
    String::new()
}

/// Offsets that nothing accounts for, and offsets that more than one thing accounts for.
pub(super) async fn lost_and_doubled(ground: &Ground) -> Result<(i64, i64), String> {
    let kafka = AuditKafka { config: Arc::clone(&ground.kafka), lookup: Arc::clone(&ground.lookup) };
    let scope = AuditScope { topics: ground.kafka.topics.clone(), ..AuditScope::default() };
    let report = audit_now(&ground.store, &kafka, &scope, &mut |_| {}).await.map_err(|error| error.message)?;
    let lost = report.partitions.iter().map(|partition| partition.unaccounted_offsets + partition.lost_in_gaps()).sum();
    let doubled = report.partitions.iter().map(|partition| partition.overlapping).sum();
    Ok((lost, doubled))
}

/// How many dead letters the events of the drill became.
pub(super) async fn dead_letters(ground: &Ground, load: &Load) -> Result<u64, String> {
    let (_, poison) = load.sent();
    let limit = u32::try_from(poison).unwrap_or(u32::MAX).saturating_add(OTHER_LETTERS);
    let mut found = 0;
    for topic in &ground.kafka.topics {
        let filter = DeadLetterFilter { topic: Some(topic.clone()), code: None, limit };
        let letters = ground.store.dead_letters(&filter).await.map_err(|error| error.message)?;
        let ours = letters.iter().filter(|letter| {
            let mut headers = letter.record.headers.iter();
            headers.any(|(name, value)| name == b"drover_source" && value == Some(load.source().as_bytes()))
        });
        found += ours.count() as u64;
    }
    Ok(found)
}
