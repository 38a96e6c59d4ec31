package sql

// Expr is an expression. Parentheses are not kept: the tree holds the order.
type Expr interface {
	Node
	expr()
}

// Number is a number without a sign; -5 is a Unary over it. Text is decimal digits, with neither
// underscores nor leading zeros: 12, 0.5, 1e10. An integer may have any size.
type Number struct {
	Pos
	Kind NumberKind
	Text string
}

// NumberKind is the form in which a number was written.
type NumberKind int8

// The forms of numbers.
const (
	Integer NumberKind = iota // 12, 0x1f
	Decimal                   // 1.50
	Float                     // 1e10, 1.5e-3
)

// String is a text: 'it”s', E'a\n', $$a$$.
type String struct {
	Pos
	Value string
}

// Bool is TRUE or FALSE.
type Bool struct {
	Pos
	Value bool
}

// Null is NULL.
type Null struct{ Pos }

// Typed is a type before a text: DATE '2024-01-31', TIMESTAMP '…', JSON '…'.
type Typed struct {
	Pos
	Type  *Type
	Value string
}

// Interval is INTERVAL '3 days' without a unit, or INTERVAL 3 DAY, INTERVAL (x) DAY with one.
type Interval struct {
	Pos
	X    Expr   // a *String when Unit is empty
	Unit string // year, quarter, month, week, day, hour, minute, second, millisecond, microsecond, or empty
}

// Array is [a, b] or ARRAY[a, b].
type Array struct {
	Pos
	Items []Expr
}

// Struct is {'a': 1, b: 2}.
type Struct struct {
	Pos
	Fields []*StructField
}

// StructField is one field of a Struct.
type StructField struct {
	Pos
	Name string
	X    Expr
}

// Row is (a, b) or ROW(a, b), with any number of items for ROW and at least two without it.
type Row struct {
	Pos
	Items []Expr
}

// Column is a name with the names before and after its dots: a, t.a, a.b.c. Which of them is a
// table, a column or a field is left to the caller.
type Column struct {
	Pos
	Parts []Ident
}

// Star is * or t.* in a SELECT list, with its changes. The star of count(*) is Call.Star.
type Star struct {
	Pos
	Table   *Ident // nil for *
	Exclude []Ident
	Replace []*Item // each with an alias: the column that it replaces
}

// Param is a parameter: $1 or ? by its position from 1, $name by its name.
type Param struct {
	Pos
	Index int    // 0 for a named one
	Name  string // without the dollar
}

// Unary is NOT x, -x, +x or ~x.
type Unary struct {
	Pos
	Op Op
	X  Expr
}

// Binary is an infix operator with two operands; AND and OR are Logical. Chains lean to the left.
type Binary struct {
	Pos
	Op   Op
	L, R Expr
}

// Logical is AND or OR over two or more operands: a chain of one operator is one node.
type Logical struct {
	Pos
	Op   Op // And or Or
	Args []Expr
}

// Op is an operator, as in canonical SQL.
type Op string

// The operators. != and == are read as <> and =, ** as ^.
const (
	Or              Op = "OR"
	And             Op = "AND"
	Not             Op = "NOT"
	Eq              Op = "="
	Ne              Op = "<>"
	Lt              Op = "<"
	Le              Op = "<="
	Gt              Op = ">"
	Ge              Op = ">="
	DistinctFrom    Op = "IS DISTINCT FROM"
	NotDistinctFrom Op = "IS NOT DISTINCT FROM"
	Match           Op = "~"   // regular expression; as Unary, bitwise not
	MatchFold       Op = "~*"  // without case
	NotMatch        Op = "!~"  //
	NotMatchFold    Op = "!~*" //
	Concat          Op = "||"
	Arrow           Op = "->"  // JSON: a value
	ArrowText       Op = "->>" // JSON: a value as text
	BitAnd          Op = "&"
	BitOr           Op = "|"
	ShiftLeft       Op = "<<"
	ShiftRight      Op = ">>"
	Add             Op = "+"
	Sub             Op = "-"
	Mul             Op = "*"
	Div             Op = "/"
	IntDiv          Op = "//"
	Mod             Op = "%"
	Pow             Op = "^"
)

// Like is x [NOT] LIKE pattern [ESCAPE c] and its kin.
type Like struct {
	Pos
	Kind       LikeKind
	Not        bool
	X, Pattern Expr
	Escape     Expr // nil for the default, a backslash
}

// LikeKind is LIKE, ILIKE or SIMILAR TO.
type LikeKind string

// The kinds of Like.
const (
	PlainLike LikeKind = "LIKE"
	FoldLike  LikeKind = "ILIKE"
	SimilarTo LikeKind = "SIMILAR TO"
)

// Between is x [NOT] BETWEEN [SYMMETRIC] low AND high.
type Between struct {
	Pos
	Not          bool
	Symmetric    bool
	X, Low, High Expr
}

