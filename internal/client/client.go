// Package client lets a program talk to a coordinator in another process. It connects, retries
// while the coordinator restarts, and converts messages to the types of package report.
package client

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"net"
	"slices"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"github.com/layshaft/layshaft/internal/addresses"
	"github.com/layshaft/layshaft/internal/awake"
	"github.com/layshaft/layshaft/internal/job"
	"github.com/layshaft/layshaft/internal/report"
	"github.com/layshaft/layshaft/internal/retry"
	"github.com/layshaft/layshaft/internal/wire"
	layshaftv1 "github.com/layshaft/layshaft/proto/layshaft/v1"
)

// Config is the address of a coordinator, and the limits of waiting for it.
type Config struct {
	// Address is HOST:PORT of a coordinator, or several of one cluster, separated by commas.
	Address string
	// Credentials secure the connection; nil means none.
	Credentials credentials.TransportCredentials
	// Connect is how long the first call tries to reach the coordinator. Zero means 10 s.
	Connect time.Duration
	// Patience is how long later calls wait for a coordinator that was reached before; it may be
	// restarting. Zero means 2 minutes.
	Patience time.Duration
	// Away, if set, is called when the coordinator has been out of reach for a while, once until it
	// answers again. The text names the error, and the command that helps.
	Away func(why string)
	// Dial opens connections to an address; nil means TCP.
	Dial func(ctx context.Context, address string) (net.Conn, error)
}

// Client calls a coordinator in another process. Its methods are safe for many goroutines. It
// retries while no coordinator is in reach, as long as Config allows, so that a restart goes
// unnoticed. Then the error names the addresses and wraps wire.ErrUnavailable.
// Other errors come from the methods of coordinator.Coordinator.
type Client struct {
	cfg     Config
	conn    *addresses.Conn
	rpc     layshaftv1.CoordinatorServiceClient
	members layshaftv1.MembersServiceClient
	reached atomic.Bool
	away    atomic.Bool // Away was called since the last answer
}

const (
	// callWait is the time limit of a call with little data.
	callWait = 30 * time.Second
	// The pause before a call is tried again grows from minRetry to maxRetry.
	minRetry, maxRetry = 10 * time.Millisecond, time.Second
	// awayAfter is how long tries fail before Config.Away is called.
	awayAfter = 700 * time.Millisecond
)

// Dial returns a client. The first call connects.
func Dial(cfg Config) (*Client, error) {
	if cfg.Connect < 0 || cfg.Patience < 0 {
		return nil, fmt.Errorf("coordinator client: Connect %v, Patience %v: no wait may be negative", cfg.Connect, cfg.Patience)
	}
	if cfg.Connect == 0 {
		cfg.Connect = 10 * time.Second
	}
	if cfg.Patience == 0 {
		cfg.Patience = 2 * time.Minute
	}
	if cfg.Credentials == nil {
		cfg.Credentials = insecure.NewCredentials()
	}
	list, err := addresses.Parse(cfg.Address)
	if err != nil {
		return nil, fmt.Errorf("coordinator %w", err)
	}
	conn, err := addresses.Open(list, cfg.Dial, wire.Plain(cfg.Credentials) && cfg.Dial == nil, append(wire.DialOptions(), grpc.WithTransportCredentials(cfg.Credentials),
		grpc.WithDefaultCallOptions(grpc.WaitForReady(false)), // retry sees why the coordinator cannot be reached
		retry.Connections(retry.Try(cfg.Connect), minRetry, maxRetry))...)
	if err != nil {
		return nil, fmt.Errorf("coordinator %s: %w; the address must be HOST:PORT", list, err)
	}
	return &Client{cfg: cfg, conn: conn, rpc: layshaftv1.NewCoordinatorServiceClient(conn), members: layshaftv1.NewMembersServiceClient(conn)}, nil
}

// Close closes the connection. Running calls fail.
func (c *Client) Close() error { return c.conn.Close() }

// Conn returns the connection, for other services on the same port.
func (c *Client) Conn() *grpc.ClientConn { return c.conn.ClientConn }

