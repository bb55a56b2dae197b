//! The live stream of the real binary: what clients see, what slow ones lose, and what those that come back missed.

use crate::support::drover::Drover;
use crate::support::instance::Instance;
use crate::support::sse::{Event, Stream};
use crate::support::wait::{until, until_some};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::time::Duration;

const STREAM: &str = "/api/v1/stream";

fn event(number: usize) -> (String, Value) {
    (format!("user_{number}"), json!({"user_id": format!("user_{number}"), "event_type": "click", "n": number}))
}

fn rows(feed: &Event) -> &Vec<Value> {
    feed.data["rows"].as_array().unwrap()
}

fn dropped(feed: &Event) -> u64 {
    feed.data["dropped"].as_u64().unwrap()
}

/// Waits until the metric has this value.
async fn until_metric(drover: &Drover, name: &str, value: f64) {
    until(&format!("{name} to be {value}"), async || drover.metric(name).await == Some(value)).await;
}

async fn post(instance: &Instance, path: &str) -> u16 {
    let request = reqwest::Client::new().post(format!("{}{path}", instance.url)).header("x-drover-request", "1");
    request.send().await.unwrap().status().as_u16()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn twenty_clients_see_every_committed_event_once_and_the_process_each_second() {
    let instance = Instance::start(&[]).await;
    let mut clients = Vec::new();
    for _ in 0..20 {
        let mut client = Stream::open(&instance.url, STREAM, &[("Accept-Encoding", "gzip")]).await;
        assert_eq!(client.status(), 200, "{}", client.head);
        assert!(client.head.contains("content-type: text/event-stream"), "{}", client.head);
        assert!(client.head.contains("content-encoding: identity"), "{}", client.head);
        let first = client.next().await.unwrap();
        assert_eq!(first.name, "snapshot");
        assert_eq!(first.data["consumers"].as_array().unwrap().len(), 2);
        clients.push(client);
    }
    // Rows are kept from the first client on, and looked at from the next second on.
    until_metric(&instance.drover, "drover_stream_clients", 20.0).await;
    let events = 1_000;
    instance.send((0..events).map(event)).await;
    instance.send([("bad".to_owned(), json!({"user_id": "nobody"}))]).await;
    for client in &mut clients {
        let (mut seen, mut count, mut letters) = (BTreeSet::new(), 0, Vec::new());
        while count < events + 1 {
            let feed = client.next_of("feed").await;
            for row in rows(&feed) {
                let number = |name: &str| row[name].as_i64().unwrap();
                assert!(seen.insert((number("partition"), number("offset"))), "twice: {row}");
                assert!(number("latency_ms") >= 0 && number("stored_at_ms") > 0);
                if row["status"] == "dead_letter" {
                    letters.push(row.clone());
                } else {
                    assert_eq!((&row["event_type"], &row["key"]), (&json!("click"), &row["user_id"]));
                }
            }
            count += rows(&feed).len() + usize::try_from(dropped(&feed)).unwrap();
        }
        assert_eq!(count, events + 1);
        for letter in letters {
            assert_eq!((&letter["code"], &letter["key"]), (&json!("field.missing"), &json!("bad")));
        }
    }
    let snapshot = clients[0].next_of("snapshot").await.data;
    assert_eq!((&snapshot["stream"]["clients"], &snapshot["stream"]["dropped"]), (&json!(20), &json!(0)));
    assert_eq!(snapshot["totals"]["stored"], events);
    assert_eq!((&snapshot["totals"]["dead_letters"], &snapshot["lag"]), (&json!(1), &json!(0)));
    assert_eq!((&snapshot["lag_seconds"], &snapshot["limiting_stage"]), (&json!(0.0), &json!("idle")));
    // The same as an answer of its own, and what went before it.
    let answer = instance.drover.api("api/v1/snapshot").await;
    assert_eq!(
        answer.as_object().unwrap().keys().collect::<Vec<_>>(),
        snapshot.as_object().unwrap().keys().collect::<Vec<_>>()
    );
    let history = instance.drover.api("api/v1/history?minutes=5").await;
    let stored: f64 = history["series"]["stored_per_s"].as_array().unwrap().iter().filter_map(Value::as_f64).sum();
    assert!((900.0..=1_100.0).contains(&stored), "{history}");
    assert_eq!(history["consumers"]["consumer-1"]["lag"].as_array().unwrap().len(), history["points"]);
    drop(clients);
    until_metric(&instance.drover, "drover_stream_clients", 0.0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slow_client_loses_rows_of_the_feed_is_told_how_many_and_slows_nobody() {
    let instance = Instance::start(&[]).await;
    let mut slow = Stream::with_window(&instance.url, STREAM, &[], Some(4_096)).await;
    let mut quick = Stream::open(&instance.url, STREAM, &[]).await;
    let over = tokio::sync::watch::Sender::new(false);
    let load = async {
        let wide = "w".repeat(250);
        let mut sent = 0;
        while !*over.borrow() {
            let event = |number: usize| {
                let text = format!("{number}{wide}");
                (text.clone(), json!({"user_id": text, "event_type": wide, "element_id": wide}))
            };
            instance.send((sent..sent + 300).map(event)).await;
            sent += 300;
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        sent
    };
    let name = "drover_stream_dropped_events_total";
    let mut ids = Vec::new();
    let lost = async {
        loop {
            // The other one goes on meanwhile.
            let feed = quick.next_of("feed").await;
            assert_eq!(feed.data.as_object().unwrap().len(), 2);
            ids.push(feed.id);
            let lost = instance.drover.metric(name).await.unwrap();
            if lost > 0.0 {
                over.send_replace(true);
                return lost;
            }
        }
    };
    let (sent, lost) = tokio::join!(load, lost);
    // What was committed is stored, whoever looks.
    until("everything to be stored", async || instance.drover.api("api/v1/snapshot").await["totals"]["stored"] == sent)
        .await;
    let shown = until_some("the count in a snapshot", async || {
        let dropped = instance.drover.api("api/v1/snapshot").await["stream"]["dropped"].as_f64().unwrap();
        (dropped >= lost).then_some(dropped)
    })
    .await;
    // It reads on: with the next rows it is told of those that it lost.
    let mut told = 0;
    let mut count = 0;
    while told == 0 {
        count += 1;
        instance.send([event(count)]).await;
        let feed = slow.next_of("feed").await;
        told = dropped(&feed);
    }
    assert!(told as f64 >= 1.0 && shown >= lost, "{told} {shown} {lost}");
    let mut before = slow.next_of("snapshot").await;
    for _ in 0..3 {
        let next = slow.next_of("snapshot").await;
        let number = |event: &Event| event.id.rsplit('-').next().unwrap().parse::<u64>().unwrap();
        assert!(number(&next) > number(&before));
        before = next;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_comes_back_gets_the_states_and_orders_that_it_missed() {
    let instance = Instance::start(&[]).await;
    let mut client = Stream::open(&instance.url, &format!("{STREAM}?feed=0"), &[]).await;
    let last = client.next_of("snapshot").await.id;
    drop(client);
    until_metric(&instance.drover, "drover_stream_clients", 0.0).await;
    assert_eq!(post(&instance, "/api/v1/children/writer-1/restart").await, 200);
    instance.drover.until_child_is("writer-1", "running").await;
    until("the order in the log", async || {
        instance.drover.api("api/v1/audit-log").await["entries"][0]["action"] == "restart"
    })
    .await;
    // A browser that asks anew, and not by itself again, cannot set a header.
    let asked = format!("{STREAM}?feed=0&last_event_id={last}");
    for (path, headers) in [(format!("{STREAM}?feed=0"), &[("Last-Event-ID", last.as_str())][..]), (asked, &[])] {
        let mut client = Stream::open(&instance.url, &path, headers).await;
        let (mut states, mut orders) = (Vec::new(), Vec::new());
        loop {
            let event = client.next().await.unwrap();
            match event.name.as_str() {
                "state" => states.push(event.data),
                "command" => orders.push(event.data),
                "snapshot" => break,
                other => panic!("{other}"),
            }
        }
        assert!(states.iter().any(|state| state["id"] == "writer-1" && state["restarts"] == 1), "{states:?}");
        assert_eq!(orders.len(), 1, "{path}");
        assert_eq!((&orders[0]["action"], &orders[0]["target"]), (&json!("restart"), &json!("writer-1")));
        assert_eq!((&orders[0]["actor"], &orders[0]["outcome"]), (&json!("local"), &json!("ok")));
        assert!(orders[0]["id"].as_i64().unwrap() > 0 && orders[0]["at_ms"].is_i64());
    }
    let mut client = Stream::open(&instance.url, STREAM, &[]).await;

    // The numbers of another process, of a time to come, and what is none: it begins with the process as it is.
    for id in ["0badcafe-1", &format!("{}-999999", last.split('-').next().unwrap()), "x", ""] {
        let mut client = Stream::open(&instance.url, STREAM, &[("Last-Event-ID", id)]).await;
        assert_eq!(client.next().await.unwrap().name, "snapshot", "{id}");
    }
    // Who stays sees them as they come.
    assert_eq!(post(&instance, "/api/v1/consumers/consumer-1/pause").await, 200);
    let (mut ordered, mut paused) = (false, false);
    // The state may be seen before the order is written down.
    while !(ordered && paused) {
        let event = client.next().await.unwrap();
        match event.name.as_str() {
            "command" => {
                assert_eq!((&event.data["action"], &event.data["target"]), (&json!("pause"), &json!("consumer-1")));
                ordered = true;
            }
            "state" => paused |= event.data["id"] == "consumer-1" && event.data["state"] == "paused",
            _ => {}
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn past_the_last_place_a_client_is_told_to_come_back_and_one_that_goes_makes_room() {
    let instance = Instance::start(&[]).await;
    let mut clients = Vec::new();
    for number in 0..64 {
        let client = Stream::open(&instance.url, &format!("{STREAM}?feed=0"), &[]).await;
        assert_eq!(client.status(), 200, "{number}");
        clients.push(client);
    }
    let refused = Stream::open(&instance.url, STREAM, &[]).await;
    assert_eq!(refused.status(), 503);
    assert!(refused.head.contains("retry-after: "), "{}", refused.head);
    assert_eq!(refused.body().await["code"], "too_many_streams");
    drop(clients.pop());
    until("a place to be free", async || Stream::open(&instance.url, STREAM, &[]).await.status() == 200).await;
    for (query, named) in [("feed=2", "neither 0 nor 1"), ("feed=x", "invalid"), ("fed=1", "fed")] {
        let refused = Stream::open(&instance.url, &format!("{STREAM}?{query}"), &[]).await;
        assert_eq!(refused.status(), 400);
        let problem = refused.body().await;
        assert!(problem["detail"].as_str().unwrap().contains(named), "{problem}");
    }
    let (status, problem) = instance.drover.get("api/v1/history?minutes=61").await.unwrap();
    assert!(status == 400 && problem.contains("1 to 60"), "{problem}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_masked_field_leaves_neither_by_its_column_nor_by_the_key_that_repeats_it() {
    let instance = Instance::start(&[("DROVER_HTTP_MASKED_FIELDS", "user_id,email")]).await;
    let mut client = Stream::open(&instance.url, STREAM, &[]).await;
    let mut number = 0;
    let row = loop {
        number += 1;
        instance.send([event(number)]).await;
        let feed = client.next_of("feed").await;
        if let Some(row) = rows(&feed).first() {
            break row.clone();
        }
    };
    assert_eq!((&row["user_id"], &row["key"]), (&json!("***"), &json!("***")));
    assert_eq!((&row["event_type"], &row["element_id"]), (&json!("click"), &Value::Null));
    assert!(!row.to_string().contains("user_1"), "{row}");
}
