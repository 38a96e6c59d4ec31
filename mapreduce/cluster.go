package mapreduce

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"flag"
	"fmt"
	"maps"
	"net"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/term"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/layshaft/layshaft/internal/addresses"
	"github.com/layshaft/layshaft/internal/awake"
	"github.com/layshaft/layshaft/internal/bytesize"
	"github.com/layshaft/layshaft/internal/child"
	"github.com/layshaft/layshaft/internal/client"
	"github.com/layshaft/layshaft/internal/filesys"
	"github.com/layshaft/layshaft/internal/filesys/remote"
	"github.com/layshaft/layshaft/internal/inprocess"
	"github.com/layshaft/layshaft/internal/job"
	"github.com/layshaft/layshaft/internal/plain"
	"github.com/layshaft/layshaft/internal/report"
	"github.com/layshaft/layshaft/internal/security"
	"github.com/layshaft/layshaft/internal/wire"
	"github.com/layshaft/layshaft/worker"
)

// cluster is the engine of a job on the workers of a coordinator.
type cluster struct {
	client    *client.Client
	spec      *job.Spec
	creds     credentials.TransportCredentials
	dial      []grpc.DialOption // options of connections to workers
	test      inprocess.Cluster // the test cluster of the coordinator; nil outside tests
	lender    *remote.Lender    // lends files of this machine to the workers
	detach    bool
	askDetach func() bool // asks whether an interrupted job continues; nil without a terminal

	cancel context.CancelCauseFunc // cancels ctx, and with it everything in the background
	ctx    context.Context
	group  sync.WaitGroup
	ended  chan struct{} // closed when end is set
	end    error         // why the job ended without a result

	// mu guards the fields below.
	mu      sync.Mutex
	last    report.Job
	away    string        // why the coordinator cannot be reached; empty if it can
	change  chan struct{} // closed and replaced when a field below changes
	stages  map[int]*stageOutputs
	address map[string]string // addresses of workers, by name
	present map[string]string // names of workers, by worker ID
	holders map[string]*holder

	once sync.Once
	err  error
}

// holder is a worker that holds outputs of the job.
type holder struct {
	conn *grpc.ClientConn
	worker.Outputs
}

// ErrDetached is returned by Start when Cluster.Detach is set: the job was submitted and runs on
// the cluster without this process. Run, Collect and WriteTo return without rows and without error
// instead. The same program with the same parameters and input finds the job again.
var ErrDetached = errors.New("detached, runs on the cluster")

// startCluster submits a job to a cluster and follows it.
func startCluster(ctx context.Context, t settings, name string, params []byte, build func(context.Context) (*compiled, error)) (*Job, error) {
	e, err := dialCluster(ctx, t)
	if err != nil {
		return nil, err
	}
	t.noteUnsentFlags(flag.CommandLine, params)
	j, err := e.start(ctx, &t, name, params, build)
	if err != nil {
		return nil, errors.Join(err, e.disconnect())
	}
	return j, nil
}

func dialCluster(ctx context.Context, t settings) (*cluster, error) {
	e := &cluster{creds: insecure.NewCredentials(), detach: t.cluster.Detach, ended: make(chan struct{}), change: make(chan struct{}),
		stages: map[int]*stageOutputs{}, address: map[string]string{}, present: map[string]string{}, holders: map[string]*holder{}}
	to := e.creds
	if t.cluster.TLS != (TLSFiles{}) {
		tls, err := security.Load(security.Files(t.cluster.TLS), t.Log)
		if err != nil {
			return nil, err
		}
		if notice := tls.Notice(); notice != "" {
			t.note("%s", notice)
		}
		to, e.creds = tls.Client(security.Coordinator), tls.Client(security.Worker)
	}
	var err error
	var dial func(ctx context.Context, address string) (net.Conn, error)
	if e.test = findTestCluster(t.cluster.Address); e.test != nil {
		dial = e.test.Dial
		e.dial = append(e.dial, grpc.WithContextDialer(dial))
	}
	if e.client, err = client.Dial(client.Config{Address: t.cluster.Address, Credentials: to, Dial: dial, Away: func(why string) { e.setAway(why); t.printWaiting(why) }}); err != nil {
		return nil, err
	}
	e.ctx, e.cancel = context.WithCancelCause(context.WithoutCancel(ctx))
	return e, nil
}

// findTestCluster returns the cluster of this process that has one of the addresses, nil if none
// has.
func findTestCluster(address string) inprocess.Cluster {
	for _, a := range addresses.Split(address) {
		if c := inprocess.Find(a); c != nil {
			return c
		}
	}
	return nil
}

