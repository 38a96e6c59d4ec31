// Package jobserver serves jobs and workers over gRPC: clients submit and watch jobs through it, and
// workers keep a stream open to it, over which the coordinator reaches them.
package jobserver

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"

	"github.com/layshaft/layshaft/coordinator"
	"github.com/layshaft/layshaft/coordinator/datadir"
	"github.com/layshaft/layshaft/coordinator/taskserver"
	"github.com/layshaft/layshaft/internal/job"
	"github.com/layshaft/layshaft/internal/wire"
	layshaftv1 "github.com/layshaft/layshaft/proto/layshaft/v1"
)

// Config says what a server needs. Coordinator and Data are needed; the rest has defaults.
type Config struct {
	// Coordinator is whom the server serves. Somebody else runs it.
	Coordinator *coordinator.Coordinator
	// Data gives the name of the cluster and the store of programs.
	Data *datadir.Data
	// Credentials secure connections; nil means none: whoever can connect may do everything.
	Credentials credentials.TransportCredentials
	// Authorize says whether a call may go on, by an error that wraps wire.ErrForbidden or wire.ErrUnauthenticated; nil means always.
	Authorize func(ctx context.Context, fullMethod string) error
	// Identity names the caller, for the audit log and as the owner of jobs. Nil means the name in its certificate, else its address.
	Identity func(ctx context.Context) string
	// Dial connects to a worker, to ask what files it has. It must not block. Nil means an insecure connection.
	Dial func(address string) (*grpc.ClientConn, error)
	// Grace is how long a worker whose connection broke may take to come back before its attempts run elsewhere. Zero means 500 ms.
	Grace time.Duration
	// ClientLease is how long the client of a job that is not detached may be away, and come back, before the job is cancelled: its rows, and
	// files of its machine, need it. Zero means 1 minute, negative for ever.
	ClientLease time.Duration
	// KeepCode is how long a program that no job needs is kept after its last use. Zero means a day.
	KeepCode time.Duration
	// MaxCode is the limit of a program's size, in bytes. Zero means 2 GiB.
	MaxCode int64
	// Tasks are single calls of functions, served by the same port, which a backup holds too; nil means none.
	Tasks *taskserver.Server
	// Audit hears who submitted, cancelled, dropped, shipped and drained what, and whom Authorize refused. Nil means Log.
	Audit *slog.Logger
	// Log takes what the operator should see; nil means silence.
	Log *slog.Logger
}

