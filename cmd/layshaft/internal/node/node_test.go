package node

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/layshaft/layshaft/coordinator/dashboard"
	"github.com/layshaft/layshaft/internal/client"
	"github.com/layshaft/layshaft/internal/porttest"
	"github.com/layshaft/layshaft/internal/report"
	"github.com/layshaft/layshaft/internal/security"
)

func local() Common {
	return Common{Listen: "127.0.0.1:0", HTTP: "127.0.0.1:0", Gossip: "127.0.0.1:0", Version: "v1"}
}

// start runs a process until the test ends and returns where it serves.
func start(t *testing.T, c *Common, run func(ctx context.Context) error) Addresses {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	ready, ended := make(chan Addresses, 1), make(chan error, 1)
	c.Ready = func(a Addresses) { ready <- a }
	go func() { ended <- run(ctx) }()
	select {
	case a := <-ready:
		t.Cleanup(func() {
			cancel()
			if err := <-ended; err != nil {
				t.Errorf("ended with %v", err)
			}
		})
		return a
	case err := <-ended:
		cancel()
		t.Fatalf("ended before it was ready: %v", err)
	}
	return Addresses{}
}

func startCoordinator(t *testing.T, cfg CoordinatorConfig) Addresses {
	t.Helper()
	cfg.Dir = t.TempDir()
	return start(t, &cfg.Common, func(ctx context.Context) error { return RunCoordinator(ctx, cfg) })
}

func startWorker(t *testing.T, cfg WorkerConfig) Addresses {
	t.Helper()
	cfg.Node.Dir = t.TempDir()
	return start(t, &cfg.Common, func(ctx context.Context) error { return RunWorker(ctx, cfg) })
}

func get(t *testing.T, url string) string {
	t.Helper()
	resp, err := http.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK {
		t.Fatalf("%s: %s, %v: %s", url, resp.Status, err, b)
	}
	return string(b)
}

// workers waits until n workers have joined.
func workers(t *testing.T, c *client.Client, n int) []report.Worker {
	t.Helper()
	for {
		ws, err := c.Workers(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if len(ws) == n {
			return ws
		}
	}
}

func TestCluster(t *testing.T) {
	t.Parallel()
	at := startCoordinator(t, CoordinatorConfig{Common: local()})
	joined := []string{at.HTTP}
	for _, zone := range []string{"east", "west"} {
		cfg := WorkerConfig{Common: local()}
		cfg.Join, cfg.Node.Zone, cfg.Node.Slots = []string{at.Gossip}, zone, 2
		w := startWorker(t, cfg)
		if got := get(t, "http://"+w.HTTP+"/healthz"); got != "ok\n" {
			t.Errorf("healthz of a worker: %q", got)
		}
		joined = append(joined, w.HTTP)
	}
	c, err := client.Dial(client.Config{Address: at.GRPC})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	for _, w := range workers(t, c, 2) {
		if w.Slots != 2 || w.Zone == "" || w.Version != "v1" {
			t.Errorf("worker %+v", w)
		}
	}
	for _, h := range joined {
		if got := get(t, "http://"+h+"/readyz"); got != "ok\n" {
			t.Errorf("readyz: %q", got)
		}
	}
	metrics := get(t, "http://"+at.HTTP+"/metrics")
	for _, want := range []string{`layshaft_workers{state="ready"} 2`, `layshaft_slots{state="free"} 4`, "layshaft_audit_findings 0", "go_goroutines"} {
		if !strings.Contains(metrics, want) {
			t.Errorf("no %s in metrics", want)
		}
	}
	worker := get(t, "http://"+joined[1]+"/metrics")
	for _, want := range []string{`layshaft_worker_slots{state="free"} 2`, `layshaft_shuffle_bytes_total{direction="sent"} 0`, "layshaft_quota_bytes 0",
		"layshaft_spilled_bytes_total 0", "layshaft_children 0", "layshaft_child_memory_bytes 0", "layshaft_memory_budget_bytes ", "layshaft_memory_limit_bytes "} {
		if !strings.Contains(worker, want) {
			t.Errorf("no %s in metrics of a worker", want)
		}
	}
	for _, h := range joined {
		body, header := browse(t, "http://"+h+"/")
		if !strings.Contains(body, "<h2>Slots</h2>") || !strings.HasPrefix(header.Get("Content-Type"), "text/html") || header.Get("Content-Security-Policy") == "" {
			t.Errorf("page of %s: %v %s", h, header, body)
		}
	}
	var shown dashboard.Status
	if err := json.Unmarshal([]byte(get(t, "http://"+at.HTTP+"/")), &shown); err != nil || len(shown.Workers) != 2 || shown.Version != "v1" {
		t.Errorf("status %+v, %v", shown, err)
	}
}

// browse gets a page as a browser does.
func browse(t *testing.T, url string) (body string, header http.Header) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Accept", "text/html")
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(b), resp.Header
}

