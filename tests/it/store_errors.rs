//! The closed table of error classes, made to happen on a real PostgreSQL: through batches, and through the questions that
//! go another way.

use crate::support::batches::{TOPIC, event, push_row, registered, rows, store, store_error};
use crate::support::stores::{TestStore, empty_postgres, run_on, settings};
use drover::config::StoreConfig;
use drover::domain::batch::Batch;
use drover::domain::failure::FailureClass;
use drover::store::audit_log::AuditEntry;
use drover::store::offsets::{OffsetChange, PositionMove};
use drover::store::postgres::connect::connect;
use drover::store::{self, Store, StoreError, WriteError};
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;
use tokio_postgres::Client;

async fn on_postgres<F, Fut>(test: F)
where
    F: FnOnce(Arc<TestStore>) -> Fut,
    Fut: Future<Output = ()> + Send + 'static,
{
    if let Some(test_store) = empty_postgres() {
        run_on(test_store, true, test).await;
    }
}

fn is(error: &StoreError, class: FailureClass, code: &str) {
    assert_eq!((error.class, error.code.as_deref()), (class, Some(code)), "{error}");
}

async fn client(test: &TestStore) -> Client {
    connect(&settings(&test.config), "test").await.unwrap()
}

/// A client that holds the lock on a table.
async fn locked(test: &TestStore, table: &str) -> Client {
    let client = client(test).await;
    client.batch_execute(&format!("BEGIN; LOCK TABLE {table}")).await.unwrap();
    client
}

fn with(test: &TestStore, change: impl FnOnce(&mut StoreConfig)) -> Arc<dyn Store> {
    let mut config = test.config.clone();
    change(&mut config);
    store::open(&config).unwrap()
}

/// The URL with a setting of the session.
fn with_option(url: &str, option: &str) -> String {
    let mut url = url::Url::parse(url).unwrap();
    url.query_pairs_mut().append_pair("options", &format!("-c {option}"));
    url.to_string().replace('+', "%20")
}

async fn raise_on(test: &TestStore, table: &str, code: &str) {
    test.execute(&format!(
        "CREATE OR REPLACE FUNCTION raise_it() RETURNS trigger LANGUAGE plpgsql AS \
         $$ BEGIN RAISE EXCEPTION USING ERRCODE = '{code}', MESSAGE = 'made to happen'; END $$; \
         CREATE OR REPLACE TRIGGER raise_it BEFORE INSERT OR UPDATE ON {table} FOR EACH ROW EXECUTE FUNCTION raise_it()"
    ))
    .await;
}

fn rewind(moves: Vec<PositionMove>) -> (OffsetChange, AuditEntry) {
    let entry = AuditEntry {
        actor: "a@test".into(),
        action: "test".into(),
        target: TOPIC.into(),
        outcome: "ok".into(),
        detail: None,
    };
    (OffsetChange::Rewind { topic: TOPIC.into(), moves }, entry)
}

