//! Records that cannot be rows: each ends as one dead letter, byte for byte, in the table and on its topic, and the records
//! around it are stored.

use crate::support::events::{Event, Sent, event};
use crate::support::raw_headers::send_with_header;
use crate::support::scene::Scene;
use crate::support::topics::{Read, read_topic};
use crate::support::wait::until;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;
use std::collections::BTreeSet;

/// A name, the value, and the code that it must get.
type Poison = (&'static str, Option<Vec<u8>>, &'static str);

fn poisons() -> Vec<Poison> {
    let text = |name, value: &str, code| (name, Some(value.as_bytes().to_vec()), code);
    let deep = format!(r#"{{"event_type":"a","x":{}{}}}"#, "[".repeat(20_000), "]".repeat(20_000));
    vec![
        ("a tombstone", None, "value.null"),
        text("nothing", "", "json.syntax"),
        text("no JSON", "user_0001 did click", "json.syntax"),
        text("half a document", r#"{"event_type":"a","x":"#, "json.syntax"),
        text("two documents", r#"{"event_type":"a"} {"event_type":"b"}"#, "json.syntax"),
        text("an array", r#"[{"event_type":"a"}]"#, "json.not_object"),
        text("a number", "42", "json.not_object"),
        ("no UTF-8", Some(b"{\"event_type\":\"a\xff\"}".to_vec()), "json.encoding"),
        ("only NUL", Some(vec![0; 16]), "json.syntax"),
        text("an escaped NUL", r#"{"event_type":"a","x":"\u0000"}"#, "json.text"),
        text("half of a pair", r#"{"event_type":"a","x":"\ud83d"}"#, "json.text"),
        text("no event_type", r#"{"user_id":"user_0001"}"#, "field.missing"),
        text("a null event_type", r#"{"event_type":null}"#, "field.missing"),
        text("a number as event_type", r#"{"event_type":7}"#, "field.type"),
        text("an object as user_id", r#"{"event_type":"a","user_id":{}}"#, "field.type"),
        text("a timestamp that is none", r#"{"event_type":"a","timestamp":"yesterday"}"#, "timestamp.invalid"),
        text("a timestamp out of range", r#"{"event_type":"a","timestamp":9223372036854775807}"#, "timestamp.invalid"),
        // The database alone can tell these: numeric_value_out_of_range and statement_too_complex.
        text("a number beyond numeric", r#"{"event_type":"a","x":1e999999}"#, "db.22003"),
        text("another of them", r#"{"event_type":"a","x":-1e999999}"#, "db.22003"),
        ("nested too deep", Some(deep.into_bytes()), "db.54001"),
        ("larger than allowed", Some(vec![b'x'; 100_000]), "record.too_large"),
    ]
}

/// What a dead letter must keep: bytes of all kinds, nulls, an empty value and a name that comes twice.
fn with_baggage(number: usize, value: Option<Vec<u8>>) -> Event {
    let keys = [None, Some(vec![]), Some(vec![0, 0xff, 0x80]), Some(b"user_0001".to_vec())];
    let header = |name: &str, value: Option<&[u8]>| (name.to_owned(), value.map(<[u8]>::to_vec));
    Event {
        partition: Some(0),
        key: keys[number % keys.len()].clone(),
        value,
        headers: vec![
            header("trace", Some(b"first")),
            header("binary", Some(&[0, 1, 0xfe, 0xff])),
            header("trace", Some(b"second")),
            header("null", None),
            header("", Some(b"")),
            header("größe", Some("ä".as_bytes())),
        ],
        timestamp_ms: Some(1_700_000_000_000 + i64::try_from(number).unwrap()),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_kind_of_poison_is_one_dead_letter_byte_for_byte_and_the_records_around_it_are_stored() {
    let Some(scene) = Scene::new(1).await else { return };
    let poisons = poisons();
    let mut mixed = Vec::new();
    for (at, (_, value, _)) in poisons.iter().enumerate() {
        mixed.push(Event { partition: Some(0), ..event(at) });
        mixed.push(with_baggage(at, value.clone()));
    }
    mixed.push(Event { partition: Some(0), ..event(poisons.len()) });
    let mut sent = scene.send(mixed).await;
    sent.sort_by_key(|sent| sent.offset);
    // They alternate, a good one first.
    let good: Vec<Sent> = sent.iter().step_by(2).cloned().collect();
    let bad: Vec<Sent> = sent.into_iter().skip(1).step_by(2).collect();

    let mut drover = scene.run(1).set("DROVER_LIMITS_RECORD_BYTES", 90_000).start("drover");
    scene.database.until_accounted(&scene.topic, i64::try_from(good.len() + bad.len()).unwrap()).await;
    until("all dead letters to be published", async || {
        scene.database.number("SELECT count(*) FROM dead_letters WHERE published_at IS NULL").await == Some(0)
    })
    .await;
    drover.stop().await;
    scene.database.assert_stored(&scene.topic, &good).await;

    let rows = scene
        .database
        .query(
            "SELECT \"offset\", key, value, headers, \"timestamp\", timestamp_type, code, message, publish_outcome \
             FROM dead_letters ORDER BY \"offset\"",
            &[],
        )
        .await;
    assert_eq!(rows.len(), poisons.len());
    for (((name, _, code), Sent { offset, event, .. }), row) in poisons.iter().zip(&bad).zip(&rows) {
        assert_eq!(row.get::<_, i64>(0), *offset, "{name}");
        assert_eq!(row.get::<_, String>(6), *code, "{name}: {}", row.get::<_, String>(7));
        assert_eq!(row.get::<_, Option<Vec<u8>>>(1), event.key, "{name}");
        assert_eq!(row.get::<_, Option<Vec<u8>>>(2), event.value, "{name}");
        assert_eq!(headers_of(&row.get(3)), event.headers, "{name}");
        assert_eq!(row.get::<_, Option<i64>>(4), event.timestamp_ms, "{name}");
        assert_eq!(row.get::<_, String>(5), "CreateTime", "{name}");
        assert_eq!(row.get::<_, String>(8), "published", "{name}");
    }

    let published = read_topic(&scene.brokers, &format!("{}.dlq", scene.topic), poisons.len()).await;
    for ((name, _, code), sent) in poisons.iter().zip(&bad) {
        let found: Vec<&Read> = published
            .iter()
            .filter(|read| read.header("kafka_dlt-original-offset") == Some(&sent.offset.to_be_bytes()[..]))
            .collect();
        assert_eq!(found.len(), 1, "{name} is on the topic once");
        assert_published(name, found[0], sent, code, &scene);
    }
    let audit = scene.drover(&["audit"]).run("audit").await;
    assert_eq!(audit.code, Some(0), "{}", audit.stdout);
}

/// More than the dead-letter actor reads at once.
const WAITING: usize = 600;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn dead_letters_of_a_topic_that_cannot_be_published_hold_up_none_of_another() {
    let (Some(scene), Some(other)) = (Scene::new(1).await, Scene::new(1).await) else { return };
    let broken = |number| Event {
        partition: Some(0),
        value: Some(format!("no JSON: {number}").into_bytes()),
        ..Event::default()
    };
    let create = async |scene: &Scene| {
        let name = format!("{}.dlq", scene.topic);
        let created = scene.drover(&["topics", "create", &name, "--partitions", "1"]).run("create").await;
        assert_eq!(created.code, Some(0), "{}{}", created.stdout, created.log);
    };
    let published = async |scene_of: &Scene| {
        let sql = format!(
            "SELECT count(*) FROM dead_letters WHERE topic = '{}' AND publish_outcome = 'published'",
            scene_of.topic
        );
        scene.database.number(&sql).await
    };
    create(&other).await;
    scene.send((0..WAITING).map(broken)).await;
    let mut drover = scene
        .run(1)
        .set("KAFKA_TOPIC_USER_EVENTS", format!("{},{}", scene.topic, other.topic))
        .set("DROVER_DEAD_LETTERS_CREATE_TOPIC", false)
        .set("DROVER_STORM_CONSECUTIVE", 0)
        .set("DROVER_STORM_RATIO", 0)
        .start("drover");
    scene.database.until_accounted(&scene.topic, i64::try_from(WAITING).unwrap()).await;
    drover.until_logged("dead letters of a topic wait to be published").await;
    other.send((0..10).map(broken)).await;
    until("those of the other topic to be published", async || published(&other).await == Some(10)).await;
    assert_eq!(published(&scene).await, Some(0), "theirs is missing");

    create(&scene).await;
    until("the others to be published too", async || published(&scene).await == Some(i64::try_from(WAITING).unwrap()))
        .await;
    drover.stop().await;
    let read = read_topic(&scene.brokers, &format!("{}.dlq", scene.topic), WAITING).await;
    let offsets: BTreeSet<_> = read.iter().map(|read| read.header("kafka_dlt-original-offset")).collect();
    assert_eq!((read.len(), offsets.len()), (WAITING, WAITING), "each once");
}

fn assert_published(name: &str, read: &Read, sent: &Sent, code: &str, scene: &Scene) {
    let Sent { partition, offset, event } = sent;
    assert_eq!(read.key, event.key, "{name}");
    assert_eq!(read.value, event.value, "{name}");
    assert_eq!(read.timestamp_ms, event.timestamp_ms, "{name}");
    assert_eq!(read.partition, *partition, "{name}");
    assert_eq!(read.headers[..event.headers.len()], event.headers, "{name}: the record's own headers come first");
    let bytes = |text: &str| Some(text.as_bytes().to_vec());
    for (header, value) in [
        ("kafka_dlt-original-topic", bytes(&scene.topic)),
        ("kafka_dlt-original-partition", Some(partition.to_be_bytes().to_vec())),
        ("kafka_dlt-original-offset", Some(offset.to_be_bytes().to_vec())),
        ("kafka_dlt-original-timestamp", event.timestamp_ms.map(|ms| ms.to_be_bytes().to_vec())),
        ("kafka_dlt-original-timestamp-type", bytes("CreateTime")),
        ("kafka_dlt-original-consumer-group", bytes(&scene.group)),
        ("drover_code", bytes(code)),
        ("drover_original_topic", bytes(&scene.topic)),
        ("drover_original_partition", bytes(&partition.to_string())),
        ("drover_original_offset", bytes(&offset.to_string())),
        ("drover_consumer_id", bytes("consumer-1")),
    ] {
        assert_eq!(read.header(header), value.as_deref(), "{name}: {header}");
    }
    for header in
        ["kafka_dlt-exception-fqcn", "kafka_dlt-exception-message", "drover_dead_letter_id", "drover_failed_at"]
    {
        assert!(read.header(header).is_some_and(|value| !value.is_empty()), "{name}: {header}");
    }
}

/// The headers of the table: a list of names and values in Base64.
fn headers_of(json: &Value) -> Vec<(String, Option<Vec<u8>>)> {
    let headers = json.as_array().unwrap().iter().map(|header| {
        let value = header["value"].as_str().map(|value| STANDARD.decode(value).unwrap());
        (header["name"].as_str().unwrap().to_owned(), value)
    });
    headers.collect()
}

/// One bad row after another in large batches: each is found, none of the others is lost, and all in little time.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rows_that_only_the_database_refuses_are_found_among_thousands() {
    let Some(scene) = Scene::new(3).await else { return };
    let refused = |number: usize| number % 100 == 7;
    let sent = scene
        .send((0..6_000).map(|number| {
            let good = event(number);
            let bad = || Some(format!(r#"{{"event_type":"a","number":{number},"x":1e999999}}"#).into_bytes());
            if refused(number) { Event { value: bad(), ..good } } else { good }
        }))
        .await;
    let (bad, good): (Vec<Sent>, Vec<Sent>) = sent.into_iter().partition(|sent| sent.event.value_has("1e999999"));
    let mut drover = scene.run(2).start("drover");
    scene.database.until_accounted(&scene.topic, 6_000).await;
    drover.stop().await;
    scene.database.assert_stored(&scene.topic, &good).await;
    let letters = scene.database.query("SELECT partition, \"offset\", value FROM dead_letters", &[]).await;
    let mut stored: Vec<(i32, i64, Option<Vec<u8>>)> =
        letters.iter().map(|row| (row.get(0), row.get(1), row.get(2))).collect();
    let mut expected: Vec<_> = bad.into_iter().map(|sent| (sent.partition, sent.offset, sent.event.value)).collect();
    stored.sort();
    expected.sort();
    assert_eq!(expected.len(), 60);
    assert_eq!(stored, expected);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_header_name_that_is_not_utf8_stays_as_it_is_in_the_table() {
    let Some(scene) = Scene::new(1).await else { return };
    let (brokers, topic) = (scene.brokers.clone(), scene.topic.clone());
    tokio::task::spawn_blocking(move || {
        send_with_header(&brokers, &topic, b"no JSON", b"n\xff\xfe", b"v\x80");
        send_with_header(&brokers, &topic, br#"{"event_type":"a"}"#, b"drover_source\xff", b"v");
    })
    .await
    .unwrap();
    let mut drover = scene.run(1).start("drover");
    scene.database.until_accounted(&scene.topic, 2).await;
    drover.stop().await;
    let rows = scene.database.query("SELECT \"offset\", value, headers FROM dead_letters", &[]).await;
    assert_eq!(rows.len(), 1);
    assert_eq!((rows[0].get::<_, i64>(0), rows[0].get::<_, &[u8]>(1)), (0, &b"no JSON"[..]));
    let headers: Value = rows[0].get(2);
    assert_eq!(headers[0]["name_base64"], STANDARD.encode(b"n\xff\xfe"), "{headers}");
    assert_eq!(headers[0]["value"], STANDARD.encode(b"v\x80"), "{headers}");
    let rows = scene.database.query("SELECT \"offset\", source FROM events", &[]).await;
    assert_eq!((rows[0].get::<_, i64>(0), rows[0].get::<_, Option<String>>(1)), (1, None));
}
