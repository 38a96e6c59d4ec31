// Package aggr computes aggregates: it numbers groups, and folds columns of arguments into one
// state per group.
//
//	f, err := aggr.Bind("sum", []vec.Type{price}, nil, false, nil, 0)
//	table, state := aggr.NewTable(keyTypes), f.New()
//	for each batch {
//		groups = table.Groups(keys, n, groups)
//		state.Resize(table.Len())
//		err = state.Add(groups, args)
//	}
//	sums, err := state.Result(0, table.Len())
//
// States merge: a cluster adds rows to many states, sends each group as bytes and merges them. The
// result is the same, byte for byte, however the rows were divided and in whatever order their
// states were merged. Sums and averages of floats, variances and their kin are computed from exact
// sums and rounded once. Aggregates with an order, such as array_agg, sort their values by the
// ORDER BY of the call, then by the position of the row in the input, then by value.
//
// Differences from PostgreSQL and DuckDB, and choices where they leave one:
//   - avg of bigint and decimal is double, as in DuckDB; PostgreSQL has numeric. It is rounded
//     once.
//   - sum of bigint is decimal(38,0), which DuckDB calls hugeint and PostgreSQL numeric. A sum
//     that needs more digits is an error. A sum of doubles beyond the range of double is infinite.
//   - stddev, variance, corr and the others compute with double arguments, as DuckDB does, but
//     exactly. They are NaN if a number is infinite or NaN, and NULL where they divide by zero:
//     corr of a constant is NULL as in PostgreSQL.
//   - quantile_cont and median of numbers are double; in DuckDB they are decimals for decimals.
//   - min and max treat NaN as the greatest number and -0 as 0.
//   - first and last keep NULL; any_value, arg_min and arg_max skip it, as in DuckDB.
//   - mode is the least of the most frequent values. array_agg(DISTINCT x) without ORDER BY is
//     sorted.
//   - approx_top_k is exact, and takes memory for all distinct values. Values that are equally
//     frequent come in ascending order. top_k returns their counts too.
//   - histogram(x, bounds) counts the values above the last bound under infinity.
//   - approx_quantile returns double for numbers; up to 64 values of a group it is exact.
package aggr

import (
	"fmt"
	"slices"
	"strings"

	"github.com/layshaft/layshaft/internal/report"
	"github.com/layshaft/layshaft/internal/spelling"
	"github.com/layshaft/layshaft/report/internal/vec"
)

// Func is an aggregate function with the types of one call.
type Func struct {
	// Name is the name of the function in lower case, as registered: every becomes bool_and.
	Name string
	// Written is the name in the statement, for errors.
	Written string
	// Args are the types to which the caller casts the arguments. Constant arguments, such as the
	// fraction of a quantile, are among them, but a State ignores their columns.
	Args []vec.Type
	// Result is the type of the result.
	Result vec.Type
	// Distinct reports that each value of a group counts once.
	Distinct bool
	// Order is the ORDER BY inside the call. Its keys follow the arguments as extra columns. It is
	// empty if the function does not depend on the order of rows.
	Order []vec.Order
	// Ordinal reports that rows with equal order keys are taken in the order of the input. The
	// caller then adds one more column after the order keys: an Int, not NULL, which grows with the
	// position of the row in the input. Without the column, such rows are ordered by value.
	Ordinal bool

	newState func() State
	once     bool // the State drops equal values itself
	offset   int  // of the call in the statement
}

// New returns the states of no groups.
func (f *Func) New() State { return f.newState() }

// State holds the states of one aggregate for all groups of a table.
type State interface {
	// Resize sets the number of groups. It never shrinks. New groups have seen no row.
	Resize(groups int)
	// Add adds row i of the arguments to group groups[i], for all i below len(groups).
	Add(groups []uint32, args []*vec.Vec) error
	// AddAll adds n rows to one group.
	AddAll(group uint32, args []*vec.Vec, n int) error
	// AppendState appends the state of a group. The bytes end themselves.
	AppendState(dst []byte, group int) []byte
	// MergeState merges a state that AppendState wrote into a group, and returns the rest of src.
	// It returns vec.ErrCorrupt if src is no state.
	MergeState(group int, src []byte) (rest []byte, err error)
	// Result returns the results of the groups from, from+1, … up to but not including to.
	Result(from, to int) (*vec.Vec, error)
	// Bytes returns the memory held.
	Bytes() int64
}

// Error is a call that cannot be bound, or whose result has no value.
type Error struct {
	// Offset is the place in the statement, in bytes.
	Offset int
	// Message says what is wrong, in one line.
	Message string
	// Hint is the way out. It may be empty.
	Hint string
}

func (e *Error) Error() string {
	if e.Hint == "" {
		return e.Message
	}
	return e.Message + "; " + e.Hint
}

