//! The consumer: one logical member of the group, from librdkafka to the writers.
//!
//! Owns a librdkafka consumer, the positions of its partitions and its lanes, in one task. Takes records while its lanes
//! have room, sends a batch as soon as a writer is free, moves positions by the receipts, and answers rebalances with
//! positions from the store. Nothing here blocks polling: what waits (the store, the cluster, a processor) is a future of
//! its own. When it fails, the guard closes the client in the background and its successor starts from the store.

mod holds;
mod intake;
mod lanes;
mod owned;
mod pauses;
mod processing;
mod reading;
mod receipts;
mod recorder;
mod reset;
mod revoke;
mod seek;
pub mod start;
mod storm;
mod watchdog;

use self::intake::Intake;
use self::lanes::{LaneLimits, Lanes};
use self::owned::Owned;
use self::processing::Processing;
use self::start::{Start, Starts};
use super::breaker::Breaker;
use super::exit::ExitError;
use super::holds::Holds;
use super::leases::Place;
use super::lifecycle::{Control, Task, TaskActor};
use super::memory::MemoryBudget;
use super::metrics::EndOffsets;
use super::writer_pool::{WriteReply, WriterPool, WriterSlot};
use crate::board::Board;
use crate::domain::event::Mapping;
use crate::domain::hold::Hold;
use crate::domain::status::{ChildState, ConsumerStatus};
use crate::domain::storm::StormLimits;
use crate::kafka::client::ClientIds;
use crate::kafka::error::KafkaError;
use crate::kafka::group_client::{Group, GroupClient as _, KafkaGroup, RecordStream as _};
use crate::kafka::rebalance::{RebalanceEvent, TopicPartition};
use crate::metrics::Metrics;
use crate::processor::Processor;
use crate::store::StoreError;
use futures::StreamExt as _;
use futures::future::BoxFuture;
use futures::stream::FuturesUnordered;
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::sync::{Notify, watch};
use tokio::time::Instant;

/// The actor of a consumer.
pub type ConsumerActor = TaskActor<ConsumerTask>;

/// How often status, metrics and the hint are looked after.
const TICK: Duration = Duration::from_millis(250);
/// How long a consumer whose group gave it nothing counts as starting; a member without partitions hears nothing more.
const IDLE_MEMBER_AFTER: Duration = Duration::from_secs(10);
/// How often the topics' ids are compared with those stored. librdkafka reads on in a topic that was created again without a
/// word, so what it delivers until then is stored under the old incarnation.
const IDENTITY_CHECK: Duration = Duration::from_secs(10);
/// How long closing the client may take before it is left to the background.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(5);

/// What a consumer is made of.
#[derive(Clone)]
pub struct ConsumerTask<G: Group = KafkaGroup> {
    /// Its id.
    pub id: String,
    /// `group.instance.id`; `None` is dynamic membership.
    pub instance_id: Option<String>,
    /// The group that it joins.
    pub group: G,
    /// Lanes.
    pub lanes: usize,
    /// Bounds of a batch.
    pub batch_rows: usize,
    /// Bounds of a batch.
    pub batch_bytes: usize,
    /// Minimum age of a batch.
    pub min_batch_age: Duration,
    /// Largest record.
    pub record_bytes: usize,
    /// When a partition whose records fail is quarantined.
    pub storm: StormLimits,
    /// How long a partition that is behind may stand.
    pub watchdog_timeout: Duration,
    /// Mappings by topic.
    pub mappings: Arc<BTreeMap<String, Arc<Mapping>>>,
    /// Where reading starts.
    pub starts: Starts,
    /// The writers.
    pub pool: WriterPool,
    /// The byte budget of the process.
    pub budget: Arc<MemoryBudget>,
    /// The breaker in front of the store.
    pub breaker: Arc<Breaker>,
    /// What must not be read.
    pub holds: Arc<Holds>,
    /// Woken when dead letters were stored.
    pub dead_letters: Arc<Notify>,
    /// The optional step between decoding and storing.
    pub processor: Option<Arc<dyn Processor>>,
    /// Ends of the partitions, as the metrics actor samples them.
    pub ends: Arc<EndOffsets>,
    /// Live state.
    pub board: Arc<Board>,
    /// Metrics.
    pub metrics: Metrics,
    /// Its place among the replicas, where the replica has an id of its own: held before the group is joined.
    pub place: Option<Place>,
    /// Give up a static place at the stop. It may be decided while the consumer runs, by whoever takes it away for good.
    pub leave: Arc<AtomicBool>,
}

