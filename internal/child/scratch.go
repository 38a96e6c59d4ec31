package child

import (
	"errors"
	"os"
	"sync"

	"github.com/layshaft/layshaft/internal/job"
)

// allowance is for how many bytes of scratch the child asks at once.
const allowance = 4 << 20

// scratchSet makes the scratch files of one attempt and removes those that the stage function left open.
type scratchSet struct {
	dir      string
	check    func(need int64) error
	progress *job.Progress

	// mu guards the fields below.
	mu      sync.Mutex
	granted int64 // bytes that may be written without asking
	files   map[*scratch]bool
}

// scratch is a file that exists from the first write on.
type scratch struct {
	set    *scratchSet
	f      *os.File
	closed bool
}

func (s *scratchSet) temp() job.Scratch {
	f := &scratch{set: s}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.files == nil {
		s.files = make(map[*scratch]bool)
	}
	s.files[f] = true
	return f
}

// ask makes sure that n bytes may be written.
func (s *scratchSet) ask(n int64) error {
	s.mu.Lock()
	s.granted -= n
	more := s.granted < 0
	s.mu.Unlock()
	if !more {
		return nil
	}
	err := s.check(n + allowance)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.granted += n; err == nil {
		s.granted += allowance
	}
	return err
}

func (s *scratchSet) close() {
	s.mu.Lock()
	files := s.files
	s.files = nil
	s.mu.Unlock()
	for f := range files {
		_ = f.Close()
	}
}

func (f *scratch) Write(p []byte) (int, error) {
	if f.closed {
		return 0, os.ErrClosed
	}
	if err := f.set.ask(int64(len(p))); err != nil {
		return 0, err
	}
	if f.f == nil {
		var err error
		if f.f, err = os.CreateTemp(f.set.dir, "spill-"); err != nil {
			return 0, err
		}
	}
	n, err := f.f.Write(p)
	f.set.progress.Spilled.Add(int64(n))
	return n, err
}

func (f *scratch) ReadAt(p []byte, off int64) (int, error) {
	if f.f == nil {
		return 0, os.ErrClosed
	}
	return f.f.ReadAt(p, off)
}

func (f *scratch) Close() error {
	f.set.mu.Lock()
	delete(f.set.files, f)
	f.set.mu.Unlock()
	file := f.f
	f.f, f.closed = nil, true
	if file == nil {
		return nil
	}
	return errors.Join(file.Close(), os.Remove(file.Name()))
}
