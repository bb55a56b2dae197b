//! The feed: what was committed a moment ago, for those who look, and the orders that were given.
//!
//! Consumers hand every committed batch over; while nobody looks, that costs one look at a number, and counting what is frequent
//! by some of its rows. Bound: a sample of [`ROWS`] rows, and [`ORDERS`] orders. Nothing here waits: a batch that finds another one being looked at is passed over, and
//! every row that is not shown is counted. Cannot fail.

use crate::domain::batch::Batch;
use crate::domain::failure::Rejection;
use crate::domain::record::{RecordTimestamp, TimestampType};
use crate::domain::sample::Sample;
use crate::domain::sketch::Popular;
use crate::store::audit_log::LoggedEntry;
use crate::store::row;
use std::borrow::Cow;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, TryLockError};
use tokio::sync::broadcast;

/// Most rows between two looks: more than a person can follow at four looks a second.
pub const ROWS: usize = 500;
/// Past so many rows between two looks it is a sample anyway, and a smaller one says as much.
const CROWD: u64 = 2_000;
/// Rows of that smaller sample.
const ROWS_IN_CROWD: usize = 100;
/// Orders that wait for a look.
const ORDERS: usize = 64;
/// Rows of one batch by which it is counted what is frequent. Of a larger one so many stand for all: some microseconds a batch.
const COUNTED: usize = 16;
/// Longest text of a column, in bytes; the rest is cut off. The detail of an event shows all of it.
const TEXT_BYTES: usize = 256;

/// A row or dead letter that was committed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FeedRow {
    /// Topic.
    pub topic: Arc<str>,
    /// Partition.
    pub partition: i32,
    /// Offset.
    pub offset: i64,
    /// Key, as text.
    pub key: Option<String>,
    /// Column `user_id`.
    pub user_id: Option<String>,
    /// Column `event_type`; `None` for a dead letter.
    pub event_type: Option<String>,
    /// Column `element_id`.
    pub element_id: Option<String>,
    /// When it happened, in milliseconds since the epoch.
    pub occurred_at_ms: Option<i64>,
    /// When its receipt came, in milliseconds since the epoch.
    pub stored_at_ms: i64,
    /// From the record's timestamp to the receipt.
    pub latency_ms: Option<i64>,
    /// The consumer that stored it.
    pub consumer_id: Arc<str>,
    /// Who produced it.
    pub source: Option<String>,
    /// Why it is a dead letter; `None` for a stored row.
    pub code: Option<String>,
}

/// See the module.
pub struct Feed {
    watchers: AtomicUsize,
    sample: Mutex<Sample<FeedRow>>,
    /// Rows of batches that were passed over.
    passed_over: AtomicU64,
    orders: broadcast::Sender<Arc<LoggedEntry>>,
    popular: Arc<Popular>,
}

impl Default for Feed {
    fn default() -> Self {
        Self {
            watchers: AtomicUsize::new(0),
            sample: Mutex::new(Sample::new(ROWS, CROWD, ROWS_IN_CROWD, rand::random())),
            passed_over: AtomicU64::new(0),
            orders: broadcast::Sender::new(ORDERS),
            popular: Arc::new(Popular::new(chrono::Utc::now().timestamp_millis())),
        }
    }
}

/// Somebody looks, until this is dropped.
pub struct Watch(Arc<Feed>);

impl Drop for Watch {
    fn drop(&mut self) {
        if self.0.watchers.fetch_sub(1, Ordering::Relaxed) == 1 {
            // Nobody is to find what was there before.
            let _ = self.0.take();
        }
    }
}

impl Feed {
    /// Rows are kept from now on.
    #[must_use]
    pub fn watch(self: &Arc<Self>) -> Watch {
        self.watchers.fetch_add(1, Ordering::Relaxed);
        Watch(Arc::clone(self))
    }

    /// A batch was committed.
    #[inline]
    pub fn committed(&self, batch: &Batch) {
        self.count(batch);
        if self.watchers.load(Ordering::Relaxed) > 0 {
            self.offer(batch, chrono::Utc::now().timestamp_millis());
        }
    }

    /// What is frequent among all that was committed.
    #[must_use]
    pub fn popular(&self) -> Arc<Popular> {
        Arc::clone(&self.popular)
    }

    /// Counts every n-th row of a batch n times, from a random one on, so that no row is more likely to be counted than another.
    fn count(&self, batch: &Batch) {
        let rows = batch.metas().len();
        let step = rows.div_ceil(COUNTED).max(1);
        let first = if step > 1 { rand::random_range(0..step) } else { 0 };
        let counted: Vec<_> = (first..rows).step_by(step).filter_map(|index| row::decode(batch.row(index))).collect();
        let names = counted.iter().map(|row| (row.element_id.as_deref(), row.user_id.as_deref()));
        self.popular.observe(names, step as u64);
    }

