// Package record encodes typed values as bytes, and packs records into blocks and frames.
//
// A Codec encodes values compactly. A KeyCodec encodes keys in such a way that bytes.Compare on two
// encodings gives the order of the values. Both are compiled once per type by reflection.
// Afterwards they reach fields by offset, without reflection and, except for strings, without
// allocation. Decoded strings and byte slices alias the input, so nobody may write to the input
// again.
package record

import (
	"bytes"
	"encoding"
	"encoding/binary"
	"fmt"
	"math"
	"reflect"
	"slices"
	"sync"
	"sync/atomic"
	"time"
	"unsafe"
)

// TypeError is a type that cannot be encoded, with the place of the problem in it.
type TypeError struct {
	Root reflect.Type // the type to encode
	// Path is the field path from Root, such as .Items[].Done; empty for Root itself.
	Path   string
	Type   reflect.Type // the type at that path
	Reason string
}

func (e *TypeError) Error() string {
	return fmt.Sprintf("type %v cannot be encoded: %v%s is %v: %s", e.Root, e.Root, e.Path, e.Type, e.Reason)
}

type kind uint8

const (
	kBool kind = iota
	kInt
	kUint
	kFloat64
	kFloat32
	kString
	kBytes
	kFixed // n bytes, unchanged
	kOther // encoded by enc, decoded by dec
)

// op encodes the value at one offset.
type op struct {
	kind   kind
	size   uint8 // of an int, uint or bool
	offset uintptr
	n      int // bytes of a kFixed, minimum of a kOther
	enc    func(dst []byte, p unsafe.Pointer) []byte
	dec    func(src []byte, p unsafe.Pointer) ([]byte, error)
}

type program struct {
	ops        []op
	minBytes   int // of an encoding; zero only for types without data
	isCompiled bool
}

// Codec encodes and decodes values of type T. It is safe for concurrent use.
type Codec[T any] struct {
	prog *program
}

// For compiles the codec of T. It returns a *TypeError if T contains channels, functions,
// interfaces or unsafe pointers.
func For[T any]() (*Codec[T], error) {
	t := reflect.TypeFor[T]()
	p, err := programOf(t, t, "")
	if err != nil {
		return nil, err
	}
	return &Codec[T]{p}, nil
}

// Append appends the encoding of v to dst.
func (c *Codec[T]) Append(dst []byte, v *T) []byte {
	return c.prog.append(dst, unsafe.Pointer(v))
}

// Decode decodes one value from the front of src into v and returns the rest. All fields are
// overwritten. Strings and byte slices in v alias src. If src is not an encoding, the error wraps
// ErrCorrupt.
func (c *Codec[T]) Decode(src []byte, v *T) ([]byte, error) {
	return c.prog.decode(src, unsafe.Pointer(v))
}

func (pr *program) append(dst []byte, base unsafe.Pointer) []byte {
	for i := range pr.ops {
		o := &pr.ops[i]
		p := unsafe.Add(base, o.offset)
		switch o.kind {
		case kBool:
			dst = append(dst, *(*byte)(p))
		case kInt:
			dst = binary.AppendVarint(dst, loadInt(p, o.size))
		case kUint:
			dst = binary.AppendUvarint(dst, loadUint(p, o.size))
		case kFloat64:
			dst = binary.LittleEndian.AppendUint64(dst, *(*uint64)(p))
		case kFloat32:
			dst = binary.LittleEndian.AppendUint32(dst, *(*uint32)(p))
		case kString:
			s := *(*string)(p)
			dst = append(binary.AppendUvarint(dst, uint64(len(s))), s...)
		case kBytes:
			b := *(*[]byte)(p)
			if b == nil {
				dst = append(dst, 0)
				break
			}
			dst = append(binary.AppendUvarint(dst, uint64(len(b))+1), b...)
		case kFixed:
			dst = append(dst, unsafe.Slice((*byte)(p), o.n)...)
		default:
			dst = o.enc(dst, p)
		}
	}
	return dst
}

