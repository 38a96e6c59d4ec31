package shuffle

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"

	"github.com/dgraph-io/badger/v4"

	"github.com/layshaft/layshaft/internal/job"
	"github.com/layshaft/layshaft/internal/record"
)

// Piece is a range of the stored bytes of an output.
type Piece struct {
	Attempt        job.Attempt // the attempt with the output
	Inline         bool        // in Badger; otherwise in the segment
	Offset, Length int64       // in bytes
}

// Read reads pieces as they are stored into p, one after the other. p must have their total length.
// If an output is missing or incomplete, the error wraps a *job.Failure of kind job.InputLost with
// its attempt. The bytes are not verified here: their frames carry checksums.
func (s *Store) Read(pieces []Piece, p []byte) error {
	var file *os.File
	var of job.Attempt
	defer func() {
		if file != nil {
			_ = file.Close()
		}
	}()
	for _, piece := range pieces {
		a := piece.Attempt
		if piece.Offset < 0 || piece.Length < 0 || piece.Length > int64(len(p)) || piece.Offset+piece.Length < 0 {
			return fmt.Errorf("output of %s: no piece of %d bytes at %d fits into %d", a, piece.Length, piece.Offset, len(p))
		}
		into := p[:piece.Length]
		p = p[piece.Length:]
		if !s.Holds(a) {
			return outputLost(a, ErrGone)
		}
		if piece.Inline {
			b, err := s.inlineBytes(a, piece.Offset, piece.Offset+piece.Length)
			if err != nil {
				return outputLost(a, err)
			}
			copy(into, b)
			continue
		}
		if file == nil || of != a {
			f, err := os.Open(s.segmentPath(a))
			if errors.Is(err, os.ErrNotExist) {
				return outputLost(a, err)
			}
			if err != nil {
				return fmt.Errorf("output of %s: %w", a, err)
			}
			if file != nil {
				_ = file.Close()
			}
			file, of = f, a
		}
		if n, err := file.ReadAt(into, piece.Offset); n < len(into) {
			return outputLost(a, fmt.Errorf("at byte %d of its segment: %w", piece.Offset+int64(n), err))
		}
	}
	return nil
}

func outputLost(a job.Attempt, err error) error {
	return &job.Failure{Kind: job.InputLost, Message: fmt.Sprintf("output of %s: %v", a, err), Lost: []job.Attempt{a}}
}

// inlineBytes returns the inline bytes of an output between two offsets in one extent.
func (s *Store) inlineBytes(a job.Attempt, from, to int64) ([]byte, error) {
	// each value holds the extents that start in its chunk
	for chunk := min(from, maxInline) / inlineChunk; chunk >= 0; chunk-- {
		key := inlineKey(a, int(chunk))
		v, err := s.table.get(key)
		if errors.Is(err, badger.ErrKeyNotFound) {
			continue
		}
		if err != nil {
			return nil, err
		}
		if v, err = openValue(key, v); err != nil {
			return nil, err
		}
		base, n := binary.Uvarint(v)
		if n <= 0 || base > maxInline {
			return nil, fmt.Errorf("value of key %q: %w", key, record.ErrCorrupt)
		}
		v = v[n:]
		if start := int64(base); start <= from {
			if to-start > int64(len(v)) {
				break
			}
			return v[from-start : to-start], nil
		}
	}
	return nil, fmt.Errorf("%w: inline bytes %d to %d are missing", record.ErrCorrupt, from, to)
}
