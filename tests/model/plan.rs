//! What a seed makes of the world: sizes, and how probable each fault is. Most seeds leave most faults out, so that each is
//! also met alone.

use rand::Rng;
use rand::rngs::StdRng;

/// Probabilities are per occasion.
#[derive(Debug, Clone)]
pub struct Plan {
    pub partitions: i32,
    pub processes: usize,
    pub consumers: usize,
    pub writers: usize,
    pub lanes: usize,
    pub batch_rows: usize,
    pub batch_bytes: usize,
    pub memory: usize,
    pub min_batch_age_ms: u64,
    pub eager: bool,
    /// Most records of one append.
    pub append: u32,
    pub steps: u32,
    /// Of a record: it is poison, refused by the database, or no record at all.
    pub poison: f64,
    pub refused: f64,
    pub hole: f64,
    /// Of a delivery: the same record comes a second time.
    pub redeliver: f64,
    /// Of a first delivery after an assign or a seek: it is another record.
    pub wrong_first: f64,
    /// Of a seek: it fails.
    pub seek_fails: f64,
    /// Of an assign that is out of date: the client refuses it.
    pub assign_refused: f64,
    /// Of a hint: it is refused, or its answer is late.
    pub hint_fails: f64,
    pub hint_late: f64,
    /// Of a question to the cluster: an error, or an answer from before the newest partition.
    pub question_fails: f64,
    pub question_stale: f64,
    /// Of a transaction: an error that concerns it alone; one that is not in the table; an answer that is lost.
    pub retry: f64,
    pub unknown: f64,
    pub lost_answer: f64,
    /// Of a question to the store: an error, perhaps after it did what was asked.
    pub store_fails: f64,
    /// How often each deed of the schedule is chosen.
    pub weights: Vec<(Deed, u32)>,
}

/// What the schedule does to the world.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Deed {
    Append,
    Rebalance,
    LoseSession,
    CrashConsumer,
    CrashWriter,
    CrashProcess,
    Freeze,
    StoreAway,
    StoreSlow,
    ClientError,
    OutOfRange,
    AddPartition,
    Drain,
    Rewind,
    Tamper,
}

impl Plan {
    pub fn of(rng: &mut StdRng) -> Self {
        let large = rng.random_bool(0.02);
        let mut some = |most: f64| if rng.random_bool(0.5) { rng.random_range(0.0..most) } else { 0.0 };
        let mut plan = Self {
            partitions: 0,
            processes: 0,
            consumers: 0,
            writers: 0,
            lanes: 0,
            batch_rows: 0,
            batch_bytes: 0,
            memory: 0,
            min_batch_age_ms: 0,
            eager: false,
            append: 0,
            steps: 0,
            poison: some(0.15),
            refused: some(0.1),
            hole: some(0.3),
            redeliver: some(0.1),
            wrong_first: some(0.5),
            seek_fails: some(0.3),
            assign_refused: some(1.0),
            hint_fails: some(0.3),
            hint_late: some(0.8),
            question_fails: some(0.3),
            question_stale: some(0.5),
            retry: some(0.3),
            unknown: some(0.1),
            lost_answer: some(0.3),
            store_fails: some(0.3),
            weights: Vec::new(),
        };
        plan.partitions = rng.random_range(1..=4);
        plan.processes = rng.random_range(1..=3);
        plan.consumers = rng.random_range(1..=2);
        plan.writers = rng.random_range(1..=2);
        plan.lanes = rng.random_range(1..=3);
        plan.batch_rows = if large { 5_000 } else { rng.random_range(1..=12) };
        plan.batch_bytes = if large { 1 << 20 } else { [300, 2_000, 1 << 20][rng.random_range(0..3)] };
        // Small enough, at times, that only one lane may hold anything.
        plan.memory = if !large && rng.random_bool(0.2) { 256 * 1024 } else { 64 << 20 };
        plan.min_batch_age_ms = if rng.random_bool(0.2) { 30 } else { 0 };
        plan.eager = rng.random_bool(0.25);
        plan.append = if large { 500 } else { rng.random_range(1..=30) };
        plan.steps = if large { 15 } else { rng.random_range(10..=40) };
        let deeds = [
            (Deed::Rebalance, 8),
            (Deed::LoseSession, 4),
            (Deed::CrashConsumer, 4),
            (Deed::CrashWriter, 4),
            (Deed::CrashProcess, 3),
            (Deed::Freeze, 4),
            (Deed::StoreAway, 3),
            (Deed::StoreSlow, 3),
            (Deed::ClientError, 4),
            (Deed::OutOfRange, 2),
            (Deed::AddPartition, 1),
            (Deed::Drain, 2),
            (Deed::Rewind, 1),
            (Deed::Tamper, 1),
        ];
        plan.weights.push((Deed::Append, 20));
        for (deed, weight) in deeds {
            let often = if weight == 1 { 0.25 } else { 0.5 };
            if rng.random_bool(often) {
                plan.weights.push((deed, weight));
            }
        }
        plan
    }

    pub fn deed(&self, rng: &mut StdRng) -> Deed {
        let total: u32 = self.weights.iter().map(|(_, weight)| weight).sum();
        let mut at = rng.random_range(0..total);
        for (deed, weight) in &self.weights {
            if at < *weight {
                return *deed;
            }
            at -= weight;
        }
        Deed::Append
    }
}
