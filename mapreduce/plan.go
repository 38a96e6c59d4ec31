package mapreduce

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"reflect"
	"runtime"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/layshaft/layshaft/internal/filesys"
	"github.com/layshaft/layshaft/internal/job"
	"github.com/layshaft/layshaft/internal/spill"
)

// KV is a value under a key.
type KV[K, V any] struct {
	Key   K
	Value V
}

// Dataset is a handle on records of type T in a plan: a step, not data. Operators take datasets and return new ones;
// nothing runs until the plan does. A Dataset may be used by any number of operators; the steps before it run once.
type Dataset[T any] struct {
	n *node
}

// Plan is a pipeline being described. Define's function receives one. The function is called several times (once
// per slot and once more to see that it always builds the same plan), so it should only describe: state that it captures is private to
// one slot, and files, clocks and random numbers belong into operators.
type Plan struct {
	name     string
	nodes    []*node
	outs     []*out
	counters []*Counter
	opts     options
	errs     []error
	ctx      context.Context // for listing sources in the client
}

// PlanError says which operator of a plan cannot work, where it was written, and why.
type PlanError struct {
	Plan string // the name given to Define
	Op   string // the operator, such as GroupBy
	At   string // file:line
	Err  error
}

func (e *PlanError) Error() string {
	return fmt.Sprintf("plan %s: %s: %s: %v", e.Plan, e.At, e.Op, e.Err)
}

// Unwrap returns the cause.
func (e *PlanError) Unwrap() error { return e.Err }

// node is one operator. Exactly one of read, fuse, wide and union says what it does.
type node struct {
	plan *Plan
	id   int
	op   string
	at   string
	typ  reflect.Type
	in   []*node
	opts options
	note string // parameters that change the meaning, for the fingerprint

	read  *readRole
	fuse  func(e *env, next any) any // next is func(*Out); the result is func(*In)
	wide  *wideRole
	side  *sideRole // a broadcast input of a fuse node: its input number 1
	union bool

	tee func(nexts []any) any // joins several func(*T) into one
}

// readRole is a source with its type erased.
type readRole struct {
	source interface {
		String() string
	}
	splits func(target int64) ([]Split, error)
	input  func() ([]Split, error) // the whole input, whoever holds it
	run    func(e *env, next any) error
}

// wideRole is an operator that needs its input shuffled.
type wideRole struct {
	ranged   bool // reads key ranges of sorted runs instead of partitions
	combines bool // folds records before they are moved
	holds    bool // holds records of a key while it reads
	parts    int  // number of partitions when it cannot be chosen, else 0
	// write returns func(*T), which takes records of input number input, and what to call behind the last.
	write func(e *env, input int, w *port) (push any, flush func() error)
	// combine merges what one worker or zone holds, of the partitions of the task's slice; nil when the order of merging shows in the result.
	combine func(e *env, w *port, slices int) error
	// read merges the runs of one partition, by input number, and pushes results to next, a func(*R).
	read func(e *env, next any) error
}

// sideRole is a dataset that every task of a stage reads whole.
type sideRole struct {
	write func(e *env, w *port) (push any, flush func() error)
	load  func(e *env) (bytes int64, err error) // reads all of it, once per process, and says what it takes
}

// out is one result of a plan: gathered records, or a sink.
type out struct {
	name   string
	n      *node
	at     string
	gather func(e *env, w *port) (push any, flush func() error) // nil for a sink
	sink   *sinkRole
}

