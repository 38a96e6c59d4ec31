package node

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc/credentials"

	"github.com/layshaft/layshaft/coordinator/jobserver"
	"github.com/layshaft/layshaft/internal/client"
	"github.com/layshaft/layshaft/internal/porttest"
	"github.com/layshaft/layshaft/internal/report"
	"github.com/layshaft/layshaft/internal/security"
	"github.com/layshaft/layshaft/internal/wire"
)

// trio are several coordinators in this process.
type trio struct {
	t       *testing.T
	common  Common
	creds   credentials.TransportCredentials // of clients
	peers   []string
	members []*process
}

// process is one coordinator.
type process struct {
	cfg  CoordinatorConfig
	stop context.CancelFunc
	done chan error
}

// startTrio starts n coordinators that form a group.
func startTrio(t *testing.T, n int, common Common, creds credentials.TransportCredentials) *trio {
	t.Helper()
	g := &trio{t: t, common: common, creds: creds}
	for range n {
		g.peers = append(g.peers, porttest.Free(t))
	}
	for _, address := range g.peers {
		g.start(address, t.TempDir())
	}
	t.Cleanup(func() {
		for _, m := range g.members {
			m.stop()
		}
		for _, m := range g.members {
			if err := <-m.done; err != nil {
				t.Errorf("%s ended with %v", m.cfg.Listen, err)
			}
		}
	})
	return g
}

// start starts a coordinator.
func (g *trio) start(address, dir string) *process {
	m := &process{cfg: CoordinatorConfig{Common: g.common, Dir: dir, Peers: g.peers}, done: make(chan error, 1)}
	m.cfg.Listen, m.cfg.HTTP, m.cfg.Gossip = address, porttest.Free(g.t), "127.0.0.1:0"
	m.cfg.Data.Reserve = -1
	m.cfg.ElectionTimeout = 2 * time.Second // on a busy machine, nobody stands for election unasked
	if m.cfg.Log == nil {                   // shown when the test fails
		m.cfg.Log = slog.New(slog.NewTextHandler(g.t.Output(), nil)).With("at", address)
	}
	var ctx context.Context
	ctx, m.stop = context.WithCancel(context.Background())
	go func() { m.done <- RunCoordinator(ctx, m.cfg) }()
	g.members = append(g.members, m)
	return m
}

// end stops a coordinator and forgets it.
func (g *trio) end(m *process) {
	g.t.Helper()
	m.stop()
	if err := <-m.done; err != nil {
		g.t.Errorf("%s ended with %v", m.cfg.Listen, err)
	}
	for i, x := range g.members {
		if x == m {
			g.members = append(g.members[:i], g.members[i+1:]...)
			return
		}
	}
}

func (g *trio) client(address string) *client.Client {
	g.t.Helper()
	c, err := client.Dial(client.Config{Address: address, Credentials: g.creds, Connect: time.Minute})
	if err != nil {
		g.t.Fatal(err)
	}
	g.t.Cleanup(func() { _ = c.Close() })
	return c
}

// list waits until ok holds for the list of one coordinator.
func (g *trio) list(c *client.Client, what string, ok func(all *report.Coordinators) bool) report.Coordinators {
	g.t.Helper()
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(20 * time.Millisecond) {
		all, err := c.Coordinators(g.t.Context())
		if err == nil && ok(&all) {
			return all
		}
		if time.Now().After(deadline) {
			g.t.Fatalf("waited in vain for %s: %+v, %v", what, all, err)
		}
	}
}

// led reports whether n coordinators are ready, and one of them leads.
func led(n int) func(*report.Coordinators) bool {
	return func(all *report.Coordinators) bool {
		return len(all.Members) == n && all.In(report.Current) == n && all.Leader() != "" && all.Stale == ""
	}
}

// split returns the process that leads, and the others.
func (g *trio) split(all *report.Coordinators) (leader *process, others []*process) {
	for _, m := range g.members {
		if m.cfg.Listen == all.Leader() {
			leader = m
		} else {
			others = append(others, m)
		}
	}
	return leader, others
}

// awaitStatus waits until a page is answered with a status, and returns the body.
func awaitStatus(t *testing.T, url string, status int) string {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(20 * time.Millisecond) {
		resp, err := http.Get(url)
		if err == nil {
			b, _ := io.ReadAll(resp.Body)
			_ = resp.Body.Close()
			if resp.StatusCode == status {
				return string(b)
			}
			err = errors.New(resp.Status + " " + string(b))
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s: %v, want %d", url, err, status)
		}
	}
}

