// Package vet finds functions of pipelines whose results differ from run to run, or from worker to
// worker.
//
// A function of a pipeline runs in other processes, several times at once, and again after a
// failure. So its results may depend on its arguments and on the parameters of the pipeline alone.
// [Analyzer] reports a function that
//   - reads a flag, os.Args or the environment: workers have other ones;
//   - reads the clock or random numbers: an attempt that runs again gives another result;
//   - changes a variable outside of itself: each process changes its own, and tasks race for it;
//   - is made in a loop over a map: the plan is another one each time.
//
// It looks at the functions that are given to the operators of package mapreduce and of the
// packages below it, and at the functions of the same package that they call.
//
//	var top = flag.Int("top", 10, "number of lines")
//
//	lines.Filter(func(x Line) bool { return x.N > *top }) // reads the flag top
//
// "layshaft vet ./..." runs it. With "go vet -vettool" and programs such as golangci-lint it runs
// beside other analyzers. A line that ends in a comment "//layshaft:allow REASON" is not reported,
// and neither is the line after a comment of that kind.
package vet

import (
	"go/ast"
	"go/token"
	"go/types"
	"strconv"
	"strings"

	"golang.org/x/tools/go/analysis"
)

// Analyzer reports functions of pipelines that are not repeatable.
var Analyzer = &analysis.Analyzer{
	Name: "layshaft",
	Doc:  "report functions of pipelines whose results differ from run to run, or from worker to worker",
	URL:  "https://pkg.go.dev/github.com/layshaft/layshaft/mapreduce/vet",
	Run:  run,
}

// root is the package of pipelines. Operators are in it and in packages below it.
const root = "github.com/layshaft/layshaft/mapreduce"

func run(pass *analysis.Pass) (any, error) {
	if !imports(pass.Pkg) || isRoot(pass.Pkg) {
		return nil, nil
	}
	c := &checker{pass: pass, flags: map[types.Object]string{}, env: map[string]bool{}, bodies: map[types.Object]*ast.FuncDecl{}, literals: map[types.Object]*ast.FuncLit{}, receivers: map[types.Object]bool{},
		seen: map[ast.Node]bool{}, reported: map[token.Pos]bool{}, allowed: map[string]map[int]bool{}}
	for _, f := range pass.Files {
		c.prepare(f)
	}
	for _, f := range pass.Files {
		ast.Inspect(f, func(n ast.Node) bool {
			if call, ok := n.(*ast.CallExpr); ok {
				all := c.isOperator(call)
				for i, arg := range call.Args {
					if all || c.builds(call, i) {
						c.function(arg)
					}
				}
			}
			return true
		})
	}
	return nil, nil
}

// imports reports whether a package imports the package of pipelines.
func imports(p *types.Package) bool {
	for _, i := range p.Imports() {
		if isRoot(i) {
			return true
		}
	}
	return false
}

// isRoot reports whether p is the package of pipelines or below it.
func isRoot(p *types.Package) bool {
	return p != nil && (p.Path() == root || strings.HasPrefix(p.Path(), root+"/"))
}

// checker looks at the functions of one package.
type checker struct {
	pass      *analysis.Pass
	flags     map[types.Object]string        // variables that hold flags, with the name of the flag
	env       map[string]bool                // variables of the environment that belong to a plan, by mapreduce.Env
	bodies    map[types.Object]*ast.FuncDecl // functions of this package
	literals  map[types.Object]*ast.FuncLit  // variables that hold a function
	receivers map[types.Object]bool          // receivers of methods that are used as functions: all tasks share them
	seen      map[ast.Node]bool              // functions that were looked at
	reported  map[token.Pos]bool             // places with a report: a function may be reached twice
	allowed   map[string]map[int]bool        // lines with //layshaft:allow, by file
}

