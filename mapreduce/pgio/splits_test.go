package pgio_test

import (
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/layshaft/layshaft/internal/pgtest"
	"github.com/layshaft/layshaft/mapreduce/pgio"
)

// Every cut of a table gives each row once, whatever the key is and however old the statistics
// are.
func TestSplits(t *testing.T) {
	db := pgtest.New(t)
	t.Setenv("LAYSHAFT_PG_SHOP", db.DSN())
	const fill = "repeat('x', 50) AS fill FROM generate_series(1, 20000) i; "
	for _, tt := range []struct {
		name, sql string
		key       string
		target    int64
		least     int    // number of splits
		want      string // in the label of the last split, or its note
		balanced  bool
	}{
		{name: "integer", sql: "CREATE TABLE r AS SELECT i AS id, " + fill + "ALTER TABLE r ADD PRIMARY KEY (id); ANALYZE r", least: 8, want: "[id >= ", balanced: true},
		{name: "no statistics", sql: "CREATE TABLE r AS SELECT i AS id, " + fill + "ALTER TABLE r ADD PRIMARY KEY (id)", least: 8, want: "[id >= ", balanced: true},
		{name: "grown since", sql: "CREATE TABLE r AS SELECT i AS id, " + fill + "ALTER TABLE r ADD PRIMARY KEY (id); ANALYZE r; INSERT INTO r SELECT i, 'x' FROM generate_series(20001, 23000) i", least: 8, want: "[id >= ", balanced: true},
		{name: "grown a lot since", sql: "CREATE TABLE r AS SELECT i AS id, " + fill + "ALTER TABLE r ADD PRIMARY KEY (id); ANALYZE r; INSERT INTO r SELECT -i, 'x' FROM generate_series(1, 50000) i", least: 8, want: "[id >= ", balanced: true},
		{name: "text", sql: "CREATE TABLE r AS SELECT i AS id, 'k''\\' || lpad(i::text, 8, '0') AS sku, " + fill + "ALTER TABLE r ADD PRIMARY KEY (sku); ANALYZE r", least: 8, want: "[sku >= k'\\", balanced: true},
		{name: "two columns, few values", sql: "CREATE TABLE r AS SELECT i AS id, i / 6000 AS store, " + fill + "ALTER TABLE r ADD PRIMARY KEY (store, id); ANALYZE r", least: 3, want: "[store >= "},
		{name: "NULL in the key", sql: "CREATE TABLE r AS SELECT i AS id, nullif(i, i / 4 * 4) AS n, " + fill + "CREATE INDEX ON r (n); ANALYZE r", key: "n", least: 5, want: "[n >= "},
		{name: "uuid", sql: "CREATE TABLE r AS SELECT i AS id, gen_random_uuid() AS u, " + fill + "ALTER TABLE r ADD PRIMARY KEY (u); ANALYZE r", least: 8, want: "cut by pages", balanced: true},
		{name: "no key", sql: "CREATE TABLE r AS SELECT i AS id, " + fill, least: 8, want: "cut by pages", balanced: true},
		{name: "partitions", sql: "CREATE TABLE r (id int PRIMARY KEY, fill text) PARTITION BY RANGE (id); CREATE TABLE r1 PARTITION OF r FOR VALUES FROM (0) TO (12000); CREATE TABLE r2 PARTITION OF r DEFAULT; INSERT INTO r SELECT i, " + fill + "ANALYZE r", least: 8, want: "public.r2[id >= "},
		{name: "no partition", sql: "CREATE TABLE r (id int, fill text) PARTITION BY RANGE (id)", least: 1, want: "r"},
		{name: "inheritance", sql: "CREATE TABLE r AS SELECT i AS id, " + fill + "ALTER TABLE r ADD PRIMARY KEY (id); CREATE TABLE child () INHERITS (r); INSERT INTO child SELECT i, 'x' FROM generate_series(30000, 40000) i; ANALYZE r", least: 8, want: "[id >= "},
		{name: "view", sql: "CREATE TABLE base AS SELECT i AS id, " + fill + "CREATE VIEW r AS SELECT * FROM base", least: 1, want: "without Key cannot be cut"},
		{name: "view with a key", sql: "CREATE TABLE base AS SELECT i AS id, " + fill + "CREATE VIEW r AS SELECT * FROM base", key: "id", least: 16, want: "[id >= ", balanced: true},
		{name: "materialized view", sql: "CREATE TABLE base AS SELECT i AS id, " + fill + "CREATE MATERIALIZED VIEW r AS SELECT * FROM base", least: 8, want: "cut by pages"},
		{name: "empty", sql: "CREATE TABLE r (id bigint PRIMARY KEY)", least: 1, want: "r"},
		{name: "the largest keys", sql: "CREATE TABLE base (id bigint); INSERT INTO base VALUES (-9223372036854775808), (9223372036854775807), (0); CREATE VIEW r AS SELECT * FROM base", key: "id", least: 16, want: "[id >= "},
	} {
		t.Run(tt.name, func(t *testing.T) {
			db.Exec(t, "DROP TABLE IF EXISTS child, base CASCADE; DO $$ BEGIN EXECUTE (SELECT coalesce(string_agg(format('DROP %s r CASCADE', CASE relkind WHEN 'v' THEN 'VIEW' WHEN 'm' THEN 'MATERIALIZED VIEW' ELSE 'TABLE' END), ''), 'SELECT 1') FROM pg_class WHERE relname = 'r'); END $$")
			db.Exec(t, tt.sql)
			var want []int64
			for _, row := range db.Exec(t, "SELECT id FROM r ORDER BY id") {
				want = append(want, number(t, row[0]))
			}
			s := pgio.Rows[id]("shop", "r")
			if tt.key != "" {
				s = s.Key(tt.key)
			}
			got, splits, counts := rowsOf(t, s, 200<<10)
			var ids []int64
			for _, x := range got {
				ids = append(ids, x.ID)
			}
			slices.Sort(ids)
			if !slices.Equal(ids, want) {
				t.Errorf("%d rows, want %d", len(ids), len(want))
			}
			last := splits[len(splits)-1]
			if len(splits) < tt.least || !strings.Contains(last.Label+" "+last.Note, tt.want) {
				t.Errorf("%d splits, the last one %s (%s); want at least %d, with %q", len(splits), last.Label, last.Note, tt.least, tt.want)
			}
			if !tt.balanced {
				return
			}
			for i, sp := range splits {
				if share := float64(counts[i]) / float64(len(want)); share > 2.5/float64(len(splits)) {
					t.Errorf("%s has %d of %d rows, of %d splits", sp.Label, counts[i], len(want), len(splits))
				}
			}
		})
	}
}

