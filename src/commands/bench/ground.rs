//! What a benchmark makes and removes again: topics, groups, schemas or files, a process, a directory for its log.
//!
//! One [`Stage`] at a time: the store and the group of one run. Every name begins with `drover-bench-` or `drover_bench_`, and
//! nothing else is ever removed. What cannot be removed is said and left; with `--keep` all of it is.

use super::child::{Drover, Setup, dead_letter_topic};
use crate::config::{Config, StoreConfig};
use crate::kafka::topics::TopicAdmin;
use crate::store::bench::{self, BenchSession, NAME_PREFIX, ServerFacts};
use crate::store::{self, Store};
use anyhow::Context as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Longest wait for one answer of the cluster.
const ASK_TIMEOUT: Duration = Duration::from_secs(10);
/// Above this size of an event a topic must be told to take larger records than brokers do by default.
const LARGE_EVENT_BYTES: u64 = 500_000;
/// Pause between two tries to delete a group.
const DELETE_PAUSE: Duration = Duration::from_millis(250);
/// How long the coordinator may take to see that a member's session is over.
const SESSION_MARGIN: Duration = Duration::from_secs(5);

/// See the module.
pub struct Ground<'a> {
    /// The configuration of this process.
    pub config: &'a Config,
    config_file: Option<&'a Path>,
    keep: bool,
    /// Part of the names of all that is made.
    pub id: String,
    stages: u32,
    /// `None` where no broker is needed.
    admin: Option<TopicAdmin>,
    topics: Vec<String>,
    stage: Option<Stage>,
    directory: PathBuf,
}

/// The store, the group and the process of one run.
pub struct Stage {
    /// The store that is measured, as the configuration of this process has it but for its schema or file.
    pub config: StoreConfig,
    /// The group.
    pub group: String,
    /// The session that measures.
    pub session: Box<dyn BenchSession>,
    /// What the server says of itself.
    pub facts: ServerFacts,
    /// The process that is measured.
    pub child: Option<Drover>,
    /// Whether there ever was one, so that the group may exist.
    pub ran: bool,
}

impl<'a> Ground<'a> {
    /// Makes the directory and, where `with_kafka`, the client that makes topics.
    ///
    /// # Errors
    /// One of them cannot be made.
    pub fn new(
        config: &'a Config,
        config_file: Option<&'a Path>,
        keep: bool,
        with_kafka: bool,
    ) -> anyhow::Result<Self> {
        let id = uuid::Uuid::new_v4().simple().to_string()[..8].to_owned();
        let directory = std::env::temp_dir().join(format!("drover-bench-{id}"));
        std::fs::create_dir_all(&directory).with_context(|| format!("making {}", directory.display()))?;
        let admin = if with_kafka { Some(TopicAdmin::new(&config.kafka, ASK_TIMEOUT)?) } else { None };
        Ok(Self { config, config_file, keep, id, stages: 0, admin, topics: Vec::new(), stage: None, directory })
    }

    /// Makes a topic for events of so many bytes and gives back its name.
    ///
    /// # Errors
    /// The brokers do not answer or refuse.
    pub async fn create_topic(&mut self, partitions: i32, event_bytes: u64) -> anyhow::Result<String> {
        let topic = format!("drover-bench-{}-{}", self.id, self.topics.len() + 1);
        let admin = self.admin.as_ref().context("no broker is needed for this benchmark")?;
        let mut settings = Vec::new();
        if event_bytes > LARGE_EVENT_BYTES {
            settings.push(("max.message.bytes".to_owned(), (event_bytes * 2).to_string()));
        }
        // It says soonest, and best, when no broker answers.
        admin.partition_count(&topic).await?;
        // Before it is made, so that it is removed whatever happens.
        self.topics.push(topic.clone());
        admin.create(&topic, partitions, self.config.kafka.replication, &settings).await?;
        Ok(topic)
    }