    #[cold]
    fn offer(&self, batch: &Batch, now_ms: i64) {
        let mut sample = match self.sample.try_lock() {
            Ok(sample) => sample,
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            Err(TryLockError::WouldBlock) => {
                self.passed_over.fetch_add(batch.len() as u64, Ordering::Relaxed);
                return;
            }
        };
        let consumer_id: Arc<str> = batch.consumer_id().into();
        let topics: Vec<Arc<str>> = batch.advances().iter().map(|advance| advance.topic.as_str().into()).collect();
        let maker = RowMaker { batch, now_ms, consumer_id, topics };
        sample.offer(batch.metas().len(), |index| maker.stored(index));
        sample.offer(batch.dead_letters().len(), |index| maker.dead_letter(index));
    }

    /// The rows since the last look, oldest first, and how many more there were.
    #[must_use]
    pub fn take(&self) -> (Vec<FeedRow>, u64) {
        let passed_over = self.passed_over.swap(0, Ordering::Relaxed);
        let (rows, passed) = self.sample.lock().unwrap_or_else(PoisonError::into_inner).take();
        let left_out = passed - rows.len() as u64;
        (rows, left_out + passed_over)
    }

    /// An order was carried out or refused, and written down.
    pub fn ordered(&self, entry: LoggedEntry) {
        // Nobody may be there to hear it.
        let _ = self.orders.send(Arc::new(entry));
    }

    /// The orders from now on.
    #[must_use]
    pub fn orders(&self) -> broadcast::Receiver<Arc<LoggedEntry>> {
        self.orders.subscribe()
    }
}

/// Makes rows of a batch.
struct RowMaker<'b> {
    batch: &'b Batch,
    now_ms: i64,
    consumer_id: Arc<str>,
    /// Of each slot.
    topics: Vec<Arc<str>>,
}

impl RowMaker<'_> {
    fn bare(&self, slot: u16, offset: i64, timestamp: RecordTimestamp) -> FeedRow {
        let slot = usize::from(slot);
        let known = timestamp.kind != TimestampType::NotAvailable;
        FeedRow {
            topic: Arc::clone(&self.topics[slot]),
            partition: self.batch.advances()[slot].partition,
            offset,
            key: None,
            user_id: None,
            event_type: None,
            element_id: None,
            occurred_at_ms: None,
            stored_at_ms: self.now_ms,
            // Clocks differ.
            latency_ms: known.then(|| self.now_ms.saturating_sub(timestamp.ms).max(0)),
            consumer_id: Arc::clone(&self.consumer_id),
            source: None,
            code: None,
        }
    }

    fn stored(&self, index: usize) -> FeedRow {
        let meta = &self.batch.metas()[index];
        let mut row = self.bare(meta.slot, meta.offset, meta.timestamp);
        if let Some(columns) = row::decode(self.batch.row(index)) {
            row.key = columns.key.as_deref().map(bytes_as_text);
            row.user_id = columns.user_id.as_deref().map(cut);
            row.event_type = Some(cut(&columns.event_type));
            row.element_id = columns.element_id.as_deref().map(cut);
            row.occurred_at_ms = columns.occurred_at_us.map(|us| us.div_euclid(1_000));
            row.source = columns.source.as_deref().map(cut);
        }
        row
    }

    fn dead_letter(&self, index: usize) -> FeedRow {
        let letter = &self.batch.dead_letters()[index];
        let Rejection { code, .. } = &letter.rejection;
        let mut row = self.bare(letter.slot, letter.record.offset, letter.record.timestamp);
        row.key = letter.record.key.as_deref().map(bytes_as_text);
        row.code = Some(code.to_string());
        row
    }
}

/// The beginning of a text.
fn cut(text: &str) -> String {
    text[..text.floor_char_boundary(TEXT_BYTES)].to_owned()
}

