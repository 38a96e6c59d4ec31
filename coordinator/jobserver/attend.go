package jobserver

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/layshaft/layshaft/internal/job"
	"github.com/layshaft/layshaft/internal/report"
	"github.com/layshaft/layshaft/internal/wire"
)

// A client watches its job to the end, unless the job is detached. While it watches, it counts as
// present. A client that is away for longer than its lease will not fetch the rows, and its
// machine may hold input files, so its job ends instead of wasting slots. After a restart of the
// coordinator every client has a whole lease to come back.

// attendance is the presence of a job's client.
type attendance struct {
	// watching counts the client's running Watch calls.
	watching int
	// since is the end of the last Watch call.
	since time.Time
}

// attend counts the client of a job as present until the caller runs leave.
func (s *Server) attend(id job.ID) (leave func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	a := s.clients[id]
	if a == nil {
		a = &attendance{}
		s.clients[id] = a
	}
	a.watching++
	return func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		a.watching--
		a.since = time.Now()
	}
}

func laterOf(a, b time.Time) time.Time {
	if a.Before(b) {
		return b
	}
	return a
}

// missClients cancels the jobs of clients that have been away for too long.
func (s *Server) missClients(ctx context.Context, now time.Time) {
	alone := map[job.ID]bool{}
	for _, id := range s.c.Jobs() {
		st, ok := s.c.Status(id)
		alone[id] = ok && st.Outcome == report.JobRunning && !st.Options.Detached
	}
	var gone []job.ID
	woke := s.c.Woke() // no client could reach this process before
	s.mu.Lock()
	for id, needs := range alone {
		a := s.clients[id]
		switch {
		case !needs:
		case a == nil:
			s.clients[id] = &attendance{since: now}
		case a.watching == 0 && now.Sub(laterOf(a.since, woke)) >= s.cfg.ClientLease:
			gone = append(gone, id)
		}
	}
	for id, a := range s.clients {
		if !alone[id] && a.watching == 0 {
			delete(s.clients, id)
		}
	}
	s.mu.Unlock()
	for _, id := range gone {
		why := fmt.Sprintf("its client has been away for %v; the same command runs it anew, and with -detach it needs none", s.cfg.ClientLease)
		s.cfg.Audit.Info("audit", "action", "cancel", "who", "coordinator", "job", id, "why", why)
		if err := s.c.Cancel(ctx, id, why); err != nil && !errors.Is(err, wire.ErrUnknownJob) && !errors.Is(err, wire.ErrStopped) {
			s.log.Warn("job without a client not cancelled", "job", id, "err", err)
		}
	}
}
