-- PostgreSQL's key of events gets another order. A key of SQLite can only be changed by writing the table anew, and the store of a
-- laptop does not need it: it stays.
SELECT 1;
