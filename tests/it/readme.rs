//! The README and the documents say what the program does: their tables come from the code, their commands parse, their
//! settings load.
//!
//! With DROVER_UPDATE_DOCS=1 the tables are written anew instead of compared.

use crate::support::tree::{between, blocks, documents, markers, root, text};
use clap::{CommandFactory as _, Parser as _};
use drover::cli::Cli;
use drover::config::keys::{self, find_environment};
use drover::config::table::KEYS;
use drover::config::{ConfigFile, Inputs, Needs, load};
use drover::domain::failure::{DeadLetterCode, StopCode};
use drover::metrics::Metrics;
use std::fmt::Write as _;
use std::process::Command;

/// Every command with what it does, those below others too.
fn commands() -> String {
    fn rows(command: &clap::Command, name: &str, out: &mut String) {
        let below: Vec<_> = command.get_subcommands().filter(|below| below.get_name() != "help").collect();
        if below.is_empty() {
            let about = command.get_about().map(ToString::to_string).unwrap_or_default();
            writeln!(out, "| `{name}` | {about}{} |", if about.ends_with('.') { "" } else { "." }).unwrap();
        }
        for command in below {
            rows(command, &format!("{name} {}", command.get_name()), out);
        }
    }
    let mut table = "| Command | What it does |\n| --- | --- |\n".to_owned();
    rows(&Cli::command(), "drover", &mut table);
    table
}

fn environment() -> String {
    let named = KEYS.iter().filter_map(|key| Some((key.legacy?, key)));
    let rows = named.map(|(name, key)| format!("| `{name}` | `{}` | {} |\n", key.path, key.doc));
    std::iter::once("| Name | Setting | Meaning |\n| --- | --- | --- |\n".to_owned()).chain(rows).collect()
}

fn metrics() -> String {
    let rows = Metrics::all().iter().map(|metric| {
        let labels: Vec<String> = metric.labels.iter().map(|label| format!("`{label}`")).collect();
        format!("| `{}` | {} | {} | {} |\n", metric.name, metric.kind, labels.join(", "), metric.help)
    });
    std::iter::once("| Metric | Type | Labels | Meaning |\n| --- | --- | --- | --- |\n".to_owned())
        .chain(rows)
        .collect()
}

fn dead_letter_codes() -> String {
    let row = |name: String, code: &DeadLetterCode| format!("| `{name}` | {} | {} |\n", code.stage(), code.meaning());
    let fixed = DeadLetterCode::FIXED.iter().map(|code| row(code.to_string(), code));
    let database = row("db.SQLSTATE".into(), &DeadLetterCode::Database("22003".into()));
    let head = "| Code | Stage | Meaning |\n| --- | --- | --- |\n".to_owned();
    std::iter::once(head).chain(fixed).chain([database]).collect()
}

fn stop_codes() -> String {
    let rows = StopCode::ALL.iter().map(|code| {
        let anchor = code.as_str().replace('.', "");
        format!("| [`{code}`](docs/OPERATIONS.md#{anchor}) | {} |\n", code.meaning())
    });
    std::iter::once("| Code | Meaning |\n| --- | --- |\n".to_owned()).chain(rows).collect()
}

#[test]
fn the_tables_of_the_readme_come_from_the_code() {
    let mut readme = text("README.md");
    let update = std::env::var_os("DROVER_UPDATE_DOCS").is_some();
    for (name, table) in [
        ("commands", commands()),
        ("environment", environment()),
        ("settings", keys::markdown()),
        ("metrics", metrics()),
        ("dead-letter codes", dead_letter_codes()),
        ("stop codes", stop_codes()),
    ] {
        let table = table.trim_end();
        if update {
            let (begin, end) = markers(name);
            let from = readme.find(&begin).unwrap() + begin.len();
            let to = readme.find(&end).unwrap();
            readme.replace_range(from..to, &format!("\n{table}\n"));
        } else {
            assert!(
                between(&readme, name) == table,
                "the table of {name} is not what the code says; run: DROVER_UPDATE_DOCS=1 cargo test --test it readme"
            );
        }
    }
    if update {
        std::fs::write(root().join("README.md"), readme).unwrap();
    }
}

/// The words of a line as a shell would split them: quotes of both kinds, a comment at the end.
fn words(line: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut quote = None;
    for c in line.chars() {
        match (quote, c) {
            (Some(open), c) if c == open => quote = None,
            (Some(_), c) => word.get_or_insert_default().push(c),
            (None, '\'' | '"') => {
                quote = Some(c);
                word.get_or_insert_default();
            }
            (None, '#') if word.is_none() => break,
            (None, ' ' | '\t') => words.extend(word.take()),
            (None, c) => word.get_or_insert_default().push(c),
        }
    }
    words.extend(word);
    words
}

/// The arguments of drover in a line of a shell, if the line calls it.
fn call_of_drover(line: &str) -> Option<Vec<String>> {
    let words = words(line.trim_start_matches("$ "));
    let is_drover = |word: &str| word == "drover" || word.ends_with("/drover");
    let at = words.iter().position(|word| is_drover(word) || word == "cargo")?;
    if words[..at].iter().any(|word| !word.contains('=') && word != "time") {
        return None;
    }
    let arguments = match words[at].as_str() {
        word if is_drover(word) => &words[at + 1..],
        _ if words.get(at + 1).is_some_and(|word| word == "run") && !words.iter().any(|w| w == "--example") => {
            let dashes = words.iter().position(|word| word == "--")?;
            &words[dashes + 1..]
        }
        _ => return None,
    };
    let end =
        arguments.iter().position(|word| matches!(word.as_str(), "&" | "|" | ">" | "&&")).unwrap_or(arguments.len());
    Some(std::iter::once("drover".to_owned()).chain(arguments[..end].iter().cloned()).collect())
}

