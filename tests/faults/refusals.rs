//! A PostgreSQL that answers and does not do it: no connections left, no disk left, read-only, or somebody holds a lock.

use crate::row;
use crate::stage::{Row, Stage, Verdict};
use crate::support::database::Database;
use crate::support::drover::Drover;
use crate::timing;
use crate::trial::Trial;
use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};
use tokio_postgres::{Client, NoTls};

/// After the refusal ends, work goes on so soon.
const GOAL: Duration = Duration::from_secs(5);
const OUTAGE: Duration = Duration::from_secs(15);
const PATIENCE: Duration = Duration::from_secs(60);
/// What was on its way when the refusal began is through after so long.
const SETTLED: Duration = Duration::from_secs(1);

pub fn rows() -> Vec<Row> {
    vec![
        row!("connections", "all connections of PostgreSQL taken by others for 15 s, drover's own ended", connections),
        row!("backends", "drover's sessions ended by an administrator (pg_terminate_backend), 30 times", backends),
        row!("disk-full", "the disk of the table is full for 15 s", disk_full),
        row!("read-only", "PostgreSQL read-only for 15 s (default_transaction_read_only)", read_only),
        row!("lock-positions", "somebody holds a lock on the positions for 15 s", lock_positions),
        row!("lock-events", "somebody holds a lock on the table of events for 15 s", lock_events),
    ]
}

async fn superuser(stage: &Stage) -> Client {
    let (client, connection) = tokio_postgres::connect(&stage.postgres.superuser_url(), NoTls).await.unwrap();
    tokio::spawn(connection);
    client
}

async fn started(stage: &Arc<Stage>, row: &str) -> (Trial, Drover) {
    let mut trial = Trial::new(Arc::clone(stage), row).await;
    trial.goal(GOAL);
    let drover = trial.started().await;
    tokio::time::sleep(Duration::from_secs(3)).await;
    (trial, drover)
}

/// Ends a trial in which nothing can have been stored between two times: else the fault was none.
async fn finish(mut trial: Trial, drover: Drover, from: SystemTime, to: SystemTime) -> Verdict {
    let client = trial.close(vec![drover]).await;
    let rate = timing::rate(&client, &Trial::all(), from + SETTLED, to).await;
    trial.expect(rate == 0.0, || format!("{rate:.0} rows/s were stored while the store refused: the fault was none"));
    trial.end(&client).await
}

