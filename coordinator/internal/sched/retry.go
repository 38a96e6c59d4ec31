package sched

import (
	"container/heap"
	"time"
)

// A failed task waits before it runs again, longer each time, so that a short disturbance does not
// use up its attempts.

type retry struct {
	at  time.Time
	ref // out of date when the task is not delayed
}

// retries is a heap, ordered by time.
type retries []retry

func (q retries) Len() int      { return len(q) }
func (q retries) Swap(a, b int) { q[a], q[b] = q[b], q[a] }
func (q *retries) Push(x any)   { *q = append(*q, x.(retry)) }
func (q *retries) Pop() any {
	x := (*q)[len(*q)-1]
	*q = (*q)[:len(*q)-1]
	return x
}
func (q retries) Less(a, b int) bool { return q[a].at.Before(q[b].at) }

func (s *Scheduler) delayTask(r ref, wait time.Duration) {
	s.setState(r, delayed)
	heap.Push(&s.delayed, retry{at: s.now.Add(wait), ref: r})
}

func (s *Scheduler) wakeRetries() {
	for len(s.delayed) > 0 && !s.now.Before(s.delayed[0].at) {
		r := heap.Pop(&s.delayed).(retry)
		if r.j.outcome == Running && r.task().state == delayed {
			s.enqueueTask(r.ref)
		}
	}
}
