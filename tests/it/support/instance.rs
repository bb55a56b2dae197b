//! The real binary on an embedded broker of the test's process and a SQLite file: a whole drover that needs no servers.

use super::drover::{Drover, DroverCommand};
use drover::config::{ConfigFile, Inputs, KafkaConfig, Needs, Override, load};
use drover::domain::record::PackedHeaders;
use drover::kafka::embedded::EmbeddedBroker;
use drover::kafka::producer::{EventProducer, Outgoing};
use serde_json::Value;

pub const TOPIC: &str = "user_events";

/// See the module. The process ends before the broker.
pub struct Instance {
    pub drover: Drover,
    /// Where it serves HTTP, without a slash at the end.
    pub url: String,
    producer: EventProducer,
    _broker: EmbeddedBroker,
    _directory: tempfile::TempDir,
}

impl Instance {
    /// Starts `drover run` with these settings of the environment, and waits until it is ready.
    pub async fn start(settings: &[(&str, &str)]) -> Self {
        let broker = EmbeddedBroker::start().unwrap();
        for topic in [TOPIC, "user_events.dlq"] {
            broker.create_topic(topic, 3).unwrap();
        }
        let directory = tempfile::tempdir().unwrap();
        let mut command = DroverCommand::new(directory.path(), &["run", "--consumers", "2"])
            .set("KAFKA_BOOTSTRAP_SERVERS", broker.bootstrap_servers())
            .set("DROVER_KAFKA_PROTOCOL", "consumer")
            .set("DROVER_DEAD_LETTERS_CREATE_TOPIC", "false")
            .set("DATABASE_URL", format!("sqlite:{}", directory.path().join("drover.db").display()))
            .set("DROVER_HTTP_ADDR", "127.0.0.1:0");
        for (name, value) in settings {
            command = command.set(name, value);
        }
        let drover = command.start("instance");
        drover.until_ready().await;
        let url = drover.url("").await.trim_end_matches('/').to_owned();
        let producer = EventProducer::new(&kafka(broker.bootstrap_servers()), "test", 1 << 20).unwrap();
        Self { drover, url, producer, _broker: broker, _directory: directory }
    }

    /// Sends these documents and waits until the broker has them.
    pub async fn send(&self, events: impl IntoIterator<Item = (String, Value)>) {
        let headers = PackedHeaders::default();
        let sent = events.into_iter().map(|(key, event)| {
            let headers = &headers;
            async move {
                let value = event.to_string();
                let outgoing = Outgoing {
                    topic: TOPIC,
                    partition: None,
                    key: Some(key.as_bytes()),
                    value: Some(value.as_bytes()),
                    headers,
                    timestamp_ms: Some(chrono::Utc::now().timestamp_millis()),
                };
                self.producer.send_record(outgoing).await.unwrap();
            }
        });
        futures::future::join_all(sent).await;
    }
}

/// The defaults, for these brokers.
fn kafka(brokers: &str) -> KafkaConfig {
    let overrides = vec![Override { key: "kafka.brokers", value: brokers.to_owned(), flag: "the test" }];
    let inputs = Inputs { file: ConfigFile::None, environment: Vec::new(), overrides, needs: Needs { store: false } };
    load(&inputs).unwrap().kafka
}
