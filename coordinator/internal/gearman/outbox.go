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
	// keepSize is the size from which a payload is passed on by reference instead of being
	// copied.
	keepSize = 16 << 10
	// untilResumed is a batch that never becomes durable: only resume releases it.
	untilResumed = math.MaxUint64
)

var segments = sync.Pool{New: func() any { return new([segmentSize]byte) }}

// segment is a piece of output. A pooled array is filled before the next one begins.
type segment struct {
	b      []byte
	pooled *[segmentSize]byte
}

// delayed is output that waits for a batch.
type delayed struct {
	batch  uint64
	pieces []segment
	bytes  int
}

// outbox holds the unsent output of a connection. Every goroutine may add to it and send without
// waiting; only bytes refused by the kernel are left to a goroutine that waits. An empty outbox
// holds no buffer.
type outbox struct {
	conn net.Conn
	// try sends without waiting; nil if conn cannot.
	try func(bufs [][]byte) (int, error)
	// start starts a goroutine of the server.
	start func(func())
	// stall is the longest time without progress.
	stall time.Duration

	// mu guards the fields below.
	mu sync.Mutex
	// room signals that less is pending, or that the outbox is closed.
	room  sync.Cond
	ready []segment
	// spare is the other array for ready.
	spare []segment
	// bufs belongs to the sending goroutine.
	bufs [][]byte
	// waiting is in the order of batches.
	waiting []delayed
	// durable is the highest durable batch.
	durable uint64
	// pending counts the bytes in ready, in waiting and on their way.
	pending int
	// sending means that a goroutine sends; it checks ready again before it ends.
	sending bool
	closed  bool
}

// add appends the parts to the output. immutable means that the last part never changes. If batch
// is not yet durable, these parts and all later ones wait for it.
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

// markDurable releases the output that waited for the batch.
func (o *outbox) markDurable(batch uint64) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.durable = max(o.durable, batch)
	o.moveReady()
}

// moveReady moves released output to ready. mu is held.
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

// pause makes later output wait until resume. It blocks until all earlier output is durable, so
// that addNow follows it.
func (o *outbox) pause() {
	o.mu.Lock()
	defer o.mu.Unlock()
	for len(o.waiting) > 0 && !o.closed {
		o.room.Wait()
	}
	o.waiting = append(o.waiting, delayed{batch: untilResumed})
}

// addNow adds p in spite of pause.
func (o *outbox) addNow(p []byte) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if !o.closed {
		o.ready = appendSegment(o.ready, p, false)
		o.pending += len(p)
	}
}

// resume ends pause.
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

// waitForRoom blocks while more than limit bytes are pending. A connection without progress is
// closed after the stall time, which ends the wait.
func (o *outbox) waitForRoom(limit int) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for o.pending-o.pausedBytes() > limit && !o.closed {
		o.room.Wait()
	}
}

// hasRoom reports whether waitForRoom would return at once.
func (o *outbox) hasRoom(limit int) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.pending-o.pausedBytes() <= limit || o.closed
}

// flush sends ready output as far as the kernel accepts it at once, and leaves the rest to a
// goroutine.
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

// takeReady returns the ready output. mu is held.
func (o *outbox) takeReady() []segment {
	batch := o.ready
	o.ready, o.spare = o.spare[:0], nil
	return batch
}

// finishBatch updates the counters after a send. mu is held.
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

// trySend sends as much as the kernel accepts and returns the rest.
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

// send sends rest, and output that becomes ready meanwhile. It blocks. The caller has set
// sending.
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
			if o.try != nil { // the deadline would fail it
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

// write sends b in pieces; each piece must make progress within the stall time.
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

// close drops the output and closes the connection.
func (o *outbox) close() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.closeLocked()
}

// closeLocked is close with mu held.
func (o *outbox) closeLocked() {
	if o.closed {
		return
	}
	o.closed = true
	o.ready, o.waiting = nil, nil
	o.room.Broadcast()
	o.conn.Close()
}

// recycle returns the arrays of sent segments to the pool.
func recycle(batch []segment) {
	for _, s := range batch {
		if s.pooled != nil {
			segments.Put(s.pooled)
		}
	}
}

// pausedBytes counts the bytes that wait for resume. mu is held.
func (o *outbox) pausedBytes() int {
	if n := len(o.waiting); n > 0 && o.waiting[n-1].batch == untilResumed {
		return o.waiting[n-1].bytes
	}
	return 0
}
