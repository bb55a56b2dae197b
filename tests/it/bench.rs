//! The benchmarks: what they tell is what happened, and nothing of theirs is left behind.

use crate::support::drover::{DroverCommand, Ended};
use crate::support::scene::Scene;
use crate::support::servers;
use crate::support::wait::{PATIENCE, until, until_some};
use rdkafka::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use serde_json::Value;
use std::path::Path;
use std::time::{Duration, Instant};

const ASK_TIMEOUT: Duration = Duration::from_secs(30);

/// The object that a benchmark wrote to standard output. It must have gone well.
fn report(ended: &Ended) -> Value {
    assert_eq!(ended.code, Some(0), "{}{}", ended.stdout, ended.log);
    serde_json::from_str(&ended.stdout).unwrap()
}

fn number(report: &Value, name: &str) -> f64 {
    report[name].as_f64().unwrap_or_else(|| panic!("{name} is no number in {report:#}"))
}

fn assert_exact(report: &Value) {
    assert_eq!((number(report, "lost"), number(report, "doubled")), (0.0, 0.0), "{report:#}");
}

/// Figures of processes exist only where /proc does.
fn assert_costs(report: &Value, names: &[&str]) {
    if cfg!(target_os = "linux") {
        for name in names {
            assert!(number(report, name) > 0.0, "{name} in {report:#}");
        }
    }
}

/// The CPU of a database on another machine, or in a container, is not known; that of one here is not nothing.
fn assert_database_cpu(report: &Value) {
    let of = |name: &str| report[name].as_f64();
    let (backends, server) = (of("database_cpu_s_per_million"), of("database_server_cpu_s_per_million"));
    assert_eq!(backends.is_some(), server.is_some(), "{report:#}");
    assert!(backends.is_none_or(|seconds| seconds > 0.0) && server >= backends.map(|s| s * 0.5), "{report:#}");
}

/// Topics and groups of the cluster, and schemas of the database, whose names hold this text.
async fn named(scene: &Scene, text: &str) -> Vec<String> {
    let brokers = scene.brokers.clone();
    let of_cluster = tokio::task::spawn_blocking(move || {
        let client: BaseConsumer =
            ClientConfig::new().set("bootstrap.servers", &brokers).set("group.id", "test-look").create().unwrap();
        let metadata = client.fetch_metadata(None, ASK_TIMEOUT).unwrap();
        let groups = client.fetch_group_list(None, ASK_TIMEOUT).unwrap();
        let topics = metadata.topics().iter().map(|topic| format!("topic {}", topic.name()));
        let groups = groups.groups().iter().map(|group| format!("group {}", group.name()));
        topics.chain(groups).collect::<Vec<_>>()
    });
    let of_cluster = of_cluster.await.unwrap();
    let schemas = scene.database.query("SELECT 'schema ' || nspname FROM pg_namespace", &[]).await;
    let schemas = schemas.iter().map(|row| row.get(0));
    of_cluster.into_iter().chain(schemas).filter(|name| name.contains(text)).collect()
}

