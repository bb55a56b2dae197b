//! The audit log, on both stores.

use crate::support::stores::TestStore;
use drover::store::audit_log::{AuditEntry, MAX_ENTRIES};
use std::sync::Arc;

crate::on_both_stores! { true:
    what_was_done_is_listed_newest_first,
}

fn entry(action: &str, detail: Option<serde_json::Value>) -> AuditEntry {
    AuditEntry {
        actor: "größe@host".into(),
        action: action.into(),
        target: "user_events [0]".into(),
        outcome: "ok".into(),
        detail,
    }
}

async fn what_was_done_is_listed_newest_first(test: Arc<TestStore>) {
    assert!(test.store.audit_log(10).await.unwrap().is_empty());
    let one = entry("one", None);
    let two = entry("two", Some(serde_json::json!({ "from": 7, "why": "a \"test\"" })));
    let first = test.store.append_audit(&one).await.unwrap();
    let second = test.store.append_audit(&two).await.unwrap();
    assert!(second > first);
    let listed = test.of_another_process().audit_log(MAX_ENTRIES + 1).await.unwrap();
    assert_eq!(
        listed.iter().map(|logged| (logged.id, logged.entry.clone())).collect::<Vec<_>>(),
        [(second, two), (first, one)]
    );
    assert!(listed.iter().all(|logged| logged.at_ms > 1_600_000_000_000));
    assert_eq!(test.store.audit_log(1).await.unwrap().len(), 1);
}
