package sched

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/layshaft/layshaft/internal/job"
	"github.com/layshaft/layshaft/internal/report"
)

var update = flag.Bool("update", false, "rewrite the answers in testdata")

// TestScripts plays the scripts in testdata. The first line of a script says what it tests. A
// script is a list of blocks, separated by empty lines: events, a line of four dashes, the core's
// answers.
//
//	config KEY=VALUE ...          first of all; keys: lease, settle, rejoin (no wait unless given),
//	                              retry, locality, speculate, block, retain, return, attempts,
//	                              input-lost
//	job ID [OPTION] STAGE ...     options: priority=N interactive tags=T,T code=C platform=P
//	join WORKER SLOTS [OPTION]    options: zone=Z outputs=A,A running=A,A reserved=N tags=T,T
//	                              codes=C,C platform=P ships draining id=ID datasets=D,D
//	leave WORKER
//	withdraw ID
//	away                          prints the offers of workers that are away
//	beat WORKER [A ...]           with a list of running attempts, - for an empty list
//	done A on WORKER [parts=MiB,MiB] [bad=N]
//	fail A on WORKER KIND MESSAGE [lost=A,A] [crashed] [record=N]
//	gone A                        the output cannot be read
//	miss A [at=WORKER]            a client cannot read it
//	drain WORKER [permanent]
//	moved A to WORKER
//	workers                       prints the workers
//	grant TICKET                  of budgets
//	short TICKET [WHY]            of budgets
//	want CLASS N of ID            queued tasks that wait for the worker with the ID
//	started CLASS on ID
//	over CLASS on ID
//	cancel JOB WHY
//	drop JOB
//	release JOB
//	status JOB                    prints the job
//	advance DURATION
//	restart
//	settled
//	sleep DURATION                nothing happens: the coordinator itself does not run
//
// A STAGE is [-]NAME:TASKS[/SLICES][%BUDGET:N,BUDGET:N][@HOST,HOST;HOST][<0,1]: a minus sign marks
// an inner stage, % the budgets of each attempt, @ the hosts of its splits in turn (of 10 bytes
// each), < the stages that it reads, and << the stage that it combines. An attempt A is
// STAGE/TASK#N of the job named last, or JOB:STAGE/TASK#N.
func TestScripts(t *testing.T) {
	files, _ := filepath.Glob("testdata/*.txt")
	if len(files) == 0 {
		t.Fatal("no scripts in testdata")
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) {
			b, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			p := &player{cfg: Config{Rejoin: -1}, now: time.Unix(0, 0)}
			var out []string
			for block := range strings.SplitSeq(strings.TrimSpace(string(b)), "\n\n") {
				in, _, _ := strings.Cut(block+"\n", "----\n")
				answers := p.play(t, in)
				if answers != "" || strings.Contains(block, "----") {
					answers = "----\n" + answers
				}
				out = append(out, strings.TrimSpace(in)+"\n"+answers)
			}
			got := strings.Join(out, "\n")
			if *update {
				if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
			} else if got != string(b) {
				t.Errorf("answers differ; run with -update and review the diff. Got:\n%s", got)
			}
		})
	}
}

type player struct {
	cfg     Config
	core    *Scheduler
	now     time.Time
	records []Record
	job     job.ID
	out     strings.Builder
}

func (p *player) play(t *testing.T, in string) string {
	p.out.Reset()
	for line := range strings.SplitSeq(in, "\n") {
		if f := strings.Fields(line); len(f) > 0 && !strings.HasPrefix(line, "#") {
			p.line(t, f)
		}
	}
	return p.out.String()
}