/// Fails when something is left of the benchmark with this id.
async fn assert_nothing_is_left(scene: &Scene, id: &str) {
    assert_eq!(id.len(), 8, "{id}");
    // The brokers forget a topic a moment after they answered.
    let deadline = Instant::now() + PATIENCE;
    loop {
        let left = named(scene, id).await;
        if left.is_empty() {
            return;
        }
        assert!(Instant::now() < deadline, "still there: {left:?}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_benchmark_of_the_pipeline_tells_what_was_stored_and_removes_what_it_made() {
    let Some(scene) = Scene::new(1).await else { return };
    let arguments =
        "bench pipeline --events 6000 --poison 0.01 --partitions 4 --compression lz4 --consumers 2 --repeat 2 --json -";
    let ended = scene.drover(&arguments.split(' ').collect::<Vec<_>>()).run("bench").await;
    let report = report(&ended);
    assert_exact(&report);
    assert_eq!((number(&report, "delivered"), number(&report, "rows")), (6_000.0, 5_940.0), "{report:#}");
    assert_eq!(number(&report, "dead_letters"), 60.0, "{report:#}");
    assert!(number(&report, "rows_per_s") > 0.0 && number(&report, "steady_rows_per_s") > 0.0, "{report:#}");
    assert!(number(&report, "transactions") >= 1.0 && number(&report, "wal_bytes") > 6_000.0 * 240.0, "{report:#}");
    assert_costs(&report, &["own_cpu_s_per_million", "peak_pss_mb", "peak_rss_mb"]);
    assert_database_cpu(&report);
    assert_eq!(report["other_cpu_cores"].is_number(), cfg!(target_os = "linux"), "{report:#}");
    assert_eq!(report["runs"].as_array().unwrap().len(), 2);
    let median = usize::try_from(report["median_run"].as_u64().unwrap()).unwrap();
    assert_eq!(report["runs"][median]["steady_rows_per_s"], report["steady_rows_per_s"]);
    assert_eq!(report["settings"]["consumers"], 2);
    assert!(report["versions"]["database"].as_str().unwrap().starts_with("PostgreSQL "), "{report:#}");
    assert!(!ended.log.contains("could not be"), "{}", ended.log);
    assert_nothing_is_left(&scene, report["id"].as_str().unwrap()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_group_that_is_waited_for_is_measured_beside_the_ceiling() {
    let Some(scene) = Scene::new(1).await else { return };
    let arguments = "bench pipeline --events 3000 --partitions 3 --key none --wait-for-group --with-store --json -";
    let report = report(&scene.drover(&arguments.split(' ').collect::<Vec<_>>()).run("bench").await);
    assert_exact(&report);
    assert_exact(&report["store"]);
    assert_eq!((number(&report, "rows"), number(&report["store"], "rows")), (3_000.0, 3_000.0), "{report:#}");
    let ratio = number(&report, "steady_rows_per_s") / number(&report["store"], "steady_rows_per_s");
    assert!((number(&report, "ratio") - ratio).abs() < 0.001, "{report:#}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clients_of_the_live_stream_are_measured_in_pairs_with_and_without_them() {
    let Some(scene) = Scene::new(1).await else { return };
    let arguments = "bench pipeline --events 3000 --partitions 3 --stream-clients 5 --repeat 2 --json -";
    let report = report(&scene.drover(&arguments.split(' ').collect::<Vec<_>>()).run("bench").await);
    assert_exact(&report);
    let stream = &report["stream"];
    assert_exact(&stream["without"]);
    let runs = |report: &Value| report["runs"].as_array().unwrap().len();
    assert_eq!((runs(&report), runs(&stream["without"]), number(stream, "clients")), (2, 2, 5.0), "{report:#}");
    assert!(number(&report, "stream_bytes") > 1_000.0 && stream["without"]["stream_bytes"].is_null(), "{report:#}");
    if cfg!(target_os = "linux") {
        let cost = |report: &Value, run: usize| number(&report["runs"][run], "own_cpu_s_per_million");
        for run in 0..2 {
            let added = cost(&report, run) - cost(&stream["without"], run);
            assert!((stream["pairs"][run].as_f64().unwrap() - added).abs() < 0.002, "{report:#}");
        }
        assert!(stream["added_own_cpu_s_per_million"].is_number(), "{report:#}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_ceiling_is_measured_without_kafka() {
    let Some(scene) = Scene::new(1).await else { return };
    let file = scene_file(&scene);
    let arguments = ["bench", "store", "--events", "30000", "--partitions", "5", "--writers", "2", "--json", &file];
    let ended = scene.drover(&arguments).set("KAFKA_BOOTSTRAP_SERVERS", "127.0.0.1:1").run("bench").await;
    assert_eq!(ended.code, Some(0), "{}{}", ended.stdout, ended.log);
    assert!(ended.stdout.contains("STEADY/S") && ended.stdout.contains("PostgreSQL"), "{}", ended.stdout);
    let report: Value = serde_json::from_str(&std::fs::read_to_string(&file).unwrap()).unwrap();
    std::fs::remove_file(&file).unwrap();
    assert_exact(&report);
    assert_eq!((number(&report, "rows"), report["settings"]["writers"].as_u64()), (30_000.0, Some(2)), "{report:#}");
    assert!(number(&report, "steady_rows_per_s") > 0.0, "{report:#}");
    assert_costs(&report, &["own_cpu_s_per_million", "peak_pss_mb"]);
    assert_database_cpu(&report);
}

/// A file of this test alone.
fn scene_file(scene: &Scene) -> String {
    std::env::temp_dir().join(format!("{}.json", scene.topic)).display().to_string()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn latency_is_told_in_percentiles_that_ascend() {
    let Some(scene) = Scene::new(1).await else { return };
    let arguments = "bench latency --rate 200 --seconds 2 --partitions 3 --json -";
    let report = report(&scene.drover(&arguments.split(' ').collect::<Vec<_>>()).run("bench").await);
    assert_exact(&report);
    // One second of warm-up is sent, and is not among the latencies.
    assert_eq!(number(&report, "delivered"), 600.0, "{report:#}");
    let measured = number(&report, "latency_events");
    assert!((390.0..=410.0).contains(&measured), "{measured} events were measured");
    let latency = &report["latency_ms"];
    let [p50, p90, p99, p999, max] = ["p50", "p90", "p99", "p999", "max"].map(|name| number(latency, name));
    assert!(0.0 < p50 && p50 <= p90 && p90 <= p99 && p99 <= p999 && p999 <= max, "{latency:#}");
    assert_eq!(report["latency_until"], "commit_timestamp", "the server of the tests keeps commit timestamps");
    assert_costs(&report, &["own_cpu_s_per_million", "producer_cpu_s_per_million"]);
}

/// `drover` with a SQLite store in a directory, and no servers.
fn on_sqlite(directory: &Path, arguments: &str) -> DroverCommand {
    let url = format!("sqlite:{}", directory.join("drover.db").display());
    DroverCommand::new(directory, &arguments.split(' ').collect::<Vec<_>>()).set("DATABASE_URL", url)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_ceiling_of_sqlite_is_measured_in_a_file_of_its_own() {
    let directory = tempfile::tempdir().unwrap();
    // Many batches, so that there is something between the tenth and the nine tenths to be timed.
    let bench =
        on_sqlite(directory.path(), "bench store --events 20000 --json -").set("DROVER_LIMITS_BATCH_ROWS", "500");
    let report = report(&bench.run("bench").await);
    assert_exact(&report);
    assert_eq!(number(&report, "rows"), 20_000.0, "{report:#}");
    assert!(number(&report, "steady_rows_per_s") > 0.0, "{report:#}");
    assert!(report["versions"]["database"].as_str().unwrap().starts_with("SQLite "), "{report:#}");
    assert!(report["wal_bytes"].is_null() && report["database_cpu_s_per_million"].is_null(), "{report:#}");
    let left: Vec<_> = std::fs::read_dir(directory.path())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name.contains("drover"))
        .collect();
    assert!(left.is_empty(), "{left:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pipeline_and_a_latency_into_sqlite_are_measured() {
    let Some(servers) = servers::shared() else { return };
    let directory = tempfile::tempdir().unwrap();
    let brokers = |command: DroverCommand| command.set("KAFKA_BOOTSTRAP_SERVERS", &servers.brokers);
    let pipeline = brokers(on_sqlite(directory.path(), "bench pipeline --events 2000 --partitions 3 --json -"));
    let drained = report(&pipeline.run("pipeline").await);
    assert_exact(&drained);
    assert_eq!(number(&drained, "rows"), 2_000.0, "{drained:#}");
    let latency = brokers(on_sqlite(directory.path(), "bench latency --rate 100 --seconds 1 --partitions 3 --json -"));
    let measured = report(&latency.run("latency").await);
    assert_exact(&measured);
    assert_eq!(measured["latency_until"], "stored_at");
    assert!(number(&measured["latency_ms"], "max") > 0.0, "{measured:#}");
}

#[cfg(target_os = "linux")]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_benchmark_that_is_stopped_removes_what_it_made() {
    let Some(scene) = Scene::new(1).await else { return };
    let arguments = ["bench", "latency", "--rate", "50", "--seconds", "600", "--partitions", "2"];
    let mut running = scene.drover(&arguments).start("bench");
    let parent = running.pid().cast_signed();
    let (child, group) = until_some("the process that is measured", async || {
        let mut processes = procfs::process::all_processes().ok()?.flatten();
        let child = processes.find(|one| one.stat().is_ok_and(|stat| stat.ppid == parent))?;
        // It is there before it is a drover with its settings.
        let group = child.environ().ok()?.remove(std::ffi::OsStr::new("DROVER_KAFKA_GROUP"))?;
        Some((child, group.into_string().ok()?))
    })
    .await;
    let id = group.split('-').nth(2).unwrap();
    let wanted =
        [format!("topic drover-bench-{id}-1"), format!("group {group}"), format!("schema drover_bench_{id}_1")];
    until("all of it to be there", async || {
        let there = named(&scene, id).await;
        wanted.iter().all(|name| there.contains(name))
    })
    .await;
    let rows = format!("SELECT count(*) FROM drover_bench_{id}_1.events");
    until("the stream to flow", async || scene.database.number(&rows).await.is_some_and(|count| count > 0)).await;
    let ended = running.terminate().await;
    assert_eq!(ended.code, Some(1), "{}", ended.log);
    assert!(ended.log.contains("stopped before all was measured"), "{}", ended.log);
    assert!(!child.is_alive());
    assert_nothing_is_left(&scene, id).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_be_measured_is_said_with_the_reason() {
    let directory = tempfile::tempdir().unwrap();
    for (arguments, code, said) in [
        ("bench store --repeat 0", 64, "0 is not in 1..=99"),
        ("bench pipeline --poison 0.9", 64, "is not from 0 to 0.2"),
        ("bench pipeline --poison some", 64, "a share such as 0.001"),
        ("bench latency --rate 0", 64, "--rate"),
        ("bench store --writers 0", 64, "store.writers"),
        ("bench pipeline --consumers 0", 64, "consumers.count"),
        ("bench pipeline --wait-for-group", 1, "SQLite cannot do"),
        ("bench store --json /dev/null/none", 1, "writing /dev/null/none"),
        ("bench store --database-url postgres://nobody@127.0.0.1:1/none", 1, "connecting to PostgreSQL at 127.0.0.1:1"),
        ("bench pipeline --events 10 --brokers 127.0.0.1:1", 1, "Connection refused"),
    ] {
        let ended = on_sqlite(directory.path(), arguments).run("bench").await;
        assert_eq!(ended.code, Some(code), "{arguments}: {}{}", ended.stdout, ended.log);
        assert!(ended.log.contains(said), "{arguments}: {}", ended.log);
    }
    let unset = DroverCommand::new(directory.path(), &["bench", "store"]).run("bench").await;
    assert_eq!(unset.code, Some(64), "{}", unset.log);
    assert!(unset.log.contains("store.url"), "{}", unset.log);
}
