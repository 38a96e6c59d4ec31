package exec

import (
	"context"
	"fmt"
	"unsafe"

	"github.com/layshaft/layshaft/internal/bytesize"
	"github.com/layshaft/layshaft/mapreduce"
	"github.com/layshaft/layshaft/report/internal/bind"
	"github.com/layshaft/layshaft/report/internal/expr"
	"github.com/layshaft/layshaft/report/internal/vec"
)

// arena makes strings in blocks, without an allocation for each.
type arena struct{ buf []byte }

const arenaBlock = 64 << 10

// begin returns a buffer to append to. end makes a string of what was appended.
func (a *arena) begin() []byte {
	if cap(a.buf)-len(a.buf) < arenaBlock/16 {
		a.buf = make([]byte, 0, arenaBlock)
	}
	return a.buf[len(a.buf):len(a.buf):cap(a.buf)]
}

func (a *arena) end(b []byte) string {
	if len(b) == 0 {
		return ""
	}
	if n := len(a.buf) + len(b); n <= cap(a.buf) && &a.buf[:n][n-len(b)] == &b[0] {
		a.buf = a.buf[:n]
	}
	return unsafe.String(&b[0], len(b))
}

// encode turns rows into encoded rows with the key that appendKey appends. A key of false leaves
// the row out.
func (p *plan) encode(d batches, name string, keys []*expr.Expr, appendKey func(dst []byte, keys []*vec.Vec, i int) ([]byte, bool)) mapreduce.Dataset[Row] {
	return mapreduce.MapTask(d, func(_ context.Context, _ mapreduce.Task, emit func(Row)) (func(vec.Batch) error, func() error) {
		var a arena
		return func(b vec.Batch) error {
			values, err := evalAll(keys, &b)
			if err != nil {
				return err
			}
			for i := range b.N {
				key, ok := appendKey(a.begin(), values, i)
				if !ok {
					continue
				}
				var r Row
				r.Key = a.end(key)
				r.Data = a.end(vec.AppendRow(a.begin(), b.Cols, i))
				emit(r)
			}
			return nil
		}, func() error { return nil }
	}, mapreduce.Named(name))
}

// ordered returns a function that appends sort keys.
func ordered(keys []bind.SortKey) ([]*expr.Expr, func(dst []byte, values []*vec.Vec, i int) ([]byte, bool)) {
	xs := make([]*expr.Expr, len(keys))
	for i, k := range keys {
		xs[i] = k.X
	}
	return xs, func(dst []byte, values []*vec.Vec, i int) ([]byte, bool) {
		for k, v := range values {
			dst = v.AppendKey(dst, i, keys[k].Order)
		}
		return dst, true
	}
}

// builders returns builders for columns.
func builders(cols []bind.Column) []*vec.Builder {
	all := make([]*vec.Builder, len(cols))
	for i, c := range cols {
		all[i] = vec.NewBuilder(c.Type, vec.Size)
	}
	return all
}

// done returns the batch of n rows that builders made.
func done(all []*vec.Builder, n int) vec.Batch {
	b := vec.Batch{N: n, Cols: make([]*vec.Vec, len(all))}
	for i, x := range all {
		b.Cols[i] = x.Done()
	}
	return b
}

// gatherer collects decoded rows into batches.
type gatherer struct {
	cols []bind.Column
	out  []*vec.Builder
	n    int
	emit func(vec.Batch)
}

func newGatherer(cols []bind.Column, emit func(vec.Batch)) *gatherer {
	return &gatherer{cols: cols, out: builders(cols), emit: emit}
}

// add decodes a row.
func (g *gatherer) add(data string) error {
	if _, err := vec.DecodeRow(bytesOf(data), g.out); err != nil {
		return err
	}
	if g.n++; g.n == vec.Size {
		g.flush()
	}
	return nil
}

func (g *gatherer) flush() {
	if g.n > 0 {
		g.emit(done(g.out, g.n))
		g.out, g.n = builders(g.cols), 0
	}
}

// charge counts the memory of decoded rows that must be held together.
type charge struct {
	// limit is the most bytes to hold; 0 means no limit. perRow are the bytes of a row besides its
	// encoded ones.
	limit, perRow int64
	bytes         int64
}

// rowBytes is what a column takes of a row, besides the bytes of texts.
const rowBytes = 16

// add counts an encoded row, and reports whether it fits.
func (c *charge) add(data string) bool {
	c.bytes += int64(len(data)) + c.perRow
	return c.limit <= 0 || c.bytes <= c.limit
}

// refuse returns the error of rows that do not fit. name is what they are.
func (c *charge) refuse(name string, rows int, hint string) error {
	return mapreduce.Fatal(fmt.Errorf("%s must fit into memory: its rows up to number %d take more than the %s of a task; give more (-memory), use fewer slots (-slots), or %s",
		name, rows, bytesize.Format(c.limit), hint))
}

func stringOf(b []byte) string { return unsafe.String(unsafe.SliceData(b), len(b)) }

func bytesOf(s string) []byte { return unsafe.Slice(unsafe.StringData(s), len(s)) }

