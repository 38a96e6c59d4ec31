package mapreduce

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/zeebo/xxh3"

	"github.com/layshaft/layshaft/internal/files"
	"github.com/layshaft/layshaft/internal/filesys"
	"github.com/layshaft/layshaft/internal/job"
	"github.com/layshaft/layshaft/internal/record"
	"github.com/layshaft/layshaft/internal/report"
	"github.com/layshaft/layshaft/internal/spill"
	"github.com/layshaft/layshaft/mapreduce/connector"
)

// A plan that sets bad records aside keeps the accumulators of its first aggregates beside its
// output, in OUTPUT-partials, if some record was bad:
//
//	sources -> Map ... -> AggregateBy -> anything -> sinks
//	                        | accumulators, before Result
//	                        v
//	                   OUTPUT-partials
//
// A later run with Reporting.Requeue reads only the bad records, and merges them into these
// accumulators. All behind the aggregates runs whole, and replaces the output. So the result is the
// output of a whole run if the order of merging does not change it.
//
// The index of OUTPUT-partials is the truth: it names the job whose output is in place, and the
// records that were merged since. finishSinks writes it after the sinks have their output. A run
// with Requeue replaces the quarantine file after that. If it is killed in between, it is repeated
// from the former accumulators, which are removed last.

// keepableRole is an aggregate whose accumulators can be kept and merged with others.
type keepableRole struct {
	key, acc string // the forms of the types that are encoded
	// ordered is why the order of merging shows; empty if it does not.
	ordered string
}

// partialResults are the kept accumulators of a plan.
type partialResults struct {
	stages []*stage // that make them, in order
	shelf  files.Shelf
	out    *out
}

// partialIndex is the index of the partial results.
type partialIndex struct {
	Layshaft int    `json:"layshaft"` // version of the format
	Job      string `json:"job"`      // job that set records aside
	Output   string `json:"output"`   // job whose output the sinks have
	// Replacing is the job that began to replace the output; empty if none has.
	Replacing string `json:"replacing,omitempty"`
	// Written is a time after the output was complete.
	Written    time.Time          `json:"written"`
	Requeued   []string           `json:"requeued,omitempty"` // records that were merged since
	Aggregates []partialAggregate `json:"aggregates"`
}

// partialAggregate are the accumulators of one aggregate, one part for each partition.
type partialAggregate struct {
	Name        string       `json:"name"`
	At          string       `json:"at"`
	Key         string       `json:"key"`
	Accumulator string       `json:"accumulator"`
	Parts       []files.Part `json:"parts"`
}

// findPartials finds the aggregates whose accumulators the plan keeps. why is the reason if a
// requeue of the plan cannot merge; nil for plans without a shuffle.
func (c *compiled) findPartials() (p *partialResults, why error) {
	var wide []*stage
	for _, s := range c.stages {
		if s.head.wide != nil {
			wide = append(wide, s)
		}
	}
	if len(wide) == 0 {
		return nil, nil
	}
	p = &partialResults{}
	ordered := map[*stage]string{}
	for _, s := range wide {
		if s.head.wide.keepable == nil || !c.followsSources(s.head) {
			continue
		}
		if ordered[s] = s.head.wide.keepable.ordered; ordered[s] == "" {
			p.stages = append(p.stages, s)
		}
	}
	for _, r := range c.stages {
		if r.head.read == nil {
			continue
		}
		var others []*end
		for _, x := range r.ends {
			if !x.side && !p.reads(x) {
				others = append(others, x)
			}
		}
		r.merged = len(others) < len(r.ends) && slices.ContainsFunc(r.ends, p.reads)
		for _, x := range others {
			switch {
			case !r.merged:
			case x.out != nil:
				return nil, fmt.Errorf("stage %d (%s at %s) must run whole: it writes records to %s and to an aggregate", r.number, r.label, r.places, x.out.label())
			default:
				s := c.stageOf(x.n)
				why := ordered[s]
				if why == "" {
					why = "it needs the other records too"
				}
				return nil, fmt.Errorf("stage %d (%s at %s) must run whole: %s", s.number, s.label, s.head.at, why)
			}
		}
	}
	if len(p.stages) == 0 {
		var whole []string
		for _, s := range wide {
			text := fmt.Sprintf("%d (%s at %s)", s.number, s.label, s.head.at)
			if ordered[s] != "" {
				text += ", whose result depends on the order of records"
			}
			whole = append(whole, text)
		}
		return nil, fmt.Errorf("the records meet others behind a shuffle, and only aggregates that merge in any order can take them alone; each stage from there on must run whole: stage %s", strings.Join(whole, ", stage "))
	}
	for _, r := range c.stages {
		if r.merged {
			if err := c.checkSidesOf(r); err != nil {
				return nil, err
			}
		}
	}
	for _, r := range c.stages {
		r.countsRequeued = r.head.read != nil && !r.merged && !slices.ContainsFunc(c.stages, func(s *stage) bool {
			return s.merged && slices.ContainsFunc(r.ends, func(x *end) bool { return s.needsWhole(x) })
		})
	}
	for _, o := range c.plan.outs {
		if o.sink != nil && o.sink.path != "" && slices.Contains([]string{"", "file", "s3"}, filesys.Scheme(o.sink.path)) {
			p.shelf.Path = strings.TrimRight(o.sink.path, "/") + "-partials"
			return p, nil
		}
	}
	return nil, errors.New("the plan writes to no path of this machine, of a shared file system or of an object store, so it keeps no partial results beside its output")
}

