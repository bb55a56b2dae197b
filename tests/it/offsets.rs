//! The ways out of positions that disagree with Kafka, from the stop to the last record, on a real Kafka and PostgreSQL.

use crate::support::drover::Ended;
use crate::support::events::{events, events_to};
use crate::support::scene::Scene;
use crate::support::wait::until;
use rdkafka::consumer::Consumer as _;
use serde_json::Value;
use std::io::{Read as _, Write as _};
use std::time::Duration;

/// Stores until so many offsets are accounted for, and stops.
async fn store_and_stop(scene: &Scene, count: i64) {
    let mut drover = scene.run(1).start("drover");
    scene.database.until_accounted(&scene.topic, count).await;
    drover.stop().await;
}

/// Runs `drover offsets` with these arguments.
async fn offsets(scene: &Scene, args: &[&str]) -> Ended {
    let args: Vec<&str> = ["offsets"].iter().chain(args).copied().collect();
    scene.drover(&args).set("USER", "operator").run("offsets").await
}

/// Runs an order, which must be carried out.
async fn done(scene: &Scene, args: &[&str]) -> String {
    let args: Vec<&str> = args.iter().copied().chain(["--yes"]).collect();
    let ended = offsets(scene, &args).await;
    assert_eq!(ended.code, Some(0), "{}\n{}", ended.stdout, ended.log);
    ended.stdout
}

/// The stop code that `offsets show` tells of a partition.
async fn stop_shown(scene: &Scene, partition: usize) -> Option<String> {
    let shown = offsets(scene, &["show", &scene.topic, "--json"]).await;
    let document: Value = serde_json::from_str(&shown.stdout).unwrap();
    let stop = document["topics"][0]["partitions"][partition]["stop"]["code"].as_str().map(str::to_owned);
    assert_eq!(shown.code, Some(i32::from(stop.is_some())), "{}", shown.stdout);
    stop
}

/// Everything is accounted for, closed incarnations too; gives back the report.
async fn audited(scene: &Scene) -> Value {
    let ended = scene.drover(&["audit", "--full", "--json"]).run("audit").await;
    assert_eq!(ended.code, Some(0), "{}\n{}", ended.stdout, ended.log);
    serde_json::from_str(&ended.stdout).unwrap()
}

async fn number(scene: &Scene, sql: &str) -> i64 {
    scene.database.number(sql).await.unwrap()
}

