package postgres_test

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/layshaft/layshaft/internal/pgtest"
	"github.com/layshaft/layshaft/mapreduce"
	"github.com/layshaft/layshaft/report"
	_ "github.com/layshaft/layshaft/report/postgres"
)

func TestMain(m *testing.M) { pgtest.Main(m) }

var local = mapreduce.Local{Slots: 2, Reporting: mapreduce.Reporting{Progress: "none"}}

// answer returns the rows of a statement as CSV, or its error.
func answer(t testing.TB, text string) string {
	t.Helper()
	rows, err := report.Query(t.Context(), local, text)
	if err != nil {
		return err.Error()
	}
	var out bytes.Buffer
	if err := rows.Write(&out, "csv", report.WriteOptions{}); err != nil {
		return err.Error()
	}
	return out.String()
}

func TestReport(t *testing.T) {
	db := pgtest.New(t)
	t.Setenv("LAYSHAFT_PG_SHOP", db.DSN())
	db.Exec(t, `CREATE TYPE mood AS ENUM ('sad', 'glad'); CREATE SCHEMA sales;
		CREATE TABLE products (id bigint PRIMARY KEY, brand int NOT NULL, price numeric(10,2), any_number numeric, rating float8, active bool, title text, code char(4), mood mood, tags text[], nums int[], doc jsonb, id2 uuid, day date, at timestamptz, local timestamp, clock time, took interval, net inet, raw bytea);
		INSERT INTO products SELECT i, i % 10, i / 100.0, i / 8.0, i / 4.0, i % 2 = 0, 'title ' || i, 'ab', (ARRAY['sad', 'glad']::mood[])[1 + i % 2], ARRAY['a', 'b' || i], ARRAY[i, NULL], jsonb_build_object('i', i), ('00000000-0000-0000-0000-' || lpad(i::text, 12, '0'))::uuid,
			'2024-01-01'::date + i, '2024-01-01 12:00:00.5+00'::timestamptz, '1999-12-31 23:59:59', '10:11:12.5', '1 month 2 days 3 hours', '10.0.0.1', '\x00ff' FROM generate_series(1, 5000) i;
		INSERT INTO products (id, brand) VALUES (9999, 3);
		CREATE TABLE sales.brands AS SELECT i AS id, 'brand ' || i AS name FROM generate_series(0, 9) i; CREATE VIEW cheap AS SELECT * FROM products WHERE price < 1; ANALYZE`)
	file := filepath.Join(t.TempDir(), "stock.csv")
	if err := os.WriteFile(file, []byte("id,stock\n1,10\n2,20\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct{ query, want string }{
		{"SELECT count(*), sum(price), max(title) FROM postgres('shop', 'products')", "count(*),sum(price),max(title)\n5001,125025.00,title 999\n"},
		{"SELECT b.name, count(*) AS n FROM postgres('shop', 'products') p JOIN postgres('shop', 'sales.brands') b ON p.brand = b.id WHERE b.id < 2 GROUP BY 1 ORDER BY 1", "name,n\nbrand 0,500\nbrand 1,500\n"},
		{"SELECT products.id, stock FROM postgres('shop', 'products') JOIN '" + file + "' s ON s.id = products.id ORDER BY 1", "id,stock\n1,10\n2,20\n"},
		{"SELECT * FROM postgres('shop', 'products') WHERE id = 7", "id,brand,price,any_number,rating,active,title,code,mood,tags,nums,doc,id2,day,at,local,clock,took,net,raw\n" +
			`7,7,0.07,0.875,1.75,false,title 7,"ab  ",glad,"[""a"", ""b7""]","[7, null]","{""i"": 7}",00000000-0000-0000-0000-000000000007,2024-01-08,2024-01-01 12:00:00.5+00,1999-12-31 23:59:59,10:11:12.5,1 mon 2 days 03:00:00,10.0.0.1,\x00ff` + "\n"},
		{"SELECT count(*), max(brands.name) FROM postgres://shop/sales.brands", "count(*),max(brands.name)\n10,brand 9\n"},
		{"SELECT count(*) FROM 'postgres://nowhere/products'", "set LAYSHAFT_PG_nowhere"},
		{"SELECT count(*), count(price), count(tags) FROM postgres('shop', 'products') WHERE price IS NULL", "count(*),count(price),count(tags)\n1,0,0\n"},
		{"SELECT count(*) FROM postgres('shop', 'products') WHERE mood = 'happy'", "count(*)\n0\n"},
		{"SELECT count(*) FROM postgres('shop', 'products') WHERE mood = 'glad' AND title >= 'title 4' AND price <= 45.00 AND day > DATE '2024-01-03' AND active = false", "count(*)\n"},
		{"SELECT count(*) FROM postgres('shop', 'products', connections => 3, statement_timeout => '20s') WHERE id <= 10", "count(*)\n10\n"},
		{"SELECT count(*), sum(id) FROM postgres('shop', 'cheap', key => 'id')", "count(*),sum(id)\n99,4950\n"},
		{"SELECT sum(x) FROM postgres('shop', 'SELECT id::numeric(12,3) / 2 AS x FROM products WHERE id <= 10')", "sum(x)\n27.5\n"},
		{"SELECT sum(any_number) FROM postgres('shop', 'products', types => {'any_number': 'decimal(20,6)'})", "sum(any_number)\n1562812.500000\n"},
		{"SELECT filename, count(*) FROM postgres('shop', 'cheap', filename => true) GROUP BY 1", "filename,count(*)\n\"postgres('shop', 'cheap')\",99\n"},
		{"SELECT count(*) FROM postgres('shop', 'product')", "there is no such table; did you mean products?"},
		{"SELECT count(*) FROM postgres('shop')", "postgres needs the name of a database, and a table or a query"},
		{"SELECT count(*) FROM postgres('shop', 'products', colour => 'red')", "postgres has no option colour"},
		{"SELECT prise FROM postgres('shop', 'products')", "price"},
		{"SELECT count(*) FROM postgres('nowhere', 'products')", "set LAYSHAFT_PG_nowhere"},
		{"SELECT count(*) FROM 'postgres://u:" + "p@host/db'", "write FROM postgres('shop', 'table')"},
		{"SELECT count(*) FROM postgres('" + db.TCP() + "', 'products')", "has a password"},
	} {
		got := answer(t, tt.query)
		want := tt.want
		if want == "count(*)\n" { // the database knows
			want += db.Exec(t, "SELECT count(*) FROM products WHERE mood = 'glad' AND title COLLATE \"C\" >= 'title 4' AND price <= 45.00 AND day > '2024-01-03' AND NOT active")[0][0] + "\n"
		}
		if exact := strings.HasSuffix(want, "\n"); exact && got != want || !strings.Contains(got, want) {
			t.Errorf("%s\n got %s\nwant %s", tt.query, got, want)
		}
	}
}

// Rows with values that their type cannot hold end a report with the row and the column, or are set
// aside. The rows around them are all there.
func TestBadRows(t *testing.T) {
	db := pgtest.New(t)
	t.Setenv("LAYSHAFT_PG_SHOP", db.DSN())
	t.Setenv("XDG_CACHE_HOME", t.TempDir()) // the rows that were set aside lie there
	db.Exec(t, `CREATE TABLE events (id bigint PRIMARY KEY, at timestamptz, tags text[], name text);
		INSERT INTO events SELECT i, CASE WHEN i IN (1, 1500, 3000) THEN 'infinity' ELSE '2024-01-01'::timestamptz END, CASE WHEN i = 20 THEN '{{a},{b}}' ELSE ARRAY['x', 'y' || i] END, 'n' || i FROM generate_series(1, 3000) i; ANALYZE`)
	const text = "SELECT count(*), sum(id), count(at), count(name), sum(len(tags)), max(tags[2]) FROM postgres('shop', 'events')"
	if got := answer(t, text); !strings.Contains(got, "events, row 1: column at: the value is infinite") || !strings.Contains(got, "MaxBad") || strings.Contains(got, "connection broke") {
		t.Errorf("got %s", got)
	}
	for most, want := range map[int64]string{4: fmt.Sprintf("2996,%d,2996,2996,5992,y999\n", 3000*3001/2-1-20-1500-3000), 3: "column"} {
		s, err := report.Options{MaxBad: most}.Prepare(t.Context(), local, text)
		if err != nil {
			t.Fatal(err)
		}
		var out bytes.Buffer
		err = s.Run(t.Context()).Write(&out, "csv", report.WriteOptions{})
		if _, body, _ := strings.Cut(out.String(), "\n"); most == 4 && (err != nil || body != want) || most == 3 && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("-bad %d: got %q, %v, want %q", most, body, err, want)
		}
	}
}

