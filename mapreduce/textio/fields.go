package textio

import (
	"encoding/binary"
	"math/bits"
	"unicode"
	"unsafe"

	"github.com/layshaft/layshaft/internal/files"
	"github.com/layshaft/layshaft/mapreduce/connector"
)

// fields emits the words of a chunk. It returns their number, and false if the reader stopped.
//
// It processes 64 bytes at a time. Arithmetic on eight bytes at once makes one bit per byte, set
// for white space, and words are the gaps between the bits. So the processor need not predict where
// each word ends. A loop over bytes spends most of its time on wrong predictions.
func fields(c files.Chunk, r *connector.Reader[string]) (n int64, ok bool) {
	word := new(string)
	data := unsafe.Pointer(unsafe.SliceData(c.Data))
	start := 0           // of the current word
	before := ^uint64(0) // bits of the previous block
	wide := false        // the current word may contain bytes outside ASCII
	for base := 0; ; base += 64 {
		var space, high uint64
		switch rest := len(c.Data) - base; {
		case rest >= 64:
			space, high = classify((*[64]byte)(c.Data[base:]))
		case rest > 0:
			var tail [64]byte
			copy(tail[:], c.Data[base:])
			space, high = classify(&tail)
			space |= ^uint64(0) << rest // the bytes after the end count as space
		default:
			space = ^uint64(0)
		}
		shifted := space<<1 | before>>63
		starts, ends := shifted&^space, space&^shifted
		if before>>63 != 0 {
			start = base + bits.TrailingZeros64(starts)
			starts &= starts - 1
			wide = false
		}
		wide = wide || high != 0
		for ; ends != 0; ends &= ends - 1 {
			*word = unsafe.String((*byte)(unsafe.Add(data, start)), base+bits.TrailingZeros64(ends)-start)
			r.Offset = c.Offset + int64(start)
			if !wide {
				r.Emit(word)
				n++
			} else {
				n += wideFields(word, r)
			}
			start = base + bits.TrailingZeros64(starts)
			starts &= starts - 1
		}
		if r.Stopped() {
			return n, false
		}
		if base >= len(c.Data) {
			return n, true
		}
		before = space
	}
}

// classify returns one bit per byte of a block, set for ASCII white space. high is not zero if any
// byte is outside ASCII.
func classify(b *[64]byte) (space, high uint64) {
	le := binary.LittleEndian
	w0, w1, w2, w3 := le.Uint64(b[0:]), le.Uint64(b[8:]), le.Uint64(b[16:]), le.Uint64(b[24:])
	w4, w5, w6, w7 := le.Uint64(b[32:]), le.Uint64(b[40:]), le.Uint64(b[48:]), le.Uint64(b[56:])
	space = spaces(w0) | spaces(w1)<<8 | spaces(w2)<<16 | spaces(w3)<<24 |
		spaces(w4)<<32 | spaces(w5)<<40 | spaces(w6)<<48 | spaces(w7)<<56
	return space, (w0 | w1 | w2 | w3 | w4 | w5 | w6 | w7) & highs
}

const ones, highs = 0x0101010101010101, 0x8080808080808080

// spaces returns one bit for each of eight bytes, set for ASCII white space.
func spaces(w uint64) uint64 {
	a := w &^ highs
	other := (a ^ ones*' ') + ones*0x7f                      // high bit: not ' '
	ctrl := (a + ones*(0x80-'\t')) &^ (a + ones*(0x7f-'\r')) // high bit: '\t' to '\r'
	return ((ctrl | ^other) & highs &^ w >> 7) * 0x0102040810204080 >> 56
}

// wideFields splits a word at white space outside ASCII, emits the parts and returns their number.
func wideFields(word *string, r *connector.Reader[string]) (n int64) {
	whole, offset, start := *word, r.Offset, -1
	for i, c := range whole {
		switch space := c >= 0x80 && unicode.IsSpace(c); {
		case !space && start < 0:
			start = i
		case space && start >= 0:
			*word, r.Offset = whole[start:i], offset+int64(start)
			r.Emit(word)
			n++
			start = -1
		}
	}
	if start >= 0 {
		*word, r.Offset = whole[start:], offset+int64(start)
		r.Emit(word)
		n++
	}
	return n
}