// prepare notes flags, functions and comments of a file.
func (c *checker) prepare(f *ast.File) {
	lines := map[int]bool{}
	for _, group := range f.Comments {
		for _, comment := range group.List {
			if reason, ok := strings.CutPrefix(comment.Text, "//layshaft:allow"); ok && strings.TrimSpace(reason) != "" {
				at := c.pass.Fset.Position(comment.Pos())
				lines[at.Line] = true
				if c.isAlone(at) {
					lines[at.Line+1] = true
				}
			}
		}
	}
	c.allowed[c.pass.Fset.Position(f.Pos()).Filename] = lines
	ast.Inspect(f, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.FuncDecl:
			c.bodies[c.pass.TypesInfo.Defs[n.Name]] = n
		case *ast.ValueSpec:
			for i, v := range n.Values {
				if i < len(n.Names) {
					c.noteValue(n.Names[i], v)
				}
			}
		case *ast.AssignStmt:
			for i, v := range n.Rhs {
				if i < len(n.Lhs) {
					c.noteValue(n.Lhs[i], v)
				}
			}
		case *ast.CallExpr:
			callee := c.callee(n)
			switch {
			case isFlagPackage(callee) && len(n.Args) >= 2:
				// flag.IntVar(&n, "n", 1, "")
				if u, ok := ast.Unparen(n.Args[0]).(*ast.UnaryExpr); ok && u.Op == token.AND {
					if object := c.target(u.X); object != nil {
						c.flags[object] = c.text(n.Args[1], object.Name())
					}
				}
			case callee != nil && isRoot(callee.Pkg()) && callee.Name() == "Env":
				for _, arg := range n.Args {
					c.env[c.text(arg, "")] = true
				}
			}
		}
		return true
	})
}

// isAlone reports whether nothing stands before a place in its line.
func (c *checker) isAlone(at token.Position) bool {
	text, err := c.pass.ReadFile(at.Filename)
	return err == nil && at.Offset <= len(text) && strings.TrimSpace(string(text[at.Offset-at.Column+1:at.Offset])) == ""
}

// noteValue notes a variable that holds a function or the pointer of a flag.
func (c *checker) noteValue(name ast.Expr, value ast.Expr) {
	if literal, ok := ast.Unparen(value).(*ast.FuncLit); ok {
		if object := c.variable(name); object != nil {
			c.literals[object] = literal
		}
		return
	}
	call, ok := ast.Unparen(value).(*ast.CallExpr)
	if !ok || len(call.Args) == 0 || !isFlagPackage(c.callee(call)) {
		return
	}
	if _, ok := c.pass.TypesInfo.TypeOf(call).(*types.Pointer); !ok {
		return
	}
	if object := c.variable(name); object != nil {
		c.flags[object] = c.text(call.Args[0], object.Name())
	}
}

func isFlagPackage(f *types.Func) bool {
	return f != nil && f.Pkg() != nil && (f.Pkg().Path() == "flag" || strings.HasSuffix(f.Pkg().Path(), "/pflag"))
}

// text returns the value of a constant text, or another text.
func (c *checker) text(e ast.Expr, otherwise string) string {
	if v := c.pass.TypesInfo.Types[e].Value; v != nil {
		if s, err := strconv.Unquote(v.ExactString()); err == nil {
			return s
		}
	}
	return otherwise
}

// target returns the field that an expression names, or else its variable.
func (c *checker) target(e ast.Expr) types.Object {
	if x, ok := ast.Unparen(e).(*ast.SelectorExpr); ok {
		if field := c.pass.TypesInfo.Selections[x]; field != nil {
			return field.Obj()
		}
	}
	return c.variable(e)
}

// variable returns the variable that an expression begins with: x in x, x.f, x[i] and *x.
func (c *checker) variable(e ast.Expr) types.Object {
	for {
		switch x := ast.Unparen(e).(type) {
		case *ast.SelectorExpr:
			if _, ok := c.pass.TypesInfo.Selections[x]; !ok { // a variable of another package
				return c.pass.TypesInfo.Uses[x.Sel]
			}
			e = x.X
		case *ast.IndexExpr:
			e = x.X
		case *ast.StarExpr:
			e = x.X
		case *ast.Ident:
			object, _ := c.pass.TypesInfo.ObjectOf(x).(*types.Var)
			if object == nil {
				return nil
			}
			return object
		default:
			return nil
		}
	}
}

// callee returns the function or method that a call names, or nil.
func (c *checker) callee(call *ast.CallExpr) *types.Func {
	f := ast.Unparen(call.Fun)
	switch x := f.(type) { // explicit type arguments
	case *ast.IndexExpr:
		f = x.X
	case *ast.IndexListExpr:
		f = x.X
	}
	var name *ast.Ident
	switch x := f.(type) {
	case *ast.Ident:
		name = x
	case *ast.SelectorExpr:
		name = x.Sel
	default:
		return nil
	}
	callee, _ := c.pass.TypesInfo.Uses[name].(*types.Func)
	return callee
}

