// Package exec runs the operators of a statement as a pipeline of package mapreduce.
//
// Rows flow in batches through the narrow operators of a stage. Where rows must meet, they become
// encoded rows: a key whose bytes order like its values, and the columns. Aggregates fold batches
// into a table inside each task, and only their states move.
package exec

import (
	"context"
	"fmt"
	"slices"

	"github.com/layshaft/layshaft/internal/partials"
	"github.com/layshaft/layshaft/mapreduce"
	"github.com/layshaft/layshaft/mapreduce/connector"
	"github.com/layshaft/layshaft/report/internal/bind"
	"github.com/layshaft/layshaft/report/internal/expr"
	"github.com/layshaft/layshaft/report/internal/vec"
)

// Row is an encoded row, or a group with the states of its aggregates.
type Row struct{ Key, Data string }

// Block is the encoded rows of a batch.
type Block struct {
	N    int
	Data []byte
}

// batches is a step of the plan.
type batches = mapreduce.Dataset[vec.Batch]

// plan builds the steps of a statement.
type plan struct {
	p *mapreduce.Plan
	// broadcast is the size in bytes up to which the right input of a join is given to all tasks.
	broadcast int64
	// maxBad is the number of bad rows of files that are set aside.
	maxBad int64
	// kept are the stored groups of aggregates, and of DISTINCT.
	kept map[bind.Node][]partials.Extent
	// driving is the scan whose files have groups of their own; nil in other plans. path is the
	// file of the batch that it emitted last. Both belong to the slot of the plan.
	driving *bind.Scan
	path    string
}

// first builds the steps of an operator of which each task needs the first n rows only.
func (p *plan) first(n bind.Node, rows int64) batches {
	return mapreduce.MapTask(p.node(n), func(_ context.Context, _ mapreduce.Task, emit func(vec.Batch)) (func(vec.Batch) error, func() error) {
		left := rows
		return func(b vec.Batch) error {
			if left <= 0 {
				return nil
			}
			if int64(b.N) > left {
				some := make([]int32, left)
				for i := range some {
					some[i] = int32(i)
				}
				b = *b.Gather(some)
			}
			left -= int64(b.N)
			emit(b)
			return nil
		}, func() error { return nil }
	}, mapreduce.Named("first rows"))
}

// node builds the steps of an operator.
func (p *plan) node(n bind.Node) batches {
	switch n := n.(type) {
	case *bind.Scan:
		return p.scan(n)
	case *bind.Values:
		return p.values(n)
	case *bind.Filter:
		return p.filter(n)
	case *bind.Project:
		return p.project(n)
	case *bind.Aggregate:
		return p.aggregate(n)
	case *bind.Sort:
		return p.sort(n)
	case *bind.Limit:
		return p.limit(n)
	case *bind.Distinct:
		return p.distinct(n)
	case *bind.Join:
		return p.join(n)
	case *bind.Window:
		return p.window(n)
	case *bind.Union:
		return p.union(n)
	case *bind.SetOp:
		return p.setOp(n)
	case *bind.Unnest:
		return p.unnest(n)
	}
	panic(fmt.Sprintf("report: no operator for %T", n))
}

// blocks encodes the rows of a step.
func blocks(d batches) mapreduce.Dataset[Block] {
	return mapreduce.Map(d, func(b vec.Batch) Block {
		x := Block{N: b.N}
		for i := range b.N {
			x.Data = vec.AppendRow(x.Data, b.Cols, i)
		}
		return x
	}, mapreduce.Named("encode"))
}

func (p *plan) scan(n *bind.Scan) batches {
	fields := make([]vec.Field, len(n.Cols))
	for i, c := range n.Cols {
		fields[i] = vec.Field{Name: c.Name, Type: c.Type}
	}
	from := n.Table.Source(fields, n.Bounds)
	if n.Extremes {
		from = n.Table.Extremes(fields)
	}
	rows := mapreduce.Read(p.p, from, mapreduce.Named("scan"), mapreduce.MaxBad(p.maxBad))
	if n == p.driving {
		rows = mapreduce.Map(rows, func(b vec.Batch) vec.Batch {
			p.path = b.Path
			return b
		}, mapreduce.Named("file"))
	}
	return rows
}

// valuesSource emits the rows of a statement.
type valuesSource struct{ batch func() (*vec.Batch, error) }

// String names the source.
func (valuesSource) String() string { return "VALUES" }

