// Package taskserver serves queued tasks: over gRPC, over Gearman's protocol, and over HTTP. Its
// tasks can use the slots of a coordinator's workers.
package taskserver

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/layshaft/layshaft/coordinator"
	"github.com/layshaft/layshaft/coordinator/internal/bodies"
	"github.com/layshaft/layshaft/coordinator/internal/desk"
	"github.com/layshaft/layshaft/coordinator/internal/gearman"
	"github.com/layshaft/layshaft/coordinator/internal/queue"
	"github.com/layshaft/layshaft/coordinator/internal/schedule"
	"github.com/layshaft/layshaft/internal/wire"
	"github.com/layshaft/layshaft/internal/wire/taskwire"
	tasksv1 "github.com/layshaft/layshaft/proto/layshaft/tasks/v1"
)

// Config configures a server of queued tasks. The zero value is good, but keeps everything in
// memory.
type Config struct {
	// Dir is where tasks are stored; it is created when missing. Empty means memory only.
	Dir string
	// Replica, if set, takes the place of Dir: tasks are stored on several machines.
	Replica Replica
	// Memory is the approximate limit, in bytes, for payloads in memory that need not survive a
	// restart; more of them go to disk. Zero means 32 MiB. Without Dir, further tasks are refused
	// at the limit, and zero means 1 GiB.
	Memory int64
	// NoSync lets the operating system decide when to write; see datadir.Options.
	NoSync bool
	// Reserve is how many bytes of the disk stay free; see datadir.Options.
	Reserve int64
	// AcceptLoss drops damaged data once, instead of an error at the start; see datadir.Options.
	AcceptLoss bool
	// KeepDead is how long dead letters are kept. Zero means 90 days, negative means no limit.
	KeepDead time.Duration
	// MaxDead is the largest number of dead letters per function; the oldest are dropped. Zero
	// means 100,000.
	MaxDead int
	// Lease is how long a worker may be silent before its tasks go to other workers. Zero means 9
	// s.
	Lease time.Duration
	// Coordinator, if set, lets task workers use its workers' slots; see TaskHello.slots_of. It
	// must not run yet. If nil, slot sharing is rejected.
	Coordinator *coordinator.Coordinator
	// Cluster is the name of the cluster, for workers.
	Cluster string
	// Identity names the caller, for the audit log. Nil means the name in its certificate, else its
	// address.
	Identity func(ctx context.Context) string
	// Audit logs who changed, cancelled and dropped what. Nil means Log.
	Audit *slog.Logger
	// Log receives messages for the operator; nil means silence.
	Log *slog.Logger
}

// Replica is a database with the same content on several machines.
type Replica = bodies.Replica

// Server serves queued tasks over gRPC, as TasksService, and over Gearman's protocol.
type Server struct {
	tasksv1.UnimplementedTasksServiceServer
	cfg Config
	// epoch differs after each start.
	epoch uint64
	log   *slog.Logger
	desk  *desk.Desk
	// lender is nil without a coordinator.
	lender *lender
	// stop is closed when Run ends; streams end then, too.
	stop chan struct{}
	// streams counts goroutines of streams.
	streams sync.WaitGroup

	// mu guards the fields below.
	mu sync.Mutex
	// over means that no new stream may start.
	over    bool
	workers map[string]*workerStream // by name
}

