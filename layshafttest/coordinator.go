package layshafttest

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"golang.org/x/sync/errgroup"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/layshaft/layshaft/coordinator"
	"github.com/layshaft/layshaft/coordinator/datadir"
	"github.com/layshaft/layshaft/coordinator/jobserver"
	"github.com/layshaft/layshaft/internal/gossip"
	"github.com/layshaft/layshaft/internal/gossip/gossiptest"
	"github.com/layshaft/layshaft/internal/job"
	"github.com/layshaft/layshaft/internal/report"
	"github.com/layshaft/layshaft/internal/security"
	"github.com/layshaft/layshaft/internal/wire"
	"github.com/layshaft/layshaft/layshafttest/internal/network"
)

// Coordinator is a coordinator of a cluster. Restart gives it a new process; this value stays
// the same.
type Coordinator struct {
	c *Cluster
	i int // number among several

	// life is held while a process starts or ends.
	life sync.Mutex
	// mu guards the fields below.
	mu     sync.Mutex
	p      *process
	core   *coordinator.Coordinator // of the latest process; nil until its data is open, or while another one leads
	gossip *gossiptest.Transport
	at     string // address of the next process
}

func (x *Coordinator) place() string {
	if x.c.opt.coordinators == 1 {
		return "coordinator"
	}
	return fmt.Sprintf("coordinator %d", x.i)
}

func (x *Coordinator) process() *process {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.p
}

// Kill ends the coordinator like kill -9. It does not block. If it led, another one of several
// leads after about a second.
func (x *Coordinator) Kill() { x.process().kill() }

// Stop ends the coordinator like SIGTERM, and blocks until it has ended.
func (x *Coordinator) Stop() { x.process().stop() }

// Restart starts the coordinator again, with the same data and address. It stops a running one
// first, and blocks until the previous process has ended.
func (x *Coordinator) Restart() {
	x.life.Lock()
	defer x.life.Unlock()
	x.Stop()
	host := x.c.net.Host(x.place())
	x.mu.Lock()
	if x.gossip == nil {
		x.gossip = x.c.gossip.Listen()
	} else {
		x.gossip = x.gossip.Restart()
	}
	transport := x.gossip
	x.mu.Unlock()
	x.c.recordPlace(transport, x.place())
	x.mu.Lock()
	x.core = nil
	address := x.at
	main := x.main
	if x.c.opt.coordinators > 1 {
		main = x.member
	}
	x.p = run(x.c.t, x.place(), host, transport, func(ctx context.Context, p *process) error { return main(ctx, p, address) })
	x.mu.Unlock()
}

// main is the main function of the coordinator's process.
func (x *Coordinator) main(ctx context.Context, p *process, address string) (err error) {
	c := x.c
	data, err := datadir.Open(x.dir(), datadir.Options{NoSync: true, Reserve: -1, Log: c.log})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, data.Close()) }()
	core, err := coordinator.New(coordinator.Config{Journal: &journal{data.Journal, c.opt.appended, p}, Log: c.log, Policy: c.opt.policy, SnapshotEvery: c.opt.snapshot})
	if err != nil {
		return err
	}
	x.setCore(core)
	queued, err := c.openTasks(core, data, nil)
	if err != nil {
		return err
	}
	if queued != nil {
		defer func() { err = errors.Join(err, queued.Close()) }()
	}
	server, err := jobserver.New(jobserver.Config{Coordinator: core, Data: data, Tasks: queued, Dial: dialer(p.host), Log: c.log})
	if err != nil {
		return err
	}
	g, err := gossip.New(gossip.Config{Self: gossip.Member{Name: gossip.FreshName("coordinator"), Role: string(security.Coordinator), ID: data.Cluster, Address: address},
		Transport: p.gossip, Log: c.log})
	if err != nil {
		return err
	}
	l, err := p.host.Listen(address)
	if err != nil {
		return err
	}
	deciding, stopDeciding := context.WithCancel(context.WithoutCancel(ctx))
	decided := make(chan error, 1)
	go func() { decided <- core.Run(deciding) }()
	family, within := errgroup.WithContext(ctx)
	family.Go(func() error { return server.Run(within, l) })
	if queued != nil {
		family.Go(func() error { return queued.Run(within) })
	}
	family.Go(func() error { return g.Run(within) })
	err = family.Wait()
	stopDeciding()
	if failed := <-decided; !errors.Is(failed, context.Canceled) {
		err = failed
	}
	return err
}

// dialer returns a function that connects host to workers.
func dialer(host *network.Host) func(address string) (*grpc.ClientConn, error) {
	return func(address string) (*grpc.ClientConn, error) {
		return grpc.NewClient("passthrough:///"+address, append(wire.DialOptions(),
			grpc.WithTransportCredentials(insecure.NewCredentials()), grpc.WithContextDialer(host.Dial))...)
	}
}

// Leads reports whether the coordinator runs and decides about jobs.
func (x *Coordinator) Leads() bool { return x.running() != nil }

// running returns the running coordinator, or nil while it is down or does not lead.
func (x *Coordinator) running() *coordinator.Coordinator {
	x.mu.Lock()
	defer x.mu.Unlock()
	if !x.p.isAlive() {
		return nil
	}
	return x.core
}

// Workers returns the workers with a lease, or nil while the coordinator is down.
func (x *Coordinator) Workers() []report.Worker {
	if core := x.running(); core != nil {
		return core.Workers()
	}
	return nil
}

// Audit returns the invariants that the coordinator finds violated, or nil while it is down.
func (x *Coordinator) Audit() []string {
	if core := x.running(); core != nil {
		return coordinator.Audit(core)
	}
	return nil
}

func (x *Coordinator) job(id string) (report.Job, bool) {
	core := x.running()
	if core == nil {
		return report.Job{}, false
	}
	return core.Status(job.ID(id))
}

// verdict decides about events before the journal writes them.
type verdict int

const (
	keep    verdict = iota
	lose            // kill the coordinator before the write
	killNow         // kill the coordinator after the write, before it acts on the events
)

// journal lets tests kill the coordinator around each append. It writes nothing after a kill.
type journal struct {
	coordinator.Journal
	appended func(events [][]byte) verdict
	p        *process
}

func (j *journal) Append(ctx context.Context, events ...[]byte) (uint64, error) {
	if !j.p.isAlive() {
		return 0, errKilled
	}
	v := keep
	if j.appended != nil {
		v = j.appended(events)
	}
	if v == lose {
		j.p.kill()
		return 0, errKilled
	}
	last, err := j.Journal.Append(ctx, events...)
	if v == killNow {
		j.p.kill()
		return 0, errKilled
	}
	return last, err
}

func (j *journal) Snapshot(seq uint64, state []byte) error {
	if !j.p.isAlive() {
		return errKilled
	}
	return j.Journal.Snapshot(seq, state)
}

// recordPlace records the place of a gossip address.
func (c *Cluster) recordPlace(t *gossiptest.Transport, place string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.places[t.Address()] = place
}
