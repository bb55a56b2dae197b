//! Events in both stores: searches page by page against all that is stored, one by its place, and what was stored lately.

use crate::support::batches::{TOPIC, event as record, push_row, registered, rejection, store};
use crate::support::stores::TestStore;
use crate::support::wait::PATIENCE;
use drover::domain::batch::Batch;
use drover::domain::event_search::{EventFilter, EventKey, EventPage, EventSearch, EventStatus, FoundEvent};
use drover::domain::lookback::MAX_LOOKED_AT;
use drover::store::events::search;
use std::fmt::Write as _;
use std::sync::Arc;
use std::time::{Duration, Instant};

crate::on_both_stores! { true:
    pages_give_everything_that_is_wanted_once_and_newest_first,
    a_store_without_events_is_searched_in_no_time,
    what_is_too_long_to_show_is_cut_and_matches_nothing,
    an_event_is_found_by_its_place_in_its_newest_incarnation,
    an_offset_in_a_gap_is_known_as_one,
    the_statistics_are_those_of_the_rollups,
    a_search_stops_and_goes_on_from_there,
}

/// The first microsecond of 2026.
const START_US: i64 = 1_767_225_600_000_000;

fn text_of(us: i64) -> String {
    chrono::DateTime::from_timestamp_micros(us).unwrap().format("%Y-%m-%dT%H:%M:%S%.6fZ").to_string()
}

fn blob(test: &TestStore, bytes: &[u8]) -> String {
    let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    if test.store.kind() == "sqlite" { format!("x'{hex}'") } else { format!("'\\x{hex}'::bytea") }
}

fn quoted(text: Option<&str>) -> String {
    text.map_or("NULL".to_owned(), |text| format!("'{}'", text.replace('\'', "''")))
}

/// Stored rows, dead letters and partitions, written as they would lie there after some months.
async fn write(test: &TestStore, events: &[FoundEvent]) {
    let mut sql = String::new();
    for topic in ["a.topic", "b.topic"] {
        let _ = write!(
            sql,
            "INSERT INTO topics (topic, registered_at) VALUES ('{topic}', '{0}');
             INSERT INTO partition_progress (topic, partition, incarnation, first_offset, next_offset, updated_at) VALUES
             ('{topic}', 0, 2, 0, 0, '{0}'), ('{topic}', 1, 1, 0, 0, '{0}');
             INSERT INTO past_incarnations (topic, partition, incarnation, first_offset, next_offset, ended_at)
             VALUES ('{topic}', 0, 1, 0, 0, '{0}');",
            text_of(START_US)
        );
    }
    for event in events {
        let EventKey { stored_at_us, topic, partition, incarnation, offset } = &event.at;
        let (at, key) = (text_of(*stored_at_us), event.key.as_ref().map_or("NULL".into(), |key| blob(test, key)));
        match event.status {
            EventStatus::Stored => {
                let _ = write!(
                    sql,
                    "INSERT INTO events (topic, partition, incarnation, \"offset\", key, user_id, event_type, element_id,
                     occurred_at, payload, consumer_id, source, stored_at) VALUES ('{topic}', {partition}, {incarnation},
                     {offset}, {key}, {}, '{}', {}, {}, '{{\"n\": {offset}}}', '{}', {}, '{at}');",
                    quoted(event.user_id.as_deref()),
                    event.event_type.as_deref().unwrap(),
                    quoted(event.element_id.as_deref()),
                    quoted(event.occurred_at_us.map(text_of).as_deref()),
                    event.consumer_id,
                    quoted(event.source.as_deref()),
                );
            }
            EventStatus::DeadLetter => {
                use base64::Engine as _;
                let source = event.source.as_ref().map_or("null".into(), |source| {
                    format!("\"{}\"", base64::engine::general_purpose::STANDARD.encode(source))
                });
                let headers = format!(
                    "[{{\"name\": \"drover_source\", \"value\": \"b2xk\"}}, {{\"name\": \"drover_source\", \"value\": {source}}}]"
                );
                let _ = write!(
                    sql,
                    "INSERT INTO dead_letters (topic, partition, incarnation, \"offset\", key, value, headers, timestamp_type,
                     code, message, stage, attempts, consumer_id, failed_at) VALUES ('{topic}', {partition}, {incarnation},
                     {offset}, {key}, {}, '{headers}', 'create_time', '{}', 'broken', 'decode', 1, '{}', '{at}');",
                    blob(test, event.user_id.as_deref().unwrap_or("").as_bytes()),
                    event.code.as_deref().unwrap(),
                    event.consumer_id,
                );
            }
        }
    }
    test.execute(&sql).await;
}

