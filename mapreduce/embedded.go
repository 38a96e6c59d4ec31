package mapreduce

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"
	"weak"

	"github.com/zeebo/xxh3"
	"golang.org/x/sync/errgroup"

	"github.com/layshaft/layshaft/coordinator"
	"github.com/layshaft/layshaft/internal/bytesize"
	"github.com/layshaft/layshaft/internal/filesys"
	"github.com/layshaft/layshaft/internal/inspection"
	"github.com/layshaft/layshaft/internal/job"
	"github.com/layshaft/layshaft/internal/jobdir"
	"github.com/layshaft/layshaft/internal/report"
	"github.com/layshaft/layshaft/internal/spill"
	"github.com/layshaft/layshaft/internal/state"
	"github.com/layshaft/layshaft/internal/wire"
	"github.com/layshaft/layshaft/worker"
)

// embedded is the engine of a job inside this process: a coordinator and its workers, joined by
// direct calls. They use the same cores, block store, codec and journal as a cluster.
type embedded struct {
	coord   *coordinator.Coordinator
	journal io.Closer          // nil without State
	dir     *jobdir.Dir        // of State; nil without it
	shared  *shared            // of all attempts
	outcome string             // for dir
	runs    inspection.Record  // nil if nobody wants the record
	profile inspection.Profile // nil if nobody wants a profile
	web     net.Listener       // nil if nobody wants a page
	workers []*worker.Worker
	temp    string       // directory to remove at the end; empty with State
	unlock  func() error // unlocks temp
	cancel  context.CancelCauseFunc
	// ends the run but not the job: with State it can continue later
	end          context.CancelCauseFunc
	group        *errgroup.Group
	spec         *job.Spec
	fresh        job.Spec // the spec without an earlier run of the job
	release      func()   // frees the reserved memory
	unlockPlaces func()   // unlocks the places of the sinks

	ballast []byte // see ballastSize

	once sync.Once
	err  error
}

// ballastSize is the size of the ballast, in bytes. Nobody touches the ballast, so it takes no
// memory; it raises the heap size at which the collector runs. Sources allocate many buffers; with
// Go's minimum heap of 4 MB the collector would run all the time.
const ballastSize = 16 << 20

// ballast is the ballast of all jobs of this process. A new one for each would cost more than a
// small job: Go clears memory that was in use before.
var ballast struct {
	mu sync.Mutex
	// kept is the ballast, as long as a job holds it or the collector has not run.
	kept weak.Pointer[[ballastSize]byte]
}

// takeBallast returns the ballast of this process, or a smaller one if the job has little memory.
func takeBallast(memory int64) []byte {
	if memory < 8*ballastSize {
		return make([]byte, memory/8)
	}
	ballast.mu.Lock()
	defer ballast.mu.Unlock()
	b := ballast.kept.Value()
	if b == nil {
		b = new([ballastSize]byte)
		ballast.kept = weak.Make(b)
	}
	return b[:]
}

// startEmbedded starts a job inside this process. build builds another instance of the plan.
func startEmbedded(ctx context.Context, t settings, name string, params []byte, c *compiled, build func(context.Context) (*compiled, error)) (*Job, error) {
	if err := c.checkPlaces(ctx, &t); err != nil {
		return nil, err
	}
	if done, err := c.planRequeue(ctx, &t); err != nil {
		return nil, err
	} else if done {
		return startRequeued(t, name, c)
	}
	spec, err := c.prepare(name, params, t, "", false)
	if err != nil {
		return nil, err
	}
	for _, st := range spec.Stages {
		for _, n := range st.Needs {
			if most, limited := t.Budgets[n.Budget]; limited && n.N > most {
				return nil, fmt.Errorf("plan %s: stage %s: each attempt needs %d of budget %s, which has %d; raise it with -budget, or need less", name, st.Name, n.N, n.Budget, most)
			}
		}
	}
	if t.Explain {
		if err := explain(t.Out, c, spec, t); err != nil {
			return nil, err
		}
		return nil, ErrExplained
	}
	ctx, end := context.WithCancelCause(ctx)
	e := &embedded{spec: spec, end: end, outcome: jobdir.Unfinished, fresh: *spec, unlockPlaces: func() {}, ballast: takeBallast(t.Memory)}
	web, err := t.listenWeb()
	if err == nil && t.Profile != "" {
		if e.profile, err = inspection.Registered().StartProfile(t.Profile); err != nil && web != nil {
			_ = web.Close()
		}
	}
	if err != nil {
		end(nil)
		return nil, err
	}
	e.web = web
	if err := e.start(ctx, &t, c, build); err != nil {
		return nil, errors.Join(err, e.stop())
	}
	if err := e.submit(ctx, t); err != nil {
		return nil, errors.Join(err, e.stop())
	}
	j := &Job{name: name, c: c, spec: spec, target: t, engine: e, done: make(chan struct{}), begun: time.Now()}
	e.group.Go(func() error {
		defer close(j.done) // last: the next run to the same place may begin then
		j.watch(ctx)
		switch {
		case j.err == nil:
			e.outcome = jobdir.Done
			countRun(t.State, c.identity)
		case !j.interrupted:
			e.outcome = jobdir.Failed
		}
		e.unlockPlaces() // all output is written
		return nil
	})
	return j, nil
}

