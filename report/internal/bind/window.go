package bind

import (
	"slices"

	"github.com/layshaft/layshaft/report/internal/aggr"
	"github.com/layshaft/layshaft/report/internal/expr"
	"github.com/layshaft/layshaft/report/internal/sql"
	"github.com/layshaft/layshaft/report/internal/vec"
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
	if w.call.Filter != nil {
		w.call.Filter = f(w.call.Filter)
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
			if f := calls[j].call.Filter; f != nil {
				all = append(all, f)
			}
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
			placed := &WindowCall{Func: c.Func, Args: all[:len(c.Args)]}
			if all = all[len(c.Args):]; c.Filter != nil {
				placed.Filter, all = all[0], all[1:]
			}
			n.Calls = append(n.Calls, placed)
			at[windowBase+j] = len(n.Cols)
			n.Cols = append(n.Cols, Column{Name: c.Func.Name, Type: c.Func.Result, Hidden: true})
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
	switch {
	case !s.windows:
		return nil, errAt(c, "conditions on window functions belong to QUALIFY", "%s: window functions are not allowed in %s", c.Name, s.clause)
	case len(c.OrderBy) > 0 || len(c.WithinGroup) > 0:
		return nil, errAt(c, "put ORDER BY into OVER", "%s: ORDER BY inside the call is not supported with OVER", c.Name)
	}
	inner := *s
	inner.windows, inner.clause = false, "a window function"
	def, err := s.definition(c.Over, 0)
	if err != nil {
		return nil, err
	}
	w := &windowCall{call: &WindowCall{}}
	if w.partition, err = inner.exprs(def.PartitionBy); err != nil {
		return nil, err
	}
	of := aggr.Window{IgnoreNulls: c.IgnoreNulls, Distinct: c.Distinct}
	for _, o := range def.OrderBy {
		if o.X == nil {
			return nil, errAt(o, "name the expressions", "ORDER BY ALL is not supported in OVER")
		}
		x, err := inner.expr(o.X)
		if err != nil {
			return nil, err
		}
		w.order = append(w.order, SortKey{x, orderOf(o)})
		of.Order = append(of.Order, orderOf(o))
		of.Keys = append(of.Keys, x.Type)
	}
	if def.Frame != nil {
		if of.Frame, err = inner.frame(def.Frame); err != nil {
			return nil, err
		}
	}
	if w.call.Args, err = inner.exprs(argsOf(c)); err != nil {
		return nil, err
	}
	types := make([]vec.Type, len(w.call.Args))
	for i, a := range w.call.Args {
		types[i] = a.Type
	}
	consts, err := constants(w.call.Args)
	if err != nil {
		return nil, err
	}
	if w.call.Func, err = aggr.BindWindow(c.Name, types, consts, of, c.Offset); err != nil {
		return nil, err
	}
	for i, t := range w.call.Func.Args {
		if i < len(w.call.Args) {
			if w.call.Args[i], err = cast(w.call.Args[i], t); err != nil {
				return nil, err
			}
		}
	}
	if c.Filter != nil {
		if w.call.Filter, err = inner.condition(c.Filter); err != nil {
			return nil, err
		}
	}
	s.calls.windows = append(s.calls.windows, w)
	return expr.Column(windowBase+len(s.calls.windows)-1, w.call.Func.Result, c.Name, c.Offset), nil
}

// definition returns the window of an OVER, with named windows filled in.
func (s *scope) definition(w *sql.Window, depth int) (*sql.Window, error) {
	name := w.Ref
	if name == nil {
		name = w.Base
	}
	if name == nil {
		return w, nil
	}
	var known []string
	for _, d := range s.named {
		known = append(known, d.Name.Name)
		if !matches(d.Name.Name, *name, false) {
			continue
		}
		if depth > 50 {
			return nil, errAt(name, "", "the window %q extends itself", name.Name)
		}
		base, err := s.definition(d.Window, depth+1)
		if err != nil || w.Ref != nil {
			return base, err
		}
		own := *w
		if len(own.PartitionBy) > 0 {
			return nil, errAt(w, "", "a window that extends %q cannot have a PARTITION BY of its own", name.Name)
		}
		own.PartitionBy = base.PartitionBy
		if len(own.OrderBy) == 0 {
			own.OrderBy = base.OrderBy
		}
		return &own, nil
	}
	if len(known) == 0 {
		return nil, errAt(name, "define it: WINDOW "+name.Name+" AS (…)", "there is no window %q", name.Name)
	}
	return nil, errAt(name, nearest(name.Name, known, "windows are"), "there is no window %q", name.Name)
}

// frame binds the frame of a window, whose offsets are constants.
func (s *scope) frame(f *sql.Frame) (*aggr.Frame, error) {
	out := &aggr.Frame{Unit: f.Unit, Exclude: f.Exclude}
	for _, end := range []struct {
		from sql.Bound
		to   *aggr.Bound
	}{{f.Start, &out.Start}, {f.End, &out.End}} {
		end.to.Kind = end.from.Kind
		if end.from.X == nil {
			continue
		}
		x, err := s.expr(end.from.X)
		if err != nil {
			return nil, err
		}
		if x, err = expr.Fold(x); err != nil {
			return nil, err
		}
		if x.Op != expr.OpConst {
			return nil, errAt(end.from.X, "", "the offset of a frame must be a constant")
		}
		end.to.Offset = x.Value
	}
	return out, nil
}
