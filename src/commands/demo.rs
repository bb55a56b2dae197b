//! `drover demo`: embedded broker, fresh store, a stream of events and the consumers, in one process with nothing installed.
//!
//! Reads neither `drover.toml` nor the environment: a demo must never reach somebody's database. Every start is fresh,
//! because the embedded broker's offsets begin at zero again: a SQLite file of its own, or, with `--database-url`, a schema
//! of its own. Ctrl-C drains and prints the receipt.

mod live;

use super::run::{print_receipt, stop_signal};
use crate::actors::drills::Outage;
use crate::app::{App, Options};
use crate::cli::DemoArgs;
use crate::config::{Config, ConfigFile, Inputs, Needs, Override, Setting, resolve};
use crate::domain::generator::{DEFAULT_EVENT_BYTES, EventGenerator, PoisonKind};
use crate::domain::record::PackedHeaders;
use crate::kafka::embedded::EmbeddedBroker;
use crate::kafka::error::KafkaErrorKind;
use crate::kafka::producer::{EventProducer, Outgoing};
use anyhow::Context as _;
use std::io::Write;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// Time between two looks at what is due.
const PACE: Duration = Duration::from_millis(20);
/// The embedded broker's work grows with the number of batches, so few large ones are sent.
const LINGER_MS: &str = "100";
/// Silence after which a child is found, in the time that somebody looks on; a transaction must end before it.
const WATCHDOG_TIMEOUT: &str = "10s";
const TRANSACTION_TIMEOUT: &str = "8s";
/// Time between two audits.
const AUDIT_INTERVAL: &str = "15s";
/// How long the end waits for events that are on their way.
const FLUSH_TIMEOUT: Duration = Duration::from_secs(5);

/// How long the end waits for what was sent to be stored.
const ARRIVAL_TIMEOUT: Duration = Duration::from_secs(3);

/// A demo that is ready to run.
pub struct Demo {
    config: Config,
    /// What it was made from, to be shown.
    settings: Vec<Setting>,
    broker: EmbeddedBroker,
    plan: Plan,
    /// Removed at the end, unless the person named a place.
    scratch: Option<PathBuf>,
}

#[derive(Clone, Copy)]
struct Plan {
    events_per_second: u64,
    poison_every: u64,
    duration: Option<Duration>,
}

/// Starts the broker and makes the configuration.
///
/// # Errors
/// A flag that the configuration refuses; a broker or directory that cannot be made.
pub fn prepare(args: &DemoArgs, mut overrides: Vec<Override>) -> anyhow::Result<Demo> {
    let broker = EmbeddedBroker::start()?;
    let stamp = format!("{}_{}", chrono::Utc::now().format("%Y%m%d_%H%M%S"), std::process::id());
    let mut scratch = None;
    let mut set = |key: &'static str, value: String| overrides.push(Override { key, value, flag: "drover demo" });
    set("watchdog.timeout", WATCHDOG_TIMEOUT.to_owned());
    set("store.transaction_timeout", TRANSACTION_TIMEOUT.to_owned());
    // What it shows is young: a proof of ten minutes ago would be one of nothing.
    set("audit.interval", AUDIT_INTERVAL.to_owned());
    // It is there to be broken, and to be seen to recover.
    set("drills.enabled", "true".to_owned());
    // Its rebalances take a second there; the classic protocol's wait for whole sessions.
    set("kafka.protocol", "consumer".to_owned());
    // Clients cannot create topics there.
    set("dead_letters.create_topic", "false".to_owned());
    set("kafka.brokers", broker.bootstrap_servers().to_owned());
    if args.store.database_url.is_some() {
        set("store.schema", format!("drover_demo_{stamp}"));
    } else {
        let dir = match &args.data_dir {
            Some(dir) => dir.clone(),
            None => scratch.insert(std::env::temp_dir().join(format!("drover-demo-{stamp}"))).clone(),
        };
        std::fs::create_dir_all(&dir).with_context(|| format!("making the directory {}", dir.display()))?;
        set("store.url", format!("sqlite:{}", dir.join(format!("drover-demo-{stamp}.db")).display()));
    }
    let inputs = Inputs { file: ConfigFile::None, environment: Vec::new(), overrides, needs: Needs { store: true } };
    let resolution = resolve(&inputs);
    let mut config = resolution.outcome?;
    if !config.log.filter.contains("drover") && config.log.filter == "info" {
        // The live lines say what goes on; the log is for what goes wrong.
        config.log.filter = "warn".to_owned();
    }
    config.kafka.producer.entry("linger.ms".to_owned()).or_insert_with(|| LINGER_MS.to_owned());
    for topic in &config.kafka.topics {
        broker.create_topic(topic, config.kafka.partitions)?;
        broker.create_topic(&config.dead_letters.topic.replace("{topic}", topic), config.kafka.partitions)?;
    }
    let plan =
        Plan { events_per_second: args.events_per_second, poison_every: args.poison_every, duration: args.duration };
    Ok(Demo { config, settings: resolution.settings, broker, plan, scratch })
}

