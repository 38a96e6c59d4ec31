package aggr

import (
	"cmp"
	"math"
	"slices"

	"github.com/layshaft/layshaft/report/internal/vec"
)

func init() {
	countedFunc := func(names string, args int, usage string, bind func(c *call, f *Func) (build, error)) {
		register(names, args, args, usage, func(c *call, f *Func) error {
			b, err := bind(c, f)
			f.newState = func() State {
				return &counted{pairs: newPairs(f.Args[0], c.distinct), t: f.Args[0], result: f.Result, build: b}
			}
			f.once = true
			return err
		})
	}
	countedFunc("mode", 1, "x", func(c *call, f *Func) (build, error) {
		f.Result = f.Args[0]
		return buildMode, nil
	})
	countedFunc("entropy", 1, "x", func(c *call, f *Func) (build, error) {
		f.Result = vec.Of(vec.Float)
		return buildEntropy, nil
	})
	countedFunc("approx_top_k", 2, "x, k", func(c *call, f *Func) (build, error) {
		f.Result = vec.ListOf(f.Args[0])
		return bindTop(c, false)
	})
	countedFunc("top_k", 2, "x, k", func(c *call, f *Func) (build, error) {
		f.Result = vec.ListOf(vec.Type{Kind: vec.Struct, Fields: []vec.Field{{Name: "value", Type: f.Args[0]}, {Name: "count", Type: vec.Of(vec.Int)}}})
		return bindTop(c, true)
	})
	register("histogram", 1, 2, "x, bounds", func(c *call, f *Func) error {
		b := build(buildHistogram)
		if len(c.args) == 2 {
			f.Args[0] = vec.Of(vec.Float)
			bounds, err := histogramBounds(c)
			if err != nil {
				return err
			}
			b = func(s *counted, from, to int) (*vec.Vec, error) { return s.bins(bounds, from, to) }
		}
		f.Result = vec.MapOf(f.Args[0], vec.Of(vec.Int))
		f.newState = func() State {
			return &counted{pairs: newPairs(f.Args[0], c.distinct), t: f.Args[0], result: f.Result, build: b}
		}
		f.once = true
		return nil
	})
}

type build func(s *counted, from, to int) (*vec.Vec, error)

// counted counts the values of each group, to compute a result from the counts.
type counted struct {
	*pairs
	t, result vec.Type
	build     build
}

func (s *counted) Resize(groups int) { s.resize(groups) }

func (s *counted) Add(groups []uint32, args []*vec.Vec) error {
	s.add(groups, args[0])
	return nil
}

func (s *counted) AddAll(group uint32, args []*vec.Vec, n int) error {
	s.rows = slices.Grow(s.rows[:0], n)[:n]
	fill(s.rows, group)
	s.add(s.rows, args[0])
	return nil
}

func (s *counted) Result(from, to int) (*vec.Vec, error) { return s.build(s, from, to) }

// frequent orders pairs by falling counts, and equal counts by value.
func (s *counted) frequent(a, b uint32) int {
	return cmp.Or(cmp.Compare(s.counts[b], s.counts[a]), s.compare(a, b))
}

// buildMode returns the most frequent values; the least of them if there are several.
func buildMode(s *counted, from, to int) (*vec.Vec, error) {
	b := vec.NewBuilder(s.t, to-from)
	for g := from; g < to; g++ {
		ids := s.of(g)
		if len(ids) == 0 {
			b.AppendNull()
		} else if err := s.appendValue(b, slices.MinFunc(ids, s.frequent)); err != nil {
			return nil, err
		}
	}
	return b.Done(), nil
}

// buildEntropy returns the entropy in bits. Counts are added in ascending order, so that the sum
// does not depend on the order of rows.
func buildEntropy(s *counted, from, to int) (*vec.Vec, error) {
	v := vec.New(vec.Of(vec.Float), to-from)
	for i := range v.Floats {
		ids := s.of(from + i)
		slices.SortFunc(ids, func(a, b uint32) int { return cmp.Compare(s.counts[a], s.counts[b]) })
		var n int64
		for _, id := range ids {
			n += s.counts[id]
		}
		var sum float64
		for _, id := range ids {
			p := float64(s.counts[id]) / float64(n)
			sum -= float64(p * math.Log2(p))
		}
		v.Floats[i] = max(sum, 0) // not -0
	}
	return v, nil
}

