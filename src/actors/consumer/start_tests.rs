//! Where reading starts, with a cluster that tells only what a test lets it tell, and a real store.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use super::*;
use crate::kafka::error::KafkaResult;
use crate::kafka::group_client::Answers;
use crate::store::sqlite::SqliteStore;
use futures::FutureExt as _;
use futures::future::BoxFuture;
use std::sync::Mutex;

fn id(topic: &str, partition: i32) -> TopicPartition {
    TopicPartition { topic: topic.into(), partition }
}

/// Topics `a` and `b`, with as many partitions as are said; those without a leader tell no offset.
#[derive(Default)]
struct Cluster {
    partitions: Mutex<BTreeMap<&'static str, i32>>,
    leaderless: Mutex<Vec<TopicPartition>>,
    /// Topics about which questions fail, and how.
    silent: Mutex<BTreeMap<&'static str, KafkaErrorKind>>,
}

impl Cluster {
    fn told(&self, of: Vec<TopicPartition>) -> Answers<i64> {
        let leaderless = self.leaderless.lock().unwrap().clone();
        let told = of.into_iter().filter(|id| !leaderless.contains(id)).map(|id| (id, 7)).collect();
        async move { Ok(told) }.boxed()
    }
}

impl Questions for Cluster {
    fn topic(self: Arc<Self>, topic: String) -> BoxFuture<'static, KafkaResult<Option<TopicDescription>>> {
        let failing = self.silent.lock().unwrap().get(topic.as_str()).copied();
        let partitions = self.partitions.lock().unwrap().get(topic.as_str()).copied();
        async move {
            match failing {
                Some(kind) => Err(KafkaError::new(kind, "asking", "as the test wants it")),
                None => {
                    let described =
                        |count| TopicDescription { topic_id: Some(topic.clone()), partitions: (0..count).collect() };
                    Ok(partitions.map(described))
                }
            }
        }
        .boxed()
    }
    fn committed(self: Arc<Self>, _: Vec<TopicPartition>) -> Answers<Committed> {
        async { Ok(BTreeMap::new()) }.boxed()
    }
    fn beginnings(self: Arc<Self>, of: Vec<TopicPartition>) -> Answers<i64> {
        self.told(of)
    }
    fn ends(self: Arc<Self>, of: Vec<TopicPartition>) -> Answers<i64> {
        self.told(of)
    }
    fn at_time(self: Arc<Self>, of: Vec<TopicPartition>, _: i64) -> Answers<i64> {
        self.told(of)
    }
}

struct Scene {
    cluster: Arc<Cluster>,
    starts: Starts,
    _directory: tempfile::TempDir,
}

