package queue

import (
	"fmt"
	"runtime"
	"testing"
	"time"
)

// BenchmarkCycle measures the life of a task in three Steps: submit, grab, done. Depth is the
// number of other tasks waiting behind it.
func BenchmarkCycle(b *testing.B) {
	for _, depth := range []int{0, 1_000_000} {
		for _, kind := range []string{"background", "unique", "foreground", "durable", "pushed"} {
			b.Run(fmt.Sprintf("%s/depth=%d", kind, depth), func(b *testing.B) {
				q := New(Config{})
				now := time.Unix(1e9, 0)
				sub := &Submit{Function: "f", Size: 128, Policy: Policy{Attempts: 3}, Durable: kind == "durable"}
				n := uint64(0)
				submit := func() {
					n++
					if kind == "unique" {
						sub.Unique = Key{n, n}
					}
					if kind == "foreground" {
						sub.Peer = 7
					}
					q.Step(now, sub)
				}
				for range depth {
					submit()
				}
				q.Step(now, &CanDo{Peer: 1, Function: "f"})
				grab, done := &Grab{Peer: 1}, &Report{Peer: 1, Notice: Done}
				if kind == "pushed" {
					for _, c := range q.Step(now, &SetSlots{Peer: 1, N: 1}) {
						done.Task = c.Task
					}
				}
				assigned := func(cmds []Command) {
					for k := range cmds {
						if cmds[k].Op == Assign {
							done.Task = cmds[k].Task
						}
					}
				}
				runtime.GC()
				b.ReportAllocs()
				for b.Loop() {
					now = now.Add(time.Microsecond)
					if kind != "pushed" {
						submit()
						assigned(q.Step(now, grab))
						q.Step(now, done)
					} else if depth == 0 {
						q.Step(now, sub)
						assigned(q.out)
						q.Step(now, done)
					} else {
						q.Step(now, sub)
						assigned(q.Step(now, done))
					}
				}
				if n := q.Totals().In[WasDone]; n < b.N {
					b.Fatalf("%d of %d tasks done", n, b.N)
				}
				b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "tasks/s")
			})
		}
	}
}

// BenchmarkMillion queues a million tasks with unique keys, drains them, and reports the cost of
// one waiting task.
func BenchmarkMillion(b *testing.B) {
	const n = 1_000_000
	var memory uint64
	var in, out time.Duration
	for b.Loop() {
		var before, after runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&before)
		q := New(Config{})
		now := time.Unix(1e9, 0)
		begin := time.Now()
		sub := &Submit{Function: "f", Size: 128}
		for i := range n {
			sub.Unique = Key{uint64(i)*0x9e3779b97f4a7c15 | 1, uint64(i)}
			q.Step(now, sub)
		}
		in += time.Since(begin)
		runtime.GC()
		runtime.ReadMemStats(&after)
		memory = after.HeapAlloc - before.HeapAlloc
		q.Step(now, &CanDo{Peer: 1, Function: "f"})
		begin = time.Now()
		done := &Report{Peer: 1, Notice: Done}
		for range n {
			done.Task = q.Step(now, &Grab{Peer: 1})[0].Task
			q.Step(now, done)
		}
		out += time.Since(begin)
	}
	b.ReportMetric(float64(memory)/n, "B/task")
	b.ReportMetric(float64(b.N)*n/in.Seconds(), "submits/s")
	b.ReportMetric(float64(b.N)*n/out.Seconds(), "drained/s")
}