// start prepares the job for the present workers, submits it, and follows it.
func (e *cluster) start(ctx context.Context, t *settings, name string, params []byte, build func(context.Context) (*compiled, error)) (started *Job, err error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer func() {
		if err != nil {
			err = planError(ctx, err)
			cancel(nil)
		}
	}()
	workers, err := e.workers(ctx, t)
	if err != nil {
		return nil, err
	}
	t.fit(workers)
	files, err := e.files()
	if err != nil {
		return nil, err
	}
	lent := e.lender
	ctx = filesys.WithSet(ctx, files)
	endPlanning := sync.OnceFunc(e.reportPlanning(ctx, t, name, cancel))
	defer endPlanning()
	c, err := build(ctx)
	if err != nil {
		return nil, err
	}
	if err := c.checkPlaces(ctx, t); err != nil {
		return nil, err
	}
	if done, err := c.planRequeue(ctx, t); err != nil {
		return nil, err
	} else if done {
		j, err := startRequeued(*t, name, c)
		return j, errors.Join(err, e.disconnect())
	}
	if t.requeue != nil && t.cluster.Detach {
		return nil, fmt.Errorf("plan %s: detach: this program adds the records of -requeue to the output at the end of the job, so the job needs it; leave detach out", name)
	}
	if err := t.lendProfile(ctx); err != nil {
		return nil, err
	}
	_, dirs := lent.Count()
	publish := dirs == 0 && t.requeue == nil
	if e.spec, err = c.prepare(name, params, *t, strings.TrimPrefix(lent.Volume(), "client/"), publish); err != nil {
		return nil, err
	}
	if files, _ := lent.Count(); t.cluster.Detach && files+dirs > 0 {
		return nil, fmt.Errorf("plan %s: detach: the job reads or writes files of this machine, so it needs this program until it ends; put them into a dataset (dataset://NAME/path), a shared file system (file:///path) or an object store (s3://BUCKET/path)", name)
	}
	if t.cluster.Detach && !t.held.Empty() {
		return nil, fmt.Errorf("plan %s: detach: this program holds the snapshot of the database that the job reads, so the job needs it until its end; leave detach out", name)
	}
	if t.Explain {
		if err := explain(t.Out, c, e.spec, *t); err != nil {
			return nil, err
		}
		explainPlaces(t.Out, e.spec, workers)
		return nil, ErrExplained
	}
	if e.test != nil {
		e.test.SetProgram(e.spec.ID, func() inprocess.Build {
			sh := &shared{}
			return func(ctx context.Context, spec *job.Spec, _ int) (*job.Program, error) {
				return sh.rebuild(spec, func() (*compiled, error) { return build(ctx) })
			}
		})
	}
	missing := func(ended time.Time) (string, error) { return c.missingOutput(ctx, string(e.spec.ID), ended) }
	if err := context.Cause(ctx); err != nil {
		return nil, err
	}
	if err := e.submit(ctx, t, lent.Volume(), missing); err != nil {
		return nil, err
	}
	endPlanning()
	// the spec of an earlier submission may have other tiers
	if err := c.adoptStages(e.spec); err != nil {
		return nil, err
	}
	if t.cluster.Detach {
		// the job may have been submitted without Detach before
		if err := e.client.Detach(ctx, e.spec.ID); err != nil {
			return nil, err
		}
		fmt.Fprintf(t.Err, "job %s runs on %s; layshaft job wait %s waits for its end\n", e.spec.ID, t.cluster.Address, e.spec.ID)
		return nil, errors.Join(ErrDetached, e.disconnect())
	}
	if files, size := lent.Size(); files > 0 && e.test == nil && e.hasWorkersElsewhere(ctx) {
		t.note("workers on other machines read %s of this machine (%s) through this command; a dataset (dataset://NAME/path) or an object store is nearer to them", report.Plural(files, "file"), bytesize.Format(size))
	}
	if t.Progress != "none" && term.IsTerminal(int(os.Stdin.Fd())) && term.IsTerminal(int(os.Stderr.Fd())) {
		files, dirs := lent.Count()
		e.askDetach = func() bool { return askDetach(t, e.spec.ID, os.Stdin, files+dirs > 0 || !t.held.Empty()) }
	}
	e.group.Go(func() { e.follow(t) })
	e.group.Go(func() { _ = lent.Run(e.ctx, e.workerNames, e.openLend) })
	j := &Job{name: name, c: c, spec: e.spec, target: *t, engine: e, done: make(chan struct{}), begun: time.Now()}
	e.group.Go(func() {
		defer cancel(nil)
		defer close(j.done)
		j.watch(ctx)
	})
	return j, nil
}

