package report_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/layshaft/layshaft/mapreduce"
)

// TestJoins checks that joins whose keys decide alone have the rows of the same joins with a
// further condition, which check every pair: no match, several matches of a row, and NULL keys. So
// have joins without keys.
func TestJoins(t *testing.T) {
	var left, right strings.Builder
	left.WriteString("n,k,x\n")
	right.WriteString("k,x,v\n")
	for n := range 5000 {
		key := fmt.Sprintf("key %d", n*7919%3001)
		if n%50 == 0 {
			key = ""
		}
		fmt.Fprintf(&left, "%d,%s,%d\n", n, key, n%1200)
		if n%3 == 0 {
			fmt.Fprintf(&right, "%s,%d,%d\n", key, n%1000, n)
		}
	}
	files(t, map[string]string{"l.csv": left.String(), "r.csv": right.String()})
	for i, kind := range []string{"JOIN", "LEFT JOIN", "SEMI JOIN", "ANTI JOIN"} {
		for k, on := range []string{"l.k = r.k", "l.x = r.x", "l.k = r.k AND l.x = r.x"} {
			if testing.Short() && k != i%3 {
				continue // each kind and each condition once
			}
			columns := "l.n, l.k, r.v"
			if strings.HasPrefix(kind, "SEMI") || strings.HasPrefix(kind, "ANTI") {
				columns = "l.n, l.k"
			}
			text := fmt.Sprintf("SELECT %s FROM 'l.csv' l %s 'r.csv' r ON %s", columns, kind, on)
			got, err := answer(t, mapreduce.Local{}, text)
			if err != nil {
				t.Fatalf("%s: %v", text, err)
			}
			want, err := answer(t, mapreduce.Local{}, text+" AND l.n + r.v >= 0")
			if err != nil {
				t.Fatalf("%s: %v", text, err)
			}
			if got != want || len(got) < 100 {
				t.Errorf("%s: %d bytes of rows, want %d, equal ones", text, len(got), len(want))
			}
			if on != "l.x = r.x" {
				continue
			}
			text = strings.Replace(text, on, "l.x <= r.x AND l.x + 0 >= r.x", 1) // no key: all pairs
			if nested, err := answer(t, mapreduce.Local{}, text); err != nil || nested != got {
				t.Errorf("%s: %d bytes of rows, want %d, equal ones (%v)", text, len(nested), len(got), err)
			}
		}
	}
}
