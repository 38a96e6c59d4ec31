package replica

import (
	"errors"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/hashicorp/raft"
)

// heldDisk is a log that stores entries when it is released.
type heldDisk struct {
	Log
	mu     sync.Mutex
	free   sync.Cond
	held   bool
	err    error
	stored int // calls of StoreLogs
}

func holdDisk(l Log) *heldDisk {
	d := &heldDisk{Log: l}
	d.free.L = &d.mu
	return d
}

func (d *heldDisk) hold(held bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.held = held
	d.free.Broadcast()
}

func (d *heldDisk) StoreLogs(entries []*raft.Log) error {
	d.mu.Lock()
	for d.held {
		d.free.Wait()
	}
	err := d.err
	d.stored++
	d.mu.Unlock()
	if err != nil {
		return err
	}
	return d.Log.StoreLogs(entries)
}

// memoryDisk is a log in memory.
type memoryDisk struct{ *raft.InmemStore }

func (memoryDisk) Close() error { return nil }

func commands(from, to uint64) (out []*raft.Log) {
	for i := from; i <= to; i++ {
		out = append(out, &raft.Log{Index: i, Term: 1, Type: raft.LogCommand, Data: []byte{byte(i)}})
	}
	return out
}

// bubbleLog runs fn with a log whose disk can be held.
func bubbleLog(t *testing.T, fn func(l *raftLog, d *heldDisk)) {
	synctest.Test(t, func(t *testing.T) {
		d := holdDisk(memoryDisk{raft.NewInmemStore()})
		l := newLog(d)
		done := make(chan struct{})
		go func() {
			l.run()
			close(done)
		}()
		fn(l, d)
		d.hold(false)
		l.stop()
		<-done
	})
}

func TestLogStoresLater(t *testing.T) {
	bubbleLog(t, func(l *raftLog, d *heldDisk) {
		d.hold(true)
		for i := range uint64(10) {
			if err := l.StoreLogs(commands(i+1, i+1)); err != nil {
				t.Fatal(err)
			}
			synctest.Wait()
		}
		if last, err := l.LastIndex(); last != 10 || err != nil {
			t.Errorf("last index %d, %v; want 10", last, err)
		}
		var e raft.Log
		if err := l.GetLog(7, &e); err != nil || e.Data[0] != 7 {
			t.Errorf("entry 7: %v, %v", e, err)
		}
		if got := l.durable(9); got != 0 {
			t.Errorf("durable up to %d while the disk is held, want 0", got)
		}
		synced := make(chan error, 1)
		go func() { synced <- l.await(10) }()
		synctest.Wait()
		select {
		case <-synced:
			t.Error("await(10) returned while the disk is held")
		default:
		}
		d.hold(false)
		if err := <-synced; err != nil {
			t.Error(err)
		}
		if got := l.durable(9); got != 9 {
			t.Errorf("durable up to %d, want 9", got)
		}
		if d.stored != 2 {
			t.Errorf("%d writes for 10 entries; want 2, as 9 arrived during the first", d.stored)
		}
	})
}

func TestLogStoresOthersAtOnce(t *testing.T) {
	bubbleLog(t, func(l *raftLog, d *heldDisk) {
		d.hold(true)
		stored := make(chan error, 1)
		go func() { stored <- l.StoreLogs([]*raft.Log{{Index: 1, Term: 1, Type: raft.LogConfiguration}}) }()
		synctest.Wait()
		select {
		case <-stored:
			t.Error("a change of members was stored while the disk is held")
		default:
		}
		d.hold(false)
		if err := <-stored; err != nil {
			t.Error(err)
		}
	})
}

func TestLogDeletes(t *testing.T) {
	for _, c := range []struct{ from, to, first, last uint64 }{{1, 4, 5, 9}, {6, 9, 1, 5}, {1, 9, 0, 0}} {
		bubbleLog(t, func(l *raftLog, d *heldDisk) {
			if err := l.StoreLogs(commands(1, 9)); err != nil {
				t.Fatal(err)
			}
			if err := l.DeleteRange(c.from, c.to); err != nil {
				t.Fatal(err)
			}
			first, _ := l.FirstIndex()
			last, _ := l.LastIndex()
			if first != c.first || last != c.last {
				t.Errorf("without %d to %d the log has %d to %d, want %d to %d", c.from, c.to, first, last, c.first, c.last)
			}
			var e raft.Log
			for i := c.from; i <= c.to; i++ {
				if err := l.GetLog(i, &e); !errors.Is(err, raft.ErrLogNotFound) {
					t.Errorf("removed entry %d: %v", i, err)
				}
			}
			next := last + 1
			if last == 0 {
				next = 20 // after a snapshot
			}
			if err := errors.Join(l.StoreLogs(commands(next, next)), l.await(next), l.GetLog(next, &e)); err != nil {
				t.Errorf("entry %d after the removal: %v", next, err)
			}
			if want := int(last) - int(c.first) + 2; last > 0 && len(l.recent) != want || l.bytes != len(l.recent)*(1+entryBytes) {
				t.Errorf("%d entries with %d bytes in memory, want %d", len(l.recent), l.bytes, want)
			}
		})
	}
}

func TestLogFails(t *testing.T) {
	bubbleLog(t, func(l *raftLog, d *heldDisk) {
		d.err = errors.New("no disk")
		var failed error
		l.failed = func(err error) { failed = err }
		if err := errors.Join(l.StoreLogs(commands(1, 1)), l.await(1)); !errors.Is(err, d.err) {
			t.Errorf("await after a failed write: %v", err)
		}
		synctest.Wait()
		if !errors.Is(failed, d.err) {
			t.Errorf("reported %v", failed)
		}
		if err := l.StoreLogs(commands(2, 2)); !errors.Is(err, d.err) {
			t.Errorf("StoreLogs after a failed write: %v", err)
		}
		if got := l.durable(5); got != 0 {
			t.Errorf("durable up to %d after a failed write", got)
		}
	})
}

func TestLogTrims(t *testing.T) {
	bubbleLog(t, func(l *raftLog, d *heldDisk) {
		const size, n = 64 << 10, 200
		for i := uint64(1); i <= n; i++ {
			if err := l.StoreLogs([]*raft.Log{{Index: i, Term: 1, Type: raft.LogCommand, Data: make([]byte, size)}}); err != nil {
				t.Fatal(err)
			}
		}
		if err := l.await(n); err != nil {
			t.Fatal(err)
		}
		if l.bytes > recentBytes || len(l.recent) < recentBytes/size-2 {
			t.Errorf("%d entries with %d bytes in memory, want about %d bytes", len(l.recent), l.bytes, recentBytes)
		}
		var e raft.Log
		for i := uint64(1); i <= n; i++ {
			if err := l.GetLog(i, &e); err != nil || e.Index != i {
				t.Fatalf("entry %d: %v, %v", i, e.Index, err)
			}
		}
	})
}
