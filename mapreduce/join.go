package mapreduce

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"io"
	"iter"
	"reflect"
	"slices"
	"time"
	"unsafe"

	"github.com/layshaft/layshaft/internal/job"
	"github.com/layshaft/layshaft/internal/sketch"
	"github.com/layshaft/layshaft/internal/spill"
)

// Join pairs every left record with every right record of the same key. It holds the left records
// of one key, in memory and then on disk, while the right records stream past. So put the side with
// fewer records per key on the left. Keys come sorted within each partition. If one side fits in
// memory, use BroadcastJoin, which does not shuffle the other.
//
// If the results only go to aggregates that accept any order, such as sums of integers, perhaps
// through Map, Filter and the like, and both sides come from sources, keys may come in any order.
// Then the tasks that read the right side look its records up in the left side if it takes at most
// a quarter of the memory of one slot, and the right side is not shuffled.
func Join[L, R, K, U any](left Dataset[L], right Dataset[R], leftKey func(L) K, rightKey func(R) K, f func(L, R) U, opts ...ShuffleOption) Dataset[U] {
	n := newNode[U](planOf(left.n), "Join", opts, left.n, right.n)
	n.needs("left key", leftKey)
	n.needs("right key", rightKey)
	n.needs("function", f)
	pair := func(_ *env, u *U, l L, r *R) bool {
		*u = f(l, *r)
		return true
	}
	join(n, false, leftKey, rightKey, pair)
	probing(n, rightKey, pair)
	return Dataset[U]{n}
}

// TryJoin is Join with a context and errors. It handles errors like TryMap.
func TryJoin[L, R, K, U any](left Dataset[L], right Dataset[R], leftKey func(L) K, rightKey func(R) K, f func(context.Context, L, R) (U, error), opts ...ShuffleOption) Dataset[U] {
	n := newNode[U](planOf(left.n), "TryJoin", opts, left.n, right.n)
	n.needs("left key", leftKey)
	n.needs("right key", rightKey)
	n.needs("function", f)
	pair := func(e *env, u *U, l L, r *R) bool {
		v, err := f(e.ctx, l, *r)
		return storeResult(e, n, u, v, err, l)
	}
	join(n, false, leftKey, rightKey, pair)
	probing(n, rightKey, pair)
	return Dataset[U]{n}
}

// LeftJoin is Join that keeps left records without a match: f receives nil for them.
func LeftJoin[L, R, K, U any](left Dataset[L], right Dataset[R], leftKey func(L) K, rightKey func(R) K, f func(L, *R) U, opts ...ShuffleOption) Dataset[U] {
	n := newNode[U](planOf(left.n), "LeftJoin", opts, left.n, right.n)
	n.needs("left key", leftKey)
	n.needs("right key", rightKey)
	n.needs("function", f)
	join(n, true, leftKey, rightKey, func(_ *env, u *U, l L, r *R) bool {
		*u = f(l, r)
		return true
	})
	return Dataset[U]{n}
}

// TryLeftJoin is LeftJoin with a context and errors. It handles errors like
// TryMap.
func TryLeftJoin[L, R, K, U any](left Dataset[L], right Dataset[R], leftKey func(L) K, rightKey func(R) K, f func(context.Context, L, *R) (U, error), opts ...ShuffleOption) Dataset[U] {
	n := newNode[U](planOf(left.n), "TryLeftJoin", opts, left.n, right.n)
	n.needs("left key", leftKey)
	n.needs("right key", rightKey)
	n.needs("function", f)
	join(n, true, leftKey, rightKey, func(e *env, u *U, l L, r *R) bool {
		v, err := f(e.ctx, l, r)
		return storeResult(e, n, u, v, err, l)
	})
	return Dataset[U]{n}
}

// FullJoin is Join that keeps the records of both sides without a match: f receives nil for the
// missing side.
func FullJoin[L, R, K, U any](left Dataset[L], right Dataset[R], leftKey func(L) K, rightKey func(R) K, f func(*L, *R) U, opts ...ShuffleOption) Dataset[U] {
	n := newNode[U](planOf(left.n), "FullJoin", opts, left.n, right.n)
	n.needs("left key", leftKey)
	n.needs("right key", rightKey)
	n.needs("function", f)
	cogroup(n, leftKey, rightKey, func(e *env, push func(*U)) func(*K, *side[L], iter.Seq[R]) error {
		u := new(U)
		lefts := func(ls *side[L], r *R) {
			for l := range ls.all { // the function may keep the pointers
				*u = f(&l, r)
				push(u)
				if e.stopped.Load() {
					return
				}
			}
		}
		return func(_ *K, ls *side[L], rs iter.Seq[R]) error {
			matched := false
			for r := range rs {
				if matched = true; ls.spool.Len() > 0 {
					lefts(ls, &r)
				} else {
					*u = f(nil, &r)
					push(u)
				}
				if e.stopped.Load() {
					break
				}
			}
			if !matched {
				lefts(ls, nil)
			}
			return ls.err
		}
	})
	return Dataset[U]{n}
}

