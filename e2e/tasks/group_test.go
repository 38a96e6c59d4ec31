//go:build unix

package tasks

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/layshaft/layshaft/e2e/internal/proc"
	"github.com/layshaft/layshaft/internal/porttest"
	"github.com/layshaft/layshaft/internal/report"
	"github.com/layshaft/layshaft/tasks"
)

// group is a cluster of several coordinators.
type group struct {
	*cluster
	peers, dirs, gearmans []string
	processes             []*process
	namespaces            []string // of the network, for each coordinator; empty without
	bin                   []string // directories of the programs of the coordinators; empty is binDir
	flags                 []string // more flags of the coordinators
}

// newGroup starts three coordinators and waits until one leads.
func newGroup(t *testing.T) *group {
	t.Helper()
	g := prepareGroup(t)
	g.startAll(t)
	return g
}

// prepareGroup chooses addresses and directories of three coordinators.
func prepareGroup(t *testing.T) *group {
	t.Helper()
	return prepareGroupAt(t, func(*group, *testing.T) {})
}

// prepareGroupAt is prepareGroup with a function that may change the addresses.
func prepareGroupAt(t *testing.T, place func(*group, *testing.T)) *group {
	t.Helper()
	g := &group{cluster: &cluster{dir: t.TempDir()}}
	for i := range 3 {
		g.peers, g.gearmans = append(g.peers, porttest.Free(t)), append(g.gearmans, porttest.Free(t))
		g.dirs = append(g.dirs, filepath.Join(g.dir, fmt.Sprint(i)))
	}
	place(g, t)
	g.address, g.gearman = strings.Join(g.peers, ","), g.gearmans[0]
	g.processes = make([]*process, len(g.peers))
	client, err := tasks.Dial(tasks.Cluster{Address: g.address, Connect: patience, Patience: patience})
	if err != nil {
		t.Fatal(err)
	}
	g.Client = client
	t.Cleanup(func() {
		if err := client.Close(); err != nil {
			t.Error(err)
		}
	})
	return g
}

// startAll starts all coordinators and waits until one leads.
func (g *group) startAll(t *testing.T) {
	t.Helper()
	for i := range g.peers {
		g.startMember(t, i)
	}
	g.await(t, "a leader", func(tasks.Overview) bool { return true })
}

// startMember starts a coordinator, again after its end.
func (g *group) startMember(t *testing.T, i int) {
	t.Helper()
	bin := binDir
	if g.bin != nil {
		bin = g.bin[i]
	}
	line := append([]string{filepath.Join(bin, "layshaft"), "coordinator", "-data", g.dirs[i], "-listen", g.peers[i], "-gearman", g.gearmans[i], "-http", "none",
		"-gossip", "127.0.0.1:0", "-peers", g.address}, g.flags...)
	if g.namespaces != nil {
		line = append(append([]string{"ip", "netns", "exec", g.namespaces[i]}, line...), "-insecure")
	}
	g.processes[i] = proc.Start(t, patience, fmt.Sprint("coordinator ", i), exec.Command(line[0], line[1:]...))
}

var leads = regexp.MustCompile(`"this coordinator leads" term=(\d+)`)

// leader waits until a coordinator leads and returns its index.
func (g *group) leader(t *testing.T) int {
	t.Helper()
	g.await(t, "a leader", func(tasks.Overview) bool { return true })
	last, at := 0, -1
	for i, p := range g.processes {
		for _, m := range leads.FindAllStringSubmatch(p.Err.String(), -1) {
			if term, _ := strconv.Atoi(m[1]); term > last {
				last, at = term, i
			}
		}
	}
	if at < 0 {
		t.Fatal("no coordinator has led")
	}
	return at
}

// One of three coordinators after the other is killed, the leader mostly, and started again, while
// tasks are submitted and run.
func TestKillLeader(t *testing.T) {
	t.Parallel()
	g := newGroup(t)
	r := rand.New(rand.NewPCG(uint64(time.Now().UnixNano()), 0))
	g.storm(t, scale(6, 100), func() {
		i := g.leader(t)
		if r.IntN(4) == 0 {
			i = r.IntN(len(g.processes))
		}
		g.processes[i].Kill()
		if r.IntN(2) == 0 { // the next leader serves alone with one other
			<-time.After(time.Duration(r.IntN(2000)) * time.Millisecond)
		}
		g.startMember(t, i)
	})
}

// A coordinator that gets SIGTERM hands over; three times in a row the leader is replaced, as by an
// upgrade of all.
func TestHandOver(t *testing.T) {
	t.Parallel()
	g := newGroup(t)
	g.storm(t, scale(3, 30), func() {
		i := g.leader(t)
		g.processes[i].Signal(t, syscall.SIGTERM)
		if code := g.processes[i].Wait(t); code != 0 {
			t.Errorf("the leader ended with %d", code)
		}
		g.startMember(t, i)
	})
}

// All coordinators are killed at once, as by a power cut, and start again.
func TestKillAll(t *testing.T) {
	t.Parallel()
	g := newGroup(t)
	g.storm(t, scale(2, 20), func() {
		for _, p := range g.processes {
			p.Kill()
		}
		for i := range g.processes {
			g.startMember(t, i)
		}
	})
}

