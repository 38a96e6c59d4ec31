package report_test

import (
	"fmt"
	"math"
	"strings"
	"testing"

	"github.com/layshaft/layshaft/mapreduce"
	"github.com/layshaft/layshaft/report"
)

// Sums of one column plus various constants equal the sums of single statements, and an addition that
// overflows is an error among them, too.
func TestShiftedSums(t *testing.T) {
	var b strings.Builder
	b.WriteString("g,x\n")
	for i := range 3000 {
		switch {
		case i%7 == 0:
			fmt.Fprintf(&b, "%d,\n", i%3)
		case i%11 == 0:
			fmt.Fprintf(&b, "%d,%d\n", i%3, math.MaxInt64-10)
		default:
			fmt.Fprintf(&b, "%d,%d\n", i%3, 7919*i-5_000_000)
		}
	}
	b.WriteString("9,\n")
	files(t, map[string]string{"x.csv": b.String()})
	sums := []string{"sum(x)", "sum(x + 1)", "sum(10 + x)", "sum(x - 4000000000000000000)", "sum(x - -3)", "sum(5 - x)", "sum(x + 1) FILTER (WHERE x > 0)", "sum(DISTINCT x + 1)", "count(x + 1)"}
	for _, from := range []string{"FROM x.csv", "FROM x.csv GROUP BY g ORDER BY g", "FROM x.csv WHERE g = 9", "FROM x.csv WHERE false", "FROM x.csv GROUP BY ROLLUP (g) ORDER BY g"} {
		var columns [][]string
		for _, s := range sums {
			columns = append(columns, strings.Split(strings.TrimSpace(plainAnswer(t, mapreduce.Local{}, "SELECT "+s+" AS s "+from)), "\n"))
		}
		all := strings.Split(strings.TrimSpace(plainAnswer(t, mapreduce.Local{}, "SELECT "+strings.Join(sums, ", ")+" "+from)), "\n")
		for row := 1; row < len(all); row++ {
			var want []string
			for _, c := range columns {
				if row < len(c) {
					want = append(want, c[row])
				} else {
					want = append(want, "") // the only value is NULL
				}
			}
			if all[row] != strings.Join(want, ",") {
				t.Errorf("%s: row %d is %s, want %s", from, row, all[row], strings.Join(want, ","))
			}
		}
	}
	rows, err := report.Query(t.Context(), mapreduce.Local{}, "SELECT sum(x), sum(x + 11), sum(x + 2) FROM x.csv")
	if err != nil {
		t.Fatal(err)
	}
	err = nil
	for _, e := range rows.All() {
		err = e
	}
	if err == nil || !strings.Contains(err.Error(), "x.csv:") || !strings.Contains(err.Error(), fmt.Sprint(math.MaxInt64-10)) {
		t.Errorf("an overflow: %v", err)
	}
}