// SemiJoin keeps every left record whose key occurs on the right. Of the right side only the keys
// move. A left record comes once, however many matches it has.
func SemiJoin[L, R, K any](left Dataset[L], right Dataset[R], leftKey func(L) K, rightKey func(R) K, opts ...ShuffleOption) Dataset[L] {
	n := newNode[L](planOf(left.n), "SemiJoin", opts, right.n, left.n)
	semi(n, leftKey, rightKey, true)
	return Dataset[L]{n}
}

// AntiJoin keeps every left record whose key does not occur on the right. Of the right side only
// the keys move.
func AntiJoin[L, R, K any](left Dataset[L], right Dataset[R], leftKey func(L) K, rightKey func(R) K, opts ...ShuffleOption) Dataset[L] {
	n := newNode[L](planOf(left.n), "AntiJoin", opts, right.n, left.n)
	semi(n, leftKey, rightKey, false)
	return Dataset[L]{n}
}

// semi makes n keep the records of its second input whose key does or does not occur in the first.
// The keys of the first input come before the records, so nothing is held.
func semi[L, R, K any](n *node, leftKey func(L) K, rightKey func(R) K, keep bool) {
	n.needs("left key", leftKey)
	n.needs("right key", rightKey)
	kc, vc := keyCodec[K](n), valueCodec[L](n)
	if len(n.plan.errs) > 0 {
		return
	}
	n.wide = &wideRole{
		write: func(e *env, input int, w *port) (any, func() error) {
			part, k := partitioner(n, e, kc, w.parts), new(K)
			if input == 0 {
				return sorting(e, w, sampleKeys(e, w, kc, false), func(b []byte, r *R) ([]byte, int, int) {
					*k = rightKey(*r)
					b = kc.Append(b, k)
					return b, part(b, spill.Hash(b)), len(b)
				})
			}
			return sorting(e, w, sampleKeys(e, w, kc, false), func(b []byte, l *L) ([]byte, int, int) {
				*k = leftKey(*l)
				b = kc.Append(b, k)
				kl := len(b)
				p := part(b, spill.Hash(b))
				return vc.Append(b, l), p, kl
			})
		},
		read: func(e *env, next any) error {
			push, l := next.(func(*L)), new(L)
			m, err := merge(e, 2)
			if err != nil {
				return err
			}
			var key, value, match []byte // match is the last key of the right side
			var input int
			any := false
			for {
				if key, value, input, err = m.next(); err != nil {
					break
				}
				if input == 0 {
					match, any = key, true
					continue
				}
				if found := any && bytes.Equal(key, match); found != keep {
					continue
				}
				if _, err = vc.Decode(value, l); err != nil {
					break
				}
				push(l)
			}
			if err == io.EOF {
				err = nil
			}
			return err
		},
	}
}

// storeResult stores the result of a function in u, or handles its error for the left record.
func storeResult[L, U any](e *env, n *node, u *U, v U, err error, l L) bool {
	if err != nil {
		failed := l // so that l itself is not allocated for each record
		userError(e, n, err, &failed)
		return false
	}
	*u = v
	return true
}

// join makes n pair records. pair fills u, and returns false to drop the pair. With outer, r is nil
// for a left record without a match.
func join[L, R, K, U any](n *node, outer bool, leftKey func(L) K, rightKey func(R) K, pair func(e *env, u *U, l L, r *R) bool) {
	cogroup(n, leftKey, rightKey, func(e *env, push func(*U)) func(*K, *side[L], iter.Seq[R]) error {
		u, cur := new(U), new(R)
		each := func(ls *side[L], r *R) {
			if ls.decode() {
				for i := range ls.decoded {
					if pair(e, u, ls.decoded[i], r) {
						push(u)
					}
					if e.stopped.Load() {
						return
					}
				}
				return
			}
			for l := range ls.all {
				if pair(e, u, l, r) {
					push(u)
				}
				if e.stopped.Load() {
					return
				}
			}
		}
		return func(_ *K, ls *side[L], rs iter.Seq[R]) error {
			if ls.spool.Len() == 0 {
				return nil
			}
			matched := false
			for r := range rs {
				matched = true
				right := cur
				if outer { // the function may keep the pointer
					right = new(R)
				}
				*right = r
				each(ls, right)
				if e.stopped.Load() {
					break
				}
			}
			if outer && !matched {
				each(ls, nil)
			}
			return ls.err
		}
	})
}

