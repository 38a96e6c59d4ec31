package schedule

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"
)

// story drives a core by hand.
type story struct {
	t    *testing.T
	s    *Schedules
	now  time.Time
	task uint64
	log  []string
}

func newStory(t *testing.T, at string) *story {
	now, err := time.Parse(time.DateTime, at)
	if err != nil {
		t.Fatal(err)
	}
	return &story{t: t, s: New(time.LoadLocation), now: now}
}

// do passes an event to the core, and starts the tasks that it wants.
func (x *story) do(ev Event) error {
	var err error
	for _, c := range append([]Command{}, x.s.Step(x.now, ev)...) {
		switch c := c.(type) {
		case Answer:
			err = c.Err
		case Fire:
			x.task++
			line := fmt.Sprintf("%s fires %s as task %d", x.now.Format("15:04:05"), c.Time.UTC().Format("15:04"), x.task)
			if c.Replaces != 0 {
				line += fmt.Sprintf(" in place of task %d", c.Replaces)
			}
			x.log = append(x.log, line)
			x.s.Step(x.now, Started{c.Spec.Name, x.task})
		}
	}
	return err
}

// at moves the time to a time of day, and stops at each time that the core wants.
func (x *story) at(clock string) {
	to, err := time.Parse(time.DateTime, x.now.Format(time.DateOnly)+" "+clock)
	if err != nil {
		x.t.Fatal(err)
	}
	for next := x.s.Next(); !next.IsZero() && !next.After(to); next = x.s.Next() {
		x.now = next
		x.do(Tick{})
	}
	x.now = to
}

// sleep moves the time without a coordinator.
func (x *story) sleep(clock string) {
	x.now, _ = time.Parse(time.DateTime, x.now.Format(time.DateOnly)+" "+clock)
	x.do(Tick{})
}

