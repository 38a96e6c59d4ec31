package mapreduce

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"iter"

	"github.com/layshaft/layshaft/internal/record"
	"github.com/layshaft/layshaft/internal/spill"
)

// valueOrder encodes the key by which the values of a group are sorted.
type valueOrder[T any] struct {
	append func(dst []byte, t *T) []byte
	err    error
}

// GroupBy turns all records of each key into one record. values streams, because a group may be
// larger than memory. f may range over it once, and may stop early. Use AggregateBy instead if the
// fold is mergeable: it moves far less data. Groups come sorted by key within each partition.
func GroupBy[T, K, U any](d Dataset[T], key func(T) K, f func(key K, values iter.Seq[T]) U, opts ...GroupOption) Dataset[U] {
	n := newNode[U](planOf(d.n), "GroupBy", opts, d.n)
	n.needs("key", key)
	n.needs("function", f)
	group(n, key, func(_ *env, push func(*U)) func(*K, iter.Seq[T]) error {
		u := new(U)
		return func(k *K, values iter.Seq[T]) error {
			*u = f(*k, values)
			push(u)
			return nil
		}
	})
	return Dataset[U]{n}
}

// TryGroupBy is GroupBy with a context and errors, and f may emit any number of records.
// It handles errors like TryMap.
func TryGroupBy[T, K, U any](d Dataset[T], key func(T) K, f func(ctx context.Context, key K, values iter.Seq[T], emit func(U)) error, opts ...GroupOption) Dataset[U] {
	n := newNode[U](planOf(d.n), "TryGroupBy", opts, d.n)
	n.needs("key", key)
	n.needs("function", f)
	group(n, key, func(e *env, push func(*U)) func(*K, iter.Seq[T]) error {
		u := new(U)
		emit := func(x U) { *u = x; push(u) }
		return func(k *K, values iter.Seq[T]) error {
			if err := f(e.ctx, *k, values, emit); err != nil {
				userError(e, n, err, k)
			}
			return e.err
		}
	})
	return Dataset[U]{n}
}

// group makes n pass the values of each key to the function that each returns.
func group[T, K, U any](n *node, key func(T) K, each func(e *env, push func(*U)) func(*K, iter.Seq[T]) error) {
	kc, vc := keyCodec[K](n), valueCodec[T](n)
	var order func([]byte, *T) []byte
	if n.opts.sortBy != nil {
		o, ok := n.opts.sortBy.(valueOrder[T])
		if !ok {
			var t T
			n.refuse(fmt.Errorf("SortValues sorts other values; the values of this group are %T", t))
		} else if o.err != nil {
			n.refuse(fmt.Errorf("SortValues: %w", o.err))
		}
		order = o.append
	}
	if len(n.plan.errs) > 0 {
		return
	}
	n.wide = &wideRole{
		write: func(e *env, _ int, w *port) (any, func() error) {
			part, k := partitioner(n, e, kc, w.parts), new(K)
			if order == nil {
				return sorting(e, w, sampleKeys(e, w, kc, false), func(b []byte, t *T) ([]byte, int, int) {
					*k = key(*t)
					b = kc.Append(b, k)
					kl := len(b)
					p := part(b, spill.Hash(b))
					return vc.Append(b, t), p, kl
				})
			}
			// The key part marks its own end, and the order key follows it. The value begins with
			// the key part's length.
			var whole []byte
			keyOf := func(key, value []byte) []byte {
				n, _ := binary.Uvarint(value)
				return key[:n]
			}
			samples := sampleParts(e, w, kc)
			return sortingBy(e, w, samples, keyOf, func(b []byte, t *T) ([]byte, int, int) {
				*k = key(*t)
				whole = kc.Append(whole[:0], k)
				b = kc.AppendPart(b, k)
				gl := len(b)
				b = order(b, t)
				kl := len(b)
				b = binary.AppendUvarint(b, uint64(gl))
				return vc.Append(b, t), part(whole, spill.Hash(whole)), kl
			})
		},
		read: func(e *env, next any) error {
			handle := each(e, next.(func(*U)))
			m, err := merge(e, 1)
			if err != nil {
				return err
			}
			k, t := new(K), new(T)
			// cut returns the group's part of a key, and the encoded record.
			cut := func(key, value []byte) ([]byte, []byte, error) {
				if order == nil {
					return key, value, kc.Decode(key, k)
				}
				n, w := binary.Uvarint(value)
				if w <= 0 || n > uint64(len(key)) {
					return nil, nil, fmt.Errorf("group: %w", record.ErrCorrupt)
				}
				_, err := kc.DecodePart(key[:n], k)
				return key[:n], value[w:], err
			}
			key, value, _, err := m.next()
			for err == nil {
				var first, v []byte
				if first, v, err = cut(key, value); err != nil {
					return err
				}
				more := true // the record in v belongs to the group and was not passed on yet
				var failed error
				advance := func() {
					key, value, _, err = m.next()
					more = false
					if err != nil || len(key) < len(first) || !bytes.Equal(key[:len(first)], first) {
						return
					}
					if order == nil {
						more, v = len(key) == len(first), value
						return
					}
					if n, w := binary.Uvarint(value); w > 0 && n == uint64(len(first)) {
						more, v = true, value[w:]
					}
				}
				userErr := handle(k, func(yield func(T) bool) {
					for more && failed == nil {
						if _, failed = vc.Decode(v, t); failed != nil {
							return
						}
						advance()
						if !yield(*t) {
							return
						}
					}
				})
				if failed != nil {
					return failed
				}
				if userErr != nil {
					return userErr
				}
				for more {
					advance()
				}
			}
			if err == io.EOF {
				err = nil
			}
			return err
		},
	}
}
