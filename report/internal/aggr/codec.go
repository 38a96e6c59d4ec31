package aggr

import (
	"encoding/binary"
	"fmt"

	"github.com/layshaft/layshaft/report/internal/vec"
)

// decoder reads the parts of a state. After an error all reads return zero values.
type decoder struct {
	src    []byte
	failed bool
}

func (d *decoder) fail() { d.src, d.failed = nil, true }

// end returns the rest of the bytes, or the error.
func (d *decoder) end() ([]byte, error) {
	if d.failed {
		return nil, vec.ErrCorrupt
	}
	return d.src, nil
}

func (d *decoder) byte() byte {
	if len(d.src) == 0 {
		d.fail()
		return 0
	}
	b := d.src[0]
	d.src = d.src[1:]
	return b
}

func (d *decoder) uvarint() uint64 {
	x, n := binary.Uvarint(d.src)
	if n <= 0 {
		d.fail()
		return 0
	}
	d.src = d.src[n:]
	return x
}

// count reads a number of rows.
func (d *decoder) count() int64 {
	n := d.uvarint()
	if n > 1<<56 {
		d.fail()
		return 0
	}
	return int64(n)
}

func (d *decoder) varint() int64 {
	x, n := binary.Varint(d.src)
	if n <= 0 {
		d.fail()
		return 0
	}
	d.src = d.src[n:]
	return x
}

// word reads 8 bytes.
func (d *decoder) word() uint64 {
	if len(d.src) < 8 {
		d.fail()
		return 0
	}
	x := binary.LittleEndian.Uint64(d.src)
	d.src = d.src[8:]
	return x
}

// bytes reads a length and as many bytes, which alias the source.
func (d *decoder) bytes() []byte {
	n := d.uvarint()
	if n > uint64(len(d.src)) {
		d.fail()
		return nil
	}
	b := d.src[:n]
	d.src = d.src[n:]
	return b
}

// length reads a number of items of at least size bytes each.
func (d *decoder) length(size int) int {
	n := d.uvarint()
	if n > uint64(len(d.src)/size) {
		d.fail()
		return 0
	}
	return int(n)
}

// appendBytes appends the length of b and b.
func appendBytes[T string | []byte](dst []byte, b T) []byte {
	return append(binary.AppendUvarint(dst, uint64(len(b))), b...)
}

// tooLarge returns the error for a result that its type cannot hold.
func (f *Func) tooLarge() *Error {
	return &Error{f.offset, fmt.Sprintf("%s: the result does not fit into %s", f.Name, f.Result), "cast the argument to double"}
}

func appendVarint(dst []byte, x int64) []byte { return binary.AppendVarint(dst, x) }
