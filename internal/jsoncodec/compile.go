package jsoncodec

import (
	"fmt"
	"math"
	"reflect"
	"strconv"

	"github.com/layshaft/layshaft/internal/record"
)

// op is the way to read or write a value.
type op uint8

const (
	opSkip      op = iota // no field has this key
	opString              // string
	opInt64               // int64, and int where it has 64 bits
	opDecimal             // int64 holding a number times 10^scale
	opFloat64             // float64
	opBool                // bool
	opInt                 // signed integer of typ's size; scaled when scale > 0
	opUint                // unsigned integer of typ's size; scaled when scale > 0
	opFloat32             // float32
	opStruct              // obj
	opPointer             // elem
	opSlice               // elem
	opArray               // elem
	opMap                 // elem by string, integer or text key
	opStringMap           // map[string]string
	opAny                 // any
	opBytes               // []byte, in base64
	opRaw                 // json.RawMessage
	opNumber              // json.Number
	opJSON                // method UnmarshalJSON or MarshalJSON of the type
	opText                // method UnmarshalText or MarshalText of the type
	opQuoted              // elem, inside a string
	opVia                 // elem, in a struct embedded by pointer
	opColumn              // col, of a kind that readRow leaves to readColumn
)

// value is the table entry of one type.
type value struct {
	op    op
	scale uint8 // decimal digits after the point
	bits  uint8 // of integers
	// byPtr is set for opJSON and opText if the methods have a pointer receiver.
	byPtr bool
	size  uintptr
	typ   reflect.Type
	elem  *value
	obj   *object
	hops  []hop // opVia
}

// hop is an embedded pointer on the way to a promoted field.
type hop struct {
	off uintptr // of the pointer in its struct
	typ reflect.Type
}

// object is the table of one struct type.
type object struct {
	// keys are the keys of the struct's fields, in declaration order.
	keys []*key
	// names maps exact names to keys. Keys met in the input are added.
	names  map[string]*key
	folded map[string]*key // by name, ignoring case
	start  key             // precedes the first key, to predict it
	all    uint64          // bits of all keys
	wide   bool            // more than 63 keys, so keys have no bits
	embeds []uintptr       // offsets of embedded pointers on the way to promoted fields
	// dirty is for the root struct: the bits of the keys that the last record set.
	dirty uint64
	// ever has the bits of the keys that any record had.
	ever uint64
	// nullable is for columns: the bits of the keys whose columns have Nulls.
	nullable uint64
}

// key is one key of an object, with or without a field.
type key struct {
	// The first 16 bytes of token, and masks of the bytes to compare.
	w0, m0, w1, m1 uint64
	token          string // "name":
	next           *key   // the key that followed it last time
	bit            uint64
	number         int // of the field, from 0
	off            uintptr
	op             op
	scale          uint8   // of val
	val            *value  // nil for opSkip
	col            *Column // for opColumn and the kinds of columns, instead of off and val
	name           string

	omitEmpty, omitZero bool // for writing
}

// direction selects reading or writing, because a type may have methods for only one of them.
type direction bool

const (
	reading direction = false
	writing direction = true
)

// compiler compiles the tables of a type and of the types inside it.
type compiler struct {
	dir  direction
	seen map[seen]*value // types may contain themselves
}

type seen struct {
	typ  reflect.Type
	addr bool
}

func compile(t reflect.Type, dir direction) (*value, error) {
	c := compiler{dir, map[seen]*value{}}
	return c.compileValue(t, "", true)
}

