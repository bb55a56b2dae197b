//! Memory when there is more to store than can be stored.

use crate::row;
use crate::stage::{Row, Stage, Verdict};
use crate::trial::{RATE, Trial};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

const GOAL: Duration = Duration::from_secs(5);
/// `limits.memory` where nothing else is set.
const MEMORY: u64 = 128_000_000;
const AWAY: Duration = Duration::from_secs(60);
/// Events that wait before drover starts: more than it stores until the database goes.
const BACKLOG: usize = 1_000_000;
const PATIENCE: Duration = Duration::from_secs(120);

pub fn rows() -> Vec<Row> {
    vec![row!(
        "memory",
        "PostgreSQL away for 60 s (immediate stop) with 1,000,000 events waiting; memory against `limits.memory`, 128 MB",
        memory
    )]
}

async fn memory(stage: Arc<Stage>) -> Verdict {
    let mut trial = Trial::new(Arc::clone(&stage), "memory").await;
    trial.goal(GOAL);
    trial.load().await;
    trial.loads()[0].set_rate(20 * RATE);
    let deadline = Instant::now() + PATIENCE;
    while trial.confirmed() < BACKLOG {
        assert!(Instant::now() < deadline, "only {} events in {PATIENCE:?}", trial.confirmed());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    trial.loads()[0].set_rate(RATE);
    let drover = trial.run().start("drover");
    trial.until_flowing().await;
    let began = SystemTime::now();
    tokio::task::block_in_place(|| stage.postgres.crash());
    let before = trial.weigh(&drover);
    tokio::time::sleep(AWAY).await;
    let away = trial.weigh(&drover);
    let back = stage.postgres.back().await;
    trial.recovered(began, back).await;
    while trial.database.accounted(&trial.topic).await < i64::try_from(BACKLOG).unwrap()
        && Instant::now() < deadline + PATIENCE
    {
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let peak = trial.weigh(&drover) * 1_024;
    let megabytes = |kb: u64| kb as f64 * 1_024.0 / 1e6;
    trial.note(format!(
        "peak RSS {:.0} MB when the database went, {:.0} MB when it came back",
        megabytes(before),
        megabytes(away)
    ));
    trial.expect(peak <= MEMORY, || format!("peak RSS {peak} bytes, limits.memory is {MEMORY}"));
    trial.finish(vec![drover]).await
}
