package gearman

import (
	"errors"
	"math"
	"net"
	"sync"
	"time"
)

const (
	segmentSize = 16 << 10
	// keepSize is the size from which a payload is passed on by reference instead of being copied.
	keepSize = 16 << 10
	// untilResumed is a commit that never comes: what waits for it is let go by release.
	untilResumed = math.MaxUint64
)

var segments = sync.Pool{New: func() any { return new([segmentSize]byte) }}

// segment is a piece of output. One with a pooled array is filled up before the next one begins.
type segment struct {
	b      []byte
	pooled *[segmentSize]byte
}

// held is output that waits for a commit.
type delayed struct {
	batch  uint64
	pieces []segment
	bytes  int
}

// outbox is what a connection has yet to send. Many goroutines add to it, and whoever adds sends, without waiting: only what the
// kernel does not take at once is left to a goroutine that waits for it. An empty outbox costs no buffer.
type outbox struct {
	conn  net.Conn
	try   func(bufs [][]byte) (int, error) // sends without waiting; nil if conn cannot
	start func(func())                     // starts a goroutine of the server
	stall time.Duration                    // longest time without progress

	// mu guards the fields below.
	mu      sync.Mutex
	room    sync.Cond // less is pending, or the outbox is closed
	ready   []segment
	spare   []segment // the other array for ready
	bufs    [][]byte  // of the goroutine that sends
	waiting []delayed // in the order of their commits
	durable uint64    // the highest that has come
	pending int       // bytes in ready, waiting and in writing
	sending bool      // a goroutine sends; it looks at ready again before it ends
	closed  bool
}

// add appends to the output what is in parts. keep says that the last part never changes. With a commit that has not come, this
// and all that is added later waits for it.
func (o *outbox) add(batch uint64, immutable bool, parts ...[]byte) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.closed {
		return
	}
	to := &o.ready
	if batch > o.durable && (len(o.waiting) == 0 || o.waiting[len(o.waiting)-1].batch < batch) {
		o.waiting = append(o.waiting, delayed{batch: batch})
	}
	var h *delayed
	if n := len(o.waiting); n > 0 {
		h = &o.waiting[n-1]
		to = &h.pieces
	}
	for i, p := range parts {
		*to = appendSegment(*to, p, immutable && i == len(parts)-1)
		o.pending += len(p)
		if h != nil {
			h.bytes += len(p)
		}
	}
}

func appendSegment(to []segment, p []byte, immutable bool) []segment {
	if immutable && len(p) >= keepSize {
		return append(to, segment{b: p})
	}
	for len(p) > 0 {
		if n := len(to); n == 0 || to[n-1].pooled == nil || len(to[n-1].b) == segmentSize {
			a := segments.Get().(*[segmentSize]byte)
			to = append(to, segment{b: a[:0], pooled: a})
		}
		last := &to[len(to)-1]
		n := min(len(p), segmentSize-len(last.b))
		last.b = append(last.b, p[:n]...)
		p = p[n:]
	}
	return to
}

// committed lets go what waits for the commit.
func (o *outbox) markDurable(batch uint64) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.durable = max(o.durable, batch)
	o.moveReady()
}

func (o *outbox) moveReady() {
	n := 0
	for ; n < len(o.waiting) && o.waiting[n].batch <= o.durable; n++ {
		o.ready = append(o.ready, o.waiting[n].pieces...)
	}
	if n > 0 {
		o.waiting = append(o.waiting[:0], o.waiting[n:]...)
		o.room.Broadcast()
	}
}

// hold makes what others add wait until release. It blocks until all that was added is committed, so that what goes out
// through addNow follows it.
func (o *outbox) pause() {
	o.mu.Lock()
	defer o.mu.Unlock()
	for len(o.waiting) > 0 && !o.closed {
		o.room.Wait()
	}
	o.waiting = append(o.waiting, delayed{batch: untilResumed})
}

// addNow adds p in spite of hold.
func (o *outbox) addNow(p []byte) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if !o.closed {
		o.ready = appendSegment(o.ready, p, false)
		o.pending += len(p)
	}
}

// release ends hold.
func (o *outbox) resume() {
	o.mu.Lock()
	defer o.mu.Unlock()
	for i, h := range o.waiting {
		if h.batch == untilResumed {
			o.waiting[i].batch = 0
		}
	}
	o.moveReady()
}

// waitForRoom blocks while more than limit bytes are pending. A connection that takes nothing is closed after a while, which ends the wait.
func (o *outbox) waitForRoom(limit int) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for o.pending-o.pausedBytes() > limit && !o.closed {
		o.room.Wait()
	}
}

