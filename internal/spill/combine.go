// Package spill aggregates, groups and sorts more records than memory holds. It consists of a
// combining hash table (Combiner), a sorter of encoded records (Sorter) and a k-way merge of sorted
// runs (Merge). It does not depend on jobs.
//
// All three use one form of data. A run is a sequence of blocks of records in key order, and every
// partition of an output consists of one or more runs. Reducing is always a merge of runs. So
// memory stays limited for any number of keys, and equal keys arrive in the order of the runs:
// results do not depend on timing. For example, a Combiner with room for three keys turns b a c d a
// into
//
//	run 0: a b c
//	run 1: a d
//
// and the Merge of both returns a (run 0), a (run 1), b, c, d.
//
// The table keeps keys of up to 16 bytes in its slots. It looks keys up in batches, so that cache
// misses overlap, and lives on huge pages outside the garbage-collected heap: 2.2 times as fast as
// a built-in map for 500,000 words (see the benchmarks).
package spill

import (
	"math"
	"reflect"
	"runtime"
	"unsafe"

	"github.com/layshaft/layshaft/internal/hotkeys"
	"github.com/layshaft/layshaft/internal/record"
	"github.com/layshaft/layshaft/internal/sketch"
)

// batchSize is how many values wait to be looked up together.
const batchSize = 64

// smallTable is the largest size of a table, in bytes, for which single look-ups are as fast: it
// fits into the core's own cache.
const smallTable = 192 << 10

// leastLimit is the smallest limit of a Combiner, in bytes: below it a run would hold only a
// handful of keys.
const leastLimit = 256 << 10

// maxWaiting limits the long keys that wait to be looked up, in bytes.
const maxWaiting = 64 << 10

// maxHeld limits the memory of an accumulator before it is written, in bytes, so that its encoding
// fits into a block.
const maxHeld = record.MaxFrame / 4

// Combiner folds values of T into one accumulator A per key, in memory. At its limit it writes a
// run and starts again. Only one goroutine may use it.
type Combiner[T, A any] struct {
	cfg CombinerConfig[T, A]

	// flat has the accumulators in its slots, if A is small and without pointers.
	flat core[A]
	// index is used otherwise: it has the numbers of the accumulators, from 1.
	index    core[uint32]
	accs     [][]holder[A]
	shift    uint // each slice of accs has room for 1<<shift
	n        int  // accumulators in accs
	inSlot   bool
	isDirect bool // the table is small: no batches

	waiting int
	tokens  [batchSize]token
	values  [batchSize]T
	scratch []byte // copies of waiting long keys

	runs int

	// adds counts the values folded since the last run. At sampleAt keys, the table decides whether
	// it folds enough; sorter is set while it does not.
	adds, sampleAt int
	sorter         *Sorter
	single         A // accumulator of one value, for sorter

	skip int // values before the next one for cfg.Keys
}

// sampleKeys is the number of keys in a table at which it is judged, and leastFolded the least
// share of values that must have met an older one with the same key, as 1/leastFolded. With 512 Ki
// keys or more in no order, as few meet.
const (
	sampleKeys  = 64 << 10
	leastFolded = 16
)

// maxBypassed is the largest mean length of keys, in bytes, with which the table is bypassed.
// Longer ones make moving them dearer than finding them.
const maxBypassed = 64

// bypassRun is the most memory for a sorted run while the table is bypassed, in bytes. After it the
// table is tried again.
const bypassRun = 256 << 20

// holder is an accumulator outside the table.
type holder[A any] struct {
	a                 A
	heldBytes         int // bytes beyond its own size, as last measured
	adds, nextMeasure int // values folded; number of values for the next measurement
}

