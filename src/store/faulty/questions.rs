//! The questions to a store that fails on demand: each passes the gate of the faults, then goes to the wrapped store.
//! Bound and failures: as the wrapped one.

use super::FaultyStore;
use super::writer::{FaultyOutbox, FaultyWriter};
use crate::domain::audit::AuditResult;
use crate::domain::hold::{Hold, HoldKind, HoldScope};
use crate::store::audit_log::{AuditEntry, AuditLogStore, LoggedEntry};
use crate::store::audit_marks::{AuditMark, AuditStore, AuditTurn, Audited, PastIncarnation};
use crate::store::holds::HoldStore;
use crate::store::lease::{LeaseSession, LeaseStore, SessionName};
use crate::store::offsets::{OffsetChange, OffsetStore};
use crate::store::replicas::{ReplicaBeat, ReplicaStore, StoredPosition, StoredReplica};
use crate::store::{
    DeadLetterFilter, Migration, Outbox, RangeContent, Store, StoreError, StoreIdentity, StoreWriter, StoredDeadLetter,
    TopicProgress,
};
use futures::future::BoxFuture;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// What a question of a store answers.
pub(super) type Answer<'a, T> = BoxFuture<'a, Result<T, StoreError>>;

impl FaultyStore {
    pub(super) fn gated<'a, T: 'a>(&'a self, ask: impl FnOnce() -> Answer<'a, T> + Send + 'a) -> Answer<'a, T> {
        Box::pin(async move {
            self.faults.gate().await?;
            ask().await
        })
    }
}

impl Store for FaultyStore {
    fn kind(&self) -> &'static str {
        self.inner.kind()
    }
    fn migrate(&self) -> Answer<'_, Vec<String>> {
        self.gated(|| self.inner.migrate())
    }
    fn revert_migration(&self) -> Answer<'_, Option<String>> {
        self.gated(|| self.inner.revert_migration())
    }
    fn migrations(&self) -> Answer<'_, Vec<Migration>> {
        self.gated(|| self.inner.migrations())
    }
    fn check_schema(&self) -> Answer<'_, ()> {
        self.gated(|| self.inner.check_schema())
    }
    fn ping(&self) -> Answer<'_, ()> {
        self.gated(|| self.inner.ping())
    }
    fn claim_identity<'a>(&'a self, cluster_id: &'a str, group: &'a str) -> Answer<'a, StoreIdentity> {
        self.gated(move || self.inner.claim_identity(cluster_id, group))
    }
    fn topic<'a>(&'a self, topic: &'a str) -> Answer<'a, Option<TopicProgress>> {
        self.gated(move || self.inner.topic(topic))
    }
    fn register_topic<'a>(
        &'a self,
        topic: &'a str,
        topic_id: Option<&'a str>,
        starts: &'a BTreeMap<i32, i64>,
    ) -> Answer<'a, TopicProgress> {
        self.gated(move || self.inner.register_topic(topic, topic_id, starts))
    }
    fn add_partitions<'a>(&'a self, topic: &'a str, starts: &'a BTreeMap<i32, i64>) -> Answer<'a, TopicProgress> {
        self.gated(move || self.inner.add_partitions(topic, starts))
    }
    fn writer(&self, name: &str) -> Box<dyn StoreWriter> {
        let (inner, faults) = (self.inner.writer(name), Arc::clone(&self.faults));
        Box::new(FaultyWriter { inner, faults, name: name.to_owned() })
    }
    fn outbox(&self) -> Answer<'_, Option<Box<dyn Outbox>>> {
        Box::pin(async move {
            self.faults.gate().await?;
            let taken = self.inner.outbox().await?;
            Ok(taken
                .map(|inner| -> Box<dyn Outbox> { Box::new(FaultyOutbox { inner, faults: Arc::clone(&self.faults) }) }))
        })
    }
    fn unpublished(&self) -> Answer<'_, i64> {
        self.gated(|| self.inner.unpublished())
    }
    fn dead_letters<'a>(&'a self, filter: &'a DeadLetterFilter) -> Answer<'a, Vec<StoredDeadLetter>> {
        self.gated(move || self.inner.dead_letters(filter))
    }
    fn dead_letter<'a>(&'a self, topic: &'a str, partition: i32, offset: i64) -> Answer<'a, Option<StoredDeadLetter>> {
        self.gated(move || self.inner.dead_letter(topic, partition, offset))
    }
    fn topics(&self) -> Answer<'_, Vec<String>> {
        self.gated(|| self.inner.topics())
    }
    fn range_content<'a>(
        &'a self,
        topic: &'a str,
        partition: i32,
        incarnation: i32,
        first: i64,
        next: i64,
    ) -> Answer<'a, RangeContent> {
        self.gated(move || self.inner.range_content(topic, partition, incarnation, first, next))
    }
}

