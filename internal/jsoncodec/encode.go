package jsoncodec

import (
	"bytes"
	"encoding"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"reflect"
	"slices"
	"strconv"
	"unsafe"
)

// Encoder writes values of one type as encoding/json does with SetEscapeHTML(false), and decimals
// with their point. It must not be shared by goroutines.
type Encoder struct {
	root  *value
	depth int
	names []string // scratch for the keys of a map[string]string
}

// NewEncoder compiles type t. The error names the path of a field that cannot be written.
func NewEncoder(t reflect.Type) (*Encoder, error) {
	root, err := compile(t, writing)
	if err != nil {
		return nil, err
	}
	return &Encoder{root: root}, nil
}

// Append appends the value at p to dst, without a line feed. The value must have the encoder's
// type. After an error, which names the field, dst contains part of the value.
func (e *Encoder) Append(dst []byte, p unsafe.Pointer) ([]byte, error) {
	e.depth = 0
	return e.appendValue(dst, e.root, p)
}

// pathError is an error in the field at path.
type pathError struct {
	path string
	err  error
}

func (e *pathError) Error() string { return "field " + e.path + ": " + e.err.Error() }
func (e *pathError) Unwrap() error { return e.err }

// addPath prepends a path element to the path of err.
func addPath(name string, err error) error {
	if p, ok := err.(*pathError); ok {
		return &pathError{join(name, p.path), p.err}
	}
	return &pathError{name, err}
}

func (e *Encoder) appendValue(dst []byte, v *value, p unsafe.Pointer) ([]byte, error) {
	switch v.op {
	case opString:
		return appendString(dst, *(*string)(p)), nil
	case opInt64, opInt, opDecimal:
		n := v.loadInt(p)
		if v.scale > 0 {
			u := uint64(n)
			if n < 0 {
				dst, u = append(dst, '-'), -u
			}
			return appendDecimal(dst, u, v.scale), nil
		}
		return strconv.AppendInt(dst, n, 10), nil
	case opUint:
		return appendDecimal(dst, v.loadUint(p), v.scale), nil
	case opFloat64:
		return appendFloat(dst, *(*float64)(p), 64)
	case opFloat32:
		return appendFloat(dst, float64(*(*float32)(p)), 32)
	case opBool:
		return strconv.AppendBool(dst, *(*bool)(p)), nil
	case opNumber:
		n := *(*string)(p)
		if n == "" {
			n = "0"
		} else if !isNumber(n) {
			return dst, fmt.Errorf("%q is not a number", n)
		}
		return append(dst, n...), nil
	case opQuoted:
		if v.elem.op == opString {
			return appendString(dst, string(appendString(nil, *(*string)(p)))), nil
		}
		dst, err := e.appendValue(append(dst, '"'), v.elem, p)
		return append(dst, '"'), err
	case opBytes:
		b := *(*[]byte)(p)
		if b == nil {
			return append(dst, "null"...), nil
		}
		return append(base64.StdEncoding.AppendEncode(append(dst, '"'), b), '"'), nil
	case opRaw:
		return appendRaw(dst, *(*[]byte)(p))
	case opJSON, opText:
		return appendMethod(dst, v, p)
	}

	if e.depth++; e.depth > maxDepth {
		return dst, fmt.Errorf("more than %d levels of nesting; does the value contain itself?", maxDepth)
	}
	dst, err := e.appendNested(dst, v, p)
	e.depth--
	return dst, err
}

