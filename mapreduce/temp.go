package mapreduce

import (
	"fmt"
	"os"
	"path/filepath"

	"github.com/layshaft/layshaft/internal/state"
)

const tempPrefix = "layshaft-run-"

// makeTemp makes a directory for a run without State. It removes directories of killed runs.
func makeTemp() (dir string, release func() error, err error) {
	for range 3 {
		if dir, err = os.MkdirTemp("", tempPrefix); err != nil {
			break
		}
		// Another run may have locked and removed the directory in a sweep.
		if release, err = state.Lock(dir); err == nil {
			sweepTemp(filepath.Dir(dir))
			return dir, release, nil
		}
		_ = os.RemoveAll(dir)
	}
	return "", nil, fmt.Errorf("temporary directory: %w; set TMPDIR or -state to a place that can be written", err)
}

// sweepTemp removes the directories of runs that no process has locked.
func sweepTemp(parent string) {
	if !state.Locks {
		return // nobody can find out which runs are alive
	}
	dirs, _ := filepath.Glob(filepath.Join(parent, tempPrefix+"*"))
	for _, dir := range dirs {
		if _, err := os.Stat(filepath.Join(dir, state.LockName)); err != nil {
			continue // not locked yet, or not readable for this user
		}
		release, err := state.Lock(dir)
		if err != nil { // the run is alive
			continue
		}
		_ = os.RemoveAll(dir)
		_ = release()
	}
}
