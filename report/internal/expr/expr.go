// Package expr holds bound expressions: their types are resolved, and they compute a column of
// values from a batch of rows.
//
// An expression is built from its leaves by [Column], [Const], [Call], [Cast] and their kin, which
// choose the function for the types of the arguments, insert implicit casts, and compute constant
// parts at once. It cannot be changed afterwards, and many goroutines may evaluate it.
//
// Semantics are PostgreSQL's. The registry of functions lists the differences to DuckDB.
package expr

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/layshaft/layshaft/report/internal/vec"
)

// Op is the kind of an expression.
type Op uint8

// The kinds of expressions.
const (
	OpColumn Op = iota // a column of the batch
	OpConst            // one value
	OpCall             // a function or an operator
	OpCast             // a cast of Args[0] to Type
	OpCase             // pairs of condition and value in Args, then the value of ELSE
	OpIn               // Args[0] in the list of the other Args
)

// Expr is a bound, immutable expression.
type Expr struct {
	// Type is the type of the value.
	Type vec.Type
	// Op is the kind of the expression.
	Op Op
	// Col is the number of a column in the batch.
	Col int
	// Name is the name of a column, a function or an operator.
	Name string
	// Value is the value of a constant: one row, which may be NULL.
	Value *vec.Vec
	// Args are the arguments.
	Args []*Expr
	// Offset is the position in the statement, in bytes.
	Offset int
	// Negated reports that an OpIn is NOT IN, and Try that an OpCast is TRY_CAST.
	Negated, Try bool

	varies  bool      // some part is a column
	untyped bool      // a text in quotes, which takes the type that its place expects
	kernel  kernel    // of OpCall, OpCast and OpIn
	calls   callNulls // how a call treats NULL
	cost    int       // roughly the nanoseconds for a row
	dicts   *dictCache
	// rebind makes the same expression with other arguments
	rebind func(args []*Expr) (*Expr, error)
}

// callNulls is how a call treats NULL.
type callNulls uint8

const (
	strict   callNulls = iota // NULL if any argument is; the kernel never gets a constant NULL
	nullable                  // the kernel handles NULL
	lazy                      // the arguments are evaluated as needed: AND, OR, coalesce
)

// kernel computes n rows. Arguments may be Const and Text may be Codes. Errors are of type *Error
// and have the number of the row.
type kernel func(args []*vec.Vec, n int) (*vec.Vec, error)

// Error is an error of a statement or of a value.
type Error struct {
	// Offset is the position in the statement, in bytes.
	Offset int
	// Message is what is wrong and the way out.
	Message string
	// Row is the row of the batch, -1 for an error of the statement.
	Row int
}

func (e *Error) Error() string { return e.Message }

// errorAt returns an error of the statement.
func errorAt(offset int, format string, args ...any) error {
	return &Error{Offset: offset, Message: fmt.Sprintf(format, args...), Row: -1}
}

// noOffset marks an error whose position is filled in by Eval.
const noOffset = -1

// rowError returns an error of a row of a kernel.
func rowError(row int, format string, args ...any) error {
	return &Error{Offset: noOffset, Message: fmt.Sprintf(format, args...), Row: row}
}

// Column returns a column of the batch.
func Column(i int, t vec.Type, name string, offset int) *Expr {
	return &Expr{Type: t, Op: OpColumn, Col: i, Name: name, Offset: offset}
}

// Const returns a constant. v has at least one row.
func Const(v *vec.Vec, offset int) *Expr {
	return &Expr{Type: v.Type, Op: OpConst, Value: constant(v), Offset: offset}
}

// constant returns row 0 of v as a Const vector without Codes.
func constant(v *vec.Vec) *vec.Vec {
	w := *v
	if !v.Const || v.Codes != nil {
		w = *v.Gather([]int32{0}).Flat()
	}
	w.Const, w.Len = true, 1
	if w.Nulls != nil && !w.Nulls[0] {
		w.Nulls = nil
	}
	return &w
}

// Int returns an integer constant.
func Int(x int64, offset int) *Expr {
	return Const(&vec.Vec{Type: vec.Of(vec.Int), Len: 1, Const: true, Ints: []int64{x}}, offset)
}

// Float returns a floating point constant.
func Float(x float64, offset int) *Expr {
	return Const(&vec.Vec{Type: vec.Of(vec.Float), Len: 1, Const: true, Floats: []float64{x}}, offset)
}

// Bool returns a constant that is true or false.
func Bool(x bool, offset int) *Expr {
	return Const(&vec.Vec{Type: vec.Of(vec.Bool), Len: 1, Const: true, Bools: []bool{x}}, offset)
}

// Text returns a text in quotes. It takes the type that its place expects: a date where it is
// compared with a date.
func Text(x string, offset int) *Expr {
	e := Const(textVec(x), offset)
	e.untyped = true
	return e
}

func textVec(x string) *vec.Vec {
	return &vec.Vec{Type: vec.Of(vec.Text), Len: 1, Const: true, Strings: []string{x}}
}

