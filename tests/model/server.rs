//! The simulated database: what its tables hold, its sessions and their locks, and the transaction of a batch, with the
//! semantics of store/postgres (writer.rs, statements.rs).
//!
//! A session outlives whoever opened it: what was sent to it may still commit after its client is gone, until it is ended.

use crate::log::{Entry, value};
use crate::world::World;
use drover::domain::audit::GapReason;
use drover::domain::batch::Batch;
use drover::store::tiles::{Tile, TileKind, uncovered};
use drover::store::{Progress, Receipt, row};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use tokio::sync::Notify;

/// A batch as the server got it.
#[derive(Debug, Clone)]
pub struct Transaction {
    pub consumer_id: String,
    pub advances: Vec<(i32, i32, i64, i64)>,
    pub rows: Vec<(i32, i64, Vec<u8>)>,
    pub letters: Vec<(i32, i64, Vec<u8>)>,
    pub gaps: Vec<(i32, i64, i64)>,
}

impl Transaction {
    pub fn of(batch: &Batch) -> Self {
        let at = |slot: u16| batch.advances()[usize::from(slot)].partition;
        Self {
            consumer_id: batch.consumer_id().to_owned(),
            advances: batch.advances().iter().map(|a| (a.partition, a.incarnation, a.from, a.to)).collect(),
            rows: (0..batch.metas().len())
                .map(|index| {
                    let row = row::decode(batch.row(index)).expect("the batch holds rows");
                    (row.partition, row.offset, row.payload.expect("records have values").into_owned())
                })
                .collect(),
            letters: batch
                .dead_letters()
                .iter()
                .map(|letter| (at(letter.slot), letter.record.offset, letter.record.value.clone().unwrap_or_default()))
                .collect(),
            gaps: batch.gaps().iter().map(|gap| (at(gap.slot), gap.first, gap.next)).collect(),
        }
    }
}

/// How a session's transaction began.
#[derive(Debug, PartialEq, Eq)]
pub enum Begun {
    /// Its positions moved; whether anything is stored in the ranges that they pass.
    Moved { known: bool },
    /// Another session holds the lock on a position.
    Locked,
    /// A position is not where the batch believes.
    Fenced,
    /// The session was ended.
    Dead,
}

/// What a COMMIT answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Committed {
    Stored(Receipt),
    /// The stored row of this partition differs from the one that was read again.
    Differs(i32),
    /// The session was ended before.
    Dead,
}

#[derive(Default)]
pub struct Server {
    cas: bool,
    pub topic_id: Option<Option<String>>,
    pub progress: BTreeMap<i32, Progress>,
    pub rows: BTreeMap<(i32, i64), Vec<u8>>,
    pub letters: BTreeMap<(i32, i64), Vec<u8>>,
    pub gaps: BTreeMap<(i32, i64), i64>,
    /// The highest position that each partition ever had.
    pub highest: BTreeMap<i32, i64>,
    /// Below this offset records may be read again, because the position was set back.
    pub reread_below: BTreeMap<i32, i64>,
    sessions: BTreeMap<u64, BTreeSet<i32>>,
    next_session: u64,
    pub away: bool,
    pub slow_ms: u64,
    /// Woken when locks were given back or a session was ended.
    pub changed: Arc<Notify>,
}

impl Server {
    pub fn new(cas: bool) -> Self {
        Self { cas, ..Self::default() }
    }

    pub fn connect(&mut self) -> u64 {
        self.next_session += 1;
        self.sessions.insert(self.next_session, BTreeSet::new());
        self.next_session
    }

    pub fn is_alive(&self, session: u64) -> bool {
        self.sessions.contains_key(&session)
    }

    /// Ends a session: what it has not committed is rolled back.
    pub fn end(&mut self, session: u64) {
        self.sessions.remove(&session);
        self.changed.notify_waiters();
    }

    pub fn end_all(&mut self) {
        self.sessions.clear();
        self.changed.notify_waiters();
    }

    /// Ends other sessions that hold the lock on one of these positions.
    pub fn end_blockers(&mut self, own: u64, partitions: &[i32]) {
        self.sessions.retain(|id, locks| *id == own || !partitions.iter().any(|partition| locks.contains(partition)));
        self.changed.notify_waiters();
    }

    pub fn roll_back(&mut self, session: u64) {
        if let Some(locks) = self.sessions.get_mut(&session) {
            locks.clear();
        }
        self.changed.notify_waiters();
    }

    /// BEGIN and the compare-and-swap, which holds the rows of the positions until the end of the transaction.
    pub fn begin(&mut self, session: u64, batch: &Transaction) -> Begun {
        if !self.is_alive(session) {
            return Begun::Dead;
        }
        let positions: BTreeSet<i32> = batch.advances.iter().map(|advance| advance.0).collect();
        if self.sessions.iter().any(|(id, locks)| *id != session && !locks.is_disjoint(&positions)) {
            return Begun::Locked;
        }
        let moved = batch.advances.iter().all(|&(partition, incarnation, from, _)| {
            self.progress.get(&partition).is_some_and(|p| p.incarnation == incarnation && p.next_offset == from)
        });
        if !moved && self.cas {
            return Begun::Fenced;
        }
        self.sessions.insert(session, positions);
        let known = batch.advances.iter().any(|&(partition, _, from, to)| {
            let range = (partition, from)..(partition, to.max(from));
            self.rows.range(range.clone()).next().is_some()
                || self.letters.range(range.clone()).next().is_some()
                || self.gaps.range(range).next().is_some()
        });
        Begun::Moved { known }
    }

