//! What each order does: the plan from what store and cluster say, and what it costs.

use super::order::{Order, refuse_members};
use super::view::{TopicView, Viewer};
use crate::cli::{ChangeFlags, OffsetTarget};
use crate::domain::offset_plan;
use crate::store::audit::RANGE;
use crate::store::offsets::{OffsetChange, PositionMove};
use anyhow::{Context as _, bail};
use serde_json::json;
use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;

/// What every order but a claim begins with: a store of this cluster and group, and a group without members.
async fn prepared(viewer: &Viewer, topic: &str) -> anyhow::Result<TopicView> {
    let cluster_id = viewer.ask(|lookup| lookup.cluster_id(super::ASK_TIMEOUT)).await?;
    viewer.store.claim_identity(&cluster_id, &viewer.group).await?;
    refuse_members(viewer, &viewer.group).await?;
    viewer.topic(topic).await
}

/// The partitions that an order is for.
fn chosen(view: &TopicView, partition: Option<i32>) -> anyhow::Result<BTreeSet<i32>> {
    let Some(known) = &view.known else {
        bail!("the store knows no topic {:?}; `drover offsets show` lists those that it knows", view.topic);
    };
    if !view.is_same_topic() {
        bail!(
            "topic {:?} was deleted and created again: its offsets mean other records than those stored; \
             `drover offsets restart {}` begins anew",
            view.topic,
            view.topic
        );
    }
    match partition {
        Some(partition) if !known.partitions.contains_key(&partition) => {
            bail!("the store knows no partition {partition} of topic {:?}", view.topic)
        }
        Some(partition) => Ok(BTreeSet::from([partition])),
        None => Ok(known.partitions.keys().copied().collect()),
    }
}

/// The position of a partition that is known, and what Kafka has of it.
fn place(view: &TopicView, partition: i32) -> anyhow::Result<(PositionMove, offset_plan::LogBounds)> {
    let one = &view.partitions[&partition];
    let progress = one.progress.context("the store has no position of it")?;
    let log = one.log.with_context(|| format!("Kafka has no partition {partition} of topic {:?}", view.topic))?;
    let at = PositionMove {
        partition,
        incarnation: progress.incarnation,
        from: progress.next_offset,
        to: progress.next_offset,
    };
    Ok((at, log))
}

/// Rows and dead letters in a range, asked in steps, so that no snapshot is long.
async fn stored(viewer: &Viewer, topic: &str, at: PositionMove, first: i64, next: i64) -> anyhow::Result<(i64, i64)> {
    let (mut rows, mut letters, mut from) = (0, 0, first);
    while from < next {
        let to = from.saturating_add(RANGE).min(next);
        let content = viewer.store.range_content(topic, at.partition, at.incarnation, from, to).await?;
        rows += content.rows;
        letters += content.dead_letters;
        from = to;
    }
    Ok((rows, letters))
}

pub async fn rewind(
    viewer: &Viewer,
    topic: &str,
    partition: Option<i32>,
    to: OffsetTarget,
    flags: &ChangeFlags,
    out: &mut (dyn Write + Send),
) -> anyhow::Result<bool> {
    if matches!(to, OffsetTarget::End | OffsetTarget::Committed) {
        bail!("a rewind goes back to an offset, to beginning or to a time");
    }
    let view = prepared(viewer, topic).await?;
    let partitions = chosen(&view, partition)?;
    let targets = viewer.resolve(&view, &partitions, to).await?;
    let (mut moves, mut rows, mut detail) = (Vec::new(), Vec::new(), Vec::new());
    let (mut again, mut there) = (0, 0);
    for (&partition, &target) in &targets {
        let (at, log) = place(&view, partition)?;
        // A time, or one order for all, may lie ahead of a partition that is behind: it stays where it is.
        let target = if matches!(to, OffsetTarget::Time(_)) { target.min(at.from) } else { target };
        let goes = offset_plan::rewind(at.from, target, log).with_context(|| format!("{topic} [{partition}]"))?;
        if !goes {
            continue;
        }
        let at = PositionMove { to: target, ..at };
        let (stored_rows, letters) = stored(viewer, topic, at, at.to, at.from).await?;
        // Past the end of a truncated log nothing can be read again.
        let offsets = at.from.min(log.end).saturating_sub(at.to);
        again += offsets;
        there += stored_rows + letters;
        let cells = [i64::from(partition), at.from, at.to, offsets, stored_rows, letters];
        rows.push(cells.iter().map(ToString::to_string).collect());
        detail.push(json!({ "partition": partition, "from": at.from, "to": at.to, "offsets": offsets,
                            "rows": stored_rows, "dead_letters": letters }));
        moves.push(at);
    }
    if moves.is_empty() {
        bail!("every position is there already; nothing would be read again");
    }
    let order = Order {
        action: "offsets.rewind",
        target: target_of(topic, moves.iter().map(|at| at.partition)),
        header: vec!["PARTITION", "POSITION", "TO", "READ AGAIN", "ROWS THERE", "DEAD LETTERS THERE"],
        rows,
        notes: vec![format!(
            "{again} offsets of {topic} are read again; {there} rows and dead letters are there already and will be skipped \
             as duplicates"
        )],
        detail: json!({ "topic": topic, "partitions": detail, "offsets": again, "stored_already": there }),
        groups: vec![viewer.group.clone()],
        change: OffsetChange::Rewind { topic: topic.to_owned(), moves },
    };
    order.carry_out(viewer, flags, out).await
}

