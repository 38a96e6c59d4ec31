// Package vec holds columns of values: their types, vectors of them, batches of vectors, their
// order, and their encoding.
//
// All operators of a report work on a [Batch] of at most [Size] rows. The cost of a call is shared
// by all rows of a batch, so values need no interfaces and no calls of their own. The package knows
// nothing of SQL, files or jobs.
package vec

import (
	"fmt"
	"strings"
)

// Size is the most rows of a batch. 1,024 rows of a few columns stay in the first-level cache.
const Size = 1024

// Kind is the family of a type.
type Kind uint8

// The kinds of types, and where a Vec stores their values.
const (
	Null        Kind = iota // only NULL; no storage
	Bool                    // Bools
	Int                     // Ints: 64-bit integers
	Decimal                 // Ints, or Wide where a value needs more than 64 bits: unscaled integers
	Float                   // Floats: 64-bit floating point
	Text                    // Strings, or Codes and Dict
	Blob                    // Strings: bytes
	JSON                    // Strings: JSON text
	Date                    // Ints: days since 1970-01-01
	Time                    // Ints: microseconds since midnight
	Timestamp               // Ints: microseconds since 1970-01-01 00:00, without a time zone
	TimestampTZ             // Ints: microseconds since 1970-01-01 00:00 UTC
	Interval                // Spans
	List                    // Offsets and Elem
	Struct                  // Fields
	Map                     // Offsets and Elem; Elem is a Struct with the fields key and value
)

// MaxPrecision is the most digits of a decimal.
const MaxPrecision = 38

// Type is the type of a column.
type Type struct {
	Kind Kind `json:"kind"`
	// Precision is the number of digits of a Decimal, from 1 to 38; Scale is how many of them
	// follow the point.
	Precision int `json:"precision,omitempty"`
	Scale     int `json:"scale,omitempty"`
	// Elem is the type of the elements of a List, or of the entries of a Map.
	Elem *Type `json:"elem,omitempty"`
	// Fields are the fields of a Struct.
	Fields []Field `json:"fields,omitempty"`
}

// Field is a named column, or a field of a struct.
type Field struct {
	Name string `json:"name"`
	Type Type   `json:"type"`
}

// Of returns the type of a kind without parameters.
func Of(k Kind) Type { return Type{Kind: k} }

// DecimalOf returns the type decimal(precision, scale).
func DecimalOf(precision, scale int) Type {
	return Type{Kind: Decimal, Precision: precision, Scale: scale}
}

// HugeInt is the type of 128-bit integers: sums of integers.
var HugeInt = DecimalOf(MaxPrecision, 0)

// ListOf returns the type of lists of elem.
func ListOf(elem Type) Type { return Type{Kind: List, Elem: &elem} }

// MapOf returns the type of maps from key to value.
func MapOf(key, value Type) Type {
	entry := Type{Kind: Struct, Fields: []Field{{"key", key}, {"value", value}}}
	return Type{Kind: Map, Elem: &entry}
}

// kindNames are the SQL names of kinds.
var kindNames = [...]string{
	Null: "null", Bool: "boolean", Int: "bigint", Decimal: "decimal", Float: "double", Text: "text", Blob: "blob",
	JSON: "json", Date: "date", Time: "time", Timestamp: "timestamp", TimestampTZ: "timestamptz", Interval: "interval",
	List: "list", Struct: "struct", Map: "map",
}

func (k Kind) String() string {
	if int(k) < len(kindNames) {
		return kindNames[k]
	}
	return fmt.Sprintf("kind %d", uint8(k))
}

// String returns the type as SQL writes it, such as decimal(12,2) or text[].
func (t Type) String() string {
	switch t.Kind {
	case Decimal:
		return fmt.Sprintf("decimal(%d,%d)", t.Precision, t.Scale)
	case List:
		return t.Elem.String() + "[]"
	case Map:
		return fmt.Sprintf("map(%s, %s)", t.Elem.Fields[0].Type, t.Elem.Fields[1].Type)
	case Struct:
		var b strings.Builder
		b.WriteString("struct(")
		for i, f := range t.Fields {
			if i > 0 {
				b.WriteString(", ")
			}
			fmt.Fprintf(&b, "%s %s", f.Name, f.Type)
		}
		b.WriteString(")")
		return b.String()
	}
	return t.Kind.String()
}

// Equal reports whether two types are the same.
func (t Type) Equal(u Type) bool {
	if t.Kind != u.Kind || t.Precision != u.Precision || t.Scale != u.Scale || (t.Elem == nil) != (u.Elem == nil) || len(t.Fields) != len(u.Fields) {
		return false
	}
	for i := range t.Fields {
		if t.Fields[i].Name != u.Fields[i].Name || !t.Fields[i].Type.Equal(u.Fields[i].Type) {
			return false
		}
	}
	return t.Elem == nil || t.Elem.Equal(*u.Elem)
}

// IsNumber reports whether values of t can be added.
func (t Type) IsNumber() bool { return t.Kind == Int || t.Kind == Decimal || t.Kind == Float }

// storage is the slice of a Vec that has the values of a kind.
type storage uint8

const (
	inNothing storage = iota
	inBools
	inInts
	inFloats
	inStrings
	inSpans
	inList
	inFields
)

func (k Kind) storage() storage {
	switch k {
	case Bool:
		return inBools
	case Int, Decimal, Date, Time, Timestamp, TimestampTZ:
		return inInts
	case Float:
		return inFloats
	case Text, Blob, JSON:
		return inStrings
	case Interval:
		return inSpans
	case List, Map:
		return inList
	case Struct:
		return inFields
	}
	return inNothing
}
