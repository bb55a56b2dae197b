//! Faults inside drover, made through `POST /api/v1/drills` of an instance that allows them: children that panic, are
//! aborted, or stand still.

use crate::groups::owned_by;
use crate::row;
use crate::stage::{Row, Stage, Verdict};
use crate::support::drover::{Drover, DroverCommand};
use crate::timing::{self, Fault, Measure};
use crate::trial::{RATE, Trial};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

/// A consumer that panicked is stored from again so soon.
const PANIC_GOAL: Duration = Duration::from_secs(2);
/// A child that stands still is found after `watchdog.timeout` (30 s by default) and at most 3 s; its blocked thread has 5 s
/// to let go, and a panicked consumer's 2 s follow.
const STALL_GOAL: Duration = Duration::from_secs(40);
/// Least share of what is sent to them that the others store while one consumer is down, all times together.
const OTHERS_KEEP: f64 = 0.95;
const PATIENCE: Duration = Duration::from_secs(120);

pub fn rows() -> Vec<Row> {
    vec![
        row!("consumer-panics", "each of 3 consumers panics 20 times", consumer_panics, true),
        row!("consumer-killed", "the task of each of 3 consumers is aborted 5 times", consumer_killed),
        row!(
            "writer-panics",
            "a writer panics with a batch in hand, before and after its COMMIT, 10 times",
            writer_panics
        ),
        row!(
            "writer-killed",
            "the task of a writer is aborted with a batch in hand, before and after its COMMIT, 10 times",
            writer_killed
        ),
        row!(
            "dead-letter-panics",
            "the dead-letter actor panics after publishing, 5 times, in a flood of poison",
            dead_letter_panics
        ),
        row!("consumer-stalls", "a consumer blocks its task until the watchdog finds it", consumer_stalls),
    ]
}

/// `drover run` that allows drills. Each failure counts as the first: twenty in a row are not what restarts are limited for.
fn run(trial: &Trial) -> DroverCommand {
    let mut command = trial.run().set("DROVER_DRILLS_ENABLED", "true");
    for child in ["CONSUMER", "DB_WRITER", "DEAD_LETTER"] {
        command = command
            .set(&format!("DROVER_SUPERVISION_{child}_INTENSITY"), 1_000)
            .set(&format!("DROVER_SUPERVISION_{child}_RESET_AFTER"), "1s");
    }
    command
}

async fn started(stage: &Arc<Stage>, row: &str) -> (Trial, Drover) {
    let mut trial = Trial::new(Arc::clone(stage), row).await;
    trial.load().await;
    let drover = run(&trial).start("drover");
    trial.until_shared(&drover).await;
    drover.until_ready().await;
    (trial, drover)
}

