package worker

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/layshaft/layshaft/internal/addresses"
	"github.com/layshaft/layshaft/internal/awake"
	"github.com/layshaft/layshaft/internal/filesys"
	"github.com/layshaft/layshaft/internal/filesys/remote"
	"github.com/layshaft/layshaft/internal/job"
	"github.com/layshaft/layshaft/internal/machine"
	"github.com/layshaft/layshaft/internal/report"
	"github.com/layshaft/layshaft/internal/state"
	"github.com/layshaft/layshaft/internal/wire"
	"github.com/layshaft/layshaft/worker/internal/runner"
)

// Runner makes programs of jobs whose code is a file. Its methods may be called concurrently.
type Runner interface {
	// Program returns the code of a job for one slot. path is the program's file, empty if the
	// job names none. env is added to the environment of the program's processes. An error other
	// than a *job.Failure fails the current attempt, which is tried again.
	Program(id job.ID, slot int, spec *job.Spec, path string, env []string) (*job.Program, error)
	// End stops everything that runs for a job and blocks until it has ended. No attempt of the
	// job may run.
	End(id job.ID)
	// Close stops everything and returns when it has ended.
	Close() error
}

// NodeConfig configures a worker process. Dir, Listener and Coordinators are required; the rest
// has defaults.
type NodeConfig struct {
	// Dir holds all files of the worker: outputs, scratch files, programs, and its identity. It
	// belongs to this process alone, and is created if it does not exist.
	Dir string
	// Slots is the number of attempts that run at once. Zero means one for each processor that
	// the process may use.
	Slots int
	// Reserved is how many of the slots only interactive jobs may use.
	Reserved int
	// Memory is how many bytes the attempts of all slots may hold before they spill. Zero means
	// 256 MiB per slot.
	Memory int64
	// Zone is the location of the worker. Empty means that the cluster has no zones.
	Zone string
	// Tags are the worker's abilities beside slots, such as gpu.
	Tags []string
	// Datasets are the directories that the worker offers, by the name of the dataset. They are
	// read-only. Into DIR:rw jobs may write outputs, and replace or remove what jobs wrote there.
	Datasets map[string]string
	// FileRoots are the directories below which jobs may read and write file:// paths. Without
	// one, jobs may use no such path.
	FileRoots []string
	// Codes are the paths of programs that the worker may run. They are hashed at the start.
	Codes []string
	// Builtin is the path of the program that runs the built-in pipelines, such as reports. Empty
	// means that the worker does not run them.
	Builtin string
	// AllowShippedCode allows programs that clients send.
	AllowShippedCode bool
	// ChildEnv lists variables of the worker's environment that user code gets beside the common
	// ones; see child.Environment.
	ChildEnv []string
	// Certificate is the identity in this process's certificate; empty without one. Dir belongs to
	// the first one, and NewNode refuses another.
	Certificate string
	// Version is the version of the worker's own program, for people.
	Version string

	// Listener accepts connections of peers and clients. Run closes it.
	Listener net.Listener
	// Advertise is the address for other processes. Empty means the address of Listener.
	Advertise string
	// ServerCreds secure connections to this worker, CoordinatorCreds those to the coordinator,
	// and PeerCreds those to other workers. Nil means open connections.
	ServerCreds, CoordinatorCreds, PeerCreds credentials.TransportCredentials
	// Diagnose returns what this process knows about itself; nil means nothing.
	Diagnose func() []report.DebugFile
	// Authorize returns an error if a call is forbidden. method is the call's full name. Nil
	// allows all calls.
	Authorize func(ctx context.Context, method string) error
	// Coordinators returns the addresses of the cluster's coordinators, at least one; the worker
	// tries them in this order. It blocks until they differ from known.
	Coordinators func(ctx context.Context, known []string) ([]string, error)
	// Dial opens a connection to an address; nil means TCP.
	Dial func(ctx context.Context, address string) (net.Conn, error)

	// Runner makes programs of code files. Run closes it. Nil means a child process for each
	// program. Child processes read and write files through a unix socket of the worker.
	Runner Runner

	// Sync makes outputs survive a crash of the machine, not only of the process.
	Sync bool
	// Compress stores outputs compressed where that pays, as it does over a network.
	Compress bool
	// Reserve is how many bytes of the disk to keep free. Zero means 256 MiB; a negative number
	// means none.
	Reserve int64
	// Quota is how many bytes the outputs may take; zero means no limit but the disk.
	Quota int64
	// Drain limits how long a draining worker waits until its attempts have ended and its outputs
	// are copied. Zero means 5 minutes.
	Drain time.Duration
	// Grace is how long user code may ignore the end of its context; zero means 10 s.
	Grace time.Duration
	// Log receives warnings and errors. Nil means no log.
	Log *slog.Logger
	// Audit receives a line for each change of a dataset and each refusal, with its user. Nil
	// means Log.
	Audit *slog.Logger
}