func (x *story) want(lines ...string) {
	x.t.Helper()
	if got, want := strings.Join(x.log, "\n"), strings.Join(lines, "\n"); got != want {
		x.t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	x.log = nil
}

func (x *story) info() Info {
	i, ok := x.s.Get("n")
	if !ok {
		x.t.Fatal("no schedule")
	}
	return i
}

func (x *story) history() string {
	var all []string
	for _, p := range x.info().History {
		all = append(all, fmt.Sprintf("%s %s %d", p.Time.UTC().Format("15:04"), p.Outcome, p.Count))
	}
	return strings.Join(all, ", ")
}

var hourly = Spec{Name: "n", Cron: "0 * * * *", Function: "f"}

func TestSkip(t *testing.T) {
	x := newStory(t, "2026-01-01 00:30:00")
	x.do(Set{Spec: hourly})
	x.at("03:30:00")
	x.want("01:00:00 fires 01:00 as task 1")
	x.do(Ended{1, OutcomeDone})
	x.at("04:30:00")
	x.want("04:00:00 fires 04:00 as task 2")
	if got, want := x.history(), "04:00 running 1, 03:00 skipped 2, 01:00 done 1"; got != want {
		t.Errorf("history: %s, want %s", got, want)
	}
	if i := x.info(); i.Counts != (Counts{Due: 4, Fired: 2, Skipped: 2}) || !i.Success.Equal(x.now.Add(-time.Hour)) {
		t.Errorf("%+v", i)
	}
}

func TestQueue(t *testing.T) {
	x := newStory(t, "2026-01-01 00:30:00")
	spec := hourly
	spec.Overlap = OverlapQueue
	x.do(Set{Spec: spec})
	x.at("03:30:00")
	x.do(Ended{1, OutcomeFailed})
	x.do(Ended{2, OutcomeDone})
	x.want("01:00:00 fires 01:00 as task 1", "03:30:00 fires 02:00 as task 2", "03:30:00 fires 03:00 as task 3")
	if i := x.info(); i.Counts != (Counts{Due: 3, Fired: 3, Failed: 1}) || i.Waiting != 0 {
		t.Errorf("%+v", i)
	}
}

func TestReplace(t *testing.T) {
	x := newStory(t, "2026-01-01 00:30:00")
	spec := hourly
	spec.Overlap = OverlapReplace
	x.do(Set{Spec: spec})
	x.at("02:30:00")
	x.do(Ended{1, OutcomeCancelled}) // of the replaced task
	x.want("01:00:00 fires 01:00 as task 1", "02:00:00 fires 02:00 as task 2 in place of task 1")
	if got, want := x.history(), "02:00 running 1, 01:00 replaced 1"; got != want {
		t.Errorf("history: %s, want %s", got, want)
	}
}

func TestCatchUp(t *testing.T) {
	for _, c := range []struct {
		catchUp CatchUp
		overlap Overlap
		back    string
		want    []string
		history string
	}{
		{CatchUpLast, OverlapSkip, "04:30:00", []string{"04:30:00 fires 04:00 as task 1"}, "04:00 running 1, 03:00 missed 3"},
		{CatchUpLast, OverlapSkip, "04:00:20", []string{"04:00:20 fires 04:00 as task 1"}, "04:00 running 1, 03:00 missed 3"},
		{CatchUpSkip, OverlapSkip, "04:30:00", nil, "04:00 missed 4"},
		{CatchUpSkip, OverlapSkip, "04:00:59", []string{"04:00:59 fires 04:00 as task 1"}, "04:00 running 1, 03:00 missed 3"},
		{CatchUpSkip, OverlapSkip, "04:01:00", nil, "04:00 missed 4"},
		{CatchUpAll, OverlapQueue, "03:30:00", []string{"03:30:00 fires 01:00 as task 1", "03:30:00 fires 02:00 as task 2", "03:30:00 fires 03:00 as task 3"}, "03:00 done 1, 02:00 done 1, 01:00 done 1"},
	} {
		x := newStory(t, "2026-01-01 00:30:00")
		spec := hourly
		spec.CatchUp, spec.Overlap = c.catchUp, c.overlap
		x.do(Set{Spec: spec})
		x.sleep(c.back)
		for n := uint64(1); c.overlap == OverlapQueue && n <= 3; n++ {
			x.do(Ended{n, OutcomeDone})
		}
		x.want(c.want...)
		if got := x.history(); got != c.history {
			t.Errorf("%d back at %s: history %s, want %s", c.catchUp, c.back, got, c.history)
		}
	}
}

func TestPause(t *testing.T) {
	x := newStory(t, "2026-01-01 00:30:00")
	x.do(Set{Spec: hourly})
	x.do(Pause{"n", true})
	if !x.s.Next().IsZero() {
		t.Error("a paused schedule wants the time")
	}
	x.at("03:30:00")
	if err := x.do(RunNow{"n"}); err != nil {
		t.Error(err)
	}
	if err := x.do(RunNow{"n"}); !errors.Is(err, ErrRunning) {
		t.Errorf("a second run: %v", err)
	}
	x.do(Ended{1, OutcomeDone})
	x.do(Pause{"n", false})
	x.at("04:30:00")
	x.want("03:30:00 fires 03:30 as task 1", "04:00:00 fires 04:00 as task 2")
	if i := x.info(); i.Counts.Missed != 0 || !i.History[1].Manual {
		t.Errorf("%+v", i)
	}
}

func TestRefusedTask(t *testing.T) {
	x := newStory(t, "2026-01-01 00:59:00")
	x.do(Set{Spec: hourly})
	x.now = x.now.Add(time.Minute)
	x.s.Step(x.now, Tick{})
	x.s.Step(x.now, Refused{"n", "the queue is full"})
	if i := x.info(); i.Problem != "the queue is full" || i.Waiting != 1 {
		t.Errorf("%+v", i)
	}
	x.at("01:00:30")
	x.want("01:00:10 fires 01:00 as task 1")
	if i := x.info(); i.Problem != "" || i.Waiting != 0 {
		t.Errorf("%+v", i)
	}
}

func TestDefinitions(t *testing.T) {
	x := newStory(t, "2026-01-01 00:30:00")
	if err := x.do(Set{Spec: hourly, New: true}); err != nil {
		t.Fatal(err)
	}
	if err := x.do(Set{Spec: hourly, New: true}); err != nil {
		t.Errorf("the same definition again: %v", err)
	}
	other := hourly
	other.Cron = "30 * * * *"
	if err := x.do(Set{Spec: other, New: true}); !errors.Is(err, ErrExists) {
		t.Errorf("another definition: %v", err)
	}
	if err := x.do(Set{Spec: other}); err != nil || !x.info().Next.Equal(x.now.Add(time.Hour)) {
		t.Errorf("changed: %v, next %s", err, x.info().Next)
	}
	if err := x.do(Remove{"n"}); err != nil {
		t.Error(err)
	}
	for _, ev := range []Event{Remove{"n"}, Pause{"n", true}, RunNow{"n"}} {
		if err := x.do(ev); !errors.Is(err, ErrUnknown) {
			t.Errorf("%T: %v", ev, err)
		}
	}
	for _, c := range []struct {
		change func(s *Spec)
		want   string
	}{
		{func(s *Spec) { s.Name = "a b" }, "a name has"},
		{func(s *Spec) { s.Name = ".." }, "each part between slashes"},
		{func(s *Spec) { s.Name = "a/../b" }, "each part between slashes"},
		{func(s *Spec) { s.Name = "/x" }, "each part between slashes"},
		{func(s *Spec) { s.Name = "a//b" }, "each part between slashes"},
		{func(s *Spec) { s.Function = "" }, "the name of the function"},
		{func(s *Spec) { s.Zone = "Europe/Atlantis" }, `time zone "Europe/Atlantis" is unknown`},
		{func(s *Spec) { s.Zone = "Local" }, `time zone "Local" is unknown`},
		{func(s *Spec) { s.Cron = "0 0 30 2 *" }, "it never fires"},
		{func(s *Spec) { s.Jitter = 25 * time.Hour }, "the jitter 25h0m0s is not between"},
		{func(s *Spec) { s.CatchUp = CatchUpAll }, "-catch-up all needs -overlap queue"},
		{func(s *Spec) { s.Overlap = 7 }, "a policy or the priority is unknown"},
		{func(s *Spec) { s.Policy.Attempts = -1 }, "must not be negative"},
		{func(s *Spec) { s.Program = []string{"p", strings.Repeat("x", MaxProgram)} }, "the program and its arguments have 4099 bytes"},
		{func(s *Spec) { s.Input = make([]byte, MaxInput+1) }, "the input has"},
	} {
		spec := hourly
		c.change(&spec)
		if err := x.do(Set{Spec: spec}); !errors.Is(err, ErrInvalid) || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%v, want %q", err, c.want)
		}
	}
}

