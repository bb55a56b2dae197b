//! What is refused, and in which words.

use super::*;
use crate::config::forbidden::{Client, FORBIDDEN, When};

#[test]
fn every_problem_of_a_bad_file_is_told_at_once() {
    let resolution = file(
        "[kafka]\n\
         group = \"\"\n\
         partitions = 0\n\
         brokrs = \"localhost\"\n\
         [kafka.consumer]\n\
         enable.auto.commit = true\n\
         [store]\n\
         url = \"mysql://root:hunter2@db/events\"\n\
         [limits]\n\
         batch_bytes = \"64MB\"\n\
         memory = \"100MB\"\n\
         [http]\n\
         addr = \"0.0.0.0:8080\"\n",
    )
    .resolve();
    let expected = "\
the configuration has 7 problems:

kafka.brokrs (drover.toml, line 4) is not a setting. Did you mean kafka.brokers?

kafka.consumer.enable.auto.commit = true (drover.toml, line 6) is refused: it would commit offsets before their rows \
are in the store, and records would be lost. Remove it.

kafka.partitions = 0 (drover.toml, line 3) is not between 1 and 10000. Set a value within this range.

kafka.group =  (drover.toml, line 2) is not the name of a group. Write a name of 1 to 255 characters without control \
characters or spaces around it.

store.url = mysql://root:***@db/events (drover.toml, line 8) is not a URL of a store that drover knows. Write \
postgres://user:password@host:5432/database or sqlite:PATH.

limits.batch_bytes = 64MB (drover.toml, line 10) contradicts: limits.batch_bytes (64MB) is more than a quarter of \
limits.memory (100MB). Set limits.batch_bytes to at most 25MB, or raise limits.memory.

http.addr = 0.0.0.0:8080 (drover.toml, line 13) is open to other machines, and no token protects it. Set \
DROVER_HTTP_TOKEN to a secret, or take no orders (--read-only), or listen on 127.0.0.1, or set http.enabled = false.";
    assert_eq!(resolution.outcome.unwrap_err().to_string(), expected);
}

#[test]
fn a_contradiction_is_told_of_the_value_from_the_highest_layer() {
    let problems =
        Given { file: "limits.batch_bytes = '8MB'", environment: &[("DROVER_LIMITS_MEMORY", "20MB")], flags: &[] }
            .problems();
    assert_eq!(problems[0].key, "limits.memory");
    assert_eq!(problems[0].source.to_string(), "environment DROVER_LIMITS_MEMORY");
}

#[test]
fn a_wrong_value_does_not_raise_problems_that_follow_from_it() {
    assert_eq!(file("limits.memory = 'plenty'\nlimits.batch_bytes = '1GiB'").problems().len(), 1);
    assert_eq!(file("consumers.count = 9999999999").problems().len(), 1);
    assert_eq!(file("http.token = 'a b'\nhttp.addr = 'nowhere'").problems().len(), 2);
}

#[test]
fn unknown_names_are_refused_with_the_nearest_known_one() {
    for (text, key, remedy) in [
        ("[kafak]\nbrokers = 'x'", "kafak.brokers", "Did you mean kafka.brokers?"),
        ("group = 'x'", "group", "Did you mean kafka.group?"),
        ("[events.topics.t]\nuserid = 'x'", "events.topics.t.userid", "Did you mean events.topics.t.user_id?"),
        (
            "[events.topics.a.b]\nuser_id = 'x'",
            "events.topics.a.b.user_id",
            "The name of a topic with dots stands in \
         quotes: [events.topics.\"a.b\"].",
        ),
        ("supervision.comsumer.min = 1", "supervision.comsumer.min", "Did you mean supervision.consumer.min?"),
        ("zzzzzz = {}", "zzzzzz", "`drover config show` lists the settings that there are."),
        ("kafka = 1", "kafka", "Write [kafka] and the settings below it."),
        ("kafka.group = { name = 'x' }", "kafka.group", "Write a text in quotes."),
    ] {
        let problems = file(text).problems();
        assert_eq!((problems.len(), problems[0].key.as_str(), problems[0].remedy.as_str()), (1, key, remedy));
    }
    for (name, remedy) in [
        ("DROVER_KAFKA_GRUOP", "Did you mean DROVER_KAFKA_GROUP?"),
        (
            "DROVER_EVENTS_TOPICS_T_USER_ID",
            "The fields of a single topic can only be set in the file, under \
         [events.topics.\"name\"].",
        ),
        ("DROVER_QQQQ", "Unset it; `drover config show` lists the settings that there are."),
    ] {
        let problems = environment(&[(name, "x")]).problems();
        assert_eq!((problems.len(), problems[0].key.as_str(), problems[0].remedy.as_str()), (1, name, remedy));
    }
    environment(&[("DROVER_TEST_KAFKA", "x"), ("DROVER_DEV_MODE", "x"), ("OTHER", "x")]).config();
    let flags = [("kafka.grup", "x", "--grup")];
    assert_eq!(Given { flags: &flags, ..Given::default() }.problems()[0].remedy, "Did you mean kafka.group?");
}

