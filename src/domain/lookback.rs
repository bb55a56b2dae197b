//! Looking back: finds a page of events among many partitions, newest first, without an index on what is asked for.
//!
//! Pure: it says what to read next and is given what was found. Each partition is a run whose records were stored in the
//! order of their offsets, so that the primary key leads from new to old; the runs are merged by [`EventKey`]. What was looked
//! at is bounded by [`MAX_LOOKED_AT`] records, in rounds of at most [`ROUND_ROWS`]; whoever drives it bounds the time.

use super::event_search::{EventFilter, EventKey, EventPage, EventSearch, EventStatus, FoundEvent};
use std::collections::BTreeMap;

/// Records that one search looks at, at most (and one round more).
pub const MAX_LOOKED_AT: usize = 100_000;
/// Records that are read at once, all runs together: some milliseconds of the store, a few megabytes here.
pub const ROUND_ROWS: usize = 10_000;
/// Dead letters that are read at once: each comes with the beginning of its value, 16 KiB, so that this is 4 MiB.
const ROUND_LETTERS: usize = 256;
/// Fewest records of a run that are read at once.
const LEAST_ROWS: usize = 4;
/// Records that a search by a column reads first, all runs together.
const FIRST_ROWS: usize = 2_000;
/// How much more of a run is read each time.
const GROWTH: usize = 4;
/// A place in time is near enough when so many offsets are left to look at.
const NEAR: i64 = 128;
/// First distance over which a place in time is looked for, and how it grows.
const STRIDE: i64 = 1_024;
const STRIDE_GROWTH: i64 = 8;

/// Records in the order in which they were stored.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Run {
    /// Rows of one partition, by offset.
    Events(Partition),
    /// Dead letters of one partition, by offset.
    DeadLetters(Partition),
    /// Rows of all partitions, by an index that begins with the column that is asked for.
    Indexed,
}

/// One partition in one incarnation of its topic.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Partition {
    /// Topic.
    pub topic: String,
    /// Partition.
    pub partition: i32,
    /// Incarnation of the topic.
    pub incarnation: i32,
}

/// What to read next. Runs are named by their place in the list that the search began with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// For each: the last record below this offset.
    Seek(Vec<(usize, i64)>),
    /// For each: so many records, newest first.
    Look {
        /// Where to read.
        windows: Vec<Window>,
        /// How many of each.
        rows: usize,
    },
    /// The page is there.
    Done,
}

/// A part of a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Window {
    /// Which run.
    pub run: usize,
    /// Below this offset.
    pub below: i64,
    /// After this place in the order, in an index.
    pub after: Option<EventKey>,
}

/// What was read of a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Looked {
    /// Which run.
    pub run: usize,
    /// All records that were asked for, newest first; fewer are the last ones.
    pub rows: Vec<FoundEvent>,
}

struct RunState {
    /// Nothing at or above this offset is wanted.
    below: i64,
    /// The last record that was looked at.
    frontier: Option<EventKey>,
    finished: bool,
    /// It is one of dead letters.
    letters: bool,
    rows: usize,
    /// Where the time is looked for.
    seeking: Option<Seeking>,
}

#[derive(Default)]
struct Seeking {
    /// Everything below was stored in time.
    low: Option<i64>,
    asked: i64,
    stride: i64,
}

/// See the module.
pub struct Lookback {
    search: EventSearch,
    /// What was stored later is not wanted.
    latest_us: Option<i64>,
    runs: Vec<RunState>,
    found: BTreeMap<EventKey, FoundEvent>,
    looked_at: usize,
}

impl Lookback {
    /// A search in these runs.
    #[must_use]
    pub fn new(search: EventSearch, runs: &[Run]) -> Self {
        let before_us = search.before.as_ref().map(|before| before.stored_at_us);
        let latest_us = match (before_us, search.filter.until_us) {
            (Some(before), Some(until)) => Some(before.min(until)),
            (before, until) => before.or(until),
        };
        let state = |run: &Run| RunState {
            below: i64::MAX,
            frontier: None,
            finished: false,
            letters: matches!(run, Run::DeadLetters(_)),
            rows: 0,
            seeking: (latest_us.is_some() && *run != Run::Indexed)
                .then(|| Seeking { asked: i64::MAX, ..Default::default() }),
        };
        let runs = runs.iter().map(state).collect();
        Self { search, latest_us, runs, found: BTreeMap::new(), looked_at: 0 }
    }

