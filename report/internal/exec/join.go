package exec

import (
	"cmp"
	"context"
	"errors"
	"iter"
	"math"
	"slices"

	"github.com/layshaft/layshaft/mapreduce"
	"github.com/layshaft/layshaft/mapreduce/connector"
	"github.com/layshaft/layshaft/report/internal/bind"
	"github.com/layshaft/layshaft/report/internal/expr"
	"github.com/layshaft/layshaft/report/internal/vec"
)

// isSmall reports whether all tasks get the right input of a join.
func isSmall(n *bind.Join, broadcast int64) bool {
	return n.Kind == bind.Scalar || n.Kind == bind.Mark || n.Kind != bind.Full && (len(n.LeftKeys) == 0 || bind.Size(n.Right) <= broadcast)
}

// join gives a small right input to all tasks of the left one, or brings the rows of both inputs
// together by key.
func (p *plan) join(n *bind.Join) batches {
	if !isSmall(n, p.broadcast) {
		return p.shuffleJoin(n)
	}
	rows := mapreduce.Map(p.node(n.Right), func(b vec.Batch) Block {
		return Block{N: b.N, Data: vec.AppendColumns(nil, b.Cols, b.N)}
	}, mapreduce.Named("side"))
	load := func(rows iter.Seq[Block]) (*side, int64, error) { return newSide(n, rows) }
	return mapreduce.FlatMapSide(p.node(n.Left), rows, load, func(_ context.Context, b vec.Batch, s *side, emit func(vec.Batch)) error {
		return s.probe(&b, emit)
	}, mapreduce.Named("join"))
}

// side is the right input of a join, with an index by key. Many goroutines may probe it.
type side struct {
	n    *bind.Join
	rows *vec.Batch
	// keys numbers the keys. first is the first row of each, and next the next row with the same
	// key; -1 for none.
	keys        *lookup
	first, next []int32
	// ints has the first rows of keys that are integers, in place of keys and first.
	ints *intLookup
	text bool // see isText
	// nulls reports that a key of some row is NULL.
	nulls bool
	// chunks are the rows by vec.Size, with the columns of the condition only. Inner joins without
	// keys have them, if there are enough rows.
	chunks []*vec.Batch
}

// errSeveralRows is the error of a subquery with several rows.
var errSeveralRows = errors.New("a subquery used as a value returned more than one row; add LIMIT 1, or an aggregate")

func newSide(n *bind.Join, blocks iter.Seq[Block]) (*side, int64, error) {
	s := &side{n: n}
	out := builders(n.Right.Columns())
	count, bytes := 0, int64(0)
	for b := range blocks {
		if _, err := vec.DecodeColumns(b.Data, out, b.N); err != nil {
			return nil, 0, err
		}
		if count += b.N; count > math.MaxInt32 {
			return nil, 0, fatal(errors.New("the smaller input of a join has more than 2147483647 rows"))
		}
		bytes += int64(len(b.Data)) + rowBytes*int64(len(out)*b.N)
		if n.Kind == bind.Scalar && count > 1 {
			return nil, 0, fatal(errSeveralRows)
		}
	}
	all := done(out, count)
	s.rows = &all
	if len(n.RightKeys) == 0 {
		return s, bytes + s.cut(), nil
	}
	keys, err := evalAll(n.RightKeys, s.rows)
	if err != nil {
		return nil, 0, err
	}
	s.next = make([]int32, count)
	if areInts(n, keys) {
		s.ints, s.nulls = newIntLookup(keys[0], s.next)
		return s, bytes + s.ints.bytes() + 4*int64(len(s.next)), nil
	}
	s.keys, s.text = newLookup(count), isText(keys)
	var buf []byte
	for i := count - 1; i >= 0; i-- { // backwards, so that the chains are in order
		key, null := keyOf(buf, keys, s.text, i)
		if !s.text {
			buf = key
		}
		if null {
			s.nulls = true
			continue
		}
		number, fresh, err := s.keys.add(key)
		if err != nil {
			return nil, 0, err
		}
		s.next[i] = -1
		if fresh {
			s.first = append(s.first, int32(i))
			continue
		}
		s.next[i], s.first[number] = s.first[number], int32(i)
	}
	return s, bytes + s.keys.bytes() + 4*int64(len(s.first)+len(s.next)), nil
}

