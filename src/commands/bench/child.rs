//! The `drover run` that is measured: a process of its own, so that what it costs is the drain's alone.
//!
//! It runs with the settings of this process, less what a benchmark must decide: where it reads and writes, that it answers
//! HTTP on a free port of loopback, and that it reads the made-up events as they are. Bounds: [`START_TIMEOUT`] until it
//! answers, `shutdown.grace` and [`STOP_MARGIN`] until it has stopped; then it is killed. It is killed with this one's handle,
//! but outlives a benchmark that is itself killed at once (SIGKILL). When it ends by itself, the error holds the last lines of its log.

use crate::client::Client;
use crate::config::{Config, StoreConfig, keys};
use crate::domain::status::ConsumerStatus;
use anyhow::{Context as _, bail};
use rustix::process::{Pid, Signal, kill_process};
use serde::Deserialize;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// How long it may take until it answers HTTP.
const START_TIMEOUT: Duration = Duration::from_secs(60);
/// How long it may take longer to stop than its grace.
const STOP_MARGIN: Duration = Duration::from_secs(20);
/// Time between two looks at it.
const LOOK_AGAIN: Duration = Duration::from_millis(20);
/// How long the receipts of what is stored may take.
const RECEIPT_TIMEOUT: Duration = Duration::from_secs(2);
/// Lines of its log that an error shows.
const LOG_LINES: usize = 8;

/// What a process is started for.
pub struct Setup<'a> {
    /// The configuration of this process.
    pub config: &'a Config,
    /// The file that `--config` names.
    pub config_file: Option<&'a Path>,
    /// Where it writes.
    pub store: &'a StoreConfig,
    /// What it reads.
    pub topic: &'a str,
    /// Its group.
    pub group: &'a str,
    /// Where its log goes.
    pub directory: &'a Path,
}

/// See the module.
pub struct Drover {
    child: Child,
    log: PathBuf,
    token: Option<String>,
    client: Option<Client>,
    grace: Duration,
    /// When it was started.
    pub started: Instant,
}

/// What of `/api/v1/status` is looked at.
#[derive(Debug, Deserialize)]
pub struct Status {
    /// Its consumers.
    pub consumers: Vec<ConsumerStatus>,
    /// Whether all is well.
    pub readiness: Readiness,
}

/// Whether all is well, and why not.
#[derive(Debug, Deserialize)]
pub struct Readiness {
    /// Whether all is well.
    pub ready: bool,
    /// What is not.
    pub reasons: Vec<String>,
}

impl Setup<'_> {
    /// The settings that a benchmark decides, whatever the configuration says.
    fn settings(&self) -> Vec<(&'static str, String)> {
        let store = self.store;
        let mut settings = vec![
            ("kafka.brokers", self.config.kafka.brokers.clone()),
            ("kafka.topics", self.topic.to_owned()),
            ("kafka.group", self.group.to_owned()),
            ("store.url", store.url.clone()),
            ("store.schema", store.schema.clone()),
            ("store.writers", store.writers.to_string()),
            // A name without {topic} would be the topic of somebody's own dead letters.
            ("dead_letters.topic", dead_letter_topic("{topic}")),
        ];
        settings.extend(
            [
                ("kafka.start_from", "earliest"),
                ("kafka.create_topics", "false"),
                ("store.migrate", "true"),
                ("events.event_type", "event_type"),
                ("events.user_id", "user_id"),
                ("events.element_id", "element_id"),
                ("events.timestamp", "timestamp"),
                ("events.required", "event_type"),
                ("events.store_tombstones", "false"),
                ("drills.enabled", "false"),
                ("http.enabled", "true"),
                ("http.addr", "127.0.0.1:0"),
                // The group is deleted afterwards, which its members must have left.
                ("shutdown.leave", "true"),
                // Where it listens is read from its log.
                ("log.filter", "info"),
                ("log.format", "json"),
            ]
            .map(|(key, value)| (key, value.to_owned())),
        );
        settings
    }
}

/// The dead-letter topic of a benchmark's topic.
#[must_use]
pub fn dead_letter_topic(topic: &str) -> String {
    format!("{topic}.dlq")
}

/// The name of a setting in the environment.
fn variable(path: &str) -> String {
    let segments: Vec<&str> = path.split('.').collect();
    let found = keys::find(&segments).and_then(|(key, path)| key.environment_name(&path));
    found.expect("every setting named here is one of the table and has a name in the environment")
}

impl Drover {
    /// Starts it.
    ///
    /// # Errors
    /// The program or its log cannot be opened.
    pub fn start(setup: &Setup<'_>) -> anyhow::Result<Self> {
        let program = std::env::current_exe().context("finding the program that runs")?;
        let log = setup.directory.join(format!("{}.log", setup.group));
        let file = File::create(&log).with_context(|| format!("making the log {}", log.display()))?;
        let mut command = Command::new(&program);
        if let Some(file) = setup.config_file {
            command.arg("--config").arg(file);
        }
        // As a flag, because it wins over names of consumers in the environment.
        command.args(["run", "--consumers", &setup.config.consumers.ids.len().to_string()]);
        command.envs(setup.settings().into_iter().map(|(path, value)| (variable(path), value)));
        let child = command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(file)
            .spawn()
            .with_context(|| format!("starting {} run", program.display()))?;
        let (token, grace) = (setup.config.http.token.clone(), setup.config.shutdown.grace);
        Ok(Self { child, log, token, client: None, grace, started: Instant::now() })
    }

