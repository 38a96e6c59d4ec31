package mapreduce

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math"
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/layshaft/layshaft/internal/page"
	"github.com/layshaft/layshaft/internal/report"
	"github.com/layshaft/layshaft/internal/runpage"
)

// webRefresh is how often a browser asks for the page of a running job again, in seconds.
const webRefresh = "2"

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

// serveWeb serves the page of the job until ctx ends.
func (e *embedded) serveWeb(ctx context.Context, l net.Listener) error {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, r *http.Request) {
		var b bytes.Buffer
		running, err := e.writePage(&b)
		if err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		// the page itself has a policy for its content
		for name, value := range map[string]string{"Content-Type": "text/html; charset=utf-8", "Cache-Control": "no-store", "X-Content-Type-Options": "nosniff",
			"X-Frame-Options": "DENY", "Referrer-Policy": "same-origin", "Cross-Origin-Resource-Policy": "same-origin"} {
			w.Header().Set(name, value)
		}
		if running {
			w.Header().Set("Refresh", webRefresh)
		}
		_, _ = w.Write(b.Bytes()) // the reader has gone
	})
	s := &http.Server{Handler: page.GuardHost(mux), ReadHeaderTimeout: 10 * time.Second}
	stop := context.AfterFunc(ctx, func() { _ = s.Close() })
	defer stop()
	err := s.Serve(l)
	_ = s.Close() // Serve returns before the other Close has closed the connections
	if !errors.Is(err, http.ErrServerClosed) && !errors.Is(err, net.ErrClosed) {
		return fmt.Errorf("web %s: %w", l.Addr(), err)
	}
	return nil
}

// writePage writes the page of the job, and reports whether the job runs.
func (e *embedded) writePage(b *bytes.Buffer) (running bool, err error) {
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
	now := time.Now()
	return st.Outcome == report.JobRunning, runpage.WriteHTML(b, run, report.ViewRun(run, &st, attempts, now), version(), now)
}
