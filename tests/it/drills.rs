//! Drills: every one passes against a demo, some against real servers, and none where they are not allowed.

use crate::support::drover::{Drover, DroverCommand};
use crate::support::events::{Event, events};
use crate::support::scene::Scene;
use crate::support::servers::free_port;
use crate::support::wait::until;
use serde_json::Value;
use std::path::Path;

/// Every drill, and what must have been seen in it beside its passing.
const DRILLS: [(&str, &[&str]); 13] = [
    ("kill-consumer", &["restarts"]),
    ("panic-consumer", &["restarts"]),
    ("stall-consumer", &["restarts"]),
    ("kill-writer", &["restarts", "position_resets"]),
    ("panic-writer", &["restarts", "position_resets"]),
    ("panic-dead-letter", &["restarts"]),
    ("poison-burst", &[]),
    ("poison-storm", &[]),
    ("db-down", &["breaker_trips", "store_errors"]),
    ("db-slow", &[]),
    ("broker-down", &[]),
    ("rebalance-storm", &["rebalances"]),
    ("zombie", &["restarts", "store_errors"]),
];

/// A demo and where it listens.
struct Demo {
    process: Drover,
    url: String,
}

impl Demo {
    async fn start(directory: &Path, args: &[&str]) -> Self {
        let addr = format!("127.0.0.1:{}", free_port());
        let url = format!("http://{addr}");
        let mut command = DroverCommand::new(directory, &["demo", "--http-addr", &addr]);
        for arg in args {
            command = command.arg(arg);
        }
        let process = command.start("demo");
        let ready = format!("{url}/health/ready");
        until("the demo to be ready", async || {
            reqwest::get(&ready).await.is_ok_and(|answer| answer.status().is_success())
        })
        .await;
        Self { process, url }
    }
}

/// Runs `drover drill` and gives back its exit code and its report.
async fn drill(directory: &Path, url: &str, args: &[&str]) -> (Option<i32>, Value) {
    let mut command = DroverCommand::new(directory, &["drill", "--json", "--url", url]);
    for arg in args {
        command = command.arg(arg);
    }
    let ended = command.run("drill").await;
    let report = serde_json::from_str(&ended.stdout).unwrap_or_else(|_| Value::String(ended.log.clone()));
    (ended.code, report)
}

