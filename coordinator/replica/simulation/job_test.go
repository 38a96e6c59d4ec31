package simulation

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"github.com/anishathalye/porcupine"

	"github.com/layshaft/layshaft/coordinator"
	"github.com/layshaft/layshaft/coordinator/internal/sched"
	"github.com/layshaft/layshaft/internal/job"
	"github.com/layshaft/layshaft/internal/report"
	"github.com/layshaft/layshaft/internal/wire"
)

// The model of a job: it is submitted once, however often a client asks, ends once, and when it is
// done, each of its tasks has one committed attempt for all time.

type jobOperation byte

const (
	jobSubmit jobOperation = iota
	jobCancel
	jobStatus
	jobWait
)

func (o jobOperation) String() string {
	return [...]string{"submit", "cancel", "status of", "wait for"}[o]
}

type jobInput struct {
	op jobOperation
	id job.ID
}

func (in jobInput) String() string { return fmt.Sprintf("%v job %s", in.op, in.id) }

// jobOutput is an answer, and the state of the model.
type jobOutput struct {
	lost  bool // no answer
	state phase
	text  string // committed attempts, if the job is done
}

func (o jobOutput) String() string {
	if o.lost {
		return "no answer"
	}
	return fmt.Sprintf("%v %s", o.state, o.text)
}

// unseen is the text of a job that was done before any client saw it.
const unseen = "unseen"

// step returns the states that may follow.
func (s jobOutput) step(in jobInput, out jobOutput) (next []any) {
	live, cancelled := jobOutput{state: stateLive}, jobOutput{state: stateCancelled}
	switch in.op {
	case jobSubmit:
		if out.lost || s.state != stateUnknown {
			next = append(next, s)
		}
		if s.state == stateUnknown {
			next = append(next, live)
		}
	case jobCancel:
		if out.lost || s.state != stateLive {
			next = append(next, s)
		}
		if s.state == stateLive {
			next = append(next, cancelled, jobOutput{state: stateDone, text: unseen})
		}
		if !out.lost && (out.state == stateUnknown) != (s.state == stateUnknown) {
			return nil
		}
	default:
		done := s
		if (s.state == stateLive || s.text == unseen) && out.state == stateDone {
			done = out
		}
		if out.lost || done == out {
			next = append(next, done)
		}
	}
	return next
}

var jobModel = (&porcupine.NondeterministicModel{
	Partition: func(all []porcupine.Operation) (parts [][]porcupine.Operation) {
		by := map[job.ID]int{}
		for _, o := range all {
			id := o.Input.(jobInput).id
			if _, ok := by[id]; !ok {
				by[id] = len(parts)
				parts = append(parts, nil)
			}
			parts[by[id]] = append(parts[by[id]], o)
		}
		return parts
	},
	Init:              func() []any { return []any{jobOutput{}} },
	Step:              func(s, in, out any) []any { return s.(jobOutput).step(in.(jobInput), out.(jobOutput)) },
	Equal:             func(a, b any) bool { return a.(jobOutput) == b.(jobOutput) },
	DescribeOperation: func(in, out any) string { return fmt.Sprintf("%v: %v", in, out) },
}).ToModel()

// A job has two stages.
const mapTasks, reduceTasks = 3, 2

func jobSpec(id job.ID) job.Spec {
	return job.Spec{ID: id, Name: "simulated", Hash: "abc", Stages: []job.Stage{
		{Name: "map", Tasks: mapTasks}, {Name: "reduce", Tasks: reduceTasks, Inputs: []job.Edge{{From: 0}}},
	}}
}

// jobClient makes requests about jobs, one after another.
type jobClient struct {
	client
	submitted []job.ID
}

func newJobClient(c *cluster, n int, seed uint64) *jobClient {
	return &jobClient{client: *newClient(c, n, seed)}
}

// run makes requests until ctx ends or it has made all. At the end it waits for all its jobs.
func (k *jobClient) run(ctx context.Context, requests int) {
	for i := 0; i < requests && ctx.Err() == nil; i++ {
		if sleep(ctx, time.Duration(k.rng.Int64N(int64(1500*time.Millisecond)))) != nil {
			return
		}
		choice := k.rng.IntN(20)
		switch {
		case choice < 8 || len(k.submitted) == 0:
			k.submit(ctx, job.ID(fmt.Sprintf("j%d", k.rng.IntN(3))))
		case choice < 13:
			k.ask(ctx, jobStatus, k.submitted[k.rng.IntN(len(k.submitted))])
		case choice < 19:
			k.ask(ctx, jobWait, k.submitted[k.rng.IntN(len(k.submitted))])
		default:
			k.cancelJob(ctx, k.submitted[k.rng.IntN(len(k.submitted))])
		}
	}
	for _, id := range k.submitted {
		k.ask(ctx, jobWait, id)
	}
}

