package mapreduce

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strings"
	"time"

	"golang.org/x/term"

	"github.com/layshaft/layshaft/internal/bytesize"
	"github.com/layshaft/layshaft/internal/plain"
	"github.com/layshaft/layshaft/internal/report"
	"github.com/layshaft/layshaft/internal/wire"
)

// progress shows the progress of the job in the form of Reporting.Progress, until the returned
// function is called with the result of the job.
func (j *Job) progress() func(error) {
	f, isFile := j.target.Err.(*os.File)
	live := isFile && term.IsTerminal(int(f.Fd()))
	bars := j.target.Progress == "auto" || j.target.Progress == "brief"
	brief := j.target.Progress == "brief" || j.target.Progress == "lines"
	if j.target.Progress == "none" || bars && !live {
		return func(error) {}
	}
	p := &display{j: j, w: j.target.Err, start: time.Now(), began: map[int]time.Time{}, brief: brief}
	every := 5 * time.Second
	if live && bars {
		p.live, every = true, 200*time.Millisecond
	}
	if live {
		p.size = func() (int, int, error) { return term.GetSize(int(f.Fd())) }
	}
	stop, stopped := make(chan struct{}), make(chan struct{})
	go func() { // ends when the returned function closes stop
		defer close(stopped)
		tick := time.NewTicker(every)
		defer tick.Stop()
		for {
			select {
			case <-stop:
				return
			case <-tick.C:
				p.show()
			}
		}
	}()
	return func(err error) {
		close(stop)
		<-stopped
		switch {
		case bars && brief:
			p.erase()
		case brief:
			if st, ok := j.engine.status(); ok && (err == nil || errors.Is(err, context.Canceled) || errors.Is(err, wire.ErrStopped)) {
				p.draw([]string{p.reading(st.Stages).summary(time.Since(p.start))}, 0) // also if the reader needs no more rows
			}
		default:
			p.end(err)
		}
	}
}

// display draws one line for each stage, or one about the input.
type display struct {
	brief bool // one about the input
	j     *Job
	w     io.Writer
	start time.Time
	live  bool
	size  func() (width, height int, err error) // size of the terminal; nil without one
	lines int                                   // number of lines drawn last time
	began map[int]time.Time                     // first time that each stage was seen running
}

func (p *display) show() {
	st, ok := p.j.engine.status()
	if !ok {
		return
	}
	width, height := 0, 0
	if p.size != nil {
		if w, h, err := p.size(); err == nil {
			width, height = w, h
		}
	}
	if p.brief {
		p.draw([]string{p.reading(st.Stages).line(time.Since(p.start), width-1)}, width)
		return
	}
	records, bytes := p.running()
	var lines []string
	waiting := 0
	for i, s := range st.Stages {
		if s.Running > 0 && p.began[i].IsZero() {
			p.began[i] = time.Now()
		}
		active := s.Running > 0 || s.Done > 0 && s.Done < s.Tasks
		// A low terminal shows only active stages, because scrolled lines cannot be redrawn.
		if !active && (!p.live || height > 0 && len(st.Stages) > height-3) {
			if s.Done < s.Tasks {
				waiting++
			}
			continue
		}
		lines = append(lines, p.line(i, s, records[i], bytes[i], width-1))
	}
	if waiting > 0 && p.live {
		lines = append(lines, report.Plural(waiting, "more stage")+" to come")
	}
	if line := p.total(st.Stages, bytes, width-1); line != "" && len(lines) > 0 {
		lines = append(lines, line)
	}
	p.draw(lines, width)
}

// draw writes lines, on a terminal in place of those drawn last time.
func (p *display) draw(lines []string, width int) {
	var out strings.Builder
	if p.lines > 0 {
		fmt.Fprintf(&out, "\x1b[%dA\x1b[J", p.lines)
	}
	for _, line := range lines {
		line = plain.Text(line)
		if width > 0 {
			line, _ = plain.Cut(line, width-1)
		}
		out.WriteString(line + "\n")
	}
	if p.live {
		p.lines = len(lines)
	}
	_, _ = io.WriteString(p.w, out.String())
}

