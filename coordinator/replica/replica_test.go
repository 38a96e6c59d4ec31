package replica

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/dgraph-io/badger/v4"
)

// group is a group of members in this process.
type group struct {
	t       testing.TB
	dir     string
	peers   []string
	members []*member
	// disks are the logs on the disk by address; see heldDisk.
	disks map[string]*heldDisk
	// timeout is Config.Timeout of the members.
	timeout time.Duration
}

type member struct {
	*Replica
	address string
	dir     string
	stop    context.CancelFunc
	done    chan error

	// mu guards the field below.
	mu sync.Mutex
	// changed is closed and replaced when the databases have changed.
	changed chan struct{}
}

// change returns a channel that is closed after the next decided change.
func (m *member) change() <-chan struct{} {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.changed
}

// startGroup starts n members that form a group.
func startGroup(t testing.TB, n int) *group { return startGroupWith(t, n, time.Second) }

// startGroupWith is startGroup with a timeout for elections. A test that needs one leader for long
// takes a longer one, because a disk that others use stands still for a second now and then.
func startGroupWith(t testing.TB, n int, timeout time.Duration) *group {
	g := &group{t: t, dir: t.TempDir(), timeout: timeout}
	var listeners []net.Listener
	for range n {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		listeners = append(listeners, l)
		g.peers = append(g.peers, l.Addr().String())
	}
	for i, l := range listeners {
		g.members = append(g.members, g.start(l, filepath.Join(g.dir, fmt.Sprint(i)), g.peers))
	}
	t.Cleanup(func() {
		for _, d := range g.disks {
			d.hold(false)
		}
		for _, m := range g.members {
			m.end(t)
		}
	})
	return g
}

func (g *group) start(l net.Listener, dir string, peers []string) *member {
	r, err := Open(Config{Dir: dir, Address: l.Addr().String(), Peers: peers, Listener: l, Reserve: -1, Timeout: g.timeout, Dial: dialTCP})
	if err != nil {
		g.t.Fatal(err)
	}
	if g.disks == nil {
		g.disks = map[string]*heldDisk{}
	}
	g.disks[l.Addr().String()] = holdDisk(r.wal.disk)
	r.wal.disk = g.disks[l.Addr().String()]
	ctx, stop := context.WithCancel(context.Background())
	m := &member{Replica: r, address: l.Addr().String(), dir: dir, stop: stop, done: make(chan error, 1), changed: make(chan struct{})}
	grown := r.d.grown
	r.d.grown = func(bytes int) {
		grown(bytes)
		m.mu.Lock()
		defer m.mu.Unlock()
		close(m.changed)
		m.changed = make(chan struct{})
	}
	go func() { m.done <- r.Run(ctx) }()
	return m
}

func dialTCP(ctx context.Context, address string) (net.Conn, error) {
	var d net.Dialer
	return d.DialContext(ctx, "tcp", address)
}

// end stops a member.
func (m *member) end(t testing.TB) {
	if m.stop == nil {
		return
	}
	m.stop()
	if err := <-m.done; err != nil {
		t.Errorf("member %s: %v", m.address, err)
	}
	if err := m.Close(); err != nil {
		t.Errorf("member %s: %v", m.address, err)
	}
	m.stop = nil
}

// restart starts a stopped member with its directory.
func (g *group) restart(i int) *member {
	l, err := net.Listen("tcp", g.members[i].address)
	if err != nil {
		g.t.Fatal(err)
	}
	g.members[i] = g.start(l, g.members[i].dir, g.peers)
	return g.members[i]
}

// leader returns the member that leads, with its tenure.
func (g *group) leader() (*member, *Tenure) {
	ctx, cancel := context.WithTimeout(g.t.Context(), time.Minute)
	defer cancel()
	type found struct {
		m *member
		t *Tenure
	}
	first := make(chan found, len(g.members))
	for _, m := range g.members {
		if m.stop != nil {
			go func() {
				if t, err := m.Lead(ctx); err == nil {
					first <- found{m, t}
				}
			}()
		}
	}
	select {
	case f := <-first:
		return f.m, f.t
	case <-ctx.Done():
		g.t.Fatal("nobody leads")
		return nil, nil
	}
}

