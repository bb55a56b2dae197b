//! The group coordinator: who is a member, who holds which partition, and what members are told.
//!
//! A member hears of one rebalance at a time. What it fetches follows from what its
//! client was told, not from what it still holds: fetching is not fenced.

use crate::members::Member;
use crate::world::{World, id_of};
use drover::kafka::rebalance::{RebalanceEvent, TopicPartition};
use rand::Rng;
use rand::seq::IndexedRandom as _;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;
use tokio::time::Instant;

/// How long the group waits for a member that is silent.
pub const SESSION: Duration = Duration::from_secs(2);

#[derive(Default)]
pub struct GroupState {
    eager: bool,
    pub members: BTreeMap<u64, Member>,
    pub holder: BTreeMap<i32, u64>,
    target: BTreeMap<i32, u64>,
    next_member: u64,
    /// Moves with each rebalance of the eager protocol.
    generation: u64,
    /// Processes that stand still, and since when.
    pub frozen: BTreeMap<usize, Instant>,
    /// Partitions that members know of: a new one takes a moment to be seen.
    pub partitions: i32,
}

impl GroupState {
    pub fn new(eager: bool) -> Self {
        Self { eager, ..Self::default() }
    }

    pub fn is_eager(&self) -> bool {
        self.eager
    }

    pub fn join(&mut self, process: usize) -> u64 {
        self.next_member += 1;
        self.members.insert(self.next_member, Member::new(process));
        self.next_member
    }

    fn taking_part(&self) -> Vec<u64> {
        self.members.iter().filter(|(_, m)| m.alive && m.joined && !m.kicked).map(|(id, _)| *id).collect()
    }
}

fn partitions(list: &[i32]) -> Vec<TopicPartition> {
    list.iter().map(|&partition| id_of(partition)).collect()
}

impl World {
    /// Gives partitions out anew: to anybody, or so that as little as possible moves.
    pub fn rebalance(&mut self, anyhow: bool) {
        let members = self.group.taking_part();
        let mut target = BTreeMap::new();
        let share = self.group.partitions as usize / members.len().max(1) + 1;
        for partition in 0..self.group.partitions {
            let kept = self.group.target.get(&partition).copied().filter(|member| {
                !anyhow && members.contains(member) && target.values().filter(|m| *m == member).count() < share
            });
            let fewest = members.iter().min_by_key(|m| target.values().filter(|other| other == m).count());
            let owner = match (kept, anyhow) {
                (Some(member), _) => Some(member),
                (None, true) => members.choose(&mut self.rng).copied(),
                (None, false) => fewest.copied(),
            };
            target.extend(owner.map(|owner| (partition, owner)));
        }
        self.group.target = target;
        self.group.generation += 1;
        self.tell(|| "the group is given out anew".to_owned());
        self.reconcile();
    }

    /// Tells members what follows from the target, as far as they may be told now.
    pub fn reconcile(&mut self) {
        let members = self.group.taking_part();
        let eager = self.group.eager;
        let all_revoked = members.iter().all(|id| self.group.members[id].revoked == self.group.generation);
        for id in members {
            let group = &mut self.group;
            let member = &group.members[&id];
            if member.outstanding > 0 {
                continue;
            }
            let held: Vec<i32> = group.holder.iter().filter(|(_, holder)| **holder == id).map(|(p, _)| *p).collect();
            let wanted: Vec<i32> = group.target.iter().filter(|(_, owner)| **owner == id).map(|(p, _)| *p).collect();
            let generation = group.generation;
            if eager {
                if member.revoked < generation {
                    if member.greeted {
                        self.send(id, RebalanceEvent::Revoke { partitions: partitions(&held), lost: false });
                    } else {
                        self.member(id).revoked = generation;
                        self.reconcile();
                        return;
                    }
                } else if all_revoked && member.assigned < generation {
                    for partition in &wanted {
                        self.group.holder.insert(*partition, id);
                    }
                    self.member(id).assigned = generation;
                    self.send(id, RebalanceEvent::Assign(partitions(&wanted)));
                }
                continue;
            }
            let revoke: Vec<i32> = held.iter().filter(|p| !wanted.contains(p)).copied().collect();
            if !revoke.is_empty() {
                self.send(id, RebalanceEvent::Revoke { partitions: partitions(&revoke), lost: false });
                continue;
            }
            let assign: Vec<i32> = wanted.iter().filter(|p| !group.holder.contains_key(p)).copied().collect();
            if !assign.is_empty() || !member.greeted {
                for partition in &assign {
                    group.holder.insert(*partition, id);
                }
                self.send(id, RebalanceEvent::Assign(partitions(&assign)));
            }
        }
    }