// areInts reports whether the keys of a join are one integer, date or the like each. right are the
// keys of all right rows.
func areInts(n *bind.Join, right []*vec.Vec) bool {
	if len(right) != 1 || right[0].Const || right[0].Ints == nil || right[0].Wide != nil {
		return false
	}
	l, r := n.LeftKeys[0].Type, n.RightKeys[0].Type
	return l.Kind == r.Kind && l.Scale == r.Scale
}

// find stores the first row of each key of a batch in rows, -1 for none.
func (s *side) find(keys []*vec.Vec, rows []int32) {
	if s.ints != nil {
		s.ints.find(keys[0], rows)
		return
	}
	var buf []byte
	for i := range rows {
		key, null := keyOf(buf, keys, s.text, i)
		if !s.text {
			buf = key
		}
		rows[i] = -1
		if null {
			continue
		}
		if n := s.keys.find(key); n >= 0 {
			rows[i] = s.first[n]
		}
	}
}

// joinKey appends the key of row i, and reports whether a part of it is NULL, which equals nothing.
func joinKey(dst []byte, keys []*vec.Vec, i int) (key []byte, null bool) {
	for _, k := range keys {
		null = null || k.Null(i)
		dst = k.AppendKey(dst, i, vec.Order{})
	}
	return dst, null
}

// probe joins a batch.
func (s *side) probe(b *vec.Batch, emit func(vec.Batch)) error {
	if s.n.Kind == bind.Scalar {
		row := make([]int32, b.N)
		if s.rows.N == 0 {
			for i := range row {
				row[i] = -1
			}
		}
		right := s.rows.Gather(row)
		b.Cols = append(slices.Clone(b.Cols), right.Cols...)
		emit(*b)
		return nil
	}
	j := &joiner{n: s.n, left: b, right: s.rows, emit: emit}
	exists := s.n.Kind == bind.Semi || s.n.Kind == bind.Anti
	if len(s.n.LeftKeys) == 0 {
		switch {
		case s.chunks != nil:
			return s.nested(j)
		case exists && s.n.Cond != nil:
			rows := make([]int32, b.N)
			if s.rows.N == 0 {
				rows = slices.Repeat([]int32{-1}, b.N)
			}
			return s.exists(j, rows)
		}
		for i := range b.N {
			for r := range s.rows.N {
				if err := j.pair(int32(i), int32(r)); err != nil {
					return err
				}
			}
			if err := j.pair(int32(i), endOfRow); err != nil {
				return err
			}
		}
		return j.flush()
	}
	keys, err := evalAll(s.n.LeftKeys, b)
	if err != nil {
		return err
	}
	if s.n.Kind == bind.Mark {
		return s.mark(b, keys, emit)
	}
	rows := make([]int32, b.N)
	s.find(keys, rows)
	if s.n.Cond == nil {
		s.pairs(b, rows, emit)
		return nil
	}
	if exists {
		return s.exists(j, rows)
	}
	for i, r := range rows {
		for ; r >= 0; r = s.next[r] {
			if err := j.pair(int32(i), r); err != nil {
				return err
			}
		}
		if err := j.pair(int32(i), endOfRow); err != nil {
			return err
		}
	}
	return j.flush()
}

// minNested is the number of right rows from which a condition is checked for one left row and
// many right rows at a time.
const minNested = 32

// cut makes the chunks, if the join needs them, and returns their bytes.
func (s *side) cut() (bytes int64) {
	if s.n.Kind != bind.Inner || s.n.Cond == nil || s.rows.N < minNested {
		return 0
	}
	_, used := usedBy(s.n)
	some := masked(s.rows, used)
	for from := 0; from < s.rows.N; from += vec.Size {
		rows := make([]int32, min(vec.Size, s.rows.N-from))
		for i := range rows {
			rows[i] = int32(from + i)
		}
		s.chunks = append(s.chunks, some.Gather(rows))
		bytes += 16 * int64(len(rows)) * int64(len(used))
	}
	return bytes
}

// usedBy reports which left and right columns the condition of a join uses.
func usedBy(n *bind.Join) (left, right []bool) {
	width := len(n.Left.Columns())
	left, right = make([]bool, width), make([]bool, len(n.Right.Columns()))
	if n.Cond == nil {
		return left, right
	}
	n.Cond.Walk(func(e *expr.Expr) bool {
		switch {
		case e.Op != expr.OpColumn:
		case e.Col < width:
			left[e.Col] = true
		default:
			right[e.Col-width] = true
		}
		return true
	})
	return left, right
}