    /// What to read next.
    #[must_use]
    pub fn step(&mut self) -> Step {
        let seeking: Vec<(usize, i64)> = self
            .runs
            .iter()
            .enumerate()
            .filter_map(|(at, run)| run.seeking.as_ref().map(|seeking| (at, seeking.asked)))
            .collect();
        if !seeking.is_empty() {
            return Step::Seek(seeking);
        }
        let mut open: Vec<usize> = (0..self.runs.len()).filter(|&at| !self.runs[at].finished).collect();
        let wanted = self.search.limit as usize;
        if open.is_empty() || self.looked_at >= MAX_LOOKED_AT || self.safe().count() >= wanted {
            return Step::Done;
        }
        // Those that were looked at least far hold the others up.
        open.sort_by(|&a, &b| match (&self.runs[a].frontier, &self.runs[b].frontier) {
            (None, None) => a.cmp(&b),
            (None, Some(_)) => std::cmp::Ordering::Less,
            (Some(_), None) => std::cmp::Ordering::Greater,
            (Some(a), Some(b)) => b.cmp(a),
        });
        // One kind at a time: dead letters are larger.
        let letters = self.runs[open[0]].letters;
        open.retain(|&at| self.runs[at].letters == letters);
        let new = open.iter().filter(|&&at| self.runs[at].frontier.is_none()).count();
        open.truncate(if new > 0 { new } else { open.len().div_ceil(2) });
        let first = if self.search.filter.is_selective() { FIRST_ROWS } else { 2 * wanted };
        let first = first / open.len();
        let grown = open.iter().map(|&at| self.runs[at].rows * GROWTH).max().unwrap_or_default();
        let round = if letters { ROUND_LETTERS } else { ROUND_ROWS };
        let most = (round / open.len()).max(LEAST_ROWS);
        let rows = first.max(grown).clamp(LEAST_ROWS, most);
        for &at in &open {
            self.runs[at].rows = rows;
        }
        let window = |&at: &usize| Window {
            run: at,
            below: self.runs[at].below,
            after: self.runs[at].frontier.clone().or_else(|| self.search.before.clone()),
        };
        Step::Look { windows: open.iter().map(window).collect(), rows }
    }

    /// The answers to [`Step::Seek`], as (offset, stored at in microseconds); a run without an answer has no such record.
    pub fn sought(&mut self, answers: &BTreeMap<usize, (i64, i64)>) {
        let latest = self.latest_us.unwrap_or(i64::MAX);
        for (at, run) in self.runs.iter_mut().enumerate() {
            let Some(seeking) = &mut run.seeking else { continue };
            self.looked_at += 1;
            match answers.get(&at) {
                // The newest of all is old enough, or there is none.
                None if seeking.asked == i64::MAX => run.finished = true,
                Some(&(_, us)) if us <= latest && seeking.asked == i64::MAX => {}
                Some(&(offset, us)) if us > latest => {
                    run.below = offset;
                    if seeking.low.is_none() {
                        seeking.stride =
                            if seeking.stride == 0 { STRIDE } else { seeking.stride.saturating_mul(STRIDE_GROWTH) };
                    }
                }
                // Whatever lies between the answer and what was asked for does not exist.
                _ => seeking.low = Some(seeking.asked),
            }
            let near = match seeking.low {
                Some(low) => run.below.saturating_sub(low) <= NEAR,
                None => run.below == i64::MAX || run.below <= 0,
            };
            if run.finished || near {
                run.seeking = None;
                continue;
            }
            seeking.asked = match seeking.low {
                Some(low) => low + (run.below - low) / 2,
                None => run.below.saturating_sub(seeking.stride).max(0),
            };
        }
    }