// reads reports whether an end leads to an aggregate with partial results.
func (p *partialResults) reads(x *end) bool {
	return !x.side && slices.ContainsFunc(p.stages, func(s *stage) bool { return s.head == x.n })
}

func (c *compiled) stageOf(n *node) *stage {
	return c.stages[slices.IndexFunc(c.stages, func(s *stage) bool { return s.head == n })]
}

// label names an output in errors.
func (o *out) label() string {
	if o.sink != nil {
		return o.sink.name
	}
	return "the rows at " + o.at
}

// followsSources reports whether only operators that handle each record alone lie between the
// sources and n.
func (c *compiled) followsSources(n *node) bool {
	for i, in := range n.in {
		if n.side != nil && i == 1 {
			continue // checked with the stage
		}
		if !in.isAlone() || in.read == nil && !c.followsSources(in) {
			return false
		}
	}
	return len(n.in) > 0
}

// needsWhole reports whether an end is a small side of a join in stage s.
func (s *stage) needsWhole(x *end) bool {
	if x.n == nil {
		return false
	}
	_, ok := s.readsSide(x)
	return ok
}

// checkSidesOf returns an error if a small side of a join in stage r depends on bad records.
func (c *compiled) checkSidesOf(r *stage) error {
	for _, o := range c.stages {
		for _, x := range o.ends {
			if !r.needsWhole(x) {
				continue
			}
			if o.head.read == nil || slices.ContainsFunc(o.ends, func(y *end) bool { return !y.side }) {
				return fmt.Errorf("stage %d (%s at %s) must run whole: %s is the small side of its join", r.number, r.label, r.places, o.label)
			}
		}
	}
	return nil
}

// addPartials makes the stages of partial results write them.
func (c *compiled) addPartials() {
	if !c.plan.allowsBad() {
		return
	}
	if c.partials, c.unmergeable = c.findPartials(); c.partials == nil {
		for _, s := range c.stages {
			s.merged = false
		}
		return
	}
	p := c.partials
	name := "partial results for -requeue in " + p.shelf.Path
	p.out = &out{name: name, n: p.stages[0].head, at: p.stages[0].head.at, sink: &sinkRole{
		name:    name,
		place:   absolute(p.shelf.Path),
		check:   p.shelf.Check,
		open:    p.open,
		abandon: p.shelf.Abandon,
	}}
	c.plan.outs = append(c.plan.outs, p.out)
	for _, s := range p.stages {
		s.ends = append(s.ends, &end{out: p.out, sink: s.sinks})
		s.sinks++
	}
}

// open starts the file of an attempt. An aggregate writes through e.keep.
func (p *partialResults) open(e *env, t connector.SinkTask, done func([]byte)) (any, func() error, error) {
	if replays.Load() {
		return nil, func() error { return nil }, nil
	}
	w, err := p.shelf.Create(e.ctx, files.Task(t))
	if err != nil {
		return nil, nil, fmt.Errorf("%s: %w", p.out.name, err)
	}
	closed := false
	e.closers = append(e.closers, func() {
		if !closed {
			w.Abort()
		}
	})
	var one, buf []byte
	e.keep = func(key, acc []byte) error {
		one = record.AppendRecord(one[:0], key, acc)
		buf = append(binary.AppendUvarint(buf[:0], uint64(len(one))), one...)
		w.Records++
		if _, err := w.Write(buf); err != nil {
			return fmt.Errorf("%s: %w", p.out.name, err)
		}
		return nil
	}
	return nil, func() error {
		part, err := w.Close()
		if err != nil {
			return fmt.Errorf("%s: %w", p.out.name, err)
		}
		closed = true
		done(part)
		return nil
	}, nil
}

