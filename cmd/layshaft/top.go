package main

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"golang.org/x/term"

	"github.com/layshaft/layshaft/internal/bytesize"
	"github.com/layshaft/layshaft/internal/client"
	"github.com/layshaft/layshaft/internal/plain"
	"github.com/layshaft/layshaft/internal/report"
	"github.com/layshaft/layshaft/tasks"
)

// topCmd shows a cluster on one live screen.
type topCmd struct {
	clientFlags
	Every time.Duration `default:"1s" help:"Interval between two looks at the cluster."`
	Limit int           `default:"100" help:"Largest number of jobs to look at; running ones come first."`
}

// Run shows the screen until q, ^C or the end of ctx.
func (c *topCmd) Run(ctx context.Context) error {
	in, out := int(os.Stdin.Fd()), int(os.Stdout.Fd())
	if err := cmp.Or(atLeast("-every", c.Every, 100*time.Millisecond), atLeast("-limit", c.Limit, 1)); err != nil {
		return err
	}
	if c.Output == "json" || !term.IsTerminal(in) || !term.IsTerminal(out) {
		return usageError{errors.New("top draws on a terminal; for scripts there is layshaft status -o json")}
	}
	var drawn atomic.Bool // then the screen itself says what is missing
	c.onWait = func(why string) {
		if !drawn.Load() {
			printWaiting(why)
		}
	}
	jobs, err := c.dial()
	if err != nil {
		return err
	}
	defer jobs.Close()
	return c.client(func(t *tasks.Client) error {
		// The first look waits for the coordinator like all commands, with words.
		now, err := look(ctx, jobs, t, c.Limit)
		if err != nil {
			return err
		}
		drawn.Store(true)
		was, err := term.MakeRaw(in)
		if err != nil {
			return err
		}
		s := &topScreen{cluster: c.Cluster, out: os.Stdout, every: c.Every, now: now, size: func() (int, int, error) { return term.GetSize(out) }}
		fmt.Fprint(s.out, "\x1b[?1049h\x1b[?25l") // the other screen, without a cursor
		defer func() {
			fmt.Fprint(s.out, "\x1b[?25h\x1b[?1049l")
			_ = term.Restore(in, was)
		}()
		return s.run(ctx, keys(ctx, os.Stdin), func(ctx context.Context) (*sample, error) { return look(ctx, jobs, t, c.Limit) })
	})
}

// keys returns the keys that are pressed. The goroutine that reads them ends with the process.
func keys(ctx context.Context, in io.Reader) <-chan byte {
	out := make(chan byte)
	go func() {
		var b [1]byte
		for {
			if n, err := in.Read(b[:]); err != nil || n == 0 {
				return
			}
			select {
			case out <- b[0]:
			case <-ctx.Done():
				return
			}
		}
	}()
	return out
}

// sample is one look at a cluster.
type sample struct {
	at        time.Time
	members   report.Coordinators
	workers   []report.Worker
	jobs      []report.JobView
	functions []tasks.Function
}

// look asks the coordinator.
func look(ctx context.Context, c *client.Client, t *tasks.Client, limit int) (*sample, error) {
	s := &sample{}
	var err error
	if s.workers, err = c.AllWorkers(ctx); err != nil {
		return nil, err
	}
	jobs, err := c.Jobs(ctx, limit)
	if err != nil {
		return nil, err
	}
	for i := range jobs {
		s.jobs = append(s.jobs, report.ViewJob(&jobs[i]))
	}
	if s.members, err = c.Coordinators(ctx); err != nil {
		return nil, err
	}
	all, err := t.Overview(ctx)
	s.functions, s.at = all.Functions, time.Now()
	return s, err
}

// topScreen draws samples.
type topScreen struct {
	cluster string
	out     io.Writer
	size    func() (width, height int, err error)
	every   time.Duration
	// now is the last sample, and before the one before; nil if there was none.
	now, before *sample
	// err is why there is no newer sample.
	err error
}

// run draws until the key q, ^C or the end of ctx. Other keys draw at once.
func (s *topScreen) run(ctx context.Context, keys <-chan byte, look func(context.Context) (*sample, error)) error {
	const interrupt = 3 // ^C of a raw terminal
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	type looked struct {
		*sample
		err error
	}
	next := make(chan looked)
	go func() {
		for {
			select {
			case <-time.After(s.every):
			case <-ctx.Done():
				return
			}
			n, err := look(ctx)
			select {
			case next <- looked{n, err}:
			case <-ctx.Done():
				return
			}
		}
	}()
	redraw := time.NewTicker(s.every) // the size of the terminal may change while nobody answers
	defer redraw.Stop()
	for {
		s.draw()
		select {
		case n := <-next:
			if s.err = n.err; n.err == nil {
				s.before, s.now = s.now, n.sample
			}
		case k := <-keys:
			if k == 'q' || k == 'Q' || k == interrupt {
				return nil
			}
		case <-redraw.C:
		case <-ctx.Done():
			return nil
		}
	}
}

