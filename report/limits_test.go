package report_test

import (
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/layshaft/layshaft/mapreduce"
)

// TestLimits runs statements and files that are larger than people write: they run, or are refused,
// within seconds. The deadline is far above what they take, for busy machines.
func TestLimits(t *testing.T) {
	const columns = 10_000
	names, cells := make([]string, columns), make([]string, columns)
	for i := range columns {
		names[i], cells[i] = fmt.Sprintf("c%d", i), fmt.Sprint(i)
	}
	files(t, map[string]string{
		"wide.csv":   strings.Join(names, ",") + "\n" + strings.Join(cells, ",") + "\n",
		"wide.jsonl": `{"` + strings.Join(names, `":1,"`) + "\":2}\n",
		"o.csv":      orders,
	})
	list := func(n int, item string) string {
		var b strings.Builder
		for i := range n {
			if i > 0 {
				b.WriteString(", ")
			}
			b.WriteString(strings.ReplaceAll(item, "#", fmt.Sprint(i)))
		}
		return b.String()
	}
	conditions := func(n int, item string) string { return strings.ReplaceAll(list(n, item), ", ", " AND ") }
	for _, c := range []struct {
		name, text, refused string
		size                int  // of the answer; 0 for any
		nightly             bool // it takes half a second
		slow                bool // the short tests do without it
	}{
		{name: "one of 10,000 columns", text: "SELECT c9999, c1 FROM wide.csv", size: len("9999,1\n")},
		{name: "all of 10,000 columns", slow: true, text: "SELECT * FROM wide.csv", size: len(strings.Join(cells, ",")) + 1},
		{name: "all of 10,000 fields", nightly: true, text: "SELECT * FROM wide.jsonl", size: 2 * columns},
		{name: "10,000 expressions", slow: true, text: "SELECT " + list(10_000, "count + #") + " FROM o.csv"},
		{name: "10,000 aggregates", nightly: true, text: "SELECT " + list(10_000, "sum(count + #)") + " FROM o.csv"},
		{name: "1,000 keys", slow: true, text: "SELECT count(*) FROM wide.csv GROUP BY " + list(1000, "c#"), size: len("1\n")},
		{name: "1,000 sort keys", nightly: true, text: "SELECT c0 FROM wide.csv ORDER BY " + list(1000, "c#"), size: len("0\n")},
		{name: "CUBE of 1,000 columns", text: "SELECT count(*) FROM wide.csv GROUP BY CUBE (" + list(1000, "c#") + ")", refused: "grouping sets"},
		{name: "10,000 parentheses", text: "SELECT " + strings.Repeat("(", 10_000) + "1" + strings.Repeat(")", 10_000), refused: "nest"},
		{name: "10,000 subqueries", text: strings.Repeat("SELECT * FROM (", 10_000) + "SELECT 1" + strings.Repeat(") t", 10_000), refused: "nest"},
		{name: "IN of 100,000 values", nightly: true, text: "SELECT count(*) FROM o.csv WHERE count IN (" + list(100_000, "#") + ")", size: len("4\n")},
		{name: "OR of 5,000 conditions", text: "SELECT count(*) FROM o.csv WHERE " + strings.TrimSuffix(strings.ReplaceAll(list(5000, "count = # OR"), ",", ""), " OR"), size: len("4\n")},
		{name: "AND of 10,000 conditions", text: "SELECT count(*) FROM o.csv WHERE " + conditions(10_000, "count >= 0 - #"), size: len("4\n")},
		{name: "10,000 conditions of a subquery", slow: true, text: "SELECT count(*) FROM o.csv a WHERE EXISTS (SELECT 1 FROM o.csv b WHERE " + conditions(10_000, "b.count >= a.count - #") + ")", size: len("4\n")},
		{name: "a literal of 1 MB", text: "SELECT length('" + strings.Repeat("x", 1<<20) + "')", size: len("1048576\n")},
		{name: "1,000 UNION ALL", nightly: true, text: strings.TrimSuffix(strings.Repeat("SELECT 1 UNION ALL ", 1000), " UNION ALL "), size: 2000},
	} {
		t.Run(c.name, func(t *testing.T) {
			if c.slow && testing.Short() {
				t.Skip("takes long")
			}
			if c.nightly && os.Getenv("LAYSHAFT_NIGHTLY") == "" {
				t.Skip("set LAYSHAFT_NIGHTLY")
			}
			began := time.Now()
			got, err := answer(t, mapreduce.Local{Slots: 1}, c.text)
			took := time.Since(began)
			t.Logf("%v, %d bytes, %.100v", took, len(got), err)
			switch {
			case c.refused != "" && (err == nil || !strings.Contains(err.Error(), c.refused)):
				t.Errorf("got %.100q, %.200v; want an error with %q", got, err, c.refused)
			case c.refused == "" && (err != nil || got == "" || c.size > 0 && len(got) != c.size):
				t.Errorf("got %d bytes, %.300v; want %d bytes", len(got), err, c.size)
			case took > time.Minute:
				t.Errorf("took %v", took)
			}
		})
	}
}
