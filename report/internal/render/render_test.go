package render

import (
	"bytes"
	"encoding/csv"
	"encoding/json"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/layshaft/layshaft/internal/plain"
	"github.com/layshaft/layshaft/report/internal/vec"
)

// column returns a column of one of the types that tests use; nil is NULL.
func column(name string, t vec.Type, values ...any) (vec.Field, *vec.Vec) {
	b := vec.NewBuilder(t, len(values))
	for _, x := range values {
		switch x := x.(type) {
		case nil:
			b.AppendNull()
		case int:
			b.AppendInt(int64(x))
		case float64:
			b.AppendFloat(x)
		case string:
			b.AppendString(x)
		case bool:
			b.AppendBool(x)
		}
	}
	return vec.Field{Name: name, Type: t}, b.Done()
}

type result struct {
	fields []vec.Field
	cols   []*vec.Vec
}

func (r *result) add(f vec.Field, v *vec.Vec) *result {
	r.fields, r.cols = append(r.fields, f), append(r.cols, v)
	return r
}

func render(t *testing.T, format string, o Options, r *result) string {
	t.Helper()
	var out bytes.Buffer
	w, err := New(format, &out, o)
	if err != nil {
		t.Fatal(err)
	}
	if err := w.Begin(r.fields); err != nil {
		t.Fatal(err)
	}
	n := r.cols[0].Len
	for from := 0; from < n; from += 2 { // in batches of two rows
		var rows []int32
		for i := from; i < min(n, from+2); i++ {
			rows = append(rows, int32(i))
		}
		if err := w.Write((&vec.Batch{N: n, Cols: r.cols}).Gather(rows)); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.End(); err != nil {
		t.Fatal(err)
	}
	return out.String()
}

func products() *result {
	r := &result{}
	r.add(column("category", vec.Of(vec.Text), "shoes", "a|b *x*", nil, "", "靴 \x1b[31mred\ntwo", "say \"hi\", <b>"))
	r.add(column("n", vec.Of(vec.Int), 1204, 17, -3, nil, 0, 9))
	r.add(column("value", vec.DecimalOf(12, 2), 912050, -1, nil, 100, 7, 0))
	r.add(column("share", vec.Of(vec.Float), 0.5, math.NaN(), nil, 1e300, 3.0, -0.25))
	return r
}

func TestTable(t *testing.T) {
	want := `
category           │    n │   value │  share
───────────────────┼──────┼─────────┼───────
shoes              │ 1204 │ 9120.50 │    0.5
a|b *x*            │   17 │   -0.01 │    NaN
NULL               │   -3 │    NULL │   NULL
                   │ NULL │    1.00 │ 1e+300
靴 \x1b[31mred two │    0 │    0.07 │      3
say "hi", <b>      │    9 │    0.00 │  -0.25
(6 rows)
`
	if got := "\n" + render(t, "table", Options{}, products()); got != want {
		t.Errorf("table:%s\nwant:%s", got, want)
	}
	// all lines are as wide as the rule
	lines := strings.Split(strings.Trim(render(t, "table", Options{}, products()), "\n"), "\n")
	for _, l := range lines[:len(lines)-1] {
		if plain.Width(l) != plain.Width(lines[1]) {
			t.Errorf("line of width %d, want %d: %q", plain.Width(l), plain.Width(lines[1]), l)
		}
	}
}

// Tables are never wider than the terminal, as long as their numbers fit.
func TestTableFits(t *testing.T) {
	r := products()
	r.add(column("note", vec.Of(vec.Text), strings.Repeat("long ", 30), "x", "y", "日本語日本語日本語日本語日本語日本語日本語日本語日本語", "", "z"))
	for width := 20; width < 200; width++ {
		for _, most := range []int{0, 12} {
			out := render(t, "table", Options{Width: width, MaxColumn: most}, r)
			for l := range strings.Lines(out) {
				if w := plain.Width(strings.TrimSuffix(l, "\n")); w > width {
					t.Fatalf("width %d: a line of %d columns:\n%s", width, w, out)
				}
			}
			if width > 60 && !strings.Contains(out, "…") && width < 150 {
				t.Errorf("width %d: nothing is cut:\n%s", width, out)
			}
		}
	}
	if out := render(t, "table", Options{Width: 30}, r); !strings.Contains(out, "── row 6 ──") || !strings.Contains(out, "value    │ 9120.50\n") {
		t.Errorf("narrow table is no list:\n%s", out)
	}
}

// Very many columns take no time.
func TestManyColumns(t *testing.T) {
	r := &result{}
	for i := range 10_000 {
		r.add(column(fmt.Sprintf("column %d", i), vec.Of(vec.Text), strings.Repeat("x", i%50)))
	}
	for _, width := range []int{80, 100_000} {
		out := render(t, "table", Options{Width: width}, r)
		first, _, _ := strings.Cut(out, "\n")
		if w := plain.Width(first); w > width || width == 100_000 && w < width-2 {
			t.Errorf("width %d: the first line has %d columns", width, w)
		}
	}
}

// A table of more rows than decide the widths stays aligned.
func TestLongTable(t *testing.T) {
	v := vec.New(vec.Of(vec.Int), 2500)
	for i := range v.Ints {
		v.Ints[i] = int64(i)
	}
	out := render(t, "table", Options{Width: 40}, (&result{}).add(vec.Field{Name: "i", Type: v.Type}, v))
	if n := strings.Count(out, "\n"); n != 2503 || !strings.HasSuffix(out, "\n2499\n(2500 rows)\n") {
		t.Errorf("%d lines, end %q", n, out[len(out)-40:])
	}
}

func TestDelimited(t *testing.T) {
	got := render(t, "csv", Options{}, products())
	want := "category,n,value,share\nshoes,1204,9120.50,0.5\na|b *x*,17,-0.01,NaN\n,-3,,\n\"\",,1.00,1e+300\n\"靴 \x1b[31mred\ntwo\",0,0.07,3\n\"say \"\"hi\"\", <b>\",9,0.00,-0.25\n"
	if got != want {
		t.Errorf("csv: %q\nwant %q", got, want)
	}
	if rows, err := csv.NewReader(strings.NewReader(got)).ReadAll(); err != nil || len(rows) != 7 {
		t.Errorf("csv: %d rows, %v", len(rows), err)
	}
	got = render(t, "tsv", Options{}, (&result{}).add(column("a\tb", vec.Of(vec.Text), "x,y", "t\tt")))
	if want := "\"a\tb\"\nx,y\n\"t\tt\"\n"; got != want {
		t.Errorf("tsv: %q, want %q", got, want)
	}
}

func TestJSON(t *testing.T) {
	r := products()
	r.add(column("n", vec.Of(vec.JSON), "{\"a\":\n[1]}", "null", nil, "1", "2", "\"x\""))
	lines := render(t, "jsonl", Options{}, r)
	if n := strings.Count(lines, "\n"); n != 6 {
		t.Errorf("%d lines of 6 rows: %q", n, lines)
	}
	want := `{"category": "shoes", "n": 1204, "value": 9120.50, "share": 0.5, "n_1": {"a": [1]}}`
	if first, _, _ := strings.Cut(lines, "\n"); first != want {
		t.Errorf("first line %s, want %s", first, want)
	}
	var rows []map[string]any
	if err := json.Unmarshal([]byte(render(t, "json", Options{}, r)), &rows); err != nil || len(rows) != 6 {
		t.Errorf("json: %d rows, %v", len(rows), err)
	} else if rows[2]["category"] != nil || rows[1]["share"] != "NaN" || rows[4]["category"] != "靴 \x1b[31mred\ntwo" {
		t.Errorf("json: %v", rows)
	}
	if got := render(t, "json", Options{}, (&result{}).add(column("a", vec.Of(vec.Int)))); got != "[]\n" {
		t.Errorf("no rows: %q", got)
	}
}

func TestMarkdown(t *testing.T) {
	want := `| category | n | value | share |
| --- | ---: | ---: | ---: |
| shoes | 1204 | 9120.50 | 0.5 |
| a\|b \*x\* | 17 | -0.01 | NaN |
| NULL | -3 | NULL | NULL |
|  | NULL | 1.00 | 1e+300 |
| 靴 \x1b\[31mred<br>two | 0 | 0.07 | 3 |
| say "hi", &lt;b&gt; | 9 | 0.00 | -0.25 |
`
	if got := render(t, "markdown", Options{}, products()); got != want {
		t.Errorf("markdown:\n%s\nwant:\n%s", got, want)
	}
}

// days returns n dates in a row.
func days(n int) (vec.Field, *vec.Vec) {
	v := vec.New(vec.Of(vec.Date), n)
	for i := range v.Ints {
		v.Ints[i] = 19723 + int64(i)
	}
	return vec.Field{Name: "day", Type: v.Type}, v
}

func samples(r *rand.Rand, name string, n int, next func(i int) float64) (vec.Field, *vec.Vec) {
	v := vec.New(vec.Of(vec.Float), n)
	for i := range v.Floats {
		v.Floats[i] = math.Round(next(i)*100) / 100
	}
	return vec.Field{Name: name, Type: v.Type}, v
}

func TestHTML(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 0))
	split := &result{}
	f, v := days(60)
	split.add(f, v.Gather(append(seq(60), seq(60)...)))
	names := vec.New(vec.Of(vec.Text), 120)
	for i := range names.Strings {
		names.Strings[i] = []string{"north", "south"}[i/60]
	}
	split.add(vec.Field{Name: "region", Type: names.Type}, names)
	split.add(samples(r, "sales", 120, func(i int) float64 { return 100 + float64(i) + 20*r.NormFloat64() }))
	two := &result{}
	two.add(days(400)).add(samples(r, "visits", 400, func(i int) float64 { return 1e4 + 3e3*math.Sin(float64(i)/30) + 500*r.NormFloat64() }))
	two.add(samples(r, "orders", 400, func(i int) float64 { return 3e3 + 1e3*math.Sin(float64(i)/30) }))
	two.add(samples(r, "ratio", 400, func(i int) float64 { return r.Float64() }))
	odd := &result{}
	odd.add(days(3)).add(column("x", vec.Of(vec.Float), math.MaxFloat64, -math.MaxFloat64, math.Inf(1)))
	far := (&result{}).add(column("at", vec.Of(vec.Timestamp), math.MaxInt64, math.MinInt64, 0)).add(column("x", vec.Of(vec.Int), 1, 2, 3))
	tiny := (&result{}).add(column("x", vec.Of(vec.Float), 1e16, 1e16+2, 1e16, 5.0, 1e16, 1e16, 1e16, 1e16, 1e16, 1e16, 1e16))
	for _, c := range []struct {
		name   string
		r      *result
		charts int
		want   []string
	}{
		{"bars", products(), 1, []string{"n by category", ">靴 \\x1b[31mred two<", "say &quot;hi&quot;, &lt;b&gt;"}},
		{"histogram", (&result{}).add(samples(r, "price", 3000, func(int) float64 { return 50 * math.Exp(r.NormFloat64()/2) })), 1, []string{"rows by price"}},
		{"lines", two, 1, []string{"over day", "visits", "orders", "2024"}},
		{"split", split, 1, []string{"sales over day", "north", "south", "Feb"}},
		{"one number", (&result{}).add(column("n", vec.Of(vec.Int), 5)), 0, []string{"<footer>1 row</footer>"}},
		{"huge", odd, 0, nil},
		{"far", far, 0, nil},
		{"tiny", tiny, 1, nil},
		{"no rows", (&result{}).add(column("n", vec.Of(vec.Text))).add(column("x", vec.Of(vec.Int))), 0, []string{"<footer>0 rows</footer>"}},
		{"negative", (&result{}).add(column("city", vec.Of(vec.Text), "Oslo", "Rome", "Bern")).add(column("change", vec.Of(vec.Float), -12.5, 30.0, 4.25)), 1, nil},
	} {
		title := "SELECT category, count(*) AS n FROM \"a<b\" GROUP BY 1</title><script>alert(1)</script>"
		got := render(t, "html", Options{Title: title}, c.r)
		if n := strings.Count(got, "<svg"); n != c.charts {
			t.Errorf("%s: %d charts, want %d", c.name, n, c.charts)
		}
		for _, want := range append(c.want, "&lt;script&gt;alert(1)&lt;/script&gt;", "Content-Security-Policy") {
			if !strings.Contains(got, want) {
				t.Errorf("%s: no %q", c.name, want)
			}
		}
		for _, bad := range []string{"<script>alert", "\x1b", "NaN\"", "http:", "https:", "Inf"} {
			if body := strings.ReplaceAll(got, ">NaN", ""); strings.Contains(body, bad) && bad != "Inf" || bad == "Inf" && strings.Contains(got, "Inf ") {
				t.Errorf("%s: contains %q", c.name, bad)
			}
		}
		if dir := os.Getenv("RENDER_PAGES"); dir != "" { // to look at them
			if err := os.WriteFile(filepath.Join(dir, strings.ReplaceAll(c.name, " ", "-")+".html"), []byte(got), 0o644); err != nil {
				t.Fatal(err)
			}
		}
	}
}

