package recorder

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/layshaft/layshaft/internal/history"
	"github.com/layshaft/layshaft/internal/job"
	"github.com/layshaft/layshaft/internal/report"
)

// memory are Files in memory.
type memory struct {
	mu    sync.Mutex
	files map[string][]byte
	fail  bool
}

var errDisk = errors.New("disk full")

func (m *memory) Read(name string) ([]byte, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	b, ok := m.files[name]
	if !ok {
		return nil, fs.ErrNotExist
	}
	return b, nil
}

func (m *memory) Write(name string, content []byte) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.fail {
		return errDisk
	}
	m.files[name] = content
	return nil
}

func (m *memory) Remove(name string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.files, name)
	return nil
}

func (m *memory) List(prefix string) ([]string, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.DeleteFunc(slices.Collect(maps.Keys(m.files)), func(name string) bool { return !strings.HasPrefix(name, prefix) }), nil
}

var spec = &job.Spec{ID: "j", Name: "night", Hash: "h", Params: []byte(`{"Password":"x"}`), Stages: []job.Stage{{Name: "read", Tasks: 5000, Splits: []job.Split{{Label: "a.txt", Bytes: 7}}}}}

func submit(r *Recorder) { r.Submitted(spec, []string{"map"}, &report.Options{Owner: "ann"}) }

// add records attempts from to to, each tenth of which failed.
func add(r *Recorder, from, to int, id job.ID) {
	for i := from; i < to; i++ {
		a := report.Attempt{Task: job.Task{Index: i}, N: 1, Worker: "w", Ended: time.UnixMicro(int64(1000 * i))}
		var f *job.Failure
		if i%10 == 0 {
			a.End, f = report.EndFailed, &job.Failure{Message: fmt.Sprint("broke ", i%20)}
		}
		r.Ended(id, a, f, []job.KeySample{{Port: 1, Records: 10, Squares: 20, Distinct: 3, Keys: []job.KeyCount{{Hash: 7, Name: "hot", Records: 6}}}})
	}
}

func end(r *Recorder) {
	r.JobEnded(&report.Job{ID: "j", Outcome: report.JobDone, Ended: time.Unix(99, 0), Stages: []report.Stage{{Tasks: 5000, Done: 5000}}})
}

// check compares the history of job j with the first n attempts of add.
func check(t *testing.T, r *Recorder, n int, outcome report.Outcome) {
	t.Helper()
	run, err := r.Open("j")
	if err != nil {
		t.Fatal(err)
	}
	if run.Name != "night" || run.Owner != "ann" || string(run.Params) != `{"Password":"***"}` || len(run.Stages) != 1 || run.Stages[0].Source != "a.txt" || run.Outcome != outcome || run.Damaged != "" {
		t.Errorf("%+v", run)
	}
	if len(run.Attempts) != n {
		t.Fatalf("%d attempts, want %d", len(run.Attempts), n)
	}
	if k := run.Keys; len(k) != 1 || k[0].Port != 1 || k[0].Records != int64(10*n) || k[0].Keys[0].Records != int64(6*n) {
		t.Errorf("keys of %d attempts: %+v", n, k)
	}
	for i, a := range run.Attempts {
		if a.Task.Index != i || i%10 == 0 && run.Causes[a.Cause-1].Message != fmt.Sprint("broke ", i%20) {
			t.Fatalf("attempt %d: %+v", i, a)
		}
	}
	again, err := history.Decode(history.Encode(run))
	if err != nil || len(again.Attempts) != n {
		t.Errorf("as a file: %v", err)
	}
}

