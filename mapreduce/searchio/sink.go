package searchio

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"reflect"
	"time"
	"unsafe"

	"github.com/layshaft/layshaft/internal/jsoncodec"
	"github.com/layshaft/layshaft/mapreduce/connector"
)

// Sink writes each record as one document. It is a connector.Sink[T], made by Write. Its methods
// return changed copies.
type Sink[T any] struct {
	server  Server
	index   string
	id      func(T) string
	version func(T) int64
	deleted func(T) bool
	docs    int // most documents of a request
	bytes   int // most bytes of a request
	each    int // requests in flight of one attempt
	rebuild *Rebuild
	options string // for String
}

var (
	_ connector.Sink[string]  = Sink[string]{}
	_ connector.PublishedSink = Sink[string]{}
	_ connector.BudgetUser    = Sink[string]{}
	_ connector.MemorySink    = Sink[string]{}
)

// Write returns a sink for an index that exists. A record becomes a document by the rules of
// encoding/json. id returns the ID of its document, so that a repeated attempt writes the same
// documents again.
//
// A document that the server refuses (status 400) is a bad record: it is put into the quarantine
// with the server's reason, within mapreduce.MaxBad.
func Write[T any](server Server, index string, id func(T) string) Sink[T] {
	return Sink[T]{server: server, index: index, id: id, docs: 1000, bytes: 5 << 20, each: 1}
}

// Version makes the server compare versions, such as the time of the last change in microseconds. A
// document replaces only one with a smaller version. So neither a repeated run nor a late event
// overwrites newer data. A version must not be negative.
//
// The server remembers the version of a deleted document for 60 seconds, or the time of the index
// setting index.gc_deletes.
func (s Sink[T]) Version(f func(T) int64) Sink[T] {
	s.version = f
	s.options += ".Version()"
	return s
}

// Deleted deletes the documents of records for which f returns true, instead of writing them.
func (s Sink[T]) Deleted(f func(T) bool) Sink[T] {
	s.deleted = f
	s.options += ".Deleted()"
	return s
}

// Batch limits one request to a number of documents and bytes. The defaults are 1,000 documents and
// 5 MiB. Requests are smaller if the memory of an attempt has no room for two of them. A larger
// document has a request of its own. If the server refuses a request as too large, it is halved.
func (s Sink[T]) Batch(docs, bytes int) Sink[T] {
	s.docs, s.bytes = docs, bytes
	return s
}

// PerTask sets how many requests one attempt has in flight. The default is 1: while it waits, the
// attempt prepares the next one. Server.InFlight limits the sum over all attempts.
func (s Sink[T]) PerTask(requests int) Sink[T] {
	s.each = requests
	return s
}

// String returns the sink, such as searchio.Write("http://localhost:9200", "products").
func (s Sink[T]) String() string {
	return fmt.Sprintf("searchio.Write(%q, %q)%s", s.server.display(), s.index, s.options)
}

// Budget limits the requests in flight over the whole cluster.
func (s Sink[T]) Budget() (name string, n, size int) {
	srv, err := s.server.withDefaults()
	if err != nil {
		return "", 0, 0 // Check returns the error
	}
	return srv.Budget, s.each, srv.InFlight
}

// HoldsMemory marks the sink: an attempt holds the requests in flight and the next one.
func (s Sink[T]) HoldsMemory() {}

// minBytes is the least limit of a request that memory sets, in bytes.
const minBytes = 64 << 10

// requestBytes returns the most bytes of a request of an attempt with so much memory; zero means no
// limit. A buffer may grow to twice its content.
func (s Sink[T]) requestBytes(memory int64) int {
	if memory == 0 {
		return s.bytes
	}
	return min(s.bytes, int(max(memory/int64(2*(s.each+1)), minBytes)))
}

// patience is the time for requests of Check: nothing has begun yet, so a user waits for it.
const patience = 10 * time.Second