func (pr *program) decode(src []byte, base unsafe.Pointer) ([]byte, error) {
	for i := range pr.ops {
		o := &pr.ops[i]
		p := unsafe.Add(base, o.offset)
		switch o.kind {
		case kBool:
			if len(src) < 1 || src[0] > 1 {
				return nil, corrupt("bool")
			}
			*(*byte)(p) = src[0]
			src = src[1:]
		case kInt:
			v, n := binary.Varint(src)
			if n <= 0 || !storeInt(p, o.size, v) {
				return nil, corrupt("integer")
			}
			src = src[n:]
		case kUint:
			v, n := binary.Uvarint(src)
			if n <= 0 || !storeUint(p, o.size, v) {
				return nil, corrupt("unsigned integer")
			}
			src = src[n:]
		case kFloat64:
			if len(src) < 8 {
				return nil, corrupt("float64")
			}
			*(*uint64)(p) = binary.LittleEndian.Uint64(src)
			src = src[8:]
		case kFloat32:
			if len(src) < 4 {
				return nil, corrupt("float32")
			}
			*(*uint32)(p) = binary.LittleEndian.Uint32(src)
			src = src[4:]
		case kString:
			n, w := binary.Uvarint(src)
			if w <= 0 || n > uint64(len(src)-w) {
				return nil, corrupt("string")
			}
			*(*string)(p) = unsafe.String(unsafe.SliceData(src[w:]), n)
			src = src[w+int(n):]
		case kBytes:
			n, w := binary.Uvarint(src)
			if w <= 0 || n > uint64(len(src)-w)+1 {
				return nil, corrupt("bytes")
			}
			if n == 0 {
				*(*[]byte)(p) = nil
				src = src[w:]
				break
			}
			end := w + int(n) - 1
			*(*[]byte)(p) = src[w:end:end]
			src = src[end:]
		case kFixed:
			if len(src) < o.n {
				return nil, corrupt("array")
			}
			copy(unsafe.Slice((*byte)(p), o.n), src)
			src = src[o.n:]
		default:
			var err error
			if src, err = o.dec(src, p); err != nil {
				return nil, err
			}
		}
	}
	return src, nil
}

func corrupt(what string) error { return fmt.Errorf("%s: %w", what, ErrCorrupt) }

func loadInt(p unsafe.Pointer, size uint8) int64 {
	switch size {
	case 8:
		return *(*int64)(p)
	case 4:
		return int64(*(*int32)(p))
	case 2:
		return int64(*(*int16)(p))
	}
	return int64(*(*int8)(p))
}

func loadUint(p unsafe.Pointer, size uint8) uint64 {
	switch size {
	case 8:
		return *(*uint64)(p)
	case 4:
		return uint64(*(*uint32)(p))
	case 2:
		return uint64(*(*uint16)(p))
	}
	return uint64(*(*uint8)(p))
}

func storeInt(p unsafe.Pointer, size uint8, v int64) bool {
	switch size {
	case 8:
		*(*int64)(p) = v
	case 4:
		*(*int32)(p) = int32(v)
		return int64(int32(v)) == v
	case 2:
		*(*int16)(p) = int16(v)
		return int64(int16(v)) == v
	default:
		*(*int8)(p) = int8(v)
		return int64(int8(v)) == v
	}
	return true
}

func storeUint(p unsafe.Pointer, size uint8, v uint64) bool {
	switch size {
	case 8:
		*(*uint64)(p) = v
	case 4:
		*(*uint32)(p) = uint32(v)
		return uint64(uint32(v)) == v
	case 2:
		*(*uint16)(p) = uint16(v)
		return uint64(uint16(v)) == v
	default:
		*(*uint8)(p) = uint8(v)
		return uint64(uint8(v)) == v
	}
	return true
}

var (
	programs sync.Map // reflect.Type -> *program

	typeTime     = reflect.TypeFor[time.Time]()
	typeAppender = reflect.TypeFor[encoding.BinaryAppender]()
	typeMarshal  = reflect.TypeFor[encoding.BinaryMarshaler]()
	typeUnmarsh  = reflect.TypeFor[encoding.BinaryUnmarshaler]()
)

func programOf(root, t reflect.Type, path string) (*program, error) {
	if p, ok := programs.Load(t); ok {
		return p.(*program), nil
	}
	c := &compiler{root: root, open: map[reflect.Type]*program{}}
	p, err := c.compile(t, path)
	if err != nil {
		return nil, err
	}
	programs.Store(t, p)
	return p, nil
}

