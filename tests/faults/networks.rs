//! Faults of the network between drover and its servers: packets vanish, connections are stranded, everything is slow.

use crate::link::Link;
use crate::row;
use crate::stage::{Row, Stage, Verdict};
use crate::support::drover::Drover;
use crate::timing::{self, Fault, Measure};
use crate::trial::{PARTITIONS, RATE, Trial};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

/// After the network is back, work goes on so soon.
const GOAL: Duration = Duration::from_secs(5);
/// A connection that answers nothing is given up so soon: the writer's deadline for a transaction, and some.
const STRANDED_GOAL: Duration = Duration::from_secs(35);
/// Longer than the session of the group, 30 s by default.
const PAST_SESSION: Duration = Duration::from_secs(40);
const OUTAGE: Duration = Duration::from_secs(20);
const SLOW: Duration = Duration::from_secs(30);
/// Each way.
const DELAY: Duration = Duration::from_millis(100);

pub fn rows() -> Vec<Row> {
    vec![
        row!("postgres-swallow", "the network to PostgreSQL swallows packets for 20 s", postgres_swallow),
        row!(
            "postgres-stranded",
            "connections to PostgreSQL answer nothing any more and stay open; new ones work",
            postgres_stranded
        ),
        row!("postgres-slow", "the network to PostgreSQL takes 100 ms each way for 30 s", postgres_slow),
        row!("kafka-swallow", "the network to Kafka swallows packets for 20 s", kafka_swallow),
        row!(
            "kafka-swallow-long",
            "the network to Kafka swallows packets for 40 s, longer than the session",
            kafka_swallow_long
        ),
        row!(
            "kafka-stranded",
            "connections to Kafka answer nothing any more and stay open; new ones work",
            kafka_stranded
        ),
        row!("kafka-slow", "the network to Kafka takes 100 ms each way for 30 s", kafka_slow),
    ]
}

/// A trial whose drover reaches PostgreSQL through a link.
async fn to_postgres(stage: &Arc<Stage>, row: &str) -> (Trial, Link, Drover) {
    let mut trial = Trial::new(Arc::clone(stage), row).await;
    let link = Link::to(stage.postgres.address(), 0).await;
    trial.database_url = stage.postgres.url_at(link.port);
    let drover = start(&mut trial).await;
    (trial, link, drover)
}

/// A trial whose drover reaches Kafka through a link.
async fn to_kafka(stage: &Arc<Stage>, row: &str) -> (Trial, Link, Drover) {
    let mut trial = Trial::new(Arc::clone(stage), row).await;
    let (listener, port) = stage.kafka.linked();
    let link = Link::to(listener, port).await;
    trial.brokers = format!("127.0.0.1:{port}");
    let drover = start(&mut trial).await;
    (trial, link, drover)
}

async fn start(trial: &mut Trial) -> Drover {
    let drover = trial.started().await;
    tokio::time::sleep(Duration::from_secs(2)).await;
    drover
}

async fn postgres_swallow(stage: Arc<Stage>) -> Verdict {
    let (trial, link, drover) = to_postgres(&stage, "postgres-swallow").await;
    swallow(trial, link, drover, OUTAGE).await
}

async fn kafka_swallow(stage: Arc<Stage>) -> Verdict {
    let (trial, link, drover) = to_kafka(&stage, "kafka-swallow").await;
    swallow(trial, link, drover, OUTAGE).await
}

async fn kafka_swallow_long(stage: Arc<Stage>) -> Verdict {
    let (trial, link, drover) = to_kafka(&stage, "kafka-swallow-long").await;
    swallow(trial, link, drover, PAST_SESSION).await
}

async fn swallow(mut trial: Trial, link: Link, drover: Drover, outage: Duration) -> Verdict {
    trial.goal(GOAL);
    let began = SystemTime::now();
    link.swallow(true);
    tokio::time::sleep(outage).await;
    let ended = SystemTime::now();
    link.swallow(false);
    trial.recovered(began, ended).await;
    trial.finish(vec![drover]).await
}

async fn postgres_stranded(stage: Arc<Stage>) -> Verdict {
    let (trial, link, drover) = to_postgres(&stage, "postgres-stranded").await;
    stranded(trial, link, drover).await
}

async fn kafka_stranded(stage: Arc<Stage>) -> Verdict {
    let (trial, link, drover) = to_kafka(&stage, "kafka-stranded").await;
    stranded(trial, link, drover).await
}

/// The network works again at once, so recovery counts from the fault itself.
async fn stranded(mut trial: Trial, link: Link, drover: Drover) -> Verdict {
    trial.goal(STRANDED_GOAL);
    let began = SystemTime::now();
    link.strand();
    // What was on its way already may still be stored; the pause that follows is what counts.
    let measure = Measure::LongestPause(Duration::from_secs(5));
    tokio::time::sleep(Duration::from_secs(5)).await;
    let ended = SystemTime::now();
    trial.recovered_by(Fault { began, ended, affected: Trial::all(), measure }).await;
    trial.finish(vec![drover]).await
}

async fn postgres_slow(stage: Arc<Stage>) -> Verdict {
    let (trial, link, drover) = to_postgres(&stage, "postgres-slow").await;
    slow(trial, link, drover).await
}

async fn kafka_slow(stage: Arc<Stage>) -> Verdict {
    let (trial, link, drover) = to_kafka(&stage, "kafka-slow").await;
    slow(trial, link, drover).await
}

async fn slow(mut trial: Trial, link: Link, drover: Drover) -> Verdict {
    trial.goal(GOAL);
    let began = SystemTime::now();
    link.delay(DELAY);
    tokio::time::sleep(SLOW).await;
    let ended = SystemTime::now();
    link.delay(Duration::ZERO);
    trial.recovered(began, ended).await;
    let client = trial.close(vec![drover]).await;
    let all: Vec<i32> = (0..PARTITIONS).collect();
    let rate = timing::rate(&client, &all, began + Duration::from_secs(5), ended).await;
    trial.note(format!("{rate:.0} rows/s stored while slow, of {RATE} sent"));
    trial.end(&client).await
}
