//! The simulated member of a group, in place of `kafka::group_consumer`.

use crate::commits::commit_hint;
use crate::group::SESSION;
use crate::log::SimRecord;
use crate::members::{Fetch, client_error};
use crate::world::Sim;
use drover::kafka::client::ClientIds;
use drover::kafka::error::{KafkaErrorKind, KafkaResult};
use drover::kafka::group_client::{Group, GroupClient, RecordStream};
use drover::kafka::group_consumer::CommitCounts;
use drover::kafka::rebalance::{RebalanceEvent, TopicPartition};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// The group, as one process joins it.
#[derive(Clone)]
pub struct SimGroup {
    pub sim: Sim,
    pub process: usize,
}

impl Group for SimGroup {
    type Client = SimClient;

    fn join(&self, ids: &ClientIds<'_>) -> KafkaResult<SimClient> {
        let mut world = self.sim.lock();
        let member = world.group.join(self.process);
        world.tell(|| format!("{} is member {member}", ids.consumer_id));
        Ok(SimClient { sim: self.sim.clone(), member })
    }
}

pub struct SimClient {
    sim: Sim,
    member: u64,
}

impl GroupClient for SimClient {
    type Records<'c> = SimRecords<'c>;

    fn records(&self) -> SimRecords<'_> {
        SimRecords(self)
    }

    async fn rebalance(&self) -> RebalanceEvent {
        loop {
            let noted = {
                let mut world = self.sim.lock();
                let member = world.member(self.member);
                if let Some(event) = member.events.pop_front() {
                    return event;
                }
                Arc::clone(&member.noted)
            };
            noted.notified().await;
        }
    }

    fn assign(&self, partitions: &[(TopicPartition, i64)]) -> KafkaResult<()> {
        let mut world = self.sim.lock();
        let refused = world.plan.assign_refused;
        if world.member(self.member).kicked && world.chance(refused) {
            return Err(client_error(KafkaErrorKind::Other));
        }
        if world.group.is_eager() {
            world.member(self.member).fetches.clear();
        }
        for (id, offset) in partitions {
            let ready = world.soon();
            world.member(self.member).fetches.insert(id.partition, Fetch::at(*offset, ready));
        }
        let member = self.member;
        world.tell(|| format!("member {member} assigns {partitions:?}"));
        world.member(member).woken.notify_one();
        world.answered(member, None);
        Ok(())
    }

    fn unassign(&self, partitions: &[TopicPartition]) -> KafkaResult<()> {
        let mut world = self.sim.lock();
        let mut given_up: Vec<i32> = partitions.iter().map(|id| id.partition).collect();
        let eager = world.group.is_eager();
        let member = world.member(self.member);
        if eager {
            given_up.extend(member.fetches.keys());
        }
        member.fetches.retain(|partition, _| !given_up.contains(partition));
        let member = self.member;
        world.tell(|| format!("member {member} gives up {given_up:?}"));
        world.answered(member, Some(&given_up));
        Ok(())
    }

    fn pause(&self, partitions: &[TopicPartition]) -> KafkaResult<()> {
        let mut world = self.sim.lock();
        let member = world.member(self.member);
        for id in partitions {
            member.paused.insert(id.partition);
            if let Some(fetch) = member.fetches.get_mut(&id.partition) {
                fetch.next = fetch.app_position.unwrap_or(fetch.next);
            }
        }
        if !partitions.is_empty() {
            world.count("pauses");
        }
        Ok(())
    }

    fn resume(&self, partitions: &[TopicPartition]) -> KafkaResult<()> {
        let mut world = self.sim.lock();
        for id in partitions {
            let ready = world.soon();
            let member = world.member(self.member);
            if member.paused.remove(&id.partition)
                && let Some(fetch) = member.fetches.get_mut(&id.partition)
            {
                fetch.ready_at = ready;
                fetch.fresh = true;
            }
            member.woken.notify_one();
        }
        Ok(())
    }

    fn seek(&self, _: &str, partition: i32, offset: i64) -> KafkaResult<()> {
        let mut world = self.sim.lock();
        let (ready, fails) = (world.soon(), world.plan.seek_fails);
        let member = self.member;
        let fails = world.chance(fails);
        world.tell(|| {
            format!("member {member} seeks partition {partition} to {offset}{}", if fails { ", in vain" } else { "" })
        });
        match world.member(member).fetches.get_mut(&partition) {
            Some(fetch) if !fails => *fetch = Fetch::at(offset, ready),
            _ => return Err(client_error(KafkaErrorKind::Other)),
        }
        world.member(member).woken.notify_one();
        Ok(())
    }

    fn positions(&self) -> KafkaResult<Vec<(TopicPartition, i64)>> {
        let mut world = self.sim.lock();
        let fetches = world.member(self.member).fetches.iter();
        Ok(fetches.filter_map(|(p, fetch)| fetch.app_position.map(|at| (crate::world::id_of(*p), at))).collect())
    }

    fn commit_hint(&self, positions: &[(TopicPartition, i64)], metadata: &str) -> KafkaResult<()> {
        commit_hint(&self.sim, self.member, positions, metadata)
    }

    fn commits(&self) -> CommitCounts {
        self.sim.lock().commits.counts.get(&self.member).copied().unwrap_or_default()
    }

    async fn close(self, _: bool, _: Duration) -> bool {
        self.sim.latency().await;
        self.sim.lock().member(self.member).gone_at = Instant::now();
        true
    }
}

impl Drop for SimClient {
    fn drop(&mut self) {
        let mut world = self.sim.lock();
        // Closed in the background, or dead without a word: the group waits for its session.
        let silent = world.chance(0.5);
        let member = world.member(self.member);
        member.alive = false;
        member.gone_at = Instant::now() + if silent { SESSION } else { Duration::from_millis(50) };
    }
}

/// The records of a member.
pub struct SimRecords<'c>(&'c SimClient);

impl RecordStream for SimRecords<'_> {
    type Record = SimRecord;

    async fn next(&mut self) -> KafkaResult<SimRecord> {
        let SimClient { sim, member } = self.0;
        loop {
            let (again, woken) = {
                let mut world = sim.lock();
                if let Some(delivered) = world.poll_member(*member) {
                    return delivered;
                }
                (world.poll_again_at(*member), Arc::clone(&world.member(*member).woken))
            };
            match again {
                Some(at) => drop(tokio::time::timeout_at(at, woken.notified()).await),
                None => woken.notified().await,
            }
        }
    }

    fn next_fetched(&mut self) -> Option<KafkaResult<SimRecord>> {
        self.0.sim.lock().poll_member(self.0.member)
    }
}
