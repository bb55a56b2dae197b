//! The audit with both sides: the store's account, and Kafka for what the store cannot prove by itself.
//!
//! [`audit_now`] is the one way to audit, for the command, the API, drills and the schedule ([`AuditTask`]). It reads: the
//! only things that it writes are the marks, up to which everything was found clean. Kafka is asked for gaps alone; without it the rest is
//! audited all the same, and what has gaps gets no mark.

use super::exit::ExitError;
use super::lifecycle::{Control, Task};
use crate::board::Board;
use crate::config::KafkaConfig;
use crate::domain::audit::{AuditResult, Gap, OffsetRange, PartitionResult, wait};
use crate::domain::status::ChildState;
use crate::kafka::gap_check::check_gaps;
use crate::kafka::lookup::Lookup;
use crate::metrics::Metrics;
use crate::store::audit::{AuditProgress, AuditReport, AuditScope, audit_scope};
use crate::store::{Store, StoreError};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// Longest wait for one answer of Kafka while gaps are read again.
const KAFKA_TIMEOUT: Duration = Duration::from_secs(10);
/// How often the schedule looks at what other replicas found. One row is read.
const LOOK: Duration = Duration::from_secs(5);

/// What reads gaps again.
#[derive(Clone)]
pub struct AuditKafka {
    /// How to reach the brokers.
    pub config: Arc<KafkaConfig>,
    /// Questions to the cluster.
    pub lookup: Arc<Lookup>,
}

/// Audits now: what `scope` says of `store`, and its gaps against Kafka. Marks how far it was found clean, so that
/// whatever is wrong is found again by each later audit.
///
/// # Errors
/// What the store says, or a topic that it does not know. A Kafka that does not answer is told in the report.
pub async fn audit_now(
    store: &Arc<dyn Store>,
    kafka: &AuditKafka,
    scope: &AuditScope,
    progress: &mut (dyn FnMut(AuditProgress) + Send),
) -> Result<AuditReport, StoreError> {
    let mut report = audit_scope(&**store, scope, progress).await?;
    read_gaps_again(&mut report, &**store, kafka).await?;
    report.clean = report.partitions.iter().all(|partition| partition.clean());
    let marks: Vec<_> = report.partitions.iter().filter_map(|partition| partition.mark()).collect();
    if let Err(error) = store.set_audit_marks(&marks).await {
        if !report.clean {
            tracing::warn!(
                error = %error,
                "the marks of the audit were not set back to what it found: the next audit may not look there again"
            );
        }
        // A reader beside the process that owns a SQLite file may not write; the next audit looks at the same again.
        tracing::debug!(error = %error, "the marks of the audit were not written");
    }
    Ok(report)
}

/// A gap is the one thing that the store cannot prove by itself: while Kafka has its offsets, it is read again.
async fn read_gaps_again(report: &mut AuditReport, store: &dyn Store, kafka: &AuditKafka) -> Result<(), StoreError> {
    for partition in report.partitions.iter_mut().filter(|partition| !partition.past) {
        let gaps: Vec<(i64, i64)> = partition
            .gaps
            .iter()
            .filter(|gap| !gap.reason.is_loss())
            .map(|&Gap { first, next, .. }| (first, next))
            .collect();
        if gaps.is_empty() {
            continue;
        }
        let stored_id = store.topic(&partition.topic).await?.and_then(|topic| topic.topic_id);
        let (kafka, topic, number) = (kafka.clone(), partition.topic.clone(), partition.partition);
        let checked = tokio::task::spawn_blocking(move || {
            let now = kafka.lookup.topic(&topic).map_err(|error| error.to_string())?;
            match (stored_id, now.and_then(|described| described.topic_id)) {
                (Some(stored), Some(now)) if stored != now => {
                    return Err(
                        "the topic was deleted and created again; its offsets mean other records now".to_owned()
                    );
                }
                _ => {}
            }
            check_gaps(&kafka.config, &topic, number, &gaps, KAFKA_TIMEOUT).map_err(|error| error.to_string())
        });
        match checked.await.unwrap_or_else(|error| Err(error.to_string())) {
            Ok(check) => partition.gaps_read_again = Some(check),
            Err(why) => partition.gaps_not_read = Some(why),
        }
    }
    Ok(())
}