/// Waits until drover says that it is not ready because of the store, so that the fault is known to have met it.
async fn until_red(trial: &mut Trial, drover: &Drover) {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let reasons = drover.not_ready().await.unwrap_or_default();
        if reasons.iter().any(|reason| reason.contains("breaker")) {
            return;
        }
        if Instant::now() > deadline {
            return trial.fail(format!("the breaker never opened; readiness says {reasons:?}"));
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

async fn connections(stage: Arc<Stage>) -> Verdict {
    let (mut trial, drover) = started(&stage, "connections").await;
    let administrator = superuser(&stage).await;
    let began = SystemTime::now();
    let mut taken = Vec::new();
    let deadline = Instant::now() + PATIENCE;
    // Whatever drover gives up is taken, until it has nothing left.
    loop {
        while let Ok((client, connection)) = tokio_postgres::connect(&stage.postgres.url(), NoTls).await {
            taken.push((client, tokio::spawn(connection)));
        }
        let sql = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE application_name LIKE 'drover%'";
        if administrator.query_one(sql, &[]).await.unwrap().get::<_, i64>(0) == 0 {
            break;
        }
        if Instant::now() > deadline {
            trial.fail("drover's connections could not be taken".to_owned());
            break;
        }
    }
    until_red(&mut trial, &drover).await;
    let refused = SystemTime::now();
    tokio::time::sleep(OUTAGE).await;
    let ended = SystemTime::now();
    trial.note(format!("{} connections taken", taken.len()));
    drop(taken);
    trial.recovered(began, ended).await;
    finish(trial, drover, refused, ended).await
}

async fn backends(stage: Arc<Stage>) -> Verdict {
    let (mut trial, drover) = started(&stage, "backends").await;
    let administrator = superuser(&stage).await;
    let mut ended_sessions = 0;
    for time in 0..30 {
        tokio::time::sleep(Duration::from_millis(300 + time * 61 % 400)).await;
        let began = SystemTime::now();
        let sql = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE application_name LIKE 'drover%'";
        ended_sessions += administrator.query_one(sql, &[]).await.unwrap().get::<_, i64>(0);
        trial.recovered(began, SystemTime::now()).await;
    }
    trial.note(format!("{ended_sessions} sessions ended"));
    trial.finish(vec![drover]).await
}

/// A file system that is removed when it is dropped.
struct SmallDisk {
    path: PathBuf,
}

impl SmallDisk {
    fn mount(megabytes: u32) -> Self {
        let path = PathBuf::from(format!("/tmp/drover-faults-full-{}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        let disk = Self { path };
        disk.run("mount", &["-t", "tmpfs", "-o", &format!("size={megabytes}m,mode=777"), "tmpfs"]);
        disk
    }

    fn grow(&self, megabytes: u32) {
        self.run("mount", &["-o", &format!("remount,size={megabytes}m,mode=777")]);
    }

    fn run(&self, program: &str, args: &[&str]) {
        let status = Command::new(program).args(args).arg(&self.path).status().unwrap();
        assert!(status.success(), "{program} {args:?} {}", self.path.display());
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(&self.path).status();
        let _ = std::fs::remove_dir(&self.path);
    }
}

async fn disk_full(stage: Arc<Stage>) -> Verdict {
    let is_root = Command::new("id").arg("-u").output().is_ok_and(|output| output.stdout == b"0\n");
    if !is_root {
        return Verdict::skipped("only root may mount the small disk");
    }
    // Declared first, so that it goes last.
    let disk = SmallDisk::mount(64);
    let (mut trial, drover) = started(&stage, "disk-full").await;
    let administrator = superuser(&stage).await;
    let place = disk.path.join("tablespace");
    std::fs::create_dir(&place).unwrap();
    assert!(Command::new("chown").arg("postgres").arg(&place).status().unwrap().success());
    let schema = trial.database.schema().to_owned();
    let began = SystemTime::now();
    administrator.batch_execute(&format!("CREATE TABLESPACE small LOCATION '{}'", place.display())).await.unwrap();
    // It waits for drover's transactions, and they for it.
    administrator.batch_execute(&format!("ALTER TABLE {schema}.events SET TABLESPACE small")).await.unwrap();
    until_red(&mut trial, &drover).await;
    let full = SystemTime::now();
    tokio::time::sleep(OUTAGE).await;
    let ended = SystemTime::now();
    disk.grow(4_096);
    trial.recovered(began, ended).await;
    let said = drover.logged("53100");
    trial.expect(said > 0, || "the disk was never full (no SQLSTATE 53100 in the log)".to_owned());
    trial
        .note(format!("full {:.0?} after the load met the small disk", full.duration_since(began).unwrap_or_default()));
    let verdict = finish(trial, drover, full, ended).await;
    // A schema that was kept for a failure would keep the disk busy.
    let leftover = format!("DROP SCHEMA IF EXISTS {schema} CASCADE");
    administrator.batch_execute(&leftover).await.unwrap();
    administrator.batch_execute("DROP TABLESPACE small").await.unwrap();
    verdict
}

async fn read_only(stage: Arc<Stage>) -> Verdict {
    let (mut trial, drover) = started(&stage, "read-only").await;
    let administrator = superuser(&stage).await;
    let set = async |sql: &str| {
        administrator.batch_execute(sql).await.unwrap();
        administrator.batch_execute("SELECT pg_reload_conf()").await.unwrap();
    };
    let began = SystemTime::now();
    set("ALTER SYSTEM SET default_transaction_read_only = on").await;
    until_red(&mut trial, &drover).await;
    let refused = SystemTime::now();
    tokio::time::sleep(OUTAGE).await;
    // This session is one of those that may only read.
    administrator.batch_execute("SET default_transaction_read_only = off").await.unwrap();
    let ended = SystemTime::now();
    set("ALTER SYSTEM RESET default_transaction_read_only").await;
    trial.recovered(began, ended).await;
    finish(trial, drover, refused, ended).await
}

async fn lock_positions(stage: Arc<Stage>) -> Verdict {
    locked(stage, "lock-positions", "SELECT 1 FROM partition_progress FOR UPDATE").await
}

async fn lock_events(stage: Arc<Stage>) -> Verdict {
    locked(stage, "lock-events", "LOCK TABLE events IN ACCESS EXCLUSIVE MODE").await
}

async fn locked(stage: Arc<Stage>, row: &str, lock: &str) -> Verdict {
    let (mut trial, drover) = started(&stage, row).await;
    let holder = Database::of(&stage.postgres.superuser_url(), trial.database.schema()).connect().await;
    let began = SystemTime::now();
    holder.batch_execute(&format!("BEGIN; {lock}")).await.unwrap();
    tokio::time::sleep(OUTAGE).await;
    let ended = SystemTime::now();
    let released = holder.batch_execute("ROLLBACK").await;
    trial.expect(released.is_ok(), || format!("the session that held the lock was ended: {released:?}"));
    trial.recovered(began, ended).await;
    finish(trial, drover, began, ended).await
}
