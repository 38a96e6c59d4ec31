package httpapi_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc"

	"github.com/layshaft/layshaft/coordinator/httpapi"
	"github.com/layshaft/layshaft/coordinator/taskserver"
	"github.com/layshaft/layshaft/internal/report"
	"github.com/layshaft/layshaft/internal/security"
	"github.com/layshaft/layshaft/internal/wire"
	tasksv1 "github.com/layshaft/layshaft/proto/layshaft/tasks/v1"
	"github.com/layshaft/layshaft/tasks"
)

// site is a server of tasks with its API and a worker.
type site struct {
	url     string
	address string // of the server of tasks
	// release lets the function held return.
	release chan struct{}
}

func start(t *testing.T, change func(*httpapi.Config)) *site {
	t.Helper()
	server, err := taskserver.Open(taskserver.Config{})
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	rpc := grpc.NewServer(wire.ServerOptions(nil, nil)...)
	server.Register(rpc)
	cfg := httpapi.Config{Tasks: server, Caller: func(r *http.Request) context.Context { return security.RequestContext(r, false) }}
	if change != nil {
		change(&cfg)
	}
	web := httptest.NewServer(httpapi.New(cfg))
	s := &site{url: web.URL, address: l.Addr().String(), release: make(chan struct{})}
	worker := tasks.NewWorker(tasks.Cluster{Address: l.Addr().String()})
	tasks.Handle(worker, "echo", func(_ context.Context, in []byte) ([]byte, error) { return in, nil })
	tasks.Handle(worker, "broken", func(context.Context, []byte) ([]byte, error) { return nil, errors.New("no luck") })
	tasks.Handle(worker, "held", func(ctx context.Context, in []byte) ([]byte, error) {
		select {
		case <-s.release:
			return in, nil
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	})
	ctx, stop := context.WithCancel(context.Background())
	working, dismiss := context.WithCancel(context.Background())
	var serving, work sync.WaitGroup
	serving.Go(func() { _ = server.Run(ctx) })
	serving.Go(func() { _ = rpc.Serve(l) })
	work.Go(func() { _ = worker.Run(working) })
	t.Cleanup(func() {
		web.Close()
		dismiss()
		work.Wait()
		stop()
		rpc.Stop()
		serving.Wait()
		_ = server.Close()
	})
	return s
}

// do sends a request: "POST /api/v1/tasks?function=echo", headers as "Name: value", and the body.
func (s *site) do(t *testing.T, request, body string, headers ...string) (status int, answer string, header http.Header) {
	t.Helper()
	method, path, _ := strings.Cut(request, " ")
	r, err := http.NewRequestWithContext(t.Context(), method, s.url+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	for _, h := range headers {
		if name, value, ok := strings.Cut(h, ": "); ok {
			r.Header.Set(name, value)
		}
	}
	got, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer got.Body.Close()
	b, err := io.ReadAll(got.Body)
	if err != nil {
		t.Fatal(err)
	}
	return got.StatusCode, string(b), got.Header
}

const inJSON = "Content-Type: application/json"

// id submits a task and returns its ID.
func (s *site) id(t *testing.T, body string, headers ...string) string {
	t.Helper()
	status, answer, header := s.do(t, "POST /api/v1/tasks", body, append(headers, inJSON)...)
	var at struct{ ID string }
	if err := json.Unmarshal([]byte(answer), &at); err != nil || status != http.StatusCreated || header.Get("Location") != "/api/v1/tasks/"+at.ID {
		t.Fatalf("%s: %d %s, %v", body, status, answer, header)
	}
	return at.ID
}

// Results have the form of the input: JSON, text or other bytes. The raw result is the same in all
// forms.
func TestResults(t *testing.T) {
	s := start(t, nil)
	for _, tt := range []struct{ request, body, kind, want, raw string }{
		{"", `{"function":"echo","input":{"sku":"a<b", "n":1.50},"wait":"1m"}`, inJSON, `"result": {"sku":"a<b","n":1.50}`, `{"sku":"a<b", "n":1.50}`},
		{"", `{"function":"echo","input":null,"wait":60}`, inJSON, "cannot unmarshal number", ""},
		{"", `{"function":"echo","input":null,"wait":"60"}`, inJSON, `"result": null`, "null"},
		{"", `{"function":"echo","input_text":"hello \"you\"","wait":"1m"}`, inJSON, `"result_text": "hello \"you\""`, `hello "you"`},
		{"", `{"function":"echo","wait":"1m"}`, inJSON, `"result_text": ""`, ""},
		{"", `{"function":"echo","input_base64":"/wD+","wait":"1m"}`, inJSON, `"result_base64": "/wD+"`, "\xff\x00\xfe"},
		{"?function=echo&wait=1m", "\xff\x00\xfe", "Content-Type: image/png", `"result_base64": "/wD+"`, "\xff\x00\xfe"},
		{"?function=echo&wait=1m", `{"function":"other"}`, inJSON, `"result": {"function":"other"}`, `{"function":"other"}`},
		{"?function=broken&wait=1m&attempts=1", "x", "", `"error": "no luck"`, ""},
	} {
		status, answer, header := s.do(t, "POST /api/v1/tasks"+tt.request, tt.body, tt.kind)
		if squeezed := regexp.MustCompile(`\n\s*`).ReplaceAllString(answer, ""); !strings.Contains(strings.ReplaceAll(squeezed, `": `, `":`), strings.ReplaceAll(tt.want, `": `, `":`)) {
			t.Errorf("%s%s: %d %s, want %s", tt.request, tt.body, status, answer, tt.want)
		}
		if status == http.StatusOK && strings.Contains(answer, `"state": "done"`) {
			if _, raw, _ := s.do(t, "GET "+header.Get("Location")+"/result", ""); raw != tt.raw {
				t.Errorf("%s%s: result %q, want %q", tt.request, tt.body, raw, tt.raw)
			}
		}
	}
	large := strings.Repeat("x", 5<<20) // over the size of one piece
	status, answer, header := s.do(t, "POST /api/v1/tasks?function=echo&wait=1m", large)
	if _, raw, _ := s.do(t, "GET "+header.Get("Location")+"/result", ""); raw != large {
		t.Errorf("%d %.200s: result of %d bytes, want %d", status, answer, len(raw), len(large))
	}
}

// A repeated submit with its key makes no second task, with a key of the body or of a header.
func TestIdempotencyKey(t *testing.T) {
	s := start(t, nil)
	first := s.id(t, `{"function":"nobody","input":1}`, "Idempotency-Key: order-17")
	for _, again := range []string{
		s.id(t, `{"function":"nobody","input":1}`, "Idempotency-Key: order-17"),
		s.id(t, `{"function":"nobody","input":1,"idempotency_key":"order-17"}`),
	} {
		if again != first {
			t.Errorf("task %s for the key of task %s", again, first)
		}
	}
	for _, other := range []string{
		s.id(t, `{"function":"nobody","input":1}`, "Idempotency-Key: order-18"),
		s.id(t, `{"function":"somebody","input":1}`, "Idempotency-Key: order-17"),
		s.id(t, `{"function":"nobody","input":1}`),
	} {
		if other == first {
			t.Errorf("one task %s for two keys", other)
		}
	}
	key := s.id(t, `{"function":"nobody","unique":"u"}`)
	if _, answer, _ := s.do(t, "POST /api/v1/tasks?function=nobody&unique=u", ""); !strings.Contains(answer, key) || !strings.Contains(answer, `"joined": true`) {
		t.Errorf("%s, want task %s, joined", answer, key)
	}
}

// A client waits for the end of a task, or for as long as it says; then it gets the reason. A
// client that leaves does not end the task.
func TestWait(t *testing.T) {
	s := start(t, nil)
	status, answer, _ := s.do(t, "POST /api/v1/tasks?function=nobody&wait=10ms", "")
	if status != http.StatusAccepted || !strings.Contains(answer, `"state": "waiting"`) || !strings.Contains(answer, "no worker can run function nobody") {
		t.Errorf("%d %s", status, answer)
	}
	id := s.id(t, `{"function":"held","input":7}`)
	if status, answer, _ := s.do(t, "GET /api/v1/tasks/"+id+"/result", ""); status != http.StatusConflict || !strings.Contains(answer, "wait=30s") {
		t.Errorf("%d %s", status, answer)
	}
	ctx, leave := context.WithCancel(t.Context())
	r, _ := http.NewRequestWithContext(ctx, http.MethodGet, s.url+"/api/v1/tasks/"+id+"?wait=1h", nil)
	left := make(chan error, 1)
	go func() {
		got, err := http.DefaultClient.Do(r)
		if err == nil {
			_ = got.Body.Close()
		}
		left <- err
	}()
	time.AfterFunc(10*time.Millisecond, leave)
	if err := <-left; !errors.Is(err, context.Canceled) {
		t.Errorf("the client that leaves: %v", err)
	}
	answers := make(chan string)
	go func() {
		_, answer, _ := s.do(t, "GET /api/v1/tasks/"+id+"?wait=1m", "")
		answers <- answer
	}()
	close(s.release)
	if answer := <-answers; !strings.Contains(answer, `"state": "done"`) || !strings.Contains(answer, `"result": 7`) {
		t.Errorf("%s", answer)
	}
}

// A submit with the key of a running task makes it run once more.
// A handler may wait over HTTP for a task of its own worker, but not for itself.
func TestWaitInHandler(t *testing.T) {
	s := start(t, nil)
	worker := tasks.NewWorker(tasks.Cluster{Address: s.address})
	worker.Concurrency = 1
	call := func(request, body string) ([]byte, error) {
		status, answer, _ := s.do(t, request, body)
		if status != http.StatusOK {
			return nil, fmt.Errorf("%d %s", status, answer)
		}
		return []byte(answer), nil
	}
	tasks.Handle(worker, "inner", func(_ context.Context, in []byte) ([]byte, error) { return in, nil })
	tasks.Handle(worker, "outer", func(ctx context.Context, in []byte) ([]byte, error) {
		return call("POST /api/v1/tasks?function=inner&wait=1m&called_by="+tasks.TaskID(ctx).String(), string(in))
	})
	tasks.Handle(worker, "later", func(ctx context.Context, _ []byte) ([]byte, error) {
		id := s.id(t, `{"function":"inner","input_text":"later"}`)
		return call("GET /api/v1/tasks/"+id+"/result?wait=1m&called_by="+tasks.TaskID(ctx).String(), "")
	})
	tasks.Handle(worker, "itself", func(ctx context.Context, _ []byte) ([]byte, error) {
		id := tasks.TaskID(ctx).String()
		return call("GET /api/v1/tasks/"+id+"?wait=1m&called_by="+id, "")
	})
	ctx, stop := context.WithCancel(t.Context())
	left := make(chan error, 1)
	go func() { left <- worker.Run(ctx) }()
	for function, want := range map[string]string{"outer": `"result_text": "x"`, "later": "later", "itself": "would wait for itself"} {
		if status, answer, _ := s.do(t, "POST /api/v1/tasks?wait=1m&attempts=1&function="+function, "x"); status != http.StatusOK || !strings.Contains(strings.ReplaceAll(answer, `\"`, `"`), want) {
			t.Errorf("%s: %d %s, want %s", function, status, answer, want)
		}
	}
	if status, answer, _ := s.do(t, "GET /api/v1/tasks/1?wait=1s&called_by=me", ""); status != http.StatusBadRequest || !strings.Contains(answer, "called_by") {
		t.Errorf("a wrong ID: %d %s", status, answer)
	}
	stop()
	if err := <-left; err != nil {
		t.Error(err)
	}
}

func TestCoalesce(t *testing.T) {
	s := start(t, nil)
	id := s.id(t, `{"function":"held","coalesce":"product 7"}`)
	for begun := ""; !strings.Contains(begun, `"state": "running"`); {
		_, begun, _ = s.do(t, "GET /api/v1/tasks/"+id, "")
	}
	if _, answer, _ := s.do(t, "POST /api/v1/tasks?function=held&coalesce=product+7", ""); !strings.Contains(answer, id) {
		t.Errorf("%s, want task %s", answer, id)
	}
	close(s.release)
	if _, answer, _ := s.do(t, "GET /api/v1/tasks/"+id+"?wait=1m", ""); !strings.Contains(answer, `"state": "done"`) {
		t.Error(answer)
	}
}

func TestCancel(t *testing.T) {
	s := start(t, nil)
	id := s.id(t, `{"function":"held"}`)
	if status, answer, _ := s.do(t, "DELETE /api/v1/tasks/"+id, ""); status != http.StatusNoContent || answer != "" {
		t.Errorf("%d %s", status, answer)
	}
	if _, answer, _ := s.do(t, "GET /api/v1/tasks/"+id+"?wait=1m", ""); !strings.Contains(answer, `"state": "cancelled"`) {
		t.Error(answer)
	}
	if status, answer, _ := s.do(t, "DELETE /api/v1/tasks/"+id, ""); status != http.StatusConflict || !strings.Contains(answer, "is cancelled; only a task") {
		t.Errorf("%d %s", status, answer)
	}
}

// A wrong request names the field, its value and the way out, and submits nothing.
func TestRefused(t *testing.T) {
	s := start(t, nil)
	for _, tt := range []struct {
		request, body, kind string
		status              int
		want                string
	}{
		{"POST /api/v1/tasks", `{}`, inJSON, 400, "no function is named"},
		{"POST /api/v1/tasks", `{"function":"echo","prio":"high"}`, inJSON, 400, `unknown field \"prio\"`},
		{"POST /api/v1/tasks", `{"function":"echo"} {}`, inJSON, 400, "text after the object"},
		{"POST /api/v1/tasks", `{"function":`, inJSON, 400, "unexpected EOF"},
		{"POST /api/v1/tasks", `{"function":"echo","input":1,"input_text":"1"}`, inJSON, 400, "exclude each other"},
		{"POST /api/v1/tasks", `{"function":"echo","unique":"a","coalesce":"b"}`, inJSON, 400, "exclude each other"},
		{"POST /api/v1/tasks", `{"function":"echo","priority":"urgent"}`, inJSON, 400, `priority \"urgent\" is none of high, normal and low`},
		{"POST /api/v1/tasks", `{"function":"echo","after":"tomorrow"}`, inJSON, 400, `after \"tomorrow\" is neither a duration`},
		{"POST /api/v1/tasks", `{"function":"echo","after":"-1s"}`, inJSON, 400, `after \"-1s\" is neither a duration`},
		{"POST /api/v1/tasks", `{"function":"echo","keep":"1 day"}`, inJSON, 400, `keep \"1 day\" is no duration, as 90s or 1h30m`},
		{"POST /api/v1/tasks", `{"function":"echo","durability":"tape"}`, inJSON, 400, "neither disk nor memory"},
		{"POST /api/v1/tasks", `{"function":"echo","attempts":-7}`, inJSON, 400, "attempts -7 is negative"},
		{"POST /api/v1/tasks", `{"function":"echo","wait":"2h"}`, inJSON, 400, "is over 1h0m0s"},
		{"POST /api/v1/tasks", "hello", "Content-Type: text/plain", 415, "?function=resize"},
		{"POST /api/v1/tasks?function=echo&prio=high", "", "", 400, "there are attempts, after, called_by, coalesce, durability, function, idempotency_key, keep, priority"},
		{"POST /api/v1/tasks?function=echo&function=held", "", "", 400, "2 times"},
		{"POST /api/v1/tasks?function=", "", "", 400, "no function is named"},
		{"POST /api/v1/tasks?function=echo", strings.Repeat("x", 64<<20+1), "", 413, "more than 67108864 bytes"},
		{"GET /api/v1/tasks/zebra", "", "", 404, `\"zebra\" is no ID of a task`},
		{"GET /api/v1/tasks/77", "", "", 404, "unknown"},
		{"GET /api/v1/tasks/77/result", "", "", 404, "unknown"},
		{"DELETE /api/v1/tasks/77", "", "", 404, "unknown"},
		{"GET /api/v1/tasks/77?wait=soon", "", "", 400, `wait \"soon\" is no duration`},
		{"PATCH /api/v1/tasks/77", "", "", 404, "openapi.json lists the requests"},
		{"POST /api/v1/tasks?function=echo", "", "Sec-Fetch-Site: cross-site", 403, "another site"},
	} {
		if status, answer, _ := s.do(t, tt.request, tt.body, tt.kind); status != tt.status || !strings.Contains(answer, tt.want) || !json.Valid([]byte(answer)) {
			t.Errorf("%s %.100s: %d %s, want %d %s", tt.request, tt.body, status, answer, tt.status, tt.want)
		}
	}
	if id := s.id(t, `{"function":"nobody"}`); !strings.HasSuffix(id, "000001") {
		t.Errorf("refused requests made tasks: the next one is %s", id)
	}
}

// Each request needs the permission for its method of TasksService.
func TestPermissions(t *testing.T) {
	var asked []string
	s := start(t, func(c *httpapi.Config) {
		c.Authorize = func(ctx context.Context, method string) error {
			asked = append(asked, fmt.Sprint(method, " by ", security.PeerIdentity(ctx)))
			return security.Authorize(ctx, method)
		}
	})
	for request, method := range map[string]string{
		"POST /api/v1/tasks?function=echo": "SubmitTasks",
		"GET /api/v1/tasks/1":              "GetTask",
		"GET /api/v1/tasks/1/result":       "WaitTask",
		"DELETE /api/v1/tasks/1":           "CancelTasks",
	} {
		asked = nil
		if status, answer, _ := s.do(t, request, ""); status != http.StatusUnauthorized || len(asked) != 1 || asked[0] != "/layshaft.v1.TasksService/"+method+" by 127.0.0.1" {
			t.Errorf("%s: %d %s, asked %q", request, status, answer, asked)
		}
	}
}

// gone is a server of tasks that has lost the lead.
type gone struct {
	httpapi.Service
	err error
}

func (g gone) SubmitTasks(context.Context, *tasksv1.SubmitTasksRequest) (*tasksv1.SubmitTasksResponse, error) {
	return nil, g.err
}

func (g gone) GetTask(context.Context, *tasksv1.GetTaskRequest) (*tasksv1.GetTaskResponse, error) {
	return nil, g.err
}

func (g gone) CancelTasks(context.Context, *tasksv1.CancelTasksRequest) (*tasksv1.CancelTasksResponse, error) {
	return nil, g.err
}

// Each request to a coordinator that does not lead is to be repeated.
func TestRetryAfter(t *testing.T) {
	for _, err := range []error{fmt.Errorf("%w: leadership lost while committing log", wire.ErrNoLeader), wire.ErrStopped, wire.ErrUnavailable} {
		h := httpapi.New(httpapi.Config{Tasks: gone{err: err}, Caller: func(r *http.Request) context.Context { return r.Context() }})
		for _, r := range []*http.Request{
			httptest.NewRequest(http.MethodPost, "/api/v1/tasks?function=f", strings.NewReader("in")),
			httptest.NewRequest(http.MethodGet, "/api/v1/tasks/7", nil),
			httptest.NewRequest(http.MethodGet, "/api/v1/tasks/7/result", nil),
			httptest.NewRequest(http.MethodDelete, "/api/v1/tasks/7", nil),
		} {
			w := httptest.NewRecorder()
			if h.ServeHTTP(w, r); w.Code != http.StatusServiceUnavailable || w.Header().Get("Retry-After") == "" {
				t.Errorf("%s %s after %v: %d %v: %s", r.Method, r.URL, err, w.Code, w.Header(), w.Body)
			}
		}
	}
}

// Schedules are shown as on the command line.
func TestSchedules(t *testing.T) {
	var server *taskserver.Server
	s := start(t, func(c *httpapi.Config) { server = c.Tasks.(*taskserver.Server) })
	if status, answer, _ := s.do(t, "GET /api/v1/schedules", "", ""); status != 200 || strings.TrimSpace(answer) != "[]" {
		t.Errorf("without schedules: %d %s", status, answer)
	}
	spec := &tasksv1.ScheduleSpec{Name: "shop/nightly", Cron: "30 2 * * *", Zone: "Europe/Berlin", Function: "nobody"}
	if _, err := server.SetSchedule(t.Context(), &tasksv1.SetScheduleRequest{Spec: spec}); err != nil {
		t.Fatal(err)
	}
	var all []report.Schedule
	if status, answer, _ := s.do(t, "GET /api/v1/schedules", "", ""); status != 200 || json.Unmarshal([]byte(answer), &all) != nil || len(all) != 1 || all[0].Name != spec.Name {
		t.Errorf("one schedule: %d %s", status, answer)
	}
	var one report.Schedule
	if status, answer, _ := s.do(t, "GET /api/v1/schedules/shop/nightly", "", ""); status != 200 || json.Unmarshal([]byte(answer), &one) != nil || one.CatchUp != "last" || one.Next.IsZero() {
		t.Errorf("the schedule: %d %s", status, answer)
	}
	if status, answer, _ := s.do(t, "GET /api/v1/schedules/hourly", "", ""); status != 404 || !strings.Contains(answer, "unknown schedule") {
		t.Errorf("an unknown schedule: %d %s", status, answer)
	}
}