// With TLS, a client without a certificate gets health checks and nothing else.
func TestPageRoles(t *testing.T) {
	t.Parallel()
	p := &page{ready: func() bool { return true }, shown: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("secret")) })}
	for path, open := range map[string]bool{"/healthz": true, "/readyz": true, "/": false, "/metrics": false, "/api/status": false, "/jobs/x": false, "/style.css": false, "//healthz": false} {
		for _, secured := range []bool{true, false} {
			w := httptest.NewRecorder()
			p.handler(secured).ServeHTTP(w, httptest.NewRequest(http.MethodGet, path, nil))
			refused := w.Code == http.StatusUnauthorized
			if refused != (secured && !open) && w.Code/100 != 3 || secured && !open && strings.Contains(w.Body.String(), "secret") {
				t.Errorf("%s, secured %v: %d %s", path, secured, w.Code, w.Body)
			}
			if w.Header().Get("Content-Security-Policy") == "" {
				t.Errorf("%s has no policy", path)
			}
		}
	}
}

func TestClusterWithTLS(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "ca")
	if err := security.InitCA(dir); err != nil {
		t.Fatal(err)
	}
	files := map[security.Role]security.Files{}
	for _, r := range security.Roles {
		// These end soon, and the pages warn about that.
		cert, key, err := security.Issue(dir, security.Request{Role: r, Name: "n", Validity: 240 * time.Hour})
		if err != nil {
			t.Fatal(err)
		}
		files[r] = security.Files{CA: filepath.Join(dir, "ca.pem"), Cert: cert, Key: key}
	}
	key := make([]byte, 32)
	cfg := CoordinatorConfig{Common: local()}
	cfg.TLS, cfg.GossipKey = files[security.Coordinator], key
	cfg.GearmanHTTP = porttest.Free(t)
	var audit lines
	cfg.Audit = slog.New(slog.NewTextHandler(&audit, nil))
	at := startCoordinator(t, cfg)
	w := WorkerConfig{Common: local()}
	w.TLS, w.GossipKey, w.Join = files[security.Worker], key, []string{at.Gossip}
	own := startWorker(t, w)
	for address, file := range map[string]string{at.HTTP: w.TLS.Cert, own.HTTP: w.TLS.Cert} {
		if address == at.HTTP {
			file = cfg.TLS.Cert
		}
		if page := getSecure(t, address, files[security.Reader]); !strings.Contains(page, "the certificate "+file+" of this process ends on") {
			t.Errorf("the page of %s does not warn about %s: %s", address, file, page)
		}
	}
	reader, err := security.Load(files[security.Reader], nil)
	if err != nil {
		t.Fatal(err)
	}
	c, err := client.Dial(client.Config{Address: at.GRPC, Credentials: reader.Client(security.Coordinator)})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	name := workers(t, c, 1)[0].Name
	if err := c.DrainWorker(t.Context(), name); err == nil || !strings.Contains(err.Error(), "reader/n") {
		t.Errorf("a reader may drain a worker: %v", err)
	}
	if said := audit.String(); !strings.Contains(said, "msg=audit action=refuse who=reader/n method=/layshaft.v1.CoordinatorService/DrainWorker") || !strings.Contains(said, "action=join who=worker/n") {
		t.Errorf("the audit log has %s", said)
	}
	plain, err := client.Dial(client.Config{Address: at.GRPC, Connect: 1})
	if err != nil {
		t.Fatal(err)
	}
	defer plain.Close()
	if _, err := plain.Workers(t.Context()); err == nil {
		t.Error("a client without certificate was served")
	}
	for role, want := range map[security.Role]bool{security.Client: true, security.Worker: true, security.Reader: false, "": false} {
		if err := postJob(t, cfg.GearmanHTTP, files[role]); (err == nil) != want {
			t.Errorf("a job of a %q: %v", role, err)
		}
	}
	resp, err := http.Get("http://" + at.HTTP + "/")
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode == http.StatusOK {
		t.Error("the status page is shown in plain text")
	}
}

// getSecure returns the page at an address with TLS.
func getSecure(t *testing.T, address string, files security.Files) string {
	t.Helper()
	pair, err := tls.LoadX509KeyPair(files.Cert, files.Key)
	if err != nil {
		t.Fatal(err)
	}
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{Certificates: []tls.Certificate{pair}, InsecureSkipVerify: true}}}
	defer client.CloseIdleConnections()
	r, err := http.NewRequestWithContext(t.Context(), "GET", "https://"+address+"/", nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Accept", "text/html")
	resp, err := client.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// lines is a buffer for several writers.
type lines struct {
	mu sync.Mutex
	b  strings.Builder
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// postJob hands a job over to Gearman's HTTP front with a certificate, or without when files are
// none.
func postJob(t *testing.T, address string, files security.Files) error {
	t.Helper()
	cfg := &tls.Config{InsecureSkipVerify: true} // who serves is not the question here
	if files.Cert != "" {
		pair, err := tls.LoadX509KeyPair(files.Cert, files.Key)
		if err != nil {
			t.Fatal(err)
		}
		cfg.Certificates = []tls.Certificate{pair}
	}
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: cfg}}
	defer client.CloseIdleConnections()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "https://"+address+"/f", strings.NewReader("x"))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("X-Gearman-Background", "true")
	resp, err := client.Do(r)
	if err != nil {
		return err
	}
	resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return errors.New(resp.Status)
	}
	return nil
}

