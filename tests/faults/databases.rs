//! Faults of PostgreSQL: it stops, crashes, is full, refuses, or makes drover wait.

use crate::row;
use crate::stage::{Row, Stage, Verdict};
use crate::support::proxy::{CutAt, Proxy};
use crate::trial::Trial;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

/// After the database is back, work goes on so soon.
const GOAL: Duration = Duration::from_secs(5);

pub fn rows() -> Vec<Row> {
    vec![
        row!("postgres-restart", "PostgreSQL stopped (fast) and started again, 3 times", restart),
        row!("postgres-crash", "PostgreSQL stopped (immediate), away for 20 s", crash, true),
        row!("commit-cut", "COMMIT whose answer is cut off, 200 times", commit_cut, true),
    ]
}

async fn restart(stage: Arc<Stage>) -> Verdict {
    let mut trial = Trial::new(Arc::clone(&stage), "postgres-restart").await;
    trial.goal(GOAL);
    let drover = trial.started().await;
    for _ in 0..3 {
        tokio::time::sleep(Duration::from_secs(3)).await;
        let began = SystemTime::now();
        tokio::task::block_in_place(|| stage.postgres.stop());
        let back = stage.postgres.back().await;
        trial.recovered(began, back).await;
    }
    trial.finish(vec![drover]).await
}

async fn crash(stage: Arc<Stage>) -> Verdict {
    let mut trial = Trial::new(Arc::clone(&stage), "postgres-crash").await;
    trial.goal(GOAL);
    let drover = trial.started().await;
    tokio::time::sleep(Duration::from_secs(3)).await;
    let began = SystemTime::now();
    tokio::task::block_in_place(|| stage.postgres.crash());
    tokio::time::sleep(stage.either(Duration::from_secs(20), Duration::from_secs(6))).await;
    let back = stage.postgres.back().await;
    trial.recovered(began, back).await;
    trial.weigh(&drover);
    trial.finish(vec![drover]).await
}

async fn commit_cut(stage: Arc<Stage>) -> Verdict {
    let cuts: usize = stage.either(200, 30);
    let mut trial = Trial::new(Arc::clone(&stage), "commit-cut").await;
    let proxy = Proxy::cutting(stage.postgres.address(), CutAt::Answer, 0).await;
    trial.database_url = stage.postgres.url_at(proxy.port);
    let drover = trial.started().await;
    let deadline = Instant::now() + Duration::from_secs(180);
    let began = SystemTime::now();
    let mut left = cuts;
    // Now and then, so that work goes on between two cuts and each meets a batch.
    while left > 0 && Instant::now() < deadline {
        if proxy.cuts_left() == 0 {
            proxy.cut_commits(1);
            left -= 1;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    trial.expect(left == 0, || format!("only {} of {cuts} answers were cut", cuts - left));
    trial.recovered(began, SystemTime::now()).await;
    trial.note(format!("{} answers cut", cuts - left));
    trial.finish(vec![drover]).await
}
