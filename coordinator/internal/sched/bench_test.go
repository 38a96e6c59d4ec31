package sched

import (
	"fmt"
	"runtime"
	"testing"
	"time"

	"github.com/layshaft/layshaft/internal/job"
)

// BenchmarkJob schedules a whole job of the MapReduce paper's typical size, 200,000 maps and 5,000 reduces, over 10,000
// workers, with and without hosts for the splits. One decision is one finished attempt and what follows from it.
func BenchmarkJob(b *testing.B) {
	for _, hosts := range []int{0, 3} {
		b.Run(fmt.Sprintf("hosts=%d", hosts), func(b *testing.B) {
			decisions, worst := 0, time.Duration(0)
			var memory uint64
			for b.Loop() {
				var before, after runtime.MemStats
				b.StopTimer()
				spec := bigJob(200_000, 5_000, 10_000, hosts)
				runtime.GC()
				runtime.ReadMemStats(&before)
				b.StartTimer()
				d, w := runBig(b, spec, 10_000, func() {
					b.StopTimer()
					runtime.GC()
					runtime.ReadMemStats(&after)
					b.StartTimer()
				})
				decisions, worst, memory = decisions+d, max(worst, w), max(memory, after.HeapAlloc-before.HeapAlloc)
			}
			b.ReportMetric(float64(decisions)/b.Elapsed().Seconds(), "decisions/s")
			b.ReportMetric(float64(worst.Milliseconds()), "worst-ms")
			b.ReportMetric(float64(memory)/(1<<20), "MB")
		})
	}
}

func bigJob(maps, reduces, workers, hosts int) job.Spec {
	spec := job.Spec{ID: "big", Stages: []job.Stage{
		{Name: "map", Tasks: maps, Splits: make([]job.Split, maps)},
		{Name: "reduce", Tasks: reduces, Inputs: []job.Edge{{From: 0}}},
	}}
	for i := range spec.Stages[0].Splits {
		for h := range hosts {
			spec.Stages[0].Splits[i].Hosts = append(spec.Stages[0].Splits[i].Hosts, fmt.Sprint("w", (i*7919+h*31)%workers))
		}
	}
	return spec
}

// runBig plays a cluster in which every attempt takes one second, spread evenly. It calls halfway when all maps are done.
func runBig(tb testing.TB, spec job.Spec, workers int, halfway func()) (decisions int, worst time.Duration) {
	s := New(Config{StragglerRatio: -1})
	now := time.Unix(0, 0)
	var running []Launch
	ended := false
	step := func(ev Event) {
		begin := time.Now()
		cmds := s.Step(now, ev)
		worst = max(worst, time.Since(begin))
		for _, c := range cmds {
			switch c := c.(type) {
			case Launch:
				running = append(running, c)
			case JobEnded:
				ended = c.Outcome == Done
			}
		}
	}
	for i := range workers {
		step(WorkerJoined{Worker: fmt.Sprint("w", i), Slots: 1, Zone: fmt.Sprint("z", i%20)})
	}
	step(Submitted{spec})
	for head := 0; !ended; head++ {
		if head == len(running) {
			tb.Fatalf("stuck after %d decisions", decisions)
		}
		l := running[head]
		now = now.Add(100 * time.Microsecond)
		if head%30_000 == 0 {
			for i := range workers {
				step(Heartbeat{Worker: fmt.Sprint("w", i)})
			}
		}
		if decisions == spec.Stages[0].Tasks {
			halfway()
		}
		step(AttemptDone{Worker: l.Worker, Attempt: l.Launch.Attempt, Summary: Summary{Bytes: 1, Records: 1}})
		decisions++
		for next := s.Next(); len(running) == head+1 && !ended && !next.IsZero(); next = s.Next() {
			now = next
			step(Tick{})
		}
	}
	return decisions, worst
}
