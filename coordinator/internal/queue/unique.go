package queue

// uniques finds tasks by function and unique key: a hash table with open addressing and linear
// probing. An entry holds the slot of the task and 32 bits of the hash. These bits give the entry's
// home and save most comparisons with tasks.
type uniques struct {
	entries []uint64 // hash << 32 | slot; zero is empty; a power of two
	n       int
}

func hashKey(fn int32, k Key) uint32 {
	h := (k[0] ^ uint64(fn)*0x9e3779b97f4a7c15) * 0xd6e8feb86659fd93
	return uint32(h >> 32)
}

// lookUp returns the slot of the last task with this key, or 0.
func (q *Queue) lookUp(fn int32, k Key) int32 {
	u := &q.uniques
	if u.n == 0 {
		return 0
	}
	h, mask := hashKey(fn, k), uint32(len(u.entries)-1)
	for at := h & mask; u.entries[at] != 0; at = (at + 1) & mask {
		if e := u.entries[at]; uint32(e>>32) == h {
			if t := q.tasks.at(int32(e)); t.fn == fn && t.key == k {
				return int32(e)
			}
		}
	}
	return 0
}

// rememberKey makes the key of task i find task i, in place of task old unless old is 0.
func (q *Queue) rememberKey(i, old int32) {
	u := &q.uniques
	if old != 0 {
		q.forgetKey(old)
	}
	if u.n*4 >= len(u.entries)*3 {
		entries := u.entries
		u.entries = make([]uint64, max(1024, 2*len(entries)))
		for _, e := range entries {
			if e != 0 {
				u.put(e)
			}
		}
	}
	t := q.tasks.at(i)
	u.put(uint64(hashKey(t.fn, t.key))<<32 | uint64(i))
	u.n++
}

func (u *uniques) put(e uint64) {
	mask := uint32(len(u.entries) - 1)
	at := uint32(e>>32) & mask
	for u.entries[at] != 0 {
		at = (at + 1) & mask
	}
	u.entries[at] = e
}

// forgetKey removes the entry of task i, if there is one, and moves later entries back so that they
// can still be found.
func (q *Queue) forgetKey(i int32) {
	u, t := &q.uniques, q.tasks.at(i)
	if t.key == (Key{}) || u.n == 0 {
		return
	}
	h, mask := hashKey(t.fn, t.key), uint32(len(u.entries)-1)
	at := h & mask
	for want := uint64(h)<<32 | uint64(i); u.entries[at] != want; at = (at + 1) & mask {
		if u.entries[at] == 0 {
			return
		}
	}
	u.n--
	for next := (at + 1) & mask; u.entries[next] != 0; next = (next + 1) & mask {
		home := uint32(u.entries[next]>>32) & mask
		if (next-home)&mask >= (next-at)&mask {
			u.entries[at], at = u.entries[next], next
		}
	}
	u.entries[at] = 0
}
