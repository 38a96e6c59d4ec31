package sketch

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"reflect"
	"sync"
	"unsafe"

	"github.com/zeebo/xxh3"
)

type keyClass uint8

const (
	classString keyClass = iota // the bytes of the string
	classNum                    // one uint64
	classBytes                  // a struct or an array, as the bytes of its fields
)

// keyPlan describes how values of one key type become bytes and back. Equal keys give equal bytes
// in every process.
type keyPlan struct {
	class  keyClass
	fields []keyField // in memory order, without blank fields
	err    error      // the reason why the type cannot be a key
}

// keyField is a string, a number or a bool inside a key.
type keyField struct {
	off  uintptr
	kind reflect.Kind
}

var keyPlans sync.Map // reflect.Type -> *keyPlan

func keyPlanOf[K comparable]() *keyPlan {
	t := reflect.TypeFor[K]()
	if p, ok := keyPlans.Load(t); ok {
		return p.(*keyPlan)
	}
	p := new(keyPlan)
	if p.err = p.addFields(t, t.String(), 0); p.err != nil {
		p.err = fmt.Errorf("key %w; keys may contain only strings, numbers and bools", p.err)
	}
	switch t.Kind() {
	case reflect.String:
		p.class = classString
	case reflect.Struct, reflect.Array, reflect.Complex64, reflect.Complex128:
		p.class = classBytes
	default:
		p.class = classNum
	}
	have, _ := keyPlans.LoadOrStore(t, p)
	return have.(*keyPlan)
}

// CheckKeys returns an error if a value of type t may hold a Set or ApproxSet with an impossible
// type of keys. It finds them in fields, elements, map values and behind pointers.
func CheckKeys(t reflect.Type) error { return checkKeys(t, map[reflect.Type]bool{}) }

func checkKeys(t reflect.Type, seen map[reflect.Type]bool) error {
	if seen[t] {
		return nil
	}
	seen[t] = true
	if t.Kind() == reflect.Struct && t.PkgPath() == reflect.TypeFor[keyPlan]().PkgPath() {
		if set, ok := reflect.Zero(t).Interface().(interface{ keyError() error }); ok {
			return set.keyError()
		}
	}
	switch t.Kind() {
	case reflect.Map, reflect.Slice, reflect.Array, reflect.Pointer:
		return checkKeys(t.Elem(), seen)
	case reflect.Struct:
		for i := range t.NumField() {
			if err := checkKeys(t.Field(i).Type, seen); err != nil {
				return err
			}
		}
	}
	return nil
}

func (s Set[K]) keyError() error       { return keyPlanOf[K]().err }
func (s ApproxSet[K]) keyError() error { return keyPlanOf[K]().err }

func (p *keyPlan) addFields(t reflect.Type, path string, off uintptr) error {
	switch k := t.Kind(); k {
	case reflect.Struct:
		for i := range t.NumField() {
			f := t.Field(i)
			if f.Name == "_" {
				continue // == ignores it too
			}
			if err := p.addFields(f.Type, path+"."+f.Name, off+f.Offset); err != nil {
				return err
			}
		}
	case reflect.Array:
		for i := range t.Len() {
			if err := p.addFields(t.Elem(), path+"[]", off+uintptr(i)*t.Elem().Size()); err != nil {
				return err
			}
		}
	case reflect.Complex64:
		p.fields = append(p.fields, keyField{off, reflect.Float32}, keyField{off + 4, reflect.Float32})
	case reflect.Complex128:
		p.fields = append(p.fields, keyField{off, reflect.Float64}, keyField{off + 8, reflect.Float64})
	case reflect.Chan, reflect.Interface, reflect.Pointer, reflect.UnsafePointer:
		return fmt.Errorf("%s is of type %s", path, t)
	default:
		p.fields = append(p.fields, keyField{off, k})
	}
	return nil
}

// load returns the number or bool of the key at k as a uint64 in the same order. Negative zero
// becomes zero. All NaNs become one NaN, so they are equal here.
func (f keyField) load(k unsafe.Pointer) uint64 {
	const sign = 1 << 63
	p := unsafe.Add(k, f.off)
	switch f.kind {
	case reflect.Bool, reflect.Uint8:
		return uint64(*(*uint8)(p))
	case reflect.Uint16:
		return uint64(*(*uint16)(p))
	case reflect.Uint32:
		return uint64(*(*uint32)(p))
	case reflect.Uint, reflect.Uintptr:
		return uint64(*(*uint)(p))
	case reflect.Uint64:
		return *(*uint64)(p)
	case reflect.Int8:
		return uint64(*(*int8)(p)) ^ sign
	case reflect.Int16:
		return uint64(*(*int16)(p)) ^ sign
	case reflect.Int32:
		return uint64(*(*int32)(p)) ^ sign
	case reflect.Int:
		return uint64(*(*int)(p)) ^ sign
	case reflect.Int64:
		return uint64(*(*int64)(p)) ^ sign
	case reflect.Float32:
		return orderedFloat(float64(*(*float32)(p)))
	default:
		return orderedFloat(*(*float64)(p))
	}
}

