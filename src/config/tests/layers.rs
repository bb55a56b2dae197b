//! Defaults, precedence, and the one table.

use std::collections::BTreeSet;
use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::config::keys::Fallback;
use crate::config::table::KEYS;

#[test]
fn the_defaults_are_the_documented_ones() {
    let config = Given::default().config();
    assert_eq!(config.kafka.brokers, "localhost:9092");
    assert_eq!(config.kafka.topics, ["user_events"]);
    assert_eq!(config.kafka.group, "dashboard_consumer_group");
    assert_eq!((config.kafka.partitions, config.kafka.replication), (3, -1));
    assert_eq!((config.kafka.start_from, config.kafka.protocol), (StartFrom::Earliest, GroupProtocol::Classic));
    assert_eq!(config.kafka.session_timeout, Duration::from_secs(30));
    assert_eq!(config.consumers.ids, ["consumer-1", "consumer-2", "consumer-3"]);
    assert_eq!((config.consumers.lanes, config.consumers.min_batch_age), (2, Duration::ZERO));
    assert_eq!(config.events, EventsConfig::default());
    assert_eq!((config.store.schema.as_str(), config.store.writers, config.store.migrate), ("public", 3, true));
    let expected = DeadLettersConfig { publish: true, topic: "{topic}.dlq".into(), create_topic: true };
    assert_eq!(config.dead_letters, expected);
    let expected =
        LimitsConfig { memory: 128_000_000, record_bytes: 8 << 20, batch_rows: 20_000, batch_bytes: 2 << 20 };
    assert_eq!(config.limits, expected);
    let policy = RestartConfig {
        min: Duration::from_millis(200),
        max: Duration::from_secs(30),
        factor: 2.0,
        jitter: 0.2,
        reset_after: Duration::from_secs(60),
        intensity: 10,
        period: Duration::from_secs(60),
    };
    assert_eq!([config.supervision.consumer, config.supervision.metrics], [policy; 2]);
    assert_eq!(config.supervision.escalation, Escalation::KeepOthers);
    assert_eq!(config.http, HttpConfig::default());
    assert_eq!(config.startup.wait, Duration::from_secs(60));
    assert_eq!(config.shutdown, ShutdownConfig { grace: Duration::from_secs(30), leave: false });
    assert_eq!(config.log, LogConfig { filter: "info".into(), format: LogFormat::Text });
}

#[test]
fn each_layer_wins_over_the_ones_below_and_tells_its_source() {
    let layers = |file: bool, legacy: bool, own: bool, flag: bool| {
        let variables = [("CONSUMER_GROUP", "from-legacy"), ("DROVER_KAFKA_GROUP", "from-environment")];
        let variables: Vec<_> =
            variables.into_iter().zip([legacy, own]).filter(|(_, on)| *on).map(|(pair, _)| pair).collect();
        let flags = [("kafka.group", "from-flag", "--group")];
        Given {
            file: if file { "\n[kafka]\ngroup = \"from-file\"\n" } else { "" },
            environment: &variables,
            flags: if flag { &flags } else { &[] },
        }
        .setting("kafka.group")
    };
    let told = |setting: Setting| (setting.value.unwrap(), setting.source.to_string());
    let pair = |value: &str, source: &str| (value.to_owned(), source.to_owned());
    assert_eq!(told(layers(false, false, false, false)), pair("dashboard_consumer_group", "default"));
    assert_eq!(told(layers(true, false, false, false)), pair("from-file", "drover.toml, line 3"));
    assert_eq!(told(layers(true, true, false, false)), pair("from-legacy", "environment CONSUMER_GROUP"));
    let own = pair("from-environment", "environment DROVER_KAFKA_GROUP");
    assert_eq!(told(layers(true, true, true, false)), own);
    assert_eq!(told(layers(true, true, true, true)), pair("from-flag", "flag --group"));
    assert_eq!(told(layers(false, false, false, true)), pair("from-flag", "flag --group"));
}

