//! What the model never asks of a store: orders, audits, positions by hand, leases, replicas. An answer would be made up, so
//! each is an error of drover's own class.

use crate::store::{SimStore, not_here};
use drover::domain::audit::AuditResult;
use drover::domain::event_search::EventFilter;
use drover::domain::hold::{Hold, HoldKind, HoldScope};
use drover::domain::lookback::{Partition, Run, Window};
use drover::store::audit_log::{AuditEntry, AuditLogStore, LoggedEntry};
use drover::store::audit_marks::{AuditMark, AuditStore, AuditTurn, Audited, PastIncarnation};
use drover::store::events::{EventStore, ReadRun, StoredEvent};
use drover::store::holds::HoldStore;
use drover::store::lease::{LeaseSession, LeaseStore, SessionName};
use drover::store::offsets::{OffsetChange, OffsetStore};
use drover::store::replicas::{ReplicaBeat, ReplicaStore, StoredPosition, StoredReplica};
use drover::store::statistics::{StatisticsStore, StoredStatistics};
use drover::store::{StoreError, StoreIdentity};
use futures::future::BoxFuture;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

type Answer<'a, T> = BoxFuture<'a, Result<T, StoreError>>;

impl AuditLogStore for SimStore {
    fn append_audit<'a>(&'a self, _: &'a AuditEntry) -> Answer<'a, i64> {
        not_here()
    }
    fn audit_log(&self, _: u32) -> Answer<'_, Vec<LoggedEntry>> {
        not_here()
    }
}

impl AuditStore for SimStore {
    fn audit_marks(&self) -> Answer<'_, Vec<AuditMark>> {
        not_here()
    }
    fn set_audit_marks<'a>(&'a self, _: &'a [Audited]) -> Answer<'a, ()> {
        not_here()
    }
    fn past_incarnations(&self) -> Answer<'_, Vec<PastIncarnation>> {
        not_here()
    }
    fn audit_turn(&self) -> Answer<'_, Option<AuditTurn>> {
        not_here()
    }
    fn set_audit_result<'a>(&'a self, _: &'a AuditResult) -> Answer<'a, ()> {
        not_here()
    }
    fn audit_result(&self) -> Answer<'_, Option<AuditResult>> {
        not_here()
    }
}

impl HoldStore for SimStore {
    fn holds(&self) -> Answer<'_, Vec<Hold>> {
        not_here()
    }
    fn place_hold<'a>(&'a self, _: &'a Hold) -> Answer<'a, ()> {
        not_here()
    }
    fn release_hold<'a>(&'a self, _: &'a HoldScope, _: HoldKind) -> Answer<'a, bool> {
        not_here()
    }
    fn release_holds_over(&self, _: i64) -> Answer<'_, usize> {
        not_here()
    }
}

impl OffsetStore for SimStore {
    fn identity(&self) -> Answer<'_, Option<StoreIdentity>> {
        not_here()
    }
    fn change_offsets<'a>(&'a self, _: &'a OffsetChange, _: &'a AuditEntry) -> Answer<'a, ()> {
        not_here()
    }
}

impl LeaseStore for SimStore {
    fn lease_session<'a>(&'a self, _: &'a str, _: Option<SessionName>) -> Answer<'a, Arc<dyn LeaseSession>> {
        not_here()
    }
}

impl ReplicaStore for SimStore {
    fn beat<'a>(&'a self, _: &'a ReplicaBeat) -> Answer<'a, ()> {
        not_here()
    }
    fn replicas(&self) -> Answer<'_, Vec<StoredReplica>> {
        not_here()
    }
    fn remove_replica<'a>(&'a self, _: &'a str) -> Answer<'a, ()> {
        not_here()
    }
    fn prune_replicas(&self, _: Duration) -> Answer<'_, usize> {
        not_here()
    }
    fn positions(&self) -> Answer<'_, Vec<StoredPosition>> {
        not_here()
    }
}

impl EventStore for SimStore {
    fn event_partitions(&self) -> Answer<'_, Vec<Partition>> {
        not_here()
    }
    fn has_event_index<'a>(&'a self, _: &'a str) -> Answer<'a, bool> {
        not_here()
    }
    fn last_below<'a>(
        &'a self,
        _: &'a [Run],
        _: &'a [(usize, i64)],
        _: Duration,
    ) -> Answer<'a, BTreeMap<usize, (i64, i64)>> {
        not_here()
    }
    fn look_back<'a>(
        &'a self,
        _: &'a [Run],
        _: &'a [Window],
        _: usize,
        _: &'a EventFilter,
        _: Duration,
    ) -> Answer<'a, Vec<ReadRun>> {
        not_here()
    }
    fn event<'a>(&'a self, _: &'a str, _: i32, _: i64) -> Answer<'a, Option<StoredEvent>> {
        not_here()
    }
    fn gap_at<'a>(&'a self, _: &'a str, _: i32, _: i64) -> Answer<'a, Option<String>> {
        not_here()
    }
}

impl StatisticsStore for SimStore {
    fn statistics(&self, _: i64, _: Duration) -> Answer<'_, StoredStatistics> {
        not_here()
    }
}
