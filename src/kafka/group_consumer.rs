//! A member of the consumer group: delivers records and rebalances, and does what it is told with partitions.
//!
//! Owns one librdkafka consumer, whose fetch queues are bounded in `client.rs`. Decides nothing: positions come from the
//! caller. Dropping it never blocks and never leaves a rebalance without an answer; [`GroupConsumer::close`] does the same
//! and waits.

use super::client::{ClientIds, consumer_client_config};
use super::error::{KafkaError, KafkaResult, kind_of};
use super::fetched::{FetchedQueue, FetchedRecord};
use super::native;
use super::rebalance::{GroupContext, RebalanceEvent, TopicPartition};
use super::revive::look_after;
use crate::config::KafkaConfig;
use futures::StreamExt as _;
use rdkafka::consumer::{Consumer as _, RebalanceProtocol, StreamConsumer};
use rdkafka::error::KafkaError as NativeError;
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::task::Poll;
use std::time::{Duration, Instant};

/// How long a seek may take to reach the partition's fetcher; it is local, a broker is not asked.
const SEEK_TIMEOUT: Duration = Duration::from_secs(5);

/// How long a client that was left behind is polled so that it can leave.
const EVICT_TIMEOUT: Duration = Duration::from_secs(10);

/// Pause between two looks at whether the group has let a member go.
const LEAVE_PAUSE: Duration = Duration::from_millis(20);

/// The client of a consumer's last generation, for the case that its task never ends.
#[derive(Clone, Default)]
pub struct Former(Arc<Mutex<Weak<StreamConsumer<GroupContext>>>>);

/// See the module.
pub struct GroupConsumer {
    /// `None` only while dropping.
    inner: Option<Arc<StreamConsumer<GroupContext>>>,
    /// What was fetched. `None` only while dropping, which must be before the client goes.
    fetched: Option<FetchedQueue>,
    is_static: bool,
    /// It does not come back: dropping it then gives a static place up too.
    gone: Arc<AtomicBool>,
    name: String,
}

/// Offset commits that brokers answered since the consumer was made.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct CommitCounts {
    /// Answered well.
    pub ok: u64,
    /// Refused.
    pub failed: u64,
}

impl GroupConsumer {
    /// Makes the client and subscribes; the group is joined by reading. A client of `former` that is still there leaves. When
    /// `gone` is set by the time that it is dropped, it gives its static place up.
    ///
    /// # Errors
    /// A property that librdkafka does not take.
    pub fn join(
        kafka: &KafkaConfig,
        ids: &ClientIds<'_>,
        fetch_bytes: usize,
        former: &Former,
        gone: &Arc<AtomicBool>,
    ) -> KafkaResult<Self> {
        let doing = || format!("making consumer \"{}\"", ids.consumer_id);
        let native_error = |error: NativeError| KafkaError::native(doing(), &error);
        let config = consumer_client_config(kafka, ids, fetch_bytes);
        let inner: StreamConsumer<GroupContext> =
            config.create_with_context(GroupContext::new(ids.consumer_id)).map_err(native_error)?;
        let inner = Arc::new(inner);
        look_after(&inner, |consumer| consumer.client(), inner.context().all_down(), &kafka.brokers);
        let consumer = Self {
            fetched: Some(FetchedQueue::new(&inner)),
            inner: Some(inner),
            is_static: ids.group_instance_id.is_some(),
            gone: Arc::clone(gone),
            name: ids.consumer_id.to_owned(),
        };
        let mine = Arc::downgrade(consumer.inner.as_ref().expect("it was just made"));
        let left = std::mem::replace(&mut *former.0.lock().unwrap_or_else(PoisonError::into_inner), mine);
        if let Some(client) = left.upgrade() {
            tracing::warn!(
                consumer_id = ids.consumer_id,
                "the client of the last generation is still there; it leaves the group"
            );
            Self::evict(client);
        }
        let topics: Vec<&str> = kafka.topics.iter().map(String::as_str).collect();
        consumer.client().subscribe(&topics).map_err(native_error)?;
        Ok(consumer)
    }

    fn client(&self) -> &StreamConsumer<GroupContext> {
        self.inner.as_ref().expect("the client is taken only by drop")
    }

    fn fetched(&self) -> &FetchedQueue {
        self.fetched.as_ref().expect("the queue is taken only by drop")
    }

    fn error(&self, what: &str, error: &NativeError) -> KafkaError {
        KafkaError::native(format!("{what} for consumer \"{}\"", self.name), error)
            .beside(self.client().context().last_error())
    }

