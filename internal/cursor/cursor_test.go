package cursor

import (
	"encoding/binary"
	"math"
	"testing"
)

// sample has one value of each kind.
func sample() []byte {
	b := append([]byte(nil), 7)
	b = binary.AppendUvarint(b, 300)
	b = binary.AppendUvarint(b, math.MaxInt64)
	b = binary.AppendVarint(b, -300)
	b = binary.LittleEndian.AppendUint64(b, 1<<60)
	b = AppendBytes(b, "name")
	b = AppendBytes(b, []byte{1, 2})
	b = binary.AppendUvarint(b, 2) // items
	return append(b, 'x', 'y')
}

func read(c *Cursor) (same bool) {
	same = c.Byte() == 7 && c.Uint() == 300 && c.Upto(math.MaxUint64) == math.MaxInt64 && c.Int() == -300 && c.Word() == 1<<60 && c.String() == "name"
	b := c.Bytes()
	same = same && len(b) == 2 && cap(b) == 2 && c.Count(1) == 2
	return same && c.Byte() == 'x' && c.Byte() == 'y'
}

func TestReads(t *testing.T) {
	c := Over(sample())
	if !read(&c) || c.Failed() || len(c.Rest()) > 0 {
		t.Errorf("failed %v, %d bytes are left", c.Failed(), len(c.Rest()))
	}
}

// A record that ends early fails, and returns zeros from then on.
func TestCut(t *testing.T) {
	all := sample()
	for n := range all {
		c := Over(all[:n])
		if read(&c); !c.Failed() {
			t.Errorf("the first %d of %d bytes were accepted", n, len(all))
		}
		if c.Byte() != 0 || c.Uint() != 0 || c.Int() != 0 || c.Word() != 0 || c.String() != "" || c.Bytes() != nil || c.Count(1) != 0 || c.Rest() != nil {
			t.Errorf("a read after the end of %d bytes returned a value", n)
		}
	}
}

func TestLimits(t *testing.T) {
	tests := map[string]struct {
		b    []byte
		read func(c *Cursor)
	}{
		"a length beyond the end":    {binary.AppendUvarint(nil, 3), func(c *Cursor) { c.Bytes() }},
		"a huge length":              {binary.AppendUvarint(nil, math.MaxUint64), func(c *Cursor) { _ = c.String() }},
		"items larger than the rest": {append(binary.AppendUvarint(nil, 2), 1, 2, 3), func(c *Cursor) { c.Count(2) }},
		"a number over the limit":    {binary.AppendUvarint(nil, 11), func(c *Cursor) { c.Upto(10) }},
		"a number over 63 bits":      {binary.AppendUvarint(nil, 1<<63), func(c *Cursor) { c.Upto(math.MaxUint64) }},
		"a varint of eleven bytes":   {[]byte{255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 1}, func(c *Cursor) { c.Uint() }},
		"a refused value":            {[]byte{1, 2}, func(c *Cursor) { c.Fail() }},
	}
	for name, tt := range tests {
		c := Over(tt.b)
		if tt.read(&c); !c.Failed() || c.Byte() != 0 {
			t.Errorf("%s: accepted", name)
		}
	}
}
