package mapreduce

import (
	"fmt"
	"strings"
	"time"

	"github.com/layshaft/layshaft/internal/bytesize"
	"github.com/layshaft/layshaft/internal/plain"
	"github.com/layshaft/layshaft/internal/report"
)

// The forms brief and lines show one line about the input of the job in place of one for each
// stage. They are for people who asked a question and do not know stages:
//
//	[#########...........] 46%  1.5 GiB of 3.1 GiB  4.61M rows  310.2 MiB/s  960.4k rows/s  ETA 6s

// reading is what the sources of a job have read.
type reading struct {
	rows, bytes, all int64
	share            float64 // of the work of the whole job
	sources          bool    // they have something left to read
}

// reading adds up the stages that read sources.
func (p *display) reading(stages []report.Stage) (r reading) {
	records, bytes := p.running()
	for i, s := range stages {
		if len(p.j.spec.Stages[i].Splits) == 0 {
			continue
		}
		r.rows += records[i] + s.Sum.Counters[consumedCounter]
		r.bytes += bytes[i] + s.Sum.Counters[consumedBytes]
		r.all += p.input(i)
		r.sources = r.sources || s.Done < s.Tasks
	}
	if done, all := p.work(stages, bytes); all > 0 {
		r.share = done / all
	}
	return r
}

// line returns the line of a running job, of at most width characters if width is positive. Of a
// long line the less important parts are left out.
func (r reading) line(took time.Duration, width int) string {
	filled := int(barWidth * r.share)
	parts := []string{
		fmt.Sprintf("[%s%s]", strings.Repeat("#", filled), strings.Repeat(".", barWidth-filled)),
		fmt.Sprintf(" %.0f%%", 100*r.share),
		fmt.Sprintf("  %s of %s", bytesize.Format(min(r.bytes, r.all)), bytesize.Format(r.all)),
		"  " + countOf(r.rows, "row"), "", "", "",
	}
	if seconds := took.Seconds(); seconds > 1 && r.sources {
		parts[4] = fmt.Sprintf("  %s/s", bytesize.Format(int64(float64(r.bytes)/seconds)))
		parts[5] = fmt.Sprintf("  %s/s", countOf(int64(float64(r.rows)/seconds), "row"))
		parts[6] = eta(took, r.share)
	}
	if !r.sources {
		parts[6] = "  all read, merging"
	}
	for _, least := range []int{5, 0, 2, 4, 3, 6} {
		if width > 0 && plain.Width(strings.TrimSpace(strings.Join(parts, ""))) > width {
			parts[least] = ""
		}
	}
	return strings.TrimSpace(strings.Join(parts, ""))
}

// summary returns the line of a finished job.
func (r reading) summary(took time.Duration) string {
	s := fmt.Sprintf("read %s, %s in %s", countOf(r.rows, "row"), bytesize.Format(r.bytes), took.Round(10*time.Millisecond))
	if seconds := took.Seconds(); seconds >= 0.01 {
		s += fmt.Sprintf(": %s/s, %s/s", countOf(int64(float64(r.rows)/seconds), "row"), bytesize.Format(int64(float64(r.bytes)/seconds)))
	}
	return s
}
