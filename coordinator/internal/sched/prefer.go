package sched

import (
	"math/bits"

	"github.com/layshaft/layshaft/internal/job"
)

// A task that reads other stages runs best where most of its input is. For a task of a combine stage that is the worker that its
// group was made for, or any worker of its zone. For a partition it is the worker that holds most of its bytes, when producers have
// told the sizes and when it is worth to wait for.

const (
	// maxSizes is how many sizes are remembered of one stage, one byte each: its tasks times its partitions.
	maxSizes = 1 << 20
	// worthMoving is the size of a partition below which it does not matter from where it is read.
	worthMoving = 4 << 20
)

// sizes remembers the bytes of each partition of each task of a stage, at most a fifth too low.
type sizes struct {
	partitions int
	codes      []uint8 // by task, then partition; nil when there are none or too many
}

// store notes the sizes of task i, of so many, for a reader of n partitions. Those behind the last that has anything may be missing.
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

// partitions returns how many partitions a reader of stage k, which st is, has; zero when none has any.
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

// sizeCode is a float of 6 bits exponent and 2 bits mantissa; sizeOf gives back the lower end of what it stands for.
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

// findNearWorkers finds the workers near each task of a stage that begins; nil when there are none.
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

// heaviest returns the workers that hold at least half as much as the one that holds most; none when that is below a quarter of
// all, or all is less than least.
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
