//go:build unix

package cluster

import (
	"crypto/rand"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/layshaft/layshaft/e2e/internal/programs"
	"github.com/layshaft/layshaft/internal/security"
)

// certificates returns the flags of the members' certificates by role; nil without TLS. With
// LAYSHAFT_E2E_TLS=1 every process of this package has a certificate: clients and commands find
// theirs in the environment.
var certificates = sync.OnceValue(func() map[string][]string {
	if os.Getenv(programs.TLSEnv) == "" {
		return nil
	}
	dir := filepath.Join(binDir, "certs")
	if err := security.InitCA(dir); err != nil {
		panic(err)
	}
	flags := map[string][]string{}
	for _, role := range security.Roles {
		cert, key, err := security.Issue(dir, security.Request{Role: role, Name: "e2e"})
		if err != nil {
			panic(err)
		}
		flags[string(role)] = []string{"-tls-ca", filepath.Join(dir, "ca.pem"), "-tls-cert", cert, "-tls-key", key}
	}
	client := flags[string(security.Client)]
	for i, name := range []string{"LAYSHAFT_TLS_CA", "LAYSHAFT_TLS_CERT", "LAYSHAFT_TLS_KEY"} {
		_ = os.Setenv(name, client[2*i+1])
	}
	pair, err := tls.LoadX509KeyPair(client[3], client[5])
	if err != nil {
		panic(err)
	}
	http.DefaultTransport.(*http.Transport).TLSClientConfig = &tls.Config{Certificates: []tls.Certificate{pair}, InsecureSkipVerify: true}
	return flags
})

// at returns the URL of a member's HTTP address.
func at(address string) string {
	if certificates() != nil {
		return "https://" + address
	}
	return "http://" + address
}

// withoutTLS skips a test that is about processes without certificates, or makes its own.
func withoutTLS(t *testing.T) {
	t.Helper()
	if os.Getenv(programs.TLSEnv) != "" {
		t.Skip("chooses its own certificates")
	}
}

// issue makes a certificate by the CLI and returns the flags that use it.
func issue(t testing.TB, dir, role string) []string {
	t.Helper()
	cli := func(args ...string) {
		t.Helper()
		if out, err := exec.CommandContext(t.Context(), filepath.Join(binDir, "layshaft"), args...).CombinedOutput(); err != nil {
			t.Fatalf("layshaft %q: %v\n%s", args, err, out)
		}
	}
	if known, _ := filepath.Glob(filepath.Join(dir, "ca.pem")); known == nil {
		cli("cert", "init", "-dir", dir)
	}
	cli("cert", "issue", "-dir", dir, "-role", role, "-name", "test")
	find := func(glob string) string {
		t.Helper()
		found, err := filepath.Glob(filepath.Join(dir, glob))
		if err != nil || len(found) != 1 {
			t.Fatalf("%s: %q, %v", glob, found, err)
		}
		return found[0]
	}
	key := find(role + "*key*")
	return []string{"-tls-ca", filepath.Join(dir, "ca.pem"), "-tls-cert", strings.Replace(key, "-key", "", 1), "-tls-key", key}
}

// TestCertificates runs a job on a cluster where every port needs a certificate, and shows who is
// refused.
func TestCertificates(t *testing.T) {
	withoutTLS(t)
	t.Parallel()
	certs := filepath.Join(t.TempDir(), "certs")
	dirs, own := datasets(t, 2, 1)
	m := startMembers(t, config{workers: 2, own: own, coord: issue(t, certs, "coordinator"), worker: issue(t, certs, "worker"), cli: issue(t, certs, "client"),
		all: []string{"-gossip-key", strings.Repeat("ab", 32)}})
	r := m.prepare().start()
	r.awaitDone()
	r.onceEach("map", "reduce")
	id := m.job().Job

	files := launch(t, "wordcount", "wordcount", slices.Concat([]string{"-cluster", m.grpc, "-out", "dataset://out/counts"}, m.config.cli, []string{"dataset://in/*.txt"})...)
	if code := files.Wait(t); code != 0 || lines(t, below(dirs, "out/counts/part-*")...) != counted(t, below(dirs, "in/*.txt")...) {
		t.Errorf("a job on datasets: exit code %d, or wrong counts", code)
	}

	m.config.cli = issue(t, certs, "reader")
	if js := m.jobs(); len(js) != 2 || js[0].Outcome != "done" || js[1].Outcome != "done" {
		t.Errorf("a reader sees the jobs %+v", js)
	}
	if _, stderr, code := m.layshaft("job", "cancel", id); code != 1 || !strings.Contains(stderr, "reader/test") {
		t.Errorf("a reader cancels: exit code %d, %s", code, stderr)
	}
	foreign := issue(t, filepath.Join(t.TempDir(), "foreign"), "client")
	refused := map[string]*run{}
	for name, cli := range map[string][]string{"a reader": m.config.cli, "a stranger": foreign, "somebody without a certificate": nil, "a worker": issue2(t, certs, "worker")} {
		m.config.cli = cli
		refused[name] = m.prepare().start()
	}
	for name, r := range refused {
		if code := r.WaitFor(t, 9*time.Second); code == 0 { // sooner than clients give up a coordinator that is not there
			t.Errorf("%s may submit", name)
		}
		if name == "somebody without a certificate" && !strings.Contains(r.Err.String(), "requires TLS") {
			t.Errorf("%s is told %q", name, r.Err.String())
		}
	}
	for _, tt := range []struct {
		name  string
		flags []string
		codes []int
		said  string
	}{
		{"with a client's certificate", issue2(t, certs, "client"), []int{2}, "is the certificate of client/test"},
		{"with a foreign certificate", issue(t, filepath.Join(t.TempDir(), "foreign"), "worker"), []int{1, 6}, "the two ends do not trust each other"},
	} {
		w := launch(t, "worker "+tt.name, "layshaft", append([]string{"worker", "-data", t.TempDir(), "-join", m.gossip, "-gossip-key", strings.Repeat("ab", 32)}, tt.flags...)...)
		if code := w.Wait(t); !slices.Contains(tt.codes, code) || !strings.Contains(w.Err.String()+w.Out.String(), tt.said) {
			t.Errorf("a worker %s ends with exit code %d, want one of %v and a line with %q", tt.name, code, tt.codes, tt.said)
		}
	}
	m.config.cli = issue2(t, certs, "client")
	if n := len(m.workerList()); n != 2 {
		t.Errorf("%d workers have joined, want 2", n)
	}
}

