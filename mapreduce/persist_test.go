package mapreduce_test

import (
	"context"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/layshaft/layshaft/mapreduce"
	"github.com/layshaft/layshaft/mapreduce/agg"
	"github.com/layshaft/layshaft/mapreduce/csvio"
	"github.com/layshaft/layshaft/mapreduce/memio"
	"github.com/layshaft/layshaft/mapreduce/textio"
)

// mapped counts the calls of the steps before Persist in tests.
var mapped atomic.Int64

type persistParams struct {
	Dir    string
	Suffix string
}

// shouts keeps the lines of each file.
var shouts = mapreduce.Define("shouts", func(p *mapreduce.Plan, in persistParams) mapreduce.Dataset[string] {
	lines := mapreduce.Map(mapreduce.Read(p, textio.Lines(in.Dir)), func(l string) string {
		mapped.Add(1)
		return strings.ToUpper(l) + in.Suffix
	})
	kept := mapreduce.Persist(lines.Filter(func(l string) bool { return !strings.HasPrefix(l, "-") }))
	return mapreduce.Sort(kept)
})

// shoutCounts keeps counts over all files.
var shoutCounts = mapreduce.Define("shout-counts", func(p *mapreduce.Plan, in persistParams) mapreduce.Dataset[mapreduce.KV[string, int64]] {
	counts := mapreduce.AggregateBy(mapreduce.Read(p, textio.Lines(in.Dir)), func(l string) string {
		mapped.Add(1)
		return strings.ToUpper(l) + in.Suffix
	}, agg.Count[string]())
	return mapreduce.SortBy(mapreduce.Persist(counts), func(kv mapreduce.KV[string, int64]) string { return kv.Key })
})

