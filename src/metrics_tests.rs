//! Tests of the metrics: every declaration registers, zeros exist, and what is revoked vanishes.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on should panic")]

use super::*;
use crate::domain::failure::DeadLetterCode;
use crate::domain::status::ChildState;

#[test]
fn every_declared_metric_registers_and_is_listed_once() {
    Metrics::new().unwrap();
    let mut names: Vec<_> = Metrics::all().iter().map(|m| m.name).collect();
    assert!(names.iter().all(|name| name.starts_with("drover_")));
    assert!(Metrics::all().iter().all(|m| (m.kind == "counter") == m.name.ends_with("_total")));
    assert!(Metrics::all().iter().all(|m| m.help.ends_with('.')));
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), Metrics::all().len());
}

#[test]
fn the_closed_lists_of_labels_are_those_of_the_domain() {
    assert_eq!(STATES, ChildState::ALL.map(ChildState::as_str));
    let codes: Vec<_> = DeadLetterCode::FIXED.iter().map(|c| (c.stage(), c.to_string())).collect();
    let known: Vec<_> = MESSAGE_ERRORS.iter().map(|&(stage, code)| (stage, code.to_owned())).collect();
    assert_eq!(known, codes);
}

#[test]
fn a_consumer_has_zeros_from_its_start() {
    let metrics = Metrics::new().unwrap();
    metrics.init_consumer("consumer-1", &["t".into()]);
    let text = metrics.encode().unwrap();
    for line in [
        r#"drover_messages_processed_total{consumer_id="consumer-1",outcome="stored",topic="t"} 0"#,
        r#"drover_messages_consumed_total{consumer_id="consumer-1",topic="t"} 0"#,
        r#"drover_message_errors_total{consumer_id="consumer-1",error_type="json.syntax",stage="decode",topic="t"} 0"#,
        r#"drover_consumer_restarts_total{cause="panicked",consumer_id="consumer-1"} 0"#,
    ] {
        assert!(text.lines().any(|l| l == line), "{line} is not in\n{text}");
    }
}

#[test]
fn one_state_of_a_consumer_is_one_and_the_others_are_zero() {
    let metrics = Metrics::new().unwrap();
    metrics.set_consumer_state("c", "starting");
    metrics.set_consumer_state("c", "running");
    for state in STATES {
        assert_eq!(metrics.consumer_state.with_label_values(&["c", state]).get(), i64::from(state == "running"));
    }
}

#[test]
fn the_gauges_of_a_revoked_partition_vanish_and_those_of_its_neighbour_stay() {
    let metrics = Metrics::new().unwrap();
    for partition in ["0", "1"] {
        metrics.consumer_lag_messages.with_label_values(&["c", "t", partition]).set(5);
        metrics.consumer_position_offset.with_label_values(&["c", "t", partition]).set(5);
        metrics.partition_end_offset.with_label_values(&["t", partition]).set(10);
    }
    metrics.set_partition_stopped("t", 0, "topic.recreated");
    metrics.set_partition_stopped("t", 0, "position.expired");
    metrics.set_partition_stopped("t", 1, "position.lost");
    let stopped = |text: &str| text.lines().filter(|l| l.starts_with("drover_partitions_stopped{")).count();
    assert_eq!(stopped(&metrics.encode().unwrap()), 2);

    metrics.clear_partition("c", "t", 0);
    let text = metrics.encode().unwrap();
    assert!(!text.contains(r#"partition="0""#), "{text}");
    assert_eq!(text.matches(r#"partition="1""#).count(), 4, "{text}");
}

#[test]
fn every_series_of_a_child_that_is_gone_goes_and_those_of_the_others_stay() {
    let metrics = Metrics::new().unwrap();
    for id in ["stays", "goes"] {
        metrics.init_consumer(id, &["t".into()]);
        metrics.set_consumer_state(id, "running");
        metrics.consumer_lag_messages.with_label_values(&[id, "t", "0"]).set(5);
        metrics.child_restarts.with_label_values(&[id, "consumer", "error"]).inc();
    }
    metrics.child_restarts.with_label_values(&["writer-2", "db_writer", "error"]).inc();
    metrics.forget_others(&["stays"], &["stays", "writer-1"]);
    let text = metrics.encode().unwrap();
    assert!(!text.contains("goes") && !text.contains("writer-2"), "{text}");
    for name in ["drover_consumer_state", "drover_messages_processed_total", "drover_consumer_lag_messages"] {
        let kept = |line: &str| line.starts_with(name) && line.contains("consumer_id=\"stays\"");
        assert!(text.lines().any(kept), "{name} is not in\n{text}");
    }
}
