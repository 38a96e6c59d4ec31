package spill

import (
	"encoding/binary"
	"slices"
	"unsafe"

	"github.com/layshaft/layshaft/internal/hotkeys"
)

// byPartition sorts entries by partition, and else keeps their order. The bits of ref above shift
// are the partition. It returns the entries, the end of each partition after a zero, and scratch of
// the same length. Both share the memory of e and aux.
func byPartition(e, aux []entry, parts int, shift uint) (sorted []entry, ends []int, scratch []entry) {
	if parts == 1 {
		return e, []int{0, len(e)}, aux
	}
	ends = make([]int, parts+1)
	for i := range e {
		ends[e[i].ref>>shift+1]++
	}
	for p := range parts {
		ends[p+1] += ends[p]
	}
	starts := slices.Clone(ends)
	for i := range e {
		p := e[i].ref >> shift
		aux[starts[p]] = e[i]
		starts[p]++
	}
	return aux, ends, e
}

// chunkSize is the largest and minChunk the smallest size of the Sorter's chunks of memory, in
// bytes.
const (
	chunkSize = 4 << 20
	minChunk  = 64 << 10
)

const (
	chunkBits = 22
	// A ref of the Sorter is partition << 48 | chunk << 22 | offset in the chunk.
	refPart     = 48
	headerBytes = 8 // key length and value length before each record in a chunk
)

// MaxParts is the largest number of partitions of a Sorter.
const MaxParts = 1 << 16

// Sorter sorts encoded records by partition and key, in memory. At its limit it writes a run and
// starts again. Records with equal keys keep their order. Only one goroutine may use it.
type Sorter struct {
	cfg          SorterConfig
	size         int // of a chunk
	chunks       [][]byte
	rest         []byte // free rest of the last chunk
	base         uint64 // ref of the last chunk's first byte
	curLen       int
	entries      []entry
	mem          []byte // memory of entries
	used         int64
	keyLen       int // of all keys of entries; more than prefixBytes if they differ
	runs         int
	prefetchSink byte // see prefetch
	sampleAt     int  // number of entries before the next record for cfg.Keys
}

// SorterConfig configures a Sorter.
type SorterConfig struct {
	Parts  int    // number of partitions, at most MaxParts
	Limit  int64  // memory in bytes at which a run is written
	Output Append // receives the runs
	// Keys samples the keys of the records; nil means that nobody wants them.
	Keys *hotkeys.Sampler
	// KeyOf returns the part of a record that Keys counts. Nil means the key.
	KeyOf func(key, value []byte) []byte
}

// NewSorter returns an empty Sorter.
func NewSorter(cfg SorterConfig) *Sorter {
	size := chunkSize
	for size > minChunk && int64(size) > cfg.Limit/4 {
		size /= 2
	}
	return &Sorter{cfg: cfg, size: size, sampleAt: firstSkip(cfg.Keys)}
}

// Begin returns an empty slice for the next record. The caller appends the key and then the value,
// and passes the result to End.
func (s *Sorter) Begin() []byte {
	if len(s.rest) < 1<<10 {
		s.addChunk(s.size)
	}
	return s.rest[headerBytes:headerBytes:len(s.rest)]
}

func (s *Sorter) addChunk(n int) {
	b, _ := region(n)
	s.used += int64(cap(b))
	if n > s.size {
		b = b[:n] // a record too large to share a chunk: no other may begin behind it
	}
	s.base = uint64(len(s.chunks)) << chunkBits
	s.chunks = append(s.chunks, b)
	s.rest, s.curLen = b, len(b)
}

// End adds the record in b, which came from Begin: keyLen bytes of key, then the value.
func (s *Sorter) End(part int, b []byte, keyLen int) error {
	// append had to grow it
	moved := headerBytes+len(b) > len(s.rest) || unsafe.SliceData(b) != &s.rest[headerBytes]
	if moved {
		if err := Fits(b[:keyLen], len(b)-keyLen); err != nil {
			return err
		}
		n := max(s.size, (headerBytes+len(b)+7)&^7)
		// b is not in a chunk, so the chunks may be freed
		if s.memoryUsed()+int64(regionSize(n)) > s.cfg.Limit {
			if err := s.writeRun(); err != nil {
				return err
			}
		}
		s.addChunk(n)
		copy(s.rest[headerBytes:], b)
	}
	binary.LittleEndian.PutUint32(s.rest, uint32(keyLen))
	binary.LittleEndian.PutUint32(s.rest[4:], uint32(len(b)-keyLen))
	if len(s.entries) >= s.sampleAt {
		s.sample(b, keyLen)
	}
	if len(s.entries) == cap(s.entries) {
		s.growEntries()
	}
	if len(s.entries) == 0 {
		s.keyLen = keyLen
	} else if keyLen != s.keyLen {
		s.keyLen = prefixBytes + 1
	}
	ref := uint64(part)<<refPart | s.base | uint64(s.curLen-len(s.rest))
	s.entries = append(s.entries, entry{prefix(b[:keyLen]), ref})
	s.rest = s.rest[min(len(s.rest), (headerBytes+len(b)+7)&^7):]
	if len(s.rest) < 1<<10 && s.memoryUsed()+int64(s.size) > s.cfg.Limit ||
		len(s.entries) == cap(s.entries) && s.memoryUsed()+2*int64(len(s.mem)) > s.cfg.Limit {
		return s.writeRun() // the next record would need more memory
	}
	return nil
}

