//! The HTTP server on a real socket: health, status, metrics, the page, and who is let in.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on should panic")]

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Command, Stdio};
use std::sync::Arc;

use crate::support::server::{Running, client};
use drover::board::{Board, Identity};
use drover::config::HttpConfig;
use drover::domain::mask::Mask;
use drover::domain::status::{
    BreakerStatus, ChildKind, ChildState, ChildStatus, ConsumerStatus, ExitReason, ExitRecord, PartitionStatus,
    PartitionStop,
};
use drover::http::{HttpState, serve};
use drover::metrics::Metrics;
use serde_json::{Value, json};

const TOKEN: &str = "a-very-secret-token";

/// Everything in order: one consumer with one partition, one writer.
fn turn_green(server: &Running) {
    server.board.set_store_ok(true);
    server.board.set_children(vec![
        child("consumer-1", ChildKind::Consumer, ChildState::Running),
        child("writer-1", ChildKind::DbWriter, ChildState::Running),
    ]);
    server.board.set_consumer(consumer(None));
}

fn child(id: &str, kind: ChildKind, state: ChildState) -> ChildStatus {
    ChildStatus {
        id: id.into(),
        kind,
        state,
        since_ms: 1,
        generation: 1,
        restarts: 0,
        budget_left: 10,
        next_start_ms: None,
        last_exit: None,
    }
}

fn consumer(stopped: Option<PartitionStop>) -> ConsumerStatus {
    ConsumerStatus {
        id: "consumer-1".into(),
        stored: 41,
        dead_letters: 1,
        duplicates: 2,
        held: None,
        partitions: vec![PartitionStatus {
            topic: "user_events".into(),
            partition: 0,
            next_offset: 42,
            read_offset: None,
            end_offset: Some(50),
            lag: Some(8),
            newest_timestamp_ms: None,
            stopped,
            held: None,
        }],
    }
}

