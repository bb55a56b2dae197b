//! Tests of the board: what turns readiness red, and what does not.

use super::*;
use crate::domain::status::{ExitReason, ExitRecord, PartitionStatus, PartitionStop};

fn child(id: &str, kind: ChildKind, state: ChildState) -> ChildStatus {
    ChildStatus {
        id: id.into(),
        kind,
        state,
        since_ms: 0,
        generation: 1,
        restarts: 0,
        budget_left: 5,
        next_start_ms: None,
        last_exit: None,
    }
}

fn consumer(state: ChildState) -> ChildStatus {
    child("consumer-1", ChildKind::Consumer, state)
}

/// A board on which everything is in order.
fn green() -> Board {
    let board = Board::new(Identity::default(), 0);
    board.set_store_ok(true);
    board
        .set_children(vec![consumer(ChildState::Running), child("writer-1", ChildKind::DbWriter, ChildState::Running)]);
    assert_eq!(board.readiness(), Readiness { ready: true, reasons: vec![] });
    board
}

/// The only reason for which the board is red.
fn reason(board: &Board) -> String {
    let readiness = board.readiness();
    assert!(!readiness.ready);
    assert_eq!(readiness.reasons.len(), 1, "{:?}", readiness.reasons);
    readiness.reasons[0].clone()
}

#[test]
fn a_process_that_has_done_nothing_yet_is_red_for_its_consumers_and_its_store() {
    let board = Board::new(Identity::default(), 0);
    assert_eq!(board.readiness().reasons, ["no consumer has been started yet", "the store has not answered yet"]);
    board.set_children(vec![consumer(ChildState::Starting)]);
    board.set_store_ok(true);
    assert_eq!(reason(&board), "consumer consumer-1 is starting, not running");
    board.set_children(vec![consumer(ChildState::Running)]);
    assert!(board.readiness().ready);
}

#[test]
fn a_rebalance_is_red_only_before_the_consumer_has_run_in_this_generation() {
    let board = green();
    let mut rebalancing = consumer(ChildState::Rebalancing);
    board.set_children(vec![rebalancing.clone()]);
    assert!(board.readiness().ready);
    rebalancing.generation = 2;
    board.set_children(vec![rebalancing]);
    assert_eq!(reason(&board), "consumer consumer-1 is rebalancing, not running");
}

#[test]
fn a_pause_by_order_is_in_order_and_a_stop_is_not() {
    let board = green();
    board.set_children(vec![consumer(ChildState::Paused)]);
    assert!(board.readiness().ready);
    board.set_children(vec![consumer(ChildState::Stopped)]);
    assert_eq!(reason(&board), "consumer consumer-1 is stopped, not running");
}

#[test]
fn a_failed_child_of_any_kind_is_named_with_its_cause() {
    let board = green();
    let mut failed = child("dead-letter", ChildKind::DeadLetter, ChildState::Failed);
    failed.last_exit = Some(ExitRecord {
        reason: ExitReason::Panicked,
        message: "index out of bounds".into(),
        location: None,
        at_ms: 1,
        generation: 1,
    });
    board.set_children(vec![consumer(ChildState::Running), failed]);
    assert_eq!(
        reason(&board),
        "dead_letter dead-letter has failed and is not started again (panicked: index out of bounds)"
    );
}

#[test]
fn a_writer_that_backs_off_is_the_breakers_business() {
    let board = green();
    board.set_children(vec![
        consumer(ChildState::Running),
        child("writer-1", ChildKind::DbWriter, ChildState::BackingOff),
    ]);
    assert!(board.readiness().ready);
    board.set_breaker(BreakerStatus { open: true, cause: Some("connection refused".into()), ..Default::default() });
    board.set_store_ok(false);
    assert_eq!(reason(&board), "the breaker in front of the store is open: connection refused");
    board.set_breaker(BreakerStatus::default());
    assert_eq!(reason(&board), "the store does not answer");
}

#[test]
fn a_stopped_partition_is_named_until_its_consumer_ends() {
    let board = green();
    board.set_consumer(ConsumerStatus {
        id: "consumer-1".into(),
        stored: 7,
        partitions: vec![PartitionStatus {
            topic: "user_events".into(),
            partition: 2,
            next_offset: 10,
            read_offset: None,
            end_offset: Some(20),
            lag: Some(10),
            held: None,
            newest_timestamp_ms: None,
            stopped: Some(PartitionStop {
                code: "position.expired".into(),
                message: "Kafka starts at 15".into(),
                since_ms: 1,
            }),
        }],
        ..Default::default()
    });
    assert_eq!(reason(&board), "partition user_events/2 is stopped with position.expired: Kafka starts at 15");
    board.set_children(vec![consumer(ChildState::BackingOff)]);
    assert_eq!(reason(&board), "consumer consumer-1 has ended and will be started again (the cause is not known)");
    assert_eq!(board.consumers()[0].stored, 7);
}

#[test]
fn draining_is_the_one_reason_of_a_process_that_stops() {
    let board = green();
    board.set_children(vec![consumer(ChildState::Stopped)]);
    board.set_draining();
    assert_eq!(reason(&board), "the process is draining and will exit");
}

#[test]
fn the_age_of_the_heartbeat_is_known_after_the_first() {
    let board = green();
    assert_eq!(board.beat_age(), None);
    board.beat();
    assert!(board.beat_age().is_some());
}

#[test]
fn a_subscriber_sees_a_change_of_the_children() {
    let board = green();
    let mut changes = board.subscribe();
    assert!(!changes.has_changed().unwrap_or(false));
    board.set_children(vec![]);
    assert!(changes.has_changed().unwrap_or(false));
    assert!(changes.borrow_and_update().is_empty());
}

#[test]
fn what_a_consumer_that_was_taken_away_has_stored_still_counts_and_its_partitions_are_gone() {
    let board = green();
    let status = |stored: u64| ConsumerStatus { id: "consumer-1".into(), stored, ..ConsumerStatus::default() };
    board.set_consumer(status(7));
    board.set_children(vec![child("consumer-2", ChildKind::Consumer, ChildState::Running)]);
    assert!(board.consumers().is_empty());
    assert_eq!(board.retired().stored, 7);
    // One that gets its id later is another one.
    board.set_children(vec![consumer(ChildState::Running)]);
    board.set_consumer(status(2));
    board.set_children(vec![child("consumer-2", ChildKind::Consumer, ChildState::Running)]);
    assert_eq!(board.retired().stored, 9);
    assert!(board.readiness().ready);
}
