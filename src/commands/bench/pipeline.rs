//! `drover bench pipeline`: a full topic, drained by `drover run`.
//!
//! One run: a fresh group and store, the process, the positions until all is stored, then the costs, and last what is in the
//! store by SQL. Fails when the process ends, when nothing is stored any more, or when the store does not answer.

use super::figures::Run;
use super::ground::{Ground, Stage};
use super::lookers::Lookers;
use super::meter::{Follow, Meter};
use super::processes::pid_of;
use crate::domain::hold::{Hold, HoldKind, HoldScope};
use crate::store::Store;
use anyhow::Context as _;
use std::time::Instant;

/// When the holds of a run would end by themselves, in milliseconds since the epoch: a moment that no run lives to see, by
/// which all of them are released at once.
const HELD_UNTIL_MS: i64 = 253_402_300_000_000;

/// What is drained.
pub struct Drain<'a> {
    /// The topic.
    pub topic: &'a str,
    /// Its partitions.
    pub partitions: i32,
    /// Events on it.
    pub delivered: u64,
    /// Hold all partitions until the group has come together.
    pub wait_for_group: bool,
    /// Clients that look at its live stream meanwhile.
    pub stream_clients: u32,
}

/// Drains the topic once.
///
/// # Errors
/// See the module.
pub async fn run(ground: &mut Ground<'_>, drain: &Drain<'_>) -> anyhow::Result<Run> {
    let consumers = ground.config.consumers.ids.len();
    let brokers = ground.config.kafka.brokers.clone();
    let (stage, store) = ground.set_stage().await?;
    let held = if drain.wait_for_group {
        hold(&*store, drain).await?;
        Some(store)
    } else {
        // The file of a SQLite store belongs to the process that writes it.
        drop(store);
        None
    };
    let meter = Meter::start(&mut *stage.session, &stage.facts, Some(&brokers), None).await?;
    let Stage { session, child, .. } = ground.start(drain.topic)?;
    let child = child.as_mut().context("it was started just now")?;
    let lookers = match drain.stream_clients {
        0 => None,
        clients => Some(Lookers::start(child.client().await?, clients).await?),
    };
    if let Some(store) = held {
        let partitions = usize::try_from(drain.partitions).unwrap_or(0);
        // The holds are no reason not to be ready, but the lag that they cause may be.
        child.until_owned(consumers, partitions, false).await?;
        store.release_holds_over(HELD_UNTIL_MS).await?;
    }
    let pid = pid_of(child.id());
    let clock: Instant = child.started;
    let follow = Follow { session: &mut **session, topic: drain.topic, total: drain.delivered, pid, clock };
    let followed = follow.until_stored(|| child.check_alive()).await;
    let seen = match followed {
        Ok(seen) => seen,
        Err(error) => {
            let reasons = child.status().await.map(|status| status.readiness.reasons.join("; "));
            return Err(error.context(format!("draining {}: {}", drain.topic, reasons.unwrap_or_default())));
        }
    };
    let costs = meter.stop(&mut **session, pid).await?;
    let stream_bytes = lookers.map(Lookers::stop).transpose()?;
    let transactions = child.transactions(drain.delivered).await?;
    let stopped = child_stopped(ground).await;
    let Stage { session, .. } = ground.stage()?;
    let account = session.account(drain.topic).await?;
    stopped?;
    let run = Run::of_drain(drain.delivered, &seen, &costs, transactions, account);
    Ok(Run { stream_bytes, ..run })
}

/// Stops the process before its rows are counted, so that the counting costs nobody anything.
///
/// # Errors
/// It had to be killed.
pub async fn child_stopped(ground: &mut Ground<'_>) -> anyhow::Result<()> {
    match ground.stage()?.child.take() {
        Some(child) => child.stop().await,
        None => Ok(()),
    }
}

/// Holds every partition, whoever will own it.
async fn hold(store: &dyn Store, drain: &Drain<'_>) -> anyhow::Result<()> {
    for partition in 0..drain.partitions {
        let hold = Hold {
            scope: HoldScope::Partition { topic: drain.topic.to_owned(), partition },
            kind: HoldKind::Paused,
            reason: "until the group has come together".to_owned(),
            by: "drover bench".to_owned(),
            since_ms: chrono::Utc::now().timestamp_millis(),
            until_ms: Some(HELD_UNTIL_MS),
        };
        store.place_hold(&hold).await?;
    }
    Ok(())
}
