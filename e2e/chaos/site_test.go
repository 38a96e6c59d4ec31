//go:build unix

package chaos

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/layshaft/layshaft/e2e/internal/proc"
	"github.com/layshaft/layshaft/e2e/internal/python"
	"github.com/layshaft/layshaft/internal/porttest"
	"github.com/layshaft/layshaft/tasks"
)

// site is the cluster under test.
type site struct {
	t            *testing.T
	dir          string
	grpc         string   // addresses of the coordinators
	https        []string // of their pages
	proxies      []*proxy // in front of grpc, for clients
	gearmanProxy *proxy
	client       *tasks.Client
	coordinators []*member
	workers      []*member
	ledgers      []*member      // task workers
	python       *python.Python // nil without Python
}

// newSite starts all processes and waits until the workers have joined. The coordinator waits only
// for the files of workers that it knows.
func newSite(t *testing.T) *site {
	t.Helper()
	s := &site{t: t, dir: *keepLogs}
	if s.dir == "" {
		s.dir = t.TempDir()
	}
	for _, role := range []string{"coordinator", "worker", "client"} {
		s.issue(role)
	}
	var grpcs, gossips, gearmans []string
	for range *coordinators {
		grpcs, s.https = append(grpcs, porttest.Free(t)), append(s.https, porttest.Free(t))
		gossips, gearmans = append(gossips, porttest.Free(t)), append(gearmans, porttest.Free(t))
	}
	s.grpc = strings.Join(grpcs, ",")
	gossip := strings.Join(gossips, ",")
	key := []string{"-gossip-key", strings.Repeat("ab", 32), "-reserve", "1MiB"}
	for i := range grpcs {
		args := append([]string{"coordinator", "-data", s.coordinatorDir(i), "-listen", grpcs[i], "-http", s.https[i], "-gossip", gossips[i],
			"-gearman", gearmans[i], "-lease", "4s"}, key...)
		if len(grpcs) > 1 {
			args = append(args, "-peers", s.grpc, "-join", gossip)
		}
		s.coordinators = append(s.coordinators, s.add(fmt.Sprint("coordinator-", i), "layshaft", append(args, s.certificate("coordinator")...)...))
	}
	for i := range 3 {
		for _, d := range []string{"in", "out"} {
			if err := os.MkdirAll(s.dataset(i, d), 0o700); err != nil {
				t.Fatal(err)
			}
		}
		writeText(t, s.dataset(i, "in"), uint64(i))
		args := append([]string{"worker", "-data", filepath.Join(s.dir, fmt.Sprint("worker-", i)), "-join", gossip, "-slots", "2", "-memory", "64MiB", "-allow-shipped-code",
			"-dataset", "in=" + s.dataset(i, "in"), "-dataset", "out=" + s.dataset(i, "out") + writable}, key...)
		s.workers = append(s.workers, s.add(fmt.Sprint("worker-", i), "layshaft", append(args, s.certificate("worker")...)...))
	}
	for i := range 2 {
		args := append([]string{"-cluster", s.grpc, "-ledger", s.ledger()}, s.certificate("worker")...)
		s.ledgers = append(s.ledgers, s.add(fmt.Sprint("ledger-", i), "ledger", args...))
	}
	for _, address := range grpcs {
		s.proxies = append(s.proxies, newProxy(t, address))
	}
	s.gearmanProxy = newProxy(t, gearmans[0])
	s.addPython()
	c := s.certificate("client")
	client, err := tasks.Dial(tasks.Cluster{Address: s.clientAddress(), TLS: tasks.TLSFiles{CA: c[1], Cert: c[3], Key: c[5]}, Connect: patience, Patience: settle})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { client.Close() })
	s.client = client
	eventually(t, "all workers have joined", func() bool {
		var all []struct{ Datasets []string }
		out := s.layshaft(append([]string{"worker", "list", "-o", "json", "-cluster", s.grpc}, s.certificate("client")...)...)
		if err := json.Unmarshal([]byte(out), &all); err != nil {
			t.Fatalf("worker list: %v\n%s", err, out)
		}
		joined := 0
		for _, w := range all {
			if slices.Contains(w.Datasets, "in") {
				joined++
			}
		}
		return joined == len(s.workers)
	})
	return s
}

func (s *site) coordinatorDir(i int) string {
	return filepath.Join(s.dir, fmt.Sprint("coordinator-", i))
}

// clientAddress returns the addresses of the proxies.
func (s *site) clientAddress() string {
	var all []string
	for _, p := range s.proxies {
		all = append(all, p.address)
	}
	return strings.Join(all, ",")
}

// writable is the suffix of a dataset that jobs may write to.
const writable = ":rw"

func (s *site) ledger() string { return filepath.Join(s.dir, "ledger.txt") }
func (s *site) dataset(i int, name string) string {
	return filepath.Join(s.dir, fmt.Sprint("data-", i), name)
}

// issue makes a certificate.
func (s *site) issue(role string) {
	s.t.Helper()
	dir := filepath.Join(s.dir, "certs")
	if _, err := os.Stat(filepath.Join(dir, "ca.pem")); err != nil {
		s.layshaft("cert", "init", "-dir", dir)
	}
	s.layshaft("cert", "issue", "-dir", dir, "-role", role, "-name", "test")
}

