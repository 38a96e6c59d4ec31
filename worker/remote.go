package worker

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/layshaft/layshaft/internal/awake"
	"github.com/layshaft/layshaft/internal/job"
	"github.com/layshaft/layshaft/internal/record"
	"github.com/layshaft/layshaft/internal/wire"
	layshaftv1 "github.com/layshaft/layshaft/proto/layshaft/v1"
	"github.com/layshaft/layshaft/worker/internal/shuffle"
)

const (
	// for one call; a dead peer is noticed earlier, by keepalive
	callLimit     = time.Minute
	callsAtOnce   = 8       // calls to one peer at a time
	maxPrefetch   = 1000    // attempts in one GetManifest call
	maxPrefetched = 400_000 // prefetched manifests that are not used yet
)

// retryAfter are the pauses before an unreachable peer is called again.
var retryAfter = []time.Duration{300 * time.Millisecond, 1500 * time.Millisecond}

// unreachableTime is how long calls to an unreachable peer are not repeated.
const unreachableTime = 10 * time.Second

// remoteOutputs reads the outputs of another worker.
type remoteOutputs struct {
	name      string
	client    layshaftv1.WorkerServiceClient
	calls     chan struct{} // a semaphore for calls
	manifests *manifestCache
	received  *atomic.Int64 // bytes read; shared with other peers
	// readsFiles allows to read files of a worker on the same machine.
	readsFiles bool

	// mu guards the fields below.
	mu sync.Mutex
	// prefetched manifests, with the extents of one partition
	prefetched map[partOf]*job.Manifest
	unread     map[*remoteBytes]bool // runs whose first piece was not requested
	// the runs of unread in order of creation; closed ones may be among them
	order []*remoteBytes
	// when the peer did not answer; zero if it has answered since
	unreachable time.Time
	place       shuffle.Place // of the peer's store, as it said last
	isHere      bool          // this process can read the files there
}

// partOf identifies one partition of an attempt's output.
type partOf struct {
	a          job.Attempt
	port, part int
}

// Remote returns the outputs of the worker called name, read over conn. Manifests are cached.
// Runs are read in pieces, one ahead of the reader; one call fetches the first pieces of many
// runs. If the worker cannot be reached for about two seconds, its outputs count as lost. Reads
// block; closing a run cancels its requests.
func Remote(conn grpc.ClientConnInterface, name string) Outputs {
	return newRemote(conn, name, newManifestCache())
}

func newRemote(conn grpc.ClientConnInterface, name string, manifests *manifestCache) *remoteOutputs {
	return &remoteOutputs{name: name, client: layshaftv1.NewWorkerServiceClient(conn), calls: make(chan struct{}, callsAtOnce), manifests: manifests, received: new(atomic.Int64),
		prefetched: map[partOf]*job.Manifest{}, unread: map[*remoteBytes]bool{}}
}

func (r *remoteOutputs) Manifest(a job.Attempt) (*job.Manifest, error) {
	m := r.manifests.get(r.name, a)
	if m != nil {
		return m, nil
	}
	err := r.fetch([]job.Attempt{a}, nil, func(_ job.Attempt, got *job.Manifest, err error) error {
		m = got
		return err
	})
	if err != nil {
		return nil, err
	}
	r.manifests.put(r.name, m)
	return m, nil
}

func (r *remoteOutputs) Runs(a job.Attempt, port, part int) ([]job.RunReader, error) {
	key := partOf{a, port, part}
	r.mu.Lock()
	m := r.prefetched[key]
	delete(r.prefetched, key)
	r.mu.Unlock()
	if m == nil {
		m = r.manifests.get(r.name, a)
	}
	if m == nil {
		err := r.fetch([]job.Attempt{a}, &layshaftv1.Partition{Port: int64(port), Index: int64(part)}, func(_ job.Attempt, got *job.Manifest, err error) error {
			m = got
			return err
		})
		if err != nil {
			return nil, err
		}
	}
	return r.runs().Runs(m, port, part), nil
}

func (r *remoteOutputs) All(a job.Attempt, port int) ([]job.RunReader, error) {
	m, err := r.Manifest(a)
	if err != nil {
		return nil, err
	}
	return r.runs().All(m, port), nil
}

func (r *remoteOutputs) Range(a job.Attempt, port int, lo, hi []byte) ([]job.RunReader, error) {
	m, err := r.Manifest(a)
	if err != nil {
		return nil, err
	}
	return r.runs().Range(m, port, lo, hi), nil
}

// runs returns the source of runs.
func (r *remoteOutputs) runs() shuffle.Remote {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.isHere {
		return shuffle.Remote{Bytes: r.bytes}
	}
	return shuffle.Remote{Bytes: r.bytes, Path: r.place.Segment}
}

// notePlace takes in where the peer's segments are.
func (r *remoteOutputs) notePlace(p *layshaftv1.Place) {
	if !r.readsFiles || p == nil {
		return
	}
	place := shuffle.Place{Dir: p.GetDirectory(), Mark: p.GetMark()}
	r.mu.Lock()
	known := place.Dir == r.place.Dir && bytes.Equal(place.Mark, r.place.Mark)
	r.mu.Unlock()
	if known {
		return
	}
	isHere := place.IsHere()
	r.mu.Lock()
	defer r.mu.Unlock()
	r.place, r.isHere = place, isHere
}