func set(t *testing.T, lead *Tenure, key, value string) {
	t.Helper()
	b := NewBatch(Tasks)
	b.Set([]byte(key), []byte(value))
	if err := lead.Propose(b).Wait(); err != nil {
		t.Fatal(err)
	}
}

func get(r *Replica, key string) (value string) {
	_ = r.d.flush()
	return look(r, key)
}

// look returns what Badger has now.
func look(r *Replica, key string) (value string) {
	_ = r.DB(Tasks).View(func(txn *badger.Txn) error {
		item, err := txn.Get([]byte(key))
		if err != nil {
			return err
		}
		return item.Value(func(v []byte) error { value = string(v); return nil })
	})
	return value
}

// await waits until a member has a value.
func await(t *testing.T, m *member, key, want string) {
	t.Helper()
	late := time.After(time.Minute)
	for {
		changed := m.change()
		if err := m.d.flush(); err != nil {
			t.Fatal(err)
		}
		if get(m.Replica, key) == want {
			return
		}
		select {
		case <-changed:
		case <-late:
			t.Fatalf("%s: %s is %q, want %q", m.address, key, get(m.Replica, key), want)
		}
	}
}

func awaitThat(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(30 * time.Second); !ok(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("waited in vain: %s", what)
		}
	}
}

// What was confirmed survives the end of the leader, a restart of all, and reaches a member that
// was away.
func TestGroup(t *testing.T) {
	g := startGroup(t, 3)
	m, lead := g.leader()
	set(t, lead, "a", "1")
	for _, x := range g.members {
		await(t, x, "a", "1")
	}
	m.end(t)
	<-lead.Lost()
	b := NewBatch(Tasks)
	b.Set([]byte("a"), []byte("lost"))
	if err := lead.Propose(b).Wait(); err == nil {
		t.Error("a tenure that has ended accepts a batch")
	}
	_, second := g.leader()
	set(t, second, "b", "2")
	for i, x := range g.members {
		if x == m {
			await(t, g.restart(i), "b", "2")
		}
	}
	if testing.Short() {
		return
	}
	for _, x := range g.members {
		x.end(t)
	}
	for i := range g.members {
		g.restart(i)
	}
	_, third := g.leader()
	set(t, third, "c", "3")
	for _, x := range g.members {
		for k, v := range map[string]string{"a": "1", "b": "2", "c": "3"} {
			await(t, x, k, v)
		}
	}
}

// A destroyed member is replaced while the others work, by a snapshot.
func TestReplaceMember(t *testing.T) {
	if testing.Short() {
		t.Skip("waits for slow elections; TestMaintain replaces a member too")
	}
	g := startGroupWith(t, 3, 4*time.Second)
	m, lead := g.leader()
	at := 0
	for g.members[at] == m {
		at++
	}
	lost := g.members[at]
	lost.end(t)
	for i := range 3000 {
		set(t, lead, fmt.Sprintf("key %d", i), fmt.Sprint(i))
	}
	if err := m.takeSnapshot(); err != nil {
		t.Fatal(err)
	}
	set(t, lead, "last", "yes")
	l, err := net.Listen("tcp", lost.address)
	if err != nil {
		t.Fatal(err)
	}
	fresh := g.start(l, filepath.Join(g.dir, "fresh"), g.peers)
	g.members[at] = fresh
	if _, err := lead.Add(t.Context(), lost.address); err == nil {
		t.Error("a new member replaces the one at its address unasked")
	}
	if _, err := lead.Remove(t.Context(), lost.id); err != nil {
		t.Fatal(err)
	}
	if _, err := lead.Add(t.Context(), lost.address); err != nil {
		t.Fatal(err)
	}
	await(t, fresh, "last", "yes")
	for i := range 3000 {
		if v := get(fresh.Replica, fmt.Sprintf("key %d", i)); v != fmt.Sprint(i) {
			t.Fatalf("key %d is %q", i, v)
		}
	}
	if members, err := lead.r.Members(); err != nil || len(members) != 3 {
		t.Errorf("members %v, %v", members, err)
	}
}

