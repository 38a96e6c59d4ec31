package queue

import (
	"flag"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

var update = flag.Bool("update", false, "rewrite the answers in testdata")

// TestScripts runs the scripts in testdata. A script is a list of blocks, separated by empty lines: lines
// for the queue, a line of four dashes, and the expected answers. Peers are numbers. Tasks and groups have
// the names from their submit. The lines are:
//
//	submit NAME FUNCTION [high|low] [durable] [for=PEER] [unique=KEY [fresh]] [due=DURATION]
//	       [attempts=N] [backoff=D] [soft=D] [hard=D] [keep=D]
//	       [parent=NAME] [group=G [place=N]] [then=FUNCTION,...] [token=N [repeated]]
//	group NAME [partial] [durable] [then=FUNCTION,...] [token=N [repeated]] · close G · gathered NAME · ungathered NAME
//	can PEER FUNCTION [D] · cannot PEER FUNCTION · slots PEER N [RESERVED] [share=S]
//	grant S high|normal|low · grab PEER [N] · sleep PEER · gone PEER [left]
//	claim PEER NAME [from=PEER]
//	report PEER NAME data|warning|progress|exception|done|failed|fatal [SIZE]
//	attach PEER NAME [parent=NAME] · lead PEER NAME LEADER · detach PEER NAME · cancel NAME · now NAME · retry NAME · forget NAME
//	limit FUNCTION [queue=N] [running=N] [rate=R] [burst=N] [paused] [needs=BUDGET:N]
//	drop FUNCTION · budget NAME N · acquire REF NAME N[/SIZE] [NAME N]... [restored] · release REF
//	advance D · stopped D (the coordinator itself does not run) · restart [D later] · status · dead FUNCTION · why NAME
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
			p := &player{q: New(Config{KeepDead: 1000 * time.Hour}), now: time.Unix(1e9, 0), ids: map[string]ID{}, names: map[ID]string{}, records: map[string][]byte{}}
			var out []string
			for block := range strings.SplitSeq(strings.TrimSpace(string(b)), "\n\n") {
				in, _, _ := strings.Cut(block+"\n", "----\n")
				p.out.Reset()
				for line := range strings.SplitSeq(in, "\n") {
					if f := strings.Fields(line); len(f) > 0 && !strings.HasPrefix(line, "#") {
						p.line(t, f)
					}
				}
				out = append(out, strings.TrimSpace(in)+"\n----\n"+p.out.String())
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
	q       *Queue
	now     time.Time
	ids     map[string]ID
	names   map[ID]string
	records map[string][]byte
	naming  string
	out     strings.Builder
}

var noticeNames = map[string]Notice{"data": Data, "warning": Warning, "progress": Progress, "exception": Exception, "done": Done, "failed": Failed,
	"fatal": Fatal, "cancelled": Cancelled, "timed out": TimedOut, "lost": Lost, "retrying": Retrying, "followed": Followed, "soft": Soft,
	"queue full": QueueFull, "invalid": Invalid, "busy": Busy, "too large": TooLarge, "circular": Circular}

func (w Notice) text() string {
	for s, x := range noticeNames {
		if x == w {
			return s
		}
	}
	return fmt.Sprint("notice ", uint8(w))
}

func (p *player) line(t *testing.T, f []string) {
	opt := map[string]string{}
	for _, x := range f {
		k, v, _ := strings.Cut(x, "=")
		opt[k] = v
	}
	num := func(s string) int {
		n, _ := strconv.Atoi(s)
		return n
	}
	dur := func(s string) time.Duration {
		d, err := time.ParseDuration(s)
		if err != nil && s != "" {
			t.Fatal(err)
		}
		return d
	}
	has := func(k string) bool { _, ok := opt[k]; return ok }
	var then []Next
	for fn := range strings.SplitSeq(opt["then"], ",") {
		if fn != "" {
			then = append(then, Next{Function: fn})
		}
	}
	arg := func(i int) string { return append(slices.Clone(f), "", "", "")[i] }
	peer, id := Peer(num(arg(1))), p.ids[arg(2)]
	p.naming = ""
	switch f[0] {
	case "submit":
		p.naming = f[1]
		s := &Submit{Function: f[2], Durable: has("durable"), Peer: Peer(num(opt["for"])), Unique: KeyOf(opt["unique"]), Fresh: has("fresh"), Group: p.ids[opt["group"]], Parent: p.ids[opt["parent"]], Place: num(opt["place"]), Then: then, Token: uint64(num(opt["token"])), Repeated: has("repeated"),
			Policy: Policy{Attempts: num(opt["attempts"]), Backoff: dur(opt["backoff"]), Soft: dur(opt["soft"]), Hard: dur(opt["hard"]), Keep: dur(opt["keep"])}}
		if has("high") {
			s.Priority = High
		} else if has("low") {
			s.Priority = Low
		}
		if has("due") {
			s.Due = p.now.Add(dur(opt["due"]))
		}
		p.step(t, s)
	case "group":
		p.naming = f[1]
		p.step(t, &OpenGroup{Then: then, Partial: has("partial"), Durable: has("durable"), Token: uint64(num(opt["token"])), Repeated: has("repeated")})
	case "close":
		p.step(t, &CloseGroup{p.ids[f[1]]})
	case "gathered":
		p.step(t, &Gathered{Task: p.ids[f[1]], Size: 1})
	case "can":
		p.step(t, &CanDo{peer, f[2], dur(arg(3))})
	case "cannot":
		p.step(t, &CantDo{peer, f[2]})
	case "slots":
		p.step(t, &SetSlots{peer, num(f[2]), num(arg(3)), opt["share"]})
	case "grant":
		p.step(t, &Grant{f[1], map[string]Priority{"high": High, "normal": Normal, "low": Low}[f[2]]})
	case "grab":
		p.step(t, &Grab{peer, num(arg(2))})
	case "sleep":
		p.step(t, &Sleep{peer})
	case "gone":
		p.step(t, &PeerGone{peer, has("left")})
	case "claim":
		p.step(t, &Claim{peer, id, Peer(num(opt["from"])), 1})
	case "report":
		p.step(t, &Report{Peer: peer, Task: id, Notice: noticeNames[f[3]], N: 1, M: 2, Size: num(arg(4))})
	case "ungathered":
		p.step(t, &GatherFailed{p.ids[f[1]]})
	case "attach":
		p.step(t, &Attach{Peer: peer, Task: id, Parent: p.ids[opt["parent"]]})
	case "lead":
		p.step(t, &Lead{Peer: peer, Task: id, Leader: p.ids[f[3]]})
	case "detach":
		p.step(t, &Detach{peer, id})
	case "cancel":
		p.step(t, &Cancel{Task: p.ids[f[1]]})
	case "now":
		p.step(t, &RunNow{Task: p.ids[f[1]]})
	case "retry":
		p.step(t, &Retry{Task: p.ids[f[1]]})
	case "forget":
		p.step(t, &Forget{Task: p.ids[f[1]]})
	case "limit":
		n := num(opt["queue"])
		l := Limits{Queue: [3]int{n, n, n}, Concurrency: num(opt["running"]), Burst: num(opt["burst"]), Weight: num(opt["weight"]), Paused: has("paused")}
		l.Rate, _ = strconv.ParseFloat(opt["rate"], 64)
		if b, n, ok := strings.Cut(opt["needs"], ":"); ok {
			l.Needs = []Need{{Budget: b, N: num(n)}}
		}
		p.step(t, &SetFunction{f[1], l})
	case "drop":
		p.step(t, &DropFunction{Function: f[1]})
	case "budget":
		p.step(t, &SetBudget{f[1], num(f[2])})
	case "acquire":
		a := &Acquire{Ref: uint64(num(f[1])), Restored: has("restored")}
		for i := 2; i+1 < len(f); i += 2 {
			n, size, _ := strings.Cut(f[i+1], "/")
			a.Needs = append(a.Needs, Need{f[i], num(n), num(size)})
		}
		p.step(t, a)
	case "release":
		p.step(t, &Release{uint64(num(f[1]))})
	case "advance":
		end := p.now.Add(dur(f[1]))
		for next := p.q.Next(); !next.IsZero() && !next.After(end); next = p.q.Next() {
			if next.After(p.now) {
				p.now = next
			}
			p.step(t, Tick{})
		}
		p.now = end
	case "stopped":
		p.now = p.now.Add(dur(f[1]))
		p.step(t, Woke{For: dur(f[1])})
	case "restart":
		p.now = p.now.Add(dur(arg(1)))
		p.q = New(Config{KeepDead: 1000 * time.Hour})
		for _, k := range slices.Sorted(maps.Keys(p.records)) {
			if err := p.q.Restore([]byte(k), p.records[k]); err != nil {
				t.Fatal(err)
			}
		}
		p.step(t, Restarted{})
	case "status":
		for _, x := range p.q.Functions() {
			fmt.Fprintf(&p.out, "%s: %d submitted =", x.Name, x.Counts.Submitted)
			for s := Waiting; s < states; s++ {
				fmt.Fprintf(&p.out, " + %d %s"[boolBit(s == Waiting)*2:], x.Counts.In[s], s)
			}
			fmt.Fprintf(&p.out, "; %d workers, %d dead letters\n", x.Workers, x.Dead)
		}
	case "why":
		fmt.Fprintf(&p.out, "%s: %s\n", f[1], p.q.WaitReason(p.ids[f[1]]))
	case "waiting":
		p.q.WaitingFunctions(func(name string, n int, stuck bool, why string) {
			fmt.Fprintf(&p.out, "%s: %d wait, stuck %v: %s\n", name, n, stuck, why)
		})
	case "dead":
		p.q.DeadLetters(f[1], 100, func(x Info) { fmt.Fprintf(&p.out, "dead %s after %d attempts\n", p.names[x.ID], x.Attempts) })
	default:
		t.Fatalf("unknown word %q", f[0])
	}
}

func (p *player) step(t *testing.T, ev Event) {
	for _, c := range p.q.Step(p.now, ev) {
		p.answer(c)
	}
	for _, bad := range p.q.Audit() {
		t.Errorf("after %T: %s", ev, bad)
	}
}

func (p *player) answer(c Command) {
	if c.Op == Gather {
		p.naming = "next-" + c.Function
	}
	if c.Op == Keep && c.Payload == NoPayload {
		p.naming = "without-input"
	}
	if _, ok := p.names[c.Task]; !ok && c.Task != 0 && p.naming != "" {
		p.names[c.Task], p.ids[p.naming] = p.naming, c.Task
	}
	name := p.names[c.Task]
	say := func(format string, a ...any) { fmt.Fprintf(&p.out, format+"\n", a...) }
	switch c.Op {
	case Write:
		if c.Value == nil {
			delete(p.records, string(c.Key))
		} else {
			p.records[string(c.Key)] = slices.Clone(c.Value)
		}
	case Drop:
		delete(p.records, string(keyOf('t', c.Task)))
		delete(p.records, string(keyOf('u', c.Task)))
		say("drop %s", name)
	case Accepted:
		if c.N == 1 {
			say("joined %s", name)
		}
	case Rejected:
		say("rejected: %s", c.Notice.text())
	case Unknown:
		say("unknown task")
	case KeepResult:
		say("keep the result of %s", name)
	case KeepError:
		say("keep the error of %s: %s", name, c.Notice.text())
	case Assign:
		say("%d runs %s, attempt %d", c.Peer, name, c.N)
	case NoTask:
		say("no task for %d", c.Peer)
	case Wake:
		say("wake %d", c.Peer)
	case Notify:
		s := fmt.Sprintf("notify %d about %s: %s", c.Peer, name, c.Notice.text())
		switch c.Notice {
		case Progress:
			s += fmt.Sprintf(" %d/%d", c.N, c.M)
		case Retrying:
			s += fmt.Sprintf(", attempt %d, because %s", c.N, Notice(c.M).text())
		case Followed:
			s += " by " + p.names[ID(c.N)]
		}
		if c.Payload == FromResult {
			s += ", kept"
		}
		say("%s", s)
	case Stop:
		say("%d, stop %s: %s", c.Peer, name, c.Notice.text())
	case Gather:
		s := "gather for " + name
		for _, id := range c.Tasks {
			s += " " + p.names[id]
		}
		say("%s", s)
	case GroupEnded:
		say("group %s %s %s", name, c.Notice.text(), p.names[ID(c.N)])
	case Granted:
		say("granted %d", c.Ref)
	case Short:
		say("short %d: %s", c.Ref, c.Function)
	case Want, Occupied, Vacated:
		s := map[Op]string{Want: fmt.Sprint("wants ", c.N), Occupied: "occupies one", Vacated: "vacates one"}[c.Op]
		say("%s %s for %s", c.Function, s, [...]string{"normal", "high", "low"}[c.M])
	}
}
