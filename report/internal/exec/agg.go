package exec

import (
	"context"
	"encoding/binary"
	"errors"

	"github.com/layshaft/layshaft/mapreduce"
	"github.com/layshaft/layshaft/mapreduce/memio"
	"github.com/layshaft/layshaft/report/internal/aggr"
	"github.com/layshaft/layshaft/report/internal/bind"
	"github.com/layshaft/layshaft/report/internal/expr"
	"github.com/layshaft/layshaft/report/internal/vec"
)

// aggregate folds rows into groups in three steps: each task folds its batches into a table and
// emits a state for each group; the engine brings the states of a group together; and the last step
// merges them, a batch of groups at a time.
func (p *plan) aggregate(n *bind.Aggregate) batches {
	var partials mapreduce.Dataset[group]
	kept, isKept := p.kept[n]
	if !isKept && countsUnique(n) {
		return p.countInTwoSteps(n)
	}
	if isKept {
		partials = mapreduce.Read(p.p, keptSource(kept), mapreduce.Named("kept"))
	} else {
		partials = mapreduce.MapTask(p.node(n.In), func(_ context.Context, task mapreduce.Task, emit func(group)) (func(vec.Batch) error, func() error) {
			f := newFold(n, task, emit)
			return f.add, f.flush
		}, mapreduce.Named("fold"))
	}
	if len(n.Keys) == 0 && n.Sets == nil {
		// stored states are merged once, by the last step
		all := mapreduce.Aggregate(partials, mergeOf(n, !isKept), mapreduce.Named("merge"))
		return mapreduce.MapTask(all, func(_ context.Context, _ mapreduce.Task, emit func(vec.Batch)) (func(states) error, func() error) {
			r := newResults(n, emit)
			return func(s states) error { return r.add(nil, s.parts) }, r.flush
		}, mapreduce.Named("results"))
	}
	for number, set := range n.Sets {
		if !contains(set, true) { // the grand total is there without rows, too
			partials = mapreduce.Union(partials, mapreduce.Read(p.p, memio.Of(group{Key: totalKey(n, number)})))
		}
	}
	return mapreduce.MergeTask(partials, mapreduce.Merge[vec.Batch]{
		Fold: func(dst []byte, values [][]byte) ([]byte, error) { return mergeStates(n, dst, values) },
		Start: func(_ context.Context, _ mapreduce.Task, emit func(vec.Batch)) (func(key []byte, values [][]byte) error, func() error) {
			r := newResults(n, emit)
			return r.add, r.flush
		},
	}, mapreduce.Named("merge"))
}

// group is an encoded key with the states of the aggregates, which are empty if it has no rows.
type group = mapreduce.KV[string, string]

func contains(set []bool, want bool) bool {
	for _, has := range set {
		if has == want {
			return true
		}
	}
	return false
}

// keyTypes returns the types of the keys, with the number of the grouping set first.
func keyTypes(n *bind.Aggregate) (types []vec.Type) {
	if n.Sets != nil {
		types = append(types, vec.Of(vec.Int))
	}
	for _, k := range n.Keys {
		types = append(types, k.Type)
	}
	return types
}

// totalKey returns the key of the group of a grouping set without keys.
func totalKey(n *bind.Aggregate, number int) string {
	set := &vec.Vec{Type: vec.Of(vec.Int), Len: 1, Ints: []int64{int64(number)}}
	key := set.AppendKey(nil, 0, vec.Order{})
	for _, k := range n.Keys {
		key = vec.NullOf(k.Type, 1).AppendKey(key, 0, vec.Order{})
	}
	return string(key)
}

// fold is the table of one task.
type fold struct {
	n      *bind.Aggregate
	task   mapreduce.Task
	emit   func(group)
	prefix string // of all keys
	table  *aggr.Table
	states []aggr.State
	shifts []*shift // by aggregate
	groups []uint32
	some   []uint32 // groups of the rows that a FILTER keeps
	row    int64    // the number of the next row
	arena  arena

	folded int      // rows in the table
	skips  int      // rows that add emits without a table from now on
	each   []uint32 // 0, 1, 2, ...: each row of a batch is a group of its own
}

