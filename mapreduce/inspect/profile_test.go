package inspect_test

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/pprof/profile"

	"github.com/layshaft/layshaft/mapreduce"
	"github.com/layshaft/layshaft/mapreduce/memio"
)

// burn uses the processor until the profiler has surely seen it.
func burn(n int) (x int) {
	for end := time.Now().Add(300 * time.Millisecond); time.Now().Before(end); {
		for i := range 10_000 {
			x += i * n
		}
	}
	return x
}

// A profiled run writes a profile for each stage, with labels, and draws them. Not parallel: a
// process has one CPU profile at a time.
func TestProfile(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "profile")
	plan := mapreduce.Define("burn", func(p *mapreduce.Plan, words []string) mapreduce.Dataset[mapreduce.KV[int, int64]] {
		burnt := mapreduce.TryMap(mapreduce.Read(p, memio.Slice(words)), func(_ context.Context, w string) (int, error) { return burn(len(w)), nil })
		return mapreduce.CountBy(burnt, func(n int) int { return n & 1 })
	})
	for _, err := range plan.Run(t.Context(), mapreduce.Local{Profile: dir}, []string{"a", "bb"}) {
		if err != nil {
			t.Fatal(err)
		}
	}
	b, err := os.ReadFile(filepath.Join(dir, "stage-0.pprof"))
	if err != nil {
		t.Fatal(err)
	}
	p, err := profile.ParseData(b)
	if err != nil {
		t.Fatal(err)
	}
	seen := false
	for _, s := range p.Sample {
		if s.Label["stage"][0] != "0" || s.Label["task"][0] != "0/0" || !strings.HasPrefix(s.Label["job"][0], "burn-") || s.Label["attempt"][0] != "0/0#1" {
			t.Fatalf("labels %v", s.Label)
		}
		for _, l := range s.Location {
			seen = seen || strings.HasSuffix(l.Line[0].Function.Name, "inspect_test.burn")
		}
	}
	if !seen {
		t.Error("the function of user code is not in the profile of its stage")
	}
	page, err := os.ReadFile(filepath.Join(dir, "flame.html"))
	if err != nil || !strings.Contains(string(page), "inspect_test.burn") || strings.Contains(string(page), "<script") {
		t.Errorf("flame graphs of %d bytes: %v", len(page), err)
	}
	for _, name := range []string{"cpu.pprof", "heap.pprof"} {
		b, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := profile.ParseData(b); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// Without a directory for it, a profile that cannot be written fails the run before it begins.
func TestProfileNowhere(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	plan := mapreduce.Define("nothing-burns", func(p *mapreduce.Plan, words []string) mapreduce.Dataset[string] {
		return mapreduce.Read(p, memio.Slice(words))
	})
	for _, err := range plan.Run(t.Context(), mapreduce.Local{Profile: filepath.Join(file, "dir")}, []string{"a"}) {
		if err == nil || !strings.Contains(err.Error(), "profile") {
			t.Fatalf("%v, want an error about the profile", err)
		}
	}
}