// appendNested writes a value with other values inside.
func (e *Encoder) appendNested(dst []byte, v *value, p unsafe.Pointer) ([]byte, error) {
	switch v.op {
	case opStruct:
		return e.appendObject(dst, v.obj, p)
	case opPointer:
		if p = *(*unsafe.Pointer)(p); p != nil {
			return e.appendValue(dst, v.elem, p)
		}
	case opSlice:
		if s := *(*slice)(p); s.data != nil {
			return e.appendElements(dst, v.elem, s.data, s.len)
		}
	case opArray:
		return e.appendElements(dst, v.elem, p, v.typ.Len())
	case opStringMap:
		if m := *(*map[string]string)(p); m != nil {
			return e.appendStringMap(dst, m), nil
		}
	case opMap:
		if m := reflect.NewAt(v.typ, p).Elem(); !m.IsNil() {
			return e.appendMap(dst, v, m)
		}
	case opAny:
		if x := reflect.NewAt(v.typ, p).Elem(); !x.IsNil() {
			return appendAny(dst, x.Interface())
		}
	}
	return append(dst, "null"...), nil
}

func (e *Encoder) appendObject(dst []byte, o *object, p unsafe.Pointer) ([]byte, error) {
	dst = append(dst, '{')
	start := len(dst)
	for _, k := range o.keys {
		v, p := k.val, unsafe.Add(p, k.off)
		if v.op == opVia {
			if p = v.follow(p); p == nil {
				continue
			}
			v = v.elem
		}
		if k.omitEmpty && v.isEmpty(p) || k.omitZero && v.isZero(p) {
			continue
		}
		if len(dst) > start {
			dst = append(dst, ',')
		}
		var err error
		if dst, err = e.appendValue(append(dst, k.token...), v, p); err != nil {
			return dst, addPath(k.name, err)
		}
	}
	return append(dst, '}'), nil
}

// follow returns the address of the promoted field in the struct at p, or nil when a pointer on the
// way is nil.
func (v *value) follow(p unsafe.Pointer) unsafe.Pointer {
	for _, h := range v.hops {
		if p = *(*unsafe.Pointer)(unsafe.Add(p, h.off)); p == nil {
			return nil
		}
	}
	return unsafe.Add(p, v.size)
}

func (e *Encoder) appendElements(dst []byte, v *value, p unsafe.Pointer, n int) ([]byte, error) {
	dst = append(dst, '[')
	for i := range n {
		if i > 0 {
			dst = append(dst, ',')
		}
		var err error
		if dst, err = e.appendValue(dst, v, unsafe.Add(p, uintptr(i)*v.size)); err != nil {
			return dst, addPath("["+strconv.Itoa(i)+"]", err)
		}
	}
	return append(dst, ']'), nil
}

func (e *Encoder) appendStringMap(dst []byte, m map[string]string) []byte {
	e.names = e.names[:0]
	for name := range m {
		e.names = append(e.names, name)
	}
	slices.Sort(e.names)
	dst = append(dst, '{')
	for i, name := range e.names {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = append(appendString(dst, name), ':')
		dst = appendString(dst, m[name])
	}
	return append(dst, '}')
}

// appendMap writes a map, sorted by the text of its keys.
func (e *Encoder) appendMap(dst []byte, v *value, m reflect.Value) ([]byte, error) {
	spelled := make(map[string]reflect.Value, m.Len())
	for k, x := range m.Seq2() {
		name, err := keyName(k)
		if err != nil {
			return dst, err
		}
		spelled[name] = x
	}
	elem := reflect.New(v.elem.typ).Elem()
	dst = append(dst, '{')
	for i, name := range slices.Sorted(maps.Keys(spelled)) {
		if i > 0 {
			dst = append(dst, ',')
		}
		elem.Set(spelled[name])
		var err error
		if dst, err = e.appendValue(append(appendString(dst, name), ':'), v.elem, elem.Addr().UnsafePointer()); err != nil {
			return dst, addPath(name, err)
		}
	}
	return append(dst, '}'), nil
}

func keyName(k reflect.Value) (string, error) {
	if k.Kind() == reflect.String {
		return k.String(), nil
	}
	if m, ok := k.Interface().(encoding.TextMarshaler); ok {
		if k.Kind() == reflect.Pointer && k.IsNil() {
			return "", nil
		}
		b, err := m.MarshalText()
		return string(b), err
	}
	return fmt.Sprint(k), nil
}