func newNode[T any](p *Plan, op string, opts []Option, in ...*node) *node {
	if p == nil {
		panic(noPlan{PlanError{Op: op, At: caller(), Err: errors.New("its plan is nil; use the one that Define's function was given")}})
	}
	n := &node{plan: p, id: len(p.nodes), op: op, at: caller(), typ: reflect.TypeFor[T](), in: in}
	for _, err := range n.opts.take(opts) {
		n.refuse(err)
	}
	n.tee = func(nexts []any) any {
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
	for _, i := range in {
		if i == nil || i.plan != p {
			n.refuse(fmt.Errorf("its input belongs to another plan; operators may only join datasets of one call of Define's function"))
		}
	}
	p.nodes = append(p.nodes, n)
	return n
}

// needs refuses a function that is nil.
func (n *node) needs(what string, f any) {
	if v := reflect.ValueOf(f); v.IsNil() {
		n.refuse(fmt.Errorf("its %s is nil; it needs a %v", what, v.Type()))
	}
}

// noPlan is thrown by an operator that has no plan to tell its trouble to. Definition.plan returns it as an error.
type noPlan struct{ PlanError }

// planOf returns the plan of a dataset.
func planOf(n *node) *Plan {
	if n == nil {
		panic(noPlan{PlanError{Op: "Dataset", At: caller(), Err: errors.New("a dataset that no operator returned is used; its zero value stands for nothing")}})
	}
	return n.plan
}

func (n *node) refuse(err error) {
	n.plan.errs = append(n.plan.errs, &PlanError{n.plan.name, n.op, n.at, err})
}

func (n *node) label() string {
	if n.opts.name != "" {
		return n.opts.name
	}
	return strings.ToLower(n.op)
}

// caller returns file:line of the first caller outside this package.
func caller() string {
	var pcs [24]uintptr
	frames := runtime.CallersFrames(pcs[:runtime.Callers(2, pcs[:])])
	for {
		f, more := frames.Next()
		if !strings.HasPrefix(f.Function, "github.com/layshaft/layshaft/mapreduce.") || strings.HasSuffix(f.File, "_test.go") {
			return fmt.Sprintf("%s:%d", filepath.Base(f.File), f.Line)
		}
		if !more {
			return "unknown"
		}
	}
}

// Option changes how one operator runs, or, given to Define, all of a plan.
type Option func(*options)

type options struct {
	name      string
	parallel  int
	retry     int
	timeout   time.Duration
	needs     []job.Need
	maxBad    int64
	maxShare  float64
	partition any // func(K, int) int
	desc      bool
	sortBy    any // valueOrder[T]
}

// take applies opts, and returns what cannot be.
func (o *options) take(opts []Option) (errs []error) {
	for i, opt := range opts {
		if opt == nil {
			errs = append(errs, fmt.Errorf("option %d of %d is nil; leave it out", i+1, len(opts)))
			continue
		}
		opt(o)
	}
	refuse := func(bad bool, format string, args ...any) {
		if bad {
			errs = append(errs, fmt.Errorf(format, args...))
		}
	}
	refuse(o.parallel < 0 || o.parallel > spill.MaxParts, "Parallel(%d): use 1 to %d partitions, or 0 for the default", o.parallel, spill.MaxParts)
	refuse(o.retry < 0, "Retry(%d): use 1 or more attempts, or 0 for the default", o.retry)
	refuse(o.timeout < 0, "Timeout(%v): use a positive duration, or 0 for no limit", o.timeout)
	for _, x := range o.needs {
		refuse(x.N < 1 || x.N > 1<<30 || x.Budget == "" || len(x.Budget) > 512 || !utf8.ValidString(x.Budget),
			"Needs(%.100q, %d): use 1 or more of a budget, whose name is 1 to 512 bytes of UTF-8", x.Budget, x.N)
	}
	refuse(o.maxBad < 0, "MaxBad(%d): use 0 or more records", o.maxBad)
	refuse(!(o.maxShare >= 0 && o.maxShare <= 1), "MaxBadShare(%v): use a share from 0 to 1, such as 0.01 for one in a hundred", o.maxShare)
	return errs
}

// idle returns an error for each option that changes nothing where it was given.
func (n *node) idle() (errs []error) {
	refuse := func(bad bool, option, why string) {
		if bad {
			errs = append(errs, fmt.Errorf("%s changes nothing here: %s; take it out", option, why))
		}
	}
	single := n.wide != nil && n.wide.parts == 1
	refuse(n.opts.parallel > 0 && n.wide == nil, "Parallel", "the operator runs in the tasks of the one before it; give it to that one, or to Define for all that shuffle")
	refuse(n.opts.parallel > 1 && single, "Parallel", "the operator has one result and so one partition")
	refuse(n.opts.partition != nil && (n.wide == nil || n.wide.ranged || single), "PartitionBy", "it is for operators that spread keys over partitions, such as AggregateBy, GroupBy and Join")
	refuse(n.opts.desc && (n.wide == nil || !n.wide.ranged), "Descending", "it is for SortBy and Sort")
	refuse(n.opts.sortBy != nil && n.op != "GroupBy" && n.op != "TryGroupBy", "SortValues", "it is for GroupBy and TryGroupBy")
	return errs
}

// Named names an operator in progress, plans and errors. The default is the operator's own name.
func Named(name string) Option { return func(o *options) { o.name = name } }

// Parallel sets the number of partitions of a shuffling operator. The default is chosen from the input's size.
func Parallel(partitions int) Option { return func(o *options) { o.parallel = partitions } }

// Retry sets how many attempts a task may have before the job fails. The default is 4; the largest of a stage's operators counts.
func Retry(attempts int) Option { return func(o *options) { o.retry = attempts } }

// Timeout limits how long one attempt may run. The default is no limit; the smallest of a stage's operators counts.
func Timeout(d time.Duration) Option { return func(o *options) { o.timeout = d } }

// Needs says that each running attempt of the operator's stage holds n of a budget of something outside, such as connections of a database: Needs("pg", 1). On a
// cluster budgets are those that tasks use and `layshaft task budget` sets; one that was never set is empty, and what needs it waits. Inside one process
// Local.Budgets limits them, and there is enough of others. A stage holds the sum of what its operators need. No second attempt races a slow one of
// such a stage. Given to Define it is an error of the plan.
func Needs(budget string, n int) Option {
	return func(o *options) { o.needs = append(slices.Clip(o.needs), job.Need{Budget: budget, N: n}) }
}

// MaxBad lets a job go on with up to n bad records: malformed rows, records for which Skip was returned, and records
// whose function panicked twice (from the 33rd on each costs its task two attempts; see Retry). They are set aside in the quarantine file. On a cluster so are records over which the process of user code
// died twice, or that took it beyond its Timeout. The default is 0: the first one ends the job.
// Given to Define it holds for the plan.
func MaxBad(n int64) Option { return func(o *options) { o.maxBad = n } }

// MaxBadShare lets a job go on while at most the given share of the records read, from 0 to 1, is bad. It is compared when the job is about to end.
// Given to Define it holds for the plan.
func MaxBadShare(share float64) Option { return func(o *options) { o.maxShare = share } }

// Descending turns the order of SortBy or Sort around.
func Descending() Option { return func(o *options) { o.desc = true } }

// PartitionBy replaces the hash that decides which of n partitions a key belongs to. f must return 0 to n-1 and always
// the same for the same key.
func PartitionBy[K any](f func(key K, n int) int) Option { return func(o *options) { o.partition = f } }

// Counter is a count that user code keeps. It is exact: only committed attempts count, whatever was retried.
// It may be used inside operator functions of the plan it was made in, not from goroutines they start.
type Counter struct {
	name string
	n    int64
}

// NewCounter returns the counter of the plan with the given name. It is shown by -counters and Result.Counters.
func NewCounter(p *Plan, name string) *Counter {
	if p == nil {
		panic(noPlan{PlanError{Op: "NewCounter", At: caller(), Err: errors.New("its plan is nil; use the one that Define's function was given")}})
	}
	for _, c := range p.counters {
		if c.name == name {
			return c
		}
	}
	c := &Counter{name: name}
	if name == "" || name[0] == '.' {
		p.errs = append(p.errs, &PlanError{p.name, "NewCounter", caller(), fmt.Errorf("counter name %q is empty or begins with a dot, which marks the engine's own; choose another", name)})
	}
	p.counters = append(p.counters, c)
	return c
}

// Add adds n.
func (c *Counter) Add(n int64) { c.n += n }

// Read reads a source.
func Read[T any](p *Plan, s Source[T], opts ...Option) Dataset[T] {
	n := newNode[T](p, "Read", opts)
	if s == nil {
		n.refuse(fmt.Errorf("the source is nil"))
		return Dataset[T]{n}
	}
	n.note = s.String()
	n.read = &readRole{source: s,
		splits: func(target int64) ([]Split, error) { return s.Splits(p.context(), target) },
		input:  func() ([]Split, error) { return s.Splits(filesys.Nowhere(p.context()), 1<<62) },
		run:    func(e *env, next any) error { return readSplit(e, s, next.(func(*T))) },
	}
	return Dataset[T]{n}
}

func (p *Plan) context() context.Context {
	if p.ctx == nil {
		return context.Background()
	}
	return p.ctx
}