// The leader stands still for longer than an election takes. Another one leads, clients and workers
// go there although their connections do not break, and the first one follows when it wakes.
func TestLeaderStandsStill(t *testing.T) {
	t.Parallel()
	g, n := newGroup(t), 0
	g.storm(t, scale(2, 20), func() {
		i := g.leader(t)
		n++
		still := g.processes[i]
		still.Signal(t, syscall.SIGSTOP)
		asleep := time.Now()
		if id, err := tasks.Enqueue(within(t), g.Client, "record", fmt.Sprint("9.", n)); err != nil {
			t.Errorf("while the leader stands still: %v, %v", id, err)
		}
		t.Logf("a client waited %v for another leader", time.Since(asleep))
		still.Signal(t, syscall.SIGCONT)
	})
}

// The disk of one coordinator after the other is destroyed, or its files are damaged, while tasks are
// submitted and run. The coordinator comes back by itself as a new member.
func TestDestroyDisks(t *testing.T) {
	t.Parallel()
	g := newGroup(t)
	i := 0
	g.storm(t, scale(3, 12), func() {
		g.processes[i].Kill()
		if i == 1 {
			flipBytes(t, filepath.Join(g.dirs[i], "replica", "log", "*.wal"))
		} else if err := os.RemoveAll(g.dirs[i]); err != nil {
			t.Fatal(err)
		}
		g.startMember(t, i)
		g.processes[i].AwaitMatch(t, "the other coordinators have a group")
		g.awaitMember(t, i, len(g.peers))
		i = (i + 1) % len(g.processes)
	})
}

// awaitMember waits until n coordinators are ready and count, coordinator i with its new ID unless i
// is negative.
func (g *group) awaitMember(t *testing.T, i, n int) {
	t.Helper()
	id := ""
	if i >= 0 {
		id = g.processes[i].AwaitMatch(t, `this one is not in it".* id=(\w+)`)
	}
	for deadline := time.Now().Add(patience); ; {
		var all []report.Coordinator
		if err := json.Unmarshal([]byte(run(t, "layshaft", "coordinator", "members", "-o", "json", "-cluster", g.address)), &all); err != nil {
			t.Fatal(err)
		}
		ready := 0
		for _, m := range all {
			if m.State == report.Current && m.Voter && (i < 0 || m.Address != g.peers[i] || m.ID == id) {
				ready++
			}
		}
		if len(all) == n && ready == n {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("waiting for coordinator %d with ID %s: %+v", i, id, all)
		}
	}
}

// flipBytes flips one bit in each of the first 100 KiB of the files of a pattern.
func flipBytes(t *testing.T, pattern string) {
	t.Helper()
	files, err := filepath.Glob(pattern)
	if err != nil || len(files) == 0 {
		t.Fatalf("files %s: %q, %v", pattern, files, err)
	}
	for _, path := range files {
		f, err := os.OpenFile(path, os.O_RDWR, 0)
		if err != nil {
			t.Fatal(err)
		}
		b := make([]byte, 100<<10)
		n, err := f.ReadAt(b, 0)
		for at := 500; at < n; at += 1021 {
			b[at] ^= 1
		}
		if err == nil || errors.Is(err, io.EOF) {
			_, err = f.WriteAt(b[:n], 0)
		}
		if err := errors.Join(err, f.Close()); err != nil {
			t.Fatal(err)
		}
	}
}

// A single coordinator becomes one of three: its tasks, results and limits are at all of them, also
// when its own disk is destroyed afterwards.
func TestGrow(t *testing.T) {
	t.Parallel()
	g := prepareGroup(t)
	single := launch(t, "layshaft", "coordinator", "-data", g.dirs[0], "-listen", g.peers[0], "-http", "none", "-gossip", "127.0.0.1:0")
	var ids []tasks.ID
	large := strings.Repeat("x", 700<<10) // in pieces
	for i := range 200 {
		in := fmt.Sprint("0.", i)
		if i == 100 {
			in = large
		}
		id, err := tasks.Enqueue(within(t), g.Client, "echo", []byte(in), tasks.Keep(time.Hour))
		if err != nil {
			t.Fatal(err)
		}
		ids = append(ids, id)
	}
	run(t, "layshaft", "task", "limit", "echo", "-concurrency", "3", "-cluster", g.peers[0])
	single.Signal(t, syscall.SIGTERM)
	if code := single.Wait(t); code != 0 {
		t.Fatalf("the single coordinator ended with %d", code)
	}
	g.startAll(t)
	g.processes[0].Kill()
	if err := os.RemoveAll(g.dirs[0]); err != nil {
		t.Fatal(err)
	}
	g.worker(t)
	for i, id := range ids {
		want := fmt.Sprint("0.", i)
		if i == 100 {
			want = large
		}
		if out, err := tasks.Attach[[]byte](within(t), g.Client, id); err != nil || string(out) != want {
			t.Errorf("task %s: %d bytes, %v", id, len(out), err)
		}
	}
	o, err := g.Overview(within(t))
	if f := function(o, "echo"); err != nil || f.Limits.Concurrency != 3 {
		t.Errorf("limits %+v, %v", f.Limits, err)
	}
}
