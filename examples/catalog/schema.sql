-- The database of a shop. updated_at of a product is the version of its whole state: each change of
-- its row, prices, stock, attributes or images sets a later one, in the same transaction. So whoever
-- wants to follow changes watches one table:
--
--   SELECT layshaft.watch('products', 'index');
--
-- A new name of a brand or category changes no version; the next nightly run shows it.

CREATE TABLE brands (
	id integer PRIMARY KEY,
	name text NOT NULL
);
CREATE TABLE categories (
	id integer PRIMARY KEY,
	parent integer REFERENCES categories,
	name text NOT NULL
);
CREATE TABLE products (
	id bigint PRIMARY KEY,
	sku text NOT NULL UNIQUE,
	title text NOT NULL,
	brand_id integer REFERENCES brands,
	category_id integer NOT NULL REFERENCES categories,
	rating numeric(2,1) NOT NULL,
	updated_at timestamptz NOT NULL DEFAULT clock_timestamp(),
	changed_by xid8 NOT NULL DEFAULT pg_current_xact_id() -- the transaction that set updated_at
);
CREATE TABLE prices (
	product_id bigint,
	market text,
	price numeric(12,2) NOT NULL,
	currency text NOT NULL,
	PRIMARY KEY (product_id, market)
);
CREATE TABLE stock (
	product_id bigint,
	store integer,
	quantity integer NOT NULL,
	PRIMARY KEY (product_id, store)
);
CREATE TABLE attributes (
	product_id bigint,
	name text,
	value text NOT NULL,
	PRIMARY KEY (product_id, name)
);
CREATE TABLE images (
	product_id bigint,
	position integer,
	url text NOT NULL,
	PRIMARY KEY (product_id, position)
);

-- Versions of products that are gone, so that a late event cannot bring one back.
CREATE TABLE deleted_products (
	id bigint PRIMARY KEY,
	updated_at timestamptz NOT NULL,
	changed_by xid8 NOT NULL DEFAULT pg_current_xact_id()
);

-- The nightly run writes the medians; documents of changed products use them.
CREATE TABLE category_medians (
	category text PRIMARY KEY,
	median numeric(12,2) NOT NULL
);

-- Documents of changed products, if there is no search server. body is NULL for a product that is
-- not sold. Its prices are in cents.
CREATE TABLE documents (
	id bigint PRIMARY KEY,
	version bigint NOT NULL,
	body jsonb
);

-- category_path returns a text such as Home > Kitchen.
CREATE FUNCTION category_path(leaf integer) RETURNS text LANGUAGE sql STABLE AS $$
	WITH RECURSIVE up AS (
		SELECT parent, name AS path FROM categories WHERE id = leaf
		UNION ALL
		SELECT c.parent, c.name || ' > ' || up.path FROM categories c JOIN up ON c.id = up.parent
	)
	SELECT path FROM up WHERE parent IS NULL
$$;

-- The data is loaded here. Constraints and triggers then cost nothing per row.

ALTER TABLE prices ADD FOREIGN KEY (product_id) REFERENCES products ON DELETE CASCADE;
ALTER TABLE stock ADD FOREIGN KEY (product_id) REFERENCES products ON DELETE CASCADE;
ALTER TABLE attributes ADD FOREIGN KEY (product_id) REFERENCES products ON DELETE CASCADE;
ALTER TABLE images ADD FOREIGN KEY (product_id) REFERENCES products ON DELETE CASCADE;

-- The trigger runs when its transaction has locked the row. So versions grow in the order of the
-- commits, whatever the clock does.
CREATE FUNCTION next_version() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
	NEW.updated_at := greatest(clock_timestamp(), OLD.updated_at + interval '1 microsecond');
	NEW.changed_by := pg_current_xact_id();
	RETURN NEW;
END $$;
CREATE TRIGGER next_version BEFORE UPDATE ON products FOR EACH ROW EXECUTE FUNCTION next_version();

CREATE FUNCTION remember_deleted() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path FROM CURRENT AS $$
BEGIN
	INSERT INTO deleted_products VALUES (OLD.id, greatest(clock_timestamp(), OLD.updated_at + interval '1 microsecond'))
	ON CONFLICT (id) DO UPDATE SET updated_at = excluded.updated_at, changed_by = excluded.changed_by;
	RETURN NULL;
END $$;
CREATE TRIGGER remember_deleted AFTER DELETE ON products FOR EACH ROW EXECUTE FUNCTION remember_deleted();

-- touch_products gives new versions to the products of the changed rows, each once per statement
-- and in the order of their IDs, so that two statements do not wait for each other.
CREATE FUNCTION touch_products() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path FROM CURRENT AS $$
DECLARE
	ids bigint[];
BEGIN
	IF TG_OP <> 'DELETE' THEN
		ids := ARRAY(SELECT product_id FROM after_rows);
	END IF;
	IF TG_OP <> 'INSERT' THEN
		ids := ids || ARRAY(SELECT product_id FROM before_rows);
	END IF;
	PERFORM FROM products WHERE id = ANY (ids) ORDER BY id FOR NO KEY UPDATE;
	UPDATE products SET updated_at = clock_timestamp() WHERE id = ANY (ids);
	RETURN NULL;
END $$;
DO $$
DECLARE
	t text;
BEGIN
	FOREACH t IN ARRAY '{prices,stock,attributes,images}'::text[] LOOP
		EXECUTE format('CREATE TRIGGER touch_insert AFTER INSERT ON %I REFERENCING NEW TABLE AS after_rows FOR EACH STATEMENT EXECUTE FUNCTION touch_products()', t);
		EXECUTE format('CREATE TRIGGER touch_update AFTER UPDATE ON %I REFERENCING OLD TABLE AS before_rows NEW TABLE AS after_rows FOR EACH STATEMENT EXECUTE FUNCTION touch_products()', t);
		EXECUTE format('CREATE TRIGGER touch_delete AFTER DELETE ON %I REFERENCING OLD TABLE AS before_rows FOR EACH STATEMENT EXECUTE FUNCTION touch_products()', t);
	END LOOP;
END $$;
