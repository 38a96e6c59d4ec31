package taskserver

import (
	"bytes"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/layshaft/layshaft/coordinator/internal/coordtest"
	"github.com/layshaft/layshaft/coordinator/internal/queue"
	tasksv1 "github.com/layshaft/layshaft/proto/layshaft/tasks/v1"
)

// A request with "Prefer: wait" is answered after that time with the reason why its job waits. One
// without it waits on.
func TestPreferWait(t *testing.T) {
	coordtest.Bubble(t, func(t *testing.T) {
		_, tasks, stop := serveTasks(t, Config{})
		defer stop()
		front := &httpFront{b: tasks.broker(GearmanOptions{}), maxBody: 100, prefix: "H:x:", stop: tasks.stop}
		for _, prefer := range []string{"wait=3", `respond-async, Wait="3"; x=1`, "wait=x, wait = 3"} {
			r, w := httptest.NewRequest(http.MethodPost, "/nobody", strings.NewReader("x")), httptest.NewRecorder()
			r.Header.Set("Prefer", prefer)
			begun := time.Now()
			front.ServeHTTP(w, r)
			const want = "the job has not ended within 3s: no worker can run function nobody; start one, such as: layshaft task work -function nobody -- COMMAND\n"
			if w.Code != http.StatusGatewayTimeout || w.Body.String() != want || time.Since(begun) != 3*time.Second {
				t.Errorf("%s: %d %q after %v", prefer, w.Code, w.Body, time.Since(begun))
			}
		}
		ended := make(chan int, 1)
		go func() {
			r, w := httptest.NewRequest(http.MethodPost, "/nobody", strings.NewReader("x")), httptest.NewRecorder()
			r.Header.Set("Prefer", "wait=soon")
			front.ServeHTTP(w, r)
			ended <- w.Code
		}()
		time.Sleep(time.Hour)
		tasks.desk.Lock()
		totals := countsOf(tasks.desk.Totals())
		id := TaskID(0)
		tasks.desk.Tasks(0, 10, func(i queue.Info) { id = i.ID })
		tasks.desk.Cancel(id)
		tasks.desk.Unlock()
		if totals.Waiting != 1 || totals.Cancelled != 3 {
			t.Errorf("%+v: a request waits without limit by default, and a job ends with its request", totals)
		}
		if got := <-ended; got != http.StatusInternalServerError {
			t.Errorf("status %d", got)
		}
	})
}

// An answer reports that its request joined a job.
func TestJoinedHeader(t *testing.T) {
	coordtest.Bubble(t, func(t *testing.T) {
		_, tasks, stop := serveTasks(t, Config{})
		defer stop()
		front := &httpFront{b: tasks.broker(GearmanOptions{}), maxBody: 100, prefix: "H:x:", stop: tasks.stop}
		for _, x := range []struct{ path, key, want string }{{"/f", "k", ""}, {"/f", "k", "true"}, {"/g", "k", ""}, {"/f", "", ""}, {"/f", "", ""}, {"/f", "-", ""}, {"/f", "-", "true"}} {
			r, w := httptest.NewRequest(http.MethodPost, x.path, strings.NewReader("x")), httptest.NewRecorder()
			r.Header.Set("X-Gearman-Background", "true")
			r.Header.Set("X-Gearman-Unique", x.key)
			if front.ServeHTTP(w, r); w.Header().Get("X-Gearman-Joined") != x.want || w.Code != http.StatusOK {
				t.Errorf("%+v: %d, %v", x, w.Code, w.Header())
			}
		}
	})
}

// The log has the functions whose tasks cannot start, once for each reason.
func TestStuckFunctionsAreLogged(t *testing.T) {
	coordtest.Bubble(t, func(t *testing.T) {
		var log bytes.Buffer
		client, tasks, stop := serveTasks(t, Config{Log: slog.New(slog.NewTextHandler(&log, nil))})
		defer stop()
		logged := func(want ...string) {
			t.Helper()
			time.Sleep(time.Minute)
			synctest.Wait()
			tasks.desk.Lock()
			defer tasks.desk.Unlock()
			if got := log.String(); strings.Count(got, "tasks wait") != len(want) {
				t.Errorf("%s: want %d lines", got, len(want))
			}
			for _, text := range want {
				if !strings.Contains(log.String(), text) {
					t.Errorf("%s lacks %s", log.String(), text)
				}
			}
			log.Reset()
		}
		background(t, client, "nobody", "1s", normal, 2)
		logged(`msg="tasks wait" function=nobody waiting=2 why="no worker can run function nobody; start one, such as: layshaft task work -function nobody -- COMMAND"`)
		logged()
		if _, err := client.PauseFunction(t.Context(), &tasksv1.PauseFunctionRequest{Function: "nobody", Paused: true}); err != nil {
			t.Fatal(err)
		}
		logged("function nobody is paused: layshaft task resume nobody")
		for _, f := range strings.Split("abcdefghijklmnopqrstuvwxyz", "") {
			background(t, client, f, "1s", normal, 1)
		}
		time.Sleep(2 * lookEvery)
		synctest.Wait()
		tasks.desk.Lock()
		if n := strings.Count(log.String(), "tasks wait"); n > maxLogged {
			t.Errorf("%d lines at once", n)
		}
		tasks.desk.Unlock()
	})
}