// Null returns NULL, which takes the type that its place expects.
func Null(offset int) *Expr { return Const(vec.NullOf(vec.Of(vec.Null), 1), offset) }

// ParseNumber returns the constant for digits without a sign: an integer, an exact decimal if it
// has a point or needs more than 64 bits, or a float if it has an exponent.
func ParseNumber(text string, offset int) (*Expr, error) {
	if x, err := strconv.ParseInt(text, 10, 64); err == nil {
		return Int(x, offset), nil
	}
	whole, fraction, _ := strings.Cut(text, ".")
	scale := len(fraction)
	if strings.ContainsAny(text, "eE") {
		scale = vec.MaxPrecision + 1
	}
	if scale <= vec.MaxPrecision {
		digits := max(len(strings.TrimLeft(whole, "0"))+scale, scale, 1)
		if digits <= vec.MaxPrecision {
			if x, exact, ok := vec.ParseDecimal(text, digits, scale); ok && exact {
				return Const(decimalVec(x, digits, scale), offset), nil
			}
		}
	}
	x, err := strconv.ParseFloat(text, 64)
	if err != nil {
		return nil, errorAt(offset, "%q is no number, or too large for a 64-bit float", text)
	}
	return Float(x, offset), nil
}

// decimalVec returns a constant decimal.
func decimalVec(x vec.Int128, precision, scale int) *vec.Vec {
	v := &vec.Vec{Type: vec.DecimalOf(precision, scale), Len: 1, Const: true}
	if n, ok := x.Int64(); ok {
		v.Ints = []int64{n}
	} else {
		v.Wide = []vec.Int128{x}
	}
	return v
}

// IsConst reports whether the value is the same for all rows.
func (e *Expr) IsConst() bool {
	return e.Op != OpColumn && !e.varies
}

// derive sets the fields that depend on which arguments vary.
func (e *Expr) derive() {
	varying, texts := 0, 0
	for _, a := range e.Args {
		if !a.IsConst() {
			varying++
			texts += b2i(a.Type.Kind == vec.Text)
		}
	}
	e.varies = varying > 0
	e.dicts = nil
	if varying == 1 && texts == 1 {
		e.dicts = &dictCache{}
	}
}

// isNull reports whether e is the constant NULL.
func (e *Expr) isNull() bool { return e.Op == OpConst && e.Value.Null(0) }

// Fold returns e with its constant parts computed. It fails if all of e is constant and has no
// value, such as 1/0. Parts that fail, but may not be needed, stay.
func Fold(e *Expr) (*Expr, error) {
	if e.Op == OpConst || e.Op == OpColumn {
		return e, nil
	}
	if e.IsConst() {
		v, err := e.Eval(&vec.Batch{N: 1})
		if err != nil {
			return nil, err
		}
		return Const(v, e.Offset), nil
	}
	return e.Rewrite(func(x *Expr) *Expr { return x.folded() }), nil
}

// folded returns e as a constant if it is one and has a value, and e otherwise.
func (e *Expr) folded() *Expr {
	if e.Op == OpConst || !e.IsConst() {
		return e
	}
	v, err := e.Eval(&vec.Batch{N: 1})
	if err != nil {
		return e
	}
	c := Const(v, e.Offset)
	c.Type = e.Type
	return c
}

// Walk calls f for e and, where f returns true, for its arguments.
func (e *Expr) Walk(f func(*Expr) bool) {
	if !f(e) {
		return
	}
	for _, a := range e.Args {
		a.Walk(f)
	}
}

// Rewrite returns e with every part replaced by the result of f, from the leaves up. The results
// must have the types of the parts. It serves to renumber columns.
func (e *Expr) Rewrite(f func(*Expr) *Expr) *Expr {
	return f(e.withArgs(func(a *Expr) *Expr { return a.Rewrite(f) }))
}

// Key returns a canonical text. Expressions with equal keys are equal.
func (e *Expr) Key() string { return string(e.appendKey(nil)) }

func (e *Expr) appendKey(dst []byte) []byte {
	switch e.Op {
	case OpColumn:
		return strconv.AppendInt(append(dst, '#'), int64(e.Col), 10)
	case OpConst:
		dst = append(append(dst, e.Type.String()...), ' ')
		if e.isNull() {
			return append(dst, "null"...)
		}
		return strconv.AppendQuote(dst, string(e.Value.AppendKey(nil, 0, vec.Order{})))
	case OpCast:
		if e.Try {
			dst = append(dst, "try_"...)
		}
		dst = append(append(dst, "cast "...), e.Type.String()...)
	case OpCase:
		dst = append(dst, "case"...)
	case OpIn:
		if e.Negated {
			dst = append(dst, "not "...)
		}
		dst = append(dst, "in"...)
	default:
		dst = strconv.AppendQuote(dst, e.Name)
	}
	dst = append(dst, '(')
	for i, a := range e.Args {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = a.appendKey(dst)
	}
	return append(dst, ')')
}