// masked returns a batch with the used columns only; the others are nil.
func masked(b *vec.Batch, used []bool) *vec.Batch {
	m := *b
	m.Cols = make([]*vec.Vec, len(b.Cols))
	for i, c := range b.Cols {
		if used[i] {
			m.Cols[i] = c
		}
	}
	return &m
}

// nested joins each row of a batch with all right rows, in order. The condition is checked for one
// left row and a chunk of right rows at a time.
func (s *side) nested(j *joiner) error {
	used, _ := usedBy(s.n)
	width := len(used)
	l, r := make([]int32, 0, 2*vec.Size), make([]int32, 0, 2*vec.Size)
	pairs := vec.Batch{Cols: make([]*vec.Vec, width+len(s.rows.Cols))}
	flush := func() {
		if len(l) > 0 {
			j.emit(*j.both(l, r))
			l, r = l[:0], r[:0]
		}
	}
	for i := range j.left.N {
		for c, is := range used {
			if is {
				pairs.Cols[c] = j.left.Cols[c].Repeat(i, 1)
			}
		}
		for n, chunk := range s.chunks {
			for c, is := range used {
				if is {
					pairs.Cols[c].Len = chunk.N
				}
			}
			copy(pairs.Cols[width:], chunk.Cols)
			pairs.N = chunk.N
			keep, err := eval(s.n.Cond, &pairs)
			if err != nil {
				return err
			}
			for _, row := range vec.Selected(keep) {
				l, r = append(l, int32(i)), append(r, int32(n*vec.Size)+row)
			}
			if len(l) >= vec.Size {
				flush()
			}
		}
	}
	flush()
	return nil
}

// exists emits the rows of a batch that have a match, or the rows that have none. rows are the
// first right rows to look at; -1 for none. All open rows advance together, so few pairs are
// checked if matches are frequent.
func (s *side) exists(j *joiner, rows []int32) error {
	left, right := usedBy(s.n)
	some := &joiner{left: masked(j.left, left), right: masked(j.right, right)}
	next := func(row int32) int32 {
		switch {
		case s.next != nil:
			return s.next[row]
		case int(row)+1 < s.rows.N:
			return row + 1
		}
		return -1
	}
	matched := make([]bool, len(rows))
	var open []int32
	for i, row := range rows {
		if row >= 0 {
			open = append(open, int32(i))
		}
	}
	var l, r []int32
	for len(open) > 0 {
		l, r = l[:0], r[:0]
		for _, i := range open {
			for range max(1, vec.Size/len(open)) {
				if rows[i] < 0 {
					break
				}
				l, r = append(l, i), append(r, rows[i])
				rows[i] = next(rows[i])
			}
		}
		keep, err := eval(s.n.Cond, some.both(l, r))
		if err != nil {
			return err
		}
		for _, k := range vec.Selected(keep) {
			matched[l[k]] = true
		}
		open = slices.DeleteFunc(open, func(i int32) bool { return matched[i] || rows[i] < 0 })
	}
	l = l[:0]
	for i, has := range matched {
		if has == (s.n.Kind == bind.Semi) {
			l = append(l, int32(i))
		}
	}
	if len(l) > 0 {
		j.emit(*j.left.Gather(l))
	}
	return nil
}

// pairs emits the joined rows of a batch, without a further condition. rows are the first right
// rows.
func (s *side) pairs(b *vec.Batch, rows []int32, emit func(vec.Batch)) {
	exists := s.n.Kind == bind.Semi || s.n.Kind == bind.Anti
	l, r := make([]int32, 0, vec.Size), make([]int32, 0, vec.Size)
	same := true // l counts from 0
	flush := func() {
		if len(l) == 0 {
			return
		}
		left := b
		if !same || len(l) < b.N {
			left = b.Gather(l)
		}
		out := *left
		if !exists {
			out.Cols = append(slices.Clone(left.Cols), s.rows.Gather(r).Cols...)
		}
		emit(out)
		l, r = l[:0], r[:0]
	}
	add := func(i int, row int32) {
		same = same && i == len(l)
		if l, r = append(l, int32(i)), append(r, row); len(l) == vec.Size {
			flush()
		}
	}
	for i, row := range rows {
		switch {
		case exists:
			if (row >= 0) == (s.n.Kind == bind.Semi) {
				add(i, row)
			}
		case row < 0:
			if s.n.Kind == bind.Left {
				add(i, row)
			}
		default:
			for ; row >= 0; row = s.next[row] {
				add(i, row)
			}
		}
	}
	flush()
}

