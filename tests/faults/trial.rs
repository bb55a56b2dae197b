//! One trial: a topic, a group and a schema of its own, loads, the faults that were made to happen, and at the end the
//! verdict. A row injects; everything that is the same for all rows is here.

use crate::audit;
use crate::load::{Fate, Load, LoadSpec, Sent};
use crate::log;
use crate::stage::{Stage, Verdict};
use crate::support::database::Database;
use crate::support::drover::{Drover, DroverCommand};
use crate::timing::{self, Fault, Measure};
use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions, NewPartitions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::KafkaResult;
use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

/// Events a second of the steady load.
pub const RATE: u64 = 5_000;
/// Partitions of a topic, unless the row says otherwise.
pub const PARTITIONS: i32 = 6;
/// Consumers of a process.
pub const CONSUMERS: usize = 3;
/// Longest wait for drover to store again after a fault, and to catch up at the end.
const PATIENCE: Duration = Duration::from_secs(120);
const ASK_TIMEOUT: Duration = Duration::from_secs(30);
/// Pause between two looks.
const LOOK_AGAIN: Duration = Duration::from_millis(50);
/// Ids of one load begin so far from those of the other.
const IDS: i64 = 1 << 40;

fn ends(brokers: &str, topic: &str) -> KafkaResult<BTreeMap<i32, i64>> {
    let consumer: BaseConsumer = ClientConfig::new().set("bootstrap.servers", brokers).create()?;
    let metadata = consumer.fetch_metadata(Some(topic), ASK_TIMEOUT)?;
    let partitions = metadata.topics()[0].partitions().iter().map(|partition| partition.id());
    partitions.map(|partition| Ok((partition, consumer.fetch_watermarks(topic, partition, ASK_TIMEOUT)?.1))).collect()
}

/// See the module.
pub struct Trial {
    pub stage: Arc<Stage>,
    pub topic: String,
    pub group: String,
    pub database: Database,
    /// Where drover finds its servers: those of the stage, or a link to them.
    pub brokers: String,
    pub database_url: String,
    /// Where the load finds the brokers.
    pub load_brokers: String,
    directory: PathBuf,
    loads: Vec<Load>,
    next_id: i64,
    /// Records that were sent by other means than a load.
    pub sent: Vec<Sent>,
    faults: Vec<Fault>,
    pub verdict: Verdict,
    goal: Option<Duration>,
}

impl Trial {
    /// A trial on the stage's servers, with a topic of [`PARTITIONS`].
    pub async fn new(stage: Arc<Stage>, row: &str) -> Self {
        let brokers = stage.kafka.address();
        let trial = Self::without_topic(stage, row, &brokers);
        trial.create_topic(PARTITIONS, 1, &[]).await;
        trial
    }

    /// A trial whose topic the row makes itself.
    pub fn without_topic(stage: Arc<Stage>, row: &str, brokers: &str) -> Self {
        let id = uuid::Uuid::new_v4().simple().to_string();
        let database_url = stage.postgres.url();
        Self {
            topic: format!("{row}-{id}"),
            group: format!("{row}-group-{id}"),
            database: Database::of(&database_url, &format!("faults_{id}")),
            brokers: brokers.to_owned(),
            database_url,
            load_brokers: brokers.to_owned(),
            directory: stage.directory(row),
            loads: Vec::new(),
            next_id: 1,
            sent: Vec::new(),
            faults: Vec::new(),
            verdict: Verdict::default(),
            goal: None,
            stage,
        }
    }

    /// What recovery may take.
    pub fn goal(&mut self, goal: Duration) {
        self.goal = Some(goal);
    }

    pub async fn create_topic(&self, partitions: i32, replication: i32, settings: &[(&str, &str)]) {
        let mut topic = NewTopic::new(&self.topic, partitions, TopicReplication::Fixed(replication));
        for (name, value) in settings {
            topic = topic.set(name, value);
        }
        let created = self.admin().create_topics([&topic], &AdminOptions::new()).await.unwrap();
        assert!(created.iter().all(Result::is_ok), "{created:?}");
        let until = Instant::now() + PATIENCE;
        while self.partitions().await.len() != usize::try_from(partitions).unwrap() {
            assert!(Instant::now() < until, "topic {} does not appear", self.topic);
            tokio::time::sleep(LOOK_AGAIN).await;
        }
    }

