package sketch

import (
	"encoding"
	"math"
	"strings"
	"testing"
)

// TestDamaged holds every check of the decoders: bytes that no encoder writes are refused, and
// change nothing.
func TestDamaged(t *testing.T) {
	type pair struct {
		A string
		B int8
	}
	num := func(x float64) string {
		u := math.Float64bits(x)
		var b [8]byte
		for i := range b {
			b[i] = byte(u >> (56 - 8*i))
		}
		return string(b[:])
	}
	registers := make([]byte, approxRegs)
	registers[7] = approxMax + 1
	for _, c := range []struct {
		name string
		into encoding.BinaryUnmarshaler
		data string
	}{
		{"cut key", new(Set[string]), "\x01"},
		{"cut length", new(Set[string]), "\x80"},
		{"long length", new(Set[string]), "\x81\x00a"},
		{"key twice", new(Set[string]), "\x01a\x01a"},
		{"order", new(Set[string]), "\x01b\x01a"},
		{"bytes behind the fields", new(Set[pair]), "\x04\x01a\x01x"},
		{"missing field", new(Set[pair]), "\x02\x01a"},
		{"number too large", new(Set[pair]), "\x04\x01a\x80\x01"},
		{"string too long", new(Set[pair]), "\x03\x09a\x01"},
		{"cut number", new(Set[int64]), "\x80"},
		{"number twice", new(Set[int64]), "\x05\x00"},
		{"numbers past the end", new(Set[uint64]), "\x05\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01"},
		{"bool of 2", new(Set[bool]), "\x02"},
		{"unknown kind", new(ApproxSet[int]), "\x02"},
		{"no hashes", new(ApproxSet[int]), "\x00"},
		{"hash twice", new(ApproxSet[int]), "\x00\x05\x00"},
		{"too many hashes", new(ApproxSet[int]), "\x00" + strings.Repeat("\x01", approxExact+1)},
		{"too few registers", new(ApproxSet[int]), "\x01abc"},
		{"register too large", new(ApproxSet[int]), "\x01" + string(registers)},
		{"unknown kind of numbers", new(Quantiles), "\x02"},
		{"no numbers", new(Quantiles), "\x00"},
		{"cut", new(Quantiles), "\x00abc"},
		{"numbers out of order", new(Quantiles), "\x00" + num(2) + num(1)},
		{"NaN", new(Quantiles), "\x00" + num(math.NaN())},
		{"negative zero", new(Quantiles), "\x00" + num(math.Copysign(0, -1))},
		{"no buckets", new(Quantiles), "\x01" + num(1) + num(1)},
		{"no largest", new(Quantiles), "\x01" + num(1)},
		{"too few for buckets", new(Quantiles), "\x01" + num(1) + num(1) + "\x00\x40"},
		{"empty bucket", new(Quantiles), "\x01" + num(1) + num(1.02) + "\x00\x7f\x01\x00"},
		{"bucket twice", new(Quantiles), "\x01" + num(1) + num(1) + "\x00\x7f\x00\x7f"},
		{"bucket below the smallest", new(Quantiles), "\x01" + num(1) + num(1.02) + "\x01\x7f"},
		{"bucket above the largest", new(Quantiles), "\x01" + num(1) + num(1.02) + "\x00\x7f\x02\x7f"},
		{"bucket far away", new(Quantiles), "\x01" + num(1) + num(1.02) + "\x00\x7f\x80\x80\x80\x80\x80\x80\x80\x01\x7f"},
		{"no bucket for the largest", new(Quantiles), "\x01" + num(1) + num(1.02) + "\x00\x7f"},
		{"smallest above the largest", new(Quantiles), "\x01" + num(1.01) + num(1) + "\x00\x7f"},
		{"overflow", new(Quantiles), "\x01" + num(1) + num(1.02) +
			"\x00\xff\xff\xff\xff\xff\xff\xff\xff\x7f\x01\xff\xff\xff\xff\xff\xff\xff\xff\x7f"},
		{"cut bucket", new(Quantiles), "\x01" + num(1) + num(1) + "\x00"},
	} {
		if err := c.into.UnmarshalBinary([]byte(c.data)); err == nil {
			t.Errorf("%s: %T accepts %q", c.name, c.into, c.data)
		}
		if b, _ := c.into.(encoding.BinaryAppender).AppendBinary(nil); len(b) > 0 {
			t.Errorf("%s: %T holds %q", c.name, c.into, b)
		}
	}
	if err := new(Quantiles).UnmarshalBinary([]byte("\x01" + num(1) + num(1.02) + "\x00\x7f\x01\x7f")); err != nil {
		t.Errorf("good buckets: %v", err)
	}
}
