package mapreduce

import (
	"context"
	"iter"
)

// Map turns every record into one record.
func Map[T, U any](d Dataset[T], f func(T) U, opts ...Option) Dataset[U] {
	n := newNode[U](planOf(d.n), "Map", opts, d.n)
	n.needs("function", f)
	n.anyOrder = true
	n.fuse = func(_ *env, next any) any {
		push, u := next.(func(*U)), new(U)
		return func(t *T) {
			*u = f(*t)
			push(u)
		}
	}
	return Dataset[U]{n}
}

// TryMap is Map with a context and errors. An error made by Skip sets the
// record aside, and an error made by Fatal ends the job. Any other error fails the attempt, which
// is then repeated.
func TryMap[T, U any](d Dataset[T], f func(context.Context, T) (U, error), opts ...Option) Dataset[U] {
	n := newNode[U](planOf(d.n), "TryMap", opts, d.n)
	n.needs("function", f)
	n.anyOrder = true
	n.fuse = func(e *env, next any) any {
		push, u := next.(func(*U)), new(U)
		return func(t *T) {
			r, err := f(e.ctx, *t)
			if err != nil {
				userError(e, n, err, t)
				return
			}
			*u = r
			push(u)
		}
	}
	return Dataset[U]{n}
}

// Filter keeps a record if f returns true.
func (d Dataset[T]) Filter(f func(T) bool, opts ...Option) Dataset[T] {
	n := newNode[T](planOf(d.n), "Filter", opts, d.n)
	n.needs("function", f)
	n.anyOrder = true
	n.fuse = func(_ *env, next any) any {
		push := next.(func(*T))
		return func(t *T) {
			if f(*t) {
				push(t)
			}
		}
	}
	return Dataset[T]{n}
}

// TryFilter is Filter with a context and errors. It handles errors like TryMap.
func (d Dataset[T]) TryFilter(f func(context.Context, T) (bool, error), opts ...Option) Dataset[T] {
	n := newNode[T](planOf(d.n), "TryFilter", opts, d.n)
	n.needs("function", f)
	n.anyOrder = true
	n.fuse = func(e *env, next any) any {
		push := next.(func(*T))
		return func(t *T) {
			ok, err := f(e.ctx, *t)
			if err != nil {
				userError(e, n, err, t)
			} else if ok {
				push(t)
			}
		}
	}
	return Dataset[T]{n}
}

// FlatMap turns every record into any number of records. f may be a function such as
// strings.FieldsSeq. A nil sequence is empty.
func FlatMap[T, U any](d Dataset[T], f func(T) iter.Seq[U], opts ...Option) Dataset[U] {
	n := newNode[U](planOf(d.n), "FlatMap", opts, d.n)
	n.needs("function", f)
	n.anyOrder = true
	n.fuse = func(e *env, next any) any {
		push, cur := next.(func(*U)), new(U)
		yield := func(u U) bool { // made once: a range statement would allocate it for each record
			*cur = u
			push(cur)
			return !e.stopped.Load()
		}
		return func(t *T) {
			if all := f(*t); all != nil { // a nil sequence is empty
				all(yield)
			}
		}
	}
	return Dataset[U]{n}
}

// FlatMapEmit is the fastest form of FlatMap: f passes each record to emit.
func FlatMapEmit[T, U any](d Dataset[T], f func(t T, emit func(U)), opts ...Option) Dataset[U] {
	n := newNode[U](planOf(d.n), "FlatMapEmit", opts, d.n)
	n.needs("function", f)
	n.anyOrder = true
	n.fuse = func(_ *env, next any) any {
		push, cur := next.(func(*U)), new(U)
		emit := func(u U) {
			*cur = u
			push(cur)
		}
		return func(t *T) { f(*t, emit) }
	}
	return Dataset[U]{n}
}

// TryFlatMap is FlatMapEmit with a context and errors. It handles errors like
// TryMap. Records that f emitted before it returned Skip stay.
func TryFlatMap[T, U any](d Dataset[T], f func(ctx context.Context, t T, emit func(U)) error, opts ...Option) Dataset[U] {
	n := newNode[U](planOf(d.n), "TryFlatMap", opts, d.n)
	n.needs("function", f)
	n.anyOrder = true
	n.fuse = func(e *env, next any) any {
		push, cur := next.(func(*U)), new(U)
		emit := func(u U) {
			*cur = u
			push(cur)
		}
		return func(t *T) {
			if err := f(e.ctx, *t, emit); err != nil {
				userError(e, n, err, t)
			}
		}
	}
	return Dataset[U]{n}
}

// KeyBy puts every record under a key.
func KeyBy[T, K any](d Dataset[T], key func(T) K, opts ...Option) Dataset[KV[K, T]] {
	n := newNode[KV[K, T]](planOf(d.n), "KeyBy", opts, d.n)
	n.needs("key", key)
	n.anyOrder = true
	n.fuse = func(_ *env, next any) any {
		push, kv := next.(func(*KV[K, T])), new(KV[K, T])
		return func(t *T) {
			kv.Key, kv.Value = key(*t), *t
			push(kv)
		}
	}
	return Dataset[KV[K, T]]{n}
}

// TryKeyBy is KeyBy with a context and errors. It handles errors like TryMap.
func TryKeyBy[T, K any](d Dataset[T], key func(context.Context, T) (K, error), opts ...Option) Dataset[KV[K, T]] {
	n := newNode[KV[K, T]](planOf(d.n), "TryKeyBy", opts, d.n)
	n.needs("key", key)
	n.anyOrder = true
	n.fuse = func(e *env, next any) any {
		push, kv := next.(func(*KV[K, T])), new(KV[K, T])
		return func(t *T) {
			k, err := key(e.ctx, *t)
			if err != nil {
				userError(e, n, err, t)
				return
			}
			kv.Key, kv.Value = k, *t
			push(kv)
		}
	}
	return Dataset[KV[K, T]]{n}
}

// Values drops the keys.
func Values[K, V any](d Dataset[KV[K, V]], opts ...Option) Dataset[V] {
	n := Map(d, func(kv KV[K, V]) V { return kv.Value }, opts...)
	n.n.op = "Values"
	return n
}

// Union joins datasets of one type into one. It keeps equal records.
func Union[T any](first Dataset[T], others ...Dataset[T]) Dataset[T] {
	in := []*node{first.n}
	for _, d := range others {
		in = append(in, d.n)
	}
	n := newNode[T](planOf(first.n), "Union", []Option(nil), in...)
	n.union = true
	return Dataset[T]{n}
}
