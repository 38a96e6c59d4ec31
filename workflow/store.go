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
//	DIR/WORKFLOW/last-run                     the results of all steps in the last run that ended
//
// HASH is the hash of the parameters. Each file has a checksum and a copy. The directory of a run
// exists until all steps are done and their results are the last ones. One file holds these, so
// that a crash never mixes the results of two runs.
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
	return &store{dir: filepath.Join(root, "runs", hex.EncodeToString(sum[:8])), last: filepath.Join(root, "last-run")}, nil
}

// openStore locks the store of a workflow, and continues its run or starts one.
func openStore(dir, workflow string, params any) (*store, error) {
	s, err := storeOf(dir, workflow, params)
	if err != nil {
		return nil, err
	}
	root := filepath.Join(dir, workflow)
	if err := state.MakeDir(root, 0o700); err != nil {
		var path *fs.PathError
		if errors.As(err, &path) {
			err = path.Err
		}
		return nil, fmt.Errorf("the directory %s for the results of steps cannot be made: %w; name one in which this user may write", root, err)
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
	if err := state.MakeDir(s.dir, 0o700); err != nil {
		return err
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
	text, err := readOrNone(s.last)
	if err != nil {
		return nil, err
	}
	var last map[string]json.RawMessage
	if text != nil {
		if err := json.Unmarshal(text, &last); err != nil {
			return nil, fmt.Errorf("%s: %w; remove it and its copy to continue without the results of the last run", s.last, err)
		}
	}
	for _, st := range steps {
		text, err := readOrNone(s.result(st.name))
		if err != nil {
			return nil, err
		}
		st.value, done[st.name] = st.valueOf(text)
		st.last, _ = st.valueOf(last[st.name])
	}
	// A step that must run again makes those after it run again: they were given its old result.
	for _, st := range steps {
		if !done[st.name] || !allDone(st.after, done) {
			delete(done, st.name)
		}
	}
	return done, nil
}

// readOrNone returns the content of a file, or nil if it is missing or damaged.
func readOrNone(path string) ([]byte, error) {
	text, err := state.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, state.ErrDamaged) {
		return nil, nil
	}
	return text, err
}

// valueOf returns the result of a step from its text, and whether there is one.
func (st *step) valueOf(text []byte) (v any, ok bool) {
	if text == nil {
		return nil, false
	}
	v, err := st.decode(text)
	if err != nil {
		return nil, false
	}
	if again, err := json.Marshal(v); err != nil || !bytes.Equal(again, bytes.TrimSpace(text)) {
		return nil, false // the type has changed: its fields would be lost
	}
	return v, true
}

// finish makes the results of this run the last ones, and removes the run.
func (s *store) finish(steps []*step) error {
	results := make(map[string]json.RawMessage, len(steps))
	for _, st := range steps {
		text, err := state.ReadFile(s.result(st.name))
		if err != nil {
			return err
		}
		results[st.name] = text
	}
	text, err := json.Marshal(results)
	if err == nil {
		err = state.WriteFile(s.last, append(text, '\n'))
	}
	if err != nil {
		return err
	}
	if err := os.Rename(s.dir, s.dir+endedSuffix); err != nil {
		return err
	}
	if err := state.SyncDir(filepath.Dir(s.dir)); err != nil {
		return err
	}
	return os.RemoveAll(s.dir + endedSuffix)
}
