package jsoncodec

import (
	"encoding"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"reflect"
	"strings"
	"unsafe"

	"github.com/layshaft/layshaft/internal/call"
)

// readValue reads the value at i into dst, for any type. It returns the end of the value, or -1.
func (d *Decoder) readValue(v *value, i int, dst unsafe.Pointer) int {
	c := at(d.base, i)
	if c == 'n' && v.op != opJSON && v.op != opVia && v.op != opRaw && d.slice(i, min(i+4, d.end)) == "null" {
		v.zero(dst)
		return i + 4
	}
	switch v.op {
	case opInt64, opInt, opDecimal:
		n, end := d.readInt(v, i)
		store(v, dst, uint64(n))
		return end
	case opUint:
		n, end := d.readUint(v, i)
		store(v, dst, n)
		return end
	case opFloat64:
		f, end := d.readFloat(v, i, 64)
		*(*float64)(dst) = f
		return end
	case opFloat32:
		f, end := d.readFloat(v, i, 32)
		*(*float32)(dst) = float32(f)
		return end
	case opAny:
		x, end := d.readAny(i)
		*(*any)(dst) = x
		return end
	case opPointer:
		if !d.enter(i) {
			return -1
		}
		*(*unsafe.Pointer)(dst) = reflect.New(v.elem.typ).UnsafePointer()
		i = d.readValue(v.elem, i, *(*unsafe.Pointer)(dst))
		d.depth--
		return i
	case opVia:
		for _, h := range v.hops { // prepare has set the first to nil
			p := (*unsafe.Pointer)(unsafe.Add(dst, h.off))
			if *p == nil {
				*p = reflect.New(h.typ).UnsafePointer()
			}
			dst = *p
		}
		return d.readValue(v.elem, i, unsafe.Add(dst, v.size))
	case opRaw, opJSON:
		end := d.skip(i)
		if end < 0 {
			return -1
		}
		raw := unsafe.Slice((*byte)(unsafe.Add(d.base, i)), end-i)
		if v.op == opRaw {
			*(*[]byte)(dst) = raw
			return end
		}
		v.zero(dst)
		return d.checkMethod(i, end, call.Method(func() error { return reflect.NewAt(v.typ, dst).Interface().(json.Unmarshaler).UnmarshalJSON(raw) }))
	case opBool:
		if *(*bool)(dst) = c == 't'; c == 't' {
			return d.skipLiteral(i, "true")
		} else if c == 'f' {
			return d.skipLiteral(i, "false")
		}
	case opString, opText, opQuoted, opBytes, opNumber:
		if c == '"' {
			return d.readQuoted(v, i, dst)
		} else if c == '[' && v.op == opBytes {
			return d.readSlice(v, i, dst)
		} else if end := d.skipNumber(i); v.op == opNumber && end >= 0 {
			*(*string)(dst) = d.slice(i, end)
			return end
		}
	case opSlice:
		if c == '[' {
			return d.readSlice(v, i, dst)
		}
	case opArray:
		if c == '[' {
			return d.readArray(v, i, dst)
		}
	case opStruct, opMap, opStringMap:
		if c == '{' {
			if !d.enter(i) {
				return -1
			}
			if v.op == opStruct {
				i = d.readObject(v.obj, i+1, dst, false)
			} else {
				i = d.readMap(v, i, dst)
			}
			d.depth--
			return i
		}
	}
	return d.fail(i, v.expected())
}

// store stores an integer in dst, which has v's size.
func store(v *value, dst unsafe.Pointer, n uint64) {
	switch v.size {
	case 1:
		*(*uint8)(dst) = uint8(n)
	case 2:
		*(*uint16)(dst) = uint16(n)
	case 4:
		*(*uint32)(dst) = uint32(n)
	case 8:
		*(*uint64)(dst) = n
	}
}

