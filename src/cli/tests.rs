//! Tests of the command line.
#![allow(clippy::unwrap_used, reason = "a missing value is the failure of the test")]
use super::*;

fn parse(line: &str) -> Result<Cli, clap::Error> {
    Cli::try_parse_from(std::iter::once("drover").chain(line.split(' ')))
}

#[test]
fn the_definition_of_the_command_line_is_sound() {
    <Cli as clap::CommandFactory>::command().debug_assert();
}

#[test]
fn every_flag_that_is_a_setting_reaches_the_loader() {
    let pipeline = "--brokers b:1 --database-url sqlite:x --topic t --topic u --group g --http-addr localhost:1 \
                    --read-only --replica-id r --leave --no-migrate --log debug --config f.toml";
    let of_pipeline = [
        ("log.filter", "debug", "--log"),
        ("kafka.brokers", "b:1", "--brokers"),
        ("store.url", "sqlite:x", "--database-url"),
        ("kafka.topics", "t,u", "--topic"),
        ("kafka.group", "g", "--group"),
        ("http.addr", "localhost:1", "--http-addr"),
        ("http.read_only", "true", "--read-only"),
        ("replica_id", "r", "--replica-id"),
        ("shutdown.leave", "true", "--leave"),
        ("store.migrate", "false", "--no-migrate"),
    ];
    let ids = |value| ("consumers.ids", value, "--consumer-id");
    let count = ("consumers.count", "4", "--consumers");
    let store = ("store.url", "sqlite:x", "--database-url");
    let brokers = ("kafka.brokers", "b:1", "--brokers");
    for (line, last, common) in [
        (format!("run {pipeline} --consumers 4"), vec![count], true),
        (format!("run {pipeline} --consumer-id a --consumer-id b"), vec![ids("a,b")], true),
        (format!("consume {pipeline} --consumer-id a"), vec![ids("a")], true),
        (format!("config show --json {pipeline} --consumers 4"), vec![count], true),
        (format!("config check {pipeline} --consumer-id a"), vec![ids("a")], true),
        (
            "demo --consumers 4 --partitions 6 --http-addr [::1]:0 --read-only --database-url sqlite:x".into(),
            vec![
                count,
                ("kafka.partitions", "6", "--partitions"),
                ("http.addr", "[::1]:0", "--http-addr"),
                ("http.read_only", "true", "--read-only"),
                store,
            ],
            false,
        ),
        ("produce --brokers b:1 --topic t".into(), vec![brokers, ("kafka.topics", "t", "--topic")], false),
        ("topics list --brokers b:1".into(), vec![brokers], false),
        ("topics describe --brokers b:1 t t.dlq".into(), vec![brokers], false),
        ("topics add-partitions --brokers b:1 t --partitions 4".into(), vec![brokers], false),
        (
            "topics create t --brokers b:1 --partitions 6 --replication -1 --set retention.ms=1".into(),
            vec![brokers, ("kafka.partitions", "6", "--partitions"), ("kafka.replication", "-1", "--replication")],
            false,
        ),
        ("dead-letters list --topic t --database-url sqlite:x".into(), vec![store], false),
        ("dead-letters show t 0 7 --database-url sqlite:x".into(), vec![store], false),
        ("audit --json --topic t --brokers b:1 --database-url sqlite:x".into(), vec![brokers, store], false),
        (
            "bench pipeline --database-url sqlite:x --writers 2 --brokers b:1 --consumers 4 --wait-for-group".into(),
            vec![store, ("store.writers", "2", "--writers"), brokers, count],
            false,
        ),
        ("bench store --database-url sqlite:x".into(), vec![store], false),
        ("bench latency --rate 5 --brokers b:1 --consumers 4".into(), vec![brokers, count], false),
        ("migrate --status --database-url sqlite:x".into(), vec![store], false),
    ] {
        let expected: Vec<_> = if common { of_pipeline.into_iter().chain(last).collect() } else { last };
        let overrides = parse(&line).unwrap_or_else(|error| panic!("{line}: {error}")).overrides();
        let found: Vec<_> = overrides.iter().map(|flag| (flag.key, flag.value.as_str(), flag.flag)).collect();
        assert_eq!(found, expected, "{line}");
        assert!(
            overrides
                .iter()
                .all(|flag| { crate::config::keys::find(&flag.key.split('.').collect::<Vec<_>>()).is_some() })
        );
    }
}

#[test]
fn contradicting_and_missing_flags_are_refused() {
    for line in [
        "consume",
        "consume --consumer-id a --consumer-id b",
        "run --consumers 2 --consumer-id a",
        "produce --json {} --mode batch",
        "produce --batch-size 0",
        "produce --duration soon",
        "topics create t --set retention.ms",
        "migrate --status --revert",
        "demo --data-dir d --database-url sqlite:x",
        "consumers pause",
        "consumers pause consumer-1 --topic t",
        "consumers resume --partition 3",
        "consumers quarantine --topic t",
        "consumers quarantine --topic t --partition -1",
        "consumers restart",
        "consumers scale",
        "consumers scale --consumers -1",
        "consumers list --token secret",
    ] {
        assert!(parse(line).is_err(), "{line}");
    }
    let Command::Produce(args) = parse("produce --count 7 --key none --duration 5m").unwrap().command else {
        panic!("not produce");
    };
    assert_eq!((args.batch_size, args.key, args.duration), (7, KeyField::None, Some(Duration::from_secs(300))));
}

#[test]
fn a_consumer_or_a_partition_is_paused_and_both_mean_the_partition_of_that_consumer() {
    let target = |line: &str| match parse(line).unwrap().command {
        Command::Consumers(ConsumersArgs { command: ConsumersCommand::Pause { target, .. } }) => {
            (target.id, target.topic, target.partition)
        }
        other => panic!("{other:?}"),
    };
    let some = |text: &str| Some(text.to_owned());
    assert_eq!(target("consumers pause consumer-1"), (some("consumer-1"), None, None));
    assert_eq!(target("consumers pause --topic t --partition 3"), (None, some("t"), Some(3)));
    assert_eq!(target("consumers pause c --topic t --partition 3"), (some("c"), some("t"), Some(3)));
}

#[test]
fn a_password_on_the_command_line_does_not_appear_in_debug() {
    let cli = parse("run --database-url postgres://u:hunter2@h/db").unwrap();
    assert!(!format!("{cli:?}").contains("hunter2"));
}
