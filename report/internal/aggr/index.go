package aggr

import (
	"encoding/binary"
	"hash/maphash"
	"math/bits"
	"unsafe"
)

// seed is random, so nobody can choose keys that collide. No data outside this process depends on
// it.
var (
	seed  = maphash.MakeSeed()
	seed0 = maphash.String(seed, "0")
	seed1 = maphash.String(seed, "1")
)

// slot is one place of an index. It is free if size is 0.
type slot struct {
	k0, k1 uint64 // a key of up to 16 bytes; of a longer key, its hash and 0
	size   uint32 // what distinguishes keys with the same k0 and k1: length, NULLs
	id     uint32
}

// longKey is the size of slots whose keys are stored elsewhere.
const longKey = 1 << 31

func mix(k0, k1 uint64) uint64 {
	hi, lo := bits.Mul64(k0^seed0, k1^seed1)
	return hi ^ lo
}

// index numbers keys in the order of their arrival, by open addressing: at most 5 of 8 slots are
// used.
type index struct {
	slots []slot
	mask  uint64
	n     int
}

// bigIndex is the number of slots from which look-ups touch all slots of a batch before they
// compare keys, so that the loads overlap. Below, the index fits into the cache.
const bigIndex = 1 << 13

// reserve makes room for n more keys.
func (x *index) reserve(n int) {
	if (x.n+n)*8 <= len(x.slots)*5 {
		return
	}
	size := max(64, len(x.slots))
	for (x.n+n)*8 > size*5 {
		size *= 2
	}
	old := x.slots
	x.slots = make([]slot, size)
	x.mask = uint64(size - 1)
	for i := range old {
		s := &old[i]
		if s.size == 0 {
			continue
		}
		h := s.hash()
		for x.slots[h&x.mask].size != 0 {
			h++
		}
		x.slots[h&x.mask] = *s
	}
}

func (s *slot) hash() uint64 {
	if s.size == longKey {
		return s.k0
	}
	return mix(s.k0, s.k1)
}

// find returns the number of a short key, and whether it is new. There must be room.
func (x *index) find(h, k0, k1 uint64, size uint32) (id uint32, fresh bool) {
	for ; ; h++ {
		s := &x.slots[h&x.mask]
		if s.k0 == k0 && s.k1 == k1 && s.size == size {
			return s.id, false
		}
		if s.size == 0 {
			*s = slot{k0, k1, size, uint32(x.n)}
			x.n++
			return s.id, true
		}
	}
}

// findLong is find for a key with hash h that is stored elsewhere; same compares it with key number
// id.
func (x *index) findLong(h uint64, same func(id uint32) bool) (id uint32, fresh bool) {
	for at := h; ; at++ {
		s := &x.slots[at&x.mask]
		if s.size == longKey && s.k0 == h && same(s.id) {
			return s.id, false
		}
		if s.size == 0 {
			*s = slot{h, 0, longKey, uint32(x.n)}
			x.n++
			return s.id, true
		}
	}
}

// touch loads the slots of the hashes, so that find meets them in the cache.
func (x *index) touch(hashes []uint64) (sum uint32) {
	if len(x.slots) < bigIndex {
		return 0
	}
	for _, h := range hashes {
		sum += x.slots[h&x.mask].size
	}
	return sum
}

// bytes counts half of the slots twice: a larger index is filled while the smaller one still
// exists.
func (x *index) bytes() int64 { return int64(unsafe.Sizeof(slot{})) * int64(len(x.slots)) * 3 / 2 }

// pack returns a text of at most 16 bytes as two words.
func pack(s string) (k0, k1 uint64) {
	b := unsafe.Slice(unsafe.StringData(s), len(s))
	n := len(b)
	// the loads overlap when the length is not a power of two; they agree there
	switch {
	case n >= 8:
		return binary.LittleEndian.Uint64(b), binary.LittleEndian.Uint64(b[n-8:]) >> (8 * (16 - uint(n)))
	case n >= 4:
		return uint64(binary.LittleEndian.Uint32(b)) | uint64(binary.LittleEndian.Uint32(b[n-4:]))<<(8*(uint(n)-4)), 0
	case n > 0:
		return uint64(b[0]) | uint64(b[n/2])<<(8*(uint(n)/2)) | uint64(b[n-1])<<(8*(uint(n)-1)), 0
	}
	return 0, 0
}

