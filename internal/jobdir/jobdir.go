// Package jobdir keeps the state of jobs that run inside programs. A State directory has one
// directory for each job, with a description, a journal and the outputs of the job's workers. A
// process locks the directory of the job that it runs.
package jobdir

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/layshaft/layshaft/internal/order"
	"github.com/layshaft/layshaft/internal/state"
)

// infoName is the file with the description of a job.
const infoName = "job.json"

// Outcomes of a job.
const (
	Unfinished = "unfinished" // it runs, was killed, or can continue
	Done       = "done"
	Failed     = "failed"
)

// Info describes a job.
type Info struct {
	ID       string    `json:"id"`
	Name     string    `json:"name"` // of the plan
	Outcome  string    `json:"outcome"`
	Command  []string  `json:"command"`            // arguments of the program, with its name
	Started  time.Time `json:"started"`            // the latest start
	Ended    time.Time `json:"ended,omitzero"`     // zero while it is unfinished
	Identity Identity  `json:"identity,omitempty"` // what the ID is made of
}

// Identity has a hash of each thing that makes a job another job, by the name of the thing.
type Identity map[string]string

// Differ returns the names of the things in which two identities differ, sorted.
func (a Identity) Differ(b Identity) []string {
	var names []string
	for k, v := range a {
		if b[k] != v {
			names = append(names, k)
		}
	}
	slices.Sort(names)
	return names
}

// Entry is a job in a State directory.
type Entry struct {
	Info
	Bytes int64 // on disk
	InUse bool  // a process has locked it
}

// Dir is the directory of one job, locked for this process.
type Dir struct {
	Path   string
	info   Info
	unlock func() error
}

// Open makes and locks the directory of a job. The error wraps state.ErrLocked if another process
// runs the job.
func Open(root string, info Info) (*Dir, error) {
	d := &Dir{Path: filepath.Join(root, info.ID), info: info}
	if err := state.MakeDir(d.Path, 0o755); err != nil {
		return nil, fmt.Errorf("%w; choose a directory that can be made and written", err)
	}
	var err error
	if d.unlock, err = state.Lock(d.Path); err != nil {
		return nil, fmt.Errorf("job %s: %w", info.ID, err)
	}
	d.info.Outcome = Unfinished
	if err := d.write(); err != nil {
		return nil, errors.Join(err, d.unlock())
	}
	return d, nil
}

func (d *Dir) write() error {
	data, err := json.MarshalIndent(d.info, "", "  ")
	if err != nil {
		return err
	}
	tmp := filepath.Join(d.Path, infoName+".tmp")
	if err := os.WriteFile(tmp, append(data, '\n'), 0o600); err != nil {
		return err
	}
	return os.Rename(tmp, filepath.Join(d.Path, infoName))
}

// Close notes the outcome of the job, and unlocks its directory. A finished job needs no ballast
// for a full disk, so Close removes it.
func (d *Dir) Close(outcome string) error {
	d.info.Outcome = outcome
	if outcome != Unfinished {
		d.info.Ended = time.Now()
		ballast, _ := filepath.Glob(filepath.Join(d.Path, "*", "ballast")) // the pattern is valid
		for _, b := range ballast {
			_ = os.Remove(b)
		}
	}
	return errors.Join(d.write(), d.unlock())
}

// List returns the jobs of a State directory, the latest first.
func List(root string) ([]Entry, error) {
	dirs, err := os.ReadDir(root)
	if err != nil {
		return nil, err
	}
	var out []Entry
	for _, d := range dirs {
		path := filepath.Join(root, d.Name())
		data, err := os.ReadFile(filepath.Join(path, infoName))
		if errors.Is(err, fs.ErrNotExist) || !d.IsDir() {
			continue // no job
		}
		if err != nil {
			return nil, err
		}
		e := Entry{}
		if err := json.Unmarshal(data, &e.Info); err != nil || e.ID != d.Name() {
			e.Info = Info{ID: d.Name(), Outcome: Unfinished}
		}
		if unlock, err := state.Lock(path); err != nil {
			e.InUse = true
		} else {
			_ = unlock()
		}
		if e.Bytes, err = size(path); err != nil {
			return nil, err
		}
		out = append(out, e)
	}
	order.Sort(out, func(a, b *Entry) int { return b.Started.Compare(a.Started) })
	return out, nil
}

func size(dir string) (n int64, err error) {
	err = filepath.WalkDir(dir, func(_ string, d fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) || err == nil && d.IsDir() {
			return nil // removed in between
		}
		if err != nil {
			return err
		}
		if fi, err := d.Info(); err == nil {
			n += fi.Size()
		}
		return nil
	})
	return n, err
}

// Drop removes the state of a job. The error wraps state.ErrLocked while a process runs the job,
// and fs.ErrNotExist if there is no such job.
func Drop(root, id string) error {
	path := filepath.Join(root, id)
	if _, err := os.Stat(filepath.Join(path, infoName)); err != nil || filepath.Base(id) != id {
		return fmt.Errorf("%s has no job %q: %w; layshaft state list %s shows its jobs", root, id, fs.ErrNotExist, root)
	}
	unlock, err := state.Lock(path)
	if err != nil {
		return fmt.Errorf("job %s: %w", id, err)
	}
	return errors.Join(os.RemoveAll(path), unlock())
}

// Retain removes jobs that ended or were left before age, then the oldest ones until the others
// have at most size bytes; finished ones go first. It leaves jobs in use, and the job keep. Zero
// age or size means no limit. It returns the removed jobs.
func Retain(root, keep string, age time.Duration, size int64) ([]Entry, error) {
	all, err := List(root)
	if err != nil {
		return nil, err
	}
	var total int64
	for i := range all {
		total += all[i].Bytes
	}
	last := func(e *Entry) time.Time {
		if e.Ended.IsZero() {
			return e.Started
		}
		return e.Ended
	}
	order.Sort(all, func(a, b *Entry) int {
		finished := func(e *Entry) int {
			if e.Outcome == Unfinished {
				return 1
			}
			return 0
		}
		return cmp.Or(finished(a)-finished(b), last(a).Compare(last(b)))
	})
	var dropped []Entry
	for i := range all {
		e := &all[i]
		old := age > 0 && time.Since(last(e)) > age
		if e.InUse || e.ID == keep || !old && (size <= 0 || total <= size) {
			continue
		}
		if err := Drop(root, e.ID); errors.Is(err, state.ErrLocked) {
			continue // it has begun since
		} else if err != nil {
			return dropped, err
		}
		total -= e.Bytes
		dropped = append(dropped, *e)
	}
	return dropped, nil
}
