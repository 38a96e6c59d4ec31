package mapreduce

import (
	"errors"
	"fmt"
	"io"
	"math"
	"net"
	"strings"

	"github.com/layshaft/layshaft/internal/inspection"
	"github.com/layshaft/layshaft/internal/report"
)

// listenWeb opens the address of Local.Web; it returns nil without one.
func (t *settings) listenWeb() (net.Listener, error) {
	if t.Web == "" {
		return nil, nil
	}
	address := t.Web
	if strings.HasPrefix(address, ":") {
		address = "127.0.0.1" + address
	}
	l, err := net.Listen("tcp", address)
	if err != nil {
		return nil, fmt.Errorf("web %s: %w; choose another address for the page of the job", t.Web, err)
	}
	t.note("the page of the job is at http://%s/", l.Addr())
	if a, ok := l.Addr().(*net.TCPAddr); ok && !a.IP.IsLoopback() {
		t.note("everyone who reaches %s can read the page; it shows parameters and keys of records", l.Addr())
	}
	return l, nil
}

// writePage writes the page of the job, and reports whether the job runs.
func (e *embedded) writePage(w io.Writer) (running bool, err error) {
	id := e.spec.ID
	st, ok := e.coord.Status(id)
	if !ok {
		return true, errors.New("the job is not submitted yet; ask again in a moment")
	}
	run, err := e.runs.Open(id)
	if err != nil {
		return true, fmt.Errorf("record of job %s: %w", id, err)
	}
	var attempts []report.Attempt
	for _, a := range e.coord.Attempts(id, math.MaxInt) {
		attempts = append(attempts, report.Attempt{Task: a.Attempt.Task, N: a.Attempt.N, Worker: a.Worker, Started: a.Since, Speculative: a.Speculative})
	}
	return st.Outcome == report.JobRunning, inspection.Registered().WriteReport(w, run, &st, attempts)
}
