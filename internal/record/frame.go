package record

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"slices"
	"strings"
	"unsafe"

	"github.com/klauspost/compress/s2"
)

// A frame is a payload with a header of 13 bytes. All integers are little endian:
//
//	0  uint32  stored: bytes after the header
//	4  uint32  raw: bytes of the payload; never less than stored
//	8  uint8   codec: a Compression
//	9  uint32  CRC32C of bytes 0 to 8 and of the stored bytes
const frameHeader = 13

// FrameOverhead is the size of a frame beside its stored payload, in bytes.
const FrameOverhead = frameHeader

// MaxFrame is the largest payload of a frame, in bytes.
const MaxFrame = 64 << 20

// ErrCorrupt means the bytes read differ from the bytes written. Errors that wrap it contain the
// offset.
var ErrCorrupt = errors.New("corrupt data")

// Compression is the storage format of a payload.
type Compression uint8

const (
	None Compression = iota // unchanged
	S2                      // compressed by s2, unless the result would be longer
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// AppendFrame appends payload as one frame to dst. It allocates only to grow dst; with S2, dst may
// need room for len(payload)*7/6 more bytes. A payload longer than MaxFrame is a mistake of the
// caller and panics.
func AppendFrame(dst, payload []byte, c Compression) []byte {
	if len(payload) > MaxFrame {
		panic(fmt.Sprintf("record: payload of %d bytes exceeds MaxFrame (%d)", len(payload), MaxFrame))
	}
	at := len(dst)
	body := at + frameHeader
	if c == S2 {
		dst = slices.Grow(dst, frameHeader+s2.MaxEncodedLen(len(payload)))
		if n := len(s2.Encode(dst[body:cap(dst)], payload)); n < len(payload) {
			dst = dst[:body+n]
		} else {
			c = None
		}
	}
	if c == None {
		dst = slices.Grow(dst, frameHeader+len(payload))[:body]
		dst = append(dst, payload...)
	}
	h := dst[at:body]
	binary.LittleEndian.PutUint32(h, uint32(len(dst)-body))
	binary.LittleEndian.PutUint32(h[4:], uint32(len(payload)))
	h[8] = byte(c)
	binary.LittleEndian.PutUint32(h[9:], checksum(h, dst[body:]))
	return dst
}

func checksum(header, stored []byte) uint32 {
	return crc32.Update(crc32.Checksum(header[:9], castagnoli), castagnoli, stored)
}

// parseHeader returns the lengths in the frame header h, which must have at least frameHeader
// bytes.
func parseHeader(h []byte) (stored, raw int, err error) {
	s, r := binary.LittleEndian.Uint32(h), binary.LittleEndian.Uint32(h[4:])
	if r > MaxFrame || s > r || h[8] > byte(S2) || h[8] == byte(None) && s != r {
		return 0, 0, fmt.Errorf("%w: header %x makes no sense", ErrCorrupt, h[:frameHeader])
	}
	return int(s), int(r), nil
}

// openFrame verifies a frame with header h and returns its payload. An uncompressed payload aliases
// stored.
func openFrame(h, stored []byte, raw int) (payload []byte, err error) {
	if checksum(h, stored) != binary.LittleEndian.Uint32(h[9:]) {
		return nil, fmt.Errorf("%w: checksum does not match", ErrCorrupt)
	}
	if h[8] == byte(None) {
		return stored[:raw:raw], nil
	}
	if n, err := s2.DecodedLen(stored); err != nil || n != raw {
		return nil, fmt.Errorf("%w: compressed length does not match", ErrCorrupt)
	}
	if payload, err = s2.Decode(Uninitialized(raw), stored); err != nil {
		return nil, fmt.Errorf("%w: %v", ErrCorrupt, err)
	}
	return payload, nil
}

// DecodeFrame decodes the frame at the start of b and returns the bytes behind it. An uncompressed
// payload aliases b; a compressed one gets new memory. It returns io.EOF if b is empty, and an
// error that wraps ErrCorrupt on any damage.
func DecodeFrame(b []byte) (payload, rest []byte, err error) {
	if len(b) == 0 {
		return nil, nil, io.EOF
	}
	if len(b) < frameHeader {
		return nil, nil, fmt.Errorf("%w: %d bytes are no header", ErrCorrupt, len(b))
	}
	stored, raw, err := parseHeader(b)
	if err != nil {
		return nil, nil, err
	}
	if len(b)-frameHeader < stored {
		return nil, nil, fmt.Errorf("%w: %d of %d bytes", ErrCorrupt, len(b)-frameHeader, stored)
	}
	rest = b[frameHeader+stored:]
	payload, err = openFrame(b[:frameHeader], b[frameHeader:frameHeader+stored], raw)
	return payload, rest, err
}

func atOffset(off int64, err error) error { return fmt.Errorf("frame at offset %d: %w", off, err) }

// Uninitialized returns n bytes of new memory with arbitrary content: make([]byte, n) without the
// time to zero it.
func Uninitialized(n int) []byte {
	if n == 0 {
		return nil
	}
	var b strings.Builder // the only type of the standard library that grows without zeroing
	b.Grow(n)
	b.WriteByte(0)
	return unsafe.Slice(unsafe.StringData(b.String()), n)
}