// bindTop returns the builder of the k most frequent values, with their counts if counts is true.
func bindTop(c *call, counts bool) (build, error) {
	k, err := limit(c, 1)
	if err != nil {
		return nil, err
	}
	return func(s *counted, from, to int) (*vec.Vec, error) {
		v := vec.New(s.result, to-from)
		values := vec.NewBuilder(s.t, 0)
		n := vec.NewBuilder(vec.Of(vec.Int), 0)
		for i := range v.Len {
			ids := s.of(from + i)
			slices.SortFunc(ids, s.frequent)
			if len(ids) == 0 {
				v.SetNull(i)
			}
			for _, id := range ids[:min(k, len(ids))] {
				if err := s.appendValue(values, id); err != nil {
					return nil, err
				}
				n.AppendInt(s.counts[id])
			}
			v.Offsets[i+1] = int32(values.Len)
		}
		v.Elem = values.Done()
		if counts {
			v.Elem = &vec.Vec{Type: *s.result.Elem, Len: n.Len, Fields: []*vec.Vec{v.Elem, n.Done()}}
		}
		return v, nil
	}, nil
}

// mapBuilder makes maps from values to counts.
type mapBuilder struct {
	v         *vec.Vec
	keys, sum *vec.Builder
}

func (s *counted) newMaps(n int) mapBuilder {
	return mapBuilder{vec.New(s.result, n), vec.NewBuilder(s.t, 0), vec.NewBuilder(vec.Of(vec.Int), 0)}
}

// end ends map i. It is NULL if null is true.
func (m mapBuilder) end(i int, null bool) {
	if null {
		m.v.SetNull(i)
	}
	m.v.Offsets[i+1] = int32(m.keys.Len)
}

func (m mapBuilder) done() *vec.Vec {
	m.v.Elem = &vec.Vec{Type: *m.v.Type.Elem, Len: m.keys.Len, Fields: []*vec.Vec{m.keys.Done(), m.sum.Done()}}
	return m.v
}

// buildHistogram returns maps from each value to its count, in the order of values.
func buildHistogram(s *counted, from, to int) (*vec.Vec, error) {
	m := s.newMaps(to - from)
	for g := from; g < to; g++ {
		ids := s.sorted(g)
		for _, id := range ids {
			if err := s.appendValue(m.keys, id); err != nil {
				return nil, err
			}
			m.sum.AppendInt(s.counts[id])
		}
		m.end(g-from, len(ids) == 0)
	}
	return m.done(), nil
}

// histogramBounds returns the constant list of upper bounds, sorted.
func histogramBounds(c *call) ([]float64, error) {
	if !c.args[0].IsNumber() {
		return nil, c.refuse(0, "a number")
	}
	v := c.consts[1]
	if v == nil || v.Type.Kind != vec.List || v.Null(0) {
		return nil, c.errorf("write histogram(x, [10, 20, 30])", "%s: the bounds must be a constant list of numbers", c.name)
	}
	var bounds []float64
	for i := v.Offsets[0]; i < v.Offsets[1]; i++ {
		x, ok := number(v.Elem, int(i))
		if !ok || v.Elem.Null(int(i)) || x != x {
			return nil, c.errorf("write histogram(x, [10, 20, 30])", "%s: the bounds must be numbers", c.name)
		}
		bounds = append(bounds, x)
	}
	slices.Sort(bounds)
	return slices.Compact(bounds), nil
}

// bins returns maps from each bound to the number of values up to it and above the bound before.
// The values above all bounds are counted under infinity, if there are any.
func (s *counted) bins(bounds []float64, from, to int) (*vec.Vec, error) {
	m := s.newMaps(to - from)
	for g := from; g < to; g++ {
		n := make([]int64, len(bounds)+1)
		ids := s.of(g)
		for _, id := range ids {
			i, _ := slices.BinarySearchFunc(bounds, s.values[id], func(bound float64, x int64) int { return cmp.Compare(orderWord(bound), x) })
			n[i] += s.counts[id]
		}
		for i, count := range n {
			if i < len(bounds) {
				m.keys.AppendFloat(bounds[i])
			} else if count > 0 {
				m.keys.AppendFloat(math.Inf(1))
			} else {
				continue
			}
			m.sum.AppendInt(count)
		}
		m.end(g-from, len(ids) == 0)
	}
	return m.done(), nil
}
