//! The storm guard: when the records of a partition fail in such numbers that something else is wrong than a record.
//!
//! Pure. A schema that changed would otherwise send a whole topic to the dead-letter table. Per partition, dead letters in a
//! row and their share of the last records are watched; past a limit the partition is to be quarantined. Bounded by the
//! window, one byte per record, and by [`MAX_CODES`].

use super::batch::Batch;
use super::failure::DeadLetterCode;
use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::time::Duration;

/// Codes that are counted apart; further ones are not named.
const MAX_CODES: usize = 32;

/// The limits of the guard.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct StormLimits {
    /// Dead letters in a row; 0 is off.
    pub consecutive: u32,
    /// Share of dead letters among the last `window` records; 0 is off.
    pub ratio: f64,
    /// Records that the ratio looks at.
    pub window: usize,
    /// How long a quarantine lasts when nobody releases it; zero: until somebody does.
    pub release_after: Duration,
}

impl StormLimits {
    /// Dead letters within the window that make a storm.
    fn most_in_window(&self) -> Option<usize> {
        // At most `window`, which is small.
        (self.ratio > 0.0).then(|| ((self.ratio * self.window as f64).ceil() as usize).max(1))
    }

    fn is_run(&self, run: u32) -> bool {
        self.consecutive > 0 && run >= self.consecutive
    }
}

/// Which limit was passed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StormRule {
    /// Dead letters in a row.
    Consecutive,
    /// Their share of the last records.
    Ratio,
}

impl StormRule {
    /// The name used in metrics.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Consecutive => "consecutive",
            Self::Ratio => "ratio",
        }
    }
}

/// Why a partition is to be quarantined.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Storm {
    /// The limit that was passed.
    pub rule: StormRule,
    /// Dead letters that were counted.
    pub dead: usize,
    /// Records among which they were counted.
    pub of: usize,
    /// The most frequent code.
    pub code: String,
    /// The offset of a record that failed with it.
    pub example: i64,
}

impl fmt::Display for Storm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.rule {
            StormRule::Consecutive => write!(f, "{} dead letters in a row", self.dead)?,
            StormRule::Ratio => write!(f, "{} dead letters among the last {} records", self.dead, self.of)?,
        }
        write!(f, ", most of them {}, such as offset {}", self.code, self.example)
    }
}

/// What is counted of the codes, to name the most frequent one.
#[derive(Debug, Clone, Default)]
struct Codes(Vec<(DeadLetterCode, usize, i64)>);

impl Codes {
    fn count(&mut self, code: &DeadLetterCode, offset: i64) {
        if let Some((_, count, _)) = self.0.iter_mut().find(|(known, ..)| known == code) {
            *count += 1;
        } else if self.0.len() < MAX_CODES {
            self.0.push((code.clone(), 1, offset));
        }
    }

    fn storm(&self, rule: StormRule, dead: usize, of: usize) -> Storm {
        let most = self.0.iter().max_by_key(|(_, count, _)| *count);
        let (code, example) = most.map_or((String::new(), -1), |(code, _, offset)| (code.to_string(), *offset));
        Storm { rule, dead, of, code, example }
    }
}

/// Watches the records of one partition in their order.
#[derive(Debug, Clone)]
pub struct StormGuard {
    limits: StormLimits,
    run: u32,
    /// Whether each of the last records is a dead letter, oldest first.
    window: VecDeque<bool>,
    dead: usize,
    codes: Codes,
    /// An operator has released the partition: a flood may pass until so many records in a row are good.
    pardon: u32,
}

impl StormGuard {
    /// A guard that has seen nothing.
    #[must_use]
    pub fn new(limits: StormLimits) -> Self {
        Self { limits, run: 0, window: VecDeque::new(), dead: 0, codes: Codes::default(), pardon: 0 }
    }

    /// A record is a row, or will be one.
    pub fn good(&mut self) {
        self.run = 0;
        if self.pardon > 0 {
            self.pardon -= 1;
            if self.pardon == 0 {
                // What was let pass does not count against what follows it.
                self.start_fresh();
            }
        }
        if self.dead > 0 || self.limits.ratio > 0.0 {
            self.push(false);
        }
        if self.dead == 0 {
            self.codes.0.clear();
        }
    }

    /// So many records are rows.
    pub fn good_many(&mut self, records: usize) {
        // More of them than the window holds make no difference.
        let seen = records.min(self.limits.window.max(self.limits.consecutive as usize));
        (0..seen).for_each(|_| self.good());
    }

