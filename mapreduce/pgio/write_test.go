package pgio_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/big"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/layshaft/layshaft/internal/pgtest"
	"github.com/layshaft/layshaft/mapreduce"
	"github.com/layshaft/layshaft/mapreduce/connector"
	"github.com/layshaft/layshaft/mapreduce/memio"
	"github.com/layshaft/layshaft/mapreduce/pgio"
)

var quiet = mapreduce.Local{Slots: 2, Reporting: mapreduce.Reporting{Progress: "none"}}

// copyOf is a pipeline that writes values of memory to a sink. f may fail for a value.
func copyOf[T any](values []T, s connector.Sink[T], f func(T) error) *mapreduce.Definition[int, mapreduce.None] {
	return mapreduce.Define("copy", func(p *mapreduce.Plan, _ int) mapreduce.Dataset[mapreduce.None] {
		mapreduce.TryMap(mapreduce.Read(p, memio.Slice(values).Cut(4)), func(_ context.Context, x T) (T, error) { return x, f(x) }).WriteTo(s)
		return mapreduce.Nothing(p)
	})
}

func fine[T any](T) error { return nil }

func write[T any](t testing.TB, values []T, s connector.Sink[T], f func(T) error) error {
	t.Helper()
	_, err := copyOf(values, s, f).Collect(t.Context(), quiet, 0)
	return err
}

type line struct {
	ID    int64
	Name  string
	Price int64  `decimal:"2"`
	Note  string `db:",omitempty"`
}

func lines(n int) (all []line) {
	for i := range n {
		all = append(all, line{int64(i), fmt.Sprintf("tab\tback\\slash\nline %d", i), int64(i - 5), map[bool]string{true: "x"}[i%2 == 0]})
	}
	return all
}

// staging counts the tables of unfinished attempts.
func staging(t testing.TB, db *pgtest.DB) string {
	return db.Exec(t, "SELECT count(*) FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname = 'layshaft' AND c.relkind = 'r' AND c.relname LIKE 'stage%'")[0][0]
}

// A job writes its rows once, however often it runs. A failed job leaves nothing.
func TestWriteOnce(t *testing.T) {
	db := pgtest.New(t)
	db.Exec(t, "CREATE TABLE products (id bigint PRIMARY KEY, name text NOT NULL, price numeric(10,2) NOT NULL, note text, made timestamptz NOT NULL DEFAULT now())")
	t.Setenv("LAYSHAFT_PG_SHOP", db.DSN())
	sink := pgio.Write[line]("shop", "products")
	values := lines(5000)
	if err := write(t, values, sink, func(x line) error {
		if x.ID == 4000 {
			return mapreduce.Fatal(errors.New("broken"))
		}
		return nil
	}); err == nil {
		t.Fatal("a job with a broken record succeeded")
	}
	if got := db.Exec(t, "SELECT count(*) FROM products")[0][0] + " " + staging(t, db); got != "0 0" {
		t.Errorf("a failed job left %s rows and staging tables", got)
	}
	for range 2 {
		if err := write(t, values, sink, fine); err != nil {
			t.Fatal(err)
		}
		if got := db.Exec(t, "SELECT count(*), sum(price), count(note), min(name) FROM products")[0]; !reflect.DeepEqual(got, []string{"5000", "124725.00", "2500", values[0].Name}) {
			t.Errorf("the table has %q", got)
		}
		if got := db.Exec(t, "SELECT count(*), sum(rows) FROM layshaft.written")[0]; !reflect.DeepEqual(got, []string{"4", "5000"}) || staging(t, db) != "0" {
			t.Errorf("the ledger has %q, and %s staging tables are left", got, staging(t, db))
		}
	}
	db.Exec(t, "CREATE TABLE layshaft.stage_old (); COMMENT ON TABLE layshaft.stage_old IS 'rows of job x, staged at 1700000000'; CREATE TABLE layshaft.stage_other ()")
	if err := pgio.Write[line]("shop", "products").Check(t.Context()); err != nil || staging(t, db) != "1" {
		t.Errorf("a stale staging table is left, or another was removed: %v, %s tables", err, staging(t, db))
	}
	read, _ := rows(t, pgio.Rows[line]("shop", "products"), 1<<30)
	if !reflect.DeepEqual(read, values) {
		t.Error("the rows read are not the rows written")
	}
}

