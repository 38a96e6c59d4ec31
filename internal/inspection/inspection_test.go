package inspection_test

import (
	"strings"
	"testing"

	"github.com/layshaft/layshaft/internal/inspection"
	"github.com/layshaft/layshaft/mapreduce"
	"github.com/layshaft/layshaft/mapreduce/memio"
)

// A run that asks for what package inspect adds fails before it begins in a program without it, as
// this test is one, and the error names the import.
func TestProgramWithoutTools(t *testing.T) {
	t.Parallel()
	plan := mapreduce.Define("bare", func(p *mapreduce.Plan, words []string) mapreduce.Dataset[string] {
		return mapreduce.Map(mapreduce.Read(p, memio.Slice(words)), func(w string) string {
			t.Error("a task ran")
			return w
		})
	})
	for name, target := range map[string]mapreduce.Target{
		"web here:1":    mapreduce.Local{Web: "here:1"},
		"profile dir":   mapreduce.Local{Profile: "dir"},
		"report a.html": mapreduce.Local{Reporting: mapreduce.Reporting{Report: "a.html"}},
		"trace a.json":  mapreduce.Cluster{Address: "c:1", Reporting: mapreduce.Reporting{Trace: "a.json"}},
	} {
		_, err := plan.Collect(t.Context(), target, []string{"a"})
		if err == nil || !strings.Contains(err.Error(), name+": ") || !strings.Contains(err.Error(), `import _ "`+inspection.Package+`"`) {
			t.Errorf("%s: error %v, want one with the import", name, err)
		}
	}
}
