package expr

import (
	"fmt"
	"slices"
	"strings"

	"github.com/layshaft/layshaft/internal/spelling"
	"github.com/layshaft/layshaft/report/internal/vec"
)

// typeNames are the names of types, without the parameters of decimals.
var typeNames = map[string]vec.Kind{
	"boolean": vec.Bool, "bool": vec.Bool, "logical": vec.Bool,
	"bigint": vec.Int, "int": vec.Int, "integer": vec.Int, "smallint": vec.Int, "tinyint": vec.Int, "int1": vec.Int,
	"int2": vec.Int, "int4": vec.Int, "int8": vec.Int, "int16": vec.Int, "int32": vec.Int, "int64": vec.Int,
	"long": vec.Int, "short": vec.Int, "signed": vec.Int,
	"uinteger": vec.Int, "usmallint": vec.Int, "utinyint": vec.Int,
	"decimal": vec.Decimal, "numeric": vec.Decimal, "dec": vec.Decimal, "hugeint": vec.Decimal, "ubigint": vec.Decimal,
	"double": vec.Float, "double precision": vec.Float, "real": vec.Float, "float": vec.Float, "float4": vec.Float,
	"float8": vec.Float,
	"text":   vec.Text, "varchar": vec.Text, "string": vec.Text, "char": vec.Text, "character": vec.Text, "bpchar": vec.Text,
	"character varying": vec.Text, "nvarchar": vec.Text,
	"blob": vec.Blob, "bytea": vec.Blob, "binary": vec.Blob, "varbinary": vec.Blob,
	"json": vec.JSON, "jsonb": vec.JSON,
	"date": vec.Date, "time": vec.Time, "interval": vec.Interval,
	"timestamp": vec.Timestamp, "datetime": vec.Timestamp, "timestamp without time zone": vec.Timestamp,
	"timestamptz": vec.TimestampTZ, "timestamp with time zone": vec.TimestampTZ, "time without time zone": vec.Time,
}

// TypeByName returns the type with an SQL name in lower case and parameters, such as decimal and
// 12, 2. All integer types have 64 bits, and real has 64 as double has; the length of varchar(10)
// is not enforced.
func TypeByName(name string, params []int) (vec.Type, error) {
	k, ok := typeNames[strings.ToLower(name)]
	if !ok {
		names := make([]string, 0, len(typeNames))
		for n := range typeNames {
			names = append(names, n)
		}
		if near := spelling.Nearest(name, names); near != "" {
			return vec.Type{}, errorAt(noOffset, "no type is named %q; did you mean %s?", name, near)
		}
		return vec.Type{}, errorAt(noOffset, "no type is named %q; types are bigint, decimal(12,2), double, text, boolean, date, time, "+
			"timestamp, timestamptz, interval, json and blob", name)
	}
	if name == "hugeint" || name == "ubigint" {
		return vec.HugeInt, nil
	}
	if k != vec.Decimal {
		sized := k == vec.Text || k == vec.Blob || k == vec.Time || k == vec.Timestamp || k == vec.TimestampTZ || k == vec.Interval ||
			name == "float"
		if len(params) > 0 && !sized {
			return vec.Type{}, errorAt(noOffset, "type %s has no parameters", name)
		}
		return vec.Of(k), nil
	}
	precision, scale := 18, 3
	switch len(params) {
	case 0:
	case 1:
		precision, scale = params[0], 0
	case 2:
		precision, scale = params[0], params[1]
	default:
		return vec.Type{}, errorAt(noOffset, "%s has two parameters, its digits and its digits after the point: %s(12,2)", name, name)
	}
	if precision < 1 || precision > vec.MaxPrecision {
		return vec.Type{}, errorAt(noOffset, "%s(%d,%d): the number of digits must be from 1 to %d", name, precision, scale, vec.MaxPrecision)
	}
	if scale < 0 || scale > precision {
		return vec.Type{}, errorAt(noOffset, "%s(%d,%d): the digits after the point must be from 0 to %d", name, precision, scale, precision)
	}
	return vec.DecimalOf(precision, scale), nil
}

// intDigits is the precision of an integer seen as a decimal.
const intDigits = 19

// asDecimal returns the decimal type for values of an Int or a Decimal.
func asDecimal(t vec.Type) vec.Type {
	if t.Kind == vec.Int {
		return vec.DecimalOf(intDigits, 0)
	}
	return t
}

