//! Where reading starts: the store's position for each partition, or why there is none.
//!
//! Asks the cluster and the store, decides by [`judge`], and registers what is new. A topic that was never seen is
//! registered with the start of all its partitions in one transaction; a partition that was added later starts at its
//! beginning. Errors are the caller's to wait out: nothing is assumed while somebody does not answer.

use crate::config::StartFrom;
use crate::domain::failure::StopCode;
use crate::kafka::error::{KafkaError, KafkaErrorKind};
use crate::kafka::group_client::Questions;
use crate::kafka::lookup::{Committed, TopicDescription};
use crate::kafka::rebalance::TopicPartition;
use crate::store::{Progress, Store, StoreError, TopicProgress};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// What the metadata of a committed offset begins with when drover committed it; the store's id follows.
pub const HINT_PREFIX: &str = "drover:";

/// How often, and at what distance, an unknown topic is asked for before it counts as missing.
const DESCRIBE_TRIES: u32 = 5;
const DESCRIBE_PAUSE: Duration = Duration::from_millis(500);

/// Where one partition is read from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Start {
    /// Which.
    pub id: TopicPartition,
    /// Incarnation of its topic.
    pub incarnation: i32,
    /// The next offset.
    pub next_offset: i64,
    /// Why it is not read on.
    pub stop: Option<(StopCode, String)>,
    /// Kafka's oldest offset, where it was asked.
    pub beginning: Option<i64>,
    /// Nobody could tell yet where it is read, while the others were answered: to be asked again.
    pub unanswered: bool,
}

impl Start {
    fn without_position(id: TopicPartition) -> Self {
        Self { id, incarnation: 1, next_offset: 0, stop: None, beginning: None, unanswered: false }
    }

    fn stopped(id: TopicPartition, stop: (StopCode, String)) -> Self {
        Self { stop: Some(stop), ..Self::without_position(id) }
    }

    fn unanswered(id: TopicPartition) -> Self {
        Self { unanswered: true, ..Self::without_position(id) }
    }
}

