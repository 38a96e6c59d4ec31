package taskserver

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/layshaft/layshaft/coordinator/internal/desk"
	"github.com/layshaft/layshaft/coordinator/internal/gearman"
	"github.com/layshaft/layshaft/coordinator/internal/queue"
	webpage "github.com/layshaft/layshaft/internal/page"
)

// ServeGearmanHTTP serves Gearman's HTTP front on l until ctx ends, and then returns nil. It closes
// l. A request is POST, PUT or GET /FUNCTION with the payload as body, and the headers
// X-Gearman-Unique, X-Gearman-Background (true) and X-Gearman-Priority (high, low). The answer has
// the job's handle in X-Gearman-Job-Handle, and X-Gearman-Joined: true if the request joined a job
// by its key. A foreground job's answer has the result as body, or status 500 with the error. With
// "Prefer: wait=SECONDS" (RFC 7240) it has status 504 after that time, with the reason why the job
// waits; the job then ends as it does for any caller that left. HEAD / answers 200 without a body.
// Of opt it does not use MayWork and Exceptions.
func (t *Server) ServeGearmanHTTP(ctx context.Context, l net.Listener, opt GearmanOptions) error {
	front := &httpFront{b: t.broker(opt), maxBody: int64(cmp.Or(opt.MaxPayload, maxBody)), prefix: gearman.DefaultHandlePrefix(), stop: ctx.Done()}
	s := &http.Server{Handler: webpage.GuardHost(sameOrigin(front)), ReadHeaderTimeout: 10 * time.Second, ReadTimeout: time.Minute, IdleTimeout: time.Minute,
		MaxHeaderBytes: 16 << 10, TLSConfig: opt.TLS, ErrorLog: slog.NewLogLogger(t.log.Handler(), slog.LevelDebug)}
	stopped := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		defer close(stopped)
		_ = s.Close()
	})
	var err error
	if opt.TLS != nil {
		err = s.ServeTLS(l, "", "")
	} else {
		err = s.Serve(l)
	}
	if !stop() {
		<-stopped
	}
	front.calls.Wait()
	if errors.Is(err, http.ErrServerClosed) {
		return nil
	}
	return err
}

// sameOrigin refuses requests that a browser makes for the page of another site. A GET submits a
// job here, so it is no safer than a POST.
func sameOrigin(h http.Handler) http.Handler {
	other := http.NewCrossOriginProtection()
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		check := *r
		if check.Method == http.MethodGet {
			check.Method = http.MethodPost
		}
		if err := other.Check(&check); err != nil {
			http.Error(w, err.Error(), http.StatusForbidden)
			return
		}
		h.ServeHTTP(w, r)
	})
}

// httpFront submits requests as jobs.
type httpFront struct {
	b       *desk.Broker
	maxBody int64 // largest payload in bytes
	prefix  string
	stop    <-chan struct{}
	calls   sync.WaitGroup
}

const (
	// httpPending is how many bytes may wait for one client before its worker is paused.
	httpPending = 1 << 20
	// httpStall is how long a client may read nothing.
	httpStall = 30 * time.Second
	// maxUnique is the longest unique key that Gearman allows, in bytes.
	maxUnique = 64
)