// CombinerConfig configures a Combiner.
type CombinerConfig[T, A any] struct {
	Add func(a *A, v T) // folds a value
	// Size returns the bytes of an accumulator beyond A's own size; nil if A has no pointers.
	Size func(a *A) int
	// Costly means Size takes long: an accumulator is measured after more and more values, not
	// after each.
	Costly bool
	Encode func(dst []byte, a *A) []byte // encodes an accumulator
	// Partition returns a number from 0 to Parts-1. It must not keep key.
	Partition func(key []byte, hash uint64) int
	Parts     int // number of partitions
	// Direct looks keys up one by one, so that values are folded before AddString returns.
	Direct bool
	// Limit is the memory in bytes at which a run is written. Less than 256 KiB counts as 256 KiB.
	Limit  int64
	Output Append // receives the runs
	// Keys samples the keys of the values; nil means that nobody wants them.
	Keys *hotkeys.Sampler

	sampleKeys int // for tests; zero means the constant
}

// NewCombiner returns an empty Combiner.
func NewCombiner[T, A any](cfg CombinerConfig[T, A]) *Combiner[T, A] {
	cfg.Limit = max(cfg.Limit, leastLimit)
	if cfg.sampleKeys == 0 {
		cfg.sampleKeys = sampleKeys
	}
	c := &Combiner[T, A]{cfg: cfg, isDirect: true, sampleAt: cfg.sampleKeys, skip: firstSkip(cfg.Keys)}
	t := reflect.TypeFor[A]()
	if c.inSlot = t.Size() <= 40 && !sketch.HasPointers(t); c.inSlot {
		c.flat.limit = cfg.Limit
		c.flat.init(1 << 10)
		return c
	}
	for c.shift < 10 && unsafe.Sizeof(holder[A]{})<<c.shift < 32<<10 {
		c.shift++
	}
	c.index.limit = cfg.Limit
	c.index.init(1 << 10)
	return c
}

// AddString folds v under key. The bytes of key must never change.
func (c *Combiner[T, A]) AddString(key string, v *T) error {
	if c.sorter != nil {
		return c.addSorted(key, v)
	}
	t := &c.tokens[c.waiting]
	t.set(unsafe.Pointer(unsafe.StringData(key)), len(key))
	if c.isDirect {
		return c.foldDirect(t, v)
	}
	c.values[c.waiting] = *v
	if c.waiting++; c.waiting == batchSize {
		return c.foldWaiting()
	}
	return nil
}

// foldDirect folds one value without a batch.
func (c *Combiner[T, A]) foldDirect(t *token, v *T) error {
	if c.skip--; c.skip < 0 {
		c.skip = sampleKey(c.cfg.Keys, t)
	}
	err := c.foldValue(t, v)
	c.scratch = c.scratch[:0]
	c.isDirect = c.cfg.Direct || len(c.flat.mem)+len(c.index.mem) <= smallTable
	return err
}

// AddBytes folds v under key. The caller may change key after the call.
func (c *Combiner[T, A]) AddBytes(key []byte, v *T) error {
	if len(key) > maxInlineKey {
		if len(c.scratch)+len(key) > maxWaiting {
			if err := c.foldWaiting(); err != nil {
				return err
			}
		}
		at := len(c.scratch)
		// if the copy grows, waiting tokens keep the old memory
		c.scratch = append(c.scratch, key...)
		key = c.scratch[at:]
	}
	return c.AddString(unsafe.String(unsafe.SliceData(key), len(key)), v)
}

// foldValue folds one value.
func (c *Combiner[T, A]) foldValue(t *token, v *T) error {
	if c.inSlot {
		c.cfg.Add(c.flat.findSlot(t), *v)
	} else {
		h := c.findHolder(t)
		c.cfg.Add(&h.a, *v)
		if c.cfg.Size != nil {
			c.measureHeld(h)
		}
	}
	if c.flat.isFull || c.index.isFull {
		return c.writeRun()
	}
	return nil
}

// findHolder returns the accumulator of a key. The pointer is valid until the next call.
func (c *Combiner[T, A]) findHolder(t *token) *holder[A] {
	i := c.index.findSlot(t)
	if *i == 0 {
		if c.n>>c.shift == len(c.accs) {
			c.accs = append(c.accs, make([]holder[A], 1<<c.shift))
			c.chargeIndex(int(unsafe.Sizeof(holder[A]{})) << c.shift)
		}
		c.n++
		*i = uint32(c.n)
	}
	return c.holder(*i)
}

func (c *Combiner[T, A]) holder(i uint32) *holder[A] {
	return &c.accs[(i-1)>>c.shift][(i-1)&(1<<c.shift-1)]
}