/// What the audit log says of the last order.
async fn last_logged(scene: &Scene) -> (String, String, String) {
    let rows = scene.database.query("SELECT actor, action, outcome FROM audit_log ORDER BY id DESC LIMIT 1", &[]).await;
    (rows[0].get(0), rows[0].get(1), rows[0].get(2))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_topic_that_is_created_again_while_drover_runs_is_found_and_restarted_beside_the_old_one() {
    let Some(mut scene) = Scene::new(1).await else { return };
    scene.send(events_to(0, 0..100)).await;
    let mut drover = scene.run(1).start("drover");
    scene.database.until_accounted(&scene.topic, 100).await;
    scene.delete_topic().await;
    scene.create_topic(1).await;
    // Past the old position, so that no offset tells that these are other records.
    scene.send(events_to(0, 1_000..1_150)).await;
    drover.until_not_ready("topic.recreated").await;
    assert_eq!(drover.terminate().await.code, Some(1));
    // What was delivered of the new one until then is no loss: it is read again under its own incarnation.
    let old = number(&scene, "SELECT count(*) FROM events").await;
    assert!((100..=150).contains(&old), "{old}");

    assert_eq!(stop_shown(&scene, 0).await.as_deref(), Some("topic.recreated"));
    let refused = offsets(&scene, &["rewind", &scene.topic, "--to", "0", "--yes"]).await;
    assert!(refused.log.contains("offsets restart"), "{}", refused.log);
    done(&scene, &["restart", &scene.topic]).await;
    assert_eq!(stop_shown(&scene, 0).await, None);
    let (actor, action, outcome) = last_logged(&scene).await;
    assert!(actor.starts_with("operator@"), "{actor}");
    assert_eq!((action.as_str(), outcome.as_str()), ("offsets.restart", "ok"));

    scene.add_partitions(2).await;
    scene.send(events_to(1, 2_000..2_025)).await;
    store_and_stop(&scene, 175).await;
    let of = |incarnation: i32| format!("SELECT count(*) FROM events WHERE incarnation = {incarnation}");
    assert_eq!((number(&scene, &of(1)).await, number(&scene, &of(2)).await), (old, 175));
    let report = audited(&scene).await;
    assert_eq!(report["partitions"].as_array().unwrap().len(), 3, "the closed incarnation too: {report}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_retention_removed_is_given_up_by_order_and_stays_a_known_loss() {
    let Some(scene) = Scene::new(2).await else { return };
    scene.send(events_to(0, 0..50).chain(events_to(1, 50..100))).await;
    store_and_stop(&scene, 100).await;
    scene.send(events_to(0, 100..150)).await;
    scene.delete_records(0, 80).await;
    let mut drover = scene.run(1).start("stopped");
    drover.until_not_ready("position.expired").await;
    assert_eq!(drover.terminate().await.code, Some(1));

    assert_eq!(stop_shown(&scene, 0).await.as_deref(), Some("position.expired"));
    let shown = offsets(&scene, &["skip", &scene.topic, "--partition", "0", "--to", "beginning", "--dry-run"]).await;
    assert!(shown.stdout.contains("30 offsets") && shown.stdout.contains("nothing was changed"), "{}", shown.stdout);
    let unasked = offsets(&scene, &["skip", &scene.topic, "--partition", "0", "--to", "beginning"]).await;
    assert_eq!(unasked.code, Some(1), "{}", unasked.stdout);
    assert!(unasked.log.contains("--yes"), "{}", unasked.log);
    let backwards = offsets(&scene, &["skip", &scene.topic, "--partition", "1", "--to", "10", "--yes"]).await;
    assert!(backwards.log.contains("offsets rewind"), "{}", backwards.log);
    assert_eq!(number(&scene, "SELECT count(*) FROM audit_log").await, 0, "nothing was done");
    done(&scene, &["skip", &scene.topic, "--partition", "0", "--to", "beginning"]).await;

    store_and_stop(&scene, 150).await;
    assert_eq!(number(&scene, "SELECT count(*) FROM events").await, 120);
    let report = audited(&scene).await;
    assert_eq!(report["partitions"][0]["known_loss"], 30, "{report}");
    assert_eq!(report["partitions"][0]["gap_offsets_by_reason"]["skipped"], 30);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_that_was_lost_begins_anew_or_where_the_group_stands() {
    let Some(scene) = Scene::new(1).await else { return };
    scene.send(events_to(0, 0..100)).await;
    store_and_stop(&scene, 100).await;
    for (to, rows) in [(None, 120), (Some("committed"), 20)] {
        scene.database.drop_schema().await;
        if to.is_none() {
            scene.send(events_to(0, 100..120)).await;
        }
        let mut drover = scene.run(1).start("stopped");
        let reason = drover.until_not_ready("position.lost").await;
        assert!(reason.contains("drover offsets restart"), "{reason}");
        assert_eq!(drover.terminate().await.code, Some(1));
        assert_eq!(stop_shown(&scene, 0).await.as_deref(), Some("position.lost"));
        let mut order = vec!["restart", scene.topic.as_str()];
        order.extend(to.iter().flat_map(|to| ["--to", to]));
        if to == Some("committed") {
            // Where the group stood before the first loss.
            let mut committed = rdkafka::TopicPartitionList::new();
            committed.add_partition_offset(&scene.topic, 0, rdkafka::Offset::Offset(100)).unwrap();
            scene.member("somebody").commit(&committed, rdkafka::consumer::CommitMode::Sync).unwrap();
        }
        done(&scene, &order).await;
        store_and_stop(&scene, rows).await;
        assert_eq!(number(&scene, "SELECT count(*) FROM events").await, rows);
        audited(&scene).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_truncated_log_goes_on_at_its_end_in_another_incarnation() {
    let Some(scene) = Scene::new(2).await else { return };
    scene.send(events_to(0, 0..100).chain(events_to(1, 100..150))).await;
    store_and_stop(&scene, 150).await;
    // As if the log had held these, and lost them in an unclean election.
    scene
        .database
        .execute(
            "INSERT INTO events SELECT topic, partition, incarnation, \"offset\" + 100, key, user_id, event_type, element_id, \
             occurred_at, payload, consumer_id, source, stored_at FROM events WHERE partition = 0; \
             UPDATE partition_progress SET next_offset = 200 WHERE partition = 0",
        )
        .await;
    let mut drover = scene.run(1).start("stopped");
    drover.until_not_ready("position.ahead").await;
    assert_eq!(drover.terminate().await.code, Some(1));
    assert_eq!(stop_shown(&scene, 0).await.as_deref(), Some("position.ahead"));
    done(&scene, &["restart", &scene.topic]).await;
    scene.send(events_to(0, 200..210).chain(events_to(1, 210..220))).await;
    store_and_stop(&scene, 20).await;
    let sql = "SELECT count(*) FROM events WHERE incarnation = 2 AND \"offset\" >= CASE partition WHEN 0 THEN 100 ELSE 50 END";
    assert_eq!(number(&scene, sql).await, 20);
    assert_eq!(number(&scene, "SELECT count(*) FROM events").await, 270);
    audited(&scene).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rewind_reads_again_and_doubles_nothing() {
    let Some(scene) = Scene::new(2).await else { return };
    let sent = scene.send(events(0..400)).await;
    store_and_stop(&scene, 400).await;
    // As after a restored backup: some rows are gone with the position, some are there.
    scene.database.execute("DELETE FROM events WHERE \"offset\" % 7 = 3").await;
    let shown = offsets(&scene, &["rewind", &scene.topic, "--to", "beginning", "--dry-run", "--json"]).await;
    let plan: Value = serde_json::from_str(&shown.stdout).unwrap();
    let there = number(&scene, "SELECT count(*) FROM events").await;
    assert_eq!(plan["detail"]["offsets"], 400, "{plan}");
    assert_eq!((&plan["detail"]["stored_already"], &plan["done"]), (&there.into(), &false.into()));
    done(&scene, &["rewind", &scene.topic, "--to", "beginning"]).await;
    assert_eq!(scene.database.accounted(&scene.topic).await, 0);
    let mut drover = scene.run(1).start("drover");
    scene.database.until_accounted(&scene.topic, 400).await;
    let ended = drover.terminate().await;
    assert!(ended.stdout.contains(&format!("{there} duplicates")), "{}", ended.stdout);
    scene.database.assert_stored(&scene.topic, &sent).await;
    audited(&scene).await;
    let ahead = offsets(&scene, &["rewind", &scene.topic, "--to", "100000", "--yes"]).await;
    assert!(ahead.log.contains("offsets skip"), "{}", ahead.log);
    let nothing = offsets(&scene, &["rewind", &scene.topic, "--to", "2100-01-01T00:00:00Z", "--yes"]).await;
    assert_eq!(nothing.code, Some(1));
    assert!(nothing.log.contains("there already"), "{}", nothing.log);
}

/// Of either protocol, by name.
async fn refused_while_the_group_works(protocol: &str) {
    let Some(scene) = Scene::new(1).await else { return };
    scene.send(events_to(0, 0..10)).await;
    let mut drover = scene.run(1).set("DROVER_KAFKA_PROTOCOL", protocol).start("drover");
    scene.database.until_accounted(&scene.topic, 10).await;
    let refused = offsets(&scene, &["rewind", &scene.topic, "--to", "beginning", "--yes"]).await;
    assert_eq!(refused.code, Some(1), "{}", refused.stdout);
    assert!(refused.log.contains("has 1 members") && refused.log.contains("consumer-1"), "{}", refused.log);
    drover.stop().await;
    assert_eq!(scene.database.accounted(&scene.topic).await, 10);
    done(&scene, &["rewind", &scene.topic, "--to", "beginning"]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn positions_are_not_changed_while_the_group_works() {
    refused_while_the_group_works("classic").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn positions_are_not_changed_while_a_group_of_the_consumer_protocol_works() {
    refused_while_the_group_works("consumer").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_starts_while_the_order_waits_for_its_answer_is_seen() {
    let Some(scene) = Scene::new(1).await else { return };
    scene.send(events_to(0, 0..10)).await;
    store_and_stop(&scene, 10).await;
    let mut asking = scene.drover(&["offsets", "restart", &scene.topic]).in_terminal();
    let (mut said, mut output) = (Vec::new(), asking.stdout.take().unwrap());
    while !String::from_utf8_lossy(&said).contains("Type yes") {
        let mut byte = [0];
        assert_eq!(output.read(&mut byte).unwrap(), 1, "{}", String::from_utf8_lossy(&said));
        said.extend(byte);
    }
    let member = scene.member("late");
    member.subscribe(&[&scene.topic]).unwrap();
    until("the member to own the partition", async || {
        let _ = member.poll(Duration::from_millis(100));
        member.assignment().unwrap().count() == 1
    })
    .await;
    asking.stdin.as_mut().unwrap().write_all(b"yes\n").unwrap();
    output.read_to_end(&mut said).unwrap();
    let said = String::from_utf8_lossy(&said);
    assert_eq!(asking.wait().unwrap().code(), Some(1), "{said}");
    assert!(said.contains("has 1 members") && said.contains("late"), "{said}");
    assert_eq!(number(&scene, "SELECT count(*) FROM audit_log").await, 0, "nothing was done");
    assert_eq!(scene.database.accounted(&scene.topic).await, 10);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_store_is_given_to_another_group_and_to_another_cluster_by_order() {
    let Some(scene) = Scene::new(1).await else { return };
    scene.send(events_to(0, 0..50)).await;
    store_and_stop(&scene, 50).await;
    let other = format!("{}-other", scene.group);
    let as_other = |args: &[&str]| scene.drover(args).set("CONSUMER_GROUP", &other);
    let refused = as_other(&["run", "--consumers", "1"]).run("refused").await;
    assert!(refused.log.contains("drover offsets claim"), "{}", refused.log);
    let claimed = as_other(&["offsets", "claim", "--yes"]).run("claim").await;
    assert_eq!(claimed.code, Some(0), "{}\n{}", claimed.stdout, claimed.log);
    scene.send(events_to(0, 50..80)).await;
    let mut drover = as_other(&["run", "--consumers", "1"]).start("other-group");
    scene.database.until_accounted(&scene.topic, 80).await;
    drover.stop().await;
    assert_eq!(number(&scene, "SELECT count(*) FROM events").await, 80, "it goes on where the store stands");

    // As if the rows came from a cluster whose records are mirrored here, offset by offset.
    scene.database.execute("UPDATE store_identity SET cluster_id = 'old'; UPDATE topics SET topic_id = 'old'").await;
    let claimed = as_other(&["offsets", "claim", "--same-offsets", "--yes"]).run("claim").await;
    assert_eq!(claimed.code, Some(0), "{}\n{}", claimed.stdout, claimed.log);
    scene.send(events_to(0, 80..90)).await;
    let mut drover = as_other(&["run", "--consumers", "1"]).start("other-cluster");
    scene.database.until_accounted(&scene.topic, 90).await;
    drover.stop().await;

    // And of another cluster whose offsets mean something else.
    scene.database.execute("UPDATE store_identity SET cluster_id = 'old'; UPDATE topics SET topic_id = 'old'").await;
    let claimed = as_other(&["offsets", "claim", "--yes"]).run("claim").await;
    assert_eq!(claimed.code, Some(0), "{}\n{}", claimed.stdout, claimed.log);
    let mut drover = as_other(&["run", "--consumers", "1"]).start("stopped");
    drover.until_not_ready("topic.recreated").await;
    drover.terminate().await;
    let restarted = as_other(&["offsets", "restart", &scene.topic, "--yes"]).run("restart").await;
    assert_eq!(restarted.code, Some(0), "{}\n{}", restarted.stdout, restarted.log);
    let mut drover = as_other(&["run", "--consumers", "1"]).start("restarted");
    scene.database.until_accounted(&scene.topic, 90).await;
    drover.stop().await;
    assert_eq!(number(&scene, "SELECT count(*) FROM events").await, 180);
}
