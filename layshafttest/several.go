package layshafttest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/layshaft/layshaft/coordinator"
	"github.com/layshaft/layshaft/coordinator/datadir"
	"github.com/layshaft/layshaft/coordinator/jobserver"
	"github.com/layshaft/layshaft/coordinator/replica"
	"github.com/layshaft/layshaft/internal/gossip"
	"github.com/layshaft/layshaft/internal/report"
	"github.com/layshaft/layshaft/internal/security"
	"github.com/layshaft/layshaft/internal/wire"
)

// Coordinators sets the number of coordinators, 1 by default. With three or five, any one may be
// killed or lose its disk, and jobs go on; see [Cluster.Coordinators].
func Coordinators(n int) Option { return func(o *options) { o.coordinators = n } }

// Coordinators returns all coordinators, in a fixed order.
func (c *Cluster) Coordinators() []*Coordinator { return append([]*Coordinator(nil), c.coords...) }

// DestroyDisk kills the coordinator and removes its data. After Restart it begins with nothing. One
// of several gets its state from the others. DestroyDisk blocks until the process has ended.
func (x *Coordinator) DestroyDisk() {
	x.life.Lock()
	defer x.life.Unlock()
	x.Kill()
	x.Stop()
	if err := os.RemoveAll(x.dir()); err != nil {
		x.c.t.Errorf("%s: %v", x.place(), err)
	}
}

// member is the main function of one of several coordinators.
func (x *Coordinator) member(ctx context.Context, p *process, address string) (err error) {
	c := x.c
	dir, err := datadir.OpenMember(x.dir(), datadir.Options{NoSync: true, Reserve: -1, Log: c.log})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, dir.Close()) }()
	between, err := p.host.Listen(memberAddress(address))
	if err != nil {
		return err
	}
	r, err := replica.Open(replica.Config{Dir: dir.ReplicaDir(), Address: address, Peers: strings.Split(c.address, ","), HasState: dir.HasState(), Single: dir.Single(), Aside: dir.Aside(),
		Listener: between, Dial: func(ctx context.Context, to string) (net.Conn, error) { return p.host.Dial(ctx, memberAddress(to)) }, Reserve: -1, Log: c.log})
	if err != nil {
		return errors.Join(err, between.Close())
	}
	defer func() { err = errors.Join(err, r.Close()) }()
	l, err := p.host.Listen(address)
	if err != nil {
		return err
	}
	d := newDoor(l, p, r, address)
	family, within := errgroup.WithContext(ctx)
	// The member takes part until it has handed over.
	taking, stopTaking := context.WithCancel(context.WithoutCancel(ctx))
	defer stopTaking()
	took := make(chan error, 1)
	go func() {
		err := r.Run(taking)
		took <- err
		if err != nil {
			p.cancel(err)
		}
	}()
	standby := jobserver.NewStandby(jobserver.Config{Members: nobodyLeads{}, Log: c.log})
	family.Go(func() error { return standby.Run(within, d.standby) })
	family.Go(func() error { return d.run(within) })
	family.Go(func() error { return x.joinGossip(within, p, r, address) })
	family.Go(func() error {
		return r.LeadWhenever(within, p.isAlive, func(ctx context.Context, t *replica.Tenure) error { return x.lead(ctx, p, dir, d, t) })
	})
	err = family.Wait()
	stopTaking()
	return errors.Join(err, <-took)
}

// memberAddress returns the address for the messages between coordinators.
func memberAddress(address string) string { return strings.Replace(address, ":70", ":71", 1) }

// joinGossip gossips once the name of the cluster is known.
func (x *Coordinator) joinGossip(ctx context.Context, p *process, r *replica.Replica, address string) error {
	for r.Cluster() == "" {
		select {
		case <-time.After(50 * time.Millisecond):
		case <-ctx.Done():
			return nil
		}
	}
	g, err := gossip.New(gossip.Config{Self: gossip.Member{Name: gossip.FreshName("coordinator"), Role: string(security.Coordinator), ID: r.Cluster(), Address: address},
		Join: x.c.gossipAddresses(), Transport: p.gossip, Log: x.c.log})
	if err != nil {
		return err
	}
	return g.Run(ctx)
}

// lead coordinates during a tenure.
func (x *Coordinator) lead(ctx context.Context, p *process, dir *datadir.Member, d *door, t *replica.Tenure) (err error) {
	data, err := dir.Lead(t)
	if err != nil {
		return err
	}
	c := x.c
	core, err := coordinator.New(coordinator.Config{Journal: &journal{data.Journal, c.opt.appended, p}, Succeeds: true, Log: c.log, Policy: c.opt.policy, SnapshotEvery: c.opt.snapshot})
	if err != nil {
		return err
	}
	queued, err := c.openTasks(core, data, t.TaskStore())
	if err != nil {
		return err
	}
	if queued != nil {
		defer func() { err = errors.Join(err, queued.Close()) }()
	}
	server, err := jobserver.New(jobserver.Config{Coordinator: core, Verify: t.Verify, Data: data, Tasks: queued, Dial: dialer(p.host), Log: c.log})
	if err != nil {
		return err
	}
	x.setCore(core)
	defer x.setCore(nil)
	deciding, stopDeciding := context.WithCancel(context.WithoutCancel(ctx))
	decided := make(chan error, 1)
	go func() { decided <- core.Run(deciding) }()
	family, within := errgroup.WithContext(ctx)
	l := d.lead()
	family.Go(func() error { return server.Run(within, l) })
	if queued != nil {
		family.Go(func() error { return queued.Run(within) })
	}
	family.Go(func() error { return t.Maintain(within) })
	err = family.Wait()
	stopDeciding()
	if failed := <-decided; !errors.Is(failed, context.Canceled) {
		err = failed
	}
	return err
}