// TestJitter checks that the delay is within its limit, differs between times and names, and is the
// same again.
func TestJitter(t *testing.T) {
	spec := Spec{Name: "a", Jitter: 10 * time.Minute}
	other := Spec{Name: "b", Jitter: 10 * time.Minute}
	seen, at := map[time.Duration]bool{}, time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	low, high := time.Hour, time.Duration(0)
	for range 1000 {
		at = at.Add(time.Hour)
		d := jitter(&spec, at)
		if d < 0 || d >= spec.Jitter || d != jitter(&spec, at.In(time.FixedZone("", 3600))) {
			t.Fatalf("%s: %s", at, d)
		}
		seen[d], seen[jitter(&other, at)] = true, true
		low, high = min(low, d), max(high, d)
	}
	if len(seen) < 1900 || low > 10*time.Second || high < 590*time.Second {
		t.Errorf("%d different delays from %s to %s", len(seen), low, high)
	}
}

// TestUnknownZone checks that a schedule whose time zone this machine does not know is kept.
func TestUnknownZone(t *testing.T) {
	x := newStory(t, "2026-01-01 00:30:00")
	spec := hourly
	spec.Zone = "Europe/Berlin"
	var records [][2][]byte
	for _, c := range x.s.Step(x.now, Set{Spec: spec}) {
		if w, ok := c.(Write); ok {
			records = append(records, [2][]byte{w.Key, w.Value})
		}
	}
	s := New(func(string) (*time.Location, error) { return nil, errors.New("no zones") })
	for _, r := range records {
		if err := s.Restore(r[0], r[1]); err != nil {
			t.Fatal(err)
		}
	}
	i, _ := s.Get("n")
	if !strings.Contains(i.Problem, "Europe/Berlin") || i.Spec.Cron != spec.Cron {
		t.Errorf("%+v", i)
	}
	if s.Step(x.now.AddDate(1, 0, 0), Tick{}); !s.Next().IsZero() {
		t.Error("it wants the time")
	}
}