    /// The answers to [`Step::Look`], which asked for `rows` of each.
    pub fn looked(&mut self, answers: Vec<Looked>, rows: usize) {
        for Looked { run, rows: read } in answers {
            let state = &mut self.runs[run];
            self.looked_at += read.len();
            state.finished = read.len() < rows;
            if let Some(last) = read.last() {
                state.below = last.at.offset;
                // Where a clock was set back, the frontier is not.
                let frontier =
                    state.frontier.take().map_or_else(|| last.at.clone(), |before| before.min(last.at.clone()));
                state.finished |= self.search.filter.since_us.is_some_and(|since| frontier.stored_at_us < since);
                state.frontier = Some(frontier);
            }
            for event in read {
                if self.search.before.as_ref().is_none_or(|before| event.at < *before)
                    && self.search.filter.matches(&event)
                {
                    self.found.insert(event.at.clone(), event);
                }
            }
            // Nothing below the last of them, merged, can be on this page.
            let spare = self.found.len().saturating_sub(self.search.limit as usize + 1);
            for _ in 0..spare {
                self.found.pop_first();
            }
        }
    }

    /// The newest place that was not looked at in every run: what was found at or after it is the beginning of the page.
    /// `Err` while a run was not looked at at all.
    fn horizon(&self) -> Result<Option<&EventKey>, ()> {
        let mut newest = None;
        for run in self.runs.iter().filter(|run| !run.finished) {
            newest = newest.max(Some(run.frontier.as_ref().ok_or(())?));
        }
        Ok(newest)
    }

    fn safe(&self) -> impl Iterator<Item = &FoundEvent> {
        let horizon = self.horizon();
        self.found.iter().rev().map(|(_, event)| event).take_while(move |event| match &horizon {
            Ok(horizon) => horizon.is_none_or(|horizon| event.at >= *horizon),
            Err(()) => false,
        })
    }

    /// The page, as far as was looked.
    #[must_use]
    pub fn page(self) -> EventPage {
        let limit = self.search.limit as usize;
        let safe = self.safe().count();
        let horizon = self.horizon().map(Option::<&EventKey>::cloned);
        let all = horizon == Ok(None);
        let more = if all { self.found.len() > limit } else { safe >= limit };
        let mut events: Vec<FoundEvent> = self.found.into_values().rev().take(safe.min(limit)).collect();
        events.shrink_to_fit();
        let last = || events.last().map(|event| event.at.clone());
        let (next, complete) = match (more, horizon) {
            (true, _) => (last(), true),
            (false, Ok(None)) => (None, true),
            // Records of one transaction have one time: a run may be looked at in part of it, and the page must not go back.
            (false, Ok(horizon)) => {
                (horizon.map(|at| self.search.before.map_or(at.clone(), |before| at.min(before))), false)
            }
            // Not even one look at each was possible: the same question again.
            (false, Err(())) => (self.search.before, false),
        };
        let reached = next.as_ref().map(|next| next.stored_at_us);
        let looked_back_to_us = if next.is_some() { reached } else { self.search.filter.since_us };
        EventPage { events, next, looked_back_to_us, complete }
    }
}

/// The runs that have what is wanted.
#[must_use]
pub fn runs_for(filter: &EventFilter, partitions: &[Partition], indexed: bool) -> Vec<Run> {
    let wanted = || partitions.iter().filter(|at| filter.wants_partition(&at.topic, at.partition)).cloned();
    let mut runs = Vec::new();
    if filter.wants_status(EventStatus::Stored) {
        if indexed {
            runs.push(Run::Indexed);
        } else {
            runs.extend(wanted().map(Run::Events));
        }
    }
    if filter.wants_status(EventStatus::DeadLetter) {
        runs.extend(wanted().map(Run::DeadLetters));
    }
    runs
}

#[cfg(test)]
#[path = "lookback_tests.rs"]
mod tests;