pub async fn skip(
    viewer: &Viewer,
    topic: &str,
    partition: i32,
    to: OffsetTarget,
    flags: &ChangeFlags,
    out: &mut (dyn Write + Send),
) -> anyhow::Result<bool> {
    let view = prepared(viewer, topic).await?;
    let partitions = chosen(&view, Some(partition))?;
    let target = viewer.resolve(&view, &partitions, to).await?[&partition];
    let (at, log) = place(&view, partition)?;
    offset_plan::skip(at.from, target, log).with_context(|| format!("{topic} [{partition}]"))?;
    let of = PositionMove { to: target, ..at };
    let (rows, letters) = stored(viewer, topic, of, of.from, of.to).await?;
    let offsets = of.to - of.from;
    let (stored, expired) = (rows + letters, (log.beginning.min(of.to) - of.from).max(0));
    let readable = offsets - expired;
    let mut notes = vec![format!(
        "{} offsets of {topic} [{partition}] are given up, from {} to {}; the audit will report them as a known loss",
        offsets - stored,
        of.from,
        of.to - 1
    )];
    if readable > 0 {
        notes.push(format!(
            "ATTENTION: Kafka still has {readable} of them, from {} on: they could be read",
            of.to - readable
        ));
    }
    let cells = [i64::from(partition), of.from, of.to, offsets, expired, stored];
    let order = Order {
        action: "offsets.skip",
        target: target_of(topic, [partition]),
        header: vec!["PARTITION", "POSITION", "TO", "SKIPPED", "GONE IN KAFKA", "STORED ALREADY"],
        rows: vec![cells.iter().map(ToString::to_string).collect()],
        notes,
        detail: json!({ "topic": topic, "partition": partition, "from": of.from, "to": of.to, "offsets": offsets,
                        "expired": expired, "stored_already": stored }),
        groups: vec![viewer.group.clone()],
        change: OffsetChange::Skip { topic: topic.to_owned(), of },
    };
    order.carry_out(viewer, flags, out).await
}

