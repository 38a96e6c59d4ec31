package spill

import (
	"bytes"
	"encoding/binary"
	"slices"
)

// entry stands for one record in a sort: the first eight bytes of its key, big endian and padded
// with zeros, and its place. Refs grow in the order of arrival, so equal keys keep their order.
type entry struct {
	prefix, ref uint64
}

// prefixBytes is the size of a prefix. Keys of one length up to it are equal if their prefixes are.
const prefixBytes = 8

// maxCompared is the largest number of entries sorted by comparison.
const maxCompared = 48

// sortEntries sorts e by key, then by ref. The prefixes hold the first eight bytes of the keys; key
// returns a whole key. If key is nil, the prefixes are the keys. The entries must be in the order
// of their refs. aux is scratch of at least the same length.
//
// It is a most-significant-digit radix sort. Where keys share a long beginning, it loads the next
// eight bytes into the prefixes. Sources: Bentley and McIlroy, "Engineering radix sort" (1993); the
// cached prefixes are from Ng and Kakehi, "Cache efficient radix sort for string sorting" (2007).
func sortEntries(e, aux []entry, key func(ref uint64) []byte) {
	s := sorter{key: key}
	s.radix(e, aux[:len(e)], 56, 0, true)
}

type sorter struct {
	key func(ref uint64) []byte
}

// radix sorts e by the bytes of the prefixes from shift down to 0, then by the key bytes from
// depth+8 on. The result is in e if inPlace is set, else in aux.
func (s *sorter) radix(e, aux []entry, shift int, depth int, inPlace bool) {
	for {
		if len(e) <= maxCompared {
			s.compare(e, depth)
			if !inPlace {
				copy(aux, e)
			}
			return
		}
		if shift < 0 {
			long := e[len(e):] // with equal keys, in the order of their refs
			if s.key != nil {
				depth += 8 + s.sharedBytes(e, depth+8)
				long = s.loadNextBytes(e, aux, depth)
			}
			short := len(e) - len(long)
			if !inPlace {
				copy(aux, e[:short])
			}
			e, aux, shift = long, aux[short:], 56
			continue
		}
		var count [257]uint32
		for i := range e {
			count[int(byte(e[i].prefix>>shift))+1]++
		}
		if count[int(byte(e[0].prefix>>shift))+1] == uint32(len(e)) { // all keys share this byte
			shift -= 8
			continue
		}
		for b := range 256 {
			count[b+1] += count[b]
		}
		starts := count
		for i := range e {
			b := byte(e[i].prefix >> shift)
			aux[starts[b]] = e[i]
			starts[b]++
		}
		for b := range 256 { // now in aux
			lo, hi := count[b], count[b+1]
			switch {
			case hi-lo > 1:
				s.radix(aux[lo:hi], e[lo:hi], shift-8, depth, !inPlace)
			case hi-lo == 1 && inPlace:
				e[lo] = aux[lo]
			}
		}
		return
	}
}

// sharedBytes returns how many bytes from depth on all keys share, so that radix need not look at
// them, such as the beginnings of addresses. It is zero if a key ends before depth.
func (s *sorter) sharedBytes(e []entry, depth int) int {
	first := s.key(e[0].ref)
	shared := first[min(depth, len(first)):]
	for i := 1; i < len(e) && len(shared) > 0; i++ {
		k := s.key(e[i].ref)
		k = k[min(depth, len(k)):]
		if len(k) >= len(shared) && string(k[:len(shared)]) == string(shared) {
			continue
		}
		n := 0
		for n < min(len(k), len(shared)) && k[n] == shared[n] {
			n++
		}
		shared = shared[:n]
	}
	return len(shared)
}

// loadNextBytes puts the keys that end within the sorted bytes first, shortest first. It loads the
// next eight bytes of the other keys and returns their entries. All entries of e share their first
// end bytes; zeros behind the end of a short key count.
func (s *sorter) loadNextBytes(e, aux []entry, end int) []entry {
	short, long := 0, 0
	isSorted := true // the short keys are by length, as all of one length are
	length := 0
	for _, x := range e {
		k := s.key(x.ref)
		if len(k) <= end {
			isSorted = isSorted && len(k) >= length
			length = len(k)
			e[short] = x
			short++
			continue
		}
		x.prefix = prefix(k[end:])
		aux[long] = x
		long++
	}
	copy(e[short:], aux[:long])
	if !isSorted {
		slices.SortFunc(e[:short], func(a, b entry) int {
			if c := len(s.key(a.ref)) - len(s.key(b.ref)); c != 0 {
				return c
			}
			return byRef(a, b)
		})
	}
	return e[short:]
}

// compare sorts few entries. It keeps the order of equal keys, so it need not compare refs.
func (s *sorter) compare(e []entry, depth int) {
	for i := 1; i < len(e); i++ {
		x, k := e[i], i
		for k > 0 && (x.prefix < e[k-1].prefix || x.prefix == e[k-1].prefix && s.lessRest(x, e[k-1], depth)) {
			e[k] = e[k-1]
			k--
		}
		e[k] = x
	}
}

// lessRest reports whether the key of a is less than the key of b behind their equal prefixes.
func (s *sorter) lessRest(a, b entry, depth int) bool {
	if s.key == nil {
		return false
	}
	ka, kb := s.key(a.ref), s.key(b.ref)
	return bytes.Compare(ka[min(depth, len(ka)):], kb[min(depth, len(kb)):]) < 0
}

func byRef(a, b entry) int {
	if a.ref < b.ref {
		return -1
	}
	return 1
}

// prefix returns the first eight bytes of k as a big-endian number, padded with zeros.
func prefix(k []byte) uint64 {
	if len(k) >= 8 {
		return binary.BigEndian.Uint64(k)
	}
	var p uint64
	for i, b := range k {
		p |= uint64(b) << (56 - 8*i)
	}
	return p
}
