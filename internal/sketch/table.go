package sketch

import (
	"bytes"
	"encoding/binary"
	"hash/maphash"
	"math/bits"
	"runtime"
	"slices"
	"unsafe"
)

// table is a set of byte strings or of uint64s, never of both. It has three forms:
//
//   - Few keys, or a decoded table, which is often only merged into another one: a plain list of
//     slots or nums.
//   - More keys: a hash table with open addressing, in slots or nums; see indexed.
//   - Very many keys that are only added: a list. Then slots has only the keys that are too long
//     for a slot, in one of the other forms.
type table struct {
	keys  *keyPlan
	slots []slot
	arena []byte   // keys too long for a slot, each after its length as a uvarint
	nums  []uint64 // zero marks a free slot; the key 0 is stored in the field zero
	n     int      // of keys outside list and waiting
	list  *list    // nil in the other forms
	// indexed reports whether slots or nums are searched by hash.
	indexed bool
	zero    bool
	// isSearched is set when somebody asked for a key. The table then has no list.
	isSearched bool
	// waiting holds keys to add to a large hash table; see addWaiting. Keys of nums are in lo.
	waiting []slot
}

// A hash table of at least manySlots does not fit into the core's own caches, so each key is a
// cache miss. Up to maxWaiting keys wait, and then their misses overlap. A table of more than
// maxSlots or maxNums becomes a list.
const (
	manySlots  = 1 << 10
	maxSlots   = 1 << 16
	maxNums    = 1 << 14
	maxWaiting = 16
)

// addSlot adds a short key, perhaps later.
func (t *table) addSlot(k slot) {
	if t.wantsList(len(t.slots), maxSlots) {
		t.toList()
	}
	switch {
	case t.list != nil:
		t.list.addShort(shortOf(k))
	case !t.indexed || len(t.slots) < manySlots:
		t.lookupSlot(k, k.hash(), "", true)
	default:
		t.wait(k)
	}
}

// addNum adds a number, perhaps later.
func (t *table) addNum(x uint64) {
	if t.wantsList(len(t.nums), maxNums) {
		t.toList()
	}
	switch {
	case x == 0:
		t.lookupNum(x, true)
	case t.list != nil:
		t.list.addNum(x)
	case !t.indexed || len(t.nums) < manySlots:
		t.lookupNum(x, true)
	default:
		t.wait(slot{lo: x})
	}
}

func (t *table) wait(k slot) {
	if t.waiting == nil {
		t.waiting = make([]slot, 0, maxWaiting)
	}
	if t.waiting = append(t.waiting, k); len(t.waiting) == maxWaiting {
		t.addWaiting()
	}
}

// addWaiting adds the waiting keys. Everything that reads the table calls it first.
func (t *table) addWaiting() {
	waiting := t.waiting
	if len(waiting) == 0 {
		return
	}
	t.waiting = waiting[:0]
	var sum uint64
	if len(t.nums) > 0 {
		mask := uint64(len(t.nums) - 1)
		for i := range waiting {
			sum += t.nums[hashNum(waiting[i].lo)&mask]
		}
		for _, k := range waiting {
			t.lookupNum(k.lo, true)
		}
	} else {
		mask := uint64(len(t.slots) - 1)
		for i := range waiting {
			sum += t.slots[waiting[i].hash()&mask].hi
		}
		for _, k := range waiting {
			t.lookupSlot(k, k.hash(), "", true)
		}
	}
	runtime.KeepAlive(sum) // otherwise the compiler would drop the loads
}

// wantsList reports whether a table with n slots or nums becomes a list before it gets another key.
// limit is the most for a hash table.
func (t *table) wantsList(n, limit int) bool {
	return n > limit/2 && (!t.indexed || n > limit) && t.list == nil && !t.isSearched
}

// toList moves the keys to a list.
func (t *table) toList() {
	t.addWaiting()
	l := &list{}
	nums, slots := t.nums, t.slots
	t.list, t.nums, t.slots, t.waiting, t.indexed, t.n = l, nil, nil, nil, false, 0
	if t.zero {
		t.n = 1
	}
	for _, x := range nums {
		if x != 0 {
			l.newNums = append(l.newNums, x)
		}
	}
	for _, k := range slots {
		switch {
		case k.hi >= longKey:
			t.slots = append(t.slots, k)
			t.n++
		case k.hi != 0:
			l.newShorts = append(l.newShorts, shortOf(k))
		}
	}
	l.sort()
}