    /// Its process id.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// # Errors
    /// It has ended.
    pub fn check_alive(&mut self) -> anyhow::Result<()> {
        match self.child.try_wait().context("looking at the process that is measured")? {
            None => Ok(()),
            Some(status) => bail!("`drover run` ended ({status}); it said last:\n{}", self.last_lines()),
        }
    }

    /// The end of its log.
    #[must_use]
    pub fn last_lines(&self) -> String {
        let log = std::fs::read_to_string(&self.log).unwrap_or_default();
        let lines: Vec<&str> = log.lines().collect();
        lines[lines.len().saturating_sub(LOG_LINES)..].join("\n")
    }

    /// The client of its API, once it listens.
    ///
    /// # Errors
    /// It does not within [`START_TIMEOUT`], or has ended.
    pub async fn client(&mut self) -> anyhow::Result<&Client> {
        let deadline = Instant::now() + START_TIMEOUT;
        while self.client.is_none() {
            self.check_alive()?;
            match self.address() {
                Some(url) => self.client = Some(Client::new(&url, self.token.as_deref(), "drover bench")?),
                None if Instant::now() > deadline => {
                    bail!("`drover run` did not listen within {START_TIMEOUT:?}; it said last:\n{}", self.last_lines())
                }
                None => tokio::time::sleep(LOOK_AGAIN).await,
            }
        }
        Ok(self.client.as_ref().expect("it was set just now"))
    }

    /// Where it listens, as its log says.
    fn address(&self) -> Option<String> {
        let log = std::fs::read_to_string(&self.log).ok()?;
        log.lines().find_map(|line| {
            let line: serde_json::Value = serde_json::from_str(line).ok()?;
            line["url"].as_str().map(str::to_owned)
        })
    }

    /// What it says of itself.
    ///
    /// # Errors
    /// It does not answer, or has ended.
    pub async fn status(&mut self) -> anyhow::Result<Status> {
        self.check_alive()?;
        Ok(self.client().await?.get(&["status"]).await?)
    }

    /// Committed batches since it started; `stored` are the rows and dead letters that must be in them. A batch is counted
    /// when its receipt comes, a moment after its rows can be seen.
    ///
    /// # Errors
    /// It does not answer, or has ended.
    pub async fn transactions(&mut self, stored: u64) -> anyhow::Result<u64> {
        let deadline = Instant::now() + RECEIPT_TIMEOUT;
        loop {
            let text = self.client().await?.metrics().await?;
            let value = |name: &str| {
                let found = text.lines().find_map(|line| line.strip_prefix(name)?.trim().parse::<f64>().ok());
                found.map(|value| value as u64).with_context(|| format!("`drover run` has no metric {name}"))
            };
            let batches = value("drover_store_batch_rows_count")?;
            if value("drover_store_batch_rows_sum")? >= stored || Instant::now() > deadline {
                return Ok(batches);
            }
            tokio::time::sleep(LOOK_AGAIN).await;
        }
    }

    /// Waits until all partitions are owned, each consumer has its share, and (where `ready`) nothing else is amiss.
    ///
    /// # Errors
    /// It ended, or it does not come to that within [`START_TIMEOUT`] and a second for each consumer.
    pub async fn until_owned(&mut self, consumers: usize, partitions: usize, ready: bool) -> anyhow::Result<()> {
        let seconds = u64::try_from(consumers).unwrap_or(u64::MAX);
        let deadline = Instant::now() + START_TIMEOUT + Duration::from_secs(seconds);
        loop {
            let status = self.status().await?;
            let owned: Vec<usize> = status.consumers.iter().map(|consumer| consumer.partitions.len()).collect();
            let shared = owned.len() == consumers && owned.iter().all(|&count| count >= partitions / consumers);
            if shared && owned.iter().sum::<usize>() == partitions && (status.readiness.ready || !ready) {
                return Ok(());
            }
            if Instant::now() > deadline {
                let reasons = status.readiness.reasons.join("; ");
                bail!("the group did not come together: its consumers own {owned:?} partitions; {reasons}");
            }
            tokio::time::sleep(LOOK_AGAIN).await;
        }
    }

    /// Asks it to stop and waits for its end.
    ///
    /// # Errors
    /// It had to be killed.
    pub async fn stop(mut self) -> anyhow::Result<()> {
        let deadline = Instant::now() + self.grace + STOP_MARGIN;
        // Where it has ended already, its end is found below.
        let _ = kill_process(Pid::from_child(&self.child), Signal::TERM);
        while self.child.try_wait().context("waiting for the end of `drover run`")?.is_none() {
            if Instant::now() > deadline {
                bail!("`drover run` did not stop in time and was killed; it said last:\n{}", self.last_lines());
            }
            tokio::time::sleep(LOOK_AGAIN).await;
        }
        Ok(())
    }
}

impl Drop for Drover {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn settings_have_their_names_in_the_environment() {
        assert_eq!(super::variable("store.url"), "DROVER_STORE_URL");
        assert_eq!(super::variable("events.store_tombstones"), "DROVER_EVENTS_STORE_TOMBSTONES");
    }
}
