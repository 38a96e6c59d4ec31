// Package differ compares package report with DuckDB: it makes files and statements from a seed,
// runs each statement in both, and compares the rows.
package differ

import (
	"compress/gzip"
	"database/sql"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"

	"github.com/klauspost/compress/zstd"
)

// kind is the type of an expression, as far as the generator cares.
type kind int

const (
	integer kind = iota
	decimal
	double
	text
	boolean
	date
	stamp
	list
	kinds // the number of kinds
)

// column is a column of a table or of a subquery.
type column struct {
	name string // as it stands in expressions
	kind kind
	typ  string // of SQL
}

// columns are the columns of every table. wide holds integers at the limits of 64 bits, and huge
// floats at theirs: no arithmetic is done on them.
var columns = []column{
	{"id", integer, "bigint"}, {"i", integer, "bigint"}, {"j", integer, "bigint"}, {"wide", integer, "bigint"},
	{"d", decimal, "decimal(10,2)"}, {"e", decimal, "decimal(18,4)"}, {"limit38", decimal, "decimal(38,10)"},
	{"f", double, "double"}, {"huge", double, "double"}, {"s", text, "text"}, {"u", text, "text"}, {"js", text, "text"},
	{"b", boolean, "boolean"}, {"dt", date, "date"}, {"ts", stamp, "timestamp"},
}

// isExtreme reports that a column is for comparisons only.
func isExtreme(name string) bool {
	return name == "wide" || name == "huge" || name == "limit38" || name == "js"
}

// nested are columns of JSON and Parquet tables alone.
var nested = []column{{"l", list, "bigint[]"}, {"st", kinds, "struct(a bigint, t text)"}}

// table is one table of a world: files of ours, a table in DuckDB.
type table struct {
	name string
	glob string
	cols []column
	rows int
}

// world is a set of tables with a few hundred statements.
type world struct {
	dir    string
	db     *sql.DB
	tables []*table
	r      *rand.Rand
	// typed reports that statements give the types of columns; otherwise samples decide.
	typed bool
}

func newWorld(dir string, db *sql.DB, r *rand.Rand) (*world, error) {
	w := &world{dir: dir, db: db, r: r, typed: r.IntN(3) > 0}
	for _, x := range []struct {
		name string
		rows int
	}{{"ta", 20 + r.IntN(80)}, {"tb", 10 + r.IntN(30)}, {"tc", []int{0, 1, 2, 5}[r.IntN(4)]}, {"td", 1000 + r.IntN(2500)}} {
		if err := w.table(x.name, x.rows); err != nil {
			return nil, fmt.Errorf("table %s: %w", x.name, err)
		}
	}
	return w, nil
}

func pick[T any](r *rand.Rand, xs ...T) T { return xs[r.IntN(len(xs))] }

var texts = []string{"a", "b", "ab", "Äö", "x y", "B", "abc", "", "a-b-c", "日本", "😀x", "O'Neil", "a,b", `q"q`, "tab\there", "%_", "line\nbreak", " lead", "NULL", "null", "123", "12e", "true", "2024-01-01", "-", "ǆ"}

// row returns the values of a row: nil for NULL, and text as a JSON value would have it.
func (w *world) row(id int, flavour int) map[string]any {
	r := w.r
	null := 8
	if flavour == 1 {
		null = 2
	}
	m := map[string]any{"id": json.Number(fmt.Sprint(id))}
	set := func(name string, v any) {
		if r.IntN(null) != 0 {
			m[name] = v
		} else {
			m[name] = nil
		}
	}
	num := func(s string) json.Number { return json.Number(s) }
	i := r.IntN(11) - 3
	switch flavour {
	case 2: // one group
		i = 1
	case 3: // all distinct
		i = id
	}
	set("i", num(fmt.Sprint(i)))
	set("j", num(fmt.Sprint(r.IntN(201)-100)))
	set("wide", num(pick(r, "9223372036854775807", "-9223372036854775808", "0", "1", "-1", "4611686018427387904", fmt.Sprint(r.Int64()))))
	set("d", num(pick(r, "0.00", "-1.50", "12.34", "99.99", "0.01", "7.00", "-0.01", "99999999.99", "2.50", "3.50")))
	set("e", num(pick(r, "0.0000", "0.0001", "-12.3450", "1000.0000", "3.1416", "0.5000", "-0.5000", "2.5000")))
	set("limit38", num(pick(r, "9999999999999999999999999999.9999999999", "-9999999999999999999999999999.9999999999", "0.0000000001", "1.0000000000", "0.0000000000")))
	set("f", num(pick(r, "0.5", "-2.25", "1000.0", "3.0", "0.1", "-0.0", "2.5e0", "1e3", "0.30000000000000004")))
	set("huge", num(pick(r, "1.7976931348623157e308", "-1.7976931348623157e308", "5e-324", "1e300", "-0.0", "0.0", "1.5", "123456789.125")))
	set("s", pick(r, texts...))
	set("u", pick(r, "k1", "k2", "k3", "K1", "kk", ""))
	set("js", pick(r, `{"a": 1, "b": ["x", null, 2], "c": {"d": "e"}}`, `{"a": "t", "b": []}`, `[1, 2.5, "z"]`, `{"a": null}`, `"x"`, `12`, `{}`))
	set("b", r.IntN(2) == 0)
	set("dt", pick(r, "2024-01-31", "2023-12-01", "1999-06-15", "2024-02-29", "0004-03-01", "9999-12-31", "1970-01-01", "1582-10-10"))
	set("ts", pick(r, "2024-01-31 23:59:59.999999", "2023-12-01 00:00:00", "1999-06-15 12:30:00", "2024-02-29 06:07:08.5", "0004-03-01 00:00:00", "9999-12-31 23:59:59", "1969-12-31 23:59:59", "2024-03-31 02:30:00"))
	var l any = []any{}
	for range r.IntN(4) {
		l = append(l.([]any), num(fmt.Sprint(r.IntN(9)-2)))
	}
	if r.IntN(6) == 0 {
		l = append(l.([]any), nil)
	}
	set("l", l)
	set("st", map[string]any{"a": num(fmt.Sprint(r.IntN(5))), "t": pick(r, texts...)})
	return m
}

