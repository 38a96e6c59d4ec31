package replica

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"testing"
	"time"

	"github.com/dgraph-io/badger/v4"
	"github.com/hashicorp/raft"
)

// fakeLeader sends messages of a leader to one member.
type fakeLeader struct {
	t      *testing.T
	raft   *raft.NetworkTransport
	term   uint64
	config raft.Configuration
	// follower is the member, with its own function to stop it.
	follower *Replica
	stop     func()
	// terms are the terms of the entries that were sent.
	terms map[uint64]uint64
}

// startFollower starts a member that follows a fake leader. Its log keeps 8 entries.
func startFollower(t *testing.T) *fakeLeader {
	var listeners [2]net.Listener
	for i := range listeners {
		var err error
		if listeners[i], err = net.Listen("tcp", "127.0.0.1:0"); err != nil {
			t.Fatal(err)
		}
	}
	own, other := listeners[0].Addr().String(), listeners[1].Addr().String()
	s := &streams{self: "leader", listener: listeners[0], dial: dialTCP, incoming: make(chan net.Conn), closed: make(chan struct{}),
		identify: func() identity { return identity{ID: "leader", Group: true, Cluster: "c"} }}
	ran := make(chan error, 2)
	go func() { ran <- s.run() }()
	f := &fakeLeader{t: t, term: 1, terms: map[uint64]uint64{}}
	f.raft = raft.NewNetworkTransportWithConfig(&raft.NetworkTransportConfig{Stream: addressedStreams{s, joinAddress("leader", own)}, MaxPool: 1, Timeout: time.Minute})
	r, err := Open(Config{Dir: t.TempDir(), Address: other, Peers: []string{own, other}, Listener: listeners[1], Dial: dialTCP, Reserve: -1, Timeout: time.Hour, Trailing: 8})
	if err != nil {
		t.Fatal(err)
	}
	f.follower = r
	f.config = raft.Configuration{Servers: []raft.Server{{ID: "leader", Address: joinAddress("leader", own)}, {ID: raft.ServerID(r.id), Address: joinAddress(r.id, other)}}}
	ctx, stop := context.WithCancel(context.Background())
	go func() { ran <- r.Run(ctx) }()
	f.stop = func() {
		stop()
		for _, err := range []error{<-ran, r.Close(), f.raft.Close(), s.Close(), <-ran} {
			if err != nil {
				t.Error(err)
			}
		}
		f.stop = func() {}
	}
	t.Cleanup(func() { f.stop() })
	return f
}

func (f *fakeLeader) target() (raft.ServerID, raft.ServerAddress) {
	return f.config.Servers[1].ID, f.config.Servers[1].Address
}

// append sends entries from from to to, after which commit is decided. Entries that were sent
// before keep their term. It reports whether the member confirms them.
func (f *fakeLeader) append(from, to, commit uint64) bool {
	f.t.Helper()
	req := &raft.AppendEntriesRequest{RPCHeader: f.header(), Term: f.term, PrevLogEntry: from - 1, PrevLogTerm: f.terms[from-1], LeaderCommitIndex: commit}
	for i := from; i <= to; i++ {
		if f.terms[i] == 0 {
			f.terms[i] = f.term
		}
		e := &raft.Log{Index: i, Term: f.terms[i]}
		if i == 1 {
			e.Type, e.Data = raft.LogConfiguration, raft.EncodeConfiguration(f.config)
		} else {
			b := NewBatch(Tasks)
			b.Set(fmt.Append(nil, i), fmt.Append(nil, e.Term))
			e.Data = b.entry(e.Term)
		}
		req.Entries = append(req.Entries, e)
	}
	var resp raft.AppendEntriesResponse
	id, address := f.target()
	if err := f.raft.AppendEntries(id, address, req, &resp); err != nil {
		f.t.Fatal(err)
	}
	return resp.Success
}

// install sends a snapshot of the entries up to index.
func (f *fakeLeader) install(index uint64) bool {
	f.t.Helper()
	d := openTestDatabases(f.t)
	for i := uint64(2); i <= index; i++ {
		if f.terms[i] == 0 {
			f.terms[i] = f.term
		}
		if err := d.db[Tasks].Update(func(txn *badger.Txn) error { return txn.Set(fmt.Append(nil, i), fmt.Append(nil, f.terms[i])) }); err != nil {
			f.t.Fatal(err)
		}
	}
	x, err := d.openDump()
	if err != nil {
		f.t.Fatal(err)
	}
	defer x.Close()
	var content bytes.Buffer
	if err := x.writeTo(&content); err != nil {
		f.t.Fatal(err)
	}
	req := &raft.InstallSnapshotRequest{RPCHeader: f.header(), SnapshotVersion: raft.SnapshotVersionMax, Term: f.term, LastLogIndex: index, LastLogTerm: f.terms[index],
		Configuration: raft.EncodeConfiguration(f.config), ConfigurationIndex: 1, Size: int64(content.Len())}
	var resp raft.InstallSnapshotResponse
	id, address := f.target()
	if err := f.raft.InstallSnapshot(id, address, req, &resp, &content); err != nil {
		f.t.Fatal(err)
	}
	return resp.Success
}

