package jsoncodec

import (
	"fmt"
	"math/rand/v2"
	"reflect"
	"testing"
	"unsafe"
)

// withoutAssembly runs f on a processor that seems to lack AVX2.
func withoutAssembly(f func()) {
	has := hasClassify
	hasClassify = false
	defer func() { hasClassify = has }()
	f()
}

// FuzzAssembly compares the operations for blocks with the code in Go that replaces them: a
// decoder returns the same values and the same error. Plain tests run it on the inputs of all
// fuzzers, and on damaged ones.
func FuzzAssembly(f *testing.F) {
	if !hasClassify {
		f.Skip("no operation for blocks")
	}
	lines := append([]string{
		`{"a":[1,"b"],"c":{"d":null},"e":"f\u0041"}`,
		`{"a":"b","c":{"d":"e","f":{"g":"h"}},"i":"j"}`,
		`{"k":{"a":[1]},"c":1.5,"d":"4"}`,
	}, seeds...)
	r := rand.New(rand.NewPCG(3, 0))
	for _, line := range lines {
		f.Add([]byte(line))
		for range 20 {
			if b := []byte(line); len(b) > 0 {
				b[r.IntN(len(b))] = "{}[]:,\"\\ 1a\t\x01\xff"[r.IntN(14)]
				f.Add(b)
			}
		}
	}
	decode := func(d *Decoder, into any, line []byte) string {
		x := reflect.New(reflect.TypeOf(into))
		err := d.Decode(pad(line), x.UnsafePointer())
		return fmt.Sprintf("%#v, %v", x.Elem(), err)
	}
	f.Fuzz(func(t *testing.T, line []byte) {
		for _, into := range []any{wantedS{}, struct{ None int }{}, ""} {
			d, err := NewDecoder(reflect.TypeOf(into))
			if err != nil {
				t.Fatal(err)
			}
			got := decode(d, into, line)
			withoutAssembly(func() {
				if want := decode(d, into, line); got != want {
					t.Errorf("%q into %T: %s, in Go %s", line, into, got, want)
				}
			})
		}
	})
}

// classify sets the bits of exactly the bytes that each field names.
func TestClassify(t *testing.T) {
	if !hasClassify {
		t.Skip("no operation for blocks")
	}
	one := func(c byte, of string) uint64 {
		for i := range len(of) {
			if of[i] == c {
				return 1
			}
		}
		return 0
	}
	r := rand.New(rand.NewPCG(4, 0))
	text := make([]byte, 64*blocksAtOnce)
	for range 500 {
		for i := range text {
			if text[i] = byte(r.IntN(256)); r.IntN(2) == 0 {
				text[i] = "{}[]:,\"\\ \t\r\n"[r.IntN(12)]
			}
		}
		n := 1 + r.IntN(blocksAtOnce)
		var got, want [blocksAtOnce]block
		classify(unsafe.Pointer(&text[0]), n, &got)
		for i, c := range text[:64*n] {
			b, at := &want[i/64], i%64
			b.quotes |= one(c, `"`) << at
			b.slashes |= one(c, `\`) << at
			b.blanks |= one(c, " ") << at
			b.commas |= one(c, ",") << at
			b.colons |= one(c, ":") << at
			b.opens |= one(c, "{[") << at
			b.closes |= one(c, "}]") << at
			b.bit5 |= uint64(c>>5&1) << at
			if c < 0x20 {
				b.controls |= 1 << at
			}
		}
		if got != want {
			t.Fatalf("%q:\n%x\nwant\n%x", text[:64*n], got, want)
		}
	}
}
