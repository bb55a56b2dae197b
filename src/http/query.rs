//! What a query string asks for: each parameter is checked, and what is wrong is told by its name. Refuses, never fails.

use actix_web::http::StatusCode;
use actix_web::{HttpRequest, web};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use url::form_urlencoded;
use utoipa::IntoParams;

use super::error::Problem;
use crate::domain::event_search::{
    EventFilter, EventKey, EventSearch, EventStatus, FIELD_CHARACTERS, MAX_LIMIT, is_topic,
};
use crate::domain::mask::Mask;

/// Events of one page when the request does not say.
const LIMIT: u32 = 50;
/// 9999-12-31T23:59:59.999Z in milliseconds: the last time that a store takes.
const LAST_MS: i64 = 253_402_300_799_999;

/// A value that cannot be there.
pub(super) fn invalid(detail: impl Into<String>) -> Problem {
    Problem::new(StatusCode::BAD_REQUEST, detail)
}

/// The parameters of a request, of which each may be left out.
///
/// # Errors
/// One is not known, is there twice, or is of another type.
pub(super) fn query<T: DeserializeOwned>(request: &HttpRequest) -> Result<T, Problem> {
    let text = request.query_string();
    web::Query::<T>::from_query(text).map(web::Query::into_inner).map_err(|error| {
        // Of a number the parser does not say which one it is.
        let wrong = form_urlencoded::parse(text.as_bytes()).find(|(name, value)| {
            let alone = form_urlencoded::Serializer::new(String::new()).append_pair(name, value).finish();
            web::Query::<T>::from_query(&alone).is_err()
        });
        match wrong {
            Some((name, value)) => invalid(format!("{name} = {value:?} in the query: {}", cause(&error))),
            None => invalid(format!("the query: {}", cause(&error))),
        }
    })
}

fn cause(error: &dyn std::error::Error) -> String {
    error.to_string().trim_start_matches("Query deserialize error: ").to_owned()
}

/// The parameter, which must lie in this range.
///
/// # Errors
/// It does not.
pub(super) fn within<T: PartialOrd + std::fmt::Display>(name: &str, value: T, least: T, most: T) -> Result<T, Problem> {
    if value >= least && value <= most {
        return Ok(value);
    }
    Err(invalid(format!("{name} is {value}, and not {least} to {most}")))
}

/// The name of a topic.
///
/// # Errors
/// Kafka has no such names.
pub(super) fn topic(name: String) -> Result<String, Problem> {
    if is_topic(&name) {
        return Ok(name);
    }
    Err(invalid(format!("topic {name:?} is not 1 to 249 of the characters a-z, A-Z, 0-9, '.', '_' and '-'")))
}

/// Which events are wanted, and which page of them.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields, default)]
#[into_params(parameter_in = Query)]
pub(super) struct EventQuery {
    /// Of this topic.
    #[param(pattern = "^[a-zA-Z0-9._-]{1,249}$", max_length = 249)]
    pub topic: Option<String>,
    /// Of this partition.
    #[param(minimum = 0, format = Int32)]
    pub partition: Option<i32>,
    /// Of this user.
    #[param(max_length = 256, pattern = "^[^\\u0000]*$")]
    pub user_id: Option<String>,
    /// Of this type.
    #[param(max_length = 256, pattern = "^[^\\u0000]*$")]
    pub event_type: Option<String>,
    /// About this element.
    #[param(max_length = 256, pattern = "^[^\\u0000]*$")]
    pub element_id: Option<String>,
    /// With this key.
    #[param(max_length = 256, pattern = "^[^\\u0000]*$")]
    pub key: Option<String>,
    /// Produced by this one: the header `drover_source`, such as `api`.
    #[param(max_length = 256, pattern = "^[^\\u0000]*$")]
    pub source: Option<String>,
    /// Stored then or later, in milliseconds since the epoch.
    #[param(minimum = 0, maximum = 253402300799999i64)]
    pub since_ms: Option<i64>,
    /// Stored then or before, in milliseconds since the epoch.
    #[param(minimum = 0, maximum = 253402300799999i64)]
    pub until_ms: Option<i64>,
    /// What became of them.
    pub status: Option<EventStatus>,
    /// At most so many; 50 if not said.
    #[param(minimum = 1, maximum = 200)]
    pub limit: Option<u32>,
    /// The `next` of the page before.
    #[param(pattern = "^-?[0-9]{1,18}\\.[0-9]{1,9}\\.[0-9]{1,9}\\.[0-9]{1,18}\\.[a-zA-Z0-9._-]{1,249}$")]
    pub before: Option<String>,
}

impl EventQuery {
    /// The search that is asked for, of which nothing tells what is masked.
    ///
    /// # Errors
    /// A value that cannot be.
    pub(super) fn search(self, mask: &Mask) -> Result<EventSearch, Problem> {
        for (name, value) in [
            ("user_id", &self.user_id),
            ("event_type", &self.event_type),
            ("element_id", &self.element_id),
            ("key", &self.key),
            ("source", &self.source),
        ] {
            let Some(value) = value else { continue };
            if value.chars().count() > FIELD_CHARACTERS || value.contains('\0') {
                return Err(invalid(format!("{name} has more than {FIELD_CHARACTERS} characters, or a NUL")));
            }
            // Whoever could ask whether a value is there could find out all of them.
            if mask.hides(self.topic.as_deref(), name) || (name == "key" && !mask.is_empty()) {
                return Err(invalid(format!(
                    "{name} is masked here (http.masked_fields), so it cannot be searched for"
                )));
            }
        }
        let us = |name: &str, ms: Option<i64>| -> Result<Option<i64>, Problem> {
            ms.map(|ms| within(name, ms, 0, LAST_MS)).transpose().map(|ms| ms.map(|ms| ms * 1_000))
        };
        let (since_us, until_us) = (us("since_ms", self.since_ms)?, us("until_ms", self.until_ms)?);
        let before = match self.before {
            Some(text) => Some(
                EventKey::from_cursor(&text)
                    .filter(|key| key.stored_at_us <= LAST_MS * 1_000)
                    .ok_or_else(|| invalid(format!("before = {text:?} is not the next of an answer")))?,
            ),
            None => None,
        };
        Ok(EventSearch {
            filter: EventFilter {
                topic: self.topic.map(topic).transpose()?,
                partition: self.partition.map(|number| within("partition", number, 0, i32::MAX)).transpose()?,
                user_id: self.user_id,
                event_type: self.event_type,
                element_id: self.element_id,
                key: self.key,
                source: self.source,
                since_us,
                // The whole of that millisecond.
                until_us: until_us.map(|us| us + 999),
                status: self.status,
            },
            limit: within("limit", self.limit.unwrap_or(LIMIT), 1, MAX_LIMIT)?,
            before,
        })
    }
}
