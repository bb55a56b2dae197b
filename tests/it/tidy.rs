//! The layout of the sources, the arrows between modules, and what documents and dashboards say about the code.

use crate::support::tree::{code, documents, files, is_test_file, root, rust_files, text, words_after};
use drover::config::keys::find_environment;
use drover::metrics::Metrics;
use std::collections::BTreeSet;

/// Fails with every finding at once.
fn none(what: &str, findings: Vec<String>) {
    assert!(findings.is_empty(), "{what}:\n  {}", findings.join("\n  "));
}

/// What stands first in the path of a file of src/: its module.
fn module_of(path: &str) -> &str {
    let rest = path.strip_prefix("src/").unwrap_or(path);
    rest.split('/').next().unwrap_or(rest).trim_end_matches(".rs")
}

#[test]
fn files_are_short_and_say_first_what_they_own() {
    let mut findings = Vec::new();
    for path in rust_files() {
        let text = text(&path);
        let lines = text.lines().count();
        if lines > 400 && !path.ends_with("/schema.rs") {
            findings.push(format!("{path} has {lines} lines, 400 are allowed: two nouns?"));
        }
        if !text.starts_with("//!") {
            findings.push(format!("{path} does not open with //!"));
        }
    }
    none("files", findings);
}

/// For each module those that its code may name beside itself. What is not listed names nothing of the crate.
const ARROWS: &[(&str, &[&str])] = &[
    ("main", &["commands", "cli", "client", "config"]),
    (
        "commands",
        &[
            "app",
            "cli",
            "client",
            "config",
            "telemetry",
            "http",
            "actors",
            "kafka",
            "store",
            "board",
            "metrics",
            "domain",
        ],
    ),
    ("app", &["http", "actors", "kafka", "store", "board", "feed", "metrics", "processor", "config", "domain"]),
    ("actors", &["kafka", "store", "board", "feed", "metrics", "processor", "config", "domain"]),
    ("http", &["store", "board", "feed", "history", "metrics", "config", "domain"]),
    ("kafka", &["config", "domain"]),
    ("store", &["config", "domain"]),
    ("board", &["domain"]),
    ("feed", &["store", "domain"]),
    ("history", &["board", "metrics", "domain"]),
    ("processor", &["domain"]),
    ("cli", &["config"]),
    ("telemetry", &["config"]),
];

#[test]
fn modules_name_only_what_lies_downstream() {
    let mut findings = Vec::new();
    for path in files("src", "rs") {
        let own = module_of(&path);
        let allowed = ARROWS.iter().find(|(module, _)| *module == own).map_or(&[][..], |(_, allowed)| allowed);
        for (at, line) in code(&path) {
            if line.contains("crate::{") {
                findings.push(format!("{path}:{at}: name the modules of the crate one by one: {}", line.trim()));
            }
            for before in ["crate::", "drover::"] {
                for named in words_after(&line, before) {
                    let is_module = root().join(format!("src/{named}.rs")).exists()
                        || root().join(format!("src/{named}/mod.rs")).exists();
                    if is_module && named != own && !allowed.contains(&named) {
                        findings.push(format!("{path}:{at}: {own} may not name {named}: {}", line.trim()));
                    }
                }
            }
        }
    }
    none("arrows", findings);
}

#[test]
fn libraries_are_named_only_by_the_modules_that_own_them() {
    let owners: [(&[&str], &[&str]); 3] = [
        (&["rdkafka", "rdkafka_sys"], &["kafka"]),
        (&["diesel", "diesel_async", "diesel_migrations", "tokio_postgres", "libsqlite3_sys"], &["store"]),
        (&["actix", "actix_web"], &["actors", "app", "http"]),
    ];
    let mut findings = Vec::new();
    for path in files("src", "rs").into_iter().filter(|path| !is_test_file(path)) {
        let own = module_of(&path);
        for (at, line) in code(&path) {
            for (libraries, modules) in owners {
                let named = libraries.iter().find(|library| {
                    let bounded =
                        |at: usize| !line[..at].ends_with(|c: char| c.is_ascii_alphanumeric() || c == '_' || c == ':');
                    line.match_indices(&format!("{library}::")).any(|(at, _)| bounded(at))
                });
                if let Some(library) = named
                    && !modules.contains(&own)
                {
                    findings.push(format!("{path}:{at}: {library} belongs to {}: {}", modules.join(", "), line.trim()));
                }
            }
        }
    }
    none("libraries", findings);
}