// Check connects to the server. It returns an error if the index is missing or the credentials are
// refused. For Rebuild, it creates an index as a trial and deletes it.
func (s Sink[T]) Check(ctx context.Context) error {
	_, err := s.encoder()
	l, linkErr := s.server.connect()
	switch {
	case err != nil:
		return err
	case linkErr != nil:
		return linkErr
	case s.id == nil:
		return fmt.Errorf("%s: the function for IDs is nil", s)
	case s.docs < 1 || s.bytes < 1 || s.each < 1:
		return fmt.Errorf("%s: Batch(%d, %d).PerTask(%d): use positive numbers", s, s.docs, s.bytes, s.each)
	}
	if err := checkIndex(s.index); err != nil {
		return fmt.Errorf("%s: %w", s, err)
	}
	defer l.close()
	if s.rebuild != nil {
		err = s.rebuild.check(ctx, l, s.index)
	} else {
		var a answer
		a, err = l.call(ctx, patience, http.MethodGet, "/"+pathOf(s.index)+"?filter_path=*.aliases", nil)
		switch {
		case err == nil && a.status == http.StatusNotFound:
			err = fmt.Errorf("the server has no index %q: create it with its mapping, or build it by Rebuild", s.index)
		case err == nil && a.status != http.StatusOK:
			err = l.refused(a)
		}
	}
	if err != nil {
		return fmt.Errorf("%s: %w", s, err)
	}
	return nil
}

func (s Sink[T]) encoder() (*jsoncodec.Encoder, error) {
	enc, err := jsoncodec.NewEncoder(reflect.TypeFor[T]())
	if err != nil {
		return nil, fmt.Errorf("%s: records of %s: %w", s, reflect.TypeFor[T](), err)
	}
	return enc, nil
}

// part is the output of one committed attempt.
type part struct {
	Index string `json:"index"` // the index of Rebuild; else empty
	Docs  int64  `json:"docs"`  // accepted
}

// Open starts the output of one attempt.
func (s Sink[T]) Open(ctx context.Context, t connector.SinkTask) (connector.Writer[T], error) {
	enc, err := s.encoder()
	if err != nil {
		return nil, err
	}
	l, err := s.server.connect()
	if err != nil {
		return nil, connector.Fatal(err)
	}
	w := &writer[T]{s: s, enc: enc, results: make(chan result, s.each), bytes: s.requestBytes(connector.TaskMemory(ctx))}
	index := s.index
	if s.rebuild != nil {
		if index, err = s.rebuild.ensure(ctx, l, s.index, t.Job); err != nil {
			l.close()
			return nil, err
		}
		w.part.Index = index
	}
	w.bulk = newBulk(l, index)
	w.ctx, w.cancel = context.WithCancel(ctx)
	w.free = make([]*batch, s.each)
	for i := range w.free {
		w.free[i] = new(batch)
	}
	w.cur = new(batch)
	return w, nil
}

// Finish of Rebuild counts the documents and switches the alias. Otherwise there is nothing to do.
func (s Sink[T]) Finish(ctx context.Context, job string, parts [][]byte) error {
	if s.rebuild == nil {
		return nil
	}
	var all part
	for i, b := range parts {
		var p part
		if err := json.Unmarshal(b, &p); err != nil {
			return fmt.Errorf("output part %d: its description cannot be read: %w", i, err)
		}
		if all.Index = cmp.Or(all.Index, p.Index); all.Index != p.Index {
			return connector.Fatal(fmt.Errorf("%s: tasks wrote to %s and to %s; was an index deleted while the job ran?", s, all.Index, p.Index))
		}
		all.Docs += p.Docs
	}
	l, err := s.server.connect()
	if err != nil {
		return err
	}
	defer l.close()
	return s.rebuild.finish(ctx, l, s.index, job, all)
}

// Abandon of Rebuild deletes the new index. Otherwise documents that were written stay.
func (s Sink[T]) Abandon(ctx context.Context, job string) error {
	if s.rebuild == nil {
		return nil
	}
	l, err := s.server.connect()
	if err != nil {
		return err
	}
	defer l.close()
	return s.rebuild.abandon(ctx, l, s.index, job)
}

// Published reports whether the index is still there. For Rebuild, the alias must still point to
// the index of the job.
func (s Sink[T]) Published(ctx context.Context, job string, _ time.Time) (bool, error) {
	l, err := s.server.connect()
	if err != nil {
		return false, err
	}
	defer l.close()
	if s.rebuild != nil {
		return s.rebuild.published(ctx, l, s.index, job)
	}
	a, err := l.call(ctx, patience, http.MethodGet, "/"+pathOf(s.index)+"?filter_path=*.aliases", nil)
	return err == nil && a.status == http.StatusOK, err
}

