//! The client of a running drover's API: what `drover consumers` and the like speak through.
//!
//! One connection at a time, answers of at most [`ANSWER_BYTES`], every wait bounded. It follows no redirect and uses no
//! proxy, so that the token goes to the address that was given and nowhere else. Fails with what the person at the command
//! line can do about it.

use reqwest::header::{AUTHORIZATION, HeaderMap, HeaderValue};
use reqwest::{Method, Response, StatusCode, Url};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::time::Duration;

/// How long a connection may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// How long an answer to a question may take.
const ASK_TIMEOUT: Duration = Duration::from_secs(30);
/// How long an order may take: it is answered when it was carried out, and a consumer that drains may need `shutdown.grace`.
const ORDER_TIMEOUT: Duration = Duration::from_secs(600);
/// Largest answer: the status of the largest group has a few megabytes.
const ANSWER_BYTES: usize = 64 << 20;
/// Longest name of a sender that the server takes.
const ACTOR_CHARACTERS: usize = 128;

/// Why there is no answer, or no good one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ClientError {
    /// The URL or the token cannot be used.
    #[error("{0}")]
    Usage(String),
    /// Nobody answers.
    #[error(
        "no drover answers at {url} ({reason}); is it running, and is that its http.addr? Name another with --url or \
         DROVER_URL"
    )]
    Unreachable {
        /// Where it was looked for.
        url: String,
        /// What the network said.
        reason: String,
    },
    /// It took too long.
    #[error(
        "{url} did not answer within {waited:?}; an order may be carried out all the same: GET /api/v1/audit-log tells"
    )]
    Late {
        /// Who was asked.
        url: String,
        /// How long it was waited for.
        waited: Duration,
    },
    /// The token is missing or wrong.
    #[error("{0}: set DROVER_HTTP_TOKEN, or name a file that holds the token with --token-file")]
    Unauthorized(String),
    /// The server says no, and why.
    #[error("{detail} (HTTP {status})")]
    Refused {
        /// The HTTP status.
        status: u16,
        /// The server's reason.
        detail: String,
    },
    /// What answers is no drover, or another version of it.
    #[error("{url} answers, but not as a drover of version {} does: {reason}", env!("CARGO_PKG_VERSION"))]
    Strange {
        /// Who was asked.
        url: String,
        /// What was wrong with the answer.
        reason: String,
    },
}

impl ClientError {
    /// The exit code of a command that ends with this, after sysexits.h: 64 usage, 69 unavailable, 77 no permission; 1 when
    /// the server refuses.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Usage(_) => 64,
            Self::Unreachable { .. } | Self::Late { .. } | Self::Strange { .. } => 69,
            Self::Unauthorized(_) => 77,
            Self::Refused { .. } => 1,
        }
    }
}

/// See the module. Debug shows no token: its header is marked as a secret.
#[derive(Debug, Clone)]
pub struct Client {
    http: reqwest::Client,
    base: Url,
}

