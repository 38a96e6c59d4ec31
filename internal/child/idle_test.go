package child

import (
	"context"
	"runtime/pprof"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/layshaft/layshaft/internal/call"
	"github.com/layshaft/layshaft/internal/job"
)

// äääääääääääääääääääääääääääää is deep in a stack of names that are not ASCII.
func äääääääääääääääääääääääääääää(n int, f func()) {
	if n == 0 {
		f()
		return
	}
	äääääääääääääääääääääääääääää(n-1, f)
}

// Stacks are text wherever they are cut, or their message would end the attempt.
func TestStacksAreText(t *testing.T) {
	t.Setenv("GODEBUG", "tracebacklabels=1")
	for i := range 40 {
		a := job.Attempt{Task: job.Task{Index: 1}, N: 1}
		for range i % 5 {
			a.N *= 10
		}
		pprof.Do(context.Background(), pprof.Labels(call.Label, a.String()), func(context.Context) {
			äääääääääääääääääääääääääääää(40+i, func() {
				if s, _ := stacksOf(a); len(s) < maxStacks/2 || !utf8.ValidString(s) {
					t.Errorf("%d bytes of stacks: %q", len(s), s[max(0, len(s)-60):])
				}
			})
		})
	}
}

// An attempt whose function waits for a second in each record is slow and not idle, although its
// source counts no record before the end of a chunk.
func TestSlowIsNotIdle(t *testing.T) {
	t.Setenv("GODEBUG", "tracebacklabels=1")
	for _, slow := range []bool{true, false} {
		a := job.Attempt{Task: job.Task{Index: 1}, N: 1}
		end, waits := make(chan struct{}), make(chan struct{})
		go pprof.Do(context.Background(), pprof.Labels(call.Label, a.String()), func(context.Context) {
			close(waits)
			<-end
		})
		<-waits
		x, p, marked := &idle{ctx: t.Context(), after: 30 * time.Second}, new(job.Progress), false
		for s := range time.Duration(300) {
			if slow {
				p.Beat()
			}
			x.look(a, p, time.Unix(0, 0).Add(s*time.Second))
			marked = marked || p.Idle.Load() > 0
		}
		if marked == slow {
			t.Errorf("slow %t: marked as idle %t", slow, marked)
		}
		close(end)
	}
}

// An idle attempt that is stopped stays idle, with its stacks, though its function ends then.
func TestStoppedStaysIdle(t *testing.T) {
	t.Setenv("GODEBUG", "tracebacklabels=1")
	ctx, stop := context.WithCancel(t.Context())
	a := job.Attempt{Task: job.Task{Index: 1}, N: 1}
	waits, ended := make(chan struct{}), make(chan struct{})
	go pprof.Do(ctx, pprof.Labels(call.Label, a.String()), func(context.Context) {
		close(waits)
		<-ctx.Done()
		close(ended)
	})
	<-waits
	x, p, second := &idle{ctx: ctx, after: 30 * time.Second}, new(job.Progress), int64(0)
	for ; p.Idle.Load() == 0; second++ {
		x.look(a, p, time.Unix(second, 0))
	}
	stop()
	<-ended
	for range 100 {
		p.Records.Add(1)
		x.look(a, p, time.Unix(second, 0))
		second++
	}
	if p.Idle.Load() == 0 || p.Stacks.Load() == nil {
		t.Error("the stopped attempt is not idle any more")
	}
}