// compileValue compiles type t, found at path. addr reports whether encoding/json can take the
// address of values of t. If not, pointer methods do not count when writing.
func (c *compiler) compileValue(t reflect.Type, path string, addr bool) (*value, error) {
	addr = addr || c.dir == reading
	if v := c.seen[seen{t, addr}]; v != nil {
		return v, nil
	}
	v := &value{typ: t, size: t.Size()}
	c.seen[seen{t, addr}] = v
	if t == rawType {
		v.op = opRaw
		return v, nil
	}
	if t == numberType {
		v.op = opNumber
		return v, nil
	}
	if v.op, v.byPtr = c.findMethod(t, addr); v.op != opSkip {
		method := map[direction]string{reading: "Unmarshal", writing: "Marshal"}[c.dir] + map[op]string{opJSON: "JSON", opText: "Text"}[v.op]
		if from, lost, ok := record.LosesFields(t, method, func(f reflect.StructField) bool { return f.IsExported() && f.Tag.Get("json") != "-" }); ok {
			return nil, typeError(path, t, fmt.Sprintf("its method %s comes from the embedded %s and would lose %s; give the embedded field a name, or tag the others json:\"-\"", method, from, lost))
		}
		return v, nil
	}

	var err error
	switch k := t.Kind(); k {
	case reflect.String:
		v.op = opString
	case reflect.Bool:
		v.op = opBool
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		v.op, v.bits = opInt, uint8(t.Bits())
		if v.bits == 64 {
			v.op = opInt64
		}
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64, reflect.Uintptr:
		v.op, v.bits = opUint, uint8(t.Bits())
	case reflect.Float32:
		v.op = opFloat32
	case reflect.Float64:
		v.op = opFloat64
	case reflect.Struct:
		v.op = opStruct
		v.obj, err = c.compileObject(t, path, addr)
	case reflect.Pointer:
		v.op = opPointer
		v.elem, err = c.compileValue(t.Elem(), path, true)
	case reflect.Slice:
		v.op = opSlice
		if e := t.Elem(); e.Kind() == reflect.Uint8 {
			if own, _ := c.findMethod(e, true); own == opSkip {
				v.op = opBytes
			}
		}
		v.elem, err = c.compileValue(t.Elem(), path+"[]", true)
	case reflect.Array:
		v.op = opArray
		v.elem, err = c.compileValue(t.Elem(), path+"[]", addr)
	case reflect.Map:
		if v.op = opMap; t == stringMapType {
			v.op = opStringMap
		} else if !c.isMapKey(t.Key()) {
			return nil, typeError(path, t, "map keys must be strings, integers or have text methods")
		}
		v.elem, err = c.compileValue(t.Elem(), path+"{}", false)
	case reflect.Interface:
		if v.op = opAny; c.dir == reading && t.NumMethod() > 0 {
			return nil, typeError(path, t, "the type to make for an interface is not known: use any or a concrete type")
		}
	default:
		return nil, typeError(path, t, "JSON has no form for it: leave it out with `json:\"-\"`")
	}
	return v, err
}

func typeError(path string, t reflect.Type, why string) error {
	if path == "" {
		return fmt.Errorf("type %s: %s", t, why)
	}
	return fmt.Errorf("field %s: type %s: %s", path, t, why)
}

// findMethod returns opJSON or opText if t has its own methods, and whether they have a pointer
// receiver.
func (c *compiler) findMethod(t reflect.Type, addr bool) (o op, byPtr bool) {
	byJSON, byText := jsonUnmarshaler, textUnmarshaler
	if c.dir == writing {
		byJSON, byText = jsonMarshaler, textMarshaler
	}
	if t.Kind() == reflect.Interface || c.dir == reading && t.Kind() == reflect.Pointer {
		return opSkip, false
	}
	p := reflect.PointerTo(t)
	ptr := addr && t.Kind() != reflect.Pointer
	switch {
	case ptr && p.Implements(byJSON):
		return opJSON, true
	case t.Implements(byJSON):
		return opJSON, false
	case ptr && p.Implements(byText):
		return opText, true
	case t.Implements(byText):
		return opText, false
	}
	return opSkip, false
}

func (c *compiler) isMapKey(t reflect.Type) bool {
	k := t.Kind()
	return k == reflect.String || k >= reflect.Int && k <= reflect.Uintptr ||
		c.dir == reading && reflect.PointerTo(t).Implements(textUnmarshaler) || c.dir == writing && t.Implements(textMarshaler)
}

