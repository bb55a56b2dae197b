//! The schema of a store: made, taken back, made again, by several at once, and refused when it is another one.

use crate::support::stores::TestStore;
use drover::domain::failure::FailureClass;
use std::collections::BTreeMap;
use std::sync::Arc;

crate::on_both_stores! { false:
    migrations_go_up_and_down_and_up_again,
    of_processes_that_migrate_at_once_one_does_the_work,
    a_schema_that_is_newer_is_refused,
    a_schema_that_is_missing_is_refused_and_the_message_says_what_to_do,
}

async fn migrations_go_up_and_down_and_up_again(test: Arc<TestStore>) {
    let applied = test.store.migrate().await.unwrap();
    assert!(!applied.is_empty());
    assert!(test.store.migrate().await.unwrap().is_empty(), "nothing is left to do");
    test.store.check_schema().await.unwrap();
    let listed = test.store.migrations().await.unwrap();
    assert!(listed.iter().all(|migration| migration.applied));
    assert_eq!(listed.iter().map(|migration| migration.name.clone()).collect::<Vec<_>>(), applied);

    let mut reverted = Vec::new();
    while let Some(name) = test.store.revert_migration().await.unwrap() {
        reverted.push(name);
    }
    reverted.reverse();
    assert_eq!(reverted, applied);
    assert!(test.store.migrations().await.unwrap().iter().all(|migration| !migration.applied));
    assert_eq!(test.store.migrate().await.unwrap(), applied);
    test.store.register_topic("t", None, &BTreeMap::from([(0, 0)])).await.unwrap();
}

async fn of_processes_that_migrate_at_once_one_does_the_work(test: Arc<TestStore>) {
    let stores: Vec<_> = (0..5).map(|_| test.of_another_process()).collect();
    let applied = futures::future::join_all(stores.iter().map(|store| store.migrate())).await;
    let applied: Vec<Vec<String>> = applied.into_iter().map(Result::unwrap).collect();
    assert_eq!(applied.iter().filter(|names| !names.is_empty()).count(), 1, "{applied:?}");
    test.store.check_schema().await.unwrap();
}

async fn a_schema_that_is_newer_is_refused(test: Arc<TestStore>) {
    test.store.migrate().await.unwrap();
    test.execute(
        "INSERT INTO __diesel_schema_migrations (version, run_on) VALUES ('99991231000000', CURRENT_TIMESTAMP)",
    )
    .await;
    let errors = [
        test.store.migrate().await.unwrap_err(),
        test.store.check_schema().await.unwrap_err(),
        test.store.revert_migration().await.unwrap_err(),
    ];
    for error in errors {
        assert_eq!(error.class, FailureClass::Configuration);
        assert!(error.message.contains("newer") && error.message.contains("99991231000000"), "{error}");
    }
}

async fn a_schema_that_is_missing_is_refused_and_the_message_says_what_to_do(test: Arc<TestStore>) {
    let error = test.store.check_schema().await.unwrap_err();
    assert_eq!(error.class, FailureClass::Configuration);
    assert!(error.message.contains("drover migrate"), "{error}");
    let error = test.store.register_topic("t", None, &BTreeMap::new()).await.unwrap_err();
    assert_eq!(error.class, FailureClass::Configuration, "{error}");
}
