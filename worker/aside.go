package worker

import (
	"context"
	"fmt"
	"io"
	"maps"
	"slices"
	"sync"
	"time"

	"google.golang.org/grpc"

	"github.com/layshaft/layshaft/internal/job"
	"github.com/layshaft/layshaft/internal/wire"
	layshaftv1 "github.com/layshaft/layshaft/proto/layshaft/v1"
)

const (
	maxAside  = 16 << 20         // bytes of all records that a worker keeps
	keepAside = 10 * time.Minute // how long they are kept after the worker has dropped their job
)

// SetAside are the records that user code set aside in one attempt.
type SetAside struct {
	Attempt job.Attempt // the attempt; it may have failed
	Lines   [][]byte    // lines of a quarantine file, in the order of the records
	Omitted int64       // number of records after Lines, for which the worker had no memory
}

// asideStore keeps the records that attempts set aside. A failed attempt has no output, and the
// outputs of a failed job are dropped. Clients of such jobs read the records here.
type asideStore struct {
	// mu guards the fields below.
	mu   sync.Mutex
	jobs map[job.ID]*asideJob
	size int // bytes of all lines
}

type asideJob struct {
	attempts map[job.Attempt]*SetAside
	size     int
	dropped  time.Time // zero before the worker drops the job
}

func newAsideStore() *asideStore { return &asideStore{jobs: map[job.ID]*asideJob{}} }

// add keeps a record of a running attempt.
func (s *asideStore) add(a job.Attempt, line []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.expire()
	j := s.jobs[a.Job]
	if j != nil && !j.dropped.IsZero() { // the job was submitted again
		s.remove(a.Job)
		j = nil
	}
	if j == nil {
		j = &asideJob{attempts: map[job.Attempt]*SetAside{}}
		s.jobs[a.Job] = j
	}
	x := j.attempts[a]
	if x == nil {
		x = &SetAside{Attempt: a}
		j.attempts[a] = x
	}
	if x.Omitted > 0 || s.size+len(line) > maxAside {
		x.Omitted++
		return
	}
	x.Lines = append(x.Lines, line)
	j.size, s.size = j.size+len(line), s.size+len(line)
}

// drop marks the records of a job as old.
func (s *asideStore) drop(id job.ID) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.expire()
	if j := s.jobs[id]; j != nil && j.dropped.IsZero() {
		j.dropped = time.Now()
	}
}

// expire removes the records of jobs that were dropped long ago. The caller holds mu.
func (s *asideStore) expire() {
	for id, j := range s.jobs {
		if !j.dropped.IsZero() && time.Since(j.dropped) > keepAside {
			s.remove(id)
		}
	}
}

// remove removes the records of a job. The caller holds mu.
func (s *asideStore) remove(id job.ID) {
	s.size -= s.jobs[id].size
	delete(s.jobs, id)
}

// list returns the records of a job, in the order of their attempts.
func (s *asideStore) list(id job.ID) (all []SetAside) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if j := s.jobs[id]; j != nil {
		for _, a := range slices.SortedFunc(maps.Keys(j.attempts), job.Attempt.Compare) {
			all = append(all, *j.attempts[a])
		}
	}
	return all
}

// SetAside returns the records that attempts of a job set aside on this worker, also of a job that
// was dropped some minutes ago.
func (w *Worker) SetAside(id job.ID) []SetAside { return w.aside.list(id) }

// LongestSetAside returns one element per task, in order of the tasks: attempts of a task read the
// same records, so the attempt with the most records has all.
func LongestSetAside(all []SetAside) []SetAside {
	by := map[job.Task]SetAside{}
	for _, x := range all {
		t := x.Attempt.Task
		if old, ok := by[t]; !ok || len(x.Lines)+int(x.Omitted) > len(old.Lines)+int(old.Omitted) {
			by[t] = x
		}
	}
	longest := make([]SetAside, 0, len(by))
	for _, t := range slices.SortedFunc(maps.Keys(by), job.Task.Compare) {
		longest = append(longest, by[t])
	}
	return longest
}

// ListSetAside serves SetAside to clients.
func (s *service) ListSetAside(req *layshaftv1.ListSetAsideRequest, stream grpc.ServerStreamingServer[layshaftv1.ListSetAsideResponse]) error {
	for _, x := range s.aside.list(job.ID(req.GetJob())) {
		for {
			n, size := 0, 0
			for n < len(x.Lines) && (n == 0 || size+len(x.Lines[n]) <= wire.PieceSize) {
				size += len(x.Lines[n])
				n++
			}
			m := &layshaftv1.ListSetAsideResponse{Attempt: wire.AttemptToProto(x.Attempt), Lines: x.Lines[:n]}
			if x.Lines = x.Lines[n:]; len(x.Lines) == 0 {
				m.Omitted = x.Omitted
			}
			if err := stream.Send(m); err != nil {
				return err
			}
			if len(x.Lines) == 0 {
				break
			}
		}
	}
	return nil
}

// RemoteSetAside returns Worker.SetAside of the worker at conn.
func RemoteSetAside(ctx context.Context, conn grpc.ClientConnInterface, id job.ID) (all []SetAside, err error) {
	stream, err := layshaftv1.NewWorkerServiceClient(conn).ListSetAside(ctx, &layshaftv1.ListSetAsideRequest{Job: string(id)})
	for err == nil {
		var m *layshaftv1.ListSetAsideResponse
		if m, err = stream.Recv(); err != nil {
			break
		}
		a, bad := wire.AttemptFromProto(m.GetAttempt())
		if bad == nil && m.GetOmitted() < 0 {
			bad = fmt.Errorf("%d omitted records", m.GetOmitted())
		}
		if bad != nil {
			return nil, bad
		}
		if n := len(all); n == 0 || all[n-1].Attempt != a {
			all = append(all, SetAside{Attempt: a})
		}
		x := &all[len(all)-1]
		x.Lines, x.Omitted = append(x.Lines, m.GetLines()...), m.GetOmitted()
	}
	if err == io.EOF {
		err = nil
	}
	return all, wire.FromStatus(err)
}
