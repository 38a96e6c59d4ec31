package scan

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
	"github.com/ulikunitz/xz"

	"github.com/layshaft/layshaft/mapreduce/connector"
	"github.com/layshaft/layshaft/report/internal/vec"
)

// A value that does not fit its column is a bad record. Its error has the place, the value and the
// way out; the other rows are read.
func TestMisfits(t *testing.T) {
	many := func(line string) string { return strings.Repeat(line+"\n", 9000) }
	for _, c := range []struct {
		name, file, content string
		types               map[string]vec.Type
		sample              int
		rows                int
		bad                 []string
	}{
		{"csv", "a.csv", "a,b\n" + many("1,x") + "12.5,x\nabc,x\n1,x,y\n1,\"x\"z\n2,x\n", nil, 0, 9001, []string{
			`:9002: column "a": "12.5" is not a valid bigint, which was inferred from a sample; read the column with -types 'a=double'`,
			`:9003: column "a": "abc" is not a valid bigint, which was inferred from a sample; read the column with -types 'a=text'`,
			`:9004: the row has 3 cells, and not 2; is a separator not quoted, or one missing?`,
			`:9005: column "b": a character follows a closing quote; double quotes inside a quoted cell, as in "a 5"" pipe"`}},
		{"json", "a.json", many(`{"a":1,"b":[{"c":"2024-01-01"}]}`) + `{"a":1.5}` + "\n" + `{"b":[{"c":"2024-01-01"},{"c":"x"}]}` + "\n" + `{"a":"x"}` + "\n{\"a\":\n" + `{"b":{}}` + "\n" + `{"a":7}`, nil, 0, 9001, []string{
			`:9001: offset 5: column "a": 1.5 is not a valid bigint, which was inferred from a sample; read the column with -types 'a=double'`,
			`:9003: offset 5: column "a": string "x" is not a valid bigint, which was inferred from a sample; read the column with -types 'a=text'`,
			`:9004: offset 5: field a: expected a number, found the end of the line`,
			`:9005: offset 5: column "b": an object is not a valid struct(c date)[], which was inferred from a sample; read the column with -types 'b=json'`,
			`:9002: column "b": "x" is not a valid struct(c date)[], which was inferred from a sample; read the column with -types 'b=json'`}},
		{"declared", "a.csv", "a,b\n1,x\n1000,y\n", map[string]vec.Type{"A": vec.DecimalOf(4, 2)}, 0, 1, []string{
			`:3: column "a": "1000" is not a valid decimal(4,2), which was given; read the column with -types 'a=double'`}},
		{"declared json", "a.json", "{\"a\":1}\n{\"a\":100}\n", map[string]vec.Type{"a": vec.DecimalOf(4, 2)}, 0, 1, []string{
			`:2: column "a": "100.00" is not a valid decimal(4,2), which was given; read the column with -types 'a=double'`}},
		{"zone", "a.csv", "a\n" + many("2024-01-01 00:00:00") + "2024-01-01 00:00:00Z\n", nil, 0, 9000, []string{
			`:9002: column "a": "2024-01-01 00:00:00Z" is not a valid timestamp, which was inferred from a sample; read the column with -types 'a=timestamptz'`}},
		{"csv bytes", "a.csv", "a,b\n" + many("1,x") + "1,\xe9\n", nil, 0, 9000, []string{
			`:9002: column "b": "\xe9" is not UTF-8; if it is Latin-1, read it with read_csv('…', encoding='latin-1'), or set bad rows aside with -bad N`}},
		{"json bytes", "a.json", many(`{"a":"x","b":["y"]}`) + "{\"a\":\"xxxxxxxxx\xe9\"}\n" + "{\"b\":[\"\xe9\"]}\n", nil, 0, 9000, []string{
			`:9001: column "a": "xxxxxxxxx\xe9" is not UTF-8; if it is Latin-1, read it with read_json('…', encoding='latin-1'), or set bad rows aside with -bad N`,
			`:9002: column "b": "\xe9" is not UTF-8; if it is Latin-1, read it with read_json('…', encoding='latin-1'), or set bad rows aside with -bad N`}},
		{"log", "a.log", many(`1.1.1.1 - - [10/Oct/2000:13:55:36 -0700] "GET / HTTP/1.0" 200 1`) + "what\n", nil, 0, 9000, []string{
			`:9001: the line is not in the common or combined log format: "what"; read it with read_text, or set bad lines aside with -bad`}},
	} {
		t.Run(c.name, func(t *testing.T) {
			path := write(t, c.file, c.content)
			table := resolve(t, Request{Paths: []string{path}, Types: c.types, Sample: c.sample})
			for _, target := range []int64{0, 10_000} {
				rows, bad := read(t, table, table.Columns, target)
				if len(rows) != c.rows || len(bad) != len(c.bad) {
					t.Fatalf("%d rows, want %d; bad records:\n%s", len(rows), c.rows, strings.Join(bad, "\n"))
				}
				for i := range bad {
					if bad[i] != path+c.bad[i] {
						t.Errorf("bad record %d is\n%s\nwant\n%s", i, bad[i], path+c.bad[i])
					}
				}
			}
		})
	}
}

