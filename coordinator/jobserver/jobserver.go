// Package jobserver serves clients and workers of jobs over gRPC. Clients submit and watch jobs. A
// worker keeps one stream open, over which it gets launches and sends heartbeats and reports.
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
	"github.com/layshaft/layshaft/internal/report"
	"github.com/layshaft/layshaft/internal/wire"
	layshaftv1 "github.com/layshaft/layshaft/proto/layshaft/v1"
)

// Config configures a server. Coordinator and Data are required.
type Config struct {
	// Coordinator is the coordinator behind the server. The caller runs it.
	Coordinator *coordinator.Coordinator
	// Data has the name of the cluster and the store of programs.
	Data *datadir.Data
	// Credentials secure connections; nil means none: every client may do everything.
	Credentials credentials.TransportCredentials
	// Authorize permits a call, or returns an error that wraps wire.ErrForbidden or
	// wire.ErrUnauthenticated; nil permits all calls.
	Authorize func(ctx context.Context, fullMethod string) error
	// Identity names the caller, for the audit log and as the owner of jobs. Nil means the name in
	// its certificate, else its address.
	Identity func(ctx context.Context) string
	// Certificate returns the identity in the caller's certificate, or "" without one. Nil means
	// that no caller has one.
	Certificate func(ctx context.Context) string
	// Dial connects to a worker, to list its files. It must not block. Nil means an insecure
	// connection.
	Dial func(address string) (*grpc.ClientConn, error)
	// Grace is how long a worker may take to reconnect before its attempts run elsewhere. Zero
	// means 500 ms.
	Grace time.Duration
	// ClientLease is how long the client of a job may be away before the job is cancelled, unless
	// it is detached: the job needs its client for its rows and for files of its machine. Zero
	// means 1 minute, negative means forever.
	ClientLease time.Duration
	// KeepCode is how long an unneeded program is kept after its last use. Zero means a day.
	KeepCode time.Duration
	// MaxCode is the limit of a program's size, in bytes. Zero means 2 GiB.
	MaxCode int64
	// History returns the history of a job, or an error that wraps fs.ErrNotExist; see package
	// recorder. Nil means that no job has one.
	History func(id job.ID) ([]byte, error)
	// Profiles keeps the CPU profiles of jobs. Nil keeps none.
	Profiles Profiles
	// Diagnose returns what this process knows about itself; nil means nothing.
	Diagnose func() []report.DebugFile
	// Output keeps the lines that user code writes; nil means that nobody does.
	Output Output
	// Tasks serves queued tasks on the same port, and they are part of a backup; nil means none.
	Tasks *taskserver.Server
	// Members are the coordinators of the cluster; nil means a single coordinator.
	Members Members
	// Verify returns an error unless this coordinator leads now. It is called before the answer
	// that something does not exist. Nil means that no other one can lead. It may block for a round
	// trip to the others.
	Verify func() error
	// Audit logs who submitted, cancelled, dropped, shipped and drained what, and the refusals of
	// Authorize. Nil means Log.
	Audit *slog.Logger
	// Log receives messages for the operator; nil means silence.
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

// Server offers a coordinator to clients and workers over gRPC.
type Server struct {
	layshaftv1.UnimplementedCoordinatorServiceServer
	cfg  Config
	log  *slog.Logger
	c    *coordinator.Coordinator
	grpc *grpc.Server
	// stop is closed when the server stops.
	stop      chan struct{}
	receivers sync.WaitGroup
	listed    listed
	owners    owners

	// mu guards the fields below. It is taken before a session's and the coordinator's.
	mu      sync.Mutex
	streams map[string]*workerStream // by worker
	// present are the streams by worker ID; of several workers with one ID, the last to join.
	present  map[string]*workerStream
	progress progress
	plans    map[job.ID]*plan
	// strangers are the workers that logStranger has logged.
	strangers map[string]bool
	// clients are the clients of unfinished jobs that are not detached.
	clients map[job.ID]*attendance
}

// New returns a server that does nothing until Run. An error names the wrong field of cfg.
func New(cfg Config) (*Server, error) {
	cfg, err := cfg.withDefaults()
	if err != nil {
		return nil, err
	}
	s := &Server{cfg: cfg, log: cfg.Log, c: cfg.Coordinator, stop: make(chan struct{}), streams: map[string]*workerStream{}, present: map[string]*workerStream{}, clients: map[job.ID]*attendance{}, plans: map[job.ID]*plan{}}
	if cfg.Data.Files != nil {
		if err := s.listed.open(cfg.Data.Files, cfg.Log); err != nil {
			return nil, err
		}
		if err := s.owners.open(cfg.Data.Files, cfg.Log); err != nil {
			return nil, err
		}
	}
	opts := append(wire.ServerOptions(cfg.Log, s.authorize()), verifyUnknown(cfg.Verify)...)
	if cfg.Credentials != nil {
		opts = append(opts, grpc.Creds(cfg.Credentials))
	}
	s.grpc = grpc.NewServer(opts...)
	layshaftv1.RegisterCoordinatorServiceServer(s.grpc, s)
	layshaftv1.RegisterMembersServiceServer(s.grpc, &membersServer{members: cfg.Members, audit: s.audit})
	if cfg.Tasks != nil {
		cfg.Tasks.Register(s.grpc)
	}
	return s, nil
}

// authorize returns the check of gRPC calls; nil when there is none.
func (s *Server) authorize() func(ctx context.Context, fullMethod string) error {
	if s.cfg.Authorize == nil {
		return nil
	}
	return s.Authorize
}

// Authorize returns an error if the caller may not call a method, and logs the refusal.
func (s *Server) Authorize(ctx context.Context, fullMethod string) error {
	if s.cfg.Authorize == nil {
		return nil
	}
	err := s.cfg.Authorize(ctx, fullMethod)
	if err != nil {
		s.audit(ctx, "refuse", "method", fullMethod, "err", err)
	}
	return err
}

// Permits reports whether the caller may call a method. Unlike Authorize, it logs nothing.
func (s *Server) Permits(ctx context.Context, fullMethod string) bool {
	return s.cfg.Authorize == nil || s.cfg.Authorize(ctx, fullMethod) == nil
}

const (
	// stopWait is the time limit for calls to end when the server stops.
	stopWait = 2 * time.Second
	// trimEvery is the time between two searches for unneeded programs.
	trimEvery = 10 * time.Minute
)

// Run serves connections of l as soon as the coordinator has replayed its journal, and closes l.
// It returns nil after ctx and all calls have ended, and an error when l fails or the coordinator
// stops. Call it once.
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
	s.endStreams()
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

// stopping returns the error for calls during the stop.
func (s *Server) stopping() error { return fmt.Errorf("%w: it goes down", wire.ErrStopped) }

// audit logs a caller's action.
func (s *Server) audit(ctx context.Context, action string, attrs ...any) {
	s.cfg.Audit.Info("audit", append([]any{"action", action, "who", s.cfg.Identity(ctx)}, attrs...)...)
}

// Cancel ends a job.
func (s *Server) Cancel(ctx context.Context, r *layshaftv1.CancelRequest) (*layshaftv1.CancelResponse, error) {
	s.audit(ctx, "cancel", "job", r.GetJob(), "why", r.GetReason())
	if s.cancelPlan(job.ID(r.GetJob()), r.GetReason()) {
		return &layshaftv1.CancelResponse{}, nil
	}
	return &layshaftv1.CancelResponse{}, s.c.Cancel(ctx, job.ID(r.GetJob()), r.GetReason())
}

// CancelJob is Cancel for callers in this process.
func (s *Server) CancelJob(ctx context.Context, id job.ID, why string) error {
	_, err := s.Cancel(ctx, &layshaftv1.CancelRequest{Job: string(id), Reason: why})
	return err
}

// Detach lets a job continue without its client.
func (s *Server) Detach(ctx context.Context, r *layshaftv1.DetachRequest) (*layshaftv1.DetachResponse, error) {
	s.audit(ctx, "detach", "job", r.GetJob())
	return &layshaftv1.DetachResponse{}, s.c.Detach(ctx, job.ID(r.GetJob()))
}

// Drop deletes a job, or only its outputs.
func (s *Server) Drop(ctx context.Context, r *layshaftv1.DropRequest) (*layshaftv1.DropResponse, error) {
	if r.GetKeepReport() {
		s.audit(ctx, "release", "job", r.GetJob())
		return &layshaftv1.DropResponse{}, s.c.Release(ctx, job.ID(r.GetJob()))
	}
	s.audit(ctx, "drop", "job", r.GetJob())
	return &layshaftv1.DropResponse{}, s.c.Drop(ctx, job.ID(r.GetJob()))
}

// ReportLost reports an output that a client cannot read.
func (s *Server) ReportLost(ctx context.Context, r *layshaftv1.ReportLostRequest) (*layshaftv1.ReportLostResponse, error) {
	a, err := wire.AttemptFromProto(r.GetAttempt())
	if err != nil {
		return nil, fmt.Errorf("%w: %w", wire.ErrInvalid, err)
	}
	return &layshaftv1.ReportLostResponse{}, s.c.ReportLost(ctx, job.Producer{Attempt: a, Worker: r.GetWorker()})
}
