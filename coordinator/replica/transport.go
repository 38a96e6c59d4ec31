package replica

import (
	"errors"
	"sync"

	"github.com/hashicorp/raft"
)

// transport carries the messages of raft. It keeps two rules of raftLog: a leader announces a
// commit index only as far as its own log is durable, and a member confirms durable entries only.
type transport struct {
	*raft.NetworkTransport
	log *raftLog
	// snapshot returns the newest snapshot whose content the databases have, or nil.
	snapshot func() *raft.SnapshotMeta
	received chan raft.RPC
	closed   chan struct{}
	once     sync.Once
	wg       sync.WaitGroup
}

// newTransport returns a transport that works until Close.
func newTransport(n *raft.NetworkTransport, log *raftLog, snapshot func() *raft.SnapshotMeta) *transport {
	t := &transport{NetworkTransport: n, log: log, snapshot: snapshot, received: make(chan raft.RPC), closed: make(chan struct{})}
	t.wg.Go(t.receive)
	return t
}

// receive passes messages to raft.
func (t *transport) receive() {
	for {
		select {
		case rpc := <-t.NetworkTransport.Consumer():
			if req, ok := rpc.Command.(*raft.AppendEntriesRequest); ok && len(req.Entries) > 0 {
				last := req.Entries[len(req.Entries)-1]
				if last.Term > req.Term {
					rpc.Respond(nil, errFormerTerm)
					continue
				}
				rpc = t.confirmLater(rpc, last.Index)
			}
			rpc = t.adapt(rpc)
			select {
			case t.received <- rpc:
			case <-t.closed:
				return
			}
		case <-t.closed:
			return
		}
	}
}

// Close implements raft.WithClose. It may be called repeatedly.
func (t *transport) Close() error {
	t.once.Do(func() { close(t.closed) })
	t.wg.Wait()
	return t.NetworkTransport.Close()
}

// confirmLater returns rpc with an answer that waits until the entries up to last are durable.
func (t *transport) confirmLater(rpc raft.RPC, last uint64) raft.RPC {
	answer := rpc.RespChan
	decided := make(chan raft.RPCResponse, 1)
	rpc.RespChan = decided
	t.wg.Go(func() {
		var r raft.RPCResponse
		select {
		case r = <-decided:
		case <-t.closed:
			return
		}
		if resp, ok := r.Response.(*raft.AppendEntriesResponse); ok && resp.Success && r.Error == nil {
			if err := t.log.await(last); err != nil {
				resp.Success, r.Error = false, err
			}
		}
		answer <- r // has room for the only answer
	})
	return rpc
}

// errFormerTerm refuses entries that are newer than the term of their message. A leader that leads
// again may still have a goroutine of its former term, which sends what the log has by now. The
// receiver would store entries of a term that it does not know.
var errFormerTerm = errors.New("the sender led in a former term")

// Consumer implements raft.Transport.
func (t *transport) Consumer() <-chan raft.RPC { return t.received }

// AppendEntries implements raft.Transport.
func (t *transport) AppendEntries(id raft.ServerID, target raft.ServerAddress, args *raft.AppendEntriesRequest, resp *raft.AppendEntriesResponse) error {
	args.LeaderCommitIndex = t.log.durable(args.LeaderCommitIndex)
	return t.NetworkTransport.AppendEntries(id, target, args, resp)
}

// AppendEntriesPipeline implements raft.Transport.
func (t *transport) AppendEntriesPipeline(id raft.ServerID, target raft.ServerAddress) (raft.AppendPipeline, error) {
	p, err := t.NetworkTransport.AppendEntriesPipeline(id, target)
	if err != nil {
		return nil, err
	}
	return durablePipeline{newPipeline(p), t.log}, nil
}

// durablePipeline announces durable commit indexes.
type durablePipeline struct {
	raft.AppendPipeline
	log *raftLog
}

// AppendEntries implements raft.AppendPipeline.
func (p durablePipeline) AppendEntries(args *raft.AppendEntriesRequest, resp *raft.AppendEntriesResponse) (raft.AppendFuture, error) {
	args.LeaderCommitIndex = p.log.durable(args.LeaderCommitIndex)
	return p.AppendPipeline.AppendEntries(args, resp)
}
