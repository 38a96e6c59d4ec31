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

// outbox holds messages to the coordinator. Reports stay until they are acknowledged, over any
// number of streams. Other messages are sent on the present stream or dropped.
type outbox struct {
	wake chan struct{} // capacity 1: signals a message in queue

	// mu guards the fields below.
	mu         sync.Mutex
	lastNumber int
	reports    map[job.Attempt]outcome
	queue      []*layshaftv1.WorkRequest
	// closed at the end of the present stream; nil without one
	streamEnd chan struct{}
}

// outcome is the report on an attempt.
type outcome struct {
	number  int // position in the order of reports
	message *layshaftv1.WorkRequest
	// it reports a copy of an output that another worker made
	copied bool
}

func newOutbox() *outbox {
	return &outbox{wake: make(chan struct{}, 1), reports: map[job.Attempt]outcome{}}
}

// openStream starts a stream and queues all reports again. The sender of the stream calls next,
// and closeStream at the end.
func (o *outbox) openStream() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.streamEnd = make(chan struct{})
	o.requeueReports()
}

// requeueReports queues all unacknowledged reports. The caller holds mu.
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

// isConnected reports whether there is a stream.
func (o *outbox) isConnected() bool {
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

// enqueue queues a message. The caller holds mu.
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

// next returns the messages to send.
func (o *outbox) next() []*layshaftv1.WorkRequest {
	o.mu.Lock()
	defer o.mu.Unlock()
	queue := o.queue
	o.queue = nil
	return queue
}

// send queues a message for the present stream.
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

// resend queues the report on an attempt of this worker again, and reports whether there is one.
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

// unacknowledged returns the attempts of this worker with unacknowledged reports.
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

// leaveWait is how long a leaving worker waits for the coordinator's answer.
const leaveWait = 5 * time.Second

// leave announces that the worker leaves, and waits until the coordinator has ended the stream.
func (o *outbox) leave(ctx context.Context) {
	o.mu.Lock()
	end := o.streamEnd
	o.enqueue(&layshaftv1.WorkRequest{Body: &layshaftv1.WorkRequest_Leaving{Leaving: &layshaftv1.Leaving{}}})
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

// reporter is the Worker's Config.Reporter.
type reporter struct{ n *Node }

func (r reporter) Done(_ string, m *job.Manifest) {
	done := &layshaftv1.AttemptDone{Attempt: wire.AttemptToProto(m.Attempt), PartitionBytes: partSizes(m),
		Summary: &layshaftv1.Summary{Bytes: m.Bytes(), Counters: wire.CountersToProto(m.Counters)},
		Keys:    wire.KeysToProto(m.Keys)}
	for i := range m.Extents {
		done.Summary.Records += m.Extents[i].Records
	}
	r.n.out.report(m.Attempt, &layshaftv1.WorkRequest{Body: &layshaftv1.WorkRequest_Done{Done: done}}, false)
}

func (r reporter) Failed(_ string, a job.Attempt, f job.Failure) {
	r.n.out.report(a, failureOf(a, &f), false)
}

func failureOf(a job.Attempt, f *job.Failure) *layshaftv1.WorkRequest {
	return &layshaftv1.WorkRequest{Body: &layshaftv1.WorkRequest_Failed{
		Failed: &layshaftv1.AttemptFailed{Attempt: wire.AttemptToProto(a), Failure: wire.FailureToProto(f)}}}
}

// maxPartSizes limits the partitions whose sizes a report lists.
const maxPartSizes = 1000

// partSizes returns the stored bytes of each partition of the first port. It returns nil for one
// partition, and for more than maxPartSizes.
func partSizes(m *job.Manifest) []int64 {
	var sizes []int64
	for i := range m.Extents {
		e := &m.Extents[i]
		if e.Port != 0 {
			break // extents are in order of port
		}
		if e.Partition >= maxPartSizes {
			return nil
		}
		for len(sizes) <= e.Partition {
			sizes = append(sizes, 0)
		}
		sizes[e.Partition] += e.Bytes
	}
	if len(sizes) < 2 {
		return nil
	}
	return sizes
}

// reportLost reports an output as gone or damaged.
func (o *outbox) reportLost(a job.Attempt) {
	o.send(&layshaftv1.WorkRequest{Body: &layshaftv1.WorkRequest_Lost{Lost: &layshaftv1.ReportLostRequest{Attempt: wire.AttemptToProto(a)}}})
}

// copied reports the result of copying an output.
func (o *outbox) copied(a job.Attempt, err error) {
	m := &layshaftv1.WorkRequest{Body: &layshaftv1.WorkRequest_Moved{Moved: &layshaftv1.Moved{Attempt: wire.AttemptToProto(a)}}}
	if err != nil {
		f := &job.Failure{Kind: job.Transient, Message: err.Error()}
		_ = errors.As(err, &f)
		m = failureOf(a, f)
	}
	o.report(a, m, true)
}

// drain sends the request to leave.
func (o *outbox) drain() {
	o.send(&layshaftv1.WorkRequest{Body: &layshaftv1.WorkRequest_Drain{Drain: &layshaftv1.Drain{}}})
}
