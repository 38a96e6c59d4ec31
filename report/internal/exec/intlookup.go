package exec

import "github.com/layshaft/layshaft/report/internal/vec"

// intLookup finds the first row of each integer key of the right input of a join. Many goroutines
// may call find. Keys that are near each other, as numbers of orders are, become places in a table;
// others are hashed.
type intLookup struct {
	least int64
	// dense has the first row of each key from least on, plus one; 0 for none.
	dense []int32
	// slots has the keys and their first rows, plus one. Its size is a power of two, 1<<(64-shift).
	slots []intSlot
	shift uint
}

type intSlot struct {
	key   int64
	first int32
}

// maxSparse is how many places a table may have for each key.
const maxSparse = 8

// newIntLookup numbers the keys of a column. It stores the next row with the same key in next, -1
// for none, and reports whether a key is NULL.
func newIntLookup(keys *vec.Vec, next []int32) (l *intLookup, nulls bool) {
	l = &intLookup{}
	count, most := 0, int64(0)
	for i, k := range keys.Ints[:keys.Len] {
		if keys.Null(i) {
			nulls = true
			continue
		}
		if count++; count == 1 {
			l.least, most = k, k
		}
		l.least, most = min(l.least, k), max(most, k)
	}
	if count == 0 {
		return l, nulls
	}
	if span := uint64(most) - uint64(l.least); span < uint64(count)*maxSparse {
		l.dense = make([]int32, span+1)
	} else {
		l.shift = 64 - 4
		for 1<<(64-l.shift) < 2*count {
			l.shift--
		}
		l.slots = make([]intSlot, 1<<(64-l.shift))
	}
	for i := keys.Len - 1; i >= 0; i-- { // backwards, so that the chains are in order
		if keys.Null(i) {
			continue
		}
		first := l.place(keys.Ints[i])
		next[i], *first = *first-1, int32(i)+1
	}
	return l, nulls
}

// place returns where the first row of a key is or belongs.
func (l *intLookup) place(key int64) *int32 {
	if l.dense != nil {
		return &l.dense[key-l.least]
	}
	for at := l.hash(key); ; at = (at + 1) & uint64(len(l.slots)-1) {
		s := &l.slots[at]
		if s.first == 0 {
			s.key = key
			return &s.first
		}
		if s.key == key {
			return &s.first
		}
	}
}

func (l *intLookup) hash(key int64) uint64 {
	x := uint64(key)
	x ^= x >> 32
	return x * 0x9e3779b97f4a7c15 >> l.shift
}

// find stores the first row of each key of a batch in rows, -1 for none.
func (l *intLookup) find(keys *vec.Vec, rows []int32) {
	if keys.Const || keys.Wide != nil {
		for i := range rows {
			rows[i] = -1
			if keys.Null(i) {
				continue
			}
			if k, ok := intAt(keys, i); ok {
				rows[i] = l.first(k)
			}
		}
		return
	}
	for i, k := range keys.Ints[:len(rows)] {
		rows[i] = l.first(k)
	}
	if keys.Nulls != nil {
		for i, null := range keys.Nulls[:len(rows)] {
			if null {
				rows[i] = -1
			}
		}
	}
}

// first returns the first row of a key, or -1.
func (l *intLookup) first(key int64) int32 {
	if at := uint64(key) - uint64(l.least); l.slots == nil {
		if at < uint64(len(l.dense)) {
			return l.dense[at] - 1
		}
		return -1
	}
	for at := l.hash(key); ; at = (at + 1) & uint64(len(l.slots)-1) {
		if s := &l.slots[at]; s.first == 0 || s.key == key {
			return s.first - 1
		}
	}
}

// intAt returns an integer, or a decimal of at most 64 bits.
func intAt(v *vec.Vec, i int) (x int64, ok bool) {
	if v.Const {
		i = 0
	}
	if v.Wide != nil {
		return v.Wide[i].Int64()
	}
	return v.Ints[i], true
}

// bytes returns the memory held.
func (l *intLookup) bytes() int64 { return 4*int64(len(l.dense)) + 16*int64(len(l.slots)) }