// workers returns the workers of the cluster. It waits up to 20 seconds for the first to join.
func (e *cluster) workers(ctx context.Context, t *settings) ([]report.Worker, error) {
	ctx, cancel := awake.WithTimeoutCause(ctx, 20*time.Second, errNoWorkers)
	defer cancel()
	waiting := report.Waiting{Print: t.printWaiting}
	defer waiting.Update("")
	why := ""
	for {
		ws, err := e.client.Workers(ctx)
		if err != nil {
			return nil, withReason(err, why)
		}
		if len(ws) > 0 {
			e.rememberWorkers(ws)
			return ws, nil
		}
		why = errNoWorkers.Error()
		waiting.Update(why)
		select {
		case <-time.After(200 * time.Millisecond):
		case <-ctx.Done():
			return nil, withReason(context.Cause(ctx), why)
		}
	}
}

// fit sets workers, slots and memory to the values of the cluster. Every slot gets the least memory
// of all slots of the cluster. zones is set when there are at least two zones, and at least one of
// them has several workers. Workers without a zone count as one more zone, but not as one of two.
func (t *settings) fit(workers []report.Worker) {
	t.Workers, t.Slots, t.zones = len(workers), 0, 0
	var least int64
	zones := map[string]bool{}
	for i := range workers {
		t.Slots += workers[i].Slots
		if m := workers[i].Memory; m > 0 && (least == 0 || m < least) {
			least = m
		}
		zones[workers[i].Zone] = true
	}
	if n := len(zones); n < len(workers) && (n > 2 || n == 2 && !zones[""]) {
		t.zones = n
	}
	t.Memory = cmp.Or(least, 256<<20) * int64(t.Slots)
}

// missingOutput returns the name of a sink whose published output is gone, or was replaced after
// ended. It returns "" if the output of all sinks is in place.
func (c *compiled) missingOutput(ctx context.Context, id string, ended time.Time) (string, error) {
	for _, o := range c.plan.outs {
		// the client itself publishes the output
		if o.sink == nil || o.sink.published == nil || !c.publishes() {
			continue
		}
		if there, err := o.sink.published(ctx, id, ended); err != nil || !there {
			return o.sink.name, err
		}
	}
	return "", nil
}

// submit submits the job, and uploads the program if no worker has it. missing returns the name of
// a sink if its output, published by a job that ended at the given time, is gone.
func (e *cluster) submit(ctx context.Context, t *settings, volume string, missing func(ended time.Time) (string, error)) error {
	path, code, err := e.program()
	if err != nil {
		return err
	}
	opt := report.Options{
		Priority: t.cluster.Priority, Interactive: t.cluster.Interactive, Tags: t.cluster.Tags, Code: code.SHA256, Platform: code.Platform, CodeSize: code.Size,
		CodeLoader: code.Dynamic, Detached: t.cluster.Detach, Client: volume, Submitted: time.Now(),
	}
	if t.Quarantine != "" && !t.cluster.Detach {
		host, _ := os.Hostname() // empty if unknown
		opt.Quarantine = host + ":" + absolute(t.quarantineOf(e.spec.ID, false))
	}
	for range 3 {
		got, err := e.client.Submit(ctx, e.spec, opt)
		if err != nil {
			return err
		}
		for _, w := range got.Warnings {
			t.note("%s", w)
		}
		switch {
		case got.CodeWanted:
			f, err := os.Open(path)
			if err != nil {
				return fmt.Errorf("this program's own file: %w", err)
			}
			err = e.client.PutCode(ctx, report.Code{SHA256: code.SHA256, Platform: code.Platform, Size: code.Size, Dynamic: code.Dynamic}, f)
			_ = f.Close()
			if err != nil {
				return err
			}
			continue
		case got.Known:
			st, err := e.client.Status(ctx, e.spec.ID)
			if err != nil && !errors.Is(err, wire.ErrUnknownJob) {
				return err
			}
			isSame := err == nil && !t.runAfresh && (st.Outcome == report.JobRunning || st.Outcome == report.JobDone && !st.Released)
			if isSame && st.Outcome == report.JobDone {
				gone, err := missing(st.Ended)
				if err != nil {
					return fmt.Errorf("job %s was submitted before and is done, but its result cannot be checked: %s: %w", e.spec.ID, gone, err)
				}
				if isSame = gone == ""; !isSame {
					t.note("job %s was submitted before and is done, but its result is gone (%s); it runs again", e.spec.ID, gone)
				}
			}
			if isSame {
				t.note("job %s was submitted before and is %s; this is its result", e.spec.ID, st.Outcome)
				spec, was, err := e.client.Spec(ctx, e.spec.ID, true)
				if err != nil {
					return err
				}
				// The job may need files of the client that submitted it. This client lends them
				// instead.
				*e.spec = *spec
				e.lender.Adopt(was.Client)
				return nil
			}
			if err := e.client.Drop(ctx, e.spec.ID); err != nil {
				return err
			}
			continue
		}
		return nil
	}
	return fmt.Errorf("job %s: it could not be submitted in 3 tries", e.spec.ID)
}

