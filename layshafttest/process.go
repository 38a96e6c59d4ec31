package layshafttest

import (
	"context"
	"errors"
	"sync"

	"github.com/layshaft/layshaft/internal/gossip/gossiptest"
	"github.com/layshaft/layshaft/layshafttest/internal/network"
)

// process is one process of a coordinator or worker, from start to end.
type process struct {
	host   *network.Host
	gossip *gossiptest.Transport
	cancel context.CancelCauseFunc
	ended  chan struct{} // closed when all of it has ended
	killed chan struct{} // closed by kill
	once   sync.Once
}

var (
	errKilled  = errors.New("killed")
	errStopped = errors.New("stopped")
)

// run runs main as a process until it returns.
func run(t T, name string, host *network.Host, gossip *gossiptest.Transport, main func(ctx context.Context, p *process) error) *process {
	ctx, cancel := context.WithCancelCause(context.Background())
	p := &process{host: host, gossip: gossip, cancel: cancel, ended: make(chan struct{}), killed: make(chan struct{})}
	go func() {
		err := main(ctx, p)
		select {
		case <-p.killed:
		default:
			if err != nil {
				t.Errorf("%s ended: %v", name, err)
			}
		}
		host.Stop()
		gossip.Stop()
		close(p.ended)
	}()
	return p
}

// kill takes the process off the network at once. Whatever it still does has no effect outside.
func (p *process) kill() {
	if p == nil {
		return
	}
	p.once.Do(func() {
		close(p.killed)
		p.host.Stop()
		p.gossip.Stop()
		p.cancel(errKilled)
	})
}

// stop stops the process and waits for its end.
func (p *process) stop() {
	if p == nil {
		return
	}
	p.cancel(errStopped)
	<-p.ended
}

// isAlive reports whether the process runs.
func (p *process) isAlive() bool {
	if p == nil {
		return false
	}
	select {
	case <-p.killed:
		return false
	case <-p.ended:
		return false
	default:
		return true
	}
}
