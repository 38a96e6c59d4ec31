package files

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// TestFinishRequeueKilled kills FinishRequeue at each step. What can be read is the output before or
// after it, and another call gives the output after it.
func TestFinishRequeueKilled(t *testing.T) {
	place := func(dir string) *Dir { return &Dir{Path: dir, Ext: "txt", NoSync: true} }
	ctx, before := context.Background(), t.TempDir()
	if err := place(before).Finish(ctx, "j1", run(t, place(before), "j1", "old0", "old1")); err != nil {
		t.Fatal(err)
	}
	whole := run(t, place(before), "j1", "old0", "old1")
	if err := place(before).Abandon(ctx, "j1"); err != nil {
		t.Fatal(err)
	}
	records := []string{"a", "b"}
	parts := run(t, place(before), "j2", "new0", "new1")
	for i := range parts { // a part without records is left out
		parts[i] = []byte(strings.Replace(string(parts[i]), `"records":0`, `"records":1`, 1))
	}
	content := func(dir string) (string, error) {
		fs, err := Expand(ctx, []string{dir})
		all := ""
		for _, f := range fs {
			data, err := os.ReadFile(f.Path)
			if err != nil {
				t.Fatal(err)
			}
			all += string(data) + " "
		}
		words := strings.Fields(all)
		slices.Sort(words)
		return strings.Join(words, " "), err
	}
	const after = "new0 new1 old0 old1"
	defer func() { step = func(string) {} }()
	for kill := 1; ; kill++ {
		dir, n, where := snapshot(t, before), 0, ""
		step = func(name string) {
			if n++; n == kill {
				where = name
				panic("killed")
			}
		}
		func() {
			defer func() { recover() }()
			if err := place(dir).FinishRequeue(ctx, "j2", parts, "j1", records); err != nil {
				t.Error(err)
			}
		}()
		step = func(string) {}
		if got, err := content(dir); err == nil && got != "old0 old1" && got != after {
			t.Errorf("killed at %s: what can be read is %s", where, got)
		}
		for range 2 {
			if err := place(dir).FinishRequeue(ctx, "j2", parts, "j1", records); err != nil {
				t.Errorf("killed at %s: %v", where, err)
			}
			if got, err := content(dir); err != nil || got != after {
				t.Errorf("killed at %s: %s, %v", where, got, err)
			}
		}
		if have, err := place(dir).Requeued(ctx, "j1"); err != nil || !slices.Equal(have, records) {
			t.Errorf("killed at %s: the output has the records %v, %v", where, have, err)
		}
		// The first job finds its output in place, with the records.
		if err := place(dir).Finish(ctx, "j1", whole); err != nil {
			t.Errorf("killed at %s: the first job: %v", where, err)
		}
		if got, err := content(dir); err != nil || got != after {
			t.Errorf("killed at %s: after the first job %s, %v", where, got, err)
		}
		if temp, _ := filepath.Glob(filepath.Join(dir, tempPrefix+"*")); len(temp) > 0 {
			t.Errorf("killed at %s: left %v", where, temp)
		}
		if where == "" {
			if kill < 4 {
				t.Errorf("FinishRequeue has only %d steps", kill-1)
			}
			return
		}
	}
}

// TestFinishRequeueRefused checks which records an output does not take.
func TestFinishRequeueRefused(t *testing.T) {
	ctx, d := context.Background(), &Dir{Path: t.TempDir(), Ext: "txt", NoSync: true}
	if _, err := d.Requeued(ctx, ""); err == nil || !strings.Contains(err.Error(), "no finished output") {
		t.Errorf("without an output: %v", err)
	}
	if err := d.Finish(ctx, "j1", run(t, d, "j1", "old")); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		of, want string
		records  []string
	}{
		{"j0", "contains the output of job j1", []string{"a"}},
		{"j1", "", []string{"a", "b"}},
		{"j1", "", []string{"b"}},
		{"", "contains 1 of the 2 records already", []string{"b", "c"}},
	} {
		err := d.FinishRequeue(ctx, "j2", nil, c.of, c.records)
		if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%v of %q: %v, want %q", c.records, c.of, err, c.want)
		}
	}
}
