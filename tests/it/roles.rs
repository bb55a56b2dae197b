//! Who may see and who may order: the real binary with tokens, sessions, and without orders.

use crate::support::instance::Instance;
use crate::support::sse::Stream;
use crate::support::wait::{PATIENCE, until};
use reqwest::{Client, Method, RequestBuilder, Response};
use serde_json::{Value, json};

const TOKENS: [(&str, &str); 2] = [("DROVER_HTTP_TOKEN", "the-operator"), ("DROVER_HTTP_VIEWER_TOKEN", "the-viewer")];

/// Everything that changes something, but for the session itself.
const ORDERS: [&str; 9] = [
    "/api/v1/children/writer-1/restart",
    "/api/v1/consumers/consumer-1/pause",
    "/api/v1/consumers/consumer-1/resume",
    "/api/v1/partitions/user_events/0/pause",
    "/api/v1/partitions/user_events/0/resume",
    "/api/v1/partitions/user_events/0/quarantine",
    "/api/v1/partitions/user_events/0/release",
    "/api/v1/scale",
    "/api/v1/drills",
];

fn request(instance: &Instance, method: Method, path: &str) -> RequestBuilder {
    Client::builder().no_proxy().build().unwrap().request(method, format!("{}{path}", instance.url))
}

fn get(instance: &Instance, path: &str) -> RequestBuilder {
    request(instance, Method::GET, path)
}

fn post(instance: &Instance, path: &str) -> RequestBuilder {
    request(instance, Method::POST, path).json(&json!({}))
}

/// The code of a problem document, with the status.
async fn problem(answer: Response) -> (u16, String) {
    let status = answer.status().as_u16();
    let document: Value = answer.json().await.unwrap();
    (status, document["code"].as_str().unwrap().to_owned())
}

async fn log_in(instance: &Instance, token: &str) -> Response {
    request(instance, Method::POST, "/api/v1/session").json(&json!({ "token": token })).send().await.unwrap()
}

