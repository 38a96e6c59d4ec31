package files

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"github.com/ulikunitz/xz/lzma"

	"github.com/layshaft/layshaft/internal/bytesize"
)

// maxWindow limits the memory that the header of a compressed file may ask for, in bytes. xz -9
// asks for 64 MiB, zstd --ultra -22 and --long for 128 MiB. A header of a few bytes could ask for
// 4 GiB, outside the memory budget.
const maxWindow = 128 << 20

var errTooLarge = errors.New("needs too much memory")

func errWindow(codec Codec, asked string) error {
	return fmt.Errorf("it %w: its %s header asks for %s, and the limit is %s; compress it again with a smaller window (xz -9, zstd -19)",
		errTooLarge, codec, asked, bytesize.Format(maxWindow))
}

// xzGuard reads xz data and refuses a block with a dictionary over maxWindow, before the decoder
// sees its header. The decoder itself allocates what the header says. The guard knows the frame
// of the format only: damage is left to the decoder, and then the guard looks at nothing more.
type xzGuard struct {
	r    io.Reader
	skip int64              // bytes without interest
	want int                // bytes that next needs
	got  []byte             // of want
	next func(b []byte) int // handles got, and sets skip and want; negative for damage
	off  bool               // the data is damaged
	err  error

	check int   // size of the checksum after a block
	block int64 // bytes of the current block so far, for its padding
	index int64 // bytes of the index so far
	left  uint64
}

func newXzGuard(r io.Reader) *xzGuard {
	g := &xzGuard{r: r}
	g.expect(12, g.stream)
	return g
}

func (g *xzGuard) Read(p []byte) (int, error) {
	if g.err != nil {
		return 0, g.err
	}
	n, err := g.r.Read(p)
	if g.look(p[:n]); g.err != nil {
		return 0, g.err
	}
	return n, err
}

func (g *xzGuard) look(b []byte) {
	for len(b) > 0 && !g.off && g.err == nil {
		if g.skip > 0 {
			n := min(g.skip, int64(len(b)))
			g.skip, b = g.skip-n, b[n:]
			continue
		}
		n := min(g.want-len(g.got), len(b))
		g.got, b = append(g.got, b[:n]...), b[n:]
		if len(g.got) == g.want {
			data := g.got
			g.got = g.got[:0]
			g.off = g.next(data) < 0
		}
	}
}

// expect makes next handle the following n bytes.
func (g *xzGuard) expect(n int, next func([]byte) int) int {
	g.want, g.next = n, next
	return 0
}

// stream handles the header of a stream.
func (g *xzGuard) stream(b []byte) int {
	if string(b[:6]) != "\xfd7zXZ\x00" {
		return -1
	}
	g.check = []int{0, 4, 4, 4, 8, 8, 8, 16, 16, 16, 32, 32, 32, 64, 64, 64}[b[7]&15]
	return g.expect(1, g.blockSize)
}

// blockSize handles the first byte of a block header, or of the index.
func (g *xzGuard) blockSize(b []byte) int {
	if b[0] == 0 {
		g.index = 1
		g.left = 0
		return g.number(func(n uint64) int {
			g.left = 2 * n
			return g.record(0)
		})
	}
	size := int(b[0])*4 + 4
	g.block = 0
	return g.expect(size-1, g.blockHeader)
}

// blockHeader handles a block header without its first byte.
func (g *xzGuard) blockHeader(b []byte) int {
	flags, b := b[0], b[1:]
	varint := func() uint64 {
		v, n := binary.Uvarint(b)
		b = b[max(n, 0):]
		return v
	}
	for _, present := range []byte{0x40, 0x80} {
		if flags&present != 0 {
			varint()
		}
	}
	for range flags&3 + 1 {
		id, size := varint(), varint()
		if size > uint64(len(b)) {
			return -1
		}
		if id == 0x21 && size == 1 {
			if dict, err := lzma.DecodeDictCap(b[0]); err == nil && dict > maxWindow {
				g.err = errWindow(Xz, bytesize.Format(dict))
			}
		}
		b = b[size:]
	}
	return g.expect(1, g.chunk)
}

// chunk handles the control byte of a chunk of LZMA2.
func (g *xzGuard) chunk(b []byte) int {
	g.block++
	switch c := b[0]; {
	case c == 0: // the end of the block, before its padding and its checksum
		g.skip = (4-g.block%4)%4 + int64(g.check)
		return g.expect(1, g.blockSize)
	case c < 3:
		return g.expect(2, func(b []byte) int { return g.skipChunk(2, int64(binary.BigEndian.Uint16(b))+1) })
	case c < 0x80:
		return -1
	case c < 0xc0: // without new properties
		return g.expect(4, func(b []byte) int { return g.skipChunk(4, int64(binary.BigEndian.Uint16(b[2:]))+1) })
	}
	return g.expect(5, func(b []byte) int { return g.skipChunk(5, int64(binary.BigEndian.Uint16(b[2:]))+1) })
}

func (g *xzGuard) skipChunk(header, data int64) int {
	g.skip = data
	g.block += header + data
	return g.expect(1, g.chunk)
}

// number handles a number of the index.
func (g *xzGuard) number(done func(n uint64) int) int {
	var all []byte
	var one func(b []byte) int
	one = func(b []byte) int {
		g.index++
		if all = append(all, b[0]); b[0] >= 0x80 {
			return g.expect(1, one)
		}
		n, _ := binary.Uvarint(all)
		return done(n)
	}
	return g.expect(1, one)
}

// record handles the next number of the index. At its end follow padding, its checksum, the footer
// of the stream, and perhaps another stream.
func (g *xzGuard) record(uint64) int {
	if g.left > 0 {
		g.left--
		return g.number(g.record)
	}
	g.skip = (4-g.index%4)%4 + 4 + 12
	return g.expect(4, g.padding)
}

// padding handles four bytes after a stream: zeros, or the beginning of another stream.
func (g *xzGuard) padding(b []byte) int {
	if string(b) == "\x00\x00\x00\x00" {
		return g.expect(4, g.padding)
	}
	head := [12]byte{}
	copy(head[:], b)
	return g.expect(8, func(b []byte) int {
		copy(head[4:], b)
		return g.stream(head[:])
	})
}
