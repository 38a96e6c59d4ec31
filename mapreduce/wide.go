package mapreduce

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"reflect"
	"unsafe"

	"github.com/layshaft/layshaft/internal/hotkeys"
	"github.com/layshaft/layshaft/internal/job"
	"github.com/layshaft/layshaft/internal/record"
	"github.com/layshaft/layshaft/internal/sketch"
	"github.com/layshaft/layshaft/internal/spill"
	"github.com/layshaft/layshaft/mapreduce/agg"
)

// keyed encodes the keys that a function takes from records. It belongs to one attempt.
type keyed[T, K any] struct {
	codec *record.KeyCodec[K]
	of    func(T) K
	k     *K
	buf   []byte
}

func newKeyed[T, K any](codec *record.KeyCodec[K], of func(T) K) *keyed[T, K] {
	return &keyed[T, K]{codec: codec, of: of, k: new(K)}
}

// partitioner returns a function from the encoded key of n and its hash to a partition below parts.
func partitioner[K any](n *node, e *env, codec *record.KeyCodec[K], parts int) func(key []byte, hash uint64) int {
	if n.opts.partition == nil {
		return func(_ []byte, hash uint64) int { return spill.Partition(hash, parts) }
	}
	f, k := n.opts.partition.(func(K, int) int), new(K)
	strings := sketch.HasPointers(reflect.TypeFor[K]())
	return func(key []byte, _ uint64) int {
		if strings {
			key = bytes.Clone(key) // f may keep its strings, and the memory of key is reused
		}
		if err := codec.Decode(key, k); err != nil {
			e.fail(err)
			return 0
		}
		p := f(*k, parts)
		if p < 0 || p >= parts {
			e.fail(Fatal(fmt.Errorf("%s at %s: PartitionBy returned %d for key %v; it must be from 0 to %d", n.label(), n.at, p, *k, parts-1)))
			return 0
		}
		return p
	}
}

// keyCodec and valueCodec compile codecs when the plan is built, so that types without a codec are
// refused there.
func keyCodec[K any](n *node) *record.KeyCodec[K] {
	c, err := record.ForKey[K]()
	if err != nil {
		n.refuse(err)
	}
	if n.opts.partition != nil {
		if f, ok := n.opts.partition.(func(K, int) int); ok && f == nil {
			n.refuse(errors.New("the function given to PartitionBy is nil"))
		} else if !ok {
			var k K
			n.refuse(fmt.Errorf("PartitionBy was given a %T; its keys are %T, so it needs a func(%T, int) int", n.opts.partition, k, k))
		}
	}
	return c
}

func valueCodec[T any](n *node) *record.Codec[T] {
	c, err := record.For[T]()
	if err != nil {
		n.refuse(err)
	}
	return c
}

// merged merges the runs of several inputs. Equal keys come in the order of inputs, then of
// producers, then of runs.
type merged struct {
	*spill.Merge
	input []int // of each run
	e     *env
	count int64
	size  int64
}

// merge merges the runs of the given inputs of the attempt.
func merge(e *env, inputs int) (*merged, error) {
	all := make([][]job.RunReader, inputs)
	for i := range all {
		all[i] = e.input(i)
	}
	return mergeRuns(e, all)
}

func mergeRuns(e *env, all [][]job.RunReader) (*merged, error) {
	m := &merged{e: e}
	var runs []spill.Run
	inputs := len(all)
	for i, readers := range all {
		rs := make([]spill.Run, len(readers))
		for j, r := range readers {
			rs[j] = r
		}
		// Every open run holds a read-ahead of blocks, so memory limits the number of open runs.
		fan := int(min(max(8, e.run.Memory/2/int64(inputs)/openRun), maxFan))
		rs, err := spill.Narrow(rs, fan, e.run.Temp)
		if err != nil {
			return nil, err
		}
		for range rs {
			m.input = append(m.input, i)
		}
		runs = append(runs, rs...)
	}
	m.Merge = spill.NewMerge(runs)
	return m, nil
}

// openRun is the memory of an open run, in bytes: its read-ahead and a block or two.
const openRun = 384 << 10

// maxFan is the largest number of open runs of one input: each takes a file descriptor.
const maxFan = 512

// next returns the next record and its input. It returns io.EOF at the end, and earlier if the
// attempt is stopped.
func (m *merged) next() (key, value []byte, input int, err error) {
	key, value, run, err := m.Next()
	if err != nil {
		m.report()
		return nil, nil, 0, err
	}
	m.count++
	m.size += int64(len(key) + len(value))
	if m.count&1023 == 0 || m.e.run.Progress.Asked.Load() {
		m.e.run.Progress.Asked.Store(false)
		m.report()
		if m.e.stopped.Load() {
			return nil, nil, 0, io.EOF
		}
	}
	return key, value, m.input[run], nil
}

