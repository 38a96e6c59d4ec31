package worker

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"

	"golang.org/x/sync/semaphore"

	"github.com/layshaft/layshaft/internal/job"
	"github.com/layshaft/layshaft/internal/wire"
	layshaftv1 "github.com/layshaft/layshaft/proto/layshaft/v1"
	"github.com/layshaft/layshaft/worker/internal/shuffle"
)

const (
	maxRead  = 1 << 20  // bytes of one ReadOutput
	maxReads = 64 << 20 // bytes of all concurrent ReadOutput calls
)

// outputServer serves the outputs of a store to peers and clients.
type outputServer struct {
	store *shuffle.Store
	reads *semaphore.Weighted
	sent  atomic.Int64        // bytes
	lost  func(a job.Attempt) // is called for damaged outputs; may be nil
	place shuffle.Place       // zero if the store's files are not shared
}

func newOutputServer(store *shuffle.Store, lost func(a job.Attempt)) *outputServer {
	return &outputServer{store: store, reads: semaphore.NewWeighted(maxReads), lost: lost}
}

// getManifest serves GetManifest.
func (s *outputServer) getManifest(req *layshaftv1.GetManifestRequest, sendPiece func(*layshaftv1.GetManifestResponse) error) error {
	var place *layshaftv1.Place
	if s.place.Dir != "" {
		place = &layshaftv1.Place{Directory: s.place.Dir, Mark: s.place.Mark}
	}
	send := func(p *layshaftv1.GetManifestResponse) error {
		p.Place, place = place, nil
		return sendPiece(p)
	}
	for _, p := range req.GetAttempts() {
		a, err := wire.AttemptFromProto(p)
		if err != nil {
			return fmt.Errorf("%w: %w", wire.ErrInvalid, err)
		}
		var m *job.Manifest
		if only := req.GetPartition(); only != nil {
			m, err = s.store.PartitionManifest(a, int(only.GetPort()), int(only.GetIndex()))
		} else {
			m, err = s.store.Manifest(a)
		}
		if err != nil {
			s.damaged(a)
			if err := send(&layshaftv1.GetManifestResponse{MissingReason: err.Error(), End: true}); err != nil {
				return err
			}
			continue
		}
		for data := shuffle.AppendManifest(nil, m); len(data) > 0; {
			n := min(len(data), wire.PieceSize)
			if err := send(&layshaftv1.GetManifestResponse{Data: data[:n], End: n == len(data)}); err != nil {
				return err
			}
			data = data[n:]
		}
	}
	return nil
}

// readOutput serves ReadOutput. It waits while other calls read maxReads bytes.
func (s *outputServer) readOutput(ctx context.Context, req *layshaftv1.ReadOutputRequest) (*layshaftv1.ReadOutputResponse, error) {
	pieces := make([]shuffle.Piece, len(req.GetPieces()))
	var total int64
	for i, p := range req.GetPieces() {
		a, err := wire.AttemptFromProto(p.GetAttempt())
		if err != nil {
			return nil, fmt.Errorf("%w: piece %d: %w", wire.ErrInvalid, i, err)
		}
		n := p.GetLength()
		if n < 0 || n > maxRead || total+n > maxRead || p.GetOffset() < 0 {
			return nil, fmt.Errorf("%w: piece %d of %s: %d bytes at %d; all pieces of a call together are at most %d bytes", wire.ErrInvalid, i, a, n, p.GetOffset(), maxRead)
		}
		total += n
		pieces[i] = shuffle.Piece{Attempt: a, Inline: p.GetInline(), Offset: p.GetOffset(), Length: n}
	}
	if err := s.reads.Acquire(ctx, total); err != nil {
		return nil, err
	}
	defer s.reads.Release(total)
	data := pieceBuffers.Get(int(total))
	err := s.store.Read(pieces, *data)
	if err == nil {
		s.sent.Add(total)
		return &layshaftv1.ReadOutputResponse{Data: *data}, nil
	}
	pieceBuffers.Put(data)
	var f *job.Failure
	if !errors.As(err, &f) {
		return nil, fmt.Errorf("%w: %w", wire.ErrUnavailable, err) // too many open files, for example
	}
	for _, a := range f.Lost {
		s.damaged(a)
	}
	return nil, err
}

// damaged reports an output that the store should hold.
func (s *outputServer) damaged(a job.Attempt) {
	if s.lost != nil && s.store.Holds(a) {
		s.lost(a)
	}
}