// compiler compiles one root type. A type that contains itself through a pointer, slice or map
// finds its unfinished program in open.
type compiler struct {
	root reflect.Type
	open map[reflect.Type]*program
}

func (c *compiler) compile(t reflect.Type, path string) (*program, error) {
	if p, ok := c.open[t]; ok {
		if !p.isCompiled {
			return recursiveProgram(p, t), nil
		}
		return p, nil
	}
	p := &program{}
	c.open[t] = p
	ops, err := c.compileOps(nil, t, 0, path)
	if err != nil {
		return nil, err
	}
	p.ops = ops
	for i := range ops {
		p.minBytes += ops[i].minBytes()
	}
	p.isCompiled = true
	return p, nil
}

// maxDepth limits the nesting of values of one recursive type, over all goroutines: a stack
// overflow would end the process.
const maxDepth = 50_000

// recursiveProgram returns the program of a type inside itself. Its values may be nested without
// end.
func recursiveProgram(p *program, t reflect.Type) *program {
	depth := new(atomic.Int64)
	return &program{minBytes: 1, ops: []op{{kind: kOther, n: 1,
		enc: func(dst []byte, v unsafe.Pointer) []byte {
			defer depth.Add(-1)
			if depth.Add(1) > maxDepth {
				// becomes the attempt's failure
				panic(fmt.Errorf("encode %v: more than %d values lie within each other; perhaps one contains itself", t, maxDepth))
			}
			return p.append(dst, v)
		},
		dec: func(src []byte, v unsafe.Pointer) ([]byte, error) { return p.decode(src, v) },
	}}}
}

func (o *op) minBytes() int {
	switch o.kind {
	case kFloat64:
		return 8
	case kFloat32:
		return 4
	case kFixed, kOther:
		return o.n
	}
	return 1
}

func (c *compiler) typeError(t reflect.Type, path, why string) error {
	return &TypeError{Root: c.root, Path: path, Type: t, Reason: why}
}

// compileOps appends the operations for a value of type t at offset off.
func (c *compiler) compileOps(ops []op, t reflect.Type, off uintptr, path string) ([]op, error) {
	if o, ok := marshalOp(t); ok {
		o.offset = off
		return append(ops, o), nil
	}
	o := op{offset: off, size: uint8(min(t.Size(), 8))}
	switch t.Kind() {
	case reflect.Bool:
		o.kind = kBool
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		o.kind = kInt
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64, reflect.Uintptr:
		o.kind = kUint
	case reflect.Float64:
		o.kind = kFloat64
	case reflect.Float32:
		o.kind = kFloat32
	case reflect.Complex64, reflect.Complex128:
		o.kind, o.n = kFixed, int(t.Size())
	case reflect.String:
		o.kind = kString
	case reflect.Struct:
		for i := range t.NumField() {
			f := t.Field(i)
			if f.Name == "_" {
				continue
			}
			var err error
			if ops, err = c.compileOps(ops, f.Type, off+f.Offset, path+"."+f.Name); err != nil {
				return nil, err
			}
		}
		return ops, nil
	case reflect.Array:
		e := t.Elem()
		if e.Kind() == reflect.Uint8 {
			o.kind, o.n = kFixed, t.Len()
			break
		}
		ep, err := c.compile(e, path+"[]")
		if err != nil {
			return nil, err
		}
		o.kind, o.n = kOther, t.Len()*ep.minBytes
		o.enc, o.dec = arrayCodec(ep, t.Len(), e.Size())
	case reflect.Slice:
		e := t.Elem()
		if e.Kind() == reflect.Uint8 {
			o.kind = kBytes
			break
		}
		ep, err := c.compile(e, path+"[]")
		if err != nil {
			return nil, err
		}
		o.kind, o.n = kOther, 1
		o.enc, o.dec = sliceCodec(ep, t)
	case reflect.Pointer:
		ep, err := c.compile(t.Elem(), path)
		if err != nil {
			return nil, err
		}
		o.kind, o.n = kOther, 1
		o.enc, o.dec = pointerCodec(ep, t.Elem())
	case reflect.Map:
		kp, err := c.compile(t.Key(), path+"[key]")
		if err != nil {
			return nil, err
		}
		ep, err := c.compile(t.Elem(), path+"[]")
		if err != nil {
			return nil, err
		}
		o.kind, o.n = kOther, 1
		o.enc, o.dec = mapCodec(kp, ep, t)
	case reflect.Interface:
		return nil, c.typeError(t, path, "an interface does not say what to decode; use a concrete type")
	default:
		return nil, c.typeError(t, path, "a "+t.Kind().String()+" has no meaning in another process; leave it out of the record")
	}
	return append(ops, o), nil
}

