package mapreduce

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/zeebo/xxh3"

	"github.com/layshaft/layshaft/internal/filesys"
	"github.com/layshaft/layshaft/internal/job"
	"github.com/layshaft/layshaft/internal/report"
	"github.com/layshaft/layshaft/internal/state"
)

// A run with Reporting.Requeue reads the same input as the run that set records aside, but its
// sources pass on only the set-aside records, found by path and offset. In a plan without a
// shuffle, their results become further parts of the finished output. If each record is handled
// alone, the output equals the output of a whole run. In a plan whose first shuffles are
// aggregates, the records are merged into the partial results of these, and a new output replaces
// the old one; see partials.go. Other plans are refused.

// requeue is the part of a job.Spec that selects records.
type requeue struct {
	Of      string           `json:"of,omitempty"` // job that set the records aside
	Records []recordPosition `json:"records"`      // in order
	// Merge are the partial results with which the records are merged; none if the records become
	// further parts of the output.
	Merge []mergeInput `json:"merge,omitempty"`

	have []string // records that are in the output already
}

// encode returns the content of job.Spec.Requeue; nil for all records.
func (r *requeue) encode() []byte {
	if r == nil {
		return nil
	}
	text, _ := json.Marshal(r) // texts and numbers cannot fail
	return text
}

// recordPosition is the position of a record in the input.
type recordPosition struct {
	Path   string `json:"path"`
	Offset int64  `json:"offset"`
}

// positionOf returns the position of a record. The path of a file of this machine is absolute, as
// on a cluster.
func positionOf(q *Quarantined) recordPosition {
	path := q.Source
	if _, err := os.Stat(path); err == nil && filesys.Scheme(path) == "" {
		path = absolute(path)
	}
	return recordPosition{path, q.Offset}
}

// id returns a text for the lists of sinks.
func (p recordPosition) id() string {
	return fmt.Sprintf("%016x", xxh3.HashString(fmt.Sprintf("%s %d", p.Path, p.Offset)))
}

func comparePositions(a, b recordPosition) int {
	if c := strings.Compare(a.Path, b.Path); c != 0 {
		return c
	}
	return int(min(max(a.Offset-b.Offset, -1), 1))
}

// selection passes the records of a requeue on, in one attempt.
type selection struct {
	by map[string]map[int64]bool

	path    string // the last one
	offsets map[int64]bool
	found   int64
}

func (r *requeue) selection() *selection {
	s := &selection{by: map[string]map[int64]bool{}}
	for _, p := range r.Records {
		if s.by[p.Path] == nil {
			s.by[p.Path] = map[int64]bool{}
		}
		s.by[p.Path][p.Offset] = true
	}
	return s
}

// has reports whether the record at a position is selected, and counts it.
func (s *selection) has(path string, offset int64) bool {
	if path != s.path || s.offsets == nil {
		text := filesys.DisplayText(path)
		if s.path, s.offsets = path, s.by[text]; s.offsets == nil {
			s.offsets = s.by[absolute(text)]
		}
	}
	if !s.offsets[offset] {
		return false
	}
	s.found++
	return true
}

// selectRecords sets which records of its source an attempt passes on.
func (e *env) selectRecords(spec *job.Spec) error {
	if len(spec.Requeue) == 0 {
		return nil
	}
	var r requeue
	if err := json.Unmarshal(spec.Requeue, &r); err != nil {
		return fmt.Errorf("requeue of job %s: %w", spec.ID, err)
	}
	if r.Of != "" {
		e.quarantineJob = r.Of
	}
	switch {
	case e.stage.isRequeued(len(r.Merge) > 0):
		e.selected = r.selection()
	case e.stage.countsRequeued:
		e.counted = r.selection()
	}
	for i := range r.Merge {
		if m := &r.Merge[i]; m.Node == e.stage.head.id {
			if e.run.Attempt.Task.Index >= len(m.Parts) {
				return fmt.Errorf("requeue of job %s: %s has other partitions than its partial results", spec.ID, e.stage.label)
			}
			e.kept, e.keptParts = &m.Parts[e.run.Attempt.Task.Index], len(m.Parts)
		}
	}
	return nil
}

