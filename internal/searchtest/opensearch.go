package searchtest

import (
	"bytes"
	"context"
	"crypto/sha256"
	_ "embed"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/layshaft/layshaft/internal/porttest"
)

//go:embed testdata/pom.xml
var pom []byte

//go:embed testdata/Run.java
var run []byte

// classpath returns the directory with the compiled start class, and the jars of OpenSearch. Maven
// fetches them once into the user's cache directory.
var classpath = sync.OnceValues(func() (string, error) {
	for _, program := range []string{"java", "javac", "mvn"} {
		if _, err := exec.LookPath(program); err != nil {
			return "", fmt.Errorf("%s is not installed; OpenSearch needs Java 17 and Maven", program)
		}
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		return "", err
	}
	sum := sha256.Sum256(append(pom, run...))
	dir := filepath.Join(cache, "layshaft", "opensearch-"+hex.EncodeToString(sum[:6]))
	list := filepath.Join(dir, "classpath")
	if b, err := os.ReadFile(list); err == nil {
		return string(b), nil
	}
	if err := os.MkdirAll(dir, 0o777); err != nil {
		return "", err
	}
	err = errors.Join(os.WriteFile(filepath.Join(dir, "pom.xml"), pom, 0o666), os.WriteFile(filepath.Join(dir, "Run.java"), run, 0o666))
	if err != nil {
		return "", err
	}
	command := func(name string, args ...string) error {
		cmd := exec.Command(name, args...)
		cmd.Dir = dir
		if out, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("%s: %w: %s", name, err, out[max(0, len(out)-500):])
		}
		return nil
	}
	if err := command("mvn", "-q", "-B", "dependency:build-classpath", "-Dmdep.outputFile=jars"); err != nil {
		return "", err
	}
	jars, err := os.ReadFile(filepath.Join(dir, "jars"))
	if err != nil {
		return "", err
	}
	if err := command("javac", "-cp", string(jars), "-d", dir, "Run.java"); err != nil {
		return "", err
	}
	path := dir + ":" + strings.TrimSpace(string(jars))
	// written last, so that it is there only when all is
	if err := os.WriteFile(list+".new", []byte(path), 0o666); err != nil {
		return "", err
	}
	return path, os.Rename(list+".new", list)
})

// Start starts an OpenSearch server with further settings, such as
// "thread_pool.write.queue_size=1", and returns its address. It takes about 10 seconds and 0.8 GB.
// The server ends with the test, or with the process of the test. The test is skipped, with the
// reason, where it cannot be had.
func Start(t testing.TB, settings ...string) string {
	t.Helper()
	path, err := classpath()
	if err != nil {
		t.Skipf("no OpenSearch: %v", err)
	}
	port, err := porttest.Choose() // with its neighbour: one for HTTP, one for transport
	if err != nil {
		t.Fatal(err)
	}
	home := t.TempDir()
	cmd := exec.Command("java", append([]string{"-Djava.security.manager=allow", "-Xmx512m", "-XX:TieredStopAtLevel=1", "-cp", path, "Run", home, strconv.Itoa(port), "cluster.routing.allocation.disk.threshold_enabled=false"}, settings...)...)
	var log bytes.Buffer
	cmd.Stdout, cmd.Stderr = &log, &log
	stdin, err := cmd.StdinPipe() // it ends with this process
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() {
		_ = cmd.Wait()
		close(ended)
	}()
	t.Cleanup(func() {
		_ = stdin.Close()
		select {
		case <-ended:
		case <-time.After(10 * time.Second):
			_ = cmd.Process.Kill()
			<-ended
		}
	})
	url := "http://127.0.0.1:" + strconv.Itoa(port)
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	for {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, url+"/_cluster/health?wait_for_status=yellow", nil)
		if err != nil {
			t.Fatal(err)
		}
		resp, err := http.DefaultClient.Do(req)
		if err == nil {
			_ = resp.Body.Close()
			if resp.StatusCode == http.StatusOK {
				return url
			}
		}
		select {
		case <-ended:
			t.Fatalf("OpenSearch did not start:\n%s", log.Bytes()[max(0, log.Len()-3000):])
		case <-ctx.Done():
			t.Fatalf("OpenSearch at %s is not ready after two minutes: %v", url, err)
		case <-time.After(100 * time.Millisecond):
		}
	}
}

