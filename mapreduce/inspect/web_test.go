package inspect_test

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"regexp"
	"strings"
	"testing"

	"github.com/layshaft/layshaft/mapreduce"
	"github.com/layshaft/layshaft/mapreduce/memio"
)

// A run with Web serves its page while it runs, and to no foreign host name.
func TestWeb(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer // written before the job begins
	asked := make(chan error, 1)
	get := func(host string) (status int, head http.Header, body string, err error) {
		address := regexp.MustCompile(`http://[0-9.:]+/`).FindString(out.String())
		r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, address, nil)
		if err != nil {
			return 0, nil, "", err
		}
		if host != "" {
			r.Host = host
		}
		answer, err := http.DefaultClient.Do(r)
		if err != nil {
			return 0, nil, "", err
		}
		defer answer.Body.Close()
		b, err := io.ReadAll(answer.Body)
		return answer.StatusCode, answer.Header, string(b), err
	}
	plan := mapreduce.Define("watched", func(p *mapreduce.Plan, words []string) mapreduce.Dataset[string] {
		return mapreduce.TryMap(mapreduce.Read(p, memio.Slice(words)), func(_ context.Context, w string) (string, error) {
			status, head, body, err := get("")
			if err == nil && (status != http.StatusOK || head.Get("Refresh") == "" || !strings.Contains(body, "watched") || !strings.Contains(body, "running")) {
				t.Errorf("the page of a running job: %d %v %.300s", status, head, body)
			}
			if status, _, _, err := get("evil.example"); err == nil && status != http.StatusForbidden {
				t.Errorf("a foreign host name gets %d", status)
			}
			asked <- err
			return w, nil
		})
	})
	for _, err := range plan.Run(t.Context(), mapreduce.Local{Web: ":0", Reporting: mapreduce.Reporting{Err: &out}}, []string{"a"}) {
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := <-asked; err != nil {
		t.Error(err)
	}
	if !strings.Contains(out.String(), "http://127.0.0.1:") || strings.Contains(out.String(), "everyone") {
		t.Errorf("without a host, the page is for this machine only: %s", &out)
	}
	if _, _, _, err := get(""); err == nil {
		t.Error("the page is served after the end of the run")
	}
	for _, err := range plan.Run(t.Context(), mapreduce.Local{Web: "nowhere:x"}, []string{"a"}) {
		if err == nil || !strings.Contains(err.Error(), "web nowhere:x") {
			t.Errorf("%v, want an error about the address", err)
		}
	}
}
