//! What only PostgreSQL has to say: connections that end, and servers that refuse. Needs TEST_DATABASE_URL.

use crate::support::batches::{TOPIC, event, rejection, rows, store, store_error};
use crate::support::proxy::Proxy;
use crate::support::stores::{TestStore, config, empty_postgres, run_on};
use drover::domain::batch::Batch;
use drover::domain::failure::FailureClass;
use std::collections::BTreeMap;
use std::sync::Arc;

macro_rules! on_postgres {
    ($($name:ident),* $(,)?) => {
        mod postgres {
            use super::{empty_postgres, run_on};
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() {
                if let Some(test_store) = empty_postgres() {
                    run_on(test_store, true, super::$name).await;
                }
            })*
        }
    };
}

on_postgres! {
    an_outbox_whose_connection_ends_fails_and_is_taken_anew,
    questions_go_on_after_their_connections_were_cut,
    a_wrong_login_is_a_matter_of_configuration_and_shows_no_password,
    migrations_wait_for_one_another_without_a_waiting_lock,
    a_server_that_is_read_only_opens_the_breaker,
    the_key_of_events_begins_with_its_numbers_and_documents_are_compressed_quickly,
}

/// Ends drover's own sessions of this name in this schema's tests.
async fn end_sessions(test: &TestStore, application_name: &str) {
    test.execute(&format!(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = '{application_name}' \
         AND pid IN (SELECT pid FROM pg_locks WHERE locktype = 'advisory' \
         AND ((classid::bigint << 32) | objid::bigint) = hashtextextended('drover outbox {}', 0))",
        test.config.schema
    ))
    .await;
}

async fn an_outbox_whose_connection_ends_fails_and_is_taken_anew(test: Arc<TestStore>) {
    test.store.register_topic(TOPIC, None, &BTreeMap::from([(0, 0)])).await.unwrap();
    let mut batch = Batch::new("consumer-1");
    let slot = batch.slot(TOPIC, 0, 1, 0);
    batch.push_dead_letter(slot, event(0, 0), rejection(), 1);
    store(&mut test.store.writer("w"), &batch).await;
    let mut outbox = test.store.outbox().await.unwrap().unwrap();
    assert_eq!(outbox.pending(10, &[]).await.unwrap().len(), 1);
    end_sessions(&test, "drover/outbox").await;
    let error = outbox.pending(10, &[]).await.err();
    assert!(error.is_some(), "the right is lost and that must be known");
    assert!(outbox.mark(&[]).await.is_err(), "for good");
    let deadline = tokio::time::Instant::now() + std::time::Duration::from_secs(20);
    let mut again = loop {
        if let Some(outbox) = test.store.outbox().await.unwrap() {
            break outbox;
        }
        assert!(tokio::time::Instant::now() < deadline);
    };
    assert_eq!(again.pending(10, &[]).await.unwrap().len(), 1);
}

async fn questions_go_on_after_their_connections_were_cut(test: Arc<TestStore>) {
    let mut url = url::Url::parse(&test.config.url).unwrap();
    let server = format!("{}:{}", url.host_str().unwrap(), url.port().unwrap_or(5432));
    let proxy = Proxy::to(server).await;
    url.set_host(Some("127.0.0.1")).unwrap();
    url.set_port(Some(proxy.port)).unwrap();
    let store = drover::store::open(&config(url.as_str(), &test.config.schema)).unwrap();
    assert!(store.topics().await.unwrap().is_empty());
    proxy.cut();
    let deadline = tokio::time::Instant::now() + std::time::Duration::from_secs(20);
    let mut outages = 0;
    loop {
        match store.topics().await {
            Ok(topics) => break assert!(topics.is_empty()),
            Err(error) => assert_eq!(error.class, FailureClass::Breaker, "an ended connection is an outage: {error}"),
        }
        outages += 1;
        assert!(tokio::time::Instant::now() < deadline);
    }
    assert!(outages <= 1, "one connection was idle, so one question can have met it: {outages}");
}