func (x *Coordinator) setCore(core *coordinator.Coordinator) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.core = core
}

// nobodyLeads answers at a coordinator that knows no leader.
type nobodyLeads struct{}

func (nobodyLeads) List(context.Context) (report.Coordinators, error) {
	return report.Coordinators{Stale: "no coordinator leads yet"}, nil
}

func (nobodyLeads) Add(context.Context, string) (report.Coordinator, string, error) {
	return report.Coordinator{}, "", wire.ErrNoLeader
}

func (nobodyLeads) Remove(context.Context, string) (string, error) { return "", wire.ErrNoLeader }

func (nobodyLeads) Transfer(context.Context, string, string) error { return wire.ErrNoLeader }

// door accepts the connections of a coordinator. While it leads, it serves them. Otherwise it
// forwards them to the leader, byte by byte. Without a leader, a server refuses each call.
type door struct {
	net.Listener
	p       *process
	r       *replica.Replica
	address string
	standby *room

	// mu guards the fields below.
	mu      sync.Mutex
	leading *room // nil while this coordinator does not lead
	passed  map[net.Conn]bool
}

func newDoor(l net.Listener, p *process, r *replica.Replica, address string) *door {
	return &door{Listener: l, p: p, r: r, address: address, standby: newRoom(l), passed: map[net.Conn]bool{}}
}

// lead returns a listener that gets all connections from now on, until it is closed.
func (d *door) lead() net.Listener {
	x := newRoom(d.Listener)
	d.mu.Lock()
	d.leading = x
	d.mu.Unlock()
	d.cut()
	return x
}

// cut closes the connections that this coordinator does not serve as the leader.
func (d *door) cut() {
	d.mu.Lock()
	defer d.mu.Unlock()
	for c := range d.passed {
		_ = c.Close()
	}
	clear(d.passed)
}

// run accepts connections until ctx ends.
func (d *door) run(ctx context.Context) error {
	var passing sync.WaitGroup
	defer passing.Wait()
	defer d.cut()
	defer context.AfterFunc(ctx, func() { _ = d.Close() })()
	passing.Go(func() {
		for leader := ""; ; {
			changed := d.r.Changed()
			if now := d.r.Leader(); now != leader {
				leader = now
				d.cut()
			}
			select {
			case <-changed:
			case <-ctx.Done():
				return
			}
		}
	})
	for {
		c, err := d.Accept()
		if err != nil {
			if ctx.Err() != nil || !d.p.isAlive() {
				return nil
			}
			return fmt.Errorf("%s: %w", d.address, err)
		}
		passing.Go(func() { d.pass(ctx, c) })
	}
}

// pass passes on one connection, and blocks while it forwards it.
func (d *door) pass(ctx context.Context, c net.Conn) {
	d.mu.Lock()
	leading := d.leading
	if leading == nil || leading.isClosed() {
		leading = nil
		d.passed[c] = true
	}
	d.mu.Unlock()
	leader := d.r.Leader()
	switch {
	case leading != nil:
		leading.put(c)
		return
	case leader == "" || leader == d.address:
		d.standby.put(c)
		return
	}
	to, err := d.p.host.Dial(ctx, leader)
	if err != nil {
		_ = c.Close()
		return
	}
	var both sync.WaitGroup
	for _, x := range [][2]net.Conn{{c, to}, {to, c}} {
		both.Go(func() {
			_, _ = io.Copy(x[0], x[1])
			_ = c.Close()
			_ = to.Close()
		})
	}
	both.Wait()
	d.mu.Lock()
	delete(d.passed, c)
	d.mu.Unlock()
}

// room is a listener that gets its connections from a door.
type room struct {
	net.Listener // for Addr
	conns        chan net.Conn
	closed       chan struct{}
	once         sync.Once
}

func newRoom(l net.Listener) *room {
	return &room{Listener: l, conns: make(chan net.Conn), closed: make(chan struct{})}
}

func (x *room) put(c net.Conn) {
	select {
	case x.conns <- c:
	case <-x.closed:
		_ = c.Close()
	}
}

func (x *room) isClosed() bool {
	select {
	case <-x.closed:
		return true
	default:
		return false
	}
}

// Accept implements net.Listener.
func (x *room) Accept() (net.Conn, error) {
	select {
	case c := <-x.conns:
		return c, nil
	case <-x.closed:
		return nil, net.ErrClosed
	}
}

// Close implements net.Listener. The door stays open.
func (x *room) Close() error {
	x.once.Do(func() { close(x.closed) })
	return nil
}

// dir returns the data directory.
func (x *Coordinator) dir() string {
	return filepath.Join(x.c.dir, strings.ReplaceAll(x.place(), " ", "-"))
}
