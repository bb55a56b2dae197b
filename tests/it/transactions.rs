//! Topics of transactional producers: what was aborted is no row, and no marker holds a partition up.

use crate::support::database::Account;
use crate::support::events::{Event, Sent, event};
use crate::support::scene::Scene;
use crate::support::wait::{PATIENCE, until};
use rdkafka::ClientConfig;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer as _};

/// Sends events in one transaction and ends it so.
fn transaction(producer: &BaseProducer, topic: &str, events: &[Event], commit: bool) {
    producer.begin_transaction().unwrap();
    for event in events {
        let mut record: BaseRecord<'_, [u8], [u8]> = BaseRecord::to(topic);
        (record.partition, record.key, record.payload) =
            (event.partition, event.key.as_deref(), event.value.as_deref());
        producer.send(record).map_err(|(error, _)| error).unwrap();
    }
    // An abort would take back what has not left yet; these are to be on the log.
    producer.flush(PATIENCE).unwrap();
    if commit {
        producer.commit_transaction(PATIENCE).unwrap();
    } else {
        producer.abort_transaction(PATIENCE).unwrap();
    }
}

/// Fills partition 0 with rounds of a committed and an aborted transaction, partition 1 with the reverse, so that one log
/// ends in aborted records and the other in a marker. Gives back what was committed.
fn write_rounds(brokers: &str, topic: &str, rounds: usize) -> Vec<Sent> {
    let producer: BaseProducer = ClientConfig::new()
        .set("bootstrap.servers", brokers)
        .set("transactional.id", topic)
        .set("linger.ms", "0")
        .create()
        .unwrap();
    producer.init_transactions(PATIENCE).unwrap();
    let mut sent = Vec::new();
    let mut ends = [0, 0];
    for round in 0..rounds {
        for partition in [0, 1] {
            for commit in [partition == 0, partition == 1] {
                let numbers = round * 10..round * 10 + 10;
                let events: Vec<Event> =
                    numbers.map(|number| Event { partition: Some(partition), ..event(number) }).collect();
                transaction(&producer, topic, &events, commit);
                let end = &mut ends[usize::try_from(partition).unwrap()];
                if commit {
                    let offsets = *end..;
                    sent.extend(offsets.zip(&events).map(|(offset, event)| Sent {
                        partition,
                        offset,
                        event: event.clone(),
                    }));
                }
                // Ten records and the marker.
                *end += 11;
            }
        }
    }
    sent
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn aborted_records_are_no_rows_and_markers_are_gaps_also_at_the_end_of_the_log() {
    let Some(scene) = Scene::new(2).await else { return };
    let (brokers, topic) = (scene.brokers.clone(), scene.topic.clone());
    let sent = tokio::task::spawn_blocking(move || write_rounds(&brokers, &topic, 10)).await.unwrap();
    let mut drover = scene.run(1).start("drover");
    scene.database.until_accounted(&scene.topic, 2 * 10 * 22).await;
    until("the lag to fall to 0", async || drover.status().await["consumers"][0]["lag"] == 0).await;
    drover.stop().await;
    let accounts = scene.database.assert_stored(&scene.topic, &sent).await;
    let gaps = accounts.values().filter(|account| matches!(account, Account::Gap { .. })).count();
    assert_eq!(gaps, 2 * 10 * 12, "in each round ten aborted records and two markers in each partition");
    assert!(matches!(accounts[&(0, 219)], Account::Gap { .. }) && matches!(accounts[&(1, 219)], Account::Gap { .. }));
    let committed = scene.committed();
    assert_eq!((committed[&0].0, committed[&1].0), (220, 220), "lag tools see no lag");
    let audit = scene.drover(&["audit"]).run("audit").await;
    assert_eq!(audit.code, Some(0), "{}", audit.stdout);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_open_transaction_is_not_read_and_not_passed() {
    let Some(scene) = Scene::new(1).await else { return };
    let (brokers, topic) = (scene.brokers.clone(), scene.topic.clone());
    let producer = tokio::task::spawn_blocking(move || {
        let producer: BaseProducer = ClientConfig::new()
            .set("bootstrap.servers", &brokers)
            .set("transactional.id", &topic)
            .set("linger.ms", "0")
            .create()
            .unwrap();
        producer.init_transactions(PATIENCE).unwrap();
        let events: Vec<Event> = (0..5).map(|number| Event { partition: Some(0), ..event(number) }).collect();
        transaction(&producer, &topic, &events, true);
        producer.begin_transaction().unwrap();
        let value = event(5).value.unwrap();
        producer.send(BaseRecord::<(), _>::to(&topic).payload(&value)).map_err(|(error, _)| error).unwrap();
        producer.flush(PATIENCE).unwrap();
        producer
    })
    .await
    .unwrap();
    let mut drover = scene.run(1).start("drover");
    scene.database.until_accounted(&scene.topic, 6).await;
    // Behind the open transaction: it can be read only when that one has ended.
    let behind = scene.send([Event { partition: Some(0), ..event(6) }]).await;
    assert_eq!(behind[0].offset, 7);
    until("the lag to be 0 up to the open transaction", async || drover.status().await["consumers"][0]["lag"] == 0)
        .await;
    assert_eq!(scene.database.accounted(&scene.topic).await, 6);
    tokio::task::spawn_blocking(move || producer.commit_transaction(PATIENCE).unwrap()).await.unwrap();
    scene.database.until_accounted(&scene.topic, 9).await;
    drover.stop().await;
    let accounts = scene.database.assert_tiled(&scene.topic).await;
    let rows: Vec<i64> = accounts
        .iter()
        .filter(|(_, account)| matches!(account, Account::Row { .. }))
        .map(|((_, offset), _)| *offset)
        .collect();
    assert_eq!(rows, [0, 1, 2, 3, 4, 6, 7]);
}