/// Waits until a session of this name waits for a lock on the store of the test, and gives back its pid.
async fn waiting(test: &TestStore, client: &Client, name: &str) -> i32 {
    let sql = "SELECT a.pid FROM pg_stat_activity a JOIN pg_locks l USING (pid) JOIN pg_class c ON c.oid = l.relation \
               JOIN pg_namespace n ON n.oid = c.relnamespace \
               WHERE a.application_name = $1 AND a.wait_event_type = 'Lock' AND n.nspname = $2";
    let deadline = Instant::now() + crate::support::wait::PATIENCE;
    loop {
        if let Some(row) = client.query(sql, &[&name, &test.config.schema]).await.unwrap().first() {
            return row.get(0);
        }
        assert!(Instant::now() < deadline, "{name} waits for a lock");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lock_wait_concerns_one_batch() {
    on_postgres(async |test: Arc<TestStore>| {
        registered(&test, &[(0, 0)]).await;
        let hasty = with(&test, |config| config.lock_timeout = Duration::from_millis(100));
        let _held = locked(&test, "partition_progress").await;
        is(&hasty.topic(TOPIC).await.unwrap_err(), FailureClass::RetryBatch, "55P03");
        let error = store_error(hasty.writer("w").write(&rows(0, 0..3)).await);
        is(&error, FailureClass::RetryBatch, "55P03");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_statement_that_was_cancelled_concerns_one_batch() {
    on_postgres(async |test: Arc<TestStore>| {
        registered(&test, &[(0, 0)]).await;
        let hasty = with(&test, |config| config.url = with_option(&config.url, "statement_timeout=200"));
        let _held = locked(&test, "partition_progress").await;
        is(&hasty.topic(TOPIC).await.unwrap_err(), FailureClass::RetryBatch, "57014");
        let error = store_error(hasty.writer("w").write(&rows(0, 0..3)).await);
        is(&error, FailureClass::RetryBatch, "57014");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deadlock_and_a_serialization_failure_concern_one_batch() {
    on_postgres(async |test: Arc<TestStore>| {
        registered(&test, &[(0, 10), (1, 10)]).await;
        let other = client(&test).await;
        // Whoever waits longest finds the deadlock; it shall not be this one.
        if other.batch_execute("SET deadlock_timeout = '1h'; SET lock_timeout = 0").await.is_err() {
            println!("skipped: the role may not set deadlock_timeout");
            return;
        }
        other.batch_execute("BEGIN; SELECT 1 FROM partition_progress WHERE partition = 1 FOR UPDATE").await.unwrap();
        let back = |partition| PositionMove { partition, incarnation: 1, from: 10, to: 5 };
        let (change, entry) = rewind(vec![back(0), back(1)]);
        let question = async {
            let store = with(&test, |config| config.lock_timeout = Duration::from_secs(20));
            store.change_offsets(&change, &entry).await
        };
        let crossing = async {
            let look = client(&test).await;
            let sql = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'drover/store' AND wait_event = 'transactionid' \
                       AND $1 = ANY (pg_blocking_pids(pid))";
            let own: i32 = other.query_one("SELECT pg_backend_pid()", &[]).await.unwrap().get(0);
            let deadline = Instant::now() + crate::support::wait::PATIENCE;
            while look.query_one(sql, &[&own]).await.unwrap().get::<_, i64>(0) == 0 {
                assert!(Instant::now() < deadline, "the other one waits");
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            other.batch_execute("SELECT 1 FROM partition_progress WHERE partition = 0 FOR UPDATE").await.unwrap();
            other.batch_execute("ROLLBACK").await.unwrap();
        };
        let (changed, ()) = tokio::join!(question, crossing);
        is(&changed.unwrap_err(), FailureClass::RetryBatch, "40P01");

        raise_on(&test, "partition_progress", "40001").await;
        is(&test.store.change_offsets(&change, &entry).await.unwrap_err(), FailureClass::RetryBatch, "40001");
        let error = store_error(test.store.writer("w").write(&rows(0, 10..13)).await);
        is(&error, FailureClass::RetryBatch, "40001");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_ends_a_session_opens_the_breaker() {
    on_postgres(async |test: Arc<TestStore>| {
        registered(&test, &[(0, 0)]).await;
        let _held = locked(&test, "partition_progress").await;
        // Not the one in a transaction, which sees the sessions of its first look for good.
        let look = client(&test).await;
        let end = async |name: &str| {
            let pid = waiting(&test, &look, name).await;
            look.query("SELECT pg_terminate_backend($1)", &[&pid]).await.unwrap();
        };
        let (asked, ()) = tokio::join!(test.store.topic(TOPIC), end("drover/store"));
        is(&asked.unwrap_err(), FailureClass::Breaker, "57P01");
        let mut writer = test.store.writer("ended");
        let batch = rows(0, 0..3);
        let (written, ()) = tokio::join!(writer.write(&batch), end("drover/ended"));
        is(&store_error(written), FailureClass::Breaker, "57P01");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_is_read_only_or_full_opens_the_breaker() {
    on_postgres(async |test: Arc<TestStore>| {
        registered(&test, &[(0, 0)]).await;
        let read_only = with(&test, |config| config.url = with_option(&config.url, "default_transaction_read_only=on"));
        let (change, entry) = rewind(vec![PositionMove { partition: 0, incarnation: 1, from: 0, to: 0 }]);
        is(&read_only.change_offsets(&change, &entry).await.unwrap_err(), FailureClass::Breaker, "25006");
        assert_eq!(read_only.ping().await.unwrap_err().class, FailureClass::Breaker);
        for code in ["25006", "53100", "53200", "58030", "57P03", "08006"] {
            raise_on(&test, "partition_progress", code).await;
            let error = store_error(test.store.writer("w").write(&rows(0, 0..3)).await);
            is(&error, FailureClass::Breaker, code);
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn refused_connections_are_told_apart() {
    on_postgres(async |test: Arc<TestStore>| {
        let role = format!("{}_none", test.config.schema);
        let admin = client(&test).await;
        if admin.batch_execute(&format!("CREATE ROLE {role} LOGIN CONNECTION LIMIT 0")).await.is_err() {
            println!("skipped: the role may not create roles");
            return;
        }
        let as_role = |name: &str| {
            let mut url = url::Url::parse(&test.config.url).unwrap();
            url.set_username(name).unwrap();
            with(&test, |config| config.url = url.to_string())
        };
        let full = as_role(&role).topics().await.unwrap_err();
        let unknown = as_role("nobody_of_this_name").topics().await.unwrap_err();
        admin.batch_execute(&format!("DROP ROLE {role}")).await.unwrap();
        is(&full, FailureClass::Breaker, "53300");
        assert_eq!(unknown.class, FailureClass::Configuration, "{unknown}");
        assert!(unknown.code.as_deref().is_some_and(|code| code.starts_with("28")), "{unknown}");
        let mut url = url::Url::parse(&test.config.url).unwrap();
        url.set_path("/no_such_database");
        let missing = with(&test, |config| config.url = url.to_string()).topics().await.unwrap_err();
        is(&missing, FailureClass::Configuration, "3D000");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_missing_table_and_a_missing_right_are_the_configuration() {
    on_postgres(async |test: Arc<TestStore>| {
        registered(&test, &[(0, 0)]).await;
        let mut writer = test.store.writer("w");
        store(&mut writer, &rows(0, 0..3)).await;
        test.execute("ALTER TABLE partition_progress RENAME TO elsewhere").await;
        let error = test.store.topic(TOPIC).await.unwrap_err();
        is(&error, FailureClass::Configuration, "42P01");
        assert!(error.message.contains("drover migrate"), "{error}");
        is(&store_error(writer.write(&rows(0, 3..6)).await), FailureClass::Configuration, "42P01");
    })
    .await;
}

/// Stores a batch of which some rows are refused; gives back the offsets and codes of those.
async fn refused(test: &TestStore, mut batch: Batch) -> Vec<(i64, String)> {
    let mut writer = test.store.writer("w");
    let mut refused = Vec::new();
    loop {
        match writer.write(&batch).await {
            Ok(_) => return refused,
            Err(WriteError::Row { index, code, message }) => {
                refused.push((batch.metas()[index].offset, code.clone()));
                let code = drover::domain::failure::DeadLetterCode::Database(code);
                let rejection = drover::domain::failure::Rejection::new(code, message);
                batch.refuse(index, rejection, drover::store::row::key_and_value);
            }
            Err(WriteError::Store(error) | WriteError::Differs { error, .. }) => panic!("{error}"),
        }
        assert!(refused.len() < 10, "{refused:?}");
    }
}

/// Rows of partition 0, with these offsets of another event type or document.
fn with_bad(from: i64, to: i64, bad: &[i64], value: &[u8]) -> Batch {
    let mut batch = Batch::new("consumer-1");
    let slot = batch.slot(TOPIC, 0, 1, from);
    for offset in from..to {
        let mut record = event(0, offset);
        if bad.contains(&offset) {
            record.value = Some(value.to_vec());
        }
        push_row(&mut batch, slot, &record);
    }
    batch
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bad_data_is_a_row_also_after_a_rewind() {
    on_postgres(async |test: Arc<TestStore>| {
        registered(&test, &[(0, 0)]).await;
        // One is found by the input of its type, which COPY meets at its line; the others only when the row is inserted,
        // which the staging table does for all rows in one statement.
        test.execute(
            "ALTER TABLE events ADD CHECK (payload ->> 'n' <> 'forbidden'); \
             CREATE INDEX ON events ((payload ->> 'long'))",
        )
        .await;
        let long = format!(r#"{{"event_type":"click","long":"{}"}}"#, incompressible());
        let cases: [(&[u8], &str); 3] = [
            (b"{no json", "22P02"),
            (br#"{"event_type":"click","n":"forbidden"}"#, "23514"),
            (long.as_bytes(), "54000"),
        ];
        let mut at = 0;
        for (value, code) in cases {
            let bad = [at + 120, at + 121, at + 199];
            let expected: Vec<_> = bad.iter().map(|&offset| (offset, code.to_owned())).collect();
            assert_eq!(refused(&test, with_bad(at, at + 200, &bad, value)).await, expected, "directly");
            at += 200;
            // Half of the next batch is stored already.
            store(&mut test.store.writer("w"), &rows(0, at..at + 100)).await;
            test.execute(&format!("UPDATE partition_progress SET next_offset = {at}")).await;
            let bad = [at + 120, at + 121, at + 199];
            let expected: Vec<_> = bad.iter().map(|&offset| (offset, code.to_owned())).collect();
            assert_eq!(refused(&test, with_bad(at, at + 200, &bad, value)).await, expected, "after a rewind");
            at += 200;
        }
        assert_eq!(test.number("SELECT count(*) FROM events").await, 1_200 - 18);
        assert_eq!(test.number("SELECT count(*) FROM dead_letters").await, 18);
        assert!(drover::store::audit::audit(test.store.as_ref(), &[], &mut |_| {}).await.unwrap().clean);
    })
    .await;
}

/// Text that does not become short enough for an index by compression.
fn incompressible() -> String {
    let mut state = 1_u64;
    std::iter::repeat_with(|| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        char::from(b'a' + u8::try_from((state >> 33) % 26).unwrap())
    })
    .take(20_000)
    .collect()
}
