package postgres

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
)

// copyHead is the signature of binary COPY. Flags and the length of an extension follow.
const copyHead = "PGCOPY\n\xff\r\n\x00"

// errStop ends a read from within.
var errStop = errors.New("stop")

// Row receives the fields of one row. NULL is nil. The bytes are valid only during the call. It
// returns false to end the read.
type Row func(fields [][]byte) (more bool, err error)

// Read passes the rows of a SELECT to row, with binary values.
func (c *Conn) Read(ctx context.Context, sql string, columns int, row Row) error {
	r := reader{row: row, fields: make([][]byte, columns)}
	_, err := c.CopyTo(ctx, &r, "COPY ("+sql+") TO STDOUT (FORMAT binary)")
	switch {
	case r.err == errStop:
		return nil
	case r.err != nil:
		return r.err
	case err != nil:
		return err
	case !r.ended:
		return errors.New("the rows end in the middle; the connection broke")
	}
	return nil
}

// reader splits binary COPY into rows. A message of the server is one row, but the protocol does
// not promise that: a part of a row waits for the rest.
type reader struct {
	row    Row
	fields [][]byte
	rest   []byte // the beginning of a row
	begun  bool   // the head is read
	ended  bool
	err    error
}

func (r *reader) Write(p []byte) (int, error) {
	data := p
	if len(r.rest) > 0 {
		r.rest = append(r.rest, p...)
		data = r.rest
	}
	left, err := r.rows(data)
	if err != nil {
		r.err = err
		return 0, err
	}
	r.rest = append(r.rest[:0], left...)
	return len(p), nil
}

// rows passes all whole rows in b on, and returns the rest.
func (r *reader) rows(b []byte) ([]byte, error) {
	if !r.begun {
		const head = len(copyHead) + 8
		if len(b) < head {
			return b, nil
		}
		extension := int64(binary.BigEndian.Uint32(b[len(copyHead)+4:]))
		if string(b[:len(copyHead)]) != copyHead || extension > 1<<20 {
			return nil, errors.New("the server does not send binary COPY")
		}
		if int64(len(b)) < int64(head)+extension {
			return b, nil
		}
		b, r.begun = b[int64(head)+extension:], true
	}
	for len(b) >= 2 && !r.ended {
		n := int(int16(binary.BigEndian.Uint16(b)))
		if n == -1 {
			r.ended = true
			return nil, nil
		}
		if n != len(r.fields) {
			return nil, fmt.Errorf("the server sends %d columns instead of %d", n, len(r.fields))
		}
		at := 2
		for i := range r.fields {
			if len(b) < at+4 {
				return b, nil
			}
			size := int(int32(binary.BigEndian.Uint32(b[at:])))
			at += 4
			if size == -1 {
				r.fields[i] = nil
				continue
			}
			if size < 0 {
				return nil, fmt.Errorf("the server sends a value of %d bytes", size)
			}
			if len(b)-at < size {
				return b, nil
			}
			r.fields[i] = b[at : at+size : at+size]
			at += size
		}
		more, err := r.row(r.fields)
		if err != nil {
			return nil, err
		}
		if !more {
			return nil, errStop
		}
		b = b[at:]
	}
	return b, nil
}
