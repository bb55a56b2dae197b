//! The group's committed offsets: hints arrive late, overtake each other and get lost, but must never lie ahead of the store.

use crate::world::{Sim, World};
use drover::kafka::error::{KafkaError, KafkaErrorKind, KafkaResult};
use drover::kafka::group_consumer::CommitCounts;
use drover::kafka::lookup::Committed;
use drover::kafka::rebalance::TopicPartition;
use rand::Rng;
use std::collections::BTreeMap;
use std::time::Duration;

#[derive(Default)]
pub struct Commits {
    pub offsets: BTreeMap<i32, Committed>,
    /// Answers by member.
    pub counts: BTreeMap<u64, CommitCounts>,
}

pub fn commit_hint(sim: &Sim, member: u64, positions: &[(TopicPartition, i64)], metadata: &str) -> KafkaResult<()> {
    let mut world = sim.lock();
    for (id, offset) in positions {
        // What was ever stored stays so, also where a position was set back since.
        let stored = world.server.highest.get(&id.partition).copied().unwrap_or(-1);
        if *offset > stored {
            world.violated(format!(
                "the hint is ahead of the store: partition {} at {offset}, stored {stored}, by member {member}",
                id.partition
            ));
        }
    }
    let fails = world.plan.hint_fails;
    if world.chance(fails / 3.0) {
        return Err(KafkaError::new(KafkaErrorKind::Unavailable, "committing", "simulated"));
    }
    let refused = world.chance(fails);
    let late = world.plan.hint_late;
    let delay =
        if world.chance(late) { Duration::from_millis(world.rng.random_range(0..5_000)) } else { world.delay() };
    world.count("hints");
    drop(world);
    let (sim, positions, metadata) = (sim.clone(), positions.to_vec(), metadata.to_owned());
    tokio::spawn(async move {
        tokio::time::sleep(delay).await;
        sim.lock().commit(member, &positions, &metadata, refused);
    });
    Ok(())
}

impl World {
    fn commit(&mut self, member: u64, positions: &[(TopicPartition, i64)], metadata: &str, refused: bool) {
        let counts = self.commits.counts.entry(member).or_default();
        if refused {
            counts.failed += 1;
            return;
        }
        counts.ok += 1;
        for (id, offset) in positions {
            let committed = Committed { offset: *offset, metadata: metadata.to_owned() };
            self.commits.offsets.insert(id.partition, committed);
        }
    }
}
