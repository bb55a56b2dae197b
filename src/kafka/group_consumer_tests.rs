//! Records of a group member as they come, and how a static member leaves a real group: the embedded broker tells no members.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use super::*;
use crate::domain::record::RawRecord as _;
use crate::kafka::embedded::EmbeddedBroker;
use crate::kafka::lookup::Lookup;
use crate::kafka::test_support::{kafka_config, real_brokers};
use crate::kafka::topics::TopicAdmin;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer as _};

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

/// The loop of a consumer looks again four times a second by itself, which would hide a wake-up that never comes.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_record_wakes_whoever_waits_for_it_and_a_seek_withdraws_what_was_fetched() {
    let broker = EmbeddedBroker::start().unwrap();
    let mut kafka = kafka_config(broker.bootstrap_servers());
    kafka.producer.insert("linger.ms".into(), "0".into());
    broker.create_topic("user_events", 1).unwrap();
    let producer: BaseProducer =
        crate::kafka::client::producer_client_config(&kafka, "test", 1_000_000).create().unwrap();
    let send = |count: usize| {
        for _ in 0..count {
            producer.send(BaseRecord::<(), _>::to("user_events").partition(0).payload("{}")).unwrap();
        }
        producer.flush(WAIT).unwrap();
    };
    let ids = ClientIds { consumer_id: "c", group_instance_id: None };
    let member = GroupConsumer::join(&kafka, &ids, 1_000_000, &Former::default(), &Arc::default()).unwrap();
    let mut records = member.records();
    let event = async {
        tokio::select! {
            event = member.rebalance() => event,
            _ = async { loop { let _ = records.next().await; } } => unreachable!(),
        }
    };
    let event = tokio::time::timeout(WAIT, event).await.unwrap();
    assert!(matches!(event, RebalanceEvent::Assign(_)), "{event:?}");
    member.assign(&[(TopicPartition { topic: "user_events".into(), partition: 0 }, 0)]).unwrap();
    for expected in 0..4 {
        // Polled once, so that it waits, before there is anything to take.
        let mut next = Box::pin(records.next());
        assert!(futures::poll!(&mut next).is_pending());
        send(1);
        let record = tokio::select! {
            // Looked at first: the end of a timeout would look for the record once more, and find it.
            biased;
            () = tokio::time::sleep(WAIT) => panic!("nobody was woken for record {expected}"),
            record = next => record.unwrap(),
        };
        assert_eq!((record.topic(), record.offset()), ("user_events", expected));
    }
    send(50);
    let first = tokio::time::timeout(WAIT, records.next()).await.unwrap().unwrap();
    assert_eq!(first.offset(), 4);
    tokio::task::block_in_place(|| member.seek("user_events", 0, 2)).unwrap();
    let after = tokio::time::timeout(WAIT, records.next()).await.unwrap().unwrap();
    assert_eq!((after.offset(), after.value()), (2, Some(b"{}".as_slice())));
}
