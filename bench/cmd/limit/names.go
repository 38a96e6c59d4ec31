package main

// names numbers distinct keys from 0 in the order of their first appearance.
type names struct {
	slots []int32 // number + 1; 0 is free. A power of two, at most half full
	keys  []string
}

// newNames makes a table for half as many keys as slots, a power of two, before it grows.
func newNames(slots int) *names { return &names{slots: make([]int32, slots)} }

// find returns a key's number, or -1, and the slot where it is or belongs.
func (t *names) find(key []byte) (number int32, slot uint64) {
	mask := uint64(len(t.slots) - 1)
	for h := hash(key); ; h++ {
		n := t.slots[h&mask] - 1
		if n < 0 || t.keys[n] == string(key) {
			return n, h & mask
		}
	}
}

// number returns a key's number, a new one if need be.
func (t *names) number(key []byte) int32 {
	n, slot := t.find(key)
	if n < 0 {
		n = int32(len(t.keys))
		t.keys = append(t.keys, string(key))
		t.slots[slot] = n + 1
		if len(t.keys)*2 > len(t.slots) {
			t.grow()
		}
	}
	return n
}

func (t *names) grow() {
	t.slots = make([]int32, 2*len(t.slots))
	for n, key := range t.keys {
		_, slot := t.find([]byte(key))
		t.slots[slot] = int32(n) + 1
	}
}
