package shuffle

import (
	"cmp"
	"encoding/binary"
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

// Runs returns the runs of one partition of an output port, in run order. Nothing is opened before it is read.
func (s *Store) Runs(m *job.Manifest, port, part int) []job.RunReader {
	first := sort.Search(len(m.Extents), func(i int) bool {
		e := &m.Extents[i]
		return e.Port > port || e.Port == port && e.Part >= part
	})
	var runs []job.RunReader
	for i := first; i < len(m.Extents) && m.Extents[i].Port == port && m.Extents[i].Part == part; i++ {
		runs = append(runs, s.run(m, &m.Extents[i]))
	}
	return runs
}

// All returns the runs of all partitions of an output port, in order of run, then partition.
func (s *Store) All(m *job.Manifest, port int) []job.RunReader {
	var runs []job.RunReader
	for _, e := range ofPort(m, port) {
		runs = append(runs, s.run(m, e))
	}
	return runs
}

// Range returns the runs of an output port in the order of All, each restricted to the blocks that may hold keys in [lo, hi).
// A nil lo is the start and a nil hi the end of all keys. The caller cuts the records off that lie outside; runs with
// nothing inside are left out.
func (s *Store) Range(m *job.Manifest, port int, lo, hi []byte) []job.RunReader {
	var runs []job.RunReader
	for _, e := range ofPort(m, port) {
		if len(e.Blocks) == 0 {
			runs = append(runs, s.run(m, e))
			continue
		}
		// Equal keys may lie on both sides of a block's end, so a block counts when the next one starts at lo.
		from := sort.Search(len(e.Blocks)-1, func(i int) bool { return string(e.Blocks[i+1].First) >= string(lo) })
		to := len(e.Blocks)
		if hi != nil {
			to = sort.Search(len(e.Blocks), func(i int) bool { return string(e.Blocks[i].First) >= string(hi) })
		}
		if from >= to {
			continue
		}
		r := s.run(m, e)
		r.from = e.Blocks[from].Offset
		if to < len(e.Blocks) {
			r.to = e.Blocks[to].Offset
		}
		r.left = to - from
		if r.from > 0 || r.to < e.Bytes {
			r.records = 0
			for _, b := range e.Blocks[from:to] {
				r.records += b.Records
			}
			r.whole = false
			r.raw = int64(float64(e.Raw) * float64(r.to-r.from) / float64(e.Bytes))
		}
		runs = append(runs, r)
	}
	return runs
}

// ofPort returns the extents of a port in order of run, then partition.
func ofPort(m *job.Manifest, port int) []*job.Extent {
	var es []*job.Extent
	for i := range m.Extents {
		if m.Extents[i].Port == port {
			es = append(es, &m.Extents[i])
		}
	}
	slices.SortStableFunc(es, func(a, b *job.Extent) int { return cmp.Compare(a.Run, b.Run) })
	return es
}

// run reads a part of one extent.
type run struct {
	s            *Store
	attempt      job.Attempt
	e            *job.Extent
	from, to     int64 // relative to the extent
	records, raw int64
	whole        bool // from and to are those of the extent
	ahead        int
	left         int // of a Range: blocks still to come

	got    int64 // raw bytes returned
	opened bool
	file   *os.File
	frames *record.FrameReader
	inline []byte
}

func (s *Store) run(m *job.Manifest, e *job.Extent) *run {
	return &run{s: s, attempt: m.Attempt, e: e, to: e.Bytes, records: e.Records, raw: e.Raw, whole: true}
}

func (r *run) Records() int64 { return r.records }
func (r *run) Bytes() int64   { return r.raw }

// ReadAhead sets how many bytes are read at once; it is for callers that open very many runs. It has no effect
// after the first Next.
func (r *run) ReadAhead(bytes int) { r.ahead = bytes }

// Left returns how many blocks of a Range are still to come, as far as that is known. While there are any, all keys of the
// block at hand lie below the end of the range.
func (r *run) Left() int { return r.left }

func (r *run) Close() error {
	r.opened, r.inline, r.frames = true, nil, nil
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
	r.got += int64(len(block))
	r.left--
	if err == nil {
		return block, nil
	}
	if err == io.EOF && r.whole && r.got != r.raw {
		err = fmt.Errorf("%w: %d of %d bytes", record.ErrCorrupt, r.got, r.raw)
	}
	_ = r.Close()
	if err != io.EOF {
		err = r.lost(err)
	}
	return nil, err
}

func (r *run) open() error {
	if r.e.Inline {
		b, err := r.inlineBytes()
		if err != nil {
			return r.lost(err)
		}
		r.inline = b
		return nil
	}
	f, err := os.Open(r.s.segmentPath(r.attempt))
	if err != nil {
		if !errors.Is(err, fs.ErrNotExist) {
			return err // such as too many open files: the output itself may be well
		}
		return r.lost(err)
	}
	r.file = f
	r.frames = record.NewFrameReader(f, r.e.Offset+r.from, r.e.Offset+r.to, r.ahead)
	return nil
}

// inlineBytes returns the frames of an inline extent.
func (r *run) inlineBytes() ([]byte, error) {
	key := inlineKey(r.attempt, int(r.e.Offset/inlineChunk))
	v, err := r.s.value(key)
	if err != nil {
		return nil, err
	}
	if v, err = openValue(key, v); err != nil {
		return nil, err
	}
	base, n := binary.Uvarint(v)
	if n <= 0 || base > uint64(r.e.Offset) || uint64(r.e.Offset+r.e.Bytes)-base > uint64(len(v)-n) {
		return nil, fmt.Errorf("value of key %q: %w: extent lies outside", key, record.ErrCorrupt)
	}
	start := r.e.Offset - int64(base) + int64(n)
	return v[start+r.from : start+r.to], nil
}

func (r *run) lost(err error) error {
	return &job.Failure{
		Kind:    job.InputLost,
		Message: fmt.Sprintf("output of %s, port %d run %d partition %d: %v", r.attempt, r.e.Port, r.e.Run, r.e.Part, err),
		Lost:    []job.Attempt{r.attempt},
	}
}
