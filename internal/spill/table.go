package spill

import (
	"math"
	"math/bits"
	"runtime"
	"unsafe"

	"github.com/zeebo/xxh3"
)

// maxInlineKey is the longest key stored in a slot itself, in bytes.
const maxInlineKey = 16

const (
	mix0 = 0xa0761d6478bd642f
	mix1 = 0xe7037ed1a0b428db
)

// token is a key prepared for a look-up. A key of up to 16 bytes is stored in k0 and k1, little
// endian, padded with zeros. For a longer key k0 is its hash.
type token struct {
	k0, k1 uint64
	hash   uint64
	key    unsafe.Pointer // the bytes of a long key
	size   uint32         // length of the key plus one
}

// set prepares the n bytes at p for a look-up.
func (t *token) set(p unsafe.Pointer, n int) {
	t.size = uint32(n) + 1
	var k0, k1 uint64
	switch {
	case n > maxInlineKey:
		t.hash = xxh3.HashString(unsafe.String((*byte)(p), n))
		t.k0, t.k1, t.key = t.hash, 0, p
		return
	case n >= 8:
		k0 = *(*uint64)(p)
		k1 = *(*uint64)(unsafe.Add(p, n-8)) >> (uint(16-n) * 8)
	case n >= 4:
		k0 = uint64(*(*uint32)(p)) | uint64(*(*uint32)(unsafe.Add(p, n-4)))<<(uint(n-4)*8)
	case n > 0:
		k0 = uint64(*(*byte)(p))
		if n > 1 {
			k0 |= uint64(*(*byte)(unsafe.Add(p, 1)))<<8 | uint64(*(*byte)(unsafe.Add(p, n-1)))<<(uint(n-1)*8)
		}
	}
	t.k0, t.k1 = k0, k1
	t.hash = mixHash(k0, k1)
}

func mixHash(k0, k1 uint64) uint64 {
	h, l := bits.Mul64(k0^mix0, k1^mix1)
	return h ^ l
}

// Hash returns the hash of a key, which decides its partition. It is the same in every process.
func Hash(key []byte) uint64 {
	var t token
	t.set(unsafe.Pointer(unsafe.SliceData(key)), len(key))
	return t.hash
}

// Partition returns the partition, from 0 to n-1, of a key with the given hash.
func Partition(hash uint64, n int) int {
	// It uses the upper bits: a table uses the lower ones, so the keys of one partition still
	// spread over a table.
	hi, _ := bits.Mul64(hash*mix1, uint64(n))
	return int(hi)
}

// slot is one place of a table. It is free if size is zero. k0 and k1 are the key's bytes, as in a
// token; for a long key they are its hash and the place of its bytes: piece<<32 | offset.
type slot[X any] struct {
	k0, k1 uint64
	size   uint32
	x      X
}

// core is an open-addressing hash table from byte keys to X, a type without pointers. It is at most
// half full, or a little more if it is not emptied as soon as isFull is set.
type core[X any] struct {
	slots    []slot[X]
	mem      []byte
	mask     uint64
	n        int
	longKeys [][]byte // pieces of memory for keys longer than maxInlineKey
	// usedBytes includes the extra memory needed to grow or write the table.
	usedBytes int64
	limit     int64 // for usedBytes
	isFull    bool  // the limit is reached: write and empty the table
}

func (c *core[X]) slotSize() int { return int(unsafe.Sizeof(slot[X]{})) }

// tableBytes returns the memory for a table of n slots: its slots and half as much, for the smaller
// table during growth or for the sort of its entries.
func (c *core[X]) tableBytes(n int) int64 { return int64(regionSize(n*c.slotSize())) * 3 / 2 }

func (c *core[X]) init(n int) {
	b, fresh := region(n * c.slotSize())
	if !fresh {
		clear(b[:n*c.slotSize()])
	}
	c.usedBytes += c.tableBytes(n)
	c.mem = b
	c.slots = unsafe.Slice((*slot[X])(unsafe.Pointer(unsafe.SliceData(b))), n)
	c.mask = uint64(n - 1)
}