/// Some thousands of records: batches of one time over partitions, incarnations and topics, one in nine a dead letter, of
/// which the value is the user.
fn records() -> Vec<FoundEvent> {
    let mut events = Vec::new();
    let mut offsets = std::collections::BTreeMap::new();
    let mut stored_at_us = START_US;
    for number in 0..4_000_i64 {
        if number % 7 == 0 {
            stored_at_us += number % 13;
        }
        let topic = if number % 5 == 0 { "b.topic" } else { "a.topic" };
        let (partition, incarnation) = match number % 3 {
            0 => (1, 1),
            _ if number < 1_500 => (0, 1),
            _ => (0, 2),
        };
        let offset = offsets.entry((topic, partition, incarnation)).or_insert(0_i64);
        *offset += if number % 100 == 0 { 1_000 } else { 1 };
        let is_letter = number % 9 == 0;
        let stored = |text: String| (!is_letter).then_some(text);
        events.push(FoundEvent {
            at: EventKey { stored_at_us, topic: topic.into(), partition, incarnation, offset: *offset },
            key: (number % 4 != 0).then(|| format!("key-{}", number % 50).into_bytes()),
            user_id: (is_letter || number % 6 != 0).then(|| format!("user_{:02}", number % 20)),
            event_type: stored(if number % 2 == 0 { "click".into() } else { "view".into() }),
            element_id: stored(format!("element-{}", number % 30)),
            occurred_at_us: (!is_letter).then_some(stored_at_us - 77),
            consumer_id: "consumer-1".into(),
            source: (number % 10 == 0).then(|| "api".into()),
            status: if is_letter { EventStatus::DeadLetter } else { EventStatus::Stored },
            code: is_letter.then(|| "json.syntax".into()),
        });
    }
    events
}

async fn page(test: &TestStore, filter: EventFilter, limit: u32, before: Option<EventKey>) -> EventPage {
    let read = |event: &mut FoundEvent, value: &[u8]| {
        event.user_id = Some(String::from_utf8(value.to_vec()).unwrap());
    };
    search(&*test.store, EventSearch { filter, limit, before }, PATIENCE, &read).await.unwrap()
}

async fn pages_give_everything_that_is_wanted_once_and_newest_first(test: Arc<TestStore>) {
    let all = records();
    write(&test, &all).await;
    let text = |text: &str| Some(text.to_owned());
    let none = EventFilter::default;
    let filters = [
        (none(), 333),
        (EventFilter { topic: text("b.topic"), ..none() }, 97),
        (EventFilter { topic: text("a.topic"), partition: Some(0), ..none() }, 200),
        (EventFilter { user_id: text("user_07"), ..none() }, 10),
        (EventFilter { key: text("key-13"), event_type: text("view"), ..none() }, 3),
        (EventFilter { element_id: text("element-2"), status: Some(EventStatus::Stored), ..none() }, 7),
        (EventFilter { source: text("api"), ..none() }, 50),
        (EventFilter { source: text("api"), status: Some(EventStatus::DeadLetter), ..none() }, 5),
        (EventFilter { since_us: Some(START_US + 1_000), until_us: Some(START_US + 2_000), ..none() }, 60),
        (EventFilter { until_us: Some(START_US + 700), user_id: text("user_03"), ..none() }, 4),
        (EventFilter { user_id: text("nobody"), ..none() }, 10),
        (EventFilter { topic: text("no.topic"), ..none() }, 10),
    ];
    for (filter, limit) in filters {
        let mut expected: Vec<_> = all.iter().filter(|event| filter.matches(event)).cloned().collect();
        expected.sort_by(|a, b| b.at.cmp(&a.at));
        let mut found = Vec::new();
        let mut before = None;
        loop {
            let page = page(&test, filter.clone(), limit, before).await;
            assert!(page.complete);
            found.extend(page.events);
            before = page.next;
            if before.is_none() {
                break;
            }
        }
        assert_eq!(found.len(), expected.len(), "{filter:?}");
        assert!(found == expected, "{filter:?}: not in the order of storing");
    }
}