// -explain shows how a table is cut, and that a view is not.
func TestExplain(t *testing.T) {
	db := pgtest.New(t)
	t.Setenv("LAYSHAFT_PG_SHOP", db.DSN())
	db.Exec(t, "CREATE TABLE products AS SELECT i AS id, i % 7 AS n, repeat('x', 1000) AS text FROM generate_series(1, 9000) i; ALTER TABLE products ADD PRIMARY KEY (id); CREATE VIEW v AS SELECT * FROM products; ANALYZE")
	for table, want := range map[string]string{
		"v":        "stage 0: 1 split: a view or query without Key cannot be cut, so one attempt reads it",
		"products": "in 8 splits",
	} {
		var out bytes.Buffer
		e := mapreduce.Local{Slots: 2, Reporting: mapreduce.Reporting{Progress: "none", Explain: true, Out: &out}}
		rows, err := report.Query(t.Context(), e, "SELECT count(*) FROM postgres('shop', '"+table+"')")
		if err != nil {
			t.Fatal(err)
		}
		for _, err := range rows.All() {
			if err != nil {
				t.Fatal(err)
			}
		}
		if !strings.Contains(out.String(), want) || !strings.Contains(out.String(), "each attempt needs 1 of budget pg:shop") {
			t.Errorf("%s: -explain prints %s, without %q", table, &out, want)
		}
	}
}
