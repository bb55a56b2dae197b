//! Events over HTTP: sent, followed, found and counted by the real binary with both stores, and what is refused without one.

use crate::support::drover::{Drover, DroverCommand};
use crate::support::server::{Running, client};
use crate::support::servers::free_port;
use crate::support::wait::{until, until_some};
use reqwest::StatusCode;
use serde_json::{Value, json};
use std::path::Path;

/// A demo that sends hardly anything of its own.
struct Demo {
    url: String,
    http: reqwest::Client,
    _process: Drover,
}

impl Demo {
    async fn start(directory: &Path, args: &[&str]) -> Self {
        let addr = format!("127.0.0.1:{}", free_port());
        let mut command = DroverCommand::new(
            directory,
            &["demo", "--http-addr", &addr, "--events-per-second", "1", "--poison-every", "0"],
        );
        for arg in args {
            command = command.arg(arg);
        }
        let process = command.start("demo");
        let demo = Self {
            url: format!("http://{addr}"),
            http: reqwest::Client::builder().no_proxy().build().unwrap(),
            _process: process,
        };
        until("the demo to be ready", async || {
            demo.http.get(format!("{}/health/ready", demo.url)).send().await.is_ok_and(|one| one.status().is_success())
        })
        .await;
        demo
    }

    async fn get(&self, path: &str) -> Value {
        let answer = self.http.get(format!("{}/api/v1/{path}", self.url)).send().await.unwrap();
        let (status, text) = (answer.status(), answer.text().await.unwrap());
        assert_eq!(status, 200, "{path}: {text}");
        serde_json::from_str(&text).unwrap()
    }

    async fn post(&self, path: &str, body: &Value) -> (StatusCode, Value) {
        let answer = self.http.post(format!("{}/api/v1/{path}", self.url)).json(body).send().await.unwrap();
        (answer.status(), answer.json().await.unwrap())
    }

    /// Sends an event and gives back the path of where it is.
    async fn send(&self, body: &Value) -> String {
        let (status, sent) = self.post("events", body).await;
        assert_eq!((status, &sent["source"]), (StatusCode::ACCEPTED, &json!("api")), "{sent}");
        format!("events/{}/{}/{}", sent["topic"].as_str().unwrap(), sent["partition"], sent["offset"])
    }

