package bodies

import "encoding/binary"

// arena stores bodies in chunks of one megabyte. A chunk is filled from the front and reused when
// all its bodies are dropped. A large body has its own chunk. When less than half of the memory is
// in use, compact moves the bodies of the emptiest chunk. A body is stored as
//
//	ID 8 | length * 2 + kind, a varint | body
type arena struct {
	chunks  []chunk
	current int   // chunk being filled, if there are chunks
	unused  []int // numbers of chunks without memory
	spare   []int // empty chunks of one megabyte
	// used is the size of all stored bodies with their headers, in bytes.
	used     int64
	reserved int64 // size of all chunks in bytes
}

type chunk struct {
	b      []byte
	mapped bool
	// filled is the number of bytes written; live is how many of them are still in use.
	filled, live int
}

const (
	chunkSize = 1 << 20
	ownChunk  = 64 << 10 // larger bodies have their own chunk
	maxSpare  = 4
)

// location packs the number of a chunk plus one and an offset in it. Zero means no location.
func location(c, off int) uint64 { return uint64(c+1)<<40 | uint64(off) }

func (a *arena) at(loc uint64) (*chunk, []byte) {
	c := &a.chunks[loc>>40-1]
	return c, c.b[loc&(1<<40-1):]
}

// entry decodes the entry at the start of b.
func entry(b []byte) (id uint64, kind Kind, body []byte, size int) {
	n, k := binary.Uvarint(b[8:])
	size = 8 + k + int(n>>1)
	return binary.LittleEndian.Uint64(b), Kind(n & 1), b[8+k : size : size], size
}

func (a *arena) get(loc uint64) []byte {
	_, b := a.at(loc)
	_, _, body, _ := entry(b)
	return body
}

func (a *arena) id(loc uint64) uint64 {
	_, b := a.at(loc)
	return binary.LittleEndian.Uint64(b)
}

// size returns the size of a body with its header.
func (a *arena) size(loc uint64) int64 {
	_, b := a.at(loc)
	_, _, _, size := entry(b)
	return int64(size)
}

// put copies a body into the arena and returns its location.
func (a *arena) put(kind Kind, id uint64, body []byte) uint64 {
	var header [8 + binary.MaxVarintLen64]byte
	binary.LittleEndian.PutUint64(header[:], id)
	h := 8 + binary.PutUvarint(header[8:], uint64(len(body))<<1|uint64(kind))
	size := h + len(body)
	a.used += int64(size)
	n := a.current
	if size > ownChunk {
		n = a.addChunk(size)
	} else if len(a.chunks) == 0 || cap(a.chunks[n].b) == 0 || a.chunks[n].filled+size > len(a.chunks[n].b) {
		if k := len(a.spare); k > 0 {
			n, a.spare = a.spare[k-1], a.spare[:k-1]
		} else {
			n = a.addChunk(chunkSize)
		}
		full := a.current
		a.current = n
		if len(a.chunks) > full && full != n {
			a.freeIfUnused(full)
		}
	}
	c := &a.chunks[n]
	off := c.filled
	copy(c.b[off:], header[:h])
	copy(c.b[off+h:], body)
	c.filled += size
	c.live += size
	return location(n, off)
}

// addChunk adds a chunk and returns its number.
func (a *arena) addChunk(size int) int {
	n := len(a.chunks)
	if k := len(a.unused); k > 0 {
		n, a.unused = a.unused[k-1], a.unused[:k-1]
	} else {
		a.chunks = append(a.chunks, chunk{})
	}
	c := &a.chunks[n]
	c.b, c.mapped = pages(size)
	c.filled, c.live = 0, 0
	a.reserved += int64(size)
	return n
}

// drop removes a body and returns its size with its header. A zero location is allowed.
func (a *arena) drop(loc uint64) (size int64) {
	if loc == 0 {
		return 0
	}
	c, b := a.at(loc)
	_, _, _, n := entry(b)
	a.used -= int64(n)
	c.live -= n
	a.freeIfUnused(int(loc>>40 - 1))
	return int64(n)
}

// freeIfUnused frees chunk n, or prepares it for reuse, if it has no bodies in use.
func (a *arena) freeIfUnused(n int) {
	c := &a.chunks[n]
	switch {
	case c.live > 0 || c.b == nil:
	case len(c.b) == chunkSize && n == a.current:
		c.filled = 0
	case len(c.b) == chunkSize && len(a.spare) < maxSpare:
		c.filled = 0
		a.spare = append(a.spare, n)
	default:
		a.reserved -= int64(len(c.b))
		c.release()
		a.unused = append(a.unused, n)
	}
}

func (c *chunk) release() {
	if c.mapped {
		release(c.b)
	}
	*c = chunk{}
}

// compact moves the bodies of the emptiest chunk if more than half of the memory is unused.
func (a *arena) compact(of *[kinds]places) {
	if a.reserved <= 2*a.used+8*chunkSize {
		return
	}
	least := -1
	for n := range a.chunks {
		if c := &a.chunks[n]; len(c.b) == chunkSize && c.live > 0 && n != a.current && (least < 0 || c.live < a.chunks[least].live) {
			least = n
		}
	}
	if least < 0 {
		return
	}
	b, n := a.chunks[least].b, a.chunks[least].filled
	for off := 0; off < n && a.chunks[least].live > 0; {
		id, kind, body, size := entry(b[off:])
		if p := of[kind].find(id); p != nil && p.loc() == location(least, off) {
			to := a.put(kind, id, body)
			a.drop(p.loc())
			p.set(to)
		}
		off += size
	}
}

func (a *arena) free() {
	for n := range a.chunks {
		a.chunks[n].release()
	}
	*a = arena{}
}

// places maps bodies to their places by the slot in the low bits of the task ID. A slot belongs to
// one task until the task is dropped.
type places struct{ pages []*[pageSize]place }

const (
	slotBits = 26 // as in package queue
	pageSize = 1 << 12
)

// place is a location with flags.
type place uint64

const (
	spilled    place = 1 << 63 // written to save memory, not for durability
	memoryOnly place = 1 << 62 // stored in memory and nowhere else

	flags = spilled | memoryOnly
)

func (p *place) loc() uint64 { return uint64(*p &^ flags) }

func (p *place) set(loc uint64) { *p = *p&flags | place(loc) }

// find returns the place of a body, or nil if it has none.
func (p *places) find(id uint64) *place {
	slot := id & (1<<slotBits - 1)
	if page := slot / pageSize; page < uint64(len(p.pages)) && p.pages[page] != nil {
		return &p.pages[page][slot%pageSize]
	}
	return nil
}

// ensure returns the place of a body and creates it if necessary.
func (p *places) ensure(id uint64) *place {
	if at := p.find(id); at != nil {
		return at
	}
	slot := id & (1<<slotBits - 1)
	for uint64(len(p.pages)) <= slot/pageSize {
		p.pages = append(p.pages, nil)
	}
	p.pages[slot/pageSize] = new([pageSize]place)
	return p.find(id)
}
