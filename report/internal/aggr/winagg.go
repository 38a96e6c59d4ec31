package aggr

import (
	"math/bits"

	"github.com/layshaft/layshaft/report/internal/sql"
	"github.com/layshaft/layshaft/report/internal/vec"
)

// aggregate computes an aggregate over the frame of each row.
//
// A frame that is the same for all rows is added once. Frames that begin with the first row grow
// one state. Counts and sums of integers subtract prefix sums. All others merge the states of
// blocks of rows, kept in a binary tree: a frame of n rows takes about 2*log2(n/16) merges and 32
// single rows.
func (w *WinFunc) aggregate(p *partition) (*vec.Vec, error) {
	if p.n == 0 {
		return vec.NewBuilder(w.Result, 0).Done(), nil
	}
	frames, err := p.frames(w)
	if err != nil {
		return nil, err
	}
	args := p.args
	if w.agg.Ordinal {
		rows := vec.New(vec.Of(vec.Int), p.n)
		for i := range rows.Ints {
			rows.Ints[i] = int64(i)
		}
		args = append(args[:len(args):len(args)], rows)
	}
	m := p.n
	var place []int32 // rows before each row that pass the filter
	if p.filter != nil {
		var rows []int32
		place = make([]int32, p.n+1)
		keep := expand(p.filter)
		for i := range p.n {
			place[i] = int32(len(rows))
			if keep.Bools[i] && !keep.Null(i) {
				rows = append(rows, int32(i))
			}
		}
		place[p.n] = int32(len(rows))
		m = len(rows)
		kept := make([]*vec.Vec, len(args))
		for i, v := range args {
			if v != nil {
				kept[i] = v.Gather(rows)
			}
		}
		args = kept
	}
	f := &windowFrames{frames: frames, place: place, args: args, n: p.n, m: m}
	unbounded := w.frame.start.kind == sql.UnboundedPreceding && w.frame.exclude == sql.ExcludeNothing
	switch {
	case unbounded && (w.frame.end.kind == sql.UnboundedFollowing || frames.to[0] == int32(p.n)):
		s := w.agg.New()
		s.Resize(1)
		if err := s.AddAll(0, args, m); err != nil {
			return nil, err
		}
		v, err := s.Result(0, 1)
		if err != nil {
			return nil, err
		}
		return v.Repeat(0, p.n), nil
	case f.prefix(w):
		return f.fromPrefix(w)
	case unbounded:
		return f.growing(w)
	}
	return f.fromTree(w)
}

// windowFrames is an aggregate over frames of m rows, which passed the filter, for n rows.
type windowFrames struct {
	*frames
	place []int32 // nil without a filter
	args  []*vec.Vec
	parts []vec.Vec  // the slices of args that a state is given
	given []*vec.Vec // pointers to parts
	n, m  int

	sums   []intSum // of the rows before each row
	counts bool     // only sums[i].n has a meaning
}

// ranges returns the frame of row i as ranges of the rows that passed the filter.
func (f *windowFrames) ranges(i int) []span {
	ranges := f.of(i)
	if f.place != nil {
		for k, r := range ranges {
			ranges[k] = span{int(f.place[r.from]), int(f.place[r.to])}
		}
	}
	return ranges
}

// setSlice makes w the rows from, from+1, … up to but not including to of v, without a copy.
func setSlice(w, v *vec.Vec, from, to int) {
	*w = *v
	if w.Len = to - from; v.Const {
		return
	}
	w.Nulls, w.Bools, w.Ints, w.Wide = slicePart(v.Nulls, from, to), slicePart(v.Bools, from, to), slicePart(v.Ints, from, to), slicePart(v.Wide, from, to)
	w.Floats, w.Strings, w.Spans, w.Codes = slicePart(v.Floats, from, to), slicePart(v.Strings, from, to), slicePart(v.Spans, from, to), slicePart(v.Codes, from, to)
	if v.Offsets != nil {
		w.Offsets = v.Offsets[from : to+1]
	}
	if v.Fields != nil {
		w.Fields = nil
		for _, field := range v.Fields {
			own := &vec.Vec{}
			setSlice(own, field, from, to)
			w.Fields = append(w.Fields, own)
		}
	}
}

func slicePart[T any](s []T, from, to int) []T {
	if s == nil {
		return nil
	}
	return s[from:to]
}

// slices returns some rows of the arguments. They are valid until the next call.
func (f *windowFrames) slices(from, to int) []*vec.Vec {
	if f.parts == nil {
		f.parts, f.given = make([]vec.Vec, len(f.args)), make([]*vec.Vec, len(f.args))
	}
	for i, v := range f.args {
		if v != nil {
			setSlice(&f.parts[i], v, from, to)
			f.given[i] = &f.parts[i]
		}
	}
	return f.given
}

// growing computes frames that begin with the first row: their ends never move back.
func (f *windowFrames) growing(w *WinFunc) (*vec.Vec, error) {
	s := w.agg.New()
	s.Resize(1)
	if floats, ok := s.(*floatSums); ok {
		return f.growingFloats(floats), nil
	}
	b := vec.NewBuilder(w.Result, f.n)
	var last *vec.Vec
	done := 0
	for i := range f.n {
		to := 0
		if ranges := f.ranges(i); len(ranges) > 0 {
			to = ranges[0].to
		}
		if last == nil || to > done {
			if err := s.AddAll(0, f.slices(done, max(to, done)), max(to-done, 0)); err != nil {
				return nil, err
			}
			done = max(to, done)
			var err error
			if last, err = s.Result(0, 1); err != nil {
				return nil, err
			}
		}
		b.Append(last, 0)
	}
	return b.Done(), nil
}

