//! Holds in both stores.

use crate::support::stores::TestStore;
use drover::actors::holds::Holds;
use drover::domain::hold::{Hold, HoldKind, HoldScope};
use drover::store::faulty::{FaultyStore, StoreFaults};
use std::sync::Arc;
use std::time::Duration;

crate::on_both_stores! { true:
    a_hold_stays_until_it_is_released,
    a_scope_has_one_hold_of_each_kind_and_the_newest_stands,
    holds_whose_time_is_over_are_released_and_no_others,
    an_order_of_another_process_arrives_with_the_next_look,
    a_hold_that_was_insisted_on_is_written_down_later,
    a_hold_that_is_insisted_on_while_another_is_written_down_stands,
}

fn partition(partition: i32) -> HoldScope {
    HoldScope::Partition { topic: "t".into(), partition }
}

fn consumer(replica_id: &str) -> HoldScope {
    HoldScope::Consumer { consumer_id: "consumer-1".into(), replica_id: replica_id.into() }
}

fn hold(scope: HoldScope, kind: HoldKind, until_ms: Option<i64>) -> Hold {
    Hold { scope, kind, reason: "größer".into(), by: "somebody".into(), since_ms: 1_767_322_845_678, until_ms }
}

async fn a_hold_stays_until_it_is_released(test: Arc<TestStore>) {
    let placed = [
        hold(consumer("a"), HoldKind::Paused, None),
        hold(consumer("b"), HoldKind::Paused, None),
        hold(partition(1), HoldKind::Paused, Some(1_767_322_999_001)),
    ];
    for hold in &placed {
        test.store.place_hold(hold).await.unwrap();
    }
    assert_eq!(test.of_another_process().holds().await.unwrap(), placed);
    assert!(test.store.release_hold(&consumer("a"), HoldKind::Paused).await.unwrap());
    assert!(!test.store.release_hold(&consumer("a"), HoldKind::Paused).await.unwrap(), "it is gone");
    assert!(!test.store.release_hold(&consumer("b"), HoldKind::Quarantined).await.unwrap(), "another kind");
    assert_eq!(test.store.holds().await.unwrap(), placed[1..]);
}

async fn a_scope_has_one_hold_of_each_kind_and_the_newest_stands(test: Arc<TestStore>) {
    test.store.place_hold(&hold(partition(1), HoldKind::Quarantined, Some(1_900_000_000_000))).await.unwrap();
    test.store.place_hold(&hold(partition(1), HoldKind::Paused, None)).await.unwrap();
    let newer = Hold { reason: "another".into(), by: "b".into(), ..hold(partition(1), HoldKind::Quarantined, None) };
    test.store.place_hold(&newer).await.unwrap();
    assert_eq!(test.store.holds().await.unwrap(), [hold(partition(1), HoldKind::Paused, None), newer]);
}

async fn holds_whose_time_is_over_are_released_and_no_others(test: Arc<TestStore>) {
    let over = |number, at| hold(partition(number), HoldKind::Quarantined, at);
    for hold in [over(0, Some(1_800_000_000_000)), over(1, Some(1_800_000_000_001)), over(2, None)] {
        test.store.place_hold(&hold).await.unwrap();
    }
    let holds = Holds::new(Arc::clone(&test.store), "a");
    holds.refresh(1_799_999_999_999).await.unwrap();
    assert_eq!(holds.current().len(), 3);
    holds.refresh(1_800_000_000_000).await.unwrap();
    assert_eq!(**holds.current(), [over(1, Some(1_800_000_000_001)), over(2, None)]);
    assert_eq!(test.store.holds().await.unwrap(), **holds.current());
}

async fn an_order_of_another_process_arrives_with_the_next_look(test: Arc<TestStore>) {
    let here = Holds::new(Arc::clone(&test.store), "a");
    let there = Holds::new(test.of_another_process(), "b");
    let mut seen = here.subscribe();
    here.place(hold(partition(0), HoldKind::Paused, None)).await.unwrap();
    assert!(seen.has_changed().unwrap(), "at once in its own process");
    seen.mark_unchanged();
    there.refresh(0).await.unwrap();
    assert_eq!(there.current(), here.current());
    assert!(there.release(&partition(0), HoldKind::Paused).await.unwrap());
    assert!(there.current().is_empty());
    assert!(!seen.has_changed().unwrap());
    here.refresh(0).await.unwrap();
    assert!(seen.has_changed().unwrap() && here.current().is_empty());
    seen.mark_unchanged();
    here.refresh(0).await.unwrap();
    assert!(!seen.has_changed().unwrap(), "nobody is woken for nothing");
}

async fn a_hold_that_was_insisted_on_is_written_down_later(test: Arc<TestStore>) {
    let holds = Holds::new(Arc::clone(&test.store), "a");
    holds.insist(hold(partition(0), HoldKind::Quarantined, None));
    holds.insist(hold(partition(1), HoldKind::Quarantined, None));
    assert_eq!(holds.current().len(), 2, "obeyed at once");
    assert!(test.store.holds().await.unwrap().is_empty());
    assert!(holds.release(&partition(1), HoldKind::Quarantined).await.unwrap());
    holds.refresh(0).await.unwrap();
    assert_eq!(**holds.current(), [hold(partition(0), HoldKind::Quarantined, None)]);
    assert_eq!(test.store.holds().await.unwrap(), **holds.current());
}

async fn a_hold_that_is_insisted_on_while_another_is_written_down_stands(test: Arc<TestStore>) {
    let faults = Arc::new(StoreFaults::default());
    let slow = FaultyStore::new(Arc::clone(&test.store), Arc::clone(&faults));
    let holds = Holds::new(Arc::new(slow), "a");
    let (first, second) =
        (hold(partition(1), HoldKind::Quarantined, None), hold(partition(2), HoldKind::Quarantined, None));
    holds.insist(first.clone());
    faults.set_delay(Duration::from_millis(50));
    // Polled in this order: the refresh waits for the store when the second is insisted on.
    let (refreshed, ()) = tokio::join!(holds.refresh(0), async { holds.insist(second.clone()) });
    refreshed.unwrap();
    assert_eq!(*holds.current(), [first.clone(), second.clone()]);
    faults.clear();
    holds.refresh(0).await.unwrap();
    assert_eq!(test.store.holds().await.unwrap(), [first, second]);
}
