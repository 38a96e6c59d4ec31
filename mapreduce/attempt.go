package mapreduce

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"github.com/layshaft/layshaft/internal/awake"
	"github.com/layshaft/layshaft/internal/bytesize"
	"github.com/layshaft/layshaft/internal/call"
	"github.com/layshaft/layshaft/internal/filesys"
	"github.com/layshaft/layshaft/internal/job"
	"github.com/layshaft/layshaft/mapreduce/connector"
)

// attempt runs one attempt of stage s.
func (c *compiled) attempt(ctx context.Context, s *stage, spec *job.Spec, sh *shared, run *job.Run) (err error) {
	switch {
	case s.publish && replays.Load():
		return &job.Failure{Kind: job.Fatal, Message: "this stage only publishes what other stages wrote; run an attempt of another stage again"}
	case s.publish:
		err := c.publish(ctx, spec, run)
		var fatal *call.FatalError
		if errors.As(err, &fatal) {
			return &job.Failure{Kind: job.Fatal, Message: err.Error()}
		}
		return err
	case s.combine:
		e := &env{ctx: ctx, run: run, stage: s, shared: sh, plan: c.plan}
		stop := context.AfterFunc(ctx, func() { e.stopped.Store(true) })
		defer stop()
		if err := s.head.wide.combine(e, &port{e: e, parts: c.partitions(s.head, spec)}, max(spec.Stages[s.number].Slices, 1)); err != nil {
			return err
		}
		c.count(run)
		return context.Cause(ctx)
	}
	e := &env{ctx: ctx, run: run, stage: s, shared: sh, plan: c.plan, taken: map[*end]bool{}, pairs: map[*node]any{}, quarantineJob: string(spec.ID)}
	if err := e.selectRecords(spec); err != nil {
		return Fatal(err)
	}
	stop := context.AfterFunc(ctx, func() { e.stopped.Store(true) })
	defer stop()
	defer func() {
		for _, f := range e.closers {
			f()
		}
	}()
	for _, n := range c.plan.counters {
		n.n = 0
	}
	holders := 0
	for _, x := range s.ends {
		if x.n != nil && !x.side || x.n == nil && x.out.sink != nil && x.out.sink.holds {
			holders++
		}
	}
	if s.head.wide != nil && s.head.wide.keepsKey {
		holders++
	}
	holders += c.holders(s.head)
	tables, err := c.loadSides(e, s)
	if err != nil {
		return e.failure(err)
	}
	e.memory = max(run.Memory-tables, run.Memory/4) / 2 / int64(max(1, holders))
	e.ctx = call.WithMemory(ctx, e.memory)
	if s.opts.timeout > 0 {
		limited, stop := awake.WithDeadline(e.ctx, s.opts.timeout)
		defer stop()
		e.ctx = limited
	}
	e.quarantine = &bursts{to: &port{e: e, number: len(s.ends)}}
	run.Sink = make([][]byte, s.sinks)

	ports := map[*end]any{}
	var flushes []func() error
	for number, x := range s.ends {
		p := &port{e: e, number: number, parts: 1}
		var push any
		var flush func() error
		switch {
		case x.side:
			push, flush = x.n.side.write(e, p)
		case x.n != nil:
			if p.keys = x.n.wide.ranged; !p.keys {
				p.parts = c.partitions(x.n, spec)
			}
			push, flush = x.n.wide.write(e, x.input, p)
		case x.out.sink != nil:
			if push, flush, err = x.out.sink.open(e, c.sinkTask(x, spec, run), func(part []byte) { run.Sink[x.sink] = part }); err != nil {
				return err
			}
		default:
			push, flush = x.out.gather(e, p)
		}
		ports[x] = push
		flushes = append(flushes, flush)
	}
	push := c.build(e, s, s.head, ports)
	if e.err == nil {
		if s.head.read != nil {
			err = s.head.read.run(e, push)
		} else {
			err = readStage(e, s.head.wide.read, push)
		}
		e.fail(err)
	}
	for _, end := range slices.Backward(e.ends) {
		if e.err == nil {
			e.fail(end())
		}
	}
	if e.err == nil && ctx.Err() != nil {
		e.err = context.Cause(ctx)
	}
	flushes = append(flushes, e.quarantine.flush)
	for _, f := range flushes {
		if e.err == nil {
			e.fail(f())
		}
	}
	for _, n := range c.plan.counters {
		run.Counters[n.name] += n.n
	}
	run.Keys = e.keys()
	if e.bad > 0 {
		run.Counters[badCounter] = e.bad
	}
	if s.head.read != nil {
		run.Counters[readCounter] = run.Progress.Records.Load()
		for field, near := range run.Progress.Absent {
			run.Counters[absentCounter+field] = run.Counters[readCounter]
			run.Counters[nearCounter+field+": "+near] = 1
		}
	}
	for _, x := range []*selection{e.selected, e.counted} {
		if x != nil {
			run.Counters[requeuedCounter] = x.found
		}
	}
	c.count(run)
	return e.failure(e.err)
}

