//! What an entry of the table of settings is, and how paths and environment names find theirs.
//!
//! Owns the patterns of paths: a segment in angle brackets stands for a name, `<child>` for a kind of child, `<topic>`
//! for a topic, `<property>` for the whole rest of the path, a librdkafka property. Pure; what is not found is `None`.

use super::raw::RawValue;
use super::table::{CHILDREN, KEYS};

/// How the value of a setting is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Any text.
    Text,
    /// One of these words.
    Choice(&'static [&'static str]),
    /// Where reading starts: a word or a time.
    Start,
    /// Texts: an array in the file, comma separated elsewhere.
    List,
    /// `true` or `false`.
    Flag,
    /// A whole number.
    Whole,
    /// A number.
    Number,
    /// Bytes, with or without a unit.
    Size,
    /// A time span.
    Duration,
    /// A URL, of which the password is secret.
    Url,
    /// Text, number or flag, handed to librdkafka as it is.
    Property,
}

impl Kind {
    /// What a value of this kind looks like, for the remedy of a wrong one.
    #[must_use]
    pub fn expects(self) -> String {
        match self {
            Self::Text => "a text in quotes".into(),
            Self::Choice(words) => words.join(" or "),
            Self::Start => "earliest, latest or a time such as 2026-01-02T03:04:05Z".into(),
            Self::List => "an array of texts (comma separated in the environment)".into(),
            Self::Flag => "true or false".into(),
            Self::Whole => "a whole number".into(),
            Self::Number => "a number".into(),
            Self::Size => "a size such as 128MB, 2MiB or 4096".into(),
            Self::Duration => "a duration such as 500ms, 30s, 5m, 1h or a number of seconds".into(),
            Self::Url => "a URL such as postgres://user:password@host:5432/database or sqlite:drover.db".into(),
            Self::Property => "a text, a number or true or false".into(),
        }
    }
}

/// The value of a setting that nobody set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fallback {
    /// This text, read like any other value.
    Value(&'static str),
    /// Nothing.
    Unset,
    /// What other settings say, as the text tells.
    Derived(&'static str),
}

/// One setting, or one family of settings.
#[derive(Debug, Clone, Copy)]
pub struct Key {
    /// Path in the file, such as `limits.memory`.
    pub path: &'static str,
    /// How the value is written.
    pub kind: Kind,
    /// What holds when nobody set it.
    pub default: Fallback,
    /// What it means, in one line of Markdown.
    pub doc: &'static str,
    /// Never shown. Of a [`Kind::Url`] only the password, of a [`Kind::Property`] only those with a secret name.
    pub secret: bool,
    /// The name in the environment that people already have in their compose files; `DROVER_*` wins over it.
    pub legacy: Option<&'static str>,
}

impl Key {
    pub(super) const fn new(path: &'static str, kind: Kind, default: &'static str, doc: &'static str) -> Self {
        Self { path, kind, default: Fallback::Value(default), doc, secret: false, legacy: None }
    }

    pub(super) const fn unset(path: &'static str, kind: Kind, doc: &'static str) -> Self {
        Self { path, kind, default: Fallback::Unset, doc, secret: false, legacy: None }
    }

    pub(super) const fn derived(path: &'static str, kind: Kind, default: &'static str, doc: &'static str) -> Self {
        Self { path, kind, default: Fallback::Derived(default), doc, secret: false, legacy: None }
    }

    pub(super) const fn legacy(self, name: &'static str) -> Self {
        Self { legacy: Some(name), ..self }
    }

    pub(super) const fn secret(self) -> Self {
        Self { secret: true, ..self }
    }

    /// Every path that this entry of the table stands for on its own; none where a name comes from the user.
    #[must_use]
    pub fn paths(&self) -> Vec<String> {
        match self.path {
            path if path.contains("<child>") => CHILDREN.iter().map(|child| path.replace("<child>", child)).collect(),
            path if path.contains('<') => Vec::new(),
            path => vec![path.into()],
        }
    }

    /// The path that these segments name in this entry, or `None` when they name another one.
    #[must_use]
    pub fn path_of(&self, segments: &[&str]) -> Option<String> {
        let mut path = Vec::new();
        let mut rest = segments.iter();
        for pattern in self.path.split('.') {
            let segment = *rest.next()?;
            match pattern {
                "<property>" => {
                    path.push(std::iter::once(segment).chain(rest.by_ref().copied()).collect::<Vec<_>>().join("."))
                }
                "<topic>" => path.push(quoted(segment)),
                "<child>" if CHILDREN.contains(&segment) => path.push(segment.into()),
                literal if literal == segment => path.push(segment.into()),
                _ => return None,
            }
        }
        rest.next().is_none().then(|| path.join("."))
    }

    /// The name of `path`, one of this entry's, in the environment; `None` for names that only a file can spell.
    #[must_use]
    pub fn environment_name(&self, path: &str) -> Option<String> {
        (!self.path.contains("<topic>")).then(|| format!("DROVER_{}", path.to_uppercase().replace('.', "_")))
    }

    /// The value as it may be shown: `***` for a secret, a URL without its password.
    #[must_use]
    pub fn shown(&self, path: &str, value: &RawValue) -> String {
        if self.kind == Kind::Url {
            return super::hide_password(&value.to_string());
        }
        let property = path.splitn(3, '.').nth(2).unwrap_or_default();
        let hidden = self.secret || (self.kind == Kind::Property && super::forbidden::is_secret(property));
        if hidden { "***".into() } else { value.to_string() }
    }
}

/// A segment of a path as TOML writes it.
fn quoted(segment: &str) -> String {
    let bare = !segment.is_empty() && segment.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '-');
    if bare { segment.into() } else { format!("{segment:?}") }
}

