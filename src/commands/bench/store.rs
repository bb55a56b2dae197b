//! `drover bench store`: the ceiling, the writers alone.
//!
//! The rows come from a pool of decoded events, so that only their encoding is in the figures. Each writer has partitions of
//! its own and, beside it, a task that fills the next batch while one is written: two batches a writer. Fails when a batch
//! is not stored; nothing is tried again.

use super::figures::Run;
use super::ground::{Ground, Stage};
use super::meter::{Follow, Meter};
use super::processes::pid_of;
use crate::config::LimitsConfig;
use crate::domain::batch::Batch;
use crate::domain::decode::decode;
use crate::domain::event::{EventRow, Mapping};
use crate::domain::generator::EventGenerator;
use crate::domain::record::{HeaderVisitor, RawRecord, RecordTimestamp, TimestampType};
use crate::store::{StoreWriter, WriteError, row};
use anyhow::{Context as _, anyhow, bail};
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

/// Distinct events; enough that the database does not see the same page twice in a row.
const POOL_EVENTS: usize = 10_000;
/// The topic that the rows are said to come from.
const TOPIC: &str = "drover-bench";
/// The first offset of every partition.
const FIRST_OFFSET: i64 = 0;

/// Rows that are stored.
pub struct Rows {
    /// How many.
    pub events: u64,
    /// Size of each.
    pub event_bytes: u64,
    /// Partitions over which they are spread evenly.
    pub partitions: i32,
}

/// Stores the rows once.
///
/// # Errors
/// See the module.
pub async fn run(ground: &mut Ground<'_>, rows: &Rows, mapping: &Mapping) -> anyhow::Result<Run> {
    let limits = ground.config.limits;
    let pool = Arc::new(pool(rows.event_bytes, mapping)?);
    let (stage, store) = ground.set_stage().await?;
    let Stage { config, session, facts, group, .. } = stage;
    store.claim_identity("drover-bench", group).await?;
    let starts: BTreeMap<i32, i64> = (0..rows.partitions).map(|partition| (partition, FIRST_OFFSET)).collect();
    let incarnation = store.register_topic(TOPIC, None, &starts).await?.incarnation;
    let partitions = usize::try_from(rows.partitions).unwrap_or(1);
    // As `run` does it: SQLite has one write lock, and a writer without a partition has nothing to do.
    let writers = if store.kind() == "sqlite" { 1 } else { config.writers.min(partitions) };
    let own = pid_of(std::process::id());
    let meter = Meter::start(&mut **session, facts, None, Some(own)).await?;
    let clock = Instant::now();
    let mut writing = JoinSet::new();
    for number in 0..writers {
        let shares: Vec<Share> = (number..partitions)
            .step_by(writers)
            .map(|partition| Share::new(partition, incarnation, rows.events, partitions))
            .collect();
        let filler =
            Filler { pool: Arc::clone(&pool), limits, consumer_id: format!("consumer-{}", number + 1), shares };
        writing.spawn(write_all(store.writer(&format!("writer-{}", number + 1)), filler, limits));
    }
    let follow = Follow { session: &mut **session, topic: TOPIC, total: rows.events, pid: own, clock };
    let written = async {
        let (mut transactions, mut done) = (0, Vec::new());
        while let Some(ended) = writing.join_next().await {
            let (written, writer) = ended.context("a writer ended")??;
            transactions += written;
            done.push(writer);
        }
        anyhow::Ok((transactions, done))
    };
    let (seen, (transactions, done)) = tokio::try_join!(follow.until_stored(|| Ok(())), written)?;
    let costs = meter.stop(&mut **session, own).await?;
    // Until here, because a session that has ended tells nobody what it cost.
    drop(done);
    let account = session.account(TOPIC).await?;
    Ok(Run::of_drain(rows.events, &seen, &costs, transactions, account))
}

/// An event of the pool, decoded.
struct Pooled {
    key: Vec<u8>,
    row: EventRow<'static>,
    timestamp_ms: i64,
}

fn pool(event_bytes: u64, mapping: &Mapping) -> anyhow::Result<Vec<Pooled>> {
    let mut generator = EventGenerator::new(rand::random(), usize::try_from(event_bytes)?);
    let mut pool = Vec::with_capacity(POOL_EVENTS);
    let text = |text: &str| Cow::Owned(text.to_owned());
    for _ in 0..POOL_EVENTS {
        let timestamp_ms = chrono::Utc::now().timestamp_millis();
        let made = generator.next_event(timestamp_ms);
        let key = made.user_id.clone().into_bytes();
        let timestamp = RecordTimestamp { ms: timestamp_ms, kind: TimestampType::CreateTime };
        let event = decode(Some(&made.value), timestamp, mapping)
            .map_err(|rejection| anyhow!("a made-up event is refused: {}", rejection.message))?;
        let row = EventRow {
            topic: Cow::Borrowed(TOPIC),
            partition: 0,
            incarnation: 0,
            offset: 0,
            key: Some(Cow::Owned(key.clone())),
            user_id: event.user_id.as_deref().map(text),
            event_type: text(&event.event_type),
            element_id: event.element_id.as_deref().map(text),
            occurred_at_us: event.occurred_at_us,
            payload: event.payload.map(|payload| Cow::Owned(payload.to_vec())),
            consumer_id: Cow::Borrowed(""),
            source: None,
        };
        pool.push(Pooled { key, row, timestamp_ms });
    }
    Ok(pool)
}