// measureHeld updates the size of an accumulator.
func (c *Combiner[T, A]) measureHeld(h *holder[A]) {
	if h.adds++; c.cfg.Costly && h.adds < h.nextMeasure {
		return
	}
	now := c.cfg.Size(&h.a)
	h.nextMeasure = h.adds + min(h.adds/2, now/64) + 1
	c.chargeIndex(now - h.heldBytes)
	h.heldBytes = now
	if now > maxHeld {
		c.index.isFull = true
	}
}

// chargeIndex lowers the limit of the index by n bytes.
func (c *Combiner[T, A]) chargeIndex(n int) {
	c.index.limit -= int64(n)
	c.index.charge(0)
}

// foldWaiting folds all waiting values. First it loads every slot, so that the cache misses
// overlap.
func (c *Combiner[T, A]) foldWaiting() error {
	n := c.waiting
	c.waiting = 0
	for c.skip -= n; c.skip < 0; {
		c.skip += 1 + sampleKey(c.cfg.Keys, &c.tokens[n+c.skip])
	}
	if c.inSlot {
		add := c.cfg.Add
		loadSlots(&c.flat, c.tokens[:n])
		for i := range n {
			t := &c.tokens[i]
			s := &c.flat.slots[t.hash&c.flat.mask]
			// at its first place: the usual case
			if s.k0 == t.k0 && s.k1 == t.k1 && s.size == t.size && t.size <= maxInlineKey+1 {
				add(&s.x, c.values[i])
				continue
			}
			add(c.flat.findSlot(t), c.values[i])
			if c.flat.isFull {
				if err := c.writeRun(); err != nil {
					return err
				}
			}
		}
		if c.adds += n; c.flat.n >= c.sampleAt {
			if err := c.judge(); err != nil {
				return err
			}
		}
	} else {
		loadSlots(&c.index, c.tokens[:n])
		for i := range n {
			if err := c.foldValue(&c.tokens[i], &c.values[i]); err != nil {
				return err
			}
		}
	}
	c.scratch = c.scratch[:0]
	return nil
}

// judge bypasses the table if it folds too little: then hashing only adds a cache miss to the sort
// of a run, which comes anyway. The decision depends on the values alone, so that an attempt always
// writes the same.
func (c *Combiner[T, A]) judge() error {
	folded := c.adds - c.flat.n
	c.adds, c.sampleAt = 0, math.MaxInt
	long := 0
	for _, b := range c.flat.longKeys {
		long += len(b)
	}
	if folded >= (folded+c.flat.n)/leastFolded || long > maxBypassed*c.flat.n || c.cfg.Parts > MaxParts {
		return nil
	}
	first := c.runs
	c.sorter = NewSorter(SorterConfig{Parts: c.cfg.Parts, Limit: min(c.cfg.Limit, bypassRun),
		Output: func(run, part int, block []byte, records int, key []byte) error {
			c.runs = first + run + 1
			return c.cfg.Output(first+run, part, block, records, key)
		}})
	for i := range c.flat.slots {
		if s := &c.flat.slots[i]; s.size > 0 {
			if err := c.sortOne(c.flat.key(uint64(i)), c.flat.hash(s), &s.x); err != nil {
				return err
			}
		}
	}
	c.flat.free()
	return nil
}

// addSorted adds a value while the table is bypassed. After a run it returns to the table.
func (c *Combiner[T, A]) addSorted(key string, v *T) error {
	var t token
	t.set(unsafe.Pointer(unsafe.StringData(key)), len(key))
	if c.skip--; c.skip < 0 {
		c.skip = sampleKey(c.cfg.Keys, &t)
	}
	clear(unsafe.Slice(&c.single, 1))
	c.cfg.Add(&c.single, *v)
	if err := c.sortOne(unsafe.Slice(unsafe.StringData(key), len(key)), t.hash, &c.single); err != nil {
		return err
	}
	c.scratch = c.scratch[:0]
	if len(c.sorter.entries) == 0 {
		c.sorter.Close()
		c.sorter, c.isDirect, c.sampleAt = nil, true, c.cfg.sampleKeys
		c.flat.limit = c.cfg.Limit
		c.flat.init(1 << 10)
	}
	return nil
}

