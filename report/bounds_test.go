package report_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/layshaft/layshaft/mapreduce"
	"github.com/layshaft/layshaft/report"
)

// TestBounds checks which row groups of Parquet are read for a condition, and that the rows are
// the results for the same data in a format without statistics.
func TestBounds(t *testing.T) {
	files(t, nil)
	const rows = "SELECT range AS i, (range * 1.25)::decimal(12,2) AS d, (range / 2.0)::double AS f, 'k' || lpad(range::text, 3, '0') AS s, DATE '2024-01-01' + range AS day, nullif(range, 5) AS n, range - 50 AS m FROM range(100)"
	for _, to := range []string{"TO 'p.parquet' (ROW_GROUP_SIZE 10)", "TO 'p.jsonl'"} {
		if _, err := answer(t, mapreduce.Local{}, "COPY ("+rows+") "+to); err != nil {
			t.Fatal(err)
		}
	}
	for condition, groups := range map[string]int{
		"i = 42": 1, "i > 89": 1, "i >= 89": 2, "i < 10.5": 2, "i > 9.5 AND i < 19.5": 1, "i > 8.5 AND i < 19.5": 2, "i <> 3": 10, "i = 2.5": 10,
		"m < -40.5": 1, "m <= -40": 2, "m > -40.5 AND m < -30": 1, "m > -41.5 AND m < -30": 2,
		"i IN (5, 95)": 2, "i IN (5, NULL)": 1, "i NOT IN (5, 95)": 10, "i IN (5, 7.5)": 10,
		"d > 100": 2, "d >= 112.5": 1, "d = 50.00": 1, "d < 11.254": 1, "d < 12.505": 2, "d IN (0, 125.5)": 1, "d BETWEEN 25 AND 30": 1, "100 < d": 2,
		"f > 45": 10, "f < 4.75": 1, "s = 'k042'": 1, "s LIKE 'k04%'": 1, "s LIKE 'k04_'": 1, "s LIKE '%4'": 10, "s LIKE 'z%'": 0, "s NOT LIKE 'k04%'": 10, "s ILIKE 'K04%'": 10, "s LIKE 'k042'": 1,
		"day >= '2024-04-01'": 1, "day = DATE '2024-01-05'": 1, "n IS NULL": 10, "n IS NOT NULL": 10, "i > 1000 OR i < 5": 10, "i > 1000": 0,
	} {
		const text = "SELECT count(*), sum(i), min(s) FROM '%s' WHERE %s"
		want, err := answer(t, mapreduce.Local{}, fmt.Sprintf(text, "p.jsonl", condition))
		if err != nil {
			t.Fatalf("%s: %v", condition, err)
		}
		if got, err := answer(t, mapreduce.Local{}, fmt.Sprintf(text, "p.parquet", condition)); err != nil || got != want {
			t.Errorf("%s: got %s, %v, want %s", condition, got, err, want)
		}
		s, err := report.Prepare(t.Context(), mapreduce.Local{}, fmt.Sprintf(text, "p.parquet", condition))
		if err != nil {
			t.Fatalf("%s: %v", condition, err)
		}
		if lines, err := s.Reads(t.Context()); err != nil || len(lines) != 1 || !strings.Contains(lines[0], fmt.Sprintf(": 1 of 1 file, %d of 10 row groups, columns ", groups)) {
			t.Errorf("%s: %q, %v, want %d row groups", condition, lines, err, groups)
		}
	}
}
