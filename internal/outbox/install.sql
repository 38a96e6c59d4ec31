-- Layshaft's outbox. Tasks that a transaction writes here are queued by a forwarder after its
-- commit, each once; a rollback leaves none.
--
--   SELECT layshaft_enqueue('index', '17', unique_key => 'product 17', priority => 'high');
--   SELECT layshaft.watch('products', 'index');  -- a task for each changed row
CREATE SCHEMA IF NOT EXISTS layshaft;
COMMENT ON SCHEMA layshaft IS 'outbox version 1';

-- source tells the rows of this outbox from those of others.
CREATE TABLE IF NOT EXISTS layshaft.source (
	id uuid NOT NULL DEFAULT gen_random_uuid()
);
INSERT INTO layshaft.source SELECT WHERE NOT EXISTS (SELECT FROM layshaft.source);

CREATE TABLE IF NOT EXISTS layshaft.outbox (
	id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
	function text NOT NULL CHECK (octet_length(function) BETWEEN 1 AND 512),
	payload bytea NOT NULL,
	size integer GENERATED ALWAYS AS (octet_length(payload)) STORED CHECK (size <= 1048576),
	unique_key text NOT NULL DEFAULT '' CHECK (octet_length(unique_key) <= 512),
	coalesce_key boolean NOT NULL DEFAULT false,
	priority text NOT NULL DEFAULT 'normal' CHECK (priority IN ('high', 'normal', 'low')),
	due timestamptz,
	created timestamptz NOT NULL DEFAULT clock_timestamp()
) WITH (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 2000);
COMMENT ON TABLE layshaft.outbox IS 'Tasks that the forwarder has not queued yet.';

CREATE TABLE IF NOT EXISTS layshaft.refused (
	id bigint PRIMARY KEY,
	function text NOT NULL,
	payload bytea NOT NULL,
	unique_key text NOT NULL,
	coalesce_key boolean NOT NULL,
	priority text NOT NULL,
	due timestamptz,
	created timestamptz NOT NULL,
	reason text NOT NULL,
	at timestamptz NOT NULL DEFAULT clock_timestamp()
);
COMMENT ON TABLE layshaft.refused IS 'Tasks that the coordinator refused for good, with its reason.';

-- wake notifies a forwarder that waits. A forwarder at work holds no lock, and will see the row:
-- it cannot start to wait while this transaction has the shared lock. So a busy database sends no
-- notifications, which would put its commits in line.
CREATE OR REPLACE FUNCTION layshaft.wake() RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
	IF NOT pg_try_advisory_xact_lock_shared(1279352652, 1) THEN
		PERFORM pg_notify('layshaft_outbox', '');
	END IF;
END $$;

CREATE OR REPLACE FUNCTION {schema}.layshaft_enqueue(function text, payload bytea, unique_key text DEFAULT NULL,
	priority text DEFAULT 'normal', after interval DEFAULT NULL, coalesce_key text DEFAULT NULL) RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
	made bigint;
BEGIN
	IF priority IS NULL OR priority NOT IN ('high', 'normal', 'low') THEN
		RAISE 'layshaft_enqueue: priority % is none of high, normal and low', quote_nullable(priority) USING ERRCODE = '22023';
	ELSIF function IS NULL OR octet_length(function) NOT BETWEEN 1 AND 512 THEN
		RAISE 'layshaft_enqueue: function % must have 1 to 512 bytes', left(quote_nullable(function), 100) USING ERRCODE = '22023';
	ELSIF octet_length(payload) > 1048576 THEN
		RAISE 'layshaft_enqueue: the payload has % bytes, at most 1048576', octet_length(payload)
			USING ERRCODE = '22023', HINT = 'Keep the data in a table, and put its key into the payload.';
	ELSIF unique_key <> '' AND coalesce_key <> '' THEN
		RAISE 'layshaft_enqueue: unique_key and coalesce_key exclude each other' USING ERRCODE = '22023';
	END IF;
	INSERT INTO layshaft.outbox AS o (function, payload, unique_key, coalesce_key, priority, due)
	VALUES (layshaft_enqueue.function, COALESCE(layshaft_enqueue.payload, ''), COALESCE(NULLIF(layshaft_enqueue.coalesce_key, ''), layshaft_enqueue.unique_key, ''),
		COALESCE(layshaft_enqueue.coalesce_key <> '', false), layshaft_enqueue.priority, clock_timestamp() + layshaft_enqueue.after)
	RETURNING o.id INTO made;
	PERFORM layshaft.wake();
	RETURN made;
