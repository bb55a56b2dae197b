//! The checkout as text: its files, what of them is code, and the parts of documents that tests hold true.

use std::fs;
use std::path::{Path, PathBuf};

/// The root of the checkout.
pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The text of a file, by its path from the root.
pub fn text(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// Paths from the root of all files below a directory with this extension, sorted.
pub fn files(below: &str, extension: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut directories = vec![root().join(below)];
    while let Some(directory) = directories.pop() {
        for entry in fs::read_dir(&directory).into_iter().flatten() {
            let path: PathBuf = entry.unwrap().path();
            if path.is_dir() {
                directories.push(path);
            } else if path.extension().is_some_and(|e| e == extension) {
                found.push(path.strip_prefix(root()).unwrap().to_str().unwrap().to_owned());
            }
        }
    }
    found.sort();
    found
}

/// Every Rust file of the project.
pub fn rust_files() -> Vec<String> {
    ["src", "tests", "examples", "benches"].iter().flat_map(|below| files(below, "rs")).collect()
}

/// Whether a file of src/ holds nothing but tests and what they need.
pub fn is_test_file(path: &str) -> bool {
    path.contains("/tests/") || path.ends_with("/tests.rs") || path.ends_with("_tests.rs") || path.contains("/test_")
}

/// The code of a file of src/ that is not a test: its lines with their numbers, without comments.
pub fn code(path: &str) -> Vec<(usize, String)> {
    if is_test_file(path) {
        return Vec::new();
    }
    let text = text(path);
    let mut lines = Vec::new();
    let mut of_tests = false;
    for (at, line) in text.lines().enumerate() {
        // A module of tests in the file begins at the margin and ends the code; one in a file of its own is one item.
        if line == "#[cfg(test)]" {
            of_tests = true;
            continue;
        }
        if of_tests {
            if line.starts_with("mod ") && line.ends_with('{') {
                break;
            }
            of_tests = line.starts_with('#');
            continue;
        }
        if !line.trim_start().starts_with("//") {
            lines.push((at + 1, line.to_owned()));
        }
    }
    lines
}

/// The identifiers that follow `before` in a line, each up to the next character that is none.
pub fn words_after<'a>(line: &'a str, before: &str) -> Vec<&'a str> {
    let end = |rest: &str| rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(rest.len());
    line.match_indices(before)
        .map(|(at, _)| &line[at + before.len()..])
        .map(|rest| &rest[..end(rest)])
        .filter(|word| !word.is_empty())
        .collect()
}

/// What stands between `<!-- begin NAME -->` and `<!-- end NAME -->` of a document, without the line breaks at both ends.
pub fn between(document: &str, name: &str) -> String {
    let (begin, end) = markers(name);
    let from = document.find(&begin).unwrap_or_else(|| panic!("no marker {begin:?}")) + begin.len();
    let to = document.find(&end).unwrap_or_else(|| panic!("no marker {end:?}"));
    document[from..to].trim_matches('\n').to_owned()
}

/// The markers around a part of a document.
pub fn markers(name: &str) -> (String, String) {
    (format!("<!-- begin {name} -->"), format!("<!-- end {name} -->"))
}

/// The fenced blocks of a document in one of these languages, each with its language.
pub fn blocks(document: &str, languages: &[&str]) -> Vec<String> {
    let mut blocks = Vec::new();
    let mut open: Option<(bool, String)> = None;
    for line in document.lines() {
        match (&mut open, line.trim_start().strip_prefix("```")) {
            (None, Some(language)) => open = Some((languages.contains(&language.trim()), String::new())),
            (Some(_), Some(_)) => blocks.extend(open.take().filter(|(wanted, _)| *wanted).map(|(_, block)| block)),
            (Some((_, block)), None) => {
                block.push_str(line);
                block.push('\n');
            }
            (None, None) => {}
        }
    }
    assert!(open.is_none(), "a fenced block is not closed");
    blocks
}

/// README and everything under docs/.
pub fn documents() -> Vec<String> {
    let mut documents = files("docs", "md");
    documents.push("README.md".to_owned());
    documents
}
