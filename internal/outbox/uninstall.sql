-- Removes Layshaft's outbox, with its triggers and the tasks that have not been queued. The schema
-- stays if it has other tables.
DO $$
DECLARE
	f regprocedure;
BEGIN
	FOR f IN SELECT oid FROM pg_proc WHERE pronamespace = 'layshaft'::regnamespace AND proname ~ '^(changed_.*|wake|watch|unwatch|name_of)$' LOOP
		EXECUTE format('DROP FUNCTION %s CASCADE', f);
	END LOOP;
EXCEPTION WHEN undefined_object OR invalid_schema_name THEN
	NULL; -- there is no schema
END $$;
DROP FUNCTION IF EXISTS {schema}.layshaft_enqueue(text, bytea, text, text, interval, text);
DROP FUNCTION IF EXISTS {schema}.layshaft_enqueue(text, text, text, text, interval, text);
DROP FUNCTION IF EXISTS {schema}.layshaft_enqueue(text, jsonb, text, text, interval, text);
DROP FUNCTION IF EXISTS {schema}.layshaft_do_background(text, text, text);
DROP FUNCTION IF EXISTS {schema}.layshaft_do_high_background(text, text, text);
DROP FUNCTION IF EXISTS {schema}.layshaft_do_low_background(text, text, text);
DROP FUNCTION IF EXISTS {schema}.layshaft_do(text, text, text);
DROP TABLE IF EXISTS layshaft.outbox, layshaft.refused, layshaft.source;
DO $$
BEGIN
	COMMENT ON SCHEMA layshaft IS NULL;
	BEGIN
		DROP SCHEMA layshaft;
	EXCEPTION WHEN dependent_objects_still_exist THEN
		NULL; -- it has other tables
	END;
EXCEPTION WHEN undefined_object OR invalid_schema_name THEN
	NULL; -- there is no schema
END $$;