#[test]
fn the_names_that_people_already_have_work_as_they_are() {
    let config = environment(&[
        ("KAFKA_BOOTSTRAP_SERVERS", "kafka-1:9092, kafka-2:9092"),
        ("KAFKA_TOPIC_USER_EVENTS", "clicks,views"),
        ("CONSUMER_GROUP", "g"),
        ("MAX_CONSUMERS", "2"),
        ("TOPIC_PARTITIONS", "12"),
        ("DATABASE_URL", "postgres://u:p@db/events"),
        ("PATH", "/bin"),
    ])
    .config();
    assert_eq!(config.kafka.brokers, "kafka-1:9092,kafka-2:9092");
    assert_eq!(config.kafka.topics, ["clicks", "views"]);
    assert_eq!((config.kafka.group.as_str(), config.kafka.partitions), ("g", 12));
    assert_eq!(config.consumers.ids, ["consumer-1", "consumer-2"]);
    assert_eq!(config.store.url, "postgres://u:p@db/events");
}

#[test]
fn every_setting_of_the_table_is_read_and_named_when_it_is_wrong() {
    for key in KEYS {
        let mut paths = key.paths();
        if paths.is_empty() {
            paths.push(key.path.replace("<topic>", "\"a.b\"").replace("<property>", "client.rack"));
        }
        for path in paths {
            let problems = file(&format!("{path} = [[1]]")).problems();
            assert_eq!(problems.len(), 1, "{path}: {problems:?}");
            assert_eq!(problems[0].key, path);
            assert_eq!(problems[0].source.to_string(), "drover.toml, line 1");
        }
    }
}

#[test]
fn every_setting_can_be_given_in_the_environment_under_a_name_of_its_own() {
    let mut names = BTreeSet::new();
    for key in KEYS {
        for path in key.paths() {
            let name = key.environment_name(&path).unwrap();
            assert!(names.insert(name.clone()), "{name} is there twice");
            let value = match key.default {
                Fallback::Value(value) => value,
                _ => "x",
            };
            let setting = environment(&[(&name, value)]).setting(&path);
            assert_eq!(setting.source.to_string(), format!("environment {name}"), "{path}");
        }
    }
}

#[test]
fn librdkafka_properties_come_from_nested_tables_quoted_names_and_the_environment() {
    let given = Given {
        file: "[kafka.consumer]\nfetch.min.bytes = 1\n\"fetch.max.bytes\" = 52428800\nsocket.keepalive.enable = true\n\
               [kafka.producer.linger]\nms = 5",
        environment: &[("DROVER_KAFKA_CONSUMER_FETCH_MIN_BYTES", "9"), ("DROVER_KAFKA_PRODUCER_BATCH_SIZE", "16384")],
        flags: &[],
    };
    let kafka = given.config().kafka;
    let pairs = |properties: &BTreeMap<String, String>| {
        properties.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join(" ")
    };
    assert_eq!(pairs(&kafka.consumer), "fetch.max.bytes=52428800 fetch.min.bytes=9 socket.keepalive.enable=true");
    assert_eq!(pairs(&kafka.producer), "batch.size=16384 linger.ms=5");
    let setting = given.setting("kafka.producer.linger.ms");
    assert_eq!((setting.value.as_deref(), setting.source.to_string().as_str()), (Some("5"), "drover.toml, line 6"));
}

#[test]
fn values_are_read_in_every_form_a_file_can_write_them() {
    let config = file(
        "kafka.topics = ['a', 'b']\nkafka.start_from = 2026-01-02T03:04:05.678Z\nlimits.memory = 0x4000000\n\
         startup.wait = 2.5\nsupervision.consumer.factor = 3\nlog.format = 'json'\nhttp.addr = 'localhost:0'",
    )
    .config();
    assert_eq!(config.kafka.topics, ["a", "b"]);
    assert_eq!(config.kafka.start_from, StartFrom::Time(1_767_323_045_678));
    assert_eq!(config.limits.memory, 64 << 20);
    assert_eq!(config.startup.wait, Duration::from_millis(2500));
    assert!((config.supervision.consumer.factor - 3.0).abs() < f64::EPSILON);
    assert_eq!((config.log.format, config.http.addr.port()), (LogFormat::Json, 0));
    let start = |text| file(&format!("kafka.start_from = '{text}'")).config().kafka.start_from;
    assert_eq!(start("latest"), StartFrom::Latest);
    assert_eq!(start("1970-01-01T01:00:00+01:00"), StartFrom::Time(0));
}