// store is the inverse of load.
func (f keyField) store(k unsafe.Pointer, x uint64) {
	const sign = 1 << 63
	p := unsafe.Add(k, f.off)
	switch f.kind {
	case reflect.Bool:
		*(*bool)(p) = x != 0
	case reflect.Uint8:
		*(*uint8)(p) = uint8(x)
	case reflect.Uint16:
		*(*uint16)(p) = uint16(x)
	case reflect.Uint32:
		*(*uint32)(p) = uint32(x)
	case reflect.Uint, reflect.Uintptr:
		*(*uint)(p) = uint(x)
	case reflect.Uint64:
		*(*uint64)(p) = x
	case reflect.Int8:
		*(*int8)(p) = int8(x ^ sign)
	case reflect.Int16:
		*(*int16)(p) = int16(x ^ sign)
	case reflect.Int32:
		*(*int32)(p) = int32(x ^ sign)
	case reflect.Int:
		*(*int)(p) = int(x ^ sign)
	case reflect.Int64:
		*(*int64)(p) = int64(x ^ sign)
	case reflect.Float32:
		*(*float32)(p) = float32(fromOrderedFloat(x))
	default:
		*(*float64)(p) = fromOrderedFloat(x)
	}
}

// bias returns the result of load for zero, so that small numbers become small varints.
func (f keyField) bias() uint64 {
	switch f.kind {
	case reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int, reflect.Int64, reflect.Float32, reflect.Float64:
		return 1 << 63
	}
	return 0
}

// orderedFloat maps floats to uint64s in the same order. NaN comes last, and negative zero becomes
// zero.
func orderedFloat(x float64) uint64 {
	if x != x {
		return math.MaxUint64
	}
	u := math.Float64bits(x)
	switch {
	case x == 0:
		return 1 << 63
	case u>>63 != 0:
		return ^u
	}
	return u | 1<<63
}

func fromOrderedFloat(u uint64) float64 {
	switch {
	case u == math.MaxUint64:
		return math.NaN()
	case u>>63 == 0:
		return math.Float64frombits(^u)
	}
	return math.Float64frombits(u &^ (1 << 63))
}

// append appends the bytes of the key at k.
func (p *keyPlan) append(dst []byte, k unsafe.Pointer) []byte {
	for _, f := range p.fields {
		if f.kind == reflect.String {
			s := *(*string)(unsafe.Add(k, f.off))
			dst = binary.AppendUvarint(dst, uint64(len(s)))
			dst = append(dst, s...)
			continue
		}
		dst = binary.AppendUvarint(dst, f.load(k)^f.bias())
	}
	return dst
}

var errKey = errors.New("damaged key")

// decode reads a key from all of b into the zero key at k. Strings alias b.
func (p *keyPlan) decode(k unsafe.Pointer, b []byte) error {
	if p.class == classString {
		*(*string)(k) = unsafe.String(unsafe.SliceData(b), len(b))
		return nil
	}
	for _, f := range p.fields {
		x, w := uvarint(b)
		if w == 0 {
			return errKey
		}
		b = b[w:]
		if f.kind != reflect.String {
			f.store(k, x^f.bias())
			if f.load(k) != x^f.bias() {
				return errKey // the number does not fit the field
			}
			continue
		}
		if x > uint64(len(b)) {
			return errKey
		}
		*(*string)(unsafe.Add(k, f.off)) = unsafe.String(unsafe.SliceData(b), int(x))
		b = b[x:]
	}
	if len(b) != 0 {
		return errKey
	}
	return nil
}

// hash returns a hash of the key at k. It is the same in every process.
func (p *keyPlan) hash(k unsafe.Pointer) uint64 {
	switch p.class {
	case classString:
		return xxh3.HashString(*(*string)(k))
	case classNum:
		x := p.fields[0].load(k) ^ p.fields[0].bias()
		// The finalizer of MurmurHash3 is one to one, so integers never collide.
		x = (x ^ x>>33) * 0xff51afd7ed558ccd
		x = (x ^ x>>33) * 0xc4ceb9fe1a85ec53
		return x ^ x>>33
	default:
		var buf [64]byte
		return xxh3.Hash(p.append(buf[:0], k))
	}
}
