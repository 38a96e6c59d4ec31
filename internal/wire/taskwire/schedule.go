package taskwire

import (
	"strconv"
	"sync"
	"time"

	"github.com/layshaft/layshaft/internal/report"
	tasksv1 "github.com/layshaft/layshaft/proto/layshaft/tasks/v1"
)

// The words for policies and priorities, by their numbers on the wire.
var (
	CatchUps   = []string{"last", "skip", "all"}
	Overlaps   = []string{"skip", "queue", "replace"}
	priorities = []string{"normal", "high", "low"}
)

// word returns words[i], or a number that a newer peer has sent.
func word(words []string, i int32) string {
	if i < 0 || int(i) >= len(words) {
		return strconv.Itoa(int(i))
	}
	return words[i]
}

// timeFromNanos converts Unix time; zero stays the zero time.
func timeFromNanos(n int64, loc *time.Location) time.Time {
	if n == 0 {
		return time.Time{}
	}
	return time.Unix(0, n).In(loc)
}

// zones holds the time zones that were loaded, as *time.Location by name: each load reads a file.
var zones sync.Map

// zoneOf returns a time zone, or UTC if this machine does not know it.
func zoneOf(name string) *time.Location {
	if loc, ok := zones.Load(name); ok {
		return loc.(*time.Location)
	}
	loc, err := time.LoadLocation(name)
	if err != nil {
		return time.UTC
	}
	zones.Store(name, loc)
	return loc
}

// ScheduleFromProto converts the state of a schedule. Times are in its zone, if this machine knows
// it, else in UTC.
func ScheduleFromProto(p *tasksv1.Schedule) report.Schedule {
	x := p.GetSpec()
	loc := zoneOf(x.GetZone())
	id := func(n uint64) string {
		if n == 0 {
			return ""
		}
		return strconv.FormatUint(n, 16)
	}
	at := func(n int64) time.Time { return timeFromNanos(n, loc) }
	s := report.Schedule{Name: x.GetName(), Cron: x.GetCron(), Zone: x.GetZone(), CatchUp: word(CatchUps, int32(x.GetCatchUp())), Overlap: word(Overlaps, int32(x.GetOverlap())),
		Function: x.GetFunction(), Program: x.GetProgram(), Priority: word(priorities, int32(x.GetPriority())), Jitter: time.Duration(x.GetJitterNanos()),
		Paused: p.GetPaused(), Created: at(p.GetCreatedNanos()), Next: at(p.GetNextNanos()), Due: at(p.GetDueNanos()), Task: id(p.GetTask()), Waiting: int(p.GetWaiting()),
		Problem: p.GetProblem(), Success: at(p.GetSuccessNanos()), History: []report.ScheduleFire{},
		Counts: report.ScheduleCounts{Due: int(p.GetDue()), Fired: int(p.GetFired()), Skipped: int(p.GetSkipped()), Missed: int(p.GetMissed()), Failed: int(p.GetFailed())}}
	for _, h := range p.GetHistory() {
		s.History = append(s.History, report.ScheduleFire{Time: at(h.GetTimeNanos()), Started: at(h.GetStartedNanos()), Ended: at(h.GetEndedNanos()), Task: id(h.GetTask()),
			Outcome: h.GetOutcome(), Count: int(h.GetCount()), Manual: h.GetManual()})
	}
	return s
}