END $$;

CREATE OR REPLACE FUNCTION {schema}.layshaft_enqueue(function text, payload text, unique_key text DEFAULT NULL,
	priority text DEFAULT 'normal', after interval DEFAULT NULL, coalesce_key text DEFAULT NULL) RETURNS bigint
LANGUAGE sql AS $$ SELECT {schema}.layshaft_enqueue(function, convert_to(payload, 'UTF8'), unique_key, priority, after, coalesce_key) $$;

CREATE OR REPLACE FUNCTION {schema}.layshaft_enqueue(function text, payload jsonb, unique_key text DEFAULT NULL,
	priority text DEFAULT 'normal', after interval DEFAULT NULL, coalesce_key text DEFAULT NULL) RETURNS bigint
LANGUAGE sql AS $$ SELECT {schema}.layshaft_enqueue(function, convert_to(payload::text, 'UTF8'), unique_key, priority, after, coalesce_key) $$;

-- The names of the Gearman functions of MySQL and Drizzle, for background tasks.
CREATE OR REPLACE FUNCTION {schema}.layshaft_do_background(function text, payload text, unique_key text DEFAULT NULL) RETURNS bigint
LANGUAGE sql AS $$ SELECT {schema}.layshaft_enqueue(function, payload, unique_key) $$;
CREATE OR REPLACE FUNCTION {schema}.layshaft_do_high_background(function text, payload text, unique_key text DEFAULT NULL) RETURNS bigint
LANGUAGE sql AS $$ SELECT {schema}.layshaft_enqueue(function, payload, unique_key, 'high') $$;
CREATE OR REPLACE FUNCTION {schema}.layshaft_do_low_background(function text, payload text, unique_key text DEFAULT NULL) RETURNS bigint
LANGUAGE sql AS $$ SELECT {schema}.layshaft_enqueue(function, payload, unique_key, 'low') $$;
CREATE OR REPLACE FUNCTION {schema}.layshaft_do(function text, payload text, unique_key text DEFAULT NULL) RETURNS text
LANGUAGE plpgsql AS $$
BEGIN
	RAISE 'layshaft_do: a transaction cannot wait for a task, which no worker sees before the commit'
		USING ERRCODE = '0A000', HINT = 'Use layshaft_do_background, and let the task write its result into a table.';
END $$;

-- name_of returns the name of a table for payloads.
CREATE OR REPLACE FUNCTION layshaft.name_of(tab regclass) RETURNS text
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
	SELECT CASE WHEN n.nspname = 'public' THEN c.relname ELSE n.nspname || '.' || c.relname END
	FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.oid = tab
$$;

-- watch makes each statement that changes rows of a table, except TRUNCATE, write one task per
-- changed row. The payload is {"table": "products", "key": {"id": 17}}; tasks of one key are coalesced. of and of_key
-- name another table and its key columns, where the changed row belongs to a row of that table:
--
--   SELECT layshaft.watch('prices', 'index', '{product_id}', of => 'products', of_key => '{id}');
CREATE OR REPLACE FUNCTION layshaft.watch(tab regclass, function text, key text[] DEFAULT NULL,
	of text DEFAULT NULL, of_key text[] DEFAULT NULL, priority text DEFAULT 'normal') RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
	name text := 'changed_' || tab::oid || '_' || left(md5(function || COALESCE(of, '')), 8);
	columns text;
	pairs text;
	unknown text;