func (m *merged) report() {
	m.e.run.Progress.Records.Add(m.count)
	m.e.run.Progress.Bytes.Add(m.size)
	m.count, m.size = 0, 0
}

// Agg is a mergeable aggregate for AggregateBy and Aggregate. Package agg has ready aggregates,
// such as agg.Count and agg.Sum, and composes them.
type Agg[T, A, R any] = agg.Agg[T, A, R]

// AggregateBy folds the records of each key into one result. Prefer it wherever the fold is
// mergeable. Records are folded where they are read, and only partial accumulators move.
// Accumulators spill if there are too many keys for the memory. Results come sorted by key within
// each partition.
func AggregateBy[T, K, A, R any](d Dataset[T], key func(T) K, agg Agg[T, A, R], opts ...ShuffleOption) Dataset[KV[K, R]] {
	n := newNode[KV[K, R]](planOf(d.n), "AggregateBy", opts, d.n)
	n.needs("key", key)
	return aggregateBy(n, key, agg)
}

func aggregateBy[T, K, A, R any](n *node, key func(T) K, agg Agg[T, A, R]) Dataset[KV[K, R]] {
	aggregate(n, key, agg, func(push func(*KV[K, R])) func(*K, R) {
		kv := new(KV[K, R])
		return func(k *K, r R) {
			kv.Key, kv.Value = *k, r
			push(kv)
		}
	}, false)
	return Dataset[KV[K, R]]{n}
}

// Aggregate folds all records into one result. Without records it returns the result of an empty
// accumulator.
func Aggregate[T, A, R any](d Dataset[T], agg Agg[T, A, R], opts ...Option) Dataset[R] {
	return aggregateAll(newNode[R](planOf(d.n), "Aggregate", opts, d.n), agg)
}

func aggregateAll[T, A, R any](n *node, agg Agg[T, A, R]) Dataset[R] {
	aggregate(n, func(T) struct{} { return struct{}{} }, agg, func(push func(*R)) func(*struct{}, R) {
		return func(_ *struct{}, r R) { push(&r) }
	}, true)
	return Dataset[R]{n}
}

// aggregate makes n fold by key. emit turns n's push into a function of a key and its result. With
// single there is one key, the empty key, and it has a result even without records.
func aggregate[T, K, A, R, O any](n *node, key func(T) K, agg Agg[T, A, R], emit func(func(*O)) func(*K, R), single bool) {
	kc, ac := keyCodec[K](n), valueCodec[A](n)
	if !n.aggregates(reflect.TypeFor[K](), reflect.TypeFor[A](), agg.Err, agg.Complete(), agg.Unordered, agg.Commutes) {
		return
	}
	if a := reflect.TypeFor[A](); agg.Unordered && (!single || sketch.HasPointers(a) || a.Size() > smallOne) {
		n.wide.combine = func(e *env, w *port, slices int) error { return combine(e, w, slices, ac, agg.Merge) }
	}
	if single {
		n.wide.parts = 1
	}
	n.wide.write = func(e *env, _ int, w *port) (any, func() error) {
		return fold(e, n, w, kc, ac, key, agg.Add, agg.Size, single)
	}
	n.wide.read = func(e *env, next any) error {
		return mergeFolded(e, n, kc, ac, agg.Merge, agg.Result, emit(next.(func(*O))), single)
	}
}

// aggregates makes n fold by key, and reports whether the plan is right so far. complete reports
// whether the Agg has all functions that it needs.
func (n *node) aggregates(key, acc reflect.Type, err error, complete, unordered, commutes bool) bool {
	if err := cmp.Or(err, sketch.CheckKeys(acc)); err != nil {
		n.refuse(err)
	} else if !complete {
		n.refuse(errors.New("an Agg needs the functions Add, Merge and Result; an aggregate of package agg lacks them if it was made with a nil function"))
	}
	if len(n.plan.errs) > 0 {
		return false
	}
	n.wide = &wideRole{combines: true, anyOrder: unordered, keepable: &keepableRole{key: formOf(key), acc: formOf(acc)}}
	if !unordered && !commutes {
		n.wide.keepable.ordered = "its result depends on the order of records"
	}
	return true
}

