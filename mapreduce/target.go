package mapreduce

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"os"
	"slices"
	"time"

	"github.com/layshaft/layshaft/internal/addresses"
	"github.com/layshaft/layshaft/internal/bytesize"
	"github.com/layshaft/layshaft/internal/hold"

	"github.com/layshaft/layshaft/internal/machine"
	"github.com/layshaft/layshaft/internal/plain"
	"github.com/layshaft/layshaft/internal/report"
	"github.com/layshaft/layshaft/internal/spans"
)

// Target is where and how a pipeline runs: a [Local], a [Cluster], or the result of [Flags], which
// picks one of the two when it is used. Nil means Local{}.
type Target interface {
	// settings checks the target and fills in its defaults. plan is the name of the plan that will
	// run.
	settings(plan string) (settings, error)
}

// Local runs a pipeline inside this process. The zero value uses all processors, and a temporary
// directory that is removed at the end.
type Local struct {
	// State is a directory for the journals and intermediate data of jobs. A run that was killed,
	// interrupted or failed continues when it is started again with the same State, and does not
	// repeat finished tasks. The result of a finished job stands, also when a loop runs several
	// jobs. A run is the same job if program, plan, parameters, arguments, input and the
	// environment variables of Env are the same. Each run in one process is another job once the
	// one before is done. Empty means a temporary directory.
	State string
	// StateAge is how long State keeps a job after its end, or after its last start. Zero means 7
	// days, negative no limit.
	StateAge time.Duration
	// StateSize is the number of bytes that the jobs in State may take. When a run starts, the
	// oldest jobs beyond that are removed, finished ones first. Zero means 20 GiB, negative no
	// limit.
	StateSize int64
	// Workers is the number of workers, each with its own block store. Zero means 1.
	Workers int
	// Slots is the number of attempts that run at the same time, over all workers. Zero means one
	// for each processor that this process may use: GOMAXPROCS, or the CPU quota of its cgroups if
	// that is less.
	Slots int
	// Memory is the number of bytes that all attempts together may hold before they spill. Zero
	// means 60 % of the memory that this process may use: the machine's, or the limit of its
	// cgroups if that is less.
	Memory int64
	// Budgets limits how much of an outside resource all running attempts may use together, by
	// name; see Needs. A name that is missing is unlimited.
	Budgets map[string]int
	// Verify runs every task a second time, in another order, and fails when the outputs differ.
	Verify bool
	// Web is an address, HOST:PORT, at which the run serves the page of the job until it ends. Port
	// 0 takes a free one, which is printed to Err. Everybody who reaches the address may read the
	// page; without a host it is 127.0.0.1. Empty means none. It needs the import of
	// mapreduce/inspect.
	Web string
	// Profile is a directory for profiles of this process during the run: cpu.pprof and one
	// stage-N.pprof for each stage, with the labels job, stage, task and attempt; heap.pprof, taken
	// when the heap was largest; and flame.html, which draws them. A process has one profile at a
	// time. Further runs of this process get directories with numbers, such as DIR-2. Empty means
	// none. It needs the import of mapreduce/inspect.
	Profile string
	// Hidden makes sources read names that start with a dot or an underscore, too. Otherwise they
	// are left out unless a path spells them, and their number is printed.
	Hidden bool

	Reporting
}

