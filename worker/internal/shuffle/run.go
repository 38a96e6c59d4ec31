package shuffle

import (
	"cmp"
	"slices"
	"sort"

	"github.com/layshaft/layshaft/internal/job"
	"github.com/layshaft/layshaft/internal/segment"
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

// Remote reads outputs on other workers.
type Remote struct {
	// Bytes returns the bytes between two offsets of an attempt's segment or, when inline is set,
	// of its inline bytes. The caller closes them.
	Bytes func(a job.Attempt, inline bool, from, to int64) segment.Bytes
	// Path returns the path of an attempt's segment, if this process can read it, and otherwise "".
	// Nil means that it can read none.
	Path func(a job.Attempt) string
}

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

func (f Remote) run(m *job.Manifest, e *job.Extent, from, to int64) *segment.Run {
	r := newRun(m, e, from, to)
	if f.Path != nil && !e.Inline {
		r.Path = f.Path(m.Attempt)
	}
	if r.Path == "" {
		r.Remote = f.Bytes(m.Attempt, e.Inline, r.From, r.To)
	}
	return r
}

func (s *Store) run(m *job.Manifest, e *job.Extent, from, to int64) *segment.Run {
	r := newRun(m, e, from, to)
	if e.Inline {
		r.Inline = func() ([]byte, error) { return s.inlineBytes(m.Attempt, r.From, r.To) }
	} else {
		r.Path = s.segmentPath(m.Attempt)
	}
	return r
}

// newRun returns a run of the bytes between two offsets of an extent, without their source.
func newRun(m *job.Manifest, e *job.Extent, from, to int64) *segment.Run {
	return &segment.Run{File: segment.File{From: e.Offset + from, To: e.Offset + to, Attempt: m.Attempt, Port: e.Port, Number: e.Run, Partition: e.Partition,
		Records: e.Records, Bytes: e.Raw, IsWhole: from == 0 && to == e.Bytes}}
}

// opener returns the run of the bytes between two offsets of an extent.
type opener func(m *job.Manifest, e *job.Extent, from, to int64) *segment.Run

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
		r.Blocks = end - first
		if !r.IsWhole {
			r.File.Records = 0
			for _, b := range e.Blocks[first:end] {
				r.File.Records += b.Records
			}
			r.File.Bytes = int64(float64(e.Raw) * float64(to-from) / float64(e.Bytes))
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
