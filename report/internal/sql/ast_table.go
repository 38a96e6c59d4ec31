package sql

// Table is an element of FROM: *TableName, *File, *TableFunc, *Subquery or *Join.
type Table interface {
	Node
	table()
}

// Alias is the name that a query gives to an element of FROM.
type Alias struct {
	Pos
	Name    Ident
	Columns []Ident // names of the first columns; empty for the names that the table has
}

// TableName is a name in FROM, bare or in double quotes: a CTE, and if there is none, a file.
type TableName struct {
	Pos
	Name  Ident
	Alias *Alias
}

// File is one or several paths, globs or addresses in FROM. They are written 'in quotes', as a
// list ['a', 'b'], or bare when they hold a slash, a dot or a star. Path "-" is standard input.
type File struct {
	Pos
	Paths []string
	Alias *Alias
}

// TableFunc is a function in FROM: read_csv('…', header => true), unnest(x).
// Its call has neither DISTINCT, ORDER BY, FILTER nor OVER.
type TableFunc struct {
	Pos
	Call       *Call
	Ordinality bool // WITH ORDINALITY
	Alias      *Alias
}

// Subquery is a query in FROM. VALUES (…), (…) in FROM is one too.
type Subquery struct {
	Pos
	Query *Query
	Alias *Alias
}

// Join is two tables with their condition. Chains lean to the left.
type Join struct {
	Pos
	Kind        JoinKind
	Natural     bool
	Left, Right Table
	On          Expr    // nil without ON
	Using       []Ident // empty without USING
}

// JoinKind is the kind of a Join.
type JoinKind string

// The kinds of joins. All but CrossJoin have ON, USING or NATURAL.
const (
	InnerJoin JoinKind = "INNER"
	LeftJoin  JoinKind = "LEFT"
	RightJoin JoinKind = "RIGHT"
	FullJoin  JoinKind = "FULL"
	CrossJoin JoinKind = "CROSS"
	SemiJoin  JoinKind = "SEMI"
	AntiJoin  JoinKind = "ANTI"
)

func (*TableName) table() {}
func (*File) table()      {}
func (*TableFunc) table() {}
func (*Subquery) table()  {}
func (*Join) table()      {}
