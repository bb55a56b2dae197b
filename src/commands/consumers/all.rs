//! `drover consumers list --all`: the consumers of every process of the group, and every partition with its owner.

use crate::client::Client;
use crate::commands::table::{print_table, printable};
use crate::domain::group::{ConsumerSnapshot, GroupPartition, GroupView, PartitionState, Replica, ReplicaState};
use std::io::Write;

/// Asks and prints.
pub(super) async fn run(client: &Client, json: bool, out: &mut (dyn Write + Send)) -> anyhow::Result<()> {
    if json {
        // As the server says it: another version may say more than this one knows.
        let group: serde_json::Value = client.get(&["group"]).await?;
        serde_json::to_writer_pretty(&mut *out, &group)?;
        writeln!(out)?;
        return Ok(());
    }
    let group: GroupView = client.get(&["group"]).await?;
    print(&group, out)?;
    Ok(())
}

fn known(count: Option<i64>) -> String {
    count.map_or_else(|| "?".into(), |count| count.to_string())
}

fn print(group: &GroupView, out: &mut (dyn Write + Send)) -> std::io::Result<()> {
    let consumers = group.replicas.iter().flat_map(rows).collect();
    print_table(
        &["REPLICA", "HOST", "PID", "SEEN", "CONSUMER", "STATE", "RESTARTS", "STORED", "PER SECOND", "LAG", "OWNS"],
        consumers,
        out,
    )?;
    writeln!(out)?;
    let partitions = group.partitions.iter().map(partition).collect();
    print_table(&["PARTITION", "STATE", "REPLICA", "CONSUMER", "NEXT OFFSET", "LAG"], partitions, out)?;
    for replica in &group.replicas {
        for reason in replica.snapshot.iter().flat_map(|snapshot| &snapshot.reasons) {
            writeln!(out, "{} is not ready: {}", printable(&replica.replica_id), printable(reason))?;
        }
    }
    if let Some(error) = &group.store_error {
        writeln!(out, "the others may have changed: the store does not answer: {}", printable(error))?;
    }
    Ok(())
}

fn rows(replica: &Replica) -> Vec<Vec<String>> {
    let seen = match replica.state {
        ReplicaState::Alive => format!("{} s ago", replica.age_ms / 1_000),
        ReplicaState::Gone => format!("gone for {} s", replica.age_ms / 1_000),
    };
    let snapshot = replica.snapshot.clone().unwrap_or_default();
    let process = vec![printable(&replica.replica_id), printable(&snapshot.host), snapshot.pid.to_string(), seen];
    let of = |consumer: &ConsumerSnapshot| {
        vec![
            printable(&consumer.status.id),
            consumer.state.as_str().to_owned(),
            consumer.restarts.to_string(),
            consumer.status.stored.to_string(),
            format!("{:.0}", consumer.per_second),
            known(consumer.lag),
            consumer.status.partitions.len().to_string(),
        ]
    };
    if snapshot.consumers.is_empty() {
        let nothing = std::iter::repeat_n("-".to_owned(), 7);
        return vec![process.into_iter().chain(nothing).collect()];
    }
    snapshot.consumers.iter().map(|consumer| process.iter().cloned().chain(of(consumer)).collect()).collect()
}

fn partition(partition: &GroupPartition) -> Vec<String> {
    let state = match (&partition.stopped, &partition.held, partition.state) {
        (_, _, PartitionState::OwnerGone) => "owner gone".to_owned(),
        (_, _, PartitionState::Unowned) => "nobody's".to_owned(),
        (Some(stop), ..) => format!("stopped: {}", printable(&stop.code)),
        (None, Some(hold), _) => hold.kind.as_str().to_owned(),
        (None, None, _) => partition.owner_state.map_or("owned", |state| state.as_str()).to_owned(),
    };
    let owner = partition.owner.as_ref();
    vec![
        format!("{}/{}", printable(&partition.topic), partition.partition),
        state,
        owner.map_or_else(|| "-".into(), |owner| printable(&owner.replica_id)),
        owner.map_or_else(|| "-".into(), |owner| printable(&owner.consumer_id)),
        partition.next_offset.to_string(),
        known(partition.lag),
    ]
}