/// Why no answer could be had.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The cluster.
    #[error(transparent)]
    Kafka(#[from] KafkaError),
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// What decides where reading starts.
#[derive(Clone)]
pub struct Starts {
    /// Questions to the cluster.
    pub lookup: Arc<dyn Questions>,
    /// The truth.
    pub store: Arc<dyn Store>,
    /// Where a topic that nobody knows starts.
    pub start_from: StartFrom,
    /// Id of this store.
    pub store_id: String,
}

impl Starts {
    /// The starts of these partitions. What the cluster cannot tell of one topic, or of one partition, holds up no other.
    ///
    /// # Errors
    /// The store does not answer, or the cluster tells nothing at all; ask again.
    pub async fn of(&self, partitions: &[TopicPartition]) -> Result<Vec<Start>, StartError> {
        let mut by_topic: BTreeMap<&str, Vec<i32>> = BTreeMap::new();
        for id in partitions {
            by_topic.entry(&id.topic).or_default().push(id.partition);
        }
        let mut starts = Vec::with_capacity(partitions.len());
        let (mut answered, mut silence) = (false, None);
        for (topic, wanted) in by_topic {
            match self.of_topic(topic, &wanted).await {
                Ok(found) => {
                    answered = true;
                    starts.extend(found);
                }
                Err(StartError::Kafka(error)) => {
                    starts.extend(ids(topic, &wanted).map(Start::unanswered));
                    tracing::debug!(topic, error = %error, "a topic cannot tell where it is read");
                    silence = Some(error);
                }
                Err(error) => return Err(error),
            }
        }
        match silence {
            Some(error) if !answered => Err(error.into()),
            _ => Ok(starts),
        }
    }

    async fn of_topic(&self, topic: &str, wanted: &[i32]) -> Result<Vec<Start>, StartError> {
        let described = match self.describe(topic).await {
            Ok(Some(described)) => described,
            Ok(None) => return Ok(missing(topic, wanted, "it does not exist")),
            // Somebody has to act. Whatever else it is may pass by itself, and is asked again.
            Err(error) if matches!(error.kind(), KafkaErrorKind::UnknownTopic | KafkaErrorKind::Unauthorized) => {
                return Ok(missing(topic, wanted, &error.to_string()));
            }
            Err(error) => return Err(error.into()),
        };
        let all: Vec<TopicPartition> = ids(topic, &described.partitions).collect();
        let asked: Vec<TopicPartition> = ids(topic, wanted).collect();
        let committed = self.lookup().committed(all.clone()).await?;
        let known = match self.store.topic(topic).await? {
            Some(known) => known,
            None => {
                if let Some(lost) = lost_position(&committed) {
                    return Ok(asked.into_iter().map(|id| Start::stopped(id, lost.clone())).collect());
                }
                let starts = self.first_starts(all, &committed).await?;
                let known = self.store.register_topic(topic, described.topic_id.as_deref(), &starts).await?;
                tracing::info!(topic, partitions = starts.len(), "registered the start of a topic");
                known
            }
        };
        let known = self.with_new_partitions(topic, known, &described.partitions).await?;
        // A partition without a leader has no bounds now and must not hold up the others: it is read on where the store has
        // it, and is judged when the client meets an offset outside the log, or at the next look.
        let beginnings = self.lookup().beginnings(asked.clone()).await?;
        let ends = self.lookup().ends(asked.clone()).await?;
        let starts = asked.into_iter().map(|id| {
            let bounds = (beginnings.get(&id).copied(), ends.get(&id).copied());
            self.warn_of_foreign_hint(&id, &known, committed.get(&id));
            match known.partitions.get(&id.partition) {
                Some(progress) => judge(id, &known, progress, described.topic_id.as_deref(), bounds),
                // It has no leader that could tell its beginning, or the group knows a new partition before the broker that
                // described the topic.
                None => Start::unanswered(id),
            }
        });
        Ok(starts.collect())
    }

    /// Asks a few times: a broker that has just started may not know a topic yet.
    async fn describe(&self, topic: &str) -> Result<Option<TopicDescription>, KafkaError> {
        for _ in 0..DESCRIBE_TRIES {
            if let Some(described) = self.lookup().topic(topic.to_owned()).await? {
                return Ok(Some(described));
            }
            tokio::time::sleep(DESCRIBE_PAUSE).await;
        }
        Ok(None)
    }

    async fn first_starts(
        &self,
        partitions: Vec<TopicPartition>,
        committed: &BTreeMap<TopicPartition, Committed>,
    ) -> Result<BTreeMap<i32, i64>, StartError> {
        let asked = partitions.clone();
        let otherwise = match self.start_from {
            StartFrom::Earliest => self.lookup().beginnings(asked).await?,
            StartFrom::Latest => self.lookup().ends(asked).await?,
            StartFrom::Time(ms) => self.lookup().at_time(asked, ms).await?,
        };
        let starts: Result<BTreeMap<i32, i64>, KafkaError> = partitions
            .iter()
            .map(|id| {
                let offset = committed.get(id).map(|committed| committed.offset).or(otherwise.get(id).copied());
                offset.map(|offset| (id.partition, offset)).ok_or_else(|| no_offset(id))
            })
            .collect();
        Ok(starts?)
    }

    async fn with_new_partitions(
        &self,
        topic: &str,
        known: TopicProgress,
        described: &[i32],
    ) -> Result<TopicProgress, StartError> {
        let added: Vec<TopicPartition> = described
            .iter()
            .filter(|partition| !known.partitions.contains_key(partition))
            .map(|&partition| TopicPartition { topic: topic.to_owned(), partition })
            .collect();
        if added.is_empty() {
            return Ok(known);
        }
        // Each starts at its beginning, whenever that is: one whose leader is away holds up no other.
        let beginnings = self.lookup().beginnings(added).await?;
        if beginnings.is_empty() {
            return Ok(known);
        }
        let starts = beginnings.iter().map(|(id, &offset)| (id.partition, offset)).collect();
        let known = self.store.add_partitions(topic, &starts).await?;
        tracing::info!(topic, partitions = starts.len(), "registered partitions that were added to a topic");
        Ok(known)
    }

    fn warn_of_foreign_hint(&self, id: &TopicPartition, known: &TopicProgress, committed: Option<&Committed>) {
        let (Some(progress), Some(committed)) = (known.partitions.get(&id.partition), committed) else {
            return;
        };
        let ours = committed.metadata == format!("{HINT_PREFIX}{}", self.store_id);
        // A hint of our own that lies behind is ordinary; any other difference is somebody's doing, and the store wins.
        if committed.offset > progress.next_offset || (!ours && committed.offset != progress.next_offset) {
            tracing::warn!(
                topic = %id.topic, partition = id.partition, committed = committed.offset, stored = progress.next_offset,
                "the group's committed offset differs from the stored position; the stored position is used"
            );
        }
    }

    fn lookup(&self) -> Arc<dyn Questions> {
        Arc::clone(&self.lookup)
    }
}

fn ids(topic: &str, partitions: &[i32]) -> impl Iterator<Item = TopicPartition> {
    partitions.iter().map(move |&partition| TopicPartition { topic: topic.to_owned(), partition })
}

/// Partitions of a topic that cannot be described or read. They stay owned, and are looked at again.
pub fn missing(topic: &str, wanted: &[i32], why: &str) -> Vec<Start> {
    let message = format!("topic \"{topic}\" cannot be read: {why}");
    ids(topic, wanted).map(|id| Start::stopped(id, (StopCode::TopicMissing, message.clone()))).collect()
}

fn no_offset(id: &TopicPartition) -> KafkaError {
    let doing = format!("reading the start of partition {} of topic \"{}\"", id.partition, id.topic);
    KafkaError::new(KafkaErrorKind::Unavailable, doing, "the broker gave no offset")
}

/// An offset that drover committed is no start for a store that does not know the topic: what lies below it was stored
/// somewhere else, or is lost with a dropped database.
pub fn lost_position(committed: &BTreeMap<TopicPartition, Committed>) -> Option<(StopCode, String)> {
    let (id, hint) = committed.iter().find(|(_, committed)| committed.metadata.starts_with(HINT_PREFIX))?;
    Some((
        StopCode::PositionLost,
        format!(
            "the group has the position {} of topic \"{}\" partition {} from a drover store ({}), but this store does not know \
             the topic: its database was dropped or another one is used. Restore that database; or give up \
             what was stored and begin anew with `drover offsets restart {}` while drover is stopped",
            hint.offset, id.topic, id.partition, hint.metadata, id.topic
        ),
    ))
}

/// Where a partition of a known topic is read from, or why it is not.
pub fn judge(
    id: TopicPartition,
    known: &TopicProgress,
    progress: &Progress,
    topic_id: Option<&str>,
    bounds: (Option<i64>, Option<i64>),
) -> Start {
    let Progress { next_offset, incarnation, .. } = *progress;
    let recreated = matches!((known.topic_id.as_deref(), topic_id), (Some(stored), Some(now)) if stored != now);
    let stop = if recreated {
        Some((
            StopCode::TopicRecreated,
            format!(
                "topic \"{}\" was deleted and created again: its id is {}, the store knows {}. Offsets mean other records \
                 now, so nothing is read",
                id.topic,
                topic_id.unwrap_or("unknown"),
                known.topic_id.as_deref().unwrap_or("unknown")
            ),
        ))
    } else {
        out_of_bounds(&id, next_offset, bounds)
    };
    Start { id, incarnation, next_offset, stop, beginning: bounds.0, unanswered: false }
}

/// Whether a position lies outside what Kafka has.
pub fn out_of_bounds(
    id: &TopicPartition,
    next_offset: i64,
    bounds: (Option<i64>, Option<i64>),
) -> Option<(StopCode, String)> {
    match bounds {
        (Some(beginning), _) if next_offset < beginning => Some((
            StopCode::PositionExpired,
            format!(
                "topic \"{}\" partition {}: the stored position is {next_offset}, but Kafka's oldest record is {beginning}: \
                 retention removed {} offsets before they were read",
                id.topic,
                id.partition,
                beginning - next_offset
            ),
        )),
        (_, Some(end)) if next_offset > end => Some((
            StopCode::PositionAhead,
            format!(
                "topic \"{}\" partition {}: the stored position is {next_offset}, but the log ends at {end}: it was truncated",
                id.topic, id.partition
            ),
        )),
        _ => None,
    }
}

#[cfg(test)]
#[path = "start_tests.rs"]
mod tests;