// Members are listed, transferred, removed and added through any of them, and a lost majority is
// explained.
func TestMembers(t *testing.T) {
	needsElections(t)
	t.Parallel()
	g := startTrio(t, 3, Common{Version: "v1"}, nil)
	all := g.list(g.client(g.peers[0]), "three coordinators", led(3))
	leader, others := g.split(&all)
	if all.Warning != "" {
		t.Errorf("warning %q", all.Warning)
	}
	for _, address := range g.peers {
		if x := g.list(g.client(address), "three coordinators", led(3)); x.Leader() != all.Leader() {
			t.Errorf("%s takes %s for the leader, want %s", address, x.Leader(), all.Leader())
		}
	}
	for _, m := range g.members {
		at := "http://" + m.cfg.HTTP
		awaitStatus(t, at+"/healthz", http.StatusOK)
		awaitStatus(t, at+"/readyz", http.StatusOK)
		leads, metric := http.StatusServiceUnavailable, "layshaft_coordinator_leader 0"
		if m == leader {
			leads, metric = http.StatusOK, "layshaft_coordinator_leader 1"
		}
		awaitStatus(t, at+"/readyz/leader", leads)
		if text := get(t, at+"/metrics"); !strings.Contains(text, metric) || !strings.Contains(text, "layshaft_coordinator_term ") || !strings.Contains(text, "layshaft_coordinator_applied_index ") {
			t.Errorf("metrics of %s lack %s", at, metric)
		}
		if text, header := browse(t, at+"/"); !strings.Contains(text, "3 coordinators, "+all.Leader()+" leads") || len(header.Values("Content-Security-Policy")) != 1 {
			t.Errorf("page of %s: %v %s", at, header, text)
		}
	}

	// Leadership moves to the member that was named, once.
	c := g.client(others[0].cfg.Listen)
	find := idOf
	from, to := find(&all, leader.cfg.Listen), find(&all, others[1].cfg.Listen)
	if err := c.TransferLeadership(t.Context(), from, to); err != nil {
		t.Fatal(err)
	}
	moved := func(all *report.Coordinators) bool { return led(3)(all) && all.Leader() == others[1].cfg.Listen }
	all = g.list(c, "the next leader", moved)
	if err := c.TransferLeadership(t.Context(), from, ""); err != nil {
		t.Error(err)
	}
	all = g.list(c, "the same leader", moved)

	// A destroyed member is replaced by one with an empty directory at its address.
	_, others = g.split(&all)
	lost := others[1]
	g.end(lost)
	c = g.client(others[0].cfg.Listen)
	all = g.list(c, "an unreachable member", func(all *report.Coordinators) bool { return all.In(report.Unreachable) == 1 && all.Warning != "" })
	if _, err := c.RemoveCoordinator(t.Context(), find(&all, others[0].cfg.Listen)); err == nil || !strings.Contains(err.Error(), "the majority would be lost") {
		t.Errorf("removal of one of two that are left: %v", err)
	}
	id := find(&all, lost.cfg.Listen)
	for range 2 { // a repetition changes nothing
		if warning, err := c.RemoveCoordinator(t.Context(), id); err != nil || !strings.Contains(warning, "two coordinators survive no loss") {
			t.Errorf("removal: %q, %v", warning, err)
		}
	}
	// The successor serves its callers before it is a member.
	next := g.start(lost.cfg.Listen, t.TempDir())
	g.list(g.client(next.cfg.Listen), "the list of the others", led(2))
	for range 2 {
		m, warning, err := c.AddCoordinator(t.Context(), lost.cfg.Listen)
		if err != nil || m.Address != lost.cfg.Listen || m.ID == id || !m.Voter || warning != "" {
			t.Fatalf("added %+v, %q, %v", m, warning, err)
		}
	}
	all = g.list(c, "three coordinators again", func(all *report.Coordinators) bool {
		for _, m := range all.Members {
			if m.Behind > 0 {
				return false // it may not know yet that it is a voter
			}
		}
		return led(3)(all)
	})

	// The last one says that the majority is lost.
	leader, others = g.split(&all)
	g.end(leader)
	g.end(others[0])
	last := others[1]
	all = g.list(g.client(last.cfg.Listen), "a stale answer", func(all *report.Coordinators) bool {
		// a moment later it knows that its leader is away, too
		return all.Leader() == "" && strings.HasPrefix(all.Stale, "the majority is lost: 1 of 3 coordinators can be reached, and 2 must agree.")
	})
	if len(all.Members) != 3 || all.In(report.Unreachable) != 2 {
		t.Errorf("stale answer %+v", all)
	}
	at := "http://" + last.cfg.HTTP
	awaitStatus(t, at+"/healthz", http.StatusOK)
	awaitStatus(t, at+"/readyz", http.StatusServiceUnavailable)
	awaitStatus(t, at+"/readyz/leader", http.StatusServiceUnavailable)
	if text := awaitStatus(t, at+"/", http.StatusServiceUnavailable); !strings.Contains(text, "the majority is lost") {
		t.Errorf("page %q", text)
	}
	// One attempt to connect takes at most Connect, and the answer without a leader standbyAfter.
	impatient, err := client.Dial(client.Config{Address: last.cfg.Listen, Connect: standbyAfter + time.Second})
	if err != nil {
		t.Fatal(err)
	}
	defer impatient.Close()
	if _, err := impatient.Workers(t.Context()); err == nil || !strings.Contains(err.Error(), "the majority is lost") {
		t.Errorf("workers without a leader: %v", err)
	}
}