BEGIN
	IF key IS NULL THEN
		SELECT array_agg(a.attname::text ORDER BY k.n) INTO key
		FROM pg_index i CROSS JOIN LATERAL unnest(i.indkey::int2[]) WITH ORDINALITY AS k(attnum, n)
		JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = k.attnum
		WHERE i.indrelid = tab AND i.indisprimary;
		IF key IS NULL THEN
			RAISE 'layshaft.watch: table % has no primary key', tab USING HINT = 'Name the key columns, as in layshaft.watch(''t'', ''f'', ''{id}'').';
		END IF;
	END IF;
	SELECT k INTO unknown FROM unnest(key) AS k
	WHERE NOT EXISTS (SELECT FROM pg_attribute a WHERE a.attrelid = tab AND a.attname = k AND a.attnum > 0 AND NOT a.attisdropped);
	IF unknown IS NOT NULL THEN
		RAISE 'layshaft.watch: table % has no column %', tab, quote_ident(unknown) USING ERRCODE = '42703';
	END IF;
	of_key := COALESCE(of_key, key);
	IF cardinality(of_key) <> cardinality(key) THEN
		RAISE 'layshaft.watch: columns of key: %, of of_key: %', cardinality(key), cardinality(of_key) USING ERRCODE = '22023';
	ELSIF priority NOT IN ('high', 'normal', 'low') THEN
		RAISE 'layshaft.watch: priority % is none of high, normal and low', quote_nullable(priority) USING ERRCODE = '22023';
	END IF;
	of := COALESCE(of, layshaft.name_of(tab));
	SELECT string_agg(format('%I', k), ', '), string_agg(format('%L, %I', n, k), ', ') INTO columns, pairs FROM unnest(key, of_key) AS u(k, n);
	PERFORM layshaft.unwatch(tab, function, of);
	EXECUTE format($f$
		CREATE FUNCTION layshaft.%I() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $t$
		BEGIN
			IF TG_OP = 'INSERT' THEN
				INSERT INTO layshaft.outbox (function, payload, unique_key, coalesce_key, priority)
				SELECT %3$L, convert_to(body, 'UTF8'), CASE WHEN octet_length(body) > 512 THEN md5(body) ELSE body END, true, %4$L
				FROM (SELECT DISTINCT jsonb_build_object('table', %5$L, 'key', jsonb_build_object(%6$s))::text AS body FROM (SELECT %2$s FROM after_rows) AS r) AS b ORDER BY body;
			ELSIF TG_OP = 'DELETE' THEN
				INSERT INTO layshaft.outbox (function, payload, unique_key, coalesce_key, priority)
				SELECT %3$L, convert_to(body, 'UTF8'), CASE WHEN octet_length(body) > 512 THEN md5(body) ELSE body END, true, %4$L
				FROM (SELECT DISTINCT jsonb_build_object('table', %5$L, 'key', jsonb_build_object(%6$s))::text AS body FROM (SELECT %2$s FROM before_rows) AS r) AS b ORDER BY body;
			ELSE
				INSERT INTO layshaft.outbox (function, payload, unique_key, coalesce_key, priority)
				SELECT %3$L, convert_to(body, 'UTF8'), CASE WHEN octet_length(body) > 512 THEN md5(body) ELSE body END, true, %4$L
				FROM (SELECT DISTINCT jsonb_build_object('table', %5$L, 'key', jsonb_build_object(%6$s))::text AS body
					FROM (SELECT %2$s FROM after_rows UNION SELECT %2$s FROM before_rows) AS r) AS b ORDER BY body;
			END IF;
			IF FOUND THEN
				PERFORM layshaft.wake();
			END IF;
			RETURN NULL;
		END $t$
	$f$, name, columns, function, priority, of, pairs);
	EXECUTE format('CREATE TRIGGER %1$I AFTER INSERT ON %2$s REFERENCING NEW TABLE AS after_rows FOR EACH STATEMENT EXECUTE FUNCTION layshaft.%3$I()', name || '_insert', tab, name);
	EXECUTE format('CREATE TRIGGER %1$I AFTER UPDATE ON %2$s REFERENCING OLD TABLE AS before_rows NEW TABLE AS after_rows FOR EACH STATEMENT EXECUTE FUNCTION layshaft.%3$I()', name || '_update', tab, name);
	EXECUTE format('CREATE TRIGGER %1$I AFTER DELETE ON %2$s REFERENCING OLD TABLE AS before_rows FOR EACH STATEMENT EXECUTE FUNCTION layshaft.%3$I()', name || '_delete', tab, name);
END $$;

-- unwatch removes what watch made.
CREATE OR REPLACE FUNCTION layshaft.unwatch(tab regclass, function text, of text DEFAULT NULL) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp SET client_min_messages = warning AS $$
BEGIN
	IF of IS NULL OR of = layshaft.name_of(tab) THEN
		EXECUTE format('DROP FUNCTION IF EXISTS layshaft.%I() CASCADE', 'changed_' || tab::oid || '_' || left(md5(function), 8));
	END IF;
	EXECUTE format('DROP FUNCTION IF EXISTS layshaft.%I() CASCADE', 'changed_' || tab::oid || '_' || left(md5(function || COALESCE(of, '')), 8));
END $$;

-- Who may write a watched table may queue its tasks. Other tasks need a grant, as in
-- GRANT EXECUTE ON FUNCTION layshaft_enqueue(text, bytea, text, text, interval, text) TO app;
REVOKE ALL ON SCHEMA layshaft FROM PUBLIC;
REVOKE ALL ON FUNCTION {schema}.layshaft_enqueue(text, bytea, text, text, interval, text) FROM PUBLIC;
