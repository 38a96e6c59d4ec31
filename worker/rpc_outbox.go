package worker

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/layshaft/layshaft/internal/job"
	"github.com/layshaft/layshaft/internal/wire"
	layshaftv1 "github.com/layshaft/layshaft/proto/layshaft/v1"
)

// outbox is what the worker has to say to the coordinator. Reports stay until they are acknowledged, over all sessions; all else is
// said in the session of the moment, or not at all.
type outbox struct {
	wake chan struct{} // capacity 1: there is something to say

	// mu guards the fields below.
	mu         sync.Mutex
	lastNumber int
	reports    map[job.Attempt]outcome
	queue      []*layshaftv1.WorkRequest
	streamEnd  chan struct{} // closed when the session of the moment is; nil without one
}

// outcome is the report on an attempt.
type outcome struct {
	number  int // in the order in which they were made
	message *layshaftv1.WorkRequest
	copied  bool // it is about a copy of the output of an attempt that ran elsewhere
}

func newOutbox() *outbox {
	return &outbox{wake: make(chan struct{}, 1), reports: map[job.Attempt]outcome{}}
}

// begin opens a session, in which all reports are made again. The session's sender calls next, and end.
func (o *outbox) openStream() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.streamEnd = make(chan struct{})
	o.requeueReports()
}

// again queues all reports that were not acknowledged. The caller holds mu.
func (o *outbox) requeueReports() {
	var all []outcome
	for _, r := range o.reports {
		all = append(all, r)
	}
	slices.SortFunc(all, func(a, b outcome) int { return cmp.Compare(a.number, b.number) })
	for _, r := range all {
		o.enqueue(r.message)
	}
}

// open reports whether there is a session.
func (o *outbox) connected() bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.streamEnd != nil
}

func (o *outbox) closeStream() {
	o.mu.Lock()
	defer o.mu.Unlock()
	close(o.streamEnd)
	o.streamEnd, o.queue = nil, nil
}

// put queues a message. The caller holds mu.
func (o *outbox) enqueue(m *layshaftv1.WorkRequest) {
	if o.streamEnd == nil {
		return
	}
	o.queue = append(o.queue, m)
	select {
	case o.wake <- struct{}{}:
	default:
	}
}

// next returns what is to be sent.
func (o *outbox) next() []*layshaftv1.WorkRequest {
	o.mu.Lock()
	defer o.mu.Unlock()
	queue := o.queue
	o.queue = nil
	return queue
}

// say queues a message for the session of the moment.
func (o *outbox) send(m *layshaftv1.WorkRequest) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.enqueue(m)
}

// report queues a report until it is acknowledged.
func (o *outbox) report(a job.Attempt, m *layshaftv1.WorkRequest, copied bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.lastNumber++
	o.reports[a] = outcome{o.lastNumber, m, copied}
	o.enqueue(m)
}

// repeat makes the report on an attempt of this worker again when there is one, else it returns false.
func (o *outbox) resend(a job.Attempt) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	r, ok := o.reports[a]
	if !ok || r.copied {
		return false
	}
	o.enqueue(r.message)
	return true
}

func (o *outbox) acknowledged(a job.Attempt) {
	o.mu.Lock()
	defer o.mu.Unlock()
	delete(o.reports, a)
}

// unacknowledged returns the attempts of this worker whose reports are still to be acknowledged.
func (o *outbox) unacknowledged() []job.Attempt {
	o.mu.Lock()
	defer o.mu.Unlock()
	as := make([]job.Attempt, 0, len(o.reports))
	for a, r := range o.reports {
		if !r.copied {
			as = append(as, a)
		}
	}
	return as
}

func (o *outbox) empty() bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return len(o.reports) == 0
}

// leaveWait is how long a worker that leaves waits for the coordinator to hear it.
const leaveWait = 5 * time.Second

// leave says that the worker leaves, and waits until the coordinator has ended the session.
func (o *outbox) leave(ctx context.Context) {
	o.mu.Lock()
	end := o.streamEnd
	o.enqueue(&layshaftv1.WorkRequest{Say: &layshaftv1.WorkRequest_Leaving{Leaving: &layshaftv1.Leaving{}}})
	o.mu.Unlock()
	if end == nil {
		return
	}
	late := time.NewTimer(leaveWait)
	defer late.Stop()
	select {
	case <-end:
	case <-late.C:
	case <-ctx.Done():
	}
}

// reporter is the Worker's Reporter.
type reporter struct{ n *Node }

func (r reporter) Done(_ string, m *job.Manifest) {
	done := &layshaftv1.AttemptDone{Attempt: wire.AttemptToProto(m.Attempt), Parts: partSizes(m),
		Summary: &layshaftv1.Summary{Bytes: m.Bytes(), Counters: wire.CountersToProto(m.Counters)}}
	for i := range m.Extents {
		done.Summary.Records += m.Extents[i].Records
	}
	r.n.out.report(m.Attempt, &layshaftv1.WorkRequest{Say: &layshaftv1.WorkRequest_Done{Done: done}}, false)
}

func (r reporter) Failed(_ string, a job.Attempt, f job.Failure) {
	r.n.out.report(a, failureOf(a, &f), false)
}

func failureOf(a job.Attempt, f *job.Failure) *layshaftv1.WorkRequest {
	return &layshaftv1.WorkRequest{Say: &layshaftv1.WorkRequest_Failed{
		Failed: &layshaftv1.AttemptFailed{Attempt: wire.AttemptToProto(a), Failure: wire.FailureToProto(f)}}}
}

// maxPartSizes is for how many partitions a report says how large they are.
const maxPartSizes = 1000

// partSizes returns the stored bytes of each partition of the first port; nil when that is one, or too many to tell.
func partSizes(m *job.Manifest) []int64 {
	var sizes []int64
	for i := range m.Extents {
		e := &m.Extents[i]
		if e.Port != 0 {
			break // extents are in order of port
		}
		if e.Part >= maxPartSizes {
			return nil
		}
		for len(sizes) <= e.Part {
			sizes = append(sizes, 0)
		}
		sizes[e.Part] += e.Bytes
	}
	if len(sizes) < 2 {
		return nil
	}
	return sizes
}

// lost says that an output is gone or damaged.
func (o *outbox) lost(a job.Attempt) {
	o.send(&layshaftv1.WorkRequest{Say: &layshaftv1.WorkRequest_Lost{Lost: &layshaftv1.ReportLostRequest{Attempt: wire.AttemptToProto(a)}}})
}

// copied reports what became of the copy of an output.
func (o *outbox) copied(a job.Attempt, err error) {
	m := &layshaftv1.WorkRequest{Say: &layshaftv1.WorkRequest_Moved{Moved: &layshaftv1.Moved{Attempt: wire.AttemptToProto(a)}}}
	if err != nil {
		f := &job.Failure{Kind: job.Transient, Message: err.Error()}
		_ = errors.As(err, &f)
		m = failureOf(a, f)
	}
	o.report(a, m, true)
}

// drain says that the worker wants to leave.
func (o *outbox) drain() {
	o.send(&layshaftv1.WorkRequest{Say: &layshaftv1.WorkRequest_Drain{Drain: &layshaftv1.Drain{}}})
}