// The journal numbers events without gaps, over snapshots and tenures.
func TestJournal(t *testing.T) {
	g := startGroup(t, 3)
	m, lead := g.leader()
	j, err := OpenJournal(lead)
	if err != nil {
		t.Fatal(err)
	}
	big := make([]byte, 3*pieceSize/2)
	for i := range 10 {
		if last, err := j.Append(t.Context(), []byte(fmt.Sprint("event ", 2*i+1)), []byte(fmt.Sprint("event ", 2*i+2))); err != nil || last != uint64(2*i+2) {
			t.Fatal(last, err)
		}
	}
	for range 2 {
		if err := j.Snapshot(15, big); err != nil {
			t.Fatal(err)
		}
	}
	m.end(t)
	_, lead = g.leader()
	if j, err = OpenJournal(lead); err != nil {
		t.Fatal(err)
	}
	seq, content, err := j.LoadSnapshot()
	if err != nil || seq != 15 || len(content) != len(big) {
		t.Errorf("snapshot %d of %d bytes, %v", seq, len(content), err)
	}
	next := seq
	if err := j.Replay(func(seq uint64, ev []byte) error {
		if next++; seq != next || string(ev) != fmt.Sprint("event ", seq) {
			t.Errorf("event %d: %q", seq, ev)
		}
		return nil
	}); err != nil || next != 20 {
		t.Errorf("%d events, %v", next, err)
	}
	if last, err := j.Append(t.Context(), []byte("x")); err != nil || last != 21 {
		t.Error(last, err)
	}
	pieces := 0
	_ = j.db.View(func(txn *badger.Txn) error {
		it := txn.NewIterator(badger.IteratorOptions{Prefix: []byte{'p'}})
		defer it.Close()
		for it.Rewind(); it.Valid(); it.Next() {
			pieces++
		}
		return nil
	})
	if pieces != 2 {
		t.Errorf("%d pieces of snapshots, want 2", pieces)
	}
}