impl Scene {
    async fn new(topics: &[(&'static str, i32)]) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let store = SqliteStore::open(&format!("sqlite:{}", directory.path().join("store.db").display())).unwrap();
        store.migrate().await.unwrap();
        let cluster = Arc::new(Cluster::default());
        cluster.partitions.lock().unwrap().extend(topics.iter().copied());
        let starts = Starts {
            lookup: Arc::clone(&cluster) as Arc<dyn Questions>,
            store: Arc::new(store),
            start_from: StartFrom::Earliest,
            store_id: "store".into(),
        };
        Self { cluster, starts, _directory: directory }
    }

    /// Offsets of those that were told, and nothing of the others.
    async fn ask(&self, ids: &[TopicPartition]) -> Vec<(TopicPartition, Option<i64>)> {
        let starts = self.starts.of(ids).await.unwrap();
        assert!(starts.iter().all(|start| start.stop.is_none()), "{starts:?}");
        let mut told: Vec<_> =
            starts.into_iter().map(|start| (start.id, (!start.unanswered).then_some(start.next_offset))).collect();
        told.sort();
        told
    }
}

#[tokio::test]
async fn an_added_partition_without_a_leader_holds_up_no_other() {
    let scene = Scene::new(&[("a", 1)]).await;
    assert_eq!(scene.ask(&[id("a", 0)]).await, [(id("a", 0), Some(7))]);
    scene.cluster.partitions.lock().unwrap().insert("a", 3);
    scene.cluster.leaderless.lock().unwrap().push(id("a", 1));
    let all = [id("a", 0), id("a", 1), id("a", 2)];
    assert_eq!(scene.ask(&all).await, [(id("a", 0), Some(7)), (id("a", 1), None), (id("a", 2), Some(7))]);
    scene.cluster.leaderless.lock().unwrap().clear();
    assert_eq!(scene.ask(&all[1..2]).await, [(id("a", 1), Some(7))]);
}

#[tokio::test]
async fn a_topic_whose_start_cannot_be_told_holds_up_no_other_and_is_registered_whole_or_not_at_all() {
    let scene = Scene::new(&[("a", 1), ("b", 2)]).await;
    scene.cluster.leaderless.lock().unwrap().push(id("b", 1));
    let all = [id("a", 0), id("b", 0), id("b", 1)];
    assert_eq!(scene.ask(&all).await, [(id("a", 0), Some(7)), (id("b", 0), None), (id("b", 1), None)]);
    assert!(scene.starts.store.topic("b").await.unwrap().is_none());
    assert!(scene.starts.of(&all[1..]).await.is_err(), "nothing at all was told");
    scene.cluster.leaderless.lock().unwrap().clear();
    assert_eq!(scene.ask(&all[1..]).await, [(id("b", 0), Some(7)), (id("b", 1), Some(7))]);
}

#[tokio::test]
async fn only_what_somebody_must_mend_is_missing() {
    let scene = Scene::new(&[("a", 1), ("b", 1)]).await;
    for (kind, is_missing) in [
        (KafkaErrorKind::Unauthorized, true),
        (KafkaErrorKind::Authentication, false),
        (KafkaErrorKind::Unreachable, false),
        (KafkaErrorKind::Canceled, false),
        (KafkaErrorKind::Other, false),
    ] {
        scene.cluster.silent.lock().unwrap().insert("b", kind);
        let starts = scene.starts.of(&[id("a", 0), id("b", 0)]).await.unwrap();
        let of_b = starts.iter().find(|start| start.id.topic == "b").unwrap();
        let stop = of_b.stop.as_ref().map(|(code, _)| *code);
        assert_eq!((stop, of_b.unanswered), (is_missing.then_some(StopCode::TopicMissing), !is_missing), "{kind}");
    }
}

fn known(topic_id: Option<&str>, next_offset: i64) -> TopicProgress {
    let progress = Progress { incarnation: 1, first_offset: 0, next_offset };
    TopicProgress { topic_id: topic_id.map(Into::into), incarnation: 1, partitions: BTreeMap::from([(0, progress)]) }
}

fn stop_of(known: &TopicProgress, topic_id: Option<&str>, bounds: (i64, i64)) -> Option<StopCode> {
    let id = TopicPartition { topic: "t".into(), partition: 0 };
    judge(id, known, &known.partitions[&0], topic_id, (Some(bounds.0), Some(bounds.1))).stop.map(|(code, _)| code)
}

#[test]
fn a_recreated_topic_is_known_by_its_id_and_not_by_its_end() {
    assert_eq!(stop_of(&known(Some("a"), 100), Some("b"), (0, 150)), Some(StopCode::TopicRecreated));
    assert_eq!(stop_of(&known(Some("a"), 100), Some("a"), (0, 150)), None);
    assert_eq!(stop_of(&known(None, 100), Some("a"), (0, 150)), None, "an old broker had no ids");
}

#[test]
fn positions_outside_the_log_stop() {
    assert_eq!(stop_of(&known(None, 100), None, (101, 150)), Some(StopCode::PositionExpired));
    assert_eq!(stop_of(&known(None, 151), None, (0, 150)), Some(StopCode::PositionAhead));
    assert_eq!(stop_of(&known(None, 150), None, (150, 150)), None);
}

#[test]
fn an_offset_of_drovers_own_is_no_start_for_a_store_without_one() {
    let id = TopicPartition { topic: "t".into(), partition: 0 };
    let hint = |metadata: &str| BTreeMap::from([(id.clone(), Committed { offset: 5, metadata: metadata.into() })]);
    assert_eq!(lost_position(&hint("drover:abc")).map(|(code, _)| code), Some(StopCode::PositionLost));
    assert_eq!(lost_position(&hint("")), None, "another program's position is a start");
}
