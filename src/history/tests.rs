//! Tests of the looks, on a board that the test fills.
#![allow(clippy::unwrap_used, reason = "a missing value is the failure of the test")]

use super::*;
use crate::board::Identity;
use crate::domain::limiting::Stage;
use crate::domain::status::{BreakerStatus, ChildState};

fn sampler() -> Sampler {
    let identity = Identity { topics: vec!["user_events".into()], ..Identity::default() };
    Sampler::new(Arc::new(Board::new(identity, 0)), Metrics::new().unwrap())
}

fn child(id: &str, kind: ChildKind) -> ChildStatus {
    ChildStatus {
        id: id.into(),
        kind,
        state: ChildState::Running,
        since_ms: 1,
        generation: 2,
        restarts: 1,
        budget_left: 9,
        next_start_ms: None,
        last_exit: None,
    }
}

fn partition(next_offset: i64, end_offset: Option<i64>) -> PartitionStatus {
    PartitionStatus {
        topic: "user_events".into(),
        partition: 0,
        next_offset,
        read_offset: None,
        end_offset,
        lag: end_offset.map(|end| end - next_offset),
        newest_timestamp_ms: None,
        stopped: None,
        held: None,
    }
}

fn consumer(stored: u64, partitions: Vec<PartitionStatus>) -> ConsumerStatus {
    ConsumerStatus { id: "consumer-1".into(), stored, partitions, ..ConsumerStatus::default() }
}

#[test]
fn rates_follow_from_counts_and_survive_a_consumer_that_is_taken_away() {
    let sampler = sampler();
    let (board, metrics) = (&sampler.board, &sampler.metrics);
    board.set_children(vec![child("consumer-1", ChildKind::Consumer), child("writer-1", ChildKind::DbWriter)]);
    for second in 0..10_u64 {
        board.set_consumer(consumer(second * 500, vec![partition(second as i64 * 500, Some(5_000))]));
        metrics.messages_consumed.with_label_values(&["consumer-1", "user_events"]).inc_by(600);
        metrics.message_retries.with_label_values(&["consumer-1", "store"]).inc();
        sampler.look(second as i64 * 1_000);
    }
    let snapshot = sampler.latest(0);
    assert_eq!((snapshot.totals.stored, snapshot.totals.consumed, snapshot.totals.errors), (4_500, 6_000, 10));
    assert_eq!((snapshot.totals.restarts, snapshot.consumers[0].errors), (2, 10));
    assert_eq!((snapshot.rates.stored_per_s, snapshot.rates.consumed_per_s), (500.0, 600.0));
    assert_eq!((snapshot.consumers[0].stored_per_s, snapshot.lag), (500.0, Some(500)));
    assert!((snapshot.lag_trend_per_s.unwrap() + 500.0).abs() < 1e-6 && snapshot.time_to_zero_s.unwrap() < 1.01);
    board.set_children(vec![child("writer-1", ChildKind::DbWriter)]);
    metrics.forget_others(&[], &["writer-1"]);
    let snapshot = sampler.look(10_000);
    assert_eq!((snapshot.totals.stored, snapshot.totals.consumed, snapshot.totals.errors), (4_500, 6_000, 10));
    assert!(snapshot.consumers.is_empty());
    let history = sampler.history(5);
    assert_eq!(history.points, 11);
    assert_eq!(history.series["stored_per_s"][..3], [None, Some(500.0), Some(500.0)]);
    assert_eq!(history.consumers["consumer-1"]["stored_per_s"][10], None);
}

#[test]
fn the_age_of_what_is_behind_is_right_also_while_the_partition_is_paused() {
    let sampler = sampler();
    sampler.board.set_children(vec![child("consumer-1", ChildKind::Consumer)]);
    let look = |second: i64, next: i64, end: Option<i64>| {
        sampler.board.set_consumer(consumer(0, vec![partition(next, end)]));
        let snapshot = sampler.look(second * 1_000);
        assert_eq!(snapshot.lag_seconds, snapshot.consumers[0].partitions[0].lag_seconds);
        snapshot.lag_seconds
    };
    assert_eq!(look(0, 100, None), None, "the end is not known");
    assert_eq!(look(1, 100, Some(100)), Some(0.0));
    // Paused from here on, while ten records a second are written.
    for second in 2..600 {
        let age = look(second, 100, Some(100 + (second - 1) * 10)).unwrap();
        let expected = second as f64 - 1.05;
        assert!((age - expected).abs() < 0.1, "{age} after {expected}");
    }
    // It goes on, and has read half of it.
    let age = look(600, 3_100, Some(6_090)).unwrap();
    assert!((age - 299.0).abs() < 6.0, "{age}");
    assert_eq!(look(601, 6_090, Some(6_090)), Some(0.0));
}

#[test]
fn the_age_of_what_was_there_before_is_that_of_the_record_stored_last() {
    let sampler = sampler();
    sampler.board.set_children(vec![child("consumer-1", ChildKind::Consumer)]);
    let old = PartitionStatus { newest_timestamp_ms: Some(40_000), ..partition(50, Some(900)) };
    sampler.board.set_consumer(consumer(0, vec![old]));
    assert_eq!(sampler.look(100_000).lag_seconds, Some(60.0));
    sampler.board.set_consumer(consumer(0, vec![partition(0, Some(900))]));
    assert_eq!(sampler.look(101_000).lag_seconds, None, "nobody knows how old the first record is");
}

#[test]
fn the_stage_that_limits_follows_from_the_writers_and_the_breaker() {
    let sampler = sampler();
    sampler.board.set_children(vec![child("consumer-1", ChildKind::Consumer)]);
    assert_eq!(sampler.look(0).limiting_stage, Stage::Idle);
    sampler.board.set_consumer(consumer(0, vec![partition(0, Some(1_000_000))]));
    assert_eq!(sampler.look(1_000).limiting_stage, Stage::Fetch);
    sampler.metrics.queue_depth.with_label_values(&["writers"]).set(3);
    sampler.metrics.queue_capacity.with_label_values(&["writers"]).set(3);
    for second in 2..14 {
        sampler.metrics.store_batch_rows.observe(2_000.0);
        sampler.look(second * 1_000);
    }
    let snapshot = sampler.latest(0);
    assert_eq!((snapshot.limiting_stage, snapshot.writers), (Stage::Write, Writers { busy: 3, count: 3 }));
    sampler.board.set_breaker(BreakerStatus { open: true, ..BreakerStatus::default() });
    assert_eq!(sampler.look(14_000).limiting_stage, Stage::StoreAway);
}

#[test]
fn of_a_partition_whose_age_is_unknown_the_oldest_is_unknown_too() {
    let view = |age: Option<f64>| PartitionView { status: partition(0, Some(5)), lag_seconds: age };
    let ages = |ages: &[Option<f64>]| oldest(ages.iter().map(|&age| view(age)).collect::<Vec<_>>().iter());
    assert_eq!(ages(&[]), Some(0.0));
    assert_eq!(ages(&[Some(2.0), Some(7.0), Some(0.0)]), Some(7.0));
    assert_eq!(ages(&[Some(2.0), None]), None);
}
