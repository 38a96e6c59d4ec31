package spill

import (
	"io"

	"github.com/layshaft/layshaft/internal/job"
	"github.com/layshaft/layshaft/internal/record"
)

// Narrow merges neighbouring runs into scratch files until at most fan are left, so that a merge of very many runs needs
// bounded memory. The order of records, equal keys included, stays. fan is at least 2.
func Narrow(runs []Run, fan int, scratch func() job.Scratch) ([]Run, error) {
	for len(runs) > fan {
		// Merge no more than needed in the last round: each record that is written again costs.
		width := min(fan, max(2, len(runs)-fan+1))
		var next []Run
		for len(runs) > 0 {
			n := min(width, len(runs))
			if n == 1 || len(next)+len(runs) <= fan {
				next = append(next, runs...)
				break
			}
			r, err := mergeTo(runs[:n], scratch())
			if err != nil {
				return nil, err
			}
			next = append(next, r)
			runs = runs[n:]
		}
		runs = next
	}
	return runs, nil
}

func mergeTo(runs []Run, f job.Scratch) (Run, error) {
	w := &Spool{file: f}
	m := NewMerge(runs)
	for {
		k, v, _, err := m.Next()
		if err == io.EOF {
			return w.run()
		}
		if err != nil {
			return nil, err
		}
		if err := w.add(k, v); err != nil {
			return nil, err
		}
	}
}

// Spool keeps a sequence of values that can be read any number of times: in memory up to a limit, then in a scratch file.
type Spool struct {
	limit   int
	scratch func() job.Scratch
	file    job.Scratch
	block   []byte
	frame   []byte
	end     int64
	n       int
}

// NewSpool returns an empty Spool that holds up to limit bytes in memory.
func NewSpool(limit int, scratch func() job.Scratch) *Spool {
	return &Spool{limit: limit, scratch: scratch}
}

// Len returns the number of values.
func (s *Spool) Len() int { return s.n }

// Reset forgets all values.
func (s *Spool) Reset() {
	s.block, s.n, s.end = nil, 0, 0 // the block may still be aliased by those who read it
	if s.file != nil {
		_ = s.file.Close()
		s.file = nil
	}
}

// Add adds a copy of value.
func (s *Spool) Add(value []byte) error {
	if s.file == nil && len(s.block)+len(value) > s.limit {
		s.file = s.scratch()
	}
	return s.add(nil, value)
}

func (s *Spool) add(key, value []byte) error {
	s.block = record.AppendRecord(s.block, key, value)
	s.n++
	if s.file == nil || len(s.block) < BlockSize {
		return nil
	}
	return s.write()
}

func (s *Spool) write() error {
	for b := s.block; len(b) > 0; {
		part := b
		if len(b) > BlockSize { // what was held in memory: cut between records
			at := 0
			for at < BlockSize {
				_, _, rest, err := record.Cut(b[at:])
				if err != nil {
					return err
				}
				at = len(b) - len(rest)
			}
			part = b[:at]
		}
		b = b[len(part):]
		s.frame = record.AppendFrame(s.frame[:0], part, record.S2)
		n, err := s.file.Write(s.frame)
		s.end += int64(n)
		if err != nil {
			return err
		}
	}
	s.block = s.block[:0]
	return nil
}

func (s *Spool) run() (Run, error) {
	if err := s.write(); err != nil {
		return nil, err
	}
	return record.NewFrameReader(s.file, 0, s.end, BlockSize), nil
}

// All hands every value to yield, in order, until it returns false. Values stay as they are.
func (s *Spool) All(yield func(value []byte) bool) error {
	var r Run = &oneBlock{s.block}
	if s.file != nil {
		var err error
		if r, err = s.run(); err != nil {
			return err
		}
	}
	for {
		b, err := r.Next()
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
		for len(b) > 0 {
			var v []byte
			if _, v, b, err = record.Cut(b); err != nil {
				return err
			}
			if !yield(v) {
				return nil
			}
		}
	}
}

type oneBlock struct{ b []byte }

func (r *oneBlock) Next() ([]byte, error) {
	if len(r.b) == 0 {
		return nil, io.EOF
	}
	b := r.b
	r.b = nil
	return b, nil
}
