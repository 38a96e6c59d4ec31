package exec

import (
	"context"
	"fmt"
	"iter"

	"github.com/layshaft/layshaft/mapreduce"
	"github.com/layshaft/layshaft/mapreduce/connector"
	"github.com/layshaft/layshaft/report/internal/bind"
	"github.com/layshaft/layshaft/report/internal/expr"
	"github.com/layshaft/layshaft/report/internal/vec"
)

// windowRow is an encoded row with its partition and its place in it.
type windowRow struct{ Partition, Order, Data string }

// window brings the rows of a partition together, in order. A partition that does not fit into
// memory is refused.
func (p *plan) window(n *bind.Window) batches {
	keys, appendOrder := ordered(n.Order)
	rows := mapreduce.MapTask(p.node(n.In), func(_ context.Context, _ mapreduce.Task, emit func(windowRow)) (func(vec.Batch) error, func() error) {
		var a arena
		return func(b vec.Batch) error {
			parts, err := evalAll(n.Partition, &b)
			if err != nil {
				return err
			}
			order, err := evalAll(keys, &b)
			if err != nil {
				return err
			}
			for i := range b.N {
				var r windowRow
				key, _ := joinKey(a.begin(), parts, i)
				r.Partition = a.end(key)
				key, _ = appendOrder(a.begin(), order, i)
				r.Order = a.end(key)
				r.Data = a.end(vec.AppendRow(a.begin(), b.Cols, i))
				emit(r)
			}
			return nil
		}, func() error { return nil }
	}, mapreduce.Named("window keys"))
	return mapreduce.TryGroupBy(rows, func(r windowRow) string { return r.Partition }, func(ctx context.Context, _ string, rows iter.Seq[windowRow], emit func(vec.Batch)) error {
		return windowPartition(ctx, n, keys, rows, emit)
	}, mapreduce.SortValues(func(r windowRow) string { return r.Order }))
}

// windowPartition computes the window functions of one partition.
func windowPartition(ctx context.Context, n *bind.Window, keys []*expr.Expr, rows iter.Seq[windowRow], emit func(vec.Batch)) error {
	out := builders(n.In.Columns())
	count := 0
	held := charge{limit: connector.TaskMemory(ctx), perRow: rowBytes * int64(len(out)+len(n.Calls)+len(keys))}
	for r := range rows {
		if _, err := vec.DecodeRow(bytesOf(r.Data), out); err != nil {
			return err
		}
		if count++; !held.add(r.Data) {
			return held.refuse(fmt.Sprintf("a partition of the window function %s", n.Calls[0].Func.Name), count, "divide it by PARTITION BY")
		}
	}
	part := done(out, count)
	order, err := evalAll(keys, &part)
	if err != nil {
		return err
	}
	for _, c := range n.Calls {
		args, err := evalAll(c.Args, &part)
		if err != nil {
			return err
		}
		var filter *vec.Vec
		if c.Filter != nil {
			if filter, err = eval(c.Filter, &part); err != nil {
				return err
			}
		}
		v, err := c.Func.Run(count, args, order, filter)
		if err != nil {
			return failed(err)
		}
		part.Cols = append(part.Cols, v)
	}
	all := make([]int32, vec.Size)
	for start := 0; start < count; start += vec.Size {
		k := min(vec.Size, count-start)
		for i := range k {
			all[i] = int32(start + i)
		}
		emit(*part.Gather(all[:k]))
	}
	return nil
}
