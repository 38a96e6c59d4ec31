package bind

import (
	"slices"

	"github.com/layshaft/layshaft/report/internal/expr"
	"github.com/layshaft/layshaft/report/internal/sql"
)

// windowCall is a call of a window function, until addWindows makes its node.
type windowCall struct {
	call      *WindowCall
	partition []*expr.Expr
	order     []SortKey
}

// rewrite replaces all expressions of the call.
func (w *windowCall) rewrite(f func(*expr.Expr) *expr.Expr) {
	for i, x := range w.partition {
		w.partition[i] = f(x)
	}
	for i := range w.order {
		w.order[i].X = f(w.order[i].X)
	}
	for i, x := range w.call.Args {
		w.call.Args[i] = f(x)
	}
}

// over returns a text that is equal for calls over the same windows.
func (w *windowCall) over() string {
	key := ""
	for _, x := range w.partition {
		key += x.Key() + ";"
	}
	for _, k := range w.order {
		key += "|" + k.X.Key()
		if k.Order.Desc {
			key += " desc"
		}
		if k.Order.NullsFirst {
			key += " nulls first"
		}
	}
	return key
}

// addWindows adds a Window for each distinct window of the calls, and places their results in
// exprs.
func (sel *selection) addWindows(exprs []*expr.Expr) error {
	calls := sel.calls.windows
	if len(calls) == 0 {
		return nil
	}
	at := map[int]int{}
	for i, w := range calls {
		if _, done := at[windowBase+i]; done {
			continue
		}
		all := slices.Clone(w.partition)
		for _, k := range w.order {
			all = append(all, k.X)
		}
		same := []int{i}
		for j := i + 1; j < len(calls); j++ {
			if calls[j].over() == w.over() {
				same = append(same, j)
			}
		}
		for _, j := range same {
			all = append(all, calls[j].call.Args...)
		}
		if err := sel.attach(all); err != nil {
			return err
		}
		n := &Window{In: sel.node, Cols: slices.Clone(sel.node.Columns())}
		n.Partition, all = all[:len(w.partition)], all[len(w.partition):]
		for k := range w.order {
			n.Order = append(n.Order, SortKey{all[0], w.order[k].Order})
			all = all[1:]
		}
		for _, j := range same {
			c := calls[j].call
			n.Calls = append(n.Calls, &WindowCall{c.Func, c.Name, c.Result, all[:len(c.Args)]})
			all = all[len(c.Args):]
			at[windowBase+j] = len(n.Cols)
			n.Cols = append(n.Cols, Column{Name: c.Name, Type: c.Result, Hidden: true})
		}
		sel.node = n
	}
	for i, x := range exprs {
		exprs[i] = placed(x, at)
	}
	return nil
}

// window binds a call with OVER to a virtual column.
func (s *scope) window(c *sql.Call) (*expr.Expr, error) {
	return nil, errAt(c, "", "window functions are not supported")
}