    pub async fn add_partitions(&self, to: usize) {
        let grown = self.admin().create_partitions(&[NewPartitions::new(&self.topic, to)], &AdminOptions::new()).await;
        assert!(grown.unwrap().iter().all(Result::is_ok));
    }

    fn admin(&self) -> AdminClient<DefaultClientContext> {
        ClientConfig::new().set("bootstrap.servers", &self.load_brokers).create().unwrap()
    }

    /// The ends of the log of each partition.
    pub async fn partitions(&self) -> BTreeMap<i32, i64> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let (brokers, topic) = (self.load_brokers.clone(), self.topic.clone());
            match tokio::task::spawn_blocking(move || ends(&brokers, &topic)).await.unwrap() {
                Ok(ends) => return ends,
                // A leader that has just changed, for example.
                Err(error) => assert!(Instant::now() < deadline, "the ends of the log: {error}"),
            }
            tokio::time::sleep(LOOK_AGAIN).await;
        }
    }

    /// `drover` with these arguments and the settings of the trial.
    pub fn drover(&self, args: &[&str]) -> DroverCommand {
        DroverCommand::new(&self.directory, args)
            .set("KAFKA_BOOTSTRAP_SERVERS", &self.brokers)
            .set("KAFKA_TOPIC_USER_EVENTS", &self.topic)
            .set("CONSUMER_GROUP", &self.group)
            .set("DATABASE_URL", &self.database_url)
            .set("DROVER_STORE_SCHEMA", self.database.schema())
            .set("DROVER_HTTP_ADDR", "127.0.0.1:0")
            .set("DROVER_STARTUP_WAIT", "60s")
    }

    /// `drover run` as it is meant to be run: static membership through a replica id.
    pub fn run(&self) -> DroverCommand {
        self.drover(&["run", "--consumers", &CONSUMERS.to_string()]).set("DROVER_REPLICA_ID", "replica-1")
    }

    /// Starts load and process, and waits until each consumer has its share and stores.
    pub async fn started(&mut self) -> Drover {
        self.load().await;
        let drover = self.run().start("drover");
        self.until_shared(&drover).await;
        drover
    }

    /// Waits until each consumer of the only process has its share and stores.
    pub async fn until_shared(&self, drover: &Drover) {
        drover.until_each_owns(usize::try_from(PARTITIONS).unwrap() / CONSUMERS).await;
        self.until_flowing().await;
    }

    /// One consumer of a dynamic member.
    pub fn consume(&self, id: &str) -> DroverCommand {
        self.drover(&["consume", "--consumer-id", id]).set("DROVER_HTTP_ENABLED", "false")
    }

    /// Starts the steady load on all partitions.
    pub async fn load(&mut self) {
        let spec = self.spec(0..i32::try_from(self.partitions().await.len()).unwrap());
        self.start_load(spec);
    }

    /// The steady load, to be changed and started.
    pub fn spec(&self, partitions: std::ops::Range<i32>) -> LoadSpec {
        LoadSpec::new(&self.load_brokers, &self.topic, partitions, RATE)
    }

    pub fn start_load(&mut self, mut spec: LoadSpec) {
        spec.first_id = self.take_ids();
        self.loads.push(Load::start(spec));
    }

    /// The first of a range of ids that no load uses.
    pub fn take_ids(&mut self) -> i64 {
        self.next_id += IDS;
        self.next_id - IDS
    }

    pub fn loads(&self) -> &[Load] {
        &self.loads
    }

    /// Events of the loads that the brokers have.
    pub fn confirmed(&self) -> usize {
        self.loads.iter().map(Load::confirmed).sum()
    }

    pub fn note(&mut self, note: String) {
        self.verdict.notes.push(note);
    }

    pub fn fail(&mut self, failure: String) {
        eprintln!("    {failure}");
        self.verdict.failures.push(failure);
    }

    /// A failure unless it holds.
    pub fn expect(&mut self, holds: bool, failure: impl FnOnce() -> String) {
        if !holds {
            self.fail(failure());
        }
    }

    /// Every partition of an ordinary topic.
    pub fn all() -> Vec<i32> {
        (0..PARTITIONS).collect()
    }

    /// Records a fault of all partitions, and waits until each is stored to again.
    pub async fn recovered(&mut self, began: SystemTime, ended: SystemTime) {
        self.recovered_by(Fault { began, ended, affected: Self::all(), measure: Measure::FirstRow }).await;
    }

    /// Records a fault, and waits until each of its partitions is stored to again.
    pub async fn recovered_by(&mut self, fault: Fault) {
        if let Some(late) = self.stored_since(fault.ended, &fault.affected).await {
            self.fail(format!("partitions {late:?} were not stored to again within {} s", PATIENCE.as_secs()));
        }
        self.faults.push(fault);
    }

    /// Waits until each of these partitions is stored to after a time; else tells which is not.
    async fn stored_since(&self, since: SystemTime, partitions: &[i32]) -> Option<Vec<i32>> {
        let since: chrono::DateTime<chrono::Utc> = since.into();
        let deadline = Instant::now() + PATIENCE;
        loop {
            let stored = self.updated_since(since).await.unwrap_or_default();
            let late: Vec<i32> = partitions.iter().copied().filter(|partition| !stored.contains(partition)).collect();
            if late.is_empty() {
                return None;
            }
            if Instant::now() > deadline {
                return Some(late);
            }
            tokio::time::sleep(LOOK_AGAIN).await;
        }
    }

    /// Partitions whose position moved after a time; `None` while the database does not answer.
    async fn updated_since(&self, since: chrono::DateTime<chrono::Utc>) -> Option<Vec<i32>> {
        let (client, connection) = tokio_postgres::connect(self.database.url(), tokio_postgres::NoTls).await.ok()?;
        tokio::spawn(connection);
        let sql = format!(
            "SELECT partition FROM {}.partition_progress WHERE topic = $1 AND updated_at > $2",
            self.database.schema()
        );
        let rows = client.query(&sql, &[&self.topic, &since]).await.ok()?;
        Some(rows.iter().map(|row| row.get(0)).collect())
    }

    /// Waits until every partition is stored to: the load flows. A trial that never gets so far is broken.
    pub async fn until_flowing(&self) {
        let all: Vec<i32> = self.partitions().await.into_keys().collect();
        let late = self.stored_since(SystemTime::now(), &all).await;
        assert!(late.is_none(), "before any fault: partitions {late:?} are not stored to");
    }

    /// Notes the largest resident set of a process so far. Must be called while it runs.
    pub fn weigh(&mut self, drover: &Drover) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", drover.pid())).unwrap_or_default();
        let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let peak = peak.and_then(|text| text.trim().trim_end_matches(" kB").parse().ok()).unwrap_or(0);
        self.verdict.peak_rss_kb = self.verdict.peak_rss_kb.max(Some(peak));
        peak
    }

    /// The load goes on for a while beyond the last fault, then ends; everything must be stored, every process end
    /// cleanly, and the audit find nothing.
    pub async fn finish(mut self, processes: Vec<Drover>) -> Verdict {
        let client = self.close(processes).await;
        self.end(&client).await
    }

    /// The first half of [`Trial::finish`]: gives back the connection on which `timing` can be asked more.
    pub async fn close(&mut self, processes: Vec<Drover>) -> tokio_postgres::Client {
        tokio::time::sleep(self.stage.beyond()).await;
        let client = self.settle(processes).await;
        timing::prepare(&client).await;
        client
    }

    pub async fn end(mut self, client: &tokio_postgres::Client) -> Verdict {
        self.judge(client).await;
        if self.verdict.failures.is_empty() {
            self.database.drop_schema().await;
            let dead_letters = format!("{}.dlq", self.topic);
            // It may not exist, and what stays is removed with the server.
            let _ = self.admin().delete_topics(&[&self.topic, &dead_letters], &AdminOptions::new()).await;
        }
        self.verdict
    }

    /// Ends load and processes, and audits.
    async fn settle(&mut self, processes: Vec<Drover>) -> tokio_postgres::Client {
        let mut sent = std::mem::take(&mut self.sent);
        for load in std::mem::take(&mut self.loads) {
            let outcome = tokio::task::spawn_blocking(move || load.finish()).await.unwrap();
            sent.extend(outcome.sent);
            for error in outcome.errors {
                self.fail(error);
            }
        }
        let ends = self.partitions().await;
        self.resolve(&mut sent, &ends).await;
        let deadline = Instant::now() + 2 * PATIENCE;
        while !self.is_stored(&ends).await && Instant::now() < deadline {
            tokio::time::sleep(LOOK_AGAIN).await;
        }
        // What waits for the dead-letter topic would make the stop one that left something.
        let waiting = "SELECT count(*) FROM dead_letters WHERE published_at IS NULL";
        while self.database.number(waiting).await != Some(0) && Instant::now() < deadline {
            tokio::time::sleep(LOOK_AGAIN).await;
        }
        let unpublished = self.database.number(waiting).await;
        self.expect(unpublished == Some(0), || format!("{unpublished:?} dead letters were not published"));
        for mut drover in processes {
            let ended = drover.terminate().await;
            self.expect(ended.code == Some(0), || {
                let last: Vec<&str> = ended.log.lines().rev().take(3).collect();
                format!("a process ended with {:?}: {}", ended.code, last.join(" / "))
            });
        }
        let client = self.database.connect().await;
        let found = audit::audit(&self.database, &client, &self.topic, &sent, &ends).await;
        self.verdict.events = found.events;
        self.verdict.lost = found.lost;
        self.verdict.doubled = found.doubled;
        self.verdict.expected_dead_letters = found.expected_dead_letters;
        self.verdict.dead_letters = found.dead_letters;
        for finding in found.findings {
            self.fail(finding);
        }
        client
    }

    /// Records that the brokers never confirmed may be on the log or not: the log decides what they had to become.
    async fn resolve(&mut self, sent: &mut [Sent], ends: &BTreeMap<i32, i64>) {
        let unconfirmed = sent.iter().filter(|sent| sent.fate == Fate::Unconfirmed).count();
        if unconfirmed == 0 {
            return;
        }
        let log = log::read(&self.load_brokers, &self.topic, ends).await;
        let places: HashMap<i64, (i32, i64)> = log.into_iter().filter_map(|(place, id)| Some((id?, place))).collect();
        for record in sent.iter_mut().filter(|sent| sent.fate == Fate::Unconfirmed) {
            record.fate = Fate::Nothing;
            if let Some(&(partition, offset)) = places.get(&record.id) {
                (record.partition, record.offset, record.fate) = (partition, offset, Fate::Row);
            }
        }
        self.note(format!("{unconfirmed} events were not confirmed by the brokers; the log says which they took"));
    }

    async fn is_stored(&self, ends: &BTreeMap<i32, i64>) -> bool {
        let stored = self.database.progress(&self.topic).await;
        ends.iter().all(|(partition, end)| stored.get(partition).is_some_and(|progress| progress.next >= *end))
    }

    /// Measures recoveries and compares them with the goal.
    async fn judge(&mut self, client: &tokio_postgres::Client) {
        self.verdict.faults = self.faults.len();
        self.verdict.goal_ms = self.goal.map(|goal| u64::try_from(goal.as_millis()).unwrap_or(u64::MAX));
        for (number, fault) in std::mem::take(&mut self.faults).into_iter().enumerate() {
            if fault.measure == Measure::Nothing {
                continue;
            }
            let mut slowest = Duration::ZERO;
            for &partition in &fault.affected {
                match timing::recovery(client, &fault, partition).await {
                    Some(took) => slowest = slowest.max(took),
                    None => self.fail(format!("fault {}: partition {partition} was never stored to again", number + 1)),
                }
            }
            self.verdict.recoveries_ms.push(u64::try_from(slowest.as_millis()).unwrap_or(u64::MAX));
            // Beside every other test no machine is quiet: there a time is told and not judged.
            let late = self.goal.filter(|goal| slowest > *goal && !self.stage.quick);
            self.expect(late.is_none(), || {
                format!(
                    "fault {}: recovery took {slowest:.1?}, the goal is {:.1?}",
                    number + 1,
                    late.unwrap_or_default()
                )
            });
        }
    }
}