// stale is how long an answer may take before the screen shows a warning.
const stale = 2 * time.Second

// draw writes the screen in place, in one write.
func (s *topScreen) draw() {
	width, height, err := s.size()
	if err != nil || width < 1 || height < 1 {
		width, height = 80, 24
	}
	var b bytes.Buffer
	b.WriteString("\x1b[H")
	for i, l := range s.lines(width, height, time.Now()) {
		if i > 0 {
			b.WriteString("\r\n")
		}
		b.WriteString(l + "\x1b[K")
	}
	b.WriteString("\x1b[J")
	_, _ = s.out.Write(b.Bytes())
}

// lines returns the screen: at most height lines of at most width columns.
func (s *topScreen) lines(width, height int, now time.Time) []string {
	var busy, slots, attempts, queued int
	for _, w := range s.now.workers {
		busy, slots, attempts, queued = busy+w.Busy(), slots+w.Slots, attempts+w.Running, queued+w.QueuedTasks
	}
	head := []string{
		spread(cmp.Or(s.now.members.Summary(), "coordinator "+s.cluster), now.Format(time.TimeOnly), width),
		spread(fmt.Sprintf("%d of %s busy %s  %s, %s", busy, report.Plural(slots, "slot"), bar(busy, slots, 20), report.Plural(attempts, "attempt"), report.Plural(queued, "queued task")+" run"+backlog(s.now.functions)), "q leaves", width),
	}
	switch {
	case s.err != nil:
		head = append(head, fmt.Sprintf("since %s: %v", s.now.at.Format(time.TimeOnly), s.err))
	case now.Sub(s.now.at) > s.every+stale:
		head = append(head, fmt.Sprintf("no answer since %s; this is the state of that time", s.now.at.Format(time.TimeOnly)))
	case cmp.Or(s.now.members.Stale, s.now.members.Warning) != "":
		head = append(head, cmp.Or(s.now.members.Stale, s.now.members.Warning))
	}
	tables := []topTable{s.jobTable(), s.functionTable(), s.workerTable()}
	out := head
	for i, n := range shares(tables, height-len(head)) {
		if n > 0 {
			out = append(append(out, ""), tables[i].lines(n-1, width)...)
		}
	}
	for i := range out {
		out[i], _ = plain.Cut(plain.Text(out[i]), width)
	}
	return out[:min(len(out), height)]
}

// spread puts two texts at the ends of a line.
func spread(left, right string, width int) string {
	room := width - plain.Width(right) - 1
	if room < 1 {
		return left
	}
	left, w := plain.Cut(plain.Text(left), room)
	return left + strings.Repeat(" ", room-w+1) + right
}

// bar returns a bar of n columns for a part of a whole.
func bar(part, whole, n int) string {
	full := 0
	if whole > 0 {
		full = min(n, (part*n+whole-1)/whole)
	}
	return strings.Repeat("█", full) + strings.Repeat("░", n-full)
}

// topTable is a table of the screen. The first row is its head.
type topTable struct {
	rows [][]string
	// left are the columns that are aligned at the left.
	left []bool
	// none stands for the rows if there are none.
	none string
}

func (t *topTable) add(cells ...string) { t.rows = append(t.rows, cells) }

// lines returns at most n lines. The last one counts the rows that do not fit.
func (t *topTable) lines(n, width int) []string {
	rows, more := t.rows, 0
	if len(rows) == 1 {
		return []string{t.none}[:min(n, 1)]
	}
	if len(rows) > n {
		more = len(rows) - n + 1
		rows = rows[:max(0, n-1)]
	}
	widths := make([]int, len(t.left))
	for _, r := range rows {
		for c, cell := range r {
			widths[c] = max(widths[c], plain.Width(plain.Text(cell)))
		}
	}
	var out []string
	for _, r := range rows {
		var line strings.Builder
		for c, cell := range r {
			cell = plain.Text(cell)
			gap := strings.Repeat(" ", widths[c]-plain.Width(cell))
			if c > 0 {
				line.WriteString("  ")
			}
			if t.left[c] {
				line.WriteString(cell)
				if c < len(r)-1 {
					line.WriteString(gap)
				}
			} else {
				line.WriteString(gap + cell)
			}
		}
		out = append(out, strings.TrimRight(line.String(), " "))
	}
	if more > 0 && n > 0 {
		out = append(out, fmt.Sprintf("… %d more", more))
	}
	return out
}

