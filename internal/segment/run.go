// Package segment reads the runs of outputs: a sorted sequence of blocks that one attempt wrote for
// one partition, stored as frames of package record. The bytes lie in a file of this machine, in
// memory, or on another worker. The process that needs the records reads a file by itself: a child
// with user code gets its place, see File, and no other process copies the bytes.
package segment

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"

	"github.com/layshaft/layshaft/internal/job"
	"github.com/layshaft/layshaft/internal/record"
)

// File is a run, or a part of it, whose frames lie in a file of this machine.
type File struct {
	Path     string
	From, To int64 // offsets of the frames in the file
	Attempt  job.Attempt
	// Port, Number and Partition are what the attempt wrote the run for.
	Port, Number, Partition int
	Records, Bytes          int64 // totals, bytes before compression
	// IsWhole reports that the frames have all Bytes; otherwise Bytes is an estimate.
	IsWhole bool
	// Blocks is the known number of blocks, for a part of a run that is limited by keys, or zero.
	Blocks int
	// Ahead is how many bytes are read at once; zero means record.ReadAhead.
	Ahead int
	// Lo and Hi limit the keys to [Lo, Hi). A nil Lo is the start and a nil Hi the end of all keys.
	Lo, Hi []byte
}

// Open returns a reader of the run. The file is opened on the first read.
func (f File) Open() job.RunReader {
	lo, hi := f.Lo, f.Hi
	f.Lo, f.Hi = nil, nil
	return Trim(&Run{File: f}, lo, hi)
}

// OpenOr is Open, but reads other if this process cannot open the file: it may have other files
// than the process that named the place. other has the same records.
func (f File) OpenOr(other job.RunReader) job.RunReader {
	lo, hi := f.Lo, f.Hi
	f.Lo, f.Hi = nil, nil
	r := &Run{File: f}
	return &eitherRun{RunReader: Trim(r, lo, hi), file: r, other: other}
}

// eitherRun reads a file, or another run if the file cannot be opened.
type eitherRun struct {
	job.RunReader
	file  *Run
	other job.RunReader // nil after the first Next
}

// Next returns the next block; see job.RunReader.
func (e *eitherRun) Next() ([]byte, error) {
	if e.other != nil && !e.file.opened {
		e.file.opened = true
		if e.file.open() != nil {
			e.RunReader = e.other
		}
	}
	e.other = nil
	return e.RunReader.Next()
}

// Bytes reads stored bytes on another worker. ReadAt takes offsets in rising order. An error of
// ReadAt means the output is lost, unless it wraps a *job.Failure of another kind.
type Bytes interface {
	io.ReaderAt
	io.Closer
	// ReadAhead sets how many bytes are read at once. If called at all, it is called before the
	// first ReadAt.
	ReadAhead(bytes int)
}

// Run reads the blocks of a run. It is a job.RunReader.
type Run struct {
	File // of these fields, Path is empty if Remote or Inline is set
	// Remote has the bytes if they are on another worker.
	Remote Bytes
	// Inline returns the bytes if they are not in a file.
	Inline func() ([]byte, error)

	returned int64 // raw bytes returned
	opened   bool
	file     *os.File
	frames   *record.FrameReader
	inline   []byte
}

// Records returns the number of records, and Bytes the bytes before compression.
func (r *Run) Records() int64 { return r.File.Records }

// Bytes returns the number of bytes before compression.
func (r *Run) Bytes() int64 { return r.File.Bytes }

// Local returns the place of the run, if it lies in a file and nothing was read yet.
func (r *Run) Local() (f File, ok bool) {
	return r.File, r.Remote == nil && r.Inline == nil && !r.opened
}

// ReadAhead sets how many bytes are read at once, for callers with very many open runs. It has no
// effect after the first Next.
func (r *Run) ReadAhead(bytes int) {
	r.Ahead = bytes
	if r.Remote != nil {
		r.Remote.ReadAhead(bytes)
	}
}

// BlocksLeft returns the known number of blocks still to come. While it is above zero, all keys of
// the current block are below the end of the range.
func (r *Run) BlocksLeft() int { return r.Blocks }

// Close ends the reading.
func (r *Run) Close() error {
	r.opened, r.inline, r.frames = true, nil, nil
	if r.Remote != nil {
		return r.Remote.Close()
	}
	if r.file == nil {
		return nil
	}
	err := r.file.Close()
	r.file = nil
	return err
}

// Next returns the next block; see job.RunReader.
func (r *Run) Next() (block []byte, err error) {
	if !r.opened {
		r.opened = true
		if err := r.open(); err != nil {
			return nil, err
		}
	}
	switch {
	case r.frames != nil:
		block, err = r.frames.Next()
	case len(r.inline) > 0:
		block, r.inline, err = record.DecodeFrame(r.inline)
	default:
		return nil, io.EOF
	}
	r.returned += int64(len(block))
	r.Blocks--
	if err == nil {
		return block, nil
	}
	if err == io.EOF && r.IsWhole && r.returned != r.File.Bytes {
		err = fmt.Errorf("%w: %d of %d bytes", record.ErrCorrupt, r.returned, r.File.Bytes)
	}
	_ = r.Close()
	var f *job.Failure
	if err != io.EOF && !errors.As(err, &f) {
		err = r.Lost(err)
	}
	return nil, err
}

func (r *Run) open() error {
	switch {
	case r.Remote != nil:
		r.frames = record.NewFrameReader(r.Remote, r.From, r.To, r.Ahead)
		return nil
	case r.Inline != nil:
		b, err := r.Inline()
		if err != nil {
			return r.Lost(err)
		}
		r.inline = b
		return nil
	}
	f, err := os.Open(r.Path)
	if err != nil {
		if !errors.Is(err, fs.ErrNotExist) {
			return err // for example too many open files: the output itself may be intact
		}
		return r.Lost(err)
	}
	r.file = f
	r.frames = record.NewFrameReader(f, r.From, r.To, r.Ahead)
	return nil
}

// Lost returns the failure of a reader that cannot read the run.
func (r *Run) Lost(err error) error {
	return &job.Failure{
		Kind:    job.InputLost,
		Message: fmt.Sprintf("output of %s, port %d run %d partition %d: %v", r.Attempt, r.Port, r.Number, r.Partition, err),
		Lost:    []job.Attempt{r.Attempt},
	}
}