// A history survives restarts in the middle of a job and after it, and leaves with its job.
func TestRestarts(t *testing.T) {
	t.Parallel()
	files := &memory{files: map[string][]byte{}}
	synctest.Test(t, func(t *testing.T) {
		n := 0
		for life := range 3 {
			r := New(files, nil)
			ctx, cancel := context.WithCancel(t.Context())
			var running sync.WaitGroup
			running.Go(func() { r.Run(ctx) })
			submit(r)
			for k := range 4 {
				add(r, n, n+1000, "j")
				n += 1000
				if k == 2 {
					check(t, r, n, report.JobRunning)
				}
				time.Sleep(3 * time.Second)
			}
			if life == 2 {
				end(r)
				check(t, r, n, report.JobDone)
			}
			cancel()
			running.Wait()
			time.Sleep(time.Second)
		}
		if len(files.files) > 3+n/fullChunk {
			t.Errorf("%d files for %d attempts", len(files.files), n)
		}
		r := New(files, nil)
		check(t, r, n, report.JobDone)
		add(r, n, n+1, "j") // of a cancelled attempt
		r.write()
		check(t, New(files, nil), n+1, report.JobDone)
		for _, p := range []string{"first", "second"} {
			if err := errors.Join(r.PutProfile("j", []byte(p)), r.PutProfile("other", []byte(p))); err != nil {
				t.Fatal(err)
			}
		}
		check(t, New(files, nil), n+1, report.JobDone) // a profile is no part of the history
		if p, err := New(files, nil).Profile("j"); err != nil || string(p) != "second" {
			t.Errorf("the profile is %q, %v", p, err)
		}
		r.Forget("j")
		if _, err := r.Open("j"); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("after Forget: %v", err)
		}
		r.write()
		if p, err := r.Profile("j"); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("the profile after Forget is %q, %v", p, err)
		}
		if p, err := r.Profile("other"); err != nil || string(p) != "second" {
			t.Errorf("the profile of another job is %q, %v", p, err)
		}
		r.Forget("other")
		submit(r)
		add(r, 0, 5, "j")
		r.write()
		check(t, r, 5, report.JobRunning)
		check(t, New(files, nil), 5, report.JobRunning)
		if len(files.files) != 1 {
			t.Errorf("%d files", len(files.files))
		}
	})
}

// The memory keeps few histories of ended jobs, and an attempt that ends after its job adds to the
// right history.
func TestEndedJobsLeaveMemory(t *testing.T) {
	t.Parallel()
	files := &memory{files: map[string][]byte{}}
	r := New(files, nil)
	submit(r)
	add(r, 0, 20, "j")
	end(r)
	r.write()
	for i := range 10 {
		other := *spec
		other.ID = job.ID(fmt.Sprint("other", i))
		r.Submitted(&other, []string{"map"}, &report.Options{})
		r.JobEnded(&report.Job{ID: other.ID, Outcome: report.JobDone})
		r.write()
	}
	if r.jobs["j"] != nil || len(r.jobs) > opened {
		t.Errorf("%d jobs in memory", len(r.jobs))
	}
	add(r, 20, 21, "j")
	r.write()
	check(t, r, 21, report.JobDone)
}

// A full disk costs nothing while the process lives, and a damaged file costs its attempts alone.
func TestDamage(t *testing.T) {
	t.Parallel()
	files := &memory{files: map[string][]byte{}, fail: true}
	r := New(files, nil)
	submit(r)
	add(r, 0, 3000, "j")
	r.write()
	check(t, r, 3000, report.JobRunning)
	files.fail = false
	r.write()
	end(r)
	r.write()
	check(t, New(files, nil), 3000, report.JobDone)
	names := slices.Sorted(maps.Keys(files.files))
	files.files[names[0]][40] ^= 1
	run, err := New(files, nil).Open("j")
	if err != nil || run.Damaged == "" || len(run.Attempts) != 3000-fullChunk || run.Name != "night" {
		t.Errorf("%d attempts, damaged %q, %v", len(run.Attempts), run.Damaged, err)
	}
}

// Without files the histories are in memory.
func TestMemoryOnly(t *testing.T) {
	t.Parallel()
	r := New(nil, nil)
	submit(r)
	add(r, 0, 30, "j")
	end(r)
	check(t, r, 30, report.JobDone)
	if _, err := r.Open("other"); !errors.Is(err, fs.ErrNotExist) {
		t.Error(err)
	}
	r.Forget("j")
	if _, err := r.Open("j"); !errors.Is(err, fs.ErrNotExist) {
		t.Error(err)
	}
}