fn assert_passed(name: &str, seen: &[&str], code: Option<i32>, report: &Value) {
    assert_eq!((code, report["state"].as_str()), (Some(0), Some("passed")), "{name}: {report:#}");
    assert_eq!((report["lost"].as_i64(), report["doubled"].as_i64()), (Some(0), Some(0)), "{name}: {report:#}");
    assert_eq!(report["dead_letters_found"], report["dead_letters_expected"], "{name}: {report:#}");
    assert!(report["recovery_ms"].is_u64(), "{name}: {report:#}");
    for count in seen {
        assert!(report["seen"][count].as_u64().unwrap() > 0, "{name}: the fault did nothing, {count}: {report:#}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_drill_passes_against_a_demo() {
    let directory = tempfile::tempdir().unwrap();
    let mut demo = Demo::start(directory.path(), &[]).await;
    for (name, seen) in DRILLS {
        let lasts = ["db-down", "db-slow", "broker-down", "rebalance-storm"].contains(&name);
        let args: &[&str] = if lasts { &[name, "--seconds", "3"] } else { &[name] };
        let (code, report) = drill(directory.path(), &demo.url, args).await;
        assert_passed(name, seen, code, &report);
    }
    let (code, listed) = drill(directory.path(), &demo.url, &["--list"]).await;
    assert_eq!(code, Some(0));
    let names = listed["drills"].as_array().unwrap().iter().map(|drill| drill["name"].as_str().unwrap());
    assert!(names.eq(DRILLS.iter().map(|(name, _)| *name)), "{listed:#}");
    assert_eq!(listed["reports"].as_array().unwrap().len(), DRILLS.len(), "{listed:#}");
    let log: Value = reqwest::get(format!("{}/api/v1/audit-log", demo.url)).await.unwrap().json().await.unwrap();
    let entries = log["entries"].as_array().unwrap();
    let ok = entries.iter().filter(|entry| entry["action"] == "drill" && entry["outcome"] == "ok").count();
    assert_eq!(ok, DRILLS.len(), "each is in the audit log with its outcome: {log:#}");
    let ended = demo.process.terminate().await;
    assert_eq!(ended.code, Some(0), "{}", ended.stdout);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_drill_that_makes_no_sense_is_refused_with_the_reason_and_two_do_not_run_at_once() {
    let directory = tempfile::tempdir().unwrap();
    let demo = Demo::start(directory.path(), &[]).await;
    for (args, said) in [
        (&["no-such-drill"][..], "there is no drill \"no-such-drill\"; there are: kill-consumer, "),
        (&["kill-consumer", "--consumer", "nobody"], "there is no consumer \"nobody\" here; there are: consumer-1, "),
        (&["kill-consumer", "--seconds", "3"], "it takes no seconds"),
        (&["db-down", "--seconds", "1e9"], "is not between 0.1 and 600"),
        (&["db-down", "--consumer", "consumer-1"], "concerns no single consumer"),
    ] {
        let (code, answer) = drill(directory.path(), &demo.url, args).await;
        assert_eq!(code, Some(1), "{answer}");
        assert!(answer.as_str().unwrap().contains(said), "{answer}");
    }
    let post = |name: &str| {
        let body = serde_json::json!({ "name": name, "seconds": 2.0 });
        reqwest::Client::new().post(format!("{}/api/v1/drills", demo.url)).json(&body).send()
    };
    let first = post("db-down").await.unwrap();
    assert_eq!(first.status(), 202);
    let first: Value = first.json().await.unwrap();
    let second = post("db-slow").await.unwrap();
    assert_eq!(second.status(), 409);
    let said = second.text().await.unwrap();
    assert!(said.contains("drill 1 (db-down) is still running"), "{said}");
    until("the first drill to be over", async || {
        let url = format!("{}/api/v1/drills/{}", demo.url, first["number"]);
        let report: Value = reqwest::get(url).await.unwrap().json().await.unwrap();
        report["state"] == "passed"
    })
    .await;
}

/// Events that ask to be slow or to fail, in the form in which producers of the kind send them.
const WISHES: [&str; 3] = [
    r#"{"user_id":"u","event_type":"click","timestamp":1767323045678,"should_fail":true}"#,
    r#"{"user_id":"u","event_type":"click","timestamp":1767323045678,"delay_seconds":0.2}"#,
    r#"{"user_id":"u","event_type":"click","timestamp":1767323045678,"delay_seconds":0.1,"should_fail":false}"#,
];

fn wish(value: &str) -> Event {
    Event { value: Some(value.into()), ..Event::default() }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_instance_that_does_not_allow_drills_runs_none_and_takes_wishes_for_payload() {
    let Some(scene) = Scene::new(1).await else { return };
    let directory = tempfile::tempdir().unwrap();
    let mut drover = scene.run(1).start("drover");
    drover.until_ready().await;
    let url = drover.url("").await;
    let (code, answer) = drill(directory.path(), &url, &["kill-consumer"]).await;
    assert_eq!(code, Some(1));
    let answer = answer.as_str().unwrap();
    assert!(answer.contains("drills are not allowed here") && answer.contains("drills.enabled"), "{answer}");
    let listed = reqwest::get(format!("{url}api/v1/drills")).await.unwrap();
    assert_eq!(listed.status(), 403);
    let mut sent = scene.send(WISHES.map(wish)).await;
    sent.extend(scene.send(events(0..10)).await);
    scene.database.until_accounted(&scene.topic, sent.len() as i64).await;
    drover.stop().await;
    let letters = format!("SELECT count(*) FROM {}.dead_letters", scene.database.schema());
    assert_eq!(scene.database.number(&letters).await, Some(0), "should_fail is plain payload here");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn drills_pass_against_kafka_and_postgres_and_wishes_are_obeyed() {
    let Some(scene) = Scene::new(3).await else { return };
    let directory = tempfile::tempdir().unwrap();
    let mut drover = scene.run(2).set("DROVER_DRILLS_ENABLED", "true").start("drover");
    drover.until_ready().await;
    let url = drover.url("").await;
    let sent = scene.send(WISHES.map(wish)).await;
    scene.database.until_accounted(&scene.topic, sent.len() as i64).await;
    let letter = format!("SELECT code || ' ' || attempts FROM {}.dead_letters", scene.database.schema());
    let letter = scene.database.until_text("the dead letter of the event that asks to fail", &letter).await;
    assert_eq!(letter, "processor.rejected 3", "it failed three times and was set aside");
    for (name, seen) in [
        ("panic-consumer", &["restarts"][..]),
        ("kill-writer", &["restarts", "position_resets"]),
        ("db-down", &["breaker_trips", "store_errors"]),
        ("broker-down", &[]),
        ("rebalance-storm", &["rebalances"]),
        ("zombie", &["restarts", "store_errors"]),
    ] {
        let lasts = ["db-down", "broker-down", "rebalance-storm"].contains(&name);
        let args: &[&str] = if lasts { &[name, "--seconds", "3"] } else { &[name] };
        let (code, report) = drill(directory.path(), &url, args).await;
        assert_passed(name, seen, code, &report);
    }
    drover.stop().await;
}
