//! A member's client: what it fetches, from where, and how it goes wrong. Positions, pauses and seeks follow librdkafka: a seek
//! forgets the application's position, a pause throws away what lies behind it and outlives an assignment.

use crate::log::{Entry, SimRecord, value};
use crate::world::World;
use drover::kafka::error::{KafkaError, KafkaErrorKind, KafkaResult};
use drover::kafka::rebalance::RebalanceEvent;
use rand::Rng;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Notify;
use tokio::time::Instant;

pub struct Member {
    pub process: usize,
    /// Its client exists.
    pub alive: bool,
    /// When the group gives a member up whose client is gone.
    pub gone_at: Instant,
    pub left: bool,
    pub joined: bool,
    /// Its session is over, it may not know yet.
    pub kicked: bool,
    pub told_lost: bool,
    pub notice_at: Instant,
    /// It was told of an assignment since it joined.
    pub greeted: bool,
    pub outstanding: usize,
    /// Generations of the eager protocol that it has answered, and been given.
    pub revoked: u64,
    pub assigned: u64,
    pub events: VecDeque<RebalanceEvent>,
    pub noted: Arc<Notify>,
    pub woken: Arc<Notify>,
    pub fetches: BTreeMap<i32, Fetch>,
    pub paused: BTreeSet<i32>,
    pub errors: VecDeque<ClientFault>,
    /// Partitions whose last first delivery was wrong: the next one is right.
    was_wrong: BTreeSet<i32>,
    last: Option<i32>,
}

/// What a client reports between records.
#[derive(Debug, Clone, Copy)]
pub enum ClientFault {
    Transient,
    /// It passed records over.
    Skips,
    /// It fetches nothing more until it is told where.
    OutOfRange,
}

/// A partition that a client fetches.
#[derive(Debug)]
pub struct Fetch {
    pub next: i64,
    /// What lies below was delivered, or was before the position: only that may come again.
    whole: i64,
    pub app_position: Option<i64>,
    pub ready_at: Instant,
    pub broken: bool,
    /// Nothing was delivered since the assign, the seek or the resume.
    pub fresh: bool,
}

impl Fetch {
    pub fn at(next: i64, ready_at: Instant) -> Self {
        Self { next, whole: next, app_position: None, ready_at, broken: false, fresh: true }
    }
}

impl Member {
    pub fn new(process: usize) -> Self {
        let now = Instant::now();
        Self {
            process,
            alive: true,
            gone_at: now,
            left: false,
            joined: false,
            kicked: false,
            told_lost: false,
            notice_at: now,
            greeted: false,
            outstanding: 0,
            revoked: 0,
            assigned: 0,
            events: VecDeque::new(),
            noted: Arc::default(),
            woken: Arc::default(),
            fetches: BTreeMap::new(),
            paused: BTreeSet::new(),
            errors: VecDeque::new(),
            was_wrong: BTreeSet::new(),
            last: None,
        }
    }
}

pub fn client_error(kind: KafkaErrorKind) -> KafkaError {
    KafkaError::new(kind, "reading", "simulated")
}

impl World {
    /// What a poll of the client delivers now.
    pub fn poll_member(&mut self, id: u64) -> Option<KafkaResult<SimRecord>> {
        let now = Instant::now();
        if !std::mem::replace(&mut self.member(id).joined, true) {
            self.rebalance(false);
        }
        let member = self.member(id);
        // It hears of that when it has answered what it was told before.
        if member.kicked && !member.told_lost && member.outstanding == 0 && now >= member.notice_at {
            member.told_lost = true;
            let partitions = member.fetches.keys().copied().map(crate::world::id_of).collect();
            self.send(id, RebalanceEvent::Revoke { partitions, lost: true });
        }
        if let Some(fault) = self.member(id).errors.pop_front() {
            self.tell(|| format!("member {id} reports {fault:?}"));
            return Some(Err(client_error(self.fault(id, fault))));
        }
        self.deliver(id).map(Ok)
    }

    fn fault(&mut self, id: u64, fault: ClientFault) -> KafkaErrorKind {
        match fault {
            ClientFault::Transient => KafkaErrorKind::Unreachable,
            ClientFault::OutOfRange => {
                self.member(id).fetches.values_mut().for_each(|fetch| fetch.broken = true);
                KafkaErrorKind::OffsetOutOfRange
            }
            ClientFault::Skips => {
                let partitions: Vec<i32> = self.member(id).fetches.keys().copied().collect();
                for partition in partitions {
                    let (next, end) = (self.member(id).fetches[&partition].next, self.logs[&partition].end());
                    if next < end && self.chance(0.7) {
                        let to = self.rng.random_range(next..end);
                        self.pass_over(id, partition, to);
                        self.member(id).was_wrong.insert(partition);
                    }
                }
                KafkaErrorKind::Other
            }
        }
    }

