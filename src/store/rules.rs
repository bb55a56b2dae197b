//! What both stores decide alike: whose a store is, and which schema a binary can work with.
//!
//! Pure. Each gives the message of a refusal.

use super::{PublishOutcome, StoreIdentity};

/// Why a process of this cluster and group may not use the store; `None` when it may.
pub(super) fn identity_refused(stored: &StoreIdentity, cluster_id: &str, group: &str) -> Option<String> {
    if stored.cluster_id == cluster_id && stored.group == group {
        return None;
    }
    Some(format!(
        "the store holds the offsets of cluster {:?} and group {:?}, but this process reads cluster {cluster_id:?} in group {group:?}, \
         whose offsets mean something else; name another store.url or store.schema, or the cluster and group it belongs to, or \
         give it to this one with `drover offsets claim`",
        stored.cluster_id, stored.group
    ))
}

/// The message for a topic that nobody registered.
pub(super) fn topic_unknown(topic: &str) -> String {
    format!("topic {topic:?} was never registered, so no partition can be added to it")
}

/// Judges the schema by the versions that it has and by those that this binary knows. An older one passes where it is about
/// to be migrated.
pub(super) fn migration_state(
    applied: &[String],
    known: &[(String, String)],
    may_be_older: bool,
) -> Result<(), String> {
    let newer: Vec<&str> = applied
        .iter()
        .filter(|version| !known.iter().any(|(known, _)| known == *version))
        .map(String::as_str)
        .collect();
    if !newer.is_empty() {
        return Err(format!(
            "the schema is newer than this drover (unknown migrations: {}); run the newer drover, or revert them with it",
            newer.join(", ")
        ));
    }
    let missing: Vec<&str> =
        known.iter().filter(|(version, _)| !applied.contains(version)).map(|(_, name)| name.as_str()).collect();
    if !may_be_older && !missing.is_empty() {
        return Err(format!("the schema lacks migrations ({}); run `drover migrate`", missing.join(", ")));
    }
    Ok(())
}

impl PublishOutcome {
    /// The text of `publish_outcome`.
    pub(super) fn name(&self) -> &'static str {
        match self {
            Self::Published => "published",
            Self::Refused(_) => "refused",
        }
    }

    /// The text of `publish_error`.
    pub(super) fn reason(&self) -> Option<&str> {
        match self {
            Self::Published => None,
            Self::Refused(reason) => Some(reason),
        }
    }
}

/// Keys and values of dead letters that are read to be published, together.
const PENDING_BYTES: i64 = 8 * 1024 * 1024;

diesel::define_sql_function! {
    /// Bytes of a blob, told without reading it.
    fn length(bytes: diesel::sql_types::Nullable<diesel::sql_types::Binary>) -> diesel::sql_types::Nullable<diesel::sql_types::Integer>;
}

/// How many of the first dead letters, given by the sizes of key and value, are read at once.
pub(super) fn pending_that_fit(sizes: &[(Option<i32>, Option<i32>)]) -> i64 {
    let mut bytes = 0;
    let fits = sizes.iter().take_while(|(key, value)| {
        bytes += i64::from(key.unwrap_or(0)) + i64::from(value.unwrap_or(0));
        bytes <= PENDING_BYTES
    });
    i64::try_from(fits.count()).unwrap_or(i64::MAX).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dead_letters_are_read_by_their_size_and_at_least_one() {
        assert_eq!(pending_that_fit(&[]), 1);
        assert_eq!(pending_that_fit(&[(None, Some(20_000_000)), (None, Some(1))]), 1);
        assert_eq!(
            pending_that_fit(&[(Some(10), Some(4_000_000)), (None, None), (None, Some(4_388_598)), (None, Some(1))]),
            3
        );
    }

    #[test]
    fn only_a_schema_of_this_binary_passes() {
        let known = [("1".to_owned(), "1_a".to_owned()), ("2".to_owned(), "2_b".to_owned())];
        let versions = |list: &[&str]| list.iter().map(|&v| v.to_owned()).collect::<Vec<_>>();
        assert!(migration_state(&versions(&["1", "2"]), &known, false).is_ok());
        assert!(migration_state(&versions(&["1"]), &known, true).is_ok());
        assert!(migration_state(&versions(&["1"]), &known, false).is_err_and(|message| message.contains("2_b")));
        assert!(migration_state(&versions(&["1", "2", "3"]), &known, true).is_err_and(|message| message.contains('3')));
    }
}
