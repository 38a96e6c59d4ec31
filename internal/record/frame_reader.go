package record

import (
	"fmt"
	"io"
)

// ReadAhead is the default number of bytes that a FrameReader reads at once.
const ReadAhead = 256 << 10

// FrameReader reads the frames between two offsets, one after the other, with one call of ReadAt
// for many small frames. Only one goroutine may use it.
type FrameReader struct {
	r         io.ReaderAt
	off, end  int64  // range of r not read yet
	ahead     int    // bytes to read at once
	buf       []byte // bytes read, but not yet returned
	chunk     []byte // memory of buf
	isAliased bool   // a returned payload lies in chunk
}

// NewFrameReader returns a reader of the frames in [off, end) of r. It reads at most ahead bytes at
// once, except for a single longer frame; zero means ReadAhead.
func NewFrameReader(r io.ReaderAt, off, end int64, ahead int) *FrameReader {
	if ahead <= 0 {
		ahead = ReadAhead
	}
	return &FrameReader{r: r, off: off, end: max(off, end), ahead: ahead}
}

// Next returns the payload of the next frame, in memory that is never used again. It returns io.EOF
// at the end of the range. On any damage the error wraps ErrCorrupt, also if a frame crosses the
// end of the range or r ends before it. If ReadAt fails, it returns the error of ReadAt.
func (f *FrameReader) Next() ([]byte, error) {
	at := f.off - int64(len(f.buf))
	if at == f.end {
		return nil, io.EOF
	}
	if err := f.fill(frameHeader); err != nil {
		return nil, atOffset(at, err)
	}
	stored, raw, err := parseHeader(f.buf)
	if err != nil {
		return nil, atOffset(at, err)
	}
	n := frameHeader + stored
	if err := f.fill(n); err != nil {
		return nil, atOffset(at, err)
	}
	payload, err := openFrame(f.buf[:frameHeader], f.buf[frameHeader:n], raw)
	if err != nil {
		return nil, atOffset(at, err)
	}
	if f.buf[8] == byte(None) {
		f.isAliased = true
	}
	f.buf = f.buf[n:]
	return payload, nil
}

// fill reads until buf holds at least n bytes.
func (f *FrameReader) fill(n int) error {
	if len(f.buf) >= n {
		return nil
	}
	if left := int64(len(f.buf)) + f.end - f.off; int64(n) > left {
		return fmt.Errorf("%w: needs %d bytes of the last %d", ErrCorrupt, n, left)
	}
	size := int(min(int64(max(n, f.ahead)), int64(len(f.buf))+f.end-f.off))
	if f.isAliased || cap(f.chunk) < size {
		f.chunk, f.isAliased = Uninitialized(size), false
	}
	b := f.chunk[:size]
	have := copy(b, f.buf)
	got, err := f.r.ReadAt(b[have:], f.off)
	f.off += int64(got)
	f.buf = b[:have+got]
	if len(f.buf) >= n {
		return nil // an error beyond n comes back when those bytes are needed
	}
	if err != nil && err != io.EOF {
		return err
	}
	return fmt.Errorf("%w: cut after %d of %d bytes", ErrCorrupt, len(f.buf), n)
}
