//! The positions of topics beside what Kafka has, read once and shown or decided upon.
//!
//! Reads store and cluster and changes neither. Blocks no thread: the questions to the cluster run in the background. Fails
//! when either does not answer; a topic that Kafka does not have is a finding.

use crate::actors::consumer::start::{HINT_PREFIX, judge, lost_position, missing};
use crate::cli::OffsetTarget;
use crate::domain::failure::StopCode;
use crate::domain::offset_plan::LogBounds;
use crate::kafka::error::{KafkaError, KafkaResult};
use crate::kafka::lookup::{Committed, GroupMember, Lookup, TopicDescription};
use crate::kafka::rebalance::TopicPartition;
use crate::store::{Progress, Store, StoreIdentity, TopicProgress};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// What store and cluster say of a topic.
pub struct TopicView {
    pub topic: String,
    pub known: Option<TopicProgress>,
    pub described: Option<TopicDescription>,
    pub partitions: BTreeMap<i32, PartitionView>,
}

/// What they say of a partition.
#[derive(Default)]
pub struct PartitionView {
    pub progress: Option<Progress>,
    pub log: Option<LogBounds>,
    pub committed: Option<Committed>,
    /// Why a start would not read it.
    pub stop: Option<(StopCode, String)>,
}

impl TopicView {
    /// Whether Kafka's topic is the one that the store knows. Without ids on either side it is taken for it.
    pub fn is_same_topic(&self) -> bool {
        let stored = self.known.as_ref().and_then(|known| known.topic_id.as_deref());
        let now = self.described.as_ref().and_then(|described| described.topic_id.as_deref());
        stored.is_none() || now.is_none() || stored == now
    }

    /// What Kafka has of each partition.
    pub fn log(&self) -> BTreeMap<i32, LogBounds> {
        self.partitions.iter().filter_map(|(&partition, view)| Some((partition, view.log?))).collect()
    }

    pub fn to_json(&self, store_id: Option<&str>) -> Value {
        let partitions: Vec<Value> = self
            .partitions
            .iter()
            .map(|(partition, view)| {
                json!({
                    "partition": partition,
                    "incarnation": view.progress.map(|progress| progress.incarnation),
                    "first_offset": view.progress.map(|progress| progress.first_offset),
                    "next_offset": view.progress.map(|progress| progress.next_offset),
                    "beginning": view.log.map(|log| log.beginning),
                    "end": view.log.map(|log| log.end),
                    "lag": view.lag(),
                    "committed": view.committed.as_ref().map(|committed| committed.offset),
                    "committed_by": view.committed.as_ref().map(|committed| committer(committed, store_id)),
                    "stop": view.stop.as_ref().map(|(code, message)| json!({ "code": code.as_str(), "message": message })),
                })
            })
            .collect();
        json!({
            "topic": self.topic,
            "topic_id": self.described.as_ref().and_then(|described| described.topic_id.clone()),
            "stored_topic_id": self.known.as_ref().and_then(|known| known.topic_id.clone()),
            "incarnation": self.known.as_ref().map(|known| known.incarnation),
            "partitions": partitions,
        })
    }
}

impl PartitionView {
    pub fn lag(&self) -> Option<i64> {
        Some((self.log?.end - self.progress?.next_offset).max(0))
    }
}

/// Whose a committed offset is, for people.
pub fn committer(committed: &Committed, store_id: Option<&str>) -> String {
    match committed.metadata.strip_prefix(HINT_PREFIX) {
        Some(id) if Some(id) == store_id => "this store".to_owned(),
        Some(id) => format!("drover store {id}"),
        None => "another program".to_owned(),
    }
}

/// Reads store and cluster.
pub struct Viewer {
    pub store: Arc<dyn Store>,
    pub lookup: Arc<Lookup>,
    pub group: String,
}

