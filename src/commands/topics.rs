//! `drover topics`: what is on the brokers, and creating and growing it.
//!
//! Owns how topics are printed. Fails with the broker's refusal and what to do about it; several topics of one command are
//! handled in turn, and the first failure ends it.

use crate::cli::{TopicsArgs, TopicsCommand};
use crate::config::KafkaConfig;
use crate::kafka::error::{KafkaErrorKind, KafkaResult};
use crate::kafka::topic_info::TopicInfo;
use crate::kafka::topics::{TopicAdmin, TopicSetting};
use serde_json::json;
use std::io::Write;
use std::time::Duration;

/// How long a broker may take for one answer.
const PATIENCE: Duration = Duration::from_secs(15);

/// Runs the command and writes to `out`. Topics that are not named are those of `kafka.topics`; partitions and replication
/// that are not given are those of the configuration.
///
/// # Errors
/// No broker answers, or it refuses: see [`KafkaErrorKind`].
pub async fn run(kafka: &KafkaConfig, args: &TopicsArgs, out: &mut (dyn Write + Send)) -> anyhow::Result<()> {
    let admin = TopicAdmin::new(kafka, PATIENCE)?;
    let outcome = match &args.command {
        TopicsCommand::List { json, .. } => list(&admin, *json, out).await,
        TopicsCommand::Describe { topics, json, .. } => describe(&admin, named(topics, kafka), *json, out).await,
        TopicsCommand::Create { topics, partitions, replication, settings, .. } => {
            let partitions = partitions.unwrap_or(kafka.partitions);
            let replication = replication.unwrap_or(kafka.replication);
            for topic in named(topics, kafka) {
                admin.create(topic, partitions, replication, settings).await?;
                writeln!(out, "created topic {topic} with {partitions} partitions")?;
            }
            Ok(())
        }
        TopicsCommand::AddPartitions { topic, partitions, .. } => {
            let before = admin.add_partitions(topic, *partitions).await?;
            writeln!(out, "topic {topic} has {partitions} partitions, {} more than before", partitions - before)?;
            Ok(())
        }
    };
    // Dropping it waits for its thread.
    tokio::task::spawn_blocking(move || drop(admin));
    outcome
}

fn named<'a>(topics: &'a [String], kafka: &'a KafkaConfig) -> &'a [String] {
    if topics.is_empty() { &kafka.topics } else { topics }
}

async fn list(admin: &TopicAdmin, as_json: bool, out: &mut (dyn Write + Send)) -> anyhow::Result<()> {
    let topics = admin.list().await?;
    if as_json {
        let all: Vec<_> = topics
            .iter()
            .map(|topic| {
                json!({ "topic": topic.name, "partitions": topic.partitions.len(), "replication": topic.replication(),
                        "records": topic.records() })
            })
            .collect();
        return print_json(&all.into(), out);
    }
    let rows = topics.iter().map(|topic| {
        [
            topic.name.clone(),
            topic.partitions.len().to_string(),
            topic.replication().to_string(),
            number(topic.records()),
        ]
    });
    table(["TOPIC", "PARTITIONS", "REPLICATION", "RECORDS"], rows, out)?;
    Ok(())
}

async fn describe(
    admin: &TopicAdmin,
    topics: &[String],
    as_json: bool,
    out: &mut (dyn Write + Send),
) -> anyhow::Result<()> {
    let mut all = Vec::new();
    for (at, topic) in topics.iter().enumerate() {
        let info = admin.describe(topic).await?;
        let settings = admin.settings(topic).await;
        if as_json {
            all.push(description(&info, settings)?);
            continue;
        }
        if at > 0 {
            writeln!(out)?;
        }
        print_description(&info, settings, out)?;
    }
    if as_json { print_json(&all.into(), out) } else { Ok(()) }
}

fn print_description(
    info: &TopicInfo,
    settings: KafkaResult<Vec<TopicSetting>>,
    out: &mut (dyn Write + Send),
) -> anyhow::Result<()> {
    writeln!(
        out,
        "topic {}: {} partitions, about {} records",
        info.name,
        info.partitions.len(),
        number(info.records())
    )?;
    let rows = info.partitions.iter().map(|one| {
        [
            one.partition.to_string(),
            one.leader.map_or_else(|| "none".into(), |leader| leader.to_string()),
            ids(&one.replicas),
            ids(&one.in_sync),
            number(one.low),
            number(one.end),
        ]
    });
    table(["PARTITION", "LEADER", "REPLICAS", "IN SYNC", "LOW", "END"], rows, out)?;
    match settings {
        Ok(settings) if settings.is_empty() => writeln!(out, "settings: all defaults")?,
        Ok(settings) => {
            writeln!(out, "settings that are not the defaults:")?;
            for one in settings {
                writeln!(out, "  {} = {} (set for the {})", one.name, shown(&one), one.source)?;
            }
        }
        // What a topic holds is worth showing also where its settings may not be read.
        Err(error) if is_normal(error.kind()) => writeln!(out, "settings: {error}")?,
        Err(error) => return Err(error.into()),
    }
    Ok(())
}

