package aggr

import (
	"encoding/binary"

	"github.com/layshaft/layshaft/report/internal/vec"
)

func init() {
	fold := func(names string, kind vec.Kind, want string, merge func(a, b int64) int64) {
		register(names, 1, 1, "x", func(c *call, f *Func) error {
			if k := f.Args[0].Kind; k != kind && k != vec.Null {
				return c.refuse(0, want)
			}
			f.Args[0] = vec.Of(kind)
			f.Result = f.Args[0]
			f.Distinct = c.distinct && c.name == "bit_xor" // the others do not mind
			f.newState = func() State { return &folds{t: f.Result, merge: merge} }
			return nil
		})
	}
	fold("bool_and every", vec.Bool, "boolean", func(a, b int64) int64 { return a & b })
	fold("bool_or", vec.Bool, "boolean", func(a, b int64) int64 { return a | b })
	fold("bit_and", vec.Int, "an integer", func(a, b int64) int64 { return a & b })
	fold("bit_or", vec.Int, "an integer", func(a, b int64) int64 { return a | b })
	fold("bit_xor", vec.Int, "an integer", func(a, b int64) int64 { return a ^ b })
	register("count_if countif", 1, 1, "condition", func(c *call, f *Func) error {
		if k := f.Args[0].Kind; k != vec.Bool && k != vec.Null {
			return c.refuse(0, "boolean")
		}
		f.Args[0] = vec.Of(vec.Bool)
		f.Result = vec.Of(vec.Int)
		f.newState = func() State { return &trues{} }
		return nil
	})
}

// folds combines the words of each group with an operation that is associative and commutative.
type folds struct {
	t     vec.Type
	merge func(a, b int64) int64
	x     []int64
	has   []bool
	buf   []int64
}

func (s *folds) Resize(groups int) { s.x, s.has = grow(s.x, groups), grow(s.has, groups) }

func (s *folds) offer(g uint32, x int64) {
	if s.has[g] {
		x = s.merge(s.x[g], x)
	}
	s.x[g], s.has[g] = x, true
}

func (s *folds) load(v *vec.Vec) []int64 {
	w := words(v, s.buf)
	if v.Ints == nil {
		s.buf = w
	}
	return w
}

func (s *folds) Add(groups []uint32, args []*vec.Vec) error {
	v := expand(args[0])
	w := s.load(v)
	for i, g := range groups {
		if v.Nulls == nil || !v.Nulls[i] {
			s.offer(g, w[i])
		}
	}
	return nil
}

func (s *folds) AddAll(group uint32, args []*vec.Vec, n int) error {
	v := expand(args[0])
	for i, x := range s.load(v)[:n] {
		if v.Nulls == nil || !v.Nulls[i] {
			s.offer(group, x)
		}
	}
	return nil
}

func (s *folds) AppendState(dst []byte, group int) []byte {
	if !s.has[group] {
		return append(dst, 0)
	}
	return binary.AppendVarint(append(dst, 1), s.x[group])
}

func (s *folds) MergeState(group int, src []byte) ([]byte, error) {
	d := decoderOf(src)
	if d.Byte() == 0 {
		return d.end()
	}
	x := d.Int()
	rest, err := d.end()
	if err == nil {
		s.offer(uint32(group), x)
	}
	return rest, err
}

func (s *folds) Result(from, to int) (*vec.Vec, error) {
	return wordResults(s.t, s.x[from:to], s.has[from:to]), nil
}

func (s *folds) Bytes() int64 { return 9 * int64(cap(s.x)) }

// wordResults returns a vector of words; the rows without one are NULL.
func wordResults(t vec.Type, x []int64, has []bool) *vec.Vec {
	b := vec.NewBuilder(t, len(x))
	for i, ok := range has {
		if ok {
			appendWord(b, x[i])
		} else {
			b.AppendNull()
		}
	}
	return b.Done()
}

// trues counts the rows of each group whose argument is true.
type trues struct{ counts }

func (s *trues) Add(groups []uint32, args []*vec.Vec) error {
	v := expand(args[0])
	for i, g := range groups {
		if v.Bools[i] && (v.Nulls == nil || !v.Nulls[i]) {
			s.n[g]++
		}
	}
	return nil
}

func (s *trues) AddAll(group uint32, args []*vec.Vec, n int) error {
	s.n[group] += int64(len(vec.Selected(expand(args[0]))))
	return nil
}
