//! Orders to hold partitions and to release them: whether what is named exists, and the hold in the store.
//!
//! A hold of a partition concerns the whole group, one of a consumer this process alone. Every wait for the store is
//! bounded by [`STORE_TIMEOUT`]; without the store nothing is held, because nobody else would know of it.

use super::operator::AppOperator;
use crate::domain::command::{CommandError, Done, Scope};
use crate::domain::hold::{Hold, HoldKind, HoldScope};
use crate::domain::status::ChildKind;
use crate::store::StoreError;
use std::future::Future;
use std::time::Duration;

/// How long the store may take.
const STORE_TIMEOUT: Duration = Duration::from_secs(10);

impl AppOperator {
    /// Holds; an order that is there already is replaced.
    pub(super) async fn hold(
        &self,
        actor: &str,
        scope: &Scope,
        kind: HoldKind,
        reason: Option<&str>,
        lasts: Option<Duration>,
    ) -> Result<Done, CommandError> {
        let held = self.hold_scope(scope).await?;
        let now_ms = chrono::Utc::now().timestamp_millis();
        let lasts_ms = lasts.map(|lasts| i64::try_from(lasts.as_millis()).unwrap_or(i64::MAX));
        let hold = Hold {
            scope: held.clone(),
            kind,
            reason: reason.unwrap_or("no reason was given").to_owned(),
            by: actor.to_owned(),
            since_ms: now_ms,
            until_ms: lasts_ms.map(|lasts| now_ms.saturating_add(lasts)),
        };
        answered(self.holds.place(hold)).await?;
        let until = match lasts {
            Some(lasts) => format!("for {} s", lasts.as_secs()),
            None if kind == HoldKind::Paused => "until it is resumed".to_owned(),
            None => "until it is released".to_owned(),
        };
        Ok(Done::new(format!("{held} is {}, {until}", kind.as_str())))
    }

    /// Releases what is held.
    pub(super) async fn release(&self, scope: &Scope, kind: HoldKind) -> Result<Done, CommandError> {
        let held = self.hold_scope(scope).await?;
        if answered(self.holds.release(&held, kind)).await? {
            return Ok(Done::new(format!("{held} is not {} any more", kind.as_str())));
        }
        // What else keeps it from being read is what the operator wants to know.
        let others = self.holds.current();
        let other = others.iter().find(|hold| match (&hold.scope, scope) {
            (HoldScope::Partition { .. }, _) | (_, Scope::Consumer(_)) => hold.scope == held,
            (HoldScope::Consumer { consumer_id, .. }, Scope::Partition { topic, partition, .. }) => {
                self.owner(topic, *partition).as_ref() == Some(consumer_id) && hold.scope == self.consumer(consumer_id)
            }
        });
        let but = other.map(|hold| format!(", but {} is {} by {}", hold.scope, hold.kind.as_str(), hold.by));
        Err(CommandError::NotNow(format!("{held} is not {}{}", kind.as_str(), but.unwrap_or_default())))
    }

    /// What is meant, if it exists.
    async fn hold_scope(&self, scope: &Scope) -> Result<HoldScope, CommandError> {
        match scope {
            Scope::Consumer(id) => {
                let children = self.board.children();
                if !children.iter().any(|child| child.kind == ChildKind::Consumer && child.id == *id) {
                    return Err(CommandError::Unknown(format!(
                        "this process has no consumer {id:?}; it hosts {}",
                        self.consumer_ids().join(", ")
                    )));
                }
                Ok(self.consumer(id))
            }
            Scope::Partition { topic, partition, owner } => {
                self.partition_exists(topic, *partition).await?;
                let owns = self.owner(topic, *partition);
                if let Some(owner) = owner.as_ref().filter(|&owner| owns.as_ref() != Some(owner)) {
                    let whose = owns.map_or("nobody in this process owns it".into(), |id| format!("{id} owns it"));
                    return Err(CommandError::NotNow(format!(
                        "consumer {owner:?} does not own partition {topic}/{partition} now, {whose}; leave the consumer out \
                         to mean the partition, whoever owns it"
                    )));
                }
                Ok(HoldScope::Partition { topic: topic.clone(), partition: *partition })
            }
        }
    }

    fn consumer(&self, id: &str) -> HoldScope {
        HoldScope::Consumer { consumer_id: id.to_owned(), replica_id: self.holds.replica_id().to_string() }
    }

    async fn partition_exists(&self, topic: &str, partition: i32) -> Result<(), CommandError> {
        let topics = self.board.identity().topics;
        if !topics.iter().any(|read| read == topic) {
            let detail = format!("topic {topic:?} is not read here; the topics are {}", topics.join(", "));
            return Err(CommandError::Unknown(detail));
        }
        if self.owner(topic, partition).is_some() {
            return Ok(());
        }
        let known = answered(self.store.topic(topic)).await?.map(|topic| topic.partitions).unwrap_or_default();
        if known.contains_key(&partition) {
            return Ok(());
        }
        Err(CommandError::Unknown(format!(
            "topic {topic:?} has no partition {partition} that anybody has read; there are {}",
            known.len()
        )))
    }

    /// The consumer of this process that owns the partition.
    fn owner(&self, topic: &str, partition: i32) -> Option<String> {
        let owns = |consumer: &crate::domain::status::ConsumerStatus| {
            consumer.partitions.iter().any(|one| one.topic == topic && one.partition == partition)
        };
        self.board.consumers().into_iter().find(owns).map(|consumer| consumer.id)
    }

    /// Ids of the consumers of this process, in the order of their start.
    pub(super) fn consumer_ids(&self) -> Vec<String> {
        let children = self.board.children();
        let consumers = children.iter().filter(|child| child.kind == ChildKind::Consumer);
        consumers.map(|child| child.id.clone()).collect()
    }

    /// Forgets the pause of a consumer that is gone: one that gets its id later is another one.
    pub(super) async fn forget_pause(&self, consumer_id: &str) {
        if let Err(error) = answered(self.holds.release(&self.consumer(consumer_id), HoldKind::Paused)).await {
            tracing::warn!(consumer_id, error = %error, "the pause of a removed consumer could not be released");
        }
    }
}

/// What the store answers in time.
async fn answered<T>(asked: impl Future<Output = Result<T, StoreError>>) -> Result<T, CommandError> {
    match tokio::time::timeout(STORE_TIMEOUT, asked).await {
        Ok(Ok(answer)) => Ok(answer),
        Ok(Err(error)) => Err(CommandError::Unavailable(format!("holds are kept in the store, which failed: {error}"))),
        Err(_) => Err(CommandError::Unavailable(format!(
            "holds are kept in the store, which did not answer within {STORE_TIMEOUT:?}: it may still do what was asked, so look \
             again in a moment"
        ))),
    }
}