func (f *fakeLeader) header() raft.RPCHeader {
	own := f.config.Servers[0]
	return raft.RPCHeader{ProtocolVersion: raft.ProtocolVersionMax, ID: []byte(own.ID), Addr: []byte(own.Address)}
}

// must fails the test unless the member has confirmed a message.
func (f *fakeLeader) must(confirmed bool, what string) {
	f.t.Helper()
	if !confirmed {
		f.t.Errorf("the member refuses %s", what)
	}
}

// check compares the member with the entries that were sent, up to last, and opens its directory
// again.
func (f *fakeLeader) check(last uint64) {
	f.t.Helper()
	r := f.follower
	if err := r.takeSnapshot(); err != nil { // after all decided entries
		f.t.Error(err)
	}
	if applied := r.raft.AppliedIndex(); applied != last {
		f.t.Errorf("applied up to %d, want %d", applied, last)
	}
	for i := uint64(2); i <= last; i++ {
		if got, want := get(r, fmt.Sprint(i)), fmt.Sprint(f.terms[i]); got != want {
			f.t.Errorf("entry %d is of term %q, want %q", i, got, want)
		}
	}
	f.stop()
	if _, err := openCopy(f.t, r.cfg.Dir, func(string) error { return nil }); err != nil {
		f.t.Errorf("the directory cannot be opened again: %v", err)
	}
}

// The answer to the first entries after a snapshot is lost, so the leader sends them again.
func TestRepeatBehindSnapshot(t *testing.T) {
	f := startFollower(t)
	f.must(f.append(1, 10, 10), "entries")
	f.must(f.install(20), "a snapshot")
	f.must(f.append(21, 30, 20), "entries behind the snapshot")
	f.must(f.append(21, 30, 20), "the same entries")
	f.must(f.append(21, 32, 32), "the same entries and more")
	f.check(32)
}

// A snapshot that was on its way for long comes to a member that has got ahead meanwhile. The
// member must not go back: it has confirmed what it has.
func TestLateSnapshot(t *testing.T) {
	for _, committed := range []uint64{15, 30} {
		t.Run(fmt.Sprintf("committed up to %d", committed), func(t *testing.T) {
			f := startFollower(t)
			f.must(f.append(1, 30, committed), "entries")
			f.must(f.install(20), "a late snapshot")
			f.must(f.append(31, 31, 31), "the next entry")
			f.check(31)
		})
	}
}

// A leader that was cut off has entries that were never decided, more than the next leader has
// decided at its last snapshot.
func TestSnapshotBesideOtherEntries(t *testing.T) {
	f := startFollower(t)
	f.must(f.append(1, 40, 5), "entries")
	f.term = 2
	for i := uint64(6); i <= 40; i++ {
		delete(f.terms, i)
	}
	f.must(f.install(20), "a snapshot of the next leader")
	f.must(f.append(21, 25, 25), "its entries")
	if last, err := f.follower.wal.LastIndex(); err != nil || last != 25 {
		t.Errorf("the log ends with entry %d, %v, want 25", last, err)
	}
	f.check(25)
}

// The answer to entries is lost. When the leader sends them again, the member has taken a snapshot
// and dropped them.
func TestRepeatBeforeSnapshot(t *testing.T) {
	f := startFollower(t)
	f.must(f.append(1, 30, 30), "entries")
	if err := f.follower.takeSnapshot(); err != nil {
		t.Fatal(err)
	}
	if first, err := f.follower.wal.FirstIndex(); err != nil || first != 23 {
		t.Fatalf("the log begins with %d, %v", first, err)
	}
	f.must(f.append(11, 20, 20), "old entries")
	f.must(f.append(11, 35, 35), "old and new entries")
	f.check(35)
}

// A member begins a snapshot of its own, and gets a newer one of the leader before it has finished.
func TestOwnSnapshotBesideNewerOne(t *testing.T) {
	d := openTestDatabases(t)
	s := newSnapshots(directory(t.TempDir()), d)
	sinks := map[uint64]raft.SnapshotSink{}
	for _, i := range []uint64{10, 20} {
		var err error
		if sinks[i], err = s.Create(raft.SnapshotVersionMax, i, 1, raft.Configuration{}, 1, nil); err != nil {
			t.Fatal(err)
		}
	}
	x, err := d.openDump()
	if err != nil {
		t.Fatal(err)
	}
	defer x.Close()
	if err := x.writeTo(sinks[20]); err != nil {
		t.Fatal(err)
	}
	if err := sinks[20].Close(); err != nil {
		t.Fatal(err)
	}
	if err := sinks[10].Close(); err == nil {
		t.Error("an old snapshot takes the place of a new one")
	}
	if m, err := s.load(); err != nil || m.Index != 20 {
		t.Errorf("the newest snapshot is %+v, %v", m, err)
	}
}
