//! A request that changes something: whether a foreign page could have made it, who sent it, and its body.
//!
//! Without a token the server trusts whoever reaches its address, so a page in a browser on this machine must not be able to
//! order anything. A browser lets a foreign page send a form or an image, never `application/json` nor a header of our own
//! without asking first (and nobody answers such a question here); and it tells the page's origin. Bound:
//! [`BODY_BYTES`]. Refuses, never fails.

use std::time::Duration;

use actix_web::dev::ServiceRequest;
use actix_web::http::{Method, StatusCode, header};
use actix_web::{HttpRequest, web};
use serde::de::DeserializeOwned;

use super::auth::{Caller, Entrance, Role};
use super::error::Problem;
use crate::config::HttpConfig;

/// Largest body of an order: names, numbers and one sentence of a reason.
pub(super) const BODY_BYTES: usize = 16 << 10;
/// How long a body may take to arrive.
const BODY_TIMEOUT: Duration = Duration::from_secs(10);
/// Says of a browser's request where the page that made it came from; no script can set it.
const FETCH_SITE: &str = "sec-fetch-site";
/// Says that a request without a body was meant; a foreign page cannot send it.
pub const REQUEST_HEADER: &str = "x-drover-request";
/// Who sends an order, such as `user@host`; for the audit log. It proves nothing.
pub const ACTOR_HEADER: &str = "x-drover-actor";
/// Longest name of a sender.
pub(super) const ACTOR_CHARACTERS: usize = 128;

/// Whether a request changes something.
pub(super) fn is_order(request: &ServiceRequest) -> bool {
    !matches!(*request.method(), Method::GET | Method::HEAD | Method::OPTIONS)
}

/// Why a request that changes something is refused, if it is. Host and token were looked at before.
pub(super) fn refusal(request: &ServiceRequest) -> Option<Problem> {
    if !is_order(request) {
        return None;
    }
    let text = |value: &header::HeaderValue| value.to_str().unwrap_or_default().to_owned();
    let header = |name: &header::HeaderName| request.headers().get(name).map(text);
    // A foreign page has no token, whatever its origin; a cookie it may have the browser send.
    let with_token = Caller::of(request.request()).is_some_and(|caller| caller.entrance == Entrance::Token);
    let foreign = match (request.headers().get(FETCH_SITE).map(text), header(&header::ORIGIN)) {
        _ if with_token => None,
        (Some(site), _) if site == "same-origin" || site == "none" => None,
        (Some(site), origin) => Some(origin.unwrap_or(site)),
        (None, Some(origin)) => {
            (!origin_is_host(&origin, &header(&header::HOST).unwrap_or_default())).then_some(origin)
        }
        (None, None) => None,
    };
    if let Some(foreign) = foreign {
        let detail = format!("an order of the page {foreign:?} is not taken: it does not come from this server");
        return Some(Problem::new(StatusCode::FORBIDDEN, detail));
    }
    // No route takes another method: it will be told so.
    if !matches!(*request.method(), Method::POST | Method::PUT | Method::PATCH | Method::DELETE) {
        return None;
    }
    let is_json = header(&header::CONTENT_TYPE).map(|kind| is_json(&kind));
    let empty = header(&header::TRANSFER_ENCODING).is_none()
        && header(&header::CONTENT_LENGTH).is_none_or(|length| length.trim() == "0");
    let meant = empty && request.headers().contains_key(REQUEST_HEADER);
    (is_json != Some(true) && !meant).then(|| {
        let detail =
            "send a JSON object with Content-Type: application/json, or no body and the header X-Drover-Request: 1";
        Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, detail)
    })
}

/// Whether a page of this origin came from the host that it asks.
fn origin_is_host(origin: &str, host: &str) -> bool {
    // Something before us may speak TLS.
    let (of_origin, default_port) = match (origin.strip_prefix("http://"), origin.strip_prefix("https://")) {
        (Some(of_origin), _) => (of_origin, ":80"),
        (_, Some(of_origin)) => (of_origin, ":443"),
        _ => return false,
    };
    // A browser leaves the port of the scheme out of both; other clients need not.
    let bare = |name: &str| name.strip_suffix(default_port).unwrap_or(name).to_ascii_lowercase();
    !of_origin.is_empty() && bare(of_origin) == bare(host)
}

fn is_json(content_type: &str) -> bool {
    content_type.split(';').next().unwrap_or_default().trim().eq_ignore_ascii_case("application/json")
}

