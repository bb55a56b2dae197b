//! Large records: refused by name or set aside, and the memory of the process stays within what it was given.

use crate::support::events::{Event, events_to};
use crate::support::scene::Scene;
use crate::support::wait::until;

/// Bytes of records that `limits.memory` (128 MB) cannot hold, and of those that it can but `limits.record_bytes` refuses.
const HUGE: usize = 20_000_000;
const LARGE: usize = 12_000_000;
/// What it may take altogether: twice `limits.memory`. The limit counts what queues and batches hold; buffers of the wire on
/// both sides, the publisher's dead letter, and what the allocator has not given back come on top.
const MOST_KIB: u64 = 2 * 128_000_000 / 1024;

fn large(partition: i32, number: usize, bytes: usize) -> Event {
    // Of random bytes, so that nothing makes them smaller on the way.
    let value = (0..bytes).map(|_| rand::random::<u8>()).collect();
    Event {
        partition: Some(partition),
        key: Some(number.to_be_bytes().to_vec()),
        value: Some(value),
        ..Event::default()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn records_of_twenty_megabytes_are_refused_by_name_smaller_ones_set_aside_and_memory_holds() {
    let Some(scene) = Scene::for_large_records(3, HUGE + 1_000_000).await else { return };
    let good = scene.send(events_to(0, 0..100).chain(events_to(1, 100..200))).await;
    let mut drover = scene.run(3).start("drover");
    scene.database.until_accounted(&scene.topic, 200).await;
    drover.until_each_owns(1).await;
    let before = drover.peak_resident_kib();
    for number in 0..6 {
        scene.send([large(0, number, LARGE), large(1, number, HUGE), large(2, number, LARGE)]).await;
    }
    let reason = drover.until_not_ready("record.exceeds_memory").await;
    assert!(reason.contains(&format!("{}/1", scene.topic)) && reason.contains("limits.memory"), "{reason}");
    until("the others to be stored", async || {
        let progress = scene.database.progress(&scene.topic).await;
        progress[&0].next == 106 && progress[&2].next == 6 && progress[&1].next == 100
    })
    .await;
    let peak = drover.peak_resident_kib();
    println!("resident at most: {before} KiB before, {peak} KiB after");
    assert!(peak < MOST_KIB, "{before} KiB before, {peak} KiB after");
    assert_eq!(drover.terminate().await.code, Some(1), "a stopped partition is no clean end");
    scene.database.assert_stored(&scene.topic, &good).await;
    let sizes = "SELECT sum(length(value)) FROM dead_letters WHERE code = 'record.too_large'";
    assert_eq!(scene.database.number(sizes).await, Some(12 * i64::try_from(LARGE).unwrap()));
}
