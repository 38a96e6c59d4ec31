package cluster

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/layshaft/layshaft/e2e/internal/programs"
)

// nets numbers networks, so that tests and runs do not meet.
var nets atomic.Int64

// island is a network namespace with a cable to this one.
type island struct {
	t          testing.TB
	name       string
	here, away string // addresses of the two ends
	cable      string // what the near end is called
}

// newIsland makes a namespace, or skips the test where that is not permitted.
func newIsland(t testing.TB) *island {
	t.Helper()
	n := nets.Add(1)
	id := os.Getpid()
	i := &island{t: t, name: fmt.Sprintf("ls%d-%d", id, n)}
	subnet := fmt.Sprintf("10.%d.%d", 180+id%40, (int64(id/40)*8+n)%256)
	i.here, i.away = subnet+".1", subnet+".2"
	i.cable = fmt.Sprintf("lv%d-%d", id%100000, n)
	for _, c := range []string{
		"ip netns add " + i.name,
		"ip link add " + i.cable + " type veth peer name eth0 netns " + i.name,
		"ip addr add " + i.here + "/24 dev " + i.cable,
		"ip link set " + i.cable + " up",
		"ip -n " + i.name + " addr add " + i.away + "/24 dev eth0",
		"ip -n " + i.name + " link set eth0 up",
		"ip -n " + i.name + " link set lo up",
		"ip -n " + i.name + " route add default via " + i.here, // to other addresses of this namespace
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

// run runs a command inside and returns what it prints.
func (i *island) run(command string, args ...string) string {
	i.t.Helper()
	out, err := exec.Command("ip", append(append([]string{"netns", "exec", i.name}, strings.Fields(command)...), args...)...).CombinedOutput()
	if err != nil {
		i.t.Fatalf("%s %q: %v: %s", command, args, err, out)
	}
	return string(out)
}

// cableTo lays a cable between two islands, over which they reach each other from then on. At both
// ends it is called eth1.
func (i *island) cableTo(j *island) {
	i.t.Helper()
	far := "ip -n " + j.name
	for _, c := range []string{
		"ip link add eth1 type veth peer name eth1 netns " + j.name,
		"ip link set eth1 up",
		far + " link set eth1 up",
		"ip route add " + j.away + " dev eth1 src " + i.away,
		far + " route add " + i.away + " dev eth1 src " + j.away,
	} {
		if strings.HasPrefix(c, far) {
			f := strings.Fields(c)
			if out, err := exec.Command(f[0], f[1:]...).CombinedOutput(); err != nil {
				i.t.Fatalf("%s: %v: %s", c, err, out)
			}
			continue
		}
		i.run(c)
	}
}

// The ends of cables: to where the tests and the coordinator are, and to another island.
const home, other = "eth0", "eth1"

// cut drops what goes in one direction of a cable, INPUT or OUTPUT, or in both. It returns how to
// mend it.
func (i *island) cut(cable string, directions ...string) (mend func()) {
	i.t.Helper()
	return i.drop(cable, nil, directions...)
}

// drop drops what matches, in one direction of a cable or in both. It returns how to mend it.
func (i *island) drop(cable string, match []string, directions ...string) (mend func()) {
	i.t.Helper()
	do := func(verb string) {
		for _, d := range directions {
			side := map[string]string{"INPUT": "-i", "OUTPUT": "-o"}[d]
			i.run("iptables -w", append(append([]string{verb, d, side, cable}, match...), "-j", "DROP")...)
		}
	}
	do("-I")
	return func() { do("-D") }
}

// dropped returns how many packets were dropped.
func (i *island) dropped() (packets int) {
	i.t.Helper()
	for line := range strings.Lines(i.run("iptables -w -L -v -n -x")) {
		if f := strings.Fields(line); len(f) > 3 && f[2] == "DROP" {
			n, err := strconv.Atoi(f[0])
			if err != nil {
				i.t.Fatal(err)
			}
			packets += n
		}
	}
	return packets
}

// lossy has a share of the packets lost in each direction of a cable.
func (i *island) lossy(cable string, share float64) {
	i.t.Helper()
	i.drop(cable, []string{"-m", "statistic", "--mode", "random", "--probability", fmt.Sprint(share)}, "INPUT", "OUTPUT")
}

// shaper limits how many bits per second, such as 4mbit, go out at one end of a cable.
type shaper struct {
	t    testing.TB
	name string // of the namespace; empty for this one
	dev  string
}

func slow(t testing.TB, name, dev, rate string) *shaper {
	t.Helper()
	s := &shaper{t, name, dev}
	s.tc("qdisc add dev " + dev + " root tbf rate " + rate + " burst 16kb latency 200ms")
	return s
}

func (s *shaper) tc(command string) string {
	s.t.Helper()
	f := strings.Fields("tc " + command)
	if s.name != "" {
		f = append(strings.Fields("ip netns exec "+s.name), f...)
	}
	out, err := exec.Command(f[0], f[1:]...).CombinedOutput()
	if err != nil {
		s.t.Fatalf("%q: %v: %s", f, err, out)
	}
	return string(out)
}

// sent returns how many bytes went out.
func (s *shaper) sent() (bytes int) {
	s.t.Helper()
	_, sent, _ := strings.Cut(s.tc("-s qdisc show dev "+s.dev), "Sent ")
	if _, err := fmt.Sscan(sent, &bytes); err != nil {
		s.t.Fatal(err)
	}
	return bytes
}

// members starts a coordinator at the near end of the island's cable.
func (i *island) members(lease string) *members {
	i.t.Helper()
	m := &members{t: i.t, dir: i.t.TempDir(), grpc: i.here + ":0", http: "127.0.0.1:0", gossip: i.here + ":0",
		config: config{slots: 1, lease: lease, all: []string{"-insecure"}, given: true}}
	m.startCoordinator()
	return m
}

// near starts one more worker, at the near end of the island's cable.
func (i *island) near(m *members) *process {
	i.t.Helper()
	m.config.worker = []string{"-listen", i.here + ":0", "-gossip", i.here + ":0"}
	return m.startWorker()
}

// worker starts worker number k inside, which joins a cluster whose coordinator listens at the near
// end.
func (i *island) worker(m *members) *process {
	i.t.Helper()
	k := len(m.workers)
	args := append([]string{"netns", "exec", i.name, filepath.Join(binDir, "layshaft"), "worker", "-data", m.workerDir(k), "-join", m.gossip,
		"-listen", i.away + ":0", "-gossip", i.away + ":0", "-http", "none", "-slots", strconv.Itoa(m.config.slots), "-memory", "64MiB"}, m.flags()...)
	args = append(args, m.code()...)
	m.workers = append(m.workers, launchCmd(i.t, fmt.Sprint("worker ", k), exec.Command("ip", args...)))
	return m.workers[k]
}

// TestNetworkCut cuts a worker off, in both or in one direction, for longer than its lease or for
// less. What it ran runs elsewhere or continues; when the cut is mended it works again.
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
			m := i.members(lease)
			i.worker(m)
			m.awaitWorkers(1)
			r := m.prepare("-maps", "8").do("map-5", "hold").start()
			r.at("map-5", 1)
			i.near(m)
			m.awaitWorkers(2)
			m.committed(7)
			start := time.Now()
			mend := i.cut(home, c.directions...)
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

// TestWorkersCut cuts two workers off from each other while both reach the coordinator, in one
// direction or in both, when one of them is to read what the other has made. What it cannot read is
// made again, where it can be read. Other outputs are kept.
func TestWorkersCut(t *testing.T) {
	t.Parallel()
	for name, directions := range map[string][]string{"both ways": {"INPUT", "OUTPUT"}, "one way": {"INPUT"}, "the other way": {"OUTPUT"}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if name != "both ways" && testing.Short() {
				t.Skip("waits for a cut of 5 s")
			}
			i, j := newIsland(t), newIsland(t)
			m := i.members("10s")
			i.worker(m)
			j.worker(m)
			i.cableTo(j)
			m.awaitWorkers(2)
			r := m.prepare("-maps", "8", "-pause", "10ms").do("map-7", "hold").start()
			r.at("map-7", 1)
			m.committed(7)
			mend := i.cut(other, directions...)
			r.release("map-7")
			<-time.After(5 * time.Second) // the length of the cut
			mend()
			r.succeeds()
			for p, n := range r.again("map") {
				if n > 3 {
					t.Errorf("%s ran %d times", p, n)
				}
			}
			done := m.job()
			lost := done.lost()
			t.Logf("%d outputs were lost, %v ran again", lost, r.again("map"))
			if again := len(r.again("map")); again > 0 && lost == 0 {
				t.Errorf("%d maps ran again, though no output was lost", again)
			}
			if m.coord.Count(`"worker lost"`) > 0 {
				t.Error("a worker lost its lease, though it reaches the coordinator")
			}
		})
	}
}

