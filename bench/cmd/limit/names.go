package main

// names numbers distinct keys from 0 in the order of their first appearance.
type names struct {
	slots []nameSlot // a power of two, at most half full
	keys  []string
}

// nameSlot holds the number of a key and half of its hash, to avoid most useless comparisons.
type nameSlot struct {
	half uint32
	next uint32 // number + 1; 0: free
}

// newNames returns a table with slots, a power of two. It grows at half as many keys.
func newNames(slots int) *names { return &names{slots: make([]nameSlot, slots)} }

// find returns a key's number, or -1.
func (t *names) find(key []byte) int { return int(t.slot(key, hash(key)).next) - 1 }

// slot returns the slot of a key with this hash, or the free slot for it.
func (t *names) slot(key []byte, hash uint64) *nameSlot {
	mask := uint64(len(t.slots) - 1)
	for h := hash; ; h++ {
		s := &t.slots[h&mask]
		if s.next == 0 || s.half == uint32(hash>>32) && t.keys[s.next-1] == string(key) {
			return s
		}
	}
}

// number returns the number of a key, and assigns one to a new key.
func (t *names) number(key []byte) int {
	h := hash(key)
	s := t.slot(key, h)
	if s.next > 0 {
		return int(s.next) - 1
	}
	t.keys = append(t.keys, string(key))
	*s = nameSlot{uint32(h >> 32), uint32(len(t.keys))}
	if len(t.keys)*2 > len(t.slots) {
		t.grow()
	}
	return len(t.keys) - 1
}

func (t *names) grow() {
	t.slots = make([]nameSlot, 2*len(t.slots))
	for n, key := range t.keys {
		h := hash([]byte(key))
		*t.slot([]byte(key), h) = nameSlot{uint32(h >> 32), uint32(n + 1)}
	}
}
