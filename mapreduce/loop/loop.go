// Package loop repeats a pipeline on its own result until it is good enough: PageRank, k-means,
// shortest paths, any computation whose state is a dataset.
//
//	var ranks = loop.Define("ranks", first, step)
//
//	func first(p *mapreduce.Plan, in Params) mapreduce.Dataset[Page] { ... } // the state before step 0
//
//	func step(p *mapreduce.Plan, in Params, n int, pages mapreduce.Dataset[Page]) (next mapreduce.Dataset[Page], change mapreduce.Dataset[float64]) {
//		...
//	}
//
//	end, err := ranks.Iterate(ctx, target, "work/ranks", 50, params, func(n int, change []float64) bool {
//		return change[0] < 0.001
//	})
//
// Each step is one job. It reads the state that the step before wrote, and writes the next one to a
// directory, so the state never passes through the client. The client receives a few rows of each
// step, and decides from them whether to stop.
//
// A loop that was killed continues when it is started again with the same parameters, directory and
// input: with Local.State the finished steps are not repeated, and the killed step continues with
// its finished tasks. A cluster does the same while it keeps the jobs. The directory keeps the
// state of every step; remove it after the loop.
//
// On a cluster the directory must be a place that all workers reach: s3://BUCKET/PATH,
// dataset://NAME/PATH or a shared file system.
package loop

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"unsafe"

	"github.com/layshaft/layshaft/internal/record"
	"github.com/layshaft/layshaft/mapreduce"
	"github.com/layshaft/layshaft/mapreduce/binio"
	"github.com/layshaft/layshaft/mapreduce/source"
)

// Loop is a pipeline that is repeated: P are its parameters, S the records of its state, and R the
// rows that each step returns to the client.
type Loop[P, S, R any] struct {
	name string
	step *mapreduce.Definition[step[P], R]
	err  error
}

// step are the parameters of one step.
type step[P any] struct {
	Params P
	Dir    string
	N      int
}

// Define names a loop. first makes the state before the first step. next makes the state after step
// n, counted from 0, from the state before it, and the rows by which the client decides whether the
// loop has ended; these should be few, such as one sum. Call Define like mapreduce.Define: before
// mapreduce.Main, best in a package variable. Options apply to every step.
func Define[P, S, R any](name string, first func(p *mapreduce.Plan, params P) mapreduce.Dataset[S], next func(p *mapreduce.Plan, params P, n int, state mapreduce.Dataset[S]) (mapreduce.Dataset[S], mapreduce.Dataset[R]), opts ...mapreduce.PlanOption) *Loop[P, S, R] {
	l := &Loop[P, S, R]{name: name}
	codec, err := record.For[S]()
	switch {
	case err != nil:
		l.err = fmt.Errorf("loop %s: its state: %w", name, err)
	case first == nil || next == nil:
		l.err = fmt.Errorf("loop %s: it needs two functions, for the first state and for a step", name)
	}
	l.step = mapreduce.Define(name, func(p *mapreduce.Plan, in step[P]) mapreduce.Dataset[R] {
		var state mapreduce.Dataset[S]
		if in.N == 0 {
			state = first(p, in.Params)
		} else {
			state = mapreduce.Read[S](p, State[S](in.Dir, in.N))
		}
		after, rows := next(p, in.Params, in.N, state)
		after.WriteTo(binio.WriteAs(place(in.Dir, in.N+1), func(dst []byte, s S) []byte {
			return source.AppendDelimited(dst, string(codec.Append(nil, &s)))
		}))
		return rows
	}, opts...)
	return l
}

// place returns the directory of the state after n steps.
func place(dir string, n int) string {
	return fmt.Sprintf("%s/state-%06d", strings.TrimRight(dir, "/"), n)
}

// State returns a source of the state that a loop wrote to dir in its first n steps.
func State[S any](dir string, n int) source.Source[S] {
	codec, err := record.For[S]()
	return source.As(source.Delimited(place(dir, n)), func(b string, s *S) error {
		rest, err := codec.Decode(unsafe.Slice(unsafe.StringData(b), len(b)), s)
		if err == nil && len(rest) > 0 {
			err = errors.New("the record is longer than its type; another program wrote this state")
		}
		return err
	}).Named(fmt.Sprintf("loop.State(%q, %d)", dir, n), err)
}

// End is the result of a loop.
type End struct {
	Steps int  // how many steps ran
	Done  bool // whether the loop ended because done returned true
}

// Iterate runs steps until done returns true for the rows of a step, and at most the given number.
// It writes the state of every step below dir; State(dir, end.Steps) reads the last one. done may
// be nil. A loop that is started again calls done for the finished steps, too.
func (l *Loop[P, S, R]) Iterate(ctx context.Context, target mapreduce.Target, dir string, most int, params P, done func(n int, rows []R) bool) (end End, err error) {
	switch {
	case l.err != nil:
		return end, l.err
	case dir == "":
		return end, fmt.Errorf("loop %s: the directory of its state is empty", l.name)
	case most < 1:
		return end, fmt.Errorf("loop %s: it cannot run %d steps; use 1 or more", l.name, most)
	}
	for end.Steps < most && !end.Done {
		rows, err := l.step.Collect(ctx, target, step[P]{params, dir, end.Steps})
		if err != nil {
			return end, fmt.Errorf("step %d: %w", end.Steps, err)
		}
		if mapreduce.Explains(target) {
			return end, nil // the next step reads what this one would write
		}
		end.Done = done != nil && done(end.Steps, rows)
		end.Steps++
	}
	return end, nil
}
