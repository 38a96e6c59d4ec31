package replica

import (
	"sync"

	"github.com/hashicorp/raft"
)

// maxAnswers is more than a sender adds before it notices that nobody reads the answers.
const maxAnswers = 1024

// pipeline is a pipeline with room for answers. The library stops reading answers after a refusal.
// Without room, its sender would never end its wait for the reader: it notices its end
// between two messages alone (hashicorp/raft issue 612).
type pipeline struct {
	raft.AppendPipeline
	answers chan raft.AppendFuture
	closed  chan struct{}
	once    sync.Once
}

// newPipeline returns a pipeline that works until Close.
func newPipeline(p raft.AppendPipeline) *pipeline {
	out := &pipeline{AppendPipeline: p, answers: make(chan raft.AppendFuture, maxAnswers), closed: make(chan struct{})}
	go out.relay()
	return out
}

// relay passes the answers on until Close.
func (p *pipeline) relay() {
	for {
		select {
		case f := <-p.AppendPipeline.Consumer():
			select {
			case p.answers <- f:
			case <-p.closed:
				return
			}
		case <-p.closed:
			return
		}
	}
}

// Consumer implements raft.AppendPipeline.
func (p *pipeline) Consumer() <-chan raft.AppendFuture { return p.answers }

// Close implements raft.AppendPipeline.
func (p *pipeline) Close() error {
	p.once.Do(func() { close(p.closed) })
	return p.AppendPipeline.Close()
}