func arrayCodec(ep *program, n int, size uintptr) (func([]byte, unsafe.Pointer) []byte, func([]byte, unsafe.Pointer) ([]byte, error)) {
	return func(dst []byte, p unsafe.Pointer) []byte {
			for i := range n {
				dst = ep.append(dst, unsafe.Add(p, uintptr(i)*size))
			}
			return dst
		}, func(src []byte, p unsafe.Pointer) ([]byte, error) {
			var err error
			for i := range n {
				if src, err = ep.decode(src, unsafe.Add(p, uintptr(i)*size)); err != nil {
					return nil, err
				}
			}
			return src, nil
		}
}

func sliceCodec(ep *program, t reflect.Type) (func([]byte, unsafe.Pointer) []byte, func([]byte, unsafe.Pointer) ([]byte, error)) {
	size := t.Elem().Size()
	return func(dst []byte, p unsafe.Pointer) []byte {
			h := *(*[]byte)(p) // only the header: pointer, length, capacity
			if h == nil {
				return append(dst, 0)
			}
			dst = binary.AppendUvarint(dst, uint64(len(h))+1)
			data := unsafe.Pointer(unsafe.SliceData(h))
			for i := 0; i < len(h) && ep.minBytes > 0; i++ {
				dst = ep.append(dst, unsafe.Add(data, uintptr(i)*size))
			}
			return dst
		}, func(src []byte, p unsafe.Pointer) ([]byte, error) {
			n, src, err := readCount(src, ep.minBytes, size == 0)
			if err != nil {
				return nil, err
			}
			v := reflect.NewAt(t, p).Elem()
			if n < 0 {
				v.SetZero()
				return src, nil
			}
			s := reflect.MakeSlice(t, n, n)
			data := s.UnsafePointer()
			for i := 0; i < n && ep.minBytes > 0; i++ {
				if src, err = ep.decode(src, unsafe.Add(data, uintptr(i)*size)); err != nil {
					return nil, err
				}
			}
			v.Set(s)
			return src, nil
		}
}

// readCount reads a length that was stored plus one; -1 stands for nil. Each element takes at least
// minBytes bytes, so it rejects a length that does not fit into the rest of src: hostile bytes
// cannot cause huge allocations. With free set, elements take no memory.
func readCount(src []byte, minBytes int, free bool) (int, []byte, error) {
	n, w := binary.Uvarint(src)
	if w <= 0 {
		return 0, nil, corrupt("length")
	}
	src = src[w:]
	if n == 0 {
		return -1, src, nil
	}
	n--
	if n > uint64(len(src)/max(1, minBytes)) && !(free && n <= math.MaxInt32) {
		return 0, nil, corrupt("length")
	}
	return int(n), src, nil
}

func pointerCodec(ep *program, e reflect.Type) (func([]byte, unsafe.Pointer) []byte, func([]byte, unsafe.Pointer) ([]byte, error)) {
	return func(dst []byte, p unsafe.Pointer) []byte {
			q := *(*unsafe.Pointer)(p)
			if q == nil {
				return append(dst, 0)
			}
			return ep.append(append(dst, 1), q)
		}, func(src []byte, p unsafe.Pointer) ([]byte, error) {
			if len(src) == 0 || src[0] > 1 {
				return nil, corrupt("pointer")
			}
			if src[0] == 0 {
				*(*unsafe.Pointer)(p) = nil
				return src[1:], nil
			}
			q := reflect.New(e).UnsafePointer()
			src, err := ep.decode(src[1:], q)
			if err != nil {
				return nil, err
			}
			*(*unsafe.Pointer)(p) = q
			return src, nil
		}
}