// writer is the output of one attempt. While a request is in flight, the records of the next one
// are encoded into another batch.
type writer[T any] struct {
	s       Sink[T]
	enc     *jsoncodec.Encoder
	bulk    bulk
	ctx     context.Context
	cancel  context.CancelFunc
	bad     func(err error, record []byte) error
	bytes   int // most bytes of a request; less than in the sink if the server refused one
	cur     *batch
	free    []*batch
	flying  int
	results chan result
	part    part
	err     error
}

// result is a batch that has been sent.
type result struct {
	b   *batch
	err error
}

// SetBad is called before the first Write.
func (w *writer[T]) SetBad(bad func(err error, record []byte) error) { w.bad = bad }

// Write adds one document.
func (w *writer[T]) Write(r *T) error {
	if w.err != nil {
		return w.err
	}
	remove := w.s.deleted != nil && w.s.deleted(*r)
	if remove && w.s.rebuild != nil {
		return nil // a new index does not have it
	}
	id, version := w.s.id(*r), int64(-1)
	err := checkID(id)
	if err == nil && w.s.version != nil {
		if version = w.s.version(*r); version < 0 {
			err = fmt.Errorf("document %q: version %d is negative", id, version)
		}
	}
	if err != nil {
		return connector.Skip(err)
	}
	b := w.cur
	b.begin(id, version, remove)
	if !remove {
		if b.buf, err = w.enc.Append(b.buf, unsafe.Pointer(r)); err != nil {
			b.undo()
			return connector.Skip(fmt.Errorf("document %q: %w", id, err))
		}
	}
	b.end()
	if len(b.ops) < w.s.docs && len(b.buf) < w.bytes {
		return nil
	}
	return w.flush()
}

// flush sends the current batch, except a last document that makes it too large.
func (w *writer[T]) flush() error {
	b := w.cur
	if len(b.ops) == 0 {
		return nil
	}
	for len(w.free) == 0 {
		if err := w.collect(); err != nil {
			return err
		}
	}
	w.cur = w.free[len(w.free)-1]
	w.free = w.free[:len(w.free)-1]
	if last := b.ops[len(b.ops)-1]; len(b.buf) > w.bytes && len(b.ops) > 1 {
		w.cur.buf = append(w.cur.buf, b.buf[last.start:]...)
		w.cur.ops = append(w.cur.ops, op{0, last.id - last.start, last.doc - last.start, last.end - last.start, last.delete})
		b.buf, b.ops = b.buf[:last.start], b.ops[:len(b.ops)-1]
	}
	w.flying++
	go func() { // collect waits for its end
		w.results <- result{b, w.bulk.send(w.ctx, b)}
	}()
	return nil
}

// collect waits for the end of one request.
func (w *writer[T]) collect() error {
	r := <-w.results
	w.flying--
	if w.err == nil {
		w.err = r.err
	}
	for _, x := range r.b.bad {
		if w.err == nil {
			w.err = w.setAside(r.b, x)
		}
	}
	w.part.Docs += int64(len(r.b.ops) - len(r.b.bad))
	if n := r.b.tooLarge; n > 0 {
		w.bytes = min(w.bytes, max(n/2, 1))
	}
	r.b.reset()
	w.free = append(w.free, r.b)
	return w.err
}

func (w *writer[T]) setAside(b *batch, x refusal) error {
	err := fmt.Errorf("document %s: %s", b.describe(x.op), x.reason)
	if w.bad == nil {
		return err
	}
	return w.bad(err, b.buf[x.op.doc:max(x.op.doc, x.op.end-1)])
}

// Close sends the rest and waits for all answers.
func (w *writer[T]) Close() ([]byte, error) {
	if w.err == nil {
		w.err = w.flush()
	}
	for w.err == nil && len(w.cur.ops) > 0 { // a last document that was too large for the others
		w.err = w.flush()
	}
	for w.flying > 0 {
		if w.collect() != nil {
			w.cancel()
		}
	}
	if w.err != nil {
		return nil, w.err
	}
	w.cancel()
	w.bulk.close()
	return json.Marshal(w.part)
}

// Abort ends requests in flight. The documents that the server has accepted stay: the next attempt
// writes them again.
func (w *writer[T]) Abort() {
	w.cancel()
	w.err = errors.Join(w.err, context.Canceled)
	for w.flying > 0 {
		_ = w.collect()
	}
	w.bulk.close()
}
