package mapreduce

import (
	"context"
	"fmt"
	"io"
	"iter"

	"github.com/layshaft/layshaft/internal/bytesize"
	"github.com/layshaft/layshaft/internal/record"
)

// Task describes the task of an attempt to the function of MapTask.
type Task struct {
	// Stage and Index are the number of the stage in the job, and of the task in its stage, from 0.
	// The input of a lower index comes before the input of a higher one.
	Stage, Index int
	// Memory is the number of bytes that the state should take at most. The function is free to
	// ignore it.
	Memory int64
}

// MapTask keeps state over the records of one task, such as a small table that is emitted at the
// end. start is called once for each attempt. It returns a function for every record, and one that
// is called after the last record. Both may call emit any number of times.
//
// Where tasks begin and end depends on the input and on the shuffles before. So the result should
// not depend on it, or be merged by a later operator. An error made by Fatal ends the job, and any
// other error fails the attempt. An error made by Skip sets the record aside.
func MapTask[T, U any](d Dataset[T], start func(ctx context.Context, task Task, emit func(U)) (each func(T) error, end func() error), opts ...Option) Dataset[U] {
	n := newNode[U](planOf(d.n), "MapTask", opts, d.n)
	n.needs("function", start)
	n.holds = true
	n.fuse = func(e *env, next any) any {
		push, u := next.(func(*U)), new(U)
		each, end := start(e.ctx, Task{e.run.Attempt.Task.Stage, e.run.Attempt.Task.Index, e.memory}, func(x U) {
			*u = x
			push(u)
		})
		e.ends = append(e.ends, func() error {
			if err := end(); err != nil {
				return fmt.Errorf("%s at %s: %w", n.label(), n.at, err)
			}
			return nil
		})
		return func(t *T) {
			if err := each(*t); err != nil {
				userError(e, n, err, t)
			}
		}
	}
	return Dataset[U]{n}
}

// FlatMapSide passes every record to f together with a value made from all records of side. load
// builds that value, once in every process. It must not keep rows, and returns the bytes that the
// value holds, which count against the memory like the small side of a BroadcastJoin. f must not
// change the value: all slots of the process share it. Errors are handled as in TryMap.
func FlatMapSide[T, R, S, U any](d Dataset[T], side Dataset[R], load func(rows iter.Seq[R]) (value S, bytes int64, err error), f func(ctx context.Context, t T, value S, emit func(U)) error, opts ...Option) Dataset[U] {
	n := newNode[U](planOf(d.n), "FlatMapSide", opts, d.n, side.n)
	n.needs("load function", load)
	n.needs("function", f)
	vc := valueCodec[R](n)
	if len(n.plan.errs) > 0 {
		return Dataset[U]{n}
	}
	type loaded struct {
		value S
		bytes int64
	}
	value := func(e *env) (*loaded, error) {
		return sideValue(e, n, func() (l *loaded, err error) {
			l = new(loaded)
			var failed error
			l.value, l.bytes, err = load(func(yield func(R) bool) { failed = eachOfSide(e, n, vc, yield) })
			if failed != nil {
				err = failed
			}
			return l, err
		})
	}
	n.side = &sideRole{write: writeSide(vc), load: func(e *env) (int64, error) {
		l, err := value(e)
		if err != nil {
			return 0, err
		}
		return l.bytes, nil
	}}
	n.fuse = func(e *env, next any) any {
		l, err := value(e)
		if err != nil {
			e.fail(fmt.Errorf("%s at %s: side: %w", n.label(), n.at, err))
			return func(*T) {}
		}
		push, u := next.(func(*U)), new(U)
		emit := func(x U) {
			*u = x
			push(u)
		}
		return func(t *T) {
			if err := f(e.ctx, *t, l.value, emit); err != nil {
				userError(e, n, err, t)
			}
		}
	}
	return Dataset[U]{n}
}

// writeSide writes the records of a side.
func writeSide[R any](vc *record.Codec[R]) func(e *env, w *port) (any, func() error) {
	return func(e *env, w *port) (any, func() error) {
		out := &bursts{to: w}
		var buf []byte
		return func(r *R) {
			buf = vc.Append(buf[:0], r)
			if err := out.add(nil, buf); err != nil {
				e.fail(err)
			}
		}, out.flush
	}
}

// eachOfSide passes the records of a side to yield. It gives up when their encoded bytes exceed the
// memory for sides.
func eachOfSide[R any](e *env, n *node, vc *record.Codec[R], yield func(R) bool) error {
	limit, read, count := e.sideLimit(), int64(0), 0
	for _, run := range e.input(e.stage.sides[n.id]) {
		for {
			b, err := run.Next()
			if err == io.EOF {
				break
			}
			if err != nil {
				return err
			}
			if read += int64(len(b)); read > limit {
				return Fatal(fmt.Errorf("its records up to number %d take more than half of the memory, %s; give more (-memory)", count, bytesize.Format(limit)))
			}
			for len(b) > 0 {
				var v []byte
				if _, v, b, err = record.Cut(b); err != nil {
					return err
				}
				var r R
				if _, err := vc.Decode(v, &r); err != nil {
					return err
				}
				count++
				if !yield(r) {
					return nil
				}
			}
		}
	}
	return nil
}

// holders counts the operators behind n in its stage that hold memory.
func (c *compiled) holders(n *node) (count int) {
	for _, r := range c.readers[n] {
		if r.n.wide != nil || r.n.side != nil && r.input == 1 {
			continue
		}
		if r.n.holds {
			count++
		}
		count += c.holders(r.n)
	}
	return count
}