#[test]
fn every_word_of_a_choice_is_accepted() {
    for key in KEYS {
        if let keys::Kind::Choice(words) = key.kind {
            words.iter().for_each(|word| drop(file(&format!("{} = '{word}'", key.path)).config()));
        }
    }
}

#[test]
fn ids_and_count_of_one_layer_must_agree_and_the_higher_layer_wins_otherwise() {
    let both = file("[consumers]\ncount = 2\nids = ['a']").problems();
    assert_eq!(both[0].key, "consumers.ids");
    assert_eq!(both[0].what, "names 1 consumers, and consumers.count says 2");
    assert_eq!(file("[consumers]\ncount = 2\nids = ['a', 'b']").config().consumers.ids, ["a", "b"]);
    let flags = [("consumers.ids", "solo", "--consumer-id")];
    let compose = Given { environment: &[("MAX_CONSUMERS", "3")], flags: &flags, ..Given::default() };
    assert_eq!(compose.config().consumers.ids, ["solo"]);
    assert_eq!(compose.setting("consumers.count").value.as_deref(), Some("1"));
    assert_eq!(compose.setting("consumers.count").source.to_string(), "flag --consumer-id");
    let scaled = Given { file: "consumers.ids = ['a']", environment: &[("MAX_CONSUMERS", "2")], flags: &[] };
    assert_eq!(scaled.config().consumers.ids, ["consumer-1", "consumer-2"]);
}

#[test]
fn a_topic_inherits_the_fields_it_does_not_name() {
    let config = file(
        "[events]\nuser_id = 'uid'\n[events.topics.orders]\nevent_type = 'kind'\nstore_tombstones = true\n\
         [events.topics.\"a.b\"]\nrequired = []",
    )
    .config();
    let orders = &config.events.topics["orders"];
    assert_eq!((orders.event_type.as_str(), orders.user_id.as_str()), ("kind", "uid"));
    assert_eq!((&orders.required[..], orders.store_tombstones), (&["kind".to_owned()][..], true));
    assert!(config.events.topics["a.b"].required.is_empty());
    let config = file("[events]\nevent_type = 'kind'").config();
    assert_eq!(config.events.default.required, ["kind"]);
    let config = file("events.required = ['x']\nevents.topics.t.event_type = 'kind'").config();
    assert_eq!(config.events.topics["t"].required, ["x"]);
}

#[test]
fn an_empty_variable_counts_as_not_set() {
    let config = environment(&[("DROVER_HTTP_TOKEN", ""), ("DATABASE_URL", ""), ("DROVER_KAFKA_GROUP", "")]).config();
    assert_eq!((config.http.token, config.kafka.group.as_str()), (None, "dashboard_consumer_group"));
}

#[test]
fn the_markdown_table_has_a_row_for_each_setting() {
    let table = keys::markdown();
    assert_eq!(table.lines().count(), KEYS.len() + 2);
    assert!(table.contains("| `kafka.group` | `dashboard_consumer_group` | `DROVER_KAFKA_GROUP`, `CONSUMER_GROUP` |"));
    assert!(KEYS.iter().all(|key| !key.doc.contains('|') && key.doc.ends_with('.')), "{table}");
}

proptest! {
    #[test]
    fn no_file_makes_loading_panic(text in "\\PC*", key in 0..KEYS.len(), value in "\\PC{0,20}") {
        let _ = file(&text).resolve();
        let _ = file(&format!("{} = {value}", KEYS[key].path)).resolve();
    }

    #[test]
    fn no_variable_makes_loading_panic(key in 0..KEYS.len(), value in "\\PC*", number in "-?[0-9]{1,30}[a-zA-Z]{0,3}") {
        for name in KEYS[key].paths().iter().filter_map(|path| KEYS[key].environment_name(path)) {
            let _ = environment(&[(&name, &value)]).resolve();
            let _ = environment(&[(&name, &number)]).resolve();
        }
    }
}