// certificate returns the flags for a certificate.
func (s *site) certificate(role string) []string {
	s.t.Helper()
	dir := filepath.Join(s.dir, "certs")
	keys, err := filepath.Glob(filepath.Join(dir, role+"*key*"))
	if err != nil || len(keys) != 1 {
		s.t.Fatalf("keys of %s: %q, %v", role, keys, err)
	}
	return []string{"-tls-ca", filepath.Join(dir, "ca.pem"), "-tls-cert", strings.Replace(keys[0], "-key", "", 1), "-tls-key", keys[0]}
}

// tlsConfig returns the settings of a Gearman client.
func (s *site) tlsConfig() *tls.Config {
	s.t.Helper()
	c := s.certificate("client")
	pair, err := tls.LoadX509KeyPair(c[3], c[5])
	if err != nil {
		s.t.Fatal(err)
	}
	ca, err := os.ReadFile(c[1])
	if err != nil {
		s.t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(ca)
	// The server's name is not checked: the certificate is for the cluster, not for an address.
	return &tls.Config{Certificates: []tls.Certificate{pair}, RootCAs: pool, InsecureSkipVerify: true}
}

// layshaft runs a command to its end and returns its standard output.
func (s *site) layshaft(args ...string) string {
	s.t.Helper()
	out, err := s.command(args...)
	if err != nil {
		s.t.Fatal(err)
	}
	return out
}

// command is layshaft with its error returned.
func (s *site) command(args ...string) (string, error) {
	var out, errs bytes.Buffer
	cmd := exec.CommandContext(s.t.Context(), filepath.Join(binDir, "layshaft"), args...)
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Run(); err != nil {
		return "", fmt.Errorf("layshaft %q: %w\n%s", args, err, errs.String())
	}
	return out.String(), nil
}

// checkAudit waits until the coordinator has audited all work, and reports findings.
func (s *site) checkAudit() {
	s.t.Helper()
	c := s.tlsConfig()
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: c}}
	var page []byte
	eventually(s.t, "the audit of jobs and tasks has finished", func() bool {
		for _, address := range s.https {
			resp, err := client.Get("https://" + address + "/metrics")
			if err != nil {
				continue
			}
			page, err = io.ReadAll(resp.Body)
			resp.Body.Close()
			if err == nil && bytes.Contains(page, []byte("layshaft_audit_findings")) { // it leads
				return !bytes.Contains(page, []byte(`audit_rounds_total{core="jobs"} 0`)) && !bytes.Contains(page, []byte(`audit_rounds_total{core="tasks"} 0`))
			}
		}
		return false
	})
	if !bytes.Contains(page, []byte("layshaft_audit_findings 0\n")) {
		s.t.Errorf("the audit has findings:\n%s", page)
	}
}

// shutdown ends all processes by SIGTERM, workers first, and checks that they end.
func (s *site) shutdown() {
	for _, m := range slices.Concat(s.ledgers, s.workers, s.coordinators) {
		m.mu.Lock()
		m.end(syscall.SIGTERM)
		m.mu.Unlock()
	}
}

// member is a process that is started again after faults.
type member struct {
	t             *testing.T
	name, program string // the program is a path, or the name of a program in binDir
	args          []string
	env           []string // beside the test's environment
	log           string   // path of its standard error

	// mu is held during a fault of this member, and guards the fields below.
	mu      sync.Mutex
	process *proc.Process
	// asked is set before the test ends the process.
	asked *atomic.Bool
	watch sync.WaitGroup // waits for reports of unasked exits
}

// add starts a new member.
func (s *site) add(name, program string, args ...string) *member {
	s.t.Helper()
	return s.launch(&member{name: name, program: program, args: args})
}

func (s *site) launch(m *member) *member {
	s.t.Helper()
	m.t, m.log = s.t, filepath.Join(s.dir, m.name+".log")
	m.mu.Lock()
	defer m.mu.Unlock()
	m.start()
	s.t.Cleanup(func() {
		m.mu.Lock()
		defer m.mu.Unlock()
		m.asked.Store(true)
		m.process.Kill()
		m.watch.Wait()
		if s.t.Failed() {
			b, _ := os.ReadFile(m.log)
			s.t.Logf("---- end of the log of %s:\n%s", m.name, b[max(0, len(b)-4000):])
		}
	})
	return m
}

// start starts the process. The caller holds mu.
func (m *member) start() {
	log, err := os.OpenFile(m.log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		m.t.Error(err)
		return
	}
	defer log.Close()
	program := m.program
	if !filepath.IsAbs(program) {
		program = filepath.Join(binDir, program)
	}
	cmd := exec.Command(program, m.args...)
	cmd.Env = append(os.Environ(), m.env...)
	cmd.Stdout, cmd.Stderr = log, log
	p, err := proc.Launch(patience, m.name, cmd)
	if err != nil {
		m.t.Error(err)
		return
	}
	asked := &atomic.Bool{}
	m.watch.Go(func() {
		<-p.Ended
		if !asked.Load() {
			m.t.Errorf("%s exited unasked: %v", m.name, cmd.ProcessState)
		}
	})
	m.process, m.asked = p, asked
}

// end ends the process with a signal and waits for it. The caller holds mu.
func (m *member) end(sig syscall.Signal) {
	m.asked.Store(true)
	m.process.Signal(m.t, sig)
	select {
	case <-m.process.Ended:
	case <-time.After(2 * patience):
		m.t.Errorf("%s did not end within %v of %v", m.name, 2*patience, sig)
		m.process.Kill()
	}
}

// eventually waits until a condition holds.
func eventually(t *testing.T, what string, holds func() bool) {
	t.Helper()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for late := time.After(settle); !holds(); {
		select {
		case <-tick.C:
		case <-late:
			t.Fatalf("not so after %v: %s", settle, what)
		}
	}
}
