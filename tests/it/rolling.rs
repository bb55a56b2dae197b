//! A rolling restart of all replicas under load: how often partitions move, and that nothing is lost or doubled.
//!
//! What each run measured (moves, longest pause of a partition) is printed; the tests judge by counts alone.

use crate::support::drover::Drover;
use crate::support::events::events;
use crate::support::scene::Scene;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

const REPLICAS: usize = 3;
const PARTITIONS: i32 = 6;
/// Events of one burst, and the time between two: 1,000 a second.
const BURST: usize = 50;
const EVERY: Duration = Duration::from_millis(50);

/// How membership is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Membership {
    Static,
    Dynamic(&'static str),
}

fn start(scene: &Scene, membership: Membership, number: usize) -> Drover {
    let name = format!("replica-{number}");
    // One consumer each, all of the same id, as in a deployment.
    let command = scene.run(1);
    match membership {
        Membership::Static => command.set("DROVER_REPLICA_ID", &name),
        Membership::Dynamic(protocol) => command.set("DROVER_KAFKA_PROTOCOL", protocol),
    }
    .start(&name)
}

/// What happened to the partitions of a replica, as a log says.
struct Move {
    at: String,
    replica: usize,
    event: String,
    partitions: Vec<String>,
}

fn moves_in(replica: usize, log: &str) -> Vec<Move> {
    let of = |line: &str| {
        let (before, fields) = line.split_once(": rebalance consumer_id=")?;
        let field = |name: &str| fields.split(' ').find_map(|field| field.strip_prefix(name));
        let partitions = field("partitions=")?.split(',').filter(|name| !name.is_empty()).map(str::to_owned);
        Some(Move {
            at: before.split(' ').next()?.to_owned(),
            replica,
            event: field("event=")?.trim_matches('"').to_owned(),
            partitions: partitions.collect(),
        })
    };
    log.lines().filter_map(of).collect()
}

/// How often each partition went to another replica.
fn moved(mut moves: Vec<Move>, mut owners: BTreeMap<String, usize>) -> BTreeMap<String, usize> {
    moves.sort_by(|a, b| a.at.cmp(&b.at));
    let mut moved: BTreeMap<String, usize> = owners.keys().map(|partition| (partition.clone(), 0)).collect();
    for Move { replica, event, partitions, .. } in moves {
        for partition in partitions.into_iter().filter(|_| event == "assign") {
            if owners.insert(partition.clone(), replica) != Some(replica) {
                *moved.entry(partition).or_default() += 1;
            }
        }
    }
    moved
}

/// What a rolling restart did.
struct Rolled {
    /// How often each partition went to another replica.
    moved: BTreeMap<String, usize>,
    /// Revokes, whatever they took away.
    revokes: usize,
}

/// Restarts all replicas one after the other under load.
async fn roll(scene: &Scene, membership: Membership) -> Rolled {
    let mut drovers: Vec<Drover> = (1..=REPLICAS).map(|number| start(scene, membership, number)).collect();
    for drover in &drovers {
        drover.until_each_owns(PARTITIONS as usize / REPLICAS).await;
    }
    // What belongs to the forming of the group is no move.
    let formed: Vec<String> = drovers.iter().map(Drover::log).collect();
    let mut owners = BTreeMap::new();
    for (number, drover) in drovers.iter().enumerate() {
        let status = drover.status().await;
        for partition in status["consumers"][0]["partitions"].as_array().unwrap() {
            let topic = partition["topic"].as_str().unwrap();
            owners.insert(format!("{topic}/{}", partition["partition"]), number + 1);
        }
    }
    let rolled = AtomicBool::new(false);
    let load = async {
        let (mut sent, mut next) = (Vec::new(), 0);
        let mut tick = tokio::time::interval(EVERY);
        while !rolled.load(Ordering::Relaxed) {
            tick.tick().await;
            sent.extend(scene.send(events(next..next + BURST)).await);
            next += BURST;
        }
        sent
    };
    let roll = async {
        scene.database.until_accounted(&scene.topic, 1_000).await;
        let mut moves = Vec::new();
        for number in 1..=REPLICAS {
            let mut old = drovers.remove(0);
            old.stop().await;
            moves.extend(moves_in(number, old.log().strip_prefix(formed[number - 1].as_str()).unwrap()));
            let new = start(scene, membership, number);
            new.until_ready().await;
            new.until_each_owns(PARTITIONS as usize / REPLICAS).await;
            drovers.push(new);
            for drover in &drovers {
                drover.until_each_owns(PARTITIONS as usize / REPLICAS).await;
            }
        }
        rolled.store(true, Ordering::Relaxed);
        moves
    };
    let (sent, mut moves) = futures::join!(load, roll);
    scene.database.until_accounted(&scene.topic, sent.len() as i64).await;
    let pauses = "SELECT (1000 * max(extract(epoch FROM pause)))::bigint FROM (SELECT stored_at - lag(stored_at) OVER \
                  (PARTITION BY partition ORDER BY \"offset\") AS pause FROM events) AS pauses";
    let longest_ms = scene.database.number(pauses).await;
    for (number, drover) in drovers.iter_mut().enumerate() {
        moves.extend(moves_in(number + 1, &drover.log()));
        drover.stop().await;
    }
    let revokes = moves.iter().filter(|moved| moved.event != "assign").count();
    let moved = moved(moves, owners);
    println!("{membership:?}: {} events, moves {:?}, longest pause {longest_ms:?} ms", sent.len(), moved.values());
    scene.database.assert_stored(&scene.topic, &sent).await;
    let audit = scene.drover(&["audit"]).run("audit").await;
    assert_eq!(audit.code, Some(0), "{}", audit.stdout);
    Rolled { moved, revokes }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rolling_restart_of_static_members_moves_no_partition() {
    let Some(scene) = Scene::new(PARTITIONS).await else { return };
    let Rolled { moved, revokes } = roll(&scene, Membership::Static).await;
    assert!(moved.values().all(|&times| times == 0), "{moved:?}");
    assert_eq!(revokes, 0, "nothing was taken away");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rolling_restart_of_dynamic_members_loses_and_doubles_nothing() {
    let Some(scene) = Scene::new(PARTITIONS).await else { return };
    roll(&scene, Membership::Dynamic("classic")).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rolling_restart_in_the_consumer_protocol_loses_and_doubles_nothing() {
    let Some(scene) = Scene::new(PARTITIONS).await else { return };
    roll(&scene, Membership::Dynamic("consumer")).await;
}
