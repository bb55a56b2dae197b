//! A benchmark's session with PostgreSQL.
//!
//! One connection of its own, named `drover-bench`, so that it is not counted among drover's; its statements are prepared
//! once. Beside the schema that is measured it reads `pg_stat_activity` and the position of the write-ahead log.

use super::connect::{PgSettings, connect, error_from};
use crate::domain::failure::FailureClass;
use crate::store::StoreError;
use crate::store::bench::{
    ASK_TIMEOUT, Account, Backend, BenchSession, COUNT_TIMEOUT, Passage, SENT_FIELD, ServerFacts, own,
};
use futures::FutureExt as _;
use futures::TryStreamExt as _;
use futures::future::BoxFuture;
use std::future::Future;
use std::time::Duration;
use tokio_postgres::{Client, Error, Statement};

/// What decides how much a commit is worth, and what the server does beside.
const SETTINGS: [&str; 7] = [
    "fsync",
    "synchronous_commit",
    "full_page_writes",
    "autovacuum",
    "shared_buffers",
    "max_wal_size",
    "track_commit_timestamp",
];
const STORED: &str =
    "SELECT coalesce(sum(next_offset - first_offset), 0)::bigint FROM partition_progress WHERE topic = $1";
const BACKENDS: &str = "SELECT pid FROM pg_stat_activity WHERE application_name LIKE 'drover/%' AND backend_start > \
    (SELECT backend_start FROM pg_stat_activity WHERE pid = pg_backend_pid())";
const ACCOUNT: &str = "SELECT (SELECT count(*) FROM events WHERE topic = $1), \
    (SELECT count(*) FROM dead_letters WHERE topic = $1), \
    (SELECT count(*) FROM (SELECT partition, \"offset\" FROM events WHERE topic = $1 \
     UNION SELECT partition, \"offset\" FROM dead_letters WHERE topic = $1) AS accounted)";

/// See the module.
pub struct PgBench {
    client: Client,
    schema: String,
    stored: Option<Statement>,
    commit_timestamps: bool,
}

impl PgBench {
    /// Connects.
    ///
    /// # Errors
    /// Class configuration when the schema is not a benchmark's own; as a connection does.
    pub async fn open(settings: &PgSettings) -> Result<Self, StoreError> {
        own(&settings.schema)?;
        let client = connect(settings, "drover-bench").await?;
        let schema = settings.schema.clone();
        Ok(Self { client, schema, stored: None, commit_timestamps: false })
    }

    async fn read_facts(&mut self) -> Result<ServerFacts, Error> {
        let mut facts = ServerFacts::default();
        let names = SETTINGS.as_slice();
        let rows = self
            .client
            .query(
                "SELECT name, CASE WHEN unit = '8kB' THEN pg_size_pretty(setting::bigint * 8192) \
                 ELSE setting || coalesce(unit, '') END FROM pg_settings WHERE name = ANY($1)",
                &[&names],
            )
            .await?;
        for row in rows {
            facts.settings.insert(row.try_get(0)?, row.try_get(1)?);
        }
        self.commit_timestamps = facts.settings.get("track_commit_timestamp").is_some_and(|value| value == "on");
        facts.commit_timestamps = self.commit_timestamps;
        let row = self
            .client
            .query_one("SELECT current_setting('server_version'), pg_backend_pid(), inet_client_port()", &[])
            .await?;
        facts.version = format!("PostgreSQL {}", row.try_get::<_, &str>(0)?);
        facts.backend = Some(Backend { pid: row.try_get(1)?, client_port: row.try_get(2)? });
        Ok(facts)
    }

    async fn read_stored(&mut self, topic: &str) -> Result<i64, Error> {
        let statement = match &self.stored {
            Some(statement) => statement,
            None => self.stored.insert(self.client.prepare(STORED).await?),
        };
        self.client.query_one(statement, &[&topic]).await?.try_get(0)
    }

