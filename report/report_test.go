package report_test

import (
	"context"
	"errors"
	"fmt"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/layshaft/layshaft/mapreduce"
	"github.com/layshaft/layshaft/report"
)

// files writes files into a temporary directory, and changes to it.
func files(t *testing.T, contents map[string]string) {
	t.Helper()
	t.Chdir(t.TempDir())
	for name, content := range contents {
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// answer returns the rows of a statement as CSV without its header.
func answer(t *testing.T, target mapreduce.Target, text string, args ...any) (string, error) {
	t.Helper()
	rows, err := report.Query(t.Context(), target, text, args...)
	if err != nil {
		return "", err
	}
	var out strings.Builder
	if err := rows.Write(&out, "csv", report.WriteOptions{}); err != nil {
		return "", err
	}
	_, body, _ := strings.Cut(out.String(), "\n")
	return body, nil
}

const products = `{"sku":"a1","brand":"Acme","price":1.50,"stock":2,"tags":["x","y"],"at":{"color":"red"}}
{"sku":"a2","brand":"Bolt","price":2.25,"stock":4,"tags":[],"at":{"color":"blue"}}
{"sku":"a3","brand":"Acme","price":10.00,"stock":1,"tags":["y"],"at":{}}
{"sku":"a4","brand":null,"price":3,"stock":null,"tags":null}
`

const orders = `sku,count,day
a1,5,2024-01-31
a1,7,2024-02-01
a3,1,2024-02-29
zz,9,2024-03-01
`

// TestStatements runs statements of every operator.
func TestStatements(t *testing.T) {
	files(t, map[string]string{"p.jsonl": products, "o.csv": orders})
	for _, c := range []struct{ text, want string }{
		{"SELECT 1 + 1, 'a'", "2,a\n"},
		{"SELECT count(*), sum(stock), avg(price) FROM p.jsonl", "4,7,4.1875\n"},
		{"SELECT brand, count(*) AS n, sum(price * stock) AS v FROM p.jsonl GROUP BY brand ORDER BY v DESC NULLS LAST", "Acme,2,13.00\nBolt,1,9.00\n,1,\n"},
		{"SELECT brand FROM p.jsonl GROUP BY 1 HAVING count(*) > 1", "Acme\n"},
		{"SELECT sku FROM p.jsonl WHERE price > 2 ORDER BY price DESC LIMIT 2 OFFSET 1", "a4\na2\n"},
		{"SELECT DISTINCT brand FROM p.jsonl ORDER BY brand NULLS FIRST", "\nAcme\nBolt\n"},
		{"SELECT DISTINCT ON (brand) brand, sku FROM p.jsonl WHERE brand IS NOT NULL ORDER BY brand, price DESC", "Acme,a3\nBolt,a2\n"},
		{"SELECT listagg(sku, '-') WITHIN GROUP (ORDER BY price DESC), string_agg(sku) FROM p.jsonl", "a3-a4-a2-a1,\"a1,a2,a3,a4\"\n"},
		{"SELECT percentile_disc(0.5) WITHIN GROUP (ORDER BY price DESC), max(sku, 2), arg_min(sku, price) FROM p.jsonl", "3.00,\"[\"\"a4\"\", \"\"a3\"\"]\",a1\n"},
		{"SELECT at.color FROM p.jsonl WHERE sku = 'a1'", "red\n"},
		{"SELECT sku, unnest(tags) AS tag FROM p.jsonl ORDER BY 1, 2", "a1,x\na1,y\na3,y\n"},
		{"SELECT *, unnest(tags) AS tags, stock FROM (SELECT sku, tags, stock FROM p.jsonl) ORDER BY 1, 4", "a1,\"[\"\"x\"\", \"\"y\"\"]\",2,x,2\na1,\"[\"\"x\"\", \"\"y\"\"]\",2,y,2\na3,\"[\"\"y\"\"]\",1,y,1\n"},
		{"SELECT sku, lag(abs(stock) IGNORE NULLS) OVER (ORDER BY price DESC) FROM p.jsonl ORDER BY sku", "a1,4\na2,1\na3,\na4,1\n"},
		{"SELECT p.sku, o.count FROM p.jsonl p JOIN o.csv o ON p.sku = o.sku ORDER BY 1, 2", "a1,5\na1,7\na3,1\n"},
		{"SELECT p.sku, o.count FROM p.jsonl p LEFT JOIN o.csv o USING (sku) ORDER BY 1, 2", "a1,5\na1,7\na2,\na3,1\na4,\n"},
		{"SELECT p.sku, o.sku FROM p.jsonl p FULL JOIN o.csv o ON p.sku = o.sku ORDER BY 1, 2", "a1,a1\na1,a1\na2,\na3,a3\na4,\n,zz\n"},
		{"SELECT sku FROM p.jsonl SEMI JOIN o.csv USING (sku) ORDER BY 1", "a1\na3\n"},
		{"SELECT sku FROM p.jsonl ANTI JOIN o.csv USING (sku) ORDER BY 1", "a2\na4\n"},
		{"SELECT sku FROM p.jsonl WHERE sku NOT IN (SELECT sku FROM o.csv) ORDER BY 1", "a2\na4\n"},
		{"SELECT count(*) FROM p.jsonl WHERE sku IN (SELECT sku FROM o.csv)", "2\n"},
		{"SELECT sku FROM p.jsonl WHERE price = (SELECT max(price) FROM p.jsonl)", "a3\n"},
		{"SELECT a.sku FROM p.jsonl a WHERE NOT EXISTS (SELECT 1 FROM p.jsonl b WHERE b.sku > a.sku)", "a4\n"},
		{"EXPLAIN SELECT 1 FROM (VALUES (1, 2)) p(a, b), (VALUES (1, 3)) o(a, c) WHERE (p.a = o.a AND c > 5) OR (b = 1 AND p.a = o.a)", "project 1\n\"  inner join on a = a, ((c > 5) or (b = 1))\"\n\"    project col0 AS a, col1 AS b\"\n\"      values: 1 row\"\n\"    project col0 AS a, col1 AS c\"\n\"      values: 1 row\"\n"},
		{"SELECT o.sku FROM p.jsonl, o.csv WHERE p.sku = o.sku AND count > 5", "a1\n"},
		{"SELECT sku FROM p.jsonl UNION SELECT sku FROM o.csv ORDER BY sku", "a1\na2\na3\na4\nzz\n"},
		{"SELECT sku FROM p.jsonl INTERSECT SELECT sku FROM o.csv ORDER BY sku", "a1\na3\n"},
		{"SELECT sku FROM o.csv EXCEPT ALL SELECT sku FROM p.jsonl ORDER BY sku", "a1\nzz\n"},
		{"WITH x AS (SELECT brand, sum(stock) AS s FROM p.jsonl GROUP BY brand) SELECT max(s) FROM x", "4\n"},
		{"SELECT brand, stock, count(*) FROM p.jsonl WHERE stock < 3 GROUP BY ROLLUP (brand, stock) ORDER BY 1, 2", "Acme,1,1\nAcme,2,1\nAcme,,2\n,,2\n"},
		{"SELECT brand IN (SELECT sku FROM o.csv), brand, count(*) FROM p.jsonl GROUP BY GROUPING SETS ((brand IN (SELECT sku FROM o.csv)), (brand)) ORDER BY 1, 2", "false,,3\n,Acme,2\n,Bolt,1\n,,1\n,,1\n"},
		{"SELECT sum(count) FILTER (WHERE day >= DATE '2024-02-01') FROM o.csv", "17\n"},
		{"SELECT * FROM (VALUES (1, 'x'), (2, NULL)) AS t(n, s) ORDER BY n DESC", "2,\n1,x\n"},
		{"FROM o.csv SELECT sum(count)", "22\n"},
		{"COPY (SELECT sku, count, day, price * 2 AS p, 1.5::double AS d, sum(count) OVER () AS s FROM o.csv LEFT JOIN p.jsonl USING (sku) ORDER BY sku, count) TO 'out/x.parquet'", "4\n"},
		{"SELECT * FROM 'out/x.parquet'", "a1,5,2024-01-31,3.00,1.5,22\na1,7,2024-02-01,3.00,1.5,22\na3,1,2024-02-29,20.00,1.5,22\nzz,9,2024-03-01,,1.5,22\n"},
		{"COPY (SELECT sku, count FROM o.csv WHERE count > 6) TO 'out/y.csv.gz'", "2\n"},
		{"SELECT * FROM 'out/y.csv.gz'", "a1,7\nzz,9\n"},
		{"COPY (SELECT stock FROM p.jsonl) TO 'out/one.csv'", "4\n"},
		{"SELECT count(*), count(stock) FROM 'out/one.csv'", "4,3\n"},
		{"SELECT count(o.filename), right(max(o.filename), 6) FROM o.csv", "4,/o.csv\n"},
		{"SELECT DISTINCT right(filename, 6) FROM read_csv('o.csv', filename = true)", "/o.csv\n"},
		{"SELECT count(sku), count(count) FROM read_csv('o.csv', nullstr = ['a1', '9'])", "2,3\n"},
		{"SELECT o.* FROM o.csv WHERE count = 9", "zz,9,2024-03-01\n"},
		{"DESCRIBE o.csv", "sku,text\ncount,bigint\nday,date\n"},
		{"EXPLAIN SELECT sku FROM o.csv WHERE count > 5", "project sku\n\"  filter (count > 5)\"\n\"    scan o.csv: csv, 1 file, 78 bytes, delim \"\",\"\", header; columns: sku, count\"\n"},
		{"SUMMARIZE SELECT sku, count FROM o.csv", "sku,text,a1,zz,3,,,,,,4,0.00\ncount,bigint,1,9,4,5.5,3.415650255319866,1,5,7,4,0.00\n"},
		{"SELECT sku, count, row_number() OVER (PARTITION BY sku ORDER BY count DESC) AS r, sum(count) OVER () AS all FROM o.csv ORDER BY 1, 3", "a1,7,1,22\na1,5,2,22\na3,1,1,22\nzz,9,1,22\n"},
		{"SELECT brand, sum(stock) AS s, rank() OVER (ORDER BY sum(stock) DESC NULLS LAST) AS r FROM p.jsonl GROUP BY brand ORDER BY r", "Bolt,4,1\nAcme,3,2\n,,3\n"},
		{"SELECT sku, count FROM o.csv QUALIFY row_number() OVER (PARTITION BY sku ORDER BY count DESC) = 1 ORDER BY sku", "a1,7\na3,1\nzz,9\n"},
		{"SELECT day, sum(count) OVER w AS running FROM o.csv WINDOW w AS (ORDER BY day) ORDER BY day", "2024-01-31,5\n2024-02-01,12\n2024-02-29,13\n2024-03-01,22\n"},
		{"SELECT count(*) FROM p.jsonl WHERE false", "0\n"},
		{"SELECT brand, count(*) FROM p.jsonl WHERE false GROUP BY brand", ""},
	} {
		if got, err := answer(t, mapreduce.Local{}, c.text); err != nil || got != c.want {
			t.Errorf("%s\ngot %q, %v\nwant %q", c.text, got, err, c.want)
		}
	}
}

// TestCountUnique checks that count(DISTINCT) of a column whose sample has no value twice counts
// right: with NULL, with values that occur twice after all, by group and without one.
func TestCountUnique(t *testing.T) {
	var rows strings.Builder
	rows.WriteString("id,g\n")
	want, all := map[int]map[int]bool{0: {}, 1: {}, 2: {}}, map[int]bool{}
	for i := range 9000 {
		id := i % 8900
		if i%1000 == 999 {
			fmt.Fprintf(&rows, ",%d\n", i%3)
			continue
		}
		fmt.Fprintf(&rows, "%d,%d\n", id, i%3)
		want[i%3][id], all[id] = true, true
	}
	files(t, map[string]string{"u.csv": rows.String()})
	for text, want := range map[string]string{
		"SELECT g, count(DISTINCT id), count(DISTINCT id) + 1 FROM 'u.csv' GROUP BY g ORDER BY g": fmt.Sprintf("0,%d,%d\n1,%d,%d\n2,%d,%d\n", len(want[0]), len(want[0])+1, len(want[1]), len(want[1])+1, len(want[2]), len(want[2])+1),
		"SELECT count(DISTINCT id) FROM 'u.csv'":                                                  fmt.Sprintln(len(all)),
		"SELECT count(DISTINCT id) FROM 'u.csv' WHERE id < 0":                                     "0\n",
		"SELECT count(DISTINCT id), count(*) FROM 'u.csv'":                                        fmt.Sprintf("%d,9000\n", len(all)),
	} {
		if got, err := answer(t, mapreduce.Local{}, text); err != nil || got != want {
			t.Errorf("%s: %q, %v; want %q", text, got, err, want)
		}
	}
	var plan strings.Builder
	target := mapreduce.Local{Reporting: mapreduce.Reporting{Explain: true, Out: &plan}}
	if _, err := answer(t, target, "SELECT g, count(DISTINCT id) FROM 'u.csv' GROUP BY g"); err != nil || strings.Count(plan.String(), "partitions for merge") != 2 {
		t.Errorf("%v: %s; want a plan of two aggregates", err, plan.String())
	}
}

// TestTime checks that now() has one value, and that a text for a parameter is read as a date.
func TestTime(t *testing.T) {
	files(t, map[string]string{"o.csv": orders})
	for _, c := range []struct {
		text string
		args []any
		want string
	}{
		{"SELECT count(DISTINCT now()), min(current_date > day), now() = current_timestamp FROM o.csv", nil, "1,true,true\n"},
		{"SELECT sku FROM o.csv WHERE day = $1", []any{"2024-02-29"}, "a3\n"},
	} {
		if got, err := answer(t, mapreduce.Local{}, c.text, c.args...); err != nil || got != c.want {
			t.Errorf("%s\ngot %q, %v\nwant %q", c.text, got, err, c.want)
		}
	}
}

// TestRefused checks the place and the words of errors of statements.
func TestRefused(t *testing.T) {
	files(t, map[string]string{"p.jsonl": products})
	for _, c := range []struct {
		text string
		at   string // what the error points at
		want string
	}{
		{"SELECT prise FROM p.jsonl", "prise", `there is no column "prise"`},
		{"SELECT sku, count(*) FROM p.jsonl", "sku", `column "sku" is neither in GROUP BY nor inside an aggregate`},
		{"SELECT sku FROM p.jsonl WHERE count(*) > 1", "count", "aggregates are not allowed in WHERE"},
		{"SELECT sum(count(*)) FROM p.jsonl", "count", "aggregates cannot contain aggregates"},
		{"SELECT a.sku FROM p.jsonl a WHERE EXISTS (SELECT 1 FROM p.jsonl b WHERE b.sku > a.sku GROUP BY b.brand)", "SELECT 1", "must have SELECT, FROM and WHERE only"},
		{"SELECT (SELECT sum(a.stock) FROM p.jsonl b WHERE b.sku > a.sku) FROM p.jsonl a", "sum(a", "sum has columns of the outer query alone"},
		{"SELECT rank() FROM p.jsonl", "rank", "rank is a window function"},
		{"EXPLAIN ANALYZE SELECT 1", "EXPLAIN", "EXPLAIN ANALYZE is not supported"},
		{"COPY (SELECT sku FROM '*.jsonl') TO './p.jsonl'", "COPY", "COPY would replace"},
		{"SELECT sku FROM q.jsonl", "q.jsonl", "no such file"},
		{"SELECT sku FROM p.josnl", "p.josnl", "did you mean p.jsonl?"},
		{"SELECT sku FROM p.jsonl a JOIN p.jsonl b ON a.sku = b.sku", "sku", `column "sku" is ambiguous`},
		{"SELECT unnest(tags), unnest(tags) FROM p.jsonl", "unnest(tags) FROM", "one unnest only"},
		{"SELECT abs(stock IGNORE NULLS) FROM p.jsonl", "abs", "IGNORE NULLS is for window functions"},
		{"SELECT 1 UNION SELECT 1, 2", "UNION", "the left side has 1 column, the right side 2"},
	} {
		_, err := answer(t, mapreduce.Local{}, c.text)
		var e *report.Error
		if !errors.As(err, &e) || !strings.Contains(e.Error(), c.want) || !strings.HasPrefix(c.text[min(e.Offset, len(c.text)):], c.at) {
			t.Errorf("%s\ngot %v (%+v), want %q at %q", c.text, err, e, c.want, c.at)
		}
	}
}

// Errors repeat the statement without passwords, and the caret stays at its place.
func TestErrorsHideSecrets(t *testing.T) {
	for _, text := range []string{
		"SELECT 1 FROM postgres('postgres://bob:s3cret@db/x', 'products')",
		"SELECT 1 FROM postgres('host=db user=bob password=s3cret', 'products')",
		"SELECT 1 FROM 'https://bob:s3cret@host/x.csv'",
		"SELECT prise, 'postgres://bob:s3cret@db/x' FROM (SELECT 1 AS price)",
		"SELECT 1 FRM x WHERE password => 's3cret'",
		"SELECT prise FROM (SELECT 1 AS price) WHERE secret = 's3cret'",
	} {
		_, err := answer(t, mapreduce.Local{}, text)
		var e *report.Error
		if !errors.As(err, &e) || strings.Contains(e.Error()+e.Render(), "s3cret") || !strings.Contains(e.Render(), strings.Repeat("*", 6)) {
			t.Errorf("%s: got\n%v", text, err)
			continue
		}
		lines := strings.Split(e.Render(), "\n")
		if len(lines[1]) != len(text)+2 || strings.IndexByte(lines[2], '^') != e.Offset+2 {
			t.Errorf("%s: the caret has moved:\n%s", text, e.Render())
		}
	}
	if _, err := answer(t, mapreduce.Local{}, "SELECT prise FROM (SELECT 1 AS password) WHERE password > 5"); err == nil || strings.Contains(err.Error(), "*") {
		t.Errorf("a column is hidden: %v", err)
	}
}

// TestParameters checks parameters by position and by name, in a statement that runs twice.
func TestParameters(t *testing.T) {
	files(t, map[string]string{"o.csv": orders})
	const text = "SELECT sum(count) FROM o.csv WHERE count > $1 AND sku <> $sku"
	s, err := report.Prepare(t.Context(), mapreduce.Local{}, text, 1, report.Named("sku", "zz"))
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		var out strings.Builder
		if err := s.Run(t.Context()).Write(&out, "jsonl", report.WriteOptions{}); err != nil || out.String() != "{\"sum(count)\": 12}\n" {
			t.Errorf("got %q, %v", out.String(), err)
		}
	}
	if _, err := answer(t, mapreduce.Local{}, text, 1); err == nil || !strings.Contains(err.Error(), "parameter $sku has no value") {
		t.Errorf("got %v", err)
	}
}

// TestStdin reads - twice, which takes one copy.
func TestStdin(t *testing.T) {
	t.Setenv("TMPDIR", t.TempDir())
	text := "SELECT sum(a.n), count(*) FROM - AS a, '-' AS b"
	s, err := report.Options{Stdin: strings.NewReader("n,m\n1,a\n2,b\n")}.Prepare(t.Context(), mapreduce.Local{}, text)
	if err != nil {
		t.Fatal(err)
	}
	var out strings.Builder
	if err := s.Run(t.Context()).Write(&out, "csv", report.WriteOptions{}); err != nil || !strings.HasSuffix(out.String(), "\n6,4\n") {
		t.Errorf("got %q, %v", out.String(), err)
	}
	s.Close()
	if left, err := os.ReadDir(os.Getenv("TMPDIR")); err != nil || len(left) > 0 {
		t.Errorf("left %v, %v", left, err)
	}
	if _, err := report.Prepare(t.Context(), mapreduce.Local{}, text); err == nil || !strings.Contains(err.Error(), "standard input is not available") {
		t.Errorf("got %v", err)
	}
}

func ExampleQuery() {
	dir, err := os.MkdirTemp("", "")
	if err != nil {
		panic(err)
	}
	defer os.RemoveAll(dir)
	file := filepath.Join(dir, "products.csv")
	if err := os.WriteFile(file, []byte("brand,price,stock\nAcme,1.50,10\nBolt,2.25,4\nAcme,10.00,1\n"), 0o644); err != nil {
		panic(err)
	}
	text := fmt.Sprintf("SELECT brand, sum(price * stock) AS value FROM '%s' WHERE stock >= $1 GROUP BY brand ORDER BY brand", file)
	rows, err := report.Query(context.Background(), mapreduce.Local{}, text, 2)
	if err != nil {
		panic(err)
	}
	for row, err := range rows.All() {
		if err != nil {
			panic(err)
		}
		fmt.Println(row[0], row[1].(*big.Rat).FloatString(2))
	}
	// Output:
	// Acme 15.00
	// Bolt 9.00
}

// A program that does not import package report/postgres says which import is missing.
func TestPostgresIsNotLinked(t *testing.T) {
	_, err := report.Query(t.Context(), mapreduce.Local{}, "SELECT 1 FROM postgres('shop', 'products')")
	if err == nil || !strings.Contains(err.Error(), `import _ "github.com/layshaft/layshaft/report/postgres"`) {
		t.Error(err)
	}
}