// decode turns encoded rows into batches.
func decode(d mapreduce.Dataset[Row], cols []bind.Column) batches {
	return mapreduce.MapTask(d, func(_ context.Context, _ mapreduce.Task, emit func(vec.Batch)) (func(Row) error, func() error) {
		g := newGatherer(cols, emit)
		return func(r Row) error { return g.add(r.Data) }, func() error { g.flush(); return nil }
	}, mapreduce.Named("decode"))
}

func (p *plan) sort(n *bind.Sort) batches {
	keys, appendKey := ordered(n.Keys)
	rows := p.encode(p.node(n.In), "sort keys", keys, appendKey)
	if n.Limit >= 0 && n.Limit <= maxTop {
		rows = top(rows, int(n.Limit))
	}
	sorted := mapreduce.SortBy(rows, func(r Row) string { return r.Key }, mapreduce.Named("sort"))
	return decode(sorted, n.Columns())
}

// maxTop is the most rows for which every task keeps its first ones in memory.
const maxTop = 10_000

// top keeps the first n rows of each task, by key. Rows with equal keys keep their order.
func top(d mapreduce.Dataset[Row], n int) mapreduce.Dataset[Row] {
	return mapreduce.MapTask(d, func(_ context.Context, _ mapreduce.Task, emit func(Row)) (func(Row) error, func() error) {
		h := &topHeap{limit: n}
		return h.add, func() error {
			for _, r := range h.sorted() {
				emit(r)
			}
			return nil
		}
	}, mapreduce.Named("top"))
}

func (p *plan) limit(n *bind.Limit) batches {
	cols := n.Columns()
	rows := p.encode(p.node(n.In), "rows", nil, func(dst []byte, _ []*vec.Vec, _ int) ([]byte, bool) { return dst, true })
	need := int64(-1)
	if n.N >= 0 {
		need = n.N + n.Skip
		rows = firstRows(rows, need)
	}
	all := mapreduce.Aggregate(rows, firstOf(need), mapreduce.Named("limit"))
	return mapreduce.TryFlatMap(all, func(_ context.Context, list []string, emit func(vec.Batch)) error {
		g := newGatherer(cols, emit)
		for i, data := range list {
			if int64(i) < n.Skip {
				continue
			}
			if err := g.add(data); err != nil {
				return err
			}
		}
		g.flush()
		return nil
	}, mapreduce.Named("decode"))
}

// firstRows keeps the first n rows of each task.
func firstRows(d mapreduce.Dataset[Row], n int64) mapreduce.Dataset[Row] {
	return mapreduce.MapTask(d, func(_ context.Context, _ mapreduce.Task, emit func(Row)) (func(Row) error, func() error) {
		left := n
		return func(r Row) error {
			if left > 0 {
				left--
				emit(r)
			}
			return nil
		}, func() error { return nil }
	}, mapreduce.Named("first rows"))
}

// firstOf collects the first n rows, in order; all if n is negative.
func firstOf(n int64) mapreduce.Agg[Row, []string, []string] {
	cut := func(a []string) []string {
		if n >= 0 && int64(len(a)) > n {
			return a[:n]
		}
		return a
	}
	return mapreduce.Agg[Row, []string, []string]{
		Add:    func(a *[]string, r Row) { *a = cut(append(*a, r.Data)) },
		Merge:  func(a, b *[]string) { *a = cut(append(*a, *b...)) },
		Result: func(a *[]string) []string { return *a },
	}
}

// distinctAggregate returns the aggregate that DISTINCT of all columns is.
func distinctAggregate(n *bind.Distinct) *bind.Aggregate {
	cols := n.Columns()
	a := &bind.Aggregate{In: n.In, Cols: cols}
	for _, k := range n.Keys {
		a.Keys = append(a.Keys, keyColumn(cols, k))
	}
	return a
}

// distinct keeps the first row of each key. Rows come in the order of the input, or of a sort.
func (p *plan) distinct(n *bind.Distinct) batches {
	cols := n.Columns()
	keys := make([]*expr.Expr, len(n.Keys))
	for i, k := range n.Keys {
		keys[i] = expr.Column(k, cols[k].Type, cols[k].Name, 0)
	}
	if len(keys) == len(cols) {
		agg := distinctAggregate(n)
		if kept, ok := p.kept[n]; ok {
			p.kept[agg] = kept
		}
		return p.aggregate(agg)
	}
	rows := p.encode(p.node(n.In), "distinct keys", keys, func(dst []byte, values []*vec.Vec, i int) ([]byte, bool) {
		for _, v := range values {
			dst = v.AppendKey(dst, i, vec.Order{})
		}
		return dst, true
	})
	first := mapreduce.ReduceByKey(mapreduce.Map(rows, func(r Row) mapreduce.KV[string, string] {
		return mapreduce.KV[string, string]{Key: r.Key, Value: r.Data}
	}), func(a, _ string) string { return a }, mapreduce.Named("distinct"))
	return decode(mapreduce.Map(first, func(kv mapreduce.KV[string, string]) Row { return Row{kv.Key, kv.Value} }), cols)
}
