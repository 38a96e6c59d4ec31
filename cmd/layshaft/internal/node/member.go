package node

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/layshaft/layshaft/coordinator/datadir"
	"github.com/layshaft/layshaft/coordinator/replica"
	"github.com/layshaft/layshaft/internal/security"
)

// errSetAside means that the replicated state was damaged and is set aside. The member begins anew.
var errSetAside = errors.New("damaged state was set aside")

// runMember runs one of several coordinators until ctx ends; then it returns nil. It returns
// errSetAside if it must begin anew.
func (c *CoordinatorConfig) runMember(ctx context.Context, p *ports, l *served) (err error) {
	if err := checkPeers(c.Peers); err != nil {
		return Refused{err}
	}
	c.warnOfCount()
	dir, err := datadir.OpenMember(c.Dir, c.Data)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, dir.Close()) }()
	damage := c.takePart(ctx, p, l, dir)
	if !errors.Is(damage, replica.ErrDamaged) || len(c.Peers) == 1 || ctx.Err() != nil {
		return damage
	}
	aside, err := dir.SetAside()
	if err != nil {
		return errors.Join(damage, err)
	}
	c.Log.Error("files of this coordinator are damaged; it begins with an empty directory and gets its state from the others", "kept", aside, "err", damage)
	return errSetAside
}

// takePart is a member of the group until ctx ends; then it returns nil. While the member leads, it
// coordinates; otherwise it forwards its connections to the leader. The error wraps
// replica.ErrDamaged if files of the member are damaged.
func (c *CoordinatorConfig) takePart(ctx context.Context, p *ports, l *served, dir *datadir.Member) (err error) {
	doors := newDoors(p.grpc)
	r, err := replica.Open(replica.Config{Dir: dir.ReplicaDir(), Address: p.advertise, Peers: c.Peers, HasState: dir.HasState(), Single: dir.Single(), Aside: dir.Aside(), HTTP: p.httpAddress(),
		Listener: securedListener{doors.members, p.tls}, Dial: p.dialMember, Timeout: c.ElectionTimeout, Reserve: c.Data.Reserve, Log: c.Log})
	if err != nil {
		return refusePeers(err)
	}
	defer func() { err = errors.Join(err, r.Close()) }()
	doors.elected = func() bool { return r.Leader() == p.advertise }
	doors.leader, doors.changed = func() string {
		if at := r.Leader(); at != p.advertise {
			return at
		}
		return ""
	}, r.Changed
	doors.find = r.FindLeader
	doors.add(forwardGRPC, l.grpc)
	doors.add(forwardHTTP, l.http)
	doors.add(forwardGearman, l.gearman)
	doors.add(forwardGearmanHTTP, l.gearmanHTTP)
	if p.sameUser {
		doors.admit = security.CheckSameUser
	}

	family, within := errgroup.WithContext(ctx)
	// The member takes part until its servers have ended, so that they can hand over.
	taking, stopTaking := context.WithCancel(context.WithoutCancel(ctx))
	defer stopTaking()
	took := make(chan error, 1)
	go func() { took <- r.Run(taking) }()
	family.Go(func() error { return doors.run(within) })
	family.Go(func() error { return limitMemory(within) })
	family.Go(func() error { return p.watch(within) })
	family.Go(func() error { return c.joinGossip(within, p, r) })
	family.Go(func() error { return cutAfterChange(within, doors, r) })
	family.Go(func() error { return c.watchPeers(within, r) })
	family.Go(func() error { return c.watchRemoval(within, r) })
	asFollower := &members{r: r, address: p.advertise}
	family.Go(func() error { return c.standby(p, asFollower).Run(within, doors.standby) })
	if doors.page != nil {
		family.Go(func() error { return c.followerPage(p, doors, r, asFollower).serve(within, doors.page, p.tls, c.Log) })
	}
	family.Go(func() error {
		return r.LeadWhenever(within, nil, func(ctx context.Context, t *replica.Tenure) error { return c.lead(ctx, p, doors, dir, r, t) })
	})
	family.Go(func() error {
		select {
		case err := <-took:
			took <- err
			return err
		case <-within.Done():
			return nil
		}
	})
	err = family.Wait()
	stopTaking()
	if failed := <-took; err == nil {
		err = failed
	}
	c.Log.Info("ended")
	return refusePeers(err)
}

// refusePeers marks an error about -peers as one of the configuration.
func refusePeers(err error) error {
	if errors.Is(err, replica.ErrPeers) {
		return Refused{err}
	}
	return err
}

// cutAfterChange closes forwarded connections when another member leads.
func cutAfterChange(ctx context.Context, d *doors, r *replica.Replica) error {
	for was := ""; ; {
		changed := r.Changed()
		if now := r.Leader(); now != was {
			was = now
			d.cut()
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return nil
		}
	}
}

// clusterPoll is the pause between two looks for the name of a new cluster.
const clusterPoll = 50 * time.Millisecond

// joinGossip gossips once the name of the cluster is known.
func (c *CoordinatorConfig) joinGossip(ctx context.Context, p *ports, r *replica.Replica) error {
	for r.Cluster() == "" {
		select {
		case <-time.After(clusterPoll):
		case <-ctx.Done():
			return nil
		}
	}
	g, err := c.coordinatorGossip(p, r.Cluster())
	if err != nil {
		return err
	}
	family, within := errgroup.WithContext(ctx)
	family.Go(func() error { return g.Run(within) })
	family.Go(func() error { return c.ready(within, p, g) })
	return family.Wait()
}

// lead coordinates during a tenure.
func (c *CoordinatorConfig) lead(ctx context.Context, p *ports, d *doors, dir *datadir.Member, r *replica.Replica, t *replica.Tenure) error {
	began := time.Now()
	data, err := dir.Lead(t)
	if err != nil {
		return err
	}
	l := d.open()
	defer l.closeAll()
	m := &members{r: r, address: p.advertise, t: t}
	return c.coordinate(ctx, p, l, data, t.TaskStore(), &tenure{members: m, verify: t.Verify, run: []func(context.Context) error{m.run, t.Maintain}, ready: func(context.Context) error {
		c.Log.Info("this coordinator leads", "term", t.Term(), "took", time.Since(began))
		return nil
	}})
}

// securedListener encrypts connections between members.
type securedListener struct {
	net.Listener
	tls *security.TLS
}

func (l securedListener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil || l.tls == nil {
		return c, err
	}
	config := l.tls.Peers(security.Coordinator)
	config.NextProtos = []string{"h2"} // the credentials of gRPC at the other end require it
	return tls.Server(c, config), nil
}

// dialMember opens a connection for the messages of raft.
func (p *ports) dialMember(ctx context.Context, address string) (net.Conn, error) {
	c, err := dialMember(ctx, address, memberStream)
	if err != nil || p.tls == nil {
		return c, err
	}
	secured, _, err := p.tls.Client(security.Coordinator).ClientHandshake(ctx, address, c)
	if err != nil {
		_ = c.Close()
		return nil, err
	}
	return secured, nil
}

// checkPeers returns an error unless the list of coordinators can be a group.
func checkPeers(peers []string) error {
	for i, a := range peers {
		if _, _, err := net.SplitHostPort(a); err != nil {
			return fmt.Errorf("-peers: %q is no HOST:PORT: %w", a, err)
		}
		if slices.Contains(peers[:i], a) {
			return fmt.Errorf("-peers: %s is named twice", a)
		}
	}
	return nil
}
