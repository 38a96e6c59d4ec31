package mapreduce

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/layshaft/layshaft/internal/filesys"
	"github.com/layshaft/layshaft/internal/job"
	"github.com/layshaft/layshaft/internal/record"
	"github.com/layshaft/layshaft/internal/report"
	"github.com/layshaft/layshaft/internal/state"
	"github.com/layshaft/layshaft/worker"
)

// Job is one run of a pipeline.
type Job struct {
	name   string
	c      *compiled
	spec   *job.Spec
	target settings
	engine engine
	done   chan struct{}
	err    error
	// interrupted means that the run ended from outside, so that its job can continue.
	interrupted   bool
	hasQuarantine bool // the quarantine file is written
	counters      map[string]int64
	begun         time.Time // in this process
}

// ID returns the job ID. The same pipeline with the same parameters, input and program has the same
// ID.
func (j *Job) ID() string { return string(j.spec.ID) }

// Wait blocks until the job and its sinks have ended. It returns the reason if the job failed, else
// nil.
func (j *Job) Wait() error {
	<-j.done
	return j.err
}

// Counters returns the user's counters, summed over all committed attempts, after the job has
// ended; nil before.
func (j *Job) Counters() map[string]int64 {
	select {
	case <-j.done:
		user := map[string]int64{}
		for k, n := range j.counters {
			if k[0] != '.' {
				user[k] = n
			}
		}
		return user
	default:
		return nil
	}
}

// Totals are the engine's own counts of a job, over committed attempts.
type Totals struct {
	Read     int64 // records read from sources
	Bad      int64 // bad records; Reporting.Quarantine has them
	Shuffled int64 // bytes written for later stages and for rows
}

// Totals returns the engine's own counts after the job has ended; zeros before.
func (j *Job) Totals() Totals {
	select {
	case <-j.done:
		return Totals{Read: j.counters[readCounter], Bad: j.counters[badCounter], Shuffled: j.counters[shuffledCounter]}
	default:
		return Totals{}
	}
}

// Close ends the job if it still runs, and frees its resources; its rows can no longer be read. It
// blocks until all attempts have ended. A second Close does nothing.
func (j *Job) Close() error { return j.engine.stop() }

// Rows yields the records of the output with the given name, in partition order; "" names the
// plan's own rows. It may be called while the job runs, and blocks for missing rows. An error ends
// the sequence. If the job failed, the sequence ends early and Wait returns the reason.
func Rows[T any](j *Job, name string) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		codec, err := record.For[T]()
		if err == nil {
			err = j.eachRow(name, reflect.TypeFor[T](), func(value []byte) (more bool, err error) {
				var row T
				if _, err := codec.Decode(value, &row); err != nil {
					return false, err
				}
				return yield(row, nil), nil
			})
		}
		if err != nil {
			yield(*new(T), err)
		}
	}
}

// eachRow passes the encoded rows of an output to f until f returns false. If the job ends without
// that output, eachRow returns nil: Wait returns the reason.
func (j *Job) eachRow(name string, typ reflect.Type, f func(value []byte) (more bool, err error)) error {
	if j == nil {
		return errors.New("Rows: the job is nil; Start has returned an error instead of it")
	}
	found := false
	for _, s := range j.c.stages {
		for port, x := range s.ends {
			if x.out == nil || x.out.sink != nil || x.out.name != name {
				continue
			}
			if found = true; x.out.n.typ != typ {
				return fmt.Errorf("output %q holds %v, not %v", name, x.out.n.typ, typ)
			}
			for task := range j.spec.Stages[s.number].Tasks {
				more, err := j.rows(s.number, task, port, f)
				if errors.Is(err, errEnded) {
					return nil
				}
				if err != nil || !more {
					return err
				}
			}
		}
	}
	if !found && typ != reflect.TypeFor[None]() {
		return fmt.Errorf("plan %s has no output %q; it has %s", j.name, name, j.outputs())
	}
	return nil
}

func (j *Job) outputs() string {
	var names []string
	for _, o := range j.c.plan.outs {
		if o.sink == nil {
			names = append(names, fmt.Sprintf("%q", o.name))
		}
	}
	if len(names) == 0 {
		return "none"
	}
	return strings.Join(names, ", ")
}

// errEnded means that the job ended without the wanted rows.
var errEnded = errors.New("the job ended")