// lockPlaces locks the places of this machine that the sinks write to. Runs without State have the
// same job ID each time, so two of them would write to the same temporary files. Any two runs would
// mix their files when they move them into place. release is never nil.
func (c *compiled) lockPlaces() (release func(), err error) {
	var held []func() error
	release = sync.OnceFunc(func() {
		for _, f := range held {
			_ = f() // the lock ends with the process at the latest
		}
	})
	for _, o := range c.plan.outs {
		if o.sink == nil || o.sink.place == "" || filesys.Scheme(o.sink.place) != "" {
			continue
		}
		f, err := state.LockPlace(o.sink.place)
		if err != nil {
			release()
			return release, fmt.Errorf("%s: another run writes to %s; wait until it has ended, stop it, or choose another place", o.sink.name, o.sink.place)
		}
		held = append(held, f)
	}
	return release, nil
}

// checkPlaces checks, before anything runs, that the sinks and all files of the run can be written.
// With Explain nothing is checked inside this process. On a cluster the sinks are checked even
// then, because the check shows which files this process lends.
func (c *compiled) checkPlaces(ctx context.Context, t *settings) error {
	if t.Quarantine == "" {
		t.Quarantine = t.Requeue
	}
	if t.Explain && t.cluster == nil {
		return nil
	}
	for _, o := range c.plan.outs {
		if o.sink != nil {
			if err := o.sink.check(ctx); err != nil {
				return err
			}
		}
	}
	if t.Explain {
		return nil
	}
	for _, file := range []struct{ flag, path string }{{"report", t.Report}, {"trace", t.Trace}} {
		if file.path != "" {
			if err := state.CheckFile(file.path); err != nil {
				return fmt.Errorf("%s %w with -%[1]s", file.flag, err)
			}
		}
	}
	if c.plan.allowsBad() {
		if t.Quarantine == "" {
			t.Quarantine, t.defaultQuarantine = c.defaultQuarantine(t), true
		}
		return checkQuarantine(t.Quarantine)
	}
	return nil
}

// worthMerging is how many outputs a worker must hold, on average, before a tier that merges them
// pays.
const worthMerging = 3

// worthOne is the same number when all records have one key: the last task merges fewer outputs in
// the time that a tier takes.
const worthOne = 64

// prepare lists the input, cuts it into splits, and returns the spec of the job. The job ID depends
// neither on the holders of the input nor on client, the name under which this process lends its
// files. With publish, the last stage of a job on a cluster publishes the output of the sinks.
func (c *compiled) prepare(name string, params []byte, t settings, client string, publish bool) (*job.Spec, error) {
	files := filesys.InputOf(c.plan.context())
	files.Outputs = c.places(t)
	files.Forget()
	defer files.Forget()
	endPlanning := sync.OnceFunc(showPlanning(&t, files))
	defer endPlanning()
	h := sha256.New()
	var input int64
	whole := map[*stage][]job.Split{}
	for _, s := range c.stages {
		if s.publish || s.head.read == nil {
			continue
		}
		splits, err := s.head.read.input()
		if err != nil {
			return nil, fmt.Errorf("%s: %w", s.head.read.source, err)
		}
		for i := range splits {
			input += splits[i].Bytes
		}
		for _, sp := range splits {
			fmt.Fprintf(h, "%s %d ", sp.Label, sp.Bytes)
			if client != "" {
				sp.Data = bytes.ReplaceAll(sp.Data, []byte(client), nil)
			}
			_, _ = h.Write(sp.Data) // a hash never fails
			fmt.Fprintln(h)
		}
	}
	c.identity = c.identityOf(&t, params, hex.EncodeToString(h.Sum(nil)))
	if t.State != "" {
		numberRun(t.State, c.identity)
	}
	if err := c.reuse(&t, name); err != nil {
		return nil, err
	}
	// Splits have equal sizes, a few for each slot: few enough to keep partial aggregates small,
	// and enough to let all slots end at the same time.
	target := min(max(input/int64(4*t.Slots), 1<<20), 128<<20)
	for _, s := range c.stages {
		if s.publish || s.head.read == nil {
			continue
		}
		splits, err := s.head.read.splits(target)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", s.head.read.source, err)
		}
		if len(splits) == 0 && s.hasSink() {
			splits = []job.Split{{Label: noInput}}
		}
		whole[s] = splits
	}
	endPlanning()
	printLeftOut(&t, files)
	if t.cluster != nil {
		c.addTiers(func(_ int, s, from *stage) int {
			outputs := c.tasks(from, whole)
			switch {
			case t.Workers < 2 || outputs < t.Workers*worthMerging || s.head.wide.parts == 1 && outputs < worthOne:
				return 0
			case t.zones == 0:
				return 1
			}
			return 2
		}, publish)
	}
	spec := c.spec(name, hashIdentity(c.identity), params, whole, t)
	for k, s := range c.stages {
		// inside this process Verify reads all outputs
		spec.Stages[k].Inner = t.cluster != nil && !c.isReadByClient(s)
	}
	var text strings.Builder
	if err := explain(&text, c, spec, t); err != nil {
		return nil, err
	}
	spec.Explain = text.String()
	return spec, nil
}

