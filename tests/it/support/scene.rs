//! The scene of a test: a topic, a group and a schema that nobody else uses, removed when the test went well.

use super::database::Database;
use super::drover::{Drover, DroverCommand, Ended};
use super::events::{Event, Sent, events};
use super::servers::{self, Servers};
use drover::config::{GroupProtocol, KafkaConfig, StartFrom};
use drover::domain::record::PackedHeaders;
use drover::kafka::producer::{EventProducer, Outgoing};
use drover::kafka::topics::TopicAdmin;
use futures::StreamExt as _;
use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions};
use rdkafka::client::DefaultClientContext;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::topic_partition_list::TopicPartitionList;
use std::collections::BTreeMap;
use std::time::Duration;

/// Longest wait for one answer of the cluster.
const ASK_TIMEOUT: Duration = Duration::from_secs(30);
/// Records on their way at once.
const IN_FLIGHT: usize = 5_000;
/// Events of one batch of a load: some hundred milliseconds' worth on a busy machine.
const LOAD_BATCH: usize = 500;

/// See the module.
pub struct Scene {
    pub topic: String,
    pub group: String,
    pub database: Database,
    pub brokers: String,
    directory: tempfile::TempDir,
    admin: TopicAdmin,
    producer: EventProducer,
}

impl Scene {
    /// A scene on the shared servers, with a topic of so many partitions; `None` without servers.
    pub async fn new(partitions: i32) -> Option<Self> {
        let servers = servers::shared()?;
        Some(Self::on(&servers, partitions).await)
    }

    /// The same with a topic, and a producer, for records of so many bytes.
    pub async fn for_large_records(partitions: i32, bytes: usize) -> Option<Self> {
        let mut scene = Self::new(partitions).await?;
        scene.delete_topic().await;
        let largest = (bytes + 1_000_000).to_string();
        scene.admin.create(&scene.topic, partitions, -1, &[("max.message.bytes".to_owned(), largest)]).await.unwrap();
        scene.producer = EventProducer::new(&kafka_config(&scene.brokers), "test", bytes).unwrap();
        Some(scene)
    }

    /// A scene on these servers.
    pub async fn on(servers: &Servers, partitions: i32) -> Self {
        let id = uuid::Uuid::new_v4().simple().to_string();
        let kafka = kafka_config(&servers.brokers);
        let scene = Self {
            topic: format!("test-{id}"),
            group: format!("test-group-{id}"),
            database: Database::of(&servers.database_url, &format!("test_{id}")),
            brokers: servers.brokers.clone(),
            directory: tempfile::tempdir().unwrap(),
            admin: TopicAdmin::new(&kafka, ASK_TIMEOUT).unwrap(),
            producer: producer(&servers.brokers),
        };
        scene.create_topic(partitions).await;
        scene
    }

    /// `drover` with these arguments and the settings of the scene.
    pub fn drover(&self, args: &[&str]) -> DroverCommand {
        DroverCommand::new(self.directory.path(), args)
            .set("KAFKA_BOOTSTRAP_SERVERS", &self.brokers)
            .set("KAFKA_TOPIC_USER_EVENTS", &self.topic)
            .set("CONSUMER_GROUP", &self.group)
            .set("DATABASE_URL", self.database.url())
            .set("DROVER_STORE_SCHEMA", self.database.schema())
            .set("DROVER_HTTP_ADDR", "127.0.0.1:0")
            .set("DROVER_STARTUP_WAIT", "20s")
    }

    /// `drover run` with so many consumers.
    pub fn run(&self, consumers: usize) -> DroverCommand {
        self.drover(&["run", "--consumers", &consumers.to_string()])
    }

    /// `drover consumers` with these arguments, to a running one, run to its end.
    pub async fn consumers(&self, running: &Drover, args: &[&str]) -> Ended {
        let url = running.url("").await;
        self.drover(&[&["consumers"], args, &["--url", &url]].concat()).set("USER", "tester").run("consumers").await
    }

    /// The same, which must go well; gives back what it said.
    pub async fn order(&self, running: &Drover, args: &[&str]) -> String {
        let ended = self.consumers(running, args).await;
        assert_eq!(ended.code, Some(0), "{args:?}: {}{}", ended.stdout, ended.log);
        ended.stdout
    }

    /// Action, target and outcome of every order in the audit log, oldest first.
    pub async fn logged_orders(&self) -> Vec<(String, String, String)> {
        let rows = self.database.query("SELECT action, target, outcome, actor FROM audit_log ORDER BY id", &[]).await;
        let order = |row: &tokio_postgres::Row| {
            let actor: String = row.get(3);
            assert!(actor.starts_with("tester@") && actor.ends_with(" (local)"), "{actor}");
            (row.get(0), row.get(1), row.get(2))
        };
        rows.iter().map(order).collect()
    }

    /// Sends events, one batch after the other, until `done` is; gives back all that were sent.
    pub async fn load_while<T>(&self, done: impl Future<Output = T>) -> (Vec<Sent>, T) {
        let over = std::sync::atomic::AtomicBool::new(false);
        let load = async {
            let mut sent: Vec<Sent> = Vec::new();
            while !over.load(std::sync::atomic::Ordering::Relaxed) {
                sent.extend(self.send(events(sent.len()..sent.len() + LOAD_BATCH)).await);
            }
            sent
        };
        let done = async {
            let result = done.await;
            over.store(true, std::sync::atomic::Ordering::Relaxed);
            result
        };
        futures::join!(load, done)
    }

