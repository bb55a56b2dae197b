//! `drover offsets`: positions beside what Kafka has, and changing them while the group is stopped.
//!
//! What changes something shows first what it would do, asks, and then does it in one transaction with its entry in the
//! audit log. Refused while the group has members; where one comes meanwhile, the compare-and-swap refuses. Gives back
//! whether all is well: a position that would stop, or an order that was not confirmed, is not.

mod change;
mod order;
mod view;

use super::table::{print_table, printable};
use crate::cli::OffsetsCommand;
use crate::config::KafkaConfig;
use crate::kafka::lookup::Lookup;
use crate::store::Store;
use std::collections::BTreeSet;
use std::io::Write;
use std::sync::Arc;
use std::time::Duration;
use view::{TopicView, Viewer, committer};

/// Longest wait for one answer of Kafka.
const ASK_TIMEOUT: Duration = Duration::from_secs(10);

/// Runs the command and writes to `out`.
///
/// # Errors
/// Store or cluster does not answer, or what was ordered cannot be done; nothing has changed then.
pub async fn run(
    command: &OffsetsCommand,
    kafka: &KafkaConfig,
    store: &Arc<dyn Store>,
    out: &mut (dyn Write + Send),
) -> anyhow::Result<bool> {
    store.check_schema().await?;
    let viewer = Viewer {
        store: Arc::clone(store),
        lookup: Arc::new(Lookup::new(kafka, ASK_TIMEOUT)?),
        group: kafka.group.clone(),
    };
    let done = match command {
        OffsetsCommand::Show { topics, json, .. } => show(&viewer, topics, &kafka.topics, *json, out).await,
        OffsetsCommand::Rewind { topic, partition, to, change } => {
            change::rewind(&viewer, topic, *partition, *to, change, out).await
        }
        OffsetsCommand::Skip { topic, partition, to, change } => {
            change::skip(&viewer, topic, *partition, *to, change, out).await
        }
        OffsetsCommand::Restart { topic, to, change } => change::restart(&viewer, topic, *to, change, out).await,
        OffsetsCommand::Claim { same_offsets, change } => change::claim(&viewer, *same_offsets, change, out).await,
    };
    // Dropping its client blocks for a moment.
    drop(tokio::task::spawn_blocking(move || drop(viewer)));
    done
}

/// Gives back whether a start would read every partition.
async fn show(
    viewer: &Viewer,
    topics: &[String],
    configured: &[String],
    as_json: bool,
    out: &mut (dyn Write + Send),
) -> anyhow::Result<bool> {
    let names: BTreeSet<String> = if topics.is_empty() {
        configured.iter().cloned().chain(viewer.store.topics().await?).collect()
    } else {
        topics.iter().cloned().collect()
    };
    let identity = viewer.identity().await?;
    let mut views = Vec::new();
    for name in &names {
        views.push(viewer.topic(name).await?);
    }
    let store_id = identity.as_ref().map(|identity| identity.store_id.as_str());
    if as_json {
        let topics: Vec<_> = views.iter().map(|view| view.to_json(store_id)).collect();
        let whole = serde_json::json!({
            "store_id": store_id,
            "cluster_id": identity.as_ref().map(|identity| &identity.cluster_id),
            "group": identity.as_ref().map(|identity| &identity.group),
            "topics": topics,
        });
        serde_json::to_writer_pretty(&mut *out, &whole)?;
        writeln!(out)?;
    } else {
        for view in &views {
            print_view(view, store_id, out)?;
        }
    }
    Ok(views.iter().all(|view| view.partitions.values().all(|partition| partition.stop.is_none())))
}

fn print_view(view: &TopicView, store_id: Option<&str>, out: &mut (dyn Write + Send)) -> std::io::Result<()> {
    let id = view.described.as_ref().and_then(|described| described.topic_id.as_deref());
    let known = match &view.known {
        Some(known) => format!("incarnation {}", known.incarnation),
        None => "not in the store".to_owned(),
    };
    writeln!(out, "topic {} ({known}, Kafka's topic id {})", printable(&view.topic), id.unwrap_or("unknown"))?;
    let number = |value: Option<i64>| value.map_or_else(|| "-".to_owned(), |value| value.to_string());
    let rows = view.partitions.iter().map(|(partition, one)| {
        let committed = one.committed.as_ref();
        vec![
            partition.to_string(),
            number(one.progress.map(|progress| progress.first_offset)),
            number(one.progress.map(|progress| progress.next_offset)),
            number(one.log.map(|log| log.beginning)),
            number(one.log.map(|log| log.end)),
            number(one.lag()),
            number(committed.map(|committed| committed.offset)),
            committed.map_or_else(|| "-".to_owned(), |committed| committer(committed, store_id)),
            one.stop.as_ref().map_or("-", |(code, _)| code.as_str()).to_owned(),
        ]
    });
    let header = ["PARTITION", "FIRST", "POSITION", "BEGINNING", "END", "LAG", "COMMITTED", "BY", "STOP"];
    print_table(&header, rows.collect(), out)?;
    let mut told = BTreeSet::new();
    for (_, message) in view.partitions.values().filter_map(|one| one.stop.as_ref()) {
        if told.insert(message) {
            writeln!(out, "{}", printable(message))?;
        }
    }
    Ok(())
}