func (c *compiler) compileObject(t reflect.Type, path string, addr bool) (*object, error) {
	fields := structFields(t)
	o := &object{names: map[string]*key{}, folded: map[string]*key{}, wide: len(fields) > 63}
	o.start.next, o.start.m0 = &o.start, math.MaxUint64 // matches no key
	for i, f := range fields {
		where := f.name
		if path != "" {
			where = path + "." + f.name
		}
		v, err := c.compileField(f, where, addr)
		if err != nil {
			return nil, err
		}
		k := o.key(f.name)
		k.number, k.omitEmpty, k.omitZero = i, f.omitEmpty, f.omitZero
		if !o.wide {
			k.bit = 1 << i
			o.all |= k.bit
		}
		if err := c.locate(k, t, f, v, where, o); err != nil {
			return nil, err
		}
		o.keys = append(o.keys, k)
		o.names[f.name] = k
		if fn := fold(f.name); o.folded[fn] == nil {
			o.folded[fn] = k
		}
	}
	return o, nil
}

// compileField compiles the type of f and applies its tags.
func (c *compiler) compileField(f field, path string, addr bool) (*value, error) {
	v, err := c.compileValue(f.Type, path, addr)
	if err != nil {
		return nil, err
	}
	if tag, ok := f.Tag.Lookup("decimal"); ok {
		n, err := strconv.ParseUint(tag, 10, 8)
		if err != nil || n > 18 {
			return nil, fmt.Errorf("field %s: tag decimal:%q is not a number of digits from 0 to 18", path, tag)
		}
		if v, err = withScale(v, uint8(n)); err != nil {
			return nil, fmt.Errorf("field %s: tag decimal needs an integer, not %s", path, f.Type)
		}
	}
	if f.quoted {
		v = withQuotes(v)
	}
	return v, nil
}

// withScale returns a copy of v with the given number of decimals. v is an integer or a pointer to
// one.
func withScale(v *value, digits uint8) (*value, error) {
	if v == nil {
		return nil, strconv.ErrSyntax
	}
	w := *v
	switch w.scale = digits; v.op {
	case opInt64:
		w.op = opDecimal
	case opInt, opUint:
	case opPointer:
		elem, err := withScale(v.elem, digits)
		w.elem = elem
		return &w, err
	default:
		return nil, strconv.ErrSyntax
	}
	return &w, nil
}

// withQuotes returns v inside a JSON string. A nil pointer stays null without quotes.
func withQuotes(v *value) *value {
	switch v.op {
	case opJSON, opText:
		return v
	case opPointer:
		w := *v
		w.elem = withQuotes(v.elem)
		return &w
	}
	return &value{op: opQuoted, typ: v.typ, size: v.size, elem: v}
}

// locate sets the offset of k's field in a struct of type t, and the embedded pointers on the way
// to it.
func (c *compiler) locate(k *key, t reflect.Type, f field, v *value, path string, o *object) error {
	var hops []hop
	off := uintptr(0)
	for n, i := range f.index {
		sf := t.Field(i)
		off += sf.Offset
		if t = sf.Type; n == len(f.index)-1 {
			break
		}
		if t.Kind() == reflect.Pointer {
			if t = t.Elem(); c.dir == reading && !sf.IsExported() {
				return fmt.Errorf("field %s: embedded pointer to unexported struct %s cannot be set: embed %s itself", path, t, t)
			}
			if len(hops) == 0 {
				o.embeds = append(o.embeds, off)
			}
			hops = append(hops, hop{off, t})
			off = 0
		}
	}
	k.off, k.op, k.scale, k.val = off, v.op, v.scale, v
	if hops != nil {
		k.op, k.val, k.off = opVia, &value{op: opVia, elem: v, hops: hops, size: off}, 0
	}
	return nil
}

// key returns a new key without a field.
func (o *object) key(name string) *key {
	k := &key{name: name, token: `"` + name + `":`, next: &o.start}
	var b [16]byte
	n := copy(b[:], k.token)
	word := func(i int) (w, m uint64) {
		for j := range 8 {
			if w |= uint64(b[i+j]) << (8 * j); i+j < n {
				m |= math.MaxUint8 << (8 * j)
			}
		}
		return w, m
	}
	k.w0, k.m0 = word(0)
	k.w1, k.m1 = word(8)
	return k
}