// isOperator reports whether a call gives functions to a pipeline: it makes or takes a part of one.
func (c *checker) isOperator(call *ast.CallExpr) bool {
	f := c.callee(call)
	if f == nil || !isRoot(f.Pkg()) {
		return false
	}
	if r := f.Signature().Recv(); r != nil && isPart(r.Type()) {
		return true
	}
	return hasParts(f.Signature())
}

// builds reports whether an argument of a call is a function that builds a part of a pipeline, such
// as the steps of a loop. Other functions of such a call may run in the client.
func (c *checker) builds(call *ast.CallExpr, i int) bool {
	f := c.callee(call)
	if f == nil || !isRoot(f.Pkg()) || i >= f.Signature().Params().Len() {
		return false
	}
	signature, ok := f.Signature().Params().At(i).Type().Underlying().(*types.Signature)
	return ok && hasParts(signature)
}

// hasParts reports whether a function takes or returns a part of a pipeline.
func hasParts(signature *types.Signature) bool {
	for _, list := range []*types.Tuple{signature.Params(), signature.Results()} {
		for i := range list.Len() {
			if isPart(list.At(i).Type()) {
				return true
			}
		}
	}
	return false
}

// isPart reports whether a type is a part of a pipeline.
func isPart(t types.Type) bool {
	if p, ok := t.(*types.Pointer); ok {
		t = p.Elem()
	}
	if s, ok := t.(*types.Slice); ok {
		t = s.Elem()
	}
	named, ok := types.Unalias(t).(*types.Named)
	if !ok || !isRoot(named.Obj().Pkg()) {
		return false
	}
	switch named.Obj().Name() {
	case "Dataset", "Plan", "Definition", "Agg", "Source", "Sink", "Merge":
		return true
	}
	return false
}

// function looks at an argument that is a function: a literal, or the name of a function of this
// package.
func (c *checker) function(arg ast.Expr) {
	switch arg := ast.Unparen(arg).(type) {
	case *ast.FuncLit:
		c.body(arg, arg.Body)
	case *ast.Ident:
		object := c.pass.TypesInfo.Uses[arg]
		if literal := c.literals[object]; literal != nil {
			c.body(literal, literal.Body)
		}
		c.declared(object)
	case *ast.SelectorExpr: // a method expression or value
		if s := c.pass.TypesInfo.Selections[arg]; s != nil && s.Kind() == types.MethodVal {
			if method, ok := s.Obj().(*types.Func); ok {
				if d := c.bodies[method.Origin()]; d != nil && d.Recv != nil && len(d.Recv.List[0].Names) > 0 {
					if _, ok := c.pass.TypesInfo.TypeOf(d.Recv.List[0].Type).(*types.Pointer); ok {
						c.receivers[c.pass.TypesInfo.Defs[d.Recv.List[0].Names[0]]] = true
					}
				}
			}
		}
		c.declared(c.pass.TypesInfo.Uses[arg.Sel])
	case *ast.IndexExpr:
		c.function(arg.X)
	case *ast.CompositeLit: // mapreduce.Agg{Add: func ...}
		for _, e := range arg.Elts {
			if pair, ok := e.(*ast.KeyValueExpr); ok {
				c.function(pair.Value)
			}
		}
	}
}

// declared looks at a function of this package.
func (c *checker) declared(object types.Object) {
	if f, ok := object.(*types.Func); ok {
		if d := c.bodies[f.Origin()]; d != nil && d.Body != nil {
			c.body(d, d.Body)
		}
	}
}