// noInput is the label of the split that is read where a source has none but a sink follows. Its
// task writes an empty part, with a header or a schema: an empty dataset is a dataset too.
const noInput = "(no input)"

func (s *stage) hasSink() bool {
	return slices.ContainsFunc(s.ends, func(x *end) bool { return x.out != nil && x.out.sink != nil })
}

// isReadByClient reports whether the client reads the output of a stage at the end: rows, or
// descriptions for Finish.
func (c *compiled) isReadByClient(s *stage) bool {
	return !s.combine && slices.ContainsFunc(s.ends, func(x *end) bool { return x.out != nil && (x.out.sink == nil || !c.publishes()) })
}

// executable returns a hash of this program. A changed program does not continue with the state of
// another.
var executable = sync.OnceValue(func() string {
	path, err := os.Executable()
	if err != nil {
		return ""
	}
	f, err := os.Open(path)
	if err != nil {
		return ""
	}
	defer f.Close()
	h := xxh3.New()
	// without their own methods for copies, which ignore the buffer
	if _, err := io.CopyBuffer(struct{ io.Writer }{h}, struct{ io.Reader }{f}, make([]byte, 256<<10)); err != nil {
		return ""
	}
	return hex.EncodeToString(h.Sum(nil))
})

// start starts the coordinator and the workers. It lowers t.Slots if a job in State requires that.
func (e *embedded) start(ctx context.Context, t *settings, c *compiled, build func(context.Context) (*compiled, error)) error {
	log := t.Log
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	var dir string
	var err error
	if t.State == "" {
		if dir, e.unlock, err = makeTemp(); err != nil {
			return err
		}
		e.temp = dir
	} else {
		if e.dir, err = openState(t, e.spec.Name, string(e.spec.ID), c.identity); err != nil {
			return err
		}
		dir = e.dir.Path
	}
	cfg := coordinator.Config{Log: log, Budgets: t.Budgets, Policy: coordinator.Policy{
		LeaseTTL:     -1, // the workers live and die with this process
		LocalityWait: -1,
		BlockAfter:   -1,
		Settle:       time.Minute, // ends when the workers have joined, a moment after the start
	}}
	if t.Workers == 1 {
		cfg.StragglerRatio = -1
	}
	if t.State != "" {
		j, err := coordinator.OpenJournal(filepath.Join(dir, "journal"), log)
		if err != nil {
			return fmt.Errorf("state %s: %w", t.State, err)
		}
		cfg.Journal, e.journal = j, j
	}
	if e.record(t, log); e.runs != nil {
		cfg.Recorder = e.runs
	}
	if e.coord, err = coordinator.New(cfg); err != nil {
		return err
	}
	run, cancel := context.WithCancelCause(context.WithoutCancel(ctx))
	e.cancel = cancel
	e.group, run = errgroup.WithContext(run)
	e.group.Go(func() error { return e.coord.Run(run) })
	if e.web != nil {
		e.group.Go(func() error { return inspection.Registered().Serve(run, e.web, e.writePage) })
	}
	if err := e.recall(ctx, t); err != nil {
		return err
	}
	// Another run on the same State has failed before this point, and no task runs yet.
	if e.unlockPlaces, err = c.lockPlaces(); err != nil {
		return err
	}
	e.release = spill.Reserve(t.Memory)
	e.shared = &shared{}
	var reporter worker.Reporter = e.coord
	if t.State != "" {
		reporter = &keeper{Reporter: e.coord, spec: e.spec, state: dir, end: e.end, failed: map[job.Task]int{}}
	}
	e.workers = make([]*worker.Worker, t.Workers)
	var open errgroup.Group // opening a block store takes a while
	for i := range t.Workers {
		slots := t.slotsOf(i)
		open.Go(func() (err error) {
			e.workers[i], err = worker.New(worker.Config{
				Name:  workerName(i),
				Dir:   filepath.Join(dir, workerName(i)),
				Slots: slots,
				Sync:  t.State != "", Temporary: t.State == "",
				Spec: func(job.ID) (*job.Spec, error) { return e.spec, nil },
				Program: func(job.ID, int) (*job.Program, error) {
					c, err := build(ctx)
					if err != nil {
						return nil, err
					}
					return c.program(e.spec, e.shared), nil
				},
				Reporter: reporter,
				Peer:     e.peer,
				Log:      log,
			})
			return err
		})
	}
	err = open.Wait()
	e.workers = slices.DeleteFunc(e.workers, func(w *worker.Worker) bool { return w == nil })
	if err != nil {
		return fmt.Errorf("state %s: %w", dir, err)
	}
	for _, w := range e.workers {
		e.group.Go(func() error { return w.Run(run) })
	}
	return nil
}

