//! The runbook: it names every code, and the SQL that it tells people to run does what it says, on both stores.

use crate::on_both_stores;
use crate::support::batches::{TOPIC, rows, store};
use crate::support::stores::{TestStore, config, empty_postgres, settings};
use crate::support::tree::{blocks, text};
use drover::domain::failure::{DeadLetterCode, StopCode};
use drover::store::Store;
use drover::store::audit::audit;
use drover::store::audit_log::AuditEntry;
use drover::store::offsets::{OffsetChange, PositionMove};
use drover::store::postgres::connect::connect;
use drover::store::replicas::ReplicaBeat;
use std::collections::BTreeMap;
use std::sync::Arc;

#[test]
fn every_code_is_in_the_runbook() {
    let runbook = text("docs/OPERATIONS.md");
    for code in DeadLetterCode::FIXED {
        assert!(runbook.contains(&format!("| `{code}` |")), "{code}");
    }
    assert!(runbook.contains("| `db.SQLSTATE` |"));
    for code in StopCode::ALL {
        assert!(runbook.contains(&format!("### `{code}`")), "{code}");
    }
    for exit in ["| 0 |", "| 1 |", "| 64 |", "| 69 |", "| 75 |", "| 77 |"] {
        assert!(runbook.contains(exit), "{exit}");
    }
}

/// The SQL below a heading of the runbook, for the test's topic.
fn sql(heading: &str) -> Vec<String> {
    let runbook = text("docs/OPERATIONS.md");
    let from = runbook.find(&format!("# {heading}\n")).unwrap_or_else(|| panic!("no section {heading}"));
    let section = &runbook[from + 2..];
    let end = section.find("\n#").unwrap_or(section.len());
    blocks(&section[..end], &["sql"]).into_iter().map(|block| block.replace("user_events", TOPIC)).collect()
}

async fn with_ten_rows(test: &TestStore) {
    test.store.claim_identity("cluster", "group").await.unwrap();
    test.store.register_topic(TOPIC, Some("old-id"), &BTreeMap::from([(0, 0), (1, 0)])).await.unwrap();
    store(&mut test.store.writer("writer-1"), &rows(0, 0..10)).await;
}

async fn is_clean(test: &TestStore) -> bool {
    audit(&*test.store, &[], &mut |_| {}).await.unwrap().clean
}

async fn rows_that_differ_are_given_up_from_the_position_on(test: Arc<TestStore>) {
    with_ten_rows(&test).await;
    test.execute("UPDATE partition_progress SET next_offset = 4 WHERE partition = 0").await;
    for sql in sql("`row.differs`") {
        test.execute(&sql).await;
    }
    assert_eq!(test.number("SELECT count(*) FROM events").await, 4);
    assert!(is_clean(&test).await);
}

async fn old_rows_go_and_the_audit_knows_where_the_store_begins(test: Arc<TestStore>) {
    with_ten_rows(&test).await;
    for sql in sql("Housekeeping") {
        test.execute(&sql.replace("12345", "7")).await;
    }
    assert_eq!(test.number("SELECT count(*) FROM events").await, 3);
    assert_eq!(test.number("SELECT first_offset FROM partition_progress WHERE partition = 0").await, 7);
    assert_eq!(test.number("SELECT first_offset FROM partition_progress WHERE partition = 1").await, 0);
    assert!(is_clean(&test).await);
}

