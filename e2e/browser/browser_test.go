// Package browser opens the pages of a real cluster in headless Chromium.
package browser

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/layshaft/layshaft/e2e/internal/programs"
	"github.com/layshaft/layshaft/internal/history"
	"github.com/layshaft/layshaft/internal/job"
	"github.com/layshaft/layshaft/internal/outside"
	"github.com/layshaft/layshaft/internal/porttest"
	"github.com/layshaft/layshaft/internal/report"
	"github.com/layshaft/layshaft/internal/runpage"
)

var chromium = outside.Package{Name: "chromium", Command: "chromium"}

// axeVersion is the version of the accessibility checker, a package of npm.
const axeVersion = "4.10.3"

// evil is a name that breaks pages which do not escape it.
const evil = `<script>alert(1)</script><img src=x onerror=alert(1)>` + "\u202e"

// run runs a command and returns its standard output.
func run(t *testing.T, dir, name string, args ...string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), name, args...)
	cmd.Dir = dir
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, stderr.String())
	}
	return string(out)
}

// axe returns the accessibility checker, or nil and the reason.
func axe(t *testing.T) (script []byte, why string) {
	npm, err := exec.LookPath("npm")
	if err != nil {
		return nil, "npm is not installed"
	}
	dir := t.TempDir()
	cmd := exec.CommandContext(t.Context(), npm, "pack", "--silent", "axe-core@"+axeVersion)
	cmd.Dir = dir
	if out, err := cmd.CombinedOutput(); err != nil {
		return nil, fmt.Sprintf("npm pack axe-core: %v\n%s", err, out)
	}
	f, err := os.Open(filepath.Join(dir, "axe-core-"+axeVersion+".tgz"))
	if err != nil {
		return nil, err.Error()
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		return nil, err.Error()
	}
	for r := tar.NewReader(z); ; {
		h, err := r.Next()
		if err != nil {
			return nil, err.Error()
		}
		if h.Name == "package/axe.min.js" {
			script, err = io.ReadAll(r)
			if err != nil {
				return nil, err.Error()
			}
			return script, ""
		}
	}
}

// cluster is a cluster of real processes.
type cluster struct {
	dir, layshaft, listen, http, gossip string
	inputs                              map[string]string // IDs of tasks with hostile inputs, by kind
	dev                                 *exec.Cmd
}

func (c *cluster) start(t *testing.T) {
	t.Helper()
	c.dev = exec.Command(c.layshaft, "dev", "-workers", "2", "-slots", "2", "-data", filepath.Join(c.dir, "data"), "-listen", c.listen, "-http", c.http, "-gossip", c.gossip,
		"-function", "rev=rev", "-function", "boom=exit 3")
	logs, err := os.Create(filepath.Join(c.dir, "dev.log"))
	if err != nil {
		t.Fatal(err)
	}
	defer logs.Close()
	c.dev.Stdout, c.dev.Stderr = logs, logs
	if err := c.dev.Start(); err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(50 * time.Millisecond) {
		if workers := strings.Count(c.get("/api/status"), `"state": "ready"`); workers == 2 {
			return
		}
		if time.Now().After(deadline) {
			b, _ := os.ReadFile(logs.Name())
			t.Fatalf("the cluster did not start\n%s", b)
		}
	}
}

// get returns a page, or "".
func (c *cluster) get(path string) string {
	r, err := http.Get("http://" + c.http + path)
	if err != nil {
		return ""
	}
	defer r.Body.Close()
	b, _ := io.ReadAll(r.Body)
	return string(b)
}

func (c *cluster) stop() {
	_ = c.dev.Process.Signal(syscall.SIGTERM)
	_ = c.dev.Wait()
}

// browser watches one tab.
type browser struct {
	*tab
	axe   []byte
	out   string // directory of the pictures
	looks int

	mu       sync.Mutex
	problems []string
}

func open(t *testing.T, host string, script []byte) *browser {
	t.Helper()
	b := &browser{axe: script, out: os.Getenv("LAYSHAFT_SCREENSHOTS")}
	if b.out == "" {
		b.out = t.TempDir()
	}
	b.tab = startChromium(t, chromium.Command, func(method string, params json.RawMessage) {
		if p := problem(method, params, host); p != "" {
			b.mu.Lock()
			defer b.mu.Unlock()
			b.problems = append(b.problems, p)
		}
	})
	return b
}

