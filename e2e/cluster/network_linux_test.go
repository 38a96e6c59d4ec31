package cluster

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// nets numbers networks, so that tests and runs do not meet.
var nets atomic.Int64

// island is a network namespace with a cable to this one.
type island struct {
	t          *testing.T
	name       string
	here, away string // addresses of the two ends
}

// newIsland makes a namespace, or skips the test where that is not permitted.
func newIsland(t *testing.T) *island {
	t.Helper()
	n := nets.Add(1)
	id := os.Getpid()
	i := &island{t: t, name: fmt.Sprintf("ls%d-%d", id, n)}
	subnet := fmt.Sprintf("10.%d.%d", 180+id%40, (int64(id/40)*8+n)%256)
	i.here, i.away = subnet+".1", subnet+".2"
	cable := fmt.Sprintf("lv%d-%d", id%100000, n)
	for _, c := range []string{
		"ip netns add " + i.name,
		"ip link add " + cable + " type veth peer name eth0 netns " + i.name,
		"ip addr add " + i.here + "/24 dev " + cable,
		"ip link set " + cable + " up",
		"ip -n " + i.name + " addr add " + i.away + "/24 dev eth0",
		"ip -n " + i.name + " link set eth0 up",
		"ip -n " + i.name + " link set lo up",
		"ip netns exec " + i.name + " iptables -L -n",
	} {
		f := strings.Fields(c)
		if out, err := exec.Command(f[0], f[1:]...).CombinedOutput(); err != nil {
			_ = exec.Command("ip", "netns", "del", i.name).Run()
			t.Skipf("a network namespace cannot be made: %s: %v: %s; run as root, with iproute2 and iptables", c, err, out)
		}
		if strings.HasPrefix(c, "ip netns add") {
			t.Cleanup(func() { _ = exec.Command("ip", "netns", "del", i.name).Run() })
		}
	}
	return i
}

// iptables runs a command inside.
func (i *island) iptables(args ...string) {
	i.t.Helper()
	if out, err := exec.Command("ip", append([]string{"netns", "exec", i.name, "iptables"}, args...)...).CombinedOutput(); err != nil {
		i.t.Fatalf("iptables %q: %v: %s", args, err, out)
	}
}

// cut drops what goes in one direction, INPUT or OUTPUT, or in both. It returns how to mend it.
func (i *island) cut(directions ...string) (mend func()) {
	i.t.Helper()
	for _, d := range directions {
		i.iptables("-I", d, "-j", "DROP")
	}
	return func() {
		for _, d := range directions {
			i.iptables("-D", d, "-j", "DROP")
		}
	}
}

// worker starts worker number k inside, which joins a cluster whose coordinator listens at the near end.
func (i *island) worker(m *members) *process {
	i.t.Helper()
	k := len(m.workers)
	args := append([]string{"netns", "exec", i.name, filepath.Join(binDir, "layshaft"), "worker", "-data", m.workerDir(k), "-join", m.gossip,
		"-listen", i.away + ":0", "-gossip", i.away + ":0", "-http", "none", "-insecure", "-slots", strconv.Itoa(m.config.slots), "-memory", "64MiB", "-allow-shipped-code"}, m.flags()...)
	m.workers = append(m.workers, launchCmd(i.t, fmt.Sprint("worker ", k), exec.Command("ip", args...)))
	return m.workers[k]
}

// TestNetworkCut cuts a worker off, in both or in one direction, for longer than its lease or for less. What it ran runs elsewhere or
// goes on; when the cut is mended it works again.
func TestNetworkCut(t *testing.T) {
	t.Parallel()
	cuts := []struct {
		name       string
		directions []string
		beyond     bool // the lease
	}{
		{"both ways, longer than the lease", []string{"INPUT", "OUTPUT"}, true},
		{"to the worker, longer than the lease", []string{"INPUT"}, true},
		{"from the worker, longer than the lease", []string{"OUTPUT"}, true},
		{"both ways, shorter than the lease", []string{"INPUT", "OUTPUT"}, false},
	}
	if testing.Short() {
		cuts = cuts[:1]
	}
	for _, c := range cuts {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			i := newIsland(t)
			lease := "2s"
			if !c.beyond {
				lease = "10s"
			}
			m := &members{t: t, dir: t.TempDir(), grpc: i.here + ":0", http: "127.0.0.1:0", gossip: i.here + ":0",
				config: config{slots: 1, lease: lease, all: []string{"-insecure"}}}
			m.startCoordinator()
			i.worker(m)
			m.awaitWorkers(1)
			r := m.prepare("-maps", "8").do("map-5", "hold").start()
			r.at("map-5", 1)
			// The other worker listens where the first one reaches it.
			m.config.worker = []string{"-listen", i.here + ":0", "-gossip", i.here + ":0"}
			m.startWorker()
			m.awaitWorkers(2)
			m.committed(7)
			start := time.Now()
			mend := i.cut(c.directions...)
			if c.beyond {
				r.at("map-5", 2)
				t.Logf("its attempt ran elsewhere after %v", time.Since(start).Round(time.Millisecond))
				m.awaitWorkers(1)
				r.release("map-5")
				if testing.Short() {
					mend()
				} else {
					defer mend()
				}
			} else {
				<-time.After(5 * time.Second) // the length of the cut
				r.release("map-5")
				mend()
			}
			r.succeeds()
			if !c.beyond {
				r.onceEach("map", "reduce")
			}
		})
	}
}

// TestPartitionHeals cuts a worker off until the coordinator has forgotten it, and waits for it to come back.
func TestPartitionHeals(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("waits for a partition to heal")
	}
	i := newIsland(t)
	m := &members{t: t, dir: t.TempDir(), grpc: i.here + ":0", http: "127.0.0.1:0", gossip: i.here + ":0", config: config{slots: 1, lease: "2s", all: []string{"-insecure"}}}
	m.startCoordinator()
	i.worker(m)
	m.awaitWorkers(1)
	for _, length := range cutLengths() {
		mend := i.cut("INPUT", "OUTPUT")
		cut := time.Now()
		m.awaitWorkers(0)
		<-time.After(length - time.Since(cut)) // the length of the cut
		mend()
		start := time.Now()
		m.awaitWorkers(1)
		t.Logf("after a cut of %v it was back in %v", length, time.Since(start).Round(time.Millisecond))
		if took := time.Since(start); took > 30*time.Second {
			t.Errorf("it came back %v after a cut of %v, want 30s at most", took, length)
		}
	}
	m.prepare().start().succeeds()
}

func cutLengths() []time.Duration {
	if os.Getenv(heavyEnv) != "" {
		return []time.Duration{5 * time.Second, 15 * time.Second, 5 * time.Minute}
	}
	return []time.Duration{5 * time.Second}
}