// Cluster runs a pipeline on the workers of a coordinator. Only Address is required.
type Cluster struct {
	// Address is the coordinator's address, HOST:PORT. Separate several addresses by commas: the
	// client tries them in turn, stays with one that answers, and goes on to another when the
	// connection breaks.
	Address string
	// TLS names the certificates of this client. The zero value means an unencrypted connection.
	TLS TLSFiles
	// Detach submits the job and does not wait for it; see ErrDetached.
	Detach bool
	// Priority is the job's priority: a larger number goes first, and jobs of equal priority share
	// the slots evenly. Zero is the default.
	Priority int
	// Interactive marks a job that somebody waits for. It goes before other jobs of its priority,
	// and may use reserved slots.
	Interactive bool
	// Tags lists the required tags of a worker. Only workers with all of them run the job.
	Tags []string
	// Hidden makes sources read names that start with a dot or an underscore, too; see
	// Local.Hidden.
	Hidden bool
	// Profile is a directory of this machine for profiles of all attempts, over all workers, as in
	// Local.Profile. The end of each attempt takes some tenths of a second longer. Empty means
	// none. It needs the import of mapreduce/inspect.
	Profile string

	Reporting
}

// Reporting controls the output of a run. Local and Cluster share it.
type Reporting struct {
	// Progress is auto (a bar for each stage on a terminal, nothing elsewhere), plain (the same as
	// lines every few seconds) or none. brief and lines are the same for people who do not know
	// stages: one line about the input, which brief erases at the end. Empty means none.
	Progress string
	// Explain prints stages, splits, partitions and estimated bytes instead of running; see
	// ErrExplained.
	Explain bool
	// Items and ItemTime add an estimate to the output of Explain: how long the slots take for so
	// many records, if each costs so much processor time. Zero means no estimate.
	Items    int64
	ItemTime time.Duration
	// Counters prints the counters at the end.
	Counters bool
	// Report is a file for the page of the job: stages, attempts, spread and failures, as one HTML
	// file. Trace is a file for the attempts as a trace, for ui.perfetto.dev. Both are written at
	// the end of the job, also if it fails. A further run of this process with the same paths gets
	// numbers in the names, such as run-2.html; from the 100th run on, runs share the last number.
	// Empty means none. They need the import of mapreduce/inspect.
	Report, Trace string
	// Quarantine is the file for bad records. A run that fails writes it, too, with records of
	// failed attempts, up to 16 MiB from each worker. Empty means a file beside the output of the
	// first sink on this machine, OUTPUT-quarantine.jsonl. Without such a sink it is
	// NAME-quarantine.jsonl in Local.State, or a file below the user's cache directory,
	// layshaft/quarantine. A run that sets records aside prints its path. If another job of this
	// process has written a file that is named here, the name gets a number, such as bad-2.jsonl.
	Quarantine string
	// Requeue is the quarantine file of an earlier run. After a fix, a run with it reads only the
	// records in this file, through the same plan, and adds what they give to the finished output
	// of that run. Records that are bad again stay in the file. Without a shuffle, added rows come
	// after the others; rows and sinks that are no connector.RequeueSink are refused. In a plan
	// whose first shuffles are aggregates that merge in any order, the records are merged with the
	// partial results beside the output, and the new output replaces the old one. Other plans are
	// refused; the error lists the stages that must run whole. Empty means a whole run.
	Requeue string
	// Out receives the output of Explain; Err receives progress, counters and warnings. Nil means
	// standard output and standard error.
	Out, Err io.Writer
	// Log receives the engine's log. Nil discards it.
	Log *slog.Logger
}

// TLSFiles names PEM files for mutual TLS. Set all three fields, or none.
type TLSFiles struct {
	CA   string // certificate of the cluster's CA; several may be in one file
	Cert string // certificate of this client
	Key  string // private key of this client
}

// settings are the settings of one run: a target with its defaults filled in.
type settings struct {
	// Local also holds the Reporting of a cluster. Its Workers, Slots and Memory are then the
	// values of the cluster; see fit.
	Local
	cluster      *Cluster     // nil inside this process
	args         []string     // arguments of this program that belong to the job's identity
	stopCatching func()       // ends the handling of ^C
	held         *hold.Set    // what the run needs from outside until its end
	runAfresh    bool         // run a finished job again, because its result was lost
	written      string       // place of a sink of this process that is not part of the plan; may be empty
	tracer       spans.Tracer // nil makes no spans
	requeue      *requeue     // the records of Requeue; nil means all
	// defaultQuarantine means that the program did not name the quarantine file.
	defaultQuarantine bool
	zones             int // number of zones for another tier of merging; zero means no such tier
}