// readQuarantine reads a quarantine file.
func readQuarantine(path string) ([]Quarantined, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("%w; give the quarantine file that the finished run has named", err)
	}
	var all []Quarantined
	for i, line := range bytes.Split(text, []byte("\n")) {
		if len(line) == 0 {
			continue
		}
		var q Quarantined
		if err := json.Unmarshal(line, &q); err != nil {
			return nil, fmt.Errorf("%s:%d is no line of a quarantine file: %w", path, i+1, err)
		}
		all = append(all, q)
	}
	return all, nil
}

// planRequeue reads the file of Reporting.Requeue. It returns an error if the plan cannot run its
// records alone. Afterwards, sources leave out files without such records. done means that the
// output has all records already.
func (c *compiled) planRequeue(ctx context.Context, t *settings) (done bool, err error) {
	if t.Requeue == "" {
		return false, nil
	}
	fail := func(format string, args ...any) (bool, error) {
		return false, fmt.Errorf("plan %s: requeue %s: %w", c.plan.name, t.Requeue, fmt.Errorf(format, args...))
	}
	lines, err := readQuarantine(t.Requeue)
	if err != nil {
		return fail("%w", err)
	}
	r := &requeue{}
	for i := range lines {
		q := &lines[i]
		if r.Of == "" {
			r.Of = q.Job
		}
		switch {
		case q.Job != r.Of:
			return fail("it has records of the jobs %s and %s; keep the records of one job", r.Of, q.Job)
		case q.Source == "":
			return fail("a record that %s set aside has no place in the input (%s); run the job as a whole", q.Operator, q.Error)
		}
		r.Records = append(r.Records, positionOf(q))
	}
	slices.SortFunc(r.Records, comparePositions)
	r.Records = slices.Compact(r.Records)
	if err := c.canRequeue(lines); err != nil {
		return fail("%w; run the job as a whole", err)
	}
	if len(r.Records) == 0 {
		t.note("%s has no records, so nothing runs", t.Requeue)
		return true, nil
	}
	before := c.requeuedBefore
	if c.partials != nil {
		before = func(ctx context.Context, _ string) ([]string, error) { return c.planMerge(ctx, r) }
	}
	have, err := before(ctx, r.Of)
	if err != nil {
		return fail("%w; run the job as a whole", err)
	}
	r.have = have
	all := len(r.Records)
	r.Records = slices.DeleteFunc(r.Records, func(p recordPosition) bool { return slices.Contains(have, p.id()) })
	if n := all - len(r.Records); n > 0 {
		t.note("%s of %s in the output already", report.Plural(n, "record"), t.Requeue)
	}
	t.requeue = r
	if len(r.Records) == 0 {
		return true, nil
	}
	wanted := map[string]bool{}
	for _, p := range r.Records {
		wanted[p.Path] = true
	}
	for _, s := range c.stages {
		if s.isRequeued(len(r.Merge) > 0) {
			s.head.skip = func(path string) bool {
				path = filesys.DisplayText(path)
				return !wanted[path] && !wanted[absolute(path)]
			}
		}
	}
	return false, nil
}

// isRequeued reports whether the source of a stage passes on selected records only. Small sides of
// joins are read as a whole. With merge, so are sources that no partial results have.
func (s *stage) isRequeued(merge bool) bool {
	if merge {
		return s.merged
	}
	return s.head != nil && s.head.read != nil && !slices.ContainsFunc(s.ends, func(x *end) bool { return x.side })
}

// requeuedBefore returns the records that all sinks have already.
func (c *compiled) requeuedBefore(ctx context.Context, of string) (all []string, err error) {
	for i, o := range c.plan.outs {
		have, err := o.sink.requeue.Requeued(ctx, of)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", o.sink.name, err)
		}
		if i == 0 {
			all = have
		}
		all = slices.DeleteFunc(slices.Clone(all), func(r string) bool { return !slices.Contains(have, r) })
	}
	return all, nil
}