    pub fn member(&mut self, id: u64) -> &mut Member {
        self.group.members.get_mut(&id).expect("members are never forgotten")
    }

    pub fn send(&mut self, id: u64, event: RebalanceEvent) {
        self.tell(|| format!("member {id} is told {event:?}"));
        self.count("rebalances");
        let member = self.member(id);
        member.greeted = true;
        member.outstanding += 1;
        member.events.push_back(event);
        member.noted.notify_one();
        member.woken.notify_one();
    }

    /// A member has answered.
    pub fn answered(&mut self, id: u64, given_up: Option<&[i32]>) {
        let generation = self.group.generation;
        for partition in given_up.unwrap_or_default() {
            if self.group.holder.get(partition) == Some(&id) {
                self.group.holder.remove(partition);
            }
        }
        let member = self.member(id);
        member.outstanding = member.outstanding.saturating_sub(1);
        if given_up.is_some() {
            member.revoked = generation;
        }
        if member.kicked && member.told_lost && member.outstanding == 0 {
            // It joins again.
            member.kicked = false;
            member.told_lost = false;
            member.greeted = false;
            self.tell(|| format!("member {id} joins again"));
            self.rebalance(false);
        } else {
            self.reconcile();
        }
    }

    /// A member's session is over: the others take its partitions, and it does not know yet.
    pub fn kick(&mut self, id: u64) {
        if !self.group.members.get(&id).is_some_and(|m| m.alive && m.joined && !m.kicked) {
            return;
        }
        self.tell(|| format!("member {id} loses its session"));
        self.count("sessions lost");
        let notice = Instant::now() + Duration::from_millis(self.rng.random_range(0..1_500));
        let member = self.member(id);
        member.kicked = true;
        member.notice_at = notice;
        self.group.holder.retain(|_, holder| *holder != id);
        self.rebalance(false);
    }

    /// A member is gone for good.
    pub fn leave(&mut self, id: u64) {
        if !std::mem::replace(&mut self.member(id).left, true) {
            self.tell(|| format!("member {id} is gone"));
            self.group.holder.retain(|_, holder| *holder != id);
            self.rebalance(false);
        }
    }

    /// What happens in the group as time goes by.
    pub fn tick(&mut self) {
        let now = Instant::now();
        let silent: BTreeSet<usize> =
            self.group.frozen.iter().filter(|(_, since)| now >= **since + SESSION).map(|(p, _)| *p).collect();
        let members: Vec<(u64, bool, bool)> = self
            .group
            .members
            .iter()
            .filter(|(_, m)| !m.left)
            .map(|(id, m)| (*id, m.alive && silent.contains(&m.process), !m.alive && now >= m.gone_at))
            .collect();
        for (id, kicked, gone) in members {
            if gone {
                self.leave(id);
            } else if kicked {
                self.kick(id);
            }
        }
        // What members know of new partitions follows after a while.
        let partitions = i32::try_from(self.logs.len()).unwrap();
        if self.group.partitions != partitions && (self.calm || self.rng.random_bool(0.02)) {
            self.group.partitions = partitions;
            self.rebalance(false);
        }
    }
}
