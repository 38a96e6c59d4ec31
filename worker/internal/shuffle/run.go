package shuffle

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"
	"sort"

	"github.com/layshaft/layshaft/internal/job"
	"github.com/layshaft/layshaft/internal/record"
)

// Runs returns the runs of one partition of an output port, in run order. Files are opened on the
// first read.
func (s *Store) Runs(m *job.Manifest, port, part int) []job.RunReader {
	return partitionRuns(m, port, part, s.run)
}

// All returns the runs of all partitions of an output port, in order of run, then partition.
func (s *Store) All(m *job.Manifest, port int) []job.RunReader { return allRuns(m, port, s.run) }

// Range returns the runs of an output port in the order of All, limited to blocks that may hold
// keys in [lo, hi). A nil lo is the start and a nil hi the end of all keys. The caller removes the
// remaining records outside. Runs without a block inside are left out.
func (s *Store) Range(m *job.Manifest, port int, lo, hi []byte) []job.RunReader {
	return rangeRuns(m, port, lo, hi, s.run)
}

// Bytes reads stored bytes of an extent on another worker. ReadAt takes offsets within the segment
// or the inline bytes, in rising order. An error of ReadAt means the output is lost, unless it
// wraps a *job.Failure of another kind.
type Bytes interface {
	io.ReaderAt
	io.Closer
	// ReadAhead sets how many bytes are read at once. If called at all, it is called before the
	// first ReadAt.
	ReadAhead(bytes int)
}

// Remote reads outputs on other workers. It returns the bytes between two offsets of an attempt's
// segment or, when inline is set, of its inline bytes. The caller closes them.
type Remote func(a job.Attempt, inline bool, from, to int64) Bytes

// Runs is like Store.Runs.
func (f Remote) Runs(m *job.Manifest, port, part int) []job.RunReader {
	return partitionRuns(m, port, part, f.run)
}

// All is like Store.All.
func (f Remote) All(m *job.Manifest, port int) []job.RunReader { return allRuns(m, port, f.run) }

// Range is like Store.Range.
func (f Remote) Range(m *job.Manifest, port int, lo, hi []byte) []job.RunReader {
	return rangeRuns(m, port, lo, hi, f.run)
}

func (f Remote) run(m *job.Manifest, e *job.Extent, from, to int64) *run {
	r := newRun(m, e, from, to)
	r.remote = f(m.Attempt, e.Inline, e.Offset+from, e.Offset+to)
	return r
}

func (s *Store) run(m *job.Manifest, e *job.Extent, from, to int64) *run {
	r := newRun(m, e, from, to)
	r.s = s
	return r
}

// opener returns the run of the bytes between two offsets of an extent.
type opener func(m *job.Manifest, e *job.Extent, from, to int64) *run

func partitionRuns(m *job.Manifest, port, part int, open opener) []job.RunReader {
	var runs []job.RunReader
	es := extentsOf(m, port, part)
	for i := range es {
		runs = append(runs, open(m, &es[i], 0, es[i].Bytes))
	}
	return runs
}

// extentsOf returns the extents of one partition of an output port, in run order. They are shared
// with m.
func extentsOf(m *job.Manifest, port, part int) []job.Extent {
	from := sort.Search(len(m.Extents), func(i int) bool {
		e := &m.Extents[i]
		return e.Port > port || e.Port == port && e.Partition >= part
	})
	to := from
	for to < len(m.Extents) && m.Extents[to].Port == port && m.Extents[to].Partition == part {
		to++
	}
	return m.Extents[from:to:to]
}

func allRuns(m *job.Manifest, port int, open opener) []job.RunReader {
	var runs []job.RunReader
	for _, e := range portExtents(m, port) {
		runs = append(runs, open(m, e, 0, e.Bytes))
	}
	return runs
}

