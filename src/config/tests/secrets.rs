//! Secrets never leave the configuration.

use super::*;

/// A word that is in nothing else.
const SECRET: &str = "hunter2xyz";

#[test]
fn secrets_appear_neither_in_debug_nor_in_settings_nor_in_problems() {
    let url = format!("postgres://user:{SECRET}@db/events?sslpassword={SECRET}");
    let text = format!(
        "[http]\ntoken = '{SECRET}'\n[kafka.consumer]\nsasl.password = '{SECRET}'\nssl.key.pem = '{SECRET}'\n\
         sasl.oauthbearer.config = '{SECRET}'\nclient.rack = 'seen'\n\
         [kafka.producer]\nssl.key.password = '{SECRET}'\nsasl.oauthbearer.client.secret = '{SECRET}'\n"
    );
    let environment = [("DATABASE_URL", url.as_str()), ("DROVER_KAFKA_PRODUCER_SASL_PASSWORD", SECRET)];
    let given = Given { file: &text, environment: &environment, flags: &[] };
    let resolution = given.resolve();
    let config = resolution.outcome.as_ref().unwrap();
    assert_eq!(config.http.token.as_deref(), Some(SECRET));
    assert_eq!(config.kafka.consumer["sasl.password"], SECRET);
    assert_eq!(config.store.url, url);
    let shown = format!("{resolution:?} {config:#?} {}", serde_json::to_string(&resolution.settings).unwrap());
    assert!(!shown.contains(SECRET), "{shown}");
    assert!(shown.contains("seen") && shown.contains("postgres://user:***@db/events?sslpassword=***"), "{shown}");
}

#[test]
fn problems_do_not_repeat_secrets() {
    for text in [
        format!("http.token = '{SECRET} '"),
        format!("http.token = ['{SECRET}']"),
        format!("http.tokn = '{SECRET}'"),
        format!("http.token = '{SECRET}"),
        format!("http.token = {SECRET}"),
        format!("kafka.consumer.sasl.password = ['{SECRET}']"),
        format!("store.url = 'host=db password={SECRET}'"),
        format!("store.url = ['postgres://user:{SECRET}@db/events']"),
        format!("store.url = 'mysql://user:{SECRET}@db'"),
        format!("store.url = '{SECRET}'"),
    ] {
        let error = file(&text).resolve().outcome.unwrap_err();
        assert!(!format!("{error} {error:?}").contains(SECRET), "{error}");
    }
    let error = environment(&[("DROVER_HTTP_TOKN", SECRET)]).resolve().outcome.unwrap_err();
    assert!(!format!("{error} {error:?}").contains(SECRET), "{error}");
}

#[test]
fn a_password_is_hidden_wherever_it_stands_in_a_url() {
    for (url, shown) in [
        ("postgres://u:p@h/db", "postgres://u:***@h/db"),
        ("postgres://u:p@q/r@h:5432/db", "postgres://u:***@h:5432/db"),
        ("postgres://u:p?q@h/db", "postgres://***"),
        (
            "postgres://u@h1,h2:5433/db?target_session_attrs=read-write",
            "postgres://u@h1,h2:5433/db?target_session_attrs=read-write",
        ),
        ("postgres://h/db?user=u&password=p", "postgres://h/db?user=u&password=***"),
        ("postgres://h:5432/db", "postgres://h:5432/db"),
        ("sqlite:drover.db", "sqlite:drover.db"),
        ("password=p", "***"),
        ("", ""),
    ] {
        assert_eq!(hide_password(url), shown);
    }
}
