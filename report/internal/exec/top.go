package exec

import (
	"cmp"
	"container/heap"
	"slices"
	"strings"
)

// topHeap keeps the rows with the smallest keys, and among equal keys the earliest.
type topHeap struct {
	limit int
	seq   int64
	rows  []topRow // a heap, the last row of the order first
}

type topRow struct {
	Row
	seq int64
}

// Len, Less, Swap, Push and Pop make a heap.Interface.
func (h *topHeap) Len() int           { return len(h.rows) }
func (h *topHeap) Less(i, j int) bool { return before(h.rows[j], h.rows[i]) < 0 }
func (h *topHeap) Swap(i, j int)      { h.rows[i], h.rows[j] = h.rows[j], h.rows[i] }
func (h *topHeap) Push(x any)         { h.rows = append(h.rows, x.(topRow)) }
func (h *topHeap) Pop() any           { panic("report: rows are replaced, not removed") }

func before(a, b topRow) int {
	return cmp.Or(strings.Compare(a.Key, b.Key), cmp.Compare(a.seq, b.seq))
}

// add takes a row.
func (h *topHeap) add(r Row) error {
	h.seq++
	if len(h.rows) < h.limit {
		heap.Push(h, topRow{Row{strings.Clone(r.Key), strings.Clone(r.Data)}, h.seq})
		return nil
	}
	if h.limit > 0 && r.Key < h.rows[0].Key {
		h.rows[0] = topRow{Row{strings.Clone(r.Key), strings.Clone(r.Data)}, h.seq}
		heap.Fix(h, 0)
	}
	return nil
}

// sorted returns the rows in order.
func (h *topHeap) sorted() []Row {
	slices.SortFunc(h.rows, before)
	out := make([]Row, len(h.rows))
	for i, r := range h.rows {
		out[i] = r.Row
	}
	return out
}