// With certificates, a follower answers health checks and redirects its callers to the leader.
func TestMembersWithTLS(t *testing.T) {
	needsElections(t)
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "ca")
	if err := security.InitCA(dir); err != nil {
		t.Fatal(err)
	}
	load := func(r security.Role) (security.Files, *security.TLS) {
		cert, key, err := security.Issue(dir, security.Request{Role: r, Name: "n"})
		if err != nil {
			t.Fatal(err)
		}
		f := security.Files{CA: filepath.Join(dir, "ca.pem"), Cert: cert, Key: key}
		loaded, err := security.Load(f, nil)
		if err != nil {
			t.Fatal(err)
		}
		return f, loaded
	}
	files, _ := load(security.Coordinator)
	clientFiles, own := load(security.Client)
	g := startTrio(t, 3, Common{Version: "v1", TLS: files}, own.Client(security.Coordinator))
	all := g.list(g.client(g.peers[1]), "three coordinators", led(3))
	leader, others := g.split(&all)
	cert, err := tls.LoadX509KeyPair(clientFiles.Cert, clientFiles.Key)
	if err != nil {
		t.Fatal(err)
	}
	browser := &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		Transport: &http.Transport{TLSClientConfig: &tls.Config{Certificates: []tls.Certificate{cert}, InsecureSkipVerify: true}}}
	for path, want := range map[string]int{"/healthz": 200, "/readyz": 200, "/readyz/leader": 503, "/metrics": 200, "/jobs?page=2": 307} {
		resp, err := browser.Get("https://" + others[0].cfg.HTTP + path)
		if err != nil {
			t.Fatal(err)
		}
		_ = resp.Body.Close()
		if at := resp.Header.Get("Location"); resp.StatusCode != want || want == 307 && at != "https://"+leader.cfg.HTTP+path {
			t.Errorf("%s: %s to %q", path, resp.Status, at)
		}
	}
}

// A connection of another user is not forwarded: the server of this process refuses its calls.
func TestAdmit(t *testing.T) {
	needsElections(t)
	t.Parallel()
	g := startTrio(t, 1, Common{Version: "v1", SameUser: true}, nil)
	g.list(g.client(g.peers[0]), "a coordinator", led(1))

	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	d := newDoors(l)
	d.add(forwardGRPC, l)
	d.leader, d.changed = func() string { return g.peers[0] }, func() <-chan struct{} { return nil }
	refusal := fmt.Errorf("%w: another user", wire.ErrForbidden)
	d.admit = func(net.Conn) error { return refusal }
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 2)
	standby := jobserver.NewStandby(jobserver.Config{Authorize: func(context.Context, string) error { return refusal }, Identity: peerName,
		Audit: slog.New(slog.DiscardHandler), Log: slog.New(slog.DiscardHandler)})
	go func() { ended <- d.run(ctx) }()
	go func() { ended <- standby.Run(ctx, d.standby) }()
	defer func() {
		cancel()
		for range 2 {
			if err := <-ended; err != nil {
				t.Error(err)
			}
		}
	}()
	if _, err := g.client(l.Addr().String()).Workers(ctx); !errors.Is(err, wire.ErrForbidden) {
		t.Errorf("the call was forwarded: %v", err)
	}
	conn, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := conn.Write(append([]byte(memberHello), memberStream)); err != nil {
		t.Fatal(err)
	}
	if n, err := conn.Read(make([]byte, 1)); err == nil {
		t.Errorf("a member of another user was answered with %d bytes", n)
	}
}

// A coordinator whose -peers lacks its own address is refused.
func TestPeersRefused(t *testing.T) {
	t.Parallel()
	for peers, want := range map[string]string{
		"c1:7070,c2:7070": "lacks the address of this coordinator",
		"c1,c2:7070":      "is no HOST:PORT",
		"a:1,a:1":         "named twice",
	} {
		cfg := CoordinatorConfig{Common: local(), Dir: t.TempDir(), Peers: strings.Split(peers, ",")}
		err := RunCoordinator(t.Context(), cfg)
		var refused Refused
		if !errors.As(err, &refused) || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", peers, err)
		}
	}
}

// needsElections skips a test in the short loop. A group of coordinators with real clocks waits
// seconds for its elections; a few tests of such groups stay in the short loop.
func needsElections(t *testing.T) {
	t.Helper()
	if testing.Short() {
		t.Skip("waits for the elections of a real group of coordinators")
	}
}
