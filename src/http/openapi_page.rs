//! The description of the API as a page for people: made from the document on the server, without a script and with one style
//! sheet of our own. Pure; all text is escaped. As large as the document.

use serde_json::Value;
use std::fmt::Write as _;

/// The methods that the API has, in the order of the page.
const METHODS: [&str; 3] = ["get", "post", "delete"];

/// The page. Links are relative to `/api`, so that it works below any base path.
pub(super) fn page(document: &Value) -> String {
    let title = escaped(text(&document["info"]["title"]));
    let mut html = format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n<title>{title} API</title>\n\
         <link rel=\"stylesheet\" href=\"api/page.css\">\n</head>\n<body>\n<main>\n<h1>{title} API <small>{}</small></h1>\n\
         <p>{}</p>\n<p><a href=\"api/v1/openapi.json\">OpenAPI {}</a></p>\n",
        escaped(text(&document["info"]["version"])),
        prose(text(&document["info"]["description"])),
        escaped(text(&document["openapi"])),
    );
    let tags = list(&document["tags"]);
    html.push_str("<nav aria-label=\"Sections\"><ul>\n");
    for name in tags.iter().map(|tag| text(&tag["name"])).chain(["types"]) {
        let _ = writeln!(html, "<li><a href=\"#{0}\">{0}</a></li>", escaped(name));
    }
    html.push_str("</ul></nav>\n");
    for tag in tags {
        let name = text(&tag["name"]);
        let about = prose(text(&tag["description"]));
        let _ = writeln!(html, "<section>\n<h2 id=\"{0}\">{0}</h2>\n<p>{about}</p>", escaped(name));
        for (path, item) in members(&document["paths"]) {
            for method in METHODS {
                let operation = &item[method];
                if list(&operation["tags"]).iter().any(|tag| tag == name) {
                    show_operation(&mut html, method, path, operation);
                }
            }
        }
        html.push_str("</section>\n");
    }
    html.push_str("<section>\n<h2 id=\"types\">types</h2>\n");
    for (name, schema) in members(&document["components"]["schemas"]) {
        show_schema(&mut html, name, schema);
    }
    html.push_str("</section>\n</main>\n</body>\n</html>\n");
    html
}

fn show_operation(html: &mut String, method: &str, path: &str, operation: &Value) {
    let _ = writeln!(
        html,
        "<article>\n<h3><span class=\"method\">{}</span> <code>{}</code></h3>\n<p><strong>{}</strong></p>",
        method.to_uppercase(),
        escaped(path),
        prose(text(&operation["summary"])),
    );
    if let Some(about) = operation["description"].as_str() {
        let _ = writeln!(html, "<p>{}</p>", prose(about));
    }
    let parameters = list(&operation["parameters"]);
    if !parameters.is_empty() {
        table(html, ["Parameter", "Type", "Meaning"]);
        for one in parameters {
            let needed = if one["required"] == true { "" } else { " <small>optional</small>" };
            let name = format!("<code>{}</code>{needed}", escaped(text(&one["name"])));
            row(html, &name, &type_of(&one["schema"]), &prose(text(&one["description"])));
        }
        html.push_str("</tbody></table></div>\n");
    }
    if let Some((_, body)) = members(&operation["requestBody"]["content"]).next() {
        let _ = writeln!(html, "<p>Body: {}</p>", type_of(&body["schema"]));
    }
    table(html, ["Answer", "Type", "Meaning"]);
    for (status, answer) in members(&operation["responses"]) {
        let body = members(&answer["content"]).next().map(|(_, body)| type_of(&body["schema"])).unwrap_or_default();
        row(html, &escaped(status), &body, &prose(text(&answer["description"])));
    }
    html.push_str("</tbody></table></div>\n</article>\n");
}

fn show_schema(html: &mut String, name: &str, schema: &Value) {
    let name = escaped(name);
    let _ = writeln!(html, "<article>\n<h3 id=\"type-{name}\"><code>{name}</code></h3>");
    if let Some(about) = schema["description"].as_str() {
        let _ = writeln!(html, "<p>{}</p>", prose(about));
    }
    let parts: Vec<&Value> = match schema["allOf"].as_array() {
        Some(parts) => parts.iter().collect(),
        None => vec![schema],
    };
    let mut has_table = false;
    for part in parts {
        if part["properties"].is_object() {
            if !has_table {
                table(html, ["Field", "Type", "Meaning"]);
                has_table = true;
            }
            for (field, of) in members(&part["properties"]) {
                row(html, &format!("<code>{}</code>", escaped(field)), &type_of(of), &prose(text(&of["description"])));
            }
        } else if has_table {
            row(html, "…", &type_of(part), "All fields of it.");
        } else {
            let _ = writeln!(html, "<p>{}</p>", type_of(part));
        }
    }
    if has_table {
        html.push_str("</tbody></table></div>\n");
    }
    html.push_str("</article>\n");
}