// fromList makes the table a hash table of all keys.
func (t *table) fromList() {
	l := t.list
	l.sort()
	t.list = nil
	t.n += len(l.nums) + len(l.shorts)
	if t.keys.class == classNum {
		t.nums = l.nums
		t.indexNums()
		return
	}
	t.slots = slices.Grow(t.slots, len(l.shorts))
	for _, x := range l.shorts {
		t.slots = append(t.slots, x.slot())
	}
	t.index()
}

// settle adds all keys that wait, for a reader of the whole table. A list that is read again and
// again becomes a hash table.
func (t *table) settle() {
	t.addWaiting()
	if t.list != nil && t.list.settle() > maxEarly {
		t.isSearched = true
		t.fromList()
	}
}

// len returns the number of keys.
func (t *table) len() int {
	t.settle()
	return t.atMost()
}

// atMost returns an upper limit of len. It costs nothing.
func (t *table) atMost() int {
	n := t.n + len(t.waiting)
	if l := t.list; l != nil {
		n += len(l.nums) + len(l.newNums) + len(l.shorts) + len(l.newShorts)
	}
	return n
}

// smallTable is the maximum number of keys searched without hashing.
const smallTable = 8

// slot contains a key of up to 15 bytes: its bytes in order from the lowest of lo, followed by
// zeros, and its length plus one in the highest byte of hi. For a longer key, lo is its position in
// the arena; hi is 56 bits of its hash below a byte of ones. In a free slot, hi is zero.
type slot struct{ lo, hi uint64 }

const (
	inlineMax = 15
	longKey   = 0xff << 56
)

// seed is random, so nobody can choose keys that collide. No data outside this process depends on
// it.
var (
	seed  = maphash.MakeSeed()
	seed0 = maphash.String(seed, "0")
	seed1 = maphash.String(seed, "1")
)

// pack returns the slot of a key of up to 15 bytes.
func pack(s string) slot {
	b := unsafe.Slice(unsafe.StringData(s), len(s))
	n := len(b)
	k := slot{hi: uint64(n+1) << 56}
	// The loads overlap when the length is not a power of two; they agree there.
	switch {
	case n >= 8:
		k.lo = binary.LittleEndian.Uint64(b)
		k.hi |= binary.LittleEndian.Uint64(b[n-8:]) >> (8 * (16 - n))
	case n >= 4:
		k.lo = uint64(binary.LittleEndian.Uint32(b)) | uint64(binary.LittleEndian.Uint32(b[n-4:]))<<(8*(n-4))
	case n > 0:
		k.lo = uint64(b[0]) | uint64(b[n/2])<<(8*(n/2)) | uint64(b[n-1])<<(8*(n-1))
	}
	return k
}

// slotOf returns the slot of a key and its hash. lo is not set for a long key.
func slotOf(s string) (slot, uint64) {
	if len(s) <= inlineMax {
		k := pack(s)
		return k, k.hash()
	}
	h := maphash.String(seed, s)
	return slot{hi: longKey | h>>8}, h
}

// hash returns the hash of a key stored in k.
func (k slot) hash() uint64 {
	hi, lo := bits.Mul64(k.lo^seed0, k.hi^seed1)
	return hi ^ lo
}

func hashNum(x uint64) uint64 {
	hi, lo := bits.Mul64(x^seed0, 0x9e3779b97f4a7c15)
	return hi ^ lo
}

// size returns the bytes used.
func (t *table) size() int {
	n := int(unsafe.Sizeof(*t)) + cap(t.arena) + int(unsafe.Sizeof(slot{}))*(cap(t.slots)+cap(t.waiting)) + 8*cap(t.nums)
	if t.list != nil {
		n += t.list.size()
	}
	return n
}

// has reports whether the set contains the K at k.
func (t *table) has(k unsafe.Pointer) bool {
	t.addWaiting()
	t.isSearched = true
	if t.list != nil {
		t.fromList()
	}
	switch t.keys.class {
	case classString:
		return t.lookupString(*(*string)(k), false)
	case classNum:
		return t.lookupNum(t.keys.fields[0].load(k), false)
	default:
		var buf [64]byte
		b := t.keys.append(buf[:0], k)
		return t.lookupString(unsafe.String(unsafe.SliceData(b), len(b)), false)
	}
}

// add adds the K at k, perhaps later.
func (t *table) add(k unsafe.Pointer) {
	switch t.keys.class {
	case classString:
		t.addString(*(*string)(k))
	case classNum:
		t.addNum(t.keys.fields[0].load(k))
	default:
		var buf [64]byte
		b := t.keys.append(buf[:0], k)
		t.addString(unsafe.String(unsafe.SliceData(b), len(b)))
	}
}