// A condition and a query are passed on to the database, comments included.
func TestQueries(t *testing.T) {
	db := pgtest.New(t)
	t.Setenv("LAYSHAFT_PG_SHOP", db.DSN())
	db.Exec(t, `CREATE TABLE "Odd Name" ("ID" bigint PRIMARY KEY, n int); INSERT INTO "Odd Name" SELECT i, i % 10 FROM generate_series(1, 1000) i`)
	type odd struct {
		ID int64 `db:"ID"`
	}
	for name, s := range map[string]pgio.Source[odd]{
		"table":     pgio.Rows[odd]("shop", `"Odd Name"`).Where("n = 1 -- one").Where(`"ID" <= 500`),
		"query":     pgio.Rows[odd]("shop", "SELECT * FROM \"Odd Name\" WHERE n = 1 AND \"ID\" <= 500 -- end\n;\n"),
		"with":      pgio.Rows[odd]("shop", `WITH x AS (SELECT "ID" FROM "Odd Name" WHERE n = 1) SELECT * FROM x`).Where(`"ID" <= 500`),
		"query key": pgio.Rows[odd]("shop", `SELECT * FROM "Odd Name" WHERE n = 1 AND "ID" <= 500`).Key("ID"),
	} {
		if got, _ := rows(t, s, 1<<20); len(got) != 50 {
			t.Errorf("%s: %d rows, want 50", name, len(got))
		}
	}
	if got := planError(t, pgio.Rows[odd]("shop", `"Odd Name"`).Where("m = 1")); !strings.Contains(got, `column "m" does not exist`) {
		t.Errorf("a wrong condition: %s", got)
	}
}

func number(t testing.TB, s string) int64 {
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	return n
}
