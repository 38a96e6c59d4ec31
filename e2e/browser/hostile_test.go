package browser

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

// functions is the number of functions that the pages must bear; a tenth of it by day.
const functions = 10_000

// hostile fills the cluster with content that breaks careless pages: many functions, an input of
// 1 MB without a space, one that is not UTF-8, and one that runs from right to left.
func (c *cluster) hostile(t *testing.T) {
	t.Helper()
	submit := func(function string, input []byte) string {
		r, err := http.Post("http://"+c.http+"/api/v1/tasks?function="+function, "application/octet-stream", bytes.NewReader(input))
		if err != nil {
			t.Error(err)
			return ""
		}
		defer r.Body.Close()
		var answer struct{ ID, Error string }
		if err := json.NewDecoder(r.Body).Decode(&answer); err != nil || r.StatusCode != http.StatusCreated {
			t.Errorf("%s: %s: %v", r.Status, answer.Error, err)
		}
		return answer.ID
	}
	var all sync.WaitGroup
	const clients = 20
	n := functions
	if os.Getenv("NIGHTLY") == "" {
		n /= 10
	}
	for k := range clients {
		all.Go(func() {
			for i := k; i < n; i += clients {
				submit(fmt.Sprintf("many-%05d", i), nil)
			}
		})
	}
	all.Wait()
	c.inputs = map[string]string{
		"long":   submit("held", bytes.Repeat([]byte("x<b>"), 1<<18)),
		"binary": submit("held", []byte("\xff\xfe<script>alert(1)</script>\x00")),
		"rtl":    submit("held", []byte("\u202e<script>alert(1)</script> \u05e9\u05dc\u05d5\u05dd")),
		"json":   submit("held", []byte(`{"brand":"<script>alert(1)</script>","n":[1,2]}`)),
	}
}

// worker returns the name of a worker.
func (c *cluster) worker(t *testing.T) string {
	t.Helper()
	var workers []struct{ Worker string }
	if err := json.Unmarshal([]byte(run(t, c.dir, c.layshaft, "worker", "list", "-o", "json", "-cluster", c.listen)), &workers); err != nil || len(workers) == 0 {
		t.Fatalf("%d workers, %v", len(workers), err)
	}
	return workers[0].Worker
}

// lookWhileRunning visits the pages while a job waits for a worker, and the pages of hostile tasks.
func (b *browser) lookWhileRunning(t *testing.T, c *cluster, root string) {
	t.Helper()
	for name, id := range c.inputs {
		b.look(t, "task-"+name, root+"/tasks/"+id)
		text := evaluate[string](t, b.tab, `document.querySelector('pre.body').textContent`)
		if want := map[string]string{"long": "x<b>x<b>", "binary": "ff fe 3c 73", "rtl": `\xe2\x80\xae<script>`, "json": `"brand": "<script>`}[name]; !strings.Contains(text, want) {
			t.Errorf("the input of the task with %s is shown as %.100q", name, text)
		}
	}
	waiting := exec.CommandContext(t.Context(), filepath.Join(c.dir, "wordcount"), "-cluster", c.listen, "-tags", "<b>none", filepath.Join(c.dir, "words2.txt"))
	if err := waiting.Start(); err != nil {
		t.Fatal(err)
	}
	c.waitFor(t, "/api/status", `"outcome": "running"`)
	var jobs []struct{ Job string }
	if err := json.Unmarshal([]byte(run(t, c.dir, c.layshaft, "job", "list", "-cluster", c.listen, "-o", "json")), &jobs); err != nil {
		t.Fatal(err)
	}
	for name, path := range map[string]string{"overview-running": "/", "jobs-running": "/jobs?state=running&q=word", "job-running": "/jobs/" + jobs[0].Job} {
		b.look(t, name, root+path)
	}
	run(t, c.dir, c.layshaft, "job", "cancel", "-cluster", c.listen, jobs[0].Job)
	if err := waiting.Wait(); err == nil {
		t.Error("the program of the cancelled job reports no error")
	}
}
