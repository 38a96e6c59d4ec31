package report_test

import (
	"bytes"
	"context"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/layshaft/layshaft/internal/partials"
	"github.com/layshaft/layshaft/mapreduce"
	"github.com/layshaft/layshaft/report"
)

// keptAnswer runs a statement with a State directory. It returns the rows as CSV, and the lines of
// State before the run.
func keptAnswer(t *testing.T, target mapreduce.Target, text string) (rows, state string) {
	t.Helper()
	s, err := report.Options{State: "state"}.Prepare(t.Context(), target, text)
	if err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	lines, err := s.State(t.Context())
	if err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	var out strings.Builder
	if err := s.Run(t.Context()).Write(&out, "csv", report.WriteOptions{}); err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	return out.String(), strings.Join(lines, "\n")
}

// stateOf returns the lines of State.
func stateOf(t *testing.T, text string) string {
	t.Helper()
	s, err := report.Options{State: "state"}.Prepare(t.Context(), mapreduce.Local{}, text)
	if err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	lines, err := s.State(t.Context())
	if err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	return strings.Join(lines, "\n")
}

// salesOf returns a file with rows of its own.
func salesOf(file, rows int) string {
	var b strings.Builder
	b.WriteString("shop,price,amount,at\n")
	for i := range rows {
		n := file*7919 + i*104729
		fmt.Fprintf(&b, "s%d,%d.%02d,%v,2024-%02d-%02d\n", n%5, n%90, n%100, float64(n%1000)/7, n%12+1, n%28+1)
	}
	return b.String()
}

// plainAnswer runs a statement without a State directory.
func plainAnswer(t *testing.T, target mapreduce.Target, text string) string {
	t.Helper()
	rows, err := report.Query(t.Context(), target, text)
	if err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	var out strings.Builder
	if err := rows.Write(&out, "csv", report.WriteOptions{}); err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	return out.String()
}

const stateStatement = "SELECT shop, count(*), sum(price), avg(amount), count(DISTINCT at), approx_quantile(amount, 0.9), stddev(amount) FROM 'in/*.csv' WHERE price > 3 GROUP BY shop ORDER BY 1"

// TestStateReason checks that the reason names the function as the statement has it.
func TestStateReason(t *testing.T) {
	files(t, map[string]string{"a.csv": "n\n1\n"})
	for _, name := range []string{"json_agg", "array_agg", "group_concat"} {
		want := "not used, because " + name + " depends on the order of all rows"
		if _, state := keptAnswer(t, mapreduce.Local{}, "SELECT "+name+"(n) FROM a.csv"); !strings.Contains(state, want) {
			t.Errorf("got %s, want %s", state, want)
		}
	}
}

