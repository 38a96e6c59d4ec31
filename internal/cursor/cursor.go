// Package cursor reads numbers and texts one after another from the bytes of a record.
//
//	c := cursor.Over(value)
//	name, size := c.String(), c.Uint()
//	if c.Failed() { // the record is damaged
//
// After a value that is cut off or out of range, all reads return zeros. So a decoder checks once,
// at its end. A wrong length costs no memory: a length is refused if fewer bytes follow. The
// package has no clock and reads no files; the encoding is defined by encoding/binary.
package cursor

import (
	"encoding/binary"
	"math"
)

// Cursor reads values from bytes. The zero value has nothing to read.
type Cursor struct {
	rest   []byte
	failed bool
}

// Over returns a Cursor at the start of b.
func Over(b []byte) Cursor { return Cursor{rest: b} }

// Fail makes all further reads fail, for a value that its reader refuses.
func (c *Cursor) Fail() { c.rest, c.failed = nil, true }

// Failed reports whether a value was refused.
func (c *Cursor) Failed() bool { return c.failed }

// Rest returns the bytes that are not read yet; none after a failure. They alias the source.
func (c *Cursor) Rest() []byte { return c.rest }

// Byte reads one byte.
func (c *Cursor) Byte() byte {
	if len(c.rest) == 0 {
		c.Fail()
		return 0
	}
	b := c.rest[0]
	c.rest = c.rest[1:]
	return b
}

// Uint reads a number written by binary.AppendUvarint.
func (c *Cursor) Uint() uint64 {
	v, n := binary.Uvarint(c.rest)
	if n <= 0 {
		c.Fail()
		return 0
	}
	c.rest = c.rest[n:]
	return v
}

// Upto is Uint for a number of at most limit.
func (c *Cursor) Upto(limit uint64) int64 {
	v := c.Uint()
	if v > min(limit, math.MaxInt64) {
		c.Fail()
		return 0
	}
	return int64(v)
}

// Int reads a number written by binary.AppendVarint.
func (c *Cursor) Int() int64 {
	v, n := binary.Varint(c.rest)
	if n <= 0 {
		c.Fail()
		return 0
	}
	c.rest = c.rest[n:]
	return v
}

// Word reads 8 bytes as a number, the lowest byte first.
func (c *Cursor) Word() uint64 {
	if len(c.rest) < 8 {
		c.Fail()
		return 0
	}
	v := binary.LittleEndian.Uint64(c.rest)
	c.rest = c.rest[8:]
	return v
}

// Count reads the number of items that follow, each of at least size bytes.
func (c *Cursor) Count(size int) int {
	n := c.Uint()
	if n > uint64(len(c.rest)/size) {
		c.Fail()
		return 0
	}
	return int(n)
}

// Bytes reads what AppendBytes wrote. The result aliases the source.
func (c *Cursor) Bytes() []byte {
	n := c.Count(1)
	b := c.rest[:n:n]
	c.rest = c.rest[n:]
	return b
}

// String is Bytes as a copy.
func (c *Cursor) String() string { return string(c.Bytes()) }

// AppendBytes appends the length of b, and b.
func AppendBytes[T string | []byte](dst []byte, b T) []byte {
	return append(binary.AppendUvarint(dst, uint64(len(b))), b...)
}
