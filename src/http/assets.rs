//! The page and what it loads, embedded in the binary (a debug build reads them at its start, so that they can be worked on). Bound: the files of `dashboard/dist`, each kept once as it is and once
//! compressed. What is not there is a 404, and below the root the page itself, which knows its own paths.
//!
//! Names below `assets/` carry a hash of their content, so a browser keeps them for good; the page itself it asks for again
//! each time.

use std::borrow::Cow;
use std::collections::HashMap;
use std::io::Write as _;

use actix_web::http::header::{self, HeaderMap};
use actix_web::http::{Method, StatusCode};
use actix_web::web::Bytes;
use actix_web::{HttpRequest, HttpResponse, web};
use flate2::Compression;
use flate2::write::GzEncoder;

use super::HttpState;
use super::auth::without_base;
use super::error;

/// The built dashboard.
#[derive(rust_embed::Embed)]
#[folder = "dashboard/dist"]
struct Dist;

/// The page.
const INDEX: &str = "index.html";
/// First segments that are no paths of the page.
const NOT_OF_THE_PAGE: [&str; 4] = ["api", "assets", "health", "metrics"];

struct Asset {
    content_type: &'static str,
    plain: Bytes,
    /// There where it is smaller.
    gzip: Option<Bytes>,
    etag: String,
    cache: &'static str,
}

/// See the module.
pub(super) struct Assets(HashMap<String, Asset>);

impl Assets {
    /// Everything that is embedded, for a server below `base_path`.
    pub(super) fn new(base_path: &str) -> Self {
        let mut files = HashMap::new();
        for name in Dist::iter() {
            let Some(file) = Dist::get(&name) else { continue };
            files.insert(name.into_owned(), (file.data, file.metadata.sha256_hash()));
        }
        let assets = files.into_iter().map(|(name, (data, hash))| {
            let data = if name == INDEX { with_base(data, base_path) } else { data };
            // Where the server stands is not in the file, so it must be in the tag.
            let etag = format!("W/\"{}{}\"", hex(&hash[..12]), base_path.replace(['/', '"'], "-"));
            let asset = Asset::new(&name, data, etag);
            (name, asset)
        });
        Self(assets.collect())
    }
}

impl Asset {
    fn new(name: &str, data: Cow<'static, [u8]>, etag: String) -> Self {
        let plain = Bytes::from(data.into_owned());
        let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
        let gzip = encoder.write_all(&plain).and_then(|()| encoder.finish());
        let gzip = gzip.ok().filter(|gzip| gzip.len() < plain.len()).map(Bytes::from);
        let cache = if name.starts_with("assets/") { "public, max-age=31536000, immutable" } else { "no-cache" };
        Self { content_type: content_type(name), plain, gzip, etag, cache }
    }

    fn answer(&self, headers: &HeaderMap) -> HttpResponse {
        let text =
            |name: header::HeaderName| headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
        let known = text(header::IF_NONE_MATCH).split(',').any(|tag| tag.trim() == self.etag);
        let mut response = HttpResponse::build(if known { StatusCode::NOT_MODIFIED } else { StatusCode::OK });
        response
            .insert_header((header::CACHE_CONTROL, self.cache))
            .insert_header((header::ETAG, self.etag.as_str()))
            .insert_header((header::VARY, "accept-encoding"));
        if known {
            return response.finish();
        }
        response.content_type(self.content_type);
        let takes_gzip = text(header::ACCEPT_ENCODING).split(',').any(|coding| {
            let (name, quality) = coding.split_once(';').unwrap_or((coding, ""));
            name.trim() == "gzip" && !matches!(quality.trim(), "q=0" | "q=0.0" | "q=0.00" | "q=0.000")
        });
        match &self.gzip {
            Some(gzip) if takes_gzip => response.insert_header((header::CONTENT_ENCODING, "gzip")).body(gzip.clone()),
            _ => response.insert_header((header::CONTENT_ENCODING, "identity")).body(self.plain.clone()),
        }
    }
}