// begin notes a request. The returned function notes its answer.
func (k *jobClient) begin(in jobInput) (end func(out jobOutput)) {
	h := k.c.log
	h.note("p%d: %v", k.n, in)
	at := len(k.ops)
	k.ops = append(k.ops, porcupine.Operation{ClientId: k.n, Input: in, Call: int64(time.Since(h.begin)), Output: jobOutput{lost: true}, Return: forever})
	return func(out jobOutput) {
		k.ops[at].Output, k.ops[at].Return = out, int64(time.Since(h.begin))
		h.note("p%d: %v: %v", k.n, in, out)
	}
}

func (k *jobClient) fail(ctx context.Context, in jobInput, err error) {
	if ctx.Err() == nil {
		k.c.problem("p%d: %v: %v", k.n, in, err)
	}
}

func (k *jobClient) submit(ctx context.Context, id job.ID) {
	in := jobInput{jobSubmit, id}
	end := k.begin(in)
	_, _, err := try(ctx, &k.client, func(ctx context.Context, s *server, _ bool) (bool, error) {
		return true, s.jobs.Submit(ctx, jobSpec(id), report.Options{Detached: true})
	})
	if err != nil {
		k.fail(ctx, in, err)
		return
	}
	end(jobOutput{state: stateLive})
	if !slices.Contains(k.submitted, id) {
		k.submitted = append(k.submitted, id)
	}
}

func (k *jobClient) cancelJob(ctx context.Context, id job.ID) {
	in := jobInput{jobCancel, id}
	end := k.begin(in)
	_, _, err := try(ctx, &k.client, func(ctx context.Context, s *server, _ bool) (bool, error) {
		err := s.jobs.Cancel(ctx, id, "a client asks")
		if errors.Is(err, coordinator.ErrUnknownJob) {
			err = s.verify(err)
		}
		return true, err
	})
	switch {
	case errors.Is(err, coordinator.ErrUnknownJob):
		end(jobOutput{})
	case err != nil:
		k.fail(ctx, in, err)
	default:
		end(jobOutput{state: stateCancelled})
	}
}

// ask asks for the state of a job, or waits for its end.
func (k *jobClient) ask(ctx context.Context, op jobOperation, id job.ID) {
	in := jobInput{op, id}
	end := k.begin(in)
	out, _, err := try(ctx, &k.client, func(ctx context.Context, s *server, _ bool) (jobOutput, error) {
		out, err := s.stateOf(ctx, op, id)
		return out, s.verify(err)
	})
	switch {
	case errors.Is(err, coordinator.ErrUnknownJob):
		end(jobOutput{})
		return
	case err != nil:
		k.fail(ctx, in, err)
		return
	}
	end(out)
	if out.state == stateDone {
		k.c.checkCommits(id, strings.Fields(out.text))
	}
}

// stateOf returns the state of a job; with jobWait, after its end.
func (s *server) stateOf(ctx context.Context, op jobOperation, id job.ID) (jobOutput, error) {
	if err := s.jobs.Ready(ctx); err != nil {
		return jobOutput{}, err
	}
	if op == jobWait {
		var ended *report.JobError
		if err := s.jobs.Wait(ctx, id); err != nil && !errors.As(err, &ended) {
			return jobOutput{}, err
		}
	}
	st, ok := s.jobs.Status(id)
	if !ok {
		return jobOutput{}, coordinator.ErrUnknownJob
	}
	switch st.Outcome {
	case report.JobRunning:
		return jobOutput{state: stateLive}, nil
	case report.JobCancelled:
		return jobOutput{state: stateCancelled}, nil
	case report.JobFailed:
		return jobOutput{state: stateFailed, text: st.Failure.Error()}, nil
	}
	var all []string
	for _, p := range s.jobs.Commits(id, 1) { // outputs of the first stage have been dropped, or will be
		if p.Attempt.N == 0 { // its holder has not joined yet
			return jobOutput{}, wire.ErrUnavailable
		}
		all = append(all, p.Attempt.String())
	}
	slices.Sort(all)
	return jobOutput{state: stateDone, text: strings.Join(all, " ")}, nil
}