    /// The client goes on at a wrong place, where something will be seen of it: never at the end of the log, where it would
    /// wait for ever.
    fn pass_over(&mut self, id: u64, partition: i32, to: i64) {
        let log = &self.logs[&partition];
        let seen = log.next_record(to).is_some() || log.at(log.end() - 1) == Some(Entry::Hole);
        if seen && let Some(fetch) = self.member(id).fetches.get_mut(&partition) {
            fetch.next = to;
            self.tell(|| format!("the client of member {id} goes on at {to} of partition {partition}"));
            self.count("wrong places");
        }
    }

    fn deliver(&mut self, id: u64) -> Option<SimRecord> {
        let now = Instant::now();
        let member = &self.group.members[&id];
        let ready: Vec<i32> = member
            .fetches
            .iter()
            .filter(|(p, fetch)| !fetch.broken && !member.paused.contains(p) && fetch.ready_at <= now)
            .map(|(p, _)| *p)
            .collect();
        let last = member.last.filter(|last| ready.contains(last));
        let first = match last {
            Some(last) if self.rng.random_bool(0.9) => last,
            _ => *ready.get(self.rng.random_range(0..ready.len().max(1)))?,
        };
        let order: Vec<i32> = std::iter::once(first).chain(ready.into_iter().filter(|p| *p != first)).collect();
        order.into_iter().find_map(|partition| self.deliver_of(id, partition))
    }

    fn deliver_of(&mut self, id: u64, partition: i32) -> Option<SimRecord> {
        let (wrong_first, redeliver) = (self.plan.wrong_first, self.plan.redeliver);
        let (next, fresh) = {
            let fetch = &self.group.members[&id].fetches[&partition];
            (fetch.next, fetch.fresh)
        };
        let end = self.logs[&partition].end();
        if next >= end {
            return None;
        }
        if fresh {
            if self.member(id).was_wrong.remove(&partition) {
                // Twice the same wrong record would be believed.
            } else if next + 1 < end && self.chance(wrong_first) {
                let to = self.rng.random_range(next + 1..end);
                self.pass_over(id, partition, to);
                self.member(id).was_wrong.insert(partition);
            }
        }
        let mut offset = self.logs[&partition].next_record(self.group.members[&id].fetches[&partition].next);
        if !fresh && self.chance(redeliver) {
            // Something that was delivered before, or lies below.
            let back = self.rng.random_range(1..4);
            let log = &self.logs[&partition];
            let whole = self.group.members[&id].fetches[&partition].whole;
            let again = (log.first..whole).rev().filter(|&o| log.at(o) != Some(Entry::Hole)).nth(back - 1);
            if let Some(again) = again {
                self.count("delivered again");
                return Some(self.record(partition, again));
            }
        }
        let fetch = self.group.members.get_mut(&id)?.fetches.get_mut(&partition)?;
        fetch.fresh = false;
        // Holes at the end of the log are passed without a record.
        let position = offset.map_or(end, |offset| offset + 1);
        if fetch.whole == fetch.next {
            fetch.whole = position;
        }
        fetch.next = position;
        fetch.app_position = Some(fetch.app_position.map_or(position, |before| before.max(position)));
        let offset = offset.take()?;
        self.member(id).last = Some(partition);
        self.count("delivered");
        Some(self.record(partition, offset))
    }

    fn record(&self, partition: i32, offset: i64) -> SimRecord {
        let entry = self.logs[&partition].at(offset).expect("only what is there is delivered");
        SimRecord { partition, offset, value: value(partition, offset, entry).into() }
    }

    /// When a poll that delivered nothing might deliver something, without anything being done to the member.
    pub fn poll_again_at(&self, id: u64) -> Option<Instant> {
        let (now, member) = (Instant::now(), &self.group.members[&id]);
        let ready = member.fetches.values().map(|fetch| fetch.ready_at).filter(|at| *at > now);
        ready.chain((member.kicked && !member.told_lost).then_some(member.notice_at).filter(|at| *at > now)).min()
    }

    /// A moment at which something that was just asked for arrives.
    pub fn soon(&mut self) -> Instant {
        let delay = self.delay();
        Instant::now() + delay.min(Duration::from_millis(60))
    }
}