    async fn read_wal(&self) -> Result<Option<i64>, Error> {
        // A standby has no position of its own.
        let sql = "SELECT CASE WHEN pg_is_in_recovery() THEN NULL \
                   ELSE pg_wal_lsn_diff(pg_current_wal_lsn(), '0/0')::bigint END";
        self.client.query_one(sql, &[]).await?.try_get(0)
    }

    async fn read_account(&self, topic: &str) -> Result<Account, Error> {
        let row = self.client.query_one(ACCOUNT, &[&topic]).await?;
        let count = |at| Ok::<_, Error>(u64::try_from(row.try_get::<_, i64>(at)?).unwrap_or(0));
        Ok(Account { rows: count(0)?, dead_letters: count(1)?, distinct: count(2)? })
    }

    async fn read_passages(&self, topic: &str) -> Result<Vec<Passage>, Error> {
        let stored = if self.commit_timestamps { "pg_xact_commit_timestamp(xmin)" } else { "stored_at" };
        let sql = format!(
            "SELECT (payload->>'{SENT_FIELD}')::bigint, (extract(epoch FROM {stored}) * 1000000)::bigint FROM events \
             WHERE topic = $1 AND payload ? '{SENT_FIELD}'"
        );
        let rows = self.client.query_raw(&sql, [topic]).await?;
        let passage =
            async |row: tokio_postgres::Row| Ok(Passage { sent_us: row.try_get(0)?, stored_us: row.try_get(1)? });
        rows.and_then(passage).try_collect().await
    }
}

async fn bounded<T>(
    what: &str,
    limit: Duration,
    answer: impl Future<Output = Result<T, Error>>,
) -> Result<T, StoreError> {
    match tokio::time::timeout(limit, answer).await {
        Ok(answer) => answer.map_err(|error| error_from(&error, what)),
        Err(_) => Err(StoreError {
            class: FailureClass::Breaker,
            code: None,
            message: format!("{what}: PostgreSQL did not answer within {limit:?}"),
        }),
    }
}

impl BenchSession for PgBench {
    fn facts(&mut self) -> BoxFuture<'_, Result<ServerFacts, StoreError>> {
        bounded("asking the server about itself", ASK_TIMEOUT, self.read_facts()).boxed()
    }

    fn stored<'a>(&'a mut self, topic: &'a str) -> BoxFuture<'a, Result<u64, StoreError>> {
        async move {
            let stored = bounded("reading the positions", ASK_TIMEOUT, self.read_stored(topic)).await?;
            Ok(u64::try_from(stored).unwrap_or(0))
        }
        .boxed()
    }

    fn wal_bytes(&mut self) -> BoxFuture<'_, Result<Option<u64>, StoreError>> {
        async {
            let bytes = bounded("reading the position of the write-ahead log", ASK_TIMEOUT, self.read_wal()).await?;
            Ok(bytes.and_then(|bytes| u64::try_from(bytes).ok()))
        }
        .boxed()
    }

    fn backends(&mut self) -> BoxFuture<'_, Result<Vec<i32>, StoreError>> {
        async {
            let rows = bounded("listing sessions", ASK_TIMEOUT, self.client.query(BACKENDS, &[])).await?;
            Ok(rows.iter().filter_map(|row| row.try_get(0).ok()).collect())
        }
        .boxed()
    }

    fn account<'a>(&'a mut self, topic: &'a str) -> BoxFuture<'a, Result<Account, StoreError>> {
        bounded("counting what is stored", COUNT_TIMEOUT, self.read_account(topic)).boxed()
    }

    fn passages<'a>(&'a mut self, topic: &'a str) -> BoxFuture<'a, Result<Vec<Passage>, StoreError>> {
        bounded("reading the times of commits", COUNT_TIMEOUT, self.read_passages(topic)).boxed()
    }

    fn remove(&mut self) -> BoxFuture<'_, Result<(), StoreError>> {
        async {
            let sql = format!("DROP SCHEMA IF EXISTS {} CASCADE", self.schema);
            bounded("removing the schema of the benchmark", COUNT_TIMEOUT, self.client.batch_execute(&sql)).await
        }
        .boxed()
    }
}
