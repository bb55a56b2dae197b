//! Groups: members that come, go and are killed, in each of the group's protocols, in one process and in several.

use crate::row;
use crate::stage::{Row, Stage, Verdict};
use crate::support::drover::{Drover, DroverCommand};
use crate::timing::{self, Fault, Measure};
use crate::trial::{PARTITIONS, RATE, Trial};
use serde_json::Value;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

const GOAL: Duration = Duration::from_secs(5);
/// The session of members that have no place of their own: after a kill it decides how long their partitions rest.
const SESSION: &str = "6s";
const STORM: Duration = Duration::from_secs(120);
/// Most moves of a partition in a rolling restart, and the longest pause.
const MOVES: i64 = 2;
const PAUSE: Duration = Duration::from_secs(5);

pub fn rows() -> Vec<Row> {
    vec![
        row!("rebalance-storm", "members join and leave every 2 s for 2 minutes, one in five by kill -9", storm),
        row!("two-replicas", "two replicas; kill -9 of one, started again, 5 times", two_replicas),
        row!("rolling-restart", "rolling restart of three replicas with replica ids (static members)", rolling_static),
        row!(
            "rolling-restart-dynamic",
            "rolling restart of three replicas without replica ids (dynamic members)",
            rolling_dynamic
        ),
        row!("eager", "kill -9, 3 times; eager rebalances (range), dynamic members, session 6 s", eager),
        row!("cooperative-sticky", "kill -9, 3 times; cooperative-sticky, dynamic members, session 6 s", cooperative),
        row!("static", "kill -9, 3 times; cooperative-sticky, static members", static_members),
        row!("kip-848", "kill -9, 3 times; the consumer protocol (KIP-848), the broker's session is 6 s", kip_848),
    ]
}

async fn storm(stage: Arc<Stage>) -> Verdict {
    let mut trial = Trial::new(stage, "rebalance-storm").await;
    trial.load().await;
    let consume = |trial: &Trial, id: &str| trial.consume(id).set("DROVER_KAFKA_SESSION_TIMEOUT", SESSION).start(id);
    let steady = vec![consume(&trial, "steady-1"), consume(&trial, "steady-2")];
    trial.until_flowing().await;
    let began = SystemTime::now();
    let until = Instant::now() + STORM;
    let mut guest: Option<Drover> = None;
    let mut guests = 0;
    while Instant::now() < until {
        let next = consume(&trial, &format!("guest-{guests}"));
        if let Some(mut gone) = guest.replace(next) {
            if guests % 5 == 4 {
                gone.kill();
            } else {
                gone.signal("TERM");
                // Its end is waited for beside the storm.
                tokio::spawn(async move { gone.ended().await });
            }
        }
        guests += 1;
        tokio::time::sleep(Duration::from_secs(2)).await;
    }
    drop(guest);
    let ended = SystemTime::now();
    trial.recovered(began, ended).await;
    let client = trial.close(steady).await;
    let rate = timing::rate(&client, &Trial::all(), began, ended).await;
    let pause = timing::longest_pause(&client, began, ended).await;
    trial.note(format!("{guests} members came and went; {rate:.0} rows/s stored meanwhile, of {RATE} sent; longest pause of a partition {pause:.1?}"));
    trial.end(&client).await
}

/// A replica with so many consumers, whose ids tell which replica stored a row.
fn replica(trial: &Trial, name: &str, consumers: usize, is_static: bool) -> DroverCommand {
    let ids: Vec<String> = (1..=consumers).map(|number| format!("{name}-{number}")).collect();
    let command = trial.drover(&["run"]).set("DROVER_CONSUMERS_IDS", ids.join(","));
    if is_static { command.set("DROVER_REPLICA_ID", name) } else { command }
}

/// The partitions that each consumer owns, from the document of `/api/v1/status`.
pub fn owned_by(status: &Value) -> BTreeMap<String, Vec<i32>> {
    let consumers = status["consumers"].as_array().cloned().unwrap_or_default();
    let owned = consumers.iter().filter_map(|consumer| {
        let partitions = consumer["partitions"].as_array()?.iter();
        let partitions = partitions.filter_map(|partition| i32::try_from(partition["partition"].as_i64()?).ok());
        Some((consumer["id"].as_str()?.to_owned(), partitions.collect()))
    });
    owned.collect()
}

/// The partitions that a process owns.
async fn owned(drover: &Drover) -> Vec<i32> {
    owned_by(&drover.status().await).into_values().flatten().collect()
}

