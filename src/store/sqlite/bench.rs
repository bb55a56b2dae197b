//! A benchmark's session with a SQLite file: reads beside the process that writes.

use super::connection::Access;
use super::error::Failure;
use super::{SqliteStore, time};
use crate::domain::failure::FailureClass;
use crate::store::StoreError;
use crate::store::bench::{Account, BenchSession, Passage, SENT_FIELD, ServerFacts, own};
use diesel::prelude::*;
use diesel::sql_types::{BigInt, Text};
use futures::FutureExt as _;
use futures::future::BoxFuture;

/// What stands beside the file.
const BESIDE: [&str; 4] = ["", "-wal", "-shm", ".lock"];

/// See the module.
pub struct SqliteBench(SqliteStore);

#[derive(QueryableByName)]
struct Stored {
    #[diesel(sql_type = BigInt)]
    stored: i64,
}

#[derive(QueryableByName)]
struct Counts {
    #[diesel(sql_type = BigInt)]
    rows: i64,
    #[diesel(sql_type = BigInt)]
    dead_letters: i64,
    #[diesel(sql_type = BigInt)]
    distinct_offsets: i64,
}

#[derive(QueryableByName)]
struct Times {
    #[diesel(sql_type = BigInt)]
    sent_us: i64,
    #[diesel(sql_type = Text)]
    stored_at: String,
}

impl SqliteBench {
    /// A session with the file of `sqlite:PATH`, which is there already.
    ///
    /// # Errors
    /// Class configuration when the file is not a benchmark's own.
    pub fn open(url: &str) -> Result<Self, StoreError> {
        let store = SqliteStore::open(url)?;
        own(&store.database.path().file_name().unwrap_or_default().to_string_lossy())?;
        Ok(Self(store))
    }
}

fn counts(connection: &mut SqliteConnection, topic: &str) -> Result<Account, Failure> {
    let counts: Counts = diesel::sql_query(
        "SELECT (SELECT count(*) FROM events WHERE topic = ?1) AS \"rows\", \
         (SELECT count(*) FROM dead_letters WHERE topic = ?1) AS dead_letters, \
         (SELECT count(*) FROM (SELECT partition, \"offset\" FROM events WHERE topic = ?1 \
          UNION SELECT partition, \"offset\" FROM dead_letters WHERE topic = ?1)) AS distinct_offsets",
    )
    .bind::<Text, _>(topic)
    .get_result(connection)?;
    let count = |count: i64| u64::try_from(count).unwrap_or(0);
    Ok(Account {
        rows: count(counts.rows),
        dead_letters: count(counts.dead_letters),
        distinct: count(counts.distinct_offsets),
    })
}

impl BenchSession for SqliteBench {
    fn facts(&mut self) -> BoxFuture<'_, Result<ServerFacts, StoreError>> {
        #[derive(QueryableByName)]
        struct Version {
            #[diesel(sql_type = Text)]
            version: String,
        }
        async {
            let read = |connection: &mut SqliteConnection| {
                Ok(diesel::sql_query("SELECT sqlite_version() AS version").get_result::<Version>(connection)?)
            };
            let version = self.0.run("read the version", Access::Read, read).await?.version;
            let settings = [("journal_mode", "wal"), ("synchronous", "normal")];
            Ok(ServerFacts {
                version: format!("SQLite {version}"),
                settings: settings.map(|(name, value)| (name.to_owned(), value.to_owned())).into(),
                ..ServerFacts::default()
            })
        }
        .boxed()
    }

    fn stored<'a>(&'a mut self, topic: &'a str) -> BoxFuture<'a, Result<u64, StoreError>> {
        let topic = topic.to_owned();
        let read = move |connection: &mut SqliteConnection| {
            let sql =
                "SELECT coalesce(sum(next_offset - first_offset), 0) AS stored FROM partition_progress WHERE topic = ?";
            let found: Stored = diesel::sql_query(sql).bind::<Text, _>(topic).get_result(connection)?;
            Ok(u64::try_from(found.stored).unwrap_or(0))
        };
        self.0.run("read the positions", Access::Read, read).boxed()
    }

    fn wal_bytes(&mut self) -> BoxFuture<'_, Result<Option<u64>, StoreError>> {
        async { Ok(None) }.boxed()
    }

    fn backends(&mut self) -> BoxFuture<'_, Result<Vec<i32>, StoreError>> {
        async { Ok(Vec::new()) }.boxed()
    }

    fn account<'a>(&'a mut self, topic: &'a str) -> BoxFuture<'a, Result<Account, StoreError>> {
        let topic = topic.to_owned();
        self.0.run("count what is stored", Access::Read, move |connection| counts(connection, &topic)).boxed()
    }

    fn passages<'a>(&'a mut self, topic: &'a str) -> BoxFuture<'a, Result<Vec<Passage>, StoreError>> {
        let topic = topic.to_owned();
        let read = move |connection: &mut SqliteConnection| {
            let sql = format!(
                "SELECT json_extract(payload, '$.{SENT_FIELD}') AS sent_us, stored_at FROM events \
                 WHERE topic = ? AND json_extract(payload, '$.{SENT_FIELD}') IS NOT NULL"
            );
            let rows: Vec<Times> = diesel::sql_query(sql).bind::<Text, _>(topic).load(connection)?;
            let passage = |row: Times| Passage { sent_us: row.sent_us, stored_us: time::us_of_text(&row.stored_at) };
            Ok(rows.into_iter().map(passage).collect())
        };
        self.0.run("read the times of rows", Access::Read, read).boxed()
    }

    fn remove(&mut self) -> BoxFuture<'_, Result<(), StoreError>> {
        async {
            for beside in BESIDE {
                let mut path = self.0.database.path().as_os_str().to_owned();
                path.push(beside);
                match std::fs::remove_file(&path) {
                    Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                        return Err(StoreError {
                            class: FailureClass::Unknown,
                            code: None,
                            message: format!("cannot remove {}: {error}", path.display()),
                        });
                    }
                    _ => {}
                }
            }
            Ok(())
        }
        .boxed()
    }
}