// checkCommits checks that the last stage of a job is done by attempts that a worker has finished, one
// for each task.
func (c *cluster) checkCommits(id job.ID, all []string) {
	tasks := map[string]bool{}
	for _, a := range all {
		c.mu.Lock()
		finished := c.finished[string(id)+" "+a]
		c.mu.Unlock()
		if !finished {
			c.problem("job %s: attempt %s is committed, and no worker has finished it", id, a)
		}
		task, _, _ := strings.Cut(a, "#")
		tasks[task] = true
	}
	if len(tasks) != reduceTasks || len(all) != len(tasks) {
		c.problem("job %s: is done with the commits %v", id, all)
	}
}

// jobWorker runs attempts of jobs. Like a real worker, it keeps its attempts and outputs when a
// connection breaks, lists them at the next one, and repeats a report until it is confirmed.
type jobWorker struct {
	c       *cluster
	name    string
	rng     *rand.Rand
	to      string
	epoch   int // the highest that it has obeyed
	running map[job.Attempt]bool
	// outputs are finished attempts; the value means that the report is confirmed.
	outputs  map[job.Attempt]bool
	finished chan job.Attempt
}

func newJobWorker(c *cluster, n int, seed uint64) *jobWorker {
	return &jobWorker{c: c, name: fmt.Sprintf("jw%d", n), rng: rand.New(rand.NewPCG(seed, 500+uint64(n))), to: c.peers[0], running: map[job.Attempt]bool{}, outputs: map[job.Attempt]bool{},
		finished: make(chan job.Attempt, 1024)}
}

// orders is the coordinator's end of a connection. It implements coordinator.RemoteWorker.
type orders chan order

// order is a message to a worker.
type order struct {
	launch, cancel, drop, ack *job.Attempt
	dropJob                   job.ID
	loseLease                 bool
}

func (l orders) put(o order) {
	select {
	case l <- o:
	default: // nobody reads any longer
	}
}

func (l orders) Launch(x job.Launch)  { l.put(order{launch: &x.Attempt}) }
func (l orders) Cancel(a job.Attempt) { l.put(order{cancel: &a}) }
func (l orders) Drop(a job.Attempt)   { l.put(order{drop: &a}) }
func (l orders) DropJob(id job.ID)    { l.put(order{dropJob: id}) }
func (l orders) LoseLease()           { l.put(order{loseLease: true}) }
func (l orders) Drain()               {}
func (l orders) Drained()             {}
func (l orders) Copy(job.Producer)    {}

// run works until ctx ends.
func (w *jobWorker) run(ctx context.Context) {
	for ctx.Err() == nil {
		w.connect(ctx)
		_ = sleep(ctx, 50*time.Millisecond+time.Duration(w.rng.Int64N(int64(200*time.Millisecond))))
	}
}

// connect works with one coordinator until the connection breaks.
func (w *jobWorker) connect(ctx context.Context) {
	n := w.c.node(w.to)
	w.to = w.c.peers[w.rng.IntN(len(w.c.peers))]
	p := n.running(ctx)
	if p == nil {
		return
	}
	p.mu.Lock()
	s := p.serves
	p.mu.Unlock()
	if s == nil {
		if leader := p.r.Leader(); leader != "" {
			w.to = leader
		}
		return
	}
	w.to = n.address
	// post sends a message.
	post := func(send func() error) bool {
		return sleep(ctx, trip(w.rng)) == nil && n.running(ctx) == p && !isClosed(p.dead) && send() == nil
	}
	l := make(orders, 1024)
	if !post(func() error { return w.join(ctx, s, l) }) {
		return
	}
	w.c.log.note("%s joins %s, term %d, epoch %d", w.name, n.address, s.term, w.epoch)
	heartbeat := time.NewTicker(2 * time.Second)
	defer heartbeat.Stop()
	for _, a := range inOrder(w.outputs) {
		if !w.outputs[a] && !post(w.report(s, l, a)) {
			return
		}
	}
	for {
		select {
		case o := <-l:
			if sleep(ctx, trip(w.rng)) != nil || n.running(ctx) != p || isClosed(p.dead) || w.rng.IntN(200) == 0 {
				return
			}
			if o.loseLease || o.cancel != nil && !post(w.fail(s, *o.cancel, job.Cancelled)) {
				return
			}
			w.obey(o)
		case a := <-w.finished:
			if !w.running[a] {
				continue
			}
			if w.rng.IntN(20) == 0 {
				if !post(w.fail(s, a, job.Transient)) {
					w.finished <- a // at the next connection
					return
				}
				continue
			}
			w.finish(a)
			if !post(w.report(s, l, a)) {
				return
			}
		case <-heartbeat.C:
			if !post(func() error { return s.jobs.Running(w.name, w.attempts()) }) {
				return
			}
		case <-s.jobs.Stopped():
			return
		case <-p.dead:
			return
		case <-ctx.Done():
			return
		}
	}
}

