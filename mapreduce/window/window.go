// Package window has operators over ordered groups: the records with one key, in the order of
// another key, such as the clicks of a user in the order of their times.
//
//	gaps := window.Lag(clicks, Click.User, Click.At, 1, func(before *Click, c Click) time.Duration {
//		if before == nil {
//			return 0
//		}
//		return c.Time.Sub(before.Time)
//	})
//
// Both keys are made of booleans, numbers, strings, times, and arrays and structs of them, as with
// mapreduce.GroupBy. Records with equal order keys keep the order of the input. A group may be
// larger than the memory: its records stream, and are never held together. Rows come by key within
// each partition, and in order within each key.
//
// First and Last need no group: they fold, and only one record for each key leaves a task.
package window

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"iter"
	"reflect"
	"time"

	"github.com/layshaft/layshaft/internal/record"
	"github.com/layshaft/layshaft/internal/sketch"
	"github.com/layshaft/layshaft/mapreduce"
)

// First keeps the first record of each key, in the order of another key.
func First[T, K, S any](d mapreduce.Dataset[T], key func(T) K, order func(T) S, opts ...mapreduce.ShuffleOption) mapreduce.Dataset[T] {
	return extreme(d, key, order, false, "window.First", opts)
}

// Last keeps the last record of each key, in the order of another key. Of several records with the
// last order key, the one read last counts.
func Last[T, K, S any](d mapreduce.Dataset[T], key func(T) K, order func(T) S, opts ...mapreduce.ShuffleOption) mapreduce.Dataset[T] {
	return extreme(d, key, order, true, "window.Last", opts)
}

// best is the accumulator of First and Last.
type best[T any] struct {
	Some  bool
	Order string // the encoded order key; byte order is the order of the keys
	Value T
}

func extreme[T, K, S any](d mapreduce.Dataset[T], key func(T) K, order func(T) S, last bool, name string, opts []mapreduce.ShuffleOption) mapreduce.Dataset[T] {
	opts = named(opts, name)
	var a mapreduce.Agg[T, best[T], T]
	// GroupBy refuses a bad order type or function in its own words; this plan is refused with it.
	if codec, err := record.ForKey[S](); err != nil || order == nil {
		return mapreduce.TryGroupBy(d, key, func(context.Context, K, iter.Seq[T], func(T)) error { return nil }, grouped(opts, order)...)
	} else {
		var buf []byte
		a.Add = func(b *best[T], t T) {
			s := order(t)
			buf = codec.Append(buf[:0], &s)
			if !b.Some || !last && string(buf) < b.Order || last && string(buf) >= b.Order {
				*b = best[T]{true, string(buf), t}
			}
		}
	}
	a.Merge = func(b, c *best[T]) { // the records of c come after the records of b
		if c.Some && (!b.Some || !last && c.Order < b.Order || last && c.Order >= b.Order) {
			*b = *c
		}
	}
	a.Result = func(b *best[T]) T { return b.Value }
	return mapreduce.Values(mapreduce.AggregateBy(d, key, a, opts...), mapreduce.Named(name))
}

// Lag passes every record to f together with the record n places before it in the order of its
// group. before is nil for the first n records of a group. f may keep both.
func Lag[T, K, S, U any](d mapreduce.Dataset[T], key func(T) K, order func(T) S, n int, f func(before *T, t T) U, opts ...mapreduce.ShuffleOption) mapreduce.Dataset[U] {
	opts = named(opts, "window.Lag")
	switch {
	case n < 1:
		return refuse[U](d, fmt.Errorf("Lag of %d records: use 1 or more", n))
	case f == nil:
		return refuse[U](d, errors.New("the function of Lag is nil"))
	}
	return mapreduce.TryGroupBy(d, key, func(_ context.Context, _ K, ts iter.Seq[T], emit func(U)) error {
		ring := make([]*T, n)
		i := 0
		for t := range ts {
			emit(f(ring[i], t))
			ring[i] = &t
			i = (i + 1) % n
		}
		return nil
	}, grouped(opts, order)...)
}

