//! What was stored in the last minutes, from the rollups, and what is frequent, from the sketch of this process. Bound: the
//! minutes that may be asked for. Fails with 503 while the store does not answer.

use std::collections::BTreeMap;

use actix_web::{HttpRequest, HttpResponse, web};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::HttpState;
use super::error::Problem;
use super::query::{query, within};
use crate::domain::mask::MASKED;
use crate::domain::sketch;
use crate::store::statistics::{MOST_DEAD_LETTERS, StoredStatistics};

/// Minutes when the request does not say, and most of them: a day.
const MINUTES: u32 = 60;
const MOST_MINUTES: u32 = 1_440;
/// Frequent names that are shown of each kind.
const TOP: usize = 10;

/// How far back to count.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields, default)]
#[into_params(parameter_in = Query)]
pub(super) struct StatisticsQuery {
    /// Minutes, the present one included; 60 if not said.
    #[param(minimum = 1, maximum = 1440)]
    minutes: Option<u32>,
}

/// Sums over the minutes.
#[derive(Serialize, ToSchema)]
#[schema(as = StatisticsTotals)]
struct Totals {
    /// Rows.
    stored: i64,
    /// Dead letters.
    dead_letters: i64,
    /// There are more dead letters than were counted.
    dead_letters_capped: bool,
}

/// Rows of one type.
#[derive(Serialize, ToSchema)]
struct OfType {
    /// Type.
    event_type: String,
    /// Rows.
    count: i64,
}

/// Rows of one minute.
#[derive(Serialize, ToSchema)]
struct OfMinute {
    /// Its beginning, in milliseconds since the epoch.
    minute_ms: i64,
    /// Rows.
    count: i64,
}

/// A frequent name.
#[derive(Serialize, ToSchema)]
struct Frequent {
    /// The name.
    name: String,
    /// How often it was seen, at most.
    count: u64,
    /// By how much that may be too high.
    error: u64,
}

/// What was stored lately.
#[derive(Serialize, ToSchema)]
pub(super) struct Statistics {
    /// Sums over the minutes.
    totals: Totals,
    /// The most frequent types, at most 100.
    by_type: Vec<OfType>,
    /// Every minute, oldest first; the last one is not over yet.
    per_minute: Vec<OfMinute>,
    /// The elements that this process has seen most.
    top_elements: Vec<Frequent>,
    /// The users that this process has seen most.
    top_users: Vec<Frequent>,
    /// Since when the two above are counted, in milliseconds since the epoch.
    sketch_since_ms: i64,
}

/// What was stored in the last minutes, and what is frequent
///
/// Counts come from the rollups that every transaction keeps, and are of the whole group. The frequent elements and users are
/// those of the answering process since its start, in bounded memory: each count is too high by at most its error. Of batches of
/// more than 16 rows a part stands for all of them.
#[utoipa::path(get, path = "/api/v1/statistics", tag = "events", params(StatisticsQuery),
    responses((status = 200, description = "The counts.", body = Statistics)))]
pub(super) async fn statistics(state: web::Data<HttpState>, request: HttpRequest) -> Result<HttpResponse, Problem> {
    let asked: StatisticsQuery = query(&request)?;
    let minutes = within("minutes", asked.minutes.unwrap_or(MINUTES), 1, MOST_MINUTES)?;
    let stored = state.events.get()?.statistics(minutes).await?;
    let most = state.popular.most_frequent(TOP);
    let names = |column: &str, frequent: Vec<sketch::Frequent>| -> Vec<Frequent> {
        if state.mask.hides(None, column) {
            return Vec::new();
        }
        let shown = |one: sketch::Frequent| Frequent { name: one.name, count: one.count, error: one.error };
        frequent.into_iter().map(shown).collect()
    };
    let hidden = state.mask.hides(None, "event_type");
    Ok(HttpResponse::Ok().json(Statistics {
        per_minute: every_minute(&stored, minutes, chrono::Utc::now().timestamp_millis()),
        totals: Totals {
            stored: stored.stored,
            dead_letters: stored.dead_letters,
            dead_letters_capped: stored.dead_letters >= MOST_DEAD_LETTERS,
        },
        by_type: stored
            .by_type
            .into_iter()
            .map(|(name, count)| OfType { event_type: if hidden { MASKED.to_owned() } else { name }, count })
            .collect(),
        top_elements: names("element_id", most.elements),
        top_users: names("user_id", most.users),
        sketch_since_ms: most.since_ms,
    }))
}

/// All minutes up to now, also those without rows, and one that the store's clock is ahead by.
fn every_minute(stored: &StoredStatistics, minutes: u32, now_ms: i64) -> Vec<OfMinute> {
    let this_minute = now_ms - now_ms.rem_euclid(60_000);
    let asked = (0..i64::from(minutes)).map(|ago| (this_minute - ago * 60_000, 0));
    let mut counts: BTreeMap<i64, i64> = asked.collect();
    counts.extend(stored.per_minute.iter().copied());
    counts.into_iter().map(|(minute_ms, count)| OfMinute { minute_ms, count }).collect()
}
