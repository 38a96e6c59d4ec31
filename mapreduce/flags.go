package mapreduce

import (
	"errors"
	"flag"
	"fmt"
	"maps"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/layshaft/layshaft/internal/bytesize"
)

// TargetFlags is a Target described by command-line flags: a Cluster if -cluster is given, else a
// Local. Use it after parsing the flags.
type TargetFlags struct {
	// Reporting holds the values of its flags. A program may change them after parsing.
	Reporting

	hidden  bool
	local   Local
	cluster Cluster
	flags   *flag.FlagSet
	environ map[string]error // errors of environment variables, by flag; nil for a valid variable
}

// Names of the flags for runs inside this process, for runs on a cluster, and for both.
var (
	localFlags     = []string{"state", "state-age", "state-size", "workers", "slots", "memory", "budget", "verify", "web"}
	clusterFlags   = []string{"detach", "priority", "interactive", "tags", "tls-ca", "tls-cert", "tls-key"}
	reportingFlags = []string{"cluster", "progress", "explain", "explain-items", "explain-item-time", "counters", "report", "trace", "quarantine", "requeue", "hidden"}
)

// Flags registers the flags of a target with fs, and returns the target. Use it after fs is parsed.
//
// The default of each flag is the environment variable LAYSHAFT_NAME, if it is set. Variables of
// flags that have no meaning in a run are ignored, such as LAYSHAFT_WORKERS with -cluster. The same
// flags on the command line are an error.
//
// If fs ends the process after an error, as flag.CommandLine does, the error is printed in a few
// lines: a flag set prints all its flags only for -h.
func Flags(fs *flag.FlagSet) *TargetFlags {
	t := &TargetFlags{Reporting: Reporting{Progress: "auto"}, flags: fs, environ: map[string]error{}}
	l, c, r := &t.local, &t.cluster, &t.Reporting
	if fs.ErrorHandling() == flag.ExitOnError {
		fs.SetOutput(&shortErrors{fs: fs, to: fs.Output()})
	}
	fs.StringVar(&l.State, "state", "", "keep journal and intermediate data in `DIR`; a killed run then continues when started again (LAYSHAFT_STATE; default a temporary directory)")
	fs.DurationVar(&l.StateAge, "state-age", 0, "how `LONG` -state keeps a job after its end (LAYSHAFT_STATE_AGE; default 168h, negative no limit)")
	fs.Var((*bytesize.Size)(&l.StateSize), "state-size", "`BYTES` that the jobs in -state may take; the oldest are removed (LAYSHAFT_STATE_SIZE; default 20GiB)")
	fs.IntVar(&l.Workers, "workers", 0, "`NUMBER` of workers (LAYSHAFT_WORKERS; default 1)")
	fs.IntVar(&l.Slots, "slots", 0, "`NUMBER` of attempts at the same time (LAYSHAFT_SLOTS; default the number of processors)")
	fs.Var((*bytesize.Size)(&l.Memory), "memory", "`BYTES` that attempts may hold before they spill, such as 256M, 256MiB or 2GB (LAYSHAFT_MEMORY; default 60 % of the machine)")
	fs.Var(budgetFlag{&l.Budgets}, "budget", "`NAME=N`: attempts that need the budget NAME share N of it (LAYSHAFT_BUDGET; default no limit); may be repeated or separated by commas")
	fs.BoolVar(&l.Verify, "verify", false, "run every task twice and compare the outputs (LAYSHAFT_VERIFY)")
	fs.StringVar(&l.Profile, "profile", "", "write CPU profiles of each stage, a heap profile and flame graphs to `DIR` (LAYSHAFT_PROFILE)")
	fs.StringVar(&l.Web, "web", "", "serve the page of the job at `HOST:PORT` while it runs; port 0 takes a free one (LAYSHAFT_WEB)")
	fs.StringVar(&c.Address, "cluster", "", "run on the workers of the coordinator at `HOST:PORT`, or at one of several addresses separated by commas (LAYSHAFT_CLUSTER; default inside this process)")
	fs.BoolVar(&c.Detach, "detach", false, "with -cluster: submit the job and do not wait for it (LAYSHAFT_DETACH)")
	fs.IntVar(&c.Priority, "priority", 0, "with -cluster: a larger `NUMBER` goes first (LAYSHAFT_PRIORITY; default 0)")
	fs.BoolVar(&c.Interactive, "interactive", false, "with -cluster: somebody waits for the job, so it goes before others of its priority (LAYSHAFT_INTERACTIVE)")
	fs.Var(tagsFlag{&c.Tags}, "tags", "with -cluster: comma-separated `TAGS` that a worker must have (LAYSHAFT_TAGS)")
	fs.StringVar(&c.TLS.CA, "tls-ca", "", "with -cluster: PEM `FILE` with the certificate of its CA (LAYSHAFT_TLS_CA)")
	fs.StringVar(&c.TLS.Cert, "tls-cert", "", "with -cluster: PEM `FILE` with the certificate of this client (LAYSHAFT_TLS_CERT)")
	fs.StringVar(&c.TLS.Key, "tls-key", "", "with -cluster: PEM `FILE` with the private key of this client (LAYSHAFT_TLS_KEY)")
	fs.StringVar(&r.Progress, "progress", r.Progress, "`HOW` to show progress: auto (bars on a terminal), brief (one line, erased at the end), plain and lines (a line every few seconds, by stage or in one), none; bad records and other notices are printed anyway (LAYSHAFT_PROGRESS)")
	fs.BoolVar(&t.hidden, "hidden", false, "read files below names that start with . or _, too (LAYSHAFT_HIDDEN)")
	fs.BoolVar(&r.Explain, "explain", false, "print stages, splits and partitions, and run nothing (LAYSHAFT_EXPLAIN)")
	fs.Int64Var(&r.Items, "explain-items", 0, "with -explain: estimate the time for `NUMBER` records of -explain-item-time each (LAYSHAFT_EXPLAIN_ITEMS)")
	fs.DurationVar(&r.ItemTime, "explain-item-time", 0, "with -explain: processor `TIME` that one record costs, such as 13.4us (LAYSHAFT_EXPLAIN_ITEM_TIME)")
	fs.BoolVar(&r.Counters, "counters", false, "print counters at the end (LAYSHAFT_COUNTERS)")
	fs.StringVar(&r.Report, "report", "", "write the page of the job to `FILE` at its end: stages, attempts, spread, failures, as one HTML file (LAYSHAFT_REPORT)")
	fs.StringVar(&r.Trace, "trace", "", "write the attempts to `FILE` as a trace for ui.perfetto.dev (LAYSHAFT_TRACE)")
	fs.StringVar(&r.Quarantine, "quarantine", "", "`FILE` for bad records (LAYSHAFT_QUARANTINE; default beside the output, else in the state directory or the user's cache directory)")
	fs.StringVar(&r.Requeue, "requeue", "", "run only the records in the quarantine `FILE` of an earlier run, and add what they give to its output (LAYSHAFT_REQUEUE)")
	for _, name := range slices.Concat(localFlags, clusterFlags, reportingFlags) {
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

func (t *TargetFlags) settings(plan string) (settings, error) {
	if t == nil {
		return settings{}, errors.New("the *TargetFlags is nil; take it from mapreduce.Flags")
	}
	idle, why := clusterFlags, "detach, priority, interactive, tags and TLS are for a cluster: name its coordinator with -cluster HOST:PORT"
	if t.cluster.Address != "" {
		idle, why = localFlags, "state, workers, slots, memory, budget, verify and web are for runs inside this process: a cluster has its own; leave them out, or leave out -cluster"
	}
	var wrong error
	relevant := maps.Clone(t.environ)
	for _, name := range idle {
		delete(relevant, name)
	}
	t.flags.Visit(func(f *flag.Flag) {
		delete(relevant, f.Name) // the command line overrides the environment
		zero := slices.Contains([]string{"", "0", "0B", "0s", "false"}, f.Value.String())
		if slices.Contains(idle, f.Name) && !zero {
			wrong = errors.New(why)
		}
	})
	var errs []error
	for _, name := range slices.Sorted(maps.Keys(relevant)) {
		errs = append(errs, relevant[name])
	}
	if err := errors.Join(append(errs, wrong)...); err != nil {
		return settings{}, err
	}
	if t.cluster.Address != "" {
		c := t.cluster
		c.Reporting, c.Hidden, c.Profile = t.Reporting, t.hidden, t.local.Profile
		return t.withArguments(c.settings(plan))
	}
	l := t.local
	l.Reporting, l.Hidden = t.Reporting, t.hidden
	return t.withArguments(l.settings(plan))
}

// withArguments sets the arguments that belong to the job's identity.
func (t *TargetFlags) withArguments(s settings, err error) (settings, error) {
	s.args = arguments(t.flags, slices.Concat(localFlags, clusterFlags, reportingFlags))
	return s, err
}

// tagsFlag fills a list of tags.
type tagsFlag struct{ tags *[]string }

func (t tagsFlag) String() string {
	if t.tags == nil {
		return ""
	}
	return strings.Join(*t.tags, ",")
}

func (t tagsFlag) Set(s string) error {
	*t.tags = nil
	for tag := range strings.SplitSeq(s, ",") {
		if tag = strings.TrimSpace(tag); tag != "" {
			*t.tags = append(*t.tags, tag)
		}
	}
	return nil
}

// budgetFlag fills a map of budgets. The last value given for a name counts.
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