func (p *player) line(t *testing.T, f []string) {
	if f[0] == "config" {
		for _, kv := range f[1:] {
			k, v, _ := strings.Cut(kv, "=")
			if n := map[string]*int{"attempts": &p.cfg.MaxAttempts, "input-lost": &p.cfg.MaxInputLost}[k]; n != nil {
				*n, _ = strconv.Atoi(v)
				continue
			}
			d, err := time.ParseDuration(v)
			if err != nil {
				t.Fatal(err)
			}
			*map[string]*time.Duration{"lease": &p.cfg.LeaseTTL, "settle": &p.cfg.Settle, "rejoin": &p.cfg.Rejoin, "retry": &p.cfg.RetryDelay,
				"locality": &p.cfg.LocalityWait, "retain": &p.cfg.Retain, "return": &p.cfg.Return, "speculate": &p.cfg.SpeculateAfter, "block": &p.cfg.BlockFor}[k] = d
		}
		return
	}
	if p.core == nil {
		p.core = New(p.cfg)
	}
	words := func(name string) []string {
		for _, x := range f {
			if v, ok := strings.CutPrefix(x, name+"="); ok {
				return strings.Split(v, ",")
			}
		}
		return nil
	}
	word := func(name string) string { return strings.Join(words(name), ",") }
	number := func(name string) int { n, _ := strconv.Atoi(word(name)); return n }
	opt := func(name string) []job.Attempt { return p.attempts(words(name)...) }
	switch f[0] {
	case "job":
		p.job = job.ID(f[1])
		spec := job.Spec{ID: p.job}
		for _, x := range f[2:] {
			if strings.Contains(x, ":") {
				spec.Stages = append(spec.Stages, parseStage(x))
			}
		}
		if err := Check(&spec); err != nil {
			t.Error(err)
		}
		p.step(t, Submitted{spec, Options{Priority: number("priority"), Interactive: slices.Contains(f, "interactive"), Tags: words("tags"),
			Code: word("code"), Platform: word("platform")}})
	case "join":
		slots, _ := strconv.Atoi(f[2])
		p.step(t, WorkerJoined{Worker: f[1], Slots: slots, Zone: word("zone"), Outputs: opt("outputs"), Running: opt("running"),
			Reserved: number("reserved"), Tags: words("tags"), Codes: words("codes"), Platform: word("platform"),
			WorkerID: word("id"), Datasets: words("datasets"), AllowsShippedCode: slices.Contains(f, "ships"), Draining: slices.Contains(f, "draining")})
	case "leave":
		p.step(t, WorkerLost{f[1]})
	case "withdraw":
		p.step(t, WorkerWithdrawn{f[1]})
	case "away":
		for _, o := range p.core.AwayOffers() {
			fmt.Fprintf(&p.out, "away %s: %s\n", o.WorkerID, strings.Join(o.Datasets, " "))
		}
	case "beat":
		hb := Heartbeat{Worker: f[1]}
		if len(f) > 2 {
			hb.Running = []job.Attempt{}
			if f[2] != "-" {
				hb.Running = p.attempts(f[2:]...)
			}
		}
		p.step(t, hb)
	case "done":
		done := AttemptDone{Worker: f[3], Attempt: p.attempts(f[1])[0]}
		for _, x := range words("parts") {
			n, _ := strconv.ParseInt(x, 10, 64)
			done.PartitionBytes = append(done.PartitionBytes, n<<20)
		}
		if n := number("bad"); n > 0 {
			done.Summary.Counters = map[string]int64{job.Bad: int64(n)}
		}
		p.step(t, done)
	case "drain":
		p.step(t, DrainWorker{Worker: f[1], Permanent: slices.Contains(f, "permanent")})
	case "moved":
		p.step(t, OutputMoved{f[3], p.attempts(f[1])[0]})
	case "workers":
		for _, w := range p.core.Workers(p.now) {
			queued := ""
			if w.QueuedTasks > 0 {
				queued = fmt.Sprintf("%d queued tasks, ", w.QueuedTasks)
			}
			fmt.Fprintf(&p.out, "%s: %d of %d slots, %s%d reserved; draining %v, blocked %v, silent %v\n",
				w.Name, w.Running, w.Slots, queued, w.Reserved, w.State == report.Draining, w.State == report.Blocked, w.Silent.Duration())
			if w.WaitingReason != "" {
				fmt.Fprintf(&p.out, "  waits: %s\n", w.WaitingReason)
			}
		}
	case "grant":
		n, _ := strconv.Atoi(f[1])
		p.step(t, BudgetsGranted{uint64(n)})
	case "short":
		n, _ := strconv.Atoi(f[1])
		p.step(t, BudgetsShort{uint64(n), strings.Join(f[2:], " ")})
	case "want":
		n, _ := strconv.Atoi(f[2])
		p.step(t, QueuedWaiting{f[4], classOf(f[1]), n})
	case "started":
		p.step(t, QueuedStarted{f[3], classOf(f[1])})
	case "over":
		p.step(t, QueuedEnded{f[3], classOf(f[1])})
	case "fail":
		kinds := map[string]job.Kind{"transient": job.Transient, "fatal": job.Fatal, "input-lost": job.InputLost, "cancelled": job.Cancelled, "poison": job.Poison}
		p.step(t, AttemptFailed{f[3], p.attempts(f[1])[0], job.Failure{Kind: kinds[f[4]], Message: f[5], Lost: opt("lost"),
			Crashed: slices.Contains(f, "crashed"), Number: int64(number("record"))}})
	case "gone":
		p.step(t, OutputLost{p.attempts(f[1])[0]})
	case "miss":
		p.step(t, OutputWanted{p.attempts(f[1])[0], word("at")})
	case "cancel":
		p.step(t, Cancelled{job.ID(f[1]), strings.Join(f[2:], " ")})
	case "drop":
		p.step(t, JobDropped{job.ID(f[1])})
	case "release":
		p.step(t, JobReleased{job.ID(f[1])})
	case "settled":
		p.step(t, Settled{})
	case "restart":
		p.core = New(p.cfg)
		for _, r := range p.records {
			p.core.Restore(r)
		}
		p.step(t, Restarted{})
	case "sleep":
		d, err := time.ParseDuration(f[1])
		if err != nil {
			t.Fatal(err)
		}
		p.now = p.now.Add(d)
		p.step(t, Woke{})
	case "advance":
		d, err := time.ParseDuration(f[1])
		if err != nil {
			t.Fatal(err)
		}
		end := p.now.Add(d)
		for next := p.core.Next(); !next.IsZero() && !next.After(end); next = p.core.Next() {
			if next.After(p.now) {
				p.now = next
			}
			p.step(t, Tick{})
		}
		p.now = end
	case "status":
		st, _ := p.core.Status(job.ID(f[1]))
		fmt.Fprintf(&p.out, "%s %s\n", st.ID, st.Outcome)
		if st.Reason != "" {
			fmt.Fprintf(&p.out, "  %s\n", st.Reason)
		}
		for k, x := range st.Stages {
			fmt.Fprintf(&p.out, "  %d %s: %d tasks = %d waiting + %d running + %d done + %d failed + %d cancelled; attempts: %d running, %d failed",
				k, x.Name, x.Tasks, x.Waiting, x.Running, x.Done, x.Failed, x.Cancelled, x.Attempts, x.FailedAttempts)
			if x.Lost > 0 {
				fmt.Fprintf(&p.out, ", %d lost", x.Lost)
			}
			if x.LastFailure != "" {
				fmt.Fprintf(&p.out, ", the last: %s", x.LastFailure)
			}
			if l := x.Sum.Locality; l != (report.Locality{}) {
				fmt.Fprintf(&p.out, "; %d local, %d zone, %d remote, of %d %d %d bytes", l.Local, l.Zone, l.Remote, l.LocalBytes, l.ZoneBytes, l.RemoteBytes)
			}
			fmt.Fprintln(&p.out)
		}
	default:
		t.Fatalf("unknown word %q", f[0])
	}
}

