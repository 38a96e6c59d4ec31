package queue

import (
	"cmp"
	"encoding/binary"
	"slices"
)

// origin is the process that gave the IDs from first on, until the next origin. A copied data
// directory gives the same IDs as the original, to other tasks. An ID together with its origin is
// given once.
type origin struct {
	first ID // its slot is 0
	n     uint64
}

// Origin returns the random number of the process that gave an ID.
func (q *Queue) Origin(id ID) uint64 {
	i, found := slices.BinarySearchFunc(q.origins, id, func(o origin, id ID) int { return cmp.Compare(o.first, id) })
	if !found {
		i--
	}
	if i < 0 {
		return 0
	}
	return q.origins[i].n
}

// addOrigin makes n the origin of all later IDs, and drops the origins that no task needs.
func (q *Queue) addOrigin(n uint64) {
	oldest := ID((q.seq + 1) << slotBits)
	first := oldest
	for _, c := range q.tasks.chunks {
		for k := range c {
			if id := c[k].id; id != 0 {
				oldest = min(oldest, id)
			}
		}
	}
	for len(q.origins) > 1 && q.origins[1].first <= oldest {
		q.write(0, NoPayload, q.keyOf('k', q.origins[0].first), nil)
		q.origins = q.origins[1:]
	}
	if k := len(q.origins); k > 0 && q.origins[k-1].first == first { // it gave no ID
		q.origins = q.origins[:k-1]
	}
	q.origins = append(q.origins, origin{first, n})
	q.write(0, NoPayload, q.keyOf('k', first), binary.LittleEndian.AppendUint64([]byte{version}, n))
}

func (q *Queue) restoreOrigin(id ID, r *reader) error {
	n := r.Word()
	if !r.Failed() {
		q.origins = append(q.origins, origin{id, n})
	}
	return r.err()
}
