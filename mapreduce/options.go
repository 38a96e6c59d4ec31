package mapreduce

import (
	"errors"
	"fmt"
	"slices"
	"time"
	"unicode/utf8"

	"github.com/layshaft/layshaft/internal/job"
	"github.com/layshaft/layshaft/internal/record"
	"github.com/layshaft/layshaft/internal/spill"
)

// Options change how one operator runs, or a whole plan. Each operator takes the options that mean
// something for it; any other option does not compile:
//
//	Option          every operator
//	ShuffleOption   operators that spread keys over partitions: AggregateBy, CountBy, ReduceByKey,
//	                Distinct, TopBy, Join, LeftJoin, CoGroup, their relatives and Try forms
//	GroupOption     GroupBy and TryGroupBy, which take every ShuffleOption too
//	SortOption      Sort and SortBy
//	PlanOption      Define

// Option changes how one operator runs. Every operator accepts it.
type Option interface {
	ShuffleOption
	SortOption
	operatorOption()
}

// ShuffleOption changes how an operator runs that spreads keys over partitions, such as AggregateBy
// and Join.
type ShuffleOption interface {
	GroupOption
	shuffleOption()
}

// GroupOption changes how GroupBy or TryGroupBy runs.
type GroupOption interface {
	apply(*options)
	groupOption()
}

// SortOption changes how Sort or SortBy runs.
type SortOption interface {
	apply(*options)
	sortOption()
}

// PlanOption changes how a whole plan runs; Define accepts it.
type PlanOption interface {
	apply(*options)
	planOption()
}

// AnyOption changes how one operator or a whole plan runs. Every operator and Define accept it.
type AnyOption interface {
	Option
	PlanOption
}

// ParallelOption changes the number of partitions. Every shuffling operator accepts it, and Define
// does.
type ParallelOption interface {
	ShuffleOption
	SortOption
	PlanOption
}

// setting is a change to options. The types below implement the option interfaces with it.
type setting func(*options)

func (s setting) apply(o *options) { s(o) }

type (
	planSetting     struct{ setting }
	groupSetting    struct{ setting }
	sortSetting     struct{ setting }
	shuffleSetting  struct{ groupSetting }
	parallelSetting struct{ shuffleSetting }
	operatorSetting struct{ shuffleSetting }
	anySetting      struct{ operatorSetting }
)

func (planSetting) planOption()         {}
func (groupSetting) groupOption()       {}
func (sortSetting) sortOption()         {}
func (shuffleSetting) shuffleOption()   {}
func (parallelSetting) sortOption()     {}
func (parallelSetting) planOption()     {}
func (operatorSetting) sortOption()     {}
func (operatorSetting) operatorOption() {}
func (anySetting) planOption()          {}

func forShuffle(s setting) shuffleSetting   { return shuffleSetting{groupSetting{s}} }
func forOperator(s setting) operatorSetting { return operatorSetting{forShuffle(s)} }
func forAny(s setting) anySetting           { return anySetting{forOperator(s)} }

// options are the options of one operator, one stage or a plan.
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
	env       []string // see Env
	sortBy    any      // valueOrder[T]
}

// applyOptions applies opts to o, and returns an error for each option with a bad value.
func applyOptions[O interface{ apply(*options) }](o *options, opts []O) (errs []error) {
	for i, opt := range opts {
		if any(opt) == nil {
			errs = append(errs, fmt.Errorf("option %d of %d is nil; leave it out", i+1, len(opts)))
			continue
		}
		opt.apply(o)
	}
	return append(errs, o.check()...)
}

// check returns the values that cannot work.
func (o *options) check() (errs []error) {
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

// Named names an operator in progress, plans and errors. The default is the operator's own name.
func Named(name string) Option { return forOperator(func(o *options) { o.name = name }) }

// Parallel sets the number of partitions of an operator that shuffles, or the default for a plan.
// Without it, or with zero, the number depends on the size of the input.
func Parallel(partitions int) ParallelOption {
	return parallelSetting{forShuffle(func(o *options) { o.parallel = partitions })}
}

// Retry sets how many attempts a task may have before the job fails. The default is 4. Of the
// operators in one stage, the largest number counts.
func Retry(attempts int) AnyOption { return forAny(func(o *options) { o.retry = attempts }) }

// Timeout limits how long one attempt may run. The default is no limit. Of the operators in one
// stage, the smallest limit counts. The context of TryMap and its kin has it as its Deadline, which
// moves on if this process is stopped for a while.
func Timeout(d time.Duration) AnyOption { return forAny(func(o *options) { o.timeout = d }) }

// Needs makes each running attempt of the operator's stage hold n of a budget. A budget stands for
// an outside resource, such as the connections of a database: Needs("pg", 1).
//
// On a cluster, jobs and queued tasks share the budgets that `layshaft task budget` sets. An
// attempt waits while its budget is used up, and always waits if the budget was never set. Inside
// one process, Local.Budgets limits budgets; a budget that it does not name is unlimited. A stage
// holds the sum of the needs of its operators. No speculative attempt starts in such a stage.
// Sources and sinks may need a budget too, and declare its size until somebody sets one; see
// connector.BudgetUser.
func Needs(budget string, n int) Option {
	return forOperator(func(o *options) { o.needs = append(slices.Clip(o.needs), job.Need{Budget: budget, N: n}) })
}

// MaxBad lets a job tolerate up to n bad records. The default is 0: the first bad record ends the
// job. Given to Define or to any operator, the limit applies to the whole plan.
//
// A record is bad if it is malformed, if Skip was returned for it, or if a function panicked twice
// over it. A task survives 32 records with a panic. Each panic after them costs it an attempt, and
// so does a panic of the source outside a record; see Retry. On a cluster a record is also bad if
// the process of the user code died twice over it, or exceeded its Timeout. Bad records go to the
// quarantine file; see Reporting.Quarantine.
func MaxBad(n int64) AnyOption { return forAny(func(o *options) { o.maxBad = n }) }

// MaxBadShare lets a job tolerate bad records up to a share of all records read, from 0 to 1. The
// share is checked once, when all records have been read. Given to Define or to any operator, it
// applies to the whole plan. See MaxBad.
func MaxBadShare(share float64) AnyOption { return forAny(func(o *options) { o.maxShare = share }) }

// Descending reverses the order of SortBy or Sort.
func Descending() SortOption { return sortSetting{func(o *options) { o.desc = true }} }

// PartitionBy replaces the hash that decides to which of n partitions a key belongs. f must return
// 0 to n-1, and always the same partition for the same key. K must be the operator's key type, else
// the plan is refused.
func PartitionBy[K any](f func(key K, n int) int) ShuffleOption {
	return forShuffle(func(o *options) { o.partition = f })
}

// SortValues makes GroupBy pass the values of each group in the order of the key that by returns.
// The default is the order in which they were read. T must be the type of the values, else the plan
// is refused.
func SortValues[T, S any](by func(T) S) GroupOption {
	codec, err := record.ForKey[S]()
	if by == nil {
		err = errors.New("its function is nil")
	}
	return groupSetting{func(o *options) {
		o.sortBy = valueOrder[T]{func(dst []byte, t *T) []byte {
			s := by(*t)
			return codec.AppendPart(dst, &s)
		}, err}
	}}
}