// join joins a coordinator, unless it is older than another one.
func (w *jobWorker) join(ctx context.Context, s *server, l orders) error {
	if err := s.jobs.Ready(ctx); err != nil {
		return err
	}
	if epoch := s.jobs.Epoch(); epoch < w.epoch {
		return errConnection
	}
	w.epoch = s.jobs.Epoch()
	return s.jobs.JoinAs(sched.WorkerJoined{Worker: w.name, WorkerID: w.name, Slots: 2, Outputs: inOrder(w.held(true)), Running: w.attempts()}, l)
}

// held returns the outputs whose reports are confirmed, or the others.
func (w *jobWorker) held(confirmed bool) map[job.Attempt]bool {
	m := maps.Clone(w.outputs)
	maps.DeleteFunc(m, func(_ job.Attempt, is bool) bool { return is != confirmed })
	return m
}

// attempts returns the attempts that run, or whose reports are not confirmed.
func (w *jobWorker) attempts() []job.Attempt {
	return append(inOrder(w.running), inOrder(w.held(false))...)
}

// inOrder returns the attempts of a map, sorted.
func inOrder(m map[job.Attempt]bool) []job.Attempt {
	return slices.SortedFunc(maps.Keys(m), func(a, b job.Attempt) int {
		return cmp.Or(cmp.Compare(a.Job, b.Job), cmp.Compare(a.Task.Stage, b.Task.Stage), cmp.Compare(a.Task.Index, b.Task.Index), cmp.Compare(a.N, b.N))
	})
}

// finish notes the output of an attempt.
func (w *jobWorker) finish(a job.Attempt) {
	delete(w.running, a)
	w.outputs[a] = false
	w.c.mu.Lock()
	w.c.finished[string(a.Job)+" "+a.String()] = true
	w.c.mu.Unlock()
	w.c.log.note("%s: finishes %s %v", w.name, a.Job, a)
}

// report returns a function that reports an output.
func (w *jobWorker) report(s *server, l orders, a job.Attempt) func() error {
	return func() error {
		return s.jobs.Post(sched.AttemptDone{Worker: w.name, Attempt: a, Summary: sched.Summary{Bytes: 1, Records: 1}}, func() { l.put(order{ack: &a}) })
	}
}

// fail returns a function that ends a running attempt without an output.
func (w *jobWorker) fail(s *server, a job.Attempt, kind job.Kind) func() error {
	return func() error {
		if !w.running[a] {
			return nil
		}
		delete(w.running, a)
		return s.jobs.Post(sched.AttemptFailed{Worker: w.name, Attempt: a, Failure: job.Failure{Kind: kind, Message: "simulated"}}, nil)
	}
}

// obey handles a message.
func (w *jobWorker) obey(o order) {
	switch {
	case o.launch != nil:
		a := *o.launch
		if _, done := w.outputs[a]; done || w.running[a] {
			return
		}
		w.running[a] = true
		w.c.log.note("%s: runs %s %v", w.name, a.Job, a)
		took := time.Millisecond + time.Duration(w.rng.Int64N(int64(400*time.Millisecond)))
		time.AfterFunc(took, func() { w.finished <- a })
	case o.drop != nil:
		w.c.log.note("%s: drops %s %v", w.name, o.drop.Job, o.drop)
		delete(w.outputs, *o.drop)
	case o.dropJob != "":
		for a := range w.outputs {
			if a.Job == o.dropJob {
				delete(w.outputs, a)
			}
		}
	case o.ack != nil:
		if _, ok := w.outputs[*o.ack]; ok {
			w.outputs[*o.ack] = true
		}
	}
}

// unfinished describes the jobs that have not ended, as the leader sees them.
func (c *cluster) unfinished() string {
	l := c.leader()
	if l == nil {
		return "nobody leads"
	}
	s := l.serving()
	if s == nil {
		return "nobody leads"
	}
	var b strings.Builder
	for _, id := range s.jobs.Jobs() {
		if st, ok := s.jobs.Status(id); ok && (st.Outcome == report.JobRunning || st.Reason != "") {
			fmt.Fprintf(&b, "job %s %v: %s, %+v; ", id, st.Outcome, st.Reason, st.Stages)
		}
		fmt.Fprintf(&b, "%s commits %v; ", id, s.jobs.Commits(id, 1))
	}
	for _, w := range s.jobs.Workers() {
		fmt.Fprintf(&b, "%+v; ", w)
	}
	return b.String()
}
