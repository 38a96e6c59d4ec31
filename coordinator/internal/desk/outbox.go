package desk

import (
	"slices"
	"sync"
	"time"

	"github.com/layshaft/layshaft/coordinator/internal/queue"
)

// Note is a message to a session. Op decides the meaning of the fields, as in queue.Command.
type Note struct {
	Op     queue.Op     // 0 if Signal is set
	Notice queue.Notice // kind of news, or the reason of a rejection
	// Stored means that the body, if any, must be read with Desk.Result.
	Stored   bool
	Task     queue.ID
	Ref      uint64
	N, M     uint64
	Function string
	// Body never changes. For Assign it is empty: read the input with Desk.Input.
	Body []byte
	// Limits is set for Assign.
	Limits *AttemptLimits
	// Batch must be durable before the peer sees the note; zero means at once.
	Batch uint64
	// Signal is set, with Task, when Op is zero.
	Signal Signal
}

// Signal is a message of the desk itself to a worker.
type Signal uint8

const (
	// Pause stops the data of Task until Resume.
	Pause Signal = iota + 1
	// Resume ends Pause.
	Resume
	// Ack confirms the end of attempt N of Task: the worker need not report it again.
	Ack
)

// AttemptLimits are the time limits of one attempt, and the origin of its task.
type AttemptLimits struct {
	// Origin distinguishes tasks of copied data directories; see queue.Queue.Origin.
	Origin uint64
	// Soft and Hard are durations from the start; zero means no limit.
	Soft, Hard time.Duration
	// Last means that a failure is final: no attempt follows.
	Last bool
}

// noteBytes is the assumed memory of a note beside its body.
const noteBytes = 128

// Outbox queues the notes of one session, in order. The owner of the session takes them out with
// Take. Its methods need no lock of the desk.
type Outbox struct {
	durability *durability
	// wake has capacity 1; a value means that Take may return something.
	wake chan struct{}

	// mu guards the fields below.
	mu    sync.Mutex
	notes []Note
	// first is the index of the oldest note in notes.
	first int
	// acks overtake notes, but stay in order among themselves.
	acks  []Note
	bytes int
	// taken counts the calls of Take.
	taken   uint64
	drained chan struct{} // closed by Take; nil if nobody waits
	// err is why the session has ended.
	err error
}

func (o *Outbox) init(c *durability) { o.durability, o.wake = c, make(chan struct{}, 1) }

// put adds a note, unless the session has ended, and returns the number of waiting bytes.
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

// Acknowledge adds n as an Ack.
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

// Ready returns a channel with a value when Take may return something.
func (o *Outbox) Ready() <-chan struct{} { return o.wake }

// Take appends durable notes to dst: at most max bytes, but at least one note if any is durable.
// If it returns none, wait for Ready before the next call. The error is why the session has
// ended.
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

// close ends the session: it drops all notes, and Take returns err.
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

// hasRoom reports whether waitForRoom would return at once.
func (o *Outbox) hasRoom(limit int) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.err != nil || o.bytes <= limit
}

// waitForRoom blocks while more than limit bytes wait. It ends the session if Take is not called
// for the stall time.
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
