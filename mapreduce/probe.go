package mapreduce

import (
	"bytes"
	"io"
	"math"
	"reflect"
	"runtime"
	"slices"
	"unsafe"

	"github.com/layshaft/layshaft/internal/filesys"
	"github.com/layshaft/layshaft/internal/record"
	"github.com/layshaft/layshaft/internal/spill"
)

// Joins whose results only go to aggregates that accept any order need not sort. The tasks that
// read the right side then look its records up in a table of the whole left side, if that is small,
// and pass the pairs on to the aggregates. So the right records are not shuffled.
//
// The stages of the shuffled join stay. Each right task decides for itself: if the left side is too
// large, the task writes its records to the shuffle. A task that runs again after the loss of its
// output must decide the same, because other tasks may have read its first output. So only sizes
// that are equal on all workers decide; see tableLimit.

// probeRole is an inner join as seen from the tasks that read its right side.
type probeRole struct {
	// load reads the left side once per process, if it is small, and returns its size in memory.
	load func(e *env) (bytes int64, err error)
	// fuse returns a func(*R) that passes pairs to next, a func(*U), or records to shuffle, a
	// func(*R).
	fuse func(e *env, next, shuffle any) any
}

// addProbes gives the stages that read the right side of a join its table of the left side, and
// the aggregates behind it as further ends.
func (c *compiled) addProbes() {
	if c.plan.allowsBad() {
		return // a bad record must be found in the join
	}
	for _, j := range c.stages {
		if j.head.wide == nil || j.head.wide.probe == nil {
			continue
		}
		ends, ok := c.unorderedEnds(j.head, nil)
		if !ok || len(ends) == 0 {
			continue
		}
		left, rights := c.writers(j.head, 0), c.writers(j.head, 1)
		if len(left) != 1 || !areSources(left) || !areSources(rights) {
			continue // one side may depend on the other
		}
		if needed := c.needs(left[0], map[*stage]bool{}); slices.ContainsFunc(rights, func(s *stage) bool { return needed[s] }) {
			continue
		}
		for _, s := range rights {
			s.sides[j.head.id] = 0
			for _, x := range ends {
				s.ends = append(s.ends, &end{n: x.n, input: x.input})
			}
		}
	}
}

// writers returns the stages that write to an input of a wide operator.
func (c *compiled) writers(n *node, input int) (all []*stage) {
	for _, s := range c.stages {
		if slices.ContainsFunc(s.ends, func(x *end) bool { return x.n == n && !x.side && x.input == input }) {
			all = append(all, s)
		}
	}
	return all
}

// needs adds s, and the stages whose outputs it reads, directly or not, to needed.
func (c *compiled) needs(s *stage, needed map[*stage]bool) map[*stage]bool {
	if needed[s] {
		return needed
	}
	needed[s] = true
	for _, o := range c.stages {
		if s.reads(o) {
			c.needs(o, needed)
		}
	}
	return needed
}

func areSources(all []*stage) bool {
	return !slices.ContainsFunc(all, func(s *stage) bool { return s.head.read == nil })
}

// unorderedEnds returns the inputs of aggregates to which the records of n go. ok is false if they
// also go elsewhere, if their order matters, or if an operator on the way has options for its
// stage.
func (c *compiled) unorderedEnds(n *node, ends []reader) (_ []reader, ok bool) {
	if o := n.opts; len(c.outs[n]) > 0 || o.retry > 0 || o.timeout > 0 || len(o.needs) > 0 {
		return nil, false
	}
	for _, r := range c.readers[n] {
		switch {
		case r.n.wide != nil && r.n.wide.anyOrder:
			ends = append(ends, r)
		case r.n.anyOrder:
			if ends, ok = c.unorderedEnds(r.n, ends); !ok {
				return nil, false
			}
		default:
			return nil, false
		}
	}
	return ends, true
}

