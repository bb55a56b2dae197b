//! A whole drover within the test's process, on an embedded broker and a SQLite file, with a processor of the test's own.

use super::wait::until;
use drover::app::{App, Options, Receipt, on_system};
use drover::board::Board;
use drover::config::{ConfigFile, Inputs, Needs, Override, StoreConfig, load};
use drover::domain::record::PackedHeaders;
use drover::kafka::embedded::EmbeddedBroker;
use drover::kafka::producer::{EventProducer, Outgoing};
use drover::metrics::Metrics;
use drover::processor::Processor;
use std::future::Future;
use std::sync::Arc;

pub const TOPIC: &str = "user_events";

/// What a test has of it.
pub struct Embedded {
    pub board: Arc<Board>,
    pub metrics: Metrics,
    pub store: StoreConfig,
    producer: EventProducer,
}

impl Embedded {
    /// Sends so many ordinary events to a partition.
    pub async fn send(&self, partition: i32, events: usize) {
        let headers = PackedHeaders::default();
        let sent = (0..events).map(|number| {
            let value = format!(r#"{{"event_type":"a","number":{number}}}"#);
            let headers = &headers;
            async move {
                let outgoing = Outgoing {
                    topic: TOPIC,
                    partition: Some(partition),
                    key: None,
                    value: Some(value.as_bytes()),
                    headers,
                    timestamp_ms: None,
                };
                self.producer.send_record(outgoing).await.unwrap();
            }
        });
        futures::future::join_all(sent).await;
    }

    /// The position of a partition, while somebody owns it.
    pub fn position(&self, partition: i32) -> Option<i64> {
        let consumers = self.board.consumers();
        let mut partitions = consumers.iter().flat_map(|consumer| &consumer.partitions);
        partitions.find(|status| status.partition == partition).map(|status| status.next_offset)
    }

    /// Waits until a partition is stored up to there.
    pub async fn until_stored(&self, partition: i32, position: i64) {
        until(&format!("partition {partition} to be stored up to {position}"), async || {
            self.position(partition) == Some(position)
        })
        .await;
    }
}

/// Runs `work` beside a drover on an embedded broker, with these settings, stops it, and gives back its receipt.
pub fn with_embedded<F, Fut>(
    processor: Arc<dyn Processor>,
    partitions: i32,
    settings: &[(&'static str, &str)],
    work: F,
) -> Receipt
where
    F: FnOnce(Embedded) -> Fut,
    Fut: Future<Output = ()>,
{
    let broker = EmbeddedBroker::start().unwrap();
    for topic in [TOPIC, "user_events.dlq"] {
        broker.create_topic(topic, partitions).unwrap();
    }
    with_broker(broker.bootstrap_servers(), Some(processor), settings, work)
}

/// The same on a broker of the test's own.
pub fn with_broker<F, Fut>(
    bootstrap_servers: &str,
    processor: Option<Arc<dyn Processor>>,
    settings: &[(&'static str, &str)],
    work: F,
) -> Receipt
where
    F: FnOnce(Embedded) -> Fut,
    Fut: Future<Output = ()>,
{
    let directory = tempfile::tempdir().unwrap();
    let url = format!("sqlite:{}", directory.path().join("drover.db").display());
    let fixed = [
        ("kafka.brokers", bootstrap_servers),
        ("kafka.protocol", "consumer"),
        ("store.url", &url),
        ("dead_letters.create_topic", "false"),
        ("http.enabled", "false"),
    ];
    let overrides = fixed
        .iter()
        .chain(settings)
        .map(|&(key, value)| Override { key, value: value.to_owned(), flag: "the test" })
        .collect();
    let config =
        load(&Inputs { file: ConfigFile::None, environment: Vec::new(), overrides, needs: Needs { store: true } })
            .unwrap();
    on_system(true, async move {
        let producer = EventProducer::new(&config.kafka, "test", config.limits.record_bytes).unwrap();
        let store = config.store.clone();
        let app = App::start(config, Options { processor, ..Options::default() }).await.unwrap();
        let embedded = Embedded { board: app.board(), metrics: app.metrics().clone(), store, producer };
        app.run_until_stopped(work(embedded)).await
    })
}