func newFold(n *bind.Aggregate, task mapreduce.Task, emit func(group)) *fold {
	f := &fold{n: n, task: task, emit: emit, shifts: shiftsOf(n.Aggs)}
	f.reset()
	return f
}

func (f *fold) reset() {
	f.table, f.folded = aggr.NewTable(keyTypes(f.n)), 0
	f.states = newStates(f.n.Aggs)
	if len(f.n.Keys) == 0 && f.n.Sets == nil {
		for _, s := range f.states {
			s.Resize(1)
		}
	}
}

// newStates returns the states of no groups, by aggregate.
func newStates(aggs []*bind.Agg) []aggr.State {
	states := make([]aggr.State, len(aggs))
	for i, a := range aggs {
		states[i] = a.Func.New()
	}
	return states
}

// foldFiles folds the rows of each file into groups of their own.
func (p *plan) foldFiles(n *bind.Aggregate) func(context.Context, mapreduce.Task, func(group)) (func(vec.Batch) error, func() error) {
	return func(_ context.Context, task mapreduce.Task, emit func(group)) (func(vec.Batch) error, func() error) {
		f := newFold(n, task, emit)
		path := ""
		flush := func() error {
			if path == "" {
				return nil
			}
			return f.flush()
		}
		return func(b vec.Batch) error {
			if p.path != path { // the scan has emitted this batch just now
				if err := flush(); err != nil {
					return err
				}
				path = p.path
				prefix := filePrefix(path)
				f.prefix = string(prefix[:])
			}
			return f.add(b)
		}, flush
	}
}

// add folds a batch.
func (f *fold) add(b vec.Batch) error {
	keys, err := evalAll(f.n.Keys, &b)
	if err != nil {
		return err
	}
	args := make([][]*vec.Vec, len(f.n.Aggs))
	kept := make([][]int32, len(f.n.Aggs))
	for i, a := range f.n.Aggs {
		if s := f.shifts[i]; s != nil {
			if s.base == i {
				v, err := f.shiftedArgument(i, &b)
				if err != nil {
					return err
				}
				args[i] = []*vec.Vec{v}
			}
			continue
		}
		if args[i], kept[i], err = f.arguments(a, &b); err != nil {
			return err
		}
	}
	f.row += int64(b.N)
	if f.skips > 0 {
		f.skips -= b.N
		return f.emitRows(keys, args, kept, b.N)
	}
	if f.n.Sets == nil {
		if err := f.fold(keys, args, kept, b.N); err != nil {
			return err
		}
	}
	for number, set := range f.n.Sets {
		of := []*vec.Vec{{Type: vec.Of(vec.Int), Len: b.N, Const: true, Ints: []int64{int64(number)}}}
		for i, k := range keys {
			if !set[i] {
				k = vec.NullOf(k.Type, b.N)
			}
			of = append(of, k)
		}
		if err := f.fold(of, args, kept, b.N); err != nil {
			return err
		}
	}
	if f.folded += b.N; f.folded >= sampleRows && f.folded-b.N < sampleRows && f.foldsLittle() {
		f.skips = skippedRows
		return f.flush()
	}
	if f.bytes() > f.task.Memory {
		return f.flush()
	}
	return nil
}

// A table in which hardly any rows share a group costs memory and time and saves nothing. So after
// sampleRows rows the table may be left out for the next skippedRows rows.
const (
	sampleRows  = 32 << 10
	skippedRows = 16 * sampleRows
)

// foldsLittle reports whether the input has more groups than a table can hold, judging by the
// rows in the table. If d groups are equally frequent, n rows have about n*n/2d groups twice.
func (f *fold) foldsLittle() bool {
	groups := f.table.Len()
	if len(f.n.Keys) == 0 || f.n.Sets != nil || groups < f.folded/2 {
		return false
	}
	most := min(4<<20, float64(f.task.Memory)/float64(f.bytes())*float64(groups))
	return 2*float64(f.folded-groups)*most < float64(f.folded)*float64(f.folded)
}

