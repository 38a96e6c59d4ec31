//go:build unix

package cluster

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// members are the processes of one cluster.
type members struct {
	t       testing.TB
	dir     string
	config  config
	coord   *process
	workers []*process

	grpc, http, gossip string // where the coordinator serves, from its first start on
	group              *group // nil with a single coordinator
}

// config is the difference to the usual cluster.
type config struct {
	dir       string   // of all data; empty means a temporary one
	workers   int      // at the start
	several   bool     // three coordinators
	slots     int      // of each worker; zero means 1
	lease     string   // empty means 2s, so that silence does not hold tests up
	all       []string // flags of all members
	coord     []string // flags of the coordinator
	worker    []string // flags of every worker
	own       func(i int) []string
	cli       []string // flags of commands and clients
	speculate bool     // attempts that are much slower than others are raced
	given     bool     // workers were given the programs, and do not take any from clients
}

// startMembers starts a cluster and waits until all workers have joined.
func startMembers(t testing.TB, c config) *members {
	t.Helper()
	if c.slots == 0 {
		c.slots = 1
	}
	if c.lease == "" {
		c.lease = "2s"
	}
	if c.dir == "" {
		c.dir = t.TempDir()
	}
	if roles := certificates(); roles != nil {
		c.coord, c.worker = slices.Concat(roles["coordinator"], c.coord), slices.Concat(roles["worker"], c.worker)
	}
	m := &members{t: t, dir: c.dir, config: c, grpc: "127.0.0.1:0", http: "127.0.0.1:0", gossip: "127.0.0.1:0"}
	if c.several {
		m.startGroup()
	} else {
		m.startCoordinator()
	}
	for range c.workers {
		m.startWorker()
	}
	m.awaitWorkers(c.workers)
	return m
}

func (m *members) flags() []string {
	return append([]string{"-log-level", "debug", "-log-format", "json", "-reserve", "1MiB"}, m.config.all...)
}

// startCoordinator starts the coordinator, again with the same data and addresses when it ran
// before.
func (m *members) startCoordinator() {
	m.t.Helper()
	m.coord = launch(m.t, "coordinator", "layshaft", append(m.coordinatorFlags("coordinator"), "-listen", m.grpc, "-http", m.http, "-gossip", m.gossip)...)
	at := served(m.t, m.coord)
	m.grpc, m.http, m.gossip = at[0], at[1], at[2]
}

// coordinatorFlags are the flags of a coordinator but its addresses.
func (m *members) coordinatorFlags(dir string) []string {
	args := append([]string{"coordinator", "-data", filepath.Join(m.dir, dir), "-lease", m.config.lease}, m.flags()...)
	if !m.config.speculate {
		args = append(args, "-straggler-ratio", "0") // what a test holds up is no straggler
	}
	return append(args, m.config.coord...)
}

// startWorker starts one more worker.
func (m *members) startWorker() *process {
	m.t.Helper()
	m.workers = append(m.workers, nil)
	return m.restartWorker(len(m.workers) - 1)
}

// restartWorker starts worker i with the data that it left.
func (m *members) restartWorker(i int) *process {
	m.t.Helper()
	c := &m.config
	args := append([]string{"worker", "-data", m.workerDir(i), "-join", m.gossip, "-http", "127.0.0.1:0", "-slots", strconv.Itoa(c.slots), "-memory", "64MiB"}, m.flags()...)
	args = append(append(args, m.code()...), c.worker...)
	if c.own != nil {
		args = append(args, c.own(i)...)
	}
	m.workers[i] = launch(m.t, fmt.Sprint("worker ", i), "layshaft", args...)
	return m.workers[i]
}

// code are a worker's flags that say which programs it runs.
func (m *members) code() []string {
	if m.config.given {
		return []string{"-code", filepath.Join(binDir, "probe")}
	}
	return []string{"-allow-shipped-code"}
}

func (m *members) workerDir(i int) string { return filepath.Join(m.dir, fmt.Sprint("worker-", i)) }

// workerOf returns the number of the worker with a process ID.
func (m *members) workerOf(pid int) int {
	m.t.Helper()
	i := slices.IndexFunc(m.workers, func(p *process) bool { return p.Cmd.Process.Pid == pid })
	if i < 0 {
		m.t.Fatalf("no worker has process ID %d", pid)
	}
	return i
}

// awaitWorkers waits until exactly n workers have a lease.
func (m *members) awaitWorkers(n int) {
	m.t.Helper()
	until(m.t, fmt.Sprint(n, " workers have joined"), func() bool { return len(m.look().Workers) == n })
}