// prefetch fetches what Runs will need, or what Manifest will need if port is negative. Errors
// are left to those methods.
func (r *remoteOutputs) prefetch(as []job.Attempt, port, part int) {
	var only *layshaftv1.Partition
	if port >= 0 {
		only = &layshaftv1.Partition{Port: int64(port), Index: int64(part)}
	}
	var missing []job.Attempt
	for _, a := range as {
		if r.manifests.get(r.name, a) == nil {
			missing = append(missing, a)
		}
	}
	if len(missing) < 2 {
		return
	}
	for len(missing) > 0 {
		n := min(len(missing), maxPrefetch)
		err := r.fetch(missing[:n], only, func(a job.Attempt, m *job.Manifest, err error) error {
			switch {
			case err != nil: // Runs or Manifest will return it
			case only == nil:
				r.manifests.put(r.name, m)
			default:
				r.mu.Lock()
				if len(r.prefetched) > maxPrefetched {
					clear(r.prefetched) // left over from failed attempts
				}
				r.prefetched[partOf{a, port, part}] = m
				r.mu.Unlock()
			}
			return nil
		})
		if err != nil {
			return
		}
		missing = missing[n:]
	}
}

// fetch requests manifests and passes each one to got, in order, until got returns an error. Each
// attempt is passed once.
func (r *remoteOutputs) fetch(as []job.Attempt, only *layshaftv1.Partition, got func(a job.Attempt, m *job.Manifest, err error) error) error {
	done := 0
	return r.try(context.Background(), as[0], func(ctx context.Context) error {
		req := &layshaftv1.GetManifestRequest{Partition: only}
		for _, a := range as[done:] {
			req.Attempts = append(req.Attempts, wire.AttemptToProto(a))
		}
		stream, err := r.client.GetManifest(ctx, req, grpc.WaitForReady(false))
		if err != nil {
			return err
		}
		var data []byte
		for done < len(as) {
			p, err := stream.Recv()
			if err == io.EOF {
				return fmt.Errorf("received %d of %d manifests", done, len(as))
			}
			if err != nil {
				return err
			}
			r.notePlace(p.GetPlace())
			if data = append(data, p.GetData()...); len(data) > maxManifest {
				return fmt.Errorf("manifest of %s: more than %d bytes", as[done], maxManifest)
			}
			if !p.GetEnd() {
				continue
			}
			a := as[done]
			m, err := decodeManifest(a, p.GetMissingReason(), data)
			done, data = done+1, nil
			if err := got(a, m, r.failure(a, err)); err != nil {
				return err
			}
		}
		return nil
	})
}

func decodeManifest(a job.Attempt, gone string, data []byte) (*job.Manifest, error) {
	if gone != "" {
		return nil, errors.New(gone)
	}
	m, err := shuffle.DecodeManifest(data)
	if err == nil && m.Attempt != a {
		err = fmt.Errorf("manifest of %s: %w: it belongs to attempt %s", a, record.ErrCorrupt, m.Attempt)
	}
	return m, err
}

// maxManifest limits the bytes of a received manifest.
const maxManifest = 1 << 30

// read requests pieces and returns their bytes in order.
func (r *remoteOutputs) read(ctx context.Context, pieces []*layshaftv1.Piece, of job.Attempt) (data []byte, err error) {
	var want int64
	for _, p := range pieces {
		want += p.GetLength()
	}
	err = r.try(ctx, of, func(ctx context.Context) error {
		resp, err := r.client.ReadOutput(ctx, &layshaftv1.ReadOutputRequest{Pieces: pieces}, grpc.WaitForReady(false), grpc.ForceCodecV2(newPieceCodec()))
		if data = resp.GetData(); err == nil && int64(len(data)) != want {
			err = fmt.Errorf("%w: received %d bytes, want %d", record.ErrCorrupt, len(data), want)
		}
		r.received.Add(int64(len(data)))
		return err
	})
	return data, err
}

// try makes a call. It retries if the peer is unreachable or overloaded, unless the peer was
// unreachable a moment ago: then a reader of many outputs waits only once. The error is a
// *job.Failure. By default it declares the output of a lost.
func (r *remoteOutputs) try(ctx context.Context, a job.Attempt, call func(ctx context.Context) error) error {
	select {
	case r.calls <- struct{}{}:
		defer func() { <-r.calls }()
	case <-ctx.Done():
		return r.failure(a, context.Cause(ctx))
	}
	for i := 0; ; i++ {
		limited, cancel := awake.WithTimeout(ctx, callLimit)
		err := call(limited)
		cancel()
		code := status.Code(err)
		retriable := code == codes.ResourceExhausted || code == codes.Unavailable && !r.isUnreachable()
		if !retriable || i == len(retryAfter) {
			r.noteResult(code)
			return r.failure(a, err)
		}
		wait := time.NewTimer(retryAfter[i])
		select {
		case <-wait.C:
		case <-ctx.Done():
			wait.Stop()
			return r.failure(a, err)
		}
	}
}

// received takes in how a call ended at last.
func (r *remoteOutputs) noteResult(code codes.Code) {
	r.mu.Lock()
	defer r.mu.Unlock()
	switch {
	case code == codes.OK:
		r.unreachable = time.Time{}
	case code == codes.Unavailable && time.Since(r.unreachable) >= unreachableTime:
		r.unreachable = time.Now()
	}
}

// isUnreachable reports whether the peer was unreachable a moment ago.
func (r *remoteOutputs) isUnreachable() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return time.Since(r.unreachable) < unreachableTime
}

// failure turns an error of a call into a *job.Failure. Nil stays nil.
func (r *remoteOutputs) failure(a job.Attempt, err error) error {
	if err == nil {
		return nil
	}
	var f *job.Failure
	if errors.As(wire.FromStatus(err), &f) {
		return f
	}
	what := fmt.Sprintf("worker %s: %v", r.name, wire.FromStatus(err))
	switch status.Code(err) {
	case codes.Unauthenticated, codes.PermissionDenied, codes.InvalidArgument, codes.Unimplemented, codes.Internal:
		return &job.Failure{Kind: job.Transient, Message: what} // the output may be intact
	}
	return lostFailure(a, what)
}
