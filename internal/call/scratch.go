package call

import (
	"errors"
	"os"
	"sync"

	"github.com/layshaft/layshaft/internal/job"
)

// Scratch makes the scratch files of one attempt. Set the exported fields before the first call.
type Scratch struct {
	Dir string // directory for the files; must exist
	// Check is called before a write with the number of bytes to reserve. Its error fails the
	// write. Nil means unlimited space.
	Check func(need int64) error
	// Allowance is the number of bytes to reserve in advance, for fewer calls of Check. Zero
	// means that every write calls it.
	Allowance int64
	Progress  *job.Progress // Spilled is increased by each write

	// mu guards the fields below.
	mu      sync.Mutex
	granted int64 // reserved bytes not written yet
	files   map[*file]bool
}

// file is a scratch file. It exists from the first write on.
type file struct {
	scratch *Scratch
	f       *os.File
	closed  bool
}

// Temp returns a new scratch file.
func (s *Scratch) Temp() job.Scratch {
	f := &file{scratch: s}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.files == nil {
		s.files = make(map[*file]bool)
	}
	s.files[f] = true
	return f
}

// Close closes and removes all open files.
func (s *Scratch) Close() {
	s.mu.Lock()
	files := s.files
	s.files = nil
	s.mu.Unlock()
	for f := range files {
		_ = f.Close()
	}
}

// reserve reserves n bytes.
func (s *Scratch) reserve(n int64) error {
	if s.Check == nil {
		return nil
	}
	s.mu.Lock()
	s.granted -= n
	enough := s.granted >= 0
	s.mu.Unlock()
	if enough {
		return nil
	}
	err := s.Check(n + s.Allowance)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.granted += n; err == nil {
		s.granted += s.Allowance
	}
	return err
}

func (f *file) Write(p []byte) (int, error) {
	if f.closed {
		return 0, os.ErrClosed
	}
	if err := f.scratch.reserve(int64(len(p))); err != nil {
		return 0, err
	}
	if f.f == nil {
		var err error
		if f.f, err = os.CreateTemp(f.scratch.Dir, "spill-"); err != nil {
			return 0, err
		}
	}
	n, err := f.f.Write(p)
	f.scratch.Progress.Spilled.Add(int64(n))
	return n, err
}

func (f *file) ReadAt(p []byte, off int64) (int, error) {
	if f.f == nil {
		return 0, os.ErrClosed
	}
	return f.f.ReadAt(p, off)
}

func (f *file) Close() error {
	f.scratch.mu.Lock()
	delete(f.scratch.files, f)
	f.scratch.mu.Unlock()
	open := f.f
	f.f, f.closed = nil, true
	if open == nil {
		return nil
	}
	return errors.Join(open.Close(), os.Remove(open.Name()))
}