// finishStep is called before each change at the end of a run, so that a test can stop it there.
var finishStep = func(string) {}

// finishSinks makes the output of all sinks visible, and the partial results behind it. of is the
// job that set the records aside, and requeued are the ones that are in the output now. keep is
// whether a later run may need partial results.
func (c *compiled) finishSinks(ctx context.Context, spec *job.Spec, of string, requeued []string, keep bool, partsOf func(o *out) [][]byte) error {
	p, id := c.partials, string(spec.ID)
	index := partialIndex{Layshaft: 1, Job: of, Output: id, Requeued: requeued}
	if p != nil && keep {
		var old partialIndex
		switch err := p.shelf.ReadIndex(ctx, &old); {
		case err == nil && old.Output != id:
			old.Replacing = id
			finishStep("mark partial results")
			if err := p.shelf.WriteIndex(ctx, old); err != nil {
				return fmt.Errorf("%s: %w", p.out.name, err)
			}
		case err != nil && !errors.Is(err, fs.ErrNotExist):
			return fmt.Errorf("%s: %w", p.out.name, err)
		}
		finishStep("move partial results")
		parts, err := p.shelf.Move(ctx, id, partsOf(p.out))
		if err != nil {
			return fmt.Errorf("%s: %w", p.out.name, err)
		}
		for _, s := range p.stages {
			k, n := s.head.wide.keepable, spec.Stages[s.number].Tasks
			if n > len(parts) {
				return fmt.Errorf("%s: it has %s, and stage %d alone has %s", p.out.name, report.Plural(len(parts), "part"), s.number, report.Plural(n, "task"))
			}
			index.Aggregates = append(index.Aggregates, partialAggregate{s.head.label(), s.head.at, k.key, k.acc, parts[:n]})
			parts = parts[n:]
		}
	}
	for _, o := range c.plan.outs {
		if o.sink == nil || p != nil && o == p.out {
			continue
		}
		finishStep("finish " + o.sink.name)
		if err := o.sink.finish(ctx, id, partsOf(o)); err != nil {
			return fmt.Errorf("%s: %w", o.sink.name, err)
		}
	}
	switch {
	case p == nil:
		return nil
	case !keep:
		return p.shelf.Remove(ctx)
	}
	// The files of the output are not younger than this.
	index.Written = time.Now().Add(time.Minute)
	finishStep("write index")
	return p.shelf.WriteIndex(ctx, index)
}

// planMerge prepares the merging of the records of a requeue into the partial results of job of.
// It returns the records that were merged before.
func (c *compiled) planMerge(ctx context.Context, r *requeue) (have []string, err error) {
	p := c.partials
	var x partialIndex
	if err := p.shelf.ReadIndex(ctx, &x); errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%s has no partial results with which the records could be merged", p.shelf.Path)
	} else if err != nil {
		return nil, err
	}
	switch {
	case x.Layshaft != 1 || x.Output == "":
		return nil, fmt.Errorf("%s has partial results of another release", p.shelf.Path)
	case r.Of != "" && x.Job != r.Of:
		return nil, fmt.Errorf("%s has the partial results of job %s, and the records are of job %s", p.shelf.Path, x.Job, r.Of)
	case len(x.Aggregates) != len(p.stages):
		return nil, fmt.Errorf("%s has the partial results of %s, and the plan has %d", p.shelf.Path, report.Plural(len(x.Aggregates), "aggregate"), len(p.stages))
	}
	for _, o := range c.plan.outs {
		if o.sink == nil || o.sink.published == nil || x.Replacing != "" {
			continue
		}
		if there, err := o.sink.published(ctx, x.Output, x.Written); err != nil {
			return nil, fmt.Errorf("%s: %w", o.sink.name, err)
		} else if !there {
			return nil, fmt.Errorf("%s has not the output of job %s any longer, whose partial results are in %s", o.sink.name, x.Output, p.shelf.Path)
		}
	}
	for i, s := range p.stages {
		a, k := &x.Aggregates[i], s.head.wide.keepable
		if a.Key != k.key || a.Accumulator != k.acc {
			return nil, fmt.Errorf("stage %d (%s at %s) must run whole: its keys and accumulators are %s and %s now, in its partial results %s and %s", s.number, s.label, s.head.at, k.key, k.acc, a.Key, a.Accumulator)
		}
		s.head.keptParts = len(a.Parts)
		m := mergeInput{Node: s.head.id}
		for j := range a.Parts {
			path, err := filesys.Lend(ctx, filesys.Join(p.shelf.Path, a.Parts[j].Name))
			if err != nil {
				return nil, err
			}
			m.Parts = append(m.Parts, keptPart{path, a.Parts[j].Bytes, a.Parts[j].XXH3})
		}
		r.Merge = append(r.Merge, m)
	}
	return x.Requeued, nil
}

