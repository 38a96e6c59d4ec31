// Package jsoncodec converts lines of JSON to Go values and back, as fast as code written by hand
// for one type.
//
// A type is compiled once, by reflection, into tables of names, operations and offsets. Records
// then need neither reflection nor allocation. Three techniques make reading fast:
//
//   - Keys mostly come in the same order in every line. So the decoder predicts the next key and
//     compares it in two 8-byte loads. It looks the key up only when the prediction fails.
//   - Strings and digits are processed 8 bytes at a time.
//   - After the last field of the struct, a line is only checked, and 64 bytes at a time.
//
// Reading five of eleven fields of a 330-byte line takes about as long as a scanner written for
// that struct alone. That is a twentieth of the time of encoding/json.
//
// # Checks
//
// A line is checked fully, whatever the fields: every byte must belong to well-formed JSON, also in
// keys and values without a field, and in lines read unparsed. So two records in one line are an
// error, and so is a line that was cut off. Strings need not be valid UTF-8 and are passed on
// unchanged.
//
// With Decoder.Loose, the rest of a line after the last field, and a line read unparsed, get only
// one check: the root object must end at the end of the line and not before. Braces are counted for
// that. Where braces in strings make the count doubtful, the rest is checked fully too.
//
// # Assembly
//
// The check of 64 bytes at a time is in assembly, because Go has no operations on vectors. Other
// processors check member by member, 8 bytes at a time, with the same results (FuzzAssembly).
// Reports check whole records, so they gain most: a report by category over 1.8 million products
// took 17 % less processor time than in Go (w2-sql of bench/, 15 pairs of runs in turn).
//
// # Names
//
// Keys are matched to fields by the rules of encoding/json: tags, promotion of embedded fields,
// exact match first, then any case. If a key of a struct or a column occurs twice in an object, its
// first value counts, wherever the second one is: what follows the last field is not read. The
// value of the second one is checked against the grammar alone. In a map the last value counts.
package jsoncodec

import (
	"encoding"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"reflect"
	"unsafe"
)

// Padding is the number of bytes after a line's line feed that must be readable, because the
// package loads whole words.
const Padding = 63

// maxDepth is the maximum nesting of values, as in encoding/json.
const maxDepth = 10000

var (
	jsonUnmarshaler = reflect.TypeFor[json.Unmarshaler]()
	textUnmarshaler = reflect.TypeFor[encoding.TextUnmarshaler]()
	jsonMarshaler   = reflect.TypeFor[json.Marshaler]()
	textMarshaler   = reflect.TypeFor[encoding.TextMarshaler]()
	rawType         = reflect.TypeFor[json.RawMessage]()
	numberType      = reflect.TypeFor[json.Number]()
	stringType      = reflect.TypeFor[string]()
	stringMapType   = reflect.TypeFor[map[string]string]()
)

// Error describes a malformed line.
type Error struct {
	// Offset is the position of the error, in bytes from the start of the line.
	Offset int
	// Field is the path of the field, such as offers[2].price. It is empty outside fields.
	Field string
	// Want describes the expected value, such as "a string".
	Want string
	// Found describes the value found, such as 12.5.
	Found string
	// Err is the error of an unmarshal method of the user's type; may be nil.
	Err error
}

func (e *Error) Error() string {
	where, cause := "", ""
	if e.Field != "" {
		where = "field " + e.Field + ": "
	}
	if e.Err != nil {
		cause = ": " + e.Err.Error()
	}
	return fmt.Sprintf("offset %d: %sexpected %s, found %s%s", e.Offset, where, e.Want, e.Found, cause)
}

func (e *Error) Unwrap() error { return e.Err }

// join puts a path element before a field path.
func join(name, path string) string {
	if path == "" || path[0] == '[' {
		return name + path
	}
	return name + "." + path
}

func at(p unsafe.Pointer, i int) byte { return *(*byte)(unsafe.Add(p, i)) }

func load(p unsafe.Pointer, i int) uint64 {
	return binary.LittleEndian.Uint64((*[8]byte)(unsafe.Add(p, i))[:])
}

const (
	low  = 0x0101010101010101
	high = 0x8080808080808080
)

// markSpecial marks the bytes of w that end a run of plain string bytes: quotes, backslashes and
// control characters. The lowest mark is exact; higher marks may be wrong.
func markSpecial(w uint64) uint64 {
	q, b := w^low*'"', w^low*'\\'
	return ((q-low)&^q | (b-low)&^b | (w-low*' ')&^w) & high
}