// call is what Bind knows of a call.
type call struct {
	name     string
	args     []vec.Type
	consts   []*vec.Vec
	distinct bool
	order    []vec.Order
	offset   int
}

// errorf returns an error at the place of the call.
func (c *call) errorf(hint, format string, args ...any) error {
	return &Error{c.offset, fmt.Sprintf(format, args...), hint}
}

// refuse returns the error for an argument of a wrong type.
func (c *call) refuse(arg int, want string) error {
	return c.errorf("cast the argument", "%s: argument %d is %s, want %s", c.name, arg+1, c.args[arg], want)
}

// spec describes a function for Bind.
type spec struct {
	min, max int    // number of arguments
	usage    string // the arguments in words, for errors
	bind     func(c *call, f *Func) error
}

// specs are the functions by name, and aliases their other names.
var (
	specs   = map[string]*spec{}
	aliases = map[string]string{}
)

func register(names string, min, max int, usage string, bind func(c *call, f *Func) error) {
	all := strings.Fields(names)
	specs[all[0]] = &spec{min, max, usage, bind}
	for _, alias := range all[1:] {
		aliases[alias] = all[0]
	}
}

// IsAggregate reports whether name, in lower case, is an aggregate function.
func IsAggregate(name string) bool {
	return specs[name] != nil || aliases[name] != ""
}

// IsOrderedSet reports whether f(...) WITHIN GROUP (ORDER BY x) means f(x, ...), as with
// percentile_cont and mode. With other functions, such as listagg, it means f(... ORDER BY x).
func IsOrderedSet(name string) bool {
	if canonical := aliases[name]; canonical != "" {
		name = canonical
	}
	switch name {
	case "quantile_cont", "quantile_disc", "mode", "median", "approx_quantile", "approx_median":
		return true
	}
	return false
}

// Names returns the names of all aggregate functions in alphabetical order.
func Names() []string {
	var names []string
	for name := range specs {
		names = append(names, name)
	}
	for name := range aliases {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// IsApproximate reports whether the results of an aggregate may be off: approximate counts and
// quantiles.
func IsApproximate(name string) bool {
	if canonical := aliases[name]; canonical != "" {
		name = canonical
	}
	switch name {
	case "approx_count_distinct", "approx_quantile", "approx_median", "p50", "p75", "p90", "p95", "p99", "p999":
		return true
	}
	return false
}

// Bind finds the aggregate name, in lower case, for arguments of the given types. consts has the
// value of each argument that is a constant, and nil for others; it may be nil. For
// f(fraction) WITHIN GROUP (ORDER BY x), pass x as the first argument and its order alone as order;
// no key column follows then. offset is the place of the call in the statement. Errors are *Error.
func Bind(name string, args []vec.Type, consts []*vec.Vec, distinct bool, order []vec.Order, offset int) (*Func, error) {
	c := &call{name, slices.Clone(args), consts, distinct, order, offset}
	if canonical := aliases[name]; canonical != "" {
		name = canonical
	}
	s := specs[name]
	if s == nil {
		return nil, c.errorf(nearest(c.name, Names()), "there is no aggregate function %s", c.name)
	}
	if len(args) < s.min || len(args) > s.max {
		return nil, c.errorf("write "+c.name+"("+s.usage+")", "%s has %s, want %s", c.name, report.Plural(len(args), "argument"), arity(s.min, s.max))
	}
	for len(c.consts) < len(args) {
		c.consts = append(c.consts[:len(c.consts):len(c.consts)], nil)
	}
	f := &Func{Name: name, Written: c.name, Args: c.args, Distinct: distinct, offset: offset}
	if err := s.bind(c, f); err != nil {
		return nil, err
	}
	if f.Distinct && !f.once {
		makeDistinct(f)
	}
	return f, nil
}

func arity(min, max int) string {
	switch {
	case min == max:
		return fmt.Sprint(min)
	case max == min+1:
		return fmt.Sprintf("%d or %d", min, max)
	}
	return fmt.Sprintf("%d to %d", min, max)
}

// nearest returns a hint with the name that is most like name.
func nearest(name string, names []string) string {
	near := spelling.Nearest(name, names)
	if near == "" {
		return ""
	}
	return "did you mean " + near + "?"
}

// expand returns v with one value for each row. Text may still be codes.
func expand(v *vec.Vec) *vec.Vec {
	if v.Const {
		return v.Flat()
	}
	return v
}

// grow returns s with n elements; the new ones are zero.
func grow[T any](s []T, n int) []T {
	if n <= len(s) {
		return s
	}
	if n <= cap(s) {
		return s[:n]
	}
	return append(s, make([]T, max(n, 2*len(s))-len(s))...)[:n]
}
