package mapreduce

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"runtime/debug"
	"sync"
	"unsafe"

	"github.com/layshaft/layshaft/internal/bytesize"
	"github.com/layshaft/layshaft/internal/job"
	"github.com/layshaft/layshaft/internal/record"
	"github.com/layshaft/layshaft/internal/spill"
)

// shared is the state that all attempts of one job share in one process.
type shared struct {
	// mu guards the fields below.
	mu    sync.Mutex
	sides map[int]*sideEntry
}

// sideEntry is a side that an attempt loads or has loaded.
type sideEntry struct {
	done  chan struct{} // closed when value and err are set
	value any
	err   error
}

// sideValue returns what load makes from the side of a node, such as the table of a broadcast join.
// It calls load once per process, and again after an error. An attempt waits while another one
// loads. If the other one fails, maybe because it was cancelled, this attempt loads itself.
func sideValue[S any](e *env, n *node, load func() (*S, error)) (*S, error) {
	for {
		s, isNew := e.shared.side(n.id)
		if isNew {
			e.shared.load(n.id, s, func() (any, error) { return load() })
			if s.err != nil {
				return nil, s.err
			}
		}
		select {
		case <-s.done:
		case <-e.ctx.Done():
			return nil, context.Cause(e.ctx)
		}
		if s.err == nil {
			return s.value.(*S), nil
		}
	}
}

// side returns the entry of a node. isNew means that the caller has to load it.
func (x *shared) side(id int) (s *sideEntry, isNew bool) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if s = x.sides[id]; s != nil {
		return s, false
	}
	if x.sides == nil {
		x.sides = map[int]*sideEntry{}
	}
	s = &sideEntry{done: make(chan struct{})}
	x.sides[id] = s
	return s, true
}

// load sets value and err of the entry of a node, and drops the entry after an error.
func (x *shared) load(id int, s *sideEntry, load func() (any, error)) {
	s.err = errors.New("the goroutine that loaded it has ended")
	defer func() {
		if v := recover(); v != nil {
			s.err = &job.Failure{Kind: job.Transient, Message: fmt.Sprintf("panic: %v", v), Detail: string(debug.Stack())}
		}
		if s.err != nil {
			x.mu.Lock()
			delete(x.sides, id)
			x.mu.Unlock()
		}
		close(s.done)
	}()
	s.value, s.err = load()
}

// lookup is a read-only hash table from encoded keys to values. A slot holds 32 bits of the hash,
// and the number of its entry plus one. So a look-up of a missing key touches one cache line and
// compares no key. Most such look-ups end in a filter, which is small enough for a near cache.
type lookup[R any] struct {
	slots  []uint64
	mask   uint64
	filter []uint64 // bits, set for the hashes of the keys
	bits   uint64   // mask of the filter's bits
	keys   []byte
	ends   []uint32 // end of each entry's key in keys
	values []R
	bytes  int64 // approximate size of the table
}

// maxFilter is the largest number of bits in the filter of a lookup. It is 512 KiB.
const maxFilter = 4 << 20

// get returns the value of key; nil if there is none.
func (l *lookup[R]) get(key []byte) *R {
	h := spill.Hash(key)
	if b := h & l.bits; l.filter[b>>6]>>(b&63)&1 == 0 {
		return nil
	}
	for i := h & l.mask; ; i = (i + 1) & l.mask {
		s := l.slots[i]
		if s == 0 {
			return nil
		}
		if s>>32 == h>>32 {
			n := uint32(s) - 1
			start := uint32(0)
			if n > 0 {
				start = l.ends[n-1]
			}
			if string(l.keys[start:l.ends[n]]) == string(key) {
				return &l.values[n]
			}
		}
	}
}

func (l *lookup[R]) put(key []byte, n uint32) {
	h := spill.Hash(key)
	b, i := h&l.bits, h&l.mask
	l.filter[b>>6] |= 1 << (b & 63)
	for l.slots[i] != 0 {
		i = (i + 1) & l.mask
	}
	l.slots[i] = h>>32<<32 | uint64(n+1)
}

// loadSide reads the small side of a broadcast join.
func loadSide[R, K any](e *env, n *node, appendKey func([]byte, *K) []byte, decode func([]byte, *R) ([]byte, error), key func(R) K) (*lookup[R], error) {
	l := &lookup[R]{}
	k := new(K)
	var buf []byte
	limit := e.sideLimit()
	read := int64(0)
	for _, run := range e.input(e.stage.sides[n.id]) {
		for {
			b, err := run.Next()
			if err == io.EOF {
				break
			}
			if err != nil {
				return nil, err
			}
			b = bytes.Clone(b) // values alias it during the whole job
			read += int64(len(b))
			if l.measure(read); l.bytes > limit {
				return nil, Fatal(fmt.Errorf("its records up to number %d take %s, more than half of the memory, %s; give more (-memory), or use Join or LeftJoin",
					len(l.values), bytesize.Format(l.bytes), bytesize.Format(limit)))
			}
			for len(b) > 0 {
				var v []byte
				if _, v, b, err = record.Cut(b); err != nil {
					return nil, err
				}
				var r R
				if _, err := decode(v, &r); err != nil {
					return nil, err
				}
				*k = key(r)
				buf = appendKey(buf[:0], k)
				if uint64(len(l.keys)+len(buf)) > math.MaxUint32 {
					return nil, Fatal(errors.New("its keys take more than 4 GiB; use Join"))
				}
				l.keys = append(l.keys, buf...)
				l.ends = append(l.ends, uint32(len(l.keys)))
				l.values = append(l.values, r)
			}
		}
	}
	size, bits := 64, 64
	for size < 3*len(l.values) {
		size *= 2
	}
	for bits < 8*len(l.values) {
		bits *= 2
	}
	l.slots, l.mask = make([]uint64, size), uint64(size-1)
	if bits <= maxFilter {
		l.filter, l.bits = make([]uint64, bits/64), uint64(bits-1)
	} else { // a look-up would miss the cache twice
		l.filter = []uint64{1}
	}
	start := uint32(0)
	for i, end := range l.ends {
		key := l.keys[start:end]
		if old := l.get(key); old != nil {
			*old = l.values[i] // the last record counts
		} else {
			l.put(key, uint32(i))
		}
		start = end
	}
	l.measure(read)
	return l, nil
}

// sideLimit is the memory limit of all small sides of a stage: half of the memory of all attempts
// in the process, but at least a few megabytes.
func (e *env) sideLimit() int64 { return max(4<<20, e.run.Memory*int64(max(1, e.run.Slots))/2) }

// measure computes the size of the table, including the bytes that its values alias.
func (l *lookup[R]) measure(aliased int64) {
	var r R
	l.bytes = aliased + int64(cap(l.keys)+4*cap(l.ends)+8*cap(l.slots)+8*cap(l.filter)) + int64(cap(l.values))*int64(unsafe.Sizeof(r))
}