// program returns the path and the description of the file that the workers start for this job.
func (e *cluster) program() (path string, code child.Code, err error) {
	if e.test != nil {
		path, code = e.test.Program()
		return path, code, nil
	}
	if e.spec.Name == job.ReportPipeline {
		return "", child.Code{SHA256: job.BuiltinCode}, nil
	}
	if path, err = os.Executable(); err != nil {
		return "", code, fmt.Errorf("this program's own file: %w", err)
	}
	code, err = child.InspectOnce(path)
	return path, code, err
}

// printWaiting prints what the command waits for.
func (t *settings) printWaiting(why string) {
	t.note("waiting: %s", why)
}

// follow keeps the status of the job until it ends. It prints why the job makes no progress.
func (e *cluster) follow(t *settings) {
	defer close(e.ended)
	waiting := report.Waiting{Print: t.printWaiting}
	defer waiting.Update("")
	for st, err := range e.client.Attend(e.ctx, e.spec.ID) {
		if err != nil {
			e.end = err
			break
		}
		e.mu.Lock()
		e.last, e.away = st, ""
		e.changedLocked()
		e.mu.Unlock()
		waiting.Update(st.Reason)
		if st.Outcome == report.JobRunning {
			continue
		}
		if st.Outcome != report.JobDone {
			end := &report.JobError{ID: e.spec.ID, Outcome: st.Outcome}
			if st.Failure != nil {
				end.Failure = *st.Failure
			}
			e.end = end
		}
		return
	}
	if e.end == nil {
		e.end = fmt.Errorf("job %s: %w: the coordinator did not report its end", e.spec.ID, wire.ErrUnavailable)
	}
}

// changedLocked wakes every goroutine that waits for a change. The caller holds mu.
func (e *cluster) changedLocked() {
	close(e.change)
	e.change = make(chan struct{})
}

func (e *cluster) wait(ctx context.Context) error {
	select {
	case <-e.ended:
		return e.end
	case <-ctx.Done():
		e.mu.Lock()
		defer e.mu.Unlock()
		return withReason(context.Cause(ctx), cmp.Or(e.away, e.last.Reason))
	}
}

// setAway notes why the coordinator cannot be reached.
func (e *cluster) setAway(why string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.away = why
}

// withReason adds to the error of a context that has ended what the run was waiting for; nothing if
// why is empty.
func withReason(err error, why string) error {
	if why == "" || !errors.Is(err, context.DeadlineExceeded) && !errors.Is(err, context.Canceled) {
		return err
	}
	return fmt.Errorf("%w: %s", err, plain.Text(why))
}

func (e *cluster) status() (report.Job, bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.last, true // the zero status, meaning running, until the first report
}

func (e *cluster) changed() <-chan struct{} {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.change
}

func (e *cluster) running() []worker.Running {
	e.mu.Lock()
	defer e.mu.Unlock()
	var all []worker.Running
	for i := range e.last.Stages {
		p := e.last.Stages[i].Progress
		all = append(all, worker.Running{Attempt: job.Attempt{Job: e.spec.ID, Task: job.Task{Stage: i}}, Records: p.Records, Bytes: p.Bytes})
	}
	return all
}

// connect returns the connection to a worker. It connects at the first use.
func (e *cluster) connect(name string) (*holder, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if w := e.holders[name]; w != nil {
		return w, nil
	}
	address := e.address[name]
	if address == "" {
		return nil, fmt.Errorf("worker %s: its address is unknown", name)
	}
	conn, err := grpc.NewClient(address, slices.Concat(wire.DialOptions(), []grpc.DialOption{grpc.WithTransportCredentials(e.creds)}, e.dial)...)
	if err != nil {
		return nil, fmt.Errorf("worker %s: %w", name, err)
	}
	w := &holder{conn, worker.Remote(conn, name)}
	e.holders[name] = w
	return w, nil
}

