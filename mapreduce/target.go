package mapreduce

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/layshaft/layshaft/internal/bytesize"
	"github.com/layshaft/layshaft/internal/inprocess"
	"github.com/layshaft/layshaft/internal/machine"
	"github.com/layshaft/layshaft/internal/security"
)

// Target says where and how a pipeline runs. The zero value runs it inside this process, in a temporary directory that is
// removed afterwards, on all processors.
type Target struct {
	// State is a directory for journal and intermediate data. A run that was killed, interrupted or failed goes on when it is started
	// again with the same State, and does not repeat what was done. Empty means a temporary directory, removed at the end.
	State string
	// Cluster is the address of a coordinator, HOST:PORT: the job runs on its workers. Empty means inside this process. With it State, Workers, Slots,
	// Memory, Budgets and Verify have no meaning and must be zero.
	Cluster string
	// TLS names certificates for Cluster. The zero value means an open connection.
	TLS TLSFiles
	// Detach submits the job to Cluster and leaves it there; see ErrDetached.
	Detach bool
	// Priority is that of the job on Cluster: a larger number goes first, and jobs of equal priority share the slots evenly.
	Priority int
	// Interactive says that somebody waits for the job on Cluster: it goes before others of its priority, and may use reserved slots.
	Interactive bool
	// Tags are what a worker of Cluster must offer, all of them, to run the job.
	Tags []string
	// Workers is the number of workers, each with a block store of its own. Zero means 1.
	Workers int
	// Slots is the number of attempts that run at the same time, over all workers. Zero means one for each
	// processor that this process may use: GOMAXPROCS, or the CPU quota of its cgroups if that is less.
	Slots int
	// Memory is how many bytes all attempts together may hold before they spill. Zero means 60 % of the
	// memory that this process may use: the machine's, or the limit of its cgroups if that is less.
	Memory int64
	// Budgets is how much there is of what attempts need of the outside, by name; see Needs. Of others there is enough. A cluster has its own.
	Budgets map[string]int
	// Progress is auto (bars on a terminal, nothing elsewhere), plain (a line now and then) or none. Empty means none.
	Progress string
	// Explain prints stages, splits, partitions and estimated bytes instead of running.
	Explain bool
	// Verify runs every task a second time, in another order, and fails when the outputs differ.
	Verify bool
	// Counters prints the counters at the end.
	Counters bool
	// Quarantine is the file for bad records. Empty means quarantine.jsonl in State, or NAME-quarantine.jsonl in the working directory.
	Quarantine string
	// Out takes what Explain prints, Err progress and counters. Nil means standard output and standard error.
	Out, Err io.Writer
	// Log takes what the engine has to say. Nil means silence.
	Log *slog.Logger

	flags   *flag.FlagSet    // of Flags; nil without
	environ map[string]error // flags that the environment has, and what is wrong with it
	anew    bool             // a job that is done runs again: its result is lost
	zones   int              // of Cluster, by which aggregates are merged once more; zero when that would gain nothing
}

// TLSFiles name PEM files: the certificate of the cluster's CA, and this client's certificate and private key.
type TLSFiles = security.Files