impl Viewer {
    /// Asks the cluster in the background.
    pub async fn ask<T: Send + 'static>(
        &self,
        question: impl FnOnce(&Lookup) -> KafkaResult<T> + Send + 'static,
    ) -> anyhow::Result<T> {
        let lookup = Arc::clone(&self.lookup);
        Ok(tokio::task::spawn_blocking(move || question(&lookup)).await??)
    }

    /// Everything about a topic.
    pub async fn topic(&self, topic: &str) -> anyhow::Result<TopicView> {
        let known = self.store.topic(topic).await?;
        let name = topic.to_owned();
        let asked = self.ask(move |lookup| Ok(questions(lookup, &name))).await?;
        let mut partitions: BTreeMap<i32, PartitionView> = BTreeMap::new();
        for (&partition, &progress) in known.iter().flat_map(|known| &known.partitions) {
            partitions.entry(partition).or_default().progress = Some(progress);
        }
        let answers = match asked {
            Ok(answers) => answers,
            Err(error) if error.is_transient() => return Err(error.into()),
            // It is not there, or may not be described: what a start would say of it.
            Err(error) => {
                let wanted: Vec<i32> = partitions.keys().copied().collect();
                for start in missing(topic, &wanted, &error.to_string()) {
                    partitions.entry(start.id.partition).or_default().stop = start.stop;
                }
                return Ok(TopicView { topic: topic.to_owned(), known, described: None, partitions });
            }
        };
        for id in &answers.ids {
            let view = partitions.entry(id.partition).or_default();
            view.log = Some(LogBounds { beginning: answers.beginnings[id], end: answers.ends[id] });
            view.committed = answers.committed.get(id).cloned();
        }
        let topic_id = answers.described.topic_id.as_deref();
        let lost = known.is_none().then(|| lost_position(&answers.committed)).flatten();
        for (&partition, view) in &mut partitions {
            let id = TopicPartition { topic: topic.to_owned(), partition };
            view.stop = match (&known, view.log) {
                (Some(known), Some(log)) => known.partitions.get(&partition).and_then(|progress| {
                    judge(id, known, progress, topic_id, (Some(log.beginning), Some(log.end))).stop
                }),
                (Some(_), None) => missing(topic, &[partition], "Kafka has no such partition").remove(0).stop,
                (None, _) => lost.clone(),
            };
        }
        Ok(TopicView { topic: topic.to_owned(), known, described: Some(answers.described), partitions })
    }

    /// The members of the group, which must be none before a position is changed.
    pub async fn members(&self, group: &str) -> anyhow::Result<Vec<GroupMember>> {
        let group = group.to_owned();
        self.ask(move |lookup| lookup.members(&group)).await
    }

    /// Where `target` lies in each of these partitions of a topic.
    pub async fn resolve(
        &self,
        view: &TopicView,
        partitions: &BTreeSet<i32>,
        target: OffsetTarget,
    ) -> anyhow::Result<BTreeMap<i32, i64>> {
        let times = match target {
            OffsetTarget::Time(ms) => {
                let ids: Vec<TopicPartition> = partitions
                    .iter()
                    .map(|&partition| TopicPartition { topic: view.topic.clone(), partition })
                    .collect();
                self.ask(move |lookup| lookup.at_time(&ids, ms)).await?
            }
            _ => BTreeMap::new(),
        };
        let mut found = BTreeMap::new();
        for &partition in partitions {
            let one = &view.partitions[&partition];
            let offset = match target {
                OffsetTarget::Offset(offset) => Some(offset),
                OffsetTarget::Beginning => one.log.map(|log| log.beginning),
                OffsetTarget::End => one.log.map(|log| log.end),
                // What nobody committed begins where the log does.
                OffsetTarget::Committed => {
                    one.committed.as_ref().map(|committed| committed.offset).or(one.log.map(|log| log.beginning))
                }
                OffsetTarget::Time(_) => times.get(&TopicPartition { topic: view.topic.clone(), partition }).copied(),
            };
            let offset =
                offset.ok_or_else(|| anyhow::anyhow!("Kafka tells no offset of {} [{partition}]", view.topic))?;
            found.insert(partition, offset);
        }
        Ok(found)
    }

    /// Whose store it is, which must be this group's.
    pub async fn identity(&self) -> anyhow::Result<Option<StoreIdentity>> {
        Ok(self.store.identity().await?)
    }
}

struct Answers {
    described: TopicDescription,
    ids: Vec<TopicPartition>,
    beginnings: BTreeMap<TopicPartition, i64>,
    ends: BTreeMap<TopicPartition, i64>,
    committed: BTreeMap<TopicPartition, Committed>,
}

fn questions(lookup: &Lookup, topic: &str) -> Result<Answers, KafkaError> {
    let described = lookup.topic(topic)?.ok_or_else(|| {
        KafkaError::new(
            crate::kafka::error::KafkaErrorKind::UnknownTopic,
            format!("looking for topic \"{topic}\""),
            "the topic does not exist",
        )
    })?;
    let ids: Vec<TopicPartition> =
        described.partitions.iter().map(|&partition| TopicPartition { topic: topic.to_owned(), partition }).collect();
    Ok(Answers {
        beginnings: lookup.beginnings(&ids)?,
        ends: lookup.ends(&ids)?,
        committed: lookup.committed(&ids)?,
        described,
        ids,
    })
}
