package desk

import (
	"context"
	"errors"
	"iter"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/layshaft/layshaft/coordinator/internal/gearman"
	"github.com/layshaft/layshaft/coordinator/internal/queue"
	"github.com/layshaft/layshaft/internal/state"
)

// fullReplica is a replica that is never written, because its disk is full.
type fullReplica struct{ db *state.DB }

func (r fullReplica) DB() *state.DB { return r.db }

func (r fullReplica) Flush() error { return nil }

func (r fullReplica) Propose(iter.Seq2[[]byte, []byte]) (wait func() error) {
	return func() error { return errors.New("written on a full disk") }
}

// A client whose task waits for room on the disk is to repeat it elsewhere when the desk ends.
func TestStopWithFullDisk(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var full atomic.Bool
		db, err := state.OpenMemory(state.Options{Reserve: 1 << 20, Free: func(string) (int64, error) {
			if full.Load() {
				return 0, nil
			}
			return 1 << 40, nil
		}}, func() error { return nil })
		if err != nil {
			t.Fatal(err)
		}
		defer db.Close()
		d, err := Open(Config{Replica: fullReplica{db}})
		if err != nil {
			t.Fatal(err)
		}
		defer d.Close()
		full.Store(true)
		ctx, stop := context.WithCancel(t.Context())
		ran := make(chan error, 1)
		go func() { ran <- d.Run(ctx) }()
		answer := make(chan error, 1)
		go func() { answer <- d.Durable(t.Context(), d.lastBatch) }()
		time.Sleep(time.Minute)
		stop()
		if err := <-answer; !errors.Is(err, ErrStopped) {
			t.Errorf("the caller gets %v, want %v", err, ErrStopped)
		}
		<-ran
	})
}

// heldReplica commits when it is released.
type heldReplica struct {
	db      *state.DB
	release chan struct{}
}

func (r heldReplica) DB() *state.DB { return r.db }

func (r heldReplica) Flush() error { return nil }

func (r heldReplica) Propose(iter.Seq2[[]byte, []byte]) (wait func() error) {
	return func() error { <-r.release; return nil }
}

// A worker gets no task whose ID another coordinator might give to another task.
func TestAssignAfterReservation(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		db, err := state.OpenMemory(state.Options{}, func() error { return nil })
		if err != nil {
			t.Fatal(err)
		}
		defer db.Close()
		r := heldReplica{db, make(chan struct{})}
		d, err := Open(Config{Replica: r})
		if err != nil {
			t.Fatal(err)
		}
		defer d.Close()
		ctx, stop := context.WithCancel(t.Context())
		ran := make(chan error, 1)
		go func() { ran <- d.Run(ctx) }()
		d.Lock()
		if _, err := d.Submit(nil, &Submission{Function: "f", Background: true, Durable: true}); err != nil {
			t.Fatal(err)
		}
		w := d.Join("worker")
		w.CanDo("f", 0)
		w.SetSlots(1, 0, "")
		d.Unlock()
		for _, want := range []int{0, 1} {
			synctest.Wait()
			notes, err := w.Take(nil, 1<<20)
			if err != nil || len(notes) != want {
				t.Errorf("%d notes, want %d: %v", len(notes), want, err)
			}
			if want == 0 {
				close(r.release)
			}
		}
		stop()
		<-ran
	})
}

// A client that attaches to a group, or repeats OpenGroup, receives no ID and no outcome that a crash
// could undo: the next coordinator would not know this ID.
func TestGroupAnswersWaitForTheDisk(t *testing.T) {
	for name, then := range map[string][]queue.Next{"with a follower": {{Function: "sum"}}, "without a follower": nil} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				db, err := state.OpenMemory(state.Options{}, func() error { return nil })
				if err != nil {
					t.Fatal(err)
				}
				defer db.Close()
				r := heldReplica{db, make(chan struct{})}
				d, err := Open(Config{Replica: r})
				if err != nil {
					t.Fatal(err)
				}
				defer d.Close()
				ctx, stop := context.WithCancel(t.Context())
				ran := make(chan error, 1)
				go func() { ran <- d.Run(ctx) }()
				d.Lock()
				g, err := d.OpenGroup(then, false, true, 7, false)
				if err != nil {
					t.Fatal(err)
				}
				repeated, err := d.OpenGroup(then, false, true, 7, true)
				if err != nil || repeated.Task != g.Task || repeated.Batch < g.Batch {
					t.Errorf("a repeated OpenGroup waits for batch %d, the first for %d: %v", repeated.Batch, g.Batch, err)
				}
				d.CloseGroup(g.Task)
				d.Unlock()
				synctest.Wait() // the input of the follower is assembled
				d.Lock()
				client := d.Join("client")
				if _, err := client.Attach(NoRef, g.Task, "", "", 0); err != nil {
					t.Fatal(err)
				}
				d.Unlock()
				for _, released := range []bool{false, true} {
					if released {
						close(r.release)
					}
					synctest.Wait()
					notes, err := client.Take(nil, 1<<20)
					if err != nil || len(notes) > 0 != released {
						t.Errorf("durable %t: the client receives %+v, %v", released, notes, err)
					}
				}
				stop()
				<-ran
			})
		})
	}
}

// A task is not refused for good, as on a full disk, by a desk whose store has just lost its
// replica: the next desk takes it.
func TestSubmitAfterStoreEnded(t *testing.T) {
	db, err := state.OpenMemory(state.Options{}, func() error { return nil })
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	d, err := Open(Config{Replica: fullReplica{db}})
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	if err := d.store.Run(t.Context()); err == nil {
		t.Fatal("the store takes changes")
	}
	d.Lock()
	defer d.Unlock()
	if _, err := d.Submit(nil, &Submission{Function: "f", Background: true}); !errors.Is(err, ErrStopped) || errors.Is(err, ErrFull) {
		t.Errorf("Submit = %v, want %v", err, ErrStopped)
	}
	s := NewBroker(d, BrokerConfig{}).Attach(nil)
	if _, _, err := s.Submit(gearman.Submission{Function: []byte("f"), Background: true}); !errors.Is(err, gearman.ErrEnding) {
		t.Errorf("Submit of Gearman = %v, want %v", err, gearman.ErrEnding)
	}
}
