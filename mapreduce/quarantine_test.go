package mapreduce_test

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/layshaft/layshaft/mapreduce"
	"github.com/layshaft/layshaft/mapreduce/textio"
)

// TestQuarantineOfFailedRun checks that a run that fails keeps its bad records, and where.
func TestQuarantineOfFailedRun(t *testing.T) {
	dir := t.TempDir()
	t.Chdir(dir)
	t.Setenv("XDG_CACHE_HOME", filepath.Join(dir, "cache"))
	for _, c := range []struct {
		name        string
		sink, fails bool
		max         int64
		state, want string // glob of the file
		records     int
	}{
		{"too many", true, false, 2, "", "out/d-quarantine.jsonl", 3},
		{"another failure", true, true, 9, "", "out/d-quarantine.jsonl", 5},
		{"done", true, false, 9, "", "out/d-quarantine.jsonl", 5},
		{"with state", false, false, 2, "state", "state/outcome-quarantine.jsonl", 3},
		{"nowhere else", false, false, 2, "", "cache/layshaft/quarantine/outcome-*.jsonl", 3},
	} {
		var said bytes.Buffer
		j := start(t, t.Context(), mapreduce.Local{Slots: 1, State: c.state, Reporting: mapreduce.Reporting{Err: &said}}, func(p *mapreduce.Plan) mapreduce.Dataset[string] {
			d := mapreduce.TryMap(mapreduce.Read(p, upTo(100).Cut(1)), func(_ context.Context, i int64) (string, error) {
				if c.fails && i == 99 {
					return "", mapreduce.Fatal(errors.New("boom"))
				}
				if i%20 == 7 {
					return "", mapreduce.Skip(errors.New("ugly"))
				}
				return "x", nil
			})
			if c.sink {
				d.WriteTo(textio.Write("out/d"))
			}
			return d
		}, mapreduce.MaxBad(c.max))
		err := j.Wait()
		if (err == nil) != (c.name == "done") {
			t.Errorf("%s: %v", c.name, err)
		}
		files, _ := filepath.Glob(c.want)
		if len(files) != 1 {
			t.Fatalf("%s: %d files %s; %s", c.name, len(files), c.want, said.String())
		}
		b, err := os.ReadFile(files[0])
		if n := bytes.Count(b, []byte("\n")); err != nil || n != c.records || !bytes.Contains(b, []byte(`"error":"ugly"`)) {
			t.Errorf("%s: %s holds %d records, want %d: %s", c.name, files[0], n, c.records, b)
		}
		if c.name != "done" && !strings.Contains(said.String(), "of the failed run in ") {
			t.Errorf("%s: printed %s", c.name, said.String())
		}
		if err := os.Remove(files[0]); err != nil {
			t.Error(err)
		}
	}
	if here, _ := filepath.Glob("*.jsonl"); len(here) > 0 {
		t.Errorf("files in the working directory: %v", here)
	}
}

// Jobs of one process that name the same quarantine file keep their records apart. The same job
// replaces its own file.
func TestQuarantinesOfSeveralJobs(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "bad.jsonl")
	plan := mapreduce.Define("quarantines", func(p *mapreduce.Plan, n int) mapreduce.Dataset[int64] {
		return mapreduce.TryMap(mapreduce.Read(p, upTo(int64(n))), func(context.Context, int64) (int64, error) {
			return 0, mapreduce.Skip(errors.New("ugly"))
		})
	}, mapreduce.MaxBad(10))
	for _, c := range []struct {
		n    int
		file string
	}{{1, "bad.jsonl"}, {2, "bad-2.jsonl"}, {3, "bad-3.jsonl"}, {2, "bad-2.jsonl"}} {
		var out bytes.Buffer
		if _, err := plan.Collect(t.Context(), mapreduce.Local{Reporting: mapreduce.Reporting{Quarantine: file, Err: &out}}, c.n); err != nil {
			t.Fatal(err)
		}
		b, err := os.ReadFile(filepath.Join(dir, c.file))
		if n := bytes.Count(b, []byte("\n")); err != nil || n != c.n || !strings.Contains(out.String(), "set aside in "+filepath.Join(dir, c.file)) {
			t.Errorf("%s has %d records, %v, want %d; printed %q", c.file, n, err, c.n, out.String())
		}
	}
	if files, _ := filepath.Glob(filepath.Join(dir, "*.jsonl")); len(files) != 3 {
		t.Errorf("files %v", files)
	}
}
