package tasks

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/layshaft/layshaft/tasks"
)

// nets numbers networks, so that tests and runs do not meet.
var nets atomic.Int64

// isolate gives each coordinator a network namespace with the address that g.peers has, on a
// bridge that this process reaches. It skips the test where that is not permitted.
func (g *group) isolate(t *testing.T) {
	t.Helper()
	id, n := os.Getpid(), nets.Add(1)
	subnet := fmt.Sprintf("10.%d.%d", 220+id%30, (int64(id/30)*4+n)%256)
	bridge := fmt.Sprintf("lb%d-%d", id%100000, n)
	commands := []string{"ip link add " + bridge + " type bridge", "ip addr add " + subnet + ".254/24 dev " + bridge, "ip link set " + bridge + " up"}
	t.Cleanup(func() { _ = exec.Command("ip", "link", "del", bridge).Run() })
	for i := range g.peers {
		name, cable := fmt.Sprintf("lg%d-%d-%d", id, n, i), fmt.Sprintf("lc%d-%d-%d", id%10000, n, i)
		g.namespaces = append(g.namespaces, name)
		t.Cleanup(func() { _ = exec.Command("ip", "netns", "del", name).Run() })
		commands = append(commands, "ip netns add "+name, "ip link add "+cable+" type veth peer name eth0 netns "+name,
			"ip link set "+cable+" master "+bridge, "ip link set "+cable+" up", fmt.Sprintf("ip -n %s addr add %s.%d/24 dev eth0", name, subnet, i+1),
			"ip -n "+name+" link set eth0 up", "ip -n "+name+" link set lo up")
		g.peers[i] = fmt.Sprintf("%s.%d:7070", subnet, i+1)
	}
	for _, c := range commands {
		f := strings.Fields(c)
		if out, err := exec.Command(f[0], f[1:]...).CombinedOutput(); err != nil {
			t.Skipf("network namespaces cannot be made: %s: %v: %s; run as root, with iproute2", c, err, out)
		}
	}
}

// cutOneWay drops what coordinator from sends to coordinator to: it goes to a hardware address that
// nobody has. It returns a function that heals this.
func (g *group) cutOneWay(t *testing.T, from, to int) (heal func()) {
	t.Helper()
	host, _, _ := strings.Cut(g.peers[to], ":")
	ip := func(args ...string) {
		if out, err := exec.Command("ip", append([]string{"-n", g.namespaces[from], "neigh"}, args...)...).CombinedOutput(); err != nil {
			t.Fatalf("ip neigh %q: %v: %s", args, err, out)
		}
	}
	ip("replace", host, "lladdr", "02:00:00:00:00:fe", "nud", "permanent", "dev", "eth0")
	return func() { ip("del", host, "dev", "eth0") }
}

// Cuts in one direction between the leader and others, while tasks are submitted and run. A new task
// is confirmed during each cut.
func TestOneWayCuts(t *testing.T) {
	g := prepareGroupAt(t, (*group).isolate)
	g.startAll(t)
	n := 0
	kinds := []string{"the leader cannot send to one", "one cannot send to the leader", "the leader can send to none", "the leader hears none"}
	g.storm(t, scale(len(kinds), 40), func() {
		leader, kind := g.leader(t), kinds[n%len(kinds)]
		n++
		var heal []func()
		for i := range g.peers {
			if i == leader {
				continue
			}
			from, to := leader, i
			if kind == kinds[1] || kind == kinds[3] {
				from, to = i, leader
			}
			heal = append(heal, g.cutOneWay(t, from, to))
			if kind == kinds[0] || kind == kinds[1] {
				break
			}
		}
		begun := time.Now()
		if _, err := tasks.Enqueue(within(t), g.Client, "record", fmt.Sprint("9.", n)); err != nil {
			t.Errorf("%s: %v", kind, err)
		}
		t.Logf("%s: a task was confirmed after %v", kind, time.Since(begun))
		<-time.After(time.Second) // the cut lasts longer than an election
		for _, f := range heal {
			f()
		}
	})
	g.awaitMember(t, -1, len(g.peers))
}

// The disk of a follower is full, and then the one of the leader. The follower harms nobody, and the
// leader hands over. Nothing that was acknowledged is lost, and all go on when there is room again.
func TestGroupDiskFull(t *testing.T) {
	g := prepareGroup(t)
	for _, dir := range g.dirs {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			t.Fatal(err)
		}
		if err := syscall.Mount("none", dir, "tmpfs", 0, "size=400m"); err != nil {
			t.Skipf("a small file system cannot be mounted: %v; run as root, where mounting is allowed", err)
		}
		t.Cleanup(func() {
			if err := syscall.Unmount(dir, syscall.MNT_DETACH); err != nil {
				t.Error(err)
			}
		})
	}
	g.flags = []string{"-reserve", "64MiB"}
	g.startAll(t)
	ids := g.enqueue(t, 20)
	for _, ofLeader := range []bool{false, true} {
		full := g.leader(t)
		if !ofLeader {
			full = (full + 1) % len(g.peers)
		}
		filler := filepath.Join(g.dirs[full], "filler")
		if err := os.WriteFile(filler, make([]byte, 400<<20), 0o600); !errors.Is(err, syscall.ENOSPC) {
			t.Fatalf("the disk is not full: %v", err)
		}
		begun := time.Now()
		for deadline := time.Now().Add(patience); ; {
			id, err := tasks.Enqueue(within(t), g.Client, "echo", fmt.Append(nil, len(ids)), tasks.Keep(time.Hour))
			if err == nil {
				ids = append(ids, id)
				break
			}
			if !ofLeader || !strings.Contains(err.Error(), "disk full") || time.Now().After(deadline) {
				t.Fatal(err)
			}
		}
		t.Logf("disk of the leader full: %v; a task was taken after %v", ofLeader, time.Since(begun))
		if ofLeader && g.leader(t) == full {
			t.Error("the coordinator with the full disk leads")
		}
		for range 20 {
			id, err := tasks.Enqueue(within(t), g.Client, "echo", fmt.Append(nil, len(ids)), tasks.Keep(time.Hour))
			if err != nil {
				t.Fatal(err)
			}
			ids = append(ids, id)
		}
		if err := os.Remove(filler); err != nil {
			t.Error(err)
		}
	}
	g.awaitMember(t, -1, len(g.peers))
	g.worker(t)
	g.checkResults(t, ids)
	for i, p := range g.processes {
		if !p.IsAlive() {
			t.Errorf("coordinator %d has ended", i)
		}
	}
}