func seq(n int) (rows []int32) {
	for i := range n {
		rows = append(rows, int32(i))
	}
	return rows
}

// A chart of any numbers has finite coordinates.
func TestChartsOfAnyNumbers(t *testing.T) {
	for seed := range uint64(300) {
		r := rand.New(rand.NewPCG(seed, 0))
		n := r.IntN(30)
		v := vec.New(vec.Of(vec.Float), n)
		at := vec.New(vec.Of(vec.Timestamp), n)
		names := vec.New(vec.Of(vec.Text), n)
		for i := range n {
			v.Floats[i] = math.Float64frombits(r.Uint64())
			if seed%2 == 0 {
				v.Floats[i] = float64(r.IntN(5)-2) * math.Pow10(r.IntN(3)+int(seed)-150)
			}
			at.Ints[i] = int64(r.Uint64()) >> r.IntN(60)
			names.Strings[i] = fmt.Sprint(i)
		}
		x := vec.Field{Name: "x", Type: v.Type}
		for _, res := range []*result{(&result{}).add(x, v), (&result{}).add(vec.Field{Name: "at", Type: at.Type}, at).add(x, v), (&result{}).add(vec.Field{Name: "name", Type: names.Type}, names).add(x, v)} {
			page := render(t, "html", Options{}, res)
			_, svg, _ := strings.Cut(page, "<svg")
			svg, _, _ = strings.Cut(svg, "</svg>")
			if strings.Contains(svg, "NaN") || strings.Contains(svg, "Inf") {
				t.Fatalf("seed %d: %s", seed, svg)
			}
		}
	}
}

func TestUnknownFormat(t *testing.T) {
	if _, err := New("xls", nil, Options{}); err == nil || err.Error() != `unknown format "xls": use csv, html, json, jsonl, markdown, parquet, table, tsv` {
		t.Errorf("error %v", err)
	}
}

func BenchmarkWrite(b *testing.B) {
	r := products()
	rows := make([]int32, vec.Size)
	for i := range rows {
		rows[i] = int32(i % 2)
	}
	batch := (&vec.Batch{N: 6, Cols: r.cols}).Gather(rows)
	for _, format := range Formats() {
		b.Run(format, func(b *testing.B) {
			w, err := New(format, discard{}, Options{Width: 100})
			if err != nil {
				b.Fatal(err)
			}
			if err := w.Begin(r.fields); err != nil {
				b.Fatal(err)
			}
			for b.Loop() {
				if err := w.Write(batch); err != nil {
					b.Fatal(err)
				}
				if h, ok := w.(*html); ok {
					h.body.Reset()
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/vec.Size, "ns/row")
		})
	}
}

type discard struct{}

func (discard) Write(p []byte) (int, error) { return len(p), nil }