#[test]
fn every_command_line_in_the_documents_parses() {
    let mut count = 0;
    for document in documents() {
        let text = text(&document);
        for block in blocks(&text, &["sh", "console"]) {
            for line in block.replace("\\\n", " ").lines() {
                if let Some(call) = call_of_drover(line) {
                    let parsed = Cli::try_parse_from(&call);
                    assert!(parsed.is_ok(), "{document}: {line}\n{}", parsed.unwrap_err());
                    count += 1;
                }
            }
        }
        // Prose names commands without all that they need.
        for inline in text.split('`').skip(1).step_by(2).filter(|inline| inline.starts_with("drover ")) {
            use clap::error::ErrorKind::{
                DisplayHelpOnMissingArgumentOrSubcommand, MissingRequiredArgument, MissingSubcommand,
            };
            if let Err(error) = Cli::try_parse_from(words(inline)) {
                let incomplete = [DisplayHelpOnMissingArgumentOrSubcommand, MissingRequiredArgument, MissingSubcommand]
                    .contains(&error.kind());
                assert!(incomplete, "{document}: `{inline}`\n{error}");
            }
            count += 1;
        }
    }
    assert!(count > 30, "only {count} commands were found");
}

fn inputs(file: ConfigFile, environment: Vec<(String, String)>) -> Inputs {
    Inputs { file, environment, overrides: Vec::new(), needs: Needs { store: false } }
}

#[test]
fn every_variable_and_every_file_in_the_documents_is_accepted() {
    let directory = tempfile::tempdir().unwrap();
    let (mut variables, mut files) = (0, 0);
    for document in documents() {
        let text = text(&document);
        for block in blocks(&text, &["sh", "console"]) {
            for name in
                block.lines().filter_map(|line| line.strip_prefix("export ")?.split_once('=')).map(|(name, _)| name)
            {
                assert!(find_environment(name).is_some(), "{document}: {name} is no setting");
                variables += 1;
            }
        }
        for block in blocks(&text, &["toml"]) {
            let path = directory.path().join("drover.toml");
            std::fs::write(&path, &block).unwrap();
            if let Err(error) = load(&inputs(ConfigFile::Required(path), Vec::new())) {
                panic!("{document}: {error}\n{block}");
            }
            files += 1;
        }
    }
    assert!(variables > 3 && files > 1, "{variables} variables and {files} files were found");
}

#[test]
fn the_five_lines_for_a_kafka_of_ones_own_make_a_configuration() {
    let readme = text("README.md");
    let block = blocks(&between(&readme, "own kafka"), &["sh"]).remove(0);
    assert_eq!(block.lines().count(), 5, "{block}");
    let environment: Vec<(String, String)> = block
        .lines()
        .filter_map(|line| line.strip_prefix("export ")?.split_once('='))
        .map(|(name, value)| (name.to_owned(), words(value).concat()))
        .collect();
    let needs = Needs { store: true };
    let config = load(&Inputs { needs, ..inputs(ConfigFile::None, environment) }).unwrap();
    assert_eq!(config.consumers.ids.len(), 3);
    assert!(config.store.url.starts_with("postgres://"));
    let last = call_of_drover(block.lines().last().unwrap()).unwrap();
    assert!(matches!(Cli::parse_from(last).command, drover::cli::Command::Run(_)));
}

#[test]
fn the_exit_codes_are_those_of_the_readme() {
    let code = |arguments: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_drover"));
        let output = command.args(arguments).env_clear().current_dir(std::env::temp_dir()).output().unwrap();
        output.status.code().unwrap()
    };
    let directory = tempfile::tempdir().unwrap();
    let missing = format!("sqlite:{}", directory.path().join("none.db").display());
    assert_eq!(code(&["--version"]), 0);
    assert_eq!(code(&["config", "check", "--database-url", &missing]), 0);
    assert_eq!(code(&["audit", "--database-url", &missing]), 1);
    assert_eq!(code(&["config", "check"]), 64);
    assert_eq!(code(&["run", "--consumers", "many"]), 64);
    assert_eq!(code(&["herd"]), 64);
    assert_eq!(code(&["consumers", "list", "--url", "http://127.0.0.1:1"]), 69);
    let readme = text("README.md");
    for code in ["| 0 |", "| 1 |", "| 64 |", "| 69 |", "| 77 |"] {
        assert!(readme.contains(code), "{code}");
    }
}

#[test]
fn the_demo_stores_events_with_nothing_installed_and_leaves_nothing() {
    let mut demo = Command::new(env!("CARGO_BIN_EXE_drover"));
    demo.args(["demo", "--duration", "8s", "--http-addr", "127.0.0.1:0", "--poison-every", "10"]).env_clear();
    let output = demo.current_dir(std::env::temp_dir()).output().unwrap();
    let (shown, log) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{shown}\n{log}");
    assert!(shown.contains("nothing was left"), "{shown}");
    let receipt = shown.lines().find_map(|line| line.strip_prefix("receipt: ")).unwrap();
    assert!(!receipt.starts_with("0 stored") && !receipt.contains(", 0 dead letters"), "{receipt}");
}
