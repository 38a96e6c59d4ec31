package replica

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/raft"
)

// grownDir returns the directory of a stopped member with a log of some entries.
func grownDir(t *testing.T) string {
	g := startGroup(t, 1)
	m, lead := g.leader()
	for i := range 300 {
		set(t, lead, fmt.Sprint(i), strings.Repeat("x", 100))
	}
	m.end(t)
	return m.dir
}

// openCopy opens a copy of a directory after a change, and returns the error.
func openCopy(t *testing.T, dir string, change func(dir string) error) (term uint64, err error) {
	t.Helper()
	to := filepath.Join(t.TempDir(), "copy")
	if err := errors.Join(os.CopyFS(to, os.DirFS(dir)), change(to)); err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	r, err := Open(Config{Dir: to, Address: "a:1", Peers: []string{"a:1"}, Listener: l, Reserve: -1, Dial: func(context.Context, string) (net.Conn, error) { return nil, errors.ErrUnsupported }})
	if err != nil {
		return 0, errors.Join(err, l.Close())
	}
	defer func() {
		if err := r.Close(); err != nil {
			t.Error(err)
		}
	}()
	if term, err = r.wal.disk.GetUint64([]byte("CurrentTerm")); err != nil {
		return 0, err
	}
	_, err = r.wal.disk.Get([]byte("LastVoteCand"))
	return term, err
}

// flip flips a bit of a file.
func flip(path string, at int64) error {
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	var b [1]byte
	if _, err := f.ReadAt(b[:], at); err != nil {
		return err
	}
	b[0] ^= 0x10
	_, err = f.WriteAt(b[:], at)
	return err
}

