package report_test

import (
	"os"
	"strings"
	"testing"

	"github.com/layshaft/layshaft/mapreduce"
	"github.com/layshaft/layshaft/report"
)

// TestFormats writes the same rows in every format.
func TestFormats(t *testing.T) {
	files(t, map[string]string{"p.jsonl": products})
	want := map[string]string{
		"csv":      "brand,n\nAcme,2\nBolt,1\n",
		"tsv":      "brand\tn\nAcme\t2\nBolt\t1\n",
		"table":    "brand │ n\n──────┼──\nAcme  │ 2\nBolt  │ 1\n(2 rows)\n",
		"json":     "[\n{\"brand\": \"Acme\", \"n\": 2},\n{\"brand\": \"Bolt\", \"n\": 1}\n]\n",
		"jsonl":    "{\"brand\": \"Acme\", \"n\": 2}\n{\"brand\": \"Bolt\", \"n\": 1}\n",
		"markdown": "| brand | n |\n| --- | ---: |\n| Acme | 2 |\n| Bolt | 1 |\n",
	}
	const text = "SELECT brand, count(*) AS n FROM p.jsonl WHERE brand IS NOT NULL GROUP BY brand ORDER BY n DESC"
	write := func(format string, o report.WriteOptions) (string, error) {
		rows, err := report.Query(t.Context(), mapreduce.Local{}, text)
		if err != nil {
			t.Fatal(err)
		}
		var out strings.Builder
		err = rows.Write(&out, format, o)
		return out.String(), err
	}
	for _, format := range report.Formats() {
		got, err := write(format, report.WriteOptions{})
		if err != nil {
			t.Errorf("%s: %v", format, err)
		}
		if format == "html" {
			for _, part := range []string{"<h1>SELECT brand", "<td>Acme", "<svg", "n by brand", "<footer>2 rows"} {
				if !strings.Contains(got, part) {
					t.Errorf("the page has no %q", part)
				}
			}
			continue
		}
		if format == "parquet" {
			if err := os.WriteFile("out", []byte(got), 0o644); err != nil {
				t.Fatal(err)
			}
			if rows, err := answer(t, mapreduce.Local{}, "SELECT brand, n, typeof(n) FROM out"); err != nil || rows != "Acme,2,bigint\nBolt,1,bigint\n" {
				t.Errorf("parquet: %q, %v", rows, err)
			}
			continue
		}
		if got != want[format] {
			t.Errorf("%s: %q, want %q", format, got, want[format])
		}
	}
	if _, err := write("xls", report.WriteOptions{}); err == nil || !strings.Contains(err.Error(), `unknown format "xls"`) {
		t.Errorf("format xls: %v", err)
	}
	if got, err := write("csv", report.WriteOptions{MaxRows: 1}); err == nil || got != "" {
		t.Errorf("one row of two: %q, %v", got, err)
	}
}