func TestWorkerDrains(t *testing.T) {
	t.Parallel()
	at := startCoordinator(t, CoordinatorConfig{Common: local()})
	drain := make(chan struct{})
	cfg := WorkerConfig{Common: local(), Drain: drain}
	cfg.Join, cfg.Node.Dir = []string{at.Gossip}, t.TempDir()
	ended := make(chan error, 1)
	go func() { ended <- RunWorker(t.Context(), cfg) }()
	c, err := client.Dial(client.Config{Address: at.GRPC})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	workers(t, c, 1)
	close(drain)
	if err := <-ended; err != nil {
		t.Error(err)
	}
	workers(t, c, 0)
}

func TestRefusals(t *testing.T) {
	t.Parallel()
	taken := startCoordinator(t, CoordinatorConfig{Common: local()})
	ca := filepath.Join(t.TempDir(), "ca")
	if err := security.InitCA(ca); err != nil {
		t.Fatal(err)
	}
	cert, key, err := security.Issue(ca, security.Request{Role: security.Worker, Name: "n"})
	if err != nil {
		t.Fatal(err)
	}
	files := security.Files{CA: filepath.Join(ca, "ca.pem"), Cert: cert, Key: key}
	tests := []struct {
		want   string
		change func(*CoordinatorConfig)
	}{
		{"-listen 0.0.0.0:0", func(c *CoordinatorConfig) { c.Listen = "0.0.0.0:0" }},
		{"-http :0", func(c *CoordinatorConfig) { c.HTTP = ":0" }},
		{"-gossip 0.0.0.0:0", func(c *CoordinatorConfig) { c.Gossip = "0.0.0.0:0" }},
		{"-gearman 0.0.0.0:0", func(c *CoordinatorConfig) { c.Gearman = "0.0.0.0:0" }},
		{"-gearman-http 0.0.0.0:0", func(c *CoordinatorConfig) { c.GearmanHTTP = "0.0.0.0:0" }},
		{taken.GRPC, func(c *CoordinatorConfig) { c.Listen = taken.GRPC }},
		{taken.HTTP, func(c *CoordinatorConfig) { c.HTTP = taken.HTTP }},
		{taken.Gossip, func(c *CoordinatorConfig) { c.Gossip = taken.Gossip }},
		{" is missing: -tls-ca", func(c *CoordinatorConfig) { c.TLS.CA = "ca.pem" }},
		{"-tls-cert " + files.Cert + " is the certificate of worker/n", func(c *CoordinatorConfig) { c.TLS = files }},
		{"-listen 127.0.0.1:0 is reachable from this machine only, but -join 192.0.2.1:7946 (192.0.2.1) is another machine", func(c *CoordinatorConfig) { c.Join = []string{taken.Gossip, "192.0.2.1:7946"} }},
		{"-listen 127.0.0.1:0 is", func(c *CoordinatorConfig) { c.Advertise, c.Join = "localhost", []string{"192.0.2.1:7946"} }},
		{"-gossip 127.0.0.1:0 is", func(c *CoordinatorConfig) { c.Advertise, c.Join = "192.0.2.2", []string{"192.0.2.1:7946"} }},
		{"LeaseTTL", func(c *CoordinatorConfig) { c.Policy.LeaseTTL = 1 }},
		{"/dev/null", func(c *CoordinatorConfig) { c.Dir = "/dev/null/x" }},
	}
	for _, tt := range tests {
		cfg := CoordinatorConfig{Common: local(), Dir: t.TempDir()}
		tt.change(&cfg)
		if err := RunCoordinator(t.Context(), cfg); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("want an error with %q, got %v", tt.want, err)
		}
	}
}

// A coordinator sends its metrics to a statsd server, at the latest when it ends.
func TestStatsd(t *testing.T) {
	t.Parallel()
	server, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	cfg := CoordinatorConfig{Common: local(), Statsd: server.LocalAddr().String(), StatsdEvery: time.Hour, StatsdPrefix: "shop"}
	startCoordinator(t, cfg)
	_ = server.SetReadDeadline(time.Now().Add(30 * time.Second))
	packet := make([]byte, 1<<16)
	n, err := server.Read(packet)
	if err != nil {
		t.Fatal(err)
	}
	if got := string(packet[:n]); !strings.Contains(got, "\nshop.audit_findings:0|g\n") {
		t.Errorf("packet %q", got)
	}
}
