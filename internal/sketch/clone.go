package sketch

import (
	"reflect"
	"strings"
	"sync"
	"unsafe"
)

// Cloner copies the memory that a value of one type shares with the buffer it was read from:
// strings and slices, also inside structs, arrays and slices. It does not follow pointers, maps,
// interfaces, channels and functions.
type Cloner struct {
	fields []cloneField // strings and slices by offset; empty when the type has none
}

type cloneField struct {
	off   uintptr
	slice reflect.Type // nil for a string
	elem  *Cloner      // of a slice's elements
}

// cloners maps a reflect.Type to its *Cloner. mu guards compilation; a type may contain slices of
// itself.
var (
	cloners sync.Map
	mu      sync.Mutex
)

// ClonerOf returns the Cloner of T. It is compiled once per type.
func ClonerOf[T any]() *Cloner {
	t := reflect.TypeFor[T]()
	if c, ok := cloners.Load(t); ok {
		return c.(*Cloner)
	}
	mu.Lock()
	defer mu.Unlock()
	made := map[reflect.Type]*Cloner{}
	c := compileCloner(t, made)
	for t, c := range made {
		cloners.LoadOrStore(t, c)
	}
	return c
}

func compileCloner(t reflect.Type, made map[reflect.Type]*Cloner) *Cloner {
	if c := made[t]; c != nil {
		return c
	}
	c := new(Cloner)
	made[t] = c
	c.addFields(t, 0, made)
	return c
}

func (c *Cloner) addFields(t reflect.Type, off uintptr, made map[reflect.Type]*Cloner) {
	switch t.Kind() {
	case reflect.String:
		c.fields = append(c.fields, cloneField{off: off})
	case reflect.Slice:
		c.fields = append(c.fields, cloneField{off, t, compileCloner(t.Elem(), made)})
	case reflect.Struct:
		for i := range t.NumField() {
			c.addFields(t.Field(i).Type, off+t.Field(i).Offset, made)
		}
	case reflect.Array:
		if t.Len() > 0 && HasPointers(t.Elem()) {
			for i := range t.Len() {
				c.addFields(t.Elem(), off+uintptr(i)*t.Elem().Size(), made)
			}
		}
	}
}

// Clone copies the strings and slices of the value at p, in place. p must point to a value of the
// Cloner's type.
func (c *Cloner) Clone(p unsafe.Pointer) {
	for i := range c.fields {
		f := &c.fields[i]
		at := unsafe.Add(p, f.off)
		if f.slice == nil {
			s := (*string)(at)
			*s = strings.Clone(*s)
			continue
		}
		old := reflect.NewAt(f.slice, at).Elem()
		if old.IsNil() {
			continue
		}
		s := reflect.MakeSlice(f.slice, old.Len(), old.Len())
		reflect.Copy(s, old)
		old.Set(s)
		if len(f.elem.fields) > 0 {
			for j := range s.Len() {
				f.elem.Clone(s.Index(j).Addr().UnsafePointer())
			}
		}
	}
}

// Size returns the bytes of the strings and slices of the value at p.
func (c *Cloner) Size(p unsafe.Pointer) (bytes int) {
	for i := range c.fields {
		f := &c.fields[i]
		at := unsafe.Add(p, f.off)
		if f.slice == nil {
			bytes += len(*(*string)(at))
			continue
		}
		s := reflect.NewAt(f.slice, at).Elem()
		bytes += s.Cap() * int(f.slice.Elem().Size())
		if len(f.elem.fields) > 0 {
			for j := range s.Len() {
				bytes += f.elem.Size(s.Index(j).Addr().UnsafePointer())
			}
		}
	}
	return bytes
}

// HasPointers reports whether values of type t point to other memory.
func HasPointers(t reflect.Type) bool {
	switch t.Kind() {
	case reflect.Array:
		return t.Len() > 0 && HasPointers(t.Elem())
	case reflect.Struct:
		for i := range t.NumField() {
			if HasPointers(t.Field(i).Type) {
				return true
			}
		}
		return false
	case reflect.Chan, reflect.Func, reflect.Interface, reflect.Map, reflect.Pointer, reflect.Slice, reflect.String,
		reflect.UnsafePointer:
		return true
	}
	return false
}