// appendMethod appends the result of a type's own marshal method.
func appendMethod(dst []byte, v *value, p unsafe.Pointer) ([]byte, error) {
	x := reflect.NewAt(v.typ, p)
	if !v.byPtr {
		if x = x.Elem(); x.Kind() == reflect.Pointer && x.IsNil() {
			return append(dst, "null"...), nil
		}
	}
	if v.op == opJSON {
		b, err := x.Interface().(json.Marshaler).MarshalJSON()
		if err != nil {
			return dst, err
		}
		return appendCompact(dst, b)
	}
	b, err := x.Interface().(encoding.TextMarshaler).MarshalText()
	return appendString(dst, string(b)), err
}

func appendRaw(dst, raw []byte) ([]byte, error) {
	if raw == nil {
		return append(dst, "null"...), nil
	}
	return appendCompact(dst, raw)
}

// appendCompact appends JSON without blanks, so that it stays on one line.
func appendCompact(dst, raw []byte) ([]byte, error) {
	b := bytes.NewBuffer(dst)
	err := json.Compact(b, raw)
	return b.Bytes(), err
}

// appendAny writes a value of a type that was unknown at compile time.
func appendAny(dst []byte, x any) ([]byte, error) {
	switch x := x.(type) {
	case string:
		return appendString(dst, x), nil
	case float64:
		return appendFloat(dst, x, 64)
	case bool:
		return strconv.AppendBool(dst, x), nil
	case int:
		return strconv.AppendInt(dst, int64(x), 10), nil
	case int64:
		return strconv.AppendInt(dst, x, 10), nil
	}
	b := bytes.NewBuffer(dst)
	enc := json.NewEncoder(b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(x); err != nil {
		return dst, err
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n")), nil
}

// loadInt returns the integer at p.
func (v *value) loadInt(p unsafe.Pointer) int64 {
	switch v.size {
	case 1:
		return int64(*(*int8)(p))
	case 2:
		return int64(*(*int16)(p))
	case 4:
		return int64(*(*int32)(p))
	}
	return *(*int64)(p)
}

// loadUint returns the unsigned integer at p.
func (v *value) loadUint(p unsafe.Pointer) uint64 {
	return uint64(v.loadInt(p)) & (math.MaxUint64 >> (64 - v.bits))
}

// isEmpty reports whether omitempty omits the value at p.
func (v *value) isEmpty(p unsafe.Pointer) bool {
	switch v.op {
	case opString, opNumber:
		return *(*string)(p) == ""
	case opInt64, opDecimal:
		return *(*int64)(p) == 0
	case opFloat64:
		return *(*float64)(p) == 0
	}
	switch x := reflect.NewAt(v.typ, p).Elem(); x.Kind() {
	case reflect.Array, reflect.Map, reflect.Slice, reflect.String:
		return x.Len() == 0
	case reflect.Struct:
		return false
	default:
		return x.IsZero()
	}
}

// isZero reports whether omitzero omits the value at p. Its method IsZero decides or, without one,
// the zero value of the type.
func (v *value) isZero(p unsafe.Pointer) bool {
	x := reflect.NewAt(v.typ, p)
	z, ok := x.Interface().(interface{ IsZero() bool })
	x = x.Elem()
	if k := x.Kind(); k == reflect.Pointer || k == reflect.Interface {
		if x.IsNil() {
			return true
		}
		if k == reflect.Interface && x.Elem().Kind() == reflect.Pointer && x.Elem().IsNil() {
			return x.Type().Implements(reflect.TypeFor[interface{ IsZero() bool }]())
		}
		z, ok = x.Interface().(interface{ IsZero() bool })
		if k == reflect.Interface {
			ok = ok && x.Type().NumMethod() > 0
		}
	}
	if ok {
		return z.IsZero()
	}
	return x.IsZero()
}
