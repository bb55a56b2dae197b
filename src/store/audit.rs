//! The audit of the store: whether rows, dead letters and gaps tile every partition from its first offset to its next one.
//!
//! Walks each partition in ranges of [`RANGE`] offsets, each in a short transaction of its own, so that it can run beside
//! the consumers: what lies below a position does not change. Goes on from the marks of the last clean pass unless it is to
//! look at everything; it writes none itself, because gaps can only be judged with Kafka. Memory follows the number of
//! partitions and gaps. Fails when the store does; what it finds is a report, not an error.

use super::audit_marks::{AuditMark, Audited, IncarnationId};
use super::{RangeContent, Store, StoreError};
use crate::domain::audit::{Gap, GapCheck, GapReason, OffsetRange, next_range};
use crate::domain::failure::FailureClass;
use serde::Serialize;
use std::collections::BTreeMap;
use tokio::time::Instant;

/// Offsets of one range: about a tenth of a second of the database's time.
pub const RANGE: i64 = 200_000;

/// Gaps of one partition that are kept to be read again: a bound for memory (24 MB).
pub const MAX_GAPS: usize = 1_000_000;

/// What is to be audited, and how.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AuditScope {
    /// Only these topics; all of them when none is named.
    pub topics: Vec<String>,
    /// Everything, closed incarnations too, and not only what is behind the marks.
    pub full: bool,
    /// Rest after each range as long as it took, so that whoever stores has the database for half of the time.
    pub gentle: bool,
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
    /// Whether the topic has a later incarnation: nothing is added to this one.
    pub past: bool,
    /// First offset that belongs to the store.
    pub first_offset: i64,
    /// First offset that was looked at; what is below was found accounted for before.
    pub from: i64,
    /// First offset that is not stored yet, when the audit came to the partition.
    pub next_offset: i64,
    /// Rows in what was looked at.
    pub rows: i64,
    /// Dead letters in it.
    pub dead_letters: i64,
    /// Offsets in gaps in it.
    pub gap_offsets: i64,
    /// The same by the reason of the gap.
    pub gap_offsets_by_reason: BTreeMap<GapReason, i64>,
    /// Those of them that an operator gave up: lost, and known to be.
    pub known_loss: i64,
    /// The first ranges that nothing accounts for, at most [`super::tiles::MAX_LISTED`].
    pub unaccounted: Vec<OffsetRange>,
    /// Offsets that nothing accounts for.
    pub unaccounted_offsets: i64,
    /// Offsets that more than one of row, dead letter and gap account for.
    pub overlapping: i64,
    /// First offset that nothing accounts for, or more than one.
    #[serde(skip)]
    pub first_fault: Option<i64>,
    /// The gaps that are to be read again from Kafka; the first [`MAX_GAPS`] of them.
    #[serde(skip)]
    pub gaps: Vec<Gap>,
    /// First offset of those that there was no room for: they are read again by the next audit, which begins there.
    pub gaps_left_from: Option<i64>,
    /// What reading the gaps again has shown; absent where there are none, or it was not possible.
    pub gaps_read_again: Option<GapCheck>,
    /// Why the gaps were not read again.
    pub gaps_not_read: Option<String>,
    /// Rows and dead letters at or above the position: expected after a rewind, until it is read past them again. While
    /// consumers are at work, at least so many.
    pub stored_ahead: i64,
}

impl PartitionAudit {
    fn new(id: IncarnationId, first: i64, range: OffsetRange, past: bool) -> Self {
        Self {
            topic: id.topic,
            partition: id.partition,
            incarnation: id.incarnation,
            past,
            first_offset: first,
            from: range.first,
            next_offset: range.next,
            rows: 0,
            dead_letters: 0,
            gap_offsets: 0,
            gap_offsets_by_reason: BTreeMap::new(),
            known_loss: 0,
            unaccounted: Vec::new(),
            unaccounted_offsets: 0,
            overlapping: 0,
            first_fault: None,
            gaps: Vec::new(),
            gaps_left_from: None,
            gaps_read_again: None,
            gaps_not_read: None,
            stored_ahead: 0,
        }
    }

    /// Records that Kafka delivers inside gaps.
    #[must_use]
    pub fn lost_in_gaps(&self) -> i64 {
        self.gaps_read_again.as_ref().map_or(0, |check| i64::try_from(check.lost).unwrap_or(i64::MAX))
    }

    /// Whether everything that was looked at tiles, and no gap hides a record.
    #[must_use]
    pub fn clean(&self) -> bool {
        self.unaccounted_offsets == 0 && self.overlapping == 0 && self.lost_in_gaps() == 0
    }