#[test]
fn the_domain_knows_no_runtime_and_no_adapter() {
    let mut findings = Vec::new();
    for path in files("src/domain", "rs") {
        for (at, line) in code(&path) {
            let named = [
                "tokio::",
                "rdkafka::",
                "actix::",
                "actix_web::",
                "diesel::",
                "tokio_postgres::",
                "std::fs",
                "std::net",
            ];
            if let Some(named) = named.iter().find(|named| line.contains(**named)) {
                findings.push(format!("{path}:{at}: {named} in domain/: {}", line.trim()));
            }
        }
    }
    none("domain", findings);
}

#[test]
fn no_profile_aborts_on_panic() {
    let manifest: toml::Table = text("Cargo.toml").parse().unwrap();
    let profiles = manifest["profile"].as_table().unwrap();
    for (name, profile) in profiles {
        let panic = profile.get("panic").and_then(toml::Value::as_str).unwrap_or("unwind");
        assert_eq!(panic, "unwind", "profile {name}: supervision catches panics, which must unwind");
    }
}

#[test]
fn nothing_is_left_unfinished_and_only_commands_print() {
    let mut findings = Vec::new();
    for path in rust_files() {
        if path.ends_with("/tidy.rs") {
            continue;
        }
        for (at, line) in text(&path).lines().enumerate() {
            for left in ["todo!(", "unimplemented!(", "dbg!(", "#[ignore"] {
                if line.contains(left) {
                    findings.push(format!("{path}:{}: {left}", at + 1));
                }
            }
        }
    }
    for path in files("src", "rs") {
        if matches!(module_of(&path), "commands" | "main") {
            continue;
        }
        for (at, line) in code(&path) {
            if ["println!(", "eprintln!(", "print!(", "eprint!("].iter().any(|print| line.contains(print)) {
                findings.push(format!("{path}:{at}: prints outside commands/ and main.rs: {}", line.trim()));
            }
        }
    }
    none("leftovers", findings);
}

#[test]
fn every_exception_to_a_lint_says_why() {
    let mut findings = Vec::new();
    for path in rust_files() {
        let text = text(&path);
        for attribute in ["[allow(", "[expect("] {
            for (at, _) in text.match_indices(attribute).filter(|(at, _)| text[..*at].ends_with(['#', '!'])) {
                let rest = &text[at..];
                let whole = &rest[..rest.find(")]").map_or(rest.len(), |end| end)];
                if !whole.contains("reason = \"") {
                    let line = text[..at].lines().count();
                    findings
                        .push(format!("{path}:{line}: {} without a reason", whole.lines().next().unwrap_or_default()));
                }
            }
        }
    }
    none("lints", findings);
}

#[test]
fn every_migration_says_why_and_can_be_taken_back() {
    let mut names: Vec<BTreeSet<String>> = Vec::new();
    for store in ["postgres", "sqlite"] {
        let mut of_store = BTreeSet::new();
        for entry in std::fs::read_dir(root().join("migrations").join(store)).unwrap() {
            let path = entry.unwrap().path();
            let read = |file: &str| std::fs::read_to_string(path.join(file)).unwrap_or_default();
            assert!(read("up.sql").starts_with("--"), "{}: up.sql does not open with its reason", path.display());
            assert!(!read("down.sql").trim().is_empty(), "{}: no down.sql", path.display());
            of_store.insert(path.file_name().unwrap().to_str().unwrap().to_owned());
        }
        assert!(!of_store.is_empty(), "{store} has no migrations");
        names.push(of_store);
    }
    assert_eq!(names[0], names[1], "each migration is there for both stores");
}

/// Names that begin with a metric's prefix, with the colons of recording rules.
fn metric_names(text: &str) -> BTreeSet<String> {
    let is_part = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == ':';
    let words = text.split(|c: char| !is_part(c)).map(|word| word.trim_matches(':'));
    words.filter(|word| word.starts_with("drover_") || word.contains(":drover_")).map(str::to_owned).collect()
}

#[test]
fn dashboards_and_alerts_name_only_metrics_that_exist() {
    let alerts = text("grafana/alerts.yml");
    let rules: BTreeSet<&str> = alerts.lines().filter_map(|line| line.trim().strip_prefix("- record: ")).collect();
    let known = |name: &str| {
        rules.contains(name)
            || Metrics::all().iter().any(|metric| {
                let part = name.strip_prefix(metric.name);
                part == Some("")
                    || metric.kind == "histogram" && part.is_some_and(|p| ["_bucket", "_sum", "_count"].contains(&p))
            })
    };
    let mut sources = files("grafana", "json");
    sources.extend(["grafana/alerts.yml", "grafana/alerts_test.yml"].map(str::to_owned));
    for path in sources {
        let names = metric_names(&text(&path));
        assert!(!names.is_empty(), "{path} names no metric");
        let unknown: Vec<_> = names.into_iter().filter(|name| !known(name)).collect();
        none(&format!("{path} names metrics that do not exist"), unknown);
    }
}

