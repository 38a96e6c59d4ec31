package report_test

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/parquet-go/parquet-go"

	"github.com/layshaft/layshaft/mapreduce"
	"github.com/layshaft/layshaft/report"
)

// csvOf returns the result of a statement as CSV, or the error. DIR stands for dir.
func csvOf(t *testing.T, dir, text string) string {
	t.Helper()
	var out strings.Builder
	rows, err := report.Query(t.Context(), mapreduce.Local{}, strings.ReplaceAll(text, "DIR", dir))
	if err == nil {
		err = rows.Write(&out, "csv", report.WriteOptions{})
	}
	if err != nil {
		return strings.ReplaceAll(err.Error(), dir, "DIR")
	}
	return strings.TrimSpace(out.String())
}

// put writes files into a new directory.
func put(t *testing.T, content map[string]string) (dir string) {
	t.Helper()
	dir = t.TempDir()
	for name, text := range content {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// Files without content have no rows, and take their columns from the other files.
func TestEmptyFiles(t *testing.T) {
	dir := put(t, map[string]string{"a.jsonl": "", "b.jsonl": "{\"a\":1,\"b\":\"x\"}\n", "c.jsonl": "\n\n", "d.json": "[]", "e.csv": "", "f.csv": "\n", "g.csv.gz": "", "h.jsonl.zst": "", "i.parquet": "", "j.avro": "", "k.csv.bz2": "BZh9\x17\x72\x45\x38\x50\x90\x00\x00\x00\x00", "l.csv": "a\n1\n"})
	for text, want := range map[string]string{
		"SELECT a FROM 'DIR/*.jsonl'":                                               "a\n1",
		"SELECT count(*) FROM 'DIR/a.jsonl'":                                        "count(*)\n0",
		"SELECT count(*) FROM 'DIR/c.jsonl'":                                        "count(*)\n0",
		"SELECT count(*) FROM 'DIR/d.json'":                                         "count(*)\n0",
		"SELECT count(*) FROM 'DIR/e.csv'":                                          "count(*)\n0",
		"SELECT count(*) FROM 'DIR/g.csv.gz'":                                       "count(*)\n0",
		"SELECT count(*) FROM 'DIR/h.jsonl.zst'":                                    "count(*)\n0",
		"SELECT count(*) FROM 'DIR/k.csv.bz2'":                                      "count(*)\n0",
		"SELECT a FROM 'DIR/{l,k}.csv*'":                                            "a\n1",
		"SELECT count(*) FROM 'DIR/{l,f}.csv'":                                      "line 1, column 22: DIR/f.csv: it has no row that can be read; check the options delim and quote",
		"SELECT count(*) FROM 'DIR/i.parquet'":                                      "line 1, column 22: DIR/i.parquet: the file is empty, and a file of format parquet never is; fetch or write it again, or leave it out",
		"SELECT count(*) FROM read_avro('DIR/j.avro')":                              "avro(DIR/j.avro: ): DIR/j.avro: the file is empty, and a file of format avro never is; fetch or write it again, or leave it out",
		"SELECT a FROM read_json('DIR/a.jsonl', columns={'a':'int'})":               "a",
		"SELECT b, z FROM read_json('DIR/b.jsonl', columns={'b':'text','z':'int'})": "b,z\nx,",
		"SELECT a FROM 'DIR/a.jsonl'":                                               `line 1, column 8: there is no column "a", because the files are empty (name other files as well, or the columns, as in read_json('…', columns={'a': 'bigint'}))`,
		"SELECT * FROM 'DIR/d.json'":                                                `line 1, column 8: * stands for all columns, and the files are empty (name other files as well, or the columns, as in read_json('…', columns={'a': 'bigint'}))`,
		"SELECT c FROM 'DIR/b.jsonl'":                                               `line 1, column 8: there is no column "c" (columns are a, b; text needs single quotes: 'c')`,
	} {
		if got := csvOf(t, dir, text); got != want {
			t.Errorf("%s: got\n%s\nwant\n%s", text, got, want)
		}
	}
	var said bytes.Buffer
	local := mapreduce.Local{Reporting: mapreduce.Reporting{Err: &said}}
	rows, err := report.Query(t.Context(), local, "SELECT count(*) FROM '"+dir+"/e.csv'")
	if err == nil {
		err = rows.Write(io.Discard, "csv", report.WriteOptions{})
	}
	if err != nil {
		t.Error(err)
	}
	if want := "layshaft: " + dir + "/e.csv is empty: 0 bytes\n"; said.String() != want {
		t.Errorf("printed %q, want %q", said.String(), want)
	}
}

// An error of a value names the file, the line or row, and the values, wherever the expression is
// and whatever was filtered before.
func TestErrorsOfValues(t *testing.T) {
	var csv, jsonl strings.Builder
	csv.WriteString("a,b,c\n\n") // a blank line counts
	for i := range 3000 {
		fmt.Fprintf(&csv, "%d,%d,\"x\ny\"\n", i, 2500-i)
		fmt.Fprintf(&jsonl, "{\"a\":%d,\"b\":%d}\n", i, 2500-i)
	}
	dir := put(t, map[string]string{"a.csv": csv.String(), "b.jsonl": jsonl.String(), "c.log": strings.Repeat("1\n", 1500) + "x\n"})
	if got := csvOf(t, dir, "COPY (SELECT a, b FROM 'DIR/b.jsonl') TO 'DIR/d.parquet'"); got != "rows\n3000" {
		t.Fatal(got)
	}
	const zero = ": division by zero; write NULLIF(divisor, 0) for NULL (a = 2500, b = 0)"
	for text, want := range map[string]string{
		"SELECT a/b FROM 'DIR/a.csv'":                                                          "DIR/a.csv:5003" + zero,
		"SELECT sum(a/b) FROM 'DIR/a.csv' WHERE a % 7 = 1 AND a > 90":                          "DIR/a.csv:5003" + zero,
		"SELECT a/b FROM (SELECT * FROM 'DIR/b.jsonl' WHERE a % 2 = 0) WHERE b % 5 = 0":        "DIR/b.jsonl:2501" + zero,
		"SELECT b, count(*) FROM 'DIR/b.jsonl' WHERE a > 2000 GROUP BY a/b, b":                 "DIR/b.jsonl:2501" + zero,
		"SELECT a FROM 'DIR/d.parquet' WHERE a % 2 = 0 ORDER BY a/b":                           "DIR/d.parquet: row 2501" + zero,
		"SELECT CAST(line AS int) FROM read_text('DIR/c.log')":                                 "DIR/c.log:1501: 'x' is no bigint; TRY_CAST gives NULL for such values (line = 'x')",
		"SELECT x.a/x.b FROM 'DIR/b.jsonl' x JOIN 'DIR/d.parquet' y USING (a) WHERE y.b <= 10": "DIR/b.jsonl:2501" + zero,
		"SELECT 1/0": "division by zero; write NULLIF(divisor, 0) for NULL",
	} {
		got := csvOf(t, dir, text)
		if _, after, ok := strings.Cut(got, " failed: "); !ok || !strings.HasPrefix(after, want) || strings.Contains(got, ".go:") {
			t.Errorf("%s: got\n%s\nwant\n%s", text, got, want)
		}
	}
}

// Subqueries that use outer columns answer as PostgreSQL does, for NULL and for rows without a match
// too.
func TestCorrelated(t *testing.T) {
	dir := put(t, map[string]string{"o.csv": "k,x\n1,10\n2,20\n3,30\n,40\n", "i.csv": "k,y\n1,5\n1,10\n2,7\n2,\n9,1\n"})
	const i, o = "'DIR/i.csv' i", "'DIR/o.csv' o"
	for text, want := range map[string]string{
		"SELECT x FROM " + o + " WHERE EXISTS (SELECT 1 FROM " + i + " WHERE i.k = o.k) ORDER BY x":                                                            "x 10 20",
		"SELECT x FROM " + o + " WHERE NOT EXISTS (SELECT * FROM " + i + " WHERE k = o.k AND y > 7) ORDER BY x":                                                "x 20 30 40",
		"SELECT x FROM " + o + " WHERE x = 40 OR EXISTS (SELECT 1 FROM " + i + " WHERE y = x LIMIT 1) ORDER BY x":                                              "x 10 40",
		"SELECT (SELECT count(*) FROM " + i + " WHERE i.k = o.k) n, (SELECT max(y) FROM " + i + " WHERE o.k = i.k) m FROM " + o + " ORDER BY x":                "n,m 2,10 2,7 0, 0,",
		"SELECT (SELECT coalesce(sum(y), 0) + 1 FROM " + i + " WHERE o.k = i.k) AS s FROM " + o + " ORDER BY x":                                                "s 16 8 1 1",
		"SELECT x IN (SELECT y FROM " + i + " WHERE i.k = o.k) AS a, x NOT IN (SELECT y FROM " + i + " WHERE i.k = o.k) b FROM " + o + " ORDER BY x":           "a,b true,false , false,true false,true",
		"SELECT k, count(*) AS n, (SELECT max(y) FROM " + i + " WHERE i.k = o.k) AS m FROM " + o + " GROUP BY k ORDER BY k":                                    "k,n,m 1,1,10 2,1,7 3,1, ,1,",
		"SELECT x FROM " + o + " WHERE x > (SELECT 2 * avg(y) FROM " + i + " WHERE i.k = o.k)":                                                                 "x 20",
		"SELECT x FROM " + o + " WHERE EXISTS (SELECT 1 FROM " + i + " WHERE i.k = o.k AND EXISTS (SELECT 1 FROM 'DIR/o.csv' p WHERE p.k = i.k AND p.x > 15))": "x 20",
		"SELECT x FROM " + o + " WHERE EXISTS (SELECT 1 FROM " + i + " WHERE i.k < o.k) ORDER BY x":                                                            "x 20 30",
		"SELECT (SELECT max(o.x) FROM " + i + " WHERE i.y > o.x) FROM " + o:                                                                                    "line 1, column 16: max has columns of the outer query alone (compute it in the outer query, or use a column of the subquery in it)",
		"SELECT x FROM " + o + " WHERE EXISTS (SELECT 1 FROM " + i + " JOIN 'DIR/i.csv' j ON j.y = o.x)":                                                       `line 1, column 112: column "x" belongs to the outer query (use it in WHERE or in the SELECT list of the subquery, as o.x)`,
		"SELECT (SELECT y FROM " + i + " WHERE i.k = o.k) FROM " + o:                                                                                           "line 1, column 16: a subquery with columns of the outer query must select an aggregate (add LIMIT 1, or write max(…) or any_value(…))",
		"SELECT x FROM " + o + " WHERE EXISTS (SELECT count(*) FROM " + i + " WHERE i.k = o.k)":                                                                "line 1, column 60: EXISTS of an aggregate is always true (select a column)",
	} {
		got := csvOf(t, dir, text)
		if !strings.HasPrefix(got, "line ") {
			got = strings.ReplaceAll(strings.ReplaceAll(got, dir, "DIR"), "\n", " ")
		} else if _, message, ok := strings.Cut(want, ": "); ok && strings.HasSuffix(got, ": "+message) {
			continue // columns depend on the length of the path
		}
		if got != want {
			t.Errorf("%s: got\n%s\nwant\n%s", text, got, want)
		}
	}
}

// Decimals of more than 64 bits have no bounds in the statistics of files, where the library would
// compare their bytes without the sign.
func TestWideDecimals(t *testing.T) {
	dir := put(t, nil)
	if got := csvOf(t, dir, "COPY (SELECT v::decimal(38,2) AS v, [v::decimal(38,0)] AS l, n FROM (VALUES (-5, 1), (100, 2), (7, 3), (NULL, 4)) AS t(v, n)) TO 'DIR/w.parquet'"); got != "rows\n4" {
		t.Fatal(got)
	}
	for text, want := range map[string]string{
		"SELECT n FROM 'DIR/w.parquet' WHERE v > 50.00":             "n\n2",
		"SELECT n FROM 'DIR/w.parquet' WHERE v < 0":                 "n\n1",
		"SELECT n FROM 'DIR/w.parquet' WHERE v IN (7, 8)":           "n\n3",
		"SELECT min(v) AS a, max(v) AS b FROM 'DIR/w.parquet'":      "a,b\n-5.00,100.00",
		"SELECT n, l[1] AS l FROM 'DIR/w.parquet' WHERE l[1] = 100": "n,l\n2,100",
		"SELECT min(n) AS a, max(n) AS b FROM 'DIR/w.parquet'":      "a,b\n1,4",
	} {
		if got := csvOf(t, dir, text); got != want {
			t.Errorf("%s: got\n%s\nwant\n%s", text, got, want)
		}
	}
	f, err := os.Open(filepath.Join(dir, "w.parquet"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		t.Fatal(err)
	}
	file, err := parquet.OpenFile(f, info.Size())
	if err != nil {
		t.Fatal(err)
	}
	for i, c := range file.Metadata().RowGroups[0].Columns {
		if has := c.MetaData.Statistics.MinValue != nil; has != (i == 2) {
			t.Errorf("column %d has bounds: %v", i, has)
		}
	}
	index := file.ColumnIndexes()[0]
	if len(index.MinValues) != 1 || index.MinValues[0][0]&0x80 == 0 || index.MaxValues[0][0]&0x80 != 0 || index.NullCounts[0] != 1 {
		t.Errorf("the index of pages is %+v", index)
	}
}

// Types of columns of Parquet are read as such where the reader converts, and cast where it does
// not, before WHERE.
func TestTypesOfParquet(t *testing.T) {
	dir := put(t, map[string]string{"a.csv": "n,day,tags\n7,2024-01-02,x\n10,2024-03-04,y\n"})
	if got := csvOf(t, dir, "COPY (SELECT n, day, [tags] AS tags FROM 'DIR/a.csv') TO 'DIR/a.parquet'"); got != "rows\n2" {
		t.Fatal(got)
	}
	for text, want := range map[string]string{
		"SELECT max(n) AS n, typeof(max(day)) AS d FROM read_parquet('DIR/a.parquet', types = {'n': 'text', 'day': 'text'}) WHERE n > '1'": "n,d\n7,text",
		"SELECT sum(n) AS n FROM read_parquet('DIR/a.parquet', types = {'n': 'decimal(12,2)'}) p WHERE p.n < 10":                           "n\n7.00",
		"SELECT tags FROM read_parquet('DIR/a.parquet', types = {'tags': 'text'}) ORDER BY n":                                              "tags\n\"[\"\"x\"\"]\"\n\"[\"\"y\"\"]\"",
		"SELECT tags FROM read_parquet('DIR/a.parquet', types = {'tags': 'text[]'}) ORDER BY n DESC LIMIT 1":                               "tags\n\"[\"\"y\"\"]\"",
	} {
		if got := csvOf(t, dir, text); got != want {
			t.Errorf("%s: got\n%s\nwant\n%s", text, got, want)
		}
	}
	if got := csvOf(t, dir, "SELECT n FROM read_parquet('DIR/a.parquet', types = {'n': 'bigint[]'})"); !strings.Contains(got, `column "n": bigint cannot be cast to bigint[]`) {
		t.Errorf("got %s", got)
	}
}
