//! Who asks: the Host header against DNS rebinding, tokens and sessions, and the role that follows. Pure but for the
//! request; refuses, never fails.
//!
//! Without a token the server trusts whoever reaches its address, so a foreign page in a browser on this machine must not:
//! it can make its own name resolve to 127.0.0.1, but cannot make the browser send another name than its own. Addresses as
//! hosts are therefore safe, names are not, but for `localhost`. A token needs no such check, since no foreign page has it,
//! nor the cookie, which belongs to the name under which the page logged in.

use std::hint::black_box;
use std::net::{Ipv4Addr, Ipv6Addr};

use actix_web::body::{BoxBody, MessageBody};
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::{StatusCode, header};
use actix_web::middleware::Next;
use actix_web::{HttpMessage as _, HttpRequest, HttpResponse};
use serde::Serialize;

use super::error::Problem;
use super::session::{SessionId, Sessions};
use crate::config::HttpConfig;

/// What somebody may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// See everything, order nothing.
    Viewer,
    /// Order as well.
    Operator,
}

/// How somebody was let in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Entrance {
    /// No token is configured.
    Local,
    /// A token in the request itself.
    Token,
    /// The cookie of a session.
    Session(SessionId),
}

/// Who asks. An extension of every request that the gate let in with a role.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Caller {
    /// What he may do.
    pub role: Role,
    /// How he was let in.
    pub entrance: Entrance,
}

impl Caller {
    /// Who asks; `None` where nobody was recognised.
    pub(super) fn of(request: &HttpRequest) -> Option<Self> {
        request.extensions().get::<Self>().copied()
    }
}

/// A path as the server's own routes have it, whether a proxy passed the base path on or not.
pub(super) fn without_base<'p>(config: &HttpConfig, path: &'p str) -> &'p str {
    let below = path.strip_prefix(config.base_path.as_str()).filter(|_| !config.base_path.is_empty());
    below.filter(|rest| rest.is_empty() || rest.starts_with('/')).unwrap_or(path)
}

/// Finds out who asks and leaves it in the request's extensions. Gives back whether a token was sent that is none.
///
/// # Errors
/// The host is a name that a foreign page may have made to resolve here.
pub(super) fn recognise(config: &HttpConfig, sessions: &Sessions, request: &ServiceRequest) -> Result<bool, Problem> {
    if !config.needs_login() {
        let host = request.headers().get(header::HOST).and_then(|value| value.to_str().ok()).unwrap_or_default();
        if !host_is_ours(host) {
            let detail = format!(
                "the host {host:?} is not known here; use localhost or an address, or set http.token (DROVER_HTTP_TOKEN) to \
                 allow any host"
            );
            return Err(Problem::new(StatusCode::MISDIRECTED_REQUEST, detail));
        }
        let role = if config.read_only { Role::Viewer } else { Role::Operator };
        request.extensions_mut().insert(Caller { role, entrance: Entrance::Local });
        return Ok(false);
    }
    let given = request.headers().get(header::AUTHORIZATION).and_then(|value| bearer(value.as_bytes()));
    let caller = match given {
        Some(token) => role_of(config, token).map(|role| Caller { role, entrance: Entrance::Token }),
        None => sessions.find(request.headers()).map(|(id, role)| Caller { role, entrance: Entrance::Session(id) }),
    };
    if let Some(caller) = caller {
        request.extensions_mut().insert(caller);
    }
    Ok(given.is_some() && caller.is_none())
}