// Open opens the stored tasks. The caller starts the work with Run, and closes the server after
// Run.
func Open(cfg Config) (*Server, error) {
	if cfg.Lease < 0 || cfg.Memory < 0 || cfg.MaxDead < 0 {
		return nil, fmt.Errorf("tasks: Lease %v, Memory %d, MaxDead %d: must not be negative", cfg.Lease, cfg.Memory, cfg.MaxDead)
	}
	if cfg.Lease == 0 {
		cfg.Lease = 9 * time.Second
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	if cfg.Audit == nil {
		cfg.Audit = cfg.Log
	}
	if cfg.Identity == nil {
		cfg.Identity = wire.CallerName
	}
	t := &Server{cfg: cfg, epoch: rand.Uint64() | 1, log: cfg.Log, stop: make(chan struct{}), workers: map[string]*workerStream{}}
	shell := desk.Config{Dir: cfg.Dir, Replica: cfg.Replica, Memory: cfg.Memory, NoSync: cfg.NoSync, Reserve: cfg.Reserve, AcceptLoss: cfg.AcceptLoss, Log: cfg.Log,
		Queue: queue.Config{MaxDead: cfg.MaxDead, KeepDead: max(cmp.Or(cfg.KeepDead, 90*24*time.Hour), 0)}}
	if cfg.Coordinator != nil {
		t.lender = newLender(cfg.Coordinator)
		shell.Slots, shell.OnGranted, shell.OnShort = t.lender, t.lender.granted, t.lender.short
	}
	var err error
	if t.desk, err = desk.Open(shell); err != nil {
		return nil, err
	}
	return t, nil
}

// Register adds TasksService to a gRPC server. A jobserver.Server with Config.Tasks does so.
func (t *Server) Register(r grpc.ServiceRegistrar) { tasksv1.RegisterTasksServiceServer(r, t) }

// Run works until ctx ends, and then returns nil; or it returns the error of the store, after
// which nothing can be stored. It must run while calls are served, and ends calls that follow
// something. Call it once.
func (t *Server) Run(ctx context.Context) error {
	working, stopWorking := context.WithCancel(context.WithoutCancel(ctx))
	defer stopWorking()
	ended := make(chan error, 1)
	go func() { ended <- t.desk.Run(working) }()
	t.streams.Go(t.logWaiting)
	if t.lender != nil {
		t.streams.Go(func() { t.lender.run(t.stop, t.desk) })
	}
	var err error
	select {
	case <-ctx.Done():
		t.endStreams()
		stopWorking()
		err = <-ended
	case err = <-ended:
		t.endStreams()
	}
	t.streams.Wait()
	return err
}

func (t *Server) endStreams() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.over = true
	t.desk.Stop()
	close(t.stop)
}

// runBothSides runs the two sides of a stream. It returns the first error of either side, nil when
// send returns nil, or the reason for a stop from outside. The other side ends when the handler has
// returned.
func (t *Server) runBothSides(ctx context.Context, receive, send func() error) error {
	ends := make(chan error, 2)
	t.mu.Lock()
	if t.over {
		t.mu.Unlock()
		return t.stopping()
	}
	t.streams.Add(2)
	t.mu.Unlock()
	go func() {
		defer t.streams.Done()
		if err := receive(); err != nil {
			ends <- err
		}
	}()
	go func() {
		defer t.streams.Done()
		ends <- send()
	}()
	select {
	case err := <-ends:
		return err
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-t.stop:
		return t.stopping()
	}
}

// Snapshot returns the durable tasks as of one moment, for a backup. The caller closes it.
func (t *Server) Snapshot() *bodies.Snapshot { return t.desk.Snapshot() }

// Close closes the store.
func (t *Server) Close() error { return t.desk.Close() }

// GearmanOptions configure the Gearman protocol. The zero value is a good default.
type GearmanOptions struct {
	// Memory keeps background jobs in memory only, as gearmand does. By default they are on disk
	// before they are acknowledged.
	Memory bool
	// RetryFailed retries jobs that a worker reports as failed. By default such a job ends, as with
	// gearmand.
	RetryFailed bool
	// Keep is how long the outcome and the result of a background job can be queried by function
	// and unique key. Zero means not at all, as with gearmand.
	Keep time.Duration
	// TLS secures connections; nil means none.
	TLS *tls.Config
	// MayWork reports, with TLS, whether a client may be a worker. Nil permits every client.
	MayWork func(tls.ConnectionState) bool
	// Exceptions sends WORK_EXCEPTION also to clients without the option for it.
	Exceptions bool
	// Retries is how many times a job is run at most, when its worker is lost or too slow; with
	// RetryFailed also when it fails. Zero means until it succeeds, as with gearmand; with
	// RetryFailed 5. FunctionRetries are limits of single functions.
	Retries         int
	FunctionRetries map[string]int
	// MaxPayload is the largest input or result of a job in bytes. Zero means 64 MiB.
	MaxPayload int
}