// hasRoom tells whether waitForRoom would not block.
func (o *outbox) hasRoom(limit int) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.pending-o.pausedBytes() <= limit || o.closed
}

// flush sends what is ready, as far as the kernel takes it at once, and leaves the rest to a goroutine.
func (o *outbox) flush() {
	o.mu.Lock()
	if o.sending || o.closed || len(o.ready) == 0 {
		o.mu.Unlock()
		return
	}
	o.sending = true
	if o.try == nil {
		o.mu.Unlock()
		o.start(func() { o.send(nil) })
		return
	}
	for len(o.ready) > 0 && !o.closed {
		batch := o.takeReady()
		o.mu.Unlock()
		rest, n, err := o.trySend(batch)
		if err == nil && len(rest) > 0 {
			o.countSent(n)
			o.start(func() { o.send(rest) })
			return
		}
		recycle(batch)
		o.mu.Lock()
		o.finishBatch(batch, n, err)
	}
	o.sending = false
	o.mu.Unlock()
}

// take hands out what is ready. mu is held.
func (o *outbox) takeReady() []segment {
	batch := o.ready
	o.ready, o.spare = o.spare[:0], nil
	return batch
}

// sent books what became of a batch. mu is held.
func (o *outbox) finishBatch(batch []segment, n int, err error) {
	if cap(batch) <= 64 {
		clear(batch)
		o.spare = batch[:0]
	}
	o.pending -= n
	if err != nil {
		o.closeLocked()
	}
	o.room.Broadcast()
}

func (o *outbox) countSent(n int) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.pending -= n
	o.room.Broadcast()
}

// trySend sends what the kernel takes and returns the rest of the batch.
func (o *outbox) trySend(batch []segment) (rest []segment, n int, err error) {
	o.bufs = o.bufs[:0]
	for _, s := range batch {
		o.bufs = append(o.bufs, s.b)
	}
	defer clear(o.bufs)
	bufs := o.bufs
	for len(bufs) > 0 {
		m, err := o.try(bufs)
		n += m
		if err != nil {
			return nil, n, err
		}
		if m == 0 {
			break
		}
		for len(bufs) > 0 && m >= len(bufs[0]) {
			m -= len(bufs[0])
			bufs = bufs[1:]
		}
		if m > 0 {
			bufs[0] = bufs[0][m:]
		}
	}
	rest = batch[len(batch)-len(bufs):]
	if len(rest) > 0 {
		rest[0].b = bufs[0]
	}
	return rest, n, nil
}

// send sends rest and what becomes ready meanwhile, waiting where it must. It owns sending.
func (o *outbox) send(rest []segment) {
	for {
		var err error
		for _, s := range rest {
			if err = o.write(s.b); err != nil {
				break
			}
		}
		recycle(rest)
		o.mu.Lock()
		if err != nil {
			o.closeLocked()
		}
		if len(o.ready) == 0 || o.closed {
			if o.try != nil { // which the deadline would fail
				_ = o.conn.SetWriteDeadline(time.Time{})
			}
			o.sending = false
			o.mu.Unlock()
			return
		}
		rest = o.takeReady()
		o.mu.Unlock()
	}
}

// write sends b in pieces, each of which must go within the stall time.
func (o *outbox) write(b []byte) error {
	for len(b) > 0 {
		piece := b[:min(len(b), 4*segmentSize)]
		if err := o.conn.SetWriteDeadline(time.Now().Add(o.stall)); err != nil {
			return err
		}
		n, err := o.conn.Write(piece)
		o.countSent(n)
		if err != nil && (n == 0 || !isTimeout(err)) {
			return err
		}
		b = b[n:]
	}
	return nil
}

func isTimeout(err error) bool {
	var t net.Error
	return errors.As(err, &t) && t.Timeout()
}

// close drops the output and the connection.
func (o *outbox) close() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.closeLocked()
}

// shut closes. mu is held.
func (o *outbox) closeLocked() {
	if o.closed {
		return
	}
	o.closed = true
	o.ready, o.waiting = nil, nil
	o.room.Broadcast()
	o.conn.Close()
}

// recycle gives back the arrays of segments that were sent.
func recycle(batch []segment) {
	for _, s := range batch {
		if s.pooled != nil {
			segments.Put(s.pooled)
		}
	}
}

// parked counts the bytes that wait for release. mu is held.
func (o *outbox) pausedBytes() int {
	if n := len(o.waiting); n > 0 && o.waiting[n-1].batch == untilResumed {
		return o.waiting[n-1].bytes
	}
	return 0
}
