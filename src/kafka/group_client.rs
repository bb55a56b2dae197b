//! What a consumer needs of its group and of the cluster, as traits: the real client and the simulated one of the model.
//!
//! [`Group`] makes a member, [`GroupClient`] is one, [`RecordStream`] delivers its records, [`Questions`] asks the cluster.
//! Decides nothing and holds nothing: [`GroupConsumer`] and [`Lookup`] implement them as they are. Records pass without
//! a virtual call and without an allocation; questions are rare and may cost one.

use super::client::ClientIds;
use super::error::{KafkaError, KafkaErrorKind, KafkaResult};
use super::fetched::FetchedRecord;
use super::group_consumer::{CommitCounts, Former, GroupConsumer, Records};
use super::lookup::{Committed, KnownOffsets, Lookup, TopicDescription};
use super::rebalance::{RebalanceEvent, TopicPartition};
use crate::config::KafkaConfig;
use crate::domain::record::RawRecord;
use futures::FutureExt as _;
use futures::future::BoxFuture;
use std::collections::BTreeMap;
use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

/// A group that can be joined.
pub trait Group: Clone + Send + Sync + 'static {
    /// A member of it.
    type Client: GroupClient;

    /// Makes a member; the group is joined by reading.
    ///
    /// # Errors
    /// A setting that the client does not take.
    fn join(&self, ids: &ClientIds<'_>) -> KafkaResult<Self::Client>;
}

/// A member of a consumer group: delivers records and rebalances, and does what it is told with partitions. Nothing here
/// waits for a broker; dropping it leaves no rebalance without an answer.
pub trait GroupClient: Send + Sync + 'static {
    /// Its records.
    type Records<'c>: RecordStream + 'c
    where
        Self: 'c;

    /// The records, as one endless stream; make it once.
    fn records(&self) -> Self::Records<'_>;

    /// The next rebalance that waits for an answer. Cancel safe.
    fn rebalance(&self) -> impl Future<Output = RebalanceEvent> + Send;

    /// Answers an assign: reading goes on at the offsets given.
    ///
    /// # Errors
    /// The client refuses, for example because the partitions were lost meanwhile.
    fn assign(&self, partitions: &[(TopicPartition, i64)]) -> KafkaResult<()>;

    /// Answers a revoke.
    ///
    /// # Errors
    /// The client refuses, for example because the partitions were lost meanwhile.
    fn unassign(&self, partitions: &[TopicPartition]) -> KafkaResult<()>;

    /// Stops fetching these; what was fetched ahead is thrown away.
    ///
    /// # Errors
    /// A partition is not assigned.
    fn pause(&self, partitions: &[TopicPartition]) -> KafkaResult<()>;

    /// Fetches these again.
    ///
    /// # Errors
    /// A partition is not assigned.
    fn resume(&self, partitions: &[TopicPartition]) -> KafkaResult<()>;

    /// Reads a partition on from `offset`; what was fetched ahead is thrown away.
    ///
    /// # Errors
    /// The partition is not assigned, or its fetcher does not answer in time.
    fn seek(&self, topic: &str, partition: i32, offset: i64) -> KafkaResult<()>;

    /// Where the client reads next in each assigned partition, past records that it does not deliver; partitions without a
    /// position are left out.
    ///
    /// # Errors
    /// The client refuses.
    fn positions(&self) -> KafkaResult<Vec<(TopicPartition, i64)>>;

    /// Sends the hint for lag tools to Kafka, without waiting for the answer; `metadata` tells whose offsets they are.
    ///
    /// # Errors
    /// The client refuses to send it.
    fn commit_hint(&self, positions: &[(TopicPartition, i64)], metadata: &str) -> KafkaResult<()>;

    /// Commits that were answered so far.
    fn commits(&self) -> CommitCounts;

    /// The generation of the group that it is a member of, or its epoch in the consumer protocol; `None` for no member.
    fn generation(&self) -> Option<i32> {
        None
    }

    /// Leaves and closes, at most `timeout` long. A static member keeps its place unless `leave` is set. Gives back whether
    /// it was finished in time; if not, closing goes on in the background.
    fn close(self, leave: bool, timeout: Duration) -> impl Future<Output = bool> + Send;
}

/// The records of a member.
pub trait RecordStream: Send {
    /// A record that the client holds.
    type Record: RawRecord + Send;

    /// The next record. Cancel safe. Polling it is what keeps the membership and serves callbacks, also while all
    /// partitions are paused.
    ///
    /// # Errors
    /// What the group or a broker reports; reading may go on unless the kind is fenced or configuration.
    fn next(&mut self) -> impl Future<Output = KafkaResult<Self::Record>> + Send;

    /// The next record if it was fetched already.
    fn next_fetched(&mut self) -> Option<KafkaResult<Self::Record>>;
}

/// A record of a member of group `G`.
pub type RecordOf<'c, G> = <<<G as Group>::Client as GroupClient>::Records<'c> as RecordStream>::Record;
/// The records of a member of group `G`.
pub type RecordsOf<'c, G> = <<G as Group>::Client as GroupClient>::Records<'c>;

