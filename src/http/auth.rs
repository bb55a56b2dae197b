//! Who may ask: the Host header against DNS rebinding, and the token. Pure but for the request; refuses, never fails.
//!
//! Without a token the server trusts whoever reaches its address, so a foreign page in a browser on this machine must not:
//! it can make its own name resolve to 127.0.0.1, but cannot make the browser send another name than its own. Addresses as
//! hosts are therefore safe, names are not, but for `localhost`. A token needs no such check, since no foreign page has it.

use std::hint::black_box;
use std::net::{Ipv4Addr, Ipv6Addr};

use actix_web::dev::ServiceRequest;
use actix_web::http::{StatusCode, header};

use super::error::Problem;
use crate::config::HttpConfig;

/// Why this request is refused, if it is.
pub(super) fn refusal(config: &HttpConfig, request: &ServiceRequest) -> Option<Problem> {
    let Some(token) = &config.token else {
        let host = request.headers().get(header::HOST).and_then(|value| value.to_str().ok()).unwrap_or_default();
        return (!host_is_ours(host)).then(|| {
            let detail = format!(
                "the host {host:?} is not known here; use localhost or an address, or set http.token (DROVER_HTTP_TOKEN) to \
                 allow any host"
            );
            Problem::new(StatusCode::MISDIRECTED_REQUEST, detail)
        });
    };
    // Orchestrators probe without credentials.
    if request.path().starts_with("/health/") {
        return None;
    }
    let given = request.headers().get(header::AUTHORIZATION).and_then(|value| bearer(value.as_bytes()));
    (!given.is_some_and(|given| same(given, token.as_bytes()))).then(|| {
        Problem::new(
            StatusCode::UNAUTHORIZED,
            "a token is needed: send Authorization: Bearer with the value of http.token (DROVER_HTTP_TOKEN)",
        )
    })
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
}