// retry repeats a call until it succeeds or fails for good. The call runs noteAnswer at each answer
// of the coordinator; this restarts the wait.
func (c *Client) retry(ctx context.Context, call func(ctx context.Context, noteAnswer func()) error) error {
	var patience retry.Patience
	patience.Reset()
	pause := retry.Backoff{Min: minRetry, Max: maxRetry}
	var away error        // says that the coordinator cannot be reached, and why
	var failing time.Time // first failure since the last answer
	noteAnswer := func() {
		c.reached.Store(true)
		c.away.Store(false)
		failing, away = time.Time{}, nil
		pause.Reset()
		patience.Reset()
	}
	for {
		err := call(ctx, noteAnswer)
		if err == nil {
			noteAnswer()
			return nil
		}
		if errors.Is(err, errEnough) {
			return err // even if ctx has ended: the caller has its answer
		}
		if ctx.Err() != nil {
			return c.conn.EndedWhileAway(ctx, away)
		}
		limit := c.cfg.Connect
		if c.reached.Load() {
			limit = c.cfg.Patience
		}
		switch code := status.Code(err); {
		case code == codes.DeadlineExceeded:
			return fmt.Errorf("coordinator %s does not answer: %w", c.conn.List(), wire.FromStatus(err))
		case code != codes.Unavailable:
			return wire.FromStatus(err)
		}
		if why := c.conn.Mismatch(ctx, err); why != nil {
			return fmt.Errorf("coordinator: %w", why)
		}
		if patience.Spent() >= limit {
			return c.conn.Unreachable(err)
		}
		away = c.conn.Away(err)
		if failing.IsZero() {
			failing = time.Now()
		}
		if time.Since(failing) >= awayAfter && c.cfg.Away != nil && !c.away.Swap(true) {
			c.cfg.Away(fmt.Sprintf("%v; this tries for up to %v", c.conn.Unreachable(err), limit))
		}
		if pause.WaitAtMost(ctx, limit-patience.Spent()) != nil {
			return c.conn.EndedWhileAway(ctx, away)
		}
	}
}

// call makes one call with a small answer.
func call[Q, A any](ctx context.Context, c *Client, method func(context.Context, Q, ...grpc.CallOption) (A, error), q Q) (out A, err error) {
	err = c.retry(ctx, func(ctx context.Context, _ func()) (err error) {
		ctx, cancel := awake.WithTimeout(ctx, callWait)
		defer cancel()
		out, err = method(ctx, q)
		return err
	})
	return out, err
}

// receive makes one call with a stream of answers and passes each to each. It runs begin before
// every try.
func receive[Q, A any](ctx context.Context, c *Client, method func(context.Context, Q, ...grpc.CallOption) (grpc.ServerStreamingClient[A], error), q Q,
	begin func(), each func(*A) error) error {
	return c.retry(ctx, func(ctx context.Context, noteAnswer func()) error {
		ctx, cancel := context.WithCancel(ctx)
		defer cancel()
		begin()
		stream, err := method(ctx, q)
		if err != nil {
			return err
		}
		for {
			m, err := stream.Recv()
			if errors.Is(err, io.EOF) {
				return nil
			}
			if err != nil {
				return err
			}
			noteAnswer()
			if err := each(m); err != nil {
				return err
			}
		}
	})
}

// Submit submits a job. After a nil error the job is in the coordinator's journal, unless the
// coordinator needs the program first.
func (c *Client) Submit(ctx context.Context, spec *job.Spec, opt report.Options) (out report.Submitted, err error) {
	encoded, err := proto.Marshal(wire.SpecToProto(spec))
	if err != nil {
		return out, fmt.Errorf("submit job %s: %w", spec.ID, err)
	}
	err = c.retry(ctx, func(ctx context.Context, _ func()) error {
		ctx, cancel := context.WithCancel(ctx)
		defer cancel()
		stream, err := c.rpc.Submit(ctx)
		if err != nil {
			return err
		}
		err = stream.Send(&layshaftv1.SubmitRequest{Body: &layshaftv1.SubmitRequest_Header{Header: wire.OptionsToProto(&opt)}})
		for piece := range slices.Chunk(encoded, wire.PieceSize) {
			if err == nil {
				err = stream.Send(&layshaftv1.SubmitRequest{Body: &layshaftv1.SubmitRequest_Spec{Spec: piece}})
			}
		}
		r, err := stream.CloseAndRecv() // it has the error that ended Send, too
		if err == nil {
			out = report.Submitted{Known: r.GetKnown(), CodeWanted: r.GetNeedsCode(), Warnings: r.GetWarnings()}
		}
		return err
	})
	return out, err
}

// Plan reports a job whose input is being listed: Name, Options and, as Reason, the progress. Until
// it has ended, the coordinator shows it. The result is a reason to stop, empty without one.
func (c *Client) Plan(ctx context.Context, j *report.Job, ended bool) (cancelled string, err error) {
	out, err := call(ctx, c, c.rpc.Plan, &layshaftv1.PlanRequest{Id: string(j.ID), Name: j.Name, Phase: j.Reason, Header: wire.OptionsToProto(&j.Options),
		TookNanos: int64(time.Since(j.Options.Submitted)), Ended: ended})
	return out.GetCancelledReason(), err
}

