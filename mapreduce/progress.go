package mapreduce

import (
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strings"
	"time"

	"golang.org/x/term"

	"github.com/layshaft/layshaft/coordinator"
)

// progress shows how the job stands, as Target.Progress says, until the returned function is called with the job's end.
func (j *Job) progress() func(error) {
	f, isFile := j.target.Err.(*os.File)
	live := isFile && term.IsTerminal(int(f.Fd()))
	if j.target.Progress == "none" || j.target.Progress == "auto" && !live {
		return func(error) {}
	}
	p := &display{j: j, w: j.target.Err, start: time.Now()}
	every := 5 * time.Second
	if live && j.target.Progress == "auto" {
		p.live, every = true, 200*time.Millisecond
		if w, _, err := term.GetSize(int(f.Fd())); err == nil {
			p.width = w
		}
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
		p.end(err)
	}
}

// display draws one line for each stage.
type display struct {
	j     *Job
	w     io.Writer
	start time.Time
	live  bool
	width int
	lines int // drawn last time
}

func (p *display) show() {
	st, ok := p.j.engine.coord.Status(p.j.spec.ID)
	if !ok {
		return
	}
	records, bytes := p.running()
	var out strings.Builder
	if p.live && p.lines > 0 {
		fmt.Fprintf(&out, "\x1b[%dA", p.lines)
	}
	p.lines = 0
	for i, s := range st.Stages {
		if !p.live && (s.Done == 0 && s.Running == 0 || s.Done == s.Tasks) {
			continue
		}
		line := p.line(i, s, records[i], bytes[i])
		if p.live {
			if r := []rune(line); p.width > 0 && len(r) > p.width-1 {
				line = string(r[:p.width-1])
			}
			out.WriteString("\x1b[2K")
		}
		out.WriteString(line + "\n")
		p.lines++
	}
	_, _ = io.WriteString(p.w, out.String())
}

// running returns the records and bytes consumed by running attempts, by stage.
func (p *display) running() (records, bytes []int64) {
	records, bytes = make([]int64, len(p.j.spec.Stages)), make([]int64, len(p.j.spec.Stages))
	for _, w := range p.j.engine.workers {
		for _, r := range w.Progress() {
			records[r.Attempt.Task.Stage] += r.Records
			bytes[r.Attempt.Task.Stage] += r.Bytes
		}
	}
	return records, bytes
}

const barWidth = 20

func (p *display) line(i int, s coordinator.StageStatus, records, bytes int64) string {
	records += s.Sum.Counters[consumedCounter]
	bytes += s.Sum.Counters[consumedBytes]
	took := time.Since(p.start)
	filled := 0
	if s.Tasks > 0 {
		filled = barWidth * s.Done / s.Tasks
	}
	line := fmt.Sprintf("%-24.24s [%s%s] %d/%d tasks", s.Name, strings.Repeat("#", filled), strings.Repeat(".", barWidth-filled), s.Done, s.Tasks)
	if s.Running > 0 {
		line += fmt.Sprintf(", %d running", s.Running)
	}
	if s.FailedAttempts > 0 {
		line += fmt.Sprintf(", %d attempts failed", s.FailedAttempts)
	}
	if records > 0 {
		line += fmt.Sprintf("  %s records", countText(records))
	}
	if s.Done < s.Tasks && s.Running > 0 && took > time.Second {
		line += fmt.Sprintf("  %s/s  %s/s", countText(int64(float64(records)/took.Seconds())), bytesText(int64(float64(bytes)/took.Seconds())))
		if total := p.total(i); total > 0 && bytes > 0 && bytes < total {
			line += "  ETA " + (time.Duration(float64(took) * float64(total-bytes) / float64(bytes))).Round(time.Second).String()
		}
	}
	return line
}

// total returns the input bytes of a stage that reads a source.
func (p *display) total(stage int) (n int64) {
	for i := range p.j.spec.Stages[stage].Splits {
		n += p.j.spec.Stages[stage].Splits[i].Bytes
	}
	return n
}

func (p *display) end(err error) {
	if p.live {
		p.show()
	}
	took := time.Since(p.start).Round(10 * time.Millisecond)
	if err != nil {
		fmt.Fprintf(p.w, "%s failed after %s\n", p.j.ID(), took)
		return
	}
	fmt.Fprintf(p.w, "%s done in %s: %s records read\n", p.j.ID(), took, countText(p.j.counters[readCounter]))
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

// printCounters prints the user's counters, then the engine's own.
func (j *Job) printCounters() {
	for _, k := range slices.Sorted(maps.Keys(j.counters)) {
		if k[0] != '.' {
			fmt.Fprintf(j.target.Err, "%s\t%d\n", k, j.counters[k])
		}
	}
	fmt.Fprintf(j.target.Err, "records read\t%d\nbad records\t%d\nbytes shuffled\t%d\n", j.counters[readCounter], j.counters[badCounter], j.counters[shuffledCounter])
}
