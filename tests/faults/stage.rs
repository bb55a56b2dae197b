//! What every row of a run stands on: servers, effort, places for logs, and the signatures of rows and verdicts.

use crate::servers::{Kafka, Postgres, Scripts};
use serde::{Deserialize, Serialize};
use std::future::Future;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

/// What a row found out.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Verdict {
    /// Events sent.
    pub events: i64,
    pub lost: i64,
    pub doubled: i64,
    pub expected_dead_letters: i64,
    pub dead_letters: i64,
    /// Faults that were made to happen.
    pub faults: usize,
    /// Recovery of each fault, in milliseconds, the slowest of its partitions; empty where there is nothing to recover from.
    pub recoveries_ms: Vec<u64>,
    /// What recovery may take.
    pub goal_ms: Option<u64>,
    /// VmHWM of the largest process of drover, in KiB, where memory matters.
    pub peak_rss_kb: Option<u64>,
    /// What else was measured, in words.
    pub notes: Vec<String>,
    /// Everything that should not be. Empty: the row holds.
    pub failures: Vec<String>,
    /// Why the row was not run.
    pub skipped: Option<String>,
}

impl Verdict {
    /// A row that this machine cannot run.
    pub fn skipped(why: &str) -> Self {
        Self { skipped: Some(why.to_owned()), ..Self::default() }
    }

    /// A row that ended before it could be judged.
    pub fn broken(why: String) -> Self {
        Self { failures: vec![why], ..Self::default() }
    }
}

/// What runs a row.
pub type Run = fn(Arc<Stage>) -> Pin<Box<dyn Future<Output = Verdict>>>;

/// A row of the matrix.
pub struct Row {
    pub name: &'static str,
    /// The fault, as the table says it.
    pub fault: &'static str,
    /// Whether it is one of those that every run of the tests makes.
    pub quick: bool,
    pub run: Run,
}

/// A row from an async function of a stage.
#[macro_export]
macro_rules! row {
    ($name:literal, $fault:literal, $run:path) => {
        $crate::row!($name, $fault, $run, false)
    };
    ($name:literal, $fault:literal, $run:path, $quick:literal) => {
        $crate::stage::Row { name: $name, fault: $fault, quick: $quick, run: |stage| Box::pin($run(stage)) }
    };
}

/// See the module.
pub struct Stage {
    pub kafka: Kafka,
    pub postgres: Postgres,
    pub scripts: Scripts,
    /// Fewer repetitions and shorter outages, for the run of every test.
    pub quick: bool,
    /// One directory for each row, with the logs of its processes.
    pub logs: PathBuf,
}

impl Stage {
    /// Starts the servers.
    pub fn start(scripts: Scripts, quick: bool, logs: PathBuf) -> Self {
        std::fs::create_dir_all(&logs).unwrap();
        Self { kafka: Kafka::start(&scripts), postgres: Postgres::start(&scripts), scripts, quick, logs }
    }

    /// `whole` in the matrix, `quick` in the run of every test.
    pub fn either<T>(&self, whole: T, quick: T) -> T {
        if self.quick { quick } else { whole }
    }

    /// How long the load goes on after the last fault.
    pub fn beyond(&self) -> Duration {
        self.either(Duration::from_secs(10), Duration::from_secs(3))
    }

    /// Where a row's processes log; empty at its start.
    pub fn directory(&self, row: &str) -> PathBuf {
        let directory = self.logs.join(row);
        if directory.exists() {
            std::fs::remove_dir_all(&directory).unwrap();
        }
        std::fs::create_dir_all(&directory).unwrap();
        directory
    }

    /// Brings servers back that a row left stopped, so that the next one finds them. Keeps their logs when it failed.
    pub fn tidy(&self, row: &str, failed: bool) {
        self.kafka.start_again();
        self.postgres.start_again();
        if failed {
            let directory = self.logs.join(row);
            keep(&self.kafka.directory().join("logs/kafka.log"), &directory.join("server-kafka.log"));
            keep(&self.postgres.directory().join("postgres.log"), &directory.join("server-postgres.log"));
        }
    }
}

fn keep(from: &Path, to: &Path) {
    if let Err(error) = std::fs::copy(from, to) {
        eprintln!("{} could not be kept: {error}", from.display());
    }
}
