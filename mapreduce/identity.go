package mapreduce

import (
	"crypto/sha256"
	"encoding/hex"
	"flag"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/layshaft/layshaft/internal/jobdir"
)

// A job is known by its ID. Two runs with one ID are one job: the second continues the first, or
// takes its result. So the ID depends on everything that can change the result:
//
//   - the program's file, the plan, and the parameters;
//   - the input: paths, sizes, times of the last change, and what tells contents of equal size and
//     time apart: the change of the inode, the digest of copies on several workers, or the ETag;
// - the arguments of the program, which functions may read: with Flags, all flags but its own, and
//     the remaining arguments; else os.Args;
//   - the environment variables that the plan names with Env;
//   - in a process that ran the job to its end already, the number of this run.

// Env names environment variables that functions of the plan read. Their values become part of the
// job's identity, so that a run with other values does not continue the job or take its result.
func Env(names ...string) PlanOption {
	return planSetting{func(o *options) { o.env = append(o.env, names...) }}
}

// arguments returns the arguments of this program that can change a result. own are the names of
// flags in fs that cannot. Without flags, all arguments count.
func arguments(fs *flag.FlagSet, own []string) []string {
	if fs == nil || !fs.Parsed() {
		return os.Args[1:]
	}
	var args []string
	fs.VisitAll(func(f *flag.Flag) {
		if !slices.Contains(own, f.Name) {
			args = append(args, "-"+f.Name+"="+f.Value.String())
		}
	})
	return append(args, fs.Args()...)
}

// identityOf returns the parts of the identity of a job. input is a hash of the input.
func (c *compiled) identityOf(t *settings, params []byte, input string) jobdir.Identity {
	hash := func(parts ...string) string {
		h := sha256.New()
		for _, p := range parts {
			fmt.Fprintf(h, "%d %s\n", len(p), p)
		}
		return hex.EncodeToString(h.Sum(nil)[:16])
	}
	var env []string
	for _, name := range slices.Sorted(slices.Values(c.plan.opts.env)) {
		value, set := os.LookupEnv(name)
		env = append(env, name, value, fmt.Sprint(set))
	}
	// Nothing continues a run inside this process without State, and without a sink nothing keeps
	// its ID. To read the program then would be a quarter of the time of a small report.
	program := ""
	if t.State != "" || t.cluster != nil || slices.ContainsFunc(c.stages, (*stage).hasSink) {
		program = executable()
	}
	id := jobdir.Identity{
		"plan": c.fingerprint(), "program": program, "parameters": hash(string(params)), "input": input,
		"arguments": hash(t.args...), "environment": hash(env...), "number of the run": "1",
	}
	if t.requeue != nil {
		id["records"] = hash(string(t.requeue.encode()))
	}
	return id
}

// hashIdentity returns the hash of an identity, in hex.
func hashIdentity(id jobdir.Identity) string {
	h := sha256.New()
	for _, k := range slices.Sorted(maps.Keys(id)) {
		fmt.Fprintln(h, k, id[k])
	}
	return hex.EncodeToString(h.Sum(nil))
}

// finishedRuns counts the runs with State that this process has finished, by directory and
// identity. A loop may run one plan several times, and functions may use what the loop changes.
var finishedRuns struct {
	// mu guards the field below.
	mu sync.Mutex
	n  map[string]int
}

// runKey is the key of an identity in finishedRuns.
func runKey(state string, id jobdir.Identity) string {
	id = maps.Clone(id)
	delete(id, "number of the run")
	delete(id, "kept")
	return absolute(state) + " " + hashIdentity(id)
}

// numberRun adds the number of this run to an identity.
func numberRun(state string, id jobdir.Identity) {
	finishedRuns.mu.Lock()
	defer finishedRuns.mu.Unlock()
	id["number of the run"] = fmt.Sprint(finishedRuns.n[runKey(state, id)] + 1)
}

// countRun counts a finished run.
func countRun(state string, id jobdir.Identity) {
	finishedRuns.mu.Lock()
	defer finishedRuns.mu.Unlock()
	if finishedRuns.n == nil {
		finishedRuns.n = map[string]int{}
	}
	finishedRuns.n[runKey(state, id)]++
}

// isLater reports whether an unfinished job, which differs in these parts, may be a later job of
// this command: a loop of runs with other parameters continues it when it comes there.
func isLater(parts []string) bool {
	return slices.Contains(parts, "parameters") && !slices.Contains(parts, "arguments") && !slices.Contains(parts, "program")
}

// openState opens the directory of the job in the State directory, and removes jobs that are too
// old or too many. It prints which unfinished jobs of the same plan this run does not continue.
func openState(t *settings, name, id string, identity jobdir.Identity) (*jobdir.Dir, error) {
	fail := func(err error) (*jobdir.Dir, error) { return nil, fmt.Errorf("state %s: %w", t.State, err) }
	d, err := jobdir.Open(t.State, jobdir.Info{ID: id, Name: name, Command: os.Args, Started: time.Now(), Identity: identity})
	if err != nil {
		return fail(err)
	}
	dropped, err := jobdir.Retain(t.State, id, t.StateAge, t.StateSize)
	if err == nil {
		var all []jobdir.Entry
		all, err = jobdir.List(t.State)
		for i := range all {
			if e := &all[i]; e.Name == name && e.ID != id && e.Outcome == jobdir.Unfinished && !e.InUse && !isLater(identity.Differ(e.Identity)) {
				t.note("state %s: this run does not continue the unfinished job %s, because of other %s; layshaft state drop %s %s removes that job",
					t.State, e.ID, strings.Join(identity.Differ(e.Identity), ", "), t.State, e.ID)
			}
		}
	}
	if err != nil {
		_ = d.Close(jobdir.Unfinished)
		return fail(err)
	}
	for i := range dropped {
		t.note("state %s: the %s job %s was removed, by -state-age or -state-size", t.State, dropped[i].Outcome, dropped[i].ID)
	}
	return d, nil
}