// TestGossipCut cuts the gossip of a worker off, and nothing else: the job does not notice.
func TestGossipCut(t *testing.T) {
	t.Parallel()
	i := newIsland(t)
	m := i.members("2s")
	w := i.worker(m)
	i.near(m)
	m.awaitWorkers(2)
	r := m.prepare("-maps", "8").do("map-7", "hold").start()
	r.at("map-7", 1)
	m.committed(7)
	i.drop(home, []string{"-p", "udp"}, "INPUT", "OUTPUT")
	for _, p := range []*process{m.coord, w, m.workers[1]} {
		_, port, err := net.SplitHostPort(served(t, p)[2])
		if err != nil {
			t.Fatal(err)
		}
		for _, side := range []string{"--sport", "--dport"} {
			i.drop(home, []string{"-p", "tcp", side, port}, "INPUT", "OUTPUT")
		}
	}
	lengths := cutLengths()
	<-time.After(lengths[len(lengths)-1]) // the length of the cut
	r.release("map-7")
	r.succeeds()
	r.onceEach("map", "reduce")
	if i.dropped() == 0 {
		t.Error("no gossip was dropped")
	}
	if job := m.job(); m.coord.Count(`"worker lost"`) > 0 || job.lost() > 0 {
		t.Error("a worker or an output was given up for gossip alone")
	}
	m.prepare("-maps", "4").start().succeeds()
}