impl Client {
    /// A client of the drover at `url`, such as `http://127.0.0.1:8080`; `actor` is who the audit log names, such as
    /// `user@host`.
    ///
    /// # Errors
    /// The URL is none of HTTP, or the token cannot stand in a header.
    pub fn new(url: &str, token: Option<&str>, actor: &str) -> Result<Self, ClientError> {
        let usage = |why: String| ClientError::Usage(why);
        let base: Url =
            url.parse().map_err(|error| usage(format!("--url {url:?} is no URL ({error}); write http://host:port")))?;
        if !matches!(base.scheme(), "http" | "https") || base.host_str().is_none() {
            return Err(usage(format!("--url {url:?} is not of HTTP; write http://host:port")));
        }
        if !base.username().is_empty() || base.password().is_some() {
            return Err(usage("--url holds a user or password, which is not how drover lets in; use a token".into()));
        }
        let mut headers = HeaderMap::new();
        if let Some(token) = token {
            // The value itself is never shown, also where it is wrong.
            let wrong = |_| usage("the token has characters that cannot stand in a header".into());
            let mut bearer = HeaderValue::from_str(&format!("Bearer {token}")).map_err(wrong)?;
            bearer.set_sensitive(true);
            headers.insert(AUTHORIZATION, bearer);
        }
        headers.insert("x-drover-request", HeaderValue::from_static("1"));
        let name: String = actor.chars().filter(|c| c.is_ascii_graphic() || *c == ' ').take(ACTOR_CHARACTERS).collect();
        if let Some(name) = HeaderValue::from_str(&name).ok().filter(|name| !name.is_empty()) {
            headers.insert("x-drover-actor", name);
        }
        let http = reqwest::Client::builder()
            .user_agent(concat!("drover/", env!("CARGO_PKG_VERSION")))
            .default_headers(headers)
            .connect_timeout(CONNECT_TIMEOUT)
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy()
            .build()
            .map_err(|error| usage(format!("the HTTP client cannot be made: {}", reason(&error))))?;
        Ok(Self { http, base })
    }

    /// Asks what is below `/api/v1`, such as `["children", "consumer-1", "exits"]`.
    ///
    /// # Errors
    /// No answer, or no good one.
    pub async fn get<T: DeserializeOwned>(&self, path: &[&str]) -> Result<T, ClientError> {
        self.send(Method::GET, path, None::<&()>, ASK_TIMEOUT).await
    }

    /// Orders something; answered when it was carried out.
    ///
    /// # Errors
    /// No answer, or no good one.
    pub async fn post<T: DeserializeOwned>(&self, path: &[&str], body: &impl Serialize) -> Result<T, ClientError> {
        self.send(Method::POST, path, Some(body), ORDER_TIMEOUT).await
    }

    /// The text of `/metrics`.
    ///
    /// # Errors
    /// No answer, or no good one.
    pub async fn metrics(&self) -> Result<String, ClientError> {
        let mut url = self.base.clone();
        url.set_path(&format!("{}/metrics", url.path().trim_end_matches('/')));
        let bytes = self.ask(Method::GET, url, None::<&()>, ASK_TIMEOUT).await?;
        let strange = |error: std::string::FromUtf8Error| ClientError::Strange {
            url: self.base.to_string(),
            reason: error.to_string(),
        };
        String::from_utf8(bytes).map_err(strange)
    }

    /// Reads the live stream, piece by piece, until the server ends it.
    ///
    /// # Errors
    /// No answer, no good one, or one that broke off.
    pub async fn follow(&self, mut piece: impl FnMut(&[u8])) -> Result<(), ClientError> {
        let url = || self.base.to_string();
        let failed = |error: reqwest::Error| ClientError::Unreachable { url: url(), reason: reason(&error) };
        let mut answer = self.http.get(self.address(&["stream"])?).send().await.map_err(failed)?;
        let status = answer.status();
        if !status.is_success() {
            return Err(ClientError::Strange { url: url(), reason: format!("HTTP {status}") });
        }
        while let Some(chunk) = answer.chunk().await.map_err(failed)? {
            piece(&chunk);
        }
        Ok(())
    }

    /// Where it asks.
    #[must_use]
    pub fn url(&self) -> &str {
        self.base.as_str()
    }