// Requests that cannot be right are refused, with a way out.
func TestRefusals(t *testing.T) {
	csv, js := write(t, "a.csv", "aa,bb\n1,x\n"), write(t, "b.json", "{\"a\":1}\n")
	for _, c := range []struct {
		r    Request
		want string
	}{
		{Request{Paths: []string{csv, js}}, "is of format csv, and"},
		{Request{Paths: []string{csv}, Types: map[string]vec.Type{"ab": vec.Of(vec.Int)}}, "the types name the column \"ab\", which " + csv + " does not have; its columns are aa, bb"},
		{Request{Paths: []string{csv}, Format: "exel"}, `format "exel" is not known; the formats are avro, csv, json, log, parquet, stanza, text, tsv`},
		{Request{Paths: []string{csv}, Options: map[string]string{"delimm": ";"}}, `option "delimm" is not known for csv; the options are delim, `},
		{Request{Paths: []string{csv}, Options: map[string]string{"types": "aa=bigin"}}, "option types: there is no type bigin; near are bigint, "},
		{Request{Paths: []string{js}, Options: map[string]string{"formt": "x"}}, "option formt=x is not known for json"},
		{Request{Paths: []string{csv}, Options: map[string]string{"delim": "ab"}}, `option delim: "ab" is not one byte`},
		{Request{Paths: []string{csv}, Types: map[string]vec.Type{"aa": vec.ListOf(vec.Of(vec.Int))}}, "cannot be read as bigint[]"},
		{Request{Paths: []string{csv}, Format: "json"}, "its first 10 bytes have no record of JSON"},
		{Request{Paths: []string{write(t, "c.parquet", "")}, Format: ""}, "c.parquet: the file is empty, and a file of format parquet never is"},
		{Request{Paths: []string{write(t, "c.avro", "")}, Format: ""}, "c.avro: the file is empty, and a file of format avro never is"},
		{Request{Paths: []string{write(t, "c.txt", "")}, Format: ""}, "c.txt is empty, so the format is not known"},
		{Request{Paths: []string{csv}, Options: map[string]string{"columns": "p=text"}}, "a.csv: it has 2 columns, and the option columns names 1"},
		{Request{Paths: []string{csv}, Options: map[string]string{"names": "p,q,r"}}, "a.csv: it has 2 columns, and the option names names 3"},
		{Request{Paths: []string{csv}, Options: map[string]string{"quote": "'", "escape": "\""}}, `option escape: only doubled quotes are known, so it must be the quote "'", not "\""`},
		{Request{Paths: []string{csv}, Options: map[string]string{"multiline": "maybe"}}, `option multiline: "maybe" is not true or false`},
		{Request{Paths: []string{csv}, Options: map[string]string{"all_varchar": "x"}}, `option all_varchar: "x" is not true or false`},
		{Request{Paths: []string{csv}, Options: map[string]string{"union_by_name": "false"}}, "option union_by_name: columns are always matched by name"},
		{Request{Paths: []string{csv}, Options: map[string]string{"auto_detect": "false"}}, "option auto_detect: what no option gives is always found out"},
		{Request{Paths: []string{csv}, Options: map[string]string{"ignore_errors": "true"}}, "option ignore_errors: set bad records aside with -bad N"},
		{Request{Paths: []string{csv}, Options: map[string]string{"decimal_separator": ";"}}, `option decimal_separator: ";" is neither a comma nor a point`},
		{Request{Paths: []string{csv}, Options: map[string]string{"thousands": "1"}}, `option thousands: "1" is not one byte of ASCII that can separate digits`},
		{Request{Paths: []string{csv}, Options: map[string]string{"thousands": "."}}, `option thousands: "." also stands before the fraction`},
		{Request{Paths: []string{csv}, Options: map[string]string{"dateformat": "%Q"}}, "option dateformat: the format"},
		{Request{Paths: []string{csv}, Options: map[string]string{"encoding": "ebcdic"}}, `option encoding: the encoding "ebcdic" is not known; the encodings are utf-8, latin-1, `},
		{Request{Paths: []string{csv}, Format: "text", Options: map[string]string{"sample_size": "7"}}, "option sample_size: format text needs no sample"},
		{Request{Paths: []string{write(t, "l.csv", "a,caf\xe9\n1,2\n")}}, `the name "caf\xe9" of a column is not UTF-8; if it is Latin-1, read it with read_csv('…', encoding='latin-1')`},
		{Request{Paths: []string{csv}, Format: "parquet"}, "not a Parquet file"},
		{Request{Paths: []string{csv}, Format: "avro"}, "not an Avro file"},
		{Request{Paths: []string{write(t, "x.zip", "PK\x03\x04xxxxxxxxxxxxxxxxxx")}}, "zip archive"},
		{Request{Paths: []string{csv + "x"}}, "no such file"},
	} {
		if _, err := Resolve(background(), c.r); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%v: %v, want %s", c.r, err, c.want)
		}
	}
}

