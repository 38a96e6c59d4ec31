package worker

import (
	"context"
	"fmt"
	"io"

	"github.com/layshaft/layshaft/internal/job"
	"github.com/layshaft/layshaft/internal/record"
	"github.com/layshaft/layshaft/internal/segment"
	"github.com/layshaft/layshaft/internal/wire"
	layshaftv1 "github.com/layshaft/layshaft/proto/layshaft/v1"
)

// remoteBytes are stored bytes on another worker, read from front to back. A reducer opens all of
// its runs before it reads the first one. Therefore one call fetches the first pieces of many
// unread runs together. Each later piece is fetched while the reader uses the one before.
type remoteBytes struct {
	r      *remoteOutputs
	a      job.Attempt
	inline bool
	off    int64 // of the first byte not requested yet
	end    int64
	size   int64 // of a piece
	ctx    context.Context
	cancel context.CancelFunc

	pos     int64  // offset of have
	have    []byte // fetched, not read yet
	buffer  []byte // contains have; nil if other runs share it
	next    chan fetched
	started bool // start made next
}

// fetched is the result of a request for a piece. shared means that its buffer holds other pieces
// too. retry means that the piece must be requested again, in a call of its own.
type fetched struct {
	data          []byte
	shared, retry bool
	err           error
}

// bytes is a shuffle.Remote.
func (r *remoteOutputs) bytes(a job.Attempt, inline bool, from, to int64) segment.Bytes {
	b := &remoteBytes{r: r, a: a, inline: inline, off: from, pos: from, end: to, size: record.ReadAhead}
	b.ctx, b.cancel = context.WithCancel(context.Background())
	r.mu.Lock()
	r.unread[b] = true
	r.order = append(r.order, b)
	r.mu.Unlock()
	return b
}

// ReadAhead limits the memory for the piece being read and the piece requested ahead.
func (b *remoteBytes) ReadAhead(bytes int) {
	b.r.mu.Lock() // another run may request its first piece now
	defer b.r.mu.Unlock()
	b.size = int64(min(max(bytes/2, 4<<10), maxRead))
}

// Close cancels the running request.
func (b *remoteBytes) Close() error {
	b.cancel()
	b.r.mu.Lock()
	b.r.forget(b)
	b.r.mu.Unlock()
	if b.started {
		<-b.next
	}
	b.next, b.started = nil, false
	b.have, b.off, b.pos = nil, b.end, b.end
	return nil
}

// forget removes b from the unread runs. The caller holds mu.
func (r *remoteOutputs) forget(b *remoteBytes) {
	delete(r.unread, b)
	if len(r.unread) == 0 {
		r.order = nil
	}
}

func (b *remoteBytes) ReadAt(p []byte, off int64) (n int, err error) {
	if off != b.pos {
		return 0, fmt.Errorf("read at %d, the position is %d", off, b.pos)
	}
	for n < len(p) {
		if len(b.have) == 0 {
			if b.pos == b.end {
				return n, io.EOF
			}
			if b.have, err = b.piece(); err != nil {
				return n, err
			}
		}
		k := copy(p[n:], b.have)
		n, b.pos, b.have = n+k, b.pos+int64(k), b.have[k:]
		if len(b.have) == 0 {
			b.reuse()
		}
	}
	return n, nil
}

// reuse returns the buffer to pieceBuffers.
func (b *remoteBytes) reuse() {
	if buffer := b.buffer; buffer != nil {
		b.have, b.buffer = nil, nil
		pieceBuffers.Put(&buffer)
	}
}

// piece returns the next piece and requests the following one.
func (b *remoteBytes) piece() ([]byte, error) {
	b.r.mu.Lock()
	var group []chan<- fetched
	var pieces []*layshaftv1.Piece
	if b.r.unread[b] {
		group, pieces = b.r.gather(b)
	}
	b.r.mu.Unlock()
	if group != nil {
		b.r.readTogether(b.a, group, pieces)
	}
	if b.next == nil {
		b.start()
	}
	got := <-b.next
	b.next, b.started = nil, false
	if got.retry {
		b.off = b.pos
		got.data, got.err = b.r.read(b.ctx, []*layshaftv1.Piece{b.take()}, b.a)
	}
	if got.err == nil && b.off < b.end {
		b.start()
	}
	if !got.shared {
		b.buffer = got.data
	}
	return got.data, got.err
}

// start requests the next piece. The goroutine ends with the call, which Close cancels and waits
// for.
func (b *remoteBytes) start() {
	next := make(chan fetched, 1)
	piece := b.take()
	go func() {
		data, err := b.r.read(b.ctx, []*layshaftv1.Piece{piece}, b.a)
		next <- fetched{data: data, err: err}
	}()
	b.next, b.started = next, true
}

// take returns the next piece and counts it as requested.
func (b *remoteBytes) take() *layshaftv1.Piece {
	n := min(b.size, b.end-b.off)
	p := &layshaftv1.Piece{Attempt: wire.AttemptToProto(b.a), Inline: b.inline, Offset: b.off, Length: n}
	b.off += n
	return p
}

// maxPieces limits the pieces of one call.
const maxPieces = 4096

// gather returns the first pieces of b and of later unread runs, as many as fit into one call,
// with the channel for each result. A run may be closed before its result arrives. The pieces
// count as requested. The caller holds mu.
func (r *remoteOutputs) gather(b *remoteBytes) (group []chan<- fetched, pieces []*layshaftv1.Piece) {
	total, skip := int64(0), true
	rest := r.order[:0]
	for _, x := range r.order {
		if !r.unread[x] {
			continue
		}
		skip = skip && x != b
		n := min(x.size, x.end-x.off)
		if skip || x != b && (total+n > maxRead || len(group) == maxPieces) {
			rest = append(rest, x)
			continue
		}
		total += n
		next := make(chan fetched, 1)
		x.next = next
		group, pieces = append(group, next), append(pieces, x.take())
		delete(r.unread, x)
	}
	clear(r.order[len(rest):])
	r.order = rest
	return group, pieces
}

// readTogether requests pieces in one call and sends each to its channel. The first piece belongs
// to a.
func (r *remoteOutputs) readTogether(a job.Attempt, group []chan<- fetched, pieces []*layshaftv1.Piece) {
	data, err := r.read(context.Background(), pieces, a)
	for i, next := range group {
		n := pieces[i].GetLength()
		switch {
		case err == nil:
			next <- fetched{data: data[:n:n], shared: len(group) > 1}
			data = data[n:]
		case len(group) > 1:
			next <- fetched{retry: true}
		default:
			next <- fetched{err: err}
		}
	}
}