    async fn send<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &[&str],
        body: Option<&impl Serialize>,
        waited: Duration,
    ) -> Result<T, ClientError> {
        let bytes = self.ask(method, self.address(path)?, body, waited).await?;
        let strange =
            |error: serde_json::Error| ClientError::Strange { url: self.base.to_string(), reason: error.to_string() };
        serde_json::from_slice(&bytes).map_err(strange)
    }

    /// The bytes of a good answer.
    async fn ask(
        &self,
        method: Method,
        address: Url,
        body: Option<&impl Serialize>,
        waited: Duration,
    ) -> Result<Vec<u8>, ClientError> {
        let url = || self.base.to_string();
        let failed = |error: reqwest::Error| {
            if error.is_timeout() && !error.is_connect() {
                ClientError::Late { url: url(), waited }
            } else {
                ClientError::Unreachable { url: url(), reason: reason(&error) }
            }
        };
        let mut request = self.http.request(method, address).timeout(waited);
        if let Some(body) = body {
            request = request.json(body);
        }
        let mut answer = request.send().await.map_err(failed)?;
        let status = answer.status();
        let mut bytes = Vec::new();
        while let Some(chunk) = answer.chunk().await.map_err(failed)? {
            if bytes.len() + chunk.len() > ANSWER_BYTES {
                let reason = format!("its answer is larger than {ANSWER_BYTES} bytes");
                return Err(ClientError::Strange { url: url(), reason });
            }
            bytes.extend_from_slice(&chunk);
        }
        if status.is_success() { Ok(bytes) } else { Err(self.refused(&answer, status, &bytes)) }
    }

    fn refused(&self, answer: &Response, status: StatusCode, body: &[u8]) -> ClientError {
        let is_problem = answer
            .headers()
            .get("content-type")
            .and_then(|kind| kind.to_str().ok())
            .is_some_and(|kind| kind.starts_with("application/problem+json"));
        let document: serde_json::Value = serde_json::from_slice(body).unwrap_or_default();
        match document["detail"].as_str().filter(|_| is_problem) {
            Some(_) if status == StatusCode::UNAUTHORIZED => {
                ClientError::Unauthorized(format!("{} wants a token, or another one", self.base))
            }
            Some(detail) => ClientError::Refused { status: status.as_u16(), detail: detail.to_owned() },
            None => ClientError::Strange { url: self.base.to_string(), reason: format!("HTTP {status}") },
        }
    }

    fn address(&self, path: &[&str]) -> Result<Url, ClientError> {
        let mut url = self.base.clone();
        let cannot = |()| ClientError::Usage(format!("nothing can stand below --url {}", self.base));
        url.path_segments_mut().map_err(cannot)?.pop_if_empty().extend(["api", "v1"]).extend(path);
        Ok(url)
    }
}

/// The innermost cause, which says what the network said.
fn reason(error: &reqwest::Error) -> String {
    let mut cause: &dyn std::error::Error = error;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    cause.to_string()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a missing value is the failure of the test")]
    use super::*;

    #[test]
    fn names_are_escaped_and_a_prefix_of_the_url_is_kept() {
        let address =
            |url: &str, path: &[&str]| Client::new(url, None, "me@here").unwrap().address(path).unwrap().to_string();
        assert_eq!(address("http://127.0.0.1:8080", &["children"]), "http://127.0.0.1:8080/api/v1/children");
        assert_eq!(address("https://ops/drover/", &["a/b", "c?d"]), "https://ops/drover/api/v1/a%2Fb/c%3Fd");
    }

    #[test]
    fn what_cannot_be_asked_is_told_without_the_token() {
        for (url, token) in [
            ("localhost:8080", None),
            ("ftp://localhost", None),
            ("http://", None),
            ("", None),
            ("http://user:secret@localhost", None),
            ("http://localhost", Some("line\nbreak-secret")),
        ] {
            let error = Client::new(url, token, "").unwrap_err();
            assert_eq!(error.exit_code(), 64, "{error}");
            assert!(!error.to_string().contains("secret"), "{error}");
        }
        let client = Client::new("http://localhost", Some("s3cret"), "").unwrap();
        assert!(!format!("{client:?}").contains("s3cret"));
    }

    #[tokio::test]
    async fn a_port_on_which_nobody_listens_is_named_with_what_to_do() {
        let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let client = Client::new(&format!("http://{free}"), None, "").unwrap();
        let error = client.get::<serde_json::Value>(&["children"]).await.unwrap_err();
        assert_eq!(error.exit_code(), 69);
        let said = error.to_string();
        assert!(said.contains(&free.to_string()) && said.contains("--url") && said.contains("refused"), "{said}");
    }
}
