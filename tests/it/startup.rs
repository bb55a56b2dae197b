//! Starts that cannot succeed: they say what is missing, what to do, and end with the right code.

use crate::support::drover::{DroverCommand, Ended};
use crate::support::scene::Scene;

async fn run(settings: &[(&str, &str)]) -> Ended {
    let directory = tempfile::tempdir().unwrap();
    let mut command = DroverCommand::new(directory.path(), &["run", "--http-addr", "127.0.0.1:0"]);
    for (name, value) in settings {
        command = command.set(name, value);
    }
    command.run("drover").await
}

#[tokio::test]
async fn a_wrong_configuration_names_every_problem_at_once_and_exits_with_64() {
    let ended = run(&[
        ("DROVER_KAFKA_SESION_TIMEOUT", "6s"),
        ("MAX_CONSUMERS", "three"),
        ("DROVER_KAFKA_CONSUMER_ENABLE_AUTO_COMMIT", "true"),
        ("DATABASE_URL", "mysql://root:hunter2@localhost/db"),
    ])
    .await;
    assert_eq!(ended.code, Some(64), "{}", ended.log);
    for named in ["DROVER_KAFKA_SESION_TIMEOUT", "MAX_CONSUMERS", "three", "enable.auto.commit", "DATABASE_URL"] {
        assert!(ended.log.contains(named), "{named}: {}", ended.log);
    }
    assert!(
        ended.log.contains("SESSION_TIMEOUT") || ended.log.contains("session_timeout"),
        "the nearest name: {}",
        ended.log
    );
    assert!(!ended.log.contains("hunter2"), "no password is shown: {}", ended.log);
    assert_eq!(ended.stdout, "");
}

#[tokio::test]
async fn a_database_that_is_not_there_is_waited_for_and_named() {
    // Port 1 of loopback: nobody listens there.
    let ended = run(&[("DATABASE_URL", "postgres://u:hunter2@127.0.0.1:1/db"), ("DROVER_STARTUP_WAIT", "1s")]).await;
    assert_eq!(ended.code, Some(1), "{}", ended.log);
    for named in ["waiting for the store", "startup.wait", "127.0.0.1:1", "Connection refused"] {
        assert!(ended.log.contains(named), "{named}: {}", ended.log);
    }
    assert!(!ended.log.contains("hunter2"), "no password is shown: {}", ended.log);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broker_that_is_not_there_is_waited_for_and_named() {
    let Some(scene) = Scene::new(1).await else { return };
    let command = scene.run(1).set("KAFKA_BOOTSTRAP_SERVERS", "127.0.0.1:1").set("DROVER_STARTUP_WAIT", "4s");
    let ended = command.run("drover").await;
    assert_eq!(ended.code, Some(1), "{}", ended.log);
    for named in ["waiting for Kafka", "startup.wait", "127.0.0.1:1", "Connection refused"] {
        assert!(ended.log.contains(named), "{named}: {}", ended.log);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_missing_topic_is_named_and_created_only_on_request() {
    let Some(scene) = Scene::new(1).await else { return };
    let missing = format!("{}.dlq", scene.topic);
    let command = scene.run(1).set("KAFKA_TOPIC_USER_EVENTS", &missing).set("DROVER_DEAD_LETTERS_PUBLISH", false);
    let ended = command.run("drover").await;
    assert_eq!(ended.code, Some(1), "{}", ended.log);
    assert!(ended.log.contains(&missing) && ended.log.contains("does not exist"), "{}", ended.log);
    let mut drover = command.set("DROVER_KAFKA_CREATE_TOPICS", true).set("TOPIC_PARTITIONS", 2).start("drover-creates");
    drover.until_each_owns(2).await;
    drover.stop().await;
}