/// Waits until these processes own everything together and each has its share.
async fn until_shared(trial: &mut Trial, replicas: &[Drover]) {
    let deadline = Instant::now() + Duration::from_secs(60);
    loop {
        let mut counts = Vec::new();
        for replica in replicas {
            counts.push(owned(replica).await.len());
        }
        let each = usize::try_from(PARTITIONS).unwrap() / replicas.len();
        if counts.iter().all(|count| *count == each) {
            return;
        }
        if Instant::now() > deadline {
            return trial.fail(format!("the replicas own {counts:?} partitions, each should own {each}"));
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

async fn two_replicas(stage: Arc<Stage>) -> Verdict {
    let mut trial = Trial::new(stage, "two-replicas").await;
    trial.goal(GOAL);
    trial.load().await;
    let mut replicas: Vec<Drover> = ["a", "b"].map(|name| replica(&trial, name, 3, true).start(name)).into();
    trial.until_flowing().await;
    until_shared(&mut trial, &replicas).await;
    let mut windows = Vec::new();
    for _ in 0..5 {
        tokio::time::sleep(Duration::from_secs(3)).await;
        let affected = owned(&replicas[0]).await;
        let others: Vec<i32> = Trial::all().into_iter().filter(|partition| !affected.contains(partition)).collect();
        let began = SystemTime::now();
        replicas[0].kill();
        tokio::time::sleep(Duration::from_secs(2)).await;
        let ended = SystemTime::now();
        replicas[0] = replica(&trial, "a", 3, true).start("a");
        trial.recovered_by(Fault { began, ended, affected, measure: Measure::FirstRow }).await;
        windows.push((others, began, ended));
    }
    let client = trial.close(replicas).await;
    let mut slowest = f64::MAX;
    for (others, from, to) in &windows {
        slowest = slowest.min(timing::rate(&client, others, *from, *to).await);
    }
    trial.note(format!(
        "the other replica stored at least {slowest:.0} rows/s while one was away, of {} sent to it",
        RATE / 2
    ));
    trial.end(&client).await
}

async fn rolling_static(stage: Arc<Stage>) -> Verdict {
    rolling(stage, "rolling-restart", true).await
}

async fn rolling_dynamic(stage: Arc<Stage>) -> Verdict {
    rolling(stage, "rolling-restart-dynamic", false).await
}

async fn rolling(stage: Arc<Stage>, row: &str, is_static: bool) -> Verdict {
    let mut trial = Trial::new(stage, row).await;
    trial.goal(GOAL);
    trial.load().await;
    let names = ["a", "b", "c"];
    let mut replicas: Vec<Drover> = names.map(|name| replica(&trial, name, 2, is_static).start(name)).into();
    trial.until_flowing().await;
    until_shared(&mut trial, &replicas).await;
    tokio::time::sleep(Duration::from_secs(3)).await;
    let began = SystemTime::now();
    for (at, name) in names.into_iter().enumerate() {
        let affected = owned(&replicas[at]).await;
        let stopping = SystemTime::now();
        let ended = replicas[at].terminate().await;
        trial.expect(ended.code == Some(0), || format!("replica {name} ended with {:?}", ended.code));
        let restarted = SystemTime::now();
        replicas[at] = replica(&trial, name, 2, is_static).start(name);
        trial.recovered_by(Fault { began: stopping, ended: restarted, affected, measure: Measure::FirstRow }).await;
        until_shared(&mut trial, &replicas).await;
    }
    let over = SystemTime::now();
    let client = trial.close(replicas).await;
    let moves = timing::moves(&client, began, over).await;
    let pause = timing::longest_pause(&client, began, over).await;
    trial.note(format!("a partition moved at most {moves} times; longest pause of a partition {pause:.1?}"));
    trial.expect(moves <= MOVES, || format!("a partition moved {moves} times, at most {MOVES} are allowed"));
    trial.expect(pause <= PAUSE, || format!("a partition paused for {pause:.1?}, at most {PAUSE:.0?} are allowed"));
    trial.end(&client).await
}

async fn eager(stage: Arc<Stage>) -> Verdict {
    let settings =
        [("DROVER_KAFKA_CONSUMER_PARTITION_ASSIGNMENT_STRATEGY", "range"), ("DROVER_KAFKA_SESSION_TIMEOUT", SESSION)];
    killed_in(stage, "eager", &settings, None).await
}

async fn cooperative(stage: Arc<Stage>) -> Verdict {
    killed_in(stage, "cooperative-sticky", &[("DROVER_KAFKA_SESSION_TIMEOUT", SESSION)], None).await
}

async fn static_members(stage: Arc<Stage>) -> Verdict {
    killed_in(stage, "static", &[("DROVER_REPLICA_ID", "replica-1")], Some(GOAL)).await
}

async fn kip_848(stage: Arc<Stage>) -> Verdict {
    killed_in(stage, "kip-848", &[("DROVER_KAFKA_PROTOCOL", "consumer"), ("DROVER_REPLICA_ID", "replica-1")], None)
        .await
}

async fn killed_in(stage: Arc<Stage>, row: &str, settings: &[(&str, &str)], goal: Option<Duration>) -> Verdict {
    let mut trial = Trial::new(stage, row).await;
    if let Some(goal) = goal {
        trial.goal(goal);
    }
    trial.load().await;
    let start = |trial: &Trial| {
        let command = trial.drover(&["run", "--consumers", "3"]);
        settings.iter().fold(command, |command, (name, value)| command.set(name, value)).start("drover")
    };
    let mut drover = start(&trial);
    trial.until_flowing().await;
    for _ in 0..3 {
        tokio::time::sleep(Duration::from_secs(4)).await;
        let began = SystemTime::now();
        drover.kill();
        let restarted = SystemTime::now();
        drover = start(&trial);
        trial.recovered(began, restarted).await;
    }
    trial.finish(vec![drover]).await
}