async fn a_store_without_events_is_searched_in_no_time(test: Arc<TestStore>) {
    let found = page(&test, EventFilter::default(), 10, None).await;
    assert_eq!(found, EventPage { events: vec![], next: None, looked_back_to_us: None, complete: true });
    registered(&test, &[(0, 0)]).await;
    let filter = EventFilter { until_us: Some(START_US), since_us: Some(5), ..Default::default() };
    let found = page(&test, filter, 10, None).await;
    assert_eq!(found, EventPage { events: vec![], next: None, looked_back_to_us: Some(5), complete: true });
}

async fn what_is_too_long_to_show_is_cut_and_matches_nothing(test: Arc<TestStore>) {
    let mut long = records().remove(1);
    long.user_id = Some("ä".repeat(100_000));
    long.key = Some(vec![b'k'; 100_000]);
    write(&test, &[long]).await;
    let found = page(&test, EventFilter::default(), 10, None).await;
    assert_eq!(found.events[0].user_id, Some("ä".repeat(257)));
    assert_eq!(found.events[0].key.as_ref().unwrap().len(), 257);
    let filter = EventFilter { user_id: Some("ä".repeat(256)), ..Default::default() };
    assert!(page(&test, filter, 10, None).await.events.is_empty());
}

async fn an_event_is_found_by_its_place_in_its_newest_incarnation(test: Arc<TestStore>) {
    let mut events = vec![records().remove(1), records().remove(1)];
    (events[0].at.incarnation, events[1].at.incarnation) = (1, 2);
    (events[0].at.partition, events[1].at.partition) = (0, 0);
    events[1].user_id = Some("later".into());
    write(&test, &events).await;
    let place = &events[1].at;
    let found = test.store.event(&place.topic, 0, place.offset).await.unwrap().unwrap();
    assert_eq!(found.event, events[1]);
    let document: serde_json::Value = serde_json::from_str(&found.payload.unwrap()).unwrap();
    assert_eq!((document["n"].as_i64(), found.payload_truncated), (Some(place.offset), false));
    assert_eq!(test.store.event(&place.topic, 0, place.offset + 1).await.unwrap(), None);
    assert_eq!(test.store.event(&place.topic, 1, place.offset).await.unwrap(), None);

    let long = format!("{{\"text\": \"{}\"}}", "ß".repeat(100_000));
    test.execute(&format!("UPDATE events SET payload = '{long}' WHERE incarnation = 2")).await;
    let found = test.store.event(&place.topic, 0, place.offset).await.unwrap().unwrap();
    assert_eq!((found.payload.unwrap().chars().count(), found.payload_truncated), (65_536, true));
    test.execute("UPDATE events SET payload = NULL WHERE incarnation = 2").await;
    let found = test.store.event(&place.topic, 0, place.offset).await.unwrap().unwrap();
    assert_eq!((found.payload, found.payload_truncated), (None, false));
}

async fn an_offset_in_a_gap_is_known_as_one(test: Arc<TestStore>) {
    registered(&test, &[(0, 0)]).await;
    let mut batch = Batch::new("consumer-1");
    let slot = batch.slot(TOPIC, 0, 1, 0);
    push_row(&mut batch, slot, &record(0, 0));
    batch.push_gap(slot, 4, "jump");
    push_row(&mut batch, slot, &record(0, 4));
    store(&mut test.store.writer("test"), &batch).await;
    let mut gaps = Vec::new();
    for offset in 0..6 {
        gaps.push(test.store.gap_at(TOPIC, 0, offset).await.unwrap().is_some());
    }
    assert_eq!(gaps, [false, true, true, true, false, false]);
    assert_eq!(test.store.gap_at(TOPIC, 0, 1).await.unwrap().as_deref(), Some("jump"));
}