    /// Where it is, once it is there.
    async fn until_is(&self, place: &str, status: &str) -> Value {
        until_some(&format!("{place} to be {status}"), async || {
            let location = self.get(place).await;
            (location["status"] == status).then_some(location)
        })
        .await
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn events_are_sent_followed_and_found_in_sqlite() {
    let directory = tempfile::tempdir().unwrap();
    follow(Demo::start(directory.path(), &[]).await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn events_are_sent_followed_and_found_in_postgres() {
    let Ok(url) = std::env::var("TEST_DATABASE_URL") else {
        println!("skipped: TEST_DATABASE_URL names no PostgreSQL");
        return;
    };
    let directory = tempfile::tempdir().unwrap();
    follow(Demo::start(directory.path(), &["--database-url", &url]).await).await;
}

async fn follow(demo: Demo) {
    // A good one.
    let document =
        json!({"user_id": "somebody", "event_type": "button_click", "element_id": "api_btn", "deep": {"ö": [1, null]}});
    let place = demo.send(&json!({ "event": document })).await;
    let stored = demo.until_is(&place, "stored").await;
    let event = &stored["event"];
    for (field, expected) in
        [("user_id", "somebody"), ("event_type", "button_click"), ("element_id", "api_btn"), ("source", "api")]
    {
        assert_eq!(event[field], expected, "{stored:#}");
    }
    assert_eq!(event["key"], "somebody", "its user keeps his events in order");
    assert_eq!(serde_json::from_str::<Value>(event["payload"].as_str().unwrap()).unwrap(), document);
    assert!(event["latency_ms"].is_i64() && event["payload_truncated"] == false, "{stored:#}");
    assert!(stored["position"]["next_offset"].as_i64() > event["offset"].as_i64(), "{stored:#}");

    // A broken one, with a script in it.
    let broken = "<script>alert('\u{202e}')</script>";
    let letter_place = demo.send(&json!({ "key": "k-9", "value": broken })).await;
    let letter = demo.until_is(&letter_place, "dead_letter").await;
    assert_eq!(letter["dead_letter"]["code"], "json.syntax", "{letter:#}");
    assert_eq!(letter["dead_letter"]["value"], broken);
    assert_eq!(letter["dead_letter"]["headers"], json!([{"name": "drover_source", "value": "api"}]));
    assert_eq!(letter["event"], Value::Null);

    // One that decodes, but for its type: it is found by its user all the same.
    let typed = demo.send(&json!({ "event": {"user_id": 77, "event_type": 5} })).await;
    demo.until_is(&typed, "dead_letter").await;
    let found = demo.get("events/find?user_id=77").await;
    assert_eq!(found["events"][0]["code"], "field.type", "{found:#}");
    assert_eq!((&found["complete"], &found["next"]), (&json!(true), &Value::Null), "{found:#}");

    // Found by what they are, newest first.
    let found = demo.get("events?source=api").await;
    let codes: Vec<&Value> = found["events"].as_array().unwrap().iter().map(|event| &event["code"]).collect();
    assert_eq!(codes, [&json!("field.type"), &json!("json.syntax"), &Value::Null], "{found:#}");
    let found = demo.get("events?source=api&status=dead_letter&limit=1").await;
    assert_eq!((found["events"].as_array().unwrap().len(), &found["events"][0]["code"]), (1, &json!("field.type")));
    let next = found["next"].as_str().unwrap();
    let found = demo.get(&format!("events?source=api&status=dead_letter&limit=1&before={next}")).await;
    assert_eq!(found["events"][0]["key"], "k-9", "{found:#}");
    let found = demo.get("events/find?key=somebody&element_id=api_btn&since_ms=1").await;
    assert_eq!(found["events"].as_array().unwrap().len(), 1, "{found:#}");

    held_events_wait(&demo).await;
    a_burst(&demo).await;
    counted(&demo).await;

    // Where nothing is.
    for (place, status) in [
        ("events/user_events/0/999999", "unknown"),
        ("events/other/0/0", "unknown"),
        ("events/user_events/77/0", "unknown"),
    ] {
        let nowhere = demo.get(place).await;
        assert_eq!((&nowhere["status"], &nowhere["event"]), (&json!(status), &Value::Null), "{place}: {nowhere:#}");
    }
}

/// What nobody reads is not read yet, waits in the queue, and is stored once it may be.
async fn held_events_wait(demo: &Demo) {
    for consumer in ["consumer-1", "consumer-2", "consumer-3"] {
        let (status, answer) = demo.post(&format!("consumers/{consumer}/pause"), &json!({})).await;
        assert_eq!(status, 200, "{answer}");
    }
    until("all consumers to be paused", async || {
        let children = demo.get("children").await;
        let consumers = children["children"].as_array().unwrap().iter().filter(|child| child["kind"] == "consumer");
        consumers.map(|child| &child["state"]).all(|state| state == "paused")
    })
    .await;
    let place = demo.send(&json!({ "event": {"event_type": "late"} })).await;
    let waiting = demo.get(&place).await;
    assert_eq!(waiting["status"], "not_read_yet", "{waiting:#}");
    assert!(waiting["position"]["end_offset"].is_i64(), "{waiting:#}");
    until("the queue to show that something waits", async || demo.get("queue").await["waiting"].as_i64() > Some(0))
        .await;
    for consumer in ["consumer-1", "consumer-2", "consumer-3"] {
        demo.post(&format!("consumers/{consumer}/resume"), &json!({})).await;
    }
    demo.until_is(&place, "stored").await;
}

/// One at a time; what it sent adds up, and the share of broken ones is the one that was asked for.
async fn a_burst(demo: &Demo) {
    let wanted = json!({"count": 40, "rate_per_s": 20, "poison_ratio": 0.25});
    let (status, begun) = demo.post("events/burst", &wanted).await;
    assert_eq!(status, StatusCode::ACCEPTED, "{begun}");
    let (status, second) = demo.post("events/burst", &wanted).await;
    assert_eq!((status, &second["code"]), (StatusCode::CONFLICT, &json!("conflict")), "{second}");
    let path = format!("events/burst/{}", begun["burst_id"]);
    let done = until_some("the burst to be done", async || {
        let report = demo.get(&path).await;
        (report["done"] == true).then_some(report)
    })
    .await;
    assert_eq!((&done["count"], &done["sent"], &done["failed"]), (&json!(40), &json!(40), &json!(0)), "{done:#}");
    assert_eq!(done["poison"], 10, "{done:#}");
    let last = done["last"].as_array().unwrap();
    assert_eq!(last.len(), 20);
    for event in last {
        let expected = if event["poison"] == true { "dead_letter" } else { "stored" };
        demo.until_is(
            &format!("events/{}/{}/{}", event["topic"].as_str().unwrap(), event["partition"], event["offset"]),
            expected,
        )
        .await;
    }
}

async fn counted(demo: &Demo) {
    let statistics = until_some("all to be counted", async || {
        let statistics = demo.get("statistics?minutes=60").await;
        (statistics["totals"]["dead_letters"] == 12).then_some(statistics)
    })
    .await;
    let by_type = statistics["by_type"].as_array().unwrap();
    let stored: i64 = by_type.iter().map(|one| one["count"].as_i64().unwrap()).sum();
    assert_eq!(statistics["totals"]["stored"], stored, "{statistics:#}");
    assert!(stored >= 32 && by_type.iter().any(|one| one["event_type"] == "late"), "{statistics:#}");
    let minutes = statistics["per_minute"].as_array().unwrap();
    assert!((60..=61).contains(&minutes.len()), "{statistics:#}");
    let elements = statistics["top_elements"].as_array().unwrap();
    assert_eq!(elements.len(), 10, "{statistics:#}");
    assert!(elements.iter().all(|one| one["error"] == 0 && one["count"].as_i64() > Some(0)), "{statistics:#}");
    let queue = until_some("the process to have counted them too", async || {
        let queue = demo.get("queue").await;
        (queue["dead_letters"] == 12).then_some(queue)
    })
    .await;
    assert!(queue["processing_ms"]["p95"].is_f64() && queue["processing_ms"]["count"].as_u64() > Some(0), "{queue:#}");
    let log = demo.get("audit-log").await;
    let orders = |action: &str, outcome: &str| {
        let is = |entry: &&Value| entry["action"] == action && entry["outcome"] == outcome;
        log["entries"].as_array().unwrap().iter().filter(is).count()
    };
    assert_eq!((orders("send", "ok"), orders("burst", "ok"), orders("burst", "refused")), (4, 1, 1), "{log:#}");
    let settings = demo.get("configuration").await;
    let setting =
        |name: &str| settings["settings"].as_array().unwrap().iter().find(|one| one["name"] == name).unwrap().clone();
    assert_eq!(
        setting("drills.enabled"),
        json!({"name": "drills.enabled", "value": "true", "source": "flag drover demo"})
    );
    assert_eq!(setting("consumers.count")["source"], "default");
    assert!(!settings.to_string().contains("password"), "{settings:#}");
}

/// What is wrong with a query is told by its name, before anything is asked.
#[test]
fn every_parameter_that_cannot_be_is_refused_by_name() {
    let server = Running::start(None);
    for (path, named) in [
        ("events?limit=0", "limit is 0"),
        ("events?limit=201", "limit is 201"),
        ("events?limit=many", "limit = \"many\""),
        ("events?partition=-1", "partition is -1"),
        ("events?partition=99999999999", "partition = \"99999999999\""),
        ("events?topic=no%20topic", "topic \"no topic\""),
        ("events?status=lost", "status = \"lost\""),
        ("events?since_ms=-1", "since_ms is -1"),
        ("events?until_ms=9223372036854775807", "until_ms is 9223372036854775807"),
        ("events?before=yesterday", "before = \"yesterday\""),
        ("events?before=9223372036854775807.0.1.1.t", "before = "),
        ("events?user_id=%00", "user_id has"),
        ("events?colour=blue", "unknown field `colour`"),
        ("events?limit=1&limit=2", "duplicate field `limit`"),
        ("events/find?event_type=x", "key or user_id"),
        ("events/a%20b/0/0", "topic \"a b\""),
        ("events/t/-1/0", "partition is -1"),
        ("events/t/0/-1", "offset is -1"),
        ("events/t/x/0", "x"),
        ("events/burst/x", "x"),
        ("statistics?minutes=0", "minutes is 0"),
        ("statistics?minutes=1441", "minutes is 1441"),
        ("audit-log?limit=1001", "limit is 1001"),
    ] {
        let answer = server.get(&format!("/api/v1/{path}"));
        assert_eq!(answer.status(), 400, "{path}");
        assert_eq!(answer.headers()["content-type"], "application/problem+json", "{path}");
        let problem: Value = answer.json().unwrap();
        assert_eq!(problem["code"], "invalid_parameter", "{path}");
        assert!(problem["detail"].as_str().unwrap().contains(named), "{path}: {problem}");
    }
    let long = "x".repeat(257);
    assert_eq!(server.get(&format!("/api/v1/events?user_id={long}")).status(), 400);
    for path in ["events", "events/t/0/0", "statistics", "events/burst/1"] {
        let answer = server.get(&format!("/api/v1/{path}"));
        assert_eq!(answer.status(), 503, "{path}: nothing is prepared yet");
        assert_eq!(answer.json::<Value>().unwrap()["code"], "unavailable");
    }
}

#[test]
fn what_cannot_be_sent_is_refused_before_anything_is() {
    let server = Running::start(None);
    let post = |path: &str, body: Value| {
        let answer = client().post(format!("http://{}/api/v1/{path}", server.addr)).json(&body).send().unwrap();
        let status = answer.status().as_u16();
        (status, answer.json::<Value>().unwrap()["detail"].as_str().unwrap().to_owned())
    };
    for (path, body, status, says) in [
        ("events", json!({}), 422, "either event"),
        ("events", json!({"event": {}, "value": "x"}), 422, "either event"),
        ("events", json!({"event": [1]}), 422, "not a JSON object"),
        ("events", json!({"evnt": {}}), 400, "unknown field"),
        ("events", json!({"value": "x".repeat(1 << 20)}), 413, "larger than"),
        ("events/burst", json!({"count": 0, "rate_per_s": 1}), 422, "count is not 1 to 10000"),
        ("events/burst", json!({"count": 10_001, "rate_per_s": 1}), 422, "count"),
        ("events/burst", json!({"count": 1, "rate_per_s": 2_001}), 422, "rate_per_s is not 1 to 2000"),
        ("events/burst", json!({"count": 1, "rate_per_s": 1, "poison_ratio": 1.5}), 422, "poison_ratio is not 0 to 1"),
        ("events/burst", json!({"count": -1, "rate_per_s": 1}), 400, "the body"),
        ("events", json!({"event": {}}), 503, "still starting"),
        ("events/burst", json!({"count": 1, "rate_per_s": 1}), 503, "still starting"),
    ] {
        let (found, detail) = post(path, body.clone());
        assert_eq!(found, status, "{path} {}: {detail}", &body.to_string()[..60.min(body.to_string().len())]);
        assert!(detail.contains(says), "{path}: {detail}");
    }
}