// TestLostRecords restores a schedule without its state, and a state without its schedule.
func TestLostRecords(t *testing.T) {
	x := newStory(t, "2026-01-01 00:30:00")
	x.do(Set{Spec: hourly})
	e := x.s.entries["n"]
	y := newStory(t, "2026-01-05 00:30:00")
	if err := y.s.Restore(key(definitionKey, "n"), encodeSpec(&e.spec)); err != nil {
		t.Fatal(err)
	}
	if err := y.s.Restore(key(stateKey, "gone"), e.encode()); err != nil {
		t.Fatal(err)
	}
	y.do(Tick{})
	if all := y.s.All(); len(all) != 1 || all[0].Counts.Due != 0 || !all[0].Next.Equal(y.now.Add(30*time.Minute)) {
		t.Errorf("%+v", all)
	}
	y.at("01:10:00")
	y.want("01:00:00 fires 01:00 as task 1")
}

// TestRecords restores schedules from damaged records: an error, or a schedule, and no panic.
func TestRecords(t *testing.T) {
	x := newStory(t, "2026-01-01 00:30:00")
	spec := Spec{Name: "n", Cron: "0 * * * *", Function: "f", Program: []string{"a", "b"}, Input: []byte("in"), Jitter: time.Second}
	x.do(Set{Spec: spec})
	x.at("05:00:30")
	e := x.s.entries["n"]
	definition, state := encodeSpec(&e.spec), e.encode()
	restore := func(definition, state []byte) (Info, error) {
		s := New(time.LoadLocation)
		err := s.Restore(key(definitionKey, "n"), definition)
		if err == nil {
			err = s.Restore(key(stateKey, "n"), state)
		}
		i, _ := s.Get("n")
		return i, err
	}
	got, err := restore(definition, state)
	if want := x.info(); err != nil || fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("restored %+v, %v; want %+v", got, err, want)
	}
	for _, whole := range [][]byte{definition, state} {
		for n := range whole {
			cut := whole[:n]
			if &whole[0] == &definition[0] {
				_, err = restore(cut, state)
			} else {
				_, err = restore(definition, cut)
			}
			if err == nil {
				t.Errorf("a record cut at %d of %d is accepted", n, len(whole))
			}
		}
	}
}

// TestJitterAboveInterval checks that no time is missed while a coordinator is there.
func TestJitterAboveInterval(t *testing.T) {
	x := newStory(t, "2026-01-01 00:00:00")
	x.do(Set{Spec: Spec{Name: "n", Cron: "*/5 * * * *", Function: "f", Jitter: 30 * time.Minute, CatchUp: CatchUpSkip}})
	x.at("23:59:00")
	if i := x.info(); i.Counts.Missed != 0 || i.Counts.Due < 270 {
		t.Errorf("%+v", i.Counts)
	}
}

// TestClockAhead checks the way out after a clock was ten years ahead for one Tick: a pause, or a
// change of the times. No Step decides about all times of these years.
func TestClockAhead(t *testing.T) {
	years := 10
	if testing.Short() {
		years = 1
	}
	for _, way := range []string{"pause", "set"} {
		x := newStory(t, "2026-01-01 00:00:30")
		spec := Spec{Name: "n", Cron: "* * * * *", Function: "f"}
		x.do(Set{Spec: spec})
		right := x.now
		x.now = right.AddDate(years, 0, 0)
		for steps := 1; !x.s.Next().After(x.now); steps++ {
			before := x.info().Counts.Due
			if x.do(Tick{}); x.info().Counts.Due-before > maxTimes {
				t.Fatalf("one step decided about %d times", x.info().Counts.Due-before)
			}
			if i := x.info(); steps > 1 && len(i.History) > 2 {
				t.Fatalf("history: %s", x.history())
			}
		}
		x.now = right
		switch way {
		case "pause":
			x.do(Pause{"n", true})
			x.do(Pause{"n", false})
		case "set":
			spec.Cron = "*/1 * * * *"
			x.do(Set{Spec: spec})
		}
		if next := x.info().Next; next.Sub(right) != 30*time.Second {
			t.Errorf("%s: the next time is %s, want half a minute after %s", way, next, right)
		}
	}
}

// TestFireBeforeSet checks that a time that is due at a change fires as the schedule was defined.
func TestFireBeforeSet(t *testing.T) {
	x := newStory(t, "2026-01-01 00:30:00")
	x.do(Set{Spec: hourly})
	x.now = x.now.Add(30 * time.Minute)
	changed := hourly
	changed.Function = "g"
	for _, c := range x.s.Step(x.now, Set{Spec: changed}) {
		if f, ok := c.(Fire); ok {
			if f.Spec.Function != "f" {
				t.Errorf("01:00 fires function %s", f.Spec.Function)
			}
			return
		}
	}
	t.Error("01:00 does not fire")
}
