package layshafttest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/layshaft/layshaft/mapreduce"
	"github.com/layshaft/layshaft/mapreduce/textio"
)

// TestRequeue checks that a run with -requeue on a cluster reads only the records in the quarantine
// file, and gives the output of a whole run. A run inside one process can do it, too.
func TestRequeue(t *testing.T) {
	for _, embedded := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) { testRequeue(t, embedded) })
	}
}

func testRequeue(t *testing.T, embedded bool) {
	dir := t.TempDir()
	in, out := filepath.Join(dir, "in"), filepath.Join(dir, "out")
	want := []string{}
	for i := range 3 {
		var text string
		for n := range 40 {
			word := "fine"
			if n%16 == 5 && i > 0 {
				word = "ugly"
			}
			text += fmt.Sprintf("%s %d %d\n", word, i, n)
			want = append(want, fmt.Sprintf("%s %d %d!", word, i, n))
		}
		if err := os.MkdirAll(in, 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(in, fmt.Sprint(i)), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	slices.Sort(want)
	fixed := false
	d := mapreduce.Define("requeue", func(p *mapreduce.Plan, path string) mapreduce.Dataset[mapreduce.None] {
		mapreduce.TryMap(mapreduce.Read(p, textio.Lines(path)), func(_ context.Context, s string) (string, error) {
			if strings.HasPrefix(s, "ugly") && !fixed {
				return "", mapreduce.Skip(errors.New("an ugly line"))
			}
			return s + "!", nil
		}).WriteTo(textio.Write(out))
		return mapreduce.Nothing(p)
	}, mapreduce.MaxBad(100))
	cl := Start(t, 2)
	target := cl.Target()
	var printed bytes.Buffer
	target.Err = &printed
	if _, err := d.Collect(t.Context(), target, in); err != nil {
		t.Fatal(err)
	}
	lines := func() (all []string) {
		files, _ := filepath.Glob(filepath.Join(out, "part-*"))
		for _, f := range files {
			text, err := os.ReadFile(f)
			if err != nil {
				t.Fatal(err)
			}
			all = append(all, strings.Fields(strings.ReplaceAll(string(text), " ", "_"))...)
		}
		for i := range all {
			all[i] = strings.ReplaceAll(all[i], "_", " ")
		}
		slices.Sort(all)
		return all
	}
	if n := len(lines()); n != 114 {
		t.Fatalf("%d lines, want 114", n)
	}
	fixed = true
	requeue := target.Quarantine
	target.Requeue = requeue
	var local mapreduce.Target = target
	if embedded {
		local = mapreduce.Local{Slots: 2, Memory: 64 << 20, Reporting: target.Reporting}
	}
	if _, err := d.Collect(t.Context(), local, in); err != nil {
		t.Fatal(err)
	}
	if got := lines(); !slices.Equal(got, want) {
		t.Errorf("%d lines, want %d: %s\n%s", len(got), len(want), got, printed.String())
	}
	if text, err := os.ReadFile(requeue); err != nil || len(text) > 0 {
		t.Errorf("left %s, %v", text, err)
	}
	if !strings.Contains(printed.String(), "6 records of ") {
		t.Errorf("printed %s", printed.String())
	}
}
