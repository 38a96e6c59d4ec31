package simulation

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/layshaft/layshaft/coordinator"
	"github.com/layshaft/layshaft/coordinator/replica"
	"github.com/layshaft/layshaft/coordinator/taskserver"
)

// cluster is a group of coordinators.
type cluster struct {
	net   *network
	log   *history
	peers []string
	nodes []*node

	over atomic.Bool // no process starts any longer
	led  atomic.Bool // the group has been formed

	// mu guards the fields below.
	mu       sync.Mutex
	problems []string
	finished map[string]bool // attempts of jobs that a worker has finished
	ended    sync.WaitGroup  // processes
}

// node is a machine. At most one process runs on it.
type node struct {
	c       *cluster
	address string

	// mu guards the fields below.
	mu      sync.Mutex
	rng     *rand.Rand // of its disks
	disk    *disk
	process *process
	// damaged means that a byte of the log has been flipped, and aside that a damaged directory has
	// been set aside.
	damaged bool
	aside   string
	// resumed is closed when the machine goes on after a pause; nil while it runs.
	resumed chan struct{}
	// late is how long the servers of a tenure go on after its end.
	late time.Duration
}

// process is a coordinator.
type process struct {
	n    *node
	r    *replica.Replica
	ends context.CancelFunc
	// dead is closed when the process has been killed, or has ended.
	dead chan struct{}
	once sync.Once

	// mu guards the fields below.
	mu     sync.Mutex
	serves *server
}

// server is what a leader serves.
type server struct {
	term  uint64
	t     *replica.Tenure
	tasks *taskserver.Server
	jobs  *coordinator.Coordinator
	// ending means that the tenure has ended, and the servers have not. What they read is old.
	ending atomic.Bool
}

func newCluster(seed uint64, members int, log *history) *cluster {
	source := func(n uint64) *rand.Rand { return rand.New(rand.NewPCG(seed, n)) }
	c := &cluster{net: newNetwork(seed), log: log, finished: map[string]bool{}}
	for i := range members {
		c.peers = append(c.peers, fmt.Sprintf("m%d:7070", i+1))
	}
	for i, a := range c.peers {
		n := &node{c: c, address: a, rng: source(100 + uint64(i))}
		n.disk = newDisk(n.rng)
		c.nodes = append(c.nodes, n)
	}
	return c
}

// problem notes a broken promise.
func (c *cluster) problem(format string, args ...any) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.problems = append(c.problems, fmt.Sprintf(format, args...))
	c.log.note("PROBLEM "+format, args...)
}

// start starts a process with the disk of the node.
func (n *node) start() {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.process != nil || n.c.over.Load() {
		return
	}
	e := n.c.net.listen(n.address)
	r, err := replica.Open(replica.Config{Dir: n.address, Disk: n.disk, Aside: n.aside, Address: n.address, Peers: n.c.peers, Listener: e, Dial: e.dial,
		Reserve: reserve, SnapshotEntries: 24, Trailing: 8, Idle: 50 * time.Millisecond, Log: slog.New(n.c.log.handler(n.address))})
	if err != nil {
		n.c.log.note("%s cannot be opened: %v", n.address, err)
		_ = e.Close()
		n.c.ended.Go(func() { n.replaceBroken(nil, err) })
		return
	}
	ctx, ends := context.WithCancel(context.Background())
	p := &process{n: n, r: r, ends: ends, dead: make(chan struct{})}
	n.process = p
	ran := make(chan error, 1)
	go func() { ran <- r.Run(ctx) }()
	n.c.ended.Go(func() {
		led := make(chan error, 1)
		go func() {
			defer ends()
			led <- r.LeadWhenever(ctx, func() bool { return false }, p.lead)
		}()
		err := <-ran
		ends()
		err = errors.Join(err, <-led, r.Close())
		killed := isClosed(p.dead)
		p.die()
		if !killed && err != nil {
			n.replaceBroken(p, err)
		}
	})
}

func (p *process) die() { p.once.Do(func() { close(p.dead) }) }

// replaceBroken does what package node does when a member has ended with an error: it begins anew
// with an empty directory if files are damaged.
func (n *node) replaceBroken(p *process, err error) {
	n.c.log.note("%s ended: %v", n.address, err)
	n.mu.Lock()
	if n.process == p {
		n.process = nil
		n.disk = n.disk.crash(false)
	}
	explained := n.damaged
	anew := errors.Is(err, replica.ErrDamaged) && explained
	if anew {
		n.disk, n.damaged, n.aside = newDisk(n.rng), false, "aside"
	}
	n.mu.Unlock()
	if text := err.Error(); !anew && !strings.Contains(text, "disk full") && !strings.Contains(text, "no space left") {
		n.c.problem("%s ended: %v", n.address, err)
	}
	if anew {
		n.start()
	}
}

// kill ends the process at once. With power, unsynced writes are lost, and other machines notice
// nothing.
func (n *node) kill(power bool) {
	n.mu.Lock()
	p := n.process
	n.process = nil
	if p == nil {
		n.mu.Unlock()
		return
	}
	n.killed(p, power)
	n.mu.Unlock()
}

// killed does the work of kill. The caller holds n.mu.
func (n *node) killed(p *process, power bool) {
	n.c.log.note("%s killed, power %v", n.address, power)
	p.die()
	n.c.net.mu.Lock()
	e := n.c.net.hosts[n.address]
	n.c.net.mu.Unlock()
	e.kill(power)
	n.disk = n.disk.crash(power)
	p.ends()
}

