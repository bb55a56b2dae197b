//! The storm guard against floods, single bad records and orders.

use super::*;
use crate::domain::record::OwnedRecord;
use proptest::prelude::*;

const LIMITS: StormLimits =
    StormLimits { consecutive: 5, ratio: 0.5, window: 20, release_after: Duration::from_secs(1) };

fn syntax(guard: &mut StormGuard, offset: i64) -> Option<Storm> {
    guard.dead(&DeadLetterCode::JsonSyntax, offset)
}

#[test]
fn so_many_in_a_row_are_a_storm_and_a_good_one_between_makes_it_none() {
    let mut guard = StormGuard::new(LIMITS);
    for round in 0..3 {
        for offset in 0..4 {
            assert_eq!(syntax(&mut guard, round * 10 + offset), None);
        }
        guard.good_many(6);
    }
    guard.good_many(20);
    guard.dead(&DeadLetterCode::FieldMissing, 99);
    let storm = (100..104).find_map(|offset| syntax(&mut guard, offset)).expect("the fifth in a row");
    assert_eq!(storm.rule, StormRule::Consecutive);
    assert_eq!(storm.to_string(), "5 dead letters in a row, most of them json.syntax, such as offset 100");
    assert_eq!(syntax(&mut guard, 104), None, "it starts fresh");
}

#[test]
fn a_share_of_the_last_records_is_a_storm_once_there_are_so_many() {
    let mut guard = StormGuard::new(LIMITS);
    let mut storm = None;
    let mut records = 0;
    while storm.is_none() && records < 100 {
        guard.good();
        storm = syntax(&mut guard, records);
        records += 2;
    }
    let storm = storm.expect("every second one");
    assert_eq!((storm.rule, storm.dead, storm.of, records), (StormRule::Ratio, 10, 20, 20));
    assert_eq!(
        storm.to_string(),
        "10 dead letters among the last 20 records, most of them json.syntax, such as offset 0"
    );
}

#[test]
fn limits_of_zero_are_off() {
    let mut guard = StormGuard::new(StormLimits { consecutive: 0, ratio: 0.0, ..LIMITS });
    assert!((0..1_000).all(|offset| syntax(&mut guard, offset).is_none()));
}

#[test]
fn what_an_operator_releases_passes_until_the_flood_is_over() {
    let mut guard = StormGuard::new(LIMITS);
    guard.pardon();
    assert!((0..1_000).all(|offset| syntax(&mut guard, offset).is_none()));
    guard.good_many(4);
    assert!(guard.is_pardoned());
    assert_eq!(syntax(&mut guard, 2_000), None);
    guard.good_many(5);
    assert!(!guard.is_pardoned());
    assert!((0..5).any(|offset| syntax(&mut guard, 3_000 + offset).is_some()));
}

#[test]
fn what_was_let_pass_does_not_count_against_what_follows_it() {
    let mut guard = StormGuard::new(LIMITS);
    guard.pardon();
    assert!((0..1_000).all(|offset| syntax(&mut guard, offset).is_none()));
    guard.good_many(5);
    assert_eq!(syntax(&mut guard, 2_000), None, "the flood is over, and one record is no storm");
}

proptest! {
    #[test]
    fn a_storm_comes_exactly_when_a_limit_is_passed(records in prop::collection::vec(prop::bool::weighted(0.45), 1..200)) {
        let mut guard = StormGuard::new(LIMITS);
        let mut since = Vec::new();
        for dead in records {
            since.push(dead);
            let run = since.iter().rev().take_while(|&&dead| dead).count();
            let last = &since[since.len().saturating_sub(20)..];
            let expected = dead && (run >= 5 || (last.len() == 20 && last.iter().filter(|&&dead| dead).count() >= 10));
            let storm = if dead { syntax(&mut guard, 0) } else { guard.good(); None };
            prop_assert_eq!(storm.is_some(), expected);
            if expected {
                since.clear();
            }
        }
    }
}

/// A batch with rows of two partitions in turn; offsets of both from 0.
fn batch(rows: i64) -> Batch {
    let mut batch = Batch::new("c");
    for offset in 0..rows {
        for partition in 0..2 {
            let slot = batch.slot("t", partition, 1, 0);
            let record = OwnedRecord { topic: "t".into(), partition, offset, ..OwnedRecord::default() };
            batch.push_row(slot, &record, "a", |out| out.push(0));
        }
    }
    batch
}

/// Refuses the rows of partition 1 that `bad` names, first to last, until the guard says storm.
fn refuse(guard: &mut BatchGuard, batch: &mut Batch, bad: impl Fn(i64) -> bool) -> Option<(u16, Storm)> {
    let code = DeadLetterCode::Database("22P02".into());
    while let Some(index) = batch.metas().iter().position(|meta| meta.slot == 1 && bad(meta.offset)) {
        if let Some(storm) = guard.refused(batch, index, &code) {
            return Some(storm);
        }
        batch.refuse(index, crate::domain::failure::Rejection::new(code.clone(), "m"), |_| (None, None));
    }
    None
}

#[test]
fn rows_refused_in_a_row_are_a_storm_of_their_partition_whatever_lies_between_of_others() {
    let mut guard = BatchGuard::new(LIMITS, Vec::new());
    let (slot, storm) = refuse(&mut guard, &mut batch(50), |offset| offset >= 10).expect("forty in a row");
    assert_eq!((slot, storm.rule, storm.dead, storm.example), (1, StormRule::Consecutive, 5, 10));
    assert_eq!(storm.code, "db.22P02");
    let mut guard = BatchGuard::new(LIMITS, Vec::new());
    assert_eq!(refuse(&mut guard, &mut batch(50), |offset| offset % 5 != 0 && offset < 10), None, "never five");
}

#[test]
fn a_share_of_refused_rows_is_a_storm_and_single_ones_in_a_large_batch_are_not() {
    let mut guard = BatchGuard::new(LIMITS, Vec::new());
    let (_, storm) = refuse(&mut guard, &mut batch(50), |offset| offset % 2 == 0).expect("every second one");
    assert_eq!((storm.rule, storm.dead, storm.of), (StormRule::Ratio, 10, 20));
    let mut guard = BatchGuard::new(LIMITS, Vec::new());
    assert_eq!(refuse(&mut guard, &mut batch(2_000), |offset| offset % 3 == 0), None);
    let mut guard = BatchGuard::new(LIMITS, vec![1]);
    assert_eq!(refuse(&mut guard, &mut batch(50), |_| true), None, "it may pass");
}