// CoGroup passes the left and the right records of each key to f. f may range over lefts any number
// of times, over rights once. A key on only one side comes with an empty other side. It handles
// errors like TryMap.
func CoGroup[L, R, K, U any](left Dataset[L], right Dataset[R], leftKey func(L) K, rightKey func(R) K, f func(ctx context.Context, key K, lefts iter.Seq[L], rights iter.Seq[R], emit func(U)) error, opts ...ShuffleOption) Dataset[U] {
	n := newNode[U](planOf(left.n), "CoGroup", opts, left.n, right.n)
	n.needs("left key", leftKey)
	n.needs("right key", rightKey)
	n.needs("function", f)
	cogroup(n, leftKey, rightKey, func(e *env, push func(*U)) func(*K, *side[L], iter.Seq[R]) error {
		u := new(U)
		emit := func(x U) { *u = x; push(u) }
		return func(k *K, ls *side[L], rs iter.Seq[R]) error {
			if err := f(e.ctx, *k, ls.all, rs, emit); err != nil {
				userError(e, n, err, k)
			}
			if e.err != nil {
				return e.err
			}
			return ls.err
		}
	})
	return Dataset[U]{n}
}

// side holds the left records of one key.
type side[L any] struct {
	spool *spill.Spool
	all   iter.Seq[L]
	err   error
	// bytes is about the size of the records. decoded has the records once decode has decoded
	// them; a key with many right records needs them for each.
	bytes     int
	decoded   []L
	isDecoded bool
	shares    bool // copies of a record share memory that a function may change
}

// maxDecoded limits the bytes of the records that decode keeps.
const maxDecoded = 64 << 10

func (ls *side[L]) reset() {
	clear(ls.decoded)
	ls.spool.Reset()
	ls.decoded, ls.bytes, ls.isDecoded = ls.decoded[:0], 0, false
}

// decode decodes the records into decoded. It returns false for records that are too large, cannot
// be decoded, or must be decoded for each use.
func (ls *side[L]) decode() bool {
	if ls.shares || ls.bytes > maxDecoded {
		return false
	}
	if !ls.isDecoded {
		ls.isDecoded = true
		for l := range ls.all {
			ls.decoded = append(ls.decoded, l)
		}
	}
	return ls.err == nil
}

// sharesMemory reports whether copies of a value share memory that can change. Strings and times
// cannot.
func sharesMemory(t reflect.Type) bool {
	switch {
	case t.Kind() == reflect.String || t == reflect.TypeFor[time.Time]() || !sketch.HasPointers(t):
		return false
	case t.Kind() == reflect.Array:
		return sharesMemory(t.Elem())
	case t.Kind() == reflect.Struct:
		for i := range t.NumField() {
			if sharesMemory(t.Field(i).Type) {
				return true
			}
		}
		return false
	}
	return true
}