func writeFile(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// TestPersist runs a plan again and again on one State, while files, parameters and the program
// change, and counts the records that the steps before Persist read.
func TestPersist(t *testing.T) {
	dir, in := t.TempDir(), t.TempDir()
	local := mapreduce.Local{State: dir, Slots: 2, Memory: 16 << 20, Reporting: mapreduce.Reporting{Err: io.Discard}}
	params := persistParams{Dir: in}
	run := func(step string, calls int64, want ...string) {
		t.Helper()
		mapped.Store(0)
		got, err := shouts.Collect(t.Context(), local, params)
		if err != nil || !slices.Equal(got, want) || mapped.Load() != calls {
			t.Errorf("%s: %q after %d calls, want %q after %d; %v", step, got, mapped.Load(), want, calls, err)
		}
	}
	a, b := filepath.Join(in, "a.txt"), filepath.Join(in, "b.txt")
	writeFile(t, a, "one\n-\ntwo\n")
	writeFile(t, b, "three\n")
	writeFile(t, filepath.Join(in, "none.txt"), "-\n")
	run("first", 5, "ONE", "THREE", "TWO")
	run("again", 0, "ONE", "THREE", "TWO")

	was, err := os.Stat(b)
	if err != nil {
		t.Fatal(err)
	}
	writeFile(t, b, "threw\n")
	if err := os.Chtimes(b, was.ModTime(), was.ModTime()); err != nil {
		t.Fatal(err)
	}
	run("one byte, with the size and time of before", 1, "ONE", "THREW", "TWO")
	if err := os.Chtimes(a, time.Now(), time.Now().Add(time.Hour)); err != nil {
		t.Fatal(err)
	}
	run("another time alone", 0, "ONE", "THREW", "TWO")
	writeFile(t, filepath.Join(in, "c.txt"), "four\n")
	run("a new file", 1, "FOUR", "ONE", "THREW", "TWO")
	if err := os.Remove(a); err != nil {
		t.Fatal(err)
	}
	run("a file less", 0, "FOUR", "THREW")
	params.Suffix = "!"
	run("another parameter", 3, "FOUR!", "THREW!")
	params.Suffix = ""
	run("the parameter of before", 0, "FOUR", "THREW")
	restore := mapreduce.SetProgram("another")
	run("another program", 3, "FOUR", "THREW")
	restore()
	run("the program of before", 0, "FOUR", "THREW")
	local.State = ""
	run("without State", 3, "FOUR", "THREW")
	local.State = dir

	// damage
	err = filepath.WalkDir(filepath.Join(dir, "persist"), func(path string, d fs.DirEntry, err error) error {
		if err != nil || filepath.Ext(path) != ".kept" {
			return err
		}
		b, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		b[len(b)-1] ^= 1
		return os.WriteFile(path, b, 0o600)
	})
	if err != nil {
		t.Fatal(err)
	}
	writeFile(t, filepath.Join(in, "d.txt"), "five\n")
	run("damaged records are made again", 3, "FIVE", "FOUR", "THREW")
	run("and kept", 0, "FIVE", "FOUR", "THREW")
}

// TestPersistRelative names a directory by a relative path.
func TestPersistRelative(t *testing.T) {
	t.Chdir(t.TempDir())
	if err := os.Mkdir("in", 0o700); err != nil {
		t.Fatal(err)
	}
	local := mapreduce.Local{State: "state", Slots: 2, Memory: 16 << 20, Reporting: mapreduce.Reporting{Err: io.Discard}}
	for n, calls := range []int64{1, 1, 0} {
		if n < 2 {
			writeFile(t, filepath.Join("in", fmt.Sprint(n)), "x\n")
		}
		mapped.Store(0)
		if _, err := shouts.Collect(t.Context(), local, persistParams{Dir: "in"}); err != nil || mapped.Load() != calls {
			t.Errorf("run %d: %d calls, want %d; %v", n, mapped.Load(), calls, err)
		}
	}
}

type persistRow struct {
	Name string `csv:"name"`
}

// TestPersistCSV has nothing to read in a later run, or empty files alone.
func TestPersistCSV(t *testing.T) {
	names := mapreduce.Define("names", func(p *mapreduce.Plan, in string) mapreduce.Dataset[string] {
		rows := mapreduce.Map(mapreduce.Read(p, csvio.Rows[persistRow](in)), func(r persistRow) string { return r.Name })
		return mapreduce.Sort(mapreduce.Persist(rows))
	})
	dir, in := t.TempDir(), t.TempDir()
	local := mapreduce.Local{State: dir, Slots: 2, Memory: 16 << 20, Reporting: mapreduce.Reporting{Err: io.Discard}}
	writeFile(t, filepath.Join(in, "a.csv"), "name\nann\n")
	writeFile(t, filepath.Join(in, "b.csv"), "name\nbob\n")
	for _, step := range []struct {
		change func() error
		want   []string
	}{
		{nil, []string{"ann", "bob"}},
		{func() error { return os.Remove(filepath.Join(in, "b.csv")) }, []string{"ann"}},
		{func() error { return os.WriteFile(filepath.Join(in, "c.csv"), nil, 0o600) }, []string{"ann"}},
	} {
		if step.change != nil {
			if err := step.change(); err != nil {
				t.Fatal(err)
			}
		}
		if got, err := names.Collect(t.Context(), local, in); err != nil || !slices.Equal(got, step.want) {
			t.Errorf("%q, %v; want %q", got, err, step.want)
		}
	}
}

// TestPersistMapTask has a step whose records come from several files.
func TestPersistMapTask(t *testing.T) {
	joined := mapreduce.Define("joined", func(p *mapreduce.Plan, in string) mapreduce.Dataset[string] {
		d := mapreduce.MapTask(mapreduce.Read(p, textio.Lines(in)), func(_ context.Context, _ mapreduce.Task, emit func(string)) (func(string) error, func() error) {
			var all []string
			return func(l string) error { all = append(all, l); return nil }, func() error {
				for _, l := range all {
					emit(l)
				}
				return nil
			}
		})
		return mapreduce.Sort(mapreduce.Persist(d))
	})
	dir, in := t.TempDir(), t.TempDir()
	local := mapreduce.Local{State: dir, Slots: 1, Memory: 16 << 20, Reporting: mapreduce.Reporting{Err: io.Discard}}
	writeFile(t, filepath.Join(in, "b.txt"), "b1\n")
	for _, a := range []string{"a1", "a2"} {
		writeFile(t, filepath.Join(in, "a.txt"), a+"\n")
		if got, err := joined.Collect(t.Context(), local, in); err != nil || !slices.Equal(got, []string{a, "b1"}) {
			t.Errorf("%q, %v; want %s and b1", got, err, a)
		}
	}
}

// TestPersistInLoop runs a plan several times in one process, with a variable behind Persist.
func TestPersistInLoop(t *testing.T) {
	round := 0
	loop := mapreduce.Define("loop", func(p *mapreduce.Plan, in string) mapreduce.Dataset[int] {
		kept := mapreduce.Persist(mapreduce.Read(p, textio.Lines(in)))
		return mapreduce.Map(kept, func(string) int { return round })
	})
	dir, in := t.TempDir(), t.TempDir()
	writeFile(t, filepath.Join(in, "a.txt"), "a\n")
	for round = 1; round <= 4; round++ {
		got, err := loop.Collect(t.Context(), mapreduce.Local{State: dir, Reporting: mapreduce.Reporting{Err: io.Discard}}, in)
		if err != nil || !slices.Equal(got, []int{round}) {
			t.Errorf("round %d: %v, %v", round, got, err)
		}
	}
}

// TestPersistUnknownInput has a source of which nothing tells whether it has changed.
func TestPersistUnknownInput(t *testing.T) {
	n := 0
	counted := mapreduce.Define("counted", func(p *mapreduce.Plan, _ mapreduce.None) mapreduce.Dataset[int] {
		return mapreduce.Persist(mapreduce.Read(p, memio.Seq(func() iter.Seq[int] { return slices.Values([]int{n}) })))
	})
	dir := t.TempDir()
	for n = 1; n <= 3; n++ {
		got, err := counted.Collect(t.Context(), mapreduce.Local{State: dir, Reporting: mapreduce.Reporting{Err: io.Discard}}, mapreduce.None{})
		if err != nil || !slices.Equal(got, []int{n}) {
			t.Errorf("%v, %v; want %d", got, err, n)
		}
	}
}

// TestPersistChanging changes a file after its content was read to name it, and back afterwards.
func TestPersistChanging(t *testing.T) {
	dir, in := t.TempDir(), t.TempDir()
	path := filepath.Join(in, "a.txt")
	writeFile(t, path, "old\n")
	change := false
	def := mapreduce.Define("changing", func(p *mapreduce.Plan, in string) mapreduce.Dataset[string] {
		return mapreduce.Persist(mapreduce.Map(mapreduce.Read(p, textio.Lines(in)), func(l string) string {
			if change {
				writeFile(t, path, "newer\n")
				return "made while it changed"
			}
			return l
		}))
	})
	local := mapreduce.Local{State: dir, Reporting: mapreduce.Reporting{Err: io.Discard}}
	change = true
	_, _ = def.Collect(t.Context(), local, in) // it may fail
	change = false
	writeFile(t, path, "old\n")
	if got, err := def.Collect(t.Context(), local, in); err != nil || !slices.Equal(got, []string{"old"}) {
		t.Errorf("%q, %v", got, err)
	}
}

// TestPersistCode has two plans that differ in one line.
func TestPersistCode(t *testing.T) {
	dir, in := t.TempDir(), t.TempDir()
	writeFile(t, filepath.Join(in, "a.txt"), "one\n")
	local := mapreduce.Local{State: dir, Slots: 1, Memory: 8 << 20, Reporting: mapreduce.Reporting{Err: io.Discard}}
	build := func(second bool) *mapreduce.Definition[string, string] {
		return mapreduce.Define("code", func(p *mapreduce.Plan, in string) mapreduce.Dataset[string] {
			d := mapreduce.Read(p, textio.Lines(in))
			if second {
				d = mapreduce.Map(d, strings.ToLower)
			} else {
				d = mapreduce.Map(d, strings.ToUpper)
			}
			return mapreduce.Persist(d)
		})
	}
	for i, want := range []string{"ONE", "one"} {
		got, err := build(i == 1).Collect(t.Context(), local, in)
		if err != nil || !slices.Equal(got, []string{want}) {
			t.Errorf("%q, %v, want %q", got, err, want)
		}
	}
}

// TestPersistWhole keeps the result of a shuffle.
func TestPersistWhole(t *testing.T) {
	dir, in := t.TempDir(), t.TempDir()
	local := mapreduce.Local{State: dir, Slots: 2, Memory: 16 << 20, Reporting: mapreduce.Reporting{Err: io.Discard}}
	rng := rand.New(rand.NewPCG(1, 0))
	for n, calls := range []int64{400, 0, 500, 0} {
		want := map[string]int64{}
		if n%2 == 0 {
			for i := range 4 + n/2 {
				var text strings.Builder
				for range 100 {
					fmt.Fprintf(&text, "w%d\n", rng.IntN(2000))
				}
				writeFile(t, filepath.Join(in, fmt.Sprint(i, ".txt")), text.String())
			}
		}
		files, err := filepath.Glob(filepath.Join(in, "*"))
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range files {
			b, err := os.ReadFile(f)
			if err != nil {
				t.Fatal(err)
			}
			for _, l := range strings.Fields(string(b)) {
				want[strings.ToUpper(l)]++
			}
		}
		mapped.Store(0)
		got, err := shoutCounts.Collect(t.Context(), local, persistParams{Dir: in})
		if err != nil || len(got) != len(want) || mapped.Load() != calls {
			t.Errorf("run %d: %d keys after %d calls, want %d after %d; %v", n, len(got), mapped.Load(), len(want), calls, err)
		}
		for _, kv := range got {
			if want[kv.Key] != kv.Value {
				t.Errorf("run %d: %s: %d, want %d", n, kv.Key, kv.Value, want[kv.Key])
			}
		}
	}
}

// TestPersistExplained checks what -explain prints.
func TestPersistExplained(t *testing.T) {
	dir, in := t.TempDir(), t.TempDir()
	writeFile(t, filepath.Join(in, "a.txt"), "one\n")
	writeFile(t, filepath.Join(in, "b.txt"), "two\n")
	ctx := context.Background()
	explained := func(def *mapreduce.Definition[persistParams, string], state string) string {
		t.Helper()
		var out strings.Builder
		_, err := def.Collect(ctx, mapreduce.Local{State: state, Reporting: mapreduce.Reporting{Explain: true, Out: &out, Err: io.Discard}}, persistParams{Dir: in})
		if err != nil {
			t.Fatal(err)
		}
		_, text, _ := strings.Cut(out.String(), "\nPersist at ")
		_, text, _ = strings.Cut(text, ": ")
		return strings.TrimSpace(text)
	}
	check := func(got, want string) {
		t.Helper()
		if !strings.HasPrefix(got, want) {
			t.Errorf("%q, want %q", got, want)
		}
	}
	check(explained(shouts, ""), "nothing is kept or used: there is no -state")
	check(explained(shouts, dir), "the records of 0 files come from earlier runs; 2 files to read")
	if _, err := shouts.Collect(ctx, mapreduce.Local{State: dir, Reporting: mapreduce.Reporting{Err: io.Discard}}, persistParams{Dir: in}); err != nil {
		t.Fatal(err)
	}
	writeFile(t, filepath.Join(in, "c.txt"), "three\n")
	check(explained(shouts, dir), "the records of 2 files come from earlier runs; 1 file to read")
	shared := mapreduce.Define("shared", func(p *mapreduce.Plan, in persistParams) mapreduce.Dataset[string] {
		d := mapreduce.Read(p, textio.Lines(in.Dir))
		return mapreduce.Union(mapreduce.Persist(d), d)
	})
	check(explained(shared, dir), "nothing is kept or used: read at persist_test.go")
	bad := mapreduce.Define("bad", func(p *mapreduce.Plan, in persistParams) mapreduce.Dataset[string] {
		return mapreduce.Persist(mapreduce.Read(p, textio.Lines(in.Dir)))
	}, mapreduce.MaxBad(3))
	check(explained(bad, dir), "nothing is kept or used: the plan sets bad records aside")
}