func (c Config) withDefaults() (Config, error) {
	switch {
	case c.Coordinator == nil || c.Data == nil:
		return c, errors.New("coordinator server: Coordinator and Data must be set")
	case c.Grace < 0 || c.KeepCode < 0 || c.MaxCode < 0:
		return c, fmt.Errorf("coordinator server: Grace %v, KeepCode %v, MaxCode %d: must not be negative", c.Grace, c.KeepCode, c.MaxCode)
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	if c.Audit == nil {
		c.Audit = c.Log
	}
	if c.Identity == nil {
		c.Identity = wire.CallerName
	}
	if c.Dial == nil {
		c.Dial = dialInsecure
	}
	if c.Grace == 0 {
		c.Grace = 500 * time.Millisecond
	}
	if c.ClientLease == 0 {
		c.ClientLease = time.Minute
	}
	if c.KeepCode == 0 {
		c.KeepCode = 24 * time.Hour
	}
	if c.MaxCode == 0 {
		c.MaxCode = 2 << 30
	}
	return c, nil
}

// Server offers a coordinator to clients and workers, over gRPC.
type Server struct {
	layshaftv1.UnimplementedCoordinatorServiceServer
	cfg       Config
	log       *slog.Logger
	c         *coordinator.Coordinator
	grpc      *grpc.Server
	stop      chan struct{} // closed when the server goes down
	receivers sync.WaitGroup
	listed    listed

	// mu guards the fields below. It is taken before a session's and the coordinator's.
	mu       sync.Mutex
	sessions map[string]*session // by worker
	present  map[string]*session // by the lasting name of the worker; the last that joined
	progress progress
	clients  map[job.ID]*attendance // of jobs that are not detached and have not ended
}

// New returns a server that does nothing until Run. The error names the field of cfg that is wrong.
func New(cfg Config) (*Server, error) {
	cfg, err := cfg.withDefaults()
	if err != nil {
		return nil, err
	}
	s := &Server{cfg: cfg, log: cfg.Log, c: cfg.Coordinator, stop: make(chan struct{}), sessions: map[string]*session{}, present: map[string]*session{}, clients: map[job.ID]*attendance{}}
	opts := wire.ServerOptions(cfg.Log, s.authorize())
	if cfg.Credentials != nil {
		opts = append(opts, grpc.Creds(cfg.Credentials))
	}
	s.grpc = grpc.NewServer(opts...)
	layshaftv1.RegisterCoordinatorServiceServer(s.grpc, s)
	if cfg.Tasks != nil {
		cfg.Tasks.Register(s.grpc)
	}
	return s, nil
}

// authorize returns Authorize, whose refusals the audit log hears of; nil when there is none.
func (s *Server) authorize() func(ctx context.Context, fullMethod string) error {
	if s.cfg.Authorize == nil {
		return nil
	}
	return func(ctx context.Context, method string) error {
		err := s.cfg.Authorize(ctx, method)
		if err != nil {
			s.audit(ctx, "refuse", "method", method, "err", err)
		}
		return err
	}
}

const (
	// stopWait is how long calls may take to end when the server goes down.
	stopWait = 2 * time.Second
	// trimEvery is how often programs are looked through that no job needs any more.
	trimEvery = 10 * time.Minute
)

// Run serves what connects to l, from the moment at which the coordinator has replayed its journal, and closes l. It returns nil
// when ctx has ended and all calls have, and an error when l fails or the coordinator has stopped. It is called once.
func (s *Server) Run(ctx context.Context, l net.Listener) error {
	defer l.Close()
	if err := s.c.Ready(ctx); err != nil {
		if ctx.Err() != nil {
			return nil
		}
		return err
	}
	served := make(chan error, 1)
	go func() { served <- s.grpc.Serve(l) }()
	trim := time.NewTicker(trimEvery)
	defer trim.Stop()
	missed := make(<-chan time.Time) // never
	if s.cfg.ClientLease > 0 {
		look := time.NewTicker(max(s.cfg.ClientLease/8, time.Millisecond))
		defer look.Stop()
		missed = look.C
	}
	var err error
	for running := true; running; {
		select {
		case <-ctx.Done():
			running = false
		case <-s.c.Stopped():
			err = s.c.Err()
			running = false
		case err = <-served:
			served <- err
			running = false
		case <-trim.C:
			s.trim()
		case now := <-missed:
			s.missClients(ctx, now)
		}
	}
	close(s.stop) // calls that follow something end
	s.endSessions()
	stopped := make(chan struct{})
	go func() {
		s.grpc.GracefulStop()
		close(stopped)
	}()
	select {
	case <-stopped:
	case <-time.After(stopWait):
		s.grpc.Stop()
		<-stopped
	}
	<-served
	s.receivers.Wait()
	if ctx.Err() != nil {
		return nil
	}
	return err
}

// stopping says that the server goes down.
func (s *Server) stopping() error { return fmt.Errorf("%w: it goes down", wire.ErrStopped) }

// audit notes who asked for what.
func (s *Server) audit(ctx context.Context, action string, attrs ...any) {
	s.cfg.Audit.Info("audit", append([]any{"action", action, "who", s.cfg.Identity(ctx)}, attrs...)...)
}

// Cancel ends a job.
func (s *Server) Cancel(ctx context.Context, r *layshaftv1.CancelRequest) (*layshaftv1.CancelResponse, error) {
	s.audit(ctx, "cancel", "job", r.GetJob(), "why", r.GetWhy())
	return &layshaftv1.CancelResponse{}, s.c.Cancel(ctx, job.ID(r.GetJob()), r.GetWhy())
}

// Detach has a job go on without its client.
func (s *Server) Detach(ctx context.Context, r *layshaftv1.DetachRequest) (*layshaftv1.DetachResponse, error) {
	s.audit(ctx, "detach", "job", r.GetJob())
	return &layshaftv1.DetachResponse{}, s.c.Detach(ctx, job.ID(r.GetJob()))
}

// Drop forgets a job, or its outputs alone.
func (s *Server) Drop(ctx context.Context, r *layshaftv1.DropRequest) (*layshaftv1.DropResponse, error) {
	if r.GetRemember() {
		s.audit(ctx, "release", "job", r.GetJob())
		return &layshaftv1.DropResponse{}, s.c.Release(ctx, job.ID(r.GetJob()))
	}
	s.audit(ctx, "drop", "job", r.GetJob())
	return &layshaftv1.DropResponse{}, s.c.Drop(ctx, job.ID(r.GetJob()))
}

// ReportLost takes a report of an output that cannot be read.
func (s *Server) ReportLost(ctx context.Context, r *layshaftv1.ReportLostRequest) (*layshaftv1.ReportLostResponse, error) {
	a, err := wire.AttemptFromProto(r.GetAttempt())
	if err != nil {
		return nil, fmt.Errorf("%w: %w", wire.ErrInvalid, err)
	}
	return &layshaftv1.ReportLostResponse{}, s.c.Want(ctx, job.Producer{Attempt: a, Worker: r.GetWorker()})
}
