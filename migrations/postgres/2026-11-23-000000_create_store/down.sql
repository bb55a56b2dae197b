DROP FUNCTION drover_raise(text, text);
DROP TABLE audit_log, replicas, event_rollups, dead_letters, offset_gaps, events, partition_progress, topics, store_identity;