async fn the_statistics_are_those_of_the_rollups(test: Arc<TestStore>) {
    registered(&test, &[(0, 0)]).await;
    let mut batch = Batch::new("consumer-1");
    let slot = batch.slot(TOPIC, 0, 1, 0);
    for offset in 0..3 {
        push_row(&mut batch, slot, &record(0, offset));
    }
    batch.push_dead_letter(slot, record(0, 3), rejection(), 1);
    store(&mut test.store.writer("test"), &batch).await;
    let (old, older) = (text_of(START_US + 60_000_000), text_of(START_US));
    test.execute(&format!(
        "INSERT INTO event_rollups (minute, topic, partition, event_type, count) VALUES
         ('{old}', 'x', 0, 'view', 40), ('{old}', 'x', 1, 'view', 2), ('{old}', 'x', 0, 'scroll', 7),
         ('{older}', 'x', 0, 'view', 1000)"
    ))
    .await;
    let since = |ms: i64| test.store.statistics(ms, PATIENCE);
    let newest = since(START_US / 1_000 + 120_000).await.unwrap();
    assert_eq!((newest.stored, newest.dead_letters), (3, 1));
    assert_eq!(newest.by_type, [("click".to_owned(), 3)]);
    assert_eq!((newest.per_minute.len(), newest.per_minute[0].1), (1, 3));
    assert_eq!(newest.per_minute[0].0 % 60_000, 0);
    let more = since(START_US / 1_000 + 60_000).await.unwrap();
    assert_eq!(more.by_type, [("view".to_owned(), 42), ("scroll".to_owned(), 7), ("click".to_owned(), 3)]);
    assert_eq!((more.stored, more.per_minute[0]), (52, (START_US / 1_000 + 60_000, 49)));
    assert_eq!(since(i64::MAX / 1_000_000).await.unwrap(), Default::default());
}

/// So many rows of three partitions, a millisecond apart, made by the database itself.
async fn fill(test: &TestStore, rows: i64) {
    registered(test, &[(0, 0), (1, 0), (2, 0)]).await;
    let columns = "topic, partition, incarnation, \"offset\", key, user_id, event_type, consumer_id, stored_at";
    let sql = if test.store.kind() == "sqlite" {
        format!(
            "WITH RECURSIVE n (i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i + 1 < {rows})
             INSERT INTO events ({columns}) SELECT '{TOPIC}', i % 3, 1, i / 3, CAST('k' || i AS BLOB), 'user_' || (i % 1000),
             'click', 'consumer-1', strftime('%Y-%m-%dT%H:%M:', i / 1000, 'unixepoch') ||
             printf('%02d.%03d000Z', (i / 1000) % 60, i % 1000) FROM n"
        )
    } else {
        format!(
            "INSERT INTO events ({columns}) SELECT '{TOPIC}', i % 3, 1, i / 3, convert_to('k' || i, 'UTF8'),
             'user_' || (i % 1000), 'click', 'consumer-1', 'epoch'::timestamptz + i * interval '1 millisecond'
             FROM generate_series(0, {rows} - 1) i"
        )
    };
    test.execute(&sql).await;
}

async fn a_search_stops_and_goes_on_from_there(test: Arc<TestStore>) {
    let rows = i64::try_from(MAX_LOOKED_AT).unwrap() + 50_000;
    fill(&test, rows).await;
    let filter = EventFilter { key: Some("k7".into()), ..Default::default() };
    let first = page(&test, filter.clone(), 5, None).await;
    assert!(first.events.is_empty() && !first.complete, "{first:?}");
    assert!(first.looked_back_to_us.unwrap() > 20_000_000, "{first:?}");
    let second = page(&test, filter.clone(), 5, first.next).await;
    assert_eq!(second.events.iter().map(|event| event.at.stored_at_us).collect::<Vec<_>>(), [7_000]);
    assert_eq!((second.complete, second.next), (true, None));
    // Straight to the time, and no further back than asked.
    let at = EventFilter { since_us: Some(7_000), until_us: Some(7_000), ..filter };
    let found = page(&test, at, 5, None).await;
    assert_eq!((found.events.len(), found.complete, found.looked_back_to_us), (1, true, Some(7_000)));
}

