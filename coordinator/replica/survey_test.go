package replica

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"path/filepath"
	"strings"
	"testing"

	"github.com/hashicorp/raft"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/layshaft/layshaft/internal/wire"
)

// A survey names the member that does not answer. A removal that loses the majority is refused.
func TestSurvey(t *testing.T) {
	needsElections(t)
	g := startGroup(t, 3)
	m, lead := g.leader()
	members, last, err := m.Survey(t.Context())
	if err != nil || len(members) != 3 || last == 0 {
		t.Fatalf("%d members, last entry %d, %v", len(members), last, err)
	}
	for _, s := range members {
		if s.Err != nil || !s.Voter || s.Leader != (s.Address == m.address) {
			t.Errorf("%+v", s)
		}
	}
	var others []*member
	for _, x := range g.members {
		if x != m {
			others = append(others, x)
		}
	}
	others[0].end(t)
	if members, _, err = m.Survey(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, s := range members {
		if (s.Err != nil) != (s.Address == others[0].address) {
			t.Errorf("%+v", s)
		}
	}
	if err := lead.Transfer(others[0].id); err == nil || !strings.Contains(err.Error(), others[0].address+" cannot be reached") {
		t.Errorf("a transfer to a member that is away: %v", err)
	}
	if _, err := lead.Remove(t.Context(), others[1].id); err == nil || !strings.Contains(err.Error(), "majority would be lost") {
		t.Errorf("a removal that loses the majority: %v", err)
	}
	if _, err := lead.Remove(t.Context(), others[0].id); err != nil {
		t.Error(err)
	}
	if _, err := lead.Remove(t.Context(), others[1].address); err != nil {
		t.Error(err)
	}
	if _, err := lead.Remove(t.Context(), m.id); err == nil || !strings.Contains(err.Error(), "no other coordinator") {
		t.Errorf("the removal of the last member: %v", err)
	}
}

// Peers that answer but are no members are told apart from absent ones.
func TestWrongPeers(t *testing.T) {
	needsElections(t)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			_, _ = io.WriteString(c, "HTTP/1.1 400 Bad Request\r\n\r\n")
			_ = c.Close()
		}
	}()
	g := startGroup(t, 1)
	m, _ := g.leader()
	if _, err := m.streams.ask(t.Context(), l.Addr().String()); !errors.Is(err, errNoMember) {
		t.Error(err)
	}
	m.cfg.Peers = append(m.cfg.Peers, l.Addr().String())
	if wrong := m.CheckPeers(t.Context()); len(wrong) != 1 || !strings.HasPrefix(wrong[0], l.Addr().String()) {
		t.Error(wrong)
	}
	// The address of -peers that is to be the own one belongs to another member.
	own, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	x := g.start(own, filepath.Join(t.TempDir(), "x"), []string{own.Addr().String(), m.address})
	x.stop()
	<-x.done
	x.cfg.Address, x.cfg.Peers = m.address, []string{m.address}
	if _, _, err := x.tryForm(t.Context()); !errors.Is(err, ErrPeers) {
		t.Error(err)
	}
	if err := x.Close(); err != nil {
		t.Error(err)
	}
}

// A member with the state of a single coordinator refuses a peer of another cluster.
func TestPeerOfAnotherCluster(t *testing.T) {
	needsElections(t)
	g := startGroup(t, 1)
	m, lead := g.leader()
	if err := lead.SetCluster("theirs"); err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	x := g.start(l, filepath.Join(t.TempDir(), "x"), []string{l.Addr().String(), m.address})
	x.stop()
	if err := <-x.done; err != nil {
		t.Error(err)
	}
	defer x.Close()
	x.cfg.HasState, x.cfg.Single = true, "ours"
	if _, _, err := x.tryForm(t.Context()); !errors.Is(err, ErrPeers) || !strings.Contains(err.Error(), "belongs to the cluster theirs") {
		t.Error(err)
	}
}

func TestSuccessor(t *testing.T) {
	lead := Surveyed{Member: Member{ID: "a", Address: "a:1", Leader: true, Voter: true}, Applied: 9}
	behind := Surveyed{Member: Member{ID: "b", Address: "b:1", Voter: true}, Applied: 3}
	current := Surveyed{Member: Member{ID: "c", Address: "c:1", Voter: true}, Applied: 8}
	away := Surveyed{Member: Member{ID: "d", Address: "d:1", Voter: true}, Err: errors.New("refused")}
	learner := Surveyed{Member: Member{ID: "e", Address: "e:1"}, Applied: 9}
	silent := Surveyed{Member: Member{ID: "f", Address: "f:1", Voter: true}, Applied: 9}
	for _, c := range []struct {
		members   []Surveyed
		id        string
		want, err string
	}{
		{[]Surveyed{lead, behind, current, away, learner, silent}, "", "c", ""},
		{[]Surveyed{lead, silent, behind}, "f", "", "f:1 did not take over at the last transfer"},
		{[]Surveyed{lead, behind, current, away, learner}, "b", "b", ""},
		{[]Surveyed{lead, behind, away}, "d", "", "d:1 cannot be reached: refused"},
		{[]Surveyed{lead, learner}, "e", "", "e:1 does not count for majorities yet"},
		{[]Surveyed{lead, away, learner}, "", "", "no other coordinator can be reached"},
	} {
		m, err := successor(c.members, c.id, map[string]bool{"f": true})
		if m.ID != c.want || (err == nil) != (c.err == "") || err != nil && !strings.Contains(err.Error(), c.err) {
			t.Errorf("successor %q: %q, %v; want %q, %q", c.id, m.ID, err, c.want, c.err)
		}
	}
}

// A call during which the coordinator loses the lead is repeated at the next leader, whatever it
// changes.
func TestNotLeadingIsRepeated(t *testing.T) {
	needsElections(t)
	g := startGroup(t, 3)
	m, lead := g.leader()
	j, err := OpenJournal(lead)
	if err != nil {
		t.Fatal(err)
	}
	m.end(t)
	changes := map[string]func() error{
		"append": func() error { _, err := j.Append(t.Context(), []byte("event")); return err },
		"put program": func() error {
			return lead.Programs().Put("0123", pieceSize+1, bytes.NewReader(make([]byte, pieceSize+1)))
		},
		"remove program": func() error { return lead.Programs().Remove("0123") },
		"name":           func() error { return lead.SetCluster("c") },
		"tasks":          lead.TaskStore().Propose(func(func(k, v []byte) bool) {}),
		"verify":         lead.Verify,
		"transfer":       func() error { return lead.Transfer("") },
	}
	for name, change := range changes {
		err := change()
		if code := status.Code(wire.ToStatus(fmt.Errorf("coordinator: %w", err))); code != codes.Unavailable {
			t.Errorf("%s: %v: %v", name, code, err)
		}
	}
	// Each error of raft arrives as one of these.
	for _, cause := range []error{raft.ErrNotLeader, raft.ErrLeadershipLost, raft.ErrRaftShutdown, raft.ErrLeadershipTransferInProgress, raft.ErrAbortedByRestore, errStale} {
		p := Pending{done: make(chan error, 1)}
		p.done <- cause
		err := fmt.Errorf("program 0123: %w", p.Wait())
		if code := status.Code(wire.ToStatus(err)); code != codes.Unavailable || !errors.Is(err, wire.ErrUnavailable) {
			t.Errorf("%v: %v", code, err)
		}
	}
}
