//! The description of the API: it is the one in docs/openapi.json, it describes every route, and its page needs nobody's
//! script.
//!
//! With DROVER_UPDATE_DOCS=1 docs/openapi.json is written anew instead of compared.

use crate::support::server::Running;
use crate::support::tree::{files, root, text};
use serde_json::Value;
use std::collections::BTreeSet;

const SNAPSHOT: &str = "docs/openapi.json";
/// Routes that answer with pages and what they load.
const PAGES: [&str; 4] = ["/", "/assets/{name:.*}", "/api", "/api/page.css"];

fn document() -> Value {
    serde_json::from_str(&drover::http::openapi().to_pretty_json().unwrap()).unwrap()
}

#[test]
fn the_description_in_the_repository_is_the_one_that_is_served() {
    let now = format!("{}\n", drover::http::openapi().to_pretty_json().unwrap());
    if std::env::var_os("DROVER_UPDATE_DOCS").is_some() {
        std::fs::write(root().join(SNAPSHOT), &now).unwrap();
    }
    assert!(
        text(SNAPSHOT) == now,
        "{SNAPSHOT} is not what the code says; run: DROVER_UPDATE_DOCS=1 cargo test --test it openapi"
    );
    let server = Running::start(None);
    let answer = server.get("/api/v1/openapi.json");
    assert_eq!(answer.headers()["content-type"], "application/json");
    assert_eq!(answer.json::<Value>().unwrap(), document());
    assert!(document()["openapi"].as_str().unwrap().starts_with("3.1"));
}

/// The paths of all routes, from the source: what is not there cannot be asked for.
fn routes() -> BTreeSet<String> {
    let source = text("src/http/mod.rs");
    let routes = &source[source.find("\nfn routes(").unwrap()..];
    let routes = &routes[..routes.find("\n}\n").unwrap()];
    routes
        .split('"')
        .skip(1)
        .step_by(2)
        .filter(|text| text.starts_with('/'))
        .map(|path| path.replace("{order:pause|resume|quarantine|release}", "{order}"))
        .collect()
}

#[test]
fn every_route_is_described_and_nothing_else_is() {
    let mut routes = routes();
    for page in PAGES {
        assert!(routes.remove(page), "{page}");
    }
    let document = document();
    let described: BTreeSet<String> = document["paths"].as_object().unwrap().keys().cloned().collect();
    assert_eq!(routes, described);
    for (path, item) in document["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            let of = format!("{method} {path}");
            assert!(operation["summary"].as_str().is_some_and(|summary| !summary.is_empty()), "{of} has no summary");
            let answers = operation["responses"].as_object().unwrap();
            assert!(answers.keys().any(|status| status.starts_with('2')), "{of} never succeeds");
            for (status, answer) in answers.iter().filter(|(status, _)| !status.starts_with('2')) {
                if path.starts_with("/health/") && status == "503" {
                    continue;
                }
                assert!(
                    answer["content"]["application/problem+json"].is_object(),
                    "{of}: {status} is no problem document"
                );
            }
        }
    }
}

/// Two types of one name would be described by one of them.
#[test]
fn every_type_has_a_name_of_its_own() {
    let mut seen = BTreeSet::new();
    for path in files("src", "rs") {
        let source = text(&path);
        for (at, _) in source.match_indices("ToSchema)]\n") {
            let words = |before: &str| {
                let item = source[at..].lines().find(|line| line.contains(before))?;
                let (_, name) = item.split_once(before)?;
                Some(name.split(|c: char| !c.is_alphanumeric()).next().unwrap().to_owned())
            };
            let item = &source[at..source[at..].find(['{', ';']).map_or(source.len(), |end| at + end)];
            let renamed = item.contains("schema(as = ").then(|| words("schema(as = ")).flatten();
            let kind = if item.contains("enum ") { "enum " } else { "struct " };
            let name = renamed.or_else(|| words(kind)).unwrap();
            assert!(
                seen.insert(name.clone()),
                "{path}: there is another type {name}; give it a name with #[schema(as = ...)]"
            );
        }
    }
    assert!(seen.len() > 50, "only {} types were found", seen.len());
}

#[test]
fn every_reference_leads_to_a_type() {
    fn references(value: &Value, found: &mut BTreeSet<String>) {
        match value {
            Value::Object(members) => {
                found.extend(members.get("$ref").and_then(Value::as_str).map(str::to_owned));
                members.values().for_each(|value| references(value, found));
            }
            Value::Array(items) => items.iter().for_each(|value| references(value, found)),
            _ => {}
        }
    }
    let document = document();
    let mut found = BTreeSet::new();
    references(&document, &mut found);
    assert!(found.len() > 30, "{found:?}");
    for reference in found {
        let name = reference.strip_prefix("#/components/schemas/").unwrap();
        assert!(document["components"]["schemas"][name].is_object(), "{reference} leads nowhere");
    }
}

#[test]
fn the_page_shows_every_route_without_a_script_or_a_style_of_its_own() {
    let server = Running::start(Some("a-very-secret-token"));
    let answer = server.get("/api");
    assert_eq!(answer.status(), 200, "what can be asked is no secret");
    assert_eq!(answer.headers()["content-type"], "text/html; charset=utf-8");
    assert!(answer.headers()["content-security-policy"].to_str().unwrap().starts_with("default-src 'none';"));
    let page = answer.text().unwrap();
    for path in document()["paths"].as_object().unwrap().keys() {
        assert!(page.contains(&format!("<code>{path}</code>")), "{path} is not on the page");
    }
    for part in ["<script", "<style", "style=", "http://", "https://", "onclick"] {
        assert!(!page.contains(part), "{part}");
    }
    let anchors: BTreeSet<&str> = page.split("id=\"").skip(1).filter_map(|rest| rest.split('"').next()).collect();
    for link in page.split("href=\"").skip(1).filter_map(|rest| rest.split('"').next()) {
        match link.strip_prefix('#') {
            Some(anchor) => assert!(anchors.contains(anchor), "{link} leads nowhere"),
            None => assert_eq!(server.get(&format!("/{link}")).status(), 200, "{link}"),
        }
    }
    assert_eq!(server.get("/api/page.css").headers()["content-type"], "text/css; charset=utf-8");
}