// mapCodec writes entries in the order of their encoded keys, so equal maps have equal encodings.
func mapCodec(kp, ep *program, t reflect.Type) (func([]byte, unsafe.Pointer) []byte, func([]byte, unsafe.Pointer) ([]byte, error)) {
	return func(dst []byte, p unsafe.Pointer) []byte {
			m := reflect.NewAt(t, p).Elem()
			if m.IsNil() {
				return append(dst, 0)
			}
			dst = binary.AppendUvarint(dst, uint64(m.Len())+1)
			var all [][]byte
			k, e := reflect.New(t.Key()), reflect.New(t.Elem())
			for it := m.MapRange(); it.Next(); {
				k.Elem().SetIterKey(it)
				e.Elem().SetIterValue(it)
				all = append(all, ep.append(kp.append(nil, k.UnsafePointer()), e.UnsafePointer()))
			}
			slices.SortFunc(all, bytes.Compare)
			for _, x := range all {
				dst = append(dst, x...)
			}
			return dst
		}, func(src []byte, p unsafe.Pointer) ([]byte, error) {
			// there is only one possible key, and an entry takes no bytes
			none := kp.minBytes+ep.minBytes == 0
			n, src, err := readCount(src, kp.minBytes+ep.minBytes, none)
			if err != nil {
				return nil, err
			}
			v := reflect.NewAt(t, p).Elem()
			if n < 0 {
				v.SetZero()
				return src, nil
			}
			if none {
				n = min(n, 1)
			}
			m := reflect.MakeMapWithSize(t, min(n, 1<<16))
			for range n {
				k, e := reflect.New(t.Key()), reflect.New(t.Elem())
				if src, err = kp.decode(src, k.UnsafePointer()); err != nil {
					return nil, err
				}
				if src, err = ep.decode(src, e.UnsafePointer()); err != nil {
					return nil, err
				}
				m.SetMapIndex(k.Elem(), e.Elem())
			}
			v.Set(m)
			return src, nil
		}
}

// marshalOp returns an op for types with their own encoding: AppendBinary or MarshalBinary, and
// UnmarshalBinary. Methods of embedded fields do not count.
func marshalOp(t reflect.Type) (op, bool) {
	pt := reflect.PointerTo(t)
	if t.Kind() == reflect.Pointer || t.Kind() == reflect.Interface || !pt.Implements(typeUnmarsh) || !OwnMethod(t, "UnmarshalBinary") {
		return op{}, false
	}
	var enc func(dst []byte, v any) ([]byte, error)
	switch {
	case pt.Implements(typeAppender) && OwnMethod(t, "AppendBinary"):
		enc = func(dst []byte, v any) ([]byte, error) { return v.(encoding.BinaryAppender).AppendBinary(dst) }
	case pt.Implements(typeMarshal) && OwnMethod(t, "MarshalBinary"):
		enc = func(dst []byte, v any) ([]byte, error) {
			b, err := v.(encoding.BinaryMarshaler).MarshalBinary()
			return append(dst, b...), err
		}
	default:
		return op{}, false
	}
	return op{kind: kOther, n: 4,
		enc: func(dst []byte, p unsafe.Pointer) []byte {
			at := len(dst)
			dst = append(dst, 0, 0, 0, 0)
			out, err := enc(dst, reflect.NewAt(t, p).Interface())
			if err != nil {
				panic(fmt.Errorf("encode %v: %w", t, err)) // becomes the attempt's failure
			}
			binary.LittleEndian.PutUint32(out[at:], uint32(len(out)-at-4))
			return out
		},
		dec: func(src []byte, p unsafe.Pointer) ([]byte, error) {
			if len(src) < 4 || uint64(binary.LittleEndian.Uint32(src)) > uint64(len(src)-4) {
				return nil, corrupt(t.String())
			}
			n := 4 + int(binary.LittleEndian.Uint32(src))
			v := reflect.NewAt(t, p)
			v.Elem().SetZero()
			if err := v.Interface().(encoding.BinaryUnmarshaler).UnmarshalBinary(src[4:n:n]); err != nil {
				return nil, fmt.Errorf("%v: %w: %w", t, err, ErrCorrupt)
			}
			return src[n:], nil
		}}, true
}