func classOf(word string) QueuedClass {
	return map[string]QueuedClass{"high": QueuedHigh, "normal": QueuedNormal, "low": QueuedLow}[word]
}

func parseStage(x string) job.Stage {
	x, reads, _ := strings.Cut(x, "<")
	x, hosts, _ := strings.Cut(x, "@")
	x, needs, _ := strings.Cut(x, "%")
	name, tasks, _ := strings.Cut(x, ":")
	st := job.Stage{}
	st.Name, st.Inner = strings.CutPrefix(name, "-")
	for need := range strings.SplitSeq(needs, ",") {
		if budget, n, ok := strings.Cut(need, ":"); ok {
			amount, _ := strconv.Atoi(n)
			st.Needs = append(st.Needs, job.Need{Budget: budget, N: amount})
		}
	}
	tasks, each, _ := strings.Cut(tasks, "/")
	st.Tasks, _ = strconv.Atoi(tasks)
	st.Slices, _ = strconv.Atoi(each)
	if hosts != "" {
		for i := range st.Tasks {
			all := strings.Split(hosts, ";")
			st.Splits = append(st.Splits, job.Split{Label: strconv.Itoa(i), Bytes: 10, Hosts: strings.Split(all[i%len(all)], ",")})
		}
	}
	reads, st.Combine = strings.CutPrefix(reads, "<")
	mode := job.Shuffle
	if st.Combine {
		mode = job.Group
	}
	for r := range strings.SplitSeq(reads, ",") {
		if from, err := strconv.Atoi(r); err == nil {
			st.Inputs = append(st.Inputs, job.Edge{From: from, Mode: mode})
		}
	}
	return st
}