fn is_normal(kind: KafkaErrorKind) -> bool {
    matches!(kind, KafkaErrorKind::Unsupported | KafkaErrorKind::Unauthorized)
}

fn description(info: &TopicInfo, settings: KafkaResult<Vec<TopicSetting>>) -> anyhow::Result<serde_json::Value> {
    let partitions: Vec<_> = info
        .partitions
        .iter()
        .map(|one| {
            json!({ "partition": one.partition, "leader": one.leader, "replicas": one.replicas, "in_sync": one.in_sync,
                    "low": one.low, "end": one.end })
        })
        .collect();
    let settings = match settings {
        Ok(settings) => settings
            .iter()
            .map(|one| json!({ "name": one.name, "value": one.value, "source": one.source }))
            .collect::<Vec<_>>()
            .into(),
        Err(error) if is_normal(error.kind()) => serde_json::Value::Null,
        Err(error) => return Err(error.into()),
    };
    Ok(json!({ "topic": info.name, "records": info.records(), "partitions": partitions, "settings": settings }))
}

fn shown(setting: &TopicSetting) -> &str {
    setting.value.as_deref().unwrap_or("***")
}

fn number(value: Option<i64>) -> String {
    value.map_or_else(|| "?".into(), |value| value.to_string())
}

fn ids(brokers: &[i32]) -> String {
    brokers.iter().map(i32::to_string).collect::<Vec<_>>().join(",")
}

fn print_json(value: &serde_json::Value, out: &mut (dyn Write + Send)) -> anyhow::Result<()> {
    serde_json::to_writer_pretty(&mut *out, value)?;
    writeln!(out)?;
    Ok(())
}

/// Columns as wide as their widest cell.
fn table<const N: usize>(
    head: [&str; N],
    rows: impl Iterator<Item = [String; N]>,
    out: &mut (dyn Write + Send),
) -> std::io::Result<()> {
    let rows: Vec<[String; N]> = std::iter::once(head.map(str::to_owned)).chain(rows).collect();
    for row in &rows {
        let mut line = String::new();
        for (column, cell) in row.iter().enumerate() {
            let width = rows.iter().map(|row| row[column].chars().count()).max().unwrap_or_default();
            line.push_str(&format!("{cell:width$}  "));
        }
        writeln!(out, "{}", line.trim_end())?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]
    use super::*;
    use crate::cli::{Cli, Command};
    use crate::kafka::embedded::EmbeddedBroker;
    use crate::kafka::test_support::{kafka_config, real_brokers};
    use clap::Parser as _;

    async fn topics(kafka: &KafkaConfig, flags: &[&str]) -> (String, anyhow::Result<()>) {
        let cli = Cli::parse_from(["drover", "topics"].iter().chain(flags));
        let Command::Topics(args) = cli.command else { panic!("not the topics command") };
        let mut out = Vec::new();
        let result = run(kafka, &args, &mut out).await;
        (String::from_utf8(out).unwrap(), result)
    }

    #[tokio::test]
    async fn the_embedded_broker_is_listed_and_described_without_its_settings() {
        let broker = EmbeddedBroker::start().unwrap();
        broker.create_topic("user_events", 3).unwrap();
        let kafka = kafka_config(broker.bootstrap_servers());
        let (said, result) = topics(&kafka, &["list"]).await;
        result.unwrap();
        assert_eq!(said.lines().nth(1).unwrap().split_whitespace().collect::<Vec<_>>(), ["user_events", "3", "1", "0"]);
        let (said, result) = topics(&kafka, &["describe"]).await;
        result.unwrap();
        assert!(
            said.starts_with("topic user_events: 3 partitions") && said.contains("unsupported by broker"),
            "{said}"
        );
        let (said, result) = topics(&kafka, &["describe", "--json"]).await;
        result.unwrap();
        let described: serde_json::Value = serde_json::from_str(&said).unwrap();
        assert_eq!(described[0]["partitions"][2]["end"], 0);
        assert!(described[0]["settings"].is_null());
        let (_, result) = topics(&kafka, &["describe", "nope"]).await;
        assert!(result.unwrap_err().to_string().contains("drover topics create"));
    }

    #[tokio::test]
    async fn a_real_broker_creates_shows_and_grows_a_topic() {
        let Some(brokers) = real_brokers() else { return };
        let kafka = kafka_config(&brokers);
        let topic = format!("command-test-{}", uuid::Uuid::new_v4());
        let create =
            ["create", &topic, "--partitions", "2", "--set", "retention.ms=60000", "--set", "cleanup.policy=delete"];
        let (said, result) = topics(&kafka, &create).await;
        result.unwrap();
        assert!(said.contains("with 2 partitions"), "{said}");
        let (_, result) = topics(&kafka, &create).await;
        assert!(result.unwrap_err().to_string().contains("add-partitions"));
        let (said, result) = topics(&kafka, &["add-partitions", &topic, "--partitions", "5"]).await;
        result.unwrap();
        assert!(said.contains("has 5 partitions, 3 more than before"), "{said}");
        let (said, result) = topics(&kafka, &["describe", &topic]).await;
        result.unwrap();
        assert!(said.contains("retention.ms = 60000 (set for the topic)") && said.contains("\n4 "), "{said}");
    }
}