/// The roles of the runbook under names of this test; without the right to make roles there is nothing to test.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_role_that_can_change_no_table_is_enough_to_run() {
    let Some(server) = empty_postgres() else { return };
    let name = server.config.schema.clone();
    let admin = connect(&settings(&server.config), "test").await.unwrap();
    let may = "SELECT rolsuper OR rolcreaterole FROM pg_roles WHERE rolname = current_user";
    if !admin.query_one(may, &[]).await.unwrap().get::<_, bool>(0) {
        println!("skipped: the role of TEST_DATABASE_URL may not create roles");
        return;
    }
    let (owner, runner) = (format!("{name}_owner"), format!("{name}_run"));
    let statements = sql("Least privilege").concat();
    let statements = statements
        .replace("drover_owner", &owner)
        .replace("drover_run", &runner)
        .replace("SCHEMA drover", &format!("SCHEMA {name}"));
    // Who is no superuser must be a member of a role to give it a schema.
    let member = format!("GRANT {owner}, {runner} TO current_user; CREATE SCHEMA");
    admin.batch_execute(&statements.replace("CREATE SCHEMA", &member)).await.unwrap();
    let as_role = |role: &str| {
        let mut url = url::Url::parse(&server.config.url).unwrap();
        url.set_username(role).unwrap();
        url.set_password(Some(if role == runner { "change me too" } else { "change me" })).unwrap();
        drover::store::open(&config(url.as_str(), &name)).unwrap()
    };
    let tried = tokio::spawn({
        let (owner, runner) = (as_role(&owner), as_role(&runner));
        async move {
            owner.migrate().await.unwrap();
            runner.check_schema().await.unwrap();
            runner.claim_identity("cluster", "group").await.unwrap();
            runner.register_topic(TOPIC, None, &BTreeMap::from([(0, 0)])).await.unwrap();
            let mut writer = runner.writer("writer-1");
            store(&mut writer, &rows(0, 0..10)).await;
            assert!(audit(&*runner, &[], &mut |_| {}).await.unwrap().clean);
            let beat = ReplicaBeat {
                replica_id: "r".into(),
                started_at_ms: 0,
                version: "1".into(),
                snapshot: serde_json::Value::Null,
            };
            runner.beat(&beat).await.unwrap();
            let outbox = runner.outbox().await.unwrap();
            assert!(outbox.unwrap().pending(10, &[]).await.unwrap().is_empty());
            assert!(runner.revert_migration().await.is_err(), "it may change no table");
            moves_positions_as_the_runbook_says(&*runner, &*owner).await;
        }
    })
    .await;
    for cleanup in
        [format!("DROP SCHEMA {name} CASCADE"), format!("DROP OWNED BY {owner}, {runner}; DROP ROLE {owner}, {runner}")]
    {
        admin.batch_execute(&cleanup).await.unwrap();
    }
    tried.unwrap();
}

/// Rewinding is the owner's; the other orders are not.
async fn moves_positions_as_the_runbook_says(runner: &dyn Store, owner: &dyn Store) {
    let entry = AuditEntry {
        actor: "a@test".into(),
        action: "test".into(),
        target: TOPIC.into(),
        outcome: "ok".into(),
        detail: None,
    };
    let of = |from, to| PositionMove { partition: 0, incarnation: 1, from, to };
    let skip = OffsetChange::Skip { topic: TOPIC.into(), of: of(10, 12) };
    runner.change_offsets(&skip, &entry).await.unwrap();
    let rewind = OffsetChange::Rewind { topic: TOPIC.into(), moves: vec![of(12, 11)] };
    let refused = runner.change_offsets(&rewind, &entry).await.unwrap_err();
    assert_eq!(refused.code.as_deref(), Some("42501"), "{refused}");
    assert!(refused.message.contains("offset_gaps"), "{refused}");
    // Nothing of it was done: the owner finds what was seen.
    owner.change_offsets(&rewind, &entry).await.unwrap();
    let seen = runner.identity().await.unwrap().unwrap();
    let claim =
        OffsetChange::Claim { seen, cluster_id: "another".into(), group: "group".into(), topic_ids: BTreeMap::new() };
    runner.change_offsets(&claim, &entry).await.unwrap();
    let restart = OffsetChange::Restart {
        topic: TOPIC.into(),
        topic_id: None,
        seen: Some(1),
        positions: BTreeMap::from([(0, 11)]),
        starts: BTreeMap::from([(0, 0), (1, 0)]),
    };
    runner.change_offsets(&restart, &entry).await.unwrap();
    let fewer = OffsetChange::Restart {
        topic: TOPIC.into(),
        topic_id: None,
        seen: Some(2),
        positions: BTreeMap::from([(0, 0), (1, 0)]),
        starts: BTreeMap::from([(0, 0)]),
    };
    let refused = runner.change_offsets(&fewer, &entry).await.unwrap_err();
    assert_eq!(refused.code.as_deref(), Some("42501"), "{refused}");
    owner.change_offsets(&fewer, &entry).await.unwrap();
}

on_both_stores!(true:
    rows_that_differ_are_given_up_from_the_position_on,
    old_rows_go_and_the_audit_knows_where_the_store_begins,
);