// fold returns a function that folds a record into the accumulator of its key, and a function that
// writes the accumulators.
func fold[T, K, A any](e *env, n *node, w *port, kc *record.KeyCodec[K], ac *record.Codec[A], key func(T) K, add func(*A, T), size func(*A) int, single bool) (any, func() error) {
	costly := false
	if size == nil && sketch.HasPointers(reflect.TypeFor[A]()) {
		var scratch []byte
		size = func(a *A) int { scratch = ac.Append(scratch[:0], a); return 2 * len(scratch) }
		costly = true
	}
	c := spill.NewCombiner(spill.CombinerConfig[T, A]{
		Add: add, Size: size, Costly: costly, Encode: ac.Append, Partition: partitioner(n, e, kc, w.parts),
		Parts: w.parts, Limit: e.memory, Output: w.spill,
		// a panic must occur while its record is known
		Direct: e.plan.allowsBad() || e.run.Isolated,
		Keys:   sampleKeys(e, w, kc, single),
	})
	e.closers = append(e.closers, c.Close)
	if kc.IsString {
		k := new(K)
		return func(t *T) {
			*k = key(*t)
			if err := c.AddString(*(*string)(unsafe.Pointer(k)), t); err != nil {
				e.fail(err)
			}
		}, c.Flush
	}
	kd := newKeyed(kc, key)
	return func(t *T) {
		*kd.k = kd.of(*t)
		kd.buf = kc.Append(kd.buf[:0], kd.k)
		if err := c.AddBytes(kd.buf, t); err != nil {
			e.fail(err)
		}
	}, c.Flush
}

// mergeFolded merges the accumulators of each key, and passes the key and its result to push.
func mergeFolded[K, A, R any](e *env, n *node, kc *record.KeyCodec[K], ac *record.Codec[A], merge func(a, b *A), result func(*A) R, push func(*K, R), single bool) error {
	m, err := mergeKept(e)
	if err != nil {
		return err
	}
	k := new(K)
	// result may keep a, unless neither A nor R has room for a pointer.
	kept := sketch.HasPointers(reflect.TypeFor[A]()) || sketch.HasPointers(reflect.TypeFor[R]())
	a, b := new(A), new(A)
	var encoded []byte
	checkKey := checkPartition(n, e, kc)
	key, value, _, err := m.next()
	if single && err == io.EOF {
		push(k, result(new(A)))
	}
	for err == nil {
		if kept {
			a, b = new(A), new(A)
		} else {
			*a, *b = *new(A), *new(A)
		}
		if _, err := ac.Decode(value, a); err != nil {
			return err
		}
		if err := kc.Decode(key, k); err != nil {
			return err
		}
		first := key
		for {
			if key, value, _, err = m.next(); err != nil || !bytes.Equal(key, first) {
				break
			}
			if _, err := ac.Decode(value, b); err != nil {
				return err
			}
			merge(a, b)
		}
		if checkKey(first); e.keep != nil {
			encoded = ac.Append(encoded[:0], a)
			e.fail(e.keep(first, encoded))
		}
		push(k, result(a))
	}
	if err == io.EOF {
		err = nil
	}
	return err
}

// smallOne is a size of an accumulator, in bytes. Up to it, the last stage reads one accumulator
// from each task as fast as one from each worker.
const smallOne = 256

// combine merges the accumulators of a group of producers into one run, for each partition of the
// task's slice; see job.Stage.Slices. Accumulators of one key stay apart if together they would be
// too large for a block, such as very large sets. The last stage merges these in memory, where
// nothing must fit into a block.
func combine[A any](e *env, w *port, slices int, codec *record.Codec[A], fold func(a, b *A)) error {
	var buf []byte
	for part := e.run.Attempt.Task.Index % slices; part < w.parts; part += slices {
		runs, err := e.run.OpenPartition(part)
		if err != nil {
			return err
		}
		m, err := mergeRuns(e, [][]job.RunReader{runs})
		if err != nil {
			return err
		}
		out := spill.NewPacker(w.append, part)
		key, value, _, err := m.next()
		for err == nil {
			first, single := key, value
			var a *A
			held := len(single) // upper limit of the encoded bytes of a
			for {
				if key, value, _, err = m.next(); err != nil || !bytes.Equal(key, first) {
					break
				}
				if held+len(value) > maxMerged {
					if a != nil {
						buf = codec.Append(buf[:0], a)
						single = buf
					}
					if held = len(single); held > maxMerged/2 || held+len(value) > maxMerged {
						if err := out.Add(first, single); err != nil {
							return err
						}
						a, single, held = nil, value, len(value)
						continue
					}
				}
				held += len(value)
				b := new(A)
				if a == nil {
					a = new(A)
					if _, err := codec.Decode(single, a); err != nil {
						return err
					}
				}
				if _, err := codec.Decode(value, b); err != nil {
					return err
				}
				fold(a, b)
			}
			if a != nil {
				buf = codec.Append(buf[:0], a)
				single = buf
			}
			if err := out.Add(first, single); err != nil {
				return err
			}
		}
		if err != io.EOF {
			return err
		}
		if err := out.Flush(); err != nil {
			return err
		}
	}
	return nil
}

