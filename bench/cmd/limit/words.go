package main

import (
	"bytes"
	"math/bits"
	"unsafe"
)

// wordTable counts words with open addressing. Words of up to 16 bytes are inline in the slot.
// The look-ups of a batch overlap, because waiting for memory takes most of the time.
type wordTable struct {
	slots []wordSlot // a power of two, at most half full
	used  int
	long  []byte // the words of more than 16 bytes
	batch [64]token
	sink  uint64 // keeps the touching loads alive
}

type wordSlot struct {
	k0, k1 uint64 // the word, zero-padded; of a long one, k0 is its hash
	count  uint32
	length uint32 // 0: free
	at     uint64 // where a long word is in long
}

type token struct {
	k0, k1, hash uint64
	length       uint32
}

const slotBytes = int(unsafe.Sizeof(wordSlot{}))

func newWordTable() (*wordTable, error) {
	t := &wordTable{}
	return t, t.resize(1 << 20)
}

func (t *wordTable) resize(n int) error {
	b, err := pages(n * slotBytes)
	if err != nil {
		return err
	}
	old := t.slots
	t.slots = unsafe.Slice((*wordSlot)(unsafe.Pointer(unsafe.SliceData(b))), n)
	if old == nil {
		return nil
	}
	for i := range old {
		if s := &old[i]; s.length != 0 {
			h := s.hash()
			for t.slots[h&uint64(n-1)].length != 0 {
				h++
			}
			t.slots[h&uint64(n-1)] = *s
		}
	}
	releaseSlots(old)
	return nil
}

func releaseSlots(slots []wordSlot) {
	release(unsafe.Slice((*byte)(unsafe.Pointer(unsafe.SliceData(slots))), len(slots)*slotBytes))
}

// free returns the memory of the slots to the system. The table must not be used after it.
func (t *wordTable) free() { releaseSlots(t.slots) }

func (s *wordSlot) hash() uint64 {
	if s.length <= 16 {
		return hashShort(s.k0, s.k1)
	}
	return s.k0
}

func hashShort(k0, k1 uint64) uint64 { return mix(k0^mul0, k1^mul1) }

// word appends the word of a slot to dst.
func (t *wordTable) word(dst []byte, s *wordSlot) []byte {
	if s.length > 16 {
		return append(dst, t.long[s.at:s.at+uint64(s.length)]...)
	}
	k := [2]uint64{s.k0, s.k1}
	return append(dst, unsafe.Slice((*byte)(unsafe.Pointer(&k)), s.length)...)
}

// taken counts a newly used slot, and grows the table when half are used.
func (t *wordTable) taken() {
	if t.used++; t.used*2 > len(t.slots) {
		if err := t.resize(4 * len(t.slots)); err != nil {
			panic(err) // out of memory
		}
	}
}

// flush counts a batch. First it touches every slot with independent loads, and then it updates
// them.
func (t *wordTable) flush(batch []token) {
	slots, mask := t.slots, uint64(len(t.slots)-1)
	var touched uint64
	for i := range batch {
		touched += slots[batch[i].hash&mask].k0
	}
	t.sink = touched
	for i := range batch {
		k := &batch[i]
		t.addShort(k.k0, k.k1, k.hash, k.length, 1)
	}
}

func (t *wordTable) addShort(k0, k1, hash uint64, length, count uint32) {
	mask := uint64(len(t.slots) - 1)
	for h := hash; ; h++ {
		s := &t.slots[h&mask]
		if s.k0 == k0 && s.k1 == k1 && s.length == length {
			s.count += count
			return
		}
		if s.length == 0 {
			*s = wordSlot{k0: k0, k1: k1, count: count, length: length}
			t.taken()
			return
		}
	}
}

func (t *wordTable) addLong(word []byte, count uint32) {
	mask, k0 := uint64(len(t.slots)-1), hash(word)
	for h := k0; ; h++ {
		s := &t.slots[h&mask]
		if s.length == uint32(len(word)) && s.k0 == k0 && bytes.Equal(t.long[s.at:s.at+uint64(s.length)], word) {
			s.count += count
			return
		}
		if s.length == 0 {
			*s = wordSlot{k0: k0, count: count, length: uint32(len(word)), at: uint64(len(t.long))}
			t.long = append(t.long, word...)
			t.taken()
			return
		}
	}
}

// addTable adds the words of another table whose hash falls into one of several equal shares.
func (t *wordTable) addTable(o *wordTable, share, shares int) {
	for i := range o.slots {
		s := &o.slots[i]
		if s.length == 0 {
			continue
		}
		h := s.hash()
		if in, _ := bits.Mul64(h, uint64(shares)); int(in) != share {
			continue
		}
		if s.length <= 16 {
			t.addShort(s.k0, s.k1, h, s.length, s.count)
		} else {
			t.addLong(o.long[s.at:s.at+uint64(s.length)], s.count)
		}
	}
}

// addText counts the words of b. 16 readable bytes must follow b, and the first of them must end
// a word unless b does. A word ends at any byte up to the space.
func (t *wordTable) addText(b []byte) {
	base, n := unsafe.Pointer(unsafe.SliceData(b)), len(b)
	load := func(i int) uint64 { return *(*uint64)(unsafe.Add(base, i)) }
	filled := 0
	put := func(k0, k1 uint64, length uint32) {
		t.batch[filled&(len(t.batch)-1)] = token{k0, k1, hashShort(k0, k1), length}
		if filled++; filled == len(t.batch) {
			t.flush(t.batch[:])
			filled = 0
		}
	}
	for i := 0; i < n; {
		w0 := load(i)
		if m := spaces(w0); m != 0 {
			length := bits.TrailingZeros64(m) >> 3
			if length > 0 {
				put(w0&(1<<(uint(length)*8)-1), 0, uint32(length))
			}
			i += length + 1
			continue
		}
		w1 := load(i + 8)
		if m := spaces(w1); m != 0 {
			length := bits.TrailingZeros64(m) >> 3
			put(w0, w1&(1<<(uint(length)*8)-1), uint32(length+8))
			i += length + 9
			continue
		}
		end := i + 16
		for end < n && b[end] > ' ' {
			end++
		}
		if end == i+16 {
			put(w0, w1, 16)
		} else {
			t.addLong(b[i:end], 1)
		}
		i = end + 1
	}
	t.flush(t.batch[:filled])
}

// spaces sets the high bit of the first byte of w up to a space, and perhaps of later ones.
func spaces(w uint64) uint64 {
	const aboveSpace, highs = 0x2121212121212121, 0x8080808080808080
	return (w - aboveSpace) &^ w & highs
}
