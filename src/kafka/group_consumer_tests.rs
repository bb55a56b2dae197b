//! How a static member leaves a real group: the embedded broker tells no members.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use super::*;
use crate::kafka::lookup::Lookup;
use crate::kafka::test_support::{kafka_config, real_brokers};
use crate::kafka::topics::TopicAdmin;

const WAIT: Duration = Duration::from_secs(20);

async fn members(lookup: &Arc<Lookup>, group: &str) -> usize {
    let (lookup, group) = (Arc::clone(lookup), group.to_owned());
    tokio::task::spawn_blocking(move || lookup.members(&group)).await.unwrap().unwrap().len()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_static_member_that_is_dropped_leaves_the_group_only_when_it_does_not_come_back() {
    let Some(brokers) = real_brokers() else { return };
    let mut kafka = kafka_config(&brokers);
    let name = format!("leave-test-{}", uuid::Uuid::new_v4());
    (kafka.topics, kafka.group) = (vec![name.clone()], name.clone());
    TopicAdmin::new(&kafka, WAIT).unwrap().create(&name, 1, -1, &[]).await.unwrap();
    let lookup = Arc::new(Lookup::new(&kafka, WAIT).unwrap());
    let gone = Arc::new(AtomicBool::new(false));
    let ids = ClientIds { consumer_id: "c", group_instance_id: Some("a-c") };
    for comes_back in [true, false] {
        let member = GroupConsumer::join(&kafka, &ids, 1_000_000, &Former::default(), &gone).unwrap();
        let mut records = member.records();
        let deadline = Instant::now() + WAIT;
        let assigned = async {
            tokio::select! {
                event = member.rebalance() => event,
                _ = async { loop { let _ = records.next().await; } } => unreachable!(),
            }
        };
        let event = tokio::time::timeout(WAIT, assigned).await.unwrap();
        assert!(matches!(event, RebalanceEvent::Assign(_)), "{event:?}");
        member.assign(&[(TopicPartition { topic: name.clone(), partition: 0 }, 0)]).unwrap();
        gone.store(!comes_back, Ordering::Release);
        drop(records);
        let client = Arc::downgrade(member.inner.as_ref().unwrap());
        drop(member);
        while client.strong_count() > 0 {
            assert!(Instant::now() < deadline, "it never closes");
            tokio::time::sleep(LEAVE_PAUSE).await;
        }
        assert_eq!(members(&lookup, &name).await, usize::from(comes_back));
    }
}
