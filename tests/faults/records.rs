//! Records that are not ordinary: broken, huge, aborted, compacted; and a topic that grows.

use crate::load::{Fate, Kind, Load};
use crate::log;
use crate::row;
use crate::stage::{Row, Stage, Verdict};
use crate::timing::{Fault, Measure};
use crate::trial::{PARTITIONS, RATE, Trial};
use std::collections::HashSet;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

/// A partition that was added is read so soon: drover looks for new ones every 30 s.
const ADDED_GOAL: Duration = Duration::from_secs(35);
/// `limits.memory` where nothing else is set.
const MEMORY: u64 = 128_000_000;
const PATIENCE: Duration = Duration::from_secs(120);

pub fn rows() -> Vec<Row> {
    vec![
        row!(
            "poison-flood",
            "2,500 broken events a second for 15 s, beside 5,000 good ones; the storm guard off",
            poison_flood,
            true
        ),
        row!(
            "poison-storm",
            "10,000 broken events a second for 15 s with the storm guard: quarantine, released when the flood is over",
            poison_storm
        ),
        row!(
            "aborted-transactions",
            "a transactional producer aborts every third transaction; kill -9 of drover 3 times",
            aborted
        ),
        row!("compacted", "a compacted topic, half of it gone before it is read", compacted),
        row!("records-1mb", "20 records of 1 MB a second for 20 s, beside the load", records_1mb),
        row!(
            "records-20mb",
            "3 records of 20 MB in one partition: more than `limits.memory` allows; then started again with 1 GB",
            records_20mb
        ),
        row!("partition-added", "the topic grows from 6 to 9 partitions, which get events at once", partition_added),
    ]
}

async fn poison_flood(stage: Arc<Stage>) -> Verdict {
    let mut trial = Trial::new(Arc::clone(&stage), "poison-flood").await;
    trial.load().await;
    let drover = trial.run().set("DROVER_STORM_CONSECUTIVE", 0).set("DROVER_STORM_RATIO", 0).start("drover");
    trial.until_shared(&drover).await;
    let began = SystemTime::now();
    flood(&mut trial, RATE / 2, stage.either(Duration::from_secs(15), Duration::from_secs(5))).await;
    trial.recovered(began, SystemTime::now()).await;
    trial.weigh(&drover);
    trial.finish(vec![drover]).await
}

async fn flood(trial: &mut Trial, rate: u64, time: Duration) {
    let mut flood = trial.spec(0..PARTITIONS);
    (flood.kind, flood.rate) = (Kind::Poison, rate);
    trial.start_load(flood);
    tokio::time::sleep(time).await;
    trial.loads()[1].stop();
}

