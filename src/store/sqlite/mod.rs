//! SQLite: the embedded store, one file and one process, with nothing to install.
//!
//! [`SqliteStore`] answers the questions of [`Store`]; what it owns and how it fails: `connection`. The writer's
//! transaction: `writer`. Which error means what: `error`.

mod audit_log;
mod audit_marks;
pub mod bench;
mod connection;
mod dead_letters;
mod error;
mod events;
mod holds;
mod lease;
mod migrations;
mod offsets;
mod range;
mod replicas;
mod schema;
mod statements;
mod statistics;
mod time;
mod topics;
mod writer;

use super::{
    DeadLetterFilter, Migration, Outbox, RangeContent, Store, StoreError, StoreIdentity, StoreWriter, StoredDeadLetter,
    TopicProgress, tiles,
};
use connection::{Access, Database};
use diesel::{Connection as _, SqliteConnection};
use error::Failure;
use futures::FutureExt as _;
use futures::future::BoxFuture;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

/// See the module.
pub struct SqliteStore {
    database: Arc<Database>,
    /// Whether an outbox of this store is out: the lock of the file keeps other processes away, this keeps a second
    /// publisher of this process away.
    outbox_taken: Arc<AtomicBool>,
    /// Held by whoever audits.
    auditing: Arc<tokio::sync::Mutex<()>>,
}

impl SqliteStore {
    /// The store in the file of `sqlite:PATH`. Opens nothing yet; the first write takes the file's lock.
    ///
    /// # Errors
    /// Class configuration when the URL names no file.
    pub fn open(url: &str) -> Result<Self, StoreError> {
        Ok(Self { database: Arc::new(Database::of_url(url)?), outbox_taken: Arc::default(), auditing: Arc::default() })
    }

    async fn run<T: Send + 'static>(
        &self,
        what: &str,
        access: Access,
        work: impl FnOnce(&mut SqliteConnection) -> Result<T, Failure> + Send + 'static,
    ) -> Result<T, StoreError> {
        self.database.run(access, work).await.map_err(|failure| failure.context(what, self.database.path()))
    }

    /// Runs `work` in a transaction that takes the write lock at its beginning, so that it cannot fail halfway for it.
    async fn change<T: Send + 'static>(
        &self,
        what: &str,
        work: impl FnOnce(&mut SqliteConnection) -> Result<T, Failure> + Send + 'static,
    ) -> Result<T, StoreError> {
        self.run(what, Access::Write, |connection| connection.immediate_transaction(work)).await
    }
}

impl Store for SqliteStore {
    fn kind(&self) -> &'static str {
        "sqlite"
    }

    fn migrate(&self) -> BoxFuture<'_, Result<Vec<String>, StoreError>> {
        self.run("apply migrations", Access::Write, migrations::apply).boxed()
    }

    fn revert_migration(&self) -> BoxFuture<'_, Result<Option<String>, StoreError>> {
        self.run("revert a migration", Access::Write, migrations::revert).boxed()
    }

    fn migrations(&self) -> BoxFuture<'_, Result<Vec<Migration>, StoreError>> {
        self.run("list migrations", Access::Read, migrations::list).boxed()
    }

    fn check_schema(&self) -> BoxFuture<'_, Result<(), StoreError>> {
        self.run("check the schema", Access::Read, migrations::check).boxed()
    }

    fn ping(&self) -> BoxFuture<'_, Result<(), StoreError>> {
        self.change("write", topics::touch).boxed()
    }

    fn claim_identity<'a>(
        &'a self,
        cluster_id: &'a str,
        group: &'a str,
    ) -> BoxFuture<'a, Result<StoreIdentity, StoreError>> {
        let (cluster_id, group) = (cluster_id.to_owned(), group.to_owned());
        self.change("claim the store", move |connection| topics::claim(connection, &cluster_id, &group)).boxed()
    }

    fn topic<'a>(&'a self, topic: &'a str) -> BoxFuture<'a, Result<Option<TopicProgress>, StoreError>> {
        let topic = topic.to_owned();
        self.run("read the progress of a topic", Access::Read, move |connection| {
            connection.transaction(|connection| topics::read(connection, &topic))
        })
        .boxed()
    }

    fn register_topic<'a>(
        &'a self,
        topic: &'a str,
        topic_id: Option<&'a str>,
        starts: &'a BTreeMap<i32, i64>,
    ) -> BoxFuture<'a, Result<TopicProgress, StoreError>> {
        let (topic, topic_id, starts) = (topic.to_owned(), topic_id.map(str::to_owned), starts.clone());
        self.change("register a topic", move |connection| {
            topics::register(connection, &topic, topic_id.as_deref(), &starts)
        })
        .boxed()
    }

    fn add_partitions<'a>(
        &'a self,
        topic: &'a str,
        starts: &'a BTreeMap<i32, i64>,
    ) -> BoxFuture<'a, Result<TopicProgress, StoreError>> {
        let (topic, starts) = (topic.to_owned(), starts.clone());
        self.change("register partitions", move |connection| topics::add_partitions(connection, &topic, &starts))
            .boxed()
    }

    fn writer(&self, _name: &str) -> Box<dyn StoreWriter> {
        Box::new(writer::SqliteWriter(Arc::clone(&self.database)))
    }

    fn outbox(&self) -> BoxFuture<'_, Result<Option<Box<dyn Outbox>>, StoreError>> {
        async {
            // The first write takes the lock of the file, which is the right to publish.
            self.run("take the outbox", Access::Write, |_| Ok(())).await?;
            let outbox = dead_letters::SqliteOutbox::take(&self.database, &self.outbox_taken);
            Ok(outbox.map(|outbox| Box::new(outbox) as Box<dyn Outbox>))
        }
        .boxed()
    }

    fn unpublished(&self) -> BoxFuture<'_, Result<i64, StoreError>> {
        self.run("count unpublished dead letters", Access::Read, dead_letters::unpublished).boxed()
    }

    fn dead_letters<'a>(
        &'a self,
        filter: &'a DeadLetterFilter,
    ) -> BoxFuture<'a, Result<Vec<StoredDeadLetter>, StoreError>> {
        let filter = filter.clone();
        self.run("list dead letters", Access::Read, move |connection| dead_letters::list(connection, &filter)).boxed()
    }

    fn dead_letter<'a>(
        &'a self,
        topic: &'a str,
        partition: i32,
        offset: i64,
    ) -> BoxFuture<'a, Result<Option<StoredDeadLetter>, StoreError>> {
        let topic = topic.to_owned();
        self.run("read a dead letter", Access::Read, move |connection| {
            dead_letters::find(connection, &topic, partition, offset)
        })
        .boxed()
    }

    fn topics(&self) -> BoxFuture<'_, Result<Vec<String>, StoreError>> {
        self.run("list topics", Access::Read, topics::names).boxed()
    }

    fn range_content<'a>(
        &'a self,
        topic: &'a str,
        partition: i32,
        incarnation: i32,
        first: i64,
        next: i64,
    ) -> BoxFuture<'a, Result<RangeContent, StoreError>> {
        let topic = topic.to_owned();
        self.run("read a range of offsets", Access::Read, move |connection| {
            let place = range::Place { topic: &topic, partition, incarnation };
            Ok(tiles::content(&range::tiles(connection, place, first, next)?, first, next))
        })
        .boxed()
    }
}