// readQuoted reads the string at i into a type written as a string.
func (d *Decoder) readQuoted(v *value, i int, dst unsafe.Pointer) int {
	s, end := d.readText(i + 1)
	if end < 0 {
		return -1
	}
	switch v.op {
	case opString:
		*(*string)(dst) = s
	case opNumber:
		if *(*string)(dst) = s; !isNumber(s) {
			return d.fail(i, v.expected())
		}
	case opText:
		v.zero(dst)
		return d.checkMethod(i, end, call.Method(func() error {
			return reflect.NewAt(v.typ, dst).Interface().(encoding.TextUnmarshaler).UnmarshalText([]byte(s))
		}))
	case opBytes:
		b, err := base64.StdEncoding.DecodeString(s)
		if *(*[]byte)(dst) = b; err != nil {
			return d.fail(i, v.expected())
		}
	case opQuoted:
		inner := make([]byte, len(s)+1+Padding)
		copy(inner, s)
		inner[len(s)] = '\n'
		base, stop := d.base, d.end
		d.base, d.end = unsafe.Pointer(unsafe.SliceData(inner)), len(s)
		n := d.readValue(v.elem, 0, dst)
		if n >= 0 && n != len(s) {
			n = d.fail(0, v.elem.expected())
		}
		d.base, d.end = base, stop
		if n < 0 {
			d.err.Offset = i
			d.err.Want += " in a string"
			return -1
		}
	}
	return end
}

// checkMethod returns end, or reports the error of a method that received the value from i to end.
func (d *Decoder) checkMethod(i, end int, err error) int {
	if err != nil {
		d.fail(i, "a value that its type takes")
		d.err.Err = err
		return -1
	}
	return end
}

// zero sets the value at dst to zero.
func (v *value) zero(dst unsafe.Pointer) {
	switch v.op {
	case opString:
		*(*string)(dst) = ""
	case opInt64, opDecimal, opFloat64:
		*(*uint64)(dst) = 0
	case opPointer, opMap, opStringMap:
		*(*unsafe.Pointer)(dst) = nil
	case opSlice, opBytes, opRaw:
		*(*[]byte)(dst) = nil
	case opVia: // prepare has set the embedded pointer to nil
	default:
		reflect.NewAt(v.typ, dst).Elem().SetZero()
	}
}

// expected describes the JSON value expected for v.
func (v *value) expected() string {
	switch v.op {
	case opString, opText:
		return "a string"
	case opBytes:
		return "a string in base64"
	case opQuoted:
		return v.elem.expected() + " in a string"
	case opBool:
		return "true or false"
	case opInt64, opInt, opUint, opDecimal:
		if v.scale > 0 {
			return fmt.Sprintf("a number with at most %d decimals that fits %s", v.scale, v.typ)
		}
		return "an integer that fits " + v.typ.String()
	case opFloat32, opFloat64, opNumber:
		return "a number"
	case opSlice, opArray:
		return "an array"
	case opStruct, opMap, opStringMap:
		return "an object"
	}
	return "a value"
}

// fail records an error: want was expected at i. It returns -1.
func (d *Decoder) fail(i int, want string) int {
	d.err = &Error{Offset: i, Want: want, Found: d.describe(i)}
	return -1
}

// describe describes the value at i, for errors.
func (d *Decoder) describe(i int) string {
	if i >= d.end {
		return "the end of the line"
	}
	rest := d.slice(i, min(i+40, d.end))
	switch c := rest[0]; {
	case c == '{':
		return "an object"
	case c == '[':
		return "an array"
	case c == '"':
		if end := strings.IndexByte(rest[1:], '"'); end >= 0 {
			rest = rest[:end+2]
		}
		return "string " + rest
	case c-'0' <= 9 || c|0x20-'a' < 26 || c == '-' || c == '+' || c == '.':
		n := strings.IndexFunc(rest, func(r rune) bool { return strings.ContainsRune(" \t\r,:]}\"", r) })
		if n > 0 {
			rest = rest[:n]
		}
		return rest
	}
	return fmt.Sprintf("%q", rest[:1])
}