func cogroup[L, R, K, U any](n *node, leftKey func(L) K, rightKey func(R) K, each func(e *env, push func(*U)) func(*K, *side[L], iter.Seq[R]) error) {
	kc, lc, rc := keyCodec[K](n), valueCodec[L](n), valueCodec[R](n)
	if len(n.plan.errs) > 0 {
		return
	}
	n.wide = &wideRole{
		keepsKey: true,
		write: func(e *env, input int, w *port) (any, func() error) {
			part := partitioner(n, e, kc, w.parts)
			k := new(K)
			if input == 0 {
				return sorting(e, w, sampleKeys(e, w, kc, false), func(b []byte, l *L) ([]byte, int, int) {
					*k = leftKey(*l)
					b = kc.Append(b, k)
					kl := len(b)
					p := part(b, spill.Hash(b))
					return lc.Append(b, l), p, kl
				})
			}
			return sorting(e, w, sampleKeys(e, w, kc, false), func(b []byte, r *R) ([]byte, int, int) {
				*k = rightKey(*r)
				b = kc.Append(b, k)
				kl := len(b)
				p := part(b, spill.Hash(b))
				return rc.Append(b, r), p, kl
			})
		},
		read: func(e *env, next any) error {
			if n.wide.probe != nil && isEmpty(e.input(1)) {
				return nil
			}
			handle := each(e, next.(func(*U)))
			m, err := merge(e, 2)
			if err != nil {
				return err
			}
			k, r := new(K), new(R)
			ls := &side[L]{spool: spill.NewSpool(int(min(e.memory, 64<<20)), e.run.Temp), shares: sharesMemory(reflect.TypeFor[L]())}
			ls.all = func(yield func(L) bool) {
				l := new(L)
				var failed error
				err := ls.spool.All(func(v []byte) bool {
					_, failed = lc.Decode(v, l)
					return failed == nil && yield(*l)
				})
				// a later pass must not hide the error of an earlier pass
				ls.err = cmp.Or(ls.err, failed, err)
			}
			key, value, input, err := m.next()
			for err == nil {
				first := key
				if err := kc.Decode(key, k); err != nil {
					return err
				}
				ls.reset()
				for input == 0 {
					ls.bytes += len(value) + int(unsafe.Sizeof(*new(L)))
					if err := ls.spool.Add(value); err != nil {
						return err
					}
					if key, value, input, err = m.next(); err != nil || !bytes.Equal(key, first) {
						break
					}
				}
				same := err == nil && bytes.Equal(key, first)
				var failed error
				advance := func() {
					key, value, input, err = m.next()
					same = err == nil && bytes.Equal(key, first)
				}
				userErr := handle(k, ls, func(yield func(R) bool) {
					for same && failed == nil {
						if _, failed = rc.Decode(value, r); failed != nil {
							return
						}
						advance()
						if !yield(*r) {
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
				for same {
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

// isEmpty reports whether there are no records.
func isEmpty(runs []job.RunReader) bool {
	return !slices.ContainsFunc(runs, func(r job.RunReader) bool { return r.Records() > 0 })
}

// BroadcastJoin looks every left record up in a small right side, which every process holds in
// memory. It is a left join that does not shuffle the left side. A small side that takes more than
// half of the memory ends the job. f receives nil if there is no match, and must not change its
// arguments. Of several right records with one key, the last record counts.
func BroadcastJoin[L, R, K, U any](left Dataset[L], small Dataset[R], leftKey func(L) K, smallKey func(R) K, f func(L, *R) U, opts ...Option) Dataset[U] {
	n := newNode[U](planOf(left.n), "BroadcastJoin", opts, left.n, small.n)
	n.needs("left key", leftKey)
	n.needs("small key", smallKey)
	n.needs("function", f)
	broadcast(n, leftKey, smallKey, func(_ *env, u *U, l *L, r *R) bool {
		*u = f(*l, r)
		return true
	})
	return Dataset[U]{n}
}

// TryBroadcastJoin is BroadcastJoin with a context and errors. It handles
// errors like TryMap.
func TryBroadcastJoin[L, R, K, U any](left Dataset[L], small Dataset[R], leftKey func(L) K, smallKey func(R) K, f func(context.Context, L, *R) (U, error), opts ...Option) Dataset[U] {
	n := newNode[U](planOf(left.n), "TryBroadcastJoin", opts, left.n, small.n)
	n.needs("left key", leftKey)
	n.needs("small key", smallKey)
	n.needs("function", f)
	broadcast(n, leftKey, smallKey, func(e *env, u *U, l *L, r *R) bool {
		v, err := f(e.ctx, *l, r)
		return storeResult(e, n, u, v, err, *l)
	})
	return Dataset[U]{n}
}

// broadcast makes n look up its records in a table of its second input.
func broadcast[L, R, K, U any](n *node, leftKey func(L) K, smallKey func(R) K, pair func(e *env, u *U, l *L, r *R) bool) {
	kc, vc := keyCodec[K](n), valueCodec[R](n)
	if len(n.plan.errs) > 0 {
		return
	}
	n.side = &sideRole{write: writeSide(vc)}
	table := func(e *env) (*lookup[R], error) {
		return sideValue(e, n, func() (*lookup[R], error) { return loadSide(e, n, kc.Append, vc.Decode, smallKey) })
	}
	n.side.load = func(e *env) (int64, error) {
		l, err := table(e)
		if err != nil {
			return 0, err
		}
		return l.bytes, nil
	}
	n.fuse = func(e *env, next any) any {
		push, u := next.(func(*U)), new(U)
		table, err := table(e)
		if err != nil {
			e.fail(fmt.Errorf("%s at %s: small side: %w", n.label(), n.at, err))
			return func(*L) {}
		}
		k := new(K)
		var buf []byte
		return func(l *L) {
			*k = leftKey(*l)
			buf = kc.Append(buf[:0], k)
			if pair(e, u, l, table.get(buf)) {
				push(u)
			}
		}
	}
}
