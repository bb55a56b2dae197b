//! The store as drover sees it: questions and writers over the simulated server, with answers that are late, lost or errors.

use crate::log::TOPIC;
use crate::server::{Begun, Committed, Transaction};
use crate::world::Sim;
use drover::domain::batch::Batch;
use drover::domain::failure::FailureClass;
use drover::store::{
    DeadLetterFilter, Migration, Outbox, RangeContent, Receipt, Resolution, Store, StoreError, StoreIdentity,
    StoreWriter, StoredDeadLetter, TopicProgress, WriteError,
};
use futures::FutureExt as _;
use futures::future::BoxFuture;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::oneshot;
use tokio::time::Instant;

const TRANSACTION_TIMEOUT: Duration = Duration::from_secs(10);
const LOCK_TIMEOUT: Duration = Duration::from_millis(400);

fn error(class: FailureClass, code: Option<&str>, what: &str) -> StoreError {
    StoreError { class, code: code.map(Into::into), message: format!("{what} (simulated)") }
}

fn lost() -> StoreError {
    error(FailureClass::Breaker, None, "the connection was lost")
}

pub struct SimStore(pub Sim);

impl SimStore {
    /// Asks the server; an error may come before or after it did what was asked.
    async fn ask<T>(&self, question: impl FnOnce(&Sim) -> T) -> Result<T, StoreError> {
        self.0.latency().await;
        let (away, early, late) = {
            let mut world = self.0.lock();
            let fails = world.plan.store_fails / 2.0;
            (world.server.away, world.chance(fails), world.chance(fails))
        };
        if away || early {
            return Err(lost());
        }
        let answer = question(&self.0);
        self.0.latency().await;
        if late { Err(lost()) } else { Ok(answer) }
    }
}

fn topic_progress(sim: &Sim) -> Option<TopicProgress> {
    let world = sim.lock();
    let topic_id = world.server.topic_id.clone()?;
    Some(TopicProgress { topic_id, incarnation: 1, partitions: world.server.progress.clone() })
}

pub fn not_here<T: Send + 'static>() -> BoxFuture<'static, Result<T, StoreError>> {
    async { Err(error(FailureClass::Bug, None, "the model does not ask this")) }.boxed()
}

impl Store for SimStore {
    fn kind(&self) -> &'static str {
        "simulated"
    }
    fn topic<'a>(&'a self, topic: &'a str) -> BoxFuture<'a, Result<Option<TopicProgress>, StoreError>> {
        assert_eq!(topic, TOPIC);
        self.ask(topic_progress).boxed()
    }
    fn register_topic<'a>(
        &'a self,
        _: &'a str,
        topic_id: Option<&'a str>,
        starts: &'a BTreeMap<i32, i64>,
    ) -> BoxFuture<'a, Result<TopicProgress, StoreError>> {
        self.ask(move |sim| {
            {
                let mut world = sim.lock();
                if world.server.topic_id.is_none() {
                    world.server.topic_id = Some(topic_id.map(Into::into));
                    world.server.register(starts);
                }
            }
            topic_progress(sim).unwrap()
        })
        .boxed()
    }
    fn add_partitions<'a>(
        &'a self,
        _: &'a str,
        starts: &'a BTreeMap<i32, i64>,
    ) -> BoxFuture<'a, Result<TopicProgress, StoreError>> {
        self.ask(move |sim| {
            sim.lock().server.register(starts);
            topic_progress(sim).unwrap()
        })
        .boxed()
    }
    fn writer(&self, _: &str) -> Box<dyn StoreWriter> {
        Box::new(SimWriter { sim: self.0.clone(), session: None, orphans: Vec::new(), lock_wait: false })
    }
    fn migrate(&self) -> BoxFuture<'_, Result<Vec<String>, StoreError>> {
        not_here()
    }
    fn revert_migration(&self) -> BoxFuture<'_, Result<Option<String>, StoreError>> {
        not_here()
    }
    fn migrations(&self) -> BoxFuture<'_, Result<Vec<Migration>, StoreError>> {
        not_here()
    }
    fn check_schema(&self) -> BoxFuture<'_, Result<(), StoreError>> {
        not_here()
    }
    fn ping(&self) -> BoxFuture<'_, Result<(), StoreError>> {
        not_here()
    }
    fn claim_identity<'a>(&'a self, _: &'a str, _: &'a str) -> BoxFuture<'a, Result<StoreIdentity, StoreError>> {
        not_here()
    }
    fn outbox(&self) -> BoxFuture<'_, Result<Option<Box<dyn Outbox>>, StoreError>> {
        not_here()
    }
    fn unpublished(&self) -> BoxFuture<'_, Result<i64, StoreError>> {
        not_here()
    }
    fn dead_letters<'a>(&'a self, _: &'a DeadLetterFilter) -> BoxFuture<'a, Result<Vec<StoredDeadLetter>, StoreError>> {
        not_here()
    }
    fn dead_letter<'a>(
        &'a self,
        _: &'a str,
        _: i32,
        _: i64,
    ) -> BoxFuture<'a, Result<Option<StoredDeadLetter>, StoreError>> {
        not_here()
    }
    fn topics(&self) -> BoxFuture<'_, Result<Vec<String>, StoreError>> {
        not_here()
    }
    fn range_content<'a>(
        &'a self,
        _: &'a str,
        _: i32,
        _: i32,
        _: i64,
        _: i64,
    ) -> BoxFuture<'a, Result<RangeContent, StoreError>> {
        not_here()
    }
}