// Flags registers the flags of a Target, and returns the Target that they fill when fs is parsed. Each flag's default
// comes from the environment variable LAYSHAFT_NAME where that is set; variables for flags that have no meaning in a run, as -workers with -cluster, are ignored.
func Flags(fs *flag.FlagSet) *Target {
	t := &Target{Progress: "auto", flags: fs, environ: map[string]error{}}
	fs.StringVar(&t.State, "state", "", "keep journal and intermediate data in `DIR`, so that a killed run goes on (LAYSHAFT_STATE; default a temporary directory)")
	fs.IntVar(&t.Workers, "workers", 0, "`NUMBER` of workers (LAYSHAFT_WORKERS; default 1)")
	fs.IntVar(&t.Slots, "slots", 0, "`NUMBER` of attempts at the same time (LAYSHAFT_SLOTS; default the number of processors)")
	fs.Var((*bytesize.Size)(&t.Memory), "memory", "`BYTES` that attempts may hold before they spill, such as 256M, 256MiB or 2GB (LAYSHAFT_MEMORY; default 60 % of the machine)")
	fs.Var(budgetFlag{&t.Budgets}, "budget", "`NAME=N`: attempts that need the budget NAME share N of it (LAYSHAFT_BUDGET; default no limit); may be repeated, or have commas between")
	fs.StringVar(&t.Progress, "progress", t.Progress, "`HOW` to show progress: auto, plain or none (LAYSHAFT_PROGRESS)")
	fs.BoolVar(&t.Explain, "explain", false, "print stages, splits and partitions, and run nothing (LAYSHAFT_EXPLAIN)")
	fs.BoolVar(&t.Verify, "verify", false, "run every task twice and compare the outputs (LAYSHAFT_VERIFY)")
	fs.BoolVar(&t.Counters, "counters", false, "print counters at the end (LAYSHAFT_COUNTERS)")
	fs.StringVar(&t.Quarantine, "quarantine", "", "`FILE` for bad records (LAYSHAFT_QUARANTINE; default quarantine.jsonl in the state directory, else NAME-quarantine.jsonl here)")
	fs.StringVar(&t.Cluster, "cluster", "", "run on the workers of the coordinator at `HOST:PORT` (LAYSHAFT_CLUSTER; default inside this process)")
	fs.BoolVar(&t.Detach, "detach", false, "with -cluster: submit the job and leave it there (LAYSHAFT_DETACH)")
	fs.IntVar(&t.Priority, "priority", 0, "with -cluster: a larger `NUMBER` goes first (LAYSHAFT_PRIORITY; default 0)")
	fs.BoolVar(&t.Interactive, "interactive", false, "with -cluster: somebody waits for the job, so it goes before others of its priority (LAYSHAFT_INTERACTIVE)")
	fs.Func("tags", "with -cluster: comma-separated `TAGS` that a worker must have (LAYSHAFT_TAGS)", func(s string) error {
		t.Tags = nil
		for tag := range strings.SplitSeq(s, ",") {
			if tag = strings.TrimSpace(tag); tag != "" {
				t.Tags = append(t.Tags, tag)
			}
		}
		return nil
	})
	fs.StringVar(&t.TLS.CA, "tls-ca", "", "with -cluster: PEM `FILE` with the certificate of its CA (LAYSHAFT_TLS_CA)")
	fs.StringVar(&t.TLS.Cert, "tls-cert", "", "with -cluster: PEM `FILE` with the certificate of this client (LAYSHAFT_TLS_CERT)")
	fs.StringVar(&t.TLS.Key, "tls-key", "", "with -cluster: PEM `FILE` with its private key (LAYSHAFT_TLS_KEY)")
	for _, name := range []string{"cluster", "detach", "priority", "interactive", "tags", "tls-ca", "tls-cert", "tls-key", "state", "workers", "slots", "memory", "budget", "progress", "explain", "verify", "counters", "quarantine"} {
		env := "LAYSHAFT_" + strings.ReplaceAll(strings.ToUpper(name), "-", "_")
		v, set := os.LookupEnv(env)
		if !set || v == "" {
			continue
		}
		f := fs.Lookup(name)
		err := f.Value.Set(v)
		if err != nil {
			err = fmt.Errorf("environment variable %s=%q: %w; give it a value that -%s takes, or unset it", env, v, err, name)
		}
		t.environ[name] = err
		f.DefValue = f.Value.String()
	}
	return t
}

// budgetFlag fills a map of budgets. A name that is given again has the last value.
type budgetFlag struct{ m *map[string]int }

func (b budgetFlag) String() string {
	if b.m == nil {
		return ""
	}
	var all []string
	for _, name := range slices.Sorted(maps.Keys(*b.m)) {
		all = append(all, fmt.Sprintf("%s=%d", name, (*b.m)[name]))
	}
	return strings.Join(all, ",")
}

func (b budgetFlag) Set(s string) error {
	for one := range strings.SplitSeq(s, ",") {
		name, number, ok := strings.Cut(one, "=")
		n, err := strconv.Atoi(number)
		if !ok || name == "" || err != nil || n < 0 {
			return fmt.Errorf("%q is not NAME=N, such as pg=8", one)
		}
		if *b.m == nil {
			*b.m = map[string]int{}
		}
		(*b.m)[name] = n
	}
	return nil
}