// PutCode uploads a program. It reads r from the start, again for each try.
func (c *Client) PutCode(ctx context.Context, code report.Code, r io.ReadSeeker) error {
	var local error // of r
	err := c.retry(ctx, func(ctx context.Context, _ func()) error {
		ctx, cancel := context.WithCancel(ctx)
		defer cancel()
		if _, local = r.Seek(0, io.SeekStart); local != nil {
			return local
		}
		stream, err := c.rpc.PutCode(ctx)
		if err != nil {
			return err
		}
		err = stream.Send(&layshaftv1.PutCodeRequest{Body: &layshaftv1.PutCodeRequest_Header{Header: wire.CodeToProto(code)}})
		buf := make([]byte, wire.PieceSize)
		for err == nil {
			var n int
			n, local = io.ReadFull(r, buf)
			if n > 0 {
				err = stream.Send(&layshaftv1.PutCodeRequest{Body: &layshaftv1.PutCodeRequest_Data{Data: buf[:n]}})
			}
			if errors.Is(local, io.EOF) || errors.Is(local, io.ErrUnexpectedEOF) {
				local = nil
				break
			}
			if local != nil {
				return local
			}
		}
		_, err = stream.CloseAndRecv()
		return err
	})
	if local != nil {
		return fmt.Errorf("program %.12s: %w", code.SHA256, local)
	}
	return err
}

// GetCode writes a program into w. The caller verifies the content. It does not retry after a
// broken connection.
func (c *Client) GetCode(ctx context.Context, hash string, w io.Writer) error {
	return once(c, func() error {
		return copyPieces(ctx, w, c.rpc.GetCode, &layshaftv1.GetCodeRequest{Sha256: hash}, (*layshaftv1.GetCodeResponse).GetData)
	})
}

// Backup writes a backup of the coordinator into w; datadir.Restore reads it. It does not retry
// after a broken connection.
func (c *Client) Backup(ctx context.Context, w io.Writer) error {
	return once(c, func() error {
		return copyPieces(ctx, w, c.rpc.Backup, &layshaftv1.BackupRequest{}, (*layshaftv1.BackupResponse).GetData)
	})
}

// once makes a call without retries.
func once(c *Client, call func() error) error {
	err := call()
	if status.Code(err) == codes.Unavailable {
		return c.conn.Unreachable(err)
	}
	return wire.FromStatus(err)
}

func copyPieces[Q, A any](ctx context.Context, w io.Writer, method func(context.Context, Q, ...grpc.CallOption) (grpc.ServerStreamingClient[A], error), q Q, data func(*A) []byte) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stream, err := method(ctx, q)
	if err != nil {
		return err
	}
	_, err = io.Copy(w, &wire.PieceReader{Recv: func() ([]byte, error) {
		m, err := stream.Recv()
		return data(m), err
	}})
	return err
}

// Cancel ends a job. When it returns nil, the end is in the journal. A job that has ended stays as
// it is.
func (c *Client) Cancel(ctx context.Context, id job.ID, why string) error {
	_, err := call(ctx, c, c.rpc.Cancel, &layshaftv1.CancelRequest{Job: string(id), Reason: why})
	return err
}

// Detach lets a job continue without its client. When it returns nil, this is in the journal.
func (c *Client) Detach(ctx context.Context, id job.ID) error {
	_, err := call(ctx, c, c.rpc.Detach, &layshaftv1.DetachRequest{Job: string(id)})
	return err
}

// Drop deletes a job and its outputs, and cancels the job first if it still runs. An unknown job
// is no error.
func (c *Client) Drop(ctx context.Context, id job.ID) error {
	_, err := call(ctx, c, c.rpc.Drop, &layshaftv1.DropRequest{Job: string(id)})
	return err
}

// Release deletes the outputs of a job, and cancels the job first if it still runs. The status of
// the job stays for a while. An unknown job is no error.
func (c *Client) Release(ctx context.Context, id job.ID) error {
	_, err := call(ctx, c, c.rpc.Drop, &layshaftv1.DropRequest{Job: string(id), KeepReport: true})
	return err
}

// ReportLost reports that the output of a committed attempt cannot be read on a worker; attempt
// number zero means no known commit. See the method of the same name in coordinator.Coordinator.
func (c *Client) ReportLost(ctx context.Context, p job.Producer) error {
	_, err := call(ctx, c, c.rpc.ReportLost, &layshaftv1.ReportLostRequest{Attempt: wire.AttemptToProto(p.Attempt), Worker: p.Worker})
	return err
}