/// Makes a drill and waits for its end; gives back when it began and ended. What it finds wrong is a failure of the row.
async fn drill(trial: &mut Trial, drover: &Drover, request: Value) -> (SystemTime, SystemTime) {
    let began = SystemTime::now();
    let url = drover.url("api/v1/drills").await;
    let client = reqwest::Client::new();
    let answer = client.post(&url).json(&request).send().await.unwrap();
    let status = answer.status();
    let mut report: Value = answer.json().await.unwrap_or_default();
    if !status.is_success() {
        trial.fail(format!("the drill {request} was refused: {status} {report}"));
        return (began, SystemTime::now());
    }
    let url = format!("{url}/{}", report["number"]);
    let deadline = Instant::now() + PATIENCE;
    while !matches!(report["state"].as_str(), Some("passed" | "failed")) {
        if Instant::now() > deadline {
            trial.fail(format!("the drill {request} does not end: {report}"));
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
        report = client.get(&url).send().await.unwrap().json().await.unwrap_or(report);
    }
    trial.expect(report["state"] == "passed", || {
        format!("the drill {request} says {}: {}", report["state"], report["problems"])
    });
    (began, SystemTime::now())
}

/// Partitions by consumer, and the restarts of each child.
async fn look(drover: &Drover) -> (BTreeMap<String, Vec<i32>>, BTreeMap<String, i64>) {
    let status = drover.status().await;
    let children = status["children"].as_array().cloned().unwrap_or_default();
    let restarts =
        children.iter().filter_map(|child| Some((child["id"].as_str()?.to_owned(), child["restarts"].as_i64()?)));
    (owned_by(&status), restarts.collect())
}

async fn consumer_panics(stage: Arc<Stage>) -> Verdict {
    let times = stage.either(20, 3);
    consumers(stage, "consumer-panics", "panic-consumer", times).await
}

async fn consumer_killed(stage: Arc<Stage>) -> Verdict {
    consumers(stage, "consumer-killed", "kill-consumer", 5).await
}

async fn consumers(stage: Arc<Stage>, row: &str, name: &str, times: usize) -> Verdict {
    let (mut trial, drover) = started(&stage, row).await;
    trial.goal(PANIC_GOAL);
    let mut windows = Vec::new();
    for _ in 0..times {
        for id in ["consumer-1", "consumer-2", "consumer-3"] {
            drover.until_ready().await;
            let (owned, restarts) = look(&drover).await;
            let affected = owned.get(id).cloned().unwrap_or_default();
            trial.expect(!affected.is_empty(), || format!("{id} owns nothing before its panic"));
            let (began, ended) = drill(&mut trial, &drover, json!({"name": name, "consumer_id": id})).await;
            let (owned_after, restarts_after) = look(&drover).await;
            for (other, before) in &restarts {
                let after = restarts_after.get(other);
                let wanted = before + i64::from(other == id);
                trial.expect(after == Some(&wanted), || {
                    format!("{other} was started {after:?} times, {wanted} expected, when {id} panicked")
                });
                if other != id {
                    trial.expect(owned.get(other) == owned_after.get(other), || {
                        format!("{other} changed its partitions when {id} panicked")
                    });
                }
            }
            let others: Vec<i32> = Trial::all().into_iter().filter(|partition| !affected.contains(partition)).collect();
            windows.push((others, began, ended));
            let measure = Measure::LongestPause(ended.duration_since(began).unwrap_or_default());
            trial.recovered_by(Fault { began, ended, affected, measure }).await;
        }
    }
    let client = trial.close(vec![drover]).await;
    let (mut stored, mut sent, mut least) = (0.0, 0.0, f64::MAX);
    for (others, from, to) in &windows {
        let seconds = to.duration_since(*from).unwrap_or_default().as_secs_f64();
        let due = RATE as f64 * seconds * others.len() as f64 / Trial::all().len() as f64;
        let rows = timing::rate(&client, others, *from, *to).await * seconds;
        (stored, sent, least) = (stored + rows, sent + due, least.min(rows / due));
    }
    let share = stored / sent;
    trial.note(format!(
        "while one is down the other two store {:.0} % of what is sent to them ({:.0} % in the worst of {} times), and none \
         of them is restarted or moved",
        share * 100.0,
        least * 100.0,
        windows.len()
    ));
    let quick = trial.stage.quick;
    trial.expect(share > OTHERS_KEEP || quick, || format!("the others fell to {:.0} % of their rate", share * 100.0));
    trial.end(&client).await
}

async fn writer_panics(stage: Arc<Stage>) -> Verdict {
    repeated(stage, "writer-panics", "panic-writer", 10, PANIC_GOAL).await
}

async fn writer_killed(stage: Arc<Stage>) -> Verdict {
    repeated(stage, "writer-killed", "kill-writer", 10, PANIC_GOAL).await
}

async fn consumer_stalls(stage: Arc<Stage>) -> Verdict {
    repeated(stage, "consumer-stalls", "stall-consumer", 1, STALL_GOAL).await
}

async fn repeated(stage: Arc<Stage>, row: &str, name: &str, times: usize, goal: Duration) -> Verdict {
    let (mut trial, drover) = started(&stage, row).await;
    trial.goal(goal);
    for _ in 0..times {
        let (began, ended) = drill(&mut trial, &drover, json!({"name": name})).await;
        let measure = Measure::LongestPause(ended.duration_since(began).unwrap_or_default());
        trial.recovered_by(Fault { began, ended, affected: Trial::all(), measure }).await;
        drover.until_ready().await;
    }
    trial.finish(vec![drover]).await
}

async fn dead_letter_panics(stage: Arc<Stage>) -> Verdict {
    let (mut trial, drover) = started(&stage, "dead-letter-panics").await;
    let mut flood = trial.spec(0..crate::trial::PARTITIONS);
    (flood.kind, flood.rate) = (crate::load::Kind::Poison, 20);
    trial.start_load(flood);
    for _ in 0..5 {
        let (began, ended) = drill(&mut trial, &drover, json!({"name": "panic-dead-letter"})).await;
        let measure = Measure::LongestPause(ended.duration_since(began).unwrap_or_default());
        trial.recovered_by(Fault { began, ended, affected: Trial::all(), measure }).await;
    }
    trial.loads()[1].stop();
    trial.finish(vec![drover]).await
}
