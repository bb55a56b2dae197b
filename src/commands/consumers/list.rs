//! `drover consumers list`: what the consumers of a running drover do, own, and wait for.

use crate::client::Client;
use crate::commands::table::{print_table, printable};
use crate::domain::hold::{Hold, HoldScope};
use crate::domain::status::{ChildState, ConsumerStatus, PartitionStatus};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::io::Write;

/// A consumer as `/api/v1/status` shows it.
#[derive(Debug, Serialize, Deserialize)]
struct Listed {
    #[serde(flatten)]
    status: ConsumerStatus,
    state: Option<ChildState>,
    restarts: u64,
    lag: Option<i64>,
}

#[derive(Deserialize)]
struct Answer {
    consumers: Vec<Listed>,
}

/// Asks and prints.
pub(super) async fn run(client: &Client, json: bool, out: &mut (dyn Write + Send)) -> anyhow::Result<()> {
    let Answer { consumers } = client.get(&["status"]).await?;
    if json {
        serde_json::to_writer_pretty(&mut *out, &consumers)?;
        writeln!(out)?;
        return Ok(());
    }
    print(&consumers, out)?;
    Ok(())
}

fn print(consumers: &[Listed], out: &mut (dyn Write + Send)) -> std::io::Result<()> {
    let rows = consumers.iter().map(|consumer| {
        let status = &consumer.status;
        vec![
            printable(&status.id),
            consumer.state.map_or("unknown", ChildState::as_str).to_owned(),
            consumer.restarts.to_string(),
            status.stored.to_string(),
            status.dead_letters.to_string(),
            consumer.lag.map_or_else(|| "?".into(), |lag| lag.to_string()),
            owned(&status.partitions),
        ]
    });
    print_table(
        &["CONSUMER", "STATE", "RESTARTS", "STORED", "DEAD LETTERS", "LAG", "PARTITIONS"],
        rows.collect(),
        out,
    )?;
    for consumer in consumers {
        if let Some(hold) = &consumer.status.held {
            print_hold(&printable(&consumer.status.id), hold, out)?;
        }
    }
    for partition in consumers.iter().flat_map(|consumer| &consumer.status.partitions) {
        let name = format!("{}/{}", printable(&partition.topic), partition.partition);
        // What its consumer is under was said once.
        if let Some(hold) = partition.held.as_ref().filter(|hold| matches!(hold.scope, HoldScope::Partition { .. })) {
            print_hold(&name, hold, out)?;
        }
        if let Some(stop) = &partition.stopped {
            writeln!(out, "{name} is stopped with {}: {}", stop.code, printable(&stop.message))?;
        }
    }
    Ok(())
}

fn print_hold(name: &str, hold: &Hold, out: &mut (dyn Write + Send)) -> std::io::Result<()> {
    writeln!(out, "{name} is {} by {}: {}", hold.kind.as_str(), printable(&hold.by), printable(&hold.reason))
}

/// `user_events 0,2; other 1`.
fn owned(partitions: &[PartitionStatus]) -> String {
    let mut topics: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for partition in partitions {
        topics.entry(&partition.topic).or_default().push(partition.partition.to_string());
    }
    let topics = topics.iter().map(|(topic, numbers)| format!("{} {}", printable(topic), numbers.join(",")));
    topics.collect::<Vec<_>>().join("; ")
}
