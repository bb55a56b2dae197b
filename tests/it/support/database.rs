//! What the database holds, read with SQL of the tests' own: the program is not asked about itself.

use super::events::Sent;
use super::wait::{PATIENCE, until, until_some};
use serde_json::Value;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};
use tokio_postgres::types::ToSql;
use tokio_postgres::{Client, NoTls, Row};

/// A schema of a server.
#[derive(Debug, Clone)]
pub struct Database {
    url: String,
    schema: String,
}

/// How far a partition is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    pub first: i64,
    pub next: i64,
}

/// What accounts for an offset.
#[derive(Debug, Clone, PartialEq)]
pub enum Account {
    Row { key: Option<Vec<u8>>, payload: Option<Value>, consumer_id: String },
    DeadLetter { code: String },
    Gap { reason: String },
}

impl Database {
    pub fn of(url: &str, schema: &str) -> Self {
        Self { url: url.to_owned(), schema: schema.to_owned() }
    }

    pub fn url(&self) -> &str {
        &self.url
    }

    pub fn schema(&self) -> &str {
        &self.schema
    }

    /// A connection that sees the schema first.
    pub async fn connect(&self) -> Client {
        let (client, connection) = tokio_postgres::connect(&self.url, NoTls).await.unwrap();
        tokio::spawn(connection);
        client.batch_execute(&format!("SET search_path TO {}", self.schema)).await.unwrap();
        client
    }

    pub async fn query(&self, sql: &str, parameters: &[&(dyn ToSql + Sync)]) -> Vec<Row> {
        self.connect().await.query(sql, parameters).await.unwrap()
    }

    pub async fn execute(&self, sql: &str) {
        self.connect().await.batch_execute(sql).await.unwrap();
    }

    /// The number that a query gives; `None` while its tables are not there.
    pub async fn number(&self, sql: &str) -> Option<i64> {
        let sql = format!("SELECT ({sql})::bigint");
        self.connect().await.query_one(&sql, &[]).await.ok()?.get(0)
    }

    pub async fn drop_schema(&self) {
        self.execute(&format!("DROP SCHEMA IF EXISTS {} CASCADE", self.schema)).await;
    }

    /// Positions of a topic, all together, less where they started: what is accounted for.
    pub async fn accounted(&self, topic: &str) -> i64 {
        self.number(&format!("SELECT sum(next_offset - first_offset) FROM partition_progress WHERE topic = '{topic}'"))
            .await
            .unwrap_or(0)
    }