// Status returns the state of a job. The error wraps wire.ErrUnknownJob when there is no such job.
func (c *Client) Status(ctx context.Context, id job.ID) (st report.Job, err error) {
	err = receive(ctx, c, c.rpc.Watch, &layshaftv1.WatchRequest{Job: string(id), Once: true}, func() {}, func(m *layshaftv1.WatchResponse) (err error) {
		st, err = wire.JobFromProto(m.GetStatus())
		return err
	})
	return st, err
}

// errEnough ends a call when its caller needs no more answers.
var errEnough = errors.New("enough")

// Watch yields the state of a job, now and at each change, a few times a second at most. The last
// state is the end of the job. An error ends the sequence too.
func (c *Client) Watch(ctx context.Context, id job.ID) iter.Seq2[report.Job, error] {
	return c.watch(ctx, &layshaftv1.WatchRequest{Job: string(id)})
}

// Attend is Watch by the client of the job. Meanwhile the client counts as present: see
// ClientLease of jobserver.Config.
func (c *Client) Attend(ctx context.Context, id job.ID) iter.Seq2[report.Job, error] {
	return c.watch(ctx, &layshaftv1.WatchRequest{Job: string(id), Attached: true})
}

func (c *Client) watch(ctx context.Context, r *layshaftv1.WatchRequest) iter.Seq2[report.Job, error] {
	return func(yield func(report.Job, error) bool) {
		err := receive(ctx, c, c.rpc.Watch, r, func() {}, func(m *layshaftv1.WatchResponse) error {
			st, err := wire.JobFromProto(m.GetStatus())
			if err == nil && !yield(st, nil) {
				err = errEnough
			}
			return err
		})
		if err != nil && !errors.Is(err, errEnough) {
			yield(report.Job{}, err)
		}
	}
}

// Wait blocks until a job has ended. It returns nil when the job is done, a *report.JobError when
// it failed or was cancelled, and an error that wraps wire.ErrUnknownJob or the cause of ctx.
func (c *Client) Wait(ctx context.Context, id job.ID) error {
	for st, err := range c.Watch(ctx, id) {
		switch {
		case err != nil:
			return err
		case st.Outcome == report.JobDone:
			return nil
		case st.Outcome.IsEnd():
			e := &report.JobError{ID: id, Outcome: st.Outcome}
			if st.Failure != nil {
				e.Failure = *st.Failure
			}
			return e
		}
	}
	return fmt.Errorf("job %s: %w: the coordinator closed the connection before its end", id, wire.ErrUnavailable)
}

// Commits yields changes in the holders of a stage's outputs, as tasks commit and outputs are made
// again, until the stage is complete or the job has ended. An error is the last element.
func (c *Client) Commits(ctx context.Context, id job.ID, stage int) iter.Seq2[report.Commits, error] {
	return func(yield func(report.Commits, error) bool) {
		first := true
		err := receive(ctx, c, c.rpc.Commits, &layshaftv1.CommitsRequest{Job: string(id), Stage: int64(stage)}, func() { first = true }, func(m *layshaftv1.CommitsResponse) error {
			out := report.Commits{All: first, Complete: m.GetComplete(), Addresses: m.GetAddresses()}
			first = false
			for _, p := range m.GetCommits() {
				a, err := wire.AttemptFromProto(p.GetAttempt())
				if err != nil {
					return fmt.Errorf("commits of job %s: %w", id, err)
				}
				out.Changed = append(out.Changed, job.Producer{Attempt: a, Worker: p.GetWorker()})
			}
			if !yield(out, nil) {
				return errEnough
			}
			return nil
		})
		if err != nil && !errors.Is(err, errEnough) {
			yield(report.Commits{}, err)
		}
	}
}

// Jobs lists jobs, the newest first. Limit zero means 100.
func (c *Client) Jobs(ctx context.Context, limit int) ([]report.Job, error) {
	out, err := call(ctx, c, c.rpc.ListJobs, &layshaftv1.ListJobsRequest{Limit: int32(limit)})
	if err != nil {
		return nil, err
	}
	jobs := make([]report.Job, len(out.GetJobs()))
	for i, p := range out.GetJobs() {
		if jobs[i], err = wire.JobFromProto(p); err != nil {
			return nil, err
		}
	}
	return jobs, nil
}

