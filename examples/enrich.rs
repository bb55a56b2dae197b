//! A program that embeds drover with a step of its own: each event gets the section of the shop that its element belongs
//! to, and events of elements that no section has are rejected for good.
//!
//! `cargo run --example enrich` needs nothing: an embedded broker, a SQLite file, a handful of events, and it ends by itself.
//! With the arguments of `drover run` it reads your Kafka into your store until Ctrl-C:
//! `cargo run --example enrich -- run --brokers localhost:9092 --database-url postgres://localhost/shop`.

use anyhow::Context as _;
use clap::Parser as _;
use drover::app::{App, Options, Receipt, on_system};
use drover::cli::Cli;
use drover::config::{Config, ConfigFile, Inputs, Needs, Override, load};
use drover::domain::record::{OwnedRecord, PackedHeaders};
use drover::kafka::embedded::EmbeddedBroker;
use drover::kafka::producer::{EventProducer, Outgoing};
use drover::processor::{Processed, Processor, ProcessorError};
use drover::store::{self, DeadLetterFilter};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// Knows which section of the shop an element belongs to.
struct Sections(BTreeMap<&'static str, &'static str>);

impl Processor for Sections {
    fn process(&self, mut record: OwnedRecord) -> Processed<'_> {
        Box::pin(async move {
            let permanent = |what: String| ProcessorError::Permanent(what);
            // The record was decoded before it came here, so it holds an object.
            let value = record.value.as_deref().unwrap_or_default();
            let mut event: Map<String, Value> =
                serde_json::from_slice(value).map_err(|error| permanent(error.to_string()))?;
            let element = event.get("element_id").and_then(Value::as_str).unwrap_or_default();
            let section =
                self.0.get(element).ok_or_else(|| permanent(format!("no section of the shop has {element:?}")))?;
            event.insert("section".to_owned(), json!(section));
            record.value = Some(serde_json::to_vec(&event).map_err(|error| permanent(error.to_string()))?);
            Ok(record)
        })
    }
}

fn options() -> Options {
    let sections = BTreeMap::from([("checkout_btn", "checkout"), ("search_box", "catalogue"), ("menu", "everywhere")]);
    Options { processor: Some(Arc::new(Sections(sections))), ..Options::default() }
}

fn main() -> anyhow::Result<()> {
    let receipt = if std::env::args().len() > 1 {
        with_arguments()?
    } else {
        let directory = tempfile::tempdir()?;
        let url = format!("sqlite:{}", directory.path().join("enrich.db").display());
        with_nothing_installed(&url)?
    };
    print!("{receipt}");
    Ok(())
}

/// As `drover run` does, with the processor, until Ctrl-C.
fn with_arguments() -> anyhow::Result<Receipt> {
    let cli = Cli::parse();
    let config = load(&Inputs::of_process(cli.config.as_deref(), cli.overrides(), Needs { store: true }))?;
    drover::telemetry::init(&config.log)?;
    on_system(true, async move {
        let app = App::start(config, options()).await?;
        Ok(app
            .run_until_stopped(async {
                if let Err(error) = tokio::signal::ctrl_c().await {
                    eprintln!("Ctrl-C cannot be listened for: {error}");
                }
            })
            .await)
    })
}

/// What is sent: three elements that the shop knows, and one that it does not.
const ELEMENTS: [&str; 4] = ["checkout_btn", "search_box", "menu", "old_banner"];
const EVENTS: u64 = 40;
/// How long everything may take before the example gives up and shows what it has.
const PATIENCE: Duration = Duration::from_secs(60);

/// On an embedded broker and the SQLite store at `store_url`, until every event is a row or a dead letter.
pub fn with_nothing_installed(store_url: &str) -> anyhow::Result<Receipt> {
    // It must outlive the System, or its clients would report it missing.
    let broker = EmbeddedBroker::start()?;
    let config = config_for(&broker, store_url)?;
    for topic in ["user_events", "user_events.dlq"] {
        broker.create_topic(topic, config.kafka.partitions)?;
    }
    on_system(true, async move {
        let store_config = config.store.clone();
        let producer = EventProducer::new(&config.kafka, "enrich", config.limits.record_bytes)?;
        let app = App::start(config, options()).await?;
        send_events(&producer).await?;
        let board = app.board();
        let settled = async move {
            while board.consumers().iter().map(|one| one.stored + one.dead_letters).sum::<u64>() < EVENTS {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        let settled_or_late = async move { drop(tokio::time::timeout(PATIENCE, settled).await) };
        let receipt = app.run_until_stopped(settled_or_late).await;
        let filter = DeadLetterFilter { limit: 1, ..DeadLetterFilter::default() };
        for letter in store::open(&store_config)?.dead_letters(&filter).await? {
            println!("the latest dead letter: {}: {}", letter.code, letter.message);
        }
        Ok(receipt)
    })
}

fn config_for(broker: &EmbeddedBroker, store_url: &str) -> anyhow::Result<Config> {
    let set = |key, value: &str| Override { key, value: value.to_owned(), flag: "the example" };
    let overrides = vec![
        set("kafka.brokers", broker.bootstrap_servers()),
        // On the embedded broker its rebalances take a second; the classic protocol's wait for whole sessions.
        set("kafka.protocol", "consumer"),
        set("store.url", store_url),
        // Clients cannot create topics there.
        set("dead_letters.create_topic", "false"),
        set("http.enabled", "false"),
    ];
    let inputs = Inputs { file: ConfigFile::None, environment: Vec::new(), overrides, needs: Needs { store: true } };
    Ok(load(&inputs)?)
}

async fn send_events(producer: &EventProducer) -> anyhow::Result<()> {
    let headers = PackedHeaders::default();
    for (number, element) in (0..EVENTS).zip(ELEMENTS.iter().cycle()) {
        let user = format!("user_{number:04}");
        let event = json!({"user_id": user, "event_type": "button_click", "element_id": element}).to_string();
        let outgoing = Outgoing {
            topic: "user_events",
            partition: None,
            key: Some(user.as_bytes()),
            value: Some(event.as_bytes()),
            headers: &headers,
            timestamp_ms: None,
        };
        producer.send_record(outgoing).await.context("sending an event")?;
    }
    Ok(())
}