#[test]
fn values_that_cannot_work_are_refused() {
    for (text, key) in [
        ("replica_id = 'a b'", "replica_id"),
        ("kafka.brokers = 'host:port'", "kafka.brokers"),
        ("kafka.brokers = []", "kafka.brokers"),
        ("kafka.topics = []", "kafka.topics"),
        ("kafka.topics = ['a/b']", "kafka.topics"),
        ("kafka.topics = ['a', 'a']", "kafka.topics"),
        ("kafka.topics = [1]", "kafka.topics"),
        ("kafka.group = 5", "kafka.group"),
        ("kafka.start_from = 'yesterday'", "kafka.start_from"),
        ("kafka.replication = 0", "kafka.replication"),
        ("kafka.session_timeout = '5s'", "kafka.session_timeout"),
        ("kafka.session_timeout = '6m'", "kafka.session_timeout"),
        ("consumers.count = 0", "consumers.count"),
        ("consumers.ids = []", "consumers.ids"),
        ("consumers.ids = ['a', 'a']", "consumers.ids"),
        ("consumers.ids = ['ä']", "consumers.ids"),
        ("consumers.lanes = 65", "consumers.lanes"),
        ("events.topics.t.user_id = ''", "events.topics.t.user_id"),
        ("store.url = 'postgres:db'", "store.url"),
        ("store.url = 'sqlite:'", "store.url"),
        ("store.schema = 'a b'", "store.schema"),
        ("store.schema = 'pg_x'", "store.schema"),
        ("store.writers = 0", "store.writers"),
        ("store.probe_min = '6s'", "store.probe_min"),
        ("store.lock_timeout = '31s'", "store.lock_timeout"),
        ("dead_letters.topic = '{topic}'", "dead_letters.topic"),
        ("dead_letters.topic = '{source}.dlq'", "dead_letters.topic"),
        ("kafka.topics = ['a', 'a.dlq']", "kafka.topics"),
        ("limits.memory = '1MB'", "limits.memory"),
        ("limits.record_bytes = '127MB'", "limits.record_bytes"),
        ("limits.batch_rows = 0", "limits.batch_rows"),
        ("supervision.db_writer.min = '31s'", "supervision.db_writer.min"),
        ("supervision.metrics.factor = 0.9", "supervision.metrics.factor"),
        ("supervision.consumer.jitter = nan", "supervision.consumer.jitter"),
        ("supervision.dead_letter.intensity = -1", "supervision.dead_letter.intensity"),
        ("http.addr = 'example.org:80'", "http.addr"),
        ("http.token = ''", "http.token"),
        ("http.viewer_token = 'v'", "http.viewer_token"),
        ("http.token = 'same'\nhttp.viewer_token = 'same'", "http.viewer_token"),
        ("http.base_path = 'drover'", "http.base_path"),
        ("http.base_path = '/a b'", "http.base_path"),
        ("http.masked_fields = ['']", "http.masked_fields"),
        ("log.filter = 'a=b=c'", "log.filter"),
        ("log.format = 'xml'", "log.format"),
        ("store.migrate = 'yes'", "store.migrate"),
        ("kafka.consumer.x = [1]", "kafka.consumer.x"),
    ] {
        let problems = file(text).problems();
        assert_eq!((problems.len(), problems[0].key.as_str()), (1, key), "{text}: {problems:?}");
        assert!(problems[0].remedy.ends_with('.') && !problems[0].what.is_empty(), "{problems:?}");
    }
}

