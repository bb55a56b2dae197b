-- PostgreSQL's key of events gets another order. SQLite keeps the rows themselves in the order of the key, in which they are read: it
-- stays.
SELECT 1;