func (c *core[X]) key(i uint64) []byte {
	s := &c.slots[i]
	n := uint64(s.size) - 1
	if n <= maxInlineKey {
		return unsafe.Slice((*byte)(unsafe.Pointer(&s.k0)), n)
	}
	at := s.k1 & math.MaxUint32
	return c.longKeys[s.k1>>32][at : at+n]
}

// prefetch loads the slots and long keys of entries into the processor's cache, as Sorter.prefetch
// does.
func (c *core[X]) prefetch(batch []entry, slotMask uint64) {
	var sum uint64
	for _, e := range batch {
		s := &c.slots[e.ref&slotMask]
		sum += s.k0 + uint64(s.size)
	}
	if len(c.longKeys) > 0 {
		for _, e := range batch {
			if k := c.key(e.ref & slotMask); len(k) > 0 {
				sum += uint64(k[0])
			}
		}
	}
	runtime.KeepAlive(sum) // otherwise the compiler would drop the loads
}

func (c *core[X]) hash(s *slot[X]) uint64 {
	if s.size > maxInlineKey+1 {
		return s.k0
	}
	return mixHash(s.k0, s.k1)
}

// findSlot returns the value of t's key; for a new key it is the zero value. The pointer is valid
// until the next call.
func (c *core[X]) findSlot(t *token) *X {
	for h := t.hash; ; h++ {
		s := &c.slots[h&c.mask]
		if s.size == t.size && s.k0 == t.k0 {
			if t.size <= maxInlineKey+1 {
				if s.k1 == t.k1 {
					return &s.x
				}
			} else if unsafe.String(&c.longKeys[s.k1>>32][s.k1&math.MaxUint32], t.size-1) == unsafe.String((*byte)(t.key), t.size-1) {
				return &s.x
			}
		}
		if s.size == 0 {
			if 2*c.n+2 >= len(c.slots) && c.grow() {
				return c.findSlot(t)
			}
			c.n++
			s.k0, s.k1, s.size = t.k0, t.k1, t.size
			if t.size > maxInlineKey+1 {
				s.k1 = c.storeKey(unsafe.String((*byte)(t.key), t.size-1))
			}
			return &s.x
		}
	}
}

// storeKey copies a long key and returns its place.
func (c *core[X]) storeKey(key string) uint64 {
	last := len(c.longKeys) - 1
	if last < 0 || cap(c.longKeys[last])-len(c.longKeys[last]) < len(key) {
		b, _ := region(max(len(key), min(1<<20, int(c.limit/32))))
		c.longKeys = append(c.longKeys, b[:0])
		c.charge(int64(cap(b)))
		// there is no room for another piece
		c.isFull = c.isFull || c.usedBytes+int64(cap(b)) > c.limit
		last++
	}
	at := len(c.longKeys[last])
	c.longKeys[last] = append(c.longKeys[last], key...)
	return uint64(last)<<32 | uint64(at)
}

func (c *core[X]) charge(n int64) {
	if c.usedBytes += n; c.usedBytes > c.limit {
		c.isFull = true
	}
}

// grow makes the table larger. It returns false if the limit does not allow that.
func (c *core[X]) grow() bool {
	old, mem := c.slots, c.mem
	rest := c.usedBytes - c.tableBytes(len(old))
	n := 4 * len(old)
	if len(old) >= 1<<16 || rest+c.tableBytes(n) > c.limit {
		n = 2 * len(old)
	}
	if rest+c.tableBytes(n) > c.limit {
		c.isFull = true
		return false
	}
	c.usedBytes = rest
	c.init(n)
	for i := range old {
		s := &old[i]
		if s.size == 0 {
			continue
		}
		h := c.hash(s)
		for c.slots[h&c.mask].size != 0 {
			h++
		}
		c.slots[h&c.mask] = *s
	}
	freeRegion(mem)
	return true
}

// reset empties the table and keeps its slots.
func (c *core[X]) reset() {
	clear(c.slots)
	c.n, c.isFull = 0, false
	c.usedBytes = c.tableBytes(len(c.slots))
	for _, b := range c.longKeys {
		freeRegion(b)
	}
	c.longKeys = nil
}

func (c *core[X]) free() {
	for _, b := range c.longKeys {
		freeRegion(b)
	}
	freeRegion(c.mem)
	*c = core[X]{}
}
