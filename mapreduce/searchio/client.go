package searchio

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"reflect"
	"slices"
	"sync"
	"unsafe"

	"github.com/layshaft/layshaft/internal/jsoncodec"
)

// Client writes single documents, for example in tasks that follow changes. Calls that come while
// a request is in flight share the next one, so a client has one request in flight however many
// goroutines use it. Several calls for one ID in a request write the newest document alone. Its
// methods may be called by several goroutines.
//
// A process has one Client for an index. To limit requests over all processes, let the tasks hold a
// part of the budget: layshaft task limit -needs search=1 FUNCTION.
type Client[T any] struct {
	bulk    bulk
	ctx     context.Context
	cancel  context.CancelCauseFunc
	senders sync.WaitGroup // at most one

	// mu guards the fields below.
	mu      sync.Mutex
	enc     *jsoncodec.Encoder
	waiting []*call
	byID    map[string]*call // of waiting
	sending bool
	closed  bool
}

// call is a document to write, for one caller or several.
type call struct {
	id      string
	version int64
	doc     []byte // nil deletes
	done    chan struct{}
	err     error
}

var (
	// ErrClosed is returned by methods of a closed Client.
	ErrClosed = errors.New("searchio: the client is closed")
	// ErrRefused means that the server will never accept the document, because of its content.
	ErrRefused = errors.New("refused")
)

// Open returns a client for an index, or an alias of one, that exists. It connects to the server,
// so wrong addresses and credentials are errors here.
func Open[T any](ctx context.Context, server Server, index string) (*Client[T], error) {
	enc, err := jsoncodec.NewEncoder(reflect.TypeFor[T]())
	if err != nil {
		return nil, fmt.Errorf("searchio.Open(%q, %q): documents of %s: %w", server.display(), index, reflect.TypeFor[T](), err)
	}
	l, err := server.connect()
	if err != nil {
		return nil, err
	}
	err = checkIndex(index)
	if err == nil {
		var a answer
		a, err = l.call(ctx, patience, http.MethodGet, "/"+pathOf(index)+"?filter_path=*.aliases", nil)
		switch {
		case err == nil && a.status == http.StatusNotFound:
			err = fmt.Errorf("the server has no index %q: create it with its mapping", index)
		case err == nil && a.status != http.StatusOK:
			err = l.refused(a)
		}
	}
	if err != nil {
		l.close()
		return nil, fmt.Errorf("searchio.Open(%q, %q): %w", server.display(), index, err)
	}
	c := &Client[T]{bulk: newBulk(l, index), enc: enc, byID: map[string]*call{}}
	c.ctx, c.cancel = context.WithCancelCause(context.WithoutCancel(ctx))
	return c, nil
}

// Put writes a document, encoded as by the sink, and returns when the server has it. If version is
// positive, a document with the same or a newer version stays, and Put returns nil. A document that
// the server refuses is an error.
func (c *Client[T]) Put(ctx context.Context, id string, version int64, doc T) error {
	c.mu.Lock()
	b, err := c.enc.Append(nil, unsafe.Pointer(&doc))
	c.mu.Unlock()
	if err != nil {
		return fmt.Errorf("document %q: %w", id, err)
	}
	return c.write(ctx, id, version, b)
}

// Delete removes a document, and returns when it is gone. A missing document is no error. See Put
// for version.
func (c *Client[T]) Delete(ctx context.Context, id string, version int64) error {
	return c.write(ctx, id, version, nil)
}

// Close ends the client. Calls that wait fail.
func (c *Client[T]) Close() {
	c.mu.Lock()
	c.closed = true
	c.mu.Unlock()
	c.cancel(ErrClosed)
	c.senders.Wait()
	c.bulk.close()
}

// mostCalls and mostBytes bound one request.
const (
	mostCalls = 1000
	mostBytes = 5 << 20
)

func (c *Client[T]) write(ctx context.Context, id string, version int64, doc []byte) error {
	if err := checkID(id); err != nil {
		return fmt.Errorf("document %q: %w", id, err)
	}
	if version < 0 {
		return fmt.Errorf("document %q: version %d is negative", id, version)
	}
	c.mu.Lock()
	if c.closed {
		c.mu.Unlock()
		return ErrClosed
	}
	x := c.byID[id]
	if x == nil {
		x = &call{id: id, version: version, doc: doc, done: make(chan struct{})}
		c.byID[id] = x
		c.waiting = append(c.waiting, x)
	} else if version == 0 || version >= x.version {
		x.version, x.doc = version, doc
	}
	if !c.sending {
		c.sending = true
		c.senders.Go(c.send)
	}
	c.mu.Unlock()
	select {
	case <-x.done:
		return x.err
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// send sends what waits, until nothing does.
func (c *Client[T]) send() {
	var b batch
	for {
		b.reset()
		c.mu.Lock()
		n := 0
		for n < len(c.waiting) && n < mostCalls && len(b.buf) < mostBytes {
			x := c.waiting[n]
			version := x.version
			if version == 0 {
				version = -1
			}
			b.begin(x.id, version, x.doc == nil)
			b.buf = append(b.buf, x.doc...)
			b.end()
			delete(c.byID, x.id)
			n++
		}
		calls := slices.Clone(c.waiting[:n])
		c.waiting = slices.Delete(c.waiting, 0, n)
		c.sending = n > 0
		c.mu.Unlock()
		if n == 0 {
			return
		}
		err := c.bulk.send(c.ctx, &b)
		for _, x := range b.bad {
			at := slices.IndexFunc(b.ops, func(o op) bool { return o.start == x.op.start })
			calls[at].err = fmt.Errorf("document %s: %w: %s", b.describe(x.op), ErrRefused, x.reason)
		}
		for _, x := range calls {
			if x.err == nil {
				x.err = err
			}
			close(x.done)
		}
	}
}