// running returns the records and bytes consumed by running attempts, by stage.
func (p *display) running() (records, bytes []int64) {
	records, bytes = make([]int64, len(p.j.spec.Stages)), make([]int64, len(p.j.spec.Stages))
	for _, r := range p.j.engine.running() {
		records[r.Attempt.Task.Stage] += r.Records
		bytes[r.Attempt.Task.Stage] += r.Bytes
	}
	return records, bytes
}

const (
	barWidth  = 20
	nameWidth = 26
	leastName = 4 // columns that a name keeps before the last parts of a line are left out
)

// line returns the line of a stage, of at most width columns if width is positive. Of a long line
// the less important parts are left out; no part is cut but the name.
func (p *display) line(i int, s report.Stage, records, bytes int64, width int) string {
	share := p.share(i, s, bytes)
	records += s.Sum.Counters[consumedCounter]
	bytes += s.Sum.Counters[consumedBytes]
	filled := int(barWidth * share)
	parts := []string{
		partBar:   fmt.Sprintf(" [%s%s]", strings.Repeat("#", filled), strings.Repeat(".", barWidth-filled)),
		partTasks: fmt.Sprintf(" %d/%s", s.Done, report.Plural(s.Tasks, "task")),
		partETA:   "",
	}
	if s.Done == 0 && records == 0 && s.FailedAttempts == 0 && s.Tasks > 0 {
		parts[partTasks] = " starting"
	}
	if s.Running > 0 {
		parts[partRunning] = fmt.Sprintf(", %d running", s.Running)
	}
	if s.FailedAttempts > 0 {
		parts[partFailed] = fmt.Sprintf(", %s failed", report.Plural(s.FailedAttempts, "attempt"))
	}
	if records > 0 {
		parts[partRecords] = "  " + countOf(records, "record")
	}
	if took := time.Since(p.began[i]); s.Done < s.Tasks && s.Running > 0 && took > time.Second {
		parts[partRecordRate] = fmt.Sprintf("  %s/s", countText(int64(float64(records)/took.Seconds())))
		parts[partByteRate] = fmt.Sprintf("  %s/s", bytesize.Format(int64(float64(bytes)/took.Seconds())))
		parts[partETA] = eta(took, share)
	}
	number := fmt.Sprintf("%2d ", i)
	// left returns the columns left for the name.
	left := func() int {
		if width <= 0 {
			return nameWidth
		}
		return min(nameWidth, width-len(number)-plain.Width(strings.Join(parts, "")))
	}
	for k, least := range []int{partRecordRate, partRecords, partBar, partRunning, partByteRate, partFailed, partTasks, partETA} {
		if n := left(); n < leastName || n < nameWidth && k < 6 {
			parts[least] = ""
		}
	}
	room := max(left(), 0)
	name, n := plain.Cut(plain.Text(s.Name), room)
	return number + name + strings.Repeat(" ", max(0, room-n)) + strings.Join(parts, "")
}

// The parts of a line, in order.
const (
	partBar = iota
	partTasks
	partRunning
	partFailed
	partRecords
	partRecordRate
	partByteRate
	partETA
)

// share returns the share of a stage's work that is done. bytes are the input of its running
// attempts.
func (p *display) share(i int, s report.Stage, bytes int64) float64 {
	if input := p.input(i); input > 0 && s.Done < s.Tasks {
		return min(1, float64(bytes+s.Sum.Counters[consumedBytes])/float64(input))
	} else if s.Tasks > 0 {
		return float64(s.Done) / float64(s.Tasks)
	}
	return 0
}

