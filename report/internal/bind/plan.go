// Package bind turns the tree of a statement into a tree of operators: it finds the tables,
// resolves names and types, separates aggregates and window functions from the expressions around
// them, turns subqueries into joins, and leaves out what no operator above needs.
//
// Binding depends on the statement, the tables and the parameters alone. Every process of a job
// binds the same statement again and gets the same tree.
package bind

import (
	"github.com/layshaft/layshaft/report/internal/aggr"
	"github.com/layshaft/layshaft/report/internal/expr"
	"github.com/layshaft/layshaft/report/internal/scan"
	"github.com/layshaft/layshaft/report/internal/vec"
)

// Column is an output column of a node.
type Column struct {
	Table string // the name or alias of its table; empty for none
	Name  string
	Type  vec.Type
	// Hidden columns are found with the name of their table only, and * leaves them out: the two
	// sides of USING.
	Hidden bool
}

// Node is an operator. Its expressions number the columns of its input, or the columns of the left
// input followed by the columns of the right one.
type Node interface {
	Columns() []Column
	Inputs() []Node
}

// Scan reads files.
type Scan struct {
	Table  *scan.Table
	Number int // the position of the table in the statement, from 0
	Cols   []Column
	// Bounds are conditions of a later Filter, for leaving out row groups and files.
	Bounds []scan.Bound
	// Extremes reports that the query needs only the least and the greatest value of each column.
	Extremes bool
}

// Values is a list of rows.
type Values struct {
	Rows [][]*expr.Expr
	Cols []Column
}

// Filter keeps the rows for which Cond is true.
type Filter struct {
	In   Node
	Cond *expr.Expr
}

// Project computes columns.
type Project struct {
	In    Node
	Exprs []*expr.Expr
	Cols  []Column
}

// Aggregate groups rows. Its columns are the keys, then the aggregates. With Sets there is one more
// column before them: the number of the grouping set.
type Aggregate struct {
	In   Node
	Keys []*expr.Expr
	// Sets are the grouping sets: the keys that each one has. Nil means one set with all keys.
	Sets [][]bool
	Aggs []*Agg
	Cols []Column
}

// Agg is a call of an aggregate function. Args are the arguments, then the sort keys inside the
// call.
type Agg struct {
	Func   *aggr.Func
	Args   []*expr.Expr
	Filter *expr.Expr // nil for none
}

// SortKey is one column of an order.
type SortKey struct {
	X     *expr.Expr
	Order vec.Order
}

// Sort orders rows. Equal rows keep their order.
type Sort struct {
	In   Node
	Keys []SortKey
	// Limit is the number of rows that are needed; negative means all.
	Limit int64
}

// Limit skips some rows and keeps the next ones.
type Limit struct {
	In   Node
	Skip int64
	N    int64 // negative means all
}

// Distinct keeps the first row of each set of rows with equal keys. Keys are the columns by number.
type Distinct struct {
	In   Node
	Keys []int
}

// Join joins two inputs.
type Join struct {
	Kind        JoinKind
	Left, Right Node
	// LeftKeys and RightKeys are compared for equality, pair by pair.
	LeftKeys, RightKeys []*expr.Expr
	// Cond is the rest of the condition, over the columns of both inputs; nil for none.
	Cond *expr.Expr
	Cols []Column
}

// JoinKind is the kind of a Join.
type JoinKind string

// The kinds of joins. Mark and Scalar come from subqueries.
const (
	Inner JoinKind = "inner"
	Left  JoinKind = "left"
	Full  JoinKind = "full"
	Semi  JoinKind = "semi" // left rows with a match; only their columns
	Anti  JoinKind = "anti" // left rows without a match; only their columns
	// Mark adds a Bool to the left columns: whether the keys have a match, as IN does. It is NULL
	// without a match if a key, or any right key, is NULL.
	Mark JoinKind = "mark"
	// Scalar adds the columns of the right input, which must have at most one row; without one they
	// are NULL.
	Scalar JoinKind = "scalar"
)

// Window adds window functions to the columns of its input.
type Window struct {
	In        Node
	Partition []*expr.Expr
	Order     []SortKey
	Calls     []*WindowCall
	Cols      []Column
}

// WindowCall is a call of a window function.
type WindowCall struct {
	Func *aggr.WinFunc
	Args []*expr.Expr
	// Filter is the condition of FILTER; nil for none.
	Filter *expr.Expr
}

// Union is the rows of all inputs, one after the other. All have the same types.
type Union struct {
	Ins  []Node
	Cols []Column
}

// SetOp is INTERSECT or EXCEPT of two inputs with the same types.
type SetOp struct {
	Except      bool
	All         bool
	Left, Right Node
}

// Unnest makes one row for each element of a list. The column of the element comes after the
// columns of the input, and with Ordinality its number from 1. With Outer, a row whose list is NULL
// or empty stays, and both are NULL.
type Unnest struct {
	In         Node
	X          *expr.Expr
	Ordinality bool
	Outer      bool
	Cols       []Column
}

// Columns returns the output columns.
func (n *Scan) Columns() []Column { return n.Cols }

// Columns returns the output columns.
func (n *Values) Columns() []Column { return n.Cols }

// Columns returns the output columns.
func (n *Filter) Columns() []Column { return n.In.Columns() }

// Columns returns the output columns.
func (n *Project) Columns() []Column { return n.Cols }

// Columns returns the output columns.
func (n *Aggregate) Columns() []Column { return n.Cols }

// Columns returns the output columns.
func (n *Sort) Columns() []Column { return n.In.Columns() }

// Columns returns the output columns.
func (n *Limit) Columns() []Column { return n.In.Columns() }

// Columns returns the output columns.
func (n *Distinct) Columns() []Column { return n.In.Columns() }

// Columns returns the output columns.
func (n *Join) Columns() []Column { return n.Cols }

// Columns returns the output columns.
func (n *Window) Columns() []Column { return n.Cols }

// Columns returns the output columns.
func (n *Union) Columns() []Column { return n.Cols }

// Columns returns the output columns.
func (n *SetOp) Columns() []Column { return n.Left.Columns() }

// Columns returns the output columns.
func (n *Unnest) Columns() []Column { return n.Cols }

// Inputs returns the operators that it reads.
func (n *Scan) Inputs() []Node { return nil }

// Inputs returns the operators that it reads.
func (n *Values) Inputs() []Node { return nil }

// Inputs returns the operators that it reads.
func (n *Filter) Inputs() []Node { return []Node{n.In} }

// Inputs returns the operators that it reads.
func (n *Project) Inputs() []Node { return []Node{n.In} }

// Inputs returns the operators that it reads.
func (n *Aggregate) Inputs() []Node { return []Node{n.In} }

// Inputs returns the operators that it reads.
func (n *Sort) Inputs() []Node { return []Node{n.In} }

// Inputs returns the operators that it reads.
func (n *Limit) Inputs() []Node { return []Node{n.In} }

// Inputs returns the operators that it reads.
func (n *Distinct) Inputs() []Node { return []Node{n.In} }

// Inputs returns the operators that it reads.
func (n *Join) Inputs() []Node { return []Node{n.Left, n.Right} }

// Inputs returns the operators that it reads.
func (n *Window) Inputs() []Node { return []Node{n.In} }

// Inputs returns the operators that it reads.
func (n *Union) Inputs() []Node { return n.Ins }

// Inputs returns the operators that it reads.
func (n *SetOp) Inputs() []Node { return []Node{n.Left, n.Right} }

// Inputs returns the operators that it reads.
func (n *Unnest) Inputs() []Node { return []Node{n.In} }
