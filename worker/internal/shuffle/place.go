package shuffle

import (
	"bytes"
	"crypto/rand"
	"fmt"
	"os"
	"path/filepath"

	"github.com/layshaft/layshaft/internal/job"
)

// Place is the directory of a store, for processes that may be on the same machine.
type Place struct {
	// Dir is the absolute path of the store's directory.
	Dir string
	// Mark is the content of a file in it, which is random. Who finds it there can read the files
	// of the store.
	Mark []byte
}

// markName is the name of the file with the mark.
const markName = "mark"

// Place writes a new mark, and returns the place of the store.
func (s *Store) Place() (Place, error) {
	dir, err := filepath.Abs(s.dir)
	if err != nil {
		return Place{}, err
	}
	p := Place{Dir: dir, Mark: []byte(rand.Text())}
	if err := os.WriteFile(filepath.Join(dir, markName), p.Mark, 0o600); err != nil {
		return Place{}, fmt.Errorf("mark of the block store: %w", err)
	}
	return p, nil
}

// IsHere reports whether this process can read the files of the store.
func (p Place) IsHere() bool {
	if p.Dir == "" || len(p.Mark) == 0 || !filepath.IsAbs(p.Dir) {
		return false
	}
	mark, err := os.ReadFile(filepath.Join(p.Dir, markName))
	return err == nil && bytes.Equal(mark, p.Mark)
}

// Segment returns the path of the segment of an attempt, or "" if its ID is none.
func (p Place) Segment(a job.Attempt) string {
	if checkAttempt(a) != nil {
		return ""
	}
	return segmentPath(p.Dir, a)
}