// mergeInput are the partial results of an aggregate, by partition.
type mergeInput struct {
	Node  int        `json:"node"`
	Parts []keptPart `json:"parts"`
}

// mergeKept is merge for the input of an aggregate: its partial results of an earlier run come
// first.
func mergeKept(e *env) (*merged, error) {
	if e.kept == nil {
		return merge(e, 1)
	}
	r, err := openPartial(e, *e.kept)
	if err != nil {
		return nil, err
	}
	return mergeRuns(e, [][]job.RunReader{{r}, e.input(0)})
}

// checkPartition returns a function that fails the attempt if a key of the partial results is in
// another partition now.
func checkPartition[K any](n *node, e *env, codec *record.KeyCodec[K]) func(key []byte) {
	if e.kept == nil {
		return func([]byte) {}
	}
	of := partitioner(n, e, codec, e.keptParts)
	return func(key []byte) {
		if p := of(key, spill.Hash(key)); p != e.run.Attempt.Task.Index {
			e.fail(Fatal(fmt.Errorf("%s at %s: the keys of its partial results are in other partitions now; run the job as a whole", n.label(), n.at)))
		}
	}
}

// partialReader reads the accumulators of one partition as a run.
type partialReader struct {
	part keptPart
	file io.Closer
	in   *bufio.Reader
	hash *xxh3.Hasher
}

func openPartial(e *env, p keptPart) (*partialReader, error) {
	f, err := filesys.Open(e.ctx, p.Path, nil, nil)
	if err != nil {
		return nil, fmt.Errorf("partial results: %w", err)
	}
	r := &partialReader{part: p, file: f, hash: xxh3.New()}
	r.in = bufio.NewReaderSize(io.TeeReader(f.Stream(0, p.Bytes), r.hash), 256<<10)
	e.closers = append(e.closers, func() { _ = r.Close() })
	return r, nil
}

// Next returns the next block.
func (r *partialReader) Next() ([]byte, error) {
	var block []byte
	for len(block) < spill.BlockSize {
		n, err := binary.ReadUvarint(r.in)
		if errors.Is(err, io.EOF) {
			if fmt.Sprintf("%016x", r.hash.Sum64()) != r.part.XXH3 {
				return nil, r.damaged()
			}
			if len(block) == 0 {
				return nil, io.EOF
			}
			return block, nil
		}
		if err != nil || n > uint64(r.part.Bytes) {
			return nil, r.damaged()
		}
		at := len(block)
		block = slices.Grow(block, int(n))[:at+int(n)]
		if _, err := io.ReadFull(r.in, block[at:]); err != nil {
			return nil, fmt.Errorf("partial results %s: %w", r.part.Path, err)
		}
	}
	return block, nil
}

func (r *partialReader) damaged() error {
	return Fatal(fmt.Errorf("the partial results in %s are damaged; run the job as a whole", r.part.Path))
}

// Records and Bytes implement job.RunReader.
func (r *partialReader) Records() int64 { return 0 }

// Bytes returns the bytes of the run.
func (r *partialReader) Bytes() int64 { return r.part.Bytes }

// Close closes the file.
func (r *partialReader) Close() error { return r.file.Close() }

// formOf describes how values of a type are encoded, so that other types are found out.
func formOf(t reflect.Type, within ...reflect.Type) string {
	if slices.Contains(within, t) {
		return t.String()
	}
	within = append(within, t)
	own := func(method string) bool {
		_, ok := reflect.PointerTo(t).MethodByName(method)
		return ok
	}
	switch {
	case own("AppendBinary") && own("UnmarshalBinary"):
		return t.String()
	case t.Kind() == reflect.Struct:
		fields := make([]string, t.NumField())
		for i := range fields {
			fields[i] = t.Field(i).Name + " " + formOf(t.Field(i).Type, within...)
		}
		return "struct{" + strings.Join(fields, "; ") + "}"
	case t.Kind() == reflect.Slice:
		return "[]" + formOf(t.Elem(), within...)
	case t.Kind() == reflect.Array:
		return fmt.Sprintf("[%d]%s", t.Len(), formOf(t.Elem(), within...))
	case t.Kind() == reflect.Pointer:
		return "*" + formOf(t.Elem(), within...)
	case t.Kind() == reflect.Map:
		return "map[" + formOf(t.Key(), within...) + "]" + formOf(t.Elem(), within...)
	}
	return t.Kind().String()
}
