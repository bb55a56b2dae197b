//! One schedule: deeds at random moments, then calm, then the audit.

use crate::audit::audit;
use crate::log::{Entry, Log};
use crate::members::ClientFault;
use crate::plan::Deed;
use crate::process::Process;
use crate::world::{Sim, World};
use rand::Rng;
use std::collections::BTreeMap;
use std::time::Duration;
use tokio::time::Instant;

/// How long, in simulated time, everything may take to be stored once nothing is wrong any more.
const CALM_DOWN: Duration = Duration::from_secs(60);
/// How long it may take until metrics show what is stopped.
const SHOWN_WITHIN: Duration = Duration::from_secs(10);
/// How often the group looks at its members.
const TICK: Duration = Duration::from_millis(20);

/// What came of schedules.
#[derive(Debug, Default)]
pub struct Outcome {
    pub violations: Vec<String>,
    pub story: Vec<String>,
    pub counts: BTreeMap<&'static str, u64>,
}

impl Outcome {
    pub fn add(&mut self, other: &Self) {
        for (what, count) in &other.counts {
            *self.counts.entry(what).or_default() += count;
        }
    }
}

/// Runs a schedule. The same seed gives the same story.
pub fn run(seed: u64, cas: bool, tell: bool) -> Outcome {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    runtime.block_on(async {
        let sim = Sim::new(seed, cas, tell);
        let mut schedule = Schedule { sim: sim.clone(), processes: BTreeMap::new(), incarnations: 0 };
        schedule.run().await;
        let mut world = sim.lock();
        world.count("schedules");
        Outcome {
            violations: std::mem::take(&mut world.violations),
            story: world.story.take().unwrap_or_default(),
            counts: std::mem::take(&mut world.counts),
        }
    })
}

struct Schedule {
    sim: Sim,
    processes: BTreeMap<usize, Process>,
    incarnations: usize,
}

impl Schedule {
    async fn run(&mut self) {
        let (sim, plan) = (self.sim.clone(), self.sim.lock().plan.clone());
        sim.lock().tell(|| format!("{plan:?}"));
        let group = tokio::spawn({
            let sim = sim.clone();
            async move {
                loop {
                    sim.lock().tick();
                    tokio::time::sleep(TICK).await;
                }
            }
        });
        self.append();
        for number in 0..plan.processes {
            self.start(number);
        }
        for _ in 0..plan.steps {
            let (deed, pause) = {
                let mut world = sim.lock();
                let most = [5, 60, 400, 1_500][world.rng.random_range(0..4)];
                (plan.deed(&mut world.rng), world.rng.random_range(0..most))
            };
            self.deed(deed).await;
            tokio::time::sleep(Duration::from_millis(pause)).await;
        }
        self.calm_down().await;
        group.abort();
        audit(&mut sim.lock());
    }

    fn start(&mut self, number: usize) {
        self.incarnations += 1;
        self.processes.insert(number, Process::start(&self.sim, number, self.incarnations));
    }

    fn number(&self, below: u64) -> u64 {
        self.sim.lock().rng.random_range(0..below.max(1))
    }

    fn any_process(&self) -> &Process {
        let which = self.number(self.processes.len() as u64) as usize;
        self.processes.values().nth(which).expect("processes are always there")
    }

    fn append(&self) {
        let mut world = self.sim.lock();
        let partitions: Vec<i32> = world.logs.keys().copied().collect();
        let plan = world.plan.clone();
        for partition in partitions {
            if world.rng.random_bool(0.6) {
                for _ in 0..world.rng.random_range(1..=plan.append) {
                    let entry = match world.rng.random_range(0.0..1.0) {
                        p if p < plan.hole => Entry::Hole,
                        p if p < plan.hole + plan.poison => Entry::Poison,
                        p if p < plan.hole + plan.poison + plan.refused => Entry::Refused,
                        _ => Entry::Good,
                    };
                    world.logs.get_mut(&partition).unwrap().append(entry);
                }
                // The marker at the end of a transaction, behind what it aborted.
                for _ in 0..world.rng.random_range(0..3) {
                    if world.chance(plan.hole * 2.0) {
                        world.logs.get_mut(&partition).unwrap().append(Entry::Hole);
                    }
                }
            }
        }
        world.wake_members();
    }