async fn poison_storm(stage: Arc<Stage>) -> Verdict {
    let mut trial = Trial::new(stage, "poison-storm").await;
    let drover = trial.started().await;
    let began = SystemTime::now();
    // More than half of what comes, as when a schema changes: past the guard's limit.
    flood(&mut trial, 2 * RATE, Duration::from_secs(15)).await;
    let reason = drover.until_not_ready("quarantined").await;
    trial.note(format!("readiness says: {reason}"));
    let url = drover.url("").await;
    let deadline = Instant::now() + PATIENCE;
    let mut releases = 0;
    while drover.not_ready().await != Some(vec![]) && Instant::now() < deadline {
        releases += 1;
        for partition in 0..PARTITIONS {
            let partition = partition.to_string();
            let release = ["consumers", "release", "--topic", &trial.topic, "--partition", &partition, "--url", &url];
            // One that is not held says so, which is well.
            trial.drover(&release).run("release").await;
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    trial.expect(Instant::now() < deadline, || "the partitions stay in quarantine".to_owned());
    trial.note(format!("ready again after {releases} rounds of `drover consumers release`"));
    trial.recovered(began, SystemTime::now()).await;
    trial.finish(vec![drover]).await
}

async fn aborted(stage: Arc<Stage>) -> Verdict {
    let mut trial = Trial::new(stage, "aborted-transactions").await;
    trial.goal(Duration::from_secs(5));
    let mut spec = trial.spec(0..PARTITIONS);
    spec.kind = Kind::Transactions;
    trial.start_load(spec);
    let mut drover = trial.run().start("drover");
    trial.until_flowing().await;
    for _ in 0..3 {
        tokio::time::sleep(Duration::from_secs(4)).await;
        let began = SystemTime::now();
        drover.kill();
        let restarted = SystemTime::now();
        drover = trial.run().start("drover");
        trial.recovered(began, restarted).await;
    }
    let client = trial.close(vec![drover]).await;
    let sql = "SELECT count(*) FILTER (WHERE fate = 'nothing'), (SELECT count(*) FROM accounted) - (SELECT count(*) FROM stored) FROM sent";
    let row = client.query_one(sql, &[]).await.unwrap();
    let (aborted, gaps): (i64, i64) = (row.get(0), row.get(1));
    trial.expect(aborted > 0 && gaps > aborted, || format!("{aborted} aborted events, {gaps} offsets in gaps"));
    trial.note(format!("{aborted} aborted events; {gaps} offsets are gaps, markers among them"));
    trial.end(&client).await
}

async fn compacted(stage: Arc<Stage>) -> Verdict {
    let brokers = stage.kafka.address();
    let mut trial = Trial::without_topic(Arc::clone(&stage), "compacted", &brokers);
    let settings = [
        ("cleanup.policy", "compact"),
        ("segment.bytes", "1048576"),
        ("min.cleanable.dirty.ratio", "0.01"),
        ("delete.retention.ms", "0"),
    ];
    trial.create_topic(PARTITIONS, 1, &settings).await;
    let mut keyed = trial.spec(0..PARTITIONS);
    (keyed.rate, keyed.first_id) = (8 * RATE, trial.take_ids());
    let keyed = Load::start(keyed);
    while keyed.confirmed() < 150_000 {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let outcome = tokio::task::spawn_blocking(move || keyed.finish()).await.unwrap();
    let mut sent = outcome.sent;
    // The cleaner works every 15 s.
    let deadline = Instant::now() + PATIENCE;
    while on_the_log(&trial).await.len() * 2 > sent.len() {
        assert!(Instant::now() < deadline, "Kafka did not compact half of the topic away");
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    let mut spec = trial.spec(0..PARTITIONS);
    spec.unique_keys = true;
    trial.start_load(spec);
    let drover = trial.run().start("drover");
    trial.until_flowing().await;
    tokio::time::sleep(Duration::from_secs(15)).await;
    // What Kafka still has after drover has read it must be a row; the rest may have been there still, or not.
    let survivors = on_the_log(&trial).await;
    let mut gone = 0;
    for record in &mut sent {
        if !survivors.contains(&(record.partition, record.offset)) {
            record.fate = Fate::Either;
            gone += 1;
        }
    }
    trial.note(format!("{gone} of {} keyed events compacted away", sent.len()));
    trial.sent = sent;
    trial.finish(vec![drover]).await
}

/// Partition and offset of every record that Kafka still gives out.
async fn on_the_log(trial: &Trial) -> HashSet<(i32, i64)> {
    log::read(&trial.load_brokers, &trial.topic, &trial.partitions().await).await.into_keys().collect()
}

async fn records_1mb(stage: Arc<Stage>) -> Verdict {
    let brokers = stage.kafka.address();
    let mut trial = Trial::without_topic(Arc::clone(&stage), "records-1mb", &brokers);
    trial.create_topic(PARTITIONS, 1, &[("max.message.bytes", "2000000")]).await;
    let drover = trial.started().await;
    let mut large = trial.spec(0..PARTITIONS);
    (large.bytes, large.rate) = (1_000_000, 20);
    let began = SystemTime::now();
    trial.start_load(large);
    tokio::time::sleep(Duration::from_secs(20)).await;
    trial.loads()[1].stop();
    trial.recovered(began, SystemTime::now()).await;
    let peak = trial.weigh(&drover) * 1_024;
    trial.expect(peak <= MEMORY, || format!("peak RSS {peak} bytes, limits.memory is {MEMORY}"));
    trial.finish(vec![drover]).await
}

async fn records_20mb(stage: Arc<Stage>) -> Verdict {
    let brokers = stage.kafka.address();
    let mut trial = Trial::without_topic(Arc::clone(&stage), "records-20mb", &brokers);
    trial.create_topic(PARTITIONS, 1, &[("max.message.bytes", "21000000")]).await;
    let mut drover = trial.started().await;
    // All in one partition, which has to stop alone.
    let stopped = PARTITIONS - 1;
    let mut huge = trial.spec(stopped..PARTITIONS);
    (huge.bytes, huge.rate, huge.kind) = (20_000_000, 1, Kind::Oversize);
    let began = SystemTime::now();
    trial.start_load(huge);
    let deadline = Instant::now() + PATIENCE;
    while trial.loads()[1].confirmed() < 3 {
        assert!(Instant::now() < deadline, "Kafka did not take 3 records of 20 MB");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    trial.loads()[1].stop();
    let reason = drover.until_not_ready("record.exceeds_memory").await;
    trial
        .expect(reason.contains(&format!("/{stopped}")), || format!("readiness does not name the partition: {reason}"));
    let others =
        Fault { began, ended: SystemTime::now(), affected: (0..stopped).collect(), measure: Measure::FirstRow };
    trial.recovered_by(others).await;
    tokio::time::sleep(Duration::from_secs(10)).await;
    let peak = trial.weigh(&drover) * 1_024;
    trial.expect(peak <= MEMORY, || format!("peak RSS {peak} bytes, limits.memory is {MEMORY}"));
    let ended = drover.terminate().await;
    trial.expect(ended.code == Some(1), || {
        format!("a stopped partition is no clean end, it ended with {:?}", ended.code)
    });
    // The way out: memory enough. Now each of them is a dead letter.
    drover = trial.run().set("DROVER_LIMITS_MEMORY", "1GB").start("drover");
    let client = trial.close(vec![drover]).await;
    let codes: Vec<String> =
        client.query("SELECT DISTINCT code FROM letters", &[]).await.unwrap().iter().map(|row| row.get(0)).collect();
    trial.expect(codes == ["record.too_large"], || format!("the dead letters have the codes {codes:?}"));
    trial.note(format!(
        "its partition stops with `record.exceeds_memory`, the others go on (recovery is theirs); with more memory each is {}",
        codes.join(", ")
    ));
    trial.end(&client).await
}

async fn partition_added(stage: Arc<Stage>) -> Verdict {
    let mut trial = Trial::new(stage, "partition-added").await;
    trial.goal(ADDED_GOAL);
    let drover = trial.started().await;
    tokio::time::sleep(Duration::from_secs(3)).await;
    let began = SystemTime::now();
    trial.add_partitions(9).await;
    let mut spec = trial.spec(PARTITIONS..9);
    spec.rate = RATE / 2;
    trial.start_load(spec);
    let affected = (PARTITIONS..9).collect();
    trial.recovered_by(Fault { began, ended: began, affected, measure: Measure::FirstRow }).await;
    trial
        .recovered_by(Fault { began, ended: SystemTime::now(), affected: Trial::all(), measure: Measure::Nothing })
        .await;
    trial.finish(vec![drover]).await
}
