package desk

import (
	"slices"
	"sync"
	"time"

	"github.com/layshaft/layshaft/coordinator/internal/queue"
)

// Note is something that a session is told. The fields are those of queue.Command, as its Op says.
type Note struct {
	Op       queue.Op
	Notice   queue.Notice
	Stored   bool // the body is that of Desk.Result, if there is one
	Task     queue.ID
	Ref      uint64
	N, M     uint64
	Function string
	Body     []byte         // never changes; the input of an assigned task is that of Desk.Input
	Limits   *AttemptLimits // of Assign
	Batch    uint64         // of what led to it; zero when nothing was written
	Signal   Signal         // what Task is about when Op is zero
}

// Signal is something that a worker is told by the shell.
type Signal uint8

const (
	Pause Signal = iota + 1 // send no more data of Task for now
	Resume
	Ack // the end of try N of Task need not be reported again
)

// AttemptLimits are those of a try.
type AttemptLimits struct {
	Soft, Hard time.Duration // zero is none
	Last       bool          // there will be no other try
}

// noteBytes is what a note costs beside its body.
const noteBytes = 128

// Outbox is what waits for one session, in the order in which it was said. Whoever owns the session takes it out.
type Outbox struct {
	durability *durability
	wake       chan struct{} // capacity 1: there may be something to take

	// mu guards the fields below.
	mu      sync.Mutex
	notes   []Note
	first   int    // in notes
	acks    []Note // overtake notes, but not one another
	bytes   int
	taken   uint64        // how often something was taken
	drained chan struct{} // closed when something is taken; nil when nobody waits
	err     error         // the session has ended
}

func (o *Outbox) init(c *durability) { o.durability, o.wake = c, make(chan struct{}, 1) }

// put adds a note, unless the session has ended, and returns how many bytes wait.
func (o *Outbox) put(n *Note) int {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.err != nil {
		return 0
	}
	o.notes = append(o.notes, *n)
	o.bytes += noteBytes + len(n.Body)
	if len(o.notes)-o.first == 1 {
		o.signal()
	}
	return o.bytes
}

// Acknowledge adds an Ack.
func (o *Outbox) Acknowledge(n Note) {
	o.mu.Lock()
	defer o.mu.Unlock()
	n.Signal = Ack
	if o.acks = append(o.acks, n); len(o.acks) == 1 {
		o.signal()
	}
}

// Post adds a note.
func (o *Outbox) Post(n Note) { o.put(&n) }

func (o *Outbox) signal() {
	select {
	case o.wake <- struct{}{}:
	default:
	}
}

// Wake has a value when there may be something to Take.
func (o *Outbox) Ready() <-chan struct{} { return o.wake }

// Take appends notes to dst, as many as are durable, but no more than max bytes of them unless it is one. After it has returned none, Wake
// says when to call it again. The error says why the session has ended.
func (o *Outbox) Take(dst []Note, max int) ([]Note, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	acked := 0
	for acked < len(o.acks) && !(o.acks[acked].Batch != 0 && o.durability.callAfterBatch(o.acks[acked].Batch, o.signal)) {
		acked++
	}
	dst = append(dst, o.acks[:acked]...)
	o.acks = slices.Delete(o.acks, 0, acked)
	size, was := 0, o.first
	for ; o.first < len(o.notes); o.first++ {
		n := &o.notes[o.first]
		if n.Batch != 0 && o.durability.callAfterBatch(n.Batch, o.signal) {
			break
		}
		cost := noteBytes + len(n.Body)
		if size += cost; size > max && o.first > was {
			o.signal()
			break
		}
		dst = append(dst, *n)
		o.bytes -= cost
		*n = Note{}
	}
	if o.first == len(o.notes) {
		o.notes, o.first = o.notes[:0], 0
		if cap(o.notes) > 1024 {
			o.notes = nil
		}
	} else if o.first > 1024 && o.first > len(o.notes)/2 {
		n := copy(o.notes, o.notes[o.first:])
		clear(o.notes[n:])
		o.notes, o.first = o.notes[:n], 0
	}
	o.taken++
	if o.drained != nil {
		close(o.drained)
		o.drained = nil
	}
	return dst, o.err
}

// end ends the session: what waits is dropped, and Take returns err.
func (o *Outbox) close(err error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.err != nil {
		return
	}
	o.err, o.notes, o.acks, o.first, o.bytes = err, nil, nil, 0, 0
	if o.drained != nil {
		close(o.drained)
		o.drained = nil
	}
	o.signal()
}

// hasRoom tells whether waitForRoom would not block.
func (o *Outbox) hasRoom(limit int) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.err != nil || o.bytes <= limit
}

// waitForRoom blocks while more than limit bytes wait. A session that takes nothing for the stall time is ended.
func (o *Outbox) waitForRoom(limit int, stall time.Duration) {
	for {
		o.mu.Lock()
		if o.err != nil || o.bytes <= limit {
			o.mu.Unlock()
			return
		}
		if o.drained == nil {
			o.drained = make(chan struct{})
		}
		drained, taken := o.drained, o.taken
		o.mu.Unlock()
		t := time.NewTimer(stall)
		select {
		case <-drained:
		case <-t.C:
			o.mu.Lock()
			same := o.taken == taken
			o.mu.Unlock()
			if same {
				o.close(ErrStalled)
			}
		}
		t.Stop()
	}
}