func TestUpsert(t *testing.T) {
	db := pgtest.New(t)
	db.Exec(t, "CREATE TABLE products (id bigint PRIMARY KEY, name text NOT NULL, price numeric(10,2) NOT NULL, note text); INSERT INTO products VALUES (1, 'old', 1, 'old'), (9, 'kept', 9, NULL)")
	t.Setenv("LAYSHAFT_PG_SHOP", db.DSN())
	values := []line{{ID: 1, Name: "new", Price: 250}, {ID: 2, Name: "first"}, {ID: 2, Name: "second"}}
	if err := write(t, values, pgio.Write[line]("shop", "products").Upsert("id"), fine); err != nil {
		t.Fatal(err)
	}
	want := [][]string{{"1", "new", "2.50", ""}, {"2", "second", "0.00", ""}, {"9", "kept", "9.00", ""}}
	if got := db.Exec(t, "SELECT * FROM products ORDER BY id"); !reflect.DeepEqual(got, want) {
		t.Errorf("the table has %q, want %q", got, want)
	}
}

type all struct {
	I16  int16
	I32  *int32
	U    uint32
	F32  float32
	F64  *float64
	B    bool
	Rat  *big.Rat
	Text string
	Raw  []byte
	UUID [16]byte
	Doc  map[string]any
	Any  json.RawMessage
	At   time.Time
	Day  time.Time
	Took time.Duration
	Tags []string
	Nums []*int64
	Mood string
	Net  string
}

// Every type survives a way through a table.
func TestEveryType(t *testing.T) {
	db := pgtest.New(t)
	db.Exec(t, `CREATE TYPE mood AS ENUM ('sad', 'very "happy"'); CREATE DOMAIN small AS smallint CHECK (value < 100);
		CREATE TABLE t (i16 small, i32 int, u bigint, f32 real, f64 double precision, b boolean, rat numeric, text varchar(40), raw bytea, uuid uuid, doc jsonb, "any" json, at timestamptz, day date, took interval, tags text[], nums bigint[], mood mood, net inet)`)
	t.Setenv("LAYSHAFT_PG_SHOP", db.DSN())
	one, seven := int32(-1), int64(7)
	f := 0.1
	rat, _ := new(big.Rat).SetString("-123456789012345678901234567890.000000001")
	values := []all{
		{I16: 99, I32: &one, U: 1<<32 - 1, F32: 0.1, F64: &f, B: true, Rat: rat, Text: "é\t\\N", Raw: []byte{0, 1, 255}, UUID: [16]byte{1, 15: 255}, Doc: map[string]any{"a": []any{1.5, "x"}}, Any: json.RawMessage(`{"b": "\\"}`),
			At: time.Date(2026, 2, 3, 4, 5, 6, 789000, time.UTC), Day: time.Date(1999, 12, 31, 0, 0, 0, 0, time.UTC), Took: -90*time.Minute + time.Microsecond, Tags: []string{`a"b`, `c\d`, "", "NULL", "e,f"}, Nums: []*int64{&seven, nil}, Mood: `very "happy"`, Net: "10.0.0.1"},
		{Rat: new(big.Rat), At: time.Unix(0, 0).UTC(), Day: time.Unix(0, 0).UTC(), Raw: []byte{}, Tags: []string{}, Nums: []*int64{}, Mood: "sad", Net: "::1", Doc: map[string]any{}, Any: json.RawMessage("null")},
	}
	if err := write(t, values, pgio.Write[all]("shop", "t"), fine); err != nil {
		t.Fatal(err)
	}
	got, _ := rows(t, pgio.Rows[all]("shop", "t"), 1<<30)
	if len(got) != len(values) {
		t.Fatalf("%d rows", len(got))
	}
	for i := range values {
		a, b := reflect.ValueOf(values[i]), reflect.ValueOf(got[i])
		for k := range a.NumField() {
			x, y := a.Field(k).Interface(), b.Field(k).Interface()
			if r, ok := x.(*big.Rat); ok && r.Cmp(y.(*big.Rat)) == 0 {
				continue
			}
			if !reflect.DeepEqual(x, y) {
				t.Errorf("row %d: %s is %v, want %v", i, a.Type().Field(k).Name, y, x)
			}
		}
	}
}

