package jsoncodec

import (
	"fmt"
	"reflect"
	"testing"
	"unsafe"
)

// Fields that no line had are listed, with the key that was probably meant.
func TestAbsent(t *testing.T) {
	type size struct {
		Width int64 `json:"width"`
		Mass  int64 `json:"mss"`
	}
	type row struct {
		SKU    string  `json:"sku"`
		Price  float64 `json:"prcie"`
		Size   size    `json:"size"`
		Parts  []size  `json:"parts"`
		Note   string  `json:"note,omitempty"`
		Rating *int    `json:"rating"`
	}
	dec, err := NewDecoder(reflect.TypeFor[row]())
	if err != nil {
		t.Fatal(err)
	}
	if a := dec.Absent(); a != nil {
		t.Errorf("before the first line: %v", a)
	}
	var r row
	for _, line := range []string{`{"sku":"a","price":1}`, `{"size":{"width":1,"mass":2},"price":null}`} {
		padded := append([]byte(line+"\n"), make([]byte, Padding)...)
		if err := dec.Decode(padded[:len(line)], unsafe.Pointer(&r)); err != nil {
			t.Fatal(err)
		}
	}
	if got, want := fmt.Sprint(dec.Absent()), "[{prcie float64 price} {size.mss int64 size.mass} {parts []jsoncodec.size price}]"; got != want {
		t.Errorf("absent: %s, want %s", got, want)
	}
}