// Small files and programs are on all members; large ones are in several pieces.
func TestFiles(t *testing.T) {
	needsElections(t)
	g := startGroup(t, 3)
	m, lead := g.leader()
	large := bytes.Repeat([]byte("0123456789abcdef"), pieceSize/10)
	for name, content := range map[string][]byte{"owners": []byte("{}"), "listed/a": large, "listed/b": {}} {
		for _, c := range [][]byte{large, content} {
			if err := lead.Files().Write(name, c); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := lead.Files().Remove("listed/b"); err != nil {
		t.Fatal(err)
	}
	if err := lead.Programs().Put("h1", int64(len(large)), bytes.NewReader(large)); err != nil {
		t.Fatal(err)
	}
	if err := lead.Programs().Put("h2", 1, strings.NewReader("x")); err != nil {
		t.Fatal(err)
	}
	if err := lead.Programs().Remove("h2"); err != nil {
		t.Fatal(err)
	}
	m.end(t)
	_, lead = g.leader()
	if b, err := lead.Files().Read("listed/a"); err != nil || !bytes.Equal(b, large) {
		t.Errorf("listed/a has %d bytes, want %d: %v", len(b), len(large), err)
	}
	if b, err := lead.Files().Read("owners"); err != nil || string(b) != "{}" {
		t.Errorf("owners has %q, %v", b, err)
	}
	if _, err := lead.Files().Read("listed/b"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a removed file: %v", err)
	}
	if names, err := lead.Files().List("listed/"); err != nil || !slices.Equal(names, []string{"listed/a"}) {
		t.Errorf("files %q, %v", names, err)
	}
	programs := 0
	err := lead.Programs().Each(func(hash string, size int64, r io.Reader) error {
		programs++
		b, err := io.ReadAll(r)
		if hash != "h1" || !bytes.Equal(b, large) || size != int64(len(large)) {
			t.Errorf("program %s has %d bytes of %d", hash, len(b), size)
		}
		return err
	})
	if err != nil || programs != 1 || !lead.Programs().Has("h1") || lead.Programs().Has("h2") {
		t.Errorf("%d programs, %v", programs, err)
	}
}

// No flipped byte of an entry goes unnoticed.
func TestFlippedEntry(t *testing.T) {
	b := NewBatch(Tasks)
	b.Set([]byte("key"), []byte("value"))
	b.Delete([]byte("other"))
	e := b.entry(7)
	if s, term, _, err := splitEntry(e); s != Tasks || term != 7 || err != nil {
		t.Fatal(s, term, err)
	}
	for i := range e {
		e[i] ^= 0x10
		if _, _, _, err := splitEntry(e); !errors.Is(err, errMalformed) {
			t.Errorf("byte %d flipped: %v", i, err)
		}
		e[i] ^= 0x10
	}
}

// TestLeadersDisk holds the disk of the leader. What its followers have durably takes no effect
// anywhere until the leader has it, too.
func TestLeadersDisk(t *testing.T) {
	needsElections(t)
	g := startGroup(t, 3)
	m, lead := g.leader()
	set(t, lead, "a", "1")
	disk := g.disks[m.address]
	disk.hold(true)
	b := NewBatch(Tasks)
	b.Set([]byte("a"), []byte("2"))
	p := lead.Propose(b)
	// All followers have the entry durably soon.
	for _, f := range g.members {
		if f != m {
			for last := m.raft.LastIndex(); f.wal.durable(last) < last || f.raft.LastIndex() < last; {
				time.Sleep(time.Millisecond)
			}
		}
	}
	for range 50 { // heartbeats and messages with commit indexes pass meanwhile
		for _, x := range g.members {
			if got := get(x.Replica, "a"); got != "1" && x == m {
				t.Fatalf("leader has %q before its log has it", got)
			} else if got == "2" {
				t.Fatalf("follower has %q before the leader's log has it", got)
			}
		}
		time.Sleep(2 * time.Millisecond)
	}
	disk.hold(false)
	if err := p.Wait(); err != nil {
		t.Fatal(err)
	}
	for _, x := range g.members {
		await(t, x, "a", "2")
	}
}

// TestFollowersDisks holds the disks of both followers. They confirm nothing until they have it.
func TestFollowersDisks(t *testing.T) {
	needsElections(t)
	g := startGroup(t, 3)
	m, lead := g.leader()
	set(t, lead, "a", "1")
	for _, f := range g.members {
		if f != m {
			g.disks[f.address].hold(true)
		}
	}
	b := NewBatch(Tasks)
	b.Set([]byte("a"), []byte("2"))
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	p := lead.Propose(b)
	if err := p.Decided(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Fatalf("without a durable copy on a follower: %v", err)
	}
	for _, f := range g.members {
		if f != m {
			g.disks[f.address].hold(false)
			break
		}
	}
	if err := p.Wait(); err != nil {
		t.Fatal(err)
	}
	for _, f := range g.members {
		g.disks[f.address].hold(false)
	}
}

// TestTransferTwice transfers with a tenure that has ended: the caller learns that nothing is to do.
func TestTransferTwice(t *testing.T) {
	needsElections(t)
	g := startGroup(t, 3)
	_, lead := g.leader()
	if err := lead.Transfer(""); err != nil {
		t.Fatal(err)
	}
	<-lead.Lost()
	if err := lead.Transfer(""); !errors.Is(err, ErrNotLeading) {
		t.Errorf("a second transfer: %v", err)
	}
}

// needsElections skips a test in the short loop. A group of coordinators with real clocks waits
// seconds for its elections; a few tests of such groups stay in the short loop.
func needsElections(t *testing.T) {
	t.Helper()
	if testing.Short() {
		t.Skip("waits for the elections of a real group of coordinators")
	}
}