// A member whose files are damaged or missing is refused: it could have forgotten what it has
// confirmed.
func TestDamagedDirectory(t *testing.T) {
	needsElections(t)
	dir := grownDir(t)
	term, err := openCopy(t, dir, func(string) error { return nil })
	if err != nil || term == 0 {
		t.Fatal(term, err)
	}
	segments, err := filepath.Glob(filepath.Join(dir, "log", "*.wal"))
	if err != nil || len(segments) != 1 {
		t.Fatal(segments, err)
	}
	segment := filepath.Join("log", filepath.Base(segments[0]))
	content, err := os.ReadFile(segments[0])
	if err != nil {
		t.Fatal(err)
	}
	used := int64(len(strings.TrimRight(string(content), "\x00")))
	for name, change := range map[string]func(dir string) error{
		"no log":         func(dir string) error { return os.RemoveAll(filepath.Join(dir, "log")) },
		"no segment":     func(dir string) error { return os.Remove(filepath.Join(dir, segment)) },
		"short segment":  func(dir string) error { return os.Truncate(filepath.Join(dir, segment), used/2) },
		"lost entry":     func(dir string) error { return os.Truncate(filepath.Join(dir, segment), used-60) },
		"no settings":    func(dir string) error { return os.Remove(filepath.Join(dir, "log", "wal-meta.db")) },
		"short settings": func(dir string) error { return os.Truncate(filepath.Join(dir, "log", "wal-meta.db"), 5000) },
		"head":           func(dir string) error { return flip(filepath.Join(dir, "log", "head"), 9) },
		"no member": func(dir string) error {
			return errors.Join(os.Remove(filepath.Join(dir, "member")), os.Remove(filepath.Join(dir, "member.copy")))
		},
		"member": func(dir string) error {
			return errors.Join(flip(filepath.Join(dir, "member"), 1), flip(filepath.Join(dir, "member.copy"), 2))
		},
		"format":      func(dir string) error { return flip(filepath.Join(dir, "jobs", "FORMAT"), 3) },
		"no manifest": func(dir string) error { return os.Truncate(filepath.Join(dir, "tasks", "badger", "MANIFEST"), 3) },
	} {
		if _, err := openCopy(t, dir, change); !errors.Is(err, ErrDamaged) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// readAll opens the log of a member and returns what raft reads from it.
func readAll(dir string) (term uint64, vote string, entries []raft.Log, err error) {
	disk := directory(dir)
	plain, err := disk.OpenLog(hclog.NewNullLogger())
	if err != nil {
		return 0, "", nil, err
	}
	l, err := openChecked(disk, plain, nil)
	if err != nil {
		return 0, "", nil, errors.Join(err, plain.Close())
	}
	defer func() { err = errors.Join(err, l.Close()) }()
	last, err := l.LastIndex()
	for i := uint64(1); err == nil && i <= last; i++ {
		var e raft.Log
		err = l.read(i, &e)
		entries = append(entries, raft.Log{Index: e.Index, Term: e.Term, Type: e.Type, Data: e.Data})
	}
	if err == nil {
		term, err = l.GetUint64([]byte("CurrentTerm"))
	}
	b, voteErr := l.Get([]byte("LastVoteCand"))
	return term, string(b), entries, errors.Join(err, voteErr)
}

// Every flipped byte of the log is found, or changes nothing.
func TestFlippedBytesOfLog(t *testing.T) {
	needsElections(t)
	dir := grownDir(t)
	term, vote, entries, err := readAll(dir)
	if err != nil || term == 0 || len(entries) < 300 {
		t.Fatal(term, entries, err)
	}
	for _, pattern := range []string{"*.wal", "wal-meta.db"} {
		files, err := filepath.Glob(filepath.Join(dir, "log", pattern))
		if err != nil || len(files) != 1 {
			t.Fatal(files, err)
		}
		content, err := os.ReadFile(files[0])
		if err != nil {
			t.Fatal(err)
		}
		used, found, all := len(bytes.TrimRight(content, "\x00")), 0, 0
		for at := 0; at < used; at += 1 + used/97 {
			all++
			if err := flip(files[0], int64(at)); err != nil {
				t.Fatal(err)
			}
			newTerm, newVote, read, err := readAll(dir)
			switch {
			case errors.Is(err, ErrDamaged):
				found++
			case err != nil:
				t.Errorf("%s, byte %d: %v", pattern, at, err)
			case newTerm < term || newVote != vote && newVote != string(nobody) || !reflect.DeepEqual(read, entries):
				t.Errorf("%s, byte %d: term %d, want %d; vote %q, want %q; %d entries, want %d", pattern, at, newTerm, term, newVote, vote, len(read), len(entries))
			}
			// A failed open may hold the lock of the file.
			if err := errors.Join(os.Remove(files[0]), os.WriteFile(files[0], content[:max(used, min(len(content), 64<<10))], 0o600)); err != nil {
				t.Fatal(err)
			}
		}
		t.Logf("%s: %d of %d flipped bytes were found", pattern, found, all)
	}
}

// An entry that is damaged while the member runs ends it, and does not reach another member.
func TestDamagedWhileRunning(t *testing.T) {
	if testing.Short() {
		t.Skip("waits for several elections")
	}
	g := startGroup(t, 3)
	m, lead := g.leader()
	for i := range 50 {
		set(t, lead, fmt.Sprint(i), strings.Repeat("x", 100))
	}
	segments, err := filepath.Glob(filepath.Join(m.dir, "log", "*.wal"))
	if err != nil || len(segments) != 1 {
		t.Fatal(segments, err)
	}
	content, err := os.ReadFile(segments[0])
	if err != nil {
		t.Fatal(err)
	}
	at := strings.Index(string(content), strings.Repeat("x", 100))
	if err := flip(segments[0], int64(at)); err != nil {
		t.Fatal(err)
	}
	m.wal.mu.Lock() // read entries from the disk
	m.wal.drop(len(m.wal.recent) - m.wal.unsynced)
	m.wal.mu.Unlock()
	// A new member would get the damaged entry.
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	fresh := g.start(l, filepath.Join(g.dir, "fresh"), append(slices.Clone(g.peers), l.Addr().String()))
	g.members = append(g.members, fresh)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	for ended := false; !ended; {
		_, _ = lead.Add(ctx, fresh.address) // the leader ends meanwhile
		select {
		case err := <-m.done:
			if !errors.Is(err, ErrDamaged) {
				t.Errorf("the damaged member ended with %v", err)
			}
			ended = true
		case <-lead.Lost(): // and on a busy machine perhaps without damage
			var leader *member
			if leader, lead = g.leader(); leader != m {
				_ = lead.Transfer(m.id)
			}
		case <-ctx.Done():
			t.Fatal("the damaged member has not ended")
		}
	}
	if err := m.Close(); err != nil {
		t.Error(err)
	}
	m.stop = nil
	_, lead = g.leader()
	set(t, lead, "last", "yes")
	await(t, fresh, "last", "yes")
}

// The leader replaces members that come back with an empty directory, one after the other, and
// nothing that was confirmed is lost.
func TestMaintain(t *testing.T) {
	needsElections(t)
	g := startGroup(t, 3)
	m, lead := g.leader()
	if err := lead.SetCluster("c"); err != nil {
		t.Fatal(err)
	}
	rounds := 3
	if testing.Short() {
		rounds = 1
	}
	for round := range rounds {
		value := fmt.Sprint(round)
		set(t, lead, "a", value)
		x := g.members[round]
		if x == m {
			x.end(t)
			m, lead = g.leader()
		} else {
			x.end(t)
		}
		maintained := make(chan error, 1)
		ctx, cancel := context.WithCancel(t.Context())
		go func() { maintained <- lead.Maintain(ctx) }()
		g.members[round].dir = filepath.Join(g.dir, "next", value)
		fresh := g.restart(round)
		await(t, fresh, "a", value)
		awaitMembers(t, m, func(all []Member) bool {
			return len(all) == 3 && !slices.ContainsFunc(all, func(m Member) bool { return !m.Voter || m.ID == x.id })
		})
		cancel()
		if err := <-maintained; err != nil {
			t.Error(err)
		}
	}
}

// awaitMembers waits until the members of a group are as wanted.
func awaitMembers(t *testing.T, m *member, ok func(all []Member) bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		all, err := m.Members()
		if err == nil && ok(all) {
			return
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			t.Fatalf("members %+v, %v", all, err)
		}
	}
}

// emptied is a log without its last file: raft-wal drops all entries from a damaged one on, and then
// reports an end before the beginning.
type emptied struct{ Log }

func (emptied) FirstIndex() (uint64, error) { return 21, nil }

func (emptied) LastIndex() (uint64, error) { return 10, nil }

func TestLogWithoutItsEnd(t *testing.T) {
	disk := directory(t.TempDir())
	l, err := disk.OpenLog(hclog.NewNullLogger())
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if _, err := openChecked(disk, emptied{l}, &meta{SnapshotMeta: raft.SnapshotMeta{Index: 24, Term: 1}}); !errors.Is(err, ErrDamaged) {
		t.Errorf("opened with %v", err)
	}
}

// A power cut may throw the head back. The next start brings it up to the end of the log, so that
// damage of the last entries is noticed from then on.
func TestHeadFollowsAtStart(t *testing.T) {
	disk := directory(t.TempDir())
	open := func() *checkedLog {
		l, err := disk.OpenLog(hclog.NewNullLogger())
		if err != nil {
			t.Fatal(err)
		}
		c, err := openChecked(disk, l, nil)
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	c := open()
	err := c.SetUint64([]byte("CurrentTerm"), 1)
	for i := range uint64(3) {
		err = errors.Join(err, c.StoreLog(&raft.Log{Index: i + 1, Term: 1, Data: []byte("x")}))
	}
	if err := errors.Join(err, c.head.Write(1), c.Close()); err != nil {
		t.Fatal(err)
	}
	c = open()
	defer c.Close()
	if last, ok := c.head.Last(); last != 3 || !ok {
		t.Errorf("the head is at entry %d, %t, and the log ends with 3", last, ok)
	}
}

// A log whose end was replaced, as after the end of a leader, is read again after a restart.
func TestReplacedEndOfLog(t *testing.T) {
	dir := t.TempDir()
	store := func(l *checkedLog, from, to, term uint64) {
		for i := from; i <= to; i++ {
			if err := l.StoreLog(&raft.Log{Index: i, Term: term, Data: fmt.Append(nil, i)}); err != nil {
				t.Fatal(err)
			}
		}
	}
	for term := uint64(1); term < 4; term++ {
		disk := directory(dir)
		plain, err := disk.OpenLog(hclog.NewNullLogger())
		if err != nil {
			t.Fatal(err)
		}
		l, err := openChecked(disk, plain, nil)
		if err != nil {
			t.Fatal(err)
		}
		if err := l.SetUint64([]byte("CurrentTerm"), term); err != nil {
			t.Fatal(err)
		}
		last, err := l.LastIndex()
		if err != nil {
			t.Fatal(err)
		}
		store(l, last+1, last+10, term)
		if err := l.DeleteRange(last+6, last+10); err != nil {
			t.Fatal(err)
		}
		if term != 2 {
			store(l, last+6, last+8, term)
		}
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if term, _, entries, err := readAll(dir); err != nil || term != 3 || len(entries) != 8+5+8 {
		t.Errorf("term %d, %d entries, %v", term, len(entries), err)
	}
}
