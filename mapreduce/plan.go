package mapreduce

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"reflect"
	"runtime"
	"strings"

	"github.com/layshaft/layshaft/internal/files"
	"github.com/layshaft/layshaft/internal/filesys"
	"github.com/layshaft/layshaft/internal/job"
	"github.com/layshaft/layshaft/mapreduce/connector"
)

// KV is a value under a key, such as a word (Key) and its count (Value).
type KV[K, V any] struct {
	Key   K
	Value V
}

// Dataset is a handle on records of type T in a plan: a step, not data. Operators take datasets and
// return new ones; nothing runs before the plan does. Any number of operators may use a Dataset;
// the steps before it run once.
type Dataset[T any] struct {
	n *node
}

// Plan is the description of a pipeline. Define's function receives one and adds operators to it.
// The function is called several times: once per slot, and once more to check that it always builds
// the same plan. So it should only describe. A captured variable is private to one slot; use files,
// clocks and random numbers only inside operators.
type Plan struct {
	name     string
	nodes    []*node
	outs     []*out
	counters []*Counter
	opts     options
	errs     []error
	// persisted are the Persist operators.
	persisted []*persisted
	ctx       context.Context // for listing sources in the client
}

// PlanError is an error in an operator of a plan, with the place of the operator in the source
// code.
type PlanError struct {
	Plan string // the name given to Define
	Op   string // the operator, such as GroupBy
	At   string // file:line
	Err  error  // what is wrong
}

func (e *PlanError) Error() string {
	return fmt.Sprintf("plan %s: %s: %s: %v", e.Plan, e.At, e.Op, e.Err)
}

// Unwrap returns the cause.
func (e *PlanError) Unwrap() error { return e.Err }

// node is one operator. Exactly one of read, fuse, wide and union is set.
type node struct {
	plan *Plan
	id   int
	op   string
	at   string
	typ  reflect.Type
	in   []*node
	opts options
	note string // parameters that change the result, for the fingerprint

	read  *readRole
	fuse  func(e *env, next any) any // next is func(*Out); the result is func(*In)
	wide  *wideRole
	side  *sideRole // the broadcast input of a fuse node, its input number 1
	union bool
	skip  func(path string) bool // files that a source leaves out; see Persist
	// keptParts is the number of partitions of the partial results that a run begins with; zero
	// means none.
	keptParts int
	// allKept means that a source leaves out everything.
	allKept bool
	holds   bool // a fuse node that may hold memory until the end of the task
	// anyOrder marks a fuse node that treats each record alone.
	anyOrder bool

	tee func(nexts []any) any // joins several func(*T) into one
}

// readRole is a source with its type erased.
type readRole struct {
	source interface {
		String() string
	}
	splits func(target int64) ([]job.Split, error)
	input  func() ([]job.Split, error) // the whole input, without looking for its hosts
	run    func(e *env, next any) error
}

// wideRole is an operator that needs its input shuffled.
type wideRole struct {
	ranged   bool          // reads key ranges of sorted runs instead of partitions
	combines bool          // folds records before the shuffle
	keepsKey bool          // holds the records of a key while it reads
	anyOrder bool          // the order of the input does not change the result
	keepable *keepableRole // nil if its accumulators cannot be kept
	parts    int           // the number of partitions if it is fixed, else 0
	// write returns a func(*T) that takes records of input number input, and a function to call
	// after the last record.
	write func(e *env, input int, w *port) (push any, flush func() error)
	// combine merges the accumulators of one worker or zone, for the partitions of the task's
	// slice. It is nil if the order of merging changes the result.
	combine func(e *env, w *port, slices int) error
	// probe is nil except for inner joins.
	probe *probeRole
	// read merges the runs of one partition, by input number, and pushes results to next, a
	// func(*R).
	read func(e *env, next any) error
}

// sideRole is a dataset that every task of a stage reads completely.
type sideRole struct {
	write func(e *env, w *port) (push any, flush func() error)
	// reads the dataset once per process, and returns its size in memory
	load func(e *env) (bytes int64, err error)
}

// loadSide reads what a stage needs of the side of n.
func (n *node) loadSide(e *env) (bytes int64, err error) {
	if n.side != nil {
		return n.side.load(e)
	}
	return n.wide.probe.load(e)
}

// out is one result of a plan: gathered records, or a sink.
type out struct {
	name   string
	n      *node
	at     string
	gather func(e *env, w *port) (push any, flush func() error) // nil for a sink
	sink   *sinkRole
}

func newNode[T any, O interface{ apply(*options) }](p *Plan, op string, opts []O, in ...*node) *node {
	n := p.addNode(op, reflect.TypeFor[T](), tee[T], in)
	setOptions(n, opts)
	return n
}

func setOptions[O interface{ apply(*options) }](n *node, opts []O) {
	n.refuse(applyOptions(&n.opts, opts)...)
}

