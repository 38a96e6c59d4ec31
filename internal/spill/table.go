package spill

import (
	"math"
	"math/bits"
	"unsafe"

	"github.com/zeebo/xxh3"
)

// inline is the longest key that a slot holds itself, in bytes.
const maxInlineKey = 16

const (
	mix0 = 0xa0761d6478bd642f
	mix1 = 0xe7037ed1a0b428db
)

// token is a key made ready for a look-up. Up to 16 bytes stand in k0 and k1, little endian, padded with zeros; of a longer key
// k0 is the hash.
type token struct {
	k0, k1 uint64
	hash   uint64
	key    unsafe.Pointer // the bytes, for keys longer than inline
	size   uint32         // length of the key plus one
}

// set makes the n bytes at p ready for a look-up.
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

// Hash returns the hash of a key that decides its partition. It is the same in every process.
func Hash(key []byte) uint64 {
	var t token
	t.set(unsafe.Pointer(unsafe.SliceData(key)), len(key))
	return t.hash
}

// Partition returns the partition, from 0 to n-1, of a key with the given hash.
func Partition(hash uint64, n int) int {
	// The upper bits: a table uses the lower ones, so the keys of one partition still spread over a table.
	hi, _ := bits.Mul64(hash*mix1, uint64(n))
	return int(hi)
}

// slot is one place of a table. size zero means free. k0 and k1 are the key's bytes as they stand in memory, or for a long key
// its hash and where its bytes are: piece<<32 | offset.
type slot[X any] struct {
	k0, k1 uint64
	size   uint32
	x      X
}

// core is an open-addressing hash table from byte keys to X, which must not hold pointers. It is half full at most, or a little
// more when it is not emptied as soon as full is set.
type core[X any] struct {
	slots     []slot[X]
	mem       []byte
	mask      uint64
	n         int
	longKeys  [][]byte // pieces that hold keys longer than inline
	usedBytes int64    // bytes of memory, those included that growing or writing the table takes beside it
	limit     int64    // for taken
	isFull    bool     // the limit is reached: it is time to write the table and to empty it
}

func (c *core[X]) slotSize() int { return int(unsafe.Sizeof(slot[X]{})) }

// tableBytes returns what a table of n slots takes: its slots and half as much, for the smaller table that it grows from or for
// sorting its entries.
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

func (c *core[X]) hash(s *slot[X]) uint64 {
	if s.size > maxInlineKey+1 {
		return s.k0
	}
	return mixHash(s.k0, s.k1)
}

// findSlot returns the place for t's key; if the key is new its X is the zero value. The pointer is good until the next call.
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

// storeKey copies a long key and returns where it is.
func (c *core[X]) storeKey(key string) uint64 {
	last := len(c.longKeys) - 1
	if last < 0 || cap(c.longKeys[last])-len(c.longKeys[last]) < len(key) {
		b, _ := region(max(len(key), min(1<<20, int(c.limit/32))))
		c.longKeys = append(c.longKeys, b[:0])
		c.charge(int64(cap(b)))
		c.isFull = c.isFull || c.usedBytes+int64(cap(b)) > c.limit // there is no room for another one
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

// grow makes the table larger. It returns false when the limit forbids that.
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
