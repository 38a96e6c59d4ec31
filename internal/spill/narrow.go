package spill

import (
	"io"

	"github.com/layshaft/layshaft/internal/job"
	"github.com/layshaft/layshaft/internal/record"
)

// Narrow merges neighbouring runs into scratch files until at most fan are left, so that a merge of
// very many runs needs limited memory and few open files. The order of records stays the same, even
// for equal keys. fan must be at least 2.
func Narrow(runs []Run, fan int, scratch func() job.Scratch) ([]Run, error) {
	var file job.Scratch // file of the last round
	for len(runs) > fan {
		w := &Spool{file: scratch()}
		// Merge no more runs than needed in the last round: writing a record again costs time.
		width := min(fan, max(2, len(runs)-fan+1))
		var next []Run
		for len(runs) > 0 {
			n := min(width, len(runs))
			if n == 1 || len(next)+len(runs) <= fan {
				break
			}
			r, err := w.merge(runs[:n])
			if err != nil {
				return nil, err
			}
			next = append(next, r)
			runs = runs[n:]
		}
		if file != nil && len(runs) == 0 { // otherwise some of its runs are still to be read
			_ = file.Close()
		}
		file = w.file
		runs = append(next, runs...)
	}
	return runs, nil
}

// merge appends the records of sorted runs to s, and returns them as one run.
func (s *Spool) merge(runs []Run) (Run, error) {
	start := s.end
	m := NewMerge(runs)
	for {
		k, v, _, err := m.Next()
		if err == io.EOF {
			return s.runFrom(start)
		}
		if err == nil {
			err = s.add(k, v)
		}
		if err != nil {
			return nil, err
		}
	}
}

// Spool keeps a sequence of values, in memory up to a limit and then in a scratch file. It can be
// read any number of times.
type Spool struct {
	limit   int
	scratch func() job.Scratch
	file    job.Scratch
	block   []byte
	frame   []byte
	end     int64 // end of the frames in file
	n       int
}

// NewSpool returns an empty Spool for up to limit bytes in memory.
func NewSpool(limit int, scratch func() job.Scratch) *Spool {
	return &Spool{limit: limit, scratch: scratch}
}

// Len returns the number of values.
func (s *Spool) Len() int { return s.n }

// Reset removes all values.
func (s *Spool) Reset() {
	s.block, s.n, s.end = nil, 0, 0 // readers may still alias the block
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
	if s.file != nil && len(s.block)+len(key)+len(value) >= BlockSize {
		// flush first, so that a large record gets a block of its own
		if err := s.write(); err != nil {
			return err
		}
	}
	s.block = record.AppendRecord(s.block, key, value)
	s.n++
	return nil
}

// write moves the values in memory to the file.
func (s *Spool) write() error {
	for b := s.block; len(b) > 0; {
		// end of the records for the next frame: one record, or as many as fit into a block
		end := 0
		for rest := b; len(rest) > 0; {
			var err error
			if _, _, rest, err = record.Cut(rest); err != nil {
				return err
			}
			if at := len(b) - len(rest); end == 0 || at <= BlockSize {
				end = at
			} else {
				break
			}
		}
		s.frame = record.AppendFrame(s.frame[:0], b[:end], record.S2)
		b = b[end:]
		n, err := s.file.Write(s.frame)
		s.end += int64(n)
		if err != nil {
			return err
		}
	}
	s.block = s.block[:0]
	return nil
}

// runFrom returns everything behind offset start of the file, as a run.
func (s *Spool) runFrom(start int64) (Run, error) {
	if err := s.write(); err != nil {
		return nil, err
	}
	return record.NewFrameReader(s.file, start, s.end, BlockSize), nil
}

// All passes every value to yield, in order, until yield returns false. The values never change.
func (s *Spool) All(yield func(value []byte) bool) error {
	var r Run = &oneBlock{s.block}
	if s.file != nil {
		var err error
		if r, err = s.runFrom(0); err != nil {
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
