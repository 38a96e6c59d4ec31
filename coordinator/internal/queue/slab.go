package queue

// slab stores structs by number, from 1, and reuses the numbers of dropped ones. Structs never
// move. If T has no pointers, the garbage collector skips them. A slab never shrinks: it keeps room
// for the largest number of structs ever stored.
type slab[T any] struct {
	chunks [][]T // nil where no memory was needed yet
	free   []int32
}

const (
	chunkBits = 12
	chunkSize = 1 << chunkBits
)

func (s *slab[T]) at(i int32) *T { return &s.chunks[i>>chunkBits][i&(chunkSize-1)] }

// hasMemory reports whether there is memory for number i.
func (s *slab[T]) hasMemory(i int32) bool {
	c := int(i >> chunkBits)
	return i > 0 && c < len(s.chunks) && s.chunks[c] != nil
}

// take returns a free number, or 0 if all are in use. While the slab grows, lower numbers come
// first.
func (s *slab[T]) take() int32 {
	if len(s.free) == 0 {
		c := 0
		for c < len(s.chunks) && s.chunks[c] != nil {
			c++
		}
		if c == 1<<(slotBits-chunkBits) {
			return 0
		}
		s.grow(c)
		for i := chunkSize - 1; i >= 0 && c|i > 0; i-- {
			s.free = append(s.free, int32(c<<chunkBits|i))
		}
	}
	i := s.free[len(s.free)-1]
	s.free = s.free[:len(s.free)-1]
	return i
}

// grow allocates chunk c.
func (s *slab[T]) grow(c int) {
	for len(s.chunks) <= c {
		s.chunks = append(s.chunks, nil)
	}
	s.chunks[c] = make([]T, chunkSize)
}

// drop clears number i and frees it.
func (s *slab[T]) drop(i int32) {
	var zero T
	*s.at(i) = zero
	s.free = append(s.free, i)
}

// links is a place in a circular list through a head. Heads have negative numbers, tasks positive
// ones. A zero next means: in no list. A task can be removed without knowing its list.
type links struct{ next, prev int32 }

// newHead returns the number of an empty list.
func (q *Queue) newHead() int32 {
	h := -int32(len(q.heads)) - 1
	if n := len(q.freeHeads); n > 0 {
		h, q.freeHeads = q.freeHeads[n-1], q.freeHeads[:n-1]
	} else {
		q.heads = append(q.heads, links{})
	}
	*q.link(h) = links{h, h}
	return h
}

func (q *Queue) link(i int32) *links {
	if i < 0 {
		return &q.heads[-i-1]
	}
	return &q.tasks.at(i).links
}

// insertBefore puts task i before x. If x is a head, the task goes to the end.
func (q *Queue) insertBefore(x, i int32) {
	at := q.link(x)
	*q.link(i) = links{x, at.prev}
	q.link(at.prev).next = i
	at.prev = i
}

func (q *Queue) unlink(i int32) {
	l := q.link(i)
	if l.next == 0 {
		return
	}
	q.link(l.next).prev, q.link(l.prev).next = l.prev, l.next
	*l = links{}
}

// first returns the first task of a list, or 0.
func (q *Queue) first(head int32) int32 { return max(q.link(head).next, 0) }
