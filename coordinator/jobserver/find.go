package jobserver

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"slices"
	"time"

	"github.com/zeebo/xxh3"
	"google.golang.org/grpc"

	"github.com/layshaft/layshaft/internal/filesys"
	"github.com/layshaft/layshaft/internal/filesys/remote"
	"github.com/layshaft/layshaft/internal/report"
	"github.com/layshaft/layshaft/internal/wire"
	layshaftv1 "github.com/layshaft/layshaft/proto/layshaft/v1"
)

// FindFiles lists the files of a dataset.
func (s *Server) FindFiles(r *layshaftv1.FindFilesRequest, stream grpc.ServerStreamingServer[layshaftv1.FindFilesResponse]) error {
	files, err := s.find(stream.Context(), r.GetDataset(), r.GetGlob())
	if err != nil {
		return err
	}
	for some := range slices.Chunk(files, 1000) {
		if err := stream.Send(&layshaftv1.FindFilesResponse{Files: some}); err != nil {
			return err
		}
	}
	return nil
}

// findWait is the time limit for workers to list their files. It is shorter than the caller's own
// limit, so that the caller learns the name of a silent worker.
const findWait = 15 * time.Second

// find lists the files of a dataset on all workers that offer it. It fails when a worker with the
// dataset is away and may have files that no other worker has: its files were never listed, or
// some of its listed files are missing now.
func (s *Server) find(ctx context.Context, dataset, glob string) ([]*layshaftv1.FileInfo, error) {
	ctx, cancel := context.WithTimeout(ctx, findWait)
	defer cancel()
	addresses, away, err := s.holders(dataset)
	if err != nil {
		return nil, err
	}
	files, err := remote.Gather(ctx, slices.Sorted(maps.Keys(addresses)), func(ctx context.Context, worker string, req *layshaftv1.CallRequest) (*layshaftv1.CallResponse, error) {
		return s.askFiles(ctx, worker, addresses[worker], req)
	}, dataset, glob)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	key, have := listKey{dataset, glob}, make(map[string][]uint64, len(addresses))
	for worker := range addresses {
		have[worker] = nil
	}
	for _, f := range files {
		h := xxh3.HashString(f.GetName())
		for _, worker := range f.GetHolders() {
			have[worker] = append(have[worker], h)
		}
	}
	if !remote.IsComplete(files, err, glob) {
		for _, worker := range away {
			if n, known := s.listed.missing(key, worker, have); !known {
				return nil, remote.AwayError(worker, dataset, "may hold some of it")
			} else if n > 0 {
				return nil, remote.AwayError(worker, dataset, fmt.Sprintf("had %d of the files that %s matches, which nobody else has", n, glob))
			}
		}
	}
	s.listed.note(key, have)
	return files, err
}

// holders returns the workers with a dataset, by worker ID: addresses for workers with a lease, and
// a list of workers that are away.
func (s *Server) holders(dataset string) (addresses map[string]string, away []string, err error) {
	addresses, offered := map[string]string{}, map[string]bool{}
	for _, w := range s.c.AllWorkers() {
		for _, d := range w.Datasets {
			if offered[d] = true; d != dataset {
				continue
			}
			if w.State == report.Away {
				away = append(away, w.ID)
			} else {
				addresses[w.ID], _ = s.address(w.Name)
			}
		}
	}
	if len(addresses)+len(away) == 0 {
		return nil, nil, remote.UnknownDataset(dataset, slices.Sorted(maps.Keys(offered)))
	}
	return addresses, away, nil
}

// askFiles makes a call to one worker.
func (s *Server) askFiles(ctx context.Context, worker, address string, req *layshaftv1.CallRequest) (*layshaftv1.CallResponse, error) {
	if address == "" {
		return nil, fmt.Errorf("has just left: %w", filesys.ErrGone)
	}
	conn, err := s.cfg.Dial(address)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", address, err)
	}
	defer conn.Close()
	out, err := layshaftv1.NewFilesServiceClient(conn).Call(ctx, req, grpc.WaitForReady(false))
	switch {
	case ctx.Err() != nil:
		return nil, fmt.Errorf("%s does not answer: %w", address, filesys.ErrGone)
	case err != nil:
		return nil, fmt.Errorf("%s: %w", address, wire.FromStatus(err))
	}
	for _, f := range out.GetInfos() {
		f.Holders = []string{worker}
	}
	return out, nil
}
