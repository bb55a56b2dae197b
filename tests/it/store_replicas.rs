//! Names that one session at a time has, and the rows through which processes see each other, on both stores.

use crate::on_both_stores;
use crate::support::batches::registered;
use crate::support::stores::{TestStore, empty_postgres, run_on};
use crate::support::wait::PATIENCE;
use drover::store::lease::LeaseSession;
use drover::store::replicas::{ReplicaBeat, StoredPosition};
use std::sync::Arc;
use std::time::{Duration, Instant};

on_both_stores! { true:
    a_process_writes_its_row_again_and_again_and_takes_it_away,
    rows_of_the_silent_are_removed,
    all_positions_are_told,
    a_free_name_is_taken,
}

fn beat(replica_id: &str, pid: u32) -> ReplicaBeat {
    ReplicaBeat {
        replica_id: replica_id.into(),
        started_at_ms: 1_700_000_000_123,
        version: "0.1.0".into(),
        snapshot: serde_json::json!({"pid": pid, "reasons": ["ü"]}),
    }
}

async fn a_process_writes_its_row_again_and_again_and_takes_it_away(test: Arc<TestStore>) {
    for pid in 1..=3 {
        test.store.beat(&beat("a", pid)).await.unwrap();
    }
    test.store.beat(&beat("b", 9)).await.unwrap();
    let all = test.of_another_process().replicas().await.unwrap();
    assert_eq!(all.iter().map(|replica| replica.beat.clone()).collect::<Vec<_>>(), [beat("a", 3), beat("b", 9)]);
    assert!(all.iter().all(|replica| replica.age < Duration::from_secs(60)), "{all:?}");
    test.store.remove_replica("a").await.unwrap();
    let left = test.store.replicas().await.unwrap();
    assert_eq!(left.len(), 1);
    assert_eq!(left[0].beat.replica_id, "b");
}

async fn rows_of_the_silent_are_removed(test: Arc<TestStore>) {
    test.store.beat(&beat("silent", 1)).await.unwrap();
    test.execute("UPDATE replicas SET heartbeat_at = '2020-01-02T03:04:05.000000Z'").await;
    test.store.beat(&beat("alive", 2)).await.unwrap();
    let all = test.store.replicas().await.unwrap();
    assert!(all[1].age > Duration::from_secs(24 * 3600), "{all:?}");
    assert_eq!(test.store.prune_replicas(Duration::from_secs(24 * 3600)).await.unwrap(), 1);
    assert_eq!(test.store.replicas().await.unwrap()[0].beat.replica_id, "alive");
}

async fn all_positions_are_told(test: Arc<TestStore>) {
    registered(&test, &[(1, 7), (0, 5)]).await;
    let topic = crate::support::batches::TOPIC.to_owned();
    let at = |partition, next_offset| StoredPosition { topic: topic.clone(), partition, next_offset };
    assert_eq!(test.store.positions().await.unwrap(), [at(0, 5), at(1, 7)]);
}

async fn a_free_name_is_taken(test: Arc<TestStore>) {
    let session = test.store.lease_session("pid 1 on a", None).await.unwrap();
    assert_eq!(session.take("name").await.unwrap(), None);
    session.give_back("name").await.unwrap();
    assert_eq!(session.take("name").await.unwrap(), None, "and again");
    assert!(!session.has_ended());
}

/// SQLite has one process; only PostgreSQL has others who could want a name.
async fn on_postgres<Fut>(test: impl FnOnce(Arc<TestStore>) -> Fut)
where
    Fut: Future<Output = ()> + Send + 'static,
{
    if let Some(store) = empty_postgres() {
        run_on(store, true, test).await;
    }
}

async fn taken_soon(session: &Arc<dyn LeaseSession>, name: &str) {
    let deadline = Instant::now() + PATIENCE;
    while let Some(holder) = session.take(name).await.unwrap() {
        assert!(Instant::now() < deadline, "the name is never free: {holder}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_name_is_held_by_one_session_until_it_ends_and_the_others_are_told_by_whom() {
    on_postgres(|test| async move {
        let first = test.store.lease_session("pid 1 on a", None).await.unwrap();
        let second = test.of_another_process().lease_session("pid 2 on b", None).await.unwrap();
        assert_eq!(first.take("name").await.unwrap(), None);
        let holder = second.take("name").await.unwrap().unwrap();
        assert_eq!(holder.who.as_deref(), Some("pid 1 on a"));
        assert_eq!(holder.session, first.name().map(|name| name.pid));
        let text = holder.to_string();
        assert!(text.starts_with("pid 1 on a") && text.contains(" since 20"), "{text}");
        assert_eq!(second.take("another name").await.unwrap(), None);
        drop(first);
        taken_soon(&second, "name").await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_name_that_is_given_back_is_anybodys_and_the_other_names_of_the_session_stay() {
    on_postgres(|test| async move {
        let first = test.store.lease_session("pid 1 on a", None).await.unwrap();
        let second = test.of_another_process().lease_session("pid 2 on b", None).await.unwrap();
        for name in ["name", "another name"] {
            assert_eq!(first.take(name).await.unwrap(), None);
        }
        first.give_back("name").await.unwrap();
        assert_eq!(second.take("name").await.unwrap(), None);
        assert!(second.take("another name").await.unwrap().is_some());
        assert!(!first.has_ended());
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_that_the_server_ends_is_known_to_have_ended() {
    on_postgres(|test| async move {
        let session = test.store.lease_session("pid 1 on a", None).await.unwrap();
        assert_eq!(session.take("name").await.unwrap(), None);
        let pid = session.name().unwrap().pid;
        test.execute(&format!("SELECT pg_terminate_backend({pid})")).await;
        session.ended().await;
        assert!(session.has_ended());
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_session_before_is_ended_on_the_server_when_another_takes_its_place() {
    on_postgres(|test| async move {
        // Still open, as after a network that swallowed the end of the connection.
        let before = test.store.lease_session("pid 1 on a", None).await.unwrap();
        assert_eq!(before.take("name").await.unwrap(), None);
        let after = test.store.lease_session("pid 1 on a", before.name()).await.unwrap();
        before.ended().await;
        taken_soon(&after, "name").await;
    })
    .await;
}