// body looks at what a function of a pipeline does. Variables that are declared outside of node are
// not its own.
func (c *checker) body(node ast.Node, body *ast.BlockStmt) {
	if c.seen[node] {
		return
	}
	c.seen[node] = true
	ast.Inspect(body, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.Ident:
			if name, ok := c.flags[c.pass.TypesInfo.Uses[n]]; ok {
				c.report(n, "a function of a pipeline reads the flag %s, whose value does not reach workers; make it a parameter of Define", name)
			}
		case *ast.SelectorExpr:
			if v, ok := c.pass.TypesInfo.Uses[n.Sel].(*types.Var); ok && v.Pkg() != nil && v.Pkg().Path() == "os" && v.Name() == "Args" {
				c.report(n, "a function of a pipeline reads os.Args, which workers do not have; make the value a parameter of Define")
			}
		case *ast.AssignStmt:
			if n.Tok != token.DEFINE {
				for _, to := range n.Lhs {
					c.changed(node, to)
				}
			}
		case *ast.IncDecStmt:
			c.changed(node, n.X)
		case *ast.RangeStmt:
			if n.Tok == token.ASSIGN {
				for _, to := range []ast.Expr{n.Key, n.Value} {
					if to != nil {
						c.changed(node, to)
					}
				}
			}
			c.loop(n)
		case *ast.CallExpr:
			c.call(n)
		}
		return true
	})
}

// changed reports a variable that is changed but declared outside of a function.
func (c *checker) changed(function ast.Node, to ast.Expr) {
	v := c.variable(to)
	if v == nil || v.Pos() == token.NoPos || !c.receivers[v] && v.Pos() >= function.Pos() && v.Pos() < function.End() {
		return
	}
	c.report(to, "a function of a pipeline changes the variable %s outside of it; each process changes its own, and tasks race for it: return the value, or count with mapreduce.NewCounter", v.Name())
}

// loop reports operators in a loop over a map.
func (c *checker) loop(r *ast.RangeStmt) {
	_, isMap := c.pass.TypesInfo.TypeOf(r.X).Underlying().(*types.Map)
	if call, ok := ast.Unparen(r.X).(*ast.CallExpr); ok { // maps.Keys, maps.Values, maps.All
		f := c.callee(call)
		isMap = isMap || f != nil && f.Pkg() != nil && f.Pkg().Path() == "maps"
	}
	if !isMap {
		return
	}
	ast.Inspect(r.Body, func(n ast.Node) bool {
		if call, ok := n.(*ast.CallExpr); ok && c.isOperator(call) {
			c.report(r, "operators are added in a loop over a map, whose order is another one each time; sort its keys first, as slices.Sorted(maps.Keys(m)) does")
			return false
		}
		return true
	})
}

// clocks and environments are functions of the standard library by package and name.
var (
	clocks       = map[string]bool{"time.Now": true, "time.Since": true, "time.Until": true}
	environments = map[string]bool{"os.Getenv": true, "os.LookupEnv": true, "os.Environ": true, "os.ExpandEnv": true}
)

// call reports a call of the clock, random numbers or the environment, and looks at functions of
// this package that are called.
func (c *checker) call(call *ast.CallExpr) {
	f := c.callee(call)
	if f == nil || f.Pkg() == nil {
		return
	}
	if f.Pkg() == c.pass.Pkg {
		c.declared(f)
		return
	}
	name := f.Pkg().Path() + "." + f.Name()
	switch isFunction := f.Signature().Recv() == nil; {
	case isFunction && clocks[name]:
		c.report(call, "a function of a pipeline calls %s; an attempt that runs again gives another result: make the time a parameter of Define", name)
	case isFunction && isRandom(f):
		c.report(call, "a function of a pipeline calls %s; an attempt that runs again gives another result: use rand.New(rand.NewPCG(...)) with a seed from the record", name)
	case isFunction && environments[name]:
		if len(call.Args) > 0 && c.env[c.text(call.Args[0], "")] {
			return
		}
		c.report(call, "a function of a pipeline calls %s; workers have another environment: make the value a parameter of Define, or name the variable with mapreduce.Env", name)
	}
}

// isRandom reports whether a function draws from a source that is seeded by chance.
func isRandom(f *types.Func) bool {
	switch f.Pkg().Path() {
	case "crypto/rand":
		return true
	case "math/rand", "math/rand/v2":
		return !strings.HasPrefix(f.Name(), "New")
	}
	return false
}

// report reports a place once, unless a comment allows it.
func (c *checker) report(n ast.Node, format string, args ...any) {
	at := c.pass.Fset.Position(n.Pos())
	if c.reported[n.Pos()] || c.allowed[at.Filename][at.Line] {
		return
	}
	c.reported[n.Pos()] = true
	c.pass.Reportf(n.Pos(), format, args...)
}
