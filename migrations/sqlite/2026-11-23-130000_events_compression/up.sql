-- PostgreSQL compresses large documents by lz4. SQLite compresses nothing.
SELECT 1;
