package report_test

import (
	"io"
	"os"
	"path/filepath"
	"testing"

	"github.com/layshaft/layshaft/mapreduce"
	"github.com/layshaft/layshaft/report"
)

// BenchmarkSmall measures the fixed costs of a statement.
func BenchmarkSmall(b *testing.B) {
	file := filepath.Join(b.TempDir(), "p.jsonl")
	if err := os.WriteFile(file, []byte(products), 0o644); err != nil {
		b.Fatal(err)
	}
	for name, text := range map[string]string{
		"scan":  "SELECT sku FROM '" + file + "' LIMIT 1",
		"group": "SELECT brand, count(*) FROM '" + file + "' GROUP BY brand ORDER BY 1",
	} {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				rows, err := report.Query(b.Context(), mapreduce.Local{}, text)
				if err != nil {
					b.Fatal(err)
				}
				if err := rows.Write(io.Discard, "csv", report.WriteOptions{}); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
