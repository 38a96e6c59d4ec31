package child

import (
	"context"
	"fmt"
	"regexp"
	"runtime"
	"strings"
	"time"

	"github.com/layshaft/layshaft/internal/call"
	"github.com/layshaft/layshaft/internal/job"
)

// An attempt without progress is idle rather than slow, if it reads no record and all its
// goroutines wait. idle looks at the stacks of the process for that: rarely, and only after some
// time without a record. The labels of goroutines tell the attempts of the process apart.

const (
	// idleLooks is how many looks in a row must find an attempt waiting, and idleEvery the divisor
	// of the time limit for the interval between looks.
	idleLooks = 3
	idleEvery = 6
	maxStacks = 8 << 10
)

// idle watches one attempt.
type idle struct {
	ctx          context.Context // of the attempt
	after        time.Duration   // zero means never
	since        time.Time       // of the last progress, or of the last look that found it busy
	looked       time.Time
	looks        int
	records, all int64
	beats        int64
}

// look notes the progress of an attempt, and whether it is idle.
func (x *idle) look(a job.Attempt, p *job.Progress, now time.Time) {
	records, all, beats := p.Records.Load(), p.Bytes.Load()+p.Spilled.Load(), p.Beats.Load()
	if x.since.IsZero() || records != x.records || all != x.all || beats != x.beats {
		x.records, x.all, x.beats = records, all, beats
		x.reset(p, now)
		return
	}
	every := x.after / idleEvery
	if x.after <= 0 || now.Sub(x.since) < x.after-idleLooks*every || now.Sub(x.looked) < every {
		return
	}
	x.looked = now
	p.Asked.Store(true)
	stacks, busy := stacksOf(a)
	if busy {
		x.reset(p, now)
		return
	}
	x.looks++
	if now.Sub(x.since) < x.after || x.looks < idleLooks {
		return
	}
	if p.Idle.Swap(int64(now.Sub(x.since))) == 0 {
		p.Stacks.Store(&stacks)
	}
}

// reset notes progress. What an attempt does once it is stopped does not count, so that it stays
// known why it was idle.
func (x *idle) reset(p *job.Progress, now time.Time) {
	if x.ctx.Err() != nil {
		return
	}
	x.since, x.looks = now, 0
	p.Idle.Store(0)
	p.Stacks.Store(nil)
}

// busyState is the state of a goroutine that uses a processor, or may.
var busyState = regexp.MustCompile(`^goroutine \d+ .*\[(running|runnable|syscall|preempted|copystack)[ ,\]]`)

// stacksOf returns the stacks of the goroutines of an attempt, and whether one of them uses a
// processor. Without such a goroutine, nothing is known, and it counts as busy.
func stacksOf(a job.Attempt) (text string, busy bool) {
	buf := make([]byte, 1<<20)
	buf = buf[:runtime.Stack(buf, true)]
	label := fmt.Sprintf(`labels:{"%s": "%s"`, call.Label, a)
	var own []string
	for stack := range strings.SplitSeq(string(buf), "\n\n") {
		head, _, _ := strings.Cut(stack, "\n")
		if !strings.Contains(head, label) {
			continue
		}
		busy = busy || busyState.MatchString(head)
		own = append(own, stack)
	}
	text = strings.Join(own, "\n\n")
	// names of files and functions may have any bytes, and a message of protobuf may not
	return strings.ToValidUTF8(text[:min(len(text), maxStacks)], ""), busy || len(own) == 0
}
