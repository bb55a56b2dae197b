//! What only SQLite has to say: one process, and a file that may be missing or damaged.

use crate::support::batches::{TOPIC, rows, store};
use crate::support::stores::{empty_sqlite, run_on};
use drover::domain::failure::FailureClass;
use drover::store;
use std::collections::BTreeMap;

#[tokio::test]
async fn a_second_process_may_read_but_not_write() {
    run_on(empty_sqlite(), true, async |test: std::sync::Arc<crate::support::stores::TestStore>| {
        let second = store::open(&test.config).unwrap();
        let refused = second.claim_identity("c", "g").await.unwrap_err();
        assert_eq!(refused.class, FailureClass::Configuration);
        assert!(refused.message.contains(&std::process::id().to_string()), "{refused}");
        second.check_schema().await.unwrap();
        assert!(second.topics().await.unwrap().is_empty());
    })
    .await;
}

#[tokio::test]
async fn the_right_to_write_ends_with_the_store() {
    let directory = tempfile::tempdir().unwrap();
    let config = crate::support::stores::config(&format!("sqlite:{}", directory.path().join("a.db").display()), "");
    let first = store::open(&config).unwrap();
    first.migrate().await.unwrap();
    drop(first);
    let second = store::open(&config).unwrap();
    assert!(second.migrate().await.unwrap().is_empty());
}

#[tokio::test]
async fn reading_makes_no_file() {
    let test = empty_sqlite();
    let error = test.store.topics().await.unwrap_err();
    assert_eq!(error.class, FailureClass::Configuration);
    assert!(error.message.contains("drover migrate"), "{error}");
    assert!(!std::path::Path::new(test.config.url.strip_prefix("sqlite:").unwrap()).exists());
}

#[tokio::test]
async fn a_file_that_is_no_database_stops_loudly() {
    let test = empty_sqlite();
    std::fs::write(
        test.config.url.strip_prefix("sqlite:").unwrap(),
        "not a database, but long enough to be one".repeat(200),
    )
    .unwrap();
    let error = test.store.migrate().await.unwrap_err();
    assert_eq!((error.class, error.code.as_deref()), (FailureClass::Configuration, Some("SQLITE_NOTADB")), "{error}");
}

#[tokio::test]
async fn a_directory_that_is_missing_opens_the_breaker() {
    let config = crate::support::stores::config("sqlite:/nonexistent/drover.db", "");
    let error = store::open(&config).unwrap().migrate().await.unwrap_err();
    assert_eq!(error.class, FailureClass::Breaker);
    assert!(error.message.contains("/nonexistent/drover.db"), "{error}");
}

#[tokio::test]
async fn while_another_program_holds_the_file_the_batch_is_tried_again() {
    use diesel::connection::{Connection as _, SimpleConnection as _};
    let test = empty_sqlite();
    test.store.migrate().await.unwrap();
    test.store.register_topic(TOPIC, None, &BTreeMap::from([(0, 0)])).await.unwrap();
    let mut shell = diesel::SqliteConnection::establish(test.config.url.strip_prefix("sqlite:").unwrap()).unwrap();
    shell.batch_execute("BEGIN IMMEDIATE").unwrap();
    let mut writer = test.store.writer("w");
    let error = crate::support::batches::store_error(writer.write(&rows(0, 0..3)).await);
    assert_eq!((error.class, error.code.as_deref()), (FailureClass::RetryBatch, Some("SQLITE_BUSY")), "{error}");
    shell.batch_execute("ROLLBACK").unwrap();
    assert_eq!(store(&mut writer, &rows(0, 0..3)).await.rows, 3);
}

/// Not a benchmark, but the figure is printed: `cargo test -- --nocapture writes_many`.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sqlite_writes_many_rows_in_batches_of_ordinary_size() {
    let test = empty_sqlite();
    test.store.migrate().await.unwrap();
    test.store.register_topic(TOPIC, None, &BTreeMap::from([(0, 0)])).await.unwrap();
    let mut writer = test.store.writer("w");
    let batches: Vec<_> = (0..20).map(|i| rows(0, i * 5_000..(i + 1) * 5_000)).collect();
    let begun = std::time::Instant::now();
    for batch in &batches {
        assert_eq!(store(&mut writer, batch).await.rows, 5_000);
    }
    println!("{:.0} rows/s", 100_000.0 / begun.elapsed().as_secs_f64());
    assert_eq!(test.number("SELECT count(*) FROM events").await, 100_000);
}
