//! Looking back against a store in memory: every page, its bounds, and what a stop says.

use super::*;
use proptest::prelude::*;

/// A store in memory: the records of each run, by offset, stored in the order of their offsets.
struct Memory {
    runs: Vec<Run>,
    rows: Vec<Vec<FoundEvent>>,
    read: usize,
}

fn event(run: usize, status: EventStatus, offset: i64, stored_at_us: i64, user: u8) -> FoundEvent {
    let at = EventKey { stored_at_us, topic: format!("t{}", run % 2), partition: run as i32, incarnation: 1, offset };
    FoundEvent {
        at,
        key: None,
        user_id: Some(format!("user-{user}")),
        event_type: Some("click".into()),
        element_id: None,
        occurred_at_us: None,
        consumer_id: "consumer-1".into(),
        source: None,
        status,
        code: None,
    }
}

impl Memory {
    fn of(runs: Vec<Vec<(i64, i64, u8)>>) -> Self {
        let kind = |run: usize| if run % 3 == 2 { EventStatus::DeadLetter } else { EventStatus::Stored };
        let mut memory = Self { runs: Vec::new(), rows: Vec::new(), read: 0 };
        for (run, steps) in runs.into_iter().enumerate() {
            let (mut offset, mut us) = (0, 1_000);
            let partition = Partition { topic: format!("t{}", run % 2), partition: run as i32, incarnation: 1 };
            memory.runs.push(match kind(run) {
                EventStatus::Stored => Run::Events(partition),
                EventStatus::DeadLetter => Run::DeadLetters(partition),
            });
            let mut rows = Vec::new();
            for (gap, later, user) in steps {
                rows.push(event(run, kind(run), offset, us, user));
                offset += 1 + gap;
                us += later;
            }
            memory.rows.push(rows);
        }
        memory
    }

    fn search(&mut self, search: EventSearch, rounds: usize) -> EventPage {
        let mut lookback = Lookback::new(search, &self.runs);
        for _ in 0..rounds {
            match lookback.step() {
                Step::Done => break,
                Step::Seek(asked) => {
                    let last_below = |&(run, below): &(usize, i64)| {
                        let row = self.rows[run].iter().rev().find(|row| row.at.offset < below)?;
                        Some((run, (row.at.offset, row.at.stored_at_us)))
                    };
                    lookback.sought(&asked.iter().filter_map(last_below).collect());
                }
                Step::Look { windows, rows } => {
                    assert!(rows * windows.len() <= ROUND_ROWS.max(LEAST_ROWS * windows.len()));
                    let read = |window: &Window| Looked {
                        run: window.run,
                        rows: self.rows[window.run]
                            .iter()
                            .rev()
                            .filter(|row| row.at.offset < window.below)
                            .take(rows)
                            .cloned()
                            .collect(),
                    };
                    let read: Vec<Looked> = windows.iter().map(read).collect();
                    self.read += read.iter().map(|looked| looked.rows.len()).sum::<usize>();
                    lookback.looked(read, rows);
                }
            }
        }
        lookback.page()
    }

    fn expected(&self, filter: &EventFilter) -> Vec<FoundEvent> {
        let mut all: Vec<_> = self.rows.iter().flatten().filter(|row| filter.matches(row)).cloned().collect();
        all.sort_by(|a, b| b.at.cmp(&a.at));
        all
    }
}

fn steps() -> impl Strategy<Value = Vec<Vec<(i64, i64, u8)>>> {
    let step = (prop_oneof![9 => Just(0), 1 => 1_i64..5_000], prop_oneof![3 => Just(0), 1 => 0_i64..50], 0_u8..4);
    prop::collection::vec(prop::collection::vec(step, 0..400), 0..6)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    #[test]
    fn pages_give_every_wanted_event_once_and_newest_first(
        runs in steps(),
        limit in 1_u32..60,
        user in prop::option::of(0_u8..5),
        since in prop::option::of(900_i64..6_000),
        until in prop::option::of(900_i64..6_000),
        rounds in prop_oneof![Just(1_000_usize), Just(40_usize)],
    ) {
        let mut memory = Memory::of(runs);
        let filter = EventFilter {
            user_id: user.map(|user| format!("user-{user}")),
            since_us: since,
            until_us: until,
            ..Default::default()
        };
        let expected = memory.expected(&filter);
        let mut found = Vec::new();
        let mut before = None;
        for _ in 0..3_000 {
            let page = memory.search(EventSearch { filter: filter.clone(), limit, before: before.clone() }, rounds);
            prop_assert!(page.events.len() <= limit as usize);
            if page.complete && page.next.is_some() {
                prop_assert_eq!(page.events.len(), limit as usize, "only a full page or a stop has a next one");
            }
            found.extend(page.events);
            if page.next.is_none() {
                prop_assert!(page.complete);
                break;
            }
            prop_assert!(before.is_none() || page.next < before, "each page goes further back");
            before = page.next;
        }
        prop_assert_eq!(found, expected);
    }
}

