package report_test

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/layshaft/layshaft/mapreduce"
	"github.com/layshaft/layshaft/report"
)

// tree returns the files below a directory, with slashes.
func tree(t *testing.T, dir string) string {
	t.Helper()
	var all []string
	err := filepath.WalkDir(dir, func(p string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			rel, _ := filepath.Rel(dir, p)
			all = append(all, filepath.ToSlash(rel))
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(all)
	return strings.Join(all, " ")
}

const parted = `a,b,n
1,x,1
1,y/z=1,2
2,x,3
2,,4
,"",5
3,ä%ö é,6
3,__HIVE_DEFAULT_PARTITION__,7
`

// TestCopyPartitions writes directories in the manner of Hive, and reads them.
func TestCopyPartitions(t *testing.T) {
	files(t, map[string]string{"in.csv": parted})
	copied := func(text string) {
		t.Helper()
		if _, err := answer(t, mapreduce.Local{}, text); err != nil {
			t.Errorf("%s: %v", text, err)
		}
	}
	same := func(from string) {
		t.Helper()
		_, want, _ := strings.Cut(parted, "\n")
		if got, err := answer(t, mapreduce.Local{}, "SELECT a, b, n FROM '"+from+"' ORDER BY n"); err != nil || got != want {
			t.Errorf("%s: %q, want %q; %v", from, got, want, err)
		}
	}
	for _, format := range []string{"parquet", "csv", "tsv", "json", "jsonl"} {
		dir := "out-" + format
		copied("COPY (SELECT * FROM in.csv) TO '" + dir + "' (FORMAT " + format + ", PARTITION_BY (A, b))")
		same(dir + "/**/*." + format)
		same(dir)
		want := ""
		for _, folder := range []string{"a=1/b=x", "a=1/b=y%2Fz%3D1", "a=2/b=__HIVE_DEFAULT_PARTITION__", "a=2/b=x",
			"a=3/b=%5F_HIVE_DEFAULT_PARTITION__", "a=3/b=ä%25ö é", "a=__HIVE_DEFAULT_PARTITION__/b="} {
			want += " " + folder + "/part-0." + format
		}
		if got := tree(t, dir); got != "_layshaft_copy.json"+want {
			t.Errorf("%s: %s", dir, got)
		}
	}

	// Folders of columns that begin with _ or a dot are not hidden.
	copied(`COPY (SELECT a AS _a, b AS ".b", n FROM in.csv WHERE a = 1) TO 'out-names' (FORMAT csv, PARTITION_BY (_a, ".b"))`)
	if got := tree(t, "out-names"); got != "_a=1/%2Eb=x/part-0.csv _a=1/%2Eb=y%2Fz%3D1/part-0.csv _layshaft_copy.json" {
		t.Errorf("out-names: %s", got)
	}
	if got, err := answer(t, mapreduce.Local{}, `SELECT _a, ".b", n FROM 'out-names' ORDER BY n`); err != nil || got != "1,x,1\n1,y/z=1,2\n" {
		t.Errorf("out-names: %q, %v", got, err)
	}

	// An earlier COPY is replaced only with OVERWRITE. Files of others stay, or refuse it.
	const again = "COPY (SELECT * FROM in.csv WHERE a = 1) TO 'out-csv' (FORMAT csv, PARTITION_BY a, DELIMITER '|', COMPRESSION gzip"
	refused := func(want string) {
		t.Helper()
		before := tree(t, "out-csv")
		if _, err := answer(t, mapreduce.Local{}, again+", OVERWRITE)"); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
		if after := tree(t, "out-csv"); after != before {
			t.Errorf("%s\nafter the refusal %s", before, after)
		}
	}
	if _, err := answer(t, mapreduce.Local{}, again+")"); err == nil || !strings.Contains(err.Error(), "out-csv is not empty, it has _layshaft_copy.json; add OVERWRITE") {
		t.Errorf("without OVERWRITE: %v", err)
	}
	for name, content := range map[string]string{"out-csv/a=2/mine.csv": "n\n1\n", "out-csv/notes.txt": "mine"} {
		if err := os.WriteFile(name, []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	refused("a=2/mine.csv in out-csv was not written by COPY")
	if err := os.Remove("out-csv/a=2/mine.csv"); err != nil {
		t.Fatal(err)
	}
	copied(again + ", OVERWRITE)")
	if got := tree(t, "out-csv"); got != "_layshaft_copy.json a=1/part-0.csv.gz notes.txt" {
		t.Errorf("after OVERWRITE: %s", got)
	}
	if got, err := answer(t, mapreduce.Local{}, "SELECT * FROM 'out-csv/a=1/*'"); err != nil || got != "x,1,1\ny/z=1,2,1\n" {
		t.Errorf("%q, %v", got, err)
	}
	if err := os.WriteFile("out-csv/a=1/part-0.csv.gz", []byte("changed by somebody"), 0o644); err != nil {
		t.Fatal(err)
	}
	refused("a=1/part-0.csv.gz in out-csv was not written by COPY")
	if left, _ := filepath.Glob(".*"); len(left) > 0 {
		t.Errorf("left: %v", left)
	}
}

// TestCopyOfNothing reads a directory to which COPY wrote no rows, and then one without its files.
func TestCopyOfNothing(t *testing.T) {
	files(t, map[string]string{"in.csv": "a,b\n1,x\n"})
	for _, format := range []string{"parquet", "csv", "tsv"} {
		if _, err := answer(t, mapreduce.Local{}, "COPY (SELECT * FROM in.csv WHERE a > 1) TO 'out' (FORMAT "+format+", PARTITION_BY b, OVERWRITE)"); err != nil {
			t.Fatal(err)
		}
		for _, from := range []string{"out", "out/**"} {
			if got, err := answer(t, mapreduce.Local{}, "SELECT count(*), count(a), count(b) FROM '"+from+"'"); err != nil || got != "0,0,0\n" {
				t.Errorf("%s, %s: %q, %v", format, from, got, err)
			}
		}
	}
	if err := os.RemoveAll("out/b=__HIVE_DEFAULT_PARTITION__"); err != nil {
		t.Fatal(err)
	}
	if _, err := answer(t, mapreduce.Local{}, "SELECT * FROM 'out/**'"); err == nil || !strings.Contains(err.Error(), "the files that COPY wrote there are gone") {
		t.Error(err)
	}
}

// TestCopyOptions checks options and their errors.
func TestCopyOptions(t *testing.T) {
	files(t, map[string]string{"in.csv": "a,b\n1,x\n2,\n"})
	for _, c := range []struct{ to, want string }{
		{"'o.csv' (HEADER false)", "1,x\n2,\n"},
		{"'o.csv' (DELIMITER ';', HEADER)", "a;b\n1;x\n2;\n"},
		{"'o.data' (FORMAT tsv)", "a\tb\n1\tx\n2\t\n"},
	} {
		if _, err := answer(t, mapreduce.Local{}, "COPY (SELECT * FROM in.csv) TO "+c.to); err != nil {
			t.Errorf("%s: %v", c.to, err)
		}
		if got, err := os.ReadFile(strings.Split(c.to, "'")[1]); err != nil || string(got) != c.want {
			t.Errorf("%s: %q, %v", c.to, got, err)
		}
	}
	if _, err := answer(t, mapreduce.Local{}, "COPY (SELECT * FROM 'in.csv', range(100)) TO 'o.parquet' (ROW_GROUP_SIZE 30, COMPRESSION none)"); err != nil {
		t.Error(err)
	} else if got, err := answer(t, mapreduce.Local{}, "SELECT count(*), sum(a) FROM o.parquet"); err != nil || got != "200,300\n" {
		t.Errorf("%q, %v", got, err)
	}
	for _, c := range []struct{ options, at, want string }{
		{"PARTITION (a)", "PARTITION", "there is no option PARTITION"},
		{"FORMAT xls", "FORMAT", "FORMAT has xls; expected csv, tsv"},
		{"FORMAT csv, PARTITION_BY (a, zz)", "PARTITION_BY", `the query has no column "zz"`},
		{"FORMAT csv, PARTITION_BY (a, A)", "PARTITION_BY", "occurs twice"},
		{"FORMAT csv, PARTITION_BY (a, b)", "PARTITION_BY", "names all columns"},
		{"FORMAT html, PARTITION_BY (a)", "PARTITION_BY", "html makes one page"},
		{"FORMAT csv, HEADER, HEADER", "HEADER", "occurs twice"},
		{"FORMAT csv, HEADER maybe", "HEADER", "HEADER has maybe; expected true or false"},
		{"FORMAT csv, DELIMITER '||'", "DELIMITER", "expected one ASCII character"},
		{"FORMAT json, DELIMITER ','", "DELIMITER", "DELIMITER has no meaning for json"},
		{"FORMAT csv, ROW_GROUP_SIZE 5", "ROW_GROUP_SIZE", "ROW_GROUP_SIZE has no meaning for csv"},
		{"FORMAT parquet, ROW_GROUP_SIZE 0", "ROW_GROUP_SIZE", "expected a number of rows"},
		{"FORMAT parquet, COMPRESSION lzo", "COMPRESSION", "expected zstd, gzip or none"},
	} {
		text := "COPY (SELECT * FROM in.csv) TO 'x' (" + c.options + ")"
		_, err := answer(t, mapreduce.Local{}, text)
		var at *report.Error
		if !errors.As(err, &at) || !strings.Contains(err.Error(), c.want) || at.Offset != strings.LastIndex(text, c.at) {
			t.Errorf("%s: %v (at %d)", c.options, err, at.Offset)
		}
	}
	// a run that is only explained writes nothing
	var out bytes.Buffer
	explain := mapreduce.Local{Reporting: mapreduce.Reporting{Explain: true, Out: &out}}
	if _, err := answer(t, explain, "COPY (SELECT a FROM in.csv) TO 'none.csv'"); err != nil || !strings.Contains(out.String(), "scan") {
		t.Errorf("%v, %s", err, &out)
	}
	if _, err := os.Stat("none.csv"); err == nil {
		t.Error("a run that is only explained wrote a file")
	}
}

// TestCopyMany writes more partitions than files may be open, with little memory.
func TestCopyMany(t *testing.T) {
	var rows strings.Builder
	rows.WriteString("k,v\n")
	for i := range 900 {
		fmt.Fprintf(&rows, "%d,%d\n", i*7919%300, i)
	}
	files(t, map[string]string{"in.csv": rows.String()})
	if _, err := answer(t, mapreduce.Local{Slots: 1, Memory: 8 << 20}, "COPY (SELECT * FROM in.csv ORDER BY v DESC) TO 'out' (FORMAT csv, PARTITION_BY k)"); err != nil {
		t.Fatal(err)
	}
	if got, err := answer(t, mapreduce.Local{}, "SELECT count(*), count(DISTINCT k), sum(v), min(v) FROM 'out'"); err != nil || got != "900,300,404550,0\n" {
		t.Errorf("%q, %v", got, err)
	}
	if got, err := os.ReadFile("out/k=119/part-0.csv"); err != nil || string(got) != "v\n601\n301\n1\n" { // the order of the query
		t.Errorf("%q, %v", got, err)
	}
}

// TestCopyKilled kills a process in the middle of COPY. The target does not exist, and the next
// COPY removes what is left.
func TestCopyKilled(t *testing.T) {
	if os.Getenv("LAYSHAFT_COPY_KILLED") != "" {
		_, err := answer(t, mapreduce.Local{}, "COPY (SELECT m AS k, n FROM range(1000000) AS r(n), range(50) AS s(m)) TO 'out' (FORMAT csv, PARTITION_BY k)")
		t.Fatal("the end of a COPY that is killed: ", err)
	}
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	files(t, map[string]string{"in.csv": parted})
	child := exec.Command(program, "-test.run", "^TestCopyKilled$")
	child.Env = append(os.Environ(), "LAYSHAFT_COPY_KILLED=1")
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- child.Wait() }()
	for begun := false; !begun; {
		select {
		case err := <-ended:
			t.Fatalf("the COPY ended before the kill: %v", err)
		case <-time.After(time.Millisecond):
			left, _ := filepath.Glob(".out.layshaft-copy-*")
			begun = len(left) > 0
		}
	}
	if err := child.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	<-ended
	if _, err := os.Stat("out"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("after the kill: %v", err)
	}
	if _, err := answer(t, mapreduce.Local{}, "COPY (SELECT * FROM in.csv) TO 'out' (FORMAT csv, PARTITION_BY a)"); err != nil {
		t.Error(err)
	}
	if left, _ := filepath.Glob(".*"); len(left) > 0 {
		t.Errorf("left: %v", left)
	}
}

// TestCopyNested writes lists, structs and maps to Parquet, with NULL at each level, and reads the
// same values and types.
func TestCopyNested(t *testing.T) {
	files(t, map[string]string{"in.jsonl": `{"p":"x","n":1,"tags":["a",null,""],"maker":{"name":"Acme","towns":["Ulm",null]},"offers":[{"at":"A","prices":[1.50,null]},null,{"at":null,"prices":[]},{"at":"B"}],"deep":[[[1,2],[]],null,[null,[3]]]}
{"p":"y","n":2,"tags":[],"maker":{"name":null,"towns":null},"offers":[],"deep":[]}
{"p":"x","n":3,"tags":null,"maker":null,"offers":null,"deep":null}
{"p":"y","n":4,"tags":["b"],"maker":{"name":"Bolt","towns":[]},"offers":[{"at":"C","prices":[2.25]}],"deep":[[]]}
`})
	const text = `SELECT p, n, tags, maker, offers, deep, {'a': n, 'b,"': [DATE '2024-05-06', NULL]} AS made, CASE WHEN n > 1 THEN {'z': TIME '10:11:12', 'a': {'k': tags}} END AS times,
		('{"one": ' || n || ', "two": null}')::json::map(text, bigint) AS m, CASE WHEN n <> 3 THEN '{"a": {"k": ["x", null]}, "b": null, "c": {}}'::json::map(text, map(text, text[])) END AS mm,
		'[{"k": {"x": 1}}, null, {}, {"l": null}]'::json::map(text, struct(x bigint))[] AS ms, [NULL] AS nulls, [9, NULL] AS fixed FROM `
	want, err := answer(t, mapreduce.Local{}, text+"in.jsonl ORDER BY n")
	if err != nil {
		t.Fatal(err)
	}
	describe := func(from string) string {
		t.Helper()
		got, err := answer(t, mapreduce.Local{}, "DESCRIBE "+from)
		if err != nil {
			t.Error(err)
		}
		return got
	}
	types := describe(text + "in.jsonl")
	for _, c := range []struct{ to, options string }{{"one.parquet", "(ROW_GROUP_SIZE 3)"}, {"parts", "(FORMAT parquet, PARTITION_BY p)"}} {
		if _, err := answer(t, mapreduce.Local{}, "COPY ("+text+"in.jsonl) TO '"+c.to+"' "+c.options); err != nil {
			t.Error(err)
			continue
		}
		columns := "SELECT p, n, tags, maker, offers, deep, made, times, m, mm, ms, nulls, fixed FROM '" + c.to + "'"
		if got, err := answer(t, mapreduce.Local{}, columns+" ORDER BY n"); err != nil || got != want {
			t.Errorf("%s: %v\n%s\nwant\n%s", c.to, err, got, want)
		}
		if got := describe(columns); got != strings.Replace(types, "null[]", "text[]", 1) {
			t.Errorf("%s:\n%s\nwant\n%s", c.to, got, types)
		}
	}
	// keys of a map that are no text, and an aggregate
	if _, err := answer(t, mapreduce.Local{}, "COPY (SELECT p, histogram(n) AS h, array_agg(maker ORDER BY n) AS makers FROM in.jsonl GROUP BY p ORDER BY p) TO 'h.parquet'"); err != nil {
		t.Error(err)
	}
	const aggregates = `x,"{""1"": 1, ""3"": 1}","[{""name"": ""Acme"", ""towns"": [""Ulm"", null]}, null]"` + "\n" + `y,"{""2"": 1, ""4"": 1}","[{""name"": null, ""towns"": null}, {""name"": ""Bolt"", ""towns"": []}]"` + "\n"
	if got, err := answer(t, mapreduce.Local{}, "SELECT * FROM 'h.parquet'"); err != nil || got != aggregates {
		t.Errorf("%v\n%s\nwant\n%s", err, got, aggregates)
	}
}