/// The beginning of bytes as text, whatever they are.
fn bytes_as_text(bytes: &[u8]) -> String {
    let text: Cow<'_, str> = String::from_utf8_lossy(&bytes[..bytes.len().min(TEXT_BYTES)]);
    cut(&text)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a missing value is the failure of the test")]
    use super::*;
    use crate::domain::event::Mapping;
    use crate::domain::failure::DeadLetterCode;
    use crate::domain::record::OwnedRecord;
    use crate::store::row_maker::{RowMaker as Maker, Seen};

    fn mapping() -> Mapping {
        Mapping {
            event_type: "event_type".into(),
            user_id: "user_id".into(),
            element_id: "element_id".into(),
            timestamp: "timestamp".into(),
            required: vec!["event_type".into()],
            store_tombstones: false,
        }
    }

    fn batch(rows: i64) -> Batch {
        let mut batch = Batch::new("consumer-1");
        let slot = batch.slot("user_events", 3, 1, 0);
        for offset in 0..rows {
            let value = br#"{"user_id":"u1","event_type":"click","element_id":"e","timestamp":1767323045678,"n":[1]}"#;
            let record = OwnedRecord {
                topic: "user_events".into(),
                partition: 3,
                offset,
                key: Some(vec![b'k', 0xff]),
                value: Some(value.to_vec()),
                timestamp: RecordTimestamp { ms: 1_000, kind: TimestampType::CreateTime },
                ..OwnedRecord::default()
            };
            Maker::new("consumer-1", 10_000).add(&record, Seen::of(&record), &mapping(), &mut batch, slot).unwrap();
        }
        let record = OwnedRecord { partition: 3, offset: rows, key: Some(vec![b'x'; 1_000]), ..OwnedRecord::default() };
        let why = Rejection::new(DeadLetterCode::RecordTooLarge, "too large");
        batch.push_dead_letter(slot, record, why, 1);
        batch
    }

    #[test]
    fn what_is_frequent_is_counted_whether_somebody_looks_or_not_and_a_large_batch_by_some_of_its_rows() {
        let counts = |rows: i64| {
            let feed = Feed::default();
            feed.committed(&batch(rows));
            let most = feed.popular().most_frequent(9);
            assert_eq!((most.users.len(), most.users[0].name.as_str()), (1, "u1"));
            assert_eq!(most.elements[0].count, most.users[0].count);
            i64::try_from(most.users[0].count).unwrap()
        };
        for rows in 1..=16 {
            assert_eq!(counts(rows), rows);
        }
        for rows in [17, 100, 1_000] {
            assert!((counts(rows) - rows).abs() <= rows / 16 + 1, "{rows}");
        }
    }

    #[test]
    fn a_committed_batch_is_seen_by_who_looks_and_by_nobody_else() {
        let feed = Arc::new(Feed::default());
        feed.committed(&batch(2));
        let watch = feed.watch();
        assert_eq!(feed.take(), (Vec::new(), 0), "it was committed before anybody looked");
        feed.offer(&batch(2), 5_000);
        let (rows, more) = feed.take();
        assert_eq!((rows.len(), more), (3, 0));
        assert_eq!(
            rows[1],
            FeedRow {
                topic: "user_events".into(),
                partition: 3,
                offset: 1,
                key: Some("k\u{fffd}".into()),
                user_id: Some("u1".into()),
                event_type: Some("click".into()),
                element_id: Some("e".into()),
                occurred_at_ms: Some(1_767_323_045_678),
                stored_at_ms: 5_000,
                latency_ms: Some(4_000),
                consumer_id: "consumer-1".into(),
                source: None,
                code: None,
            }
        );
        assert_eq!((rows[2].offset, rows[2].code.as_deref()), (2, Some("record.too_large")));
        assert_eq!(rows[2].key.as_ref().map(String::len), Some(TEXT_BYTES));
        assert_eq!((rows[2].event_type.as_ref(), rows[2].latency_ms), (None, None));

        feed.committed(&batch(2));
        drop(watch);
        let _watch = feed.watch();
        assert_eq!(feed.take(), (Vec::new(), 0), "the next who looks does not find what the last one left");
    }

    #[test]
    fn of_many_rows_a_sample_is_kept_and_the_others_are_counted() {
        let feed = Arc::new(Feed::default());
        let _watch = feed.watch();
        feed.committed(&batch(1_000));
        let (rows, more) = feed.take();
        assert_eq!((rows.len(), more), (ROWS, 501));
        feed.committed(&batch(10_000));
        let (rows, more) = feed.take();
        assert_eq!((rows.len(), more), (ROWS_IN_CROWD, 10_001 - ROWS_IN_CROWD as u64));
    }

    #[test]
    fn a_batch_never_waits_for_another_one() {
        let feed = Arc::new(Feed::default());
        let _watch = feed.watch();
        let busy = feed.sample.lock().unwrap();
        feed.committed(&batch(4));
        drop(busy);
        assert_eq!(feed.take(), (Vec::new(), 5));
    }
}
