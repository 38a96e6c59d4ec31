package report_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/layshaft/layshaft/mapreduce"
)

// TestRareGroups groups rows whose keys hardly ever repeat at first, and always repeat later. A row
// that skips the table of its task has the same key as a row that does not.
func TestRareGroups(t *testing.T) {
	const rare, frequent, rows = 150_000, 64, 200_000
	var b strings.Builder
	b.WriteString("text,float,money,n\n")
	for i := range rows {
		k := i % frequent
		if i < rare {
			k = i
		}
		text, float := fmt.Sprintf("key %d", k), fmt.Sprintf("%d.5", k)
		switch k {
		case 0:
			text, float = "", "0.0"
			if i%2 == 0 {
				float = "-0.0"
			}
		case 1:
			float = "NaN"
		}
		fmt.Fprintf(&b, "%s,%s,%d.25,%d\n", text, float, k, i)
	}
	files(t, map[string]string{"r.csv": b.String()})
	target := mapreduce.Local{Slots: 1}
	for i, c := range []struct{ text, want string }{
		{"SELECT count(*), sum(n), sum(s), sum(m) FROM (SELECT %s AS k, count(*) AS n, sum(n) AS s, sum(n + 1) AS m FROM r.csv GROUP BY k)",
			fmt.Sprintf("%d,%d,%d,%d\n", rare, rows, rows*(rows-1)/2, rows*(rows+1)/2)},
		{"SELECT count(*), sum(o), sum(e) FROM (SELECT %s AS k, count(*) FILTER (WHERE n %% 2 = 1) AS o, count(*) FILTER (WHERE n < 10) AS e FROM r.csv GROUP BY k)",
			fmt.Sprintf("%d,%d,10\n", rare, rows/2)},
		{"SELECT count(*) FROM (SELECT DISTINCT %s AS k FROM r.csv)", fmt.Sprintf("%d\n", rare)},
		{"SELECT count(*), max(n) FROM (SELECT %s AS k, count(*) AS n FROM r.csv GROUP BY k HAVING count(*) > 1)",
			fmt.Sprintf("%d,%d\n", frequent, 1+(rows-rare+frequent-1)/frequent)},
	} {
		for k, key := range []string{"text", "float::double", "money", "[text]"} {
			if testing.Short() && k != i {
				continue // each query and each kind of key once
			}
			text := fmt.Sprintf(c.text, key)
			if got, err := answer(t, target, text); err != nil || got != c.want {
				t.Errorf("%s: %q, %v; want %q", text, got, err, c.want)
			}
		}
	}
}