func (t *table) addString(s string) {
	if len(s) > inlineMax || t.list == nil && len(t.slots) < manySlots {
		t.lookupString(s, true)
		return
	}
	t.addSlot(pack(s))
}

func (t *table) lookupString(s string, add bool) bool {
	if len(s) > inlineMax {
		k, h := slotOf(s)
		return t.lookupSlot(k, h, s, add)
	}
	k := pack(s)
	h := k.hash()
	if t.indexed { // by far the most common case: a short key that is present
		mask := uint64(len(t.slots) - 1)
		for i := h & mask; t.slots[i].hi != 0; i = (i + 1) & mask {
			if t.slots[i] == k {
				return true
			}
		}
	}
	return t.lookupSlot(k, h, "", add)
}

// lookupSlot looks up the key k with hash h. long is the key itself if it does not fit a slot, else
// empty.
func (t *table) lookupSlot(k slot, h uint64, long string, add bool) bool {
	if !t.indexed && t.n > smallTable {
		t.index()
	}
	var i uint64
	if !t.indexed {
		for i := range t.slots {
			if t.slots[i].hi == k.hi && t.same(t.slots[i], k, long) {
				return true
			}
		}
	} else {
		mask := uint64(len(t.slots) - 1)
		for i = h & mask; t.slots[i].hi != 0; i = (i + 1) & mask {
			if t.slots[i].hi == k.hi && t.same(t.slots[i], k, long) {
				return true
			}
		}
	}
	if !add {
		return false
	}
	if long != "" {
		k.lo = t.appendLong(unsafe.Slice(unsafe.StringData(long), len(long)))
	}
	t.n++
	if !t.indexed {
		t.slots = append(t.slots, k)
		return false
	}
	t.slots[i] = k
	if t.n*4 > len(t.slots)*3 {
		t.index()
	}
	return false
}

// appendLong stores a key in the arena and returns its position.
func (t *table) appendLong(s []byte) uint64 {
	at := len(t.arena)
	t.arena = binary.AppendUvarint(t.arena, uint64(len(s)))
	t.arena = append(t.arena, s...)
	return uint64(at)
}

// same reports whether have and k are the same key. Their hi must be equal.
func (t *table) same(have, k slot, long string) bool {
	if long == "" {
		return have.lo == k.lo
	}
	return string(t.long(have)) == long
}

// long returns the key of a slot with a position in the arena.
func (t *table) long(k slot) []byte {
	n, w := binary.Uvarint(t.arena[k.lo:])
	return t.arena[k.lo+uint64(w):][:n]
}

// slotsFor returns the smallest power of two with at most three quarters of the slots used by n
// keys.
func slotsFor(n int) int { return 1 << bits.Len(uint((n*4-1)/3)) }

// index builds slots for search by hash, with room for at least one more key.
func (t *table) index() {
	old := t.slots
	t.slots = make([]slot, slotsFor(max(t.n, smallTable)+1))
	t.indexed = true
	mask := uint64(len(t.slots) - 1)
	for _, k := range old {
		if k.hi == 0 {
			continue
		}
		i := k.hash() & mask
		if k.hi >= longKey {
			i = maphash.Bytes(seed, t.long(k)) & mask
		}
		for t.slots[i].hi != 0 {
			i = (i + 1) & mask
		}
		t.slots[i] = k
	}
}

func (t *table) lookupNum(x uint64, add bool) bool {
	if x == 0 {
		found := t.zero
		if add && !found {
			t.zero = true
			t.n++
		}
		return found
	}
	if !t.indexed && len(t.nums) > smallTable {
		t.indexNums()
	}
	var i uint64
	if !t.indexed {
		if slices.Contains(t.nums, x) {
			return true
		}
	} else {
		mask := uint64(len(t.nums) - 1)
		for i = hashNum(x) & mask; t.nums[i] != 0; i = (i + 1) & mask {
			if t.nums[i] == x {
				return true
			}
		}
	}
	if !add {
		return false
	}
	t.n++
	if !t.indexed {
		t.nums = append(t.nums, x)
		return false
	}
	t.nums[i] = x
	if t.n*4 > len(t.nums)*3 {
		t.indexNums()
	}
	return false
}

// indexNums builds nums for search by hash, with room for at least one more key.
func (t *table) indexNums() {
	old := t.nums
	t.nums = make([]uint64, slotsFor(max(t.n, smallTable)+1))
	t.indexed = true
	mask := uint64(len(t.nums) - 1)
	for _, x := range old {
		if x == 0 {
			continue
		}
		i := hashNum(x) & mask
		for t.nums[i] != 0 {
			i = (i + 1) & mask
		}
		t.nums[i] = x
	}
}