func (e *embedded) peer(name string) worker.Outputs {
	for i, w := range e.workers {
		if name == workerName(i) {
			return w.Outputs()
		}
	}
	return nil
}

// recall looks for the job in the State directory. An unfinished job continues with its old splits
// and its old memory per attempt: a repeated attempt must cut its output into the same runs and
// blocks, because readers choose key ranges from them. If a slot has less memory now, fewer slots
// work.
func (e *embedded) recall(ctx context.Context, t *settings) error {
	if t.State == "" {
		return nil
	}
	if err := e.coord.Ready(ctx); err != nil {
		return err
	}
	begun, ok := e.coord.Spec(e.spec.ID)
	st, _ := e.coord.Status(e.spec.ID)
	if !ok || st.Outcome != report.JobRunning && st.Outcome != report.JobDone {
		return nil
	}
	for i := range begun.Stages {
		// The coordinator drops the splits of a finished job. Only Verify needs them here.
		if s := &begun.Stages[i]; s.Splits == nil && len(e.spec.Stages[i].Splits) == s.Tasks {
			s.Splits = e.spec.Stages[i].Splits
		}
	}
	*e.spec = begun
	if st.Outcome != report.JobRunning || begun.Memory == e.fresh.Memory || begun.Memory == 0 {
		return nil
	}
	slots := int(min(int64(t.Slots), max(t.Memory/begun.Memory, int64(t.Workers))))
	t.note("state %s: job %s keeps its first memory, %s for each attempt, instead of %s from -memory and -slots; slots at work: %d of %d",
		t.State, e.spec.ID, bytesize.Format(begun.Memory), bytesize.Format(e.fresh.Memory), slots, t.Slots)
	t.Slots = slots
	return nil
}

// submit submits the job to the coordinator. If the State directory has the job already, it
// continues, or its result stands.
func (e *embedded) submit(ctx context.Context, t settings) error {
	if st, ok := e.coord.Status(e.spec.ID); ok && st.Outcome != report.JobRunning && st.Outcome != report.JobDone {
		if err := e.drop(ctx, e.spec.ID); err != nil {
			return err
		}
	}
	for i, w := range e.workers {
		if err := e.coord.Join(workerName(i), t.slotsOf(i), "", w.SealedAttempts(e.spec.ID), w); err != nil {
			return err
		}
	}
	e.coord.Settled()
	if err := e.coord.Ready(ctx); err != nil {
		return err
	}
	if st, ok := e.coord.Status(e.spec.ID); ok && st.Outcome == report.JobDone && !e.isComplete() {
		t.note("state %s: job %s was done, but its output was dropped or is gone; it runs again", t.State, e.spec.ID)
		if err := e.drop(ctx, e.spec.ID); err != nil {
			return err
		}
		*e.spec = e.fresh
	}
	if st, ok := e.coord.Status(e.spec.ID); ok {
		done := 0
		for i := range st.Stages {
			done += st.Stages[i].Done
		}
		if done > 0 {
			t.note("state %s: job %s continues, %d of %s done before", t.State, e.spec.ID, done, report.Plural(e.spec.Tasks(), "task"))
		}
		return nil
	}
	return e.coord.Submit(ctx, *e.spec, report.Options{})
}

