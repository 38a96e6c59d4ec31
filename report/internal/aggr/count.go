package aggr

import (
	"encoding/binary"

	"github.com/layshaft/layshaft/report/internal/vec"
)

func init() {
	register("count", 0, 1, "* or x", func(c *call, f *Func) error {
		f.Result = vec.Of(vec.Int)
		if len(c.args) == 0 && c.distinct {
			return c.errorf("write count(DISTINCT x)", "count(DISTINCT *) is not supported")
		}
		f.newState = func() State { return &counts{} }
		return nil
	})
}

// counts counts the rows of each group whose argument is not NULL.
type counts struct{ n []int64 }

func (s *counts) Resize(groups int) { s.n = grow(s.n, groups) }

func (s *counts) Add(groups []uint32, args []*vec.Vec) error {
	n := s.n
	switch {
	case len(args) == 0 || !args[0].HasNulls():
		for _, g := range groups {
			n[g]++
		}
	case args[0].Const:
		if !args[0].Null(0) {
			return s.Add(groups, nil)
		}
	default:
		nulls := args[0].Nulls
		for i, g := range groups {
			if !nulls[i] {
				n[g]++
			}
		}
	}
	return nil
}

func (s *counts) AddAll(group uint32, args []*vec.Vec, n int) error {
	s.n[group] += int64(n - nullCount(args, n))
	return nil
}

// nullCount returns how many of n rows of the first argument are NULL.
func nullCount(args []*vec.Vec, n int) (count int) {
	if len(args) == 0 || !args[0].HasNulls() {
		return 0
	}
	if args[0].Const {
		if args[0].Null(0) {
			return n
		}
		return 0
	}
	for _, null := range args[0].Nulls[:n] {
		if null {
			count++
		}
	}
	return count
}

func (s *counts) AppendState(dst []byte, group int) []byte {
	return binary.AppendUvarint(dst, uint64(s.n[group]))
}

func (s *counts) MergeState(group int, src []byte) ([]byte, error) {
	d := decoderOf(src)
	s.n[group] += d.rows()
	return d.end()
}

func (s *counts) Result(from, to int) (*vec.Vec, error) {
	v := vec.New(vec.Of(vec.Int), to-from)
	copy(v.Ints, s.n[from:to])
	return v, nil
}

func (s *counts) Bytes() int64 { return 8 * int64(cap(s.n)) }
