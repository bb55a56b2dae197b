//! Orders to a running drover, given by the real command line under load: nothing is lost, nothing doubled, all is written
//! down.

use crate::support::drover::{Drover, Ended};
use crate::support::events::events;
use crate::support::scene::Scene;
use crate::support::servers::PrivatePostgres;
use crate::support::servers::{self, Servers};
use crate::support::wait::until;
use serde_json::Value;

async fn held(drover: &Drover, partition: i64) -> Option<String> {
    let status = drover.status().await;
    let partitions =
        status["consumers"].as_array().unwrap().iter().flat_map(|one| one["partitions"].as_array().unwrap());
    let mut of = partitions.filter(|one| one["partition"] == partition);
    of.next().and_then(|one| one["held"]["kind"].as_str()).map(str::to_owned)
}

/// All is stored, once, and an audit says so too.
async fn assert_all_is_stored(scene: &Scene, sent: &[crate::support::events::Sent]) {
    scene.database.assert_stored(&scene.topic, sent).await;
    let audit = scene.drover(&["audit"]).run("audit").await;
    assert_eq!(audit.code, Some(0), "{}", audit.stdout);
}

fn refused_with(ended: &Ended, code: i32, texts: &[&str]) {
    assert_eq!(ended.code, Some(code), "{}{}", ended.stdout, ended.log);
    for text in texts {
        assert!(ended.log.contains(text), "{text:?} is not in {}", ended.log);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn consumers_and_partitions_that_are_paused_and_resumed_under_load_lose_nothing() {
    let Some(scene) = Scene::new(3).await else { return };
    let mut drover = scene.run(3).start("drover");
    drover.until_each_owns(1).await;
    let (topic, of_partition) = (scene.topic.as_str(), ["--topic", &scene.topic, "--partition", "0"]);
    let orders = async {
        let said = scene.order(&drover, &["pause", "consumer-2", "--reason", "a look at it"]).await;
        assert!(said.contains("consumer consumer-2") && said.contains("paused"), "{said}");
        drover.until_child_is("consumer-2", "paused").await;
        scene.order(&drover, &[&["pause"], &of_partition[..]].concat()).await;
        until("partition 0 to be paused", async || held(&drover, 0).await.as_deref() == Some("paused")).await;
        drover.until_ready().await;
        let listed = scene.order(&drover, &["list"]).await;
        assert!(listed.starts_with("CONSUMER"), "{listed}");
        // Also where the partition is one of that consumer's.
        for held in ["consumer-2 is paused by tester@", "a look at it", &format!("{topic}/0 is paused by tester@")] {
            assert!(listed.contains(held), "{held:?} is not in {listed}");
        }
        let listed: Value = serde_json::from_str(&scene.order(&drover, &["list", "--json"]).await).unwrap();
        assert_eq!(listed.as_array().unwrap().len(), 3);
        scene.order(&drover, &["resume", "consumer-2"]).await;
        scene.order(&drover, &[&["resume"], &of_partition[..]].concat()).await;
        // Not before: the partition may be all that it owns.
        drover.until_child_is("consumer-2", "running").await;
        until("partition 0 to be read", async || held(&drover, 0).await.is_none()).await;
        let for_long = [&["quarantine"], &of_partition[..], &["--for", "1h", "--reason", "strange records"]].concat();
        scene.order(&drover, &for_long).await;
        let reason = drover.until_not_ready("quarantined").await;
        assert!(reason.contains("strange records") && reason.contains("tester@"), "{reason}");
        scene.order(&drover, &[&["release"], &of_partition[..]].concat()).await;
        drover.until_ready().await;
        scene.order(&drover, &["restart", "consumer-3"]).await;
        scene.order(&drover, &["restart", "writer-1"]).await;
        for restarted in ["consumer-3", "writer-1"] {
            let again = async || {
                drover.child(restarted).await.is_some_and(|one| one["restarts"] == 1 && one["state"] == "running")
            };
            until(&format!("{restarted} to run again"), again).await;
        }
    };
    let (sent, ()) = scene.load_while(orders).await;
    scene.database.until_accounted(&scene.topic, i64::try_from(sent.len()).unwrap()).await;
    drover.stop().await;
    assert_all_is_stored(&scene, &sent).await;
    let partition = format!("{topic} [0]");
    let expected = [
        ("pause", "consumer-2"),
        ("pause", &partition),
        ("resume", "consumer-2"),
        ("resume", &partition),
        ("quarantine", &partition),
        ("release", &partition),
        ("restart", "consumer-3"),
        ("restart", "writer-1"),
    ];
    let expected: Vec<_> = expected.map(|(action, target)| (action.into(), target.into(), "ok".into())).into();
    assert_eq!(scene.logged_orders().await, expected);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn consumers_and_writers_that_are_added_and_taken_away_under_load_lose_nothing() {
    scale_under_load("classic").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn consumers_and_writers_that_are_added_and_taken_away_under_load_lose_nothing_in_the_consumer_protocol() {
    scale_under_load("consumer").await;
}

async fn scale_under_load(protocol: &str) {
    let Some(scene) = Scene::new(6).await else { return };
    // Static where that is possible, with a session that would keep the place of a consumer for longer than this test waits:
    // only one that leaves lets the others have its partitions.
    let settings = [("DROVER_KAFKA_PROTOCOL", protocol), ("DROVER_REPLICA_ID", "a"), ("DROVER_STORE_WRITERS", "1")];
    let mut command = settings.iter().fold(scene.run(1), |command, (name, value)| command.set(name, value));
    if protocol == "classic" {
        command = command.set("DROVER_KAFKA_SESSION_TIMEOUT", "5m");
    }
    let mut drover = command.start("drover");
    drover.until_each_owns(6).await;
    let writers =
        async || drover.get("metrics").await.unwrap().1.contains("drover_queue_capacity{queue=\"writers\"} 3");
    let orders = async {
        let said = scene.order(&drover, &["scale", "--consumers", "3", "--writers", "3"]).await;
        assert!(said.contains("consumer-2, consumer-3") && said.contains("writer-2, writer-3"), "{said}");
        drover.until_each_owns(2).await;
        until("three writers", writers).await;
        drover.until_child_is("writer-3", "running").await;
        let metrics = drover.get("metrics").await.unwrap().1;
        assert!(metrics.contains("consumer_id=\"consumer-3\""), "{metrics}");
        let said = scene.order(&drover, &["scale", "--consumers", "1", "--writers", "1"]).await;
        assert!(said.contains("without consumer-2, consumer-3") && said.contains("without writer-2"), "{said}");
        assert!(!said.contains("did not finish"), "{said}");
        assert_eq!(drover.child("consumer-3").await, None);
        drover.until_each_owns(6).await;
        until("the series of the removed to go", async || {
            let metrics = drover.get("metrics").await.unwrap().1;
            !["consumer-2", "consumer-3", "writer-2"].iter().any(|gone| metrics.contains(gone))
        })
        .await;
        // Their ids are free again.
        scene.order(&drover, &["scale", "--consumers", "2"]).await;
        drover.until_each_owns(3).await;
    };
    let (sent, ()) = scene.load_while(orders).await;
    scene.database.until_accounted(&scene.topic, i64::try_from(sent.len()).unwrap()).await;
    let receipt = drover.terminate().await;
    assert_eq!(receipt.code, Some(0), "{}", receipt.stdout);
    assert!(receipt.stdout.contains(&format!("{} stored", sent.len())), "{}", receipt.stdout);
    assert_all_is_stored(&scene, &sent).await;
    let scaled = |target: &str| ("scale".to_owned(), target.to_owned(), "ok".to_owned());
    let expected = ["consumers=3 writers=3", "consumers=1 writers=1", "consumers=2"].map(scaled);
    assert_eq!(scene.logged_orders().await, expected);
}

/// A table that is missing is not waited for: the consumer that meets it fails.
async fn take_table_away(scene: &Scene) {
    scene.database.execute("ALTER TABLE events RENAME TO events_away").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_child_that_has_failed_for_good_comes_back_by_an_order() {
    let Some(scene) = Scene::new(1).await else { return };
    let mut drover = scene.run(1).set("DROVER_SUPERVISION_CONSUMER_INTENSITY", 0).start("drover");
    let mut sent = scene.send(events(0..100)).await;
    scene.database.until_accounted(&scene.topic, 100).await;
    take_table_away(&scene).await;
    sent.extend(scene.send(events(100..200)).await);
    drover.until_child_is("consumer-1", "failed").await;
    drover.until_not_ready("has failed").await;
    scene.database.execute("ALTER TABLE events_away RENAME TO events").await;
    scene.order(&drover, &["restart", "consumer-1"]).await;
    scene.database.until_accounted(&scene.topic, 200).await;
    drover.until_ready().await;
    let (status, exits) = drover.get("api/v1/children/consumer-1/exits").await.unwrap();
    let exits: Value = serde_json::from_str(&exits).unwrap();
    assert_eq!((status, exits["exits"].as_array().unwrap().len()), (200, 1));
    assert_eq!(exits["exits"][0]["reason"], "error");
    let child = drover.child("consumer-1").await.unwrap();
    assert_eq!((&child["generation"], &child["restarts"]), (&2.into(), &1.into()));
    drover.stop().await;
    assert_all_is_stored(&scene, &sent).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_child_that_fails_for_good_ends_the_process_where_the_rule_says_so() {
    let Some(scene) = Scene::new(1).await else { return };
    let command = scene.run(1).set("DROVER_SUPERVISION_CONSUMER_INTENSITY", 0);
    let mut drover = command.set("DROVER_SUPERVISION_ESCALATION", "exit").start("drover");
    drover.until_ready().await;
    take_table_away(&scene).await;
    scene.send(events(0..100)).await;
    let ended = drover.ended().await;
    assert_eq!(ended.code, Some(1), "{}", ended.stdout);
    assert!(ended.stdout.contains("ended by the supervisor: consumer-1 failed more often"), "{}", ended.stdout);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_partition_that_is_paused_stays_so_when_it_moves_to_another_process() {
    let Some(scene) = Scene::new(2).await else { return };
    let consume = |id: &str| scene.drover(&["consume", "--consumer-id", id]).start(id);
    let mut first = consume("first");
    let second = consume("second");
    for drover in [&first, &second] {
        drover.until_each_owns(1).await;
    }
    let of_first = if held_or_not(&first, 0).await { "0" } else { "1" };
    let number: i32 = of_first.parse().unwrap();
    scene.order(&first, &["pause", "--topic", &scene.topic, "--partition", of_first]).await;
    until("the partition to be paused", async || held(&first, number.into()).await.is_some()).await;
    let ended = scene.consumers(&second, &["pause", "second", "--topic", &scene.topic, "--partition", of_first]).await;
    refused_with(&ended, 1, &["does not own partition", "409"]);
    first.stop().await;
    second.until_each_owns(2).await;
    until("the other to obey", async || held(&second, number.into()).await.as_deref() == Some("paused")).await;
    let sent = scene.send(events(0..2_000)).await;
    let of_other = i64::try_from(sent.iter().filter(|one| one.partition != number).count()).unwrap();
    scene.database.until_accounted(&scene.topic, of_other).await;
    assert_eq!(scene.database.progress(&scene.topic).await[&number].next, 0);
    scene.order(&second, &["resume", "--topic", &scene.topic, "--partition", of_first]).await;
    scene.database.until_accounted(&scene.topic, 2_000).await;
    let mut second = second;
    second.stop().await;
    assert_all_is_stored(&scene, &sent).await;
    let outcomes: Vec<String> = scene.logged_orders().await.into_iter().map(|(_, _, outcome)| outcome).collect();
    assert_eq!(outcomes, ["ok", "refused", "ok"]);
}

/// Whether it owns the partition.
async fn held_or_not(drover: &Drover, partition: i64) -> bool {
    let status = drover.status().await;
    let consumers = status["consumers"].as_array().unwrap().clone();
    consumers.iter().any(|one| one["partitions"].as_array().unwrap().iter().any(|one| one["partition"] == partition))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refusal_says_why_and_is_written_down_too() {
    let Some(scene) = Scene::new(1).await else { return };
    let mut drover = scene.run(1).start("drover");
    drover.until_ready().await;
    let of = |partition| ["--topic", scene.topic.as_str(), "--partition", partition];
    for (args, texts) in [
        (vec!["pause", "consumer-9"], vec!["no consumer \"consumer-9\"", "it hosts consumer-1", "404"]),
        (vec!["restart", "writer-9"], vec!["there is no child \"writer-9\"", "404"]),
        ([&["pause"], &of("7")[..]].concat(), vec!["has no partition 7", "404"]),
        (vec!["quarantine", "--topic", "other", "--partition", "0"], vec!["is not read here", &scene.topic, "404"]),
        (vec!["resume", "consumer-1"], vec!["is not paused", "409"]),
        ([&["release"], &of("0")[..]].concat(), vec!["is not quarantined", "409"]),
        (vec!["scale", "--consumers", "0"], vec!["0 consumers, and not 1 to 256", "422"]),
        (vec!["scale", "--writers", "65"], vec!["65 writers, and not 1 to 64", "422"]),
    ] {
        refused_with(&scene.consumers(&drover, &args).await, 1, &texts);
    }
    let logged = scene.logged_orders().await;
    assert_eq!(logged.len(), 8);
    assert!(logged.iter().all(|(_, _, outcome)| outcome == "refused"), "{logged:?}");
    let (status, shown) = drover.get("api/v1/audit-log?limit=1").await.unwrap();
    let shown: Value = serde_json::from_str(&shown).unwrap();
    assert_eq!((status, &shown["entries"][0]["target"]), (200, &"writers=65".into()), "the newest comes first");
    assert!(shown["entries"][0]["detail"]["message"].as_str().unwrap().contains("not 1 to 64"), "{shown}");
    assert!(
        drover.get("metrics").await.unwrap().1.contains(r#"drover_commands_total{action="scale",outcome="refused"} 2"#)
    );
    drover.stop().await;
    let gone = scene.drover(&["consumers", "list", "--url", "http://127.0.0.1:1"]).run("consumers").await;
    refused_with(&gone, 69, &["no drover answers at http://127.0.0.1:1/", "is it running", "--url"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_comes_from_the_environment_or_a_file_and_never_from_a_flag() {
    let Some(scene) = Scene::new(1).await else { return };
    let mut drover = scene.run(1).set("DROVER_HTTP_TOKEN", "a-very-secret-token").start("drover");
    drover.until_logged("page, API and metrics url=").await;
    let list = ["consumers", "list", "--url", &drover.url("").await];
    let ended = scene.drover(&list).run("consumers").await;
    refused_with(&ended, 77, &["wants a token", "DROVER_HTTP_TOKEN", "--token-file"]);
    let ended = scene.drover(&list).set("DROVER_HTTP_TOKEN", "another").run("consumers").await;
    refused_with(&ended, 77, &["or another one"]);
    assert!(!ended.log.contains("another\""), "{}", ended.log);
    let ended = scene.drover(&list).set("DROVER_HTTP_TOKEN", "a-very-secret-token").run("consumers").await;
    assert_eq!(ended.code, Some(0), "{}", ended.log);
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), "a-very-secret-token\n").unwrap();
    let ended = scene.drover(&list).arg("--token-file").arg(file.path().to_str().unwrap()).run("consumers").await;
    assert_eq!(ended.code, Some(0), "{}", ended.log);
    let ended = scene.drover(&list).arg("--token-file").arg("/nowhere").run("consumers").await;
    refused_with(&ended, 64, &["/nowhere"]);
    assert!(!drover.log().contains("a-very-secret-token"));
    drover.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_the_store_is_away_an_order_that_needs_none_is_carried_out_and_its_entry_is_counted_and_logged() {
    let Some(Servers { brokers, .. }) = servers::shared() else { return };
    let Some(postgres) = PrivatePostgres::start() else { return };
    let scene = Scene::on(&Servers { brokers, database_url: postgres.url() }, 1).await;
    let mut drover = scene.run(1).start("drover");
    let mut sent = scene.send(events(0..100)).await;
    scene.database.until_accounted(&scene.topic, 100).await;
    postgres.crash();
    scene.order(&drover, &["restart", "dead-letter"]).await;
    assert!(drover.log().contains("this line is all that there is of it"), "{}", drover.log());
    assert!(drover.get("metrics").await.unwrap().1.contains("drover_audit_log_failures_total 1"));
    let ended = scene.consumers(&drover, &["pause", "consumer-1"]).await;
    refused_with(&ended, 1, &["holds are kept in the store", "503"]);
    sent.extend(scene.send(events(100..200)).await);
    postgres.start_again();
    scene.database.until_accounted(&scene.topic, 200).await;
    scene.order(&drover, &["restart", "dead-letter"]).await;
    assert_eq!(scene.logged_orders().await, [("restart".into(), "dead-letter".into(), "ok".into())]);
    drover.stop().await;
    assert_all_is_stored(&scene, &sent).await;
}