    /// The records, as one endless stream; make it once.
    #[must_use]
    pub fn records(&self) -> Records<'_> {
        Records { consumer: self, stream: self.client().stream() }
    }

    /// The next rebalance that waits for an answer. Cancel safe.
    pub async fn rebalance(&self) -> RebalanceEvent {
        loop {
            if let Some(event) = self.client().context().next_event() {
                return event;
            }
            self.client().context().noted.notified().await;
        }
    }

    fn cooperative(&self) -> bool {
        matches!(self.client().rebalance_protocol(), RebalanceProtocol::Cooperative)
    }

    /// Answers an assign: reading goes on at the offsets given.
    ///
    /// # Errors
    /// librdkafka refuses, for example because the partitions were lost meanwhile.
    pub fn assign(&self, partitions: &[(TopicPartition, i64)]) -> KafkaResult<()> {
        let list = offsets_list(partitions);
        let client = self.client();
        self.fetched().forward(client, partitions.iter().map(|(id, _)| id));
        if self.cooperative() { client.incremental_assign(&list) } else { client.assign(&list) }
            .map_err(|error| self.error("assigning partitions", &error))?;
        client.context().answered();
        Ok(())
    }

    /// Answers a revoke.
    ///
    /// # Errors
    /// librdkafka refuses, for example because the partitions were lost meanwhile.
    pub fn unassign(&self, partitions: &[TopicPartition]) -> KafkaResult<()> {
        let client = self.client();
        if self.cooperative() { client.incremental_unassign(&partitions_list(partitions)) } else { client.unassign() }
            .map_err(|error| self.error("giving up partitions", &error))?;
        client.context().answered();
        Ok(())
    }

    /// Stops fetching these; what was fetched ahead is thrown away.
    ///
    /// # Errors
    /// A partition is not assigned.
    pub fn pause(&self, partitions: &[TopicPartition]) -> KafkaResult<()> {
        self.client().pause(&partitions_list(partitions)).map_err(|error| self.error("pausing partitions", &error))
    }

    /// Fetches these again.
    ///
    /// # Errors
    /// A partition is not assigned.
    pub fn resume(&self, partitions: &[TopicPartition]) -> KafkaResult<()> {
        self.client().resume(&partitions_list(partitions)).map_err(|error| self.error("resuming partitions", &error))
    }

    /// Reads a partition on from `offset`; what was fetched ahead is thrown away. Waits for the partition's fetcher, so it
    /// must run where blocking is allowed.
    ///
    /// # Errors
    /// The partition is not assigned.
    pub fn seek(&self, topic: &str, partition: i32, offset: i64) -> KafkaResult<()> {
        self.client()
            .seek(topic, partition, Offset::Offset(offset), SEEK_TIMEOUT)
            .map_err(|error| self.error("seeking", &error))
    }

    /// Where the client reads next in each assigned partition, past records that it does not deliver; partitions without a
    /// position are left out.
    ///
    /// # Errors
    /// librdkafka refuses.
    pub fn positions(&self) -> KafkaResult<Vec<(TopicPartition, i64)>> {
        let list = self.client().position().map_err(|error| self.error("reading positions", &error))?;
        Ok(list
            .elements()
            .iter()
            .filter_map(|element| match element.offset() {
                Offset::Offset(offset) => {
                    Some((TopicPartition { topic: element.topic().to_owned(), partition: element.partition() }, offset))
                }
                _ => None,
            })
            .collect())
    }

    /// Sends the hint for lag tools to Kafka, without waiting for the answer; `metadata` tells whose offsets they are.
    ///
    /// # Errors
    /// librdkafka refuses to send it.
    pub fn commit_hint(&self, positions: &[(TopicPartition, i64)], metadata: &str) -> KafkaResult<()> {
        let list = offsets_list(positions);
        for (partition, _) in positions {
            if let Some(mut element) = list.find_partition(&partition.topic, partition.partition) {
                element.set_metadata(metadata);
            }
        }
        native::commit(self.client().client(), &list)
            .map_err(|code| self.error("committing offsets", &NativeError::ConsumerCommit(code)))
    }

    /// Commits that were answered so far.
    #[must_use]
    pub fn commits(&self) -> CommitCounts {
        let context = self.client().context();
        CommitCounts {
            ok: context.commits_ok.load(Ordering::Relaxed),
            failed: context.commits_failed.load(Ordering::Relaxed),
        }
    }

    /// The generation of the group that it is a member of, or its epoch in the consumer protocol; `None` for no member.
    /// Waits for librdkafka's own thread, so it must run where blocking is allowed.
    #[must_use]
    pub fn generation(&self) -> Option<i32> {
        native::generation(self.client().client())
    }

    /// Makes the client of an earlier generation leave, whose task never let go of it: what it holds would otherwise stay with
    /// it until the group gives it up. Returns at once.
    fn evict(client: Arc<StreamConsumer<GroupContext>>) {
        let Ok(runtime) = tokio::runtime::Handle::try_current() else {
            return;
        };
        runtime.clone().spawn_blocking(move || {
            client.context().close(&*client);
            leave_group(&client, &runtime, EVICT_TIMEOUT);
        });
    }

    /// Leaves and closes, at most `timeout` long. A static member keeps its place unless `leave` is set. Gives back whether
    /// it was finished in time; if not, closing goes on in the background.
    pub async fn close(mut self, leave: bool, timeout: Duration) -> bool {
        let Some(client) = self.inner.take() else {
            return true;
        };
        let fetched = self.fetched.take();
        let leave = leave && self.is_static;
        let runtime = tokio::runtime::Handle::current();
        let closed = tokio::task::spawn_blocking(move || {
            drop(fetched);
            client.context().close(&*client);
            if leave {
                leave_group(&client, &runtime, timeout / 2);
            }
            drop(client);
        });
        tokio::time::timeout(timeout, closed).await.is_ok()
    }
}

