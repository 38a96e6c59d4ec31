package replica

import (
	"testing"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/raft"
)

// A log without its end, as after a change of the leader, opens again.
func TestTruncatedLog(t *testing.T) {
	disk := directory(t.TempDir())
	open := func() Log {
		l, err := disk.OpenLog(hclog.NewNullLogger())
		if err != nil {
			t.Fatal(err)
		}
		return l
	}
	store := func(l Log, from, to, term uint64) {
		for i := from; i <= to; i++ {
			if err := l.StoreLog(&raft.Log{Index: i, Term: term}); err != nil {
				t.Fatal(err)
			}
		}
	}
	l := open()
	store(l, 1, 10, 1)
	if err := l.DeleteRange(8, 10); err != nil {
		t.Fatal(err)
	}
	store(l, 8, 9, 2)
	for range 2 {
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
		l = open()
		for i := uint64(1); i <= 9; i++ {
			var got raft.Log
			if err := l.GetLog(i, &got); err != nil || got.Index != i || (got.Term == 2) != (i >= 8) {
				t.Errorf("entry %d: index %d, term %d, %v", i, got.Index, got.Term, err)
			}
		}
	}
	if err := l.Close(); err != nil {
		t.Error(err)
	}
}

// A member that was killed between the arrival of a snapshot and the change of its log continues
// behind the snapshot.
func TestLogBeforeSnapshot(t *testing.T) {
	disk := directory(t.TempDir())
	for round, c := range []struct{ from, to, snapshot uint64 }{{1, 20, 0}, {31, 40, 30}, {41, 50, 30}, {61, 62, 60}} {
		l, err := disk.OpenLog(hclog.NewNullLogger())
		if err != nil {
			t.Fatal(err)
		}
		log, err := openChecked(disk, l, &meta{SnapshotMeta: raft.SnapshotMeta{Index: c.snapshot}})
		if err != nil {
			t.Fatal(round, err)
		}
		for i := c.from; i <= c.to; i++ {
			if err := log.StoreLog(&raft.Log{Index: i}); err != nil {
				t.Errorf("round %d: entry %d: %v", round, i, err)
			}
		}
		if err := log.Close(); err != nil {
			t.Fatal(err)
		}
	}
}