// mark adds whether each row has a match.
func (s *side) mark(b *vec.Batch, keys []*vec.Vec, emit func(vec.Batch)) error {
	out := vec.New(vec.Of(vec.Bool), b.N)
	rows := make([]int32, b.N)
	s.find(keys, rows)
	for i := range b.N {
		switch {
		case s.rows.N == 0:
		case slices.ContainsFunc(keys, func(k *vec.Vec) bool { return k.Null(i) }):
			out.SetNull(i)
		case rows[i] >= 0:
			out.Bools[i] = true
		case s.nulls:
			out.SetNull(i)
		}
	}
	b.Cols = append(slices.Clone(b.Cols), out)
	emit(*b)
	return nil
}

// joiner makes the rows of a join from pairs of row numbers, in the order of the left rows.
type joiner struct {
	n           *bind.Join
	left, right *vec.Batch
	emit        func(vec.Batch)
	// l and r are pairs; an r of endOfRow follows the last pair of a left row.
	l, r []int32
	// matched reports which left rows have had a pair that fulfils the condition.
	matched []bool
	// rightMatched is the same for right rows, of a full join; else nil.
	rightMatched []bool
}

const endOfRow = -2

// pair adds a pair, or with endOfRow the end of a left row.
func (j *joiner) pair(l, r int32) error {
	if r == endOfRow && j.n.Kind == bind.Inner {
		return nil
	}
	j.l, j.r = append(j.l, l), append(j.r, r)
	if len(j.l) == vec.Size {
		return j.flush()
	}
	return nil
}

// both returns the columns of pairs; a row of -1 is NULL.
func (j *joiner) both(l, r []int32) *vec.Batch {
	b := j.left.Gather(l)
	right := j.right.Gather(r)
	b.Cols = append(slices.Clone(b.Cols), right.Cols...)
	return b
}

// check returns which of the collected pairs fulfil the condition. Nil means all.
func (j *joiner) check() ([]bool, error) {
	if j.n.Cond == nil {
		return nil, nil
	}
	var at, l, r []int32
	for i := range j.l {
		if j.r[i] >= 0 {
			at, l, r = append(at, int32(i)), append(l, j.l[i]), append(r, j.r[i])
		}
	}
	ok := make([]bool, len(j.l))
	left, right := usedBy(j.n)
	some := &joiner{left: masked(j.left, left), right: masked(j.right, right)}
	keep, err := eval(j.n.Cond, some.both(l, r))
	if err != nil {
		return nil, err
	}
	for _, i := range vec.Selected(keep) {
		ok[at[i]] = true
	}
	return ok, nil
}

// flush emits the rows of the collected pairs.
func (j *joiner) flush() error {
	ok, err := j.check()
	if err != nil {
		return err
	}
	if j.matched == nil && j.n.Kind != bind.Inner {
		j.matched = make([]bool, j.left.N)
	}
	exists := j.n.Kind == bind.Semi || j.n.Kind == bind.Anti
	var l, r []int32
	for i := range j.l {
		switch {
		case j.r[i] == endOfRow:
			if j.matched[j.l[i]] == (j.n.Kind == bind.Semi) {
				l, r = append(l, j.l[i]), append(r, -1)
			}
		case ok == nil || ok[i]:
			if j.matched != nil {
				j.matched[j.l[i]] = true
			}
			if j.rightMatched != nil {
				j.rightMatched[j.r[i]] = true
			}
			if !exists {
				l, r = append(l, j.l[i]), append(r, j.r[i])
			}
		}
	}
	switch {
	case len(l) == 0:
	case exists:
		j.emit(*j.left.Gather(l))
	default:
		j.emit(*j.both(l, r))
	}
	j.l, j.r = j.l[:0], j.r[:0]
	return nil
}