func (f *httpFront) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	f.calls.Add(1)
	defer f.calls.Done()
	if r.Method == http.MethodHead && r.URL.Path == "/" {
		return // a check that the port answers, as with gearmand
	}
	if r.Method == http.MethodGet && r.URL.Path == "/" { // gearmand's answer has no body either
		w.Header().Set("Connection", "close")
		w.WriteHeader(http.StatusNotFound)
		return
	}
	sub, status, err := submissionOf(r)
	wait := preferredWait(r)
	if err != nil {
		w.Header().Set("Connection", "close")
		http.Error(w, err.Error(), status)
		return
	}
	control := http.NewResponseController(w)
	var tooLarge *http.MaxBytesError
	if sub.Data, err = io.ReadAll(http.MaxBytesReader(w, r.Body, f.maxBody)); errors.As(err, &tooLarge) {
		http.Error(w, fmt.Sprintf("the payload has more than %d bytes; see -gearman-max-payload", f.maxBody), http.StatusRequestEntityTooLarge)
		return
	} else if err != nil {
		http.Error(w, "the payload did not come: "+err.Error(), http.StatusBadRequest)
		return
	}
	_ = control.SetReadDeadline(time.Time{}) // the limit is for the request; the job may take its time

	var expired <-chan time.Time
	if wait > 0 {
		t := time.NewTimer(wait)
		defer t.Stop()
		expired = t.C
	}
	j := &httpJob{changed: make(chan struct{}, 1)}
	f.b.Lock()
	session := f.b.Attach(j)
	joined := f.b.Joins(sub)
	id, commit, err := session.Submit(sub)
	f.b.Unlock()
	defer func() {
		j.close()
		f.b.Lock()
		session.Close()
		f.b.Unlock()
	}()
	switch {
	case errors.Is(err, gearman.ErrQueueFull), errors.Is(err, desk.ErrFull), errors.Is(err, gearman.ErrEnding):
		w.Header().Set("Retry-After", "1")
		http.Error(w, err.Error(), http.StatusServiceUnavailable)
		return
	case err != nil:
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	w.Header().Set("X-Gearman-Job-Handle", f.prefix+strconv.FormatUint(id, 10))
	if joined {
		w.Header().Set("X-Gearman-Joined", "true")
	}
	w.Header().Set("Content-Type", "application/octet-stream")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	for begun := false; ; {
		data, end, durable, stalled := j.take()
		if sub.Background && commit <= durable {
			return
		}
		for _, b := range data {
			_ = control.SetWriteDeadline(time.Now().Add(httpStall))
			if _, err := w.Write(b); err != nil {
				return
			}
			begun = true
		}
		switch {
		case stalled:
			panic(http.ErrAbortHandler)
		case end.Kind == gearman.WorkComplete:
			return
		case end.Kind != 0 && begun: // the status line has been sent
			panic(http.ErrAbortHandler)
		case end.Kind != 0:
			text := string(end.Data)
			if text == "" {
				text = "the job has failed"
			}
			http.Error(w, text, http.StatusInternalServerError)
			return
		}
		if len(data) > 0 {
			if control.Flush() != nil {
				return
			}
			continue
		}
		select {
		case <-j.changed:
		case <-expired:
			if begun {
				panic(http.ErrAbortHandler)
			}
			http.Error(w, fmt.Sprintf("the job has not ended within %v: %s", wait, cmp.Or(f.waitReason(id), "it runs")), http.StatusGatewayTimeout)
			return
		case <-r.Context().Done():
			return
		case <-f.stop:
			panic(http.ErrAbortHandler)
		}
	}
}

func (f *httpFront) waitReason(id uint64) string {
	f.b.Lock()
	defer f.b.Unlock()
	return f.b.WaitReason(queue.ID(id))
}

// preferredWait returns the seconds of "Prefer: wait=SECONDS", or 0. RFC 7240 demands that other
// preferences and wrong ones are ignored.
func preferredWait(r *http.Request) time.Duration {
	for _, line := range r.Header.Values("Prefer") {
		for p := range strings.FieldsFuncSeq(line, func(c rune) bool { return c == ',' || c == ';' }) {
			name, value, _ := strings.Cut(strings.TrimSpace(p), "=")
			if n, err := strconv.ParseUint(strings.Trim(value, ` "`), 10, 31); err == nil && strings.EqualFold(strings.TrimSpace(name), "wait") {
				return time.Duration(n) * time.Second
			}
		}
	}
	return 0
}