// isAlone reports whether an operator handles each record alone. The others of a stage depend on
// their neighbours, or number records.
func (n *node) isAlone() bool { return n.anyOrder || n.union || n.side != nil || n.read != nil }

// canRequeue returns an error if the records cannot run without the others.
func (c *compiled) canRequeue(records []Quarantined) error {
	if c.unmergeable != nil {
		return c.unmergeable
	}
	if c.partials != nil {
		return c.canSplit(records)
	}
	outputs := 0
	for _, o := range c.plan.outs {
		switch {
		case o.sink == nil:
			return fmt.Errorf("the rows at %s go to the program, and are in no file to which others could be added", o.at)
		case o.sink.requeue == nil:
			return fmt.Errorf("%s cannot add records to its finished output", o.sink.name)
		}
		outputs++
	}
	if outputs == 0 {
		return errors.New("the plan writes nothing")
	}
	for _, s := range c.stages {
		if s.head.read != nil && !s.isRequeued(false) && slices.ContainsFunc(s.ends, func(x *end) bool { return !x.side }) {
			return fmt.Errorf("stage %d (%s) is the small side of a join and has other readers", s.number, s.label)
		}
	}
	for _, n := range c.plan.nodes {
		if !n.isAlone() {
			return fmt.Errorf("stage with %s at %s must run whole: its result depends on other records", n.label(), n.at)
		}
	}
	return c.canSplit(records)
}

// canSplit returns an error if other parts of the records may be in the output.
func (c *compiled) canSplit(records []Quarantined) error {
	for i := range records {
		q := &records[i]
		if q.Operator == "read" || q.Operator == "panic" || q.Operator == "crash" {
			continue // nothing of the record went on
		}
		if at := c.splitsRecords(); at != "" {
			return fmt.Errorf("%s set a part of a record aside (%s at byte %d), and other parts may be in the output: %s", q.Operator, q.Source, q.Offset, at)
		}
	}
	return nil
}

// splitsRecords returns where the plan makes several records of one before an operator that may set
// one of them aside; empty if it does so nowhere.
func (c *compiled) splitsRecords() string {
	for _, s := range c.stages {
		if !s.isRequeued(c.partials != nil) {
			continue
		}
		if text := c.splitsBehind(s.head); text != "" {
			return text
		}
	}
	return ""
}

// splitsBehind is splitsRecords for n and the operators behind it in its stage.
func (c *compiled) splitsBehind(n *node) (text string) {
	readers, refuses := len(c.outs[n]), len(c.outs[n]) > 0 // a sink may set records aside, too
	for _, r := range c.readers[n] {
		if r.n.side != nil && r.input == 1 {
			continue
		}
		readers++
		if r.n.wide == nil {
			if text == "" {
				text = c.splitsBehind(r.n)
			}
			refuses = refuses || c.setsAside(r.n)
		}
	}
	switch {
	case n.op == "TryFlatMap" || n.op == "FlatMapSide":
		return fmt.Sprintf("%s at %s makes several records of one", n.label(), n.at)
	case text != "" || !refuses:
		return text
	case readers > 1:
		return fmt.Sprintf("%s at %s has several readers", n.label(), n.at)
	case n.op == "FlatMap" || n.op == "FlatMapEmit":
		return fmt.Sprintf("%s at %s makes several records of one", n.label(), n.at)
	}
	return ""
}

// setsAside reports whether n or an operator behind it in its stage may set a part of a record
// aside.
func (c *compiled) setsAside(n *node) bool {
	return strings.HasPrefix(n.op, "Try") || n.op == "FlatMapSide" || len(c.outs[n]) > 0 || slices.ContainsFunc(c.readers[n], func(r reader) bool {
		return r.n.wide == nil && (r.n.side == nil || r.input == 0) && c.setsAside(r.n)
	})
}

