//! Logging in on the page: a token is changed into a session, whose cookie no script can read and no foreign page can use.
//!
//! The cookie is a random number; what it stands for lives here. Bound: [`MOST_SESSIONS`], of which the oldest goes for a new
//! one, each for [`LIFE`]; they end with the process. Fails with 401 for a token that is none, and then answers late.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use actix_web::http::StatusCode;
use actix_web::http::header::{self, HeaderMap};
use actix_web::{HttpRequest, HttpResponse, web};
use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::HttpState;
use super::auth::{Caller, Entrance, Role, role_of};
use super::command_request::body;
use super::error::Problem;
use crate::config::HttpConfig;
use crate::store::audit_log::AuditEntry;

/// Browsers that are logged in at once.
const MOST_SESSIONS: usize = 1_024;
/// How long a session lasts: a working day.
const LIFE: Duration = Duration::from_secs(12 * 3600);
/// How late a wrong token is answered, so that nobody can try many.
pub(super) const WRONG_TOKEN_DELAY: Duration = Duration::from_millis(500);

/// The number that a cookie carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct SessionId([u8; 32]);

impl SessionId {
    /// The text of the cookie.
    fn text(self) -> String {
        BASE64_URL_SAFE_NO_PAD.encode(self.0)
    }

    fn parse(text: &str) -> Option<Self> {
        BASE64_URL_SAFE_NO_PAD.decode(text).ok()?.try_into().ok().map(Self)
    }
}

struct Session {
    role: Role,
    ends: Instant,
}

/// All sessions of the process.
pub(super) struct Sessions {
    /// Cookies do not know ports: two processes on one host would take each other's.
    cookie: String,
    /// The path of the cookie: nothing beside the server gets it.
    path: String,
    live: Mutex<HashMap<SessionId, Session>>,
}

impl Sessions {
    pub(super) fn new(config: &HttpConfig) -> Self {
        let path = if config.base_path.is_empty() { "/" } else { &config.base_path };
        Self { cookie: format!("drover_session_{}", config.addr.port()), path: path.to_owned(), live: Mutex::default() }
    }

    fn live(&self) -> MutexGuard<'_, HashMap<SessionId, Session>> {
        self.live.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn begin(&self, role: Role, now: Instant) -> SessionId {
        let mut live = self.live();
        live.retain(|_, session| session.ends > now);
        if live.len() >= MOST_SESSIONS {
            // Of those of the same role first: no viewer logs an operator out.
            let oldest = live.iter().min_by_key(|(_, session)| (session.role != role, session.ends)).map(|(id, _)| *id);
            oldest.and_then(|id| live.remove(&id));
        }
        let id = SessionId(rand::random());
        live.insert(id, Session { role, ends: now + LIFE });
        id
    }

    /// Whether it has not ended.
    pub(super) fn lives(&self, id: SessionId) -> bool {
        self.role(id, Instant::now()).is_some()
    }

    fn role(&self, id: SessionId, now: Instant) -> Option<Role> {
        self.live().get(&id).filter(|session| session.ends > now).map(|session| session.role)
    }

    /// The session that the cookies of a request name.
    pub(super) fn find(&self, headers: &HeaderMap) -> Option<(SessionId, Role)> {
        let mut cookies = headers.get_all(header::COOKIE).filter_map(|value| value.to_str().ok());
        let id = cookies.find_map(|line| {
            let mut pairs = line.split(';').filter_map(|pair| pair.trim().split_once('='));
            pairs.find(|(name, _)| *name == self.cookie).and_then(|(_, value)| SessionId::parse(value))
        })?;
        Some((id, self.role(id, Instant::now())?))
    }

    fn end(&self, id: SessionId) {
        self.live().remove(&id);
    }

    /// What the browser is told to keep, and for how long.
    fn set_cookie(&self, value: &str, seconds: u64, secure: bool) -> String {
        let secure = if secure { "; Secure" } else { "" };
        let (name, path) = (&self.cookie, &self.path);
        format!("{name}={value}; Path={path}; Max-Age={seconds}; HttpOnly; SameSite=Strict{secure}")
    }
}

/// Who asks, and what there is to do here.
#[derive(Serialize, ToSchema)]
#[schema(as = Session)]
pub(super) struct SessionView<'a> {
    /// `null`: nobody was recognised, and a login is needed.
    role: Option<Role>,
    login_required: bool,
    read_only: bool,
    /// Whether orders of this caller are taken.
    actions: bool,
    drills: bool,
    version: &'static str,
    base_path: &'a str,
}

