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
	if j.target.Progress == "none" || j.target.Progress == "auto" && !live {
		return func(error) {}
	}
	p := &display{j: j, w: j.target.Err, start: time.Now(), began: map[int]time.Time{}}
	every := 5 * time.Second
	if live && j.target.Progress == "auto" {
		p.live, every = true, 200*time.Millisecond
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
		p.end(err)
	}
}

// display draws one line for each stage.
type display struct {
	j     *Job
	w     io.Writer
	start time.Time
	live  bool
	size  func() (width, height int, err error) // size of the terminal
	lines int                                   // number of lines drawn last time
	began map[int]time.Time                     // first time that each stage was seen running
}

func (p *display) show() {
	st, ok := p.j.engine.status()
	if !ok {
		return
	}
	width, height := 0, 0
	if p.live {
		if w, h, err := p.size(); err == nil {
			width, height = w, h
		}
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
		if !active && (!p.live || height > 0 && len(st.Stages) > height-2) {
			if s.Done < s.Tasks {
				waiting++
			}
			continue
		}
		lines = append(lines, p.line(i, s, records[i], bytes[i]))
	}
	if waiting > 0 && p.live {
		lines = append(lines, fmt.Sprintf("%d more stages wait", waiting))
	}
	var out strings.Builder
	if p.lines > 0 {
		fmt.Fprintf(&out, "\x1b[%dA\x1b[J", p.lines)
	}
	for _, line := range lines {
		line = plain.Text(line)
		if r := []rune(line); width > 0 && len(r) > width-1 {
			line = string(r[:width-1])
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

const barWidth = 20

func (p *display) line(i int, s report.Stage, records, bytes int64) string {
	records += s.Sum.Counters[consumedCounter]
	bytes += s.Sum.Counters[consumedBytes]
	share := 0.0
	if total := p.total(i); total > 0 && s.Done < s.Tasks {
		share = min(1, float64(bytes)/float64(total))
	} else if s.Tasks > 0 {
		share = float64(s.Done) / float64(s.Tasks)
	}
	filled := int(barWidth * share)
	line := fmt.Sprintf("%2d %-26.26s [%s%s] %d/%d tasks", i, s.Name, strings.Repeat("#", filled), strings.Repeat(".", barWidth-filled), s.Done, s.Tasks)
	if s.Running > 0 {
		line += fmt.Sprintf(", %d running", s.Running)
	}
	if s.FailedAttempts > 0 {
		line += fmt.Sprintf(", %s failed", report.Plural(s.FailedAttempts, "attempt"))
	}
	if records > 0 {
		line += fmt.Sprintf("  %s records", countText(records))
	}
	if took := time.Since(p.began[i]); s.Done < s.Tasks && s.Running > 0 && took > time.Second {
		line += fmt.Sprintf("  %s/s  %s/s", countText(int64(float64(records)/took.Seconds())), bytesize.Format(int64(float64(bytes)/took.Seconds())))
		line += eta(took, share)
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
	if errors.Is(err, context.Canceled) || errors.Is(err, wire.ErrStopped) {
		fmt.Fprintf(p.w, "%s interrupted after %s\n", p.j.ID(), took)
		return
	}
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
			fmt.Fprintf(j.target.Err, "%s\t%d\n", plain.Text(k), j.counters[k])
		}
	}
	fmt.Fprintf(j.target.Err, "records read\t%d\nbad records\t%d\nbytes shuffled\t%d\n", j.counters[readCounter], j.counters[badCounter], j.counters[shuffledCounter])
}
