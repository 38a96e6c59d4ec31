package schedule

import (
	"fmt"
	"reflect"
	"strings"
	"time"

	"github.com/layshaft/layshaft/coordinator/internal/queue"
	"github.com/layshaft/layshaft/internal/cron"
)

// set defines or changes a schedule.
func (s *Schedules) set(ev Set) error {
	spec := ev.Spec
	if spec.Zone == "" {
		spec.Zone = "UTC"
	}
	if len(spec.Input) == 0 {
		spec.Input = nil
	}
	if len(spec.Program) == 0 {
		spec.Program = nil
	}
	expr, err := s.compile(&spec)
	if err != nil {
		return err
	}
	e := s.entries[spec.Name]
	switch {
	case e == nil && len(s.entries) >= MaxSchedules:
		return invalid(fmt.Sprintf("the cluster has %d schedules, which is the limit; remove some", MaxSchedules))
	case e == nil:
		e = &entry{created: s.now, decided: s.now.Unix()}
		s.entries[spec.Name] = e
	case same(&e.spec, &spec):
		return nil
	case ev.New:
		return ErrExists
	default:
		s.check(e) // what is due by now fires as it was defined
		if e.spec.Cron != spec.Cron || e.spec.Zone != spec.Zone || e.spec.Jitter != spec.Jitter {
			e.decided = s.now.Unix() // may be earlier: a clock ahead has decided about times to come
		}
	}
	e.spec, e.expr, e.broken = spec, expr, ""
	s.plan(e)
	s.emit(Write{Key: key(definitionKey, spec.Name), Value: encodeSpec(&spec)})
	if !e.firing {
		s.write(e)
	}
	return nil
}

// invalid is an ErrInvalid with its reason.
type invalid string

func (e invalid) Error() string { return string(e) }

// Is implements the interface of errors.Is.
func (e invalid) Is(target error) bool { return target == ErrInvalid }

// same reports whether two definitions are equal.
func same(a, b *Spec) bool { return reflect.DeepEqual(*a, *b) }

// compile checks a definition and returns its cron expression.
func (s *Schedules) compile(spec *Spec) (cron.Expression, error) {
	refuse := func(format string, args ...any) error {
		return invalid(fmt.Sprintf("schedule %q: %s", spec.Name, fmt.Sprintf(format, args...)))
	}
	switch {
	case !ValidName(spec.Name):
		return cron.Expression{}, refuse("a name has 1 to 128 letters, digits and characters of ._-/; each part between slashes is not empty, . or ..")
	case spec.Function == "" || len(spec.Function) > maxFunction:
		return cron.Expression{}, refuse("the name of the function must have 1 to %d bytes", maxFunction)
	case programSize(spec.Program) > MaxProgram:
		return cron.Expression{}, refuse("the program and its arguments have %d bytes; the limit is %d; let it read them from a file", programSize(spec.Program), MaxProgram)
	case len(spec.Input) > MaxInput:
		return cron.Expression{}, refuse("the input has %d bytes; the limit is %d", len(spec.Input), MaxInput)
	case spec.Jitter < 0 || spec.Jitter > MaxJitter:
		return cron.Expression{}, refuse("the jitter %s is not between 0s and %s", spec.Jitter, MaxJitter)
	case spec.CatchUp > CatchUpAll || spec.Overlap > OverlapReplace || spec.Priority > queue.Low:
		return cron.Expression{}, refuse("a policy or the priority is unknown; update the coordinator")
	case !validPolicy(spec.Policy):
		return cron.Expression{}, refuse("attempts and limits must not be negative")
	case spec.CatchUp == CatchUpAll && spec.Overlap != OverlapQueue:
		return cron.Expression{}, refuse("all missed times fire one after another, so they have to queue: -catch-up all needs -overlap queue")
	}
	loc, err := s.zone(spec.Zone)
	if err != nil || spec.Zone == "Local" {
		return cron.Expression{}, refuse("time zone %q is unknown; write one such as Europe/Berlin or UTC", spec.Zone)
	}
	expr, err := cron.Parse(spec.Cron, loc)
	if err != nil {
		return cron.Expression{}, refuse("%v", err)
	}
	return expr, nil
}

// maxFunction is the longest name of a function, in bytes; see queue.Submit.
const maxFunction = 512

func programSize(args []string) (n int) {
	for _, arg := range args {
		n += len(arg) + 1
	}
	return n
}

func validPolicy(p queue.Policy) bool {
	return p.Attempts >= 0 && p.Attempts < 1<<16 && min(p.Backoff, p.MaxBackoff, p.Soft, p.Hard, p.Keep) >= 0
}

// ValidName reports whether a schedule may have the name.
func ValidName(name string) bool {
	if !isRestorable(name) {
		return false
	}
	for part := range strings.SplitSeq(name, "/") { // a browser rewrites such a path
		if part == "" || part == "." || part == ".." {
			return false
		}
	}
	return true
}

// isRestorable reports whether a record may have the name. Early versions accepted more names than
// ValidName; such a schedule does not fire, and can be removed.
func isRestorable(name string) bool {
	ok := func(r rune) bool {
		return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("._-/", r)
	}
	return name != "" && len(name) <= 128 && strings.IndexFunc(name, func(r rune) bool { return !ok(r) }) < 0
}

// Info is the state of a schedule.
type Info struct {
	Spec
	Paused  bool      // it does not fire by itself
	Created time.Time // when it was first defined
	// Next is the next time, and Due the same with jitter; zero while paused.
	Next, Due time.Time
	// Task is the task that has not ended; zero means none.
	Task    uint64
	Waiting int // times that wait for its end
	// Problem is why the schedule does not fire, in words, or empty.
	Problem string
	// Success is when a task of the schedule last ended well; zero means never.
	Success time.Time
	Counts  Counts // since the definition
	History []Past // the latest first
}

// All returns the state of all schedules by name.
func (s *Schedules) All() []Info {
	all := make([]Info, 0, len(s.entries))
	for _, e := range s.sorted() {
		all = append(all, e.info())
	}
	return all
}

// Get returns the state of one schedule.
func (s *Schedules) Get(name string) (Info, bool) {
	if e := s.entries[name]; e != nil {
		return e.info(), true
	}
	return Info{}, false
}

func (e *entry) info() Info {
	i := Info{Spec: e.spec, Paused: e.paused, Created: e.created, Next: e.next, Due: e.due, Task: e.task, Waiting: len(e.waiting),
		Problem: e.broken, Success: e.success, Counts: e.counts, History: make([]Past, len(e.history))}
	if i.Problem == "" {
		i.Problem = e.problem
	}
	for n, p := range e.history {
		i.History[len(e.history)-1-n] = p
	}
	return i
}

// Unended yields the tasks that have not ended, as far as is known.
func (s *Schedules) Unended() (tasks []uint64) {
	for _, e := range s.sorted() {
		if e.task != 0 {
			tasks = append(tasks, e.task)
		}
	}
	return tasks
}