// Splits returns one split.
func (valuesSource) Splits(context.Context, int64) ([]connector.Split, error) {
	return []connector.Split{{Label: "VALUES", Bytes: 1}}, nil
}

// Read emits the rows in batches.
func (s valuesSource) Read(_ context.Context, _ connector.Split, r *connector.Reader[vec.Batch]) error {
	b, err := s.batch()
	if err != nil {
		return fatal(err)
	}
	rows := make([]int32, vec.Size)
	for start := 0; start < b.N && !r.Stopped(); start += vec.Size {
		n := min(vec.Size, b.N-start)
		for i := range n {
			rows[i] = int32(start + i)
		}
		r.Emit(b.Gather(rows[:n]))
	}
	r.Add(int64(b.N), 0)
	return nil
}

func (p *plan) values(n *bind.Values) batches {
	return mapreduce.Read(p.p, valuesSource{func() (*vec.Batch, error) {
		one := &vec.Batch{N: 1}
		b := &vec.Batch{N: len(n.Rows), Cols: make([]*vec.Vec, len(n.Cols))}
		for c, col := range n.Cols {
			out := vec.NewBuilder(col.Type, len(n.Rows))
			for _, row := range n.Rows {
				v, err := row[c].Eval(one)
				if err != nil {
					return nil, err
				}
				out.Append(v, 0)
			}
			b.Cols[c] = out.Done()
		}
		return b, nil
	}}, mapreduce.Named("values"))
}

func (p *plan) filter(n *bind.Filter) batches {
	return mapreduce.TryFlatMap(p.node(n.In), func(_ context.Context, b vec.Batch, emit func(vec.Batch)) error {
		keep, err := eval(n.Cond, &b)
		if err != nil {
			return err
		}
		if left := b.Filter(keep); left.N > 0 {
			emit(*left)
		}
		return nil
	}, mapreduce.Named("filter"))
}

// evalAll evaluates expressions.
func evalAll(xs []*expr.Expr, b *vec.Batch) ([]*vec.Vec, error) {
	all := make([]*vec.Vec, len(xs))
	for i, x := range xs {
		v, err := eval(x, b)
		if err != nil {
			return nil, err
		}
		all[i] = v
	}
	return all, nil
}

func (p *plan) project(n *bind.Project) batches {
	return mapreduce.TryMap(p.node(n.In), func(_ context.Context, b vec.Batch) (vec.Batch, error) {
		cols, err := evalAll(n.Exprs, &b)
		b.Cols = cols
		return b, err
	}, mapreduce.Named("project"))
}

func (p *plan) union(n *bind.Union) batches {
	all := make([]batches, len(n.Ins))
	for i, in := range n.Ins {
		all[i] = p.node(in)
	}
	return mapreduce.Union(all[0], all[1:]...)
}

func (p *plan) unnest(n *bind.Unnest) batches {
	return mapreduce.TryFlatMap(p.node(n.In), func(_ context.Context, b vec.Batch, emit func(vec.Batch)) error {
		list, err := eval(n.X, &b)
		if err != nil {
			return err
		}
		list = list.Flat()
		var rows, elems []int32
		var numbers []int64
		flush := func() {
			if len(rows) == 0 {
				return
			}
			out := b.Gather(rows)
			out.Cols = append(slices.Clone(out.Cols), list.Elem.Gather(elems))
			if n.Ordinality {
				v := vec.New(vec.Of(vec.Int), len(rows))
				copy(v.Ints, numbers)
				for i, e := range elems {
					if e < 0 {
						v.SetNull(i)
					}
				}
				out.Cols = append(out.Cols, v)
			}
			emit(*out)
			rows, elems, numbers = rows[:0], elems[:0], numbers[:0]
		}
		for i := range b.N {
			first, end := list.Offsets[i], list.Offsets[i+1]
			if list.Null(i) {
				end = first
			}
			if n.Outer && first == end {
				rows, elems, numbers = append(rows, int32(i)), append(elems, -1), append(numbers, 0)
			}
			for e := first; e < end; e++ {
				rows, elems, numbers = append(rows, int32(i)), append(elems, e), append(numbers, int64(e-first)+1)
				if len(rows) == vec.Size {
					flush()
				}
			}
			if len(rows) == vec.Size {
				flush()
			}
		}
		flush()
		return nil
	}, mapreduce.Named("unnest"))
}
