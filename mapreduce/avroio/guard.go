package avroio

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

// guard passes an object container file on to package ocf, and checks its structure before. The
// package would allocate whatever size a block claims, and end without an error at an empty block
// and at a number of records below zero.
type guard struct {
	in    *bufio.Reader
	left  int64  // bytes of the file that were not read
	head  []byte // to be passed on, and then
	raw   int64  // so many bytes of in
	began bool
}

func newGuard(r io.Reader, size int64) *guard {
	return &guard{in: bufio.NewReaderSize(r, 64<<10), left: size}
}

// Read implements io.Reader.
func (g *guard) Read(p []byte) (int, error) {
	for len(g.head) == 0 && g.raw == 0 {
		if err := g.next(); err != nil {
			return 0, err
		}
	}
	if len(g.head) > 0 {
		n := copy(p, g.head)
		g.head = g.head[n:]
		return n, nil
	}
	n, err := g.in.Read(p[:min(int64(len(p)), g.raw)])
	g.raw, g.left = g.raw-int64(n), g.left-int64(n)
	if err == io.EOF {
		err = io.ErrUnexpectedEOF
	}
	return n, err
}

// next reads the header of the file, or the head of a block.
func (g *guard) next() error {
	g.head = g.head[:0]
	if !g.began {
		g.began = true
		if err := g.header(); err != nil {
			return fmt.Errorf("header: %w", cutOff(err))
		}
		return nil
	}
	if _, err := g.in.Peek(1); err != nil {
		return err // the end
	}
	count, err := g.number()
	if err != nil {
		return cutOff(err)
	}
	size, err := g.number()
	switch {
	case err != nil:
		return cutOff(err)
	case count < 0 || size < 0 || size > g.left-markSize:
		return fmt.Errorf("damaged: a block of %d records and %d bytes, where %d bytes are left", count, size, g.left)
	case count > 0:
		g.raw = size + markSize
		return nil
	}
	g.head = g.head[:0]
	n, err := io.CopyN(io.Discard, g.in, size+markSize)
	g.left -= n
	return cutOff(err)
}

// header reads the header: a map of texts, and the mark that ends each block.
func (g *guard) header() error {
	if err := g.bytes(4); err != nil {
		return err
	}
	for {
		count, err := g.number()
		if err != nil {
			return err
		}
		if count == 0 {
			return g.bytes(markSize)
		}
		if count < 0 { // its size follows
			if count = -count; count < 0 {
				return errDamaged
			}
			if _, err := g.number(); err != nil {
				return err
			}
		}
		for ; count > 0; count-- {
			for range 2 { // key and value
				n, err := g.number()
				if err == nil {
					err = g.bytes(n)
				}
				if err != nil {
					return err
				}
			}
		}
	}
}

// markSize is the size of the mark between blocks, in bytes.
const markSize = 16

// maxHeader limits the size of a header, in bytes.
const maxHeader = 64 << 20

var errDamaged = errors.New("damaged")

// number reads a number and appends it to head.
func (g *guard) number() (int64, error) {
	n, err := binary.ReadVarint(g.in)
	at := len(g.head)
	g.head = binary.AppendVarint(g.head, n)
	g.left -= int64(len(g.head) - at)
	return n, err
}

// bytes reads n bytes and appends them to head.
func (g *guard) bytes(n int64) error {
	if n < 0 || n > g.left || int64(len(g.head))+n > maxHeader {
		return errDamaged
	}
	at := len(g.head)
	g.head = append(g.head, make([]byte, n)...)
	_, err := io.ReadFull(g.in, g.head[at:])
	g.left -= n
	return err
}

// cutOff returns the error of a file that ends too early.
func cutOff(err error) error {
	if err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	return err
}
