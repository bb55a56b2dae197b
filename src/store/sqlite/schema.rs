//! The tables of migrations/sqlite, for diesel. Times are text: see the migration.

diesel::table! {
    store_identity (singleton) {
        singleton -> Integer,
        store_id -> Text,
        cluster_id -> Text,
        consumer_group -> Text,
        created_at -> Text,
    }
}

diesel::table! {
    topics (topic) {
        topic -> Text,
        topic_id -> Nullable<Text>,
        incarnation -> Integer,
        registered_at -> Text,
    }
}

diesel::table! {
    partition_progress (topic, partition) {
        topic -> Text,
        partition -> Integer,
        incarnation -> Integer,
        first_offset -> BigInt,
        next_offset -> BigInt,
        updated_at -> Text,
    }
}

diesel::table! {
    dead_letters (id) {
        id -> BigInt,
        topic -> Text,
        partition -> Integer,
        incarnation -> Integer,
        offset -> BigInt,
        key -> Nullable<Binary>,
        value -> Nullable<Binary>,
        headers -> Text,
        timestamp -> Nullable<BigInt>,
        timestamp_type -> Text,
        code -> Text,
        message -> Text,
        stage -> Text,
        attempts -> Integer,
        consumer_id -> Text,
        failed_at -> Text,
        published_at -> Nullable<Text>,
        publish_outcome -> Nullable<Text>,
        publish_error -> Nullable<Text>,
    }
}

diesel::table! {
    holds (scope, name, partition, replica_id, kind) {
        scope -> Text,
        name -> Text,
        partition -> Integer,
        replica_id -> Text,
        kind -> Text,
        reason -> Text,
        placed_by -> Text,
        since -> Text,
        until -> Nullable<Text>,
    }
}
