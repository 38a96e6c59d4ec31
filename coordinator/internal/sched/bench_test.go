//go:build unix

package sched

import (
	"fmt"
	"runtime"
	"slices"
	"syscall"
	"testing"
	"time"

	"github.com/layshaft/layshaft/internal/job"
)

// load describes the work of a benchmark: jobs of one shape, over workers with one slot in 20
// zones.
type load struct {
	jobs, maps, reduces, workers int
	hosts                        int  // of each split
	tiers                        bool // outputs are combined per worker, then per zone
	busy                         bool // the jobs have needs, priorities and partition sizes
}

// BenchmarkJob schedules a whole job of the MapReduce paper's typical size, 200,000 maps and 5,000
// reduces, over 10,000 workers, with and without hosts for the splits. One decision is one finished
// attempt and its consequences.
func BenchmarkJob(b *testing.B) {
	b.Run("hosts=0", func(b *testing.B) { run(b, load{jobs: 1, maps: 200_000, reduces: 5_000, workers: 10_000}) })
	b.Run("hosts=3", func(b *testing.B) { run(b, load{jobs: 1, maps: 200_000, reduces: 5_000, workers: 10_000, hosts: 3}) })
	b.Run("tiers", func(b *testing.B) {
		run(b, load{jobs: 1, maps: 200_000, reduces: 5_000, workers: 10_000, hosts: 3, tiers: true})
	})
}

// BenchmarkJobs schedules 200 jobs at once.
func BenchmarkJobs(b *testing.B) {
	b.Run("alike", func(b *testing.B) { run(b, load{jobs: 200, maps: 1_000, reduces: 25, workers: 10_000, hosts: 3}) })
	b.Run("unlike", func(b *testing.B) {
		run(b, load{jobs: 200, maps: 1_000, reduces: 25, workers: 10_000, hosts: 3, busy: true})
	})
	b.Run("unlike,workers=100", func(b *testing.B) {
		run(b, load{jobs: 200, maps: 1_000, reduces: 25, workers: 100, hosts: 3, busy: true})
	})
}

// BenchmarkGrowth shows that the cost of a decision hardly grows with tasks and workers. Compare
// the CPU time: on a busy machine the rate depends on the wall clock.
func BenchmarkGrowth(b *testing.B) {
	for _, workers := range []int{100, 1_000, 10_000} {
		for _, maps := range []int{20_000, 200_000} {
			b.Run(fmt.Sprintf("workers=%d,maps=%d", workers, maps), func(b *testing.B) {
				run(b, load{jobs: 1, maps: maps, reduces: maps / 40, workers: workers, hosts: 3})
			})
		}
	}
}

func run(b *testing.B, l load) {
	decisions, worst := 0, time.Duration(0)
	var memory uint64
	var cpu time.Duration
	for b.Loop() {
		var before, after runtime.MemStats
		b.StopTimer()
		specs := l.specs()
		runtime.GC()
		runtime.ReadMemStats(&before)
		b.StartTimer()
		cpu -= cpuTime()
		d, w := l.play(b, specs, func() {
			b.StopTimer()
			cpu += cpuTime()
			runtime.GC()
			runtime.ReadMemStats(&after)
			cpu -= cpuTime()
			b.StartTimer()
		})
		cpu += cpuTime()
		decisions, worst, memory = decisions+d, max(worst, w), max(memory, after.HeapAlloc-before.HeapAlloc)
	}
	b.ReportMetric(float64(decisions)/b.Elapsed().Seconds(), "decisions/s")
	b.ReportMetric(float64(cpu.Nanoseconds())/float64(decisions), "cpu-ns/decision")
	b.ReportMetric(float64(worst.Milliseconds()), "worst-ms")
	b.ReportMetric(float64(memory)/(1<<20), "MB")
}

// cpuTime returns the CPU time used by the process.
func cpuTime() time.Duration {
	var r syscall.Rusage
	if syscall.Getrusage(syscall.RUSAGE_SELF, &r) != nil {
		return 0
	}
	return time.Duration(r.Utime.Nano() + r.Stime.Nano())
}