// Common returns the type to which values of both types are cast for UNION, CASE and VALUES; ok is
// false if there is none.
func Common(a, b vec.Type) (t vec.Type, ok bool) {
	switch {
	case a.Kind == vec.Null:
		return b, true
	case b.Kind == vec.Null || a.Equal(b):
		return a, true
	case a.IsNumber() && b.IsNumber():
		if a.Kind == vec.Float || b.Kind == vec.Float {
			return vec.Of(vec.Float), true
		}
		x, y := asDecimal(a), asDecimal(b)
		scale := max(x.Scale, y.Scale)
		return vec.DecimalOf(min(vec.MaxPrecision, max(x.Precision-x.Scale, y.Precision-y.Scale)+scale), scale), true
	case a.Kind > b.Kind:
		return Common(b, a)
	case a.Kind == vec.Text && b.Kind == vec.JSON:
		return a, true
	case (a.Kind == vec.Date || a.Kind == vec.Timestamp) && (b.Kind == vec.Timestamp || b.Kind == vec.TimestampTZ):
		return b, true
	case a.Kind != b.Kind:
		return t, false
	case a.Kind == vec.List:
		elem, ok := Common(*a.Elem, *b.Elem)
		return vec.ListOf(elem), ok
	case a.Kind == vec.Map:
		x, y := a.Elem.Fields, b.Elem.Fields
		key, ok1 := Common(x[0].Type, y[0].Type)
		val, ok2 := Common(x[1].Type, y[1].Type)
		return vec.MapOf(key, val), ok1 && ok2
	case a.Kind == vec.Struct && len(a.Fields) == len(b.Fields):
		t := vec.Type{Kind: vec.Struct, Fields: make([]vec.Field, len(a.Fields))}
		for i, f := range a.Fields {
			typ, ok := Common(f.Type, b.Fields[i].Type)
			if !ok || f.Name != b.Fields[i].Name {
				return t, false
			}
			t.Fields[i] = vec.Field{Name: f.Name, Type: typ}
		}
		return t, true
	}
	return t, false
}

// Unify casts expressions to their common type. Texts in quotes take the type of the others.
func Unify(args []*Expr, what string) ([]*Expr, error) {
	var t vec.Type
	first := -1
	decimals := slices.ContainsFunc(args, func(a *Expr) bool { return a.Type.Kind == vec.Decimal })
	for i, a := range args {
		if a.untyped || a.isNull() && a.Type.Kind == vec.Null {
			continue
		}
		at := a.Type
		if decimals && at.IsNumber() {
			at = decimalType(a)
		}
		if first < 0 {
			first, t = i, at
			continue
		}
		u, ok := Common(t, at)
		if !ok {
			return nil, errorAt(a.Offset, "%s has values of types %s and %s; cast one of them", what, t, a.Type)
		}
		t = u
	}
	if first < 0 {
		for _, a := range args {
			if a.untyped {
				t = a.Type
			}
		}
	}
	out := make([]*Expr, len(args))
	for i, a := range args {
		var err error
		if out[i], err = Coerce(a, t); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// Coerce casts e to a type where the statement has no cast. A text in quotes is read as a value of
// the type.
func Coerce(e *Expr, to vec.Type) (*Expr, error) {
	switch {
	case e.untyped && to.Kind == vec.Text:
		w := *e
		w.untyped = false
		return &w, nil
	case e.Type.Equal(to):
		return e, nil
	case e.Op == OpConst && e.isNull():
		return Const(vec.NullOf(to, 1), e.Offset), nil
	}
	return Cast(e, to, false, e.Offset)
}

// implicit returns the cost of an implicit cast to a kind, or -1 if there is none.
func implicit(e *Expr, to vec.Kind) int {
	from := e.Type.Kind
	switch {
	case from == to && !e.untyped:
		return 0
	case from == vec.Null:
		return 1
	case e.untyped:
		if to == vec.Text {
			return 0
		}
		return 2
	}
	switch from {
	case vec.Int:
		switch to {
		case vec.Decimal:
			return 1
		case vec.Float:
			return 2
		}
	case vec.Decimal:
		if to == vec.Float {
			return 1
		}
	case vec.Date:
		switch to {
		case vec.Timestamp:
			return 1
		case vec.TimestampTZ:
			return 2
		}
	case vec.Timestamp:
		if to == vec.TimestampTZ {
			return 1
		}
	case vec.JSON:
		if to == vec.Text {
			return 3
		}
	}
	return -1
}

// quote returns a text in single quotes for a message, cut if it is long.
func quote(s string) string {
	if len(s) > 60 {
		s = strings.ToValidUTF8(s[:60], "") + "…"
	}
	return "'" + s + "'"
}

// typesOf lists the types of arguments for a message.
func typesOf(args []*Expr) string {
	names := make([]string, len(args))
	for i, a := range args {
		names[i] = a.Type.String()
	}
	return fmt.Sprintf("(%s)", strings.Join(names, ", "))
}
