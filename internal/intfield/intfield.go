// Package intfield stores numbers in integer fields of structs, and loads them. A field is given by
// a pointer to it; its type is looked at once, when the function is made, so each call is one
// comparison and one store.
package intfield

import (
	"math"
	"reflect"
	"unsafe"
)

// TooLarge returns the error for a number that does not fit in an integer of type t. n is the
// number, or the largest int64 for a larger one.
type TooLarge func(t reflect.Type, n int64) error

// StoreInt returns a function that stores a number in a signed integer of type t.
func StoreInt(t reflect.Type, tooLarge TooLarge) func(unsafe.Pointer, int64) error {
	switch t.Size() {
	case 8:
		return func(p unsafe.Pointer, n int64) error { *(*int64)(p) = n; return nil }
	case 4:
		return storeNarrow[int32](t, tooLarge)
	case 2:
		return storeNarrow[int16](t, tooLarge)
	}
	return storeNarrow[int8](t, tooLarge)
}

// StoreUint returns a function that stores a number in an unsigned integer of type t.
func StoreUint(t reflect.Type, tooLarge TooLarge) func(unsafe.Pointer, uint64) error {
	narrow := storeNarrow[uint8](t, tooLarge)
	switch t.Size() {
	case 8:
		return func(p unsafe.Pointer, n uint64) error { *(*uint64)(p) = n; return nil }
	case 4:
		narrow = storeNarrow[uint32](t, tooLarge)
	case 2:
		narrow = storeNarrow[uint16](t, tooLarge)
	}
	return func(p unsafe.Pointer, n uint64) error { return narrow(p, int64(min(n, math.MaxInt64))) }
}

func storeNarrow[I int8 | int16 | int32 | uint8 | uint16 | uint32](t reflect.Type, tooLarge TooLarge) func(unsafe.Pointer, int64) error {
	return func(p unsafe.Pointer, n int64) error {
		if int64(I(n)) != n {
			return tooLarge(t, n)
		}
		*(*I)(p) = I(n)
		return nil
	}
}

// LoadInt returns a function that loads a signed integer of type t.
func LoadInt(t reflect.Type) func(unsafe.Pointer) int64 {
	switch t.Size() {
	case 8:
		return func(p unsafe.Pointer) int64 { return *(*int64)(p) }
	case 4:
		return func(p unsafe.Pointer) int64 { return int64(*(*int32)(p)) }
	case 2:
		return func(p unsafe.Pointer) int64 { return int64(*(*int16)(p)) }
	}
	return func(p unsafe.Pointer) int64 { return int64(*(*int8)(p)) }
}

// LoadUint returns a function that loads an unsigned integer of type t.
func LoadUint(t reflect.Type) func(unsafe.Pointer) uint64 {
	switch t.Size() {
	case 8:
		return func(p unsafe.Pointer) uint64 { return *(*uint64)(p) }
	case 4:
		return func(p unsafe.Pointer) uint64 { return uint64(*(*uint32)(p)) }
	case 2:
		return func(p unsafe.Pointer) uint64 { return uint64(*(*uint16)(p)) }
	}
	return func(p unsafe.Pointer) uint64 { return uint64(*(*uint8)(p)) }
}