impl Demo {
    /// The configuration of the demo.
    #[must_use]
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// Runs until Ctrl-C or the end of `--duration`; gives back whether nothing was left, and the broker, which must outlive
    /// the System: its clients would report it missing.
    ///
    /// # Errors
    /// What kept it from starting.
    pub async fn run(self, out: &mut impl Write) -> anyhow::Result<(bool, Arc<EmbeddedBroker>)> {
        let Self { config, settings, broker, plan, scratch } = self;
        let stop = stop_signal()?;
        let store = crate::config::hide_password(&config.store.url);
        let schema = config.store.schema.clone();
        let producer = Arc::new(EventProducer::new(&config.kafka, "drover-demo", config.limits.record_bytes)?);
        let topic = config.kafka.topics.first().cloned().unwrap_or_default();
        let broker = Arc::new(broker);
        let falling = Arc::clone(&broker);
        let outage: Outage = Arc::new(move |down| falling.set_down(down).map_err(|error| error.to_string()));
        let app = App::start(config, Options { outage: Some(outage), settings, ..Options::default() }).await?;
        writeln!(out, "drover demo: {} events a second, 1 in {} broken", plan.events_per_second, plan.poison_every)?;
        writeln!(out, "  broker  {} (embedded, keeps nothing)", broker.bootstrap_servers())?;
        writeln!(
            out,
            "  store   {store}{}",
            if store.starts_with("sqlite") { String::new() } else { format!(" schema {schema}") }
        )?;
        if let Some(addr) = app.http_addr() {
            writeln!(out, "  page    http://{addr}/")?;
        }
        writeln!(out, "  Ctrl-C drains and prints the receipt")?;
        let sending = tokio::spawn(send(Arc::clone(&producer), topic, plan));
        let shown = tokio::spawn(live::show(app.board()));
        let duration = plan.duration;
        let board = app.board();
        let ended = async move {
            tokio::select! {
                () = stop => {}
                () = async { match duration { Some(time) => tokio::time::sleep(time).await, None => std::future::pending().await } } => {}
            }
            // What was sent is to be seen stored: first the stream ends, then the consumers drain.
            sending.abort();
            let flushing = Arc::clone(&producer);
            let flushed = tokio::task::spawn_blocking(move || flushing.flush(FLUSH_TIMEOUT)).await;
            if !matches!(flushed, Ok(Ok(()))) {
                tracing::warn!("some events of the demo were not delivered");
            }
            let delivered = producer.counts().delivered;
            let arrived = async {
                while board.consumers().iter().map(|one| one.stored + one.dead_letters).sum::<u64>() < delivered {
                    tokio::time::sleep(PACE).await;
                }
            };
            // Late ones stay behind, and the receipt says so.
            let _ = tokio::time::timeout(ARRIVAL_TIMEOUT, arrived).await;
        };
        let receipt = app.run_until_stopped(ended).await;
        shown.abort();
        // Its last frame must be gone before the receipt.
        let _ = shown.await;
        print_receipt(&receipt, out)?;
        if let Some(dir) = scratch {
            std::fs::remove_dir_all(&dir).with_context(|| format!("removing {}", dir.display()))?;
        }
        Ok((receipt.is_clean(), broker))
    }
}

/// Sends events at an even pace until it is dropped.
async fn send(producer: Arc<EventProducer>, topic: String, plan: Plan) {
    let mut generator = EventGenerator::new(rand::random(), DEFAULT_EVENT_BYTES);
    let mut poison = PoisonKind::ALL.iter().cycle();
    let mut headers = PackedHeaders::default();
    headers.push(b"drover_source", Some(b"demo"));
    let mut tick = tokio::time::interval(PACE);
    let started = Instant::now();
    let mut sent: u64 = 0;
    loop {
        tick.tick().await;
        let due = u64::try_from(started.elapsed().as_nanos() * u128::from(plan.events_per_second) / 1_000_000_000);
        while sent < due.unwrap_or(u64::MAX) {
            let now_ms = chrono::Utc::now().timestamp_millis();
            let is_poison = plan.poison_every > 0 && (sent + 1).is_multiple_of(plan.poison_every);
            let (event, value) = match if is_poison { poison.next() } else { None } {
                Some(&kind) => generator.next_poison(kind, now_ms),
                None => {
                    let event = generator.next_event(now_ms);
                    (event, Some(event.value.clone()))
                }
            };
            let outgoing = Outgoing {
                topic: &topic,
                partition: None,
                key: Some(event.user_id.as_bytes()),
                value: value.as_deref(),
                headers: &headers,
                timestamp_ms: Some(now_ms),
            };
            match producer.try_send(outgoing) {
                Ok(()) => sent += 1,
                // The broker is behind: what is due is sent later.
                Err(error) if error.kind() == KafkaErrorKind::QueueFull => break,
                Err(error) => {
                    tracing::warn!(error = %error, "an event of the demo was not sent");
                    sent += 1;
                }
            }
        }
    }
}
