package recorder

import (
	"errors"
	"io/fs"
	"slices"
	"sort"
	"strings"
	"time"

	"github.com/layshaft/layshaft/internal/history"
	"github.com/layshaft/layshaft/internal/job"
	"github.com/layshaft/layshaft/internal/report"
)

const (
	// maxLines is the limit of the lines of one job, in bytes. Beyond it, the first and the latest
	// lines are kept.
	maxLines = 2 << 20
	// fullSegment is the size of a full segment, in bytes.
	fullSegment = 128 << 10
	lineCost    = 64 // bytes of a line beside its texts
	nameCost    = 16 // bytes of the name of an attempt beside its text
)

// lineSize returns about the bytes of a line.
func lineSize(l *report.Line) int {
	n := lineCost + len(l.Text)
	for _, a := range l.Attempts {
		n += nameCost + len(a)
	}
	return n
}

// segment is a part of the lines of a job, in a chunk of its own. The last one grows.
type segment struct {
	n           int // number of the chunk
	count, size int // lines, and their bytes
	dirty       bool
}

// Wrote adds lines that user code of a job wrote.
func (r *Recorder) Wrote(id job.ID, lines []report.Line) {
	r.mu.Lock()
	defer r.mu.Unlock()
	x := r.of(id)
	x.dirty = true
	for _, l := range lines {
		l.Text = strings.ToValidUTF8(l.Text, "\uFFFD")
		l.Number = time.Now().UnixMicro()
		if k := len(x.run.Lines); k > 0 {
			l.Number = max(l.Number, x.run.Lines[k-1].Number+1)
		}
		if k := len(x.segments); k == 0 || x.segments[k-1].size >= fullSegment {
			r.seq++
			x.segments = append(x.segments, segment{n: r.seq})
			x.dropLines()
		}
		s := &x.segments[len(x.segments)-1]
		s.count, s.size, s.dirty = s.count+1, s.size+lineSize(&l), true
		x.run.Lines = append(x.run.Lines, l)
	}
}

// dropLines drops the second segment if there are too many. The caller holds Recorder.mu.
func (x *recording) dropLines() {
	if len(x.segments) <= maxLines/fullSegment {
		return
	}
	first, s := &x.segments[0], x.segments[1]
	own := 0
	for i := range x.segments {
		own += x.segments[i].count
	}
	from := len(x.run.Lines) - own + first.count
	to := from + s.count
	gone := int64(s.count)
	for i := range x.run.Lines[from:to] {
		gone += x.run.Lines[from+i].Omitted
	}
	x.run.Lines = slices.Concat(x.run.Lines[:from], x.run.Lines[to:]) // readers have the old slice
	if from < len(x.run.Lines) {
		x.run.Lines[from].Omitted += gone
		x.segments[2].dirty = true
	}
	x.obsolete = append(x.obsolete, s.n)
	x.segments = slices.Delete(x.segments, 1, 2)
}

// writeLines writes the changed segments of a job. The caller holds writing.
func (r *Recorder) writeLines(id job.ID) error {
	r.mu.Lock()
	x := r.jobs[id]
	if x == nil || r.files == nil {
		r.mu.Unlock()
		return nil
	}
	chunks := map[int][]report.Line{}
	end := len(x.run.Lines)
	for i := len(x.segments) - 1; i >= 0; i-- {
		s := &x.segments[i]
		if s.dirty {
			chunks[s.n] = x.run.Lines[end-s.count : end]
			s.dirty = false
		}
		end -= s.count
	}
	obsolete := x.obsolete
	x.obsolete = nil
	r.mu.Unlock()
	var errs []error
	for n, lines := range chunks {
		var c history.Chunk
		c.Lines(lines)
		errs = append(errs, r.files.Write(r.file(id, n), c.Bytes()))
	}
	for _, n := range obsolete {
		if err := r.files.Remove(r.file(id, n)); !errors.Is(err, fs.ErrNotExist) {
			errs = append(errs, err)
		}
	}
	err := errors.Join(errs...)
	if err != nil { // write them again
		r.mu.Lock()
		defer r.mu.Unlock()
		x.dirty, x.obsolete = true, append(x.obsolete, obsolete...)
		for i := range x.segments {
			x.segments[i].dirty = x.segments[i].dirty || chunks[x.segments[i].n] != nil
		}
	}
	return err
}

// Lines returns the lines of a job with numbers above after. The caller must not change them.
// It returns the errors of Open.
func (r *Recorder) Lines(id job.ID, after int64) ([]report.Line, error) {
	run, err := r.Open(id)
	if err != nil {
		return nil, err
	}
	return run.Lines[sort.Search(len(run.Lines), func(i int) bool { return run.Lines[i].Number > after }):], nil
}
