//go:build linux

// Package allocations runs the scripts of examples/allocations with a real Slurm and a real Spark on
// this machine. Workers start inside an allocation, a word count runs on them, and they drain.
package allocations

import (
	"crypto/rand"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/layshaft/layshaft/e2e/internal/proc"
	"github.com/layshaft/layshaft/e2e/internal/programs"
	"github.com/layshaft/layshaft/internal/outside"
	"github.com/layshaft/layshaft/internal/porttest"
)

const (
	patience = 40 * time.Second
	slow     = 6 * time.Minute // Slurm and Spark take their time on a busy machine
	folder   = "../../examples/allocations/"
)

var binDir string

func TestMain(m *testing.M) { programs.Main(m, &binDir, "cmd/layshaft", "examples/wordcount") }

// cluster is a coordinator without workers.
type cluster struct {
	*proc.Process
	address, gossip string
	input           string // a file for wordcount
}

func newCluster(t *testing.T) *cluster {
	t.Helper()
	p := proc.Start(t, slow, "coordinator", exec.Command(filepath.Join(binDir, "layshaft"), "coordinator", "-data", t.TempDir(),
		"-listen", "127.0.0.1:0", "-http", "none", "-gossip", "127.0.0.1:0", "-reserve", "1MiB"))
	line, _ := p.Await(t, 0, "msg=serving")
	find := func(key string) string {
		m := regexp.MustCompile(`\b` + key + `=(\S+)`).FindStringSubmatch(line)
		if m == nil {
			t.Fatalf("no %s in %s", key, line)
		}
		return m[1]
	}
	c := &cluster{Process: p, address: find("address"), gossip: find("gossip"), input: filepath.Join(t.TempDir(), "words.txt")}
	if err := os.WriteFile(c.input, []byte("one two two three three three\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	return c
}

// counted matches the result of wordcount over the input.
var counted = regexp.MustCompile(`(?m)^three\s+3\s*$`)

// drained waits until n workers have left with nothing lost.
func (c *cluster) drained(t *testing.T, n int) {
	t.Helper()
	at := 0
	for range n {
		_, at = c.Await(t, at, "worker", "drained")
	}
	out, err := exec.Command(filepath.Join(binDir, "layshaft"), "worker", "list", "-cluster", c.address, "-o", "json").Output()
	if err != nil || strings.Contains(string(out), `"state"`) {
		t.Errorf("workers after the drain: %s, %v", out, err)
	}
}

// slurm is a Slurm of one machine.
type slurm struct{ env []string }

// startSlurm starts munge, the controller and one node in a directory.
func startSlurm(t *testing.T) *slurm {
	t.Helper()
	outside.Need(t, outside.Munge, outside.Slurm, outside.Slurmd)
	if os.Getuid() != 0 {
		t.Skip("slurmd starts jobs as other users; run as root")
	}
	host, err := os.Hostname()
	if err != nil {
		t.Fatal(err)
	}
	host, _, _ = strings.Cut(host, ".")
	if _, err := net.LookupHost(host); err != nil {
		t.Skipf("Slurm needs the address of its host: %v", err)
	}
	dir, err := os.MkdirTemp("", "slurm") // short, for the socket, and open to the jobs
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	key, conf := make([]byte, 1024), filepath.Join(dir, "slurm.conf")
	_, _ = rand.Read(key)
	text := fmt.Sprintf(`ClusterName=test
SlurmctldHost=%[1]s(127.0.0.1)
AuthType=auth/munge
AuthInfo=socket=%[2]s/munge.sock
CryptoType=crypto/munge
SlurmUser=root
SlurmdUser=root
SlurmctldPort=%[3]s
SlurmdPort=%[4]s
StateSaveLocation=%[2]s/state
SlurmdSpoolDir=%[2]s/spool
SlurmctldPidFile=%[2]s/ctld.pid
SlurmdPidFile=%[2]s/slurmd.pid
ProctrackType=proctrack/pgid
TaskPlugin=task/none
MpiDefault=none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
ReturnToService=2
NodeName=n1 NodeHostname=%[1]s NodeAddr=127.0.0.1 CPUs=2 State=UNKNOWN
PartitionName=all Nodes=ALL Default=YES MaxTime=INFINITE State=UP
`, host, dir, port(t), port(t))
	if err := errors.Join(os.Chmod(dir, 0o755), os.Mkdir(filepath.Join(dir, "state"), 0o755), os.Mkdir(filepath.Join(dir, "spool"), 0o755),
		os.WriteFile(filepath.Join(dir, "munge.key"), key, 0o600), os.WriteFile(conf, []byte(text), 0o644)); err != nil {
		t.Fatal(err)
	}
	in := func(name string) string { return filepath.Join(dir, name) }
	proc.Start(t, patience, "munged", exec.Command("munged", "--force", "--foreground", "--key-file="+in("munge.key"), "--socket="+in("munge.sock"),
		"--pid-file="+in("munge.pid"), "--log-file="+in("munge.log"), "--seed-file="+in("seed")))
	s := &slurm{env: append(os.Environ(), "SLURM_CONF="+conf)}
	s.until(t, func() bool { return exec.Command("munge", "--no-input", "--socket="+in("munge.sock")).Run() == nil }, "munge answers")
	proc.Start(t, patience, "slurmctld", exec.Command("slurmctld", "-D", "-f", conf))
	proc.Start(t, patience, "slurmd", exec.Command("slurmd", "-D", "-f", conf, "-N", "n1"))
	s.until(t, func() bool { out, _ := s.run("sinfo", "-h", "-o", "%T"); return strings.TrimSpace(out) == "idle" }, "the node is idle")
	return s
}

func port(t *testing.T) string {
	t.Helper()
	_, p, err := net.SplitHostPort(porttest.Free(t))
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func (s *slurm) run(name string, args ...string) (string, error) {
	cmd := exec.Command(name, args...)
	cmd.Env = s.env
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// until asks again and again; each question takes a process, so there is no pause between them.
func (s *slurm) until(t *testing.T, ok func() bool, what string) {
	t.Helper()
	for late := time.Now().Add(slow); !ok(); {
		if time.Now().After(late) {
			t.Fatalf("not within %v: %s", slow, what)
		}
	}
}

// submit starts the script, and returns the job's number and the file with its output.
func (s *slurm) submit(t *testing.T, c *cluster, args ...string) (id, output string) {
	t.Helper()
	output = filepath.Join(t.TempDir(), "job.out")
	cmd := exec.Command("sbatch", append([]string{"--parsable", "--ntasks=2", "--cpus-per-task=1", "--output=" + output, folder + "slurm.sh"}, args...)...)
	cmd.Env = append(s.env, "LAYSHAFT_JOIN="+c.gossip, "LAYSHAFT_CLUSTER="+c.address, "LAYSHAFT="+filepath.Join(binDir, "layshaft"),
		"LAYSHAFT_LISTEN=127.0.0.1:0", "LAYSHAFT_GOSSIP=127.0.0.1:0", "LAYSHAFT_HTTP=none", "LAYSHAFT_ALLOW_SHIPPED_CODE=true",
		"LAYSHAFT_MEMORY=64MiB", "LAYSHAFT_RESERVE=1MiB", "LAYSHAFT_SCRATCH="+t.TempDir())
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("sbatch: %v\n%s", err, out)
	}
	id = strings.TrimSpace(string(out))
	t.Cleanup(func() {
		_, _ = s.run("scancel", id)
		if text, err := os.ReadFile(output); t.Failed() && err == nil {
			t.Logf("output of job %s:\n%s", id, text)
		}
	})
	return id, output
}

// ended waits for the end of a job, which must have succeeded.
func (s *slurm) ended(t *testing.T, id string) {
	t.Helper()
	state := ""
	s.until(t, func() bool {
		out, _ := s.run("scontrol", "show", "job", id)
		if m := regexp.MustCompile(`JobState=(\S+)`).FindStringSubmatch(out); m != nil {
			state = m[1]
		}
		return state != "RUNNING" && state != "COMPLETING" && state != "PENDING"
	}, "the end of the job")
	if state != "COMPLETED" {
		t.Errorf("job %s ended as %s", id, state)
	}
}

// TestSlurm runs workers until Slurm warns them, and then a command with workers of its own.
func TestSlurm(t *testing.T) {
	if os.Getenv(programs.HeavyEnv) == "" {
		t.Skipf("Slurm takes minutes on a busy machine, and a program waits 20 s for workers; %s=1 runs it", programs.HeavyEnv)
	}
	c, s := newCluster(t), startSlurm(t)
	id, output := s.submit(t, c)
	s.until(t, func() bool {
		_, _ = s.run("squeue")
		text, _ := os.ReadFile(output)
		return strings.Count(string(text), "msg=joined") == 2
	}, "both workers have joined")
	out, err := exec.Command(filepath.Join(binDir, "wordcount"), "-cluster", c.address, c.input).CombinedOutput()
	if err != nil || !counted.Match(out) {
		t.Errorf("wordcount: %v\n%s", err, out)
	}
	if out, err := s.run("scancel", "--batch", "--signal=USR1", id); err != nil { // as Slurm does before the end
		t.Fatalf("%v: %s", err, out)
	}
	c.drained(t, 2)
	s.ended(t, id)

	id, output = s.submit(t, c, filepath.Join(binDir, "wordcount"), c.input)
	s.ended(t, id)
	if text, err := os.ReadFile(output); err != nil || !counted.Match(text) {
		t.Errorf("output of the job: %v\n%s", err, text)
	}
	c.drained(t, 4)
}

// TestSpark runs a word count with workers inside the tasks of a job in barrier mode.
func TestSpark(t *testing.T) {
	python := os.Getenv("PYSPARK_PYTHON")
	if python == "" {
		python = "python3"
	}
	if out, err := exec.Command(python, "-c", "import pyspark").CombinedOutput(); err != nil {
		t.Skipf("%s has no pyspark; pip install pyspark, or set PYSPARK_PYTHON: %s", python, out[max(0, len(out)-80):])
	}
	if err := exec.Command("java", "-version").Run(); err != nil {
		t.Skipf("Spark needs Java: %v", err)
	}
	c := newCluster(t)
	cmd := exec.Command(python, folder+"spark.py", "--join", c.gossip, "--workers", "2", "--layshaft", filepath.Join(binDir, "layshaft"),
		"--worker-flag=-listen=127.0.0.1:0", "--worker-flag=-gossip=127.0.0.1:0", "--worker-flag=-http=none", "--worker-flag=-allow-shipped-code",
		"--worker-flag=-memory=64MiB", "--worker-flag=-reserve=1MiB", "--", filepath.Join(binDir, "wordcount"), "-cluster", c.address, c.input)
	cmd.Env = append(os.Environ(), "PYSPARK_PYTHON="+python, "PYSPARK_SUBMIT_ARGS=--master local[2] --conf spark.ui.enabled=false pyspark-shell")
	p := proc.Start(t, patience, "spark", cmd)
	if code := p.WaitFor(t, slow); code != 0 || !counted.MatchString(p.Out.String()) || !strings.Contains(p.Out.String(), "exit codes [0, 0]") {
		t.Errorf("exit code %d\n%s\n%s", code, p.Out.String(), p.Err.String())
	}
	c.drained(t, 2)
}