// probing makes the inner join n one whose right tasks may look up. pair is as for join.
func probing[L, R, K, U any](n *node, rightKey func(R) K, pair func(e *env, u *U, l L, r *R) bool) {
	kc, lc := keyCodec[K](n), valueCodec[L](n)
	if len(n.plan.errs) > 0 || sharesMemory(reflect.TypeFor[L]()) {
		return
	}
	table := func(e *env) (*lefts[L], error) {
		return sideValue(e, n, func() (*lefts[L], error) { return loadLefts(e, n, lc) })
	}
	n.wide.probe = &probeRole{
		load: func(e *env) (int64, error) {
			t, err := table(e)
			if err != nil {
				return 0, err
			}
			return t.bytes, nil
		},
		fuse: func(e *env, next, shuffle any) any {
			t, err := table(e)
			if err != nil {
				e.fail(err)
				return func(*R) {}
			}
			if t.isLarge {
				return shuffle
			}
			push, u := next.(func(*U)), new(U)
			right := newKeyed(kc, rightKey)
			b := &rightBatch[R]{}
			now := 0 // the record looked up, since the reader is at a later one
			where := func() (string, int64, int64) {
				p := &b.places[now]
				return filesys.DisplayText(p.path), p.offset, p.line
			}
			flush := func() {
				reader := e.where
				e.where = where
				t.prefetch(b.hashes[:b.n])
				for i := range b.n {
					now = i
					for n := t.find(b.hashes[i], b.key(i)); n > 0 && !e.stopped.Load(); {
						l := &t.entries[n-1]
						if n = l.next; pair(e, u, l.value, &b.records[i]) {
							push(u)
						}
					}
				}
				b.clear()
				e.where = reader // not after a panic, whose error has the place of the record
			}
			e.ends = append(e.ends, func() error { flush(); return e.err })
			return func(r *R) {
				*right.k = right.of(*r)
				right.buf = kc.Append(right.buf[:0], right.k)
				if e.inputPlace != nil {
					b.places[b.n] = e.inputPlace()
				}
				if b.add(r, right.buf); b.n == len(b.records) || e.run.Isolated {
					flush() // an isolated attempt finds the record that ends it
				}
			}
		},
	}
}

// rightBatch holds right records that wait, so that the cache misses of their look-ups overlap.
type rightBatch[R any] struct {
	n       int
	records [32]R
	hashes  [32]uint64
	ends    [32]int // of the keys in keys
	keys    []byte
	places  [32]inputPlace
}

func (b *rightBatch[R]) add(r *R, key []byte) {
	b.records[b.n], b.hashes[b.n] = *r, spill.Hash(key)
	b.keys = append(b.keys, key...)
	b.ends[b.n] = len(b.keys)
	b.n++
}

func (b *rightBatch[R]) key(i int) []byte {
	if i == 0 {
		return b.keys[:b.ends[0]]
	}
	return b.keys[b.ends[i-1]:b.ends[i]]
}

func (b *rightBatch[R]) clear() { b.n, b.keys = 0, b.keys[:0] }

// lefts is a hash table of all left records of a join.
type lefts[L any] struct {
	// slots hold 32 bits of the hash of a key above the number of its first entry, from 1. Zero
	// marks a free slot.
	slots   []uint64
	mask    uint64
	entries []left[L]
	keys    []byte
	bytes   int64 // approximate size of the table
	isLarge bool  // too large, so it was not read
	texts   texts
}

// left is one record. The first record of a key has the place of the key in keys, and the number of
// the last record. next is the number of the next record of the same key, or zero.
type left[L any] struct {
	keyAt, keyLen, last, next uint32
	value                     L
}

// find returns the number of the first entry of a key, from 1, or zero.
func (t *lefts[L]) find(hash uint64, key []byte) uint32 {
	for i := hash & t.mask; t.slots[i] != 0; i = (i + 1) & t.mask {
		if s := t.slots[i]; s>>32 == hash>>32 && string(t.key(uint32(s))) == string(key) {
			return uint32(s)
		}
	}
	return 0
}

func (t *lefts[L]) key(n uint32) []byte {
	l := &t.entries[n-1]
	return t.keys[l.keyAt:][:l.keyLen]
}

// prefetch loads the slots and entries that find and its caller read into the processor's cache.
func (t *lefts[L]) prefetch(hashes []uint64) {
	var sum uint64
	for _, h := range hashes {
		sum += t.slots[h&t.mask]
	}
	var numbers [32]uint32
	for i, h := range hashes {
		if n := uint32(t.slots[h&t.mask]); n > 0 {
			numbers[i] = n
			sum += uint64(t.entries[n-1].next)
		}
	}
	for _, n := range numbers[:len(hashes)] {
		if n > 0 {
			sum += uint64(t.keys[t.entries[n-1].keyAt-1])
		}
	}
	runtime.KeepAlive(sum) // otherwise the compiler would drop the loads
}

