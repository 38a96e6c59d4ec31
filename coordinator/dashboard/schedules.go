package dashboard

import (
	"context"
	"fmt"
	"net/url"
	"slices"
	"time"

	"github.com/layshaft/layshaft/coordinator/taskserver"
	"github.com/layshaft/layshaft/internal/page"
	"github.com/layshaft/layshaft/internal/report"
)

// scheduleRow is a schedule with its texts.
type scheduleRow struct {
	report.Schedule
	NextText   string // empty without a next time
	AgoText    string // time since the last success; empty without one
	JitterText string
	Fires      []scheduleFire // its history
}

// scheduleFire is an entry of a history with its texts.
type scheduleFire struct {
	report.ScheduleFire
	At, Took string
}

func scheduleOf(s report.Schedule, now time.Time) scheduleRow {
	r := scheduleRow{Schedule: s}
	if !s.Due.IsZero() {
		r.NextText = s.Due.Format(report.ScheduleTime)
	}
	if !s.Success.IsZero() {
		r.AgoText = page.Dur(now.Sub(s.Success)) + " ago"
	}
	if s.Jitter > 0 {
		r.JitterText = "up to " + page.Dur(s.Jitter)
	}
	for _, h := range s.History {
		f := scheduleFire{ScheduleFire: h, At: h.Time.Format(report.ScheduleTime)}
		if !h.Ended.IsZero() {
			f.Took = page.Dur(h.Ended.Sub(h.Started))
		}
		r.Fires = append(r.Fires, f)
	}
	return r
}

// schedulesView is the content of /schedules.
type schedulesView struct {
	Filter    filter
	Schedules []scheduleRow
	At        pager
	Found     string
}

var (
	scheduleStates = []option{{"", "all"}, {"running", "running"}, {"waiting", "waiting"}, {"paused", "paused"}, {"late", "failed or stuck"}}
	scheduleSorts  = []option{{"", "by name"}, {"failed", "most failed"}, {"missed", "most missed"}, {"skipped", "most skipped"}}
)

func (d *Dashboard) schedules(f filter) view {
	now := time.Now()
	var rows []scheduleRow
	for _, s := range d.cfg.Tasks.Schedules() {
		fits := f.State == "" || f.State == s.State() || f.State == "late" && s.Late()
		if r := scheduleOf(s, now); fits && f.matches(r.Name, r.Runs()) {
			rows = append(rows, r)
		}
	}
	keys := map[string]func(r *scheduleRow) int{"failed": func(r *scheduleRow) int { return r.Counts.Failed },
		"missed": func(r *scheduleRow) int { return r.Counts.Missed }, "skipped": func(r *scheduleRow) int { return r.Counts.Skipped }}
	if key := keys[f.Sort]; key != nil {
		sortBy(rows, key)
	}
	from, to, at := cutTo(len(rows), f.Page, f.base())
	return view{page: "schedules", title: "Schedules", section: "Schedules", content: &schedulesView{f, rows[from:to], at, f.describeCount(len(rows))}}
}

func (d *Dashboard) schedule(name string) view {
	s, ok := d.cfg.Tasks.Schedule(name)
	if !ok {
		return missing(noSchedule(name))
	}
	r := scheduleOf(s, time.Now())
	return view{page: "schedule", title: "Schedule " + name, section: "Schedules", content: &r}
}

func noSchedule(name string) string { return fmt.Sprintf("There is no schedule %s.", name) }

// scheduleURL returns the page of a schedule. A name has no letters that need to be escaped.
func scheduleURL(name string) string { return (&url.URL{Path: "/schedules/" + name}).String() }

// schedulePoints lists the schedules that fail or do not fire.
func schedulePoints(all []report.Schedule) (out []attention) {
	for i := range all {
		s := &all[i]
		text := "its last task failed"
		if s.Problem != "" {
			text = s.Problem
		}
		if s.Late() {
			out = append(out, attention{Text: fmt.Sprintf("schedule %s: %s", s.Name, text), URL: scheduleURL(s.Name), Command: "layshaft schedule show " + page.ShellQuote(s.Name), Bad: true})
		}
	}
	return out
}

// scheduleAction is an action on a schedule for which fit returns true.
func scheduleAction(rpc string, fit func(s *report.Schedule) bool, unfit string, words deed, do taskserver.ScheduleChange) action {
	return action{taskMethods + rpc, func(d *Dashboard, id string) (deed, error) {
		s, ok := d.cfg.Tasks.Schedule(id)
		switch {
		case !ok:
			return deed{}, missingThing(noSchedule(id))
		case !fit(&s):
			return deed{}, fmt.Errorf("schedule %s %s", id, unfit)
		}
		x := words.fill(s.Name, 0)
		if x.Back = scheduleURL(s.Name); words.Danger {
			x.Back = "/schedules"
		}
		return x, nil
	}, func(ctx context.Context, d *Dashboard, id string) error {
		return do(d.cfg.Tasks, ctx, id)
	}}
}

func anySchedule(*report.Schedule) bool { return true }

// The metrics of schedules; see metrics.go.
var (
	schedulesDesc      = desc("schedules", "Schedules by state. A stuck one has a problem, such as a refused task.", "state")
	scheduleAgeDesc    = desc("schedule_success_age_seconds", "Time since a task of the schedule last ended well, or since the schedule was defined.", "schedule")
	scheduleFailedDesc = desc("schedule_failures_total", "Tasks of the schedule that failed.", "schedule")
	scheduleTimesDesc  = desc("schedule_times_total", "Times of the schedule: fired, skipped as the last task had not ended, or missed without a coordinator.", "schedule", "outcome")
)

// scheduleMetrics collects the metrics of schedules.
func (d *Dashboard) scheduleMetrics(ch collector) {
	all := d.cfg.Tasks.Schedules()
	states := map[string]int{}
	for i := range all {
		states[all[i].State()]++
	}
	for _, state := range []string{"paused", "running", "stuck", "waiting"} {
		ch.gauge(schedulesDesc, states[state], state)
	}
	// Which have labels does not change while schedules come: else counters would jump.
	slices.SortStableFunc(all, func(a, b report.Schedule) int { return a.Created.Compare(b.Created) })
	for i := range min(len(all), labelled) {
		s := &all[i]
		since := s.Success
		if since.IsZero() {
			since = s.Created
		}
		ch.gauge(scheduleAgeDesc, int(time.Since(since).Seconds()), s.Name)
		ch.counter(scheduleFailedDesc, s.Counts.Failed, s.Name)
		ch.counter(scheduleTimesDesc, s.Counts.Fired, s.Name, "fired")
		ch.counter(scheduleTimesDesc, s.Counts.Skipped, s.Name, "skipped")
		ch.counter(scheduleTimesDesc, s.Counts.Missed, s.Name, "missed")
	}
}
