package mapreduce

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"unsafe"

	"github.com/layshaft/layshaft/internal/job"
	"github.com/layshaft/layshaft/internal/spill"
)

// Merge describes what MergeTask does with the accumulators of a key. An accumulator is bytes that
// the program encodes and decodes itself.
type Merge[U any] struct {
	// Fold appends to dst one accumulator for all values, of which there are at least two. It
	// merges accumulators on one worker or in one zone before they move. The order of the values
	// must not matter.
	Fold func(dst []byte, values [][]byte) ([]byte, error)
	// Start is called once for each attempt. Its first function receives every key of the task with
	// all accumulators of the key. Its second function is called after the last key. Both may call
	// emit any number of times. The bytes of key and values never change, but the slice of values
	// is used again.
	Start func(ctx context.Context, task Task, emit func(U)) (each func(key []byte, values [][]byte) error, end func() error)
}

// MergeTask brings together the encoded accumulators of each key. Use it behind a MapTask that has
// folded its records already: unlike AggregateBy it does not fold again before the records move, it
// only sorts them. Keys come in order within each partition. Errors are handled as in MapTask.
func MergeTask[U any](d Dataset[KV[string, string]], m Merge[U], opts ...ShuffleOption) Dataset[U] {
	n := newNode[U](planOf(d.n), "MergeTask", opts, d.n)
	n.needs("Fold", m.Fold)
	n.needs("Start", m.Start)
	kc := keyCodec[string](n)
	if len(n.plan.errs) > 0 {
		return Dataset[U]{n}
	}
	n.wide = &wideRole{
		combine: func(e *env, w *port, slices int) error { return mergeParts(e, w, slices, m.Fold) },
		write: func(e *env, _ int, w *port) (any, func() error) {
			part := partitioner(n, e, kc, w.parts)
			return sorting(e, w, nil, func(b []byte, kv *KV[string, string]) ([]byte, int, int) {
				b = append(b, kv.Key...)
				return append(b, kv.Value...), part(b, spill.Hash(b)), len(kv.Key)
			})
		},
		read: func(e *env, next any) error {
			push, u := next.(func(*U)), new(U)
			each, end := m.Start(e.ctx, Task{e.run.Attempt.Task.Stage, e.run.Attempt.Task.Index, e.memory}, func(x U) {
				*u = x
				push(u)
			})
			in, err := merge(e, 1)
			if err != nil {
				return err
			}
			err = eachKey(in, func(key []byte, values [][]byte) error {
				if err := each(key, values); err != nil {
					k := unsafe.String(unsafe.SliceData(key), len(key))
					userError(e, n, err, &k)
				}
				return e.err
			})
			if err != nil {
				return err
			}
			if err := end(); err != nil {
				return fmt.Errorf("%s at %s: %w", n.label(), n.at, err)
			}
			return nil
		},
	}
	return Dataset[U]{n}
}

// eachKey calls f for each key of the merged runs with its values.
func eachKey(m *merged, f func(key []byte, values [][]byte) error) error {
	var values [][]byte
	key, value, _, err := m.next()
	for err == nil {
		first := key
		values = append(values[:0], value)
		for {
			if key, value, _, err = m.next(); err != nil || !bytes.Equal(key, first) {
				break
			}
			values = append(values, value)
		}
		if err := f(first, values); err != nil {
			return err
		}
	}
	if err == io.EOF {
		return nil
	}
	return err
}

// mergeParts merges the accumulators of a group of producers into one run, for each partition of
// the task's slice. Accumulators of one key stay apart if together they would be too large for a
// block.
func mergeParts(e *env, w *port, slices int, fold func(dst []byte, values [][]byte) ([]byte, error)) error {
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
		var one []byte
		err = eachKey(m, func(key []byte, values [][]byte) error {
			for len(values) > 0 {
				n, size := 0, 0
				for n < len(values) && (n == 0 || size+len(values[n]) <= maxMerged) {
					size += len(values[n])
					n++
				}
				value := values[0]
				if n > 1 {
					var err error
					if one, err = fold(one[:0], values[:n]); err != nil {
						return err
					}
					value = one
				}
				if values = values[n:]; len(values) > 0 && n > 1 && len(value) <= maxMerged/2 {
					values = append([][]byte{bytes.Clone(value)}, values...)
					continue
				}
				if err := out.Add(key, value); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			return err
		}
		if err := out.Flush(); err != nil {
			return err
		}
	}
	return nil
}