// issue2 returns the flags of a certificate that was made before.
func issue2(t testing.TB, dir, role string) []string {
	t.Helper()
	keys, err := filepath.Glob(filepath.Join(dir, role+"*key*"))
	if err != nil || len(keys) != 1 {
		t.Fatalf("%q, %v", keys, err)
	}
	return []string{"-tls-ca", filepath.Join(dir, "ca.pem"), "-tls-cert", strings.Replace(keys[0], "-key", "", 1), "-tls-key", keys[0]}
}

// TestRefusesOtherAddresses starts processes that would be open to the network without
// certificates.
func TestRefusesOtherAddresses(t *testing.T) {
	withoutTLS(t)
	t.Parallel()
	for _, flags := range [][]string{{"-listen", "0.0.0.0:0"}, {"-http", "0.0.0.0:0"}, {"-gossip", "0.0.0.0:0"}} {
		args := append([]string{"coordinator", "-data", t.TempDir(), "-listen", "127.0.0.1:0", "-http", "none", "-gossip", "127.0.0.1:0"}, flags...)
		p := launch(t, "open coordinator", "layshaft", args...)
		if code := p.Wait(t); code == 0 || !strings.Contains(p.Err.String(), "-insecure") {
			t.Errorf("%q: exit code %d and %q, want a refusal that names -insecure", flags, code, p.Err.String())
		}
	}
}

// TestBatteredPorts sends random bytes, and the beginnings of what is right, to every port while
// jobs run.
func TestBatteredPorts(t *testing.T) {
	t.Parallel()
	m := startMembers(t, config{workers: 2})
	var ports []string
	for _, p := range append([]*process{m.coord}, m.workers...) {
		ports = append(ports, served(t, p)...)
	}
	stop := make(chan struct{})
	var group sync.WaitGroup
	var sent [3]int
	starts := []string{"", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "GET / HTTP/1.1\r\n"}
	for k, start := range starts {
		group.Go(func() {
			for i := 0; ; i++ {
				select {
				case <-stop:
					return
				case <-time.After(3 * time.Millisecond): // so that the jobs get processors, too
				}
				c, err := net.DialTimeout("tcp", ports[i%len(ports)], time.Second)
				if err != nil {
					continue
				}
				_ = c.SetDeadline(time.Now().Add(50 * time.Millisecond))
				_, _ = io.WriteString(c, start)
				n, _ := io.CopyN(c, rand.Reader, 1<<14)
				sent[k] += int(n)
				_ = c.Close()
				if u, err := net.Dial("udp", ports[i%len(ports)]); err == nil { // gossip
					_, _ = io.CopyN(u, rand.Reader, 1000)
					_ = u.Close()
				}
			}
		})
	}
	for range 3 {
		r := m.prepare("-maps", "20", "-pause", "20ms").start()
		r.awaitDone()
		r.onceEach("map", "reduce")
	}
	close(stop)
	group.Wait()
	t.Log("bytes sent: ", fmt.Sprint(sent))
	if n := len(m.workerList()); n != 2 {
		t.Errorf("%d workers have a lease, want 2", n)
	}
	for _, p := range append([]*process{m.coord}, m.workers...) {
		if !p.IsAlive() || p.Count(`"level":"ERROR"`) > 0 {
			t.Errorf("%s did not stand it", p.Name)
		}
	}
}
