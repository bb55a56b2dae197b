//! The command against the embedded broker: what arrives, what is refused, what the summary says.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use super::*;
use crate::cli::{Cli, Command};
use crate::kafka::embedded::EmbeddedBroker;
use crate::kafka::test_support::kafka_config;
use clap::Parser as _;
use std::io::Cursor;

fn mapping() -> Mapping {
    Mapping {
        event_type: "event_type".into(),
        user_id: "user_id".into(),
        element_id: "element_id".into(),
        timestamp: "timestamp".into(),
        required: vec!["event_type".into()],
        store_tombstones: false,
    }
}

fn broker() -> (EmbeddedBroker, KafkaConfig) {
    let broker = EmbeddedBroker::start().unwrap();
    broker.create_topic("user_events", 3).unwrap();
    let kafka = kafka_config(broker.bootstrap_servers());
    (broker, kafka)
}

async fn produce(kafka: &KafkaConfig, flags: &[&str]) -> (String, anyhow::Result<()>) {
    let cli = Cli::parse_from(["drover", "produce"].iter().chain(flags));
    let Command::Produce(args) = cli.command else { panic!("not the produce command") };
    let mut out = Vec::new();
    let result = run(kafka, &mapping(), &args, &mut out).await;
    (String::from_utf8(out).unwrap(), result)
}

async fn records(kafka: &KafkaConfig) -> i64 {
    let admin = TopicAdmin::new(kafka, FIRST_ANSWER).unwrap();
    admin.describe("user_events").await.unwrap().records().unwrap()
}

#[tokio::test]
async fn a_batch_arrives_whole_with_every_kind_of_poison_in_turn() {
    let (_broker, kafka) = broker();
    let (said, result) = produce(&kafka, &["--batch-size", "230", "--poison-every", "10", "--seed", "7"]).await;
    result.unwrap();
    assert_eq!(records(&kafka).await, 230);
    for line in [
        "sent       230 events to user_events (3 partitions)",
        "delivered  230",
        "failed     0",
        "poison     23,",
        "3 not_json",
        "2 number_too_large",
    ] {
        assert!(said.contains(line), "{line} is missing in:\n{said}");
    }
}

#[tokio::test]
async fn a_stream_sends_exactly_rate_times_duration() {
    let (_broker, kafka) = broker();
    let flags = ["--mode", "continuous", "--events-per-second", "700", "--duration", "1"];
    let (said, result) = produce(&kafka, &flags).await;
    result.unwrap();
    assert_eq!(records(&kafka).await, 700, "{said}");
}

#[tokio::test]
async fn one_event_shows_where_it_lies_and_a_broken_one_is_refused_with_its_code() {
    let (_broker, kafka) = broker();
    let (said, result) = produce(&kafka, &["--json", r#"{"event_type":"login","user_id":"u"}"#]).await;
    result.unwrap();
    assert!(said.starts_with("partition ") && said.contains(", offset 0"), "{said}");
    let (_, result) = produce(&kafka, &["--json", r#"{"user_id":"u"}"#]).await;
    let error = result.unwrap_err().to_string();
    assert!(error.contains("field.missing") && error.contains("event_type"), "{error}");
    assert_eq!(records(&kafka).await, 1);
}

#[tokio::test]
async fn typed_events_are_checked_sent_and_counted() {
    let (_broker, kafka) = broker();
    let target = Target::new(&kafka, "user_events", KeyField::UserId, Some(SOURCE)).unwrap();
    let (mapping, stops) = (mapping(), Stops::new());
    let session = interactive::Session { target: &target, mapping: &mapping, stops: &stops, prompts: false };
    let typed = "login\nuser_1\nmenu_btn\n{\"x\": [1]}\n{\"event_type\":\"whole\"}\n{\"event_type\":4}\nlogin\nu\n\nno json\nlast\n";
    let mut out = Vec::new();
    let error = session.run(Cursor::new(typed), &mut out).await.unwrap_err();
    let said = String::from_utf8(out).unwrap();
    assert_eq!(error.to_string(), "2 of 5 events were not sent", "{said}");
    assert!(said.contains("field.type") && said.contains("not a JSON object"), "{said}");
    assert!(said.ends_with("sent 3, refused 2\n"), "{said}");
    assert_eq!(records(&kafka).await, 3);
}

#[tokio::test]
async fn a_missing_topic_is_an_error_with_the_remedy() {
    let (_broker, kafka) = broker();
    let (_, result) = produce(&kafka, &["--topic", "nope"]).await;
    let error = result.unwrap_err().to_string();
    assert!(error.contains("\"nope\"") && error.contains("drover topics create"), "{error}");
}

#[tokio::test]
async fn events_that_no_broker_takes_make_the_command_fail_after_its_summary() {
    let (broker, mut kafka) = broker();
    kafka.producer.insert("message.timeout.ms".into(), "500".into());
    let target = Arc::new(Target::new(&kafka, "user_events", KeyField::None, Some(SOURCE)).unwrap());
    broker.set_down(true).unwrap();
    let cli = Cli::parse_from(["drover", "produce", "--batch-size", "20"]);
    let Command::Produce(args) = cli.command else { panic!("not the produce command") };
    let mut out = Vec::new();
    let result = generated::run(generated::Plan::new(&args, 3), target, Stops::new(), &mut out).await;
    let error = result.unwrap_err().to_string();
    assert!(error.starts_with("20 of 20 events were not delivered: 20 unreachable"), "{error}");
    assert!(String::from_utf8(out).unwrap().contains("failed     20"));
}

#[tokio::test]
async fn a_stop_ends_an_endless_stream_and_a_second_one_gives_up_what_cannot_be_delivered() {
    let (broker, kafka) = broker();
    let target = Arc::new(Target::new(&kafka, "user_events", KeyField::UserId, Some(SOURCE)).unwrap());
    broker.set_down(true).unwrap();
    let cli = Cli::parse_from(["drover", "produce", "--mode", "continuous", "--events-per-second", "1000"]);
    let Command::Produce(args) = cli.command else { panic!("not the produce command") };
    let stops = Stops::new();
    let (watched, signals) = (Arc::clone(&target), stops.clone());
    tokio::spawn(async move {
        while watched.producer.counts().sent < 50 {
            tokio::task::yield_now().await;
        }
        signals.add();
        signals.add();
    });
    let mut out = Vec::new();
    let result = generated::run(generated::Plan::new(&args, 3), target, stops, &mut out).await;
    assert!(result.unwrap_err().to_string().contains("were not delivered"));
    assert!(String::from_utf8(out).unwrap().contains("delivered  0"));
}