/// What the server answers to these exact bytes.
fn raw(addr: SocketAddr, request: &str) -> String {
    let mut stream = TcpStream::connect(addr).unwrap();
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

#[test]
fn readiness_is_red_with_reasons_turns_green_and_turns_red_again() {
    let server = Running::start(None);
    let answer = server.get("/health/ready");
    assert_eq!(answer.status(), 503);
    let body: Value = answer.json().unwrap();
    assert_eq!(
        body,
        json!({"status": "not_ready", "reasons": ["no consumer has been started yet", "the store has not answered yet"]})
    );

    turn_green(&server);
    let answer = server.get("/health/ready");
    assert_eq!(answer.status(), 200);
    assert_eq!(answer.json::<Value>().unwrap(), json!({"status": "ready", "reasons": []}));

    let breaker = BreakerStatus { open: true, cause: Some("connection refused".into()), ..Default::default() };
    server.board.set_breaker(breaker);
    let stop = PartitionStop { code: "topic.recreated".into(), message: "it is another topic".into(), since_ms: 1 };
    server.board.set_consumer(consumer(Some(stop)));
    let answer = server.get("/health/ready");
    assert_eq!(answer.status(), 503);
    assert_eq!(
        answer.json::<Value>().unwrap()["reasons"],
        json!([
            "the breaker in front of the store is open: connection refused",
            "partition user_events/0 is stopped with topic.recreated: it is another topic"
        ])
    );
    assert_eq!(server.get("/health/live").status(), 200, "an outage is no reason to kill the process");
}

#[test]
fn the_status_shows_the_supervision_tree_and_every_owned_partition() {
    let server = Running::start(None);
    turn_green(&server);
    let mut failed = child("consumer-2", ChildKind::Consumer, ChildState::Failed);
    failed.restarts = 10;
    failed.last_exit = Some(ExitRecord {
        reason: ExitReason::Panicked,
        message: "out of range".into(),
        location: Some("src/x.rs:7".into()),
        at_ms: 5,
        generation: 10,
    });
    server.board.set_children(vec![child("consumer-1", ChildKind::Consumer, ChildState::Running), failed]);

    let answer = server.get("/api/v1/status");
    assert_eq!(answer.headers()["content-type"], "application/json");
    assert_eq!(answer.headers()["cache-control"], "no-store");
    let status: Value = answer.json().unwrap();
    assert_eq!(status["version"], env!("CARGO_PKG_VERSION"));
    assert_eq!(status["replica_id"], "replica-a");
    assert_eq!(status["group"], "dashboard_consumer_group");
    assert_eq!(status["topics"], json!(["user_events"]));
    assert_eq!(status["store"], "postgres");
    assert!(status["uptime_ms"].is_u64());
    assert_eq!(status["readiness"]["ready"], false);
    assert_eq!(status["breaker"]["open"], false);
    assert_eq!(status["children"][1]["state"], "failed");
    assert_eq!(status["children"][1]["last_exit"]["location"], "src/x.rs:7");
    let consumers = status["consumers"].as_array().unwrap();
    assert_eq!(consumers.len(), 2, "a consumer that has not said anything yet is shown too");
    assert_eq!(consumers[0]["state"], "running");
    assert_eq!(consumers[0]["stored"], 41);
    assert_eq!(consumers[0]["lag"], 8);
    assert_eq!(consumers[0]["partitions"][0]["next_offset"], 42);
    assert_eq!(consumers[1]["state"], "failed");
    assert_eq!(consumers[1]["restarts"], 10);
}

#[test]
fn promtool_accepts_the_metrics() {
    let server = Running::start(None);
    let metrics = &server.metrics;
    metrics.init_consumer("consumer-1", &["user_events".into()]);
    metrics.set_consumer_state("consumer-1", "running");
    metrics.set_partition_stopped("user_events", 0, "position.lost");
    metrics.store_batch_rows.observe(10.0);
    metrics.store_transaction_duration_seconds.with_label_values(&["stored"]).observe(0.01);
    server.get("/api/v1/nothing");
    let answer = server.get("/metrics");
    assert_eq!(answer.headers()["content-type"], "text/plain; version=0.0.4; charset=utf-8");
    let text = answer.text().unwrap();
    for part in [
        "process_cpu_seconds_total ",
        concat!("drover_build_info{version=\"", env!("CARGO_PKG_VERSION"), "\"} 1"),
        r#"drover_http_requests_total{route="unmatched",status="404"} 1"#,
        r#"drover_messages_processed_total{consumer_id="consumer-1",outcome="stored",topic="user_events"} 0"#,
    ] {
        assert!(text.contains(part), "{part} is not in\n{text}");
    }

    let promtool =
        Command::new("promtool").args(["check", "metrics"]).stdin(Stdio::piped()).stderr(Stdio::piped()).spawn();
    let Ok(mut promtool) = promtool else {
        return; // Prometheus is not installed here; scripts/test installs it.
    };
    promtool.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
    let verdict = promtool.wait_with_output().unwrap();
    assert!(verdict.status.success(), "{}", String::from_utf8_lossy(&verdict.stderr));
}

#[test]
fn a_foreign_host_name_is_refused_without_a_token_and_addresses_are_not() {
    let server = Running::start(None);
    let get = |host: &str| raw(server.addr, &format!("GET /api/v1/status HTTP/1.1\r\n{host}Connection: close\r\n\r\n"));
    for host in
        ["Host: rebind.example\r\n", "Host: localhost.rebind.example\r\n", "Host: 127.0.0.1.rebind.example:80\r\n"]
    {
        let answer = get(host);
        assert!(answer.starts_with("HTTP/1.1 421 "), "{host:?}: {answer}");
        assert!(answer.contains("application/problem+json"), "{answer}");
        assert!(!answer.contains("replica-a"), "{answer}");
    }
    for host in ["Host: localhost:8080\r\n", "Host: 127.0.0.1\r\n", "Host: [::1]:8080\r\n"] {
        let answer = get(host);
        assert!(answer.starts_with("HTTP/1.1 200 "), "{host:?}: {answer}");
    }
}

#[test]
fn a_configured_token_is_needed_for_everything_but_health_and_the_page() {
    let server = Running::start(Some(TOKEN));
    turn_green(&server);
    for path in ["/metrics", "/api/v1/status", "/api/v1/children", "/%61pi/v1/status", "/api/v1/audit-log"] {
        let answer = server.get(path);
        assert_eq!(answer.status(), 401, "{path}");
        assert_eq!(answer.headers()["www-authenticate"], "Bearer realm=\"drover\"");
        let problem: Value = answer.json().unwrap();
        assert_eq!(problem["status"], 401);
        assert!(!problem.to_string().contains(TOKEN));
    }
    // The page holds no data, and asks for the token.
    for path in ["/health/live", "/health/ready", "/", "/consumers", "/api/v1/session"] {
        assert_eq!(server.get(path).status(), 200, "{path}");
    }
    let ask = |path: &str, token: &str| {
        let url = format!("http://{}{path}", server.addr);
        client().get(url).bearer_auth(token).header("host", "drover.example").send().unwrap()
    };
    assert_eq!(ask("/metrics", "a-very-secret-toke").status(), 401);
    assert_eq!(ask("/metrics?token=a-very-secret-token", "").status(), 401, "a token in a URL ends up in logs");
    for path in ["/", "/metrics", "/api/v1/status"] {
        let answer = ask(path, TOKEN);
        assert_eq!(answer.status(), 200, "{path}");
        assert!(!answer.text().unwrap().contains(TOKEN), "{path}");
    }
}

#[test]
fn the_page_comes_with_a_policy_that_allows_no_foreign_and_no_inline_script() {
    let server = Running::start(None);
    let answer = server.get("/");
    assert_eq!(answer.status(), 200);
    let headers = answer.headers().clone();
    let policy = headers["content-security-policy"].to_str().unwrap();
    assert_eq!(
        policy,
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; font-src 'self'; \
         connect-src 'self'; base-uri 'self'; form-action 'self'; frame-ancestors 'none'"
    );
    assert_eq!(headers["x-content-type-options"], "nosniff");
    let page = answer.text().unwrap();
    assert!(!page.contains("style=") && !page.contains("<style") && !page.contains(" onclick"), "{page}");
    for script in page.split("<script").skip(1) {
        let (tag, text) = script.split_once('>').unwrap();
        assert!(tag.contains("src=\"./assets/") && text.starts_with("</script>"), "{script}");
    }
    assert!(page.contains("<base href=\"/\">") && headers["cache-control"] == "no-cache", "{page}");
    let known = client().get(format!("http://{}/", server.addr)).header("if-none-match", &headers["etag"]);
    assert_eq!(known.send().unwrap().status(), 304);
    let links: Vec<&str> = page.split('"').filter_map(|part| part.strip_prefix("./assets/")).collect();
    assert!(
        links.iter().any(|link| link.ends_with(".js")) && links.iter().any(|link| link.ends_with(".css")),
        "{page}"
    );
    for link in links {
        let answer = client().get(format!("http://{}/assets/{link}", server.addr)).header("accept-encoding", "gzip");
        let answer = answer.send().unwrap();
        assert_eq!(answer.status(), 200, "{link} is linked from the page");
        assert_eq!(answer.headers()["cache-control"], "public, max-age=31536000, immutable", "{link}");
        assert_eq!(answer.headers()["x-content-type-options"], "nosniff", "{link}");
        if link.ends_with(".js") {
            assert_eq!(answer.headers()["content-type"], "text/javascript; charset=utf-8");
            assert_eq!(answer.headers()["content-encoding"], "gzip");
        }
    }
}

#[test]
fn what_is_not_there_and_what_cannot_be_done_are_problem_documents() {
    let server = Running::start(None);
    let answer = server.get("/api/v1/nothing");
    assert_eq!(answer.headers()["content-type"], "application/problem+json");
    assert_eq!(answer.headers()["x-content-type-options"], "nosniff");
    let problem: Value = answer.json().unwrap();
    assert_eq!(
        problem,
        json!({
            "type": "about:blank", "title": "Not Found", "status": 404, "code": "not_found",
            "detail": "there is nothing at /api/v1/nothing"
        })
    );
    assert_eq!(server.get("/assets/secret").status(), 404);

    let answer =
        client().post(format!("http://{}/api/v1/status", server.addr)).header("x-drover-request", "1").send().unwrap();
    assert_eq!(answer.status(), 405);
    assert_eq!(answer.headers()["allow"], "GET, HEAD");
    assert_eq!(answer.json::<Value>().unwrap()["title"], "Method Not Allowed");
    let answer = client().head(format!("http://{}/metrics", server.addr)).send().unwrap();
    assert_eq!(answer.status(), 200);
}

#[test]
fn an_address_that_is_taken_is_named_with_what_to_do() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = taken.local_addr().unwrap();
    let config = HttpConfig { addr, token: Some(TOKEN.into()), ..HttpConfig::default() };
    let state = HttpState::new(
        Arc::new(Board::new(Identity::default(), 0)),
        Metrics::new().unwrap(),
        config,
        Mask::default(),
        Arc::default(),
    );
    let error = actix::System::new().block_on(async { serve(state).err() }).unwrap().to_string();
    assert!(error.starts_with(&format!("cannot listen on http.addr = {addr}: ")), "{error}");
    assert!(error.contains("another program") && error.contains("--http-addr"), "{error}");
    assert!(!error.contains(TOKEN), "{error}");
}