// TestState compares runs with a State directory with runs without one, while files change.
func TestState(t *testing.T) {
	files(t, map[string]string{"in/a.csv": salesOf(1, 3000), "in/b.csv": salesOf(2, 10), "in/c.csv": salesOf(3, 1), "shops.csv": "shop,town\ns1,Oslo\ns2,Rome\n",
		"day/at=2024-01-01/x.csv": salesOf(4, 9), "day/at=2024-01-02/x.csv": salesOf(4, 9)})
	statements := []struct {
		text  string
		files int // with states; 0 if the statement reads everything
	}{
		{stateStatement, 3},
		{"SELECT count(*) FROM 'in/*.csv'", 3},
		{"SELECT sum(price) FROM 'in/*.csv' WHERE price > 1000", 3},
		{"SELECT DISTINCT shop FROM 'in/*.csv' ORDER BY 1", 3},
		{"SELECT shop, extract(month FROM at) AS m, max(price) FROM 'in/*.csv' GROUP BY ROLLUP (shop, m) ORDER BY 1, 2", 3},
		{"SELECT town, sum(amount) FROM 'in/*.csv' JOIN shops.csv USING (shop) GROUP BY town ORDER BY 1", 3},
		{"SELECT count(*) FROM 'in/*.csv' WHERE price > (SELECT avg(price) FROM 'in/b.csv')", 3},
		{"SELECT percentile_cont(0.5) WITHIN GROUP (ORDER BY amount), top_k(shop, 2), corr(price, amount) FROM 'in/*.csv'", 3},
		{"SELECT a.shop, n, m FROM (SELECT shop, count(*) AS n FROM 'in/a.csv' GROUP BY 1) a JOIN (SELECT shop, max(at) AS m FROM 'in/*.csv' GROUP BY 1) b USING (shop) ORDER BY 1", 4},
		{"SELECT at, count(*) FROM 'day/**/*.csv' GROUP BY at ORDER BY at", 2},
		{"SELECT current_date > '2000-01-01' AS recent, count(*) FROM 'in/*.csv'", 3},
		{"SELECT count(*) FROM 'in/*.csv' WHERE at < now()", 0},
		{"SELECT shop FROM 'in/*.csv' ORDER BY price, amount LIMIT 3", 0},
		{"SELECT first(shop) FROM 'in/*.csv'", 0},
		{"SELECT shop, n FROM (SELECT shop, row_number() OVER (ORDER BY price, amount, at) AS n FROM 'in/*.csv') WHERE n < 3", 0},
	}
	kept := func(state string) (n, missing int) {
		for _, line := range strings.Split(state, "\n") {
			var of, k, m int
			if _, rest, ok := strings.Cut(line, "*.csv: "); ok {
				fmt.Sscanf(rest, "%d of %d files kept; to read: %d", &k, &of, &m)
			} else if _, rest, ok := strings.Cut(line, "a.csv: "); ok {
				fmt.Sscanf(rest, "%d of %d files kept; to read: %d", &k, &of, &m)
			}
			n, missing = n+k, missing+m
		}
		return n, missing
	}
	round := func(name string, first bool) {
		for i, s := range statements {
			if !first && i%5 != 0 { // statements whose files differ
				continue
			}
			want := plainAnswer(t, mapreduce.Local{}, s.text)
			got, state := keptAnswer(t, mapreduce.Local{}, s.text)
			if got != want {
				t.Errorf("%s: %s\ngot %s\nwant %s", name, s.text, got, want)
			}
			if (s.files == 0) != strings.Contains(state, "not used, because") {
				t.Errorf("%s: %s: %s", name, s.text, state)
			}
			if s.files == 0 {
				continue
			}
			state = stateOf(t, s.text)
			if n, missing := kept(state); n < s.files || missing != 0 {
				t.Errorf("%s: %s: the second run: %s", name, s.text, state)
			}
		}
	}
	write := func(name, content string) {
		t.Helper()
		if err := os.WriteFile(name, []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	round("first", true)
	write("in/b.csv", salesOf(5, 20))
	if state := stateOf(t, stateStatement); !strings.Contains(state, "2 of 3 files kept; to read: 1 file, ") {
		t.Error(state)
	}
	round("changed", false)
	write("in/d.csv", salesOf(6, 5))
	round("added", false)
	if err := os.Rename("in/a.csv", "in/z.csv"); err != nil {
		t.Fatal(err)
	}
	if state := stateOf(t, stateStatement); !strings.Contains(state, "4 of 4 files kept") {
		t.Errorf("after a rename: %s", state)
	}
	if err := os.Rename("in/z.csv", "in/a.csv"); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove("in/c.csv"); err != nil {
		t.Fatal(err)
	}
	write("shops.csv", "shop,town\ns1,Oslo\ns2,Paris\n")
	round("removed, and a joined table changed", false)
}

// TestStateDamage checks that damaged packs, packs of other versions and unfinished packs are
// noticed, and that their files are read again.
func TestStateDamage(t *testing.T) {
	files(t, map[string]string{"in/a.csv": salesOf(1, 500), "in/b.csv": salesOf(2, 500)})
	want := plainAnswer(t, mapreduce.Local{}, stateStatement)
	keptAnswer(t, mapreduce.Local{}, stateStatement)
	pack := func() string {
		paths, _ := filepath.Glob("state/partials/*.pack")
		if len(paths) != 1 {
			t.Fatalf("packs %v", paths)
		}
		return paths[0]
	}
	name := pack()
	whole, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	damage := map[string]func([]byte) []byte{
		"empty": func([]byte) []byte { return nil },
		"cut":   func(b []byte) []byte { return b[:len(b)/2] },
		"version": func(b []byte) []byte {
			return bytes.Replace(b, fmt.Appendf(nil, `{"format":%d,`, partials.Format), []byte(`{"format":9,`), 1)
		},
		"trailing": func(b []byte) []byte { return append(b, 0) },
	}
	for at := 5; at < len(whole); at += len(whole) / 6 {
		damage[fmt.Sprintf("byte %d", at)] = func(b []byte) []byte { b[at] ^= 0x40; return b }
	}
	for what, f := range damage {
		if err := os.Remove(pack()); err != nil {
			t.Fatal(err)
		}
		for name, data := range map[string][]byte{name: f(bytes.Clone(whole)), "state/partials/tmp-1": []byte("half")} {
			if err := os.WriteFile(name, data, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		if got, state := keptAnswer(t, mapreduce.Local{}, stateStatement); got != want || strings.Contains(state, "2 of 2 files kept") {
			t.Errorf("%s: %s\ngot %s\nwant %s", what, state, got, want)
		}
		if _, err := os.Stat("state/partials/tmp-1"); err == nil {
			t.Errorf("%s: the unfinished pack is still there", what)
		}
	}
}

var update = flag.Bool("update", false, "write the stored pack of TestStateFormat again")

// TestStateFormat answers from a pack that another version has written. When it fails, the bytes of
// states have changed: set partials.Format to the next number, then run the test with -update.
func TestStateFormat(t *testing.T) {
	const statement = `SELECT shop, count(*), count(amount), sum(price), sum(amount), avg(price), min(at), max(shop), count(DISTINCT at), approx_count_distinct(price),
		approx_quantile(amount, 0.5), percentile_cont(0.5) WITHIN GROUP (ORDER BY price), stddev(amount), corr(price, amount), top_k(at, 2), histogram(shop), bool_and(price > 1), mode(shop)
		FROM 'in/*.csv' GROUP BY shop ORDER BY shop`
	pack, err := filepath.Abs("testdata/state.pack")
	if err != nil {
		t.Fatal(err)
	}
	files(t, map[string]string{"in/a.csv": salesOf(1, 40)})
	want := plainAnswer(t, mapreduce.Local{}, statement)
	keptAnswer(t, mapreduce.Local{}, statement)
	paths, _ := filepath.Glob("state/partials/*.pack")
	if len(paths) != 1 {
		t.Fatalf("packs %v", paths)
	}
	from, to := pack, paths[0]
	if *update {
		from, to = to, from
	}
	data, err := os.ReadFile(from)
	if err == nil {
		err = os.WriteFile(to, data, 0o644)
	}
	if err != nil {
		t.Fatal(err)
	}
	if state := stateOf(t, statement); !strings.Contains(state, "1 of 1 file kept") {
		t.Fatalf("the stored pack is of another plan; run with -update: %s", state)
	}
	if got, _ := keptAnswer(t, mapreduce.Local{}, statement); got != want {
		t.Errorf("from the stored pack:\n%s\nwant\n%s", got, want)
	}
}

// TestStateTogether checks runs at the same time, the limit of the size, and that a run that is
// only explained stores nothing.
func TestStateTogether(t *testing.T) {
	files(t, map[string]string{"in/a.csv": salesOf(1, 500), "in/b.csv": salesOf(2, 500)})
	explained, err := report.Options{State: "state"}.Prepare(t.Context(), mapreduce.Local{Reporting: mapreduce.Reporting{Explain: true, Out: new(bytes.Buffer)}}, stateStatement)
	if err != nil {
		t.Fatal(err)
	}
	for _, err := range explained.Run(t.Context()).All() {
		t.Fatalf("a row, or %v", err)
	}
	want := plainAnswer(t, mapreduce.Local{}, stateStatement)
	var wg sync.WaitGroup
	for i := range 4 {
		wg.Go(func() {
			for range 3 {
				s, err := report.Options{State: "state", StateSize: int64(i)}.Prepare(context.Background(), mapreduce.Local{Slots: 1}, stateStatement)
				if err != nil {
					t.Error(err)
					return
				}
				var out strings.Builder
				if err := s.Run(context.Background()).Write(&out, "csv", report.WriteOptions{}); err != nil || out.String() != want {
					t.Errorf("%v\ngot %s\nwant %s", err, &out, want)
				}
			}
		})
	}
	wg.Wait()
	s, err := report.Options{State: "state", StateSize: 1}.Prepare(t.Context(), mapreduce.Local{}, stateStatement)
	if err != nil {
		t.Fatal(err)
	}
	for _, err := range s.Run(t.Context()).All() {
		if err != nil {
			t.Fatal(err)
		}
	}
	if left, _ := filepath.Glob("state/partials/*.pack"); len(left) > 0 {
		t.Errorf("left over the limit: %v", left)
	}
}