// fromEnvironment forgets what the environment says of flags that have no meaning in this run, as other programs of a cluster have flags of the same names,
// and returns what is wrong with the rest. Flags of the command line count.
func (t *Target) fromEnvironment() error {
	if t.flags == nil {
		return nil
	}
	meant := maps.Clone(t.environ)
	t.flags.Visit(func(f *flag.Flag) { delete(meant, f.Name) })
	forget := func(name string, reset func()) {
		if _, ok := meant[name]; ok {
			reset()
			delete(meant, name)
		}
	}
	if t.Cluster != "" {
		forget("state", func() { t.State = "" })
		forget("workers", func() { t.Workers = 0 })
		forget("slots", func() { t.Slots = 0 })
		forget("memory", func() { t.Memory = 0 })
		forget("budget", func() { t.Budgets = nil })
		forget("verify", func() { t.Verify = false })
	} else {
		forget("detach", func() { t.Detach = false })
		forget("priority", func() { t.Priority = 0 })
		forget("interactive", func() { t.Interactive = false })
		forget("tags", func() { t.Tags = nil })
		forget("tls-ca", func() { t.TLS.CA = "" })
		forget("tls-cert", func() { t.TLS.Cert = "" })
		forget("tls-key", func() { t.TLS.Key = "" })
	}
	var errs []error
	for _, name := range slices.Sorted(maps.Keys(meant)) {
		errs = append(errs, meant[name])
	}
	return errors.Join(errs...)
}

// minMemory is the least memory that a slot can work with: a run each for a few inputs and outputs.
const minMemory = 8 << 20

// withDefaults returns a checked copy with every default filled in.
func (t Target) withDefaults(plan string) (Target, error) {
	if err := t.fromEnvironment(); err != nil {
		return t, err
	}
	switch {
	case t.Cluster == "" && (t.Detach || t.Priority != 0 || t.Interactive || len(t.Tags) > 0 || t.TLS != TLSFiles{}):
		return t, errors.New("detach, priority, interactive, tags and TLS are for a cluster: name its coordinator with -cluster HOST:PORT")
	case t.Cluster != "" && inprocess.Find(t.Cluster) == nil && !isAddress(t.Cluster):
		return t, fmt.Errorf("cluster %q is not HOST:PORT, such as 127.0.0.1:7070: name the address of its coordinator", t.Cluster)
	case t.Cluster != "" && (t.State != "" || t.Workers != 0 || t.Slots != 0 || t.Memory != 0 || t.Verify || t.Budgets != nil):
		return t, errors.New("state, workers, slots, memory, budget and verify are for runs inside this process: a cluster has its own; leave them out, or leave out -cluster")
	}
	if t.Workers == 0 {
		t.Workers = 1
	}
	if t.Slots == 0 {
		t.Slots = max(machine.Processors(), t.Workers)
	}
	if t.Memory == 0 {
		t.Memory = machine.Memory() / 10 * 6
	}
	if t.Out == nil {
		t.Out = os.Stdout
	}
	if t.Err == nil {
		t.Err = os.Stderr
	}
	if t.Progress == "" {
		t.Progress = "none"
	}
	switch {
	case t.Workers < 0 || t.Workers > 1024:
		return t, fmt.Errorf("workers %d: use 1 to 1024", t.Workers)
	case slices.ContainsFunc(slices.Collect(maps.Values(t.Budgets)), func(n int) bool { return n < 0 }):
		return t, fmt.Errorf("budgets %v: none may be negative", t.Budgets)
	case t.Slots < t.Workers || t.Slots > 4096:
		return t, fmt.Errorf("slots %d: use at least one for each of the %d workers, and at most 4096", t.Slots, t.Workers)
	case t.Memory < int64(t.Slots)*minMemory:
		return t, fmt.Errorf("memory %s: %d slots need at least %s, %s each; give more memory or fewer slots", bytesize.Format(t.Memory), t.Slots, bytesize.Format(int64(t.Slots)*minMemory), bytesize.Format(minMemory))
	}
	switch t.Progress {
	case "auto", "plain", "none":
	default:
		return t, fmt.Errorf("progress %q: use auto, plain or none", t.Progress)
	}
	if t.Quarantine == "" {
		t.Quarantine = plan + "-quarantine.jsonl"
		if t.State != "" {
			t.Quarantine = filepath.Join(t.State, "quarantine.jsonl")
		}
	}
	return t, nil
}

// isAddress reports whether text is HOST:PORT.
func isAddress(text string) bool {
	_, port, err := net.SplitHostPort(text)
	if err == nil {
		_, err = net.LookupPort("tcp", port)
	}
	return err == nil
}

// ErrExplained is returned by Start when Target.Explain is set: the plan was printed and nothing ran. Run, Collect and WriteTo
// return without rows and without error instead.
var ErrExplained = errors.New("explained, not run")
