package record

import (
	"encoding/binary"
	"math"
	"reflect"
	"strings"
	"sync"
	"time"
	"unsafe"
)

// KeyCodec encodes keys of type K in such a way that bytes.Compare on two encodings gives the order
// of the values:
//
//   - false before true
//   - numbers by value; -0 equals 0, and NaN is one key and comes last
//   - strings by bytes
//   - structs and arrays field by field
//   - time.Time by instant; it is decoded in UTC
//
// A key that is a single string is its own encoding. A KeyCodec is safe for concurrent use.
type KeyCodec[K any] struct {
	parts []keyPart
	// IsString reports whether K is a string type, with the string itself as encoding.
	IsString bool
}

type keyKind uint8

const (
	keyBool keyKind = iota
	keyInt
	keyUint
	keyFloat64
	keyFloat32
	keyString
	keyTime
)

type keyPart struct {
	kind   keyKind
	size   uint8
	offset uintptr
}

var keyParts sync.Map // reflect.Type -> []keyPart

// ForKey compiles the key codec of K. It returns a *TypeError unless K consists of booleans,
// numbers, strings, time.Time, and arrays and structs of these.
func ForKey[K any]() (*KeyCodec[K], error) {
	t := reflect.TypeFor[K]()
	if p, ok := keyParts.Load(t); ok {
		return newKeyCodec[K](p.([]keyPart)), nil
	}
	parts, err := partsOf(nil, t, t, 0, "")
	if err != nil {
		return nil, err
	}
	keyParts.Store(t, parts)
	return newKeyCodec[K](parts), nil
}

func newKeyCodec[K any](parts []keyPart) *KeyCodec[K] {
	return &KeyCodec[K]{parts: parts, IsString: len(parts) == 1 && parts[0].kind == keyString && parts[0].offset == 0}
}

func partsOf(parts []keyPart, root, t reflect.Type, off uintptr, path string) ([]keyPart, error) {
	p := keyPart{offset: off, size: uint8(min(t.Size(), 8))}
	if t == typeTime {
		p.kind = keyTime
		return append(parts, p), nil
	}
	switch t.Kind() {
	case reflect.Bool:
		p.kind = keyBool
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		p.kind = keyInt
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64, reflect.Uintptr:
		p.kind = keyUint
	case reflect.Float64:
		p.kind = keyFloat64
	case reflect.Float32:
		p.kind = keyFloat32
	case reflect.String:
		p.kind = keyString
	case reflect.Struct:
		for i := range t.NumField() {
			f := t.Field(i)
			if f.Name == "_" {
				continue
			}
			var err error
			if parts, err = partsOf(parts, root, f.Type, off+f.Offset, path+"."+f.Name); err != nil {
				return nil, err
			}
		}
		return parts, nil
	case reflect.Array:
		for i := range t.Len() {
			var err error
			if parts, err = partsOf(parts, root, t.Elem(), off+uintptr(i)*t.Elem().Size(), path+"[]"); err != nil {
				return nil, err
			}
		}
		return parts, nil
	default:
		return nil, &TypeError{Root: root, Path: path, Type: t,
			Reason: "a key is made of booleans, numbers, strings, time.Time, and arrays and structs of those"}
	}
	return append(parts, p), nil
}

// Append appends the encoding of k to dst. A final string has no end mark, so no bytes may follow;
// use AppendPart for that.
func (c *KeyCodec[K]) Append(dst []byte, k *K) []byte { return c.append(dst, k, true) }

// AppendPart appends an encoding of k with its own end, so that more key bytes may follow. The
// order is then the order of the values, part by part.
func (c *KeyCodec[K]) AppendPart(dst []byte, k *K) []byte { return c.append(dst, k, false) }

func (c *KeyCodec[K]) append(dst []byte, k *K, last bool) []byte {
	base := unsafe.Pointer(k)
	for i := range c.parts {
		o := &c.parts[i]
		p := unsafe.Add(base, o.offset)
		switch o.kind {
		case keyBool:
			dst = append(dst, *(*byte)(p))
		case keyInt:
			dst = appendBig(dst, uint64(loadInt(p, o.size))^1<<(o.size*8-1), o.size)
		case keyUint:
			dst = appendBig(dst, loadUint(p, o.size), o.size)
		case keyFloat64:
			dst = binary.BigEndian.AppendUint64(dst, orderFloat(*(*float64)(p)))
		case keyFloat32:
			dst = binary.BigEndian.AppendUint64(dst, orderFloat(float64(*(*float32)(p))))
		case keyTime:
			t := (*time.Time)(p)
			dst = binary.BigEndian.AppendUint64(dst, uint64(t.Unix())^1<<63)
			dst = binary.BigEndian.AppendUint32(dst, uint32(t.Nanosecond()))
		case keyString:
			s := *(*string)(p)
			if last && i == len(c.parts)-1 {
				dst = append(dst, s...)
			} else {
				dst = appendEscaped(dst, s)
			}
		}
	}
	return dst
}

