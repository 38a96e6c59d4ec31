package mapreduce

import (
	"fmt"
	"os"
	"path/filepath"

	"github.com/layshaft/layshaft/internal/state"
)

const tempPrefix = "layshaft-run-"

// makeTemp makes a directory for a run without State. It removes those of runs that were killed before they could.
func makeTemp() (dir string, release func() error, err error) {
	for range 3 {
		if dir, err = os.MkdirTemp("", tempPrefix); err != nil {
			break
		}
		// Another run that sweeps may have had the lock for a moment, and the directory is gone then.
		if release, err = state.Lock(dir); err == nil {
			sweepTemp(filepath.Dir(dir))
			return dir, release, nil
		}
		_ = os.RemoveAll(dir)
	}
	return "", nil, fmt.Errorf("temporary directory: %w; set TMPDIR or -state to a place that can be written", err)
}

// sweepTemp removes the directories of runs that no process has locked any more.
func sweepTemp(parent string) {
	if !state.Locks {
		return // there is no telling whose run is alive
	}
	dirs, _ := filepath.Glob(filepath.Join(parent, tempPrefix+"*"))
	for _, dir := range dirs {
		if _, err := os.Stat(filepath.Join(dir, state.LockName)); err != nil {
			continue // not locked yet, or not ours to read
		}
		release, err := state.Lock(dir)
		if err != nil { // its run is alive
			continue
		}
		_ = os.RemoveAll(dir)
		_ = release()
	}
}