// Spec returns a job as submitted, with its program and client; splits requests its splits too,
// unless the job has ended.
func (c *Client) Spec(ctx context.Context, id job.ID, splits bool) (*job.Spec, report.Options, error) {
	var encoded []byte
	err := receive(ctx, c, c.rpc.GetSpec, &layshaftv1.GetSpecRequest{Job: string(id), Splits: splits}, func() { encoded = nil }, func(m *layshaftv1.GetSpecResponse) error {
		encoded = append(encoded, m.GetData()...)
		return nil
	})
	var p layshaftv1.JobCode
	if err == nil {
		err = proto.Unmarshal(encoded, &p)
	}
	if err != nil {
		return nil, report.Options{}, err
	}
	spec, err := wire.SpecFromProto(p.GetSpec())
	return spec, wire.OptionsFromProto(&layshaftv1.SubmitHeader{Code: p.GetCode(), Client: p.GetClient()}), err
}

// Launch returns the input of an attempt; number zero means the latest failed one of its task, else
// any one.
func (c *Client) Launch(ctx context.Context, a job.Attempt) (*job.Launch, error) {
	var encoded []byte
	err := receive(ctx, c, c.rpc.GetLaunch, &layshaftv1.GetLaunchRequest{Attempt: wire.AttemptToProto(a)}, func() { encoded = nil }, func(m *layshaftv1.GetLaunchResponse) error {
		encoded = append(encoded, m.GetData()...)
		return nil
	})
	var p layshaftv1.Launch
	if err == nil {
		err = proto.Unmarshal(encoded, &p)
	}
	if err != nil {
		return nil, err
	}
	return wire.LaunchFromProto(&p)
}

// History returns what is recorded of the run of a job, for package history.
func (c *Client) History(ctx context.Context, id job.ID) (encoded []byte, err error) {
	err = receive(ctx, c, c.rpc.GetHistory, &layshaftv1.GetHistoryRequest{Job: string(id)}, func() { encoded = nil }, func(m *layshaftv1.GetHistoryResponse) error {
		encoded = append(encoded, m.GetData()...)
		return nil
	})
	return encoded, err
}

// PutProfile stores the CPU profile of a job at the coordinator.
func (c *Client) PutProfile(ctx context.Context, id job.ID, profile []byte) error {
	_, err := call(ctx, c, c.rpc.PutProfile, &layshaftv1.PutProfileRequest{Job: string(id), Profile: profile})
	return err
}

// Profile returns the CPU profile of a job, in the format of pprof.
func (c *Client) Profile(ctx context.Context, id job.ID) (profile []byte, err error) {
	err = receive(ctx, c, c.rpc.GetProfile, &layshaftv1.GetProfileRequest{Job: string(id)}, func() { profile = nil }, func(m *layshaftv1.GetProfileResponse) error {
		profile = append(profile, m.GetData()...)
		return nil
	})
	return profile, err
}

// DrainWorker orders a worker to leave: it gets no new attempts, and other workers copy its outputs
// as far as they are needed.
func (c *Client) DrainWorker(ctx context.Context, worker string) error {
	_, err := call(ctx, c, c.rpc.DrainWorker, &layshaftv1.DrainWorkerRequest{Worker: worker})
	return err
}

// FindFiles lists the files of a dataset with names that match a glob, from all workers with the
// dataset, in order of name.
func (c *Client) FindFiles(ctx context.Context, dataset, glob string) (files []report.File, err error) {
	err = receive(ctx, c, c.rpc.FindFiles, &layshaftv1.FindFilesRequest{Dataset: dataset, Glob: glob}, func() { files = nil }, func(m *layshaftv1.FindFilesResponse) error {
		for _, f := range m.GetFiles() {
			files = append(files, report.File{Name: f.GetName(), Size: f.GetSize(), ModTime: time.Unix(0, f.GetModTimeNanos()), Dir: f.GetDir(), Holders: f.GetHolders()})
		}
		return nil
	})
	return files, err
}

// Workers lists the workers with a lease, by name.
func (c *Client) Workers(ctx context.Context) ([]report.Worker, error) {
	all, err := c.AllWorkers(ctx)
	return slices.DeleteFunc(all, func(w report.Worker) bool { return w.State == report.Away }), err
}

// AllWorkers lists the workers that have a lease, by name, and then the workers that are away, by
// ID.
func (c *Client) AllWorkers(ctx context.Context) ([]report.Worker, error) {
	out, err := call(ctx, c, c.rpc.ListWorkers, &layshaftv1.ListWorkersRequest{})
	if err != nil {
		return nil, err
	}
	return wire.WorkersFromProto(out), nil
}
