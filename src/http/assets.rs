//! The status page and what belongs to it, embedded in the binary. Bound: four small files. Unknown names are a 404.

use actix_web::http::header;
use actix_web::{HttpRequest, HttpResponse, web};

use super::error;

/// `GET /`: the page.
pub(super) async fn index() -> HttpResponse {
    file("text/html; charset=utf-8", include_str!("page/index.html"))
}

/// `GET /assets/{name}`: what the page loads.
pub(super) async fn asset(request: HttpRequest, name: web::Path<String>) -> HttpResponse {
    match name.as_str() {
        "page.css" => file("text/css; charset=utf-8", include_str!("page/page.css")),
        "page.js" => file("text/javascript; charset=utf-8", include_str!("page/page.js")),
        "icon.svg" => file("image/svg+xml", include_str!("page/icon.svg")),
        _ => error::not_found(request).await.into(),
    }
}

/// Asked for again each time, because the names stay the same when drover is updated.
fn file(content_type: &'static str, text: &'static str) -> HttpResponse {
    HttpResponse::Ok().content_type(content_type).insert_header((header::CACHE_CONTROL, "no-cache")).body(text)
}