// arena stores texts.
type arena struct {
	chunks [][]byte
	refs   []uint64 // chunk<<32 | offset of a length as a uvarint and the text
	held   int64
}

func (a *arena) add(s string) {
	last := len(a.chunks) - 1
	if need := len(s) + binary.MaxVarintLen32; last < 0 || cap(a.chunks[last])-len(a.chunks[last]) < need {
		size := max(need, 1<<min(20, 12+len(a.chunks)))
		a.chunks = append(a.chunks, make([]byte, 0, size))
		a.held += int64(size)
		last++
	}
	c := a.chunks[last]
	a.refs = append(a.refs, uint64(last)<<32|uint64(len(c)))
	a.chunks[last] = append(binary.AppendUvarint(c, uint64(len(s))), s...)
}

func (a *arena) get(id uint32) string {
	ref := a.refs[id]
	c := a.chunks[ref>>32][uint32(ref):]
	n := uint64(c[0])
	if c = c[1:]; n >= 0x80 {
		var w int
		n, w = binary.Uvarint(a.chunks[ref>>32][uint32(ref):])
		c = c[w-1:]
	}
	return unsafe.String(unsafe.SliceData(c), n)
}

func (a *arena) bytes() int64 { return a.held + 8*int64(cap(a.refs)) }

// texts numbers texts.
type texts struct {
	index
	arena
	nullID uint32 // the number of NULL plus one, or 0
}

// null returns the number of NULL.
func (t *texts) null() uint32 {
	if t.nullID == 0 {
		// no text has this slot, because its size differs from theirs
		t.reserve(1)
		id, _ := t.find(mix(0, 0), 0, 0, longKey-1)
		t.add("")
		t.nullID = id + 1
	}
	return t.nullID - 1
}

// id returns the number of s.
func (t *texts) id(s string) uint32 {
	t.reserve(1)
	if len(s) <= 16 {
		k0, k1 := pack(s)
		return t.short(mix(k0, k1), k0, k1, s)
	}
	return t.longer(maphash.String(seed, s), s)
}

func (t *texts) short(h, k0, k1 uint64, s string) uint32 {
	id, fresh := t.find(h, k0, k1, uint32(len(s))+1)
	if fresh {
		t.add(s)
	}
	return id
}

func (t *texts) longer(h uint64, s string) uint32 {
	for at := h; ; at++ {
		x := &t.slots[at&t.mask]
		if x.size == longKey && x.k0 == h && t.get(x.id) == s {
			return x.id
		}
		if x.size == 0 {
			*x = slot{h, 0, longKey, uint32(t.n)}
			t.n++
			t.add(s)
			return x.id
		}
	}
}

// ids stores the numbers of all strings in out. nulls marks the NULLs.
func (t *texts) ids(s []string, nulls []bool, out []uint32) {
	const step = 64
	var h, k0, k1 [step]uint64
	for len(s) > 0 {
		n := min(step, len(s))
		t.reserve(n + 1)
		for i, x := range s[:n] {
			if len(x) <= 16 {
				k0[i], k1[i] = pack(x)
				h[i] = mix(k0[i], k1[i])
			} else {
				h[i] = maphash.String(seed, x)
			}
		}
		t.touch(h[:n])
		for i, x := range s[:n] {
			switch {
			case nulls != nil && nulls[i]:
				out[i] = t.null()
			case len(x) <= 16:
				out[i] = t.short(h[i], k0[i], k1[i], x)
			default:
				out[i] = t.longer(h[i], x)
			}
		}
		s, out = s[n:], out[n:]
		if nulls != nil {
			nulls = nulls[n:]
		}
	}
}

func (t *texts) bytes() int64 { return t.index.bytes() + t.arena.bytes() }