// killAtSync kills the process before the effect of a later sync.
func (n *node) killAtSync(after int, restart func()) {
	n.mu.Lock()
	p := n.process
	d := n.disk
	n.mu.Unlock()
	if p == nil {
		return
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.syncAt = d.syncs + after
	d.onSync = func() {
		n.mu.Lock()
		defer n.mu.Unlock()
		if n.process == p && n.disk == d {
			n.process = nil
			n.killed(p, true)
			restart()
		}
	}
}

// running returns the process of a node, or nil. It waits while the machine is paused.
func (n *node) running(ctx context.Context) *process {
	for {
		n.mu.Lock()
		p, resumed := n.process, n.resumed
		n.mu.Unlock()
		if resumed == nil {
			return p
		}
		select {
		case <-resumed:
		case <-ctx.Done():
			return nil
		}
	}
}

// cluster is the name of the cluster.
const clusterName = "simulated"

// lead coordinates during a tenure, as package node does, without its network.
func (p *process) lead(tenure context.Context, t *replica.Tenure) (err error) {
	s := &server{term: t.Term(), t: t}
	ctx, cancel := context.WithCancel(context.WithoutCancel(tenure))
	defer cancel()
	defer context.AfterFunc(tenure, func() {
		s.ending.Store(true)
		p.n.mu.Lock()
		late := p.n.late
		p.n.mu.Unlock()
		select {
		case <-time.After(late):
		case <-p.dead:
		case <-ctx.Done():
		}
		cancel()
	})()
	name, err := t.Cluster()
	if err == nil && name == "" {
		err = t.SetCluster(clusterName)
	}
	if err != nil {
		return err
	}
	journal, err := replica.OpenJournal(t)
	if err != nil {
		return err
	}
	log := slog.New(p.n.c.log.handler(p.n.address))
	jobs, err := coordinator.New(coordinator.Config{Journal: journal, Succeeds: true, Log: log, SnapshotEvery: 20})
	if err != nil {
		return err
	}
	tasks, err := taskserver.Open(taskserver.Config{Replica: t.TaskStore(), Cluster: clusterName, Identity: func(context.Context) string { return "someone" }, Log: log})
	if err != nil {
		return err
	}
	defer tasks.Close()
	decided, ran := make(chan error, 1), make(chan error, 1)
	deciding, stopDeciding := context.WithCancel(context.WithoutCancel(ctx))
	defer stopDeciding()
	go func() { decided <- jobs.Run(deciding) }()
	go func() { ran <- tasks.Run(ctx) }()
	maintained := make(chan error, 1)
	go func() { maintained <- t.Maintain(ctx) }()
	p.n.c.led.Store(true)
	p.n.c.log.note("%s leads in term %d", p.n.address, t.Term())
	defer func() { p.n.c.log.note("%s leads no longer in term %d: %v", p.n.address, t.Term(), err) }()
	s.tasks, s.jobs = tasks, jobs
	p.mu.Lock()
	p.serves = s
	p.mu.Unlock()
	var running error
	select {
	case running = <-ran:
	case err = <-decided:
		decided <- err
		cancel()
		running = <-ran
	}
	p.mu.Lock()
	p.serves = nil
	p.mu.Unlock()
	stopDeciding()
	cancel()
	return errors.Join(running, <-decided, <-maintained)
}

// errElsewhere is the answer of a member that does not lead.
type errElsewhere struct{ leader string }

func (e errElsewhere) Error() string { return "the leader is " + e.leader }

var errConnection = errors.New("connection broken")

// call runs a request of a client at a member, and returns its answer. It returns errElsewhere if the
// member does not lead, and errConnection if the request or the answer is lost. The request may
// outlive call, so it shares nothing with the caller that either changes.
func call[T any](ctx context.Context, c *cluster, rng *rand.Rand, to string, request func(ctx context.Context, s *server) (T, error)) (T, error) {
	type answer struct {
		value T
		err   error
	}
	var none T
	n := c.node(to)
	there, back, lost := trip(rng), trip(rng), rng.IntN(50) == 0
	if err := sleep(ctx, there); err != nil {
		return none, err
	}
	p := n.running(ctx)
	if p == nil {
		return none, errConnection
	}
	p.mu.Lock()
	s := p.serves
	p.mu.Unlock()
	if s == nil {
		return none, errElsewhere{p.r.Leader()}
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	answers := make(chan answer, 1)
	c.ended.Go(func() {
		value, err := request(ctx, s)
		answers <- answer{value, err}
	})
	var a answer
	select {
	case a = <-answers:
	case <-p.dead:
		return none, errConnection
	case <-ctx.Done():
		return none, ctx.Err()
	}
	if n.running(ctx) != p || isClosed(p.dead) || lost {
		return none, errConnection
	}
	if err := sleep(ctx, back); err != nil {
		return none, err
	}
	return a.value, a.err
}

// trip returns the time of a message between a client and a member.
func trip(rng *rand.Rand) time.Duration {
	return 100*time.Microsecond + time.Duration(rng.Int64N(int64(2*time.Millisecond)))
}

func (c *cluster) node(address string) *node {
	for _, n := range c.nodes {
		if n.address == address {
			return n
		}
	}
	return c.nodes[0]
}

// leader returns the node that leads with the latest term, or nil.
func (c *cluster) leader() *node {
	var best *node
	term := uint64(0)
	for _, n := range c.nodes {
		n.mu.Lock()
		p := n.process
		n.mu.Unlock()
		if p == nil {
			continue
		}
		p.mu.Lock()
		if s := p.serves; s != nil && s.term > term {
			best, term = n, s.term
		}
		p.mu.Unlock()
	}
	return best
}