    /// Makes a store for the next run, migrated, and its session. The store is for what the run itself has to write.
    ///
    /// # Errors
    /// The store does not answer or refuses.
    pub async fn set_stage(&mut self) -> anyhow::Result<(&mut Stage, Arc<dyn Store>)> {
        self.stages += 1;
        let number = self.stages;
        let name = format!("{NAME_PREFIX}{}_{number}", self.id);
        let mut config = self.config.store.clone();
        match config.url.strip_prefix("sqlite:") {
            // Beside the configured file, so that it lies on the same disk.
            Some(path) => {
                let path = Path::new(path).with_file_name(format!("{name}.db"));
                config.url = format!("sqlite:{}", path.display());
            }
            None => config.schema = name,
        }
        let store = store::open(&config)?;
        let session = bench::open(&config).await?;
        let group = format!("drover-bench-{}-{number}", self.id);
        let facts = ServerFacts::default();
        // Before anything is made, so that it is removed whatever happens.
        let stage = self.stage.insert(Stage { config, group, session, facts, child: None, ran: false });
        store.migrate().await?;
        stage.facts = stage.session.facts().await?;
        Ok((stage, store))
    }

    /// The stage of the present run.
    ///
    /// # Errors
    /// There is none.
    pub fn stage(&mut self) -> anyhow::Result<&mut Stage> {
        self.stage.as_mut().context("no run of the benchmark is under way")
    }

    /// Starts `drover run` on the stage.
    ///
    /// # Errors
    /// It cannot be started.
    pub fn start(&mut self, topic: &str) -> anyhow::Result<&mut Stage> {
        let stage = self.stage.as_mut().context("the stage is set before anything is started on it")?;
        let setup = Setup {
            config: self.config,
            config_file: self.config_file,
            store: &stage.config,
            topic,
            group: &stage.group,
            directory: &self.directory,
        };
        stage.child = Some(Drover::start(&setup)?);
        stage.ran = true;
        Ok(stage)
    }

    /// Stops the process and removes the store and the group of the run.
    pub async fn clear_stage(&mut self) {
        let Some(Stage { config, group, mut session, child, ran, .. }) = self.stage.take() else { return };
        if let Some(child) = child
            && let Err(error) = child.stop().await
        {
            tracing::warn!("{error:#}");
        }
        let place = if config.url.starts_with("sqlite:") { config.url.clone() } else { config.schema };
        if self.keep {
            eprintln!("kept: {place}{}", if ran { format!(", group {group}") } else { String::new() });
            return;
        }
        if let Err(error) = session.remove().await {
            tracing::warn!(error = %error, "{place} could not be removed");
        }
        if ran {
            self.delete_group(&group).await;
        }
    }

    /// A member that was stopped while it joined leaves nobody a word: its session must be over first.
    async fn delete_group(&self, group: &str) {
        let Some(admin) = &self.admin else { return };
        let deadline = Instant::now() + self.config.kafka.session_timeout + SESSION_MARGIN;
        let mut said = false;
        while let Err(error) = admin.delete(&[], &[group]).await {
            if Instant::now() > deadline {
                return tracing::warn!(error = %error, "group {group} could not be deleted");
            }
            if !std::mem::replace(&mut said, true) {
                tracing::info!(error = %error, "waiting until group {group} can be deleted");
            }
            tokio::time::sleep(DELETE_PAUSE).await;
        }
    }

    /// Removes all that is left.
    pub async fn clear(mut self) {
        self.clear_stage().await;
        let dead: Vec<String> = self.topics.iter().map(|topic| dead_letter_topic(topic)).collect();
        if self.keep {
            for topic in &self.topics {
                eprintln!("kept: topic {topic}");
            }
            eprintln!("kept: {}", self.directory.display());
        } else {
            let all: Vec<&str> = self.topics.iter().chain(&dead).map(String::as_str).collect();
            if let Some(admin) = self.admin.as_ref().filter(|_| !all.is_empty())
                && let Err(error) = admin.delete(&all, &[]).await
            {
                tracing::warn!(error = %error, "the topics of the benchmark could not be deleted");
            }
            if let Err(error) = std::fs::remove_dir_all(&self.directory) {
                tracing::warn!(error = %error, "{} could not be removed", self.directory.display());
            }
        }
        // Dropping its clients blocks for a moment.
        let admin = self.admin.take();
        let _ = tokio::task::spawn_blocking(move || drop(admin)).await;
    }
}