// shuffleJoin brings the rows of both inputs together by key. Right rows of one key that do not fit
// into memory are refused.
func (p *plan) shuffleJoin(n *bind.Join) batches {
	rows := func(in bind.Node, keys []*expr.Expr, alone byte) mapreduce.Dataset[Row] {
		number := uint64(0)
		return p.encode(p.node(in), "join keys", keys, func(dst []byte, values []*vec.Vec, i int) ([]byte, bool) {
			key, null := joinKey(append(dst, 0), values, i)
			if null { // it has no match; the number spreads such rows over the partitions
				number++
				return append(append(dst, alone), byte(number), byte(number>>8)), true
			}
			return key, true
		})
	}
	left, right := rows(n.Left, n.LeftKeys, 1), rows(n.Right, n.RightKeys, 2)
	key := func(r Row) string { return r.Key }
	return mapreduce.CoGroup(left, right, key, key, func(ctx context.Context, _ string, ls, rs iter.Seq[Row], emit func(vec.Batch)) error {
		return joinGroup(ctx, n, ls, rs, emit)
	}, mapreduce.Named("join"))
}

// joinGroup joins the rows of one key.
func joinGroup(ctx context.Context, n *bind.Join, ls, rs iter.Seq[Row], emit func(vec.Batch)) error {
	out := builders(n.Right.Columns())
	count := 0
	held := charge{limit: connector.TaskMemory(ctx), perRow: rowBytes * int64(len(out))}
	for r := range rs {
		if _, err := vec.DecodeRow(bytesOf(r.Data), out); err != nil {
			return err
		}
		if count++; !held.add(r.Data) {
			return held.refuse("the rows of one key on the right side of a join", count, "swap the tables of the join")
		}
		if n.Cond == nil && (n.Kind == bind.Semi || n.Kind == bind.Anti) {
			break // that there is one matters
		}
	}
	right := done(out, count)
	var rightMatched []bool
	if n.Kind == bind.Full {
		rightMatched = make([]bool, count)
	}
	var failed error
	g := newGatherer(n.Left.Columns(), func(b vec.Batch) {
		j := &joiner{n: n, left: &b, right: &right, emit: emit, rightMatched: rightMatched}
		for l := range b.N {
			for r := range count {
				failed = cmp.Or(failed, j.pair(int32(l), int32(r)))
			}
			failed = cmp.Or(failed, j.pair(int32(l), endOfRow))
		}
		failed = cmp.Or(failed, j.flush())
	})
	for l := range ls {
		if err := g.add(l.Data); err != nil {
			return err
		}
	}
	g.flush()
	if failed != nil || n.Kind != bind.Full {
		return failed
	}
	var rows, none []int32
	for r := range count {
		if !rightMatched[r] {
			rows, none = append(rows, int32(r)), append(none, -1)
		}
	}
	for len(rows) > 0 {
		k := min(len(rows), vec.Size)
		left := done(builders(n.Left.Columns()), 0)
		j := &joiner{n: n, left: &left, right: &right}
		emit(*j.both(none[:k], rows[:k]))
		rows, none = rows[k:], none[k:]
	}
	return nil
}

// setOp is INTERSECT and EXCEPT: rows are keys, and the numbers of their copies on both sides
// decide.
func (p *plan) setOp(n *bind.SetOp) batches {
	cols := n.Columns()
	rows := func(in bind.Node) mapreduce.Dataset[Row] {
		xs := make([]*expr.Expr, len(cols))
		for i := range cols {
			xs[i] = keyColumn(cols, i)
		}
		return p.encode(p.node(in), "rows", xs, func(dst []byte, values []*vec.Vec, i int) ([]byte, bool) {
			key, _ := joinKey(dst, values, i)
			return key, true
		})
	}
	key := func(r Row) string { return r.Key }
	kept := mapreduce.CoGroup(rows(n.Left), rows(n.Right), key, key, func(_ context.Context, _ string, ls, rs iter.Seq[Row], emit func(Row)) error {
		right := 0
		for range rs {
			right++
		}
		left := 0
		for r := range ls {
			left++
			switch {
			case !n.All && left > 1:
				return nil
			case n.Except && n.All && left <= right, n.Except && !n.All && right > 0, !n.Except && left > right && n.All, !n.Except && right == 0:
				continue
			}
			emit(r)
		}
		return nil
	}, mapreduce.Named("set"))
	return decode(kept, cols)
}