// table makes the files of a table, and the table of DuckDB.
func (w *world) table(name string, rows int) error {
	r := w.r
	format := pick(r, "csv", "jsonl", "parquet")
	if rows == 0 && format == "jsonl" {
		format = "csv" // without a row, JSON Lines have no columns
	}
	t := &table{name: name, rows: rows, cols: columns}
	if format != "csv" {
		t.cols = append(t.cols[:len(t.cols):len(t.cols)], nested...)
	}
	files := 1
	if r.IntN(3) == 0 {
		files = 2 + r.IntN(2)
	}
	flavour := r.IntN(5)
	delim := pick(r, ",", ",", ";", "\t", "|")
	newline := pick(r, "\n", "\n", "\r\n")
	var paths []string
	id := 0
	for f := range files {
		n := rows / files
		if f == files-1 {
			n = rows - id
		}
		var b, twin strings.Builder
		if format == "csv" {
			b.WriteString(header(t.cols, delim) + newline)
		}
		for range n {
			id++
			m := w.row(id, flavour)
			if !w.typed && id <= 3 { // the types of these rows can be inferred
				for k, v := range w.row(id, 0) {
					for v == nil {
						v = w.row(id, 0)[k]
					}
					m[k] = v
				}
			}
			if format == "csv" {
				if r.IntN(9) == 0 {
					m["f"] = pick(r, "NaN", "Infinity", "-Infinity")
				}
				b.WriteString(csvLine(t.cols, m, delim) + newline)
				continue
			}
			line, err := json.Marshal(m)
			if err != nil {
				return err
			}
			b.Write(line)
			b.WriteByte('\n')
			if v, ok := m["limit38"].(json.Number); ok {
				m["limit38"] = v.String() // DuckDB reads numbers in JSON as doubles
			}
			if line, err = json.Marshal(m); err != nil {
				return err
			}
			twin.Write(append(line, '\n'))
		}
		ext := map[string]string{"csv": "csv", "jsonl": "jsonl", "parquet": "jsonl"}[format]
		zip := ""
		if format != "parquet" {
			zip = pick(r, "", "", ".gz", ".zst")
		}
		path := filepath.Join(w.dir, fmt.Sprintf("%s-%d.%s%s", name, f, ext, zip))
		if err := write(path, b.String()); err != nil {
			return err
		}
		if format != "csv" {
			path = filepath.Join(w.dir, fmt.Sprintf("twin-%s-%d.jsonl", name, f))
			if err := write(path, twin.String()); err != nil {
				return err
			}
		}
		paths = append(paths, path)
	}
	t.glob = filepath.Join(w.dir, name+"-*")
	var types []string
	for _, c := range t.cols {
		types = append(types, fmt.Sprintf("'%s': '%s'", c.name, c.typ))
	}
	options := fmt.Sprintf("read_csv(%s, header=true, delim='%s', quote='\"', allow_quoted_nulls=false, auto_detect=false, escape='\"', columns={%s})", pathList(paths), delim, strings.Join(types, ", "))
	if format != "csv" {
		options = fmt.Sprintf("read_json(%s, format='newline_delimited', columns={%s})", pathList(paths), strings.Join(types, ", "))
	}
	statements := []string{"CREATE TABLE " + name + " AS SELECT * FROM " + options}
	if format == "parquet" {
		t.glob = filepath.Join(w.dir, name+".parquet")
		statements = append(statements,
			fmt.Sprintf("UPDATE %s SET f = (CASE id %% 3 WHEN 0 THEN 'NaN' WHEN 1 THEN 'Infinity' ELSE '-Infinity' END)::DOUBLE WHERE id %% 11 = 5", name),
			fmt.Sprintf("COPY %s TO '%s' (FORMAT parquet, COMPRESSION %s, ROW_GROUP_SIZE %d)", name, t.glob, pick(r, "zstd", "snappy", "gzip", "uncompressed"), pick(r, 2048, 122880)))
	}
	for _, s := range statements {
		if _, err := w.db.Exec(s); err != nil {
			return fmt.Errorf("%s: %w", s, err)
		}
	}
	w.tables = append(w.tables, t)
	return nil
}

func header(cols []column, delim string) string {
	var names []string
	for _, c := range cols {
		names = append(names, c.name)
	}
	return strings.Join(names, delim)
}

// csvLine returns a row as CSV: text in quotes, and NULL as nothing.
func csvLine(cols []column, m map[string]any, delim string) string {
	cells := make([]string, len(cols))
	for i, c := range cols {
		switch v := m[c.name]; {
		case v == nil:
		case c.kind == text:
			cells[i] = `"` + strings.ReplaceAll(v.(string), `"`, `""`) + `"`
		default:
			cells[i] = fmt.Sprint(v)
		}
	}
	return strings.Join(cells, delim)
}

func pathList(paths []string) string { return "['" + strings.Join(paths, "', '") + "']" }

// write writes a file, compressed as its name says.
func write(path, content string) error {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	defer f.Close()
	var z io.WriteCloser = f
	switch filepath.Ext(path) {
	case ".gz":
		z = gzip.NewWriter(f)
	case ".zst":
		if z, err = zstd.NewWriter(f); err != nil {
			return err
		}
	}
	if _, err := io.WriteString(z, content); err != nil {
		return err
	}
	return z.Close()
}