func (c NodeConfig) withDefaults() (NodeConfig, error) {
	switch {
	case c.Dir == "" || c.Listener == nil || c.Coordinators == nil:
		return c, errors.New("worker: Dir, Listener and Coordinators must all be set")
	case c.Slots < 0 || c.Memory < 0 || c.Quota < 0 || c.Drain < 0:
		return c, fmt.Errorf("worker: Slots %d, Memory %d, Quota %d, Drain %v: none may be negative", c.Slots, c.Memory, c.Quota, c.Drain)
	}
	c.Slots = cmp.Or(c.Slots, machine.Processors())
	if c.Reserved < 0 || c.Reserved > c.Slots {
		return c, fmt.Errorf("worker: Reserved %d: must be between 0 and the number of slots, %d", c.Reserved, c.Slots)
	}
	c.Memory = cmp.Or(c.Memory, int64(c.Slots)*256<<20)
	c.Drain = cmp.Or(c.Drain, 5*time.Minute)
	c.Advertise = cmp.Or(c.Advertise, c.Listener.Addr().String())
	for _, creds := range []*credentials.TransportCredentials{&c.ServerCreds, &c.CoordinatorCreds, &c.PeerCreds} {
		if *creds == nil {
			*creds = insecure.NewCredentials()
		}
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	c.Audit = cmp.Or(c.Audit, c.Log)
	var err error
	c.Dir, err = filepath.Abs(c.Dir)
	return c, err
}

// Node is one worker process: a Worker that serves peers and clients and follows a coordinator.
// If the coordinator disappears, the Node looks for it until it is found.
type Node struct {
	cfg      NodeConfig
	name     string
	log      *slog.Logger
	identity *identity
	w        *Worker
	peers    *peers
	// outputs serves the store to peers and clients.
	outputs *outputServer
	coord   *coordinatorConn
	jobs    *jobs
	files   *files
	local   net.Listener // where child processes reach files; nil without them
	out     *outbox
	lines   *lines
	drops   *drops

	removeSocket func() error // removes the socket of local

	joined   atomic.Bool   // the worker has joined a coordinator
	drain    chan struct{} // closed by Drain
	drainNow func()        // closes it
	// closed when the coordinator needs no output of this worker
	drained    chan struct{}
	drainedNow func() // closes it
	chores     sync.WaitGroup
}

// NewNode opens the directory and hashes the programs. It fails if the directory is in use or its
// disk is full, and if it cannot read a program or a dataset. Call Run to work. Call Close only
// if Run is not called.
func NewNode(cfg NodeConfig) (_ *Node, err error) {
	cfg, err = cfg.withDefaults()
	if err != nil {
		return nil, err
	}
	n := &Node{cfg: cfg, drain: make(chan struct{}), drained: make(chan struct{})}
	n.drainNow = sync.OnceFunc(func() { close(n.drain) })
	n.drainedNow = sync.OnceFunc(func() { close(n.drained) })
	if err := state.MakeDir(cfg.Dir, 0o700); err != nil {
		return nil, fmt.Errorf("worker: %w; choose a directory that can be made and written", err)
	}
	if n.identity, err = loadIdentity(cfg.Dir); err != nil {
		return nil, err
	}
	if err := n.identity.bind(cfg.Certificate); err != nil {
		return nil, err
	}
	n.name = n.identity.ID + "-" + randomName(6)
	n.log = cfg.Log.With("worker", n.name)
	n.out, n.lines, n.drops = newOutbox(), newLines(), newDrops()
	n.peers = newPeers(func(address string) (*grpc.ClientConn, error) {
		return n.dial(address, cfg.PeerCreds, grpc.WithIdleTimeout(peerIdle))
	})
	n.coord = &coordinatorConn{find: cfg.Coordinators, open: func(list addresses.List) (*addresses.Conn, error) {
		dial := cfg.Dial
		if dial == nil {
			dial = addresses.TCP
		}
		return addresses.Open(list, dial, wire.Plain(cfg.CoordinatorCreds) && cfg.Dial == nil, append(wire.DialOptions(), grpc.WithTransportCredentials(cfg.CoordinatorCreds), connectSoon)...)
	}}
	code, err := openCodeStore(filepath.Join(cfg.Dir, "code"), cfg.Codes, cfg.Builtin, cfg.AllowShippedCode)
	if err != nil {
		return nil, fmt.Errorf("worker %s: %w", n.name, err)
	}
	n.jobs = newJobs(n.coord, code, cfg.Runner)
	roots, err := filesys.OpenRoots(cfg.FileRoots)
	if err != nil {
		return nil, fmt.Errorf("worker %s: %w", n.name, err)
	}
	n.jobs.roots = strings.Join(roots.Dirs(), string(os.PathListSeparator))
	if len(filepath.SplitList(n.jobs.roots)) != len(cfg.FileRoots) {
		return nil, fmt.Errorf("worker %s: file roots %q: no path may contain %q; use a link", n.name, cfg.FileRoots, os.PathListSeparator)
	}
	if err := roots.Close(); err != nil { // each child opens them
		return nil, err
	}
	if n.files, err = newFiles(n.identity.ID, cfg.Datasets, n.coord, n.peers, cfg.Audit); err != nil {
		return nil, fmt.Errorf("worker %s: %w", n.name, err)
	}
	n.w, err = New(Config{
		Name: n.name, Dir: cfg.Dir, Slots: cfg.Slots, Memory: cfg.Memory, Sync: cfg.Sync, Compress: cfg.Compress, Reserve: cfg.Reserve,
		Quota: cfg.Quota, Drain: 0, Grace: cfg.Grace, Log: cfg.Log, Spec: n.jobs.spec, Program: n.jobs.program, Reporter: reporter{n},
		Peer: n.peers.outputs,
	})
	if err != nil {
		return nil, errors.Join(err, n.files.close())
	}
	n.outputs = newOutputServer(n.w.store, n.out.reportLost)
	if cfg.Runner == nil {
		// Children read files by themselves, so workers on one machine need not send them.
		n.peers.readsFiles = true
		if n.outputs.place, err = n.w.store.Place(); err != nil {
			n.log.Warn("workers on this machine read no files of this one", "err", err)
		}
		err = n.runChildren()
	}
	if err = errors.Join(err, n.identity.save()); err != nil {
		return nil, errors.Join(fmt.Errorf("worker %s: %w", n.name, err), n.Close())
	}
	return n, nil
}

// runChildren makes programs run in child processes.
func (n *Node) runChildren() (err error) {
	n.jobs.runner, err = runner.New(runner.Config{Dir: filepath.Join(n.cfg.Dir, "children"), Env: n.cfg.ChildEnv, Check: n.w.store.CheckSpace, Lines: n.lines.add, Log: n.log})
	if err != nil {
		return err
	}
	if n.local, n.removeSocket, err = listenLocal(n.cfg.Dir); err == nil {
		n.jobs.files = "unix:" + n.local.Addr().String()
	}
	return err
}

// Name returns the name of this process among the workers. Each start of the process has a new
// name.
func (n *Node) Name() string { return n.name }

// ID returns the worker ID, which belongs to the data directory and never changes.
func (n *Node) ID() string { return n.identity.ID }

// Draining returns a channel that is closed when the worker begins to drain, for any reason.
func (n *Node) Draining() <-chan struct{} { return n.drain }

// Files gives access to the files that user code on this worker may reach: files of datasets and
// of clients.
func (n *Node) Files() remote.Caller { return &n.files.Router }

// Drain makes the worker leave gracefully, without blocking. The worker takes no new attempts,
// finishes the running ones, and hands over outputs that others need. Then Run returns.
func (n *Node) Drain() { n.drainNow() }

// dial returns a connection to another process, which connects on first use.
func (n *Node) dial(address string, creds credentials.TransportCredentials, opts ...grpc.DialOption) (*grpc.ClientConn, error) {
	opts = append(append(wire.DialOptions(), grpc.WithTransportCredentials(creds), connectParams), opts...)
	if n.cfg.Dial != nil {
		opts = append(opts, grpc.WithContextDialer(n.cfg.Dial))
	}
	return grpc.NewClient("passthrough:///"+address, opts...)
}

// Run works until outer ends, which cancels running attempts, or until the worker has drained. In
// both cases it returns nil. It returns an error if no coordinator lets in a worker that has not
// joined before, or if a listener fails. All resources are closed when it returns. Call it once.
func (n *Node) Run(outer context.Context) error {
	ctx, end := context.WithCancelCause(outer)
	defer end(nil)
	serving, servers := n.serve(end)
	var work errgroup.Group
	working, stopWork := context.WithCancel(context.WithoutCancel(ctx))
	work.Go(func() error { return n.w.Run(working) })
	var family errgroup.Group
	family.Go(func() error { end(n.followCoordinator(ctx)); return nil })
	family.Go(func() error {
		select {
		case <-n.drain:
			n.leave(ctx)
			end(errLeft)
		case <-ctx.Done():
		}
		return nil
	})
	_ = family.Wait()

	stopWork()
	err := n.peers.close() // so that no attempt waits for a peer
	_ = work.Wait()
	n.chores.Wait()
	for _, s := range servers {
		s.Stop()
	}
	_ = serving.Wait()
	if why := context.Cause(ctx); outer.Err() == nil && !errors.Is(why, errLeft) {
		err = errors.Join(why, err)
	}
	return errors.Join(err, n.Close())
}

// errLeft means that the worker has drained.
var errLeft = errors.New("worker left")

// Close releases the resources of a Node that was not run.
func (n *Node) Close() error {
	var err error
	if n.jobs.runner != nil {
		err = n.jobs.runner.Close()
	}
	if n.local != nil {
		err = errors.Join(err, n.removeSocket())
	}
	return errors.Join(err, n.peers.close(), n.coord.close(), n.files.close(), n.w.Close())
}

// serve starts the servers. A listener that fails ends the node.
func (n *Node) serve(end context.CancelCauseFunc) (*errgroup.Group, []*grpc.Server) {
	var serving errgroup.Group
	start := func(s *grpc.Server, l net.Listener) *grpc.Server {
		serving.Go(func() error {
			if err := s.Serve(l); err != nil {
				end(fmt.Errorf("worker %s: serve %s: %w", n.name, l.Addr(), err))
			}
			return nil
		})
		return s
	}
	servers := []*grpc.Server{start(n.server(), n.cfg.Listener)}
	if n.local != nil {
		servers = append(servers, start(n.localServer(), n.local))
	}
	return &serving, servers
}

// noCoordinatorWait is how long a leaving worker waits for a missing coordinator. Its outputs
// stay on its disk for its next start.
const noCoordinatorWait = 30 * time.Second

// isIdle reports whether the worker holds no outputs and runs no attempts.
func (n *Node) isIdle() bool {
	return len(n.w.Jobs()) == 0 && len(n.w.Progress()) == 0 && n.out.empty()
}

// leave drains the worker. It returns when one of these is true:
//
//   - the coordinator needs nothing of this worker, and has acknowledged every report
//   - there is no coordinator, and there is nothing to hand over
//   - there has been no coordinator for noCoordinatorWait
//   - Config.Drain has passed
func (n *Node) leave(ctx context.Context) {
	n.log.Info("draining")
	n.w.Drain()
	patient, cancel := awake.WithTimeout(ctx, n.cfg.Drain)
	defer cancel()
	if !n.joined.Load() && len(n.w.Jobs()) == 0 {
		n.drainedNow() // no coordinator has seen this worker
	}
	look := time.NewTicker(20 * time.Millisecond)
	defer look.Stop()
	since, alone := time.Time{}, false // no coordinator, and the wait for one is over
	for waits, warned := true, false; waits; {
		select {
		case <-n.drained:
			waits = false
		case <-patient.Done():
			waits = false
		// Without a coordinator nobody can take outputs over; but it may come back.
		case <-look.C:
			if n.out.isConnected() {
				since = time.Time{}
				continue
			}
			if since.IsZero() {
				since = time.Now()
			}
			alone = n.isIdle() || time.Since(since) >= noCoordinatorWait && len(n.w.Progress()) == 0
			if waits = !alone; waits && !warned {
				warned = true
				n.log.Warn("draining: no coordinator to hand over to", "jobs", len(n.w.Jobs()), "attempts", len(n.w.Progress()), "limit", min(noCoordinatorWait, n.cfg.Drain))
			}
		}
	}
	for patient.Err() == nil && !alone && (len(n.w.Progress()) > 0 || !n.out.empty()) {
		select {
		case <-look.C:
		case <-patient.Done():
		}
	}
	if ctx.Err() != nil {
		return
	}
	if patient.Err() != nil {
		n.log.Warn("leaving before everything was handed over", "after", n.cfg.Drain, "jobs", len(n.w.Jobs()), "attempts", len(n.w.Progress()))
	}
	n.out.leave(ctx)
	n.log.Info("left")
}