// arguments evaluates the arguments of an aggregate. rows are the rows that its FILTER keeps; nil
// means all.
func (f *fold) arguments(a *bind.Agg, b *vec.Batch) (args []*vec.Vec, rows []int32, err error) {
	if a.Filter != nil {
		keep, err := eval(a.Filter, b)
		if err != nil {
			return nil, nil, err
		}
		rows = vec.Selected(keep)
		if len(rows) == b.N {
			rows = nil
		} else {
			b = b.Gather(rows)
		}
	}
	if args, err = evalAll(a.Args, b); err != nil {
		return nil, nil, err
	}
	if a.Func.Ordinal {
		// the place of the row in the input: stage, task and number
		first := int64(f.task.Stage)<<54 | int64(f.task.Index)<<34 | f.row&(1<<34-1)
		v := vec.New(vec.Of(vec.Int), b.N)
		for i := range v.Ints {
			v.Ints[i] = first + int64(i)
			if rows != nil {
				v.Ints[i] = first + int64(rows[i])
			}
		}
		args = append(args, v)
	}
	return args, rows, nil
}

// fold adds n rows to the groups of the keys.
func (f *fold) fold(keys []*vec.Vec, args [][]*vec.Vec, kept [][]int32, n int) error {
	if len(keys) == 0 {
		return f.addTo(f.states, nil, 1, args, kept, n)
	}
	f.groups = f.table.Groups(keys, n, f.groups)
	return f.addTo(f.states, f.groups, f.table.Len(), args, kept, n)
}

// addTo adds n rows to the states of their groups, of which there are count. Without keys, all rows
// belong to one group.
func (f *fold) addTo(states []aggr.State, groups []uint32, count int, args [][]*vec.Vec, kept [][]int32, n int) error {
	single := len(f.n.Keys) == 0 && f.n.Sets == nil
	for i, s := range states {
		if x := f.shifts[i]; x != nil && x.base != i {
			continue
		}
		groups, rows := groups, n
		if kept[i] != nil {
			rows = len(kept[i])
		}
		if single {
			if err := s.AddAll(0, args[i], rows); err != nil {
				return fatal(err)
			}
			continue
		}
		if kept[i] != nil {
			f.some = f.some[:0]
			for _, r := range kept[i] {
				f.some = append(f.some, groups[r])
			}
			groups = f.some
		}
		s.Resize(count)
		if err := s.Add(groups, args[i]); err != nil {
			return fatal(err)
		}
	}
	return nil
}

// emitRows emits each of n rows as a group of its own.
func (f *fold) emitRows(keys []*vec.Vec, args [][]*vec.Vec, kept [][]int32, n int) error {
	for len(f.each) < n {
		f.each = append(f.each, uint32(len(f.each)))
	}
	states := newStates(f.n.Aggs)
	if err := f.addTo(states, f.each[:n], n, args, kept, n); err != nil {
		return err
	}
	for i := range n {
		key := append(f.arena.begin(), f.prefix...)
		for _, k := range keys {
			key = k.AppendKey(key, i, vec.Order{})
		}
		f.emitGroup(f.arena.end(key), states, i)
	}
	return nil
}

func (f *fold) bytes() int64 {
	total := f.table.Bytes()
	for _, s := range f.states {
		total += s.Bytes()
	}
	return total
}

// flush emits all groups, and begins anew.
func (f *fold) flush() error {
	groups := f.table.Len()
	if len(f.n.Keys) == 0 && f.n.Sets == nil {
		groups = 1
	}
	for g := range groups {
		f.emitGroup(f.arena.end(f.table.AppendKey(append(f.arena.begin(), f.prefix...), g)), f.states, g)
	}
	f.reset()
	return nil
}

// emitGroup emits a key with the states of group g.
func (f *fold) emitGroup(key string, states []aggr.State, g int) {
	data := f.arena.begin()
	for i, s := range states {
		if x := f.shifts[i]; x != nil {
			data = aggr.AppendShiftedSum(data, states[x.base], g, x.c)
		} else {
			data = s.AppendState(data, g)
		}
	}
	f.emit(group{Key: key, Value: f.arena.end(data)})
}

// states are encoded states of one group, from several tasks, one after the other.
type states struct {
	parts [][]byte
	merge func(parts [][]byte) ([]byte, error)
}

// AppendBinary appends the states, merged into one if possible.
func (s states) AppendBinary(dst []byte) ([]byte, error) {
	parts := s.parts
	if len(parts) > 1 && s.merge != nil {
		one, err := s.merge(parts)
		if err != nil {
			return nil, err
		}
		parts = [][]byte{one}
	}
	for _, p := range parts {
		dst = append(binary.AppendUvarint(dst, uint64(len(p))), p...)
	}
	return dst, nil
}

