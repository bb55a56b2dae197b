//! A group client that fails on demand, for drills: it wraps another one, and is there only where drills are allowed.
//!
//! [`ClientFaults`] is the handle of whoever runs the drill. Bound: one fault waits for a consumer at a time. What it does
//! happens on the consumer's own task, while that reads, so that its supervision sees the real thing.

use super::client::ClientIds;
use super::error::{KafkaError, KafkaErrorKind, KafkaResult};
use super::group_client::{Answers, Group, GroupClient, Questions, RecordStream};
use super::group_consumer::CommitCounts;
use super::lookup::{Committed, TopicDescription};
use super::rebalance::{RebalanceEvent, TopicPartition};
use futures::FutureExt as _;
use futures::future::BoxFuture;
use std::future::Future;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::oneshot;

/// How long a question waits before it is told that no broker answers.
const SILENCE: Duration = Duration::from_millis(250);
/// A consumer without records in hand meets its fault all the same after this time.
const PATIENCE: Duration = Duration::from_secs(2);
/// Pause between two looks of a blocked task at whether it is let go.
const BLOCKED_PAUSE: Duration = Duration::from_millis(20);

/// What happens to a consumer the next time that it reads with records in hand.
pub enum ReadFault {
    /// Its task panics.
    Panic,
    /// Its task blocks until the flag is set, at most so long.
    Block(Arc<AtomicBool>, Duration),
}

struct Armed {
    consumer_id: String,
    fault: ReadFault,
    since: Instant,
    met: oneshot::Sender<()>,
}

/// The faults of the group clients of a process; none at first.
#[derive(Default)]
pub struct ClientFaults {
    down: AtomicBool,
    /// Whether `fault` is there, so that reading looks at one flag.
    is_armed: AtomicBool,
    fault: Mutex<Option<Armed>>,
}

impl ClientFaults {
    /// Whether no broker answers. Membership goes on: the outage is one of records and answers.
    pub fn set_down(&self, down: bool) {
        self.down.store(down, Ordering::Release);
    }

    /// Lets a consumer meet a fault; the receiver is told the moment before.
    pub fn arm(&self, consumer_id: &str, fault: ReadFault) -> oneshot::Receiver<()> {
        let (met, meeting) = oneshot::channel();
        let armed = Armed { consumer_id: consumer_id.to_owned(), fault, since: Instant::now(), met };
        *self.fault() = Some(armed);
        self.is_armed.store(true, Ordering::Release);
        meeting
    }

    /// Ends every fault.
    pub fn clear(&self) {
        self.set_down(false);
        self.is_armed.store(false, Ordering::Release);
        *self.fault() = None;
    }

    fn fault(&self) -> MutexGuard<'_, Option<Armed>> {
        self.fault.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_down(&self) -> bool {
        self.down.load(Ordering::Acquire)
    }

    /// Lets the fault happen, if one waits for this consumer.
    fn meet(&self, consumer_id: &str, has_records: bool) {
        if !self.is_armed.load(Ordering::Acquire) {
            return;
        }
        let taken = self
            .fault()
            .take_if(|armed| armed.consumer_id == consumer_id && (has_records || armed.since.elapsed() > PATIENCE));
        let Some(armed) = taken else { return };
        self.is_armed.store(false, Ordering::Release);
        if armed.met.send(()).is_err() {
            // Nobody runs the drill any more.
            return;
        }
        match armed.fault {
            ReadFault::Panic => panic!("a drill makes {consumer_id} panic"),
            ReadFault::Block(release, longest) => {
                let until = Instant::now() + longest;
                // The task is stuck, as in a call that never returns; the runtime's other tasks are not.
                tokio::task::block_in_place(|| {
                    while !release.load(Ordering::Acquire) && Instant::now() < until {
                        std::thread::sleep(BLOCKED_PAUSE);
                    }
                });
            }
        }
    }

    fn refusal(&self, doing: &str) -> Option<KafkaError> {
        let reason = "a drill makes the brokers look unreachable";
        self.is_down().then(|| KafkaError::new(KafkaErrorKind::Unreachable, doing, reason))
    }
}

/// A group whose members may meet faults.
#[derive(Clone)]
pub struct FaultyGroup<G> {
    /// The real one.
    pub inner: G,
    /// The faults.
    pub faults: Arc<ClientFaults>,
}

impl<G: Group> Group for FaultyGroup<G> {
    type Client = FaultyClient<G::Client>;

    fn join(&self, ids: &ClientIds<'_>) -> KafkaResult<Self::Client> {
        let inner = self.inner.join(ids)?;
        Ok(FaultyClient { inner, faults: Arc::clone(&self.faults), id: ids.consumer_id.to_owned() })
    }
}