pub async fn restart(
    viewer: &Viewer,
    topic: &str,
    to: Option<OffsetTarget>,
    flags: &ChangeFlags,
    out: &mut (dyn Write + Send),
) -> anyhow::Result<bool> {
    if matches!(to, Some(OffsetTarget::Offset(_))) {
        bail!(
            "a topic restarts at beginning, end, committed or a time; `drover offsets rewind` and `skip` take offsets"
        );
    }
    let view = prepared(viewer, topic).await?;
    let Some(described) = &view.described else {
        bail!("Kafka has no topic {topic:?}, or drover may not describe it; create it first");
    };
    let log = view.log();
    let positions: BTreeMap<i32, i64> =
        view.partitions.iter().filter_map(|(&partition, one)| Some((partition, one.progress?.next_offset))).collect();
    let starts = match to {
        None => offset_plan::restart(view.is_same_topic() && view.known.is_some(), &positions, &log),
        Some(target) => viewer.resolve(&view, &log.keys().copied().collect(), target).await?,
    };
    let seen = view.known.as_ref().map(|known| known.incarnation);
    let incarnation = seen.unwrap_or(0) + 1;
    let number = |value: Option<&i64>| value.map_or_else(|| "-".to_owned(), ToString::to_string);
    let all: BTreeSet<i32> = positions.keys().chain(starts.keys()).copied().collect();
    let rows = all.iter().map(|partition| {
        let log = log.get(partition);
        vec![
            partition.to_string(),
            number(positions.get(partition)),
            number(starts.get(partition)),
            number(log.map(|log| log.beginning).as_ref()),
            number(log.map(|log| log.end).as_ref()),
        ]
    });
    let mut notes = vec![match (seen, view.is_same_topic()) {
        (None, _) => format!("the store does not know {topic}: it begins with incarnation 1"),
        (Some(_), false) => {
            format!("{topic} was created again: it gets incarnation {incarnation}; what is stored stays")
        }
        (Some(_), true) => format!(
            "{topic} is the topic that the store knows: it gets incarnation {incarnation} all the same; what is stored stays, \
             and what is read again from before the position is stored a second time under the new incarnation"
        ),
    }];
    for (partition, start) in &starts {
        let before = log.get(partition).map_or(0, |log| start - log.beginning);
        let continues = view.is_same_topic() && positions.get(partition) == Some(start);
        if before > 0 && !continues {
            notes.push(format!("[{partition}]: {before} offsets that Kafka has before {start} are not read"));
        }
    }
    let order = Order {
        action: "offsets.restart",
        target: topic.to_owned(),
        header: vec!["PARTITION", "POSITION", "STARTS AT", "BEGINNING", "END"],
        rows: rows.collect(),
        notes,
        detail: json!({ "topic": topic, "topic_id": described.topic_id, "incarnation": incarnation,
                        "positions": positions, "starts": starts }),
        groups: vec![viewer.group.clone()],
        change: OffsetChange::Restart {
            topic: topic.to_owned(),
            topic_id: described.topic_id.clone(),
            seen,
            positions,
            starts,
        },
    };
    order.carry_out(viewer, flags, out).await
}

pub async fn claim(
    viewer: &Viewer,
    same_offsets: bool,
    flags: &ChangeFlags,
    out: &mut (dyn Write + Send),
) -> anyhow::Result<bool> {
    let Some(seen) = viewer.identity().await? else {
        bail!("the store belongs to nobody yet; the first `drover run` claims it");
    };
    let cluster_id = viewer.ask(|lookup| lookup.cluster_id(super::ASK_TIMEOUT)).await?;
    let group = viewer.group.clone();
    if (&seen.cluster_id, &seen.group) == (&cluster_id, &group) {
        bail!("the store belongs to cluster {cluster_id:?} and group {group:?} already");
    }
    let same_cluster = seen.cluster_id == cluster_id;
    let groups: Vec<String> = std::iter::once(&group).chain(same_cluster.then_some(&seen.group)).cloned().collect();
    for group in &groups {
        refuse_members(viewer, group).await?;
    }
    let mut topic_ids = BTreeMap::new();
    let mut notes = Vec::new();
    if !same_cluster && same_offsets {
        for topic in viewer.store.topics().await? {
            let described = viewer.topic(&topic).await?.described;
            let Some(described) = described else {
                notes.push(format!("{topic} is not in the new cluster: it stops as topic.missing"));
                continue;
            };
            topic_ids.insert(topic, described.topic_id);
        }
        notes
            .push("ATTENTION: records are taken to be the same at the same offsets; nothing can check that".to_owned());
    } else if !same_cluster {
        notes.push(
            "offsets of another cluster mean other records: each topic stops as topic.recreated until \
             `drover offsets restart TOPIC`; with --same-offsets they go on where they stand"
                .to_owned(),
        );
    } else {
        notes.push("the new group goes on where the store stands".to_owned());
    }
    let order = Order {
        action: "offsets.claim",
        target: "store".to_owned(),
        header: vec!["", "BELONGS TO", "WILL BELONG TO"],
        rows: vec![
            vec!["cluster".into(), seen.cluster_id.clone(), cluster_id.clone()],
            vec!["group".into(), seen.group.clone(), group.clone()],
        ],
        notes,
        detail: json!({ "from": { "cluster_id": seen.cluster_id, "group": seen.group },
                        "to": { "cluster_id": cluster_id, "group": group }, "topic_ids": topic_ids }),
        groups,
        change: OffsetChange::Claim { seen, cluster_id, group, topic_ids },
    };
    order.carry_out(viewer, flags, out).await
}

fn target_of(topic: &str, partitions: impl IntoIterator<Item = i32>) -> String {
    let partitions: Vec<String> = partitions.into_iter().map(|partition| partition.to_string()).collect();
    format!("{topic} [{}]", partitions.join(","))
}