// submissionOf returns the job of a request, without its payload; or a status and an error for the
// answer.
func submissionOf(r *http.Request) (sub gearman.Submission, status int, err error) {
	sub = gearman.Submission{Function: []byte(strings.TrimPrefix(r.URL.Path, "/")), Unique: []byte(r.Header.Get("X-Gearman-Unique")), Priority: gearman.Normal, Immutable: true}
	switch r.Method {
	case http.MethodPost, http.MethodPut, http.MethodGet:
	default:
		return sub, http.StatusMethodNotAllowed, fmt.Errorf("%s is not for jobs; use POST, PUT or GET /FUNCTION", r.Method)
	}
	if len(sub.Function) == 0 {
		return sub, http.StatusNotFound, errors.New("no function is named; use POST, PUT or GET /FUNCTION")
	}
	if len(sub.Unique) > maxUnique {
		return sub, http.StatusBadRequest, fmt.Errorf("X-Gearman-Unique has %d bytes; %d is the most", len(sub.Unique), maxUnique)
	}
	switch p := strings.ToLower(r.Header.Get("X-Gearman-Priority")); p {
	case "", "normal":
	case "high":
		sub.Priority = gearman.High
	case "low":
		sub.Priority = gearman.Low
	default:
		return sub, http.StatusBadRequest, fmt.Errorf("X-Gearman-Priority is %.20q; use high or low", p)
	}
	switch b := strings.ToLower(r.Header.Get("X-Gearman-Background")); b {
	case "", "false":
	case "true":
		sub.Background = true
	default:
		return sub, http.StatusBadRequest, fmt.Errorf("X-Gearman-Background is %.20q; use true or false", b)
	}
	return sub, 0, nil
}

// httpJob is the job of one request. It is the Peer of its session.
type httpJob struct {
	changed chan struct{} // has room for one

	// mu guards the fields below.
	mu    sync.Mutex
	data  [][]byte
	bytes int
	// end has Kind zero until the job has ended.
	end     gearman.Update
	durable uint64
	// room is closed when data is taken; nil when no worker waits for that.
	room    chan struct{}
	stalled bool
	closed  bool
}

// Wake is for workers.
func (j *httpJob) Wake() {}

// Durable stores the number of the last durable batch.
func (j *httpJob) Durable(commit uint64) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.durable = max(j.durable, commit)
	j.signal()
}

// Update takes an update of the worker.
func (j *httpJob) Update(u gearman.Update) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if !u.Immutable {
		u.Data = slices.Clone(u.Data)
	}
	if u.Ends() {
		j.end = u
	}
	if u.Kind == gearman.WorkData || u.Kind == gearman.WorkComplete {
		j.data = append(j.data, u.Data)
		j.bytes += len(u.Data)
	}
	j.signal()
}

func (j *httpJob) signal() {
	select {
	case j.changed <- struct{}{}:
	default:
	}
}

// take returns everything since the last take.
func (j *httpJob) take() (data [][]byte, end gearman.Update, durable uint64, stalled bool) {
	j.mu.Lock()
	defer j.mu.Unlock()
	data, j.data, j.bytes = j.data, nil, 0
	j.free()
	return data, j.end, j.durable, j.stalled
}

func (j *httpJob) free() {
	if j.room != nil {
		close(j.room)
		j.room = nil
	}
}

func (j *httpJob) close() {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.closed = true
	j.free()
}

// WaitForRoom blocks while too much waits for the client.
func (j *httpJob) WaitForRoom() {
	t := time.NewTimer(httpStall)
	defer t.Stop()
	for {
		j.mu.Lock()
		if j.bytes <= httpPending || j.closed || j.stalled {
			j.mu.Unlock()
			return
		}
		if j.room == nil {
			j.room = make(chan struct{})
		}
		room := j.room
		j.mu.Unlock()
		select {
		case <-room:
		case <-t.C:
			j.mu.Lock()
			j.stalled = true
			j.signal()
			j.mu.Unlock()
		}
	}
}