// In is x [NOT] IN (list) or x [NOT] IN (query). IN () is read as FALSE, NOT IN () as TRUE.
type In struct {
	Pos
	Not   bool
	X     Expr
	List  []Expr // empty for a query
	Query *Query // nil for a list
}

// Is is x IS [NOT] NULL, TRUE, FALSE or UNKNOWN. ISNULL, NOTNULL and NOT NULL are read as such.
type Is struct {
	Pos
	Not  bool
	X    Expr
	Kind IsKind
}

// IsKind is the right side of Is.
type IsKind string

// The right sides of Is.
const (
	IsNull    IsKind = "NULL"
	IsTrue    IsKind = "TRUE"
	IsFalse   IsKind = "FALSE"
	IsUnknown IsKind = "UNKNOWN"
)

// Exists is EXISTS (query). NOT EXISTS is a Unary over it.
type Exists struct {
	Pos
	Query *Query
}

// Scalar is a query in parentheses used as a value.
type Scalar struct {
	Pos
	Query *Query
}

// Quantified is x op ANY (…) or x op ALL (…) over a query or an array. SOME is read as ANY.
type Quantified struct {
	Pos
	Op    Op
	All   bool
	X     Expr
	Query *Query // nil for an array
	Array Expr   // nil for a query
}

// Case is CASE [operand] WHEN … THEN … [ELSE …] END.
type Case struct {
	Pos
	Operand Expr // nil for CASE WHEN
	Whens   []*When
	Else    Expr // nil for none
}

// When is one branch of a Case.
type When struct {
	Pos
	Cond, Then Expr
}

// Cast is CAST(x AS type), TRY_CAST(x AS type) or x::type.
type Cast struct {
	Pos
	Try  bool
	X    Expr
	Type *Type
}

// Call is a call of a function, an aggregate or a window function. The parser turns the forms of
// the standard into calls:
//
//	extract(year FROM x)           extract('year', x)
//	substring(x FROM a FOR b)      substring(x, a, b)
//	position(a IN b)               strpos(b, a)
//	trim(BOTH a FROM x)            btrim(x, a); LEADING ltrim, TRAILING rtrim
//	overlay(x PLACING y FROM a)    overlay(x, y, a)
//	x AT TIME ZONE z               timezone(z, x)
//	CURRENT_DATE                   current_date without arguments
type Call struct {
	Pos
	Name        string // in lower case, unless it was in double quotes
	Args        []*Arg
	Star        bool // count(*)
	Distinct    bool
	OrderBy     []*OrderItem // inside the parentheses
	WithinGroup []*OrderItem
	Filter      Expr
	IgnoreNulls bool
	Over        *Window // nil for a plain function or aggregate
}

// Arg is one argument of a Call.
type Arg struct {
	Pos
	Name string // in lower case; empty for an argument by position
	X    Expr
}

// Index is x[i]: an element of a list, from 1, or a value of a map or of JSON.
type Index struct {
	Pos
	X, I Expr
}

// Slice is x[from:to], both inclusive.
type Slice struct {
	Pos
	X        Expr
	From, To Expr // nil for an open end
}

// Field is a field of an expression that is not a plain name: (f(x)).b, a[1].b.
type Field struct {
	Pos
	X    Expr
	Name Ident
}

// Type is the name of a type. Names of several words become one word: double precision is double,
// character varying is varchar, timestamp with time zone is timestamptz.
type Type struct {
	Pos
	Name   string       // in lower case; struct and map have Fields
	Args   []int        // decimal(12, 2), varchar(10)
	Fields []*TypeField // struct(a integer, b text); map(text, integer) has two without names
	Dims   int          // the pairs of brackets: 1 for integer[]
}

// TypeField is one field of a struct type, or the key or value of a map type.
type TypeField struct {
	Pos
	Name Ident
	Type *Type
}

func (*Number) expr()     {}
func (*String) expr()     {}
func (*Bool) expr()       {}
func (*Null) expr()       {}
func (*Typed) expr()      {}
func (*Interval) expr()   {}
func (*Array) expr()      {}
func (*Struct) expr()     {}
func (*Row) expr()        {}
func (*Column) expr()     {}
func (*Star) expr()       {}
func (*Param) expr()      {}
func (*Unary) expr()      {}
func (*Binary) expr()     {}
func (*Logical) expr()    {}
func (*Like) expr()       {}
func (*Between) expr()    {}
func (*In) expr()         {}
func (*Is) expr()         {}
func (*Exists) expr()     {}
func (*Scalar) expr()     {}
func (*Quantified) expr() {}
func (*Case) expr()       {}
func (*Cast) expr()       {}
func (*Call) expr()       {}
func (*Index) expr()      {}
func (*Slice) expr()      {}
func (*Field) expr()      {}