// work returns how much of the work of the job is done, and all of it, in bytes.
// The work of a stage is the size of its input; for a stage that reads others, it is guessed from
// their outputs so far.
func (p *display) work(stages []report.Stage, bytes []int64) (done, all float64) {
	output := make([]float64, len(stages)) // expected bytes
	for i, s := range stages {
		share, work := p.share(i, s, bytes[i]), float64(p.input(i))
		for _, e := range p.j.spec.Stages[i].Inputs {
			work += output[e.From]
		}
		if output[i] = work / 4; share > 0.05 {
			output[i] = float64(s.Sum.Bytes) / share
		}
		done, all = done+share*work, all+work
	}
	return done, all
}

// total returns the line of the whole job, of at most width columns if width is positive. It is
// empty for a job of one stage, and at the start.
func (p *display) total(stages []report.Stage, bytes []int64, width int) string {
	took := time.Since(p.start)
	if len(stages) < 2 || took < 2*time.Second {
		return ""
	}
	done, all := p.work(stages, bytes)
	if all == 0 || done == 0 {
		return ""
	}
	left := eta(took, done/all)
	if left == "" {
		return ""
	}
	line := fmt.Sprintf("   whole job %.0f%%%s", 100*done/all, left)
	if width > 0 && len(line) > width {
		return strings.TrimSpace(left)
	}
	return line
}

// eta returns the remaining time of a stage that did a share of its work in took. It returns "" for
// less than a second, and for a guess of years.
func eta(took time.Duration, share float64) string {
	left := float64(took) * (1 - share) / share
	if !(left >= float64(time.Second) && left < 1000*24*float64(time.Hour)) {
		return ""
	}
	return "  ETA " + time.Duration(left).Round(time.Second).String()
}

// input returns the input bytes of a stage that reads a source.
func (p *display) input(stage int) (n int64) {
	for i := range p.j.spec.Stages[stage].Splits {
		n += p.j.spec.Stages[stage].Splits[i].Bytes
	}
	return n
}

// erase removes the lines drawn last time.
func (p *display) erase() {
	if p.lines > 0 {
		fmt.Fprintf(p.w, "\x1b[%dA\x1b[J", p.lines)
	}
}

func (p *display) end(err error) {
	if p.live {
		p.show()
	}
	took := time.Since(p.start).Round(10 * time.Millisecond)
	if errors.Is(err, context.Canceled) || errors.Is(err, wire.ErrStopped) {
		fmt.Fprintf(p.w, "%s interrupted after %s\n", p.j.ID(), took)
		return
	}
	if err != nil {
		outcome := report.JobFailed
		if ended := (*report.JobError)(nil); errors.As(err, &ended) {
			outcome = ended.Outcome
		}
		fmt.Fprintf(p.w, "%s %s after %s\n", p.j.ID(), outcome, took)
		return
	}
	fmt.Fprintf(p.w, "%s done in %s: %s read\n", p.j.ID(), took, countOf(p.j.counters[readCounter], "record"))
}

// countText writes a count for people, in powers of 1,000.
func countText(n int64) string {
	switch {
	case n < 10_000:
		return fmt.Sprint(n)
	case n < 1_000_000:
		return fmt.Sprintf("%.1fk", float64(n)/1e3)
	case n < 1_000_000_000:
		return fmt.Sprintf("%.2fM", float64(n)/1e6)
	}
	return fmt.Sprintf("%.2fG", float64(n)/1e9)
}

// countOf is countText with the noun of the count.
func countOf(n int64, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return countText(n) + " " + noun + "s"
}

// printCounters prints the user's counters, then the engine's own.
func (j *Job) printCounters() {
	for _, k := range slices.Sorted(maps.Keys(j.counters)) {
		if k[0] != '.' {
			fmt.Fprintf(j.target.Err, "%s\t%d\n", plain.Text(k), j.counters[k])
		}
	}
	fmt.Fprintf(j.target.Err, "records read\t%d\nbad records\t%d\nbytes shuffled\t%d\n", j.counters[readCounter], j.counters[badCounter], j.counters[shuffledCounter])
}