// shares divides height lines among tables: each gets what it needs, with an empty line before, or
// else an equal part of what others leave.
func shares(tables []topTable, height int) []int {
	out := make([]int, len(tables))
	order := make([]int, len(tables))
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(a, b int) int { return len(tables[a].rows) - len(tables[b].rows) })
	for i, k := range order {
		out[k] = max(0, min(len(tables[k].rows)+1, height/(len(order)-i)))
		if out[k] < 2 || out[k] < 3 && out[k] <= len(tables[k].rows) {
			out[k] = 0 // a head alone tells nothing
		}
		height -= out[k]
	}
	return out
}

// jobTable lists running jobs first, in the order of the coordinator.
func (s *topScreen) jobTable() topTable {
	t := topTable{left: []bool{true, true, true, false, false, false, true}, none: "no jobs: a program submits one with -cluster " + s.cluster}
	t.add("JOB", "OUTCOME", "", "DONE", "TOOK", "RECORDS/S", "NOTE")
	runs := func(j *report.JobView) bool {
		return j.Outcome == report.JobRunning.String() || j.Outcome == report.JobPlanning.String()
	}
	jobs := slices.Clone(s.now.jobs)
	slices.SortStableFunc(jobs, func(a, b report.JobView) int {
		switch {
		case runs(&a) == runs(&b):
			return 0
		case runs(&a):
			return -1
		}
		return 1
	})
	before := map[string]int64{}
	if s.before != nil {
		for i := range s.before.jobs {
			before[s.before.jobs[i].Job] = records(&s.before.jobs[i])
		}
	}
	for i := range jobs {
		j := &jobs[i]
		progress, rate := "", ""
		if runs(j) {
			progress = bar(j.Done, j.Tasks, 16)
			if was, ok := before[j.Job]; ok {
				rate = perSecond(records(j)-was, s.now.at.Sub(s.before.at))
			}
		}
		note, _, _ := strings.Cut(j.Failure, "\n")
		t.add(j.Job, j.Outcome, progress, formatDone(j), formatTook(j), rate, note+stallReason(j))
	}
	return t
}

// records returns the records that a job has read.
func records(j *report.JobView) (n int64) {
	for i := range j.Stages {
		n += j.Stages[i].ReadRecords
	}
	return n
}

// perSecond formats a rate. Attempts that run again make counts fall.
func perSecond(n int64, d time.Duration) string {
	if n < 0 || d <= 0 {
		return ""
	}
	return fmt.Sprintf("%.0f", float64(n)/d.Seconds())
}

// functionTable lists the functions with the most unfinished tasks first.
func (s *topScreen) functionTable() topTable {
	t := topTable{left: []bool{true, false, false, false, false, false, false, false, true}, none: "no functions: layshaft task work, or package tasks, offers one"}
	t.add("FUNCTION", "WAITING", "DELAYED", "RUNNING", "DONE/S", "FAILED", "DEAD", "WORKERS", "")
	before := map[string]int{}
	if s.before != nil {
		for i := range s.before.functions {
			before[s.before.functions[i].Name] = int(s.before.functions[i].Counts.Done)
		}
	}
	functions := slices.Clone(s.now.functions)
	slices.SortStableFunc(functions, func(a, b tasks.Function) int {
		return cmp.Or(cmp.Compare(b.Counts.Running+b.Counts.Waiting+b.Counts.Delayed, a.Counts.Running+a.Counts.Waiting+a.Counts.Delayed), strings.Compare(a.Name, b.Name))
	})
	for i := range functions {
		f := &functions[i]
		rate, note := "", ""
		if was, ok := before[f.Name]; ok {
			rate = perSecond(int64(f.Counts.Done)-int64(was), s.now.at.Sub(s.before.at))
		}
		if f.Paused {
			note = "paused"
		}
		t.add(f.Name, fmt.Sprint(f.Counts.Waiting), fmt.Sprint(f.Counts.Delayed), fmt.Sprint(f.Counts.Running), rate, fmt.Sprint(f.Counts.Failed), fmt.Sprint(f.Dead), fmt.Sprint(f.Workers), note)
	}
	return t
}

// workerTable lists the workers.
func (s *topScreen) workerTable() topTable {
	t := topTable{left: []bool{true, true, true, true, false, false, true}, none: "no workers: start one with layshaft worker -join and the gossip address of a coordinator"}
	t.add("WORKER", "STATE", "ZONE", "", "BUSY", "FREE DISK", "HEARD")
	for i := range s.now.workers {
		w := &s.now.workers[i]
		if w.State == report.Away {
			t.add(w.ID, string(w.State), "", "", "", "", "")
			continue
		}
		free := "-" // not reported yet
		if w.FreeBytes > 0 {
			free = bytesize.Format(w.FreeBytes)
		}
		t.add(w.Name, string(w.State), w.Zone, bar(w.Busy(), w.Slots, 8), fmt.Sprintf("%d/%d", w.Busy(), w.Slots), free, formatSince(w.Silent.Duration())+" ago")
	}
	return t
}
