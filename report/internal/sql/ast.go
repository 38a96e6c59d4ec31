package sql

// Pos is the place of a node in the text of its statement. All nodes embed it.
type Pos struct {
	Offset int // in bytes, from 0: the first byte of the node, or its operator for an infix operator
}

// At returns the offset of the node in bytes.
func (p Pos) At() int { return p.Offset }

func (Pos) node() {}

// Node is a statement or a part of one. Every node is a pointer to a struct of this package.
type Node interface {
	At() int
	node()
}

// Statement is *Query, *Copy, *Explain, *Describe or *Summarize.
type Statement interface {
	Node
	statement()
}

// Query is a SELECT with its WITH list, order and limits.
type Query struct {
	Pos
	With    []*CTE
	Body    Body
	OrderBy []*OrderItem
	Limit   Expr // nil for none, and for LIMIT ALL
	Skip    Expr // the rows to skip, of OFFSET; nil for none
}

// Copy is COPY (query) TO 'path' (options).
type Copy struct {
	Pos
	Query   *Query
	Path    string
	Options []*Option
}

// Option is an option of COPY. FORMAT parquet has one value, HEADER has none, and
// PARTITION_BY (a, b) has a list. Words, texts, numbers and booleans are all kept as text.
type Option struct {
	Pos
	Name   string // in lower case
	Values []string
	List   bool // written in parentheses
}

// Explain is EXPLAIN [ANALYZE] query.
type Explain struct {
	Pos
	Analyze bool
	Query   *Query
}

// Describe is DESCRIBE query. DESCRIBE source is kept as DESCRIBE SELECT * FROM source.
type Describe struct {
	Pos
	Query *Query
}

// Summarize is SUMMARIZE query. SUMMARIZE source is kept as SUMMARIZE SELECT * FROM source.
type Summarize struct {
	Pos
	Query *Query
}

func (*Query) statement()     {}
func (*Copy) statement()      {}
func (*Explain) statement()   {}
func (*Describe) statement()  {}
func (*Summarize) statement() {}

// Body is *Select, *SetOp, *Values, or *Query for a query in parentheses with a WITH list, an
// order or a limit of its own.
type Body interface {
	Node
	body()
}

// Select is one SELECT. The form `FROM x` has one item, a Star.
type Select struct {
	Pos
	Distinct *Distinct // nil without DISTINCT
	Items    []*Item
	From     []Table // elements of a comma join; empty without FROM
	Where    Expr
	GroupBy  *GroupBy // nil without GROUP BY
	Having   Expr
	Qualify  Expr
	Windows  []*WindowDef
}

// SetOp is UNION, INTERSECT or EXCEPT. Chains lean to the left. ByName is UNION BY NAME.
type SetOp struct {
	Pos
	Op          SetKind
	All         bool
	ByName      bool
	Left, Right Body
}

// SetKind is the operation of a SetOp.
type SetKind string

// The set operations.
const (
	Union     SetKind = "UNION"
	Intersect SetKind = "INTERSECT"
	Except    SetKind = "EXCEPT"
)

// Values is VALUES (1, 2), (3, 4). All rows have the same number of expressions.
type Values struct {
	Pos
	Rows [][]Expr
}

func (*Select) body() {}
func (*SetOp) body()  {}
func (*Values) body() {}
func (*Query) body()  {}

// Ident is a name as it was written. Matching, with or without case, is left to the caller.
type Ident struct {
	Pos
	Name   string
	Quoted bool // in double quotes
}

// CTE is one name of a WITH list.
type CTE struct {
	Pos
	Name    Ident
	Columns []Ident
	Query   *Query
}

// Distinct is DISTINCT, or DISTINCT ON (...) when On is not empty.
type Distinct struct {
	Pos
	On []Expr
}

// Item is one item of a SELECT list. X is a *Star for * and t.*.
type Item struct {
	Pos
	X     Expr
	Alias *Ident // nil without an alias
}

// OrderItem is one item of an ORDER BY.
type OrderItem struct {
	Pos
	X     Expr // nil for ORDER BY ALL
	Desc  bool
	Nulls NullsOrder
}

// NullsOrder is where NULL sorts.
type NullsOrder int8

// The orders of NULL.
const (
	NullsDefault NullsOrder = iota
	NullsFirst
	NullsLast
)

// GroupBy is GROUP BY ALL or a list of items.
type GroupBy struct {
	Pos
	All   bool
	Items []*GroupItem
}

// GroupItem is one item of a GROUP BY or of a grouping set.
type GroupItem struct {
	Pos
	Kind  GroupKind
	X     Expr         // of GroupExpr: a column, an expression, or a number for a position
	Items []*GroupItem // of the other kinds
}

// GroupKind is the kind of a GroupItem.
type GroupKind int8

// The kinds of group items.
const (
	GroupExpr   GroupKind = iota
	GroupList             // (a, b) inside ROLLUP, CUBE or GROUPING SETS; () is the grand total
	GroupRollup           // ROLLUP (…)
	GroupCube             // CUBE (…)
	GroupSets             // GROUPING SETS (…)
)

// WindowDef is one definition of a WINDOW clause.
type WindowDef struct {
	Pos
	Name   Ident
	Window *Window
}

// Window is a name after OVER, or a definition in parentheses, which may extend a named one.
type Window struct {
	Pos
	Ref         *Ident // OVER w; the other fields are then empty
	Base        *Ident // OVER (w ORDER BY x)
	PartitionBy []Expr
	OrderBy     []*OrderItem
	Frame       *Frame // nil for the default frame
}

// Frame is the frame of a window. Without BETWEEN, the end is CURRENT ROW.
type Frame struct {
	Pos
	Unit       FrameUnit
	Start, End Bound
	Exclude    FrameExclude
}

// FrameUnit is ROWS, RANGE or GROUPS.
type FrameUnit string

// The units of frames.
const (
	Rows   FrameUnit = "ROWS"
	Range  FrameUnit = "RANGE"
	Groups FrameUnit = "GROUPS"
)

// FrameExclude is what a frame leaves out. Empty stands for nothing, as NO OTHERS does.
type FrameExclude string

// The exclusions of frames.
const (
	ExcludeNothing FrameExclude = ""
	ExcludeCurrent FrameExclude = "CURRENT ROW"
	ExcludeGroup   FrameExclude = "GROUP"
	ExcludeTies    FrameExclude = "TIES"
)

// Bound is one end of a frame.
type Bound struct {
	Pos
	Kind BoundKind
	X    Expr // of Preceding and Following
}

// BoundKind is the kind of a Bound.
type BoundKind int8

// The kinds of bounds, in their order along a partition.
const (
	UnboundedPreceding BoundKind = iota
	Preceding
	CurrentRow
	Following
	UnboundedFollowing
)