    /// A record is a dead letter. Gives back why the partition is to be quarantined, if it is; the guard then starts fresh.
    pub fn dead(&mut self, code: &DeadLetterCode, offset: i64) -> Option<Storm> {
        self.run = self.run.saturating_add(1);
        self.push(true);
        self.codes.count(code, offset);
        if self.pardon > 0 {
            self.pardon = self.calm();
            return None;
        }
        let rule = if self.limits.is_run(self.run) {
            StormRule::Consecutive
        } else if self.window.len() >= self.limits.window
            && self.limits.most_in_window().is_some_and(|most| self.dead >= most)
        {
            StormRule::Ratio
        } else {
            return None;
        };
        let dead = if rule == StormRule::Consecutive { self.run as usize } else { self.dead };
        let storm = self.codes.storm(rule, dead, self.window.len());
        self.start_fresh();
        Some(storm)
    }

    /// Forgets what it has seen: a quarantine has ended by its time.
    pub fn start_fresh(&mut self) {
        *self = Self::new(self.limits);
    }

    /// An operator has released the partition: what follows may pass, until the flood is over.
    pub fn pardon(&mut self) {
        self.start_fresh();
        self.pardon = self.calm();
    }

    /// Whether a flood may pass now.
    #[must_use]
    pub fn is_pardoned(&self) -> bool {
        self.pardon > 0
    }

    /// Good records in a row after which a flood counts as over.
    fn calm(&self) -> u32 {
        let window = u32::try_from(self.limits.window).unwrap_or(u32::MAX);
        if self.limits.consecutive > 0 { self.limits.consecutive } else { window }.max(1)
    }

    fn push(&mut self, dead: bool) {
        if self.window.len() >= self.limits.window.max(1) {
            self.dead -= usize::from(self.window.pop_front() == Some(true));
        }
        self.window.push_back(dead);
        self.dead += usize::from(dead);
    }
}

/// Watches the rows that the database refuses, while a batch is tried again without them.
#[derive(Debug, Clone)]
pub struct BatchGuard {
    limits: StormLimits,
    /// Slots whose flood may pass.
    pardoned: Vec<u16>,
    seen: HashMap<u16, Refused>,
}

#[derive(Debug, Clone, Default)]
struct Refused {
    run: u32,
    last: i64,
    count: usize,
    /// Where each refused row stood among the rows of its slot, in the order of refusal.
    ranks: VecDeque<usize>,
    codes: Codes,
}

impl BatchGuard {
    /// A guard of one batch.
    #[must_use]
    pub fn new(limits: StormLimits, pardoned: Vec<u16>) -> Self {
        Self { limits, pardoned, seen: HashMap::new() }
    }

    /// The row at `index` is about to be taken out of the batch. Gives back the slot and why its partition is to be
    /// quarantined, if it is.
    pub fn refused(&mut self, batch: &Batch, index: usize, code: &DeadLetterCode) -> Option<(u16, Storm)> {
        let meta = batch.metas().get(index)?;
        if self.pardoned.contains(&meta.slot) {
            return None;
        }
        let before = batch.metas()[..index].iter().filter(|other| other.slot == meta.slot);
        let previous = before.clone().next_back().map(|other| other.offset);
        let refused = self.seen.entry(meta.slot).or_default();
        let follows = refused.run > 0 && refused.last < meta.offset && previous.is_none_or(|good| good < refused.last);
        refused.run = if follows { refused.run + 1 } else { 1 };
        refused.last = meta.offset;
        refused.codes.count(code, meta.offset);
        let rank = before.count() + refused.count;
        refused.count += 1;
        refused.ranks.push_back(rank);
        let window = self.limits.window;
        refused.ranks.retain(|&other| other + window > rank);
        if self.limits.is_run(refused.run) {
            let run = refused.run as usize;
            return Some((meta.slot, refused.codes.storm(StormRule::Consecutive, run, run)));
        }
        let dead = refused.ranks.len();
        let is_flood = rank + 1 >= window && self.limits.most_in_window().is_some_and(|most| dead >= most);
        is_flood.then(|| (meta.slot, refused.codes.storm(StormRule::Ratio, dead, window)))
    }
}

#[cfg(test)]
#[path = "storm_tests.rs"]
mod tests;
