package node

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/errgroup"

	"github.com/layshaft/layshaft/internal/addresses"
	"github.com/layshaft/layshaft/internal/gossip"
	"github.com/layshaft/layshaft/internal/machine"
	"github.com/layshaft/layshaft/internal/security"
	calls "github.com/layshaft/layshaft/tasks"
	"github.com/layshaft/layshaft/worker"
)

// WorkerConfig configures a worker process. Node.Dir and Join are required, and the required
// fields of Common.
type WorkerConfig struct {
	Common
	// Node configures the worker. RunWorker sets its listeners, credentials, Advertise,
	// Authorize, Coordinators, Certificate, Compress, Version and Log.
	Node worker.NodeConfig
	// Functions, if set, registers task functions; their tasks use slots of this worker.
	Functions func(w *calls.Worker)
	// Drain is closed to drain the worker; see worker.Node. Nil means never.
	Drain <-chan struct{}
}

// RunWorker runs a worker until ctx ends, which cancels its attempts, or until it has drained;
// then it returns nil. It fails if an address is in use or unprotected, if a directory or program
// cannot be opened, or if no coordinator lets in a worker that has not joined before.
func RunWorker(ctx context.Context, cfg WorkerConfig) (err error) {
	p, err := cfg.open(security.Worker)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, p.close()) }()
	find := gossip.NewFinder(string(security.Coordinator))
	n := cfg.Node
	n.Listener, n.Advertise, n.Coordinators = p.grpc, p.advertise, find.Addresses
	n.ServerCreds, n.Authorize = p.serverCreds(), p.authorize()
	n.CoordinatorCreds, n.PeerCreds = p.clientCreds(security.Coordinator), p.clientCreds(security.Worker)
	n.Compress = !security.Loopback(p.advertise)
	n.Version, n.Log = cfg.Version, cfg.Log
	n.Diagnose = cfg.Diagnose.Files
	if p.tls != nil {
		n.Certificate = p.tls.Identity().String()
	}
	n.Slots = cmp.Or(n.Slots, machine.Processors())
	node, err := worker.NewNode(n)
	if err != nil {
		return err
	}
	g, err := cfg.gossip(gossip.Member{Name: node.Name(), Role: string(security.Worker), Address: p.advertise, HTTP: p.httpAddress(),
		Slots: n.Slots, Zone: n.Zone}, find.Update)
	if err != nil {
		return errors.Join(err, node.Close())
	}

	own, err := newWorkerPage(cfg.Version, node.Status, g.Members, p.notice)
	if err != nil {
		return errors.Join(err, node.Close())
	}

	// The worker ends first, because it needs the others until it has left.
	family, within := errgroup.WithContext(context.WithoutCancel(ctx))
	within, end := context.WithCancel(within)
	family.Go(func() error {
		defer end()
		working, stop := context.WithCancel(ctx)
		defer stop()
		defer context.AfterFunc(within, stop)()
		return node.Run(working)
	})
	family.Go(func() error { return g.Run(within) })
	family.Go(func() error { return p.watch(within) })
	shown := &page{ready: find.HasAddress, metrics: []prometheus.Collector{own}, shown: own.handler(), tls: p.tls}
	if cfg.Diagnose != nil {
		cfg.Diagnose.SetMetrics(shown.text)
	}
	if p.http != nil {
		family.Go(func() error { return shown.serve(within, p.http, p.tls, cfg.Log) })
	}
	family.Go(func() error {
		select {
		case <-cfg.Drain:
			node.Drain()
		case <-within.Done():
		}
		return nil
	})
	if cfg.Functions != nil {
		family.Go(func() error { return cfg.serveCalls(within, node, n, find) })
	}
	family.Go(func() error { return cfg.ready(within, p, g) })
	err = family.Wait()
	cfg.Log.Info("ended")
	return err
}

// serveCalls runs tasks in slots of the worker. It returns after the worker has drained or ctx
// has ended, and the running tasks have ended.
func (c *WorkerConfig) serveCalls(ctx context.Context, node *worker.Node, n worker.NodeConfig, find *gossip.Finder) error {
	w := calls.NewWorker(calls.Cluster{Address: "coordinator", TLS: calls.TLSFiles(c.TLS), Log: c.Log, Dial: func(ctx context.Context, _ string) (net.Conn, error) {
		address, err := find.Address(ctx)
		if err != nil {
			return nil, err
		}
		return addresses.TCP(ctx, address)
	}})
	w.Name, w.SlotsOf, w.Concurrency, w.Drain = node.ID(), node.ID(), n.Slots, n.Drain
	c.Functions(w)
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	ended := make(chan struct{})
	defer close(ended)
	go func() {
		select {
		case <-node.Draining():
			stop()
		case <-ended:
		}
	}()
	if err := w.Run(ctx); err != nil {
		return fmt.Errorf("functions: %w", err)
	}
	return nil
}
