package replica

import (
	"net"
	"path/filepath"
	"testing"
	"time"

	"github.com/hashicorp/raft"
)

// A member that was told to take over, and then hears from nobody, follows nobody. The library
// still names the former leader if its last message arrived after the order to take over.
func TestCandidateFollowsNobody(t *testing.T) {
	g := &group{t: t, dir: t.TempDir()}
	var listeners [3]net.Listener
	for i := range listeners {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		listeners[i], g.peers = l, append(g.peers, l.Addr().String())
	}
	// This test is the leader. The third member is away.
	const leader, away = "leader", "away"
	fake := &streams{self: leader, listener: listeners[1], dial: dialTCP, incoming: make(chan net.Conn), closed: make(chan struct{}),
		identify: func() identity { return identity{ID: leader, Group: true} }}
	ended := make(chan error, 1)
	go func() { ended <- fake.run() }()
	_ = listeners[2].Close()
	m := g.start(listeners[0], filepath.Join(g.dir, "0"), g.peers)
	defer m.end(t)

	own := joinAddress(m.id, m.address)
	as := joinAddress(leader, g.peers[1])
	transport := raft.NewNetworkTransportWithConfig(&raft.NetworkTransportConfig{Stream: addressedStreams{fake, as}, MaxPool: 2, Timeout: 10 * time.Second})
	defer func() {
		_ = transport.Close()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	}()
	header := raft.RPCHeader{ProtocolVersion: raft.ProtocolVersionMax, ID: []byte(leader), Addr: transport.EncodePeer(leader, as)}
	lead := func(a *raft.AppendEntriesRequest) {
		t.Helper()
		a.RPCHeader = header
		var answer raft.AppendEntriesResponse
		if err := transport.AppendEntries(raft.ServerID(m.id), own, a, &answer); err != nil || !answer.Success {
			t.Fatalf("%+v, %v", answer, err)
		}
	}
	voters := raft.Configuration{Servers: []raft.Server{{ID: raft.ServerID(m.id), Address: own}, {ID: leader, Address: as}, {ID: away, Address: joinAddress(away, g.peers[2])}}}
	lead(&raft.AppendEntriesRequest{Term: 1, Entries: []*raft.Log{{Index: 1, Term: 1, Type: raft.LogConfiguration, Data: raft.EncodeConfiguration(voters)}}, LeaderCommitIndex: 1})
	awaitThat(t, "the member follows the leader", func() bool { return m.Leader() == g.peers[1] })
	var ordered raft.TimeoutNowResponse
	if err := transport.TimeoutNow(raft.ServerID(m.id), own, &raft.TimeoutNowRequest{RPCHeader: header}, &ordered); err != nil {
		t.Fatal(err)
	}
	awaitThat(t, "the member stands for election", func() bool { return m.Position().Term == 2 })
	lead(&raft.AppendEntriesRequest{Term: 2, PrevLogEntry: 1, PrevLogTerm: 1, LeaderCommitIndex: 1})
	if at := m.Leader(); at != "" {
		t.Errorf("leader %q after an order to take over", at)
	}
}
