package sketch

import (
	"encoding/binary"
	"math/bits"
	"slices"
	"sync"
	"unsafe"
)

// list holds the keys of a very large table that only grows: sorted keys, and behind them new keys
// in no order, perhaps more than once. When there are as many new keys as sorted ones, they are
// sorted and merged. Merging takes a few sequential passes over the memory. A hash table larger
// than the processor's cache takes a miss for each key instead. The encoding needs the order
// anyway.
type list struct {
	nums, newNums     []uint64
	shorts, newShorts []short
	early             int // see settle
}

// maxEarly is the limit of early reads of a list; each may cost a pass over all keys.
const maxEarly = 4

func (l *list) addNum(x uint64) {
	if l.newNums = append(l.newNums, x); len(l.newNums) > len(l.nums) {
		l.sort()
	}
}

func (l *list) addShort(x short) {
	if l.newShorts = append(l.newShorts, x); len(l.newShorts) > len(l.shorts) {
		l.sort()
	}
}

// sort moves the new keys to the sorted ones.
func (l *list) sort() {
	if len(l.newNums) > 0 {
		l.nums = mergeNums(l.nums, sortNums(l.newNums))
		l.newNums = l.newNums[:0]
	}
	if len(l.newShorts) > 0 {
		sortShorts(l.newShorts)
		l.shorts = mergeShorts(l.shorts, l.newShorts)
		l.newShorts = l.newShorts[:0]
	}
}

// settle sorts for a reader, and returns how often there were few new keys to sort.
func (l *list) settle() (early int) {
	if n := len(l.newNums) + len(l.newShorts); n > 0 && n < (len(l.nums)+len(l.shorts))/8 {
		l.early++
	}
	l.sort()
	return l.early
}

// size returns the bytes used.
func (l *list) size() int {
	return int(unsafe.Sizeof(*l)) + 8*(cap(l.nums)+cap(l.newNums)) + int(unsafe.Sizeof(short{}))*(cap(l.shorts)+cap(l.newShorts))
}

// mergeNums returns keys with the numbers of more that it lacks. Both are ascending; keys has no
// number twice. It changes both.
func mergeNums(keys, more []uint64) []uint64 {
	missing, i := more[:0], 0
	var last uint64
	for k, x := range more {
		if k > 0 && x == last {
			continue
		}
		last = x
		for i < len(keys) && keys[i] < x {
			i++
		}
		if i == len(keys) || keys[i] != x {
			missing = append(missing, x)
		}
	}
	i = len(keys) - 1
	keys = slices.Grow(keys, len(missing))[:len(keys)+len(missing)]
	for at, k := len(keys)-1, len(missing)-1; k >= 0; at-- {
		if i >= 0 && keys[i] > missing[k] {
			keys[at] = keys[i]
			i--
		} else {
			keys[at] = missing[k]
			k--
		}
	}
	return keys
}

// mergeShorts returns keys with the keys of more that it lacks. Both are ascending; keys has no
// key twice. It changes both.
func mergeShorts(keys, more []short) []short {
	missing, i := more[:0], 0
	var last short
	for k, x := range more {
		if k > 0 && x == last {
			continue
		}
		last = x
		for i < len(keys) && keys[i].less(x) {
			i++
		}
		if i == len(keys) || keys[i] != x {
			missing = append(missing, x)
		}
	}
	i = len(keys) - 1
	keys = slices.Grow(keys, len(missing))[:len(keys)+len(missing)]
	for at, k := len(keys)-1, len(missing)-1; k >= 0; at-- {
		if i >= 0 && missing[k].less(keys[i]) {
			keys[at] = keys[i]
			i--
		} else {
			keys[at] = missing[k]
			k--
		}
	}
	return keys
}

// scratch is memory for sortShorts.
var scratch = sync.Pool{New: func() any { return new([]short) }}

// sortShorts sorts by the first eight bytes of the keys, one byte after the other from the last.
// Then it sorts each group of keys with equal first eight bytes. A byte that is equal in all keys
// costs nothing.
func sortShorts(xs []short) {
	if slices.IsSortedFunc(xs, compareShorts) {
		return
	}
	if len(xs) < 1<<7 {
		slices.SortFunc(xs, compareShorts)
		return
	}
	mem := scratch.Get().(*[]short)
	defer scratch.Put(mem)
	*mem = slices.Grow((*mem)[:0], len(xs))[:len(xs)]
	from, to := xs, *mem
	var count [8][256]uint32
	for _, x := range xs {
		for i := range count {
			count[i][byte(x.a>>(8*i))]++
		}
	}
	for i := range count {
		next, at := &count[i], uint32(0)
		if next[byte(xs[0].a>>(8*i))] == uint32(len(xs)) {
			continue
		}
		for b, n := range next {
			next[b] = at
			at += n
		}
		for _, x := range from {
			b := byte(x.a >> (8 * i))
			to[next[b]] = x
			next[b]++
		}
		from, to = to, from
	}
	if &from[0] != &xs[0] {
		copy(xs, from)
	}
	for len(xs) > 0 {
		n := 1
		for n < len(xs) && xs[n].a == xs[0].a {
			n++
		}
		if n > 1 {
			slices.SortFunc(xs[:n], compareShorts)
		}
		xs = xs[n:]
	}
}

func compareShorts(x, y short) int {
	switch {
	case x.less(y):
		return -1
	case y.less(x):
		return 1
	}
	return 0
}

// short is a key of up to 15 bytes that compares like its bytes: a and b are lo and hi of its slot
// with the bytes in reverse order. The length comes last, and decides only between a key and the
// same key followed by zeros.
type short struct{ a, b uint64 }

func shortOf(k slot) short { return short{bits.ReverseBytes64(k.lo), bits.ReverseBytes64(k.hi)} }

func (x short) slot() slot { return slot{bits.ReverseBytes64(x.a), bits.ReverseBytes64(x.b)} }

func (x short) less(y short) bool { return x.a < y.a || x.a == y.a && x.b < y.b }

// lessLong reports whether the key is less than a longer one.
func (x short) lessLong(s []byte) bool {
	return x.less(short{binary.BigEndian.Uint64(s), binary.BigEndian.Uint64(s[8:]) | 0xff})
}

// append appends the key after its length.
func (x short) append(dst []byte) []byte {
	n := int(x.b&0xff) - 1
	dst = append(dst, byte(n))
	dst = binary.BigEndian.AppendUint64(dst, x.a)
	dst = binary.BigEndian.AppendUint64(dst, x.b)
	return dst[:len(dst)-16+n]
}