/// What a partition still gets.
struct Share {
    partition: i32,
    incarnation: i32,
    next: i64,
    end: i64,
}

impl Share {
    fn new(partition: usize, incarnation: i32, events: u64, partitions: usize) -> Self {
        let (each, rest) = (events / partitions as u64, events % partitions as u64);
        let count = each + u64::from((partition as u64) < rest);
        let end = FIRST_OFFSET + i64::try_from(count).unwrap_or(i64::MAX);
        Self { partition: i32::try_from(partition).unwrap_or(i32::MAX), incarnation, next: FIRST_OFFSET, end }
    }
}

/// Makes the batches of one writer: one partition in each, in turn, as the lanes of a consumer do.
struct Filler {
    pool: Arc<Vec<Pooled>>,
    limits: LimitsConfig,
    consumer_id: String,
    shares: Vec<Share>,
}

impl Filler {
    /// Fills a batch; false when nothing is left.
    fn fill(&mut self, batch: &mut Batch) -> bool {
        self.shares.retain(|share| share.next < share.end);
        if self.shares.is_empty() {
            return false;
        }
        let share = &mut self.shares[0];
        let slot = batch.slot(TOPIC, share.partition, share.incarnation, share.next);
        while share.next < share.end && batch.len() < self.limits.batch_rows && batch.bytes() < self.limits.batch_bytes
        {
            // The same events in another order in each partition.
            let at = (share.next.unsigned_abs() as usize + share.partition.unsigned_abs() as usize * 997) % POOL_EVENTS;
            let pooled = &self.pool[at];
            let record = Record { pooled, partition: share.partition, offset: share.next };
            let row = EventRow {
                topic: Cow::Borrowed(TOPIC),
                partition: share.partition,
                incarnation: share.incarnation,
                offset: share.next,
                key: Some(Cow::Borrowed(&pooled.key)),
                user_id: pooled.row.user_id.as_deref().map(Cow::Borrowed),
                event_type: Cow::Borrowed(&pooled.row.event_type),
                element_id: pooled.row.element_id.as_deref().map(Cow::Borrowed),
                occurred_at_us: pooled.row.occurred_at_us,
                payload: pooled.row.payload.as_deref().map(Cow::Borrowed),
                consumer_id: Cow::Borrowed(&self.consumer_id),
                source: pooled.row.source.as_deref().map(Cow::Borrowed),
            };
            batch.push_row(slot, &record, &row.event_type, |out| row::encode(&row, out));
            share.next += 1;
        }
        self.shares.rotate_left(1);
        true
    }
}

/// A record as Kafka would deliver it.
struct Record<'a> {
    pooled: &'a Pooled,
    partition: i32,
    offset: i64,
}

impl RawRecord for Record<'_> {
    fn topic(&self) -> &str {
        TOPIC
    }
    fn partition(&self) -> i32 {
        self.partition
    }
    fn offset(&self) -> i64 {
        self.offset
    }
    fn key(&self) -> Option<&[u8]> {
        Some(&self.pooled.key)
    }
    fn value(&self) -> Option<&[u8]> {
        self.pooled.row.payload.as_deref()
    }
    fn timestamp(&self) -> RecordTimestamp {
        RecordTimestamp { ms: self.pooled.timestamp_ms, kind: TimestampType::CreateTime }
    }
    fn for_each_header<'r>(&'r self, _: &mut HeaderVisitor<'r, '_>) {}
}

/// Writes all batches of a filler; gives back how many there were, and the writer with its connection.
async fn write_all(
    mut writer: Box<dyn StoreWriter>,
    mut filler: Filler,
    limits: LimitsConfig,
) -> anyhow::Result<(u64, Box<dyn StoreWriter>)> {
    let (full, mut to_write) = mpsc::channel::<Batch>(1);
    let (empty, mut to_fill) = mpsc::channel::<Batch>(2);
    for _ in 0..2 {
        empty.try_send(Batch::new(&filler.consumer_id)).context("the channel has room for both")?;
    }
    let filling = tokio::spawn(async move {
        while let Some(mut batch) = to_fill.recv().await {
            batch.clear(limits.batch_bytes);
            if !filler.fill(&mut batch) || full.send(batch).await.is_err() {
                return;
            }
        }
    });
    let mut written = 0;
    while let Some(batch) = to_write.recv().await {
        let count = batch.len() as u64;
        match writer.write(&batch).await {
            Ok(receipt) if receipt.rows == count => written += 1,
            Ok(receipt) => bail!("of {count} rows of a batch {} were stored", receipt.rows),
            Err(WriteError::Row { message, .. }) => bail!("a made-up row was refused: {message}"),
            Err(WriteError::Differs { error, .. } | WriteError::Store(error)) => return Err(error.into()),
        }
        // The filler may have ended: nothing is left.
        let _ = empty.send(batch).await;
    }
    filling.await.context("making rows ended")?;
    Ok((written, writer))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shares_of_all_partitions_are_all_events() {
        for (events, partitions) in [(1_u64, 6_usize), (6, 6), (1_000_001, 6), (5, 1), (100, 300)] {
            let all: i64 = (0..partitions).map(|at| Share::new(at, 1, events, partitions).end - FIRST_OFFSET).sum();
            assert_eq!(all.unsigned_abs(), events, "{events} over {partitions}");
        }
    }
}