// isComplete reports whether a worker holds the output of every task.
func (e *embedded) isComplete() bool {
	for s := range e.spec.Stages {
		for _, p := range e.coord.Commits(e.spec.ID, s) {
			if p.Worker == "" {
				return false
			}
		}
	}
	return true
}

func workerName(i int) string { return fmt.Sprintf("worker-%d", i+1) }

// slotsOf returns the number of slots of worker i.
func (t *settings) slotsOf(i int) int {
	n := t.Slots / t.Workers
	if i < t.Slots%t.Workers {
		n++
	}
	return n
}

func (e *embedded) drop(ctx context.Context, id job.ID) error {
	if err := e.coord.Drop(ctx, id); err != nil {
		return err
	}
	for _, w := range e.workers {
		if err := w.DropJob(id); err != nil {
			return err
		}
	}
	return nil
}

func (e *embedded) setAside(context.Context) (all []worker.SetAside, _ error) {
	for _, w := range e.workers {
		all = append(all, w.SetAside(e.spec.ID)...)
	}
	return all, nil
}

// abandon ends the running attempts of a failed job.
func (e *embedded) abandon(ctx context.Context, why string) error {
	if err := e.coord.Cancel(ctx, e.spec.ID, why); err != nil && !errors.Is(err, wire.ErrStopped) {
		return err
	}
	for _, w := range e.workers {
		if err := w.DropJob(e.spec.ID); err != nil { // running attempts would write again
			return err
		}
	}
	return nil
}

func (e *embedded) wait(ctx context.Context) error { return e.coord.Wait(ctx, e.spec.ID) }

func (e *embedded) status() (report.Job, bool) { return e.coord.Status(e.spec.ID) }

func (e *embedded) changed() <-chan struct{} { return e.coord.Watch(e.spec.ID) }

func (e *embedded) findOutput(p job.Producer) (job.Producer, error) {
	id, t := e.spec.ID, p.Attempt.Task
	if err := e.coord.ReportLost(context.Background(), p); err != nil {
		return p, err
	}
	for {
		changed := e.coord.Watch(id)
		st, _ := e.coord.Status(id)
		if now := e.coord.Commits(id, t.Stage); t.Index < len(now) && now[t.Index].Worker != "" {
			return now[t.Index], nil
		}
		if st.Outcome != report.JobRunning {
			return p, e.coord.Wait(context.Background(), id)
		}
		<-changed
	}
}

func (e *embedded) reportLost(p job.Producer) { _ = e.coord.ReportLost(context.Background(), p) }

func (e *embedded) running() []worker.Running {
	var all []worker.Running
	for _, w := range e.workers {
		all = append(all, w.Progress()...)
	}
	return all
}

func (e *embedded) rerunTask(ctx context.Context, l job.Launch) (*job.Manifest, error) {
	return e.workers[0].RunAgain(ctx, l)
}

func (e *embedded) commits(stage int) []job.Producer { return e.coord.Commits(e.spec.ID, stage) }

func (e *embedded) commit(stage, task int) job.Producer {
	return e.coord.Commit(e.spec.ID, stage, task)
}

func (e *embedded) manifest(p job.Producer) (*job.Manifest, error) { return e.workers[0].Manifest(p) }

func (e *embedded) open(p job.Producer, port int) ([]job.RunReader, error) {
	return e.workers[0].Open(p, port)
}

var errClosed = errors.New("the job was closed")

// stop ends the job and frees its resources.
func (e *embedded) stop() error {
	e.once.Do(func() {
		defer e.end(nil)
		if e.profile != nil {
			e.profile.Stop()
		}
		if e.web != nil {
			_ = e.web.Close()
		}
		if e.group != nil {
			e.cancel(errClosed)
			if err := e.group.Wait(); err != nil && !errors.Is(err, errClosed) && !errors.Is(err, context.Canceled) {
				e.err = err
			}
		}
		for _, w := range e.workers {
			e.err = errors.Join(e.err, w.Close())
		}
		if e.journal != nil {
			e.err = errors.Join(e.err, e.journal.Close())
		}
		if e.dir != nil {
			e.err = errors.Join(e.err, e.dir.Close(e.outcome))
		}
		if e.temp != "" {
			e.err = errors.Join(e.err, os.RemoveAll(e.temp), e.unlock())
		}
		e.ballast = nil
		e.unlockPlaces()
		if e.release != nil {
			e.release()
		}
		spill.Trim()
	})
	return e.err
}
