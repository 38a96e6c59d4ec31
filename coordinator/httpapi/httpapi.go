// Package httpapi serves queued tasks over HTTP and JSON, for programs in any language.
// openapi.json describes it.
//
// Each request becomes calls of TasksService, so tasks, permissions and the audit log are the same
// as over gRPC.
package httpapi

import (
	"bytes"
	"context"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/layshaft/layshaft/internal/plain"
	"github.com/layshaft/layshaft/internal/wire"
	tasksv1 "github.com/layshaft/layshaft/proto/layshaft/tasks/v1"
)

// Service is the part of TasksService that the API calls.
type Service interface {
	SubmitTasks(context.Context, *tasksv1.SubmitTasksRequest) (*tasksv1.SubmitTasksResponse, error)
	GetTask(context.Context, *tasksv1.GetTaskRequest) (*tasksv1.GetTaskResponse, error)
	CancelTasks(context.Context, *tasksv1.CancelTasksRequest) (*tasksv1.CancelTasksResponse, error)
	ListSchedules(context.Context, *tasksv1.ListSchedulesRequest) (*tasksv1.ListSchedulesResponse, error)
	WaitTask(*tasksv1.WaitTaskRequest, grpc.ServerStreamingServer[tasksv1.WaitTaskResponse]) error
}

// Config has the parts of the API.
type Config struct {
	// Tasks serves the calls.
	Tasks Service
	// Caller returns the context of a request with its caller, for Authorize and for the audit log.
	Caller func(*http.Request) context.Context
	// Authorize returns an error if the caller may not call a method of TasksService. Nil permits
	// all calls.
	Authorize func(ctx context.Context, fullMethod string) error
}

const (
	// maxInput is the limit of an input in bytes, as over gRPC.
	maxInput = 64 << 20
	// maxEnvelope is the limit of a JSON request: an input in base64 and its parameters.
	maxEnvelope = maxInput/3*4 + 64<<10
	// maxWait is the longest time for which a request waits.
	maxWait = time.Hour
	// bodyTime is the time limit for the body of a request, and for an answer.
	bodyTime = time.Minute
	// retryAfter is the number of seconds that a client waits when a queue is full.
	retryAfter = "1"
)

// openapi describes the API.
//
//go:embed openapi.json
var openapi []byte

type api struct{ Config }

// New returns the handler of the paths below /api/v1/.
func New(cfg Config) http.Handler {
	a := &api{cfg}
	mux := http.NewServeMux()
	mux.HandleFunc("POST /api/v1/tasks", a.method("SubmitTasks", a.submit))
	mux.HandleFunc("GET /api/v1/tasks/{id}", a.method("GetTask", a.get))
	mux.HandleFunc("GET /api/v1/tasks/{id}/result", a.method("WaitTask", a.result))
	mux.HandleFunc("DELETE /api/v1/tasks/{id}", a.method("CancelTasks", a.cancel))
	mux.HandleFunc("GET /api/v1/schedules", a.method("ListSchedules", a.schedules))
	mux.HandleFunc("GET /api/v1/schedules/{name...}", a.method("ListSchedules", a.schedules))
	mux.HandleFunc("GET /api/v1/openapi.json", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write(openapi)
	})
	mux.HandleFunc("/api/v1/", func(w http.ResponseWriter, r *http.Request) {
		fail(w, &problem{http.StatusNotFound, fmt.Sprintf("there is no %s %s; GET /api/v1/openapi.json lists the requests", r.Method, plain.Text(r.URL.Path))})
	})
	protection := http.NewCrossOriginProtection()
	protection.SetDenyHandler(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		fail(w, &problem{http.StatusForbidden, "the page of another site may not do this"})
	}))
	return protection.Handler(mux)
}

// problem is an error with the status of its answer.
type problem struct {
	status int
	text   string
}

func (p *problem) Error() string { return p.text }

func badRequest(format string, args ...any) error {
	return &problem{http.StatusBadRequest, fmt.Sprintf(format, args...)}
}

// httpStatus has the statuses of answers for gRPC codes.
var httpStatus = map[codes.Code]int{
	codes.InvalidArgument:    http.StatusBadRequest,
	codes.NotFound:           http.StatusNotFound,
	codes.AlreadyExists:      http.StatusConflict,
	codes.FailedPrecondition: http.StatusConflict,
	codes.ResourceExhausted:  http.StatusServiceUnavailable,
	codes.Unavailable:        http.StatusServiceUnavailable,
	codes.Unauthenticated:    http.StatusUnauthorized,
	codes.PermissionDenied:   http.StatusForbidden,
}

// fail answers with an error.
func fail(w http.ResponseWriter, err error) {
	var p *problem
	if !errors.As(err, &p) {
		st := status.Convert(wire.ToStatus(err))
		p = &problem{httpStatus[st.Code()], st.Message()}
		if p.status == 0 {
			p.status = http.StatusInternalServerError
		}
	}
	if p.status == http.StatusServiceUnavailable {
		w.Header().Set("Retry-After", retryAfter)
	}
	write(w, p.status, struct {
		Error string `json:"error"`
	}{p.text})
}

