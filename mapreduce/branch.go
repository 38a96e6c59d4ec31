package mapreduce

import (
	"context"
	"fmt"
	"iter"
	"unsafe"

	"github.com/layshaft/layshaft/internal/record"
	"github.com/layshaft/layshaft/internal/report"
)

// Branch splits a dataset into n datasets in one pass. f returns the number of the dataset to which
// a record belongs, from 0; records with a negative number are dropped. f runs once for each
// record, and the steps before it run once.
func Branch[T any](d Dataset[T], n int, f func(T) int, opts ...Option) []Dataset[T] {
	type branched struct {
		Branch int
		Value  *T
	}
	b := newNode[branched](planOf(d.n), "Branch", opts, d.n)
	b.needs("function", f)
	if n < 1 {
		b.refuse(fmt.Errorf("it cannot make %d branches; use 1 or more", n))
	}
	b.fuse = func(e *env, next any) any {
		push, cur := next.(func(*branched)), new(branched)
		return func(t *T) {
			i := f(*t)
			if i >= n {
				e.fail(Fatal(fmt.Errorf("%s at %s: its function returned %d; it must be from 0 to %d, or negative to drop the record", b.label(), b.at, i, n-1)))
				return
			}
			cur.Branch, cur.Value = i, t
			push(cur)
		}
	}
	all := make([]Dataset[T], max(n, 0))
	for i := range all {
		out := newNode[T](b.plan, "Branch", opts, b)
		out.fuse = func(_ *env, next any) any {
			push := next.(func(*T))
			return func(x *branched) {
				if x.Branch == i {
					push(x.Value)
				}
			}
		}
		all[i] = Dataset[T]{out}
	}
	return all
}

// Cross pairs every left record with every record of a small side, which every process holds in
// memory, as in a BroadcastJoin. The left side is not shuffled. More than most small records end
// the job, so that a large side is not multiplied by mistake.
func Cross[L, R, U any](left Dataset[L], small Dataset[R], most int, f func(L, R) U, opts ...Option) Dataset[U] {
	planOf(left.n)
	codec, err := record.For[R]()
	n := FlatMapSide(left, small, func(rows iter.Seq[R]) (all []R, bytes int64, err error) {
		for r := range rows {
			if len(all) == most {
				return nil, 0, Fatal(fmt.Errorf("it has more than %s, the most that this Cross allows; give a larger number if so many pairs are meant", report.Plural(most, "record")))
			}
			var own R // the row's memory is reused
			b := codec.Append(nil, &r)
			if _, err := codec.Decode(b, &own); err != nil {
				return nil, 0, err
			}
			all = append(all, own)
			bytes += int64(cap(b)) + int64(unsafe.Sizeof(own))
		}
		return all, bytes, nil
	}, func(_ context.Context, l L, all []R, emit func(U)) error {
		for _, r := range all {
			emit(f(l, r))
		}
		return nil
	}, opts...)
	n.n.op = "Cross"
	n.n.needs("function", f)
	if err != nil {
		n.n.refuse(err)
	}
	if most < 1 {
		n.n.refuse(fmt.Errorf("it cannot allow %d small records; use 1 or more", most))
	}
	return n
}