#[test]
fn every_forbidden_property_is_refused_by_name_with_the_reason() {
    for property in FORBIDDEN {
        for client in property.clients {
            let path = format!("{}{}", client.family(), property.name);
            let protocol = match property.when {
                When::ConsumerProtocol => "kafka.protocol = 'consumer'\n",
                _ => "",
            };
            let problems = file(&format!("{protocol}{path} = 'x'")).problems();
            assert_eq!((problems.len(), problems[0].key.as_str()), (1, path.as_str()));
            assert_eq!(problems[0].what, format!("is refused: it {}", property.reason));
            match property.when {
                When::Always => {}
                When::Unless(values) => {
                    values.iter().for_each(|value| drop(file(&format!("{path} = '{value}'")).config()));
                }
                When::ConsumerProtocol => drop(file(&format!("{path} = 'x'")).config()),
            }
        }
    }
    let both = |name| {
        [Client::Consumer, Client::Producer].map(|client| forbidden::refusal(client, name, "1", false).is_some())
    };
    assert_eq!(
        (both("group.id"), both("transactional.id"), both("client.id")),
        ([true, false], [false, true], [false; 2])
    );
}

#[test]
fn a_store_is_asked_for_only_by_commands_that_need_one() {
    let inputs =
        |store| Inputs { file: ConfigFile::None, environment: vec![], overrides: vec![], needs: Needs { store } };
    assert_eq!(load(&inputs(false)).unwrap().store.url, "");
    let error = load(&inputs(true)).unwrap_err().to_string();
    assert!(error.contains("store.url (default) is needed and not set. Set DATABASE_URL or --database-url"), "{error}");
}

#[test]
fn an_open_address_is_accepted_with_a_token_or_without_a_server() {
    let token = [("DROVER_HTTP_ADDR", "0.0.0.0:8080"), ("DROVER_HTTP_TOKEN", "s3cret")];
    assert_eq!(environment(&token).config().http.addr.port(), 8080);
    environment(&[("DROVER_HTTP_ADDR", "[::]:80"), ("DROVER_HTTP_ENABLED", "false")]).config();
    environment(&[("DROVER_HTTP_ADDR", "[::]:80"), ("DROVER_HTTP_READ_ONLY", "true")]).config();
    let viewer =
        [("DROVER_HTTP_ADDR", "[::]:80"), ("DROVER_HTTP_VIEWER_TOKEN", "v"), ("DROVER_HTTP_READ_ONLY", "true")];
    assert!(environment(&viewer).config().http.needs_login());
}

#[test]
fn a_file_that_cannot_be_read_is_a_problem_only_when_it_was_named() {
    let dir = tempfile::tempdir().unwrap();
    let load = |file| load(&Inputs { file, environment: vec![], overrides: vec![], needs: Needs { store: false } });
    let missing = dir.path().join("missing.toml");
    load(ConfigFile::IfPresent(missing.clone())).unwrap();
    let error = load(ConfigFile::Required(missing)).unwrap_err().to_string();
    assert!(error.contains("missing.toml) cannot be read"), "{error}");
    assert_eq!(ConfigFile::from_flag(None), ConfigFile::IfPresent("drover.toml".into()));
}

#[test]
fn a_file_that_is_not_toml_is_told_with_its_line() {
    let problems = file("[kafka]\ngroup = 'a'\ngroup = 'b'\n").problems();
    assert_eq!(problems[0].source.to_string(), "drover.toml, line 3");
    assert!(problems[0].what.starts_with("is not valid TOML"), "{problems:?}");
    assert_eq!(file("x = \n[kafka]\ny = \n").problems().len(), 2);
}