// TestPartitionHeals cuts a worker off until the coordinator has forgotten it, and waits for it to
// come back.
func TestPartitionHeals(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("waits for a partition to heal")
	}
	i := newIsland(t)
	m := i.members("2s")
	i.worker(m)
	m.awaitWorkers(1)
	for _, length := range cutLengths() {
		mend := i.cut(home, "INPUT", "OUTPUT")
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
	if os.Getenv(programs.HeavyEnv) != "" {
		return []time.Duration{5 * time.Second, 15 * time.Second, 5 * time.Minute}
	}
	return []time.Duration{5 * time.Second}
}

// TestPoorLinks runs jobs over links that are slow, lose packets, or both, between a worker and all
// others or between two workers. It takes longer, and that is all: no worker loses its lease, no
// attempt fails and no output counts as lost.
func TestPoorLinks(t *testing.T) {
	t.Parallel()
	poor := []struct {
		name    string
		between bool    // two workers; else a worker and all others
		rate    string  // empty: as fast as it gets
		loss    float64 // share of the packets, each way
		each    string  // records of each map
		heavy   bool
	}{
		{"slow to a worker", false, "8mbit", 0, "2000", false},
		{"slow between workers", true, "8mbit", 0, "2000", false},
		{"lossy to a worker", false, "", 0.05, "3000", false},
		{"lossy between workers", true, "", 0.05, "3000", false},
		{"slow and lossy to a worker", false, "2mbit", 0.03, "1000", true},
		{"very slow between workers", true, "500kbit", 0, "6000", true},
		{"very slow to a worker", false, "500kbit", 0, "6000", true},
		{"very lossy between workers", true, "", 0.15, "500", true},
	}
	for _, p := range poor {
		t.Run(p.name, func(t *testing.T) {
			if p.heavy {
				heavy(t)
			}
			t.Parallel()
			i := newIsland(t)
			m := i.members("10s")
			first := i.worker(m)
			var ends [2]*shaper
			shape := func(name, dev string, at int) {
				if p.rate != "" {
					ends[at] = slow(t, name, dev, p.rate)
				}
			}
			cable := home
			if p.between {
				j := newIsland(t)
				i.cableTo(j)
				cable = other
				j.worker(m)
				shape(j.name, other, 1)
			} else {
				i.near(m)
				shape("", i.cable, 1)
			}
			shape(i.name, cable, 0)
			m.awaitWorkers(2)
			if p.loss > 0 {
				i.lossy(cable, p.loss)
			}
			start := time.Now()
			r := m.prepare("-maps", "6", "-each", p.each, "-size", "400", "-parts", "4", "-noise").start()
			if code := r.WaitFor(t, 3*time.Minute); code != 0 {
				t.Errorf("exit code %d", code)
			}
			t.Logf("took %v", time.Since(start).Round(time.Millisecond))
			r.succeeds()
			r.onceEach("map", "reduce")
			j := m.job()
			for _, s := range j.Stages {
				if s.FailedAttempts > 0 || s.Lost > 0 {
					t.Errorf("stage %s: %d attempts failed, %d outputs were lost", s.Stage, s.FailedAttempts, s.Lost)
				}
			}
			if m.coord.Count(`"worker lost"`) > 0 || first.Count("no session") > 0 {
				t.Error("a worker lost its lease")
			}
			if n := i.dropped(); p.loss > 0 && n < 3 {
				t.Errorf("%d packets were lost: the link is not lossy", n)
			}
			if p.rate != "" {
				if n := ends[0].sent() + ends[1].sent(); n < 500_000 {
					t.Errorf("%d bytes went over the slow link: too few to tell", n)
				} else {
					t.Logf("%d bytes went over the link", n)
				}
			}
		})
	}
}
