//! A fresh store for a test, gone afterwards: a SQLite file, or a schema of the PostgreSQL that TEST_DATABASE_URL names.

use diesel::connection::SimpleConnection as _;
use diesel::prelude::*;
use drover::config::StoreConfig;
use drover::store::postgres::connect::{PgSettings, connect};
use drover::store::{self, Store};
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

/// A store that nobody else uses, and the way to look into it with SQL.
pub struct TestStore {
    pub store: Arc<dyn Store>,
    pub config: StoreConfig,
    /// Removes the directory when dropped; `None` for PostgreSQL.
    directory: Option<tempfile::TempDir>,
}

pub fn config(url: &str, schema: &str) -> StoreConfig {
    StoreConfig {
        url: url.to_owned(),
        schema: schema.to_owned(),
        writers: 2,
        migrate: true,
        transaction_timeout: Duration::from_secs(30),
        lock_timeout: Duration::from_secs(10),
        probe_min: Duration::from_millis(100),
        probe_max: Duration::from_secs(1),
    }
}

pub fn settings(config: &StoreConfig) -> PgSettings {
    PgSettings {
        url: config.url.clone(),
        schema: config.schema.clone(),
        transaction_timeout: config.transaction_timeout,
        lock_timeout: config.lock_timeout,
    }
}

impl TestStore {
    /// The store as another process sees it. SQLite has only one process.
    pub fn of_another_process(&self) -> Arc<dyn Store> {
        match self.directory {
            Some(_) => Arc::clone(&self.store),
            None => store::open(&self.config).unwrap(),
        }
    }

    /// Runs statements behind drover's back.
    pub async fn execute(&self, sql: &str) {
        if self.directory.is_some() {
            self.sqlite().batch_execute(sql).unwrap();
        } else {
            connect(&settings(&self.config), "test").await.unwrap().batch_execute(sql).await.unwrap();
        }
    }

    /// The number that a query gives.
    pub async fn number(&self, sql: &str) -> i64 {
        if self.directory.is_some() {
            #[derive(QueryableByName)]
            struct Number {
                #[diesel(sql_type = diesel::sql_types::BigInt)]
                n: i64,
            }
            let sql = format!("SELECT ({sql}) AS n");
            diesel::sql_query(sql).get_result::<Number>(&mut self.sqlite()).unwrap().n
        } else {
            let sql = format!("SELECT ({sql})::bigint");
            connect(&settings(&self.config), "test").await.unwrap().query_one(&sql, &[]).await.unwrap().get(0)
        }
    }

    fn sqlite(&self) -> SqliteConnection {
        let path = self.config.url.strip_prefix("sqlite:").unwrap();
        let mut connection = SqliteConnection::establish(path).unwrap();
        connection.batch_execute("PRAGMA busy_timeout = 5000").unwrap();
        connection
    }
}

/// An empty SQLite store, not migrated.
pub fn empty_sqlite() -> TestStore {
    let directory = tempfile::tempdir().unwrap();
    let config = config(&format!("sqlite:{}", directory.path().join("drover.db").display()), "public");
    TestStore { store: store::open(&config).unwrap(), config, directory: Some(directory) }
}

/// An empty schema, not migrated; `None`, and a line that says so, when no server is given.
pub fn empty_postgres() -> Option<TestStore> {
    let Ok(url) = std::env::var("TEST_DATABASE_URL") else {
        println!("skipped: TEST_DATABASE_URL names no PostgreSQL");
        return None;
    };
    let schema = format!("test_{}", uuid::Uuid::new_v4().simple());
    let config = config(&url, &schema);
    Some(TestStore { store: store::open(&config).unwrap(), config, directory: None })
}

/// Runs a test on a store, and removes the store also when the test fails.
pub async fn run_on<F, Fut>(test_store: TestStore, migrated: bool, test: F)
where
    F: FnOnce(Arc<TestStore>) -> Fut,
    Fut: Future<Output = ()> + Send + 'static,
{
    if migrated {
        test_store.store.migrate().await.unwrap();
    }
    let test_store = Arc::new(test_store);
    let ended = tokio::spawn(test(Arc::clone(&test_store))).await;
    if test_store.directory.is_none() {
        test_store.execute(&format!("DROP SCHEMA IF EXISTS {} CASCADE", test_store.config.schema)).await;
    }
    if let Err(error) = ended {
        std::panic::resume_unwind(error.into_panic());
    }
}

/// Makes each test of the list run on both stores; with `migrated` saying whether the tables are there.
#[macro_export]
macro_rules! on_both_stores {
    ($migrated:literal: $($name:ident),* $(,)?) => {
        mod sqlite {
            use $crate::support::stores::{empty_sqlite, run_on};
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() {
                run_on(empty_sqlite(), $migrated, super::$name).await;
            })*
        }
        mod postgres {
            use $crate::support::stores::{empty_postgres, run_on};
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() {
                if let Some(test_store) = empty_postgres() {
                    run_on(test_store, $migrated, super::$name).await;
                }
            })*
        }
    };
}