// sample samples the key of the record in b.
func (s *Sorter) sample(b []byte, keyLen int) {
	key := b[:keyLen]
	if s.cfg.KeyOf != nil {
		key = s.cfg.KeyOf(key, b[keyLen:])
	}
	s.sampleAt = len(s.entries) + 1 + s.cfg.Keys.Add(key, Hash(key))
}

// memoryUsed returns the memory in use, with the scratch of the sort, in bytes.
func (s *Sorter) memoryUsed() int64 { return s.used + 2*int64(len(s.mem)) }

func (s *Sorter) growEntries() {
	n := max(1<<12, 2*cap(s.entries))
	mem, _ := region(n * 16)
	grown := unsafe.Slice((*entry)(unsafe.Pointer(unsafe.SliceData(mem))), n)[:len(s.entries)]
	copy(grown, s.entries)
	freeRegion(s.mem)
	s.entries, s.mem = grown, mem
}

// record returns the key and value at ref.
func (s *Sorter) record(ref uint64) (key, value []byte) {
	ref &= 1<<refPart - 1
	c := s.chunks[ref>>chunkBits][ref&(1<<chunkBits-1):]
	k := binary.LittleEndian.Uint32(c)
	v := binary.LittleEndian.Uint32(c[4:])
	c = c[headerBytes:]
	return c[:k:k], c[k : k+v : k+v]
}

// prefetchCount is how many records are prefetched at a time.
const prefetchCount = 32

// prefetch loads the first bytes of records into the processor's cache. In key order the records
// are spread over the memory, and reading them one after the other would wait for each; independent
// loads run at the same time.
func (s *Sorter) prefetch(batch []entry) {
	var sum byte
	for _, x := range batch {
		ref := x.ref & (1<<refPart - 1)
		c := s.chunks[ref>>chunkBits]
		at := int(ref & (1<<chunkBits - 1))
		sum += c[at] + c[min(at+cacheLine, len(c)-1)]
	}
	s.prefetchSink = sum // otherwise the compiler would drop the loads
}

const cacheLine = 64

// Flush writes the remaining records as the last run and frees the memory. The Sorter must not be
// used afterwards.
func (s *Sorter) Flush() error {
	err := s.writeRun()
	s.Close()
	return err
}

// Close frees the memory without writing.
func (s *Sorter) Close() {
	for _, c := range s.chunks {
		freeRegion(c)
	}
	freeRegion(s.mem)
	*s = Sorter{cfg: s.cfg, size: s.size, runs: s.runs, sampleAt: s.sampleAt}
}

// writeRun writes and removes all records. It removes them even after an error.
func (s *Sorter) writeRun() error {
	if len(s.entries) == 0 {
		return nil
	}
	defer func() {
		for _, c := range s.chunks {
			freeRegion(c)
		}
		if s.cfg.Keys != nil {
			s.sampleAt -= len(s.entries)
		}
		s.chunks, s.rest, s.used, s.entries = nil, nil, 0, s.entries[:0]
	}()
	mem, _ := region(len(s.entries) * 16)
	defer freeRegion(mem)
	aux := unsafe.Slice((*entry)(unsafe.Pointer(unsafe.SliceData(mem))), len(s.entries))
	p := packer{output: s.cfg.Output, run: s.runs}
	s.runs++
	keyOf := func(ref uint64) []byte { k, _ := s.record(ref); return k }
	if s.keyLen <= prefixBytes {
		keyOf = nil
	}
	all, ends, scratch := byPartition(s.entries, aux, s.cfg.Parts, refPart)
	for part := range s.cfg.Parts {
		e := all[ends[part]:ends[part+1]]
		sortEntries(e, scratch, keyOf)
		if err := p.setPartition(part); err != nil {
			return err
		}
		for len(e) > 0 {
			batch := e[:min(len(e), prefetchCount)]
			e = e[len(batch):]
			s.prefetch(batch)
			for _, x := range batch {
				k, v := s.record(x.ref)
				if err := p.add(k, v); err != nil {
					return err
				}
			}
		}
	}
	return p.flush()
}