fn table(html: &mut String, [first, second, third]: [&str; 3]) {
    let _ = writeln!(
        html,
        "<div class=\"scroll\" tabindex=\"0\"><table><thead><tr><th>{first}</th><th>{second}</th><th>{third}</th></tr></thead><tbody>"
    );
}

fn row(html: &mut String, first: &str, second: &str, third: &str) {
    let _ = writeln!(html, "<tr><td>{first}</td><td>{second}</td><td>{third}</td></tr>");
}

/// A type in a few words, with links to what it is made of.
fn type_of(schema: &Value) -> String {
    if let Some(name) = schema["$ref"].as_str().and_then(|path| path.rsplit('/').next()) {
        let name = escaped(name);
        return format!("<a href=\"#type-{name}\">{name}</a>");
    }
    for (key, between) in [("oneOf", " or "), ("anyOf", " or "), ("allOf", " and ")] {
        if let Some(all) = schema[key].as_array() {
            return all.iter().map(type_of).collect::<Vec<_>>().join(between);
        }
    }
    if let Some(names) = schema["enum"].as_array() {
        return names
            .iter()
            .map(|name| format!("<code>{}</code>", escaped(&name.to_string())))
            .collect::<Vec<_>>()
            .join(" ");
    }
    let names: Vec<&str> = match &schema["type"] {
        Value::String(one) => vec![one],
        Value::Array(several) => several.iter().filter_map(Value::as_str).collect(),
        _ => vec!["anything"],
    };
    let name = |&name: &&str| match name {
        "array" => format!("list of {}", type_of(&schema["items"])),
        _ => escaped(name),
    };
    let mut words = names.iter().map(name).collect::<Vec<_>>().join(" or ");
    let bounds = [("minimum", "≥ "), ("maximum", "≤ "), ("maxLength", "characters ≤ ")];
    for (bound, sign) in bounds.into_iter().filter(|(bound, _)| !schema[*bound].is_null()) {
        let _ = write!(words, ", {sign}{}", escaped(&schema[bound].to_string()));
    }
    words
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

fn members(value: &Value) -> impl Iterator<Item = (&str, &Value)> {
    value.as_object().into_iter().flatten().map(|(name, value)| (name.as_str(), value))
}

/// Text with its code spans.
fn prose(text: &str) -> String {
    let code = |(at, part): (usize, &str)| {
        let part = escaped(part);
        if at % 2 == 1 { format!("<code>{part}</code>") } else { part }
    };
    text.split('`').enumerate().map(code).collect()
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;").replace('\'', "&#39;")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_the_document_says_is_shown_and_never_obeyed() {
        let evil = "<script>alert(1)</script>\"'&";
        let document = json!({
            "openapi": "3.1.0",
            "info": { "title": evil, "version": evil, "description": "a `code` span" },
            "tags": [{ "name": "events", "description": evil }],
            "paths": { "/x<y>": { "get": {
                "tags": ["events"], "summary": evil, "parameters": [{ "name": evil, "schema": { "type": evil } }],
                "responses": { "200": { "description": evil, "content": { "a": { "schema": { "$ref": "#/a/Thing" } } } } },
            } } },
            "components": { "schemas": { "Thing": { "properties": { "one": {
                "type": ["array", "null"], "items": { "$ref": "#/x/Other" }, "description": "a field",
            } } } } },
        });
        let page = page(&document);
        assert!(!page.contains("<script") && !page.contains("style="), "{page}");
        assert!(page.contains("a <code>code</code> span"), "{page}");
        assert!(page.contains("<td>200</td><td><a href=\"#type-Thing\">Thing</a></td>"), "{page}");
        assert!(page.contains("list of <a href=\"#type-Other\">Other</a> or null"), "{page}");
        assert!(page.contains("<code>/x&lt;y&gt;</code>"), "{page}");
    }
}
