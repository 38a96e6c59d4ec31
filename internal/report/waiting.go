package report

import (
	"sync"
	"time"
)

// waitingAfter is how long a job makes no progress before the reason is printed.
const waitingAfter = 1500 * time.Millisecond

// Waiting prints why a job makes no progress, once this has lasted a while. A reason is not printed
// twice in a row. Set Print before the first Update.
type Waiting struct {
	Print func(why string) // called by a goroutine of its own

	mu      sync.Mutex // guards the fields below
	reason  string
	printed string
	timer   *time.Timer
}

// Update takes Job.Reason of the latest state; empty means progress, or the end.
func (w *Waiting) Update(why string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if why == w.reason {
		return
	}
	w.reason = why
	if w.timer != nil {
		w.timer.Stop()
	}
	if why != "" && why != w.printed {
		w.timer = time.AfterFunc(waitingAfter, func() { w.print(why) })
	}
}

func (w *Waiting) print(why string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.reason == why {
		w.printed = why
		w.Print(why)
	}
}