impl HoldStore for FaultyStore {
    fn holds(&self) -> Answer<'_, Vec<Hold>> {
        self.gated(|| self.inner.holds())
    }
    fn place_hold<'a>(&'a self, hold: &'a Hold) -> Answer<'a, ()> {
        self.gated(move || self.inner.place_hold(hold))
    }
    fn release_hold<'a>(&'a self, scope: &'a HoldScope, kind: HoldKind) -> Answer<'a, bool> {
        self.gated(move || self.inner.release_hold(scope, kind))
    }
    fn release_holds_over(&self, now_ms: i64) -> Answer<'_, usize> {
        self.gated(move || self.inner.release_holds_over(now_ms))
    }
}

impl AuditStore for FaultyStore {
    fn audit_marks(&self) -> Answer<'_, Vec<AuditMark>> {
        self.gated(|| self.inner.audit_marks())
    }
    fn set_audit_marks<'a>(&'a self, marks: &'a [Audited]) -> Answer<'a, ()> {
        self.gated(move || self.inner.set_audit_marks(marks))
    }
    fn past_incarnations(&self) -> Answer<'_, Vec<PastIncarnation>> {
        self.gated(|| self.inner.past_incarnations())
    }
    fn audit_turn(&self) -> Answer<'_, Option<AuditTurn>> {
        self.gated(|| self.inner.audit_turn())
    }
    fn set_audit_result<'a>(&'a self, result: &'a AuditResult) -> Answer<'a, ()> {
        self.gated(move || self.inner.set_audit_result(result))
    }
    fn audit_result(&self) -> Answer<'_, Option<AuditResult>> {
        self.gated(|| self.inner.audit_result())
    }
}

impl AuditLogStore for FaultyStore {
    fn append_audit<'a>(&'a self, entry: &'a AuditEntry) -> Answer<'a, i64> {
        self.gated(move || self.inner.append_audit(entry))
    }
    fn audit_log(&self, limit: u32) -> Answer<'_, Vec<LoggedEntry>> {
        self.gated(move || self.inner.audit_log(limit))
    }
}

impl OffsetStore for FaultyStore {
    fn identity(&self) -> Answer<'_, Option<StoreIdentity>> {
        self.gated(|| self.inner.identity())
    }
    fn change_offsets<'a>(&'a self, change: &'a OffsetChange, entry: &'a AuditEntry) -> Answer<'a, ()> {
        self.gated(move || self.inner.change_offsets(change, entry))
    }
}

impl LeaseStore for FaultyStore {
    fn lease_session<'a>(&'a self, who: &'a str, instead_of: Option<SessionName>) -> Answer<'a, Arc<dyn LeaseSession>> {
        self.gated(move || self.inner.lease_session(who, instead_of))
    }
}

impl ReplicaStore for FaultyStore {
    fn beat<'a>(&'a self, beat: &'a ReplicaBeat) -> Answer<'a, ()> {
        self.gated(move || self.inner.beat(beat))
    }
    fn replicas(&self) -> Answer<'_, Vec<StoredReplica>> {
        self.gated(|| self.inner.replicas())
    }
    fn remove_replica<'a>(&'a self, replica_id: &'a str) -> Answer<'a, ()> {
        self.gated(move || self.inner.remove_replica(replica_id))
    }
    fn prune_replicas(&self, silent_for: Duration) -> Answer<'_, usize> {
        self.gated(move || self.inner.prune_replicas(silent_for))
    }
    fn positions(&self) -> Answer<'_, Vec<StoredPosition>> {
        self.gated(|| self.inner.positions())
    }
}
