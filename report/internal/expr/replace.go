package expr

// Replace returns e with parts replaced by the results of f, from the root down. Where f returns
// nil, the arguments of the part are looked at. The results must have the types of the parts.
func (e *Expr) Replace(f func(*Expr) *Expr) *Expr {
	if r := f(e); r != nil {
		return r
	}
	return e.withArgs(func(a *Expr) *Expr { return a.Replace(f) })
}

// withArgs returns e with other arguments; e itself if none changes.
func (e *Expr) withArgs(f func(*Expr) *Expr) *Expr {
	var args []*Expr
	for i, a := range e.Args {
		b := f(a)
		if b != a && args == nil {
			args = append(make([]*Expr, 0, len(e.Args)), e.Args[:i]...)
		}
		if args != nil {
			args = append(args, b)
		}
	}
	if args == nil {
		return e
	}
	w := *e
	w.Args = args
	w.derive()
	for i, a := range args {
		// a kernel may be made for a constant
		if e.rebind != nil && e.Args[i].Op == OpConst && a.Op != OpConst {
			if r, err := e.rebind(args); err == nil {
				w = *r
			}
			break
		}
	}
	return &w
}
