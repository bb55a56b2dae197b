//! The world of one schedule: the logs, the group, the store's server, the random generator and what was seen to go wrong.
//!
//! Everything that is shared stands behind one lock that is never held across an await.

use crate::commits::Commits;
use crate::group::GroupState;
use crate::log::{Log, TOPIC};
use crate::plan::Plan;
use crate::server::Server;
use drover::kafka::rebalance::TopicPartition;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::time::Instant;

pub struct World {
    pub rng: StdRng,
    pub plan: Plan,
    pub logs: BTreeMap<i32, Log>,
    pub group: GroupState,
    pub commits: Commits,
    pub server: Server,
    /// No fault is made any more.
    pub calm: bool,
    pub violations: Vec<String>,
    pub story: Option<Vec<String>>,
    pub started: Instant,
    /// Partitions whose stored row was made to differ, and the lowest such offset: they stop there.
    pub tampered: BTreeMap<i32, i64>,
    /// What happened how often.
    pub counts: BTreeMap<&'static str, u64>,
    /// Partitions of which a batch is being written, by consumer.
    pub writing: BTreeSet<(String, i32)>,
}

/// The shared world.
#[derive(Clone)]
pub struct Sim(Arc<Mutex<World>>);

impl Sim {
    pub fn new(seed: u64, cas: bool, tell: bool) -> Self {
        let mut rng = StdRng::seed_from_u64(seed);
        let plan = Plan::of(&mut rng);
        let mut logs = BTreeMap::new();
        for partition in 0..plan.partitions {
            let first = if rng.random_bool(0.5) { 0 } else { rng.random_range(1..50) };
            logs.insert(partition, Log::new(first));
        }
        let eager = plan.eager;
        let world = World {
            rng,
            plan,
            logs,
            group: GroupState::new(eager),
            commits: Commits::default(),
            server: Server::new(cas),
            calm: false,
            violations: Vec::new(),
            story: tell.then(Vec::new),
            started: Instant::now(),
            tampered: BTreeMap::new(),
            counts: BTreeMap::new(),
            writing: BTreeSet::new(),
        };
        Self(Arc::new(Mutex::new(world)))
    }

    pub fn lock(&self) -> MutexGuard<'_, World> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits as long as an answer over a network may take.
    pub async fn latency(&self) {
        let delay = self.lock().delay();
        tokio::time::sleep(delay).await;
    }
}

impl World {
    pub fn chance(&mut self, probability: f64) -> bool {
        !self.calm && probability > 0.0 && self.rng.random_bool(probability.min(1.0))
    }

    /// A delay of a network or a disk: mostly some milliseconds.
    pub fn delay(&mut self) -> Duration {
        let most = if self.calm { 3 } else { [2, 10, 40, 120][self.rng.random_range(0..4)] };
        Duration::from_millis(self.rng.random_range(0..=most))
    }

    pub fn tell(&mut self, what: impl FnOnce() -> String) {
        if self.story.is_some() {
            let line = format!("{:>8} ms  {}", self.started.elapsed().as_millis(), what());
            if let Some(story) = &mut self.story {
                story.push(line);
            }
        }
    }

    pub fn count(&mut self, what: &'static str) {
        *self.counts.entry(what).or_default() += 1;
    }

    /// Something that must never be. The part before the first colon is its kind.
    pub fn violated(&mut self, what: String) {
        self.tell(|| format!("VIOLATED {what}"));
        if self.violations.len() < 20 {
            self.violations.push(what);
        }
    }
}

pub fn id_of(partition: i32) -> TopicPartition {
    TopicPartition { topic: TOPIC.to_owned(), partition }
}