/// Stands before every route that shows or orders something: lets in whoever was recognised.
pub(super) async fn let_in(
    request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<BoxBody>, actix_web::Error> {
    if Caller::of(request.request()).is_some() {
        return Ok(next.call(request).await?.map_into_boxed_body());
    }
    Ok(request.into_response(HttpResponse::from(unknown())))
}

/// The answer to whoever was not recognised.
pub(super) fn unknown() -> Problem {
    Problem::new(
        StatusCode::UNAUTHORIZED,
        "a token is needed: send Authorization: Bearer with the value of http.token (DROVER_HTTP_TOKEN) or \
         http.viewer_token, or log in on the page",
    )
}

/// The role of whoever has this token.
pub(super) fn role_of(config: &HttpConfig, given: &[u8]) -> Option<Role> {
    let is = |token: &Option<String>| token.as_ref().is_some_and(|token| same(given, token.as_bytes()));
    // Both are always compared.
    let (operator, viewer) = (is(&config.token), is(&config.viewer_token));
    match (operator, viewer) {
        (true, _) if config.read_only => Some(Role::Viewer),
        (true, _) => Some(Role::Operator),
        (false, true) => Some(Role::Viewer),
        (false, false) => None,
    }
}

/// `localhost` or an address, with or without a port.
fn host_is_ours(host: &str) -> bool {
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|b| b.is_ascii_digit()) && !port.is_empty() => name,
        _ => host,
    };
    if let Some(address) = name.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
        return address.parse::<Ipv6Addr>().is_ok();
    }
    name.eq_ignore_ascii_case("localhost") || name.parse::<Ipv4Addr>().is_ok()
}

/// What follows the scheme `Bearer`.
fn bearer(value: &[u8]) -> Option<&[u8]> {
    let (scheme, token) = value.split_at_checked(7)?;
    scheme.eq_ignore_ascii_case(b"bearer ").then(|| token.trim_ascii())
}

/// Compares in a time that tells the length only, so that a token cannot be guessed byte by byte.
fn same(given: &[u8], token: &[u8]) -> bool {
    if given.len() != token.len() {
        return false;
    }
    let difference = given.iter().zip(token).fold(0_u8, |all, (a, b)| black_box(all | (a ^ b)));
    difference == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_and_localhost_are_our_hosts_and_names_are_not() {
        for host in ["localhost", "LocalHost:8080", "127.0.0.1", "127.0.0.1:8080", "[::1]", "[::1]:8080", "10.1.2.3:80"]
        {
            assert!(host_is_ours(host), "{host}");
        }
        for host in [
            "",
            ":8080",
            "evil.example",
            "evil.example:8080",
            "localhost.evil.example",
            "127.0.0.1.evil.example",
            "::1",
            "[evil.example]",
            "localhost:",
            "localhost:80a",
            "127.0.0.1@evil.example",
            "localhost,evil.example",
        ] {
            assert!(!host_is_ours(host), "{host}");
        }
    }

    #[test]
    fn only_the_whole_token_under_the_bearer_scheme_is_the_token() {
        let given = |header: &[u8]| bearer(header).is_some_and(|given| same(given, b"s3cret"));
        assert!(given(b"Bearer s3cret"));
        assert!(given(b"bearer s3cret"));
        for header in [&b"s3cret"[..], b"Basic s3cret", b"Bearer s3cre", b"Bearer s3cret1", b"Bearer", b"Bearer ", b""]
        {
            assert!(!given(header), "{}", header.escape_ascii());
        }
    }

    #[test]
    fn each_token_has_its_role_and_nobody_orders_where_nothing_is_taken() {
        let mut config =
            HttpConfig { token: Some("operator".into()), viewer_token: Some("viewer".into()), ..HttpConfig::default() };
        let roles = |config: &HttpConfig| [&b"operator"[..], b"viewer", b"", b"other"].map(|t| role_of(config, t));
        assert_eq!(roles(&config), [Some(Role::Operator), Some(Role::Viewer), None, None]);
        config.read_only = true;
        assert_eq!(roles(&config), [Some(Role::Viewer), Some(Role::Viewer), None, None]);
        config.viewer_token = None;
        assert_eq!(roles(&config), [Some(Role::Viewer), None, None, None]);
    }

    #[test]
    fn the_base_path_is_taken_off_once_and_only_as_a_whole() {
        let config = HttpConfig { base_path: "/drover".into(), ..HttpConfig::default() };
        for (path, expected) in [
            ("/drover/api/v1/status", "/api/v1/status"),
            ("/drover", ""),
            ("/drover/drover/x", "/drover/x"),
            ("/droverx/api", "/droverx/api"),
            ("/api/v1/status", "/api/v1/status"),
        ] {
            assert_eq!(without_base(&config, path), expected);
        }
        assert_eq!(without_base(&HttpConfig::default(), "/x"), "/x");
    }
}
