package mapreduce_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/layshaft/layshaft/mapreduce"
	"github.com/layshaft/layshaft/mapreduce/memio"
)

// A run writes its page and its trace, with every attempt.
func TestReportAndTrace(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	page, trace := filepath.Join(dir, "run.html"), filepath.Join(dir, "run.json")
	plan := mapreduce.Define("lengths", func(p *mapreduce.Plan, words []string) mapreduce.Dataset[mapreduce.KV[int, int64]] {
		return mapreduce.CountBy(mapreduce.Read(p, memio.Slice(words)), func(w string) int { return len(w) })
	})
	target := mapreduce.Local{Reporting: mapreduce.Reporting{Report: page, Trace: trace}}
	for _, err := range plan.Run(t.Context(), target, []string{"a", "bb", "cc"}) {
		if err != nil {
			t.Fatal(err)
		}
	}
	b, err := os.ReadFile(page)
	if err != nil || !strings.Contains(string(b), "_test.go:") || !strings.Contains(string(b), "data-gz") {
		t.Errorf("report of %d bytes: %v", len(b), err)
	}
	b, err = os.ReadFile(trace)
	var events struct{ TraceEvents []map[string]any }
	if err != nil || json.Unmarshal(b, &events) != nil || len(events.TraceEvents) < 4 {
		t.Errorf("trace of %d bytes: %v", len(b), err)
	}
}