impl<G: Group> Task for ConsumerTask<G> {
    async fn run(self, control: Control) -> Result<(), ExitError> {
        if let Some(place) = &self.place
            && !place.take_unless_stopped(&control).await?
        {
            return Ok(());
        }
        let ids = ClientIds { consumer_id: &self.id, group_instance_id: self.instance_id.as_deref() };
        let consumer = self.group.join(&ids).map_err(failed)?;
        let worked = tokio::select! {
            worked = Work::new(&self, &consumer, &control).run() => worked,
            gone = async { match &self.place { Some(place) => place.gone().await, None => std::future::pending().await } } => Err(gone),
        };
        let left = worked?;
        if !consumer.close(self.leave.load(Ordering::Acquire), CLOSE_TIMEOUT).await {
            tracing::warn!(consumer_id = %self.id, "closing the consumer goes on in the background");
        }
        match left {
            None => Ok(()),
            Some(what) => Err(ExitError::error(what)),
        }
    }
}

/// What the consumer waits for beside records, receipts and rebalances.
enum Answer {
    /// A writer answered for a lane, or died.
    Written(usize, Option<Box<WriteReply>>),
    /// Starts of partitions that the group assigned.
    Assigned(Vec<Start>),
    /// Positions of partitions that were reset.
    Reset(Vec<(TopicPartition, u64)>, Vec<Start>),
    /// Partitions looked at because the client reported an offset outside the log, or because it is time.
    Checked(Vec<Start>),
    /// A seek failed a moment ago.
    SeekAgain(seek::SeekAgain),
}

struct Work<'c, G: Group> {
    task: &'c ConsumerTask<G>,
    consumer: &'c G::Client,
    control: &'c Control,
    intake: Intake,
    lanes: Lanes,
    owned: Owned,
    holds: watch::Receiver<Arc<Vec<Hold>>>,
    answers: FuturesUnordered<BoxFuture<'static, Answer>>,
    rebalances: VecDeque<RebalanceEvent>,
    /// An assign waits for positions.
    assigning: bool,
    recorder: recorder::Recorder,
    revoking: Option<revoke::Revoking>,
    /// Partitions whose position must be taken from the store as soon as their lane is not in flight.
    resets: Vec<TopicPartition>,
    checking: bool,
    /// An error was reported while a check was under way, which may not know all that it concerns.
    check_again: bool,
    /// The client reported an offset outside the log and fetches no more until it is told where to.
    seek_after_check: bool,
    joined: bool,
    started: Instant,
    /// When the watchdog looked last.
    watched: Instant,
    blocked_since: Option<Instant>,
    stopping: Option<Instant>,
    hint: receipts::Hint,
    next_identity_check: Instant,
    /// The last epoch that was given out; none is given twice, so that nothing begun under an earlier ownership of a
    /// partition is taken for its present one.
    epochs: u64,
    status: ConsumerStatus,
}

impl<'c, G: Group> Work<'c, G> {
    fn new(task: &'c ConsumerTask<G>, consumer: &'c G::Client, control: &'c Control) -> Self {
        let limits = LaneLimits { rows: task.batch_rows, bytes: task.batch_bytes, min_age: task.min_batch_age };
        let now = Instant::now();
        let processing = task.processor.clone().map(|processor| {
            let retries = task.metrics.message_retries.with_label_values(&[task.id.as_str(), "process"]);
            Processing::new(processor, Arc::clone(&task.budget), retries)
        });
        // Counters of a consumer go on over its restarts.
        let status = task.board.consumers().into_iter().find(|status| status.id == task.id);
        Self {
            task,
            consumer,
            control,
            intake: Intake::new(&task.id, task.record_bytes, task.budget.most_for_one(), processing),
            lanes: Lanes::new(&task.id, task.lanes, limits, Arc::clone(&task.budget), task.pool.spares()),
            owned: Owned::default(),
            holds: task.holds.subscribe(),
            answers: FuturesUnordered::new(),
            rebalances: VecDeque::new(),
            assigning: false,
            recorder: recorder::Recorder::default(),
            revoking: None,
            resets: Vec::new(),
            checking: false,
            check_again: false,
            seek_after_check: false,
            joined: false,
            started: now,
            watched: now,
            blocked_since: None,
            stopping: None,
            hint: receipts::Hint::new(now),
            next_identity_check: now + IDENTITY_CHECK,
            epochs: 0,
            status: status.unwrap_or_else(|| ConsumerStatus { id: task.id.clone(), ..ConsumerStatus::default() }),
        }
    }

