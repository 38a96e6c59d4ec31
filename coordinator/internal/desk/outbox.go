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
	What     queue.Notice
	Kept     bool // the body is that of Desk.Result, if there is one
	Task     queue.ID
	Ref      uint64
	N, M     uint64
	Function string
	Body     []byte        // never changes; the input of an assigned task is that of Desk.Input
	Limits   *AssignLimits // of Assign
	Commit   uint64        // of what led to it; zero when nothing was written
	Signal   Signal        // what Task is about when Op is zero
}

// Signal is something that a worker is told by the shell.
type Signal uint8

const (
	Hold Signal = iota + 1 // send no more data of Task for now
	GoOn
	Ack // the end of try N of Task need not be reported again
)

// AssignLimits are those of a try.
type AssignLimits struct {
	Soft, Hard time.Duration // zero is none
	Last       bool          // there will be no other try
}

// noteBytes is what a note costs beside its body.
const noteBytes = 128

// Outbox is what waits for one session, in the order in which it was said. Whoever owns the session takes it out.
type Outbox struct {
	commits *commits
	wake    chan struct{} // capacity 1: there may be something to take

	// mu guards the fields below.
	mu    sync.Mutex
	notes []Note
	first int    // in notes
	acks  []Note // overtake notes, but not one another
	bytes int
	taken uint64        // how often something was taken
	roomy chan struct{} // closed when something is taken; nil when nobody waits
	err   error         // the session has ended
}

func (o *Outbox) init(c *commits) { o.commits, o.wake = c, make(chan struct{}, 1) }

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
		o.rouse()
	}
	return o.bytes
}

// Acknowledge adds an Ack.
func (o *Outbox) Acknowledge(n Note) {
	o.mu.Lock()
	defer o.mu.Unlock()
	n.Signal = Ack
	if o.acks = append(o.acks, n); len(o.acks) == 1 {
		o.rouse()
	}
}

// Post adds a note.
func (o *Outbox) Post(n Note) { o.put(&n) }

func (o *Outbox) rouse() {
	select {
	case o.wake <- struct{}{}:
	default:
	}
}

// Wake has a value when there may be something to Take.
func (o *Outbox) Wake() <-chan struct{} { return o.wake }

// Take appends notes to dst, as many as are durable, but no more than max bytes of them unless it is one. After it has returned none, Wake
// says when to call it again. The error says why the session has ended.
func (o *Outbox) Take(dst []Note, max int) ([]Note, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	acked := 0
	for acked < len(o.acks) && !(o.acks[acked].Commit != 0 && o.commits.later(o.acks[acked].Commit, o.rouse)) {
		acked++
	}
	dst = append(dst, o.acks[:acked]...)
	o.acks = slices.Delete(o.acks, 0, acked)
	size, was := 0, o.first
	for ; o.first < len(o.notes); o.first++ {
		n := &o.notes[o.first]
		if n.Commit != 0 && o.commits.later(n.Commit, o.rouse) {
			break
		}
		cost := noteBytes + len(n.Body)
		if size += cost; size > max && o.first > was {
			o.rouse()
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
	if o.roomy != nil {
		close(o.roomy)
		o.roomy = nil
	}
	return dst, o.err
}

// end ends the session: what waits is dropped, and Take returns err.
func (o *Outbox) end(err error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.err != nil {
		return
	}
	o.err, o.notes, o.acks, o.first, o.bytes = err, nil, nil, 0, 0
	if o.roomy != nil {
		close(o.roomy)
		o.roomy = nil
	}
	o.rouse()
}

// hasRoom tells whether waitRoom would not block.
func (o *Outbox) hasRoom(limit int) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.err != nil || o.bytes <= limit
}

// waitRoom blocks while more than limit bytes wait. A session that takes nothing for the stall time is ended.
func (o *Outbox) waitRoom(limit int, stall time.Duration) {
	for {
		o.mu.Lock()
		if o.err != nil || o.bytes <= limit {
			o.mu.Unlock()
			return
		}
		if o.roomy == nil {
			o.roomy = make(chan struct{})
		}
		roomy, taken := o.roomy, o.taken
		o.mu.Unlock()
		t := time.NewTimer(stall)
		select {
		case <-roomy:
		case <-t.C:
			o.mu.Lock()
			same := o.taken == taken
			o.mu.Unlock()
			if same {
				o.end(ErrStalled)
			}
		}
		t.Stop()
	}
}