// Proxy passes requests to a server, and fails some bulk requests.
type Proxy struct {
	URL string // of the server
	// Fault returns what happens to the bulk request number n, from 1: "cut" before the server gets
	// it, "cut after", "half" an answer, the number of a status, or "" for nothing.
	Fault func(n int) string
	// Busy reports whether a document is answered with status 429, without the server. Nil means
	// none is.
	Busy func(id string) bool

	n, flying, most atomic.Int64
}

// Most returns the most bulk requests that were in flight.
func (p *Proxy) Most() int { return int(p.most.Load()) }

// Requests returns how many bulk requests have come.
func (p *Proxy) Requests() int { return int(p.n.Load()) }

// ServeHTTP passes one request on.
func (p *Proxy) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	fault := ""
	if strings.HasSuffix(r.URL.Path, "/_bulk") {
		n := p.flying.Add(1)
		defer p.flying.Add(-1)
		for m := p.most.Load(); n > m && !p.most.CompareAndSwap(m, n); m = p.most.Load() {
		}
		fault = p.Fault(int(p.n.Add(1)))
	}
	if status, err := strconv.Atoi(fault); err == nil {
		w.Header().Set("Retry-After", "1")
		w.WriteHeader(status)
		return
	}
	if fault == "cut" {
		panic(http.ErrAbortHandler)
	}
	var busy []string
	if p.Busy != nil && strings.HasSuffix(r.URL.Path, "/_bulk") {
		body, busy = p.withoutBusy(body)
	}
	req, err := http.NewRequestWithContext(r.Context(), r.Method, p.URL+r.URL.RequestURI(), bytes.NewReader(body))
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	if req.Header = r.Header.Clone(); len(busy) > 0 && len(body) == 0 { // the server refuses an empty request
		fmt.Fprintf(w, `{"errors":true,"items":[%s]}`, strings.Join(busy, ","))
		return
	}
	req.Header.Del("Accept-Encoding")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		w.WriteHeader(http.StatusBadGateway)
		return
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(resp.Body)
	if err != nil || fault == "cut after" {
		panic(http.ErrAbortHandler)
	}
	if resp.StatusCode == http.StatusOK && slices.ContainsFunc(busy, func(item string) bool { return item != "" }) {
		answer = withBusy(answer, busy)
	}
	w.Header().Set("Content-Type", resp.Header.Get("Content-Type"))
	w.Header().Set("Content-Length", strconv.Itoa(len(answer)))
	w.WriteHeader(resp.StatusCode)
	if fault == "half" {
		_, _ = w.Write(answer[:len(answer)/2])
		panic(http.ErrAbortHandler)
	}
	_, _ = w.Write(answer)
}

// withoutBusy returns the body of a bulk request without the actions on busy documents, and for
// each action its answer, which is empty if the server gives it.
func (p *Proxy) withoutBusy(body []byte) (left []byte, busy []string) {
	for len(body) > 0 {
		line, rest, _ := bytes.Cut(body, []byte("\n"))
		var action map[string]struct {
			ID string `json:"_id"`
		}
		if err := json.Unmarshal(line, &action); err != nil {
			panic(http.ErrAbortHandler)
		}
		for op, x := range action {
			if op != "delete" {
				_, rest, _ = bytes.Cut(rest, []byte("\n"))
			}
			if p.Busy(x.ID) {
				busy = append(busy, fmt.Sprintf(`{%q:{"status":429,"error":{"type":"es_rejected_execution_exception","reason":"rejected execution"}}}`, op))
				continue
			}
			busy, left = append(busy, ""), append(left, body[:len(body)-len(rest)]...)
		}
		body = rest
	}
	return left, busy
}

// withBusy returns an answer with the items of busy documents.
func withBusy(answer []byte, busy []string) []byte {
	var x struct{ Items []json.RawMessage }
	if err := json.Unmarshal(answer, &x); err != nil {
		panic(http.ErrAbortHandler)
	}
	var out bytes.Buffer
	out.WriteString(`{"errors":true,"items":[`)
	for i, item := range busy {
		if i > 0 {
			out.WriteByte(',')
		}
		if item == "" && len(x.Items) > 0 {
			item, x.Items = string(x.Items[0]), x.Items[1:]
		}
		out.WriteString(item)
	}
	out.WriteString("]}")
	return out.Bytes()
}
