package jsonio_test

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/layshaft/layshaft/mapreduce"
	"github.com/layshaft/layshaft/mapreduce/jsonio"
)

type misspelt struct {
	SKU  string  `json:"sku"`
	Mass float64 `json:"mss"`
	Note string  `json:"nte,omitempty"`
	Rare int64   `json:"rare"`
}

var misspeltPlan = mapreduce.Define("misspelt", func(p *mapreduce.Plan, glob string) mapreduce.Dataset[misspelt] {
	return mapreduce.Read(p, jsonio.Rows[misspelt](glob))
})

// A field that no record of the whole input has is printed at the end of the run, a field that one
// file has is not.
func TestAbsentFieldsArePrinted(t *testing.T) {
	dir := t.TempDir()
	for name, text := range map[string]string{"a.jsonl": `{"sku":"a","mass":1.5,"price":2}`, "b.jsonl": `{"sku":"b","mass":2.5,"rare":1}`} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text+"\n"), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	var said bytes.Buffer
	rows, err := misspeltPlan.Collect(t.Context(), mapreduce.Local{Slots: 2, Reporting: mapreduce.Reporting{Err: &said}}, filepath.Join(dir, "*.jsonl"))
	if err != nil || len(rows) != 2 {
		t.Fatal(rows, err)
	}
	if got := said.String(); strings.Count(got, "\n") != 1 || !strings.Contains(got, "no record has the field mss (float64), so it is zero everywhere; the nearest key is mass;") {
		t.Errorf("printed %q, want one line about mss", got)
	}
}