// sizes are the widths and colors of a look. The nightly run has all of them; otherwise most pages
// get one of the first two in turn.
func sizes() (all []size) {
	for _, s := range []size{{1280, "light"}, {390, "dark"}, {1280, "dark"}, {390, "light"}} {
		if len(all) < 2 || os.Getenv("NIGHTLY") != "" || os.Getenv("LAYSHAFT_SCREENSHOTS") != "" {
			all = append(all, s)
		}
	}
	return all
}

type size struct {
	width  int
	scheme string
}

// ready waits until the page at the address is loaded, and its time line drawn.
const ready = `new Promise((done, fail) => {
	const until = Date.now() + 30000;
	const look = () => {
		const t = document.querySelector('.timeline');
		if (document.readyState === 'complete' && document.querySelector('main') && (!t || t.dataset.drawn > 0)) done(true);
		else if (Date.now() > until) fail(new Error('the page is not ready'));
		else setTimeout(look, 20);
	};
	look();
})`

// look opens a page at several sizes, checks it and stores pictures.
func (b *browser) look(t *testing.T, name, address string) {
	t.Helper()
	all := sizes()
	if b.looks++; len(all) == 2 && name != "overview" && name != "job" { // in turn, to save time
		all = all[b.looks%2:][:1]
	}
	for _, x := range all {
		where := fmt.Sprintf("%s at %d px, %s", name, x.width, x.scheme)
		b.call(t, "Emulation.setDeviceMetricsOverride", map[string]any{"width": x.width, "height": 900, "deviceScaleFactor": 1, "mobile": x.width < 500}, nil)
		b.call(t, "Emulation.setEmulatedMedia", map[string]any{"features": []any{map[string]any{"name": "prefers-color-scheme", "value": x.scheme}}}, nil)
		var loaded struct{ ErrorText string }
		b.call(t, "Page.navigate", map[string]any{"url": address}, &loaded)
		if loaded.ErrorText != "" {
			t.Fatalf("%s: %s", where, loaded.ErrorText)
		}
		evaluate[bool](t, b.tab, ready)
		if evaluate[bool](t, b.tab, `document.documentElement.scrollWidth > window.innerWidth + 1`) {
			t.Errorf("%s is wider than the window", where)
		}
		b.picture(t, fmt.Sprintf("%s-%d-%s", name, x.width, x.scheme))
		if b.axe != nil {
			b.checkAccess(t, where)
		}
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, p := range b.problems {
		t.Errorf("%s: %s", name, p)
	}
	b.problems = nil
}

// picture stores a picture of the page.
func (b *browser) picture(t *testing.T, name string) {
	t.Helper()
	var picture struct{ Data []byte }
	b.call(t, "Page.captureScreenshot", map[string]any{"captureBeyondViewport": true}, &picture)
	if err := os.WriteFile(filepath.Join(b.out, name+".png"), picture.Data, 0o644); err != nil {
		t.Fatal(err)
	}
}

func read(t *testing.T, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func (b *browser) checkAccess(t *testing.T, name string) {
	t.Helper()
	evaluate[int](t, b.tab, string(b.axe)+`;0`)
	found := evaluate[string](t, b.tab, `axe.run(document, {resultTypes: ['violations']}).then(r => JSON.stringify(r.violations.map(v => v.id + ': ' + v.nodes.slice(0, 3).map(n => n.html.slice(0, 160) + ' ' + n.failureSummary).join(' | '))))`)
	var violations []string
	if err := json.Unmarshal([]byte(found), &violations); err != nil {
		t.Fatal(err)
	}
	for _, v := range violations {
		t.Errorf("%s: %s", name, v)
	}
}

// Every page of a cluster with jobs, failures and hostile names works in a browser, also after a
// restart.
func TestPages(t *testing.T) {
	outside.Need(t, chromium)
	script, why := axe(t)
	if script == nil {
		t.Logf("pages are not checked for accessibility: %s", why)
	}
	dir := t.TempDir()
	if err := programs.Build(dir, "cmd/layshaft", "examples/wordcount"); err != nil {
		t.Fatal(err)
	}
	c := &cluster{dir: dir, layshaft: filepath.Join(dir, "layshaft"), listen: porttest.Free(t), http: porttest.Free(t), gossip: porttest.Free(t)}
	c.start(t)
	defer func() { c.stop() }()

	words := filepath.Join(dir, "words.txt")
	if err := os.WriteFile(words, bytes.Repeat([]byte("the quick brown fox <b>jumps</b>"+strings.Repeat(" <script>alert(2)</script>\xff", 20)+"\n"), 100_000), 0o644); err != nil {
		t.Fatal(err)
	}
	copied := filepath.Join(dir, "words2.txt")
	if err := os.WriteFile(copied, bytes.Repeat([]byte("a lazy dog\n"), 1000), 0o644); err != nil {
		t.Fatal(err)
	}
	for _, file := range []string{words, copied} {
		run(t, dir, filepath.Join(dir, "wordcount"), "-cluster", c.listen, file)
	}
	run(t, dir, c.layshaft, "task", "submit", "-cluster", c.listen, "-input", "hello", "rev")
	run(t, dir, c.layshaft, "task", "submit", "-cluster", c.listen, "-input", "<b>hello</b>", evil)
	var jobs []struct{ Job string }
	if err := json.Unmarshal([]byte(run(t, dir, c.layshaft, "job", "list", "-cluster", c.listen, "-o", "json")), &jobs); err != nil || len(jobs) != 2 {
		t.Fatalf("%d jobs, %v", len(jobs), err)
	}
	b := open(t, c.http, script)
	root := "http://" + c.http
	c.hostile(t)
	pages := map[string]string{"overview": "/", "jobs": "/jobs", "job": "/jobs/" + jobs[1].Job, "compare": "/jobs/" + jobs[0].Job + "/compare/" + jobs[1].Job,
		"workers": "/workers", "tasks": "/tasks", "function": "/tasks?function=rev", "missing": "/nothing"}
	for _, name := range []string{"overview", "jobs", "compare", "workers", "tasks", "function", "job"} {
		b.look(t, name, root+pages[name])
	}
	hot := evaluate[string](t, b.tab, `document.querySelector('#hot-keys + div tbody').textContent`)
	if !strings.Contains(hot, `<script>alert(2)</script>\xff80.`) && !strings.Contains(hot, `<script>alert(2)</script>\xff79.`) {
		t.Errorf("the hot key is shown as %q", hot)
	}
	b.look(t, "hostile", root+"/tasks?function="+url.QueryEscape(evil))
	b.look(t, "many", root+"/tasks?q=many-&sort=waiting&page=99")
	b.look(t, "search", root+"/search?q=r")
	b.look(t, "worker", root+"/workers/"+c.worker(t))
	b.lookWhileRunning(t, c, root)

	b.call(t, "Page.navigate", map[string]any{"url": "about:blank"}, nil) // nobody asks a cluster that is away
	c.stop()
	c.start(t)
	b.look(t, "job-after-restart", root+pages["job"])
	b.actOnAll(t, c, root)
}

// The time line of 200,000 attempts is drawn in a moment, from one file.
func TestLargeReport(t *testing.T) {
	outside.Need(t, chromium)
	const n = 200_000
	at := time.Date(2026, 3, 1, 8, 0, 0, 0, time.UTC)
	r := &report.Run{ID: "large", Name: "large", Submitted: at, Outcome: report.JobDone,
		Stages: []report.RunStage{{Name: "read > " + evil, Kind: "map", Tasks: n, State: report.Stage{Name: "read", Tasks: n, Done: n}}}}
	for i := range n {
		end := at.Add(time.Duration(i/1000)*2*time.Second + time.Duration(i%7)*100*time.Millisecond + 2*time.Second)
		r.Attempts = append(r.Attempts, report.Attempt{Task: job.Task{Index: i}, N: 1, Worker: fmt.Sprintf("worker-%03d", i%1000), Started: end.Add(-2 * time.Second), Ended: end})
	}
	r.Ended = r.Attempts[n-1].Ended
	again, err := history.Decode(history.Encode(r))
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "large.html")
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(runpage.WriteHTML(f, again, report.ViewRun(again, nil, nil, r.Ended), "v1", r.Ended), f.Close()); err != nil {
		t.Fatal(err)
	}
	b := open(t, "", nil)
	b.look(t, "large", "file://"+path)
	took := evaluate[float64](t, b.tab, `(() => { const t = performance.now(); document.querySelector('.zoom button:last-child').click(); return performance.now() - t; })()`)
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%d attempts: a file of %d bytes, drawn in %.0f ms", n, info.Size(), took)
	if took > 5000 { // one second on a machine with nothing else to do
		t.Errorf("drawn in %.0f ms", took)
	}
}