async fn a_wrong_login_is_a_matter_of_configuration_and_shows_no_password(test: Arc<TestStore>) {
    let mut url = url::Url::parse(&test.config.url).unwrap();
    url.set_password(Some("hunter2")).unwrap();
    url.set_path("/no_such_database");
    let error = drover::store::open(&config(url.as_str(), "s")).unwrap().ping().await.unwrap_err();
    assert_eq!((error.class, error.code.as_deref()), (FailureClass::Configuration, Some("3D000")), "{error}");
    assert!(error.message.contains("no_such_database") && !error.message.contains("hunter2"), "{error}");

    url.set_port(Some(1)).unwrap();
    let error = drover::store::open(&config(url.as_str(), "s")).unwrap().ping().await.unwrap_err();
    assert_eq!(error.class, FailureClass::Breaker, "{error}");
    assert!(!error.message.contains("hunter2"), "{error}");
}

async fn migrations_wait_for_one_another_without_a_waiting_lock(test: Arc<TestStore>) {
    let settings = crate::support::stores::settings(&test.config);
    let other = drover::store::postgres::connect::connect(&settings, "test").await.unwrap();
    let lock = format!("hashtextextended('drover migrate {}', 0)", test.config.schema);
    other.batch_execute(&format!("SELECT pg_advisory_lock({lock})")).await.unwrap();
    let migrating = tokio::spawn({
        let test = Arc::clone(&test);
        async move { test.store.migrate().await }
    });
    let connected = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'drover/migrate'";
    let deadline = tokio::time::Instant::now() + std::time::Duration::from_secs(20);
    while test.number(connected).await == 0 {
        assert!(tokio::time::Instant::now() < deadline);
    }
    assert_eq!(test.number("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted").await, 0);
    assert!(!migrating.is_finished());
    other.batch_execute(&format!("SELECT pg_advisory_unlock({lock})")).await.unwrap();
    assert!(migrating.await.unwrap().unwrap().is_empty());
}

async fn a_server_that_is_read_only_opens_the_breaker(test: Arc<TestStore>) {
    let mut read_only = test.config.clone();
    let mark = if read_only.url.contains('?') { '&' } else { '?' };
    read_only.url = format!("{}{mark}options=-c%20default_transaction_read_only%3Don", read_only.url);
    let store = drover::store::open(&read_only).unwrap();
    let error = store.ping().await.unwrap_err();
    assert_eq!(error.class, FailureClass::Breaker, "{error}");
    let error = store.register_topic("t", None, &BTreeMap::new()).await.unwrap_err();
    assert_eq!((error.class, error.code.as_deref()), (FailureClass::Breaker, Some("25006")), "{error}");
    test.store.register_topic(TOPIC, None, &BTreeMap::from([(0, 0)])).await.unwrap();
    let error = store_error(store.writer("w").write(&rows(0, 0..3)).await);
    assert_eq!((error.class, error.code.as_deref()), (FailureClass::Breaker, Some("25006")), "{error}");
    assert_eq!(store_rows(&test).await, 3);
}

async fn store_rows(test: &TestStore) -> u64 {
    store(&mut test.store.writer("w"), &rows(0, 0..3)).await.rows
}

async fn the_key_of_events_begins_with_its_numbers_and_documents_are_compressed_quickly(test: Arc<TestStore>) {
    let events = format!("'{}.events'::regclass", test.config.schema);
    let key = format!(
        "SELECT count(*) FROM pg_index WHERE indrelid = {events} AND indisprimary AND pg_get_indexdef(indexrelid) \
         LIKE '%(partition, incarnation, \"offset\", topic)'"
    );
    assert_eq!(test.number(&key).await, 1, "a text in front costs at each step down the tree");
    // Whether this server was built with lz4; it tells since it knows column compression.
    let knows = "SELECT count(*) FROM pg_settings WHERE name = 'default_toast_compression' AND 'lz4' = ANY (enumvals)";
    let lz4 = format!(
        "SELECT count(*) FROM pg_attribute a WHERE a.attrelid = {events} AND to_jsonb(a)->>'attcompression' = 'l'"
    );
    assert_eq!(test.number(&lz4).await, test.number(knows).await);
}