// values passes every value of a gathered run to each until each returns false.
func values(r job.RunReader, each func(value []byte) (bool, error)) (bool, error) {
	defer r.Close()
	for {
		b, err := r.Next()
		if err == io.EOF {
			return true, nil
		}
		if err != nil {
			return false, err
		}
		for len(b) > 0 {
			var v []byte
			if _, v, b, err = record.Cut(b); err != nil {
				return false, err
			}
			if more, err := each(v); err != nil || !more {
				return false, err
			}
		}
	}
}

// noteAbsent prints the fields that no record of a stage's input had. counters are the sums of the
// stage.
func (j *Job) noteAbsent(stage int, counters map[string]int64) {
	for _, k := range slices.Sorted(maps.Keys(counters)) {
		field, ok := strings.CutPrefix(k, absentCounter)
		if !ok || counters[k] == 0 || counters[k] != counters[readCounter] || j.target.requeue != nil {
			continue
		}
		near, most := "", int64(0)
		for _, k := range slices.Sorted(maps.Keys(counters)) {
			if name, ok := strings.CutPrefix(k, nearCounter+field+": "); ok && name != "" && counters[k] > most {
				near, most = "; the nearest key is "+name, counters[k]
			}
		}
		j.target.note("%s: no record has the field %s, so it is zero everywhere%s; correct its json tag, or add omitempty if it may be missing", j.spec.Stages[stage].Name, field, near)
	}
}

// finish runs after the last commit: it handles bad records, sinks and counters.
func (j *Job) finish(ctx context.Context) error {
	j.counters = map[string]int64{}
	var manifests []*job.Manifest
	var producers []job.Producer
	st, known := j.engine.status()
	for s := range j.spec.Stages {
		// An output that later stages have read may be gone with its worker by now. It is not
		// needed: the coordinator has summed up the counters.
		if known && s < len(st.Stages) && (j.c.stages[s].sinks == 0 || j.c.publishes()) && st.Stages[s].Sum.Counters[badCounter] == 0 {
			j.counters[shuffledCounter] += st.Stages[s].Sum.Bytes
			for k, n := range st.Stages[s].Sum.Counters {
				j.counters[k] += n
			}
			j.noteAbsent(s, st.Stages[s].Sum.Counters)
			continue
		}
		sum := map[string]int64{}
		for _, p := range j.engine.commits(s) {
			var m *job.Manifest
			err := j.readOutput(p, func(now job.Producer) (err error) {
				p = now
				m, err = j.engine.manifest(now)
				return err
			})
			if err != nil {
				return err
			}
			manifests, producers = append(manifests, m), append(producers, p)
			j.counters[shuffledCounter] += m.Bytes()
			for k, n := range m.Counters {
				j.counters[k] += n
				sum[k] += n
			}
		}
		j.noteAbsent(s, sum)
	}
	if j.target.requeue != nil {
		return j.finishRequeue(ctx, manifests, producers)
	}
	if err := j.quarantine(manifests, producers); err != nil {
		return err
	}
	if j.c.publishes() {
		return nil
	}
	isBad := j.counters[badCounter] > 0
	err := j.c.finishSinks(ctx, j.spec, j.ID(), nil, isBad, func(o *out) [][]byte { return j.partsOf(o, manifests) })
	if err == nil && j.c.partials != nil && isBad {
		err = j.c.partials.shelf.Keep(ctx, j.ID())
	}
	return err
}

// partsOf returns what the committed attempts wrote to a sink.
func (j *Job) partsOf(o *out, manifests []*job.Manifest) (parts [][]byte) {
	for _, s := range j.c.stages {
		for _, x := range s.ends {
			if x.out != o {
				continue
			}
			for _, m := range manifests {
				if m.Attempt.Task.Stage == s.number {
					parts = append(parts, m.Sink[x.sink])
				}
			}
		}
	}
	return parts
}

// quarantine checks the limits on bad records and writes the quarantine file.
func (j *Job) quarantine(manifests []*job.Manifest, producers []job.Producer) error {
	bad, opts := j.counters[badCounter], j.c.plan.opts
	if bad == 0 {
		return nil
	}
	j.target.Quarantine = j.target.quarantineOf(j.spec.ID, true)
	path, err := state.Replaceable(j.target.Quarantine)
	if err != nil {
		return fmt.Errorf("quarantine %w", err)
	}
	tmp := path + ".tmp"
	defer os.Remove(tmp)
	if err := j.writeBad(tmp, manifests, producers, nil); err != nil {
		return err
	}
	if err := os.Rename(tmp, path); err != nil {
		return fmt.Errorf("quarantine: %w", err)
	}
	j.hasQuarantine = true
	if err := opts.limit(bad, j.counters[readCounter]); err != nil {
		return fmt.Errorf("%w; they are in %s", err, j.target.Quarantine)
	}
	return nil
}