// tableLimit is the most memory for one table: a quarter of the memory of one attempt, which the
// job sets, divided by the number of probes in the stage. It does not depend on the slots of the
// process, which differ between workers.
func (e *env) tableLimit() int64 {
	probes := 0
	for _, n := range e.plan.nodes {
		if _, ok := e.stage.sides[n.id]; ok && n.side == nil {
			probes++
		}
	}
	return max(2<<20, e.run.Memory/4) / int64(max(1, probes))
}

// loadLefts reads the left side of a join.
func loadLefts[L any](e *env, n *node, codec *record.Codec[L]) (*lefts[L], error) {
	t := &lefts[L]{}
	runs := e.input(e.stage.sides[n.id])
	var records, size int64
	for _, run := range runs {
		records, size = records+run.Records(), size+run.Bytes()
	}
	slots := int64(64)
	for slots < 2*records {
		slots *= 2
	}
	// the values alias the blocks, which also have the keys
	t.bytes = 2*size + 8*slots + (records+1)*int64(unsafe.Sizeof(left[L]{}))
	if t.bytes > e.tableLimit() || size > math.MaxUint32 {
		return &lefts[L]{isLarge: true}, nil
	}
	t.slots, t.mask, t.entries = make([]uint64, slots), uint64(slots-1), make([]left[L], 0, records)
	t.texts = newTexts(reflect.TypeFor[L]())
	t.keys = make([]byte, 1) // prefetch reads the byte before a key, which may be empty
	for _, run := range runs {
		for {
			b, err := run.Next()
			if err == io.EOF {
				break
			}
			if err != nil {
				return nil, err
			}
			b = bytes.Clone(b) // values alias it during the whole job
			for len(b) > 0 {
				var key, value []byte
				if key, value, b, err = record.Cut(b); err != nil {
					return nil, err
				}
				if err := t.add(key, value, codec); err != nil {
					return nil, err
				}
			}
		}
	}
	return t, nil
}

// add adds a record behind the others of its key.
func (t *lefts[L]) add(key, value []byte, codec *record.Codec[L]) error {
	number := uint32(len(t.entries) + 1)
	t.entries = append(t.entries, left[L]{last: number})
	l := &t.entries[number-1]
	if _, err := codec.Decode(value, &l.value); err != nil {
		return err
	}
	t.texts.share(unsafe.Pointer(&l.value))
	hash := spill.Hash(key)
	if n := t.find(hash, key); n > 0 {
		first := &t.entries[n-1]
		t.entries[first.last-1].next = number
		first.last = number
		return nil
	}
	l.keyAt, l.keyLen = uint32(len(t.keys)), uint32(len(key))
	t.keys = append(t.keys, key...)
	i := hash & t.mask
	for t.slots[i] != 0 {
		i = (i + 1) & t.mask
	}
	t.slots[i] = hash>>32<<32 | uint64(number)
	return nil
}

// texts lets the records of a table share equal strings, such as the names of countries, so that
// these stay in the processor's cache. It gives up when there are many different ones.
type texts struct {
	fields []uintptr // of the strings in a record
	seen   map[string]string
}

const maxTexts = 4 << 10

func newTexts(record reflect.Type) texts {
	t := texts{seen: map[string]string{}}
	var walk func(t reflect.Type, at uintptr)
	walk = func(x reflect.Type, at uintptr) {
		switch x.Kind() {
		case reflect.String:
			t.fields = append(t.fields, at)
		case reflect.Struct:
			for i := range x.NumField() {
				walk(x.Field(i).Type, at+x.Field(i).Offset)
			}
		}
	}
	walk(record, 0)
	return t
}

func (t *texts) share(record unsafe.Pointer) {
	for _, at := range t.fields {
		s := (*string)(unsafe.Add(record, at))
		if have, ok := t.seen[*s]; ok {
			*s = have
		} else if t.seen[*s] = *s; len(t.seen) > maxTexts {
			t.fields, t.seen = nil, nil
			return
		}
	}
}
