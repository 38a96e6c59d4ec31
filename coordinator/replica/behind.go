package replica

import (
	"io"

	"github.com/hashicorp/raft"
)

// A leader may believe that a member has less than it has: an answer was lost, or a message was on
// its way for long. The library then refuses entries whose predecessor the member has dropped, for
// as long as the leader sends them. It also installs a snapshot in place of newer entries, and
// stops the process when it misses these entries later. The functions below change such messages
// before the library gets them. For example, with a snapshot of the entries up to 30:
//
//	entries 11 to 35        become entries 31 to 35, after entry 30
//	a snapshot up to 20     becomes a heartbeat, and is confirmed
//
// Both are safe: what a snapshot contains was decided, so every later leader has the same entries.

// adapt returns the message for raft in place of rpc.
func (t *transport) adapt(rpc raft.RPC) raft.RPC {
	switch req := rpc.Command.(type) {
	case *raft.AppendEntriesRequest:
		if m := t.snapshot(); m != nil {
			skipBefore(req, m)
		}
		limitCommit(req)
	case *raft.InstallSnapshotRequest:
		if t.hasEntry(req.LastLogIndex, req.LastLogTerm) {
			return t.skipSnapshot(rpc, req)
		}
	}
	return rpc
}

// skipBefore drops the entries of req that snapshot m contains.
func skipBefore(req *raft.AppendEntriesRequest, m *raft.SnapshotMeta) {
	if req.PrevLogEntry >= m.Index || len(req.Entries) == 0 {
		return
	}
	n := min(m.Index-req.PrevLogEntry, uint64(len(req.Entries)))
	req.Entries = req.Entries[n:]
	req.PrevLogEntry, req.PrevLogTerm = m.Index, m.Term
}

// limitCommit limits the commit index of req to the entries that the member has in common with the
// leader after it. The library would take later entries of its own log as decided.
func limitCommit(req *raft.AppendEntriesRequest) {
	last := req.PrevLogEntry
	if n := len(req.Entries); n > 0 {
		last = req.Entries[n-1].Index
	}
	req.LeaderCommitIndex = min(req.LeaderCommitIndex, last)
}

// hasEntry reports whether the member has an entry, in its snapshot or in its log.
func (t *transport) hasEntry(index, term uint64) bool {
	if m := t.snapshot(); m != nil && index <= m.Index {
		return true
	}
	var e raft.Log
	return t.log.GetLog(index, &e) == nil && e.Term == term
}

// skipSnapshot confirms a snapshot that the member does not need. Raft gets a heartbeat, for the
// term and the leader.
func (t *transport) skipSnapshot(rpc raft.RPC, req *raft.InstallSnapshotRequest) raft.RPC {
	decided := make(chan raft.RPCResponse, 1)
	t.wg.Go(func() {
		_, _ = io.Copy(io.Discard, rpc.Reader)
		var r raft.RPCResponse
		select {
		case r = <-decided:
		case <-t.closed:
			return
		}
		out := &raft.InstallSnapshotResponse{}
		if resp, ok := r.Response.(*raft.AppendEntriesResponse); ok {
			out.RPCHeader, out.Term, out.Success = resp.RPCHeader, resp.Term, resp.Success
		}
		if r.Error == nil && out.Success {
			r.Error = t.log.await(req.LastLogIndex)
		}
		rpc.Respond(out, r.Error)
	})
	return raft.RPC{Command: &raft.AppendEntriesRequest{RPCHeader: req.RPCHeader, Term: req.Term}, RespChan: decided}
}