    /// The mark that this finding is good for: up to the first thing that is wrong, or was not looked at, so that each later
    /// audit looks at it until it is mended. None where only the gaps still wait to be read again.
    #[must_use]
    pub fn mark(&self) -> Option<Audited> {
        let unread = self.gaps_not_read.is_some();
        if self.clean() && unread {
            return None;
        }
        let lost = self.gaps_read_again.as_ref().and_then(|check| check.lost_offsets.iter().min().copied());
        let gap = self.gaps.iter().filter(|gap| unread && !gap.reason.is_loss()).map(|gap| gap.first).min();
        let ends = [self.first_fault, lost, gap, self.gaps_left_from];
        let next_offset = ends.into_iter().flatten().fold(self.next_offset, i64::min);
        let id = IncarnationId { topic: self.topic.clone(), partition: self.partition, incarnation: self.incarnation };
        // Who looked at everything leans on no earlier mark.
        let from = if self.from == self.first_offset { 0 } else { self.from };
        Some(Audited { mark: AuditMark { id, next_offset }, from })
    }

    fn add(&mut self, content: &RangeContent) {
        self.rows += content.rows;
        self.dead_letters += content.dead_letters;
        self.gap_offsets += content.gap_offsets;
        self.unaccounted_offsets += content.unaccounted_offsets;
        self.overlapping += content.overlapping;
        for gap in &content.gaps {
            let offsets = gap.next - gap.first;
            *self.gap_offsets_by_reason.entry(gap.reason).or_default() += offsets;
            self.known_loss += if gap.reason.is_loss() { offsets } else { 0 };
        }
        let hole = content.unaccounted.first().map(|&(first, _)| first);
        self.first_fault = self.first_fault.or(hole.into_iter().chain(content.first_overlapping).min());
        // Those of a closed incarnation, and known losses, are not read again.
        let past = self.past;
        let mut to_read = content.gaps.iter().filter(|gap| !past && !gap.reason.is_loss());
        let room = MAX_GAPS.saturating_sub(self.gaps.len());
        self.gaps.extend(to_read.by_ref().take(room));
        self.gaps_left_from = self.gaps_left_from.or(to_read.map(|gap| gap.first).min());
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
    /// Whether each offset that was looked at is accounted for, once.
    pub clean: bool,
    /// Whether everything was looked at.
    pub full: bool,
    /// Offsets that were looked at.
    pub offsets: i64,
    /// Each partition, by topic and number; closed incarnations last.
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

/// Audits everything of `topics`, or of all of them when none is named, by the store alone.
///
/// # Errors
/// As [`audit_scope`].
pub async fn audit(
    store: &dyn Store,
    topics: &[String],
    progress: &mut (dyn FnMut(AuditProgress) + Send),
) -> Result<AuditReport, StoreError> {
    let scope = AuditScope { topics: topics.to_vec(), full: true, gentle: false };
    audit_scope(store, &scope, progress).await
}

/// Audits what `scope` says, by the store alone.
///
/// # Errors
/// Class configuration for a topic that the store does not know; otherwise what the store says.
pub async fn audit_scope(
    store: &dyn Store,
    scope: &AuditScope,
    progress: &mut (dyn FnMut(AuditProgress) + Send),
) -> Result<AuditReport, StoreError> {
    let mut partitions = start(store, scope).await?;
    let of = partitions.iter().map(|p| p.next_offset - p.from).sum();
    let mut offsets = 0;
    for found in &mut partitions {
        let mut at = found.from;
        while at < found.next_offset {
            let began = Instant::now();
            let to = at.saturating_add(RANGE).min(found.next_offset);
            let content = store.range_content(&found.topic, found.partition, found.incarnation, at, to).await?;
            found.add(&content);
            offsets += to - at;
            at = to;
            progress(AuditProgress { offsets, of });
            if scope.gentle {
                tokio::time::sleep(began.elapsed()).await;
            }
        }
        if !found.past {
            found.stored_ahead = stored_ahead(store, found).await?;
        }
    }
    let clean = partitions.iter().all(PartitionAudit::clean);
    Ok(AuditReport { clean, full: scope.full, offsets, partitions })
}

/// The ranges that the audit works on.
async fn start(store: &dyn Store, scope: &AuditScope) -> Result<Vec<PartitionAudit>, StoreError> {
    let known = store.topics().await?;
    if let Some(unknown) = scope.topics.iter().find(|topic| !known.contains(topic)) {
        let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
        return Err(StoreError {
            class: FailureClass::Configuration,
            code: None,
            message: format!("the store knows no topic {unknown:?}; it knows: {known}"),
        });
    }
    let wanted = |topic: &String| scope.topics.is_empty() || scope.topics.contains(topic);
    let marks = if scope.full { Vec::new() } else { store.audit_marks().await? };
    let marks: BTreeMap<IncarnationId, i64> = marks.into_iter().map(|mark| (mark.id, mark.next_offset)).collect();
    let mut partitions = Vec::new();
    for topic in known.iter().filter(|topic| wanted(topic)) {
        let Some(stored) = store.topic(topic).await? else { continue };
        for (&partition, progress) in &stored.partitions {
            let id = IncarnationId { topic: topic.clone(), partition, incarnation: progress.incarnation };
            let mark = marks.get(&id).copied();
            let range = next_range(progress.first_offset, progress.next_offset, mark, scope.full);
            partitions.push(PartitionAudit::new(id, progress.first_offset, range, false));
        }
    }
    for past in store.past_incarnations().await?.into_iter().filter(|past| wanted(&past.id.topic)) {
        let OffsetRange { first, next } = past.offsets;
        let range = next_range(first, next, marks.get(&past.id).copied(), scope.full);
        // Once it was found clean, only a full audit looks at it again.
        if scope.full || range.first < range.next {
            partitions.push(PartitionAudit::new(past.id, first, range, true));
        }
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
    let (mut at, mut ahead) = (before, 0);
    // Range by range, up to the first without any: after a rewind there may be as much as there is below.
    loop {
        let to = at.saturating_add(RANGE);
        let content = store.range_content(&found.topic, found.partition, found.incarnation, at, to).await?;
        let here = content.rows + content.dead_letters;
        ahead += here;
        at = to;
        if here == 0 {
            break;
        }
    }
    if ahead == 0 {
        return Ok(0);
    }
    let after = position().await?.unwrap_or(before);
    Ok((ahead - (after - before).max(0)).max(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn partition(from: i64) -> PartitionAudit {
        let id = IncarnationId { topic: "t".to_owned(), partition: 0, incarnation: 1 };
        PartitionAudit::new(id, 0, OffsetRange { first: from, next: 10_000_000 }, false)
    }

    fn marked(found: &PartitionAudit) -> Option<(i64, i64)> {
        found.mark().map(|audited| (audited.from, audited.mark.next_offset))
    }

    #[test]
    fn the_mark_stops_at_the_first_gap_that_there_was_no_room_for() {
        let mut found = partition(0);
        let gap = |n: i64| Gap { first: n * 2, next: n * 2 + 1, reason: GapReason::Jump };
        let full = i64::try_from(MAX_GAPS).expect("small");
        found.add(&RangeContent { gaps: (0..full).map(gap).collect(), ..RangeContent::default() });
        assert_eq!((found.gaps_left_from, marked(&found)), (None, Some((0, 10_000_000))));
        let losses = vec![Gap { reason: GapReason::Skipped, ..gap(full) }];
        found.add(&RangeContent { gaps: losses, ..RangeContent::default() });
        assert_eq!(found.gaps_left_from, None, "a known loss is not read again");
        // In no order, as the database gives them.
        found.add(&RangeContent { gaps: vec![gap(full + 9), gap(full + 7)], ..RangeContent::default() });
        assert_eq!((found.gaps.len(), marked(&found)), (MAX_GAPS, Some((0, (full + 7) * 2))));
    }

    #[test]
    fn the_mark_goes_up_to_the_first_fault() {
        let mut found = partition(100);
        assert_eq!(marked(&found), Some((100, 10_000_000)));
        found.gaps = vec![Gap { first: 150, next: 160, reason: GapReason::Jump }];
        found.gaps_not_read = Some("Kafka is away".to_owned());
        assert_eq!(marked(&found), None, "nothing is known that was not known before");
        let content = RangeContent {
            unaccounted: vec![(300, 301)],
            unaccounted_offsets: 1,
            overlapping: 1,
            first_overlapping: Some(200),
            ..RangeContent::default()
        };
        found.add(&content);
        assert_eq!(marked(&found), Some((100, 150)), "a gap that was not read again is before it");
        found.gaps_not_read = None;
        assert_eq!(marked(&found), Some((100, 200)));
        found.gaps_read_again = Some(GapCheck { lost: 1, lost_offsets: vec![155], ..GapCheck::default() });
        assert_eq!(marked(&found), Some((100, 155)));
    }
}
