package scan

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/layshaft/layshaft/internal/filesys"
	"github.com/layshaft/layshaft/mapreduce/connector"
	"github.com/layshaft/layshaft/report/internal/vec"
)

// settled is the file system without the times of inodes. Files need no time to settle then.
type settled struct{ filesys.OS }

func (s settled) Glob(ctx context.Context, pattern string) ([]filesys.Info, error) {
	infos, err := s.OS.Glob(ctx, pattern)
	for i := range infos {
		infos[i].Changed = time.Time{}
	}
	return infos, err
}

// background is a context for files that were just written.
func background() context.Context {
	return filesys.WithSet(context.Background(), filesys.Set{"": settled{}})
}

// write writes a file and returns its path.
func write(t testing.TB, name, content string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// resolve resolves a request, and sends the table through JSON as a job does.
func resolve(t testing.TB, r Request) *Table {
	t.Helper()
	table, err := Resolve(background(), r)
	if err != nil {
		t.Fatal(err)
	}
	data, err := json.Marshal(table)
	if err != nil {
		t.Fatal(err)
	}
	back := &Table{}
	if err := json.Unmarshal(data, back); err != nil {
		t.Fatal(err)
	}
	return back
}

// read reads all rows of some columns as text, and the errors of bad records.
func read(t testing.TB, table *Table, columns []vec.Field, target int64, bounds ...Bound) (rows, bad []string) {
	t.Helper()
	return readAll(t, table.Source(columns, bounds), columns, target)
}

// readAll reads all rows of a source.
func readAll(t testing.TB, src connector.Source[vec.Batch], columns []vec.Field, target int64) (rows, bad []string) {
	t.Helper()
	ctx := background()
	splits, err := src.Splits(ctx, target)
	if err != nil {
		t.Fatal(err)
	}
	r := connector.NewReader(func(b *vec.Batch) {
		if len(b.Cols) != len(columns) || b.N > vec.Size {
			t.Fatalf("a batch of %d rows has %d columns, want %d", b.N, len(b.Cols), len(columns))
		}
		for i := range b.N {
			var row []string
			for k, c := range b.Cols {
				if c.Len != b.N || !c.Type.Equal(columns[k].Type) {
					t.Fatalf("column %s: %d rows of %s, want %d of %s", columns[k].Name, c.Len, c.Type, b.N, columns[k].Type)
				}
				row = append(row, show(c, i))
			}
			rows = append(rows, strings.Join(row, " | "))
		}
	}, func(err error, _ []byte) error {
		bad = append(bad, err.Error())
		return nil
	})
	for _, s := range splits {
		if err := src.Read(ctx, s, r); err != nil {
			t.Fatalf("split %s: %v", s.Label, err)
		}
	}
	return rows, bad
}

// show returns a value as text.
func show(v *vec.Vec, i int) string {
	if v.Null(i) {
		return "NULL"
	}
	switch v.Type.Kind {
	case vec.Bool:
		return fmt.Sprint(v.Bools[i])
	case vec.Int, vec.Date, vec.Time, vec.Timestamp, vec.TimestampTZ:
		return fmt.Sprint(v.Ints[i])
	case vec.Decimal:
		return string(vec.AppendDecimal(nil, v.Int128(i), v.Type.Scale))
	case vec.Float:
		return fmt.Sprint(v.Floats[i])
	case vec.Interval:
		return fmt.Sprint(v.Spans[i])
	case vec.List, vec.Map:
		var all []string
		for e := v.Offsets[i]; e < v.Offsets[i+1]; e++ {
			all = append(all, show(v.Elem, int(e)))
		}
		return "[" + strings.Join(all, ",") + "]"
	case vec.Struct:
		var all []string
		for _, f := range v.Fields {
			all = append(all, show(f, i))
		}
		return "(" + strings.Join(all, ",") + ")"
	}
	return v.String(i)
}

// schema returns the columns as text.
func schema(table *Table) string {
	var all []string
	for _, c := range table.Columns {
		all = append(all, c.Name+" "+c.Type.String())
	}
	return strings.Join(all, ", ")
}

// Every format is found out, with the types of its columns, and read.
func TestFormats(t *testing.T) {
	for _, c := range []struct {
		name, file, content string
		schema              string
		rows                string
	}{
		{"json lines", "a.jsonl", `{"a":1,"b":"x","c":1.25,"d":true,"e":null}` + "\n" + `{"b":"y\u00e9","a":-7,"c":3,"f":[1,2],"g":{"h":"2024-02-29"}}` + "\n\n",
			"a bigint, b text, c decimal(18,2), d boolean, e json, f bigint[], g struct(h date)",
			"1 | x | 1.25 | true | NULL | NULL | NULL\n-7 | yé | 3.00 | NULL | NULL | [1,2] | (19782)"},
		{"json array", "a.json", "[\n {\"a\": 1,\n  \"b\": \"],{\"},\n {\"a\": 2}\n]\n", "a bigint, b text", "1 | ],{\n2 | NULL"},
		{"pretty json", "a.json", "{\n \"a\": 1\n}\n{\n \"a\": 2\n}", "a bigint", "1\n2"},
		{"json values", "a.json", "1\n2\n\"x\"\n", "json text", "1\n2\nx"},
		{"json lists", "a.jsonl", "[1,2]\n[3]\n", "json bigint[]", "[1,2]\n[3]"},
		{"mixed json", "a.json", `{"a":1,"b":1}` + "\n" + `{"a":"x","b":{"c":1}}`, "a text, b json", "1 | 1\nx | {\"c\":1}"},
		{"big integers", "a.json", `{"a":18446744073709551615}` + "\n" + `{"a":-1}`, "a decimal(38,0)", "18446744073709551615\n-1"},
		{"csv", "a.csv", "id,name,price,day,at,ok\n1,\"a, \"\"b\"\"\",1.5,2024-01-01,2024-01-01 00:00:01,true\n2,,,,,\n",
			"id bigint, name text, price decimal(18,1), day date, at timestamp, ok boolean",
			"1 | a, \"b\" | 1.5 | 19723 | 1704067201000000 | true\n2 | NULL | NULL | NULL | NULL | NULL"},
		{"semicolons", "a.csv", "a;b\r\n1,5;x\r\n2,5;\"\"\r\n", "a text, b text", "1,5 | x\n2,5 | "},
		{"tabs", "a.tsv", "a\tb\n007\t1e3\n\t2\n", "a text, b double", "007 | 1000\nNULL | 2"},
		{"no header", "a.csv", "1,x\n2,y\n", "column0 bigint, column1 text", "1 | x\n2 | y"},
		{"a name twice", "a.csv", "id,id,n\n1,2,x\n", "id bigint, id_1 bigint, n text", "1 | 2 | x"},
		{"a comma too many", "a.csv", "a,b,\n1,2,\n", "a bigint, b bigint, column2 text", "1 | 2 | NULL"},
		{"texts with gaps", "a.csv", "x,,y\nz,,w\n", "column0 text, column1 text, column2 text", "x | NULL | y\nz | NULL | w"},
		{"header only", "a.csv", "a,b\n", "a text, b text", ""},
		{"text only", "a.csv", "name,city\nAda,London\nBob,Paris\n", "name text, city text", "Ada | London\nBob | Paris"},
		{"zones", "a.csv", "t\n2024-01-01T00:00:00+01:00\n2024-01-01 00:00:00Z\n", "t timestamptz", "1704063600000000\n1704067200000000"},
		{"lines", "a.txt", "one\n\ntwo, three", "line text", "one\n\ntwo, three"},
		{"stanzas", "status", "# c\nPackage: a\nSize: 12\nDescription: short\n long\n .\n more\n\n\nPackage: b\nX-Y:\nSize: 7\n",
			"Package text, Size bigint, Description text, X-Y text", "a | 12 | short\nlong\n\nmore | NULL\nb | 7 | NULL | "},
		{"common log", "access.log", "127.0.0.1 - ada [10/Oct/2000:13:55:36 -0700] \"GET /a?b=1 HTTP/1.0\" 200 2326\n::1 - - [10/Oct/2000:13:55:36 +0000] \"-\" 408 - \"-\" \"curl \\\"x\\\"\"\n",
			"ip text, ident text, user text, time timestamptz, method text, path text, protocol text, status bigint, bytes bigint, referer text, agent text",
			"127.0.0.1 | NULL | ada | 971211336000000 | GET | /a?b=1 | HTTP/1.0 | 200 | 2326 | NULL | NULL\n" +
				"::1 | NULL | NULL | 971186136000000 | NULL | NULL | NULL | 408 | NULL | NULL | curl \\\"x\\\""},
	} {
		t.Run(c.name, func(t *testing.T) {
			table := resolve(t, Request{Paths: []string{write(t, c.file, c.content)}})
			if got := schema(table); got != c.schema {
				t.Errorf("columns are %s, want %s", got, c.schema)
			}
			for _, target := range []int64{0, 5, 20} {
				rows, bad := read(t, table, table.Columns, target)
				if got := strings.Join(rows, "\n"); got != c.rows || bad != nil {
					t.Errorf("splits of %d bytes: rows are\n%s\nwant\n%s\nbad: %q", target, got, c.rows, bad)
				}
			}
		})
	}
}