/// A report in short, as the board, the API and the table of results hold it.
#[must_use]
pub fn result_of(report: &AuditReport, by: &str, finished_at_ms: i64, took: Duration) -> AuditResult {
    let partitions: Vec<PartitionResult> = report
        .partitions
        .iter()
        .map(|partition| PartitionResult {
            topic: partition.topic.clone(),
            partition: partition.partition,
            incarnation: partition.incarnation,
            audited: OffsetRange { first: partition.from, next: partition.next_offset },
            unaccounted: partition.unaccounted_offsets + partition.lost_in_gaps(),
            overlapping: partition.overlapping,
        })
        .collect();
    AuditResult {
        finished_at_ms,
        took_ms: u64::try_from(took.as_millis()).unwrap_or(u64::MAX),
        by: by.to_owned(),
        full: report.full,
        clean: report.clean,
        offsets: report.offsets,
        unaccounted: partitions.iter().map(|partition| partition.unaccounted).sum(),
        overlapping: partitions.iter().map(|partition| partition.overlapping).sum(),
        partitions,
    }
}

/// The schedule: audits what is new every `interval`, unless another replica did, and shows what was found by whomever.
pub struct AuditTask {
    /// The store.
    pub store: Arc<dyn Store>,
    /// What reads gaps again.
    pub kafka: AuditKafka,
    /// Time between two audits of the group.
    pub interval: Duration,
    /// Who writes the result down.
    pub replica_id: String,
    /// Where the result is shown.
    pub board: Arc<Board>,
    /// The gauge of what is lost.
    pub metrics: Metrics,
}

impl Task for AuditTask {
    async fn run(self, control: Control) -> Result<(), ExitError> {
        control.set_state(ChildState::Running);
        let mut tick = tokio::time::interval(LOOK.min(self.interval));
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                biased;
                _ = control.drain_requested() => return Ok(()),
                _ = tick.tick() => {}
            }
            control.progress();
            let mut progress = |_| control.progress();
            tokio::select! {
                biased;
                // An audit that is under way is dropped: it has nothing to finish.
                _ = control.drain_requested() => return Ok(()),
                audited = self.audit_if_due(&mut progress) => {
                    if let Err(error) = audited {
                        // A store that is away is the breaker's business; the audit is late, and nothing else.
                        tracing::warn!(error = %error, "the audit was not made; it is tried again");
                    }
                }
            }
        }
    }
}

impl AuditTask {
    async fn audit_if_due(&self, progress: &mut (dyn FnMut(AuditProgress) + Send)) -> Result<(), StoreError> {
        let due =
            |last: Option<&AuditResult>| wait(last.map(|last| last.finished_at_ms), now_ms(), self.interval).is_zero();
        let last = self.store.audit_result().await?;
        if !due(last.as_ref()) {
            self.show(last);
            return Ok(());
        }
        let Some(_turn) = self.store.audit_turn().await? else {
            self.show(last);
            return Ok(());
        };
        // Whoever had the turn may just have finished.
        let last = self.store.audit_result().await?;
        if !due(last.as_ref()) {
            self.show(last);
            return Ok(());
        }
        let began = Instant::now();
        let scope = AuditScope { gentle: true, ..AuditScope::default() };
        let report = audit_now(&self.store, &self.kafka, &scope, progress).await?;
        let result = result_of(&report, &self.replica_id, now_ms(), began.elapsed());
        if !result.clean {
            tracing::error!(
                unaccounted = result.unaccounted,
                overlapping = result.overlapping,
                "the audit found offsets that are not accounted for, once; see `drover audit`"
            );
        }
        self.store.set_audit_result(&result).await?;
        self.show(Some(result));
        Ok(())
    }

    fn show(&self, result: Option<AuditResult>) {
        let Some(result) = result else { return };
        self.metrics.set_unaccounted(&result.unaccounted_by_partition());
        self.board.set_audit(result);
    }
}

fn now_ms() -> i64 {
    chrono::Utc::now().timestamp_millis()
}