/// A member that may meet faults.
pub struct FaultyClient<C> {
    inner: C,
    faults: Arc<ClientFaults>,
    id: String,
}

impl<C: GroupClient> GroupClient for FaultyClient<C> {
    type Records<'c> = FaultyRecords<'c, C::Records<'c>>;

    fn records(&self) -> Self::Records<'_> {
        FaultyRecords { inner: self.inner.records(), faults: &self.faults, id: &self.id }
    }
    fn rebalance(&self) -> impl Future<Output = RebalanceEvent> + Send {
        self.inner.rebalance()
    }
    fn assign(&self, partitions: &[(TopicPartition, i64)]) -> KafkaResult<()> {
        self.inner.assign(partitions)
    }
    fn unassign(&self, partitions: &[TopicPartition]) -> KafkaResult<()> {
        self.inner.unassign(partitions)
    }
    fn pause(&self, partitions: &[TopicPartition]) -> KafkaResult<()> {
        self.inner.pause(partitions)
    }
    fn resume(&self, partitions: &[TopicPartition]) -> KafkaResult<()> {
        self.inner.resume(partitions)
    }
    fn seek(&self, topic: &str, partition: i32, offset: i64) -> KafkaResult<()> {
        self.inner.seek(topic, partition, offset)
    }
    fn positions(&self) -> KafkaResult<Vec<(TopicPartition, i64)>> {
        self.inner.positions()
    }
    fn commit_hint(&self, positions: &[(TopicPartition, i64)], metadata: &str) -> KafkaResult<()> {
        match self.faults.refusal("committing offsets") {
            Some(error) => Err(error),
            None => self.inner.commit_hint(positions, metadata),
        }
    }
    fn commits(&self) -> CommitCounts {
        self.inner.commits()
    }
    fn close(self, leave: bool, timeout: Duration) -> impl Future<Output = bool> + Send {
        self.inner.close(leave, timeout)
    }
}

/// The records of a member that may meet faults.
pub struct FaultyRecords<'c, R> {
    inner: R,
    faults: &'c ClientFaults,
    id: &'c str,
}

impl<R: RecordStream> RecordStream for FaultyRecords<'_, R> {
    type Record = R::Record;

    async fn next(&mut self) -> KafkaResult<R::Record> {
        self.faults.meet(self.id, false);
        if self.faults.is_down() {
            // Cancel safe: what was fetched stays where it is.
            tokio::time::sleep(SILENCE).await;
            if let Some(error) = self.faults.refusal("reading") {
                return Err(error);
            }
        }
        self.inner.next().await
    }

    fn next_fetched(&mut self) -> Option<KafkaResult<R::Record>> {
        self.faults.meet(self.id, true);
        if self.faults.is_down() { None } else { self.inner.next_fetched() }
    }
}

/// Questions to the cluster that may meet the outage.
pub struct FaultyQuestions {
    /// The real ones.
    pub inner: Arc<dyn Questions>,
    /// The faults.
    pub faults: Arc<ClientFaults>,
}

impl FaultyQuestions {
    fn ask<T: Send + 'static>(
        self: Arc<Self>,
        ask: impl FnOnce(Arc<dyn Questions>) -> BoxFuture<'static, KafkaResult<T>> + Send + 'static,
    ) -> BoxFuture<'static, KafkaResult<T>> {
        async move {
            if let Some(error) = self.faults.refusal("asking the cluster") {
                tokio::time::sleep(SILENCE).await;
                return Err(error);
            }
            ask(Arc::clone(&self.inner)).await
        }
        .boxed()
    }
}

impl Questions for FaultyQuestions {
    fn topic(self: Arc<Self>, topic: String) -> BoxFuture<'static, KafkaResult<Option<TopicDescription>>> {
        self.ask(move |inner| inner.topic(topic))
    }
    fn committed(self: Arc<Self>, of: Vec<TopicPartition>) -> Answers<Committed> {
        self.ask(move |inner| inner.committed(of))
    }
    fn beginnings(self: Arc<Self>, of: Vec<TopicPartition>) -> Answers<i64> {
        self.ask(move |inner| inner.beginnings(of))
    }
    fn ends(self: Arc<Self>, of: Vec<TopicPartition>) -> Answers<i64> {
        self.ask(move |inner| inner.ends(of))
    }
    fn at_time(self: Arc<Self>, of: Vec<TopicPartition>, ms: i64) -> Answers<i64> {
        self.ask(move |inner| inner.at_time(of, ms))
    }
}
