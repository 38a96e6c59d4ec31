package segment

import (
	"bytes"
	"errors"
	"io"

	"github.com/layshaft/layshaft/internal/job"
	"github.com/layshaft/layshaft/internal/record"
)

// trimmedRun removes records outside [lo, hi) from the blocks of a sorted run.
type trimmedRun struct {
	job.RunReader
	lo, hi []byte
	began  bool // a key at or above lo was seen
	ended  bool // a key at or above hi was seen
}

// Trim returns r without the records outside [lo, hi). A nil lo is the start and a nil hi the end
// of all keys.
func Trim(r job.RunReader, lo, hi []byte) job.RunReader {
	if lo == nil && hi == nil {
		return r
	}
	return &trimmedRun{RunReader: r, lo: lo, hi: hi, began: lo == nil}
}

// Local returns the place of the run, if it lies in a file and nothing was read yet.
func (t *trimmedRun) Local() (f File, ok bool) {
	if r, isLocal := t.RunReader.(interface{ Local() (File, bool) }); isLocal {
		f, ok = r.Local()
	}
	f.Lo, f.Hi = t.lo, t.hi
	return f, ok
}

// ReadAhead sets how many bytes are read at once.
func (t *trimmedRun) ReadAhead(bytes int) {
	if r, ok := t.RunReader.(interface{ ReadAhead(bytes int) }); ok {
		r.ReadAhead(bytes)
	}
}

// Next returns the next block that is not empty after trimming.
func (t *trimmedRun) Next() ([]byte, error) {
	for !t.ended {
		block, err := t.RunReader.Next()
		if err != nil {
			return nil, err
		}
		if block, err = t.trim(block); err != nil {
			// The frame's checksum was right, so its writer made the mistake; a repetition cannot
			// help.
			return nil, &job.Failure{Kind: job.Fatal, Message: errors.Join(errors.New("input by key range"), err).Error()}
		}
		if len(block) > 0 {
			return block, nil
		}
	}
	return nil, io.EOF
}

func (t *trimmedRun) trim(block []byte) ([]byte, error) {
	rest := block
	for !t.began && len(rest) > 0 {
		key, _, next, err := record.Cut(rest)
		if err != nil {
			return nil, err
		}
		if bytes.Compare(key, t.lo) >= 0 {
			t.began = true
			break
		}
		rest = next
	}
	block = rest
	if r, ok := t.RunReader.(interface{ BlocksLeft() int }); ok && r.BlocksLeft() > 0 {
		return block, nil
	}
	for t.hi != nil && len(rest) > 0 {
		key, _, next, err := record.Cut(rest)
		if err != nil {
			return nil, err
		}
		if bytes.Compare(key, t.hi) >= 0 {
			t.ended = true
			n := len(block) - len(rest)
			return block[:n:n], nil
		}
		rest = next
	}
	return block, nil
}