/// How PostgreSQL came to what it gave: (sequential scans, rows by index).
async fn scans(test: &TestStore) -> (i64, i64) {
    let of = |column: &str| {
        format!("SELECT {column} FROM pg_stat_user_tables WHERE relid = '{}.events'::regclass", test.config.schema)
    };
    (test.number(&of("seq_scan")).await, test.number(&of("idx_tup_fetch")).await)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn postgres_reads_what_a_search_asks_for_and_never_the_whole_table() {
    use crate::support::stores::{empty_postgres, run_on};
    let Some(test) = empty_postgres() else { return };
    run_on(test, true, |test| async move {
        // No statistics: what the planner guesses about a young table must not matter. And no vacuum, which counts as a scan for
        // each range of the BRIN that it sums up.
        test.execute("ALTER TABLE events SET (autovacuum_enabled = false)").await;
        fill(&test, 300_000).await;
        let before = scans(&test).await;
        let newest = page(&test, EventFilter::default(), 50, None).await;
        assert_eq!(newest.events[0].at.stored_at_us, 299_999_000);
        let old = EventFilter { until_us: Some(20_000_000), ..Default::default() };
        assert_eq!(page(&test, old, 50, None).await.events[0].at.stored_at_us, 20_000_000);
        let one = test.store.event(TOPIC, 2, 90_000).await.unwrap().unwrap();
        assert_eq!(one.event.at.stored_at_us, 270_002_000);
        // The server counts what its sessions have done a moment later.
        let deadline = Instant::now() + PATIENCE;
        let mut read = before;
        while read.1 < before.1 + 101 {
            assert!(Instant::now() < deadline, "the server has counted {read:?} since {before:?}");
            tokio::time::sleep(Duration::from_millis(20)).await;
            read = scans(&test).await;
        }
        assert_eq!(read.0, before.0, "the table was read from end to end");
        assert!(read.1 - before.1 < 5_000, "{} rows were read", read.1 - before.1);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn postgres_goes_straight_to_a_user_where_somebody_made_an_index() {
    use crate::support::stores::{empty_postgres, run_on};
    let Some(test) = empty_postgres() else { return };
    run_on(test, true, |test| async move {
        fill(&test, 300_000).await;
        let filter = EventFilter { user_id: Some("user_7".into()), ..Default::default() };
        let slow = page(&test, filter.clone(), 200, None).await;
        assert!(!slow.complete && slow.events.len() < 120, "without it the search stops: {}", slow.events.len());
        assert!(!test.store.has_event_index("user_id").await.unwrap());
        test.execute("CREATE INDEX events_user_id ON events (user_id, stored_at)").await;
        assert!(test.store.has_event_index("user_id").await.unwrap());
        assert!(!test.store.has_event_index("event_type").await.unwrap());
        let mut found = Vec::new();
        let mut before = None;
        for _ in 0..3 {
            let page = page(&test, filter.clone(), 120, before).await;
            assert!(page.complete);
            found.extend(page.events.iter().map(|event| event.at.stored_at_us));
            before = page.next;
        }
        assert_eq!(before, None);
        let expected: Vec<i64> = (0..300).rev().map(|n| (n * 1_000 + 7) * 1_000).collect();
        assert_eq!(found, expected);
        let narrow =
            EventFilter { topic: Some(TOPIC.into()), partition: Some(1), since_us: Some(250_000_000), ..filter };
        let narrow = page(&test, narrow, 100, None).await;
        assert_eq!(narrow.events.len(), 16, "{narrow:?}");
        assert!(narrow.events.iter().all(|event| event.at.partition == 1));
        // What is rare among much of one type: each search looks at a bounded part, and the next goes on from there.
        test.execute("CREATE INDEX events_event_type ON events (event_type, stored_at)").await;
        let rare =
            EventFilter { event_type: Some("click".into()), topic: Some("another".into()), ..Default::default() };
        let (mut before, mut searches) = (None, 0);
        loop {
            searches += 1;
            let page = page(&test, rare.clone(), 5, before.clone()).await;
            assert!(page.events.is_empty());
            if page.next.is_none() {
                assert!(page.complete);
                break;
            }
            assert!(!page.complete && before.is_none_or(|before| page.next.as_ref() < Some(&before)));
            before = page.next;
        }
        assert!(searches > 1, "one search looked at everything");
    })
    .await;
}