func rangeRuns(m *job.Manifest, port int, lo, hi []byte, open opener) []job.RunReader {
	var runs []job.RunReader
	for _, e := range portExtents(m, port) {
		if len(e.Blocks) == 0 {
			runs = append(runs, open(m, e, 0, e.Bytes))
			continue
		}
		// Equal keys may lie on both sides of a block's end, so a block counts even if the next one
		// starts at lo.
		first := sort.Search(len(e.Blocks)-1, func(i int) bool { return string(e.Blocks[i+1].First) >= string(lo) })
		end := len(e.Blocks)
		if hi != nil {
			end = sort.Search(len(e.Blocks), func(i int) bool { return string(e.Blocks[i].First) >= string(hi) })
		}
		if first >= end {
			continue
		}
		from, to := e.Blocks[first].Offset, e.Bytes
		if end < len(e.Blocks) {
			to = e.Blocks[end].Offset
		}
		r := open(m, e, from, to)
		r.left = end - first
		if !r.coversExtent {
			r.records = 0
			for _, b := range e.Blocks[first:end] {
				r.records += b.Records
			}
			r.raw = int64(float64(e.Raw) * float64(to-from) / float64(e.Bytes))
		}
		runs = append(runs, r)
	}
	return runs
}

// portExtents returns the extents of a port in order of run, then partition.
func portExtents(m *job.Manifest, port int) []*job.Extent {
	var es []*job.Extent
	for i := range m.Extents {
		if m.Extents[i].Port == port {
			es = append(es, &m.Extents[i])
		}
	}
	slices.SortStableFunc(es, func(a, b *job.Extent) int { return cmp.Compare(a.Run, b.Run) })
	return es
}

// run reads an extent, or some of its blocks.
type run struct {
	s            *Store // holder of the bytes; nil for remote ones
	remote       Bytes  // source of the bytes; nil for local ones
	attempt      job.Attempt
	e            *job.Extent
	from, to     int64 // offsets in the extent
	records, raw int64
	coversExtent bool // from and to are the ends of the extent
	ahead        int
	left         int // of a Range: number of blocks still to come

	returned int64 // raw bytes returned
	opened   bool
	file     *os.File
	frames   *record.FrameReader
	inline   []byte
}

func newRun(m *job.Manifest, e *job.Extent, from, to int64) *run {
	return &run{attempt: m.Attempt, e: e, from: from, to: to, records: e.Records, raw: e.Raw, coversExtent: from == 0 && to == e.Bytes}
}

func (r *run) Records() int64 { return r.records }
func (r *run) Bytes() int64   { return r.raw }

// ReadAhead sets how many bytes are read at once, for callers with very many open runs. It has no
// effect after the first Next.
func (r *run) ReadAhead(bytes int) {
	r.ahead = bytes
	if r.remote != nil {
		r.remote.ReadAhead(bytes)
	}
}

// BlocksLeft returns the known number of blocks of a Range still to come. While it is above zero,
// all keys of the current block are below the end of the range.
func (r *run) BlocksLeft() int { return r.left }

func (r *run) Close() error {
	r.opened, r.inline, r.frames = true, nil, nil
	if r.remote != nil {
		return r.remote.Close()
	}
	if r.file == nil {
		return nil
	}
	err := r.file.Close()
	r.file = nil
	return err
}

// Next returns the next block; see job.RunReader.
func (r *run) Next() (block []byte, err error) {
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
	r.left--
	if err == nil {
		return block, nil
	}
	if err == io.EOF && r.coversExtent && r.returned != r.raw {
		err = fmt.Errorf("%w: %d of %d bytes", record.ErrCorrupt, r.returned, r.raw)
	}
	_ = r.Close()
	var f *job.Failure
	if err != io.EOF && !errors.As(err, &f) {
		err = r.inputLost(err)
	}
	return nil, err
}

func (r *run) open() error {
	if r.remote != nil {
		r.frames = record.NewFrameReader(r.remote, r.e.Offset+r.from, r.e.Offset+r.to, r.ahead)
		return nil
	}
	if r.e.Inline {
		b, err := r.s.inlineBytes(r.attempt, r.e.Offset+r.from, r.e.Offset+r.to)
		if err != nil {
			return r.inputLost(err)
		}
		r.inline = b
		return nil
	}
	f, err := os.Open(r.s.segmentPath(r.attempt))
	if err != nil {
		if !errors.Is(err, fs.ErrNotExist) {
			return err // for example too many open files: the output itself may be intact
		}
		return r.inputLost(err)
	}
	r.file = f
	r.frames = record.NewFrameReader(f, r.e.Offset+r.from, r.e.Offset+r.to, r.ahead)
	return nil
}

func (r *run) inputLost(err error) error {
	return &job.Failure{
		Kind:    job.InputLost,
		Message: fmt.Sprintf("output of %s, port %d run %d partition %d: %v", r.attempt, r.e.Port, r.e.Run, r.e.Partition, err),
		Lost:    []job.Attempt{r.attempt},
	}
}
