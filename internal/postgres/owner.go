package postgres

import (
	"context"
	"sync"
	"time"

	"github.com/layshaft/layshaft/internal/hold"
)

// keepAlive is how often the connection of an exported snapshot is used, so that no firewall or
// proxy between here and the server takes it for dead.
const keepAlive = 20 * time.Second

// Owner holds the transaction that exports the snapshot of a job. It plans the splits, and readers
// see what it sees.
type Owner struct {
	Snapshot Snapshot
	stop     context.CancelFunc
	done     chan struct{}

	// mu guards the fields below. It is held during a statement.
	mu   sync.Mutex
	conn *Conn
	lost error
}

// OwnerOf returns the owner of the run's snapshot of a database, and makes it if there is none.
// Without a run, release ends it. release is never nil.
func OwnerOf(ctx context.Context, name string, o Options) (_ *Owner, release func(), err error) {
	set := hold.Of(ctx)
	if set == nil {
		owner, err := newOwner(ctx, name, o, false)
		if err != nil {
			return nil, func() {}, err
		}
		return owner, owner.Close, nil
	}
	held, err := set.Get("postgres "+name, func() (hold.Held, error) { return newOwner(ctx, name, o, true) })
	if err != nil {
		return nil, func() {}, err
	}
	return held.(*Owner), func() {}, nil
}

func newOwner(ctx context.Context, name string, o Options, export bool) (*Owner, error) {
	conn, err := Connect(ctx, name, o)
	if err != nil {
		return nil, err
	}
	owner := &Owner{conn: conn, done: make(chan struct{})}
	if err := owner.begin(ctx, o, export); err != nil {
		conn.Close()
		return nil, err
	}
	alive, stop := context.WithCancel(context.WithoutCancel(ctx))
	owner.stop = stop
	go owner.keep(alive)
	return owner, nil
}

func (w *Owner) begin(ctx context.Context, o Options, export bool) error {
	o.StatementTimeout = 0 // planning may take a while
	err := w.conn.begin(ctx, o, "")
	if err != nil || !export {
		return err
	}
	if w.Snapshot.State, err = w.conn.state(ctx); err != nil {
		return err
	}
	rows, err := w.conn.Query(ctx, "SELECT pg_export_snapshot()")
	if err != nil {
		return err
	}
	w.Snapshot.Place, w.Snapshot.ID = w.conn.Place, string(rows[0][0])
	return nil
}

// keep uses the connection now and then, until Close.
func (w *Owner) keep(ctx context.Context) {
	defer close(w.done)
	tick := time.NewTicker(keepAlive)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		w.check()
	}
}

func (w *Owner) check() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.lost != nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), keepAlive)
	defer cancel()
	if _, err := w.conn.Query(ctx, "SELECT"); err != nil {
		w.lost = err
	}
}

// Do calls f with the connection in its transaction. f must not keep it.
func (w *Owner) Do(f func(*Conn) error) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	return f(w.conn)
}

// Lost returns why the snapshot can no longer be read by new readers; nil if it can.
func (w *Owner) Lost() error {
	w.check()
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.lost
}

// Close ends the transaction.
func (w *Owner) Close() {
	w.stop()
	<-w.done
	w.conn.Close()
}