/// A writer with a session of its own, as store/postgres/writer.rs.
struct SimWriter {
    sim: Sim,
    session: Option<u64>,
    orphans: Vec<u64>,
    lock_wait: bool,
}

/// One transaction at a time is being written of each partition of a consumer.
struct Writing<'s>(&'s Sim, Vec<(String, i32)>);

impl<'s> Writing<'s> {
    fn begin(sim: &'s Sim, batch: &Transaction) -> Self {
        let mut world = sim.lock();
        let keys: Vec<_> = batch.advances.iter().map(|a| (batch.consumer_id.clone(), a.0)).collect();
        for key in &keys {
            if !world.writing.insert(key.clone()) {
                world.violated(format!(
                    "two transactions of one owner are written at once: partition {} of {}",
                    key.1, key.0
                ));
            }
        }
        Self(sim, keys)
    }
}

impl Drop for Writing<'_> {
    fn drop(&mut self) {
        let mut world = self.0.lock();
        for key in &self.1 {
            world.writing.remove(key);
        }
    }
}

impl SimWriter {
    async fn connect(&mut self) -> Result<u64, StoreError> {
        if let Some(session) = self.session.filter(|session| !self.sim.lock().server.is_alive(*session)) {
            self.orphans.push(session);
            self.session = None;
        }
        if let Some(session) = self.session {
            return Ok(session);
        }
        self.sim.latency().await;
        let mut world = self.sim.lock();
        if world.server.away {
            return Err(lost());
        }
        let session = world.server.connect();
        self.session = Some(session);
        Ok(session)
    }

    fn give_up(&mut self) {
        self.orphans.extend(self.session.take());
    }

    async fn try_write(&mut self, batch: &Batch) -> Result<Receipt, WriteError> {
        let session = self.connect().await.map_err(WriteError::Store)?;
        let transaction = Transaction::of(batch);
        let outcome = {
            let _writing = Writing::begin(&self.sim, &transaction);
            tokio::time::timeout(TRANSACTION_TIMEOUT, flights(&self.sim, session, transaction)).await
        };
        let no_answer = error(FailureClass::RetryBatch, None, "no answer in time");
        let result = outcome.unwrap_or(Err(WriteError::Store(no_answer)));
        self.lock_wait = matches!(&result, Err(WriteError::Store(error)) if error.code.as_deref() == Some("55P03"));
        if matches!(&result, Err(WriteError::Store(error)) if error.code.is_none()) {
            self.give_up();
        }
        result
    }

    async fn try_recover(&mut self, batch: &Batch) -> Result<Resolution, StoreError> {
        let session = self.connect().await?;
        self.sim.latency().await;
        let mut world = self.sim.lock();
        if world.server.away || !world.server.is_alive(session) {
            return Err(lost());
        }
        for orphan in self.orphans.drain(..) {
            world.server.end(orphan);
        }
        if std::mem::take(&mut self.lock_wait) {
            let partitions: Vec<i32> = batch.advances().iter().map(|advance| advance.partition).collect();
            world.server.end_blockers(session, &partitions);
        }
        let at = |partition: i32, incarnation: i32| {
            world.server.progress.get(&partition).filter(|p| p.incarnation == incarnation).map(|p| p.next_offset)
        };
        let all = |to: bool| {
            batch.advances().iter().all(|a| at(a.partition, a.incarnation) == Some(if to { a.to } else { a.from }))
        };
        let resolution = match (all(true), all(false)) {
            (true, _) => Resolution::Committed,
            (false, true) => Resolution::NotCommitted,
            (false, false) => Resolution::Moved,
        };
        world.count("recovered");
        Ok(resolution)
    }
}