/// Who asks, and what there is to do here
#[utoipa::path(get, path = "/api/v1/session", tag = "session",
    responses((status = 200, description = "Also without a login.", body = SessionView<'_>)))]
pub(super) async fn show(state: web::Data<HttpState>, request: HttpRequest) -> HttpResponse {
    let role = Caller::of(&request).map(|caller| caller.role);
    HttpResponse::Ok().json(SessionView {
        role,
        login_required: state.config.needs_login(),
        read_only: state.config.read_only,
        actions: role == Some(Role::Operator),
        drills: state.drills.allowed(),
        version: env!("CARGO_PKG_VERSION"),
        base_path: &state.config.base_path,
    })
}

/// The secret that is changed into a session.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Login {
    /// The value of `http.token` or `http.viewer_token`.
    token: String,
}

/// Log in
///
/// Changes a token into a cookie, for browsers.
#[utoipa::path(post, path = "/api/v1/session", tag = "session", request_body = Login, responses(
    (status = 204, description = "The cookie is set."),
    (status = 401, description = "This is not the token.", body = super::openapi::Problem, content_type = "application/problem+json"),
))]
pub(super) async fn begin(
    state: web::Data<HttpState>,
    request: HttpRequest,
    payload: web::Payload,
) -> Result<HttpResponse, Problem> {
    let Login { token } = body(payload).await?;
    let Some(role) = role_of(&state.config, token.as_bytes()) else {
        if !state.config.needs_login() {
            let detail = "no token is configured here, so no login is needed";
            return Err(Problem::new(StatusCode::CONFLICT, detail));
        }
        tokio::time::sleep(WRONG_TOKEN_DELAY).await;
        return Err(Problem::new(StatusCode::UNAUTHORIZED, "this is not the token"));
    };
    note(&state, "login", role);
    let id = state.sessions.begin(role, Instant::now());
    // What the proxy says of itself can only make the cookie harder to send.
    let secure = request.headers().get("x-forwarded-proto").is_some_and(|scheme| scheme == "https");
    let cookie = state.sessions.set_cookie(&id.text(), LIFE.as_secs(), secure);
    Ok(HttpResponse::NoContent().insert_header((header::SET_COOKIE, cookie)).finish())
}

/// Log out
#[utoipa::path(delete, path = "/api/v1/session", tag = "session",
    responses((status = 204, description = "There is no session any more.")))]
pub(super) async fn end(state: web::Data<HttpState>, request: HttpRequest) -> HttpResponse {
    if let Some(Caller { role, entrance: Entrance::Session(id) }) = Caller::of(&request) {
        note(&state, "logout", role);
        state.sessions.end(id);
    }
    let cookie = state.sessions.set_cookie("", 0, false);
    HttpResponse::NoContent().insert_header((header::SET_COOKIE, cookie)).finish()
}

/// An entry in the audit log, which nobody waits for: whoever is let in may be about to repair the store.
fn note(state: &HttpState, action: &str, role: Role) {
    let Ok(operator) = state.operator.get() else { return };
    let role = if role == Role::Operator { "operator" } else { "viewer" };
    let entry = AuditEntry {
        actor: format!("{role} (session)"),
        action: action.to_owned(),
        target: "session".to_owned(),
        outcome: "ok".to_owned(),
        detail: None,
    };
    // Logged where it runs; a failure is counted and told there.
    drop(operator.note(entry));
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a missing value is the failure of the test")]
    use super::*;
    use actix_web::http::header::HeaderValue;

    fn sessions() -> Sessions {
        Sessions::new(&HttpConfig { base_path: "/drover".into(), ..HttpConfig::default() })
    }

    fn cookies(text: &str) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert(header::COOKIE, HeaderValue::from_str(text).unwrap());
        headers
    }

    #[test]
    fn a_session_is_found_by_its_cookie_until_it_ends() {
        let sessions = sessions();
        let now = Instant::now();
        let id = sessions.begin(Role::Viewer, now);
        let text = id.text();
        let find = |cookie: &str| sessions.find(&cookies(cookie)).map(|(_, role)| role);
        assert_eq!(find(&format!("a=b; drover_session_8080={text}; c=d")), Some(Role::Viewer));
        for other in [
            format!("drover_session_8081={text}"),
            format!("drover_session_8080={}", &text[..20]),
            format!("drover_session_8080={}", SessionId([0; 32]).text()),
            format!("xdrover_session_8080={text}"),
            "drover_session_8080=".to_owned(),
        ] {
            assert_eq!(find(&other), None, "{other}");
        }
        assert_eq!(sessions.role(id, now + LIFE - Duration::from_secs(1)), Some(Role::Viewer));
        assert_eq!(sessions.role(id, now + LIFE), None);
        sessions.end(id);
        assert_eq!(find(&format!("drover_session_8080={text}")), None);
    }

    #[test]
    fn a_new_session_takes_the_place_of_the_oldest_of_its_role() {
        let sessions = sessions();
        let earlier = Instant::now();
        let viewer = sessions.begin(Role::Viewer, earlier);
        let operator = sessions.begin(Role::Operator, earlier);
        for _ in 0..MOST_SESSIONS {
            sessions.begin(Role::Viewer, earlier + Duration::from_secs(1));
        }
        assert!(sessions.lives(operator) && !sessions.lives(viewer));
        sessions.end(operator);
        sessions.live().clear();
        let start = Instant::now();
        let ids: Vec<SessionId> = (0..=MOST_SESSIONS as u64)
            .map(|second| sessions.begin(Role::Operator, start + Duration::from_secs(second)))
            .collect();
        assert_eq!(sessions.live().len(), MOST_SESSIONS);
        assert!(!sessions.lives(ids[0]) && sessions.lives(ids[1]) && sessions.lives(ids[MOST_SESSIONS]));
    }

    #[test]
    fn the_cookie_is_out_of_reach_of_scripts_and_foreign_pages() {
        let cookie = sessions().set_cookie("x", 60, true);
        assert_eq!(cookie, "drover_session_8080=x; Path=/drover; Max-Age=60; HttpOnly; SameSite=Strict; Secure");
    }
}
