package replica

import (
	"context"
	"iter"

	"github.com/layshaft/layshaft/internal/state"
)

// TaskStore is the database Tasks during a tenure. It implements bodies.Replica.
type TaskStore struct{ t *Tenure }

// TaskStore returns the database of queued tasks.
func (t *Tenure) TaskStore() TaskStore { return TaskStore{t} }

// DB returns the database, for reading.
func (s TaskStore) DB() *state.DB { return s.t.DB(Tasks) }

// Flush blocks until the database has everything whose wait has returned.
func (s TaskStore) Flush() error { return s.t.Flush() }

// Propose changes the values of keys; a nil value removes the key. wait blocks like
// Pending.Decided.
func (s TaskStore) Propose(changes iter.Seq2[[]byte, []byte]) (wait func() error) {
	b := NewBatch(Tasks)
	for k, v := range changes {
		if v == nil {
			b.Delete(k)
		} else {
			b.Set(k, v)
		}
	}
	p := s.t.Propose(b)
	return func() error { return p.Decided(context.Background()) }
}