    /// Works until the stop; gives back what was left, if anything was.
    async fn run(mut self) -> Result<Option<String>, ExitError> {
        let mut records = self.consumer.records();
        // Kept over the turns: it has a place in the queue for a writer.
        let mut slot: Option<BoxFuture<'c, WriterSlot>> = None;
        let mut tick = tokio::time::interval(TICK);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            self.control.progress();
            self.advance_rebalance()?;
            self.start_resets();
            if let Some(deadline) = self.stopping {
                if self.is_drained() {
                    self.finish(&mut records).await;
                    return Ok(None);
                }
                if Instant::now() >= deadline {
                    let left = self.lanes.unstored();
                    self.publish();
                    self.commit_hint();
                    return Ok(Some(format!(
                        "{left} records or batches were read but not stored within shutdown.grace; they are read again at the next start"
                    )));
                }
            }
            let blocked = self.is_blocked();
            let pause_at = self.blocked_since.map(|since| since + pauses::PAUSE_AFTER);
            let urgent = self.stopping.is_some() || self.revoking.is_some();
            let ready = if self.has_place() { self.lanes.ready(Instant::now(), urgent) } else { None };
            if ready.is_none() {
                slot = None;
            }
            let ready_at = self.lanes.next_ready().filter(|_| ready.is_none() && !self.task.min_batch_age.is_zero());
            tokio::select! {
                biased;
                deadline = self.control.drain_requested(), if self.stopping.is_none() => self.stop(deadline),
                event = self.consumer.rebalance() => self.rebalances.push_back(event),
                Ok(()) = self.holds.changed() => self.obey_holds()?,
                Some(answer) = self.answers.next(), if !self.answers.is_empty() => self.answered(answer)?,
                free = slot.get_or_insert_with(|| Box::pin(self.task.pool.slot())), if ready.is_some() => {
                    slot = None;
                    if let Some(lane) = ready {
                        self.send(lane, free);
                    }
                }
                done = self.intake.next_processed(), if self.intake.is_processing() => {
                    let id = done.id().clone();
                    if let Some(storm) = self.intake.add_processed(done, &mut self.owned, &mut self.lanes) {
                        self.quarantine(&id, &storm)?;
                    }
                    self.resume_with_room()?;
                }
                _ = tick.tick() => {
                    self.tick()?;
                    self.watch()?;
                    self.resume_with_room()?;
                }
                () = sleep_until(pause_at), if pause_at.is_some() => self.pause_full()?,
                () = sleep_until(ready_at), if ready_at.is_some() => {}
                record = records.next(), if !blocked => self.take_burst(record, &mut records).await?,
            }
        }
    }

    fn stop(&mut self, deadline: Instant) {
        // The client must still leave within the time that the supervisor gives.
        let margin = Duration::from_secs(1).min((deadline - Instant::now()) / 4);
        self.stopping = Some(deadline - margin);
        let all: Vec<TopicPartition> = self.owned.iter().map(|partition| partition.id.clone()).collect();
        if let Err(error) = self.consumer.pause(&all) {
            tracing::debug!(error = %error, "partitions could not be paused for the stop");
        }
    }

    fn is_drained(&self) -> bool {
        !self.intake.is_processing()
            && self.lanes.iter().all(|lane| lane.in_flight.is_none() && lane.filling.is_empty())
    }

    /// Whether it may write: while its place is not held, another process may be about to take it.
    fn has_place(&self) -> bool {
        self.task.place.as_ref().is_none_or(Place::is_held)
    }

    /// What the world is to see of this consumer.
    fn state(&self) -> ChildState {
        if self.assigning || self.revoking.is_some() {
            ChildState::Rebalancing
        } else if self.task.breaker.is_open() || self.is_held() || !self.has_place() {
            ChildState::Paused
        } else if self.joined {
            ChildState::Running
        } else {
            ChildState::Starting
        }
    }
}

/// However it ends, what it owned is not its own any more: a lag or a stop that is left behind would be an alert for good.
impl<G: Group> Drop for Work<'_, G> {
    fn drop(&mut self) {
        let owned = self.owned.iter().map(|partition| (partition.id.topic.as_str(), partition.id.partition));
        self.task.metrics.clear_consumer(&self.task.id, self.task.mappings.keys(), owned);
    }
}

fn failed(error: KafkaError) -> ExitError {
    ExitError::error(error.to_string())
}

fn store_failed(error: &StoreError) -> ExitError {
    ExitError::error(error.message.clone())
}

async fn sleep_until(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at).await,
        None => std::future::pending().await,
    }
}