/// What decides where reading starts is asked of the cluster. Every question is bounded in time by whoever answers it.
pub trait Questions: Send + Sync + 'static {
    /// A topic's id and partitions; `None` when it does not exist.
    fn topic(self: Arc<Self>, topic: String) -> BoxFuture<'static, KafkaResult<Option<TopicDescription>>>;

    /// What the group committed for these partitions; those without a commit are left out.
    fn committed(self: Arc<Self>, of: Vec<TopicPartition>) -> Answers<Committed>;

    /// The offset of the oldest record that Kafka still has; partitions without an answer are left out.
    fn beginnings(self: Arc<Self>, of: Vec<TopicPartition>) -> Answers<i64>;

    /// The offset after the last record that a reader of committed records gets (the last stable offset); partitions
    /// without an answer are left out.
    fn ends(self: Arc<Self>, of: Vec<TopicPartition>) -> Answers<i64>;

    /// The offset of the first record at or after a time (milliseconds since the epoch); the end where there is none.
    fn at_time(self: Arc<Self>, of: Vec<TopicPartition>, ms: i64) -> Answers<i64>;
}

/// Answers by partition.
pub type Answers<T> = BoxFuture<'static, KafkaResult<BTreeMap<TopicPartition, T>>>;

/// The group of the configuration.
#[derive(Clone)]
pub struct KafkaGroup {
    /// Brokers, topics and group.
    pub kafka: Arc<KafkaConfig>,
    /// Most bytes of one fetch.
    pub fetch_bytes: usize,
    /// The client of the last generation.
    pub former: Former,
    /// Set when the consumer does not come back: however its client ends from then on, it gives its static place up.
    pub gone: Arc<AtomicBool>,
}

impl Group for KafkaGroup {
    type Client = GroupConsumer;

    fn join(&self, ids: &ClientIds<'_>) -> KafkaResult<GroupConsumer> {
        GroupConsumer::join(&self.kafka, ids, self.fetch_bytes, &self.former, &self.gone)
    }
}

impl GroupClient for GroupConsumer {
    type Records<'c> = Records<'c>;

    fn records(&self) -> Records<'_> {
        self.records()
    }
    fn rebalance(&self) -> impl Future<Output = RebalanceEvent> + Send {
        self.rebalance()
    }
    fn assign(&self, partitions: &[(TopicPartition, i64)]) -> KafkaResult<()> {
        self.assign(partitions)
    }
    fn unassign(&self, partitions: &[TopicPartition]) -> KafkaResult<()> {
        self.unassign(partitions)
    }
    fn pause(&self, partitions: &[TopicPartition]) -> KafkaResult<()> {
        self.pause(partitions)
    }
    fn resume(&self, partitions: &[TopicPartition]) -> KafkaResult<()> {
        self.resume(partitions)
    }
    fn seek(&self, topic: &str, partition: i32, offset: i64) -> KafkaResult<()> {
        // Waits for librdkafka's own thread, not for a broker.
        tokio::task::block_in_place(|| self.seek(topic, partition, offset))
    }
    fn positions(&self) -> KafkaResult<Vec<(TopicPartition, i64)>> {
        self.positions()
    }
    fn commit_hint(&self, positions: &[(TopicPartition, i64)], metadata: &str) -> KafkaResult<()> {
        self.commit_hint(positions, metadata)
    }
    fn commits(&self) -> CommitCounts {
        self.commits()
    }
    fn generation(&self) -> Option<i32> {
        // Waits for librdkafka's own thread, not for a broker.
        tokio::task::block_in_place(|| self.generation())
    }
    fn close(self, leave: bool, timeout: Duration) -> impl Future<Output = bool> + Send {
        self.close(leave, timeout)
    }
}

impl<'c> RecordStream for Records<'c> {
    type Record = FetchedRecord<'c>;

    fn next(&mut self) -> impl Future<Output = KafkaResult<FetchedRecord<'c>>> + Send {
        self.next()
    }
    fn next_fetched(&mut self) -> Option<KafkaResult<FetchedRecord<'c>>> {
        self.next_fetched()
    }
}

impl Questions for Lookup {
    fn topic(self: Arc<Self>, topic: String) -> BoxFuture<'static, KafkaResult<Option<TopicDescription>>> {
        ask(self, move |lookup| lookup.topic(&topic))
    }
    fn committed(self: Arc<Self>, of: Vec<TopicPartition>) -> Answers<Committed> {
        ask(self, move |lookup| lookup.committed(&of))
    }
    fn beginnings(self: Arc<Self>, of: Vec<TopicPartition>) -> Answers<i64> {
        ask(self, move |lookup| lookup.known_beginnings(&of).map(told))
    }
    fn ends(self: Arc<Self>, of: Vec<TopicPartition>) -> Answers<i64> {
        ask(self, move |lookup| lookup.known_ends(&of).map(told))
    }
    fn at_time(self: Arc<Self>, of: Vec<TopicPartition>, ms: i64) -> Answers<i64> {
        ask(self, move |lookup| lookup.at_time(&of, ms))
    }
}

/// What was told; what was not is said, since the answer has no place for it.
fn told(known: KnownOffsets) -> BTreeMap<TopicPartition, i64> {
    for (TopicPartition { topic, partition }, error) in &known.refused {
        tracing::debug!(topic, partition, error = %error, "the bounds of a partition are not known");
    }
    known.offsets
}

/// A question blocks its thread, so it runs on one for that.
fn ask<T: Send + 'static>(
    lookup: Arc<Lookup>,
    question: impl FnOnce(&Lookup) -> KafkaResult<T> + Send + 'static,
) -> BoxFuture<'static, KafkaResult<T>> {
    async move {
        tokio::task::spawn_blocking(move || question(&lookup)).await.unwrap_or_else(|_| {
            Err(KafkaError::new(KafkaErrorKind::Canceled, "asking the cluster", "the question was not finished"))
        })
    }
    .boxed()
}