// Mistakes of a sink are found before the job starts where that is possible.
func TestErrorsOfWriting(t *testing.T) {
	db := pgtest.New(t)
	db.Exec(t, `CREATE TABLE products (id bigint PRIMARY KEY, name text NOT NULL, price numeric(10,2) NOT NULL, note text);
		CREATE TABLE strict (id bigint, name text, price numeric, note text, must int NOT NULL);
		CREATE TABLE made (id bigint GENERATED ALWAYS AS IDENTITY, name text, price numeric, note text);
		CREATE TABLE other (id bigint, name int, price numeric(4,2), note text); ALTER TABLE products OWNER TO `+db.Name)
	t.Setenv("LAYSHAFT_PG_SHOP", db.DSN())
	t.Setenv("LAYSHAFT_PG_OWNER", db.TCP())
	x := []line{{ID: 1, Name: "x", Price: 1}}
	for _, tt := range []struct {
		name   string
		sink   pgio.Sink[line]
		values []line
		want   string
	}{
		{"no table", pgio.Write[line]("shop", "product"), x, "did you mean products?"},
		{"a query", pgio.Write[line]("shop", "SELECT 1"), x, "not to a query"},
		{"NOT NULL without a field", pgio.Write[line]("shop", "strict"), x, "column must is NOT NULL without a default"},
		{"generated", pgio.Write[line]("shop", "made"), x, "column id is generated by the database"},
		{"no right", pgio.Write[line]("owner", "other"), x, "may not read it"},
		{"no schema", pgio.Write[line]("owner", "products"), x, "CREATE SCHEMA layshaft AUTHORIZATION"},
		{"no unique index", pgio.Write[line]("shop", "products").Upsert("name"), x, "no unique index has just these columns"},
		{"no number", pgio.Write[line]("shop", "other"), x, `invalid input syntax for type integer: "x"`},
		{"too large", pgio.Write[line]("shop", "products"), []line{{ID: 1, Price: 1 << 50}}, "numeric field overflow"},
		{"zero byte", pgio.Write[line]("shop", "products"), []line{{ID: 1, Name: "a\x00b"}}, "column name, field line.Name: the text has a zero byte"},
		{"equal keys", pgio.Write[line]("shop", "products"), []line{{ID: 1}, {ID: 1}}, "duplicate key value violates unique constraint"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if tt.name == "no schema" {
				db.Exec(t, "REVOKE CREATE ON DATABASE "+db.Name+" FROM public; ALTER DATABASE "+db.Name+" OWNER TO postgres; DROP SCHEMA IF EXISTS layshaft CASCADE")
			}
			err := write(t, tt.values, tt.sink, fine)
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("the error is %v, want %q", err, tt.want)
			}
			if err != nil && strings.Contains(err.Error(), pgtest.Password) {
				t.Error("the password is shown")
			}
			t.Log(err)
		})
	}
	if got := db.Exec(t, "SELECT count(*) FROM products")[0][0] + " " + staging(t, db); got != "0 0" {
		t.Errorf("failed jobs left %s rows and staging tables", got)
	}
}