// growingFloats is growing for sums and means of floats.
func (f *windowFrames) growingFloats(s *floatSums) *vec.Vec {
	v := vec.New(vec.Of(vec.Float), f.n)
	arg := expand(f.args[0])
	x := &s.s[0]
	done, last := 0, 0.0
	for i := range f.n {
		to := 0
		if ranges := f.ranges(i); len(ranges) > 0 {
			to = ranges[0].to
		}
		if to > done {
			for ; done < to; done++ {
				if !arg.Null(done) && !x.add(arg.Floats[done]) {
					s.addSlow(x, arg.Floats[done])
				}
			}
			last = s.value(x)
		}
		if v.Floats[i] = last; x.n == 0 {
			v.SetNull(i)
		}
	}
	return v
}

// prefix computes the sums of the rows before each row, and reports whether the aggregate is a
// count or a sum of integers.
func (f *windowFrames) prefix(w *WinFunc) bool {
	if w.agg.Distinct {
		return false
	}
	switch s := w.agg.New().(type) {
	case *counts:
		f.sums = make([]intSum, f.m+1)
		f.counts = true
		for i := range f.m {
			f.sums[i+1].n = f.sums[i].n
			if len(f.args) == 0 || !f.args[0].Null(i) {
				f.sums[i+1].n++
			}
		}
		return true
	case *intSums:
		v := expand(f.args[0])
		if v.Wide != nil || s.over != nil {
			return false
		}
		f.sums = make([]intSum, f.m+1)
		for i, x := range v.Ints[:f.m] {
			next := f.sums[i]
			if v.Nulls == nil || !v.Nulls[i] {
				next.add(x)
			}
			f.sums[i+1] = next
		}
		return true
	}
	return false
}

func (f *windowFrames) fromPrefix(w *WinFunc) (*vec.Vec, error) {
	out := make([]intSum, f.n)
	for i := range out {
		x := &out[i]
		for _, r := range f.ranges(i) {
			a, z := &f.sums[r.from], &f.sums[r.to]
			lo, borrow := bits.Sub64(z.lo, a.lo, 0)
			hi := z.hi - a.hi - int64(borrow)
			var carry uint64
			x.lo, carry = bits.Add64(x.lo, lo, 0)
			x.hi += hi + int64(carry)
			x.n += z.n - a.n
		}
	}
	if f.counts {
		v := vec.New(vec.Of(vec.Int), f.n)
		for i := range out {
			v.Ints[i] = out[i].n
		}
		return v, nil
	}
	s := w.agg.New().(*intSums)
	s.s = out
	return s.Result(0, f.n)
}

// treeBlock is the number of rows in a leaf of the tree.
const treeBlock = 16

// fromTree computes any frames.
func (f *windowFrames) fromTree(w *WinFunc) (*vec.Vec, error) {
	// node 1 is the root, the children of node i are 2i and 2i+1, and leaf k is node leaves+k
	leaves := 1
	for leaves*treeBlock < f.m {
		leaves *= 2
	}
	tree := w.agg.New()
	tree.Resize(2 * leaves)
	groups := make([]uint32, 0, vec.Size)
	for from := 0; from < f.m; from += vec.Size {
		to := min(f.m, from+vec.Size)
		groups = groups[:0]
		for row := from; row < to; row++ {
			groups = append(groups, uint32(leaves+row/treeBlock))
		}
		if err := tree.Add(groups, f.slices(from, to)); err != nil {
			return nil, err
		}
	}
	var buf []byte
	merge := func(to State, group, node int) error {
		buf = tree.AppendState(buf[:0], node)
		_, err := to.MergeState(group, buf)
		return err
	}
	for i := leaves - 1; i > 0; i-- {
		for child := 2 * i; child <= 2*i+1; child++ {
			if err := merge(tree, i, child); err != nil {
				return nil, err
			}
		}
	}
	result := vec.NewBuilder(w.Result, f.n)
	var rows []int32
	for from := 0; from < f.n; from += vec.Size {
		count := min(f.n-from, vec.Size)
		s := w.agg.New()
		s.Resize(count)
		rows, groups = rows[:0], groups[:0]
		single := func(group, from, to int) {
			for row := from; row < to; row++ {
				rows, groups = append(rows, int32(row)), append(groups, uint32(group))
			}
		}
		for g := range count {
			for _, r := range f.ranges(from + g) {
				a, z := (r.from+treeBlock-1)/treeBlock, r.to/treeBlock // whole blocks
				if a >= z {
					single(g, r.from, r.to)
					continue
				}
				single(g, r.from, a*treeBlock)
				single(g, z*treeBlock, r.to)
				for lo, hi := leaves+a, leaves+z; lo < hi; lo, hi = lo/2, hi/2 {
					if lo&1 == 1 {
						if err := merge(s, g, lo); err != nil {
							return nil, err
						}
						lo++
					}
					if hi&1 == 1 {
						hi--
						if err := merge(s, g, hi); err != nil {
							return nil, err
						}
					}
				}
			}
		}
		args := make([]*vec.Vec, len(f.args))
		for i, v := range f.args {
			if v != nil {
				args[i] = v.Gather(rows)
			}
		}
		if err := s.Add(groups, args); err != nil {
			return nil, err
		}
		v, err := s.Result(0, count)
		if err != nil {
			return nil, err
		}
		for g := range count {
			result.Append(v, g)
		}
	}
	return result.Done(), nil
}