// merge adds all keys of b, a table of the same kind, and may take over its memory.
func (t *table) merge(b *table) {
	if b.atMost() > t.atMost() {
		b.isSearched = b.isSearched || t.isSearched
		*t, *b = *b, *t
		if t.isSearched && t.list != nil {
			t.fromList()
		}
	}
	b.addWaiting()
	if b.zero {
		t.lookupNum(0, true)
	}
	for _, x := range b.nums {
		if x != 0 {
			t.addNum(x)
		}
	}
	for _, k := range b.slots {
		switch {
		case k.hi >= longKey:
			s := b.long(k)
			t.lookupString(unsafe.String(unsafe.SliceData(s), len(s)), true)
		case k.hi != 0:
			t.addSlot(k)
		}
	}
	if b.list != nil {
		b.list.sort()
		for _, x := range b.list.nums {
			t.addNum(x)
		}
		for _, x := range b.list.shorts {
			t.addSlot(x.slot())
		}
	}
	t.addWaiting() // not all callers look at the table through a Set
}

// ordered returns the uint64s in ascending order. They may share memory with the table.
func (t *table) ordered() []uint64 {
	t.settle()
	if t.list != nil && !t.zero {
		return t.list.nums
	}
	xs := make([]uint64, 0, t.len())
	if t.zero {
		xs = append(xs, 0)
	}
	if t.list != nil {
		return append(xs, t.list.nums...)
	}
	for _, x := range t.nums {
		if x != 0 {
			xs = append(xs, x)
		}
	}
	return sortNums(xs)
}

// sortNums sorts numbers, and may return the result in other memory. Many numbers are sorted by one
// byte after the other, from the lowest; bytes that all share cost nothing.
func sortNums(xs []uint64) []uint64 {
	if len(xs) < 1<<8 {
		slices.Sort(xs)
		return xs
	}
	if slices.IsSorted(xs) {
		return xs
	}
	differ := uint64(0)
	for _, x := range xs {
		differ |= x ^ xs[0]
	}
	aux := make([]uint64, len(xs))
	for shift := 0; shift < 64; shift += 8 {
		if byte(differ>>shift) == 0 {
			continue
		}
		var next [256]int
		for _, x := range xs {
			next[byte(x>>shift)]++
		}
		at := 0
		for b, n := range next {
			next[b] = at
			at += n
		}
		for _, x := range xs {
			b := byte(x >> shift)
			aux[next[b]] = x
			next[b]++
		}
		xs, aux = aux, xs
	}
	return xs
}

// appendStrings appends the byte strings in ascending order, each after its length as a uvarint.
func (t *table) appendStrings(dst []byte) []byte {
	t.settle()
	var shorts []short
	var longs []slot
	if t.list != nil {
		shorts = t.list.shorts
	} else {
		shorts = make([]short, 0, t.n)
	}
	for _, k := range t.slots {
		switch {
		case k.hi >= longKey:
			longs = append(longs, k)
		case k.hi != 0:
			shorts = append(shorts, shortOf(k))
		}
	}
	sortShorts(shorts)
	slices.SortFunc(longs, func(x, y slot) int { return bytes.Compare(t.long(x), t.long(y)) })
	dst = slices.Grow(dst, len(t.arena)+len(shorts)*(1+inlineMax))
	for _, k := range longs {
		s := t.long(k)
		for len(shorts) > 0 && shorts[0].lessLong(s) {
			dst, shorts = shorts[0].append(dst), shorts[1:]
		}
		dst = binary.AppendUvarint(dst, uint64(len(s)))
		dst = append(dst, s...)
	}
	for _, x := range shorts {
		dst = x.append(dst)
	}
	return dst
}

// cutString reads one string from the result of appendStrings and returns the rest. ok is false
// when the data is damaged.
func cutString(b []byte) (s, rest []byte, ok bool) {
	n, w := uvarint(b)
	if w == 0 || n > uint64(len(b)-w) {
		return nil, nil, false
	}
	return b[w:][:n:n], b[w:][n:], true
}

// uvarint reads the uvarint at the start of b. It returns n = 0 when b is truncated or the encoding
// is not the shortest.
func uvarint(b []byte) (x uint64, n int) {
	if len(b) > 0 && b[0] < 0x80 {
		return uint64(b[0]), 1
	}
	x, n = binary.Uvarint(b)
	if n <= 0 || b[n-1] == 0 {
		return 0, 0
	}
	return x, n
}