/// The cookie that a login gave, as the browser sends it back.
fn cookie(answer: &Response) -> String {
    assert_eq!(answer.status(), 204);
    answer.headers()["set-cookie"].to_str().unwrap().split(';').next().unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_viewer_sees_everything_and_orders_nothing() {
    let instance = Instance::start(&TOKENS).await;
    for path in ["/api/v1/snapshot", "/api/v1/status", "/api/v1/history", "/api/v1/stream", "/metrics"] {
        let answer = get(&instance, path).send().await.unwrap();
        assert_eq!(problem(answer).await, (401, "unauthorized".into()), "{path}");
        for token in ["the-viewer", "the-operator"] {
            assert_eq!(get(&instance, path).bearer_auth(token).send().await.unwrap().status(), 200, "{path}");
        }
    }
    for path in ORDERS {
        let answer = post(&instance, path).send().await.unwrap();
        assert_eq!(problem(answer).await, (401, "unauthorized".into()), "{path}");
        let answer = post(&instance, path).bearer_auth("the-viewer").send().await.unwrap();
        assert_eq!(problem(answer).await, (403, "forbidden".into()), "{path}");
    }
    let answer = post(&instance, ORDERS[0]).bearer_auth("the-operator").send().await.unwrap();
    assert_eq!(answer.status(), 200);
    assert!(!instance.drover.log().contains("the-operator") && !instance.drover.log().contains("the-viewer"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_is_changed_into_a_session_that_ends_when_it_is_told_to_and_its_stream_with_it() {
    let instance = Instance::start(&TOKENS).await;
    let session = async |cookie: &str| -> Value {
        let answer = get(&instance, "/api/v1/session").header("cookie", cookie).send().await.unwrap();
        answer.json().await.unwrap()
    };
    let nobody = session("").await;
    assert_eq!(
        (&nobody["role"], &nobody["login_required"], &nobody["actions"]),
        (&Value::Null, &json!(true), &json!(false))
    );
    assert_eq!(
        (&nobody["read_only"], &nobody["base_path"], &nobody["drills"]),
        (&json!(false), &json!(""), &json!(false))
    );
    assert_eq!(problem(log_in(&instance, "the-operato").await).await, (401, "unauthorized".into()));
    assert_eq!(problem(log_in(&instance, "").await).await.0, 401);

    let answer = log_in(&instance, "the-viewer").await;
    let set = answer.headers()["set-cookie"].to_str().unwrap().to_owned();
    assert!(set.contains("; HttpOnly; SameSite=Strict") && set.contains("; Path=/;"), "{set}");
    assert!(!set.contains("the-viewer"), "{set}");
    let viewer = cookie(&answer);
    assert_eq!(session(&viewer).await["role"], "viewer");
    let order = |cookie: &str, path: &str| post(&instance, path).header("cookie", cookie);
    assert_eq!(problem(order(&viewer, ORDERS[0]).send().await.unwrap()).await, (403, "forbidden".into()));

    let operator = cookie(&log_in(&instance, "the-operator").await);
    let view = session(&operator).await;
    assert_eq!((&view["role"], &view["actions"]), (&json!("operator"), &json!(true)));
    let taken = order(&operator, ORDERS[0]).header("sec-fetch-site", "same-origin").send().await.unwrap();
    assert_eq!(taken.status(), 200);
    // The browser sends the cookie along with what a page of another port makes it send.
    for (name, value) in [
        ("sec-fetch-site", "same-site"),
        ("sec-fetch-site", "cross-site"),
        ("origin", "http://127.0.0.1:1"),
        ("origin", "null"),
    ] {
        let answer = order(&operator, ORDERS[0]).header(name, value).send().await.unwrap();
        assert_eq!(problem(answer).await, (403, "forbidden".into()), "{name}: {value}");
    }
    let logins = request(&instance, Method::POST, "/api/v1/session").json(&json!({"token": "the-viewer"}));
    assert_eq!(logins.header("sec-fetch-site", "cross-site").send().await.unwrap().status(), 403);

    let mut stream = Stream::open(&instance.url, "/api/v1/stream", &[("Cookie", &operator)]).await;
    assert_eq!(stream.status(), 200);
    let out = request(&instance, Method::DELETE, "/api/v1/session").header("cookie", &operator);
    let out = out.header("x-drover-request", "1").send().await.unwrap();
    assert_eq!(out.status(), 204);
    assert!(out.headers()["set-cookie"].to_str().unwrap().contains("; Max-Age=0;"));
    let ended = async { while stream.next().await.is_some() {} };
    tokio::time::timeout(PATIENCE, ended).await.expect("the stream ends with its session");
    assert_eq!(session(&operator).await["role"], Value::Null);
    assert_eq!(order(&operator, ORDERS[0]).send().await.unwrap().status(), 401);
    assert_eq!(session(&viewer).await["role"], "viewer", "the other session goes on");
    until("logins and logout in the log", async || {
        let log = get(&instance, "/api/v1/audit-log").bearer_auth("the-viewer").send().await.unwrap();
        let log: Value = log.json().await.unwrap();
        let count =
            |action: &str| log["entries"].as_array().unwrap().iter().filter(|entry| entry["action"] == action).count();
        (count("login"), count("logout"), count("restart")) == (2, 1, 1)
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_takes_no_orders_refuses_them_from_everybody() {
    let instance = Instance::start(&[("DROVER_HTTP_READ_ONLY", "true")]).await;
    for path in ORDERS {
        let answer = post(&instance, path).send().await.unwrap();
        assert_eq!(problem(answer).await, (403, "forbidden".into()), "{path}");
    }
    let session: Value = get(&instance, "/api/v1/session").send().await.unwrap().json().await.unwrap();
    assert_eq!(
        (&session["role"], &session["read_only"], &session["actions"], &session["login_required"]),
        (&json!("viewer"), &json!(true), &json!(false), &json!(false))
    );
    drop(instance);
    let instance = Instance::start(&[TOKENS[0], ("DROVER_HTTP_READ_ONLY", "true")]).await;
    let answer = post(&instance, ORDERS[0]).bearer_auth("the-operator").send().await.unwrap();
    assert_eq!(problem(answer).await, (403, "forbidden".into()));
    assert_eq!(get(&instance, "/api/v1/status").bearer_auth("the-operator").send().await.unwrap().status(), 200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_orders_too_much_is_told_to_wait_and_still_sees() {
    let instance = Instance::start(&[]).await;
    let mut answers = Vec::new();
    for _ in 0..150 {
        answers.push(post(&instance, "/api/v1/children/nobody/restart").send().await.unwrap());
        if answers.last().unwrap().status() == 429 {
            break;
        }
    }
    let last = answers.pop().unwrap();
    assert!(answers.len() >= 100, "{}", answers.len());
    assert_eq!(last.headers()["retry-after"], "1");
    assert_eq!(problem(last).await, (429, "rate_limited".into()));
    assert_eq!(get(&instance, "/api/v1/status").send().await.unwrap().status(), 200);
    until("the next order to be taken", async || {
        post(&instance, "/api/v1/children/nobody/restart").send().await.unwrap().status() == 404
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn below_a_base_path_everything_is_there_whether_the_proxy_takes_it_off_or_not() {
    let instance = Instance::start(&[TOKENS[0], ("DROVER_HTTP_BASE_PATH", "/ops/drover/")]).await;
    for path in ["/ops/drover", "/ops/drover/", "/ops/drover/consumers", "/", "/consumers"] {
        let page = get(&instance, path).send().await.unwrap();
        assert_eq!(page.status(), 200, "{path}");
        let text = page.text().await.unwrap();
        assert!(text.contains("<base href=\"/ops/drover/\">"), "{path}: {text}");
    }
    for path in ["/ops/drover/api/v1/status", "/api/v1/status", "/ops/drover/metrics"] {
        assert_eq!(get(&instance, path).send().await.unwrap().status(), 401, "{path}");
        assert_eq!(get(&instance, path).bearer_auth("the-operator").send().await.unwrap().status(), 200, "{path}");
    }
    for path in ["/ops/drover/api/v1/nothing", "/ops/drover/nothing.js", "/ops/drover/assets/none", "/other/x.js"] {
        assert_eq!(get(&instance, path).send().await.unwrap().status(), 404, "{path}");
    }
    let login = request(&instance, Method::POST, "/ops/drover/api/v1/session").json(&json!({"token": "the-operator"}));
    let set = login.send().await.unwrap().headers()["set-cookie"].to_str().unwrap().to_owned();
    assert!(set.contains("; Path=/ops/drover;"), "{set}");
    let metrics = get(&instance, "/metrics").bearer_auth("the-operator").send().await.unwrap().text().await.unwrap();
    assert!(metrics.contains("route=\"/api/v1/status\",status=\"401\"} 2"), "{metrics}");
}
