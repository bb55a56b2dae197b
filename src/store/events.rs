//! Events as the store shows them: one by its place, and the newest ones that somebody looks for.
//!
//! [`search`] drives [`Lookback`] over both stores: nothing but the primary keys is needed, and where somebody made an index
//! that begins with the column that is asked for, that one is used. Bound: the records and the time of one search; texts are
//! cut by the store. A search whose time is over gives what it found and says how far it looked. Fails as the store does.

use super::StoreError;
use crate::domain::event_search::{EventFilter, EventPage, EventSearch, FoundEvent};
use crate::domain::lookback::{Lookback, Looked, Partition, Run, Step, Window, runs_for};
use futures::future::BoxFuture;
use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::time::Duration;
use tokio::time::Instant;

/// Bytes of a dead letter's value that a search reads, to find what it is about.
pub const GLIMPSE_BYTES: usize = 16 << 10;
/// Characters of a document that are shown, at most.
pub const PAYLOAD_CHARACTERS: usize = 64 << 10;

/// A record that a search read.
#[derive(Debug, Clone, PartialEq)]
pub struct ReadEvent {
    /// What its columns say.
    pub event: FoundEvent,
    /// The beginning of a dead letter's value, at most [`GLIMPSE_BYTES`].
    pub value: Option<Vec<u8>>,
}

/// What was read of a run.
#[derive(Debug, Clone, PartialEq)]
pub struct ReadRun {
    /// Which run.
    pub run: usize,
    /// What was asked for, newest first.
    pub rows: Vec<ReadEvent>,
}

/// A row of `events`.
#[derive(Debug, Clone, PartialEq)]
pub struct StoredEvent {
    /// Its columns but one.
    pub event: FoundEvent,
    /// The document as text, cut; `None` for a tombstone.
    pub payload: Option<String>,
    /// Whether it was cut.
    pub payload_truncated: bool,
}

/// By place in the runs, the last record below an offset: its own offset, and when it was stored in microseconds.
pub type LastBelow = BTreeMap<usize, (i64, i64)>;

/// What a search asks of a store. `limit` is the time within which the answer is wanted; the server gives up then, too.
pub trait EventStore: Send + Sync + 'static {
    /// Every partition of which something may be stored, in every incarnation of its topic.
    fn event_partitions(&self) -> BoxFuture<'_, Result<Vec<Partition>, StoreError>>;

    /// Whether there is an index of `events` on this column and `stored_at`. None of drover's migrations makes one.
    fn has_event_index<'a>(&'a self, column: &'a str) -> BoxFuture<'a, Result<bool, StoreError>>;

    /// For each (place in `runs`, offset) the last record below that offset, as (offset, stored at in microseconds).
    fn last_below<'a>(
        &'a self,
        runs: &'a [Run],
        asked: &'a [(usize, i64)],
        limit: Duration,
    ) -> BoxFuture<'a, Result<LastBelow, StoreError>>;

    /// The `rows` newest records of each window.
    fn look_back<'a>(
        &'a self,
        runs: &'a [Run],
        windows: &'a [Window],
        rows: usize,
        filter: &'a EventFilter,
        limit: Duration,
    ) -> BoxFuture<'a, Result<Vec<ReadRun>, StoreError>>;

    /// The row of a record, in the newest incarnation that has one.
    fn event<'a>(
        &'a self,
        topic: &'a str,
        partition: i32,
        offset: i64,
    ) -> BoxFuture<'a, Result<Option<StoredEvent>, StoreError>>;

    /// Why Kafka never delivers this offset of the present incarnation, if it was found to lie in a gap.
    fn gap_at<'a>(
        &'a self,
        topic: &'a str,
        partition: i32,
        offset: i64,
    ) -> BoxFuture<'a, Result<Option<String>, StoreError>>;
}

/// The column that an index is looked for, if one is compared, and its value: the rarest first.
pub(super) fn indexed_column(filter: &EventFilter) -> Option<(&'static str, &str)> {
    [
        ("key", &filter.key),
        ("user_id", &filter.user_id),
        ("element_id", &filter.element_id),
        ("source", &filter.source),
        ("event_type", &filter.event_type),
    ]
    .into_iter()
    .find_map(|(column, wanted)| Some((column, wanted.as_deref()?)))
}

/// Searches for at most `patience`. `read` fills in what the value of a dead letter of a topic says.
///
/// # Errors
/// The store does not answer; not when the time is over.
pub async fn search(
    store: &dyn EventStore,
    search: EventSearch,
    patience: Duration,
    read: &(dyn Fn(&mut FoundEvent, &[u8]) + Sync),
) -> Result<EventPage, StoreError> {
    let deadline = Instant::now() + patience;
    let filter = search.filter.clone();
    let partitions = store.event_partitions().await?;
    let indexed = match indexed_column(&filter) {
        Some((column, _)) => store.has_event_index(column).await?,
        None => false,
    };
    let runs = runs_for(&filter, &partitions, indexed);
    let mut lookback = Lookback::new(search, &runs);
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            break;
        }
        let round = async {
            match lookback.step() {
                Step::Done => return Ok(false),
                Step::Seek(asked) => lookback.sought(&store.last_below(&runs, &asked, left).await?),
                Step::Look { windows, rows } => {
                    let found = store.look_back(&runs, &windows, rows, &filter, left).await?;
                    lookback.looked(found.into_iter().map(|run| looked(run, read)).collect(), rows);
                }
            }
            Ok(true)
        };
        match tokio::time::timeout(left, round).await {
            Ok(Ok(true)) => {}
            Ok(Ok(false)) | Err(_) => break,
            // The server gave up in time.
            Ok(Err(_)) if Instant::now() >= deadline => break,
            Ok(Err(error)) => return Err(error),
        }
    }
    Ok(lookback.page())
}

fn looked(of: ReadRun, read: &(dyn Fn(&mut FoundEvent, &[u8]) + Sync)) -> Looked {
    let event = |ReadEvent { mut event, value }| {
        if let Some(value) = value {
            read(&mut event, &value);
        }
        event
    };
    Looked { run: of.run, rows: of.rows.into_iter().map(event).collect() }
}

/// What was read, by run and in each from the newest on; of every window there is an answer.
pub(super) fn in_order(
    runs: &[Run],
    windows: &[Window],
    read: impl Iterator<Item = (usize, ReadEvent)>,
) -> Vec<ReadRun> {
    let mut of_run: BTreeMap<usize, Vec<ReadEvent>> = windows.iter().map(|window| (window.run, Vec::new())).collect();
    for (run, event) in read {
        of_run.entry(run).or_default().push(event);
    }
    for (&run, rows) in &mut of_run {
        match runs[run] {
            Run::Indexed => rows.sort_by(|a, b| b.event.at.cmp(&a.event.at)),
            Run::Events(_) | Run::DeadLetters(_) => rows.sort_by_key(|row| Reverse(row.event.at.offset)),
        }
    }
    of_run.into_iter().map(|(run, rows)| ReadRun { run, rows }).collect()
}

/// A document cut to [`PAYLOAD_CHARACTERS`].
pub(super) fn cut(payload: Option<String>) -> (Option<String>, bool) {
    let Some(mut payload) = payload else { return (None, false) };
    let end = payload.char_indices().nth(PAYLOAD_CHARACTERS).map(|(at, _)| at);
    if let Some(end) = end {
        payload.truncate(end);
    }
    (Some(payload), end.is_some())
}