func (p *player) attempts(words ...string) []job.Attempt {
	var as []job.Attempt
	for _, w := range words {
		a := job.Attempt{Job: p.job}
		if id, rest, ok := strings.Cut(w, ":"); ok {
			a.Job, w = job.ID(id), rest
		}
		if _, err := fmt.Sscanf(w, "%d/%d#%d", &a.Task.Stage, &a.Task.Index, &a.N); err == nil {
			as = append(as, a)
		}
	}
	return as
}

func (p *player) step(t *testing.T, ev Event) {
	for _, c := range p.core.Step(p.now, ev) {
		if w, ok := c.(Write); ok {
			p.records = append(p.records, w.Record)
			continue
		}
		if _, ok := c.(AttemptEnded); ok {
			continue
		}
		fmt.Fprintln(&p.out, describe(c))
	}
	for _, bad := range Audit(p.core) {
		t.Errorf("after %T: %s", ev, bad)
	}
}

func describe(c Command) string {
	name := func(a job.Attempt) string { return string(a.Job) + ":" + a.String() }
	switch c := c.(type) {
	case Launch:
		s := fmt.Sprintf("launch %s on %s", name(c.Launch.Attempt), c.Worker)
		for _, edge := range c.Launch.Producers {
			s += " reading"
			for _, p := range edge {
				s += fmt.Sprintf(" %s@%s", p.Attempt, p.Worker)
			}
		}
		if c.Launch.Isolated {
			s += " alone"
		}
		for _, x := range c.Launch.Skips {
			s += fmt.Sprintf(" skipping %d (%s)", x.Number, x.Reason)
		}
		if c.Speculative {
			s += " speculative"
		}
		return s
	case CancelAttempt:
		return fmt.Sprintf("cancel %s on %s", name(c.Attempt), c.Worker)
	case Commit:
		return fmt.Sprintf("commit %s on %s", name(c.Attempt), c.Worker)
	case Refuse:
		return fmt.Sprintf("refuse %s on %s", name(c.Attempt), c.Worker)
	case Copy:
		return fmt.Sprintf("copy %s from %s to %s", name(c.Output.Attempt), c.Output.Worker, c.To)
	case Drained:
		return "drained " + c.Worker
	case GrantQueued:
		return fmt.Sprintf("grant %s on %s", [...]string{"high", "normal", "low"}[c.Class], c.WorkerID)
	case AcquireBudgets:
		return fmt.Sprintf("acquire %d: %v, in use %v", c.Ticket, c.Needs, c.InUse)
	case ReleaseBudgets:
		return fmt.Sprintf("release budgets of %d", c.Ticket)
	case WorkerGone:
		return "lost " + c.Worker
	case JobEnded:
		if c.Empty {
			return fmt.Sprintf("ended %s %s, empty", c.Job, c.Outcome)
		}
		if c.Failure != nil {
			return fmt.Sprintf("ended %s %s: %s", c.Job, c.Outcome, c.Failure.Message)
		}
		return fmt.Sprintf("ended %s %s", c.Job, c.Outcome)
	case Release:
		return fmt.Sprintf("release %s stage %d: %d outputs", c.Job, c.Stage, len(c.Outputs))
	}
	return fmt.Sprintf("%T", c)
}