// sortOne adds an accumulator to the sorter.
func (c *Combiner[T, A]) sortOne(key []byte, hash uint64, a *A) error {
	part := 0
	if c.cfg.Parts > 1 {
		part = c.cfg.Partition(key, hash)
	}
	return c.sorter.End(part, c.cfg.Encode(append(c.sorter.Begin(), key...), a), len(key))
}

// loadSlots loads the slots of all tokens into the processor's cache.
func loadSlots[X any](c *core[X], q []token) {
	var s uint64
	slots, mask := c.slots, c.mask
	for i := range q {
		s += slots[q[i].hash&mask].k0
	}
	runtime.KeepAlive(s) // otherwise the compiler would drop the loads
}

// Flush writes the remaining accumulators as the last run and frees the memory. The Combiner must
// not be used afterwards.
func (c *Combiner[T, A]) Flush() error {
	err := c.foldWaiting()
	if err == nil && c.sorter != nil {
		err = c.sorter.Flush()
	} else if err == nil {
		err = c.writeRun()
	}
	c.Close()
	return err
}

// Close frees the memory without writing.
func (c *Combiner[T, A]) Close() {
	if c.sorter != nil {
		c.sorter.Close()
	}
	c.flat.free()
	c.index.free()
	c.accs = nil
}

// writeRun writes and removes all accumulators. It removes them even after an error.
func (c *Combiner[T, A]) writeRun() error {
	if c.inSlot {
		c.adds, c.sampleAt = 0, c.cfg.sampleKeys
		return writeTable(c, &c.flat, func(a *A) *A { return a })
	}
	err := writeTable(c, &c.index, func(i *uint32) *A { return &c.holder(*i).a })
	c.accs, c.n = nil, 0
	c.index.limit = c.cfg.Limit
	return err
}

// writeTable writes the table's entries in the order of partition and key, and empties the table.
func writeTable[T, A, X any](c *Combiner[T, A], t *core[X], acc func(*X) *A) error {
	if t.n == 0 {
		return nil
	}
	defer t.reset()
	mem, _ := region(2 * 16 * t.n)
	defer freeRegion(mem)
	all := unsafe.Slice((*entry)(unsafe.Pointer(unsafe.SliceData(mem))), 2*t.n)
	e, aux := all[:0:t.n], all[t.n:]
	const partShift = 40
	keyLen := 0 // of all keys; more than prefixBytes if they differ
	for i := range t.slots {
		s := &t.slots[i]
		if s.size == 0 {
			continue
		}
		key := t.key(uint64(i))
		part := 0
		if c.cfg.Parts > 1 {
			part = c.cfg.Partition(key, t.hash(s))
		}
		if len(e) == 0 {
			keyLen = len(key)
		} else if len(key) != keyLen {
			keyLen = prefixBytes + 1
		}
		e = append(e, entry{prefix(key), uint64(part)<<partShift | uint64(i)})
	}
	p := packer{output: c.cfg.Output, run: c.runs}
	c.runs++
	const slotMask = 1<<partShift - 1
	keyOf := func(ref uint64) []byte { return t.key(ref & slotMask) }
	sortKey := keyOf
	if keyLen <= prefixBytes {
		sortKey = nil
	}
	value := make([]byte, 0, 256)
	entries, ends, scratch := byPartition(e, aux[:len(e)], c.cfg.Parts, partShift)
	for part := range c.cfg.Parts {
		e := entries[ends[part]:ends[part+1]]
		sortEntries(e, scratch, sortKey)
		if err := p.setPartition(part); err != nil {
			return err
		}
		for len(e) > 0 {
			batch := e[:min(len(e), prefetchCount)]
			e = e[len(batch):]
			t.prefetch(batch, slotMask)
			for _, x := range batch {
				value = c.cfg.Encode(value[:0], acc(&t.slots[x.ref&slotMask].x))
				if err := p.add(keyOf(x.ref), value); err != nil {
					return err
				}
			}
		}
	}
	return p.flush()
}
