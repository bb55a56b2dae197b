//! Orders over HTTP: which requests are taken for orders, whose they are, and how a refusal is told.

use crate::support::server::{Running, client};
use drover::domain::command::{Command, CommandError, Done};
use drover::domain::status::ExitRecord;
use drover::http::Operator;
use drover::store::audit_log::{AuditEntry, LoggedEntry};
use futures::FutureExt as _;
use futures::future::BoxFuture;
use reqwest::Method;
use reqwest::blocking::{RequestBuilder, Response};
use serde_json::{Value, json};
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::sync::{Arc, Mutex};

const TOKEN: &str = "a-very-secret-token";
const RESTART: &str = "/api/v1/children/consumer-1/restart";

/// Writes down what it is told and knows one child.
#[derive(Default)]
struct Recorder(Mutex<Vec<(String, Command)>>);

impl Recorder {
    fn on(server: &Running) -> Arc<Self> {
        let recorder = Arc::new(Self::default());
        server.operator.set(recorder.clone());
        recorder
    }

    /// Whose orders it was given since the last look.
    fn actors(&self) -> Vec<String> {
        self.0.lock().unwrap().drain(..).map(|(actor, _)| actor).collect()
    }
}

impl Operator for Recorder {
    fn execute(&self, actor: String, command: Command) -> BoxFuture<'static, Result<Done, CommandError>> {
        let known = matches!(&command, Command::Restart { child } if child != "consumer-9");
        self.0.lock().unwrap().push((actor, command));
        let unknown = || CommandError::Unknown("there is no child \"consumer-9\"".into());
        async move { if known { Ok(Done::new("done")) } else { Err(unknown()) } }.boxed()
    }

    fn note(&self, _: AuditEntry) -> BoxFuture<'static, ()> {
        async {}.boxed()
    }

    fn exits(&self, _: String) -> BoxFuture<'static, Result<Vec<ExitRecord>, CommandError>> {
        async { Err(CommandError::NotNow("drover is ending".into())) }.boxed()
    }

    fn audit_log(&self, _: u32) -> BoxFuture<'static, Result<Vec<LoggedEntry>, CommandError>> {
        async { Err(CommandError::Unavailable("the store does not answer".into())) }.boxed()
    }
}

fn request(server: &Running, method: Method, path: &str) -> RequestBuilder {
    client().request(method, format!("http://{}{path}", server.addr))
}

fn post(server: &Running, path: &str) -> RequestBuilder {
    request(server, Method::POST, path)
}

/// The status and the sentence of a problem document.
fn problem(answer: Response) -> (u16, String) {
    assert_eq!(answer.headers()["content-type"], "application/problem+json");
    let status = answer.status().as_u16();
    let document: Value = answer.json().unwrap();
    assert_eq!(document["status"], status);
    (status, document["detail"].as_str().unwrap().to_owned())
}

#[test]
fn an_order_needs_a_json_body_or_a_header_that_no_foreign_page_can_send() {
    let server = Running::start(None);
    let recorder = Recorder::on(&server);
    let ours = format!("http://{}", server.addr);
    for taken in [
        post(&server, RESTART).header("x-drover-request", "1"),
        post(&server, RESTART).json(&json!({})),
        post(&server, RESTART).header("content-type", "application/json; charset=utf-8").body("{}"),
        post(&server, RESTART).json(&json!({})).header("origin", &ours),
    ] {
        let answer = taken.send().unwrap();
        assert_eq!(answer.status(), 200);
        assert_eq!(answer.json::<Value>().unwrap(), json!({"message": "done"}));
        assert_eq!(recorder.actors(), ["local"]);
    }
    // What a form, an image or a script of a foreign page can send without asking.
    for (refused, status) in [
        (post(&server, RESTART), 415),
        (post(&server, RESTART).body("{}"), 415),
        (post(&server, RESTART).header("content-type", "text/plain").body("{}"), 415),
        (post(&server, RESTART).header("content-type", "application/x-www-form-urlencoded").body("a=b"), 415),
        (post(&server, RESTART).header("content-type", "multipart/form-data; boundary=x").body("--x--"), 415),
        (post(&server, RESTART).header("x-drover-request", "1").body("a=b"), 415),
        (post(&server, RESTART).json(&json!({})).header("origin", "http://evil.example"), 403),
        (post(&server, RESTART).json(&json!({})).header("origin", "http://127.0.0.1:1"), 403),
        (post(&server, RESTART).json(&json!({})).header("origin", "null"), 403),
        (post(&server, RESTART).header("x-drover-request", "1").header("origin", "http://evil.example"), 403),
        (request(&server, Method::DELETE, RESTART), 415),
        (request(&server, Method::PUT, "/api/v1/nothing"), 415),
    ] {
        assert_eq!(problem(refused.send().unwrap()).0, status);
    }
    // Its question whether it may send more is not answered with a yes.
    let asked = request(&server, Method::OPTIONS, RESTART)
        .header("origin", "http://evil.example")
        .header("access-control-request-method", "POST")
        .header("access-control-request-headers", "content-type,x-drover-request");
    let answer = asked.send().unwrap();
    assert_eq!(answer.status(), 405);
    assert_eq!(answer.headers()["allow"], "POST");
    assert!(answer.headers().keys().all(|name| !name.as_str().starts_with("access-control-")));
    assert_eq!(request(&server, Method::GET, RESTART).send().unwrap().status(), 405, "a link orders nothing");
    assert!(recorder.actors().is_empty(), "nothing of that was ordered");
}

