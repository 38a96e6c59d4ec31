package dashboard

import (
	"fmt"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/layshaft/layshaft/coordinator/internal/sched"
	"github.com/layshaft/layshaft/internal/bytesize"
	"github.com/layshaft/layshaft/internal/page"
	"github.com/layshaft/layshaft/internal/plain"
	"github.com/layshaft/layshaft/internal/report"
)

const (
	// manyFailures is the number of failed attempts from which a running job needs a look.
	manyFailures = 3
	// lately is how long a failed job stays on the overview.
	lately = 24 * time.Hour
	// maxFailed is the limit of failed jobs on the overview.
	maxFailed = 3
)

// attention is a point that needs a look by an operator.
type attention struct {
	Text, URL, Command string
	// Bad means that something fails or is lost. Other points are about waiting.
	Bad bool
	// Do, ID and Label are an action that helps; Do is empty without one.
	Do, ID, Label string
}

// maxAttention is the limit of points of one kind.
const maxAttention = 8

// attentionList collects points.
type attentionList []attention

// add adds the points of one kind, and counts the points beyond its limit.
func (l *attentionList) add(all []attention, rest string, url string) {
	for i, a := range all {
		if i == maxAttention {
			*l = append(*l, attention{Text: fmt.Sprintf("%s more %s", page.Num(len(all)-i), rest), URL: url, Bad: a.Bad})
			return
		}
		*l = append(*l, a)
	}
}

// needsAttention lists what an operator should look at: first what fails or is lost, then what
// waits.
func (d *Dashboard) needsAttention(o *overview, running, failed []jobRow, workers []report.Worker, functions []report.Function, now time.Time) []attention {
	var l attentionList
	if d.cfg.Disk != nil {
		if text := d.cfg.Disk(); text != "" {
			l = append(l, attention{Text: text, URL: "/", Bad: true})
		}
	}
	if text := o.Backups.Trouble(now); text != "" {
		l = append(l, attention{Text: text, URL: "/", Command: "layshaft coordinator backup FILE", Bad: true})
	}
	l.add(coordinatorPoints(o.Coordinators), "coordinators", "#coordinators")
	l.add(d.failing(running, now), "jobs fail again and again", "/jobs?state=running")
	l.add(failedLately(failed, now), "jobs failed", "/jobs?state=failed")
	l.add(workerPoints(workers), "workers need a look", "/workers")
	for _, x := range o.Outboxes {
		if x.Late() {
			l = append(l, attention{Text: fmt.Sprintf("outbox of database %s: %s", x.Database, lateness(&x)), URL: "/", Command: "layshaft pg status " + page.ShellQuote(x.Database), Bad: x.Error != "" || x.Refused > 0})
		}
	}
	l.add(schedulePoints(d.cfg.Tasks.Schedules()), "schedules fail", "/schedules?state=late")
	dead, idle, paused := functionPoints(functions)
	l.add(dead, "functions have dead letters", "/tasks?state=dead")
	l.add(idle, "functions have no worker", "/tasks?state=idle")
	l.add(paused, "functions are paused", "/tasks?state=paused")
	l.add(waiting(running), "jobs wait", "/jobs?state=running")
	slices.SortStableFunc(l, func(a, b attention) int {
		switch {
		case a.Bad == b.Bad:
			return 0
		case a.Bad:
			return -1
		}
		return 1
	})
	return l
}

func coordinatorPoints(all report.Coordinators) (out []attention) {
	for i := range all.Members {
		if text := all.Members[i].Trouble(); text != "" {
			out = append(out, attention{Text: "coordinator " + text, URL: "#coordinators", Command: "layshaft coordinator members", Bad: true})
		}
	}
	if all.Warning != "" {
		out = append(out, attention{Text: all.Warning, URL: "#coordinators", Command: "layshaft coordinator members"})
	}
	return out
}

func workerPoints(all []report.Worker) (out []attention) {
	for i := range all {
		w := &all[i]
		switch {
		case w.State == report.Away:
			out = append(out, attention{Text: fmt.Sprintf("worker %s is away, with dataset %s; jobs that read it wait", w.Name, strings.Join(w.Datasets, ", ")), URL: workerURL(w.Name),
				Command: "layshaft worker drain " + page.ShellQuote(w.Name), Bad: true, Do: "drain", ID: w.Name, Label: "Give up"})
		case w.State == report.Blocked:
			out = append(out, attention{Text: fmt.Sprintf("worker %s gets no attempts: %s", w.Name, w.WaitingReason), URL: workerURL(w.Name), Bad: true})
		}
		if w.FreeBytes > 0 && w.FreeBytes < 1<<30 {
			out = append(out, attention{Text: fmt.Sprintf("worker %s has %s of disk left", w.Name, bytesize.Format(w.FreeBytes)), URL: workerURL(w.Name), Bad: true})
		}
	}
	return out
}