// Delays before a job of Gearman is repeated after the loss of its worker. The first time there is
// none.
const (
	gearmanBackoff    = time.Millisecond
	gearmanMaxBackoff = 100 * time.Millisecond
)

// policy returns the policy of jobs.
func (o *GearmanOptions) policy() queue.Policy {
	if o.RetryFailed {
		return queue.Policy{Keep: o.Keep, Attempts: o.Retries}
	}
	return queue.Policy{Keep: o.Keep, Attempts: cmp.Or(o.Retries, queue.Endless), Backoff: gearmanBackoff, MaxBackoff: gearmanMaxBackoff}
}

// ServeGearman serves Gearman's clients and workers on l until ctx ends, and then returns nil. It
// closes l.
func (t *Server) ServeGearman(ctx context.Context, l net.Listener, opt GearmanOptions) error {
	s := &gearman.Server{Listener: l, Broker: t.broker(opt),
		TLS: opt.TLS, MayWork: opt.MayWork, Exceptions: opt.Exceptions, MaxBody: cmp.Or(opt.MaxPayload, maxBody) + maxGearmanArgs, Log: t.log}
	serving, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	defer context.AfterFunc(ctx, func() {
		t.desk.Stop() // so that the end of the connections is no loss
		stop()
	})()
	err := s.Run(serving)
	if ctx.Err() != nil {
		return nil
	}
	return err
}

// maxGearmanArgs is the space for the names beside the payload of a packet.
const maxGearmanArgs = 2 << 10

func (t *Server) broker(opt GearmanOptions) *desk.Broker {
	attempts := map[string]int{}
	for f, n := range opt.FunctionRetries {
		attempts[f] = cmp.Or(n, queue.Endless)
	}
	return desk.NewBroker(t.desk, desk.BrokerConfig{Memory: opt.Memory, RetryFailed: opt.RetryFailed, Policy: opt.policy(), Attempts: attempts,
		MaxBody: opt.MaxPayload, Gathered: taskwire.GatheredJSON})
}

// taskError gives an error of the desk its status code.
func taskError(err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, desk.ErrFull):
		return status.Error(codes.ResourceExhausted, err.Error())
	case errors.Is(err, desk.ErrInvalid):
		return fmt.Errorf("%w: %w", wire.ErrInvalid, err)
	case errors.Is(err, desk.ErrUnknown):
		return status.Error(codes.NotFound, err.Error())
	case errors.Is(err, schedule.ErrInvalid):
		return fmt.Errorf("%w: %w", wire.ErrInvalid, err)
	case errors.Is(err, schedule.ErrUnknown):
		return status.Error(codes.NotFound, err.Error())
	case errors.Is(err, schedule.ErrExists):
		return status.Error(codes.AlreadyExists, err.Error())
	case errors.Is(err, schedule.ErrRunning):
		return status.Error(codes.FailedPrecondition, err.Error())
	case errors.Is(err, desk.ErrBusy):
		return status.Error(codes.FailedPrecondition, err.Error())
	case errors.Is(err, desk.ErrStopped): // the client repeats its request at the next coordinator
		return fmt.Errorf("%w: %w", wire.ErrStopped, err)
	}
	return err
}

func (t *Server) audit(ctx context.Context, action string, attrs ...any) {
	t.cfg.Audit.Info("audit", append([]any{"action", action, "who", t.cfg.Identity(ctx)}, attrs...)...)
}

func (t *Server) stopping() error { return fmt.Errorf("%w: it goes down", wire.ErrStopped) }
