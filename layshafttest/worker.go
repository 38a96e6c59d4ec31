package layshafttest

import (
	"context"
	"errors"
	"fmt"
	"net"
	"path/filepath"
	"strings"
	"sync"

	"github.com/layshaft/layshaft/internal/gossip"
	"github.com/layshaft/layshaft/internal/security"
	"github.com/layshaft/layshaft/layshafttest/internal/network"
	"github.com/layshaft/layshaft/worker"
)

// Worker is a worker of a cluster. Restart gives it a new process; this value stays the same.
type Worker struct {
	c *Cluster
	i int

	// life is held while a process starts or ends.
	life sync.Mutex
	// mu guards the fields below.
	mu    sync.Mutex
	p     *process
	node  *worker.Node // of the latest process
	lives int
}

func (w *Worker) place() string { return fmt.Sprintf("worker %d", w.i) }

func (w *Worker) process() *process {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.p
}

// Kill ends the worker like kill -9. It does not block.
func (w *Worker) Kill() { w.process().kill() }

// Stop ends the worker like SIGINT: its attempts are cancelled. It blocks until the worker has
// ended.
func (w *Worker) Stop() { w.process().stop() }

// Drain ends the worker like SIGTERM: it finishes its attempts without taking new ones, hands
// over its outputs, and leaves. It blocks until the worker has ended.
func (w *Worker) Drain() {
	w.mu.Lock()
	p, node := w.p, w.node
	w.mu.Unlock()
	if !p.isAlive() {
		return
	}
	node.Drain()
	<-p.ended
}

// Silence isolates the worker from everything, like a stopped machine, until Resume. The worker
// continues to work.
func (w *Worker) Silence() { w.c.isolate(w, true) }

// Resume ends Silence.
func (w *Worker) Resume() { w.c.isolate(w, false) }

// Name returns the worker name of the latest process, as the coordinator lists it.
func (w *Worker) Name() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.node.Name()
}

// Restart starts the worker again, on its own disk. It stops a running one first. It blocks until
// the previous process has ended and the disk is open; the worker then joins by itself.
func (w *Worker) Restart() {
	w.life.Lock()
	defer w.life.Unlock()
	w.Stop()
	if err := w.start(); err != nil {
		w.c.t.Errorf("%s did not start: %v", w.place(), err)
	}
}

func (w *Worker) start() (err error) {
	c := w.c
	host, transport := c.net.Host(w.place()), c.gossip.Listen()
	c.recordPlace(transport, w.place())
	w.mu.Lock()
	w.lives++
	address := fmt.Sprintf("10.1.%d.%d:%d", w.i>>8, w.i&255, 7000+w.lives)
	w.mu.Unlock()
	defer func() {
		if err != nil {
			host.Stop()
			transport.Stop()
		}
	}()
	l, err := host.Listen(address)
	if err != nil {
		return err
	}
	find := gossip.NewFinder(string(security.Coordinator))
	code := &runner{w: w}
	node, err := worker.NewNode(worker.NodeConfig{
		Dir: filepath.Join(c.dir, fmt.Sprintf("worker-%d", w.i)), Slots: c.opt.slots, Memory: c.opt.memory * int64(c.opt.slots), Zone: w.zone(), Datasets: w.datasets(),
		AllowShippedCode: true, Listener: l, Coordinators: find.Addresses, Dial: w.dial(host), Runner: code, Compress: true, Reserve: -1, Log: c.log,
	})
	if err != nil {
		return err
	}
	code.files = node.Files()
	g, err := gossip.New(gossip.Config{Self: gossip.Member{Name: node.Name(), Role: string(security.Worker), Address: address, Slots: c.opt.slots, Zone: w.zone()},
		Join: c.gossipAddresses(), Transport: transport, Changed: find.Update, Log: c.log})
	if err != nil {
		return errors.Join(err, node.Close())
	}
	p := run(c.t, w.place(), host, transport, func(ctx context.Context, _ *process) error { return runWorker(ctx, node, g) })
	w.mu.Lock()
	w.p, w.node = p, node
	w.mu.Unlock()
	return nil
}

// dial returns a function that connects the worker to others.
func (w *Worker) dial(host *network.Host) func(ctx context.Context, address string) (net.Conn, error) {
	x := w.c.opt.chaos
	if !x.has(Repeat) {
		return host.Dial
	}
	return func(ctx context.Context, address string) (net.Conn, error) {
		conn, err := host.Dial(ctx, address)
		if err != nil || !strings.Contains(w.c.address, address) {
			return conn, err
		}
		return network.Repeat(conn, x.repeats), nil
	}
}

// runWorker runs a worker and its gossip until the worker ends.
func runWorker(ctx context.Context, node *worker.Node, g *gossip.Gossip) error {
	within, end := context.WithCancel(context.WithoutCancel(ctx))
	gossiped := make(chan error, 1)
	go func() { gossiped <- g.Run(within) }()
	err := node.Run(ctx)
	end()
	return errors.Join(err, <-gossiped)
}

func (w *Worker) zone() string {
	if zones := w.c.opt.zones; len(zones) > 0 {
		return zones[w.i%len(zones)]
	}
	return ""
}

func (w *Worker) datasets() map[string]string {
	dirs := map[string]string{}
	for name, dir := range w.c.opt.datasets {
		if d := dir(w.i); d != "" {
			dirs[name] = d
		}
	}
	return dirs
}

func (x *Coordinator) gossipAddress() string {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.gossip.Address()
}