func (l load) specs() []Submitted {
	var out []Submitted
	for n := range l.jobs {
		spec := job.Spec{ID: job.ID(fmt.Sprint("j", n)), Stages: []job.Stage{{Name: "map", Tasks: l.maps, Splits: make([]job.Split, l.maps)}}}
		for i := range spec.Stages[0].Splits {
			for h := range l.hosts {
				spec.Stages[0].Splits[i].Hosts = append(spec.Stages[0].Splits[i].Hosts, fmt.Sprint("w", (i*7919+n*104729+h*31)%l.workers))
			}
		}
		if l.tiers {
			spec.Stages = append(spec.Stages,
				job.Stage{Name: "worker", Tasks: l.workers, Combine: true, Inputs: []job.Edge{{From: 0, Mode: job.Group}}},
				job.Stage{Name: "zone", Tasks: 20, Combine: true, Inputs: []job.Edge{{From: 1, Mode: job.Group}}})
		}
		spec.Stages = append(spec.Stages, job.Stage{Name: "reduce", Tasks: l.reduces, Inputs: []job.Edge{{From: len(spec.Stages) - 1}}})
		sub := Submitted{Spec: spec}
		if l.busy {
			sub.Options = Options{Priority: n % 3, Interactive: n%10 == 0, Tags: []string{"a", "b", "c"}[n%3 : n%3+1], Code: fmt.Sprint("c", n%50), Platform: "linux/amd64"}
		}
		out = append(out, sub)
	}
	return out
}

func (l load) play(tb testing.TB, specs []Submitted, halfway func()) (decisions int, worst time.Duration) {
	s := New(Config{StragglerRatio: -1})
	now := time.Unix(0, 0)
	var running []Launch
	ended := 0
	step := func(ev Event) {
		begin := time.Now()
		cmds := s.Step(now, ev)
		worst = max(worst, time.Since(begin))
		for _, c := range cmds {
			switch c := c.(type) {
			case Launch:
				running = append(running, c)
			case JobEnded:
				ended++
				if c.Outcome != Done {
					tb.Fatalf("job %s: %v", c.Job, c.Failure)
				}
			}
		}
	}
	for i := range l.workers {
		w := WorkerJoined{Worker: fmt.Sprint("w", i), Slots: 1, Zone: fmt.Sprint("z", i%20)}
		if l.busy {
			w.Slots, w.Reserved, w.Tags, w.Platform, w.AllowsShippedCode = 2, i%2, []string{"a", "b", "c"}[i%2:], "linux/amd64", i%3 > 0
			for c := range 50 {
				w.Codes = append(w.Codes, fmt.Sprint("c", c))
			}
		}
		step(w)
	}
	for _, sub := range specs {
		step(sub)
	}
	sizes := slices.Repeat([]int64{9 << 20}, l.reduces)
	tasks := 0
	for i := range specs {
		tasks += specs[i].Spec.Tasks()
	}
	for head := 0; ended < l.jobs; head++ {
		if head == len(running) {
			tb.Fatalf("stuck after %d decisions", decisions)
		}
		x := running[head]
		now = now.Add(100 * time.Microsecond)
		if head%30_000 == 0 {
			for i := range l.workers {
				step(Heartbeat{Worker: fmt.Sprint("w", i)})
			}
		}
		if decisions == tasks*9/10 {
			halfway()
		}
		done := AttemptDone{Worker: x.Worker, Attempt: x.Launch.Attempt, Summary: Summary{Bytes: 1, Records: 1}}
		if l.busy && x.Launch.Split != nil {
			done.PartitionBytes = sizes
		}
		step(done)
		decisions++
		for next := s.Next(); len(running) == head+1 && ended < l.jobs && !next.IsZero(); next = s.Next() {
			now = next
			step(Tick{})
		}
	}
	return decisions, worst
}