// settingsOf returns the settings of t for a run of a plan. Its errors name the plan.
func settingsOf(t Target, plan string) (settings, error) {
	if t == nil {
		t = Local{}
	}
	s, err := t.settings(plan)
	if err == nil {
		err = s.checkInspection()
	}
	if err != nil {
		return s, fmt.Errorf("plan %s: %w", plan, err)
	}
	return s, nil
}

// minMemory is the least memory of a slot, in bytes: room for one run of each of a few inputs and
// outputs.
const minMemory = 8 << 20

func (t Local) settings(plan string) (settings, error) {
	if t.Workers == 0 {
		t.Workers = 1
	}
	t.StateAge, t.StateSize = cmp.Or(t.StateAge, 7*24*time.Hour), cmp.Or(t.StateSize, 20<<30)
	if t.Slots == 0 {
		t.Slots = max(machine.Processors(), t.Workers)
	}
	if t.Memory == 0 {
		t.Memory = machine.Memory() / 10 * 6
	}
	switch {
	case t.Workers < 0 || t.Workers > 1024:
		return settings{}, fmt.Errorf("workers %d: use 1 to 1024", t.Workers)
	case slices.ContainsFunc(slices.Collect(maps.Values(t.Budgets)), func(n int) bool { return n < 0 }):
		return settings{}, fmt.Errorf("budgets %v: none may be negative", t.Budgets)
	case t.Slots < t.Workers || t.Slots > 4096:
		return settings{}, fmt.Errorf("slots %d: use at least one for each of %s, and at most 4096", t.Slots, report.Plural(t.Workers, "worker"))
	case t.Memory < int64(t.Slots)*minMemory:
		return settings{}, fmt.Errorf("memory %s: the minimum for %s is %s, %s each; give more memory or fewer slots",
			bytesize.Format(t.Memory), report.Plural(t.Slots, "slot"), bytesize.Format(int64(t.Slots)*minMemory), bytesize.Format(minMemory))
	}
	var err error
	t.Reporting, err = t.withDefaults()
	return settings{Local: t, args: arguments(nil, nil)}, err
}

func (t Cluster) settings(plan string) (settings, error) {
	if _, err := addresses.Parse(t.Address); err != nil {
		return settings{}, fmt.Errorf("cluster %w; name the address of its coordinator", err)
	}
	r, err := t.withDefaults()
	return settings{Local: Local{Hidden: t.Hidden, Profile: t.Profile, Reporting: r}, cluster: &t, args: arguments(nil, nil)}, err
}

// note writes a line to Err. Names and texts of others in it are escaped.
func (r *Reporting) note(format string, args ...any) {
	_, _ = io.WriteString(r.Err, "layshaft: "+plain.Lines(fmt.Sprintf(format, args...))+"\n")
}

// withDefaults returns a checked copy with the defaults filled in.
func (r Reporting) withDefaults() (Reporting, error) {
	if r.Out == nil {
		r.Out = os.Stdout
	}
	if r.Err == nil {
		r.Err = os.Stderr
	}
	switch r.Progress {
	case "":
		r.Progress = "none"
	case "auto", "brief", "plain", "lines", "none":
	default:
		return r, fmt.Errorf("progress %q: use auto, brief, plain, lines or none", r.Progress)
	}
	return r, nil
}

// Explains reports whether runs with a target are only explained; see Reporting.Explain.
func Explains(t Target) bool {
	s, err := settingsOf(t, "")
	return err == nil && s.Explain
}

// ErrExplained is returned by Start when Reporting.Explain is set: the plan was printed and nothing
// ran. Run, Collect and WriteTo return without rows and without error instead.
var ErrExplained = errors.New("explained, not run")
