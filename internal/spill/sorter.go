package spill

import (
	"encoding/binary"
	"iter"
	"unsafe"
)

// byPartition yields the entries of each partition in turn, in the order of arrival. The partition stands in ref above shift.
func byPartition(e, aux []entry, parts int, shift uint) iter.Seq2[int, []entry] {
	return func(yield func(int, []entry) bool) {
		if parts == 1 {
			yield(0, e)
			return
		}
		ends := make([]int, parts+1)
		for i := range e {
			ends[e[i].ref>>shift+1]++
		}
		for p := range parts {
			ends[p+1] += ends[p]
		}
		starts := append([]int(nil), ends...)
		for i := range e {
			p := e[i].ref >> shift
			aux[starts[p]] = e[i]
			starts[p]++
		}
		copy(e, aux)
		for p := range parts {
			if lo, hi := ends[p], ends[p+1]; lo < hi && !yield(p, e[lo:hi]) {
				return
			}
		}
	}
}

// chunkSize is the largest size of the Sorter's pieces of memory, minChunk the smallest, in bytes.
const (
	chunkSize = 4 << 20
	minChunk  = 64 << 10
)

const (
	chunkBits   = 22
	refPart     = 48 // a ref of the Sorter is partition << 48 | chunk << 22 | offset in the chunk
	headerBytes = 8  // key length and value length before each record in a chunk
)

// MaxParts is the largest number of partitions of a Sorter.
const MaxParts = 1 << 16

// Sorter sorts encoded records by partition and key, in memory up to a limit; then it writes a run and starts afresh.
// Records with equal keys keep their order. It is used by one goroutine.
type Sorter struct {
	cfg          SorterConfig
	size         int // of a chunk
	chunks       [][]byte
	rest         []byte // free rest of the last chunk
	base         uint64 // ref of the last chunk's first byte
	curLen       int
	entries      []entry
	mem          []byte // behind entries
	used         int64
	runs         int
	prefetchSink byte // see fetch
}

// SorterConfig says what a Sorter does.
type SorterConfig struct {
	Parts  int    // number of partitions, at most MaxParts
	Limit  int64  // bytes in memory before a run is written
	Output Append // takes the runs
}

// NewSorter returns an empty Sorter.
func NewSorter(cfg SorterConfig) *Sorter {
	size := chunkSize
	for size > minChunk && int64(size) > cfg.Limit/4 {
		size /= 2
	}
	return &Sorter{cfg: cfg, size: size}
}

// Begin returns an empty slice to which the caller appends the key and then the value of the next record, for End.
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
		b = b[:n] // a record too large to share: no other may begin behind it
	}
	s.base = uint64(len(s.chunks)) << chunkBits
	s.chunks = append(s.chunks, b)
	s.rest, s.curLen = b, len(b)
}

// End adds the record in b, which came from Begin: keyLen bytes of key, then the value.
func (s *Sorter) End(part int, b []byte, keyLen int) error {
	moved := headerBytes+len(b) > len(s.rest) || unsafe.SliceData(b) != &s.rest[headerBytes] // append had to
	if moved {
		if err := Fits(b[:keyLen], len(b)-keyLen); err != nil {
			return err
		}
		n := max(s.size, (headerBytes+len(b)+7)&^7)
		if s.memoryUsed()+int64(regionSize(n)) > s.cfg.Limit { // b is not in a chunk, so they may go
			if err := s.writeRun(); err != nil {
				return err
			}
		}
		s.addChunk(n)
		copy(s.rest[headerBytes:], b)
	}
	binary.LittleEndian.PutUint32(s.rest, uint32(keyLen))
	binary.LittleEndian.PutUint32(s.rest[4:], uint32(len(b)-keyLen))
	if len(s.entries) == cap(s.entries) {
		s.growEntries()
	}
	ref := uint64(part)<<refPart | s.base | uint64(s.curLen-len(s.rest))
	s.entries = append(s.entries, entry{prefix(b[:keyLen]), ref})
	s.rest = s.rest[min(len(s.rest), (headerBytes+len(b)+7)&^7):]
	if len(s.rest) < 1<<10 && s.memoryUsed()+int64(s.size) > s.cfg.Limit ||
		len(s.entries) == cap(s.entries) && s.memoryUsed()+2*int64(len(s.mem)) > s.cfg.Limit {
		return s.writeRun() // the next record would need more
	}
	return nil
}

// memoryUsed returns the memory in use, the sort's scratch included.
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

// fetched is how many records fetch brings near at a time.
const prefetchCount = 32

// prefetch brings the first bytes of records into the processor's cache. In the order of their keys they lie anywhere in memory, and
// reading them one after the other would wait for each; loads that do not depend on one another are under way together.
func (s *Sorter) prefetch(batch []entry) {
	var sum byte
	for _, x := range batch {
		ref := x.ref & (1<<refPart - 1)
		c := s.chunks[ref>>chunkBits]
		at := int(ref & (1<<chunkBits - 1))
		sum += c[at] + c[min(at+cacheLine, len(c)-1)]
	}
	s.prefetchSink = sum // or the compiler would leave the loads out
}

const cacheLine = 64

// Flush writes what is left as the last run and frees the memory. The Sorter must not be used afterwards.
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
	*s = Sorter{cfg: s.cfg, size: s.size, runs: s.runs}
}

// Runs returns how many runs were written.
func (s *Sorter) Runs() int { return s.runs }

// writeRun writes all records and forgets them, also when it fails.
func (s *Sorter) writeRun() error {
	if len(s.entries) == 0 {
		return nil
	}
	defer func() {
		for _, c := range s.chunks {
			freeRegion(c)
		}
		s.chunks, s.rest, s.used, s.entries = nil, nil, 0, s.entries[:0]
	}()
	mem, _ := region(len(s.entries) * 16)
	defer freeRegion(mem)
	aux := unsafe.Slice((*entry)(unsafe.Pointer(unsafe.SliceData(mem))), len(s.entries))
	p := packer{output: s.cfg.Output, run: s.runs}
	s.runs++
	keyOf := func(ref uint64) []byte { k, _ := s.record(ref); return k }
	for part, e := range byPartition(s.entries, aux, s.cfg.Parts, refPart) {
		sortEntries(e, aux, keyOf)
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