func write(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	if enc.Encode(v) == nil {
		_, _ = w.Write(plain.EncodedJSON(b.Bytes())) // the client has gone
	}
}

// method returns the handler of one request, for callers who may call the method of TasksService.
func (a *api) method(name string, serve func(context.Context, http.ResponseWriter, *http.Request) error) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		ctx := a.Caller(r)
		if a.Authorize != nil {
			if err := a.Authorize(ctx, "/"+tasksv1.TasksService_ServiceDesc.ServiceName+"/"+name); err != nil {
				fail(w, err)
				return
			}
		}
		if err := serve(ctx, w, r); err != nil && r.Context().Err() == nil {
			fail(w, err)
		}
	}
}

// submit queues a task.
func (a *api) submit(ctx context.Context, w http.ResponseWriter, r *http.Request) error {
	control := http.NewResponseController(w)
	_ = control.SetReadDeadline(time.Now().Add(bodyTime))
	spec, wait, err := readTask(w, r)
	if err != nil {
		return err
	}
	_ = control.SetReadDeadline(time.Time{})
	answer, err := a.Tasks.SubmitTasks(ctx, &tasksv1.SubmitTasksRequest{Tasks: []*tasksv1.TaskSpec{spec}})
	if err != nil {
		return err
	}
	accepted := answer.GetAccepted()[0]
	switch {
	case accepted.GetFull():
		return &problem{http.StatusServiceUnavailable, accepted.GetRefused()}
	case accepted.GetRefused() != "":
		return badRequest("%s", accepted.GetRefused())
	}
	id := taskID(accepted.GetTask())
	w.Header().Set("Location", "/api/v1/tasks/"+id)
	if wait.limit == 0 {
		write(w, http.StatusCreated, created{ID: id, Joined: accepted.GetJoined()})
		return nil
	}
	t, err := a.look(ctx, control, accepted.GetTask(), wait)
	if err != nil {
		return err
	}
	t.Joined = accepted.GetJoined()
	code := http.StatusOK
	if !t.hasEnded() {
		code = http.StatusAccepted
	}
	write(w, code, t)
	return nil
}

// get answers with the state of a task, after its end if the client waits.
func (a *api) get(ctx context.Context, w http.ResponseWriter, r *http.Request) error {
	id, wait, err := target(r)
	if err != nil {
		return err
	}
	t, err := a.look(ctx, http.NewResponseController(w), id, wait)
	if err != nil {
		return err
	}
	write(w, http.StatusOK, t)
	return nil
}

// result answers with the bytes of a result.
func (a *api) result(ctx context.Context, w http.ResponseWriter, r *http.Request) error {
	id, wait, err := target(r)
	if err != nil {
		return err
	}
	t, err := a.look(ctx, http.NewResponseController(w), id, wait)
	switch {
	case err != nil:
		return err
	case t.State == stateDone:
		w.Header().Set("Content-Type", "application/octet-stream")
		_, _ = w.Write(t.bytes)
		return nil
	case t.hasEnded():
		return &problem{http.StatusConflict, fmt.Sprintf("task %s is %s: %s", t.ID, t.State, t.Error)}
	}
	return &problem{http.StatusConflict, fmt.Sprintf("task %s has no result yet: it is %s; ?wait=30s waits for the result", t.ID, t.State)}
}

// cancel ends a task.
func (a *api) cancel(ctx context.Context, w http.ResponseWriter, r *http.Request) error {
	id, _, err := target(r)
	if err != nil {
		return err
	}
	answer, err := a.Tasks.CancelTasks(ctx, &tasksv1.CancelTasksRequest{Tasks: []uint64{id}})
	if err != nil {
		return err
	}
	if len(answer.GetTasks()) == 0 {
		t, err := a.state(ctx, id)
		if err != nil {
			return err
		}
		return &problem{http.StatusConflict, fmt.Sprintf("task %s is %s; only a task that has not ended can be cancelled", t.ID, t.State)}
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}

// target returns the task of a request's path, and how the client waits.
func target(r *http.Request) (id uint64, wait waiting, err error) {
	id, ok := wire.ParseTaskID(r.PathValue("id"))
	if !ok {
		return 0, wait, &problem{http.StatusNotFound, fmt.Sprintf("%q is no ID of a task: 1 to 16 hexadecimal digits, or the handle of a Gearman job", cut(r.PathValue("id")))}
	}
	wait, err = parseWait(r.URL.Query().Get("wait"), r.URL.Query().Get("called_by"))
	return id, wait, err
}

// readBody reads at most limit bytes.
func readBody(w http.ResponseWriter, r *http.Request, limit int64) ([]byte, error) {
	b, err := io.ReadAll(http.MaxBytesReader(w, r.Body, limit))
	var tooLarge *http.MaxBytesError
	switch {
	case errors.As(err, &tooLarge):
		return nil, &problem{http.StatusRequestEntityTooLarge, fmt.Sprintf("the body has more than %d bytes; put large data into a file or a store, and its name into the task", limit)}
	case err != nil:
		return nil, badRequest("the body did not come: %v", err)
	}
	return b, nil
}

// cut returns the beginning of a text of a client, for an error.
func cut(text string) string { return strings.ToValidUTF8(text[:min(len(text), 100)], "") }