/// The setting that these segments of a path name, with its path as it is written.
#[must_use]
pub fn find(segments: &[&str]) -> Option<(&'static Key, String)> {
    KEYS.iter().find_map(|key| Some((key, key.path_of(segments)?)))
}

/// The setting that an environment variable names, with its path; `DROVER_*` and the older names alike.
#[must_use]
pub fn find_environment(name: &str) -> Option<(&'static Key, String)> {
    KEYS.iter().find_map(|key| {
        if key.legacy == Some(name) {
            return Some((key, key.path.to_owned()));
        }
        if let Some(family) = key.path.strip_suffix("<property>") {
            let property = name.strip_prefix(&key.environment_name(family)?)?;
            let property = property.to_lowercase().replace('_', ".");
            return (!property.is_empty()).then(|| (key, format!("{family}{property}")));
        }
        let path = key.paths().into_iter().find(|path| key.environment_name(path).as_deref() == Some(name))?;
        Some((key, path))
    })
}

/// The known path that is nearest to an unknown one, when one is near.
#[must_use]
pub fn nearest(segments: &[&str]) -> Option<String> {
    let unknown = segments.join(".");
    let last = segments.last().copied().unwrap_or_default();
    let topic = segments.get(2).copied().unwrap_or_default();
    let paths = KEYS.iter().flat_map(|key| match key.path.contains("<topic>") && segments.len() == 4 {
        true => vec![key.path.replace("<topic>", topic)],
        false => key.paths(),
    });
    // The right name under the wrong table is near as well.
    near(paths, |path| {
        let name = path.rsplit('.').next().unwrap_or_default();
        similarity(path, &unknown).max(0.9 * similarity(name, last))
    })
}

/// The known `DROVER_*` name that is nearest to an unknown one, when one is near.
#[must_use]
pub fn nearest_environment(unknown: &str) -> Option<String> {
    let names = KEYS.iter().flat_map(|key| key.paths().into_iter().filter_map(|path| key.environment_name(&path)));
    near(names, |name| similarity(&name["DROVER_".len()..], unknown.trim_start_matches("DROVER_")))
}

fn similarity(a: &str, b: &str) -> f64 {
    strsim::normalized_damerau_levenshtein(a, b)
}

/// The candidate with the best score, if it is good enough to be meant; the first of equals.
fn near(candidates: impl Iterator<Item = String>, score: impl Fn(&str) -> f64) -> Option<String> {
    let mut best = (0.55, None);
    for candidate in candidates {
        let score = score(&candidate);
        if score > best.0 {
            best = (score, Some(candidate));
        }
    }
    best.1
}

/// The table of settings in Markdown, as the README shows it.
#[must_use]
pub fn markdown() -> String {
    let rows = KEYS.iter().map(|key| {
        let default = match key.default {
            Fallback::Value(value) => format!("`{value}`"),
            Fallback::Unset => "not set".into(),
            Fallback::Derived(from) => from.into(),
        };
        let name = key.environment_name(key.path).map(|name| format!("`{name}`"));
        let names = name.into_iter().chain(key.legacy.map(|name| format!("`{name}`"))).collect::<Vec<_>>().join(", ");
        let secret = if key.secret { " Never shown." } else { "" };
        format!("| `{}` | {default} | {names} | {}{secret} |\n", key.path, key.doc)
    });
    let head = "| Setting | Default | Environment | Meaning |\n| --- | --- | --- | --- |\n";
    std::iter::once(head.to_owned()).chain(rows).collect()
}

/// Whether settings stand below this path.
#[must_use]
pub fn is_table(segments: &[&str]) -> bool {
    KEYS.iter().any(|key| {
        let patterns: Vec<&str> = key.path.split('.').collect();
        let family = patterns.last() == Some(&"<property>");
        let fits = patterns.iter().zip(segments).all(|(pattern, segment)| match *pattern {
            "<topic>" | "<property>" => true,
            "<child>" => CHILDREN.contains(segment),
            literal => literal == *segment,
        });
        fits && (segments.len() < patterns.len() || family)
    })
}