// Decode decodes a whole encoding made by Append into k. Strings alias b unless a byte was escaped.
// If b is not such an encoding, the error wraps ErrCorrupt.
func (c *KeyCodec[K]) Decode(b []byte, k *K) error {
	rest, err := c.decode(b, k, true)
	if err == nil && len(rest) != 0 {
		return corrupt("key: bytes left over")
	}
	return err
}

// DecodePart decodes an encoding made by AppendPart from the front of b and returns the rest.
func (c *KeyCodec[K]) DecodePart(b []byte, k *K) ([]byte, error) { return c.decode(b, k, false) }

func (c *KeyCodec[K]) decode(b []byte, k *K, last bool) ([]byte, error) {
	base := unsafe.Pointer(k)
	for i := range c.parts {
		o := &c.parts[i]
		p := unsafe.Add(base, o.offset)
		n := int(o.size)
		switch o.kind {
		case keyBool:
			if len(b) < 1 || b[0] > 1 {
				return nil, corrupt("key: bool")
			}
			*(*byte)(p) = b[0]
			n = 1
		case keyInt, keyUint:
			if len(b) < n {
				return nil, corrupt("key: integer")
			}
			var v uint64
			for _, x := range b[:n] {
				v = v<<8 | uint64(x)
			}
			if o.kind == keyUint {
				storeUint(p, o.size, v)
				break
			}
			v ^= 1 << (o.size*8 - 1)
			shift := 64 - 8*uint(o.size)
			storeInt(p, o.size, int64(v<<shift)>>shift)
		case keyFloat64, keyFloat32:
			if len(b) < 8 {
				return nil, corrupt("key: float")
			}
			f := unorderFloat(binary.BigEndian.Uint64(b))
			if o.kind == keyFloat64 {
				*(*float64)(p) = f
			} else {
				*(*float32)(p) = float32(f)
			}
			n = 8
		case keyTime:
			if len(b) < 12 {
				return nil, corrupt("key: time")
			}
			sec := int64(binary.BigEndian.Uint64(b) ^ 1<<63)
			*(*time.Time)(p) = time.Unix(sec, int64(binary.BigEndian.Uint32(b[8:]))).UTC()
			n = 12
		case keyString:
			if last && i == len(c.parts)-1 {
				*(*string)(p) = unsafe.String(unsafe.SliceData(b), len(b))
				return nil, nil
			}
			s, rest, ok := cutEscaped(b)
			if !ok {
				return nil, corrupt("key: string")
			}
			*(*string)(p) = s
			b, n = rest, 0
		}
		b = b[n:]
	}
	return b, nil
}

func appendBig(dst []byte, v uint64, size uint8) []byte {
	switch size {
	case 8:
		return binary.BigEndian.AppendUint64(dst, v)
	case 4:
		return binary.BigEndian.AppendUint32(dst, uint32(v))
	case 2:
		return binary.BigEndian.AppendUint16(dst, uint16(v))
	}
	return append(dst, byte(v))
}

func orderFloat(f float64) uint64 {
	if f != f {
		return math.MaxUint64
	}
	if f == 0 {
		f = 0 // -0 becomes 0
	}
	u := math.Float64bits(f)
	if u>>63 != 0 {
		return ^u
	}
	return u | 1<<63
}

func unorderFloat(u uint64) float64 {
	switch {
	case u == math.MaxUint64:
		return math.NaN()
	case u>>63 != 0:
		return math.Float64frombits(u &^ (1 << 63))
	}
	return math.Float64frombits(^u)
}

// A string in the middle of a key ends with 00 01, and a zero byte in it becomes 00 FF. So a string
// sorts before its extensions.
func appendEscaped(dst []byte, s string) []byte {
	for {
		i := strings.IndexByte(s, 0)
		if i < 0 {
			return append(append(dst, s...), 0, 1)
		}
		dst = append(append(dst, s[:i]...), 0, 0xff)
		s = s[i+1:]
	}
}

func cutEscaped(b []byte) (s string, rest []byte, ok bool) {
	var owned []byte
	start := 0
	for i := 0; i+1 < len(b); i++ {
		if b[i] != 0 {
			continue
		}
		switch b[i+1] {
		case 1:
			if owned == nil {
				return unsafe.String(unsafe.SliceData(b), i), b[i+2:], true
			}
			return string(append(owned, b[start:i]...)), b[i+2:], true
		case 0xff:
			owned = append(append(owned, b[start:i]...), 0)
			start = i + 2
			i++
		default:
			return "", nil, false
		}
	}
	return "", nil, false
}