    async fn deed(&mut self, deed: Deed) {
        let sim = self.sim.clone();
        if deed != Deed::Append {
            sim.lock().tell(|| format!("deed: {deed:?}"));
        }
        match deed {
            Deed::Append => self.append(),
            Deed::Rebalance => sim.lock().rebalance(true),
            Deed::LoseSession | Deed::ClientError | Deed::OutOfRange => {
                let again = sim.lock().trouble_a_member(deed);
                if let Some((member, fault, pause)) = again {
                    tokio::time::sleep(Duration::from_millis(pause)).await;
                    sim.lock().report(member, fault);
                }
            }
            Deed::CrashConsumer | Deed::CrashWriter => {
                let which = self.number(100) as usize;
                self.any_process().crash(deed == Deed::CrashConsumer, which);
            }
            Deed::CrashProcess | Deed::Drain => {
                let number = self.any_process().number;
                let process = self.processes.remove(&number).unwrap();
                process.freeze(false);
                if deed == Deed::Drain {
                    drop(process.drain().await)
                } else {
                    process.kill()
                }
                // Its heir may be there before its sessions are gone.
                let pause = self.number(600);
                tokio::time::sleep(Duration::from_millis(pause)).await;
                self.start(number);
            }
            Deed::Freeze => {
                let number = self.any_process().number;
                self.processes[&number].freeze(true);
                let pause = self.number(6_000);
                let until = Instant::now() + Duration::from_millis(pause);
                // The world goes on around it, for a while.
                while Instant::now() < until {
                    self.append();
                    let step = Duration::from_millis(500).min(until - Instant::now());
                    tokio::time::sleep(step).await;
                }
                self.processes[&number].freeze(false);
            }
            Deed::StoreAway | Deed::StoreSlow => {
                let away = deed == Deed::StoreAway;
                let most = if away { 4_000 } else { 10_000 };
                let pause = self.number(most);
                {
                    let mut world = sim.lock();
                    if away {
                        world.server.away = true;
                        world.server.end_all();
                    } else {
                        world.server.slow_ms = [300, 2_000, 7_000][world.rng.random_range(0..3)];
                    }
                }
                let sim = sim.clone();
                tokio::spawn(async move {
                    tokio::time::sleep(Duration::from_millis(pause)).await;
                    let mut world = sim.lock();
                    if away { world.server.away = false } else { world.server.slow_ms = 0 }
                });
            }
            Deed::AddPartition => {
                let mut world = sim.lock();
                let partition = i32::try_from(world.logs.len()).unwrap();
                let first = if world.rng.random_bool(0.5) { 0 } else { 7 };
                world.logs.insert(partition, Log::new(first));
            }
            Deed::Rewind | Deed::Tamper => sim.lock().rewind(deed == Deed::Tamper),
        }
    }

    /// Each stopped partition must be shown as such by the process that owns it, and by no other.
    async fn stops_are_shown(&self) {
        let deadline = Instant::now() + SHOWN_WITHIN;
        loop {
            let wrong = self.processes.iter().find_map(|(number, process)| {
                let stopped = self.sim.lock().stopped_in(*number);
                let shown = process.shown_stopped();
                (stopped != shown).then(|| format!("process {number} shows {shown:?} as stopped, and {stopped:?} are"))
            });
            let Some(wrong) = wrong else { return };
            if Instant::now() >= deadline {
                return self.sim.lock().violated(format!("stops are not shown: {wrong}"));
            }
            tokio::time::sleep(TICK).await;
        }
    }

    /// No more faults: everything must be stored and every drain must be clean.
    async fn calm_down(&mut self) {
        let sim = self.sim.clone();
        {
            let mut world = sim.lock();
            world.calm = true;
            world.tell(|| "calm".to_owned());
            world.server.away = false;
            world.server.slow_ms = 0;
            // An owner that has nothing to write does not notice that its position was set back.
            world.logs.values_mut().for_each(|log| log.append(Entry::Good));
            world.wake_members();
        }
        self.processes.values().for_each(|process| process.freeze(false));
        let deadline = Instant::now() + CALM_DOWN;
        while !sim.lock().is_stored() {
            if Instant::now() >= deadline {
                sim.lock().not_stored();
                break;
            }
            tokio::time::sleep(TICK).await;
        }
        self.stops_are_shown().await;
        self.processes.values().for_each(Process::lose_marks);
        self.stops_are_shown().await;
        for (_, process) in std::mem::take(&mut self.processes) {
            for name in process.drain().await {
                sim.lock().violated(format!("a child did not drain: {name}"));
            }
        }
    }
}

impl World {
    /// A member loses its session, or its client reports an error; gives back what it reports once more, and after how long.
    fn trouble_a_member(&mut self, deed: Deed) -> Option<(u64, ClientFault, u64)> {
        let members: Vec<u64> = self.group.members.iter().filter(|(_, m)| m.alive).map(|(id, _)| *id).collect();
        let member = *members.get(self.rng.random_range(0..members.len().max(1)))?;
        let fault = match deed {
            Deed::LoseSession => {
                self.kick(member);
                return None;
            }
            Deed::OutOfRange => ClientFault::OutOfRange,
            _ if self.rng.random_bool(0.3) => ClientFault::Transient,
            _ => ClientFault::Skips,
        };
        self.report(member, fault);
        if deed != Deed::OutOfRange || self.rng.random_bool(0.5) {
            return None;
        }
        // Once more, when what it fetches may have changed.
        let pause = self.rng.random_range(0..300);
        if self.rng.random_bool(0.7) {
            self.rebalance(true);
        }
        Some((member, fault, pause))
    }

    fn report(&mut self, member: u64, fault: ClientFault) {
        self.member(member).errors.push_back(fault);
        self.member(member).woken.notify_one();
    }
}
