package intfield

import (
	"errors"
	"math"
	"reflect"
	"testing"
	"unsafe"
)

var errTooLarge = errors.New("too large")

// check stores n in an integer of type I and expects it there, or an error if it does not fit.
func check[I int8 | int16 | int32 | int64 | int](t *testing.T, n int64) {
	t.Helper()
	typ := reflect.TypeFor[I]()
	around := [3]I{1, 2, 3}
	p := unsafe.Pointer(&around[1])
	err := StoreInt(typ, func(at reflect.Type, x int64) error {
		if at != typ || x != n {
			t.Errorf("%d in %v is reported as %d in %v", n, typ, x, at)
		}
		return errTooLarge
	})(p, n)
	want := int64(I(n))
	if fits := want == n; fits != (err == nil) || !fits && !errors.Is(err, errTooLarge) {
		t.Errorf("%d in %v: %v", n, typ, err)
	} else if !fits {
		want = 2
	}
	if got := LoadInt(typ)(p); got != want || around[0] != 1 || around[2] != 3 {
		t.Errorf("%d in %v: %d in %v, want %d", n, typ, got, around, want)
	}
}

func checkUint[I uint8 | uint16 | uint32 | uint64 | uint](t *testing.T, n uint64) {
	t.Helper()
	typ := reflect.TypeFor[I]()
	around := [3]I{1, 2, 3}
	p := unsafe.Pointer(&around[1])
	err := StoreUint(typ, func(reflect.Type, int64) error { return errTooLarge })(p, n)
	want := uint64(I(n))
	if fits := want == n; fits != (err == nil) {
		t.Errorf("%d in %v: %v", n, typ, err)
	} else if !fits {
		want = 2
	}
	if got := LoadUint(typ)(p); got != want || around[0] != 1 || around[2] != 3 {
		t.Errorf("%d in %v: %d in %v, want %d", n, typ, got, around, want)
	}
}

func TestStoreAndLoad(t *testing.T) {
	for _, n := range []int64{0, -1, 127, 128, -128, -129, 1<<15 - 1, 1 << 15, -1 << 15, -1<<15 - 1, 1<<31 - 1, 1 << 31, -1 << 31, -1<<31 - 1, math.MaxInt64, math.MinInt64} {
		check[int8](t, n)
		check[int16](t, n)
		check[int32](t, n)
		check[int64](t, n)
		check[int](t, n)
	}
	for _, n := range []uint64{0, 255, 256, 1<<16 - 1, 1 << 16, 1<<32 - 1, 1 << 32, 1<<63 - 1, 1 << 63, math.MaxUint64} {
		checkUint[uint8](t, n)
		checkUint[uint16](t, n)
		checkUint[uint32](t, n)
		checkUint[uint64](t, n)
		checkUint[uint](t, n)
	}
}