// overview is what the coordinator shows over HTTP. It costs less to wait for than commands do.
type overview struct {
	Workers []heard
	Jobs    []struct {
		Job, Outcome string
		Done         int
	}
}

// heard is a worker, and how long the coordinator has not heard of it.
type heard struct {
	Worker string
	Silent float64 `json:"silent_seconds"`
}

func (m *members) look() (o overview) {
	m.t.Helper()
	if len(m.config.cli) > 0 { // it needs a certificate
		for _, w := range m.workerList() {
			o.Workers = append(o.Workers, heard{Worker: w.Worker})
		}
		return o
	}
	// While coordinators change the leader, one of them may cut an answer of the former.
	until(m.t, "the coordinator shows its overview", func() bool {
		resp, err := http.Get(at(m.http) + "/")
		if err != nil {
			return false
		}
		defer resp.Body.Close()
		o = overview{}
		return json.NewDecoder(resp.Body).Decode(&o) == nil
	})
	return o
}

type workerView struct {
	Worker, ID, State, Address string
	Slots, Running             int
}

type place struct {
	Attempts int
	Bytes    int64
}

type jobView struct {
	Job, Name, Outcome, Reason, Failure, Detail, Owner string
	Stages                                             []struct {
		Stage                                 string
		Tasks, Waiting, Running, Done, Failed int
		Cancelled, Attempts                   int
		FailedAttempts                        int `json:"failed_attempts"`
		Lost                                  int `json:"lost_outputs"`
		Local, Zone, Remote                   place
	}
}

// lost returns how many committed outputs were lost.
func (j *jobView) lost() (n int) {
	for _, s := range j.Stages {
		n += s.Lost
	}
	return n
}

// layshaft runs a command of the CLI and returns what it printed, and its exit code.
func (m *members) layshaft(args ...string) (stdout, stderr string, code int) {
	m.t.Helper()
	cmd := exec.CommandContext(m.t.Context(), filepath.Join(binDir, "layshaft"), append(append(args, "-cluster", m.grpc), m.config.cli...)...)
	var o, e strings.Builder
	cmd.Stdout, cmd.Stderr = &o, &e
	if err := cmd.Run(); err != nil && cmd.ProcessState == nil {
		m.t.Fatal(err)
	}
	return o.String(), e.String(), cmd.ProcessState.ExitCode()
}

// ask runs a command of the CLI that prints JSON.
func (m *members) ask(to any, args ...string) {
	m.t.Helper()
	out, stderr, code := m.layshaft(append(args, "-o", "json")...)
	if err := json.Unmarshal([]byte(out), to); err != nil {
		m.t.Fatalf("layshaft %q: exit code %d, %v\n%s%s", args, code, err, out, stderr)
	}
}

func (m *members) workerList() (ws []workerView) {
	m.t.Helper()
	m.ask(&ws, "worker", "list")
	return ws
}

func (m *members) jobs() (js []jobView) {
	m.t.Helper()
	m.ask(&js, "job", "list")
	return js
}

// job returns how the only job stands.
func (m *members) job() jobView {
	m.t.Helper()
	js := m.jobs()
	if len(js) != 1 {
		m.t.Fatalf("there are %d jobs, want 1: %+v", len(js), js)
	}
	return js[0]
}

// metric returns a number from the coordinator's metrics.
func (m *members) metric(name string) float64 {
	m.t.Helper()
	return metric(m.t, at(m.http), name)
}

func metric(t testing.TB, url, name string) float64 {
	t.Helper()
	resp, err := http.Get(url + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	var b strings.Builder
	if _, err := fmt.Fprint(&b, readAll(t, resp.Body)); err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(b.String()) {
		if value, ok := strings.CutPrefix(line, name+" "); ok {
			n, err := strconv.ParseFloat(strings.TrimSpace(value), 64)
			if err != nil {
				t.Fatal(err)
			}
			return n
		}
	}
	t.Fatalf("no metric %s at %s", name, url)
	return 0
}

// served returns the addresses at which a member serves.
func served(t testing.TB, p *process) []string {
	t.Helper()
	line, _ := p.Await(t, 0, `"msg":"serving"`)
	var at struct{ Address, HTTP, Gossip string }
	if err := json.Unmarshal([]byte(line), &at); err != nil {
		t.Fatal(err)
	}
	return []string{at.Address, at.HTTP, at.Gossip}
}

// size returns how many bytes of files lie below dir.
func size(t testing.TB, dir string) (n int64) {
	t.Helper()
	err := filepath.WalkDir(dir, func(_ string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return ignoreMissing(err)
		}
		fi, err := e.Info()
		if err == nil {
			n += fi.Size()
		}
		return ignoreMissing(err)
	})
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func ignoreMissing(err error) error {
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	return err
}
