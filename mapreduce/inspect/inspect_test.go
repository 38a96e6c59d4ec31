package inspect_test

import (
	"bytes"
	"encoding/json"
	"errors"
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

// Several runs of one program have files of their own, and the program prints their names.
func TestRunsHaveTheirOwnFiles(t *testing.T) {
	dir := t.TempDir()
	plan := mapreduce.Define("several", func(p *mapreduce.Plan, n int) mapreduce.Dataset[int] {
		return mapreduce.Read(p, memio.Of(n))
	})
	page, trace, profile := filepath.Join(dir, "run.html"), filepath.Join(dir, "run.json"), filepath.Join(dir, "profile")
	var out bytes.Buffer
	target := mapreduce.Local{Profile: profile, Reporting: mapreduce.Reporting{Report: page, Trace: trace, Err: &out, Progress: "none"}}
	for n := range 2 {
		if _, err := plan.Collect(t.Context(), target, n); err != nil {
			t.Fatal(err)
		}
	}
	j, err := plan.Start(t.Context(), target, 2)
	if err != nil {
		t.Fatal(err)
	}
	id := j.ID()
	if err := errors.Join(j.Wait(), j.Close()); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"run.html", "run.json", "profile/cpu.pprof", "run-2.html", "run-2.json", "profile-2/cpu.pprof", "run-3.html", "run-3.json", "profile-3/cpu.pprof"} {
		if _, err := os.Stat(filepath.Join(dir, name)); err != nil {
			t.Error(err)
		}
	}
	third, err := os.ReadFile(filepath.Join(dir, "run-3.html"))
	first, firstErr := os.ReadFile(page)
	if err != nil || firstErr != nil || !strings.Contains(string(third), id) || strings.Contains(string(first), id) {
		t.Errorf("the page of the third run, %s, has %d bytes, %v; the first has %d, %v", id, len(third), err, len(first), firstErr)
	}
	if want := "report " + page + " is of an earlier run of this program; this run gets " + filepath.Join(dir, "run-2.html"); !strings.Contains(out.String(), want) {
		t.Errorf("%q lacks %q", out.String(), want)
	}
}

// A place that cannot be written is refused before the run begins. A file behind a link is replaced,
// and the link remains.
func TestRunFilesAreCheckedFirst(t *testing.T) {
	dir := t.TempDir()
	t.Chdir(dir)
	plan := mapreduce.Define("places", func(p *mapreduce.Plan, _ struct{}) mapreduce.Dataset[int] {
		return mapreduce.Map(mapreduce.Read(p, memio.Of(1)), func(int) int { t.Error("a function was called"); return 0 })
	})
	for _, err := range []error{os.WriteFile("file", nil, 0o600), os.Mkdir("dir", 0o700), os.Symlink("missing", "dangling"), os.Symlink("file", "link")} {
		if err != nil {
			t.Fatal(err)
		}
	}
	for _, path := range []string{"file/x", "dir", "dangling", os.DevNull} {
		for _, r := range []mapreduce.Reporting{{Report: path}, {Trace: path}} {
			_, err := plan.Collect(t.Context(), mapreduce.Local{Reporting: r}, struct{}{})
			if err == nil || !strings.Contains(err.Error(), path) || !strings.Contains(err.Error(), "name") {
				t.Errorf("%+v: %v, want an error that names the file and the way out", r, err)
			}
		}
	}
	for _, path := range []string{"file/x", "file", "dangling", os.DevNull} {
		_, err := plan.Collect(t.Context(), mapreduce.Local{Profile: path}, struct{}{})
		if err == nil || !strings.Contains(err.Error(), "profile "+path+": ") || !strings.Contains(err.Error(), "name a directory") {
			t.Errorf("profile %s: %v, want an error that names the directory and the way out", path, err)
		}
	}
	one := mapreduce.Define("one", func(p *mapreduce.Plan, _ struct{}) mapreduce.Dataset[int] { return mapreduce.Read(p, memio.Of(1)) })
	if _, err := one.Collect(t.Context(), mapreduce.Local{Reporting: mapreduce.Reporting{Trace: "link"}}, struct{}{}); err != nil {
		t.Fatal(err)
	}
	link, err := os.Lstat("link")
	if b, readErr := os.ReadFile("file"); err != nil || readErr != nil || link.Mode().IsRegular() || len(b) == 0 {
		t.Errorf("link: %v, file: %d bytes, %v, %v", link.Mode(), len(b), err, readErr)
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
