// Package memio provides sources of values from memory: Of, Slice, Generate and Seq. It is for
// tests, examples, benchmarks and small inputs.
//
//	numbers := mapreduce.Read(p, memio.Generate(1_000_000, func(i int64) int64 { return i * i }))
//
// Only ranges of indexes are sent to workers, not values. A worker builds the plan again from the
// job's parameters, and so makes the values again. The values must therefore depend on the
// parameters alone. Slice and Generate compare samples of the values with samples of the process
// that made the splits. Read fails when they differ.
package memio

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"reflect"
	"unsafe"

	"github.com/zeebo/xxh3"

	"github.com/layshaft/layshaft/mapreduce/connector"
)

// Source reads values by index. It is a connector.Source[T], made by Of, Slice or Generate.
type Source[T any] struct {
	name   string
	values []T             // Slice
	make   func(i int64) T // Generate
	n      int64
	pieces int
}

// Of returns a source of the given values, in order.
func Of[T any](values ...T) Source[T] { return Slice(values) }

// Slice returns a source of the given values, in order. The values must not change while the job
// runs.
func Slice[T any](values []T) Source[T] {
	return Source[T]{
		name:   fmt.Sprintf("memio.Slice(%d of %v)", len(values), reflect.TypeFor[T]()),
		values: values,
		n:      int64(len(values)),
	}
}

// Generate returns a source of f(0), f(1), ..., f(n-1). f must return the same value for the same
// i. It is called by several goroutines at once. When an attempt is repeated, f is called again for
// the same i.
func Generate[T any](n int64, f func(i int64) T) Source[T] {
	return Source[T]{name: fmt.Sprintf("memio.Generate(%d of %v)", n, reflect.TypeFor[T]()), make: f, n: n}
}

// Cut sets the number of splits. No split is empty, so there are never more splits than values.
// Zero, the default, splits by size like other sources, but makes at least one split per 1,000
// values, up to 16.
func (s Source[T]) Cut(splits int) Source[T] {
	s.pieces = splits
	return s
}

// String returns the source, such as memio.Slice(3 of string).
func (s Source[T]) String() string { return s.name }

// indexes is the content of a split's Data: values From to To (excluded), and a hash of a sample of
// them.
type indexes struct {
	From int64  `json:"from"`
	To   int64  `json:"to"`
	Sum  uint64 `json:"sum,omitempty"`
}

// Splits divides the values into ranges. It returns an error when the number of values or of splits
// is negative.
func (s Source[T]) Splits(_ context.Context, target int64) ([]connector.Split, error) {
	if s.n < 0 || s.pieces < 0 {
		return nil, fmt.Errorf("%s: %d values in %d splits; neither may be negative", s, s.n, s.pieces)
	}
	if s.make == nil && s.n > int64(len(s.values)) {
		return nil, errors.New("its function is nil")
	}
	size := int64(max(1, unsafe.Sizeof(*new(T))))
	pieces := int64(s.pieces)
	if pieces == 0 {
		per := max(1, target/size)
		pieces = max((s.n+per-1)/per, min(16, s.n/1000), 1)
	}
	pieces = min(pieces, s.n)
	splits := make([]connector.Split, pieces)
	rest, each := int64(0), int64(0)
	if pieces > 0 {
		rest, each = s.n%pieces, s.n/pieces
	}
	from := int64(0)
	for i := range splits {
		to := from + each
		if int64(i) < rest {
			to++
		}
		data, err := json.Marshal(indexes{From: from, To: to, Sum: s.hashSample(from, to)})
		if err != nil {
			return nil, fmt.Errorf("%s: %w", s, err)
		}
		splits[i] = connector.Split{Label: fmt.Sprintf("%s[%d:%d]", s.name, from, to), Bytes: (to - from) * size, Data: data}
		from = to
	}
	return splits, nil
}

// Read emits the values of one range.
func (s Source[T]) Read(_ context.Context, split connector.Split, r *connector.Reader[T]) error {
	var x indexes
	if err := json.Unmarshal(split.Data, &x); err != nil {
		return fmt.Errorf("%s: split %s: %w", s, split.Label, err)
	}
	if x.From < 0 || x.From > x.To || x.To > s.n || s.hashSample(x.From, x.To) != x.Sum {
		return fmt.Errorf("%s: the values differ from those at the time of the split %s; make them from the job's parameters alone", s, split.Label)
	}
	size := int64(unsafe.Sizeof(*new(T)))
	r.Path = s.name
	var v T // a copy, so that receivers cannot change the values through the pointer
	for from := x.From; from < x.To; {
		to := min(from+1024, x.To)
		for i := from; i < to; i++ {
			if r.Stopped() {
				return nil
			}
			v = s.at(i)
			r.Offset, r.Line = i*size, i+1
			r.Emit(&v)
		}
		r.Add(to-from, (to-from)*size)
		from = to
	}
	return nil
}

func (s Source[T]) at(i int64) T {
	if s.make != nil {
		return s.make(i)
	}
	return s.values[i]
}

// hashSample hashes a sample of the values from to to: all values of a short range, else about 64
// of them, so a long slice costs almost nothing. It is zero when a value cannot be encoded as JSON.
func (s Source[T]) hashSample(from, to int64) uint64 {
	h := xxh3.New()
	out := json.NewEncoder(h)
	for i := from; i < to; i += max(1, (to-from)/64) {
		if out.Encode(s.at(i)) != nil {
			return 0
		}
	}
	return h.Sum64()
}

// Seq returns a source of the values of f's iterator, read as one split. f is called once per
// attempt and must return the same values each time.
func Seq[T any](f func() iter.Seq[T]) connector.Source[T] { return seq[T]{f} }

type seq[T any] struct{ f func() iter.Seq[T] }

func (s seq[T]) String() string { return fmt.Sprintf("memio.Seq(%v)", reflect.TypeFor[T]()) }

func (s seq[T]) Splits(context.Context, int64) ([]connector.Split, error) {
	if s.f == nil {
		return nil, errors.New("its function is nil")
	}
	return []connector.Split{{Label: s.String(), Note: "an iterator, cannot be cut"}}, nil
}

func (s seq[T]) Read(_ context.Context, _ connector.Split, r *connector.Reader[T]) error {
	r.Path = s.String()
	for v := range s.f() {
		if r.Stopped() {
			return nil
		}
		r.Line++
		r.Emit(&v)
		r.Add(1, 0)
	}
	return nil
}