// maxMerged is the most encoded bytes that the accumulators of a key may take to be merged before
// the last stage. When their sum exceeds it, combine measures the merged accumulator, and writes it
// if it takes more than half of maxMerged. So it does not measure often.
const maxMerged = record.MaxFrame / 2

// ReduceByKey merges the values of each key in pairs. f must be associative; values meet in a fixed
// order. -verify checks that with values of the data.
func ReduceByKey[K, V any](d Dataset[KV[K, V]], f func(a, b V) V, opts ...ShuffleOption) Dataset[KV[K, V]] {
	type acc struct {
		Some  bool
		Value V
	}
	n := newNode[KV[K, V]](planOf(d.n), "ReduceByKey", opts, d.n)
	n.needs("function", f)
	aggregate(n, func(kv KV[K, V]) K { return kv.Key }, Agg[KV[K, V], acc, V]{
		Add: func(a *acc, kv KV[K, V]) {
			if a.Some {
				a.Value = f(a.Value, kv.Value)
			} else {
				*a = acc{true, kv.Value}
			}
		},
		Merge: func(a, b *acc) {
			if a.Some && b.Some {
				a.Value = f(a.Value, b.Value)
			} else if b.Some {
				*a = *b
			}
		},
		Result: func(a *acc) V { return a.Value },
	}, func(push func(*KV[K, V])) func(*K, V) {
		kv := new(KV[K, V])
		return func(k *K, v V) {
			kv.Key, kv.Value = *k, v
			push(kv)
		}
	}, false)
	checkLaws[K](n, f)
	return Dataset[KV[K, V]]{n}
}

// Distinct keeps one record of each set of equal records. T must be usable as a key. As in every
// key, times are equal if they are the same instant, and come back in UTC; -0 equals 0 and comes
// back as 0.
func Distinct[T any](d Dataset[T], opts ...ShuffleOption) Dataset[T] {
	type none struct{}
	n := newNode[T](planOf(d.n), "Distinct", opts, d.n)
	aggregate(n, func(t T) T { return t }, Agg[T, none, none]{
		Unordered: true,

		Add:    func(*none, T) {},
		Merge:  func(*none, *none) {},
		Result: func(*none) none { return none{} },
	}, func(push func(*T)) func(*T, none) {
		return func(t *T, _ none) { push(t) }
	}, false)
	return Dataset[T]{n}
}

// CountBy counts the records of each key.
func CountBy[T, K any](d Dataset[T], key func(T) K, opts ...ShuffleOption) Dataset[KV[K, int64]] {
	n := newNode[KV[K, int64]](planOf(d.n), "CountBy", opts, d.n)
	n.needs("key", key)
	return aggregateBy(n, key, agg.Count[T]())
}

// sorting writes records, encoded and sorted by partition and key, for operators that need all
// records of a key together.
func sorting[T any](e *env, w *port, keys *hotkeys.Sampler, encode func(dst []byte, t *T) (b []byte, part, keyLen int)) (any, func() error) {
	return sortingBy(e, w, keys, nil, encode)
}

// sortingBy is sorting for records whose counted key is a part of the record.
func sortingBy[T any](e *env, w *port, keys *hotkeys.Sampler, keyOf func(key, value []byte) []byte, encode func(dst []byte, t *T) (b []byte, part, keyLen int)) (any, func() error) {
	output := w.append
	if e.memory < sortRun {
		output = w.spill // larger runs would fit into more memory
	}
	s := spill.NewSorter(spill.SorterConfig{Parts: w.parts, Limit: min(e.memory, sortRun), Output: output, Keys: keys, KeyOf: keyOf})
	e.closers = append(e.closers, s.Close)
	return func(t *T) {
		b, part, keyLen := encode(s.Begin(), t)
		if err := s.End(part, b, keyLen); err != nil {
			e.fail(err)
		}
	}, s.Flush
}

// sortRun is the most memory for one sorted run, in bytes: longer runs would need fewer merges, but
// sort out of cache.
const sortRun = 256 << 20
