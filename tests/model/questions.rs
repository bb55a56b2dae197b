//! Questions to the simulated cluster.

use crate::world::{Sim, World};
use drover::kafka::error::{KafkaError, KafkaErrorKind, KafkaResult};
use drover::kafka::group_client::{Answers, Questions};
use drover::kafka::lookup::{Committed, TopicDescription};
use drover::kafka::rebalance::TopicPartition;
use futures::FutureExt as _;
use futures::future::BoxFuture;
use std::collections::BTreeMap;
use std::sync::Arc;

pub struct SimCluster(pub Sim);

async fn ask<T>(cluster: Arc<SimCluster>, question: impl FnOnce(&mut World) -> T) -> KafkaResult<T> {
    cluster.0.latency().await;
    let answer = {
        let mut world = cluster.0.lock();
        let fails = world.plan.question_fails;
        if world.chance(fails) {
            return Err(KafkaError::new(KafkaErrorKind::Unreachable, "asking the cluster", "simulated"));
        }
        question(&mut world)
    };
    cluster.0.latency().await;
    Ok(answer)
}

fn by_partition(
    cluster: Arc<SimCluster>,
    of: Vec<TopicPartition>,
    offset: impl Fn(&crate::log::Log) -> i64 + Send + 'static,
) -> Answers<i64> {
    ask(cluster, move |world| {
        let refused = world.plan.question_fails;
        let mut found = BTreeMap::new();
        for id in of {
            // One partition may be without a leader while the others answer.
            let Some(log) = world.logs.get(&id.partition) else { continue };
            let told = offset(log);
            if !world.chance(refused) {
                found.insert(id, told);
            }
        }
        found
    })
    .boxed()
}

impl Questions for SimCluster {
    fn topic(self: Arc<Self>, _: String) -> BoxFuture<'static, KafkaResult<Option<TopicDescription>>> {
        ask(self, |world| {
            let stale = world.plan.question_stale;
            let mut partitions: Vec<i32> = world.logs.keys().copied().collect();
            if partitions.len() > world.plan.partitions as usize && world.chance(stale) {
                partitions.pop();
            }
            // A broker that has just started knows no topic.
            let missing = world.chance(stale / 10.0);
            (!missing).then(|| TopicDescription { topic_id: Some("topic-id".into()), partitions })
        })
        .boxed()
    }

    fn committed(self: Arc<Self>, of: Vec<TopicPartition>) -> Answers<Committed> {
        ask(self, move |world| -> BTreeMap<TopicPartition, Committed> {
            let committed = &world.commits.offsets;
            of.into_iter().filter_map(|id| Some((id.clone(), committed.get(&id.partition)?.clone()))).collect()
        })
        .boxed()
    }

    fn beginnings(self: Arc<Self>, of: Vec<TopicPartition>) -> Answers<i64> {
        by_partition(self, of, |log| log.first)
    }

    fn ends(self: Arc<Self>, of: Vec<TopicPartition>) -> Answers<i64> {
        by_partition(self, of, crate::log::Log::end)
    }

    fn at_time(self: Arc<Self>, of: Vec<TopicPartition>, _: i64) -> Answers<i64> {
        by_partition(self, of, |log| log.first)
    }
}
