package inspect_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/layshaft/layshaft/mapreduce"
	_ "github.com/layshaft/layshaft/mapreduce/inspect"
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

// The page of a run with little memory says how much it spilled, for tables and for sorters; one
// with enough memory says nothing.
func TestReportOfSpill(t *testing.T) {
	t.Parallel()
	for name, plan := range map[string]*mapreduce.Definition[int64, mapreduce.KV[int64, int64]]{
		"table": mapreduce.Define("spill-table", func(p *mapreduce.Plan, n int64) mapreduce.Dataset[mapreduce.KV[int64, int64]] {
			return mapreduce.CountBy(mapreduce.Read(p, memio.Generate(n, func(i int64) int64 { return i })), func(i int64) int64 { return i })
		}),
		"sorter": mapreduce.Define("spill-sorter", func(p *mapreduce.Plan, n int64) mapreduce.Dataset[mapreduce.KV[int64, int64]] {
			pairs := mapreduce.Map(mapreduce.Read(p, memio.Generate(n, func(i int64) int64 { return i })), func(i int64) mapreduce.KV[int64, int64] { return mapreduce.KV[int64, int64]{Key: i, Value: i} })
			return mapreduce.SortBy(pairs, func(x mapreduce.KV[int64, int64]) int64 { return -x.Key })
		}),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for _, memory := range []int64{8 << 20, 512 << 20} {
				file := filepath.Join(t.TempDir(), "run.html")
				target := mapreduce.Local{Memory: memory, Slots: 1, Reporting: mapreduce.Reporting{Report: file}}
				for _, err := range plan.Run(t.Context(), target, 400_000) {
					if err != nil {
						t.Fatal(err)
					}
				}
				page, err := os.ReadFile(file)
				if got, want := strings.Contains(string(page), "spilled up to"), memory < 512<<20; err != nil || got != want {
					t.Errorf("with %d bytes of memory: spill is shown %v, want %v; %v", memory, got, want, err)
				}
			}
		})
	}
}
