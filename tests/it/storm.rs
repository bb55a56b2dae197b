//! The storm guard: a topic whose records all fail is quarantined, not sent to the dead-letter table.

use crate::support::embedded::{TOPIC, with_embedded};
use crate::support::events::{Event, events_to};
use crate::support::scene::Scene;
use crate::support::wait::until;
use drover::domain::record::OwnedRecord;
use drover::processor::{Processed, Processor, ProcessorError};
use std::sync::Arc;

/// Events whose schema has changed: no `event_type`.
fn changed(partition: i32, number: usize) -> Event {
    let value = format!(r#"{{"type":"a","number":{number}}}"#).into_bytes();
    Event { partition: Some(partition), value: Some(value), ..Event::default() }
}

/// Events that decode, and that the database refuses.
fn refused(partition: i32, number: usize) -> Event {
    let value = format!(r#"{{"event_type":"a","number":{number},"x":1e999999}}"#).into_bytes();
    Event { partition: Some(partition), value: Some(value), ..Event::default() }
}

/// Refuses everything.
struct Refuses;

impl Processor for Refuses {
    fn process(&self, _: OwnedRecord) -> Processed<'_> {
        Box::pin(async { Err(ProcessorError::Permanent("never".into())) })
    }
}

#[test]
fn the_mark_of_a_partition_that_is_held_outlives_the_late_end_of_its_former_owner() {
    let settings = [("consumers.count", "1"), ("storm.consecutive", "10")];
    with_embedded(Arc::new(Refuses), 1, &settings, |drover| async move {
        drover.send(0, 100).await;
        let held = drover.metrics.partition_held.clone();
        let marked = async || held.with_label_values(&[TOPIC, "0", "quarantined"]).get() == 1;
        until("the partition to be marked as quarantined", marked).await;
        drover.metrics.clear_partition("former", TOPIC, 0);
        until("the mark to be there again", marked).await;
    });
}

async fn release(scene: &Scene) {
    until("the quarantine to be in the store", async || {
        scene.database.number("SELECT count(*) FROM holds").await == Some(1)
    })
    .await;
    scene.database.execute("DELETE FROM holds").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_schema_that_changed_quarantines_its_partition_and_no_other_and_passes_when_somebody_releases_it() {
    let Some(scene) = Scene::new(2).await else { return };
    let good = scene.send(events_to(0, 0..500).chain(events_to(1, 500..1_000))).await;
    let bad = scene.send((0..3_000).map(|number| changed(0, number))).await;
    let mut drover = scene.run(1).start("drover");
    let reason = drover.until_not_ready("quarantined by storm guard").await;
    assert!(reason.contains(&format!("{}/0", scene.topic)) && reason.contains("field.missing"), "{reason}");
    assert!(reason.contains("100 dead letters in a row") && reason.contains("offset 5"), "{reason}");
    let more = scene.send(events_to(1, 1_000..2_000)).await;
    until("the other partition to be read on", async || scene.database.progress(&scene.topic).await[&1].next == 1_500)
        .await;
    until("what was taken to be stored", async || scene.database.progress(&scene.topic).await[&0].next == 600).await;
    assert_eq!(scene.database.number("SELECT count(*) FROM dead_letters").await, Some(100), "and no more");

    release(&scene).await;
    scene.database.until_accounted(&scene.topic, 5_000).await;
    drover.until_ready().await;
    drover.stop().await;
    assert_eq!(scene.database.number("SELECT count(*) FROM dead_letters").await, Some(3_000));
    scene.database.assert_stored(&scene.topic, &[good, more].concat()).await;
    assert_eq!(bad.len(), 3_000);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rows_that_the_database_refuses_in_numbers_are_given_back_unstored() {
    let Some(scene) = Scene::new(2).await else { return };
    scene.send((0..400).map(|number| refused(0, number))).await;
    let good = scene.send(events_to(1, 0..1_000)).await;
    let mut drover = scene.run(1).set("DROVER_STORM_CONSECUTIVE", 20).start("drover");
    let reason = drover.until_not_ready("quarantined by storm guard").await;
    assert!(reason.contains("20 dead letters in a row, most of them db.22003"), "{reason}");
    until("the other partition to be stored", async || scene.database.progress(&scene.topic).await[&1].next == 1_000)
        .await;
    let letters = scene.database.number("SELECT count(*) FROM dead_letters").await;
    assert!(letters.is_some_and(|letters| letters < 40), "{letters:?}");
    release(&scene).await;
    scene.database.until_accounted(&scene.topic, 1_400).await;
    drover.stop().await;
    assert_eq!(scene.database.number("SELECT count(*) FROM dead_letters").await, Some(400));
    scene.database.assert_stored(&scene.topic, &good).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn limits_that_are_off_let_a_flood_through() {
    let Some(scene) = Scene::new(1).await else { return };
    scene.send((0..2_000).map(|number| changed(0, number))).await;
    let command = scene.run(1).set("DROVER_STORM_CONSECUTIVE", 0).set("DROVER_STORM_RATIO", 0);
    let mut drover = command.start("drover");
    scene.database.until_accounted(&scene.topic, 2_000).await;
    drover.stop().await;
    assert_eq!(scene.database.number("SELECT count(*) FROM dead_letters").await, Some(2_000));
}