#[test]
fn every_alert_has_its_section_in_the_runbook() {
    let headings: BTreeSet<String> =
        text("docs/OPERATIONS.md").lines().filter_map(|line| line.strip_prefix('#')).map(anchor).collect();
    let alerts = text("grafana/alerts.yml");
    let count = alerts.matches("- alert: ").count();
    let runbooks: Vec<&str> = words_in_links(&alerts, "runbook: docs/OPERATIONS.md#");
    assert_eq!(runbooks.len(), count, "each alert names its section");
    none("alerts without a section", missing(&runbooks, &headings));
}

/// The anchor that GitHub makes of a heading.
fn anchor(heading: &str) -> String {
    let kept = heading.trim_start_matches('#').trim().to_lowercase();
    kept.chars()
        .filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'))
        .map(|c| if c == ' ' { '-' } else { c })
        .collect()
}

fn words_in_links<'a>(text: &'a str, before: &str) -> Vec<&'a str> {
    text.match_indices(before)
        .map(|(at, _)| text[at + before.len()..].split_whitespace().next().unwrap_or(""))
        .collect()
}

fn missing(wanted: &[&str], there: &BTreeSet<String>) -> Vec<String> {
    wanted.iter().filter(|one| !there.contains(**one)).map(|one| (*one).to_owned()).collect()
}

#[test]
fn links_between_documents_lead_somewhere() {
    let mut findings = Vec::new();
    for document in documents().into_iter().chain(["CHANGELOG.md".to_owned()]) {
        let text_of = text(&document);
        let directory = root().join(&document).parent().unwrap().to_owned();
        for (at, _) in text_of.match_indices("](") {
            let target = text_of[at + 2..].split(')').next().unwrap_or_default();
            if target.contains("://") {
                continue;
            }
            let (path, fragment) = target.split_once('#').unwrap_or((target, ""));
            let file = if path.is_empty() { root().join(&document) } else { directory.join(path) };
            let Ok(found) = std::fs::read_to_string(&file) else {
                if !file.exists() {
                    findings.push(format!("{document}: {target}: no such file"));
                }
                continue;
            };
            let anchors: Vec<String> = found.lines().filter(|line| line.starts_with('#')).map(anchor).collect();
            if !fragment.is_empty() && !anchors.iter().any(|anchor| anchor == fragment) {
                findings.push(format!("{document}: {target}: no such section"));
            }
        }
    }
    none("links", findings);
}

#[test]
fn the_tests_that_architecture_names_exist() {
    let sources: String = rust_files().iter().map(|path| text(path)).collect();
    let architecture = text("docs/ARCHITECTURE.md");
    let mut column = None;
    let mut checked = 0;
    let mut findings = Vec::new();
    for line in architecture.lines() {
        if !line.starts_with('|') {
            column = None;
            continue;
        }
        let cells: Vec<&str> = line.trim_matches('|').split('|').map(str::trim).collect();
        match column {
            None => column = Some(cells.iter().position(|cell| *cell == "Guarded by")),
            Some(Some(at)) if !line.starts_with("| ---") => {
                let cell = cells.get(at).copied().unwrap_or_default();
                let tests: Vec<&str> = cell.split('`').skip(1).step_by(2).collect();
                if tests.is_empty() && !cell.contains("no test yet") {
                    findings.push(format!("{line}: neither a test nor \"no test yet\""));
                }
                checked += tests.len();
                let gone = tests.into_iter().filter(|test| !sources.contains(&format!("fn {test}(")));
                findings.extend(gone.map(|test| format!("there is no test {test}")));
            }
            Some(_) => {}
        }
    }
    none("tests of invariants", findings);
    assert!(checked > 30, "only {checked} tests are named; was the column renamed?");
}

#[test]
fn the_environment_of_the_guide_and_of_the_compose_file_is_understood() {
    for name in [
        "KAFKA_BOOTSTRAP_SERVERS",
        "KAFKA_TOPIC_USER_EVENTS",
        "CONSUMER_GROUP",
        "MAX_CONSUMERS",
        "TOPIC_PARTITIONS",
        "DATABASE_URL",
    ] {
        assert!(find_environment(name).is_some(), "{name}");
    }
    let compose = text("docker-compose.yml");
    let names: Vec<&str> = compose
        .lines()
        .filter_map(|line| line.trim().split_once(": "))
        .map(|(name, _)| name)
        .filter(|name| name.starts_with("DROVER_"))
        .collect();
    assert!(!names.is_empty());
    for name in names {
        assert!(find_environment(name).is_some(), "docker-compose.yml sets {name}, which drover does not know");
    }
}
