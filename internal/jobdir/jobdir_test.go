package jobdir

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/layshaft/layshaft/internal/state"
)

// ids returns the IDs of jobs, sorted.
func ids(all []Entry) string {
	var out []string
	for i := range all {
		out = append(out, all[i].ID)
	}
	slices.Sort(out)
	return strings.Join(out, " ")
}

// TestJobs checks listing, locks, dropping, and what Retain removes.
func TestJobs(t *testing.T) {
	root := t.TempDir()
	add := func(id, outcome string, age time.Duration, bytes int) {
		t.Helper()
		d, err := Open(root, Info{ID: id, Name: "n", Started: time.Now().Add(-age)})
		if err != nil {
			t.Fatal(err)
		}
		if err := os.MkdirAll(filepath.Join(d.Path, "worker-1"), 0o700); err != nil {
			t.Fatal(err)
		}
		for _, name := range []string{"worker-1/data", "worker-1/ballast"} {
			if err := os.WriteFile(filepath.Join(d.Path, name), make([]byte, bytes), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		if err := d.Close(outcome); err != nil {
			t.Fatal(err)
		}
		if outcome != Unfinished { // Close notes the present time
			d.info.Ended = d.info.Started
			if err := d.write(); err != nil {
				t.Fatal(err)
			}
		}
	}
	add("old", Done, 48*time.Hour, 10)
	add("old-open", Unfinished, 48*time.Hour, 10)
	add("a", Done, 3*time.Hour, 100_000)
	add("b", Failed, 2*time.Hour, 100_000)
	add("c", Unfinished, 4*time.Hour, 100_000)
	add("d", Done, time.Hour, 100_000)
	if err := os.WriteFile(filepath.Join(root, "quarantine.jsonl"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	used, err := Open(root, Info{ID: "used", Started: time.Now().Add(-100 * time.Hour)})
	if err != nil {
		t.Fatal(err)
	}
	defer used.Close(Done)
	if _, err := Open(root, Info{ID: "used"}); !errors.Is(err, state.ErrLocked) {
		t.Errorf("a second Open: %v", err)
	}
	if err := Drop(root, "used"); !errors.Is(err, state.ErrLocked) {
		t.Errorf("Drop of a job in use: %v", err)
	}
	for _, id := range []string{"none", "../" + filepath.Base(root) + "/a", ".", ""} {
		if err := Drop(root, id); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("Drop(%q): %v", id, err)
		}
	}
	for _, step := range []struct {
		age  time.Duration
		size int64
		want string
	}{
		{0, 0, ""},
		{24 * time.Hour, 0, "old old-open"},
		{24 * time.Hour, 450_000, "a"},
		{24 * time.Hour, 350_000, "b"}, // d is kept
		{time.Minute, 0, "c"},
	} {
		dropped, err := Retain(root, "d", step.age, step.size)
		if err != nil || ids(dropped) != step.want {
			t.Errorf("Retain(%v, %d) dropped %q, want %q; %v", step.age, step.size, ids(dropped), step.want, err)
		}
	}
	all, err := List(root)
	if err != nil || ids(all) != "d used" || !all[1].InUse || all[0].InUse || all[0].Outcome != Done {
		t.Errorf("left: %+v, %v", all, err)
	}
}
