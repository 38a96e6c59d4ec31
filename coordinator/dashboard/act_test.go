package dashboard

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/test/bufconn"

	"github.com/layshaft/layshaft/coordinator/taskserver"
	"github.com/layshaft/layshaft/internal/job"
	"github.com/layshaft/layshaft/internal/report"
	"github.com/layshaft/layshaft/internal/wire"
	tasksv1 "github.com/layshaft/layshaft/proto/layshaft/tasks/v1"
)

// post sends the form of an action. headers are pairs.
func post(t *testing.T, h http.Handler, action, id string, headers ...string) *httptest.ResponseRecorder {
	t.Helper()
	r := httptest.NewRequest(http.MethodPost, "http://127.0.0.1:7071/act/"+action, strings.NewReader(url.Values{"id": {id}}.Encode()))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	r.Header.Set("Sec-Fetch-Site", "same-origin")
	for i := 0; i < len(headers); i += 2 {
		if r.Header.Set(headers[i], headers[i+1]); headers[i] == "Host" {
			r.Host = headers[i+1]
		}
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

// One button after the other: the page asks with the name of the thing, and the action works.
func TestActions(t *testing.T) {
	t.Parallel()
	d := open(t)
	h := d.Handler()
	d.submitJob(t, "night ly", "n")
	const name = "f\xff<b>"
	ids := d.submitTasks(t, name, 2)
	task := fmt.Sprintf("%x", ids[0])
	paused := func() bool { return d.cfg.Tasks.Overview().Functions[0].Paused }
	for _, x := range []struct {
		action, id, asks, back string
		ok                     func() bool
	}{
		{"cancel-job", "night ly", "Cancel job night ly?", "/jobs/night%20ly", func() bool { st, _ := d.cfg.Coordinator.Status("night ly"); return st.Outcome == report.JobCancelled }},
		{"pause", `f\xff<b>`, `Pause function f\xff&lt;b&gt;?`, `/tasks?function=f%5Cxff%3Cb%3E`, paused},
		{"resume", `f\xff<b>`, `Resume function f\xff&lt;b&gt;?`, `/tasks?function=f%5Cxff%3Cb%3E`, func() bool { return !paused() }},
		{"cancel-task", task, "Cancel task " + task + "?", "/tasks/" + task, func() bool {
			_, waits := d.cfg.Tasks.Task(taskserver.TaskID(ids[0])) // nobody waits for its end, so it is forgotten
			return !waits
		}},
	} {
		asked := get(t, h, "/act/"+x.action+"?id="+url.QueryEscape(x.id), browser)
		if body := asked.Body.String(); asked.Code != http.StatusOK || !strings.Contains(body, "<h1>"+x.asks+"</h1>") || !strings.Contains(body, `action="/act/`+x.action+`"`) {
			t.Errorf("%s asks: %d %s", x.action, asked.Code, body)
		}
		if x.ok() {
			t.Errorf("%s was done by a question", x.action)
		}
		w := post(t, h, x.action, x.id, "Accept", browser)
		if w.Code != http.StatusSeeOther || w.Header().Get("Location") != x.back || !x.ok() {
			t.Errorf("%s: %d to %s, done: %v", x.action, w.Code, w.Header().Get("Location"), x.ok())
		}
		if w := post(t, h, x.action, x.id); w.Code != http.StatusConflict && w.Code != http.StatusNotFound { // it does not fit any more
			t.Errorf("%s a second time: %d %s", x.action, w.Code, w.Body)
		}
	}
	if w := post(t, h, "cancel-task", fmt.Sprintf("%x", ids[1])); w.Code != http.StatusOK || w.Body.String() != fmt.Sprintf("Task %x is cancelled.\n", ids[1]) {
		t.Errorf("%d %s", w.Code, w.Body)
	}
	for action, id := range map[string]string{"cancel-job": "none", "cancel-task": "7", "retry-task": "x", "pause": "none", "drop-dead": "none", "drain": "none", "other": "x"} {
		if w := post(t, h, action, id); w.Code != http.StatusNotFound {
			t.Errorf("%s of nothing: %d %s", action, w.Code, w.Body)
		}
		if w := get(t, h, "/act/"+action+"?id="+id, browser); w.Code != http.StatusNotFound {
			t.Errorf("%s of nothing asks: %d", action, w.Code)
		}
	}
}

// failTasks submits tasks of a function whose worker fails them for good.
func (d *Dashboard) failTasks(t *testing.T, function string, n int) (ids []uint64) {
	t.Helper()
	l := bufconn.Listen(1 << 16)
	server := grpc.NewServer()
	d.cfg.Tasks.Register(server)
	go func() { _ = server.Serve(l) }()
	defer server.Stop()
	conn, err := grpc.NewClient("passthrough:///", grpc.WithTransportCredentials(insecure.NewCredentials()), grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) { return l.DialContext(ctx) }))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	rpc := tasksv1.NewTasksServiceClient(conn)
	stream, err := rpc.WorkTasks(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	_ = stream.Send(&tasksv1.WorkTasksRequest{Body: &tasksv1.WorkTasksRequest_Hello{Hello: &tasksv1.TaskHello{Protocol: wire.Protocol, Worker: "w",
		Abilities: &tasksv1.TaskAbilities{Slots: 1, Functions: []*tasksv1.TaskFunction{{Function: function}}}}}})
	for range n {
		a, err := rpc.SubmitTasks(t.Context(), &tasksv1.SubmitTasksRequest{Tasks: []*tasksv1.TaskSpec{{Function: function, Background: true, Input: []byte(`{"sku": "<b>7</b>"}`)}}})
		if err != nil {
			t.Fatal(err)
		}
		id := a.GetAccepted()[0].GetTask()
		ids = append(ids, id)
		for done := false; !done; {
			m, err := stream.Recv()
			if err != nil {
				t.Fatal(err)
			}
			for _, x := range m.GetAssigns() {
				_ = stream.Send(&tasksv1.WorkTasksRequest{Body: &tasksv1.WorkTasksRequest_Reports{Reports: &tasksv1.TaskReports{Reports: []*tasksv1.TaskReport{
					{Attempt: x.GetAttempt(), Content: &tasksv1.TaskReport_Fatal{Fatal: []byte("no image")}}}}}})
				done = true
			}
		}
		for ended := false; !ended; {
			x, _ := d.cfg.Tasks.Task(taskserver.TaskID(id))
			if ended = x.DeadLetter; !ended {
				if t.Context().Err() != nil {
					t.Fatal("the task does not fail")
				}
				time.Sleep(time.Millisecond)
			}
		}
	}
	return ids
}

// Dead letters have buttons, one by one and all of a function.
func TestDeadLetterActions(t *testing.T) {
	t.Parallel()
	d := open(t)
	h := d.Handler()
	dead := func() int { return d.cfg.Tasks.Overview().Functions[0].Dead }
	ids := d.failTasks(t, "f", 4)
	if body := get(t, h, "/tasks?function=f", browser).Body.String(); strings.Count(body, "/act/retry-task?id=") != 4 || strings.Count(body, "/act/drop-task?id=") != 4 {
		t.Error("the dead letters lack buttons")
	}
	if w := post(t, h, "retry-task", fmt.Sprintf("%x", ids[1])); w.Code != http.StatusOK || dead() != 3 {
		t.Errorf("retry: %d %s, %d dead", w.Code, w.Body, dead())
	}
	if w := post(t, h, "drop-task", fmt.Sprintf("%x", ids[0])); w.Code != http.StatusOK || dead() != 2 {
		t.Errorf("drop: %d %s, %d dead", w.Code, w.Body, dead())
	}
	if w := post(t, h, "drop-dead", "f"); w.Code != http.StatusOK || dead() != 0 {
		t.Errorf("drop all: %d %s, %d dead", w.Code, w.Body, dead())
	}
}

// Pages of other sites, callers without permission and a read-only server change nothing.
func TestWhoMayAct(t *testing.T) {
	t.Parallel()
	d := open(t)
	h := d.Handler()
	d.submitJob(t, "j", "j")
	running := func() bool { st, _ := d.cfg.Coordinator.Status(job.ID("j")); return st.Outcome == report.JobRunning }
	refused := func(why string, w *httptest.ResponseRecorder, want string) {
		t.Helper()
		if w.Code != http.StatusForbidden || !strings.Contains(w.Body.String(), want) || !running() {
			t.Errorf("%s: %d %s; the job runs: %v", why, w.Code, w.Body, running())
		}
	}
	for _, site := range []string{"cross-site", "same-site"} {
		refused(site, post(t, h, "cancel-job", "j", "Sec-Fetch-Site", site), "another site")
	}
	refused("another origin", post(t, h, "cancel-job", "j", "Sec-Fetch-Site", "", "Origin", "http://evil.example"), "another site")
	refused("a page without an origin", post(t, h, "cancel-job", "j", "Sec-Fetch-Site", "", "Origin", "null"), "another site")
	refused("a rebound name", post(t, h, "cancel-job", "j", "Host", "evil.example:7071", "Origin", "http://evil.example:7071"), "no name of this coordinator")
	r := httptest.NewRequest(http.MethodGet, "http://evil.example:7071/jobs/j", nil)
	w := httptest.NewRecorder()
	if h.ServeHTTP(w, r); strings.Contains(w.Body.String(), "/act/") {
		t.Error("a page under another name has buttons")
	}
	if w := get(t, h, "/jobs/j", browser); !strings.Contains(w.Body.String(), "/act/cancel-job?id=j") || !strings.Contains(w.Body.String(), "act.js") {
		t.Error("the page of the job has no button")
	}

	d.cfg.ReadOnly = true
	refused("read-only", post(t, h, "cancel-job", "j"), "-http-read-only")
	d.forget()
	for _, path := range []string{"/jobs/j", "/workers", "/tasks"} {
		if body := get(t, h, path, browser).Body.String(); strings.Contains(body, "/act/") || strings.Contains(body, "act.js") {
			t.Errorf("%s has buttons", path)
		}
	}
	if body := get(t, h, "/act/cancel-job?id=j", browser).Body.String(); strings.Contains(body, `method="post"`) || !strings.Contains(body, "layshaft job cancel j") {
		t.Error("the question has a button")
	}
	d.cfg.ReadOnly = false

	d.cfg.Hosts = []string{"c1.example"}
	if w := post(t, h, "cancel-job", "j", "Host", "C1.example:7071", "Accept", browser); w.Code != http.StatusSeeOther || running() {
		t.Errorf("by its own name: %d %s", w.Code, w.Body)
	}
}

type caller struct{}

// What a caller may do is the same as over gRPC, and refusals are logged.
func TestActionsNeedPermission(t *testing.T) {
	t.Parallel()
	var asked []string
	d := openAs(t, func(ctx context.Context, method string) error {
		if ctx.Value(caller{}) != "client" {
			return errors.New("a reader may not do this")
		}
		asked = append(asked, method)
		return nil
	})
	d.cfg.Caller = func(r *http.Request) context.Context {
		return context.WithValue(r.Context(), caller{}, r.Header.Get("X-Role"))
	}
	h := d.Handler()
	d.submitJob(t, "j", "j")
	if body := get(t, h, "/jobs/j", browser).Body.String(); strings.Contains(body, "/act/") {
		t.Error("a reader sees buttons")
	}
	if w := post(t, h, "cancel-job", "j", "X-Role", "reader"); w.Code != http.StatusForbidden || !strings.Contains(w.Body.String(), "a reader may not do this") {
		t.Errorf("a reader: %d %s", w.Code, w.Body)
	}
	for name, a := range actions {
		asked = nil
		post(t, h, name, "none", "X-Role", "client")
		if len(asked) != 1 || asked[0] != a.method {
			t.Errorf("%s asks for permission to %v", name, asked)
		}
	}
}