impl Drop for GroupConsumer {
    fn drop(&mut self) {
        let Some(client) = self.inner.take() else {
            return;
        };
        let fetched = self.fetched.take();
        let leave = self.is_static && self.gone.load(Ordering::Acquire);
        let runtime = tokio::runtime::Handle::try_current().ok();
        // Dropping polls until the group has let go: the callback must answer alone, and this thread must not wait.
        let close = {
            let runtime = runtime.clone();
            move || {
                drop(fetched);
                client.context().close(&*client);
                if let Some(runtime) = runtime.filter(|_| leave) {
                    leave_group(&client, &runtime, EVICT_TIMEOUT);
                }
                drop(client);
            }
        };
        match runtime {
            Some(runtime) => drop(runtime.spawn_blocking(close)),
            None => close(),
        }
    }
}

/// Gives the place in the group up, also a static one, and waits for it, at most so long. In the classic protocol only
/// unsubscribing does so, and only when it is through before the client closes: the place is gone when the member has no id
/// any more.
fn leave_group(client: &StreamConsumer<GroupContext>, runtime: &tokio::runtime::Handle, longest: Duration) {
    client.unsubscribe();
    let deadline = Instant::now() + longest;
    while native::is_member(client.client()) && Instant::now() < deadline {
        // Polling serves the callback; who should have taken the records is gone or has stopped.
        let _ = runtime.block_on(async { tokio::time::timeout(LEAVE_PAUSE, client.recv()).await.map(drop) });
    }
}

/// The records of a group member.
pub struct Records<'c> {
    consumer: &'c GroupConsumer,
    stream: rdkafka::consumer::MessageStream<'c, GroupContext>,
}

impl<'c> Records<'c> {
    /// The next record. Cancel safe. Polling it is what keeps the membership and serves callbacks, also while all
    /// partitions are paused.
    ///
    /// # Errors
    /// What the group or a broker reports; reading may go on unless the kind is fenced or configuration.
    pub async fn next(&mut self) -> KafkaResult<FetchedRecord<'c>> {
        let (consumer, stream) = (self.consumer, &mut self.stream);
        let next = std::future::poll_fn(|context| {
            // First the group, which has something to say once in a while, then the records.
            if let Poll::Ready(news) = stream.poll_next_unpin(context) {
                let news = news.expect("the stream is endless");
                // A record would be one of a partition that was not forwarded, and there is none. It is not kept: an error makes
                // what is missing then be read again.
                return Poll::Ready(Err(news.err().unwrap_or(NativeError::NoMessageReceived)));
            }
            consumer.fetched().poll_pop(consumer.client(), context)
        });
        next.await.map_err(|error| self.failed(&error))
    }

    /// The next record if it was fetched already.
    pub fn next_fetched(&mut self) -> Option<KafkaResult<FetchedRecord<'c>>> {
        let next = self.consumer.fetched().pop(self.consumer.client())?;
        Some(next.map_err(|error| self.failed(&error)))
    }

    fn failed(&self, error: &NativeError) -> KafkaError {
        tracing::debug!(kind = kind_of(error).as_str(), error = %error, "reading was interrupted");
        self.consumer.error("reading", error)
    }
}

fn partitions_list(partitions: &[TopicPartition]) -> TopicPartitionList {
    let mut list = TopicPartitionList::with_capacity(partitions.len());
    for partition in partitions {
        list.add_partition(&partition.topic, partition.partition);
    }
    list
}

fn offsets_list(partitions: &[(TopicPartition, i64)]) -> TopicPartitionList {
    let mut list = TopicPartitionList::with_capacity(partitions.len());
    for (partition, offset) in partitions {
        let mut element = list.add_partition(&partition.topic, partition.partition);
        if let Err(error) = element.set_offset(Offset::Offset(*offset)) {
            // Only a negative offset is refused, and positions are never negative.
            tracing::error!(error = %error, offset, "an offset was refused");
        }
    }
    list
}

#[cfg(test)]
#[path = "group_consumer_tests.rs"]
mod tests;
