package mapreduce

import (
	"cmp"
	"fmt"
	"io"

	"github.com/layshaft/layshaft/mapreduce/agg"
)

// SortBy sorts all records by key, over all partitions: the output, read in partition order, is in
// total order. Records with equal keys keep the order of the input. The key ranges of the
// partitions are chosen from the sorted runs, so the partitions are even for any distribution of
// keys.
func SortBy[T, K any](d Dataset[T], key func(T) K, opts ...SortOption) Dataset[T] {
	n := newNode[T](planOf(d.n), "SortBy", opts, d.n)
	n.needs("key", key)
	kc, vc := keyCodec[K](n), valueCodec[T](n)
	if len(n.plan.errs) > 0 {
		return Dataset[T]{n}
	}
	desc := n.opts.desc
	n.wide = &wideRole{
		ranged: true,
		write: func(e *env, _ int, w *port) (any, func() error) {
			k := new(K)
			return sorting(e, w, sampleSorted(e, w, kc, desc), func(b []byte, t *T) ([]byte, int, int) {
				*k = key(*t)
				if desc {
					b = invert(kc.AppendPart(b, k))
				} else {
					b = kc.Append(b, k)
				}
				kl := len(b)
				return vc.Append(b, t), 0, kl
			})
		},
		read: func(e *env, next any) error {
			push, t := next.(func(*T)), new(T)
			return inOrder(e, func(_, value []byte) error {
				if _, err := vc.Decode(value, t); err != nil {
					return err
				}
				push(t)
				return nil
			})
		},
	}
	return Dataset[T]{n}
}

// Sort sorts all records, as SortBy does with the record itself as the key, but moves half as many
// bytes. T must be usable as a key. As in every key, a time comes back in UTC and -0 as 0; SortBy
// keeps the record as it is.
func Sort[T any](d Dataset[T], opts ...SortOption) Dataset[T] {
	n := newNode[T](planOf(d.n), "Sort", opts, d.n)
	kc := keyCodec[T](n)
	if len(n.plan.errs) > 0 {
		return Dataset[T]{n}
	}
	desc := n.opts.desc
	n.wide = &wideRole{
		ranged: true,
		write: func(e *env, _ int, w *port) (any, func() error) {
			return sorting(e, w, sampleSorted(e, w, kc, desc), func(b []byte, t *T) ([]byte, int, int) {
				if desc {
					b = invert(kc.AppendPart(b, t))
				} else {
					b = kc.Append(b, t)
				}
				return b, 0, len(b)
			})
		},
		read: func(e *env, next any) error {
			push, t := next.(func(*T)), new(T)
			return inOrder(e, func(key, _ []byte) error {
				if !desc {
					if err := kc.Decode(key, t); err != nil {
						return err
					}
				} else if _, err := kc.DecodePart(invert(append([]byte(nil), key...)), t); err != nil {
					return err
				}
				push(t)
				return nil
			})
		},
	}
	return Dataset[T]{n}
}

func invert(b []byte) []byte {
	for i := range b {
		b[i] = ^b[i]
	}
	return b
}

func inOrder(e *env, each func(key, value []byte) error) error {
	m, err := merge(e, 1)
	if err != nil {
		return err
	}
	for {
		key, value, _, err := m.next()
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
		if err := each(key, value); err != nil {
			return err
		}
	}
}

// Top keeps the n records with the highest score, highest first. Each task moves at most n records.
func Top[T any, S cmp.Ordered](d Dataset[T], n int, score func(T) S, opts ...Option) Dataset[T] {
	top := newNode[[]T](planOf(d.n), "Top", opts, d.n)
	top.needs("score", score)
	if n < 0 {
		top.refuse(fmt.Errorf("it cannot keep %d records; use 0 or more", n))
	}
	best := aggregateAll(top, agg.TopK(n, score))
	rows := FlatMapEmit(best, func(all []T, emit func(T)) {
		for _, t := range all {
			emit(t)
		}
	}, opts...)
	rows.n.op = "Top"
	return rows
}