/// The two flights of a batch. Dropped in between, it leaves its session open, with its locks.
async fn flights(sim: &Sim, session: u64, batch: Transaction) -> Result<Receipt, WriteError> {
    sim.latency().await;
    let deadline = Instant::now() + LOCK_TIMEOUT;
    let known = loop {
        let changed = Arc::clone(&sim.lock().server.changed);
        let changed = changed.notified();
        let begun = sim.lock().server.begin(session, &batch);
        match begun {
            Begun::Moved { known } => break known,
            Begun::Dead => return Err(WriteError::Store(lost())),
            Begun::Fenced => {
                sim.lock().count("fenced");
                return Err(WriteError::Store(error(FailureClass::Fenced, Some("DR001"), "a position was moved")));
            }
            Begun::Locked if Instant::now() >= deadline => {
                sim.lock().count("lock waits");
                return Err(WriteError::Store(error(FailureClass::RetryBatch, Some("55P03"), "lock not available")));
            }
            Begun::Locked => {
                let _ = tokio::time::timeout_at(deadline, changed).await;
            }
        }
    };
    if known {
        let mut world = sim.lock();
        let rewound =
            batch.advances.iter().any(|(p, _, from, _)| world.server.reread_below.get(p).is_some_and(|b| from < b));
        if !rewound {
            world.violated(format!("a range was offered twice: {:?} of {}", batch.advances, batch.consumer_id));
        }
    }
    sim.latency().await;
    let refused = {
        let mut world = sim.lock();
        let (retry, unknown) = (world.plan.retry, world.plan.unknown);
        if world.chance(retry) {
            world.server.roll_back(session);
            return Err(WriteError::Store(error(FailureClass::RetryBatch, Some("40001"), "serialization failure")));
        }
        if world.chance(unknown) {
            world.server.roll_back(session);
            return Err(WriteError::Store(error(FailureClass::Unknown, Some("XX000"), "internal error")));
        }
        let refused = batch.rows.iter().position(|(_, _, payload)| payload.windows(7).any(|word| word == b"refused"));
        if refused.is_some() {
            world.server.roll_back(session);
        }
        refused
    };
    if let Some(index) = refused {
        return Err(WriteError::Row { index, code: "23514".into(), message: "refused (simulated)".into() });
    }
    let advances = batch.advances.clone();
    match send_commit(sim, session, batch).await {
        Ok(Committed::Stored(receipt)) => Ok(receipt),
        Ok(Committed::Differs(partition)) => {
            let slot = advances.iter().position(|advance| advance.0 == partition).unwrap();
            let error = error(FailureClass::RowDiffers, None, "a stored row differs");
            Err(WriteError::Differs { slot: slot.try_into().unwrap(), error })
        }
        Ok(Committed::Dead) | Err(_) => Err(WriteError::Store(lost())),
    }
}

/// Sends the rest of the transaction. From here on the server commits whether the client lives or not, unless the session is
/// ended before.
fn send_commit(sim: &Sim, session: u64, batch: Transaction) -> oneshot::Receiver<Committed> {
    let (answer, answered) = oneshot::channel();
    let (delay, lose) = {
        let mut world = sim.lock();
        let lose = world.plan.lost_answer;
        (world.delay() + Duration::from_millis(world.server.slow_ms), world.chance(lose))
    };
    let sim = sim.clone();
    tokio::spawn(async move {
        // A part of the lost answers is lost with the question.
        let never_arrived = lose && sim.lock().chance(0.4);
        if lose && sim.lock().chance(0.5) {
            // The client learns at once, the server works on.
            drop(answer);
            tokio::time::sleep(delay).await;
            if !never_arrived {
                sim.lock().commit_transaction(session, &batch);
            }
            return;
        }
        tokio::time::sleep(delay).await;
        let committed = if never_arrived { Committed::Dead } else { sim.lock().commit_transaction(session, &batch) };
        if lose {
            sim.lock().count("lost answers");
        } else {
            let _ = answer.send(committed);
        }
    });
    answered
}

impl StoreWriter for SimWriter {
    fn write<'a>(&'a mut self, batch: &'a Batch) -> BoxFuture<'a, Result<Receipt, WriteError>> {
        self.try_write(batch).boxed()
    }

    fn recover<'a>(&'a mut self, batch: &'a Batch) -> BoxFuture<'a, Result<Resolution, StoreError>> {
        async move {
            let result = self.try_recover(batch).await;
            if result.is_err() {
                self.give_up();
            }
            result
        }
        .boxed()
    }
}

impl Drop for SimWriter {
    fn drop(&mut self) {
        // The server notices sooner or later that its client is gone, and rolls back what was not sent to its end.
        let (sim, sessions) = (self.sim.clone(), std::mem::take(&mut self.orphans));
        let sessions: Vec<u64> = sessions.into_iter().chain(self.session.take()).collect();
        if sessions.is_empty() {
            return;
        }
        let delay = { sim.lock().delay() } * 20;
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(async move {
                tokio::time::sleep(delay).await;
                for session in sessions {
                    sim.lock().server.end(session);
                }
            });
        }
    }
}
