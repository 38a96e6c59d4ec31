package tasks_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/layshaft/layshaft/tasks"
)

// post submits a job to Gearman's HTTP front end.
func post(t *testing.T, ctx context.Context, url, body string, headers ...string) (*http.Response, string, error) {
	t.Helper()
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		return nil, "", err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	return resp, string(b), err
}

// taskOf returns the task of a job handle.
func taskOf(t *testing.T, resp *http.Response) tasks.ID {
	t.Helper()
	handle := resp.Header.Get("X-Gearman-Job-Handle")
	n, err := strconv.ParseUint(handle[strings.LastIndexByte(handle, ':')+1:], 10, 64)
	if err != nil || !strings.HasPrefix(handle, "H:") {
		t.Fatalf("handle %q, %v", handle, err)
	}
	return tasks.ID(n)
}

func TestHTTPFront(t *testing.T) {
	s, c := serve(t)
	url := "http://" + s.HTTP + "/"
	work(t, s.Address, func(w *tasks.Worker) {
		tasks.Handle(w, "upper case", func(_ context.Context, in []byte) ([]byte, error) { return bytes.ToUpper(in), nil })
		tasks.Handle(w, "raise", func(context.Context, []byte) ([]byte, error) { return nil, tasks.Fatal(errors.New("it is bad")) })
		tasks.Handle(w, "parts", func(ctx context.Context, in string) (string, error) {
			err := errors.Join(tasks.Send(ctx, "one,"), tasks.Warn(ctx, "not for the body"), tasks.Send(ctx, "two,"))
			if in == "break" {
				err = tasks.Fatal(errors.New("half way"))
			}
			return "end", err
		})
	})
	if resp, body, err := post(t, within(t), url+"upper%20case", "hello\x00"); err != nil || resp.StatusCode != 200 || body != "HELLO\x00" || taskOf(t, resp) == 0 {
		t.Errorf("foreground: %v, %q, %v", resp, body, err)
	}
	if resp, body, err := post(t, within(t), url+"raise", ""); err != nil || resp.StatusCode != 500 || !strings.Contains(body, "it is bad") {
		t.Errorf("failure: %v, %q, %v", resp, body, err)
	}
	if resp, body, err := post(t, within(t), url+"parts", ""); err != nil || resp.StatusCode != 200 || body != "one,two,end" {
		t.Errorf("partial results: %v, %q, %v", resp, body, err)
	}
	if _, body, err := post(t, within(t), url+"parts", "break"); err == nil {
		t.Errorf("a job that failed half way looks whole: %q", body)
	}

	// A background job is accepted at once, with priority and unique key; the same key is the same
	// job.
	if err := c.Pause(within(t), "later"); err != nil {
		t.Fatal(err)
	}
	var ids [2]tasks.ID
	for i := range ids {
		resp, body, err := post(t, within(t), url+"later", "payload", "X-Gearman-Background", "true", "X-Gearman-Unique", "k", "X-Gearman-Priority", "low")
		if err != nil || resp.StatusCode != 200 || body != "" {
			t.Fatalf("background: %v, %q, %v", resp, body, err)
		}
		ids[i] = taskOf(t, resp)
	}
	if st, err := c.Inspect(within(t), ids[0]); err != nil || ids[0] != ids[1] || st.Function != "later" || st.Priority != tasks.Low || st.Unique != "k" || string(st.Input) != "payload" || st.State != tasks.StateWaiting {
		t.Errorf("jobs %v, %+v, %v", ids, st, err)
	}
	if err := c.SetLimits(within(t), "later", tasks.Limits{QueueNormal: 1}); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		path    string
		headers []string
		want    int
	}{
		{"later", nil, http.StatusServiceUnavailable},
		{"", nil, http.StatusNotFound},
		{"f", []string{"X-Gearman-Priority", "urgent"}, http.StatusBadRequest},
		{"f", []string{"X-Gearman-Background", "maybe"}, http.StatusBadRequest},
		{"f", []string{"X-Gearman-Unique", strings.Repeat("u", 65)}, http.StatusBadRequest},
		{strings.Repeat("f", 600), nil, http.StatusBadRequest},
		{"f", []string{"Origin", "http://elsewhere.example"}, http.StatusForbidden},
	} {
		if resp, body, err := post(t, within(t), url+tt.path, "", tt.headers...); err != nil || resp.StatusCode != tt.want || body == "" {
			t.Errorf("POST /%.10s with %v: %v, %q, %v, want %d", tt.path, tt.headers, resp, body, err, tt.want)
		}
	}
	for _, tt := range []struct {
		method, path, body string
		header             string // Sec-Fetch-Site
		host               string
		want               int
		answer             string
	}{
		{"GET", "upper%20case", "", "", "", 200, ""},
		{"GET", "upper%20case", "abc", "none", "", 200, "ABC"},
		{"PUT", "upper%20case", "abc", "", "localhost", 200, "ABC"},
		{"GET", "", "", "", "", http.StatusNotFound, ""},
		{"PUT", "", "", "", "", http.StatusNotFound, "no function is named; use POST, PUT or GET /FUNCTION\n"},
		{"HEAD", "", "", "", "", 200, ""},
		{"DELETE", "f", "", "", "", http.StatusMethodNotAllowed, "DELETE is not for jobs; use POST, PUT or GET /FUNCTION\n"},
		{"GET", "upper%20case", "", "cross-site", "", http.StatusForbidden, ""}, // an image in a page of another site
		{"POST", "upper%20case", "abc", "same-origin", "rebound.example:8080", http.StatusForbidden, ""},
		{"GET", "", "", "", "rebound.example", http.StatusForbidden, ""},
	} {
		r, err := http.NewRequestWithContext(within(t), tt.method, url+tt.path, strings.NewReader(tt.body))
		if err != nil {
			t.Fatal(err)
		}
		r.Host = tt.host
		if tt.header != "" {
			r.Header.Set("Sec-Fetch-Site", tt.header)
		}
		resp, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		if err != nil || resp.StatusCode != tt.want || string(body) != tt.answer && tt.want != http.StatusForbidden {
			t.Errorf("%+v: %v, %q, %v", tt, resp, body, err)
		}
		if tt.want == http.StatusNotFound && !resp.Close {
			t.Errorf("%+v: the connection stays", tt)
		}
	}

	// A client that disconnects leaves no waiting job behind.
	if err := c.Pause(within(t), "paused"); err != nil {
		t.Fatal(err)
	}
	ctx, leave := context.WithCancel(within(t))
	gone := make(chan error, 1)
	go func() {
		_, _, err := post(t, ctx, url+"paused", "")
		gone <- err
	}()
	counts := func(o tasks.Overview) tasks.Counts {
		i := slices.IndexFunc(o.Functions, func(f tasks.Function) bool { return f.Name == "paused" })
		return o.Functions[i].Counts
	}
	await(t, c, "the job to wait", func(o tasks.Overview) bool { return counts(o).Waiting == 1 })
	leave()
	if err := <-gone; err == nil {
		t.Error("a job of a paused function has answered")
	}
	await(t, c, "the job to be dropped", func(o tasks.Overview) bool { return counts(o).Cancelled == 1 })
}
