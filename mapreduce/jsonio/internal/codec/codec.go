// Package codec turns one line of JSON into a Go value and back, at the speed of code written by hand for the one type.
//
// A type is compiled once, by reflection, into tables of names, operations and offsets; records then go through those
// tables without reflection and without allocation. Three things make reading fast. The key that follows a key is
// nearly always the key that followed it in the line before, so it is guessed and compared in two 8-byte loads, and looked up
// only when the guess fails. Strings and digits are taken 8 bytes at a time. And a line is read only up to the last field that
// the struct asks for. For a 330-byte line and five of eleven fields that takes about as long as a scanner written for that
// struct alone, a twentieth of encoding/json.
//
// # What is checked
//
// Up to the last wanted field a line is checked fully: every byte belongs to well-formed JSON, keys and values that
// nobody asked for included, except that strings need not be valid UTF-8 (they are passed on as they are). Behind
// that field it is checked that the line ends in a closing brace and has as many closing as opening braces; when the counts
// differ, such as for braces inside strings, the rest is checked fully too. A struct that wants all fields thus checks nearly
// all of a line. Values that are not structs are checked to the end, but lines that are taken as they are only glanced at.
//
// # Names
//
// Keys are matched to fields by the rules of encoding/json: tags, promotion of embedded fields, exact match first, then
// ignoring case. When a key occurs twice in one object, the last one counts, among those that are read: a key behind
// the last wanted field is not seen. A repeated object replaces the first instead of being merged into it.
package codec

import (
	"encoding"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"reflect"
	"unsafe"
)

// Padding is how many bytes behind the line feed of a line must be readable: the package loads words past its end.
const Padding = 31

// maxDepth is how deep values may nest, as in encoding/json.
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

// Error says what is wrong with a line.
type Error struct {
	Offset int    // of the fault, in bytes from the start of the line
	Field  string // path of the field, such as offers[2].price; empty outside of fields
	Want   string // what was expected: a string
	Found  string // what was found instead: 12.5
	Err    error  // of a method of the user's type; may be nil
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

// special marks the bytes of w that end a run of plain string bytes: quote, backslash and control characters. The lowest
// mark is exact; those above it may be false.
func special(w uint64) uint64 {
	q, b := w^low*'"', w^low*'\\'
	return ((q-low)&^q | (b-low)&^b | (w-low*' ')&^w) & high
}