func functionPoints(all []report.Function) (dead, idle, paused []attention) {
	for i := range all {
		f := &all[i]
		shown := plain.Text(f.Name)
		name, at := page.ShellQuote(shown), functionURL(f.Name)
		if f.Dead > 0 {
			dead = append(dead, attention{Text: fmt.Sprintf("function %s: dead letters: %s", f.Name, page.Num(f.Dead)), URL: at + "#dead", Command: "layshaft task dead " + name, Bad: true})
		}
		if f.Counts.Waiting > 0 && f.Workers == 0 {
			idle = append(idle, attention{Text: fmt.Sprintf("function %s: no worker handles it, %s waiting", f.Name, page.Num(f.Counts.Waiting)), URL: at, Command: "layshaft task work -function " + name + " -- COMMAND"})
		}
		if f.Paused && f.Counts.Unfinished() > 0 {
			paused = append(paused, attention{Text: fmt.Sprintf("function %s is paused", f.Name), URL: at, Command: "layshaft task resume " + name, Do: "resume", ID: shown, Label: "Resume"})
		}
	}
	return dead, idle, paused
}

// waiting lists the jobs that make no progress, with the reason.
func waiting(jobs []jobRow) (out []attention) {
	for i := range jobs {
		if j := &jobs[i]; j.Reason != "" {
			out = append(out, attention{Text: fmt.Sprintf("job %s waits: %s", j.ID, j.Reason), URL: jobURL(j)})
		}
	}
	return out
}

// failing lists the running jobs whose attempts fail again and again, with the last failures. Such
// a job may wait for a slot between two attempts, so its reason alone does not show them.
func (d *Dashboard) failing(jobs []jobRow, now time.Time) (out []attention) {
	for i := range jobs {
		if j := &jobs[i]; j.Trouble >= manyFailures {
			if text := failingText(j, d.cfg.Coordinator.Troubles(j.ID), now); text != "" {
				out = append(out, attention{Text: text, URL: jobURL(j) + "#failures", Command: "layshaft job report " + page.ShellQuote(string(j.ID)), Bad: true})
			}
		}
	}
	return out
}

// failingText describes the failures of a job. last are the latest ones since the start of the
// coordinator.
func failingText(j *jobRow, last []sched.Trouble, now time.Time) string {
	text := fmt.Sprintf("job %s: %s failed", j.ID, page.Counted(j.Trouble, "attempt"))
	if n := len(last); n > 0 {
		x := &last[n-1]
		same := !slices.ContainsFunc(last, func(t sched.Trouble) bool { return t.Worker != x.Worker })
		if same && n >= manyFailures {
			text += ", the last " + page.Num(n) + " all on worker " + x.Worker
		}
		line, _, _ := strings.Cut(x.Failure.Error(), "\n")
		return text + fmt.Sprintf("; %s on %s, %s ago: %.200s", x.Attempt.Task, x.Worker, page.Dur(now.Sub(x.At)), line)
	}
	for k := range j.Stages {
		if last := j.Stages[k].LastFailure; last != "" {
			return text + fmt.Sprintf(", the last: %.200s", last)
		}
	}
	return ""
}

// failedLately lists the jobs that failed in the last day, the latest first.
func failedLately(jobs []jobRow, now time.Time) (out []attention) {
	for i := range jobs {
		j := &jobs[i]
		if j.Failure == nil || j.Ended.IsZero() || now.Sub(j.Ended) > lately {
			continue
		}
		if len(out) == maxFailed {
			return append(out, attention{Text: "more jobs failed in the last day", URL: "/jobs?state=failed", Bad: true})
		}
		line, _, _ := strings.Cut(j.Failure.Error(), "\n")
		out = append(out, attention{Text: fmt.Sprintf("job %s failed %s ago: %.200s", j.ID, page.Dur(now.Sub(j.Ended)), line), URL: jobURL(j),
			Command: "layshaft job report " + page.ShellQuote(string(j.ID)), Bad: true})
	}
	return out
}

func jobURL(j *jobRow) string { return jobPath(string(j.ID)) }

func jobPath(id string) string { return "/jobs/" + url.PathEscape(id) }

func workerURL(name string) string { return "/workers/" + url.PathEscape(name) }
