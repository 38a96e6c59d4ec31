package jsoncodec

import (
	"encoding"
	"fmt"
	"reflect"
	"strconv"
	"unsafe"

	"github.com/layshaft/layshaft/internal/call"
)

// slice is the layout of every slice.
type slice struct {
	data     unsafe.Pointer
	len, cap int
}

// grow returns s, of v's type, with room for another element. It always allocates, because users
// keep earlier slices.
func (v *value) grow(s slice) slice {
	n := max(4, 2*s.cap)
	if v.elem.op == opString {
		ss := make([]string, n)
		copy(ss, unsafe.Slice((*string)(s.data), s.len))
		return slice{unsafe.Pointer(unsafe.SliceData(ss)), s.len, n}
	}
	bigger, old := reflect.MakeSlice(v.typ, n, n), s
	reflect.Copy(bigger, reflect.NewAt(v.typ, unsafe.Pointer(&old)).Elem())
	return slice{bigger.UnsafePointer(), s.len, n}
}

// readSlice reads the array at i into the slice at dst.
func (d *Decoder) readSlice(v *value, i int, dst unsafe.Pointer) int {
	if !d.enter(i) {
		return -1
	}
	var s slice
	i = d.skipSpace(i + 1)
	if at(d.base, i) == ']' {
		i++
		s.data = reflect.MakeSlice(v.typ, 0, 0).UnsafePointer()
	} else {
		for more := true; more; s.len++ {
			if s.len == s.cap {
				s = v.grow(s)
			}
			if i = d.readValue(v.elem, i, unsafe.Add(s.data, uintptr(s.len)*v.elem.size)); i < 0 {
				d.err.Field = join("["+strconv.Itoa(s.len)+"]", d.err.Field)
				return -1
			}
			i, more = d.skipComma(i)
		}
	}
	*(*slice)(dst) = s
	d.depth--
	return i
}

// readArray reads the array at i into the Go array at dst. Extra elements are skipped; missing
// elements become zero.
func (d *Decoder) readArray(v *value, i int, dst unsafe.Pointer) int {
	if !d.enter(i) {
		return -1
	}
	v.zero(dst)
	n := 0
	i = d.skipSpace(i + 1)
	if at(d.base, i) == ']' {
		i++
	} else {
		for more := true; more; n++ {
			if n < v.typ.Len() {
				i = d.readValue(v.elem, i, unsafe.Add(dst, uintptr(n)*v.elem.size))
			} else {
				i = d.skip(i)
			}
			if i < 0 {
				d.err.Field = join("["+strconv.Itoa(n)+"]", d.err.Field)
				return -1
			}
			i, more = d.skipComma(i)
		}
	}
	d.depth--
	return i
}

// readMap reads the object at i into the map at dst.
func (d *Decoder) readMap(v *value, i int, dst unsafe.Pointer) int {
	if v.op == opStringMap {
		m := map[string]string{}
		*(*map[string]string)(dst) = m
		return d.eachMember(i, func(name string, i int) int {
			var s string
			i = d.readValue(v.elem, i, unsafe.Pointer(&s))
			m[name] = s
			return i
		})
	}
	m, elem := reflect.MakeMap(v.typ), reflect.New(v.elem.typ).Elem()
	*(*unsafe.Pointer)(dst) = m.UnsafePointer()
	return d.eachMember(i, func(name string, i int) int {
		key, err := mapKey(v.typ.Key(), name)
		if err != nil {
			return d.checkMethod(i, i, err)
		}
		if i = d.readValue(v.elem, i, elem.Addr().UnsafePointer()); i >= 0 {
			m.SetMapIndex(key, elem)
		}
		return i
	})
}

// mapKey converts name to a map key of type t.
func mapKey(t reflect.Type, name string) (reflect.Value, error) {
	key := reflect.New(t)
	if u, ok := key.Interface().(encoding.TextUnmarshaler); ok {
		return key.Elem(), call.Method(func() error { return u.UnmarshalText([]byte(name)) })
	}
	key = key.Elem()
	switch {
	case t.Kind() == reflect.String:
		key.SetString(name)
	case key.CanInt():
		n, err := strconv.ParseInt(name, 10, t.Bits())
		if err != nil {
			return key, fmt.Errorf("map key %q is not a valid %s", name, t)
		}
		key.SetInt(n)
	default:
		n, err := strconv.ParseUint(name, 10, t.Bits())
		if err != nil {
			return key, fmt.Errorf("map key %q is not a valid %s", name, t)
		}
		key.SetUint(n)
	}
	return key, nil
}

// eachMember calls member with every key of the object at i and the position of its value. member
// returns the end of the value, or -1. eachMember returns the end of the object, or -1.
func (d *Decoder) eachMember(i int, member func(name string, i int) int) int {
	if i = d.skipSpace(i + 1); at(d.base, i) == '}' {
		return i + 1
	}
	for {
		if at(d.base, i) != '"' {
			return d.fail(i, "a key in quotes")
		}
		name, end := d.readText(i + 1)
		if end < 0 {
			return -1
		}
		if i = d.skipColon(end); i < 0 {
			return -1
		}
		if i = member(name, i); i < 0 {
			d.err.Field = join(name, d.err.Field)
			return -1
		}
		switch i = d.skipSpace(i); at(d.base, i) {
		case ',':
			i = d.skipSpace(i + 1)
		case '}':
			return i + 1
		default:
			return d.fail(i, "a comma or a closing brace")
		}
	}
}

// readAny reads the value at i as encoding/json reads into an empty interface.
func (d *Decoder) readAny(i int) (any, int) {
	switch c := at(d.base, i); c {
	case '"':
		return box(d.readText(i + 1))
	case 't':
		return true, d.skipLiteral(i, "true")
	case 'f':
		return false, d.skipLiteral(i, "false")
	case 'n':
		return nil, d.skipLiteral(i, "null")
	case '{', '[':
		if !d.enter(i) {
			return nil, -1
		}
		defer func() { d.depth-- }()
		if c == '{' {
			m := map[string]any{}
			return m, d.eachMember(i, func(name string, i int) int {
				m[name], i = d.readAny(i)
				return i
			})
		}
		list := []any{}
		if i = d.skipSpace(i + 1); at(d.base, i) == ']' {
			return list, i + 1
		}
		for more := true; more; {
			var x any
			if x, i = d.readAny(i); i < 0 {
				d.err.Field = join("["+strconv.Itoa(len(list))+"]", d.err.Field)
				return nil, -1
			}
			list = append(list, x)
			i, more = d.skipComma(i)
		}
		return list, i
	}
	return box(d.readFloat(anyNumber, i, 64))
}

// anyNumber describes the value expected in an any when no other type fits.
var anyNumber = &value{op: opAny}

func box[T any](x T, end int) (any, int) { return x, end }
