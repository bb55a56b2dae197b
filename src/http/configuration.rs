//! The settings that are in force, each with where it came from. Secrets were hidden before they came here. Cannot fail.

use actix_web::{HttpResponse, web};
use serde::Serialize;
use utoipa::ToSchema;

use super::HttpState;
use crate::config::Setting;

/// A setting.
#[derive(Serialize, ToSchema)]
struct ShownSetting<'a> {
    /// Its path in `drover.toml`.
    name: &'a str,
    /// Its value, `***` where it is secret; null when it has none.
    value: Option<&'a str>,
    /// Where the value came from.
    #[schema(example = "default")]
    source: String,
}

/// All settings.
#[derive(Serialize, ToSchema)]
pub(super) struct Configuration<'a> {
    /// In the order of the documentation.
    settings: Vec<ShownSetting<'a>>,
}

/// The settings that are in force
///
/// What `drover config show` prints, of the answering process.
#[utoipa::path(get, path = "/api/v1/configuration", tag = "process",
    responses((status = 200, description = "The settings.", body = Configuration<'_>)))]
pub(super) async fn configuration(state: web::Data<HttpState>) -> HttpResponse {
    fn setting(one: &Setting) -> ShownSetting<'_> {
        let Setting { key, value, source } = one;
        ShownSetting { name: key, value: value.as_deref(), source: source.to_string() }
    }
    HttpResponse::Ok().json(Configuration { settings: state.settings.iter().map(setting).collect() })
}