    fn tiles(&self, partition: i32, first: i64, next: i64) -> Vec<Tile> {
        let one = |kind, offset| Tile { kind, first: offset, next: offset + 1 };
        let range = (partition, first)..(partition, next);
        let mut tiles: Vec<Tile> = self.rows.range(range.clone()).map(|((_, o), _)| one(TileKind::Rows, *o)).collect();
        tiles.extend(self.letters.range(range.clone()).map(|((_, o), _)| one(TileKind::DeadLetters, *o)));
        // The reason is not looked at here.
        let kind = TileKind::Gap(GapReason::Jump);
        let gap = |((_, first), next): (&(i32, i64), &i64)| Tile { kind, first: *first, next: *next };
        tiles.extend(self.gaps.range(range).map(gap));
        tiles.extend(self.gaps.range((partition, i64::MIN)..(partition, first)).next_back().map(gap));
        tiles
    }

    /// Everything behind the compare-and-swap, and COMMIT.
    fn apply(&mut self, batch: &Transaction) -> Committed {
        let mut receipt = Receipt::default();
        let mut rows = Vec::new();
        for (partition, offset, payload) in &batch.rows {
            let key = (*partition, *offset);
            match self.rows.get(&key) {
                Some(stored) if stored != payload => return Committed::Differs(*partition),
                Some(_) => receipt.duplicates += 1,
                None if self.letters.contains_key(&key) => receipt.duplicates += 1,
                None => rows.push((key, payload.clone())),
            }
        }
        receipt.rows = rows.len() as u64;
        self.rows.extend(rows);
        for (partition, offset, record) in &batch.letters {
            let key = (*partition, *offset);
            if self.rows.contains_key(&key) || self.letters.contains_key(&key) {
                receipt.duplicates += 1;
            } else {
                self.letters.insert(key, record.clone());
                receipt.dead_letters += 1;
            }
        }
        for &(partition, first, next) in &batch.gaps {
            for (first, next) in uncovered(&self.tiles(partition, first, next), first, next) {
                self.gaps.insert((partition, first), next);
            }
        }
        for &(partition, incarnation, _, to) in &batch.advances {
            let first_offset = self.progress.get(&partition).map_or(to, |progress| progress.first_offset);
            self.progress.insert(partition, Progress { incarnation, first_offset, next_offset: to });
            let highest = self.highest.entry(partition).or_insert(to);
            *highest = to.max(*highest);
        }
        Committed::Stored(receipt)
    }

    /// Writes down where partitions start; what is there already stays.
    pub fn register(&mut self, starts: &BTreeMap<i32, i64>) {
        for (&partition, &start) in starts {
            let progress = Progress { incarnation: 1, first_offset: start, next_offset: start };
            self.progress.entry(partition).or_insert(progress);
            self.highest.entry(partition).or_insert(start);
        }
    }
}

impl World {
    /// COMMIT of a session's transaction, with a look at whether it may be.
    pub fn commit_transaction(&mut self, session: u64, batch: &Transaction) -> Committed {
        if !self.server.is_alive(session) {
            return Committed::Dead;
        }
        let before = self.server.progress.clone();
        let committed = self.server.apply(batch);
        self.server.roll_back(session);
        let Committed::Stored(receipt) = committed else {
            return committed;
        };
        self.count("transactions");
        self.tell(|| format!("stored {:?} of {}", batch.advances, batch.consumer_id));
        for &(partition, _, from, to) in &batch.advances {
            if before.get(&partition).is_none_or(|progress| progress.next_offset != from) {
                let position = before.get(&partition).map(|progress| progress.next_offset);
                self.violated(format!("a position was moved from where it is not: partition {partition} is at {position:?}, {} moved it from {from} to {to}", batch.consumer_id));
            }
            self.look_at(partition, from, to);
        }
        if receipt.duplicates > 0 {
            let offered = batch.rows.iter().chain(&batch.letters).map(|(partition, offset, _)| (*partition, *offset));
            let below = |(p, offset): &(i32, i64)| self.server.reread_below.get(p).is_some_and(|below| offset < below);
            if !offered.clone().any(|at| below(&at)) {
                self.violated(format!("records were offered twice: {receipt:?} of {}", batch.consumer_id));
            }
        }
        committed
    }

    /// Whether a range of offsets that was just passed holds what the log has there.
    pub fn look_at(&mut self, partition: i32, from: i64, to: i64) {
        let mut stored: Vec<Vec<TileKind>> = vec![Vec::new(); usize::try_from(to - from).unwrap_or(0)];
        for tile in self.server.tiles(partition, from, to) {
            for offset in tile.first.max(from)..tile.next.min(to) {
                stored[usize::try_from(offset - from).unwrap()].push(tile.kind);
            }
        }
        for (offset, covering) in (from..to).zip(stored) {
            let entry = self.logs.get(&partition).and_then(|log| log.at(offset));
            let right = match (entry, covering.as_slice()) {
                (Some(Entry::Hole), [TileKind::Gap(_)]) => true,
                (Some(Entry::Good), [TileKind::Rows]) => {
                    let tampered = self.tampered.contains_key(&partition);
                    tampered
                        || self.server.rows.get(&(partition, offset)) == Some(&value(partition, offset, Entry::Good))
                }
                (Some(entry @ (Entry::Poison | Entry::Refused)), [TileKind::DeadLetters]) => {
                    self.server.letters.get(&(partition, offset)) == Some(&value(partition, offset, entry))
                }
                _ => false,
            };
            if !right {
                let kind = match (entry, covering.as_slice()) {
                    (_, []) => "a record was lost",
                    (Some(_), [TileKind::Gap(_)]) => "a record was written down as a gap",
                    (_, [_, _, ..]) => "an offset was stored twice",
                    _ => "an offset ended as something else",
                };
                self.violated(format!(
                    "{kind}: partition {partition} offset {offset} is {entry:?}, stored as {covering:?}"
                ));
                return;
            }
        }
    }
}