    /// Waits until at least so many offsets are accounted for.
    pub async fn until_accounted(&self, topic: &str, offsets: i64) {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let accounted = self.accounted(topic).await;
            if accounted >= offsets {
                return;
            }
            assert!(Instant::now() < deadline, "{accounted} of {offsets} offsets are accounted for, and no more come");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    pub async fn progress(&self, topic: &str) -> BTreeMap<i32, Progress> {
        progress(&self.connect().await, topic).await
    }

    /// Proves that rows, dead letters and gaps tile every partition from its first offset to the next one, each offset
    /// once, and gives back what accounts for each.
    pub async fn assert_tiled(&self, topic: &str) -> BTreeMap<(i32, i64), Account> {
        let client = self.connect().await;
        // One moment for all: the server may still commit what a killed process has sent.
        client.batch_execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY").await.unwrap();
        let mut all = BTreeMap::new();
        for (partition, progress) in progress(&client, topic).await {
            let accounts = accounts(&client, topic, partition).await;
            let missing: Vec<i64> =
                (progress.first..progress.next).filter(|offset| !accounts.contains_key(offset)).take(10).collect();
            assert!(
                missing.is_empty(),
                "partition {partition}, {progress:?}: lost offsets {missing:?} (the first ten)"
            );
            let outside: Vec<&i64> =
                accounts.keys().filter(|offset| !(progress.first..progress.next).contains(*offset)).take(10).collect();
            assert!(
                outside.is_empty(),
                "partition {partition}, {progress:?}: rows outside {outside:?} (the first ten)"
            );
            all.extend(accounts.into_iter().map(|(offset, account)| ((partition, offset), account)));
        }
        all
    }

    /// Proves that the store holds exactly these records of a topic, each as one row, with the key and the document that
    /// were sent.
    pub async fn assert_stored(&self, topic: &str, sent: &[Sent]) -> BTreeMap<(i32, i64), Account> {
        let accounts = self.assert_tiled(topic).await;
        for Sent { partition, offset, event } in sent {
            let Some(Account::Row { key, payload, .. }) = accounts.get(&(*partition, *offset)) else {
                panic!("{partition}/{offset} should be a row, it is {:?}", accounts.get(&(*partition, *offset)));
            };
            assert_eq!(*key, event.key, "{partition}/{offset}");
            let document: Option<Value> = event.value.as_ref().map(|value| serde_json::from_slice(value).unwrap());
            assert_eq!(*payload, document, "{partition}/{offset}");
        }
        let rows = accounts.values().filter(|account| matches!(account, Account::Row { .. })).count();
        assert_eq!(rows, sent.len(), "rows that nobody sent, or sent ones that are missing");
        accounts
    }

    /// Holds the lock on all positions, as a frozen writer would, until it is let go; whoever writes waits.
    pub async fn hold_positions(&self) -> HeldPositions {
        let client = self.connect().await;
        client.batch_execute("BEGIN; SELECT 1 FROM partition_progress FOR UPDATE").await.unwrap();
        HeldPositions { client }
    }

    /// Waits until so many sessions of drover's writers wait for a lock.
    pub async fn until_writers_wait(&self, sessions: i64) {
        let sql = "SELECT count(*) FROM pg_locks l JOIN pg_stat_activity a USING (pid) \
                   WHERE NOT l.granted AND a.application_name LIKE 'drover/writer%'";
        let held = format!(
            "{sql} AND EXISTS (SELECT 1 FROM pg_locks o WHERE o.pid = l.pid AND o.relation = '{}.partition_progress'::regclass)",
            self.schema
        );
        until("a writer to wait for a lock", async || self.number(&held).await.is_some_and(|n| n >= sessions)).await;
    }

    /// Waits until a query gives a row, and gives back its first text.
    pub async fn until_text(&self, what: &str, sql: &str) -> String {
        until_some(what, async || self.connect().await.query_opt(sql, &[]).await.ok()??.get(0)).await
    }
}

async fn progress(client: &Client, topic: &str) -> BTreeMap<i32, Progress> {
    let sql = "SELECT partition, first_offset, next_offset FROM partition_progress WHERE topic = $1";
    let rows = client.query(sql, &[&topic]).await.unwrap();
    rows.iter().map(|row| (row.get(0), Progress { first: row.get(1), next: row.get(2) })).collect()
}

/// What accounts for each offset of a partition. Fails where two do.
async fn accounts(client: &Client, topic: &str, partition: i32) -> BTreeMap<i64, Account> {
    let mut accounts = BTreeMap::new();
    let mut add = |offset: i64, account: Account| {
        if let Some(other) = accounts.insert(offset, account.clone()) {
            panic!("offset {offset} of partition {partition} is there twice: {other:?} and {account:?}");
        }
    };
    let of = "WHERE topic = $1 AND partition = $2";
    let parameters: [&(dyn ToSql + Sync); 2] = [&topic, &partition];
    let rows = client
        .query(&format!("SELECT \"offset\", key, payload, consumer_id FROM events {of}"), &parameters)
        .await
        .unwrap();
    for row in rows {
        add(row.get(0), Account::Row { key: row.get(1), payload: row.get(2), consumer_id: row.get(3) });
    }
    let letters = client.query(&format!("SELECT \"offset\", code FROM dead_letters {of}"), &parameters).await.unwrap();
    for row in letters {
        add(row.get(0), Account::DeadLetter { code: row.get(1) });
    }
    let gaps = client
        .query(&format!("SELECT first_offset, next_offset, reason FROM offset_gaps {of}"), &parameters)
        .await
        .unwrap();
    for row in gaps {
        for offset in row.get::<_, i64>(0)..row.get::<_, i64>(1) {
            add(offset, Account::Gap { reason: row.get(2) });
        }
    }
    accounts
}

/// See [`Database::hold_positions`].
pub struct HeldPositions {
    client: Client,
}

impl HeldPositions {
    pub async fn let_go(self) {
        self.client.batch_execute("ROLLBACK").await.unwrap();
    }
}
