package postgres

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgproto3"

	"github.com/layshaft/layshaft/internal/report"
)

// copyHead is the signature of binary COPY. Flags and the length of an extension follow.
const copyHead = "PGCOPY\n\xff\r\n\x00"

// errStop ends a read from within.
var errStop = errors.New("stop")

// Row receives the fields of one row. NULL is nil. The bytes are valid only during the call. It
// returns false to end the read.
type Row func(fields [][]byte) (more bool, err error)

// Read passes the rows of a SELECT to row, with binary values. The connection ends with it.
//
// It reads the protocol by itself, because the driver spends more on each row than the row costs:
// messages are taken from a large buffer without a copy.
func (c *Conn) Read(ctx context.Context, sql string, columns int, row Row) error {
	h, err := c.Hijack()
	if err != nil {
		return err
	}
	defer h.Conn.Close()
	stop := context.AfterFunc(ctx, func() { _ = h.Conn.SetDeadline(time.Unix(1, 0)) }) // wakes a read
	defer stop()
	query, err := (&pgproto3.Query{String: "COPY (" + sql + ") TO STDOUT (FORMAT binary)"}).Encode(nil)
	if err == nil {
		_, err = h.Conn.Write(query)
	}
	if err != nil {
		return err
	}
	m := messages{from: c.from, buf: make([]byte, messageBuffer)}
	r := reader{row: row, fields: make([][]byte, columns)}
	done := false
	for err == nil && !done {
		done, err = m.next(&r)
	}
	if done && err == nil && !r.ended {
		err = errors.New("the rows end in the middle")
	}
	if done && err == nil {
		_, _ = h.Conn.Write([]byte{'X', 0, 0, 0, 4}) // a farewell; the connection ends anyway
		return nil
	}
	if codeOf(err) == "" { // the server may still be at work, even without a row to send
		cancel, stop := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
		defer stop()
		_ = c.CancelRequest(cancel) // it ends at its next row at the latest
	}
	switch {
	case errors.Is(err, errStop):
		return nil
	case ctx.Err() != nil:
		return context.Cause(ctx)
	}
	return err
}

const (
	// messageBuffer holds several rounds of what the server sends at once, 8 KiB.
	messageBuffer = 128 << 10
	// maxMessage is the longest message. PostgreSQL has no values above 1 GB.
	maxMessage = 1<<30 + 1<<20
)

// messages reads the messages of a server.
type messages struct {
	from     io.Reader
	buf      []byte
	at, upto int // unread bytes of buf
}

// next handles the next message, and all others that are in the buffer. It reports the end of the
// query.
func (m *messages) next(r *reader) (done bool, err error) {
	for {
		b := m.buf[m.at:m.upto]
		if len(b) < 5 {
			return false, m.fill(5)
		}
		size := int(binary.BigEndian.Uint32(b[1:])) + 1
		if size < 5 || size > maxMessage {
			return false, fmt.Errorf("the server sends a message of %d bytes", size)
		}
		if len(b) < size {
			return false, m.fill(size)
		}
		body := b[5:size]
		m.at += size
		switch b[0] {
		case 'd':
			err = r.add(body)
		case 'E':
			var e pgproto3.ErrorResponse
			if err = e.Decode(body); err == nil {
				err = pgconn.ErrorResponseToPgError(&e)
			}
		case 'Z':
			return true, nil
		case 'H', 'c', 'C', 'N', 'S', 'A': // begin and end of the rows, and news
		default:
			err = fmt.Errorf("the server sends a message %q within a COPY", b[0])
		}
		if err != nil {
			return false, err
		}
	}
}

// fill reads until n bytes are in the buffer.
func (m *messages) fill(n int) error {
	if n > len(m.buf) {
		grown := make([]byte, max(n, 2*len(m.buf)))
		m.upto = copy(grown, m.buf[m.at:m.upto])
		m.buf, m.at = grown, 0
	} else if len(m.buf)-m.at < max(n, messageBuffer/2) {
		m.upto = copy(m.buf, m.buf[m.at:m.upto])
		m.at = 0
	}
	for m.upto-m.at < n {
		got, err := m.from.Read(m.buf[m.upto:])
		m.upto += got
		if got == 0 && err != nil {
			return err
		}
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
}

// add takes the content of a message.
func (r *reader) add(data []byte) error {
	if len(r.rest) > 0 {
		r.rest = append(r.rest, data...)
		data = r.rest
	}
	left, err := r.rows(data)
	if len(left) > 0 || len(r.rest) > 0 {
		r.rest = append(r.rest[:0], left...)
	}
	return err
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
			return nil, fmt.Errorf("the server sends %s instead of %d", report.Plural(n, "column"), len(r.fields))
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