/// Answers with a file of the dashboard, or with the page where a path is the page's own.
pub(super) async fn page(state: web::Data<HttpState>, request: HttpRequest) -> HttpResponse {
    let path = without_base(&state.config, request.path()).trim_start_matches('/').to_owned();
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        return error::not_found(request).await.into();
    }
    let first = path.split('/').next().unwrap_or_default();
    let of_the_page = !NOT_OF_THE_PAGE.contains(&first) && !path.rsplit('/').next().unwrap_or_default().contains('.');
    let files = &state.assets.0;
    match files.get(&path).or_else(|| files.get(INDEX).filter(|_| of_the_page)) {
        Some(asset) => asset.answer(request.headers()),
        None => error::not_found(request).await.into(),
    }
}

/// The page with the path below which its links are.
fn with_base(html: Cow<'static, [u8]>, base_path: &str) -> Cow<'static, [u8]> {
    let Ok(text) = std::str::from_utf8(&html) else { return html };
    let tag = format!("<base href=\"{base_path}/\">");
    let (from, to) = match (text.find("<base "), text.find("<head>")) {
        (Some(from), _) => (from, text[from..].find('>').map_or(text.len(), |end| from + end + 1)),
        (None, Some(head)) => (head + "<head>".len(), head + "<head>".len()),
        (None, None) => return html,
    };
    Cow::Owned([&text[..from], &tag, &text[to..]].concat().into_bytes())
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn content_type(name: &str) -> &'static str {
    match name.rsplit('.').next().unwrap_or_default() {
        "html" => "text/html; charset=utf-8",
        "js" | "mjs" => "text/javascript; charset=utf-8",
        "css" => "text/css; charset=utf-8",
        "svg" => "image/svg+xml",
        "png" => "image/png",
        "ico" => "image/x-icon",
        "json" | "map" => "application/json",
        "webmanifest" => "application/manifest+json",
        "woff2" => "font/woff2",
        "txt" => "text/plain; charset=utf-8",
        _ => "application/octet-stream",
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a missing value is the failure of the test")]
    use super::*;

    #[test]
    fn the_page_is_told_where_its_links_are() {
        let with = |html: &'static str, base: &str| {
            String::from_utf8(with_base(Cow::Borrowed(html.as_bytes()), base).into_owned()).unwrap()
        };
        assert_eq!(with("<html><head><title>", ""), "<html><head><base href=\"/\"><title>");
        assert_eq!(with("<head><base href=\"/x/\" /><title>", "/drover"), "<head><base href=\"/drover/\"><title>");
        assert_eq!(with("<p>", "/drover"), "<p>");
    }

    #[test]
    fn an_asset_comes_compressed_to_who_takes_it_and_not_again_to_who_has_it() {
        let asset = Asset::new("assets/a.js", Cow::Owned(b"a".repeat(1_000)), "W/\"tag\"".to_owned());
        let ask = |name: header::HeaderName, value: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert(name, header::HeaderValue::from_static(value));
            let answer = asset.answer(&headers);
            let coding = answer.headers().get(header::CONTENT_ENCODING).map(|value| value.to_str().unwrap().to_owned());
            (answer.status().as_u16(), coding.unwrap_or_default())
        };
        assert_eq!(ask(header::ACCEPT_ENCODING, "br, gzip"), (200, "gzip".to_owned()));
        assert_eq!(ask(header::ACCEPT_ENCODING, "gzip;q=0"), (200, "identity".to_owned()));
        assert_eq!(ask(header::ACCEPT_ENCODING, "br"), (200, "identity".to_owned()));
        assert_eq!(ask(header::IF_NONE_MATCH, "W/\"other\", W/\"tag\""), (304, String::new()));
        assert_eq!(asset.cache, "public, max-age=31536000, immutable");
        assert_eq!(Asset::new("index.html", Cow::Borrowed(b"x"), String::new()).cache, "no-cache");
    }
}