// writeBad writes the bad records of committed attempts to a file, and passes each line to also,
// which may be nil.
func (j *Job) writeBad(path string, manifests []*job.Manifest, producers []job.Producer, also func(line []byte) error) error {
	// a second time, because the first check is long ago
	if err := checkQuarantine(j.target.Quarantine); err != nil {
		return err
	}
	f, err := os.Create(path)
	if err != nil {
		return fmt.Errorf("quarantine: %w", err)
	}
	defer f.Close()
	for i, m := range manifests {
		if m.Counters[badCounter] == 0 {
			continue
		}
		runs, err := j.engine.open(producers[i], len(j.c.stages[m.Attempt.Task.Stage].ends))
		if err != nil {
			return err
		}
		for _, r := range runs {
			if _, err := values(r, func(v []byte) (bool, error) {
				_, err := f.Write(append(v[:len(v):len(v)], '\n'))
				if err == nil && also != nil {
					err = also(v)
				}
				return true, err
			}); err != nil {
				return fmt.Errorf("quarantine: %w", err)
			}
		}
	}
	if err := errors.Join(f.Sync(), f.Close()); err != nil {
		return fmt.Errorf("quarantine: %w", err)
	}
	return nil
}

// keepBadRecords writes the quarantine file of a run that failed, and prints its path.
func (j *Job) keepBadRecords(ctx context.Context) {
	all, err := j.engine.setAside(ctx)
	if err != nil {
		j.target.note("bad records of the failed run are missing: %v", err)
	}
	var text []byte
	var n, omitted int
	for _, x := range worker.LongestSetAside(all) {
		for _, line := range x.Lines {
			text = append(append(text, line...), '\n')
		}
		n, omitted = n+len(x.Lines), omitted+int(x.Omitted)
	}
	if n == 0 {
		return
	}
	j.target.Quarantine = j.target.quarantineOf(j.spec.ID, true)
	if err = checkQuarantine(j.target.Quarantine); err == nil {
		err = os.WriteFile(j.target.Quarantine, text, 0o600)
	}
	if err != nil {
		j.target.note("the bad records of the failed run are lost: %v", err)
		return
	}
	more := ""
	if omitted > 0 {
		more = fmt.Sprintf(" and %d more that were not kept", omitted)
	}
	j.target.note("%s of the failed run in %s%s", report.Plural(n, "bad record"), j.target.Quarantine, more)
}

// defaultQuarantine returns the path of the quarantine file of a run that names none.
func (c *compiled) defaultQuarantine(t *settings) string {
	for _, o := range c.plan.outs {
		if o.sink != nil && o.sink.place != "" && filesys.Scheme(o.sink.place) == "" {
			return o.sink.place + "-quarantine.jsonl"
		}
	}
	if t.State != "" {
		return filepath.Join(t.State, c.plan.name+"-quarantine.jsonl")
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		cache = os.TempDir()
	}
	return filepath.Join(cache, "layshaft", "quarantine", fmt.Sprintf("%s-%s-%d.jsonl", c.plan.name, time.Now().Format("20060102-150405"), os.Getpid()))
}

// checkQuarantine makes the directory of the quarantine file, and checks that the file can be
// written.
func checkQuarantine(path string) error {
	if err := state.CheckFile(path); err != nil {
		return fmt.Errorf("quarantine %w with -quarantine", err)
	}
	return nil
}

// limit returns an error if there are more bad records than the plan allows.
func (o *options) limit(bad, read int64) error {
	switch {
	case bad == 0, o.maxBad > 0 && bad <= o.maxBad, o.maxShare > 0 && float64(bad) <= o.maxShare*float64(read):
		return nil
	case o.maxShare > 0:
		return fmt.Errorf("bad records: %d of %d, more than the share of %g that MaxBadShare allows", bad, read, o.maxShare)
	}
	return fmt.Errorf("bad records: %d, more than the %d that MaxBad allows", bad, o.maxBad)
}
