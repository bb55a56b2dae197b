//! Rebalances: librdkafka's callback hands them over, the consumer's task answers.
//!
//! The callback only notes what is to be assigned or revoked and returns; the group waits, with heartbeats going on, until
//! the task has taken positions from the store (assign) or finished what is in flight (revoke). While the consumer closes
//! nobody would answer, so the callback answers by itself. The queue holds at most the few events that librdkafka lets be
//! outstanding: the next one comes only after the answer, or when the partitions are lost.

use super::client::LoggingContext;
use super::error::Reported;
use super::revive::AllDown;
use rdkafka::client::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext, RebalanceProtocol};
use rdkafka::error::{KafkaError as NativeError, KafkaResult as NativeResult};
use rdkafka::topic_partition_list::TopicPartitionList;
use rdkafka::types::{RDKafkaErrorCode, RDKafkaRespErr};
use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use tokio::sync::Notify;

/// A partition of a topic.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TopicPartition {
    /// Topic.
    pub topic: String,
    /// Partition.
    pub partition: i32,
}

/// What the group asks of this member. Each waits for its answer: `assign` or `unassign` of the consumer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RebalanceEvent {
    /// Take these, beside what is owned already (or, with an eager protocol, instead of nothing).
    Assign(Vec<TopicPartition>),
    /// Give these up.
    Revoke {
        /// The partitions.
        partitions: Vec<TopicPartition>,
        /// They belong to somebody else already: nothing may be committed for them.
        lost: bool,
    },
}

/// The context of a group member.
pub struct GroupContext {
    log: LoggingContext,
    events: Mutex<VecDeque<RebalanceEvent>>,
    /// The event that librdkafka waits for an answer to, and whether it is an assign.
    unanswered: Mutex<Option<(bool, TopicPartitionList)>>,
    /// Wakes the task that owns the consumer when an event was noted.
    pub(super) noted: Notify,
    /// Set before the consumer closes: from then on the callback answers by itself.
    closing: AtomicBool,
    /// Commits that were answered well.
    pub(super) commits_ok: AtomicU64,
    /// Commits that were refused.
    pub(super) commits_failed: AtomicU64,
}

impl GroupContext {
    pub(super) fn new(name: &str) -> Self {
        Self {
            log: LoggingContext::new(name),
            events: Mutex::new(VecDeque::new()),
            unanswered: Mutex::new(None),
            noted: Notify::new(),
            closing: AtomicBool::new(false),
            commits_ok: AtomicU64::new(0),
            commits_failed: AtomicU64::new(0),
        }
    }

    pub(super) fn next_event(&self) -> Option<RebalanceEvent> {
        self.events.lock().unwrap_or_else(PoisonError::into_inner).pop_front()
    }

    /// The task has answered.
    pub(super) fn answered(&self) {
        self.unanswered.lock().unwrap_or_else(PoisonError::into_inner).take();
    }

    /// From now on nobody but the callback answers. An event that the task has left is answered here: closing would wait
    /// for that answer for ever.
    pub(super) fn close(&self, consumer: &impl Consumer<Self>) {
        self.closing.store(true, Ordering::Release);
        let left = self.unanswered.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some((assign, list)) = left {
            answer_alone(consumer, assign, &list);
        }
    }

    pub(super) fn all_down(&self) -> AllDown {
        self.log.all_down()
    }

    pub(super) fn last_error(&self) -> Option<Reported> {
        self.log.take_last_error()
    }
}

fn partitions_of(list: &TopicPartitionList) -> Vec<TopicPartition> {
    list.elements()
        .iter()
        .map(|element| TopicPartition { topic: element.topic().to_owned(), partition: element.partition() })
        .collect()
}

impl ClientContext for GroupContext {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, line: &str) {
        self.log.log(level, facility, line);
    }

    fn error(&self, error: NativeError, reason: &str) {
        self.log.error(error, reason);
    }
}

impl ConsumerContext for GroupContext {
    fn rebalance(&self, consumer: &BaseConsumer<Self>, code: RDKafkaRespErr, list: &mut TopicPartitionList) {
        let assign = code == RDKafkaRespErr::RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS;
        if self.closing.load(Ordering::Acquire) {
            answer_alone(consumer, assign, list);
            return;
        }
        *self.unanswered.lock().unwrap_or_else(PoisonError::into_inner) = Some((assign, list.clone()));
        let partitions = partitions_of(list);
        let event = if assign {
            RebalanceEvent::Assign(partitions)
        } else {
            RebalanceEvent::Revoke { partitions, lost: consumer.assignment_lost() }
        };
        self.events.lock().unwrap_or_else(PoisonError::into_inner).push_back(event);
        self.noted.notify_one();
    }

    fn commit_callback(&self, result: NativeResult<()>, _offsets: &TopicPartitionList) {
        match result {
            Ok(()) => self.commits_ok.fetch_add(1, Ordering::Relaxed),
            // Nothing was to be committed.
            Err(error) if error.rdkafka_error_code() == Some(RDKafkaErrorCode::NoOffset) => 0,
            Err(error) => {
                // Harmless: the position is in the database, the next commit carries it again.
                tracing::debug!(error = %error, "offset commit was refused");
                self.commits_failed.fetch_add(1, Ordering::Relaxed)
            }
        };
    }
}

fn answer_alone(consumer: &impl Consumer<GroupContext>, assign: bool, list: &TopicPartitionList) {
    let cooperative = matches!(consumer.rebalance_protocol(), RebalanceProtocol::Cooperative);
    let answered = match (assign, cooperative) {
        (true, true) => consumer.incremental_assign(&TopicPartitionList::new()),
        (true, false) => consumer.assign(&TopicPartitionList::new()),
        (false, true) => consumer.incremental_unassign(list),
        (false, false) => consumer.unassign(),
    };
    if let Err(error) = answered {
        tracing::debug!(error = %error, "rebalance while closing was not answered");
    }
}