    pub async fn create_topic(&self, partitions: i32) {
        self.admin.create(&self.topic, partitions, -1, &[]).await.unwrap();
    }

    /// Grows the topic. The producer is made anew, so that it knows.
    pub async fn add_partitions(&mut self, to: i32) {
        self.admin.add_partitions(&self.topic, to).await.unwrap();
        self.producer = producer(&self.brokers);
    }

    /// Deletes the topic and waits until the brokers have forgotten it.
    pub async fn delete_topic(&self) {
        delete_topics(&self.brokers, &[&self.topic]).await;
        super::wait::until("the topic to be gone", async || {
            self.admin.partition_count(&self.topic).await.is_ok_and(|count| count.is_none())
        })
        .await;
    }

    /// Removes the records below `offset`, as retention would.
    pub async fn delete_records(&self, partition: i32, offset: i64) {
        let mut below = TopicPartitionList::new();
        below.add_partition_offset(&self.topic, partition, rdkafka::Offset::Offset(offset)).unwrap();
        admin_client(&self.brokers).delete_records(&below, &AdminOptions::new()).await.unwrap();
    }

    /// Sends events and waits until the brokers have all of them; tells where each came to lie.
    pub async fn send(&self, events: impl IntoIterator<Item = Event>) -> Vec<Sent> {
        self.send_to(&self.topic, events).await
    }

    async fn send_to(&self, topic: &str, events: impl IntoIterator<Item = Event>) -> Vec<Sent> {
        futures::stream::iter(events)
            .map(|event| async move {
                let mut headers = PackedHeaders::default();
                for (name, value) in &event.headers {
                    headers.push(name.as_bytes(), value.as_deref());
                }
                let record = Outgoing {
                    topic,
                    partition: event.partition,
                    key: event.key.as_deref(),
                    value: event.value.as_deref(),
                    headers: &headers,
                    timestamp_ms: event.timestamp_ms,
                };
                let delivered = self.producer.send_record(record).await.unwrap();
                Sent { partition: delivered.partition, offset: delivered.offset, event }
            })
            .buffer_unordered(IN_FLIGHT)
            .collect()
            .await
    }

    /// The offsets that the group has committed in Kafka, with their metadata.
    pub fn committed(&self) -> BTreeMap<i32, (i64, String)> {
        let consumer = self.member("committed");
        let metadata = consumer.fetch_metadata(Some(&self.topic), ASK_TIMEOUT).unwrap();
        let mut asked = TopicPartitionList::new();
        for partition in metadata.topics()[0].partitions() {
            asked.add_partition(&self.topic, partition.id());
        }
        let answered = consumer.committed_offsets(asked, ASK_TIMEOUT).unwrap();
        let elements = answered.elements();
        let committed = elements.iter().filter_map(|element| {
            let offset = element.offset().to_raw().filter(|&offset| offset >= 0)?;
            Some((element.partition(), (offset, element.metadata().to_owned())))
        });
        committed.collect()
    }

    /// A client with the group's id that joins nothing, as other programs use to look and to commit.
    pub fn member(&self, name: &str) -> BaseConsumer {
        ClientConfig::new()
            .set("bootstrap.servers", &self.brokers)
            .set("client.id", name)
            .set("group.id", &self.group)
            .set("enable.auto.commit", "false")
            .create()
            .unwrap()
    }
}

/// Removes topics and schema, unless the test failed: then they stay for whoever looks.
impl Drop for Scene {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("kept: topic and group {}, schema {}", self.topic, self.database.schema());
            return;
        }
        let (brokers, topics) = (self.brokers.clone(), [self.topic.clone(), format!("{}.dlq", self.topic)]);
        let database = self.database.clone();
        let removed = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                database.drop_schema().await;
                delete_topics(&brokers, &topics.each_ref().map(String::as_str)).await;
            });
        });
        if removed.join().is_err() {
            eprintln!("topic {} or its schema could not be removed", self.topic);
        }
    }
}

async fn delete_topics(brokers: &str, topics: &[&str]) {
    // Where there is none to delete, that is well too.
    admin_client(brokers).delete_topics(topics, &AdminOptions::new()).await.unwrap();
}

fn producer(brokers: &str) -> EventProducer {
    EventProducer::new(&kafka_config(brokers), "test", 16 << 20).unwrap()
}

fn admin_client(brokers: &str) -> AdminClient<DefaultClientContext> {
    ClientConfig::new().set("bootstrap.servers", brokers).create().unwrap()
}

/// The defaults, for these brokers.
fn kafka_config(brokers: &str) -> KafkaConfig {
    KafkaConfig {
        brokers: brokers.to_owned(),
        topics: vec!["unused".into()],
        group: "unused".into(),
        start_from: StartFrom::Earliest,
        create_topics: false,
        partitions: 1,
        replication: -1,
        protocol: GroupProtocol::Classic,
        session_timeout: Duration::from_secs(30),
        consumer: BTreeMap::new(),
        producer: BTreeMap::new(),
    }
}