// Running passes every record to f together with the aggregate of all records of its group from the
// first one to this one: a running total, count or maximum.
func Running[T, K, S, A, R, U any](d mapreduce.Dataset[T], key func(T) K, order func(T) S, agg mapreduce.Agg[T, A, R], f func(t T, result R) U, opts ...mapreduce.ShuffleOption) mapreduce.Dataset[U] {
	opts = named(opts, "window.Running")
	result, err := results(agg)
	if err == nil && f == nil {
		err = errors.New("the function of Running is nil")
	}
	if err != nil {
		return refuse[U](d, err)
	}
	return mapreduce.TryGroupBy(d, key, func(_ context.Context, _ K, ts iter.Seq[T], emit func(U)) error {
		a := new(A)
		for t := range ts {
			agg.Add(a, t)
			r, err := result(a)
			if err != nil {
				return err
			}
			emit(f(t, r))
		}
		return nil
	}, grouped(opts, order)...)
}

// results returns a function that takes the result of an accumulator before it grows further. A
// result may share memory with its accumulator, so an accumulator with pointers is copied first.
func results[T, A, R any](agg mapreduce.Agg[T, A, R]) (func(*A) (R, error), error) {
	codec, err := record.For[A]()
	switch {
	case err != nil:
		return nil, err
	case !agg.Complete():
		return nil, incomplete(agg.Err)
	case !sketch.HasPointers(reflect.TypeFor[A]()):
		return func(a *A) (R, error) { b := *a; return agg.Result(&b), nil }, nil
	}
	return func(a *A) (R, error) {
		b := new(A)
		_, err := codec.Decode(codec.Append(nil, a), b)
		if err != nil {
			var r R
			return r, err
		}
		return agg.Result(b), nil
	}, nil
}

// incomplete returns the reason why an aggregate cannot be used.
func incomplete(err error) error {
	return cmp.Or(err, errors.New("an Agg needs the functions Add, Merge and Result; an aggregate of package agg lacks them if it was made with a nil function"))
}

// Session is a run of records of one key without a long gap.
type Session[K, R any] struct {
	Key        K         // of all records
	Start, End time.Time // of the first and the last record, in UTC
	Value      R         // aggregate of the records
}

// Sessions cuts each group at gaps: a record more than gap after the record before it begins a new
// session. The records of a session are folded by agg, and need not fit into memory.
func Sessions[T, K, A, R any](d mapreduce.Dataset[T], key func(T) K, at func(T) time.Time, gap time.Duration, agg mapreduce.Agg[T, A, R], opts ...mapreduce.ShuffleOption) mapreduce.Dataset[Session[K, R]] {
	opts = named(opts, "window.Sessions")
	switch {
	case gap <= 0:
		return refuse[Session[K, R]](d, fmt.Errorf("a gap of %v: use a positive duration", gap))
	case !agg.Complete():
		return refuse[Session[K, R]](d, incomplete(agg.Err))
	}
	return mapreduce.TryGroupBy(d, key, func(_ context.Context, k K, ts iter.Seq[T], emit func(Session[K, R])) error {
		var s Session[K, R]
		var a *A
		for t := range ts {
			now := at(t).UTC()
			if a != nil && now.Sub(s.End) > gap {
				s.Value = agg.Result(a)
				emit(s)
				a = nil
			}
			if a == nil {
				a, s = new(A), Session[K, R]{Key: k, Start: now}
			}
			s.End = now
			agg.Add(a, t)
		}
		if a != nil {
			s.Value = agg.Result(a)
			emit(s)
		}
		return nil
	}, grouped(opts, at)...)
}

// refuse refuses the plan of d.
func refuse[U, T any](d mapreduce.Dataset[T], err error) mapreduce.Dataset[U] {
	return mapreduce.Aggregate(d, mapreduce.Agg[T, int64, U]{Err: err})
}

// named gives an operator its default name, which an option of the user replaces.
func named(opts []mapreduce.ShuffleOption, name string) []mapreduce.ShuffleOption {
	return append([]mapreduce.ShuffleOption{mapreduce.Named(name)}, opts...)
}

// grouped returns opts for GroupBy, with the order of the values.
func grouped[T, S any](opts []mapreduce.ShuffleOption, order func(T) S) []mapreduce.GroupOption {
	all := []mapreduce.GroupOption{mapreduce.SortValues(order)}
	for _, o := range opts {
		all = append(all, o)
	}
	return all
}
