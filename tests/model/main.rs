//! The model test of the commit protocol: the real consumer, writers, breaker and starts against a simulated group, cluster and
//! store, under seeded schedules of faults.
//!
//! One thread, simulated time, one random generator: a seed is a schedule, and a failing one can be run again. How many:
//! `DROVER_MODEL_SCHEDULES`. One of them, with its story: `DROVER_MODEL_SEED=<seed> cargo test --test model -- --nocapture`.
#![allow(missing_docs, reason = "tests are named by sentences")]
#![allow(clippy::unwrap_used, reason = "a missing value is the failure of the test")]

mod audit;
mod client;
mod commits;
mod group;
mod log;
mod members;
mod plan;
mod process;
mod questions;
mod schedule;
mod server;
mod store;
mod unasked;
mod world;

use schedule::{Outcome, run};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

/// Schedules that are run when nobody says otherwise.
const SCHEDULES: u64 = 2_000;

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|value| value.parse().unwrap_or_else(|_| panic!("{name}={value} is no number")))
}

/// Runs the seeds on all cores; gives back those that were violated.
fn run_all(seeds: std::ops::Range<u64>, cas: bool) -> (BTreeMap<u64, Outcome>, Outcome) {
    let next = AtomicU64::new(seeds.start);
    let (failed, total) = (Mutex::new(BTreeMap::new()), Mutex::new(Outcome::default()));
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(1, usize::from) {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= seeds.end {
                        break;
                    }
                    let outcome = run(seed, cas, false);
                    total.lock().unwrap_or_else(PoisonError::into_inner).add(&outcome);
                    if !outcome.violations.is_empty() {
                        failed.lock().unwrap_or_else(PoisonError::into_inner).insert(seed, outcome);
                    }
                }
            });
        }
    });
    (failed.into_inner().unwrap(), total.into_inner().unwrap())
}

/// How often each kind of violation was met first, for the message of a failure.
fn summary(failed: &BTreeMap<u64, Outcome>) -> String {
    let mut kinds: BTreeMap<&str, (usize, Vec<u64>)> = BTreeMap::new();
    for (seed, outcome) in failed {
        let kind = outcome.violations[0].split(':').next().unwrap_or_default();
        let (count, seeds) = kinds.entry(kind).or_default();
        *count += 1;
        if seeds.len() < 8 {
            seeds.push(*seed);
        }
    }
    kinds.iter().map(|(kind, (count, seeds))| format!("\n  {count:5} x {kind}, for example seeds {seeds:?}")).collect()
}

#[test]
fn every_schedule_of_faults_stores_every_record_once() {
    if let Some(seed) = number("DROVER_MODEL_SEED") {
        let outcome = run(seed, true, true);
        println!("{}", outcome.story.join("\n"));
        assert!(outcome.violations.is_empty(), "seed {seed}:\n  {}", outcome.violations.join("\n  "));
        return;
    }
    let schedules = number("DROVER_MODEL_SCHEDULES").unwrap_or(SCHEDULES);
    let first = number("DROVER_MODEL_FIRST").unwrap_or(0);
    let started = std::time::Instant::now();
    let (failed, total) = run_all(first..first + schedules, true);
    println!("{schedules} schedules in {:.1} s: {total:?}", started.elapsed().as_secs_f64());
    if let Some((seed, outcome)) = failed.first_key_value() {
        panic!(
            "{} of {schedules} schedules were violated:{}\nthe first, seed {seed}:\n  {}\nrun it again with its story: \
             DROVER_MODEL_SEED={seed} cargo test --test model every_schedule -- --nocapture",
            failed.len(),
            summary(&failed),
            outcome.violations.join("\n  ")
        );
    }
}

#[test]
fn without_the_compare_and_swap_the_model_finds_violations() {
    let (failed, _) = run_all(0..SCHEDULES / 10, false);
    println!(
        "without the compare-and-swap {} of {} schedules were violated:{}",
        failed.len(),
        SCHEDULES / 10,
        summary(&failed)
    );
    assert!(!failed.is_empty(), "a store without a compare-and-swap passed every schedule: the model proves nothing");
}

#[test]
fn a_seed_is_a_schedule() {
    let (one, two) = (run(7, true, true), run(7, true, true));
    assert!(one.story.len() > 20, "{:?}", one.story);
    assert_eq!(one.story, two.story);
}