// failure converts err for the worker.
func (e *env) failure(err error) error {
	var fatal *call.FatalError
	if errors.As(err, &fatal) || errors.Is(err, filesys.ErrChanged) {
		return &job.Failure{Kind: job.Fatal, Message: err.Error()}
	}
	return err
}

// loadSides loads the small sides of the broadcast joins and probes in a stage. It returns their
// share of the memory of one attempt.
func (c *compiled) loadSides(e *env, s *stage) (bytes int64, err error) {
	small := int64(0) // of broadcast joins
	for _, n := range c.plan.nodes {
		if _, ok := s.sides[n.id]; ok {
			b, err := n.loadSide(e)
			if err != nil {
				return 0, fmt.Errorf("%s at %s: small side: %w", n.label(), n.at, err)
			}
			if bytes += b; n.side != nil {
				small += b
			}
		}
	}
	if limit := e.sideLimit(); small > limit {
		return 0, Fatal(fmt.Errorf("the small sides of broadcast joins in one stage take %s together, more than half of the memory, %s; give more (-memory), or use Join or LeftJoin",
			bytesize.Format(small), bytesize.Format(limit)))
	}
	return bytes / int64(max(1, e.run.Slots)), nil
}

// tally is the report of an attempt to the publish stage.
type tally struct{ Bad, Read int64 }

// count completes the counters of an attempt.
func (c *compiled) count(run *job.Run) {
	run.Counters[consumedCounter], run.Counters[consumedBytes] = run.Progress.Records.Load(), run.Progress.Bytes.Load()
	if n := run.Progress.Spilled.Load(); n > 0 {
		run.Counters[spilledCounter] = n
	}
	if c.tally {
		// marshalling two numbers cannot fail
		t, _ := json.Marshal(tally{run.Counters[badCounter], run.Counters[readCounter]})
		run.Sink = append(run.Sink, t)
	}
}

// publish publishes the output that committed attempts wrote to sinks. It is idempotent: its
// process may be killed and start again.
func (c *compiled) publish(ctx context.Context, spec *job.Spec, run *job.Run) error {
	made := run.Sinks // of each producer, in the order of the edges
	parts := map[*out][][]byte{}
	var all tally
	for _, s := range c.stages {
		if s.publish || s.sinks == 0 && !c.tally {
			continue
		}
		n := spec.Stages[s.number].Tasks
		if n > len(made) {
			return &job.Failure{Kind: job.Fatal, Message: fmt.Sprintf("publish was given the output of fewer tasks than stage %d has: coordinator and worker differ in version", s.number)}
		}
		for _, sinks := range made[:n] {
			for _, x := range s.ends {
				if x.out != nil && x.out.sink != nil {
					parts[x.out] = append(parts[x.out], sinks[x.sink])
				}
			}
			if c.tally {
				var t tally
				if err := json.Unmarshal(sinks[len(sinks)-1], &t); err != nil {
					return fmt.Errorf("tally of stage %d: %w", s.number, err)
				}
				all.Bad, all.Read = all.Bad+t.Bad, all.Read+t.Read
			}
		}
		made = made[n:]
	}
	if err := c.plan.opts.limit(all.Bad, all.Read); err != nil {
		return Fatal(err)
	}
	if err := c.finishSinks(ctx, spec, string(spec.ID), nil, all.Bad > 0, func(o *out) [][]byte { return parts[o] }); err != nil {
		return err
	}
	if c.partials != nil && all.Bad > 0 {
		return c.partials.shelf.Keep(ctx, string(spec.ID))
	}
	return nil
}

// The engine's own counters.
const (
	badCounter      = job.Bad     // bad records
	readCounter     = ".read"     // records read from sources
	absentCounter   = ".absent "  // and a field: records of splits in which no record had the field
	nearCounter     = ".near "    // and a field and a name: splits in which the name was most similar
	consumedCounter = ".records"  // records read by a stage
	consumedBytes   = ".bytes"    // bytes read by a stage
	spilledCounter  = ".spilled"  // bytes written because memory was full
	shuffledCounter = ".shuffled" // bytes written for later stages
	requeuedCounter = ".requeued" // records of a requeue that were found
)

// sinkTask returns the number of a task among all tasks that write to the sink of x, over all
// stages.
func (c *compiled) sinkTask(x *end, spec *job.Spec, run *job.Run) connector.SinkTask {
	t := connector.SinkTask{Job: string(spec.ID), Attempt: run.Attempt.N}
	for _, s := range c.stages {
		for _, o := range s.ends {
			if o.out != x.out {
				continue
			}
			if o == x {
				t.Index = t.Of + run.Attempt.Task.Index
			}
			t.Of += spec.Stages[s.number].Tasks
		}
	}
	return t
}
