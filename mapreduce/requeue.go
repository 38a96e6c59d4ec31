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
)

// A run with Reporting.Requeue reads the same input as the run that set records aside, but its
// sources pass on only those records: each is found by its path and offset. Their results become
// further parts of the finished output. That gives the output of a whole run if each record is
// handled alone, so plans with a shuffle are refused.

// RequeueSink is a Sink that can add records to its finished output; see Reporting.Requeue. The
// sinks for directories of files do that.
type RequeueSink interface {
	// Requeued returns the records that FinishRequeue has added to the output of job of, which may
	// be empty for any job. If nothing can be added, it returns an error with the reason.
	Requeued(ctx context.Context, of string) ([]string, error)
	// FinishRequeue is called instead of Finish. It adds parts to the output of job of, and keeps
	// the list of records, so that none of them is added twice. Like Finish it must be idempotent.
	FinishRequeue(ctx context.Context, job string, parts [][]byte, of string, records []string) error
}

// requeue is the part of a job.Spec that selects records.
type requeue struct {
	Of      string           `json:"of,omitempty"` // job that set the records aside
	Records []recordPosition `json:"records"`      // in order
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
	if e.stage.isRequeued() {
		e.selected = r.selection()
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
// records alone. Sources leave out other files from then on. done means that the output has all
// records already.
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
	have, err := c.requeuedBefore(ctx, r.Of)
	if err != nil {
		return fail("%w", err)
	}
	before := len(r.Records)
	r.Records = slices.DeleteFunc(r.Records, func(p recordPosition) bool { return slices.Contains(have, p.id()) })
	if n := before - len(r.Records); n > 0 {
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
		if s.isRequeued() {
			s.head.skip = func(path string) bool {
				path = filesys.DisplayText(path)
				return !wanted[path] && !wanted[absolute(path)]
			}
		}
	}
	return false, nil
}

// isRequeued reports whether the source of a stage passes on selected records only. Small sides of
// joins are read as a whole.
func (s *stage) isRequeued() bool {
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

// alone are the operators that handle each record alone. The others of a stage depend on their
// neighbours, or number records.
var alone = []string{"Read", "Map", "TryMap", "Filter", "TryFilter", "FlatMap", "FlatMapEmit", "TryFlatMap", "KeyBy", "TryKeyBy", "Union", "BroadcastJoin", "TryBroadcastJoin", "FlatMapSide"}

// canRequeue returns an error if the records cannot run without the others.
func (c *compiled) canRequeue(records []Quarantined) error {
	var whole []string
	for _, s := range c.stages {
		if s.head.wide != nil {
			whole = append(whole, fmt.Sprintf("%d (%s at %s)", s.number, s.label, s.head.at))
		}
	}
	if len(whole) > 0 {
		return fmt.Errorf("the records meet others behind a shuffle, so each stage from there on must run whole: stage %s", strings.Join(whole, ", stage "))
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
		if s.head.read != nil && !s.isRequeued() && slices.ContainsFunc(s.ends, func(x *end) bool { return !x.side }) {
			return fmt.Errorf("stage %d (%s) is the small side of a join and has other readers", s.number, s.label)
		}
	}
	for _, n := range c.plan.nodes {
		if !slices.Contains(alone, n.op) && n.op != "Nothing" {
			return fmt.Errorf("stage with %s at %s must run whole: its result depends on other records", n.label(), n.at)
		}
	}
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
	for _, n := range c.plan.nodes {
		readers := len(c.outs[n])
		for _, r := range c.readers[n] {
			if r.n.side == nil || r.input == 0 {
				readers++
			}
		}
		if readers > 1 {
			return fmt.Sprintf("%s at %s has several readers", n.label(), n.at)
		}
		// Behind it, even a sink may set records aside.
		if slices.Contains([]string{"FlatMap", "FlatMapEmit", "TryFlatMap", "FlatMapSide"}, n.op) {
			return fmt.Sprintf("%s at %s makes several records of one", n.label(), n.at)
		}
	}
	return ""
}

// stillBad are records of a requeue that were set aside once more.
type stillBad map[recordPosition]bool

func (b stillBad) add(line []byte) error {
	var q Quarantined
	if err := json.Unmarshal(line, &q); err != nil {
		return err
	}
	b[positionOf(&q)] = true
	return nil
}

// finishRequeue adds the repaired records to the output. The other ones remain in the quarantine
// file, which is replaced last: until the output has the records, they are needed.
func (j *Job) finishRequeue(ctx context.Context, manifests []*job.Manifest, producers []job.Producer) error {
	r, bad := j.target.requeue, stillBad{}
	if n := j.counters[requeuedCounter]; n != int64(len(r.Records)) {
		return fmt.Errorf("requeue %s: at the places of its %s the input has %d: it has changed, or several records have one place; run the job as a whole",
			j.target.Requeue, report.Plural(len(r.Records), "record"), n)
	}
	tmp := j.target.Quarantine + ".tmp"
	defer os.Remove(tmp)
	if err := j.writeBad(tmp, manifests, producers, bad.add); err != nil {
		return err
	}
	// The whole run was within the limits of the plan, so what is left of its bad records is.
	var added []string
	for _, p := range r.Records {
		if !bad[p] {
			added = append(added, p.id())
		}
	}
	for _, o := range j.c.plan.outs {
		if err := o.sink.requeue.FinishRequeue(ctx, j.ID(), j.partsOf(o, manifests), r.Of, added); err != nil {
			return fmt.Errorf("%s: %w", o.sink.name, err)
		}
	}
	if err := os.Rename(tmp, j.target.Quarantine); err != nil {
		return fmt.Errorf("quarantine: %w", err)
	}
	j.hasQuarantine = true
	j.noteRequeue(len(added))
	return nil
}

// noteRequeue prints what the run did.
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
