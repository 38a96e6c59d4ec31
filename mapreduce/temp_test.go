package mapreduce

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/layshaft/layshaft/internal/state"
)

// TestTempOfKilledRuns checks that a run removes the directories of dead runs, and no others.
func TestTempOfKilledRuns(t *testing.T) {
	if !state.Locks {
		t.Skip("this system has no locks by which dead runs could be told from live ones")
	}
	t.Setenv("TMPDIR", t.TempDir())
	live, release, err := makeTemp()
	if err != nil {
		t.Fatal(err)
	}
	dead, releaseDead, err := makeTemp()
	if err != nil {
		t.Fatal(err)
	}
	if err := releaseDead(); err != nil { // the death of the process does the same
		t.Fatal(err)
	}
	foreign := filepath.Join(os.Getenv("TMPDIR"), tempPrefix+"not-locked-yet")
	if err := os.Mkdir(foreign, 0o700); err != nil {
		t.Fatal(err)
	}
	mine, releaseMine, err := makeTemp()
	if err != nil {
		t.Fatal(err)
	}
	for dir, want := range map[string]bool{live: true, dead: false, foreign: true, mine: true} {
		if _, err := os.Stat(dir); (err == nil) != want {
			t.Errorf("%s: %v, want it there: %v", dir, err, want)
		}
	}
	for _, release := range []func() error{release, releaseMine} {
		if err := release(); err != nil {
			t.Error(err)
		}
	}
}