// stillBad are records of a requeue that were set aside once more.
type stillBad map[recordPosition]bool

// errNoPlace means that a record without a place in the input is bad.
var errNoPlace = errors.New("has no place in the input; run the job as a whole")

func (b stillBad) add(line []byte) error {
	var q Quarantined
	if err := json.Unmarshal(line, &q); err != nil {
		return err
	}
	if q.Source == "" {
		return fmt.Errorf("a record that %s set aside (%s) %w", q.Operator, q.Error, errNoPlace)
	}
	b[positionOf(&q)] = true
	return nil
}

// finishRequeue adds the repaired records to the output. Records that are bad again remain in the
// quarantine file. The file is replaced last, because a killed run needs its old content.
func (j *Job) finishRequeue(ctx context.Context, manifests []*job.Manifest, producers []job.Producer) error {
	r, bad := j.target.requeue, stillBad{}
	if n := j.counters[requeuedCounter]; n != int64(len(r.Records)) {
		return fmt.Errorf("requeue %s: at the places of its %s the input has %d: it has changed, or several records have one place; run the job as a whole",
			j.target.Requeue, report.Plural(len(r.Records), "record"), n)
	}
	path, err := state.Replaceable(j.target.Quarantine)
	if err != nil {
		return fmt.Errorf("quarantine %w", err)
	}
	tmp := path + ".tmp"
	defer os.Remove(tmp)
	if err := j.writeBad(tmp, manifests, producers, bad.add); err != nil {
		return err
	}
	// The bad records of the whole run were within the limits of the plan, so fewer are too.
	var added []string
	for _, p := range r.Records {
		if !bad[p] {
			added = append(added, p.id())
		}
	}
	if p := j.c.partials; p != nil {
		have := slices.Compact(slices.Sorted(slices.Values(slices.Concat(r.have, added))))
		if err := j.c.finishSinks(ctx, j.spec, r.Of, have, true, func(o *out) [][]byte { return j.partsOf(o, manifests) }); err != nil {
			return err
		}
		if err := j.replaceQuarantine(tmp, path, len(added)); err != nil {
			return err
		}
		finishStep("remove old partial results")
		return p.shelf.Keep(ctx, j.ID())
	}
	for _, o := range j.c.plan.outs {
		if err := o.sink.requeue.FinishRequeue(ctx, j.ID(), j.partsOf(o, manifests), r.Of, added); err != nil {
			return fmt.Errorf("%s: %w", o.sink.name, err)
		}
	}
	return j.replaceQuarantine(tmp, path, len(added))
}

// replaceQuarantine replaces the quarantine file by the records that are bad again.
func (j *Job) replaceQuarantine(tmp, path string, added int) error {
	finishStep("replace quarantine")
	if err := os.Rename(tmp, path); err != nil {
		return fmt.Errorf("quarantine: %w", err)
	}
	j.hasQuarantine = true
	j.noteRequeue(added)
	return nil
}

// noteRequeue prints how many records the run added, and how many it set aside again.
func (j *Job) noteRequeue(added int) {
	rest := "nothing is left in "
	if n := len(j.target.requeue.Records) - added; n > 0 {
		rest = report.Plural(n, "record") + " set aside again, in "
	}
	j.target.note("%s of %s in the output now; %s%s", report.Plural(added, "record"), filepath.Base(j.target.Requeue), rest, j.target.Quarantine)
}

// startRequeued returns the finished job of a requeue without records.
func startRequeued(t settings, name string, c *compiled) (*Job, error) {
	if t.requeue != nil && t.Quarantine == t.Requeue {
		if err := os.Truncate(t.Requeue, 0); err != nil {
			return nil, err
		}
	}
	j := &Job{name: name, c: c, spec: &job.Spec{ID: job.ID(name + "-nothing"), Name: name}, target: t, engine: idle{}, done: make(chan struct{})}
	close(j.done)
	return j, nil
}
