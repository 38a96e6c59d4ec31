package workflow

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/layshaft/layshaft/internal/state"
)

// store holds the results of a workflow in files:
//
//	DIR/WORKFLOW/runs/HASH/run                the ID of a run
//	DIR/WORKFLOW/runs/HASH/steps/NAME/result  the result of a step
//	DIR/WORKFLOW/last/NAME/result             the result of a step in the last run that ended
//
// HASH is the hash of the parameters. Each file has a checksum and a copy. The directory of a run
// exists until all steps are done and their results are the last ones.
type store struct {
	dir, last string
	run       string
	release   func() error
}

// storeOf returns the store of a workflow, and changes nothing on disk.
func storeOf(dir, workflow string, params any) (*store, error) {
	text, err := json.Marshal(params)
	if err != nil {
		return nil, fmt.Errorf("its parameters cannot be written as JSON: %w", err)
	}
	root, sum := filepath.Join(dir, workflow), sha256.Sum256(text)
	return &store{dir: filepath.Join(root, "runs", hex.EncodeToString(sum[:8])), last: filepath.Join(root, "last")}, nil
}

// openStore locks the store of a workflow, and continues its run or starts one.
func openStore(dir, workflow string, params any) (*store, error) {
	s, err := storeOf(dir, workflow, params)
	if err != nil {
		return nil, err
	}
	root := filepath.Join(dir, workflow)
	if err := state.MakeDir(root, 0o700); err != nil {
		return nil, err
	}
	if s.release, err = state.Lock(root); err != nil {
		return nil, fmt.Errorf("%s: %w: another process runs this workflow; wait until it has ended", root, err)
	}
	if err := s.begin(); err != nil {
		_ = s.release()
		return nil, err
	}
	return s, nil
}

func (s *store) close() { _ = s.release() }

// begin continues the run of the directory, or starts one.
func (s *store) begin() error {
	for _, dir := range []string{filepath.Dir(s.dir), s.dir, s.last} {
		if err := state.MakeDir(dir, 0o700); err != nil {
			return err
		}
	}
	entries, err := os.ReadDir(filepath.Dir(s.dir))
	if err != nil {
		return err
	}
	for _, e := range entries { // a process was killed while it removed them
		if strings.HasSuffix(e.Name(), endedSuffix) {
			if err := os.RemoveAll(filepath.Join(filepath.Dir(s.dir), e.Name())); err != nil {
				return err
			}
		}
	}
	id, err := state.ReadFile(s.path("run"))
	switch {
	case errors.Is(err, fs.ErrNotExist):
		s.run = newRun()
		return state.WriteFile(s.path("run"), []byte(s.run+"\n"))
	case err != nil:
		return fmt.Errorf("%s: %w; remove the directory %s to start anew", s.path("run"), err, s.dir)
	}
	s.run = strings.TrimSpace(string(id))
	return nil
}

// endedSuffix marks the directory of a run that has ended.
const endedSuffix = ".ended"

func (s *store) path(name string) string { return filepath.Join(s.dir, name) }

// store stores the result of a step.
func (s *store) store(step string, text []byte) error {
	return write(s.result(step), append(text, '\n'))
}

// result returns the path of the result of a step. Each has a directory of its own, so that no name
// of a step is the name of another file.
func (s *store) result(step string) string { return filepath.Join(s.dir, "steps", step, "result") }

// lastResult is result for the last run that ended.
func (s *store) lastResult(step string) string { return filepath.Join(s.last, step, "result") }

// write writes a file, and makes its directory.
func write(path string, text []byte) error {
	for _, dir := range []string{filepath.Dir(filepath.Dir(path)), filepath.Dir(path)} {
		if err := state.MakeDir(dir, 0o700); err != nil {
			return err
		}
	}
	return state.WriteFile(path, text)
}

// load reads the results of this run and of the last one that ended into the steps. It returns the
// steps that are done. A result that the program of today cannot read counts as missing.
func (s *store) load(steps []*step) (done map[string]bool, err error) {
	done = map[string]bool{}
	for _, st := range steps {
		if st.value, done[st.name], err = read(s.result(st.name), st); err != nil {
			return nil, err
		}
		if st.last, _, err = read(s.lastResult(st.name), st); err != nil {
			return nil, err
		}
	}
	// A step that must run again makes those after it run again: they were given its old result.
	for _, st := range steps {
		if !done[st.name] || !allDone(st.after, done) {
			delete(done, st.name)
		}
	}
	return done, nil
}

// read returns the result of a step in a file, and whether there is one.
func read(path string, st *step) (v any, ok bool, err error) {
	text, err := state.ReadFile(path)
	switch {
	case errors.Is(err, fs.ErrNotExist) || errors.Is(err, state.ErrDamaged):
		return nil, false, nil
	case err != nil:
		return nil, false, err
	}
	if v, err = st.decode(text); err != nil {
		return nil, false, nil
	}
	if again, err := json.Marshal(v); err != nil || !bytes.Equal(again, bytes.TrimSpace(text)) {
		return nil, false, nil // the type has changed: its fields would be lost
	}
	return v, true, nil
}

// finish makes the results of this run the last ones, and removes the run.
func (s *store) finish(steps []*step) error {
	for _, st := range steps {
		text, err := state.ReadFile(s.result(st.name))
		if err == nil {
			err = write(s.lastResult(st.name), text)
		}
		if err != nil {
			return err
		}
	}
	if err := os.Rename(s.dir, s.dir+endedSuffix); err != nil {
		return err
	}
	if err := state.SyncDir(filepath.Dir(s.dir)); err != nil {
		return err
	}
	return os.RemoveAll(s.dir + endedSuffix)
}
