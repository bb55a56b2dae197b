//! Rights that are taken away while drover runs: what they concern stops by name, the rest goes on, and all goes on when they
//! are given back.

use crate::support::events::events_to;
use crate::support::scene::Scene;
use crate::support::servers;
use crate::support::wait::until;

/// Runs Kafka's own tool for rights. The clients of the tests are all called ANONYMOUS.
fn rights(scene: &Scene, verb: &str, whose: &str, operation: &str, topic: &str) -> bool {
    let Some(script) = servers::kafka_script() else { return false };
    let mut tool = std::process::Command::new(script);
    tool.args(["tool", "org.apache.kafka.tools.AclCommand", "--bootstrap-server", &scene.brokers, verb, "--force"]);
    tool.args([whose, "User:ANONYMOUS", "--operation", operation, "--topic", topic]);
    let output = tool.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    true
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_topic_that_may_not_be_read_any_more_stops_alone_and_goes_on_when_it_may() {
    let (Some(open), Some(closed)) = (Scene::new(1).await, Scene::new(1).await) else { return };
    let mut sent = open.send(events_to(0, 0..100)).await;
    let mut other = closed.send(events_to(0, 0..100)).await;
    let both = format!("{},{}", open.topic, closed.topic);
    let mut drover = open.run(1).set("KAFKA_TOPIC_USER_EVENTS", &both).start("drover");
    open.database.until_accounted(&open.topic, 100).await;
    open.database.until_accounted(&closed.topic, 100).await;
    // A topic of which one right is named has no others but those that are named too.
    if !rights(&open, "--add", "--allow-principal", "All", &closed.topic) {
        println!("skipped: the script that starts Kafka is not named");
        return;
    }
    rights(&open, "--add", "--deny-principal", "Read", &closed.topic);
    other.extend(closed.send(events_to(0, 100..200)).await);
    let reason = drover.until_not_ready("topic.missing").await;
    assert!(reason.contains(&closed.topic) && !reason.contains(&open.topic), "{reason}");
    let stopped_at = open.database.progress(&closed.topic).await[&0].next;
    other.extend(closed.send(events_to(0, 200..300)).await);
    // The other one is read on, by the same consumer, which has not ended.
    sent.extend(open.send(events_to(0, 100..200)).await);
    open.database.until_accounted(&open.topic, 200).await;
    assert_eq!(drover.child("consumer-1").await.unwrap()["restarts"], 0);
    assert_eq!(open.database.progress(&closed.topic).await[&0].next, stopped_at);

    rights(&open, "--remove", "--deny-principal", "Read", &closed.topic);
    until("the topic to be read again", async || open.database.progress(&closed.topic).await[&0].next == 300).await;
    drover.until_ready().await;
    assert_eq!(drover.child("consumer-1").await.unwrap()["restarts"], 0);
    assert_eq!(drover.terminate().await.code, Some(0));
    open.database.assert_stored(&open.topic, &sent).await;
    open.database.assert_stored(&closed.topic, &other).await;
}
