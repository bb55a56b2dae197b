//! Who runs a command, for the audit log: `user@host`.

/// The user of this process and the name of the machine. Without a name of the user, its number.
#[must_use]
pub fn actor() -> String {
    let named = ["USER", "LOGNAME"].iter().find_map(|name| std::env::var(name).ok()).filter(|name| !name.is_empty());
    let user = named.unwrap_or_else(numbered);
    let host = hostname::get().ok().and_then(|name| name.into_string().ok()).unwrap_or_else(|| "localhost".to_owned());
    format!("{user}@{host}")
}

/// Containers often name no user.
fn numbered() -> String {
    use std::os::unix::fs::MetadataExt as _;
    std::fs::metadata("/proc/self").map_or_else(|_| "unknown".to_owned(), |own| format!("uid {}", own.uid()))
}
