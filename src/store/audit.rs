//! The audit: whether rows, dead letters and gaps tile every partition from its first offset to its next one.
//!
//! Walks each partition in ranges of [`RANGE`] offsets, each in a short transaction of its own, so that it can run beside
//! the consumers: what lies below a position does not change. Memory follows the number of partitions. Fails when the
//! store does; what it finds is a report, not an error.

use super::{RangeContent, Store, StoreError};
use crate::domain::failure::FailureClass;
use serde::Serialize;

/// Offsets of one range: about a tenth of a second of the database's time.
pub const RANGE: i64 = 200_000;

/// Gaps of one partition that are kept to be read again: a bound for memory (16 MB).
pub const MAX_GAPS: usize = 1_000_000;

/// A range of offsets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct OffsetRange {
    /// First offset.
    pub first: i64,
    /// First offset behind it.
    pub next: i64,
}

/// What the audit found in one partition.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PartitionAudit {
    /// Topic.
    pub topic: String,
    /// Partition.
    pub partition: i32,
    /// Incarnation of the topic.
    pub incarnation: i32,
    /// First offset that belongs to the store.
    pub first_offset: i64,
    /// First offset that is not stored yet, when the audit came to the partition.
    pub next_offset: i64,
    /// Rows below `next_offset`.
    pub rows: i64,
    /// Dead letters below it.
    pub dead_letters: i64,
    /// Offsets in gaps below it.
    pub gap_offsets: i64,
    /// The first ranges that nothing accounts for, at most [`super::tiles::MAX_LISTED`].
    pub unaccounted: Vec<OffsetRange>,
    /// Offsets that nothing accounts for.
    pub unaccounted_offsets: i64,
    /// Offsets that more than one of row, dead letter and gap account for.
    pub overlapping: i64,
    /// The gaps, for whoever can read them again from Kafka; the first [`MAX_GAPS`] of them.
    #[serde(skip)]
    pub gaps: Vec<(i64, i64)>,
    /// Rows and dead letters at or above the position: expected after a rewind, until it is read past them again. While
    /// consumers are at work, at least so many.
    pub stored_ahead: i64,
}

impl PartitionAudit {
    /// Whether everything below the position tiles.
    #[must_use]
    pub fn clean(&self) -> bool {
        self.unaccounted_offsets == 0 && self.overlapping == 0
    }

    fn add(&mut self, content: &RangeContent) {
        self.rows += content.rows;
        self.dead_letters += content.dead_letters;
        self.gap_offsets += content.gap_offsets;
        self.unaccounted_offsets += content.unaccounted_offsets;
        self.overlapping += content.overlapping;
        let room = MAX_GAPS.saturating_sub(self.gaps.len());
        self.gaps.extend(content.gaps.iter().take(room));
        for &(first, next) in &content.unaccounted {
            let listed = self.unaccounted.len();
            match self.unaccounted.last_mut() {
                // A hole across the border of two ranges is one.
                Some(last) if last.next == first => last.next = next,
                _ if listed < super::tiles::MAX_LISTED => self.unaccounted.push(OffsetRange { first, next }),
                _ => {}
            }
        }
    }
}

/// What the audit found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct AuditReport {
    /// Whether everything tiles.
    pub clean: bool,
    /// Each partition, by topic and number.
    pub partitions: Vec<PartitionAudit>,
}

/// How far an audit is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AuditProgress {
    /// Offsets that were looked at.
    pub offsets: i64,
    /// Offsets to look at in all.
    pub of: i64,
}

/// Audits `topics`, or all of them when none is named.
///
/// # Errors
/// Class configuration for a topic that the store does not know; otherwise what the store says.
pub async fn audit(
    store: &dyn Store,
    topics: &[String],
    progress: &mut (dyn FnMut(AuditProgress) + Send),
) -> Result<AuditReport, StoreError> {
    let mut partitions = start(store, topics).await?;
    let of = partitions.iter().map(|p| p.next_offset - p.first_offset).sum();
    let mut offsets = 0;
    for found in &mut partitions {
        let mut at = found.first_offset;
        while at < found.next_offset {
            let to = at.saturating_add(RANGE).min(found.next_offset);
            let content = store.range_content(&found.topic, found.partition, found.incarnation, at, to).await?;
            found.add(&content);
            offsets += to - at;
            at = to;
            progress(AuditProgress { offsets, of });
        }
        found.stored_ahead = stored_ahead(store, found).await?;
    }
    Ok(AuditReport { clean: partitions.iter().all(PartitionAudit::clean), partitions })
}

/// The positions from which the audit works.
async fn start(store: &dyn Store, topics: &[String]) -> Result<Vec<PartitionAudit>, StoreError> {
    let known = store.topics().await?;
    if let Some(unknown) = topics.iter().find(|topic| !known.contains(topic)) {
        let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
        return Err(StoreError {
            class: FailureClass::Configuration,
            code: None,
            message: format!("the store knows no topic {unknown:?}; it knows: {known}"),
        });
    }
    let mut partitions = Vec::new();
    for topic in known.iter().filter(|topic| topics.is_empty() || topics.contains(topic)) {
        let Some(stored) = store.topic(topic).await? else { continue };
        partitions.extend(stored.partitions.iter().map(|(&partition, progress)| PartitionAudit {
            topic: topic.clone(),
            partition,
            incarnation: progress.incarnation,
            first_offset: progress.first_offset,
            next_offset: progress.next_offset,
            rows: 0,
            dead_letters: 0,
            gap_offsets: 0,
            gaps: Vec::new(),
            unaccounted: Vec::new(),
            unaccounted_offsets: 0,
            overlapping: 0,
            stored_ahead: 0,
        }));
    }
    Ok(partitions)
}

/// What is stored at or above the position. Consumers may move it between the two questions; all that they can have stored
/// meanwhile is taken off, so that their work is never reported.
async fn stored_ahead(store: &dyn Store, found: &PartitionAudit) -> Result<i64, StoreError> {
    let position = async || -> Result<Option<i64>, StoreError> {
        let stored = store.topic(&found.topic).await?;
        Ok(stored.and_then(|topic| topic.partitions.get(&found.partition).map(|progress| progress.next_offset)))
    };
    let Some(before) = position().await? else { return Ok(0) };
    let content = store.range_content(&found.topic, found.partition, found.incarnation, before, i64::MAX).await?;
    let ahead = content.rows + content.dead_letters;
    if ahead == 0 {
        return Ok(0);
    }
    let after = position().await?.unwrap_or(before);
    Ok((ahead - (after - before).max(0)).max(0))
}