// tee returns a function that passes its argument to several functions.
func tee[T any](nexts []any) any {
	fs := make([]func(*T), len(nexts))
	for i, x := range nexts {
		fs[i] = x.(func(*T))
	}
	if len(fs) == 2 {
		a, b := fs[0], fs[1]
		return func(t *T) { a(t); b(t) }
	}
	return func(t *T) {
		for _, f := range fs {
			f(t)
		}
	}
}

// addNode adds a node with records of a type.
func (p *Plan) addNode(op string, typ reflect.Type, tee func(nexts []any) any, in []*node) *node {
	if p == nil {
		panic(noPlan{PlanError{Op: op, At: caller(), Err: errors.New("its plan is nil; use the plan that Define passes to its function")}})
	}
	n := &node{plan: p, id: len(p.nodes), op: op, at: caller(), typ: typ, tee: tee, in: in}
	for _, i := range in {
		if i == nil || i.plan != p {
			n.refuse(fmt.Errorf("its input belongs to another plan; operators may only join datasets of one call of Define's function"))
		}
	}
	p.nodes = append(p.nodes, n)
	return n
}

// needs refuses a nil function.
func (n *node) needs(what string, f any) {
	if v := reflect.ValueOf(f); v.IsNil() {
		n.refuse(fmt.Errorf("its %s is nil; it needs a %v", what, v.Type()))
	}
}

// noPlan is the panic of an operator that has no plan to record its error. Definition.plan returns
// it as an error.
type noPlan struct{ PlanError }

// planOf returns the plan of a dataset.
func planOf(n *node) *Plan {
	if n == nil {
		panic(noPlan{PlanError{Op: "Dataset", At: caller(), Err: errors.New("a zero Dataset is used; use a Dataset that an operator returned")}})
	}
	return n.plan
}

func (n *node) refuse(errs ...error) {
	for _, err := range errs {
		n.plan.errs = append(n.plan.errs, &PlanError{n.plan.name, n.op, n.at, err})
	}
}

func (n *node) label() string {
	if n.opts.name != "" {
		return n.opts.name
	}
	return strings.ToLower(n.op)
}

// caller returns file:line of the first caller outside this package and the packages of operators.
func caller() string {
	var pcs [24]uintptr
	frames := runtime.CallersFrames(pcs[:runtime.Callers(2, pcs[:])])
	for {
		f, more := frames.Next()
		if !isOperator(f.Function) || strings.HasSuffix(f.File, "_test.go") {
			return fmt.Sprintf("%s:%d", filepath.Base(f.File), f.Line)
		}
		if !more {
			return "unknown"
		}
	}
}

// isOperator reports whether a function belongs to this package or to package window. The functions
// of package loop do not count: in a worker nothing of the user's code is above them.
func isOperator(function string) bool {
	rest, ok := strings.CutPrefix(function, "github.com/layshaft/layshaft/mapreduce")
	return ok && (strings.HasPrefix(rest, ".") || strings.HasPrefix(rest, "/window."))
}

// Counter is a count that user code keeps. It is exact: only committed attempts count. Use it only
// inside operator functions of its own plan, and not from goroutines that they start.
type Counter struct {
	name string
	n    int64
}

// NewCounter returns the counter of the plan with the given name. Job.Counters and -counters show
// it.
func NewCounter(p *Plan, name string) *Counter {
	if p == nil {
		panic(noPlan{PlanError{Op: "NewCounter", At: caller(), Err: errors.New("its plan is nil; use the plan that Define passes to its function")}})
	}
	for _, c := range p.counters {
		if c.name == name {
			return c
		}
	}
	c := &Counter{name: name}
	if name == "" || name[0] == '.' {
		p.errs = append(p.errs, &PlanError{p.name, "NewCounter", caller(), fmt.Errorf("counter name %q is empty or begins with a dot, which marks the engine's counters; choose another", name)})
	}
	p.counters = append(p.counters, c)
	return c
}

// Add adds n.
func (c *Counter) Add(n int64) { c.n += n }

// Read reads a source.
func Read[T any](p *Plan, s connector.Source[T], opts ...Option) Dataset[T] {
	n := newNode[T](p, "Read", opts)
	if isNil(s) {
		n.refuse(fmt.Errorf("the source is nil"))
		return Dataset[T]{n}
	}
	n.note = s.String()
	n.useBudget(s)
	n.read = &readRole{source: s,
		splits: func(target int64) ([]job.Split, error) {
			if n.allKept {
				return nil, nil
			}
			return guardedSplits(s, files.Skip(p.context(), n.skip), target)
		},
		input: func() ([]job.Split, error) { return guardedSplits(s, filesys.IgnoreHolders(p.context()), 1<<62) },
		run:   func(e *env, next any) error { return readSplit(e, s, next.(func(*T))) },
	}
	return Dataset[T]{n}
}

func (p *Plan) context() context.Context {
	if p.ctx == nil {
		return context.Background()
	}
	return p.ctx
}
