package mapreduce

import (
	"cmp"
	"context"
	"fmt"
	"iter"
	"slices"
)

// WithIndex, Zip and Repartition keep the order of the rows by sorting records by their position:
// the stage, the task and the number within the task of each record. The position is part of the
// record until then.

// position is the place of a record in the order of a dataset's rows.
type position struct {
	Stage, Task uint32
	N           uint64
}

type positioned[T any] struct {
	At    position
	Value T
}

// taskCount is the number of records of a dataset in one task.
type taskCount struct {
	Stage, Task uint32
	N           uint64
}

// inPlace adds to every record its position.
func inPlace[T any](d Dataset[T], op string, opts []Option) Dataset[positioned[T]] {
	n := newNode[positioned[T]](planOf(d.n), op, opts, d.n)
	n.fuse = func(e *env, next any) any {
		push, p := next.(func(*positioned[T])), new(positioned[T])
		at := e.run.Attempt.Task
		p.At.Stage, p.At.Task = uint32(at.Stage), uint32(at.Index)
		// A union makes several copies of this function in one attempt; they count together.
		number := e.counter(n)
		return func(t *T) {
			p.At.N, p.Value = *number, *t
			*number++
			push(p)
		}
	}
	return Dataset[positioned[T]]{n}
}

// counter returns a number that all copies of a node share within the attempt.
func (e *env) counter(n *node) *uint64 {
	if e.numbers == nil {
		e.numbers = map[*node]*uint64{}
	}
	if e.numbers[n] == nil {
		e.numbers[n] = new(uint64)
	}
	return e.numbers[n]
}

// counted counts the records of each task.
func counted[T any](d Dataset[positioned[T]]) Dataset[taskCount] {
	n := newNode[taskCount](d.n.plan, d.n.op, []Option(nil), d.n)
	n.fuse = func(e *env, next any) any {
		push, at := next.(func(*taskCount)), e.run.Attempt.Task
		c := &taskCount{Stage: uint32(at.Stage), Task: uint32(at.Index)}
		e.ends = append(e.ends, func() error {
			push(c)
			return nil
		})
		return func(*positioned[T]) { c.N++ }
	}
	return Dataset[taskCount]{n}
}

// sortedByPlace shuffles records into key ranges of their positions.
func sortedByPlace[T any](d Dataset[positioned[T]], opts ...SortOption) Dataset[positioned[T]] {
	s := SortBy(d, func(p positioned[T]) position { return p.At }, opts...)
	s.n.op = d.n.op
	return s
}

// Repartition spreads the records over n partitions of about equal size, and keeps their order. Use
// it before a sink that writes one file for each partition: Repartition(d, 1) writes one file. It
// moves all records once.
func Repartition[T any](d Dataset[T], n int, opts ...Option) Dataset[T] {
	p := inPlace(d, "Repartition", opts)
	if n < 1 {
		p.n.refuse(fmt.Errorf("it cannot make %d partitions; use 1 or more", n))
		n = 1
	}
	rows := Map(sortedByPlace(p, Parallel(n)), func(p positioned[T]) T { return p.Value }, opts...)
	rows.n.op = "Repartition"
	return rows
}

// WithIndex numbers the records from 0 in the order of the rows; the number is the key. It moves
// all records once, because the number of a record depends on the sizes of all tasks before.
func WithIndex[T any](d Dataset[T], opts ...Option) Dataset[KV[int64, T]] {
	return withIndex(d, "WithIndex", opts)
}

func withIndex[T any](d Dataset[T], op string, opts []Option) Dataset[KV[int64, T]] {
	p := inPlace(d, op, opts)
	type task struct{ Stage, Task uint32 }
	rows := FlatMapSide(sortedByPlace(p), counted(p),
		func(rows iter.Seq[taskCount]) (map[task]uint64, int64, error) {
			counts := map[task]uint64{}
			for c := range rows {
				counts[task{c.Stage, c.Task}] += c.N
			}
			tasks := make([]task, 0, len(counts))
			for t := range counts {
				tasks = append(tasks, t)
			}
			slices.SortFunc(tasks, func(a, b task) int {
				return cmp.Or(cmp.Compare(a.Stage, b.Stage), cmp.Compare(a.Task, b.Task))
			})
			before := uint64(0)
			for _, t := range tasks {
				counts[t], before = before, before+counts[t]
			}
			return counts, int64(len(counts)) * 64, nil
		},
		func(_ context.Context, p positioned[T], before map[task]uint64, emit func(KV[int64, T])) error {
			emit(KV[int64, T]{int64(before[task{p.At.Stage, p.At.Task}] + p.At.N), p.Value})
			return nil
		}, opts...)
	rows.n.op = op
	return rows
}

// Zip pairs the first record of each side, the second record of each side, and so on, in the order
// of the rows. Sides of different lengths end the job. Rows come in the order of their numbers
// within each partition. Zip moves all records twice; a Join is cheaper where records have a key.
func Zip[L, R, U any](left Dataset[L], right Dataset[R], f func(L, R) U, opts ...ShuffleOption) Dataset[U] {
	l, r := withIndex(left, "Zip", nil), withIndex(right, "Zip", nil)
	n := newNode[U](planOf(left.n), "Zip", opts, l.n, r.n)
	n.needs("function", f)
	number := func(e *env, side string, i int64) error {
		if e.stopped.Load() { // the input ends early
			return nil
		}
		return Fatal(fmt.Errorf("%s at %s: only the %s side has a record with number %d; both sides of a Zip must have the same length", n.label(), n.at, side, i))
	}
	cogroup(n, func(kv KV[int64, L]) int64 { return kv.Key }, func(kv KV[int64, R]) int64 { return kv.Key },
		func(e *env, push func(*U)) func(*int64, *side[KV[int64, L]], iter.Seq[KV[int64, R]]) error {
			u := new(U)
			return func(i *int64, ls *side[KV[int64, L]], rs iter.Seq[KV[int64, R]]) error {
				matched := false
				for r := range rs {
					for l := range ls.all {
						matched = true
						*u = f(l.Value, r.Value)
						push(u)
					}
					switch {
					case ls.err != nil:
						return ls.err
					case !matched:
						return number(e, "right", *i)
					}
				}
				if !matched {
					return number(e, "left", *i)
				}
				return nil
			}
		})
	return Dataset[U]{n}
}