// workerNames returns the names of the present workers.
func (e *cluster) workerNames(ctx context.Context) ([]string, error) {
	ws, err := e.client.Workers(ctx)
	if err != nil {
		return nil, err
	}
	e.rememberWorkers(ws)
	names := make([]string, len(ws))
	for i := range ws {
		names[i] = ws[i].Name
	}
	return names, nil
}

// hasWorkersElsewhere reports whether a present worker may be on another machine.
func (e *cluster) hasWorkersElsewhere(ctx context.Context) bool {
	if _, err := e.workerNames(ctx); err != nil {
		return false // the hint is not needed
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, name := range e.present {
		if !isHere(e.address[name]) {
			return true
		}
	}
	return false
}

// isHere reports whether an address, host and port, is one of this machine.
func isHere(address string) bool {
	host, _, err := net.SplitHostPort(address)
	ip := net.ParseIP(host)
	if err != nil || ip == nil {
		return host == "localhost"
	}
	own, err := net.InterfaceAddrs()
	return ip.IsLoopback() || err == nil && slices.ContainsFunc(own, func(a net.Addr) bool {
		n, ok := a.(*net.IPNet)
		return ok && n.IP.Equal(ip)
	})
}

// rememberWorkers stores names and addresses of workers.
func (e *cluster) rememberWorkers(ws []report.Worker) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for i := range ws {
		if ws[i].State != report.Away {
			e.address[ws[i].Name], e.present[ws[i].ID] = ws[i].Address, ws[i].Name
		}
	}
}

// openLend opens the stream over which a worker reads and writes files of this machine.
func (e *cluster) openLend(ctx context.Context, name string) (remote.LendStream, error) {
	w, err := e.connect(name)
	if err != nil {
		return nil, err
	}
	return remote.OpenLend(ctx, w.conn)
}

// router returns a router that finds the workers with files of a dataset.
func (e *cluster) router() *remote.Router {
	return &remote.Router{
		Holders: func(ctx context.Context, dataset string) (here, away []string, err error) {
			ws, err := e.client.AllWorkers(ctx)
			if err != nil {
				return nil, nil, err
			}
			e.rememberWorkers(ws)
			offered := map[string]bool{}
			for i := range ws {
				for _, d := range ws[i].Datasets {
					offered[d] = true
				}
				switch w := &ws[i]; {
				case !slices.Contains(w.Datasets, dataset):
				case w.State == report.Away:
					away = append(away, w.ID)
				default:
					here = append(here, w.ID)
				}
			}
			if !offered[dataset] {
				return nil, nil, remote.UnknownDataset(dataset, slices.Sorted(maps.Keys(offered)))
			}
			return here, away, nil
		},
		Patience: time.Second,
		Find:     remote.Finder(func() (*grpc.ClientConn, error) { return e.client.Conn(), nil }),
		Peer: func(ctx context.Context, id string, anew bool) (remote.Caller, error) {
			if anew {
				ws, err := e.client.Workers(ctx)
				if err != nil {
					return nil, err
				}
				e.rememberWorkers(ws)
			}
			e.mu.Lock()
			name := e.present[id]
			e.mu.Unlock()
			if name == "" {
				return nil, errors.New("the coordinator has no address of it; check that the worker runs")
			}
			w, err := e.connect(name)
			if err != nil {
				return nil, err
			}
			return remote.Conn(w.conn), nil
		},
	}
}

var errNoWorkers = errors.New("the cluster has no workers; start one with: layshaft worker -join GOSSIP_ADDRESS -data DIR")

// newLender returns a lender of files of this machine, under a random name.
func newLender() (*remote.Lender, error) {
	id := make([]byte, 16)
	_, _ = rand.Read(id) // never fails
	return remote.NewLender(hex.EncodeToString(id))
}

// maxWant is how many times the coordinator is asked for an output, one second apart, before the
// client stops waiting for it.
const maxWant = 15

// asideLimit is the time limit for reading the bad records of a failed job from all workers.
const asideLimit = 10 * time.Second

func (e *cluster) rerunTask(context.Context, job.Launch) (*job.Manifest, error) {
	return nil, errors.New("verify runs inside the process: leave out -cluster")
}