#[test]
fn an_order_to_a_name_that_was_made_to_resolve_here_is_refused() {
    let server = Running::start(None);
    let recorder = Recorder::on(&server);
    for host in ["rebind.example", "rebind.example:8080", ""] {
        let mut stream = TcpStream::connect(server.addr).unwrap();
        let order = format!(
            "POST {RESTART} HTTP/1.1\r\nHost: {host}\r\nOrigin: http://{host}\r\nContent-Type: application/json\r\n\
             Content-Length: 2\r\nConnection: close\r\n\r\n{{}}"
        );
        stream.write_all(order.as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        assert!(answer.starts_with("HTTP/1.1 421 "), "{host:?}: {answer}");
    }
    assert!(recorder.actors().is_empty());
}

#[test]
fn with_a_token_only_its_holder_orders_from_wherever() {
    let server = Running::start(Some(TOKEN));
    let recorder = Recorder::on(&server);
    for without in [post(&server, RESTART).json(&json!({})), post(&server, RESTART).bearer_auth("a-very-secret-toke")] {
        assert_eq!(problem(without.send().unwrap()).0, 401);
    }
    assert!(recorder.actors().is_empty());
    let with = post(&server, RESTART).bearer_auth(TOKEN).json(&json!({})).header("origin", "https://ops.example");
    assert_eq!(with.send().unwrap().status(), 200);
    assert_eq!(recorder.actors(), ["token"]);
    let with = post(&server, RESTART).bearer_auth(TOKEN).header("content-type", "text/plain").body("{}");
    assert_eq!(problem(with.send().unwrap()).0, 415);
}

#[test]
fn an_order_carries_the_name_that_its_sender_gives() {
    let server = Running::start(None);
    let recorder = Recorder::on(&server);
    let named = |name: &str| post(&server, RESTART).json(&json!({})).header("x-drover-actor", name).send().unwrap();
    assert_eq!(named("alice@laptop").status(), 200);
    assert_eq!(recorder.actors(), ["alice@laptop (local)"]);
    for name in [String::new(), "x".repeat(129), "al\u{ef}ce".into()] {
        let (status, detail) = problem(named(&name));
        assert_eq!(status, 400);
        assert!(detail.contains("X-Drover-Actor"), "{detail}");
    }
    assert!(recorder.actors().is_empty());
}

#[test]
fn a_body_that_is_too_large_broken_or_says_more_than_is_known_is_refused() {
    let server = Running::start(None);
    let recorder = Recorder::on(&server);
    let body = |body: String| {
        problem(post(&server, RESTART).header("content-type", "application/json").body(body).send().unwrap())
    };
    let (status, detail) = body(json!({"in_secnods": 3}).to_string());
    assert_eq!(status, 400);
    assert!(detail.contains("in_secnods"), "{detail}");
    assert_eq!(body("{".into()).0, 400);
    assert_eq!(body("[]".into()).0, 400);
    let (status, detail) = body(format!("{{\"reason\": \"{}\"}}", "x".repeat(20_000)));
    assert_eq!(status, 413);
    assert!(detail.contains("16384"), "{detail}");
    assert!(recorder.actors().is_empty());
}

#[test]
fn each_kind_of_refusal_has_its_status_and_a_start_that_waits_takes_no_orders() {
    let server = Running::start(None);
    let (status, detail) = problem(post(&server, RESTART).json(&json!({})).send().unwrap());
    assert_eq!(status, 503);
    assert!(detail.contains("still starting"), "{detail}");
    let recorder = Recorder::on(&server);
    let unknown = post(&server, "/api/v1/children/consumer-9/restart").json(&json!({})).send().unwrap();
    assert_eq!(problem(unknown), (404, "there is no child \"consumer-9\"".into()));
    assert_eq!(recorder.actors(), ["local"]);
    assert_eq!(problem(server.get("/api/v1/children/consumer-1/exits")), (409, "drover is ending".into()));
    assert_eq!(problem(server.get("/api/v1/audit-log")), (503, "the store does not answer".into()));
    for (query, named) in [("limit=0", "1 to 1000"), ("limit=x", "invalid"), ("limi=3", "limi")] {
        let (status, detail) = problem(server.get(&format!("/api/v1/audit-log?{query}")));
        assert_eq!(status, 400);
        assert!(detail.contains(named), "{detail}");
    }
    assert_eq!(server.get("/api/v1/children").json::<Value>().unwrap(), json!({"children": []}));
}