// UnmarshalBinary reads what AppendBinary wrote. It keeps no part of b.
func (s *states) UnmarshalBinary(b []byte) error {
	s.parts = nil
	b = append([]byte(nil), b...)
	for len(b) > 0 {
		n, w := binary.Uvarint(b)
		if w <= 0 || n > uint64(len(b)-w) {
			return vec.ErrCorrupt
		}
		s.parts = append(s.parts, b[w:w+int(n):w+int(n)])
		b = b[w+int(n):]
	}
	return nil
}

// mergeStates appends the merged states of one group.
func mergeStates(n *bind.Aggregate, dst []byte, parts [][]byte) ([]byte, error) {
	rest := make([][]byte, 0, len(parts))
	for _, p := range parts {
		if len(p) > 0 {
			rest = append(rest, p)
		}
	}
	if len(rest) == 0 {
		return dst, nil
	}
	for _, a := range n.Aggs {
		s := a.Func.New()
		s.Resize(1)
		for i := range rest {
			var err error
			if rest[i], err = s.MergeState(0, rest[i]); err != nil {
				return nil, err
			}
		}
		dst = s.AppendState(dst, 0)
	}
	return dst, nil
}

// mergeOf returns the aggregate of the engine that brings the states of the only group together.
// With early it merges them on the way.
func mergeOf(n *bind.Aggregate, early bool) mapreduce.Agg[group, states, states] {
	var merge func(parts [][]byte) ([]byte, error)
	if early {
		merge = func(parts [][]byte) ([]byte, error) { return mergeStates(n, nil, parts) }
	}
	return mapreduce.Agg[group, states, states]{
		Unordered: true,

		Add: func(a *states, g group) {
			a.merge = merge
			a.parts = append(a.parts, bytesOf(g.Value))
		},
		Merge: func(a, b *states) {
			a.merge = merge
			a.parts = append(a.parts, b.parts...)
		},
		Result: func(a *states) states { return *a },
		Size: func(a *states) int {
			size := 0
			for _, p := range a.parts {
				size += 24 + len(p)
			}
			return size
		},
	}
}

// results merges the states of groups and emits their results.
type results struct {
	n      *bind.Aggregate
	emit   func(vec.Batch)
	keys   []*vec.Builder
	states []aggr.State
	count  int
}

func newResults(n *bind.Aggregate, emit func(vec.Batch)) *results {
	r := &results{n: n, emit: emit}
	r.reset()
	return r
}

func (r *results) reset() {
	r.keys, r.count = nil, 0
	for _, t := range keyTypes(r.n) {
		r.keys = append(r.keys, vec.NewBuilder(t, vec.Size))
	}
	r.states = newStates(r.n.Aggs)
}

// add takes a group.
func (r *results) add(key []byte, parts [][]byte) (err error) {
	for _, b := range r.keys {
		if key, err = b.DecodeKey(key); err != nil {
			return err
		}
	}
	if r.count == 0 {
		for _, s := range r.states {
			s.Resize(vec.Size)
		}
	}
	for _, part := range parts {
		if len(part) == 0 {
			continue // a group without rows
		}
		for _, s := range r.states {
			if part, err = s.MergeState(r.count, part); err != nil {
				return failed(err)
			}
		}
	}
	if r.count++; r.count == vec.Size {
		return r.flush()
	}
	return nil
}

// failed returns an error of an aggregate: damaged states are tried again, a sum that is too large
// is not.
func failed(err error) error {
	if errors.Is(err, vec.ErrCorrupt) {
		return err
	}
	return fatal(err)
}

func (r *results) flush() error {
	if r.count == 0 {
		return nil
	}
	b := done(r.keys, r.count)
	for _, s := range r.states {
		v, err := s.Result(0, r.count)
		if err != nil {
			return failed(err)
		}
		b.Cols = append(b.Cols, v)
	}
	r.emit(b)
	r.reset()
	return nil
}

// keyColumn returns a column as an expression.
func keyColumn(cols []bind.Column, i int) *expr.Expr {
	return expr.Column(i, cols[i].Type, cols[i].Name, 0)
}