/// Who sends the order: the name that the sender gives itself, and how it was let in. Every handler that changes something
/// asks for it before anything else.
///
/// # Errors
/// The sender may order nothing, or the name is none.
pub(super) fn actor(config: &HttpConfig, request: &HttpRequest) -> Result<String, Problem> {
    let caller = match Caller::of(request) {
        Some(caller) if caller.role == Role::Operator => caller,
        _ if config.read_only => {
            let detail = "this server takes no orders: http.read_only is set";
            return Err(Problem::new(StatusCode::FORBIDDEN, detail));
        }
        _ => {
            let detail = "a viewer cannot order anything; log in with the operator's token (http.token)";
            return Err(Problem::new(StatusCode::FORBIDDEN, detail));
        }
    };
    let let_in = match caller.entrance {
        Entrance::Local => "local",
        Entrance::Token => "token",
        Entrance::Session(_) => "session",
    };
    let Some(name) = request.headers().get(ACTOR_HEADER) else {
        return Ok(let_in.to_owned());
    };
    match name.to_str().map(str::trim) {
        Ok(name) if (1..=ACTOR_CHARACTERS).contains(&name.len()) => Ok(format!("{name} ({let_in})")),
        _ => {
            let detail = format!("X-Drover-Actor is not a name of 1 to {ACTOR_CHARACTERS} printable ASCII characters");
            Err(Problem::new(StatusCode::BAD_REQUEST, detail))
        }
    }
}

/// The body of an order; none is an empty object.
///
/// # Errors
/// Larger than [`BODY_BYTES`], not JSON, or with fields that are not known.
pub(super) async fn body<T: DeserializeOwned>(payload: web::Payload) -> Result<T, Problem> {
    body_within(payload, BODY_BYTES).await
}

/// The same where a body may have so many bytes.
///
/// # Errors
/// As [`body`].
pub(super) async fn body_within<T: DeserializeOwned>(payload: web::Payload, most: usize) -> Result<T, Problem> {
    let bytes = tokio::time::timeout(BODY_TIMEOUT, payload.to_bytes_limited(most))
        .await
        .map_err(|_| {
            let detail = format!("the body did not arrive within {BODY_TIMEOUT:?}");
            Problem::new(StatusCode::REQUEST_TIMEOUT, detail)
        })?
        .map_err(|_| {
            let detail = format!("the body is larger than {most} bytes");
            Problem::new(StatusCode::PAYLOAD_TOO_LARGE, detail)
        })?
        .map_err(|error| Problem::new(StatusCode::BAD_REQUEST, format!("reading the body: {error}")))?;
    let bytes = if bytes.trim_ascii().is_empty() { &b"{}"[..] } else { &bytes[..] };
    let refused = |why: &dyn std::fmt::Display| Problem::new(StatusCode::BAD_REQUEST, format!("the body: {why}"));
    // A list would be taken for the fields in their order.
    if !bytes.trim_ascii_start().starts_with(b"{") {
        return Err(refused(&"a JSON object is needed"));
    }
    serde_json::from_slice(bytes).map_err(|error| refused(&error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_origin_is_ours_when_it_names_the_host_that_was_asked() {
        for (origin, host) in [
            ("http://127.0.0.1:8080", "127.0.0.1:8080"),
            ("http://localhost", "localhost:80"),
            ("https://Drover.example", "drover.example"),
            ("http://[::1]:8080", "[::1]:8080"),
        ] {
            assert!(origin_is_host(origin, host), "{origin} {host}");
        }
        for (origin, host) in [
            ("null", "127.0.0.1:8080"),
            ("", ""),
            ("http://", ""),
            ("http://127.0.0.1:9090", "127.0.0.1:8080"),
            ("http://evil.example", "127.0.0.1:8080"),
            ("http://127.0.0.1:8080.evil.example", "127.0.0.1:8080"),
            ("file://127.0.0.1:8080", "127.0.0.1:8080"),
            ("http://localhost:8080", "127.0.0.1:8080"),
        ] {
            assert!(!origin_is_host(origin, host), "{origin} {host}");
        }
    }

    #[test]
    fn only_the_media_type_of_json_is_json() {
        for json in ["application/json", "Application/JSON; charset=utf-8"] {
            assert!(is_json(json), "{json}");
        }
        for other in ["", "text/plain", "text/plain; application/json", "application/jsonx", "multipart/form-data"] {
            assert!(!is_json(other), "{other}");
        }
    }
}
