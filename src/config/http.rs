//! The HTTP server: where it listens, who is let in, and what it hides.

use super::reader::Reader;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

/// Where it listens when nothing else is said.
const LOOPBACK: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 8080);

/// The HTTP server.
#[derive(Clone, PartialEq, Eq)]
pub struct HttpConfig {
    /// Serve HTTP at all.
    pub enabled: bool,
    /// Address to listen on; port 0 takes a free one.
    pub addr: SocketAddr,
    /// The operator's token. A secret: [`std::fmt::Debug`] hides it.
    pub token: Option<String>,
    /// The viewer's token, with which nothing can be ordered. A secret as well.
    pub viewer_token: Option<String>,
    /// Take no orders, whoever gives them.
    pub read_only: bool,
    /// Path below which a proxy shows the server, such as `/drover`; empty is the root.
    pub base_path: String,
    /// Fields of documents that are never shown, nor the columns that they fill.
    pub masked_fields: Vec<String>,
}

impl Default for HttpConfig {
    fn default() -> Self {
        Self {
            enabled: true,
            addr: LOOPBACK,
            token: None,
            viewer_token: None,
            read_only: false,
            base_path: String::new(),
            masked_fields: Vec::new(),
        }
    }
}

impl HttpConfig {
    /// Whether nobody is let in without a token.
    #[must_use]
    pub fn needs_login(&self) -> bool {
        self.token.is_some() || self.viewer_token.is_some()
    }
}

impl std::fmt::Debug for HttpConfig {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("HttpConfig")
            .field("enabled", &self.enabled)
            .field("addr", &self.addr)
            .field("token", &self.token.as_ref().map(|_| "***"))
            .field("viewer_token", &self.viewer_token.as_ref().map(|_| "***"))
            .field("read_only", &self.read_only)
            .field("base_path", &self.base_path)
            .field("masked_fields", &self.masked_fields)
            .finish()
    }
}

pub(super) fn http(r: &mut Reader<'_>) -> HttpConfig {
    HttpConfig {
        enabled: r.flag("http.enabled"),
        addr: addr(r),
        token: r.optional_text("http.token"),
        viewer_token: r.optional_text("http.viewer_token"),
        read_only: r.flag("http.read_only"),
        base_path: r.text("http.base_path").trim_end_matches('/').to_owned(),
        masked_fields: r.list("http.masked_fields"),
    }
}

/// The address; `localhost` is 127.0.0.1, other names are not resolved.
fn addr(r: &mut Reader<'_>) -> SocketAddr {
    let text = r.text("http.addr");
    let numeric = match text.strip_prefix("localhost:") {
        Some(port) => format!("127.0.0.1:{port}"),
        None => text,
    };
    let addr = numeric.parse();
    let remedy = "Write an address such as 127.0.0.1:8080, [::1]:8080 or 0.0.0.0:8080; port 0 takes a free one.";
    r.check(&["http.addr"], addr.is_ok(), "is not an address and a port", remedy);
    addr.unwrap_or(LOOPBACK)
}

/// What these settings must be, each and together.
pub(super) fn check(r: &mut Reader<'_>, http: &HttpConfig) {
    for (path, token) in [("http.token", &http.token), ("http.viewer_token", &http.viewer_token)] {
        r.check(
            &[path],
            token.as_ref().is_none_or(|token| !token.is_empty() && token.chars().all(|c| c.is_ascii_graphic())),
            "is empty or has characters that cannot stand in a header",
            "Use letters, digits and punctuation of ASCII, without spaces.",
        );
    }
    r.check(
        &["http.addr"],
        !http.enabled || http.addr.ip().is_loopback() || http.token.is_some() || http.read_only,
        "is open to other machines, and no token protects it",
        "Set DROVER_HTTP_TOKEN to a secret, or take no orders (--read-only), or listen on 127.0.0.1, or set http.enabled = false.",
    );
    r.check(
        &["http.viewer_token"],
        http.viewer_token.is_none() || http.token.is_some() || http.read_only,
        "lets nobody order anything, because http.token is not set",
        "Set DROVER_HTTP_TOKEN for operators as well, or http.read_only = true.",
    );
    r.check(
        &["http.viewer_token"],
        http.viewer_token.is_none() || http.viewer_token != http.token,
        "is the same as http.token, so that every viewer would be an operator",
        "Use another secret.",
    );
    let path = http.base_path.as_str();
    let legal = |c: char| c.is_ascii_alphanumeric() || matches!(c, '/' | '-' | '_' | '.' | '~');
    r.check(
        &["http.base_path"],
        path.is_empty() || (path.starts_with('/') && path.chars().all(legal) && !path.contains("//")),
        "is not a path",
        "Write it as /drover, of letters, digits, dash, underscore, dot and tilde; leave it empty for the root.",
    );
    let named = http.masked_fields.iter().all(|field| !field.is_empty());
    r.check(&["http.masked_fields"], named, "holds an empty name", "Write the names of JSON fields.");
}
