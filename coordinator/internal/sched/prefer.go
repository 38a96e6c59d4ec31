package sched

import (
	"math/bits"

	"github.com/layshaft/layshaft/internal/job"
)

// A task with input from other stages runs best on the worker that holds most of its input. For a
// task of a combine stage this is the worker of its group, or any worker of its group's zone. For a
// partition it is the worker with most of its bytes, if the producers reported the sizes and the
// partition is large enough to be worth the wait.

const (
	// maxSizes is how many sizes of one stage are remembered, one byte each: its tasks times its
	// partitions.
	maxSizes = 1 << 20
	// worthMoving is the smallest size of a partition for which the place of its readers matters.
	worthMoving = 4 << 20
)

// sizes remembers the bytes of each partition of each task of a stage. A remembered size is at most
// a fifth too low.
type sizes struct {
	partitions int
	codes      []uint8 // by task, then partition; nil when there are none or too many
}

// store notes the partition sizes of task i, one of so many tasks, for a reader with n partitions.
// Empty partitions at the end may be missing from parts.
func (z *sizes) store(tasks, i, n int, parts []int64) {
	if z.codes == nil && len(parts) > 0 && n > 1 && n <= maxSizes/tasks {
		z.partitions, z.codes = n, make([]uint8, tasks*n)
	}
	if z.codes == nil {
		return
	}
	row := z.codes[i*z.partitions : (i+1)*z.partitions]
	clear(row)
	if len(parts) <= z.partitions {
		for p, n := range parts {
			row[p] = sizeCode(n)
		}
	}
}

// partitions returns the number of partitions read by a reader of stage k (st); zero when it has no
// such reader.
func (st *stage) partitions(k int) int {
	for _, r := range st.readers {
		for _, e := range r.spec.Inputs {
			if e.From == k && e.Mode == job.Shuffle && e.Port == 0 {
				return r.spec.Tasks
			}
		}
	}
	return 0
}

// sizeCode encodes a size as a float with 6 bits of exponent and 2 bits of mantissa. sizeOf returns
// the lower end of the code's range.
func sizeCode(n int64) uint8 {
	if n < 4 {
		return uint8(max(n, 0))
	}
	e := bits.Len64(uint64(n)) - 3
	return uint8(e<<2 + int(n>>e))
}

func sizeOf(c uint8) int64 {
	if c < 8 {
		return int64(c)
	}
	e := c>>2 - 1
	return int64(c-e<<2) << e
}

// findNearWorkers finds the workers near the input of each task of a starting stage; nil when there
// are none.
func (s *Scheduler) findNearWorkers(j *jobState, st *stage) [][]string {
	if st.groups != nil {
		return s.findNearGroups(j, st)
	}
	place := map[*worker]int{}
	var holders []*worker
	var rows [][]int64 // by holder, then task
	for _, e := range st.spec.Inputs {
		from := j.stages[e.From]
		z := &from.sizes
		if e.Mode != job.Shuffle || e.Port != 0 || z.codes == nil || z.partitions != st.spec.Tasks {
			continue
		}
		for i := range from.tasks {
			w := from.tasks[i].holder
			k, ok := place[w]
			if !ok {
				k = len(holders)
				place[w] = k
				holders, rows = append(holders, w), append(rows, make([]int64, z.partitions))
			}
			for p, c := range z.codes[i*z.partitions : (i+1)*z.partitions] {
				rows[k][p] += sizeOf(c)
			}
		}
	}
	if rows == nil {
		return nil
	}
	out := make([][]string, st.spec.Tasks)
	for i := range out {
		out[i] = heaviest(holders, func(k int) int64 { return rows[k][i] }, worthMoving)
	}
	return out
}

// heaviest returns the workers with at least half as much as the worker with most. It returns none
// when the top worker holds less than a quarter of all, or all is less than least.
func heaviest(holders []*worker, held func(k int) int64, least int64) (names []string) {
	var total, top int64
	for k := range holders {
		total, top = total+held(k), max(top, held(k))
	}
	if total < max(least, 1) || top < total/4 {
		return nil
	}
	for k, w := range holders {
		if held(k) >= (top+1)/2 {
			names = append(names, w.name)
		}
	}
	return names
}
