//! What was sent a moment ago, for clients that lost their connection: events by number, and which of them a client missed.
//!
//! Pure. Bound: [`MOST_EVENTS`] events of [`MOST_BYTES`] together, oldest out first. Rows of the feed go first when bytes run
//! out, and how many they were is remembered for [`MOST_COUNTS`] of them. Snapshots are not kept: the next one replaces them.

use actix_web::web::Bytes;
use std::collections::VecDeque;

/// Events that are kept: minutes of a lively group.
const MOST_EVENTS: usize = 256;
/// Bytes of them: some seconds of a full feed.
const MOST_BYTES: usize = 2 << 20;
/// Feed events that are gone and whose rows are still counted: four minutes of them.
const MOST_COUNTS: usize = 1_024;

/// An event as it was sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kept {
    /// Its number.
    pub number: u64,
    /// The whole event.
    pub frame: Bytes,
    /// Rows that it tells of; `None` for an event that is not of the feed.
    pub rows: Option<u64>,
}

/// What a client missed.
#[derive(Debug, PartialEq, Eq)]
pub struct Missed {
    /// In their order.
    pub events: Vec<Kept>,
    /// Rows of the feed that are gone.
    pub rows_gone: u64,
}

/// See the module.
#[derive(Debug, Default)]
pub struct Ring {
    events: VecDeque<Kept>,
    bytes: usize,
    /// The newest event that is gone and was not of the feed.
    gone: u64,
    /// Numbers and rows of feed events that are gone.
    counts: VecDeque<(u64, u64)>,
}

impl Ring {
    /// Keeps an event.
    pub fn push(&mut self, event: Kept) {
        self.bytes += event.frame.len();
        self.events.push_back(event);
        while self.bytes > MOST_BYTES || self.events.len() > MOST_EVENTS {
            // Of the feed first: a row that is not seen is counted, a state that is not seen is wrong.
            let feed = self.events.iter().position(|event| event.rows.is_some());
            let Some(event) = self.events.remove(feed.unwrap_or(0)) else { break };
            self.bytes -= event.frame.len();
            match event.rows {
                Some(rows) => self.counts.push_back((event.number, rows)),
                None => self.gone = event.number,
            }
        }
        while self.counts.len() > MOST_COUNTS {
            self.counts.pop_front();
        }
    }

    /// What came after the event `last`; `None` when something else than rows of the feed is gone since then.
    pub fn after(&self, last: u64) -> Option<Missed> {
        (self.gone <= last).then(|| Missed {
            events: self.events.iter().filter(|event| event.number > last).cloned().collect(),
            rows_gone: self.counts.iter().filter(|(number, _)| *number > last).map(|(_, rows)| rows).sum(),
        })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a missing value is the failure of the test")]
    use super::*;

    fn event(number: u64, bytes: usize, rows: Option<u64>) -> Kept {
        Kept { number, frame: Bytes::from(vec![b'x'; bytes]), rows }
    }

    fn numbers(missed: Option<Missed>) -> (Vec<u64>, u64) {
        let missed = missed.unwrap();
        (missed.events.iter().map(|event| event.number).collect(), missed.rows_gone)
    }

    #[test]
    fn a_client_gets_what_came_after_the_last_event_that_it_saw() {
        let mut ring = Ring::default();
        assert_eq!(numbers(ring.after(0)), (vec![], 0));
        for number in [1, 4, 5] {
            ring.push(event(number, 10, None));
        }
        assert_eq!(numbers(ring.after(3)), (vec![4, 5], 0));
        assert_eq!(numbers(ring.after(5)), (vec![], 0));
        for number in 6..6 + MOST_EVENTS as u64 {
            ring.push(event(number, 10, None));
        }
        assert_eq!(ring.after(4), None, "what happened since then is gone");
        assert_eq!(numbers(ring.after(5)).0.len(), MOST_EVENTS);
    }

    #[test]
    fn rows_of_the_feed_go_first_and_are_counted() {
        let mut ring = Ring::default();
        ring.push(event(1, 10, None));
        for number in 2..=5 {
            ring.push(event(number, MOST_BYTES / 3, Some(100)));
        }
        assert_eq!(numbers(ring.after(0)), (vec![1, 4, 5], 200));
        assert_eq!(numbers(ring.after(2)), (vec![4, 5], 100));
        ring.push(event(6, 2 * MOST_BYTES, Some(7)));
        assert_eq!(numbers(ring.after(0)), (vec![1], 407), "one that is too large is not kept");
    }
}