// Files of several compressions, and empty ones, are read as one table; the types are those that
// fit all of them.
func TestFiles(t *testing.T) {
	dir := t.TempDir()
	put := func(name, content string) {
		var out bytes.Buffer
		switch filepath.Ext(name) {
		case ".gz":
			z := gzip.NewWriter(&out)
			z.Write([]byte(content))
			z.Close()
		case ".zst":
			z, _ := zstd.NewWriter(&out)
			z.Write([]byte(content))
			z.Close()
		case ".xz":
			z, _ := xz.NewWriter(&out)
			z.Write([]byte(content))
			z.Close()
		default:
			out.WriteString(content)
		}
		if err := os.WriteFile(filepath.Join(dir, name), out.Bytes(), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	put("a.csv", "id,x\n1,2\n")
	put("b.csv.gz", "x,id\n2.5,2\n")
	put("c.csv.zst", "id,y\n3,ü\n")
	put("d.csv.xz", "id,x\n,7.25\n")
	put("e.csv", "")
	put("f.csv", "\xef\xbb\xbfid,x\r\n\"9\",\"\"\r\n")
	table := resolve(t, Request{Paths: []string{dir}})
	if got, want := schema(table), "id bigint, x decimal(18,2), y text"; got != want {
		t.Errorf("columns are %s, want %s", got, want)
	}
	for _, target := range []int64{0, 4} {
		rows, bad := read(t, table, append(table.Columns, vec.Field{Name: Filename, Type: vec.Of(vec.Text)}), target)
		for i := range rows {
			rows[i] = strings.Replace(rows[i], dir+"/", "", 1)
		}
		want := "1 | 2.00 | NULL | a.csv\n2 | 2.50 | NULL | b.csv.gz\n3 | NULL | ü | c.csv.zst\nNULL | 7.25 | NULL | d.csv.xz\n9 | NULL | NULL | f.csv"
		if got := strings.Join(rows, "\n"); got != want || bad != nil {
			t.Errorf("rows are\n%s\nwant\n%s\nbad: %q", got, want, bad)
		}
	}
}

// Options of CSV.
func TestOptions(t *testing.T) {
	for _, c := range []struct {
		content string
		options map[string]string
		want    string
	}{
		{"x y\n# c \"\n1|'a|b'\n-|c\n", map[string]string{"skip": "1", "comment": "#", "delim": "|", "quote": "'", "nullstr": "-", "header": "false"}, "column0 bigint, column1 text\n1 | a|b\nNULL | c"},
		{"a,b\n1,2\n", map[string]string{"all_varchar": "true"}, "a text, b text\n1 | 2"},
		{"1,2\n", map[string]string{"names": "p, q"}, "p bigint, q bigint\n1 | 2"},
		{"a,b\n1,2\n3\n", map[string]string{"null_padding": "true"}, "a bigint, b bigint\n1 | 2\n3 | NULL"},
		{"a\n1\n", map[string]string{"header": "false"}, "column0 text\na\n1"},
		{"a,b,c\n1,2,3\n", map[string]string{"names": "p,q", "types": "p=decimal(5,1),q=varchar,c=double"}, "p decimal(5,1), q text, c double\n1.0 | 2 | 3"},
		{"x,y\nz,w\n", map[string]string{"columns": "p=text,q=text", "union_by_name": "true"}, "p text, q text\nx | y\nz | w"},
		{"d,t,i\n31.12.2023,1/2/24 3:04 PM,2024-01-01\n", map[string]string{"dateformat": "%d.%m.%Y", "timestampformat": "%m/%d/%y %I:%M %p"}, "d date, t timestamp, i text\n19722 | 1704207840000000 | 2024-01-01"},
		{"n;m;d\n1.234,50;-2,5;31.01.2024\n-12;1.000.000;1.5\n", map[string]string{"delim": ";", "decimal_separator": ",", "thousands": "."}, "n decimal(18,2), m decimal(18,1), d text\n1234.50 | -2.5 | 31.01.2024\n-12.00 | 1000000.0 | 1.5"},
		{"n;m\n1.5e3;1,5e3\n", map[string]string{"delim": ";", "decimal_separator": ",", "thousands": "."}, "n text, m double\n1.5e3 | 1500"},
		{"n;m\n1.5e3;-1.5E-3\n", map[string]string{"delim": ";", "decimal_separator": ","}, "n text, m text\n1.5e3 | -1.5E-3"},
		{"n;m\n1.234e3;1.234,5e3\n", map[string]string{"delim": ";", "decimal_separator": ",", "thousands": "."}, "n text, m double\n1.234e3 | 1.2345e+06"},
		{"p,q\n\"1,234\",\"2,500.75\"\n", map[string]string{"thousands": ","}, "p bigint, q decimal(18,2)\n1234 | 2500.75"},
		{"caf\xe9,b\n\xfc,2\n", map[string]string{"encoding": "Latin-1"}, "café text, b bigint\nü | 2"},
		{"\xff\xfea\x00\n\x00\xe9\x00\n\x00", map[string]string{"encoding": "utf-16"}, "a text\né"},
		{"a,b\n1,2\n", map[string]string{"escape": "\"", "auto_detect": "true", "ignore_errors": "false", "compression": "auto", "hive_partitioning": "1"}, "a bigint, b bigint\n1 | 2"},
	} {
		table := resolve(t, Request{Paths: []string{write(t, "a.csv", c.content)}, Options: c.options})
		rows, bad := read(t, table, table.Columns, 0)
		if got := schema(table) + "\n" + strings.Join(rows, "\n"); got != c.want || bad != nil {
			t.Errorf("%v: got\n%s\nwant\n%s\nbad: %q", c.options, got, c.want, bad)
		}
	}
}

// Rows longer than a sample, and of very many columns.
func TestLongRows(t *testing.T) {
	long := strings.Repeat("x", 300_000)
	for _, name := range []string{"a.json", "a.csv"} {
		content := fmt.Sprintf("{\"a\":%q,\"b\":1}\n{\"a\":\"y\",\"b\":2}\n", long)
		if name == "a.csv" {
			content = "a,b\n" + long + ",1\n" + long + ",2\n"
		}
		table := resolve(t, Request{Paths: []string{write(t, name, content)}})
		if got := schema(table); got != "a text, b bigint" {
			t.Errorf("%s: columns are %.200s", name, got)
		}
		if rows, bad := read(t, table, table.Columns[1:], 1000); fmt.Sprint(rows, bad) != "[1 2] []" {
			t.Errorf("%s: rows are %q, bad: %q", name, rows, bad)
		}
	}
	var names, values, object []string
	for i := range 10_000 {
		names, values, object = append(names, fmt.Sprintf("c%d", i)), append(values, fmt.Sprint(i)), append(object, fmt.Sprintf(`"c%d":%d`, i, i))
	}
	for name, content := range map[string]string{"a.csv": strings.Join(names, ",") + "\n" + strings.Join(values, ",") + "\n", "a.json": "{" + strings.Join(object, ",") + "}"} {
		table := resolve(t, Request{Paths: []string{write(t, name, content)}})
		if name == "a.json" && len(table.Columns) != 10_000 || table.Columns[9999].Type.Kind != vec.Int {
			t.Fatalf("%s: %d columns", name, len(table.Columns))
		}
		if rows, bad := read(t, table, table.Columns, 0); len(rows) != 1 || rows[0] != strings.Join(values, " | ") || bad != nil {
			t.Errorf("%s: %d rows, bad: %.300q", name, len(rows), bad)
		}
	}
}

// Cells with line feeds are read whatever the cuts if the sample has one or the option is given.
// Otherwise a cut inside of a cell is an error that no number of bad records allows.
func TestMultiline(t *testing.T) {
	cell := "\"" + strings.Repeat("x,y\n", 5000) + "\"\n"
	path := write(t, "a.csv", "a,b\n"+strings.Repeat("1,2\n", 9000)+"1,"+cell+"3,4\n")
	for _, options := range []map[string]string{nil, {"multiline": "true"}} {
		table := resolve(t, Request{Paths: []string{path}, Options: options, Types: map[string]vec.Type{"b": vec.Of(vec.Text)}})
		src, rows := table.Source(table.Columns[:1], nil), 0
		splits, err := src.Splits(background(), 10_000)
		if err != nil {
			t.Fatal(err)
		}
		r := connector.NewReader(func(b *vec.Batch) { rows += b.N }, func(error, []byte) error { return nil })
		for _, s := range splits {
			if rerr := src.Read(background(), s, r); rerr != nil {
				err = rerr
			}
		}
		want := "a.csv:9002: a cell with line feeds lies across parts of the file; read it as read_csv('…', multiline=true)"
		if options == nil && (err == nil || !strings.HasSuffix(err.Error(), want)) || options != nil && (err != nil || rows != 9002) {
			t.Errorf("%v: %d rows, %v", options, rows, err)
		}
	}
}

// Objects whose keys vary are maps, and others are structs.
func TestMaps(t *testing.T) {
	var b strings.Builder
	for i := range 100 {
		fmt.Fprintf(&b, `{"m":{"k%d":"a","k%d":null},"s":{"x":%d}}`+"\n", i%30, (i+7)%30, i)
	}
	table := resolve(t, Request{Paths: []string{write(t, "a.json", b.String())}})
	if got, want := schema(table), "m map(text, text), s struct(x bigint)"; got != want {
		t.Errorf("columns are %s, want %s", got, want)
	}
	if rows, _ := read(t, table, table.Columns, 200); len(rows) != 100 || rows[1] != "[(k1,a),(k8,NULL)] | (1)" {
		t.Errorf("%d rows, the second is %s", len(rows), rows[1])
	}
}
