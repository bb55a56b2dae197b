-- Documents that do not fit beside their row are compressed; lz4 does it in a fraction of the time of the default, pglz. It is there
-- from PostgreSQL 14 on, where the server was built with it; elsewhere everything stays as it is.
DO $$
BEGIN
    EXECUTE 'ALTER TABLE events ALTER COLUMN payload SET COMPRESSION lz4';
EXCEPTION WHEN syntax_error OR feature_not_supported OR invalid_parameter_value THEN
    RAISE NOTICE 'events.payload keeps its compression: %', SQLERRM;
END
$$;