/// One run of a million records, one each microsecond.
fn long(records: i64) -> Memory {
    Memory::of(vec![(0..records).map(|_| (0, 1, 1)).collect()])
}

#[test]
fn the_newest_events_cost_a_few_reads_however_much_is_stored() {
    let mut memory = long(200_000);
    let page = memory.search(EventSearch { limit: 50, ..Default::default() }, 1_000);
    assert_eq!(page.events.len(), 50);
    assert_eq!(page.events[0].at.offset, 199_999);
    assert!(memory.read <= 200, "{} were read", memory.read);
}

#[test]
fn a_search_without_a_find_stops_and_says_how_far_it_looked() {
    let mut memory = long(300_000);
    let filter = EventFilter { user_id: Some("nobody".into()), ..Default::default() };
    let page = memory.search(EventSearch { filter: filter.clone(), limit: 50, before: None }, 1_000);
    assert!(page.events.is_empty() && !page.complete);
    assert!((MAX_LOOKED_AT..=MAX_LOOKED_AT + ROUND_ROWS).contains(&memory.read), "{} were read", memory.read);
    let reached = page.next.clone().map(|next| next.stored_at_us);
    assert!(reached.is_some() && page.looked_back_to_us == reached);
    let rest = memory.search(EventSearch { filter, limit: 50, before: page.next }, 1_000);
    assert!(rest.looked_back_to_us < reached, "the next page goes on from there");
}

#[test]
fn a_time_far_back_is_found_without_reading_what_is_newer() {
    let mut memory = long(300_000);
    let filter = EventFilter { until_us: Some(51_000), ..Default::default() };
    let page = memory.search(EventSearch { filter, limit: 10, before: None }, 1_000);
    assert_eq!(page.events[0].at.stored_at_us, 51_000);
    assert!(memory.read <= 1_000, "{} were read", memory.read);
}

#[test]
fn before_the_first_look_there_is_nothing_to_say() {
    let mut memory = long(10);
    let page = memory.search(EventSearch { limit: 10, ..Default::default() }, 0);
    assert_eq!(page, EventPage { events: vec![], next: None, looked_back_to_us: None, complete: false });
}

#[test]
fn dead_letters_are_read_in_small_rounds_and_apart_from_rows() {
    let partition = |number| Partition { topic: "t".into(), partition: number, incarnation: 1 };
    let runs = [Run::Events(partition(0)), Run::DeadLetters(partition(0))];
    let filter = EventFilter { user_id: Some("nobody".into()), ..Default::default() };
    let mut lookback = Lookback::new(EventSearch { filter, limit: 50, before: None }, &runs);
    let mut most = [0, 0];
    for round in 0_i64..12 {
        let Step::Look { windows, rows } = lookback.step() else { panic!("it is not done") };
        let [window] = windows.as_slice() else { panic!("{windows:?}") };
        most[window.run] = most[window.run].max(rows);
        let status = if window.run == 0 { EventStatus::Stored } else { EventStatus::DeadLetter };
        let first = 1_000_000 - round * 20_000;
        let rows_of = |at: usize| event(0, status, first - at as i64, first - at as i64, 1);
        lookback.looked(vec![Looked { run: window.run, rows: (0..rows).map(rows_of).collect() }], rows);
    }
    assert_eq!(most, [ROUND_ROWS, ROUND_LETTERS]);
}

#[test]
fn a_page_never_leads_back_to_what_is_newer_than_where_it_began() {
    let key = |offset| event(0, EventStatus::Stored, offset, 500, 1).at;
    let runs = [Run::Events(Partition { topic: "t0".into(), partition: 0, incarnation: 1 })];
    let filter = EventFilter { user_id: Some("nobody".into()), ..Default::default() };
    let mut lookback = Lookback::new(EventSearch { filter, limit: 5, before: Some(key(10)) }, &runs);
    // All of one transaction, and so of one time; the time was over while the run stood above the cursor.
    lookback.looked(vec![Looked { run: 0, rows: vec![event(0, EventStatus::Stored, 50, 500, 1)] }], 1);
    assert_eq!(lookback.page().next, Some(key(10)));
}
