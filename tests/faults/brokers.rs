//! Faults of Kafka's brokers.

use crate::row;
use crate::servers::Kafka;
use crate::stage::{Row, Stage, Verdict};
use crate::timing;
use crate::trial::{PARTITIONS, Trial};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

/// After the broker is back, work goes on so soon.
const GOAL: Duration = Duration::from_secs(5);
/// How long a killed node is away: long enough for the others to take over from it.
const AWAY: Duration = Duration::from_secs(15);

pub fn rows() -> Vec<Row> {
    vec![
        row!("broker-restart", "the only broker stopped (SIGTERM) and started again, 3 times", restart, true),
        row!("broker-crash", "the only broker killed (kill -9), away for 20 s", crash),
        row!("broker-kill", "kill -9 of one node of three after the other (replication 3), each away for 15 s", kill),
    ]
}

async fn restart(stage: Arc<Stage>) -> Verdict {
    let mut trial = Trial::new(Arc::clone(&stage), "broker-restart").await;
    trial.goal(GOAL);
    let drover = trial.started().await;
    for _ in 0..stage.either(3, 1) {
        tokio::time::sleep(Duration::from_secs(3)).await;
        let began = SystemTime::now();
        tokio::task::block_in_place(|| stage.kafka.stop());
        let back = stage.kafka.back().await;
        trial.recovered(began, back).await;
    }
    trial.finish(vec![drover]).await
}

async fn crash(stage: Arc<Stage>) -> Verdict {
    let mut trial = Trial::new(Arc::clone(&stage), "broker-crash").await;
    trial.goal(GOAL);
    let drover = trial.started().await;
    tokio::time::sleep(Duration::from_secs(3)).await;
    let began = SystemTime::now();
    tokio::task::block_in_place(|| stage.kafka.kill());
    tokio::time::sleep(Duration::from_secs(20)).await;
    let back = stage.kafka.back().await;
    trial.recovered(began, back).await;
    trial.finish(vec![drover]).await
}

async fn kill(stage: Arc<Stage>) -> Verdict {
    let nodes = tokio::task::block_in_place(|| Kafka::start_three(&stage.scripts));
    let brokers: Vec<String> = nodes.iter().map(Kafka::address).collect();
    let mut trial = Trial::without_topic(Arc::clone(&stage), "broker-kill", &brokers.join(","));
    trial.create_topic(PARTITIONS, 3, &[]).await;
    trial.goal(GOAL);
    let drover = trial.started().await;
    let mut away = Vec::new();
    for node in &nodes {
        tokio::time::sleep(Duration::from_secs(5)).await;
        let began = SystemTime::now();
        tokio::task::block_in_place(|| node.kill());
        tokio::time::sleep(AWAY).await;
        let back = node.back().await;
        trial.recovered(began, back).await;
        away.push((began, back));
    }
    let client = trial.close(vec![drover]).await;
    let mut longest = Duration::ZERO;
    for (from, to) in away {
        longest = longest.max(timing::longest_pause(&client, from, to).await);
    }
    trial.note(format!("longest pause of a partition while a node is away: {longest:.1?} (the cluster elects other leaders after its session of 9 s)"));
    trial.end(&client).await
}
