//! PostgreSQL: the product's store.
//!
//! [`PostgresStore`] answers the questions of [`Store`] over a small pool (`pool`) with diesel; batches go through
//! [`writer`] on connections of their own. Every question has the deadline of a batch. Connections, TLS and the schema:
//! [`connect`]; the lock of the dead letters: `dead_letters`; the lock of migrations: `migrations`.

/// Runs a question on a connection of the pool, within the deadline.
macro_rules! ask {
    ($store:ident, $what:literal, |$connection:ident| $question:expr) => {
        async move {
            let mut lease = $store.pool.lease($what).await?;
            let $connection = lease.connection();
            let answer = bounded($store.pool.settings(), $question).await;
            lease.finish($what, answer)
        }
        .boxed()
    };
}

mod audit_log;
mod audit_marks;
pub mod bench;
pub mod connect;
mod dead_letters;
mod error;
mod event_index;
mod event_rows;
mod events;
mod holds;
mod lease;
mod migrations;
mod offsets;
mod pool;
mod range;
mod refusal;
mod replicas;
mod schema;
mod staging;
pub mod statements;
mod statistics;
pub mod tls;
mod topics;
pub mod writer;

use super::{
    DeadLetterFilter, Migration, Outbox, RangeContent, Store, StoreError, StoreIdentity, StoreWriter, StoredDeadLetter,
    TopicProgress, tiles,
};
use crate::domain::failure::FailureClass;
use connect::PgSettings;
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use error::Failure;
use futures::FutureExt as _;
use futures::future::BoxFuture;
use pool::{Pool, bounded};
use std::collections::BTreeMap;

/// What a pooler that hands out server sessions per transaction would break.
const POOLER_REFUSED: &str = "a pooler in transaction mode (PgBouncer's pool_mode = transaction) stands between, which \
    breaks session locks; connect to PostgreSQL directly, or use pool_mode = session";

/// See the module.
pub struct PostgresStore {
    pool: Pool,
}

impl PostgresStore {
    /// A store that connects at first use.
    #[must_use]
    pub fn new(settings: PgSettings) -> Self {
        Self { pool: Pool::new(settings) }
    }

    /// Two connections at once must be two sessions of the server. A pooler in transaction mode gives both the session that
    /// is free.
    async fn refuse_pooler(&self) -> Result<(), StoreError> {
        let what = "check the connection";
        let mut first = self.pool.lease(what).await?;
        let settings = self.pool.settings();
        let one = bounded(settings, backend(first.connection())).await;
        let mut second = self.pool.lease(what).await?;
        let two = bounded(settings, backend(second.connection())).await;
        let (one, two) = (first.finish(what, one)?, second.finish(what, two)?);
        if one == two {
            return Err(Failure::Refused(FailureClass::Configuration, POOLER_REFUSED.to_owned()).context(what));
        }
        Ok(())
    }
}

async fn backend(connection: &mut AsyncPgConnection) -> Result<i32, Failure> {
    let pid = diesel::select(diesel::dsl::sql::<diesel::sql_types::Integer>("pg_backend_pid()"));
    Ok(pid.get_result(connection).await?)
}

impl Store for PostgresStore {
    fn kind(&self) -> &'static str {
        "postgres"
    }

    fn migrate(&self) -> BoxFuture<'_, Result<Vec<String>, StoreError>> {
        migrations::apply(self.pool.settings()).boxed()
    }

    fn revert_migration(&self) -> BoxFuture<'_, Result<Option<String>, StoreError>> {
        migrations::revert(self.pool.settings()).boxed()
    }

    fn migrations(&self) -> BoxFuture<'_, Result<Vec<Migration>, StoreError>> {
        ask!(self, "list migrations", |connection| migrations::list(connection))
    }

    fn check_schema(&self) -> BoxFuture<'_, Result<(), StoreError>> {
        async move {
            self.refuse_pooler().await?;
            ask!(self, "check the schema", |connection| migrations::check(connection)).await
        }
        .boxed()
    }

    fn ping(&self) -> BoxFuture<'_, Result<(), StoreError>> {
        ask!(self, "ping the store", |connection| topics::ping(connection))
    }

    fn claim_identity<'a>(
        &'a self,
        cluster_id: &'a str,
        group: &'a str,
    ) -> BoxFuture<'a, Result<StoreIdentity, StoreError>> {
        ask!(self, "claim the store", |connection| topics::claim(connection, cluster_id, group))
    }

    fn topic<'a>(&'a self, topic: &'a str) -> BoxFuture<'a, Result<Option<TopicProgress>, StoreError>> {
        ask!(self, "read the progress of a topic", |connection| topics::read(connection, topic))
    }

    fn register_topic<'a>(
        &'a self,
        topic: &'a str,
        topic_id: Option<&'a str>,
        starts: &'a BTreeMap<i32, i64>,
    ) -> BoxFuture<'a, Result<TopicProgress, StoreError>> {
        ask!(self, "register a topic", |connection| topics::register(connection, topic, topic_id, starts))
    }

    fn add_partitions<'a>(
        &'a self,
        topic: &'a str,
        starts: &'a BTreeMap<i32, i64>,
    ) -> BoxFuture<'a, Result<TopicProgress, StoreError>> {
        ask!(self, "register partitions", |connection| topics::add_partitions(connection, topic, starts))
    }

    fn writer(&self, name: &str) -> Box<dyn StoreWriter> {
        Box::new(writer::PgWriter::new(self.pool.settings().clone(), name))
    }

    fn outbox(&self) -> BoxFuture<'_, Result<Option<Box<dyn Outbox>>, StoreError>> {
        async {
            let outbox = dead_letters::PgOutbox::take(self.pool.settings()).await?;
            Ok(outbox.map(|outbox| Box::new(outbox) as Box<dyn Outbox>))
        }
        .boxed()
    }

    fn unpublished(&self) -> BoxFuture<'_, Result<i64, StoreError>> {
        ask!(self, "count unpublished dead letters", |connection| dead_letters::unpublished(connection))
    }

    fn dead_letters<'a>(
        &'a self,
        filter: &'a DeadLetterFilter,
    ) -> BoxFuture<'a, Result<Vec<StoredDeadLetter>, StoreError>> {
        ask!(self, "list dead letters", |connection| dead_letters::list(connection, filter))
    }

    fn dead_letter<'a>(
        &'a self,
        topic: &'a str,
        partition: i32,
        offset: i64,
    ) -> BoxFuture<'a, Result<Option<StoredDeadLetter>, StoreError>> {
        ask!(self, "read a dead letter", |connection| dead_letters::find(connection, topic, partition, offset))
    }

    fn topics(&self) -> BoxFuture<'_, Result<Vec<String>, StoreError>> {
        ask!(self, "list topics", |connection| topics::names(connection))
    }

    fn range_content<'a>(
        &'a self,
        topic: &'a str,
        partition: i32,
        incarnation: i32,
        first: i64,
        next: i64,
    ) -> BoxFuture<'a, Result<RangeContent, StoreError>> {
        ask!(self, "read a range of offsets", |connection| async {
            let place = (topic, partition, incarnation);
            Ok(tiles::content(&range::tiles(connection, place, first, next).await?, first, next))
        })
    }
}
