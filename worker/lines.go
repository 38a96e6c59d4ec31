package worker

import (
	"sync"
	"time"

	"github.com/layshaft/layshaft/internal/job"
	layshaftv1 "github.com/layshaft/layshaft/proto/layshaft/v1"
	"github.com/layshaft/layshaft/worker/internal/runner"
)

const (
	linesEvery = 250 * time.Millisecond // delay of the first line of a message
	// lineRate is the limit of lines sent to the coordinator, in bytes per second over some time,
	// and lineBurst is the limit at once. The latest lines are kept.
	lineRate  = 32 << 10
	lineBurst = 128 << 10
	lineCost  = 64 // bytes of a line beside its text
	// maxWriters is the limit of the attempts of a line; the coordinator keeps no more.
	maxWriters = 64
)

// lines holds lines of user code for the coordinator: what it takes now, and the latest ones while
// there is no stream or too much output.
type lines struct {
	// wake has a token when take should be called.
	wake chan struct{}

	// mu guards the fields below.
	mu      sync.Mutex
	unread  bool // the coordinator wants no lines
	queue   []queuedLine
	size    int
	omitted map[job.ID]int64
	allowed float64 // bytes that may be sent now
	at      time.Time
	waking  bool
}

type queuedLine struct {
	id   job.ID
	line *layshaftv1.OutputLine
}

func (q *queuedLine) cost() int { return lineCost + len(q.line.Text) }

func newLines() *lines {
	return &lines{wake: make(chan struct{}, 1), omitted: map[job.ID]int64{}, allowed: lineBurst, at: time.Now()}
}

// setWanted sets whether the coordinator wants lines.
func (l *lines) setWanted(yes bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.unread = !yes
	if !yes {
		l.queue, l.size = nil, 0
		clear(l.omitted)
	}
	l.wakeLater()
}

// add queues a line. It does not block.
func (l *lines) add(id job.ID, x runner.Line) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.unread {
		return
	}
	q := queuedLine{id, &layshaftv1.OutputLine{Text: append([]byte(nil), x.Text...), AtNanos: x.At.UnixNano(), Attempts: x.Attempts[:min(len(x.Attempts), maxWriters)]}}
	l.queue = append(l.queue, q)
	l.size += q.cost()
	for l.size > lineBurst && len(l.queue) > 1 {
		old := &l.queue[0]
		l.omitted[old.id] += 1 + old.line.Omitted
		l.size -= old.cost()
		l.queue = l.queue[1:]
	}
	l.wakeLater()
}

// wakeLater signals wake after a moment. The caller holds mu.
func (l *lines) wakeLater() {
	if l.waking || len(l.queue) == 0 {
		return
	}
	l.waking = true
	time.AfterFunc(linesEvery, func() {
		l.mu.Lock()
		l.waking = false
		l.mu.Unlock()
		select {
		case l.wake <- struct{}{}:
		default:
		}
	})
}

// take returns the lines to send, by job.
func (l *lines) take() []*layshaftv1.WorkRequest {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := time.Now()
	l.allowed = min(lineBurst, l.allowed+now.Sub(l.at).Seconds()*lineRate)
	l.at = now
	by := map[job.ID]*layshaftv1.OutputLines{}
	var all []*layshaftv1.WorkRequest
	for len(l.queue) > 0 && l.allowed >= float64(l.queue[0].cost()) {
		q := l.queue[0]
		l.queue = l.queue[1:]
		l.size -= q.cost()
		l.allowed -= float64(q.cost())
		m := by[q.id]
		if m == nil {
			m = &layshaftv1.OutputLines{Job: string(q.id)}
			by[q.id] = m
			all = append(all, &layshaftv1.WorkRequest{Body: &layshaftv1.WorkRequest_Output{Output: m}})
		}
		q.line.Omitted += l.omitted[q.id]
		delete(l.omitted, q.id)
		m.Lines = append(m.Lines, q.line)
	}
	l.wakeLater()
	return all
}
