package schedule

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/layshaft/layshaft/coordinator/internal/queue"
	"github.com/layshaft/layshaft/internal/cursor"
)

// Records are the durable state. A key is a letter followed by the name of the schedule:
//
//	x NAME  definition
//	y NAME  state
//
// In key order, all definitions come before all states.
const (
	definitionKey = 'x'
	stateKey      = 'y'
	// version begins the value of every Record.
	version = 1
)

var errRecord = errors.New("damaged record of a schedule")

// IsRecord reports whether a key belongs to this package.
func IsRecord(key []byte) bool {
	return len(key) > 1 && (key[0] == definitionKey || key[0] == stateKey)
}

func key(letter byte, name string) []byte { return append([]byte{letter}, name...) }

// write emits the state of e.
func (s *Schedules) write(e *entry) {
	s.emit(Write{Key: key(stateKey, e.spec.Name), Value: e.encode()})
}

func appendTime(b []byte, t time.Time) []byte {
	if t.IsZero() {
		return binary.AppendVarint(b, math.MinInt64)
	}
	return binary.AppendVarint(b, t.UnixMilli())
}

func encodeSpec(x *Spec) []byte {
	b := cursor.AppendBytes([]byte{version}, x.Cron)
	b = cursor.AppendBytes(b, x.Zone)
	b = binary.AppendUvarint(b, uint64(x.Jitter))
	b = append(b, byte(x.CatchUp), byte(x.Overlap), byte(x.Priority))
	b = cursor.AppendBytes(b, x.Function)
	b = binary.AppendUvarint(b, uint64(len(x.Program)))
	for _, arg := range x.Program {
		b = cursor.AppendBytes(b, arg)
	}
	b = binary.AppendUvarint(cursor.AppendBytes(b, x.Input), uint64(x.Policy.Attempts))
	for _, d := range [...]time.Duration{x.Policy.Backoff, x.Policy.MaxBackoff, x.Policy.Soft, x.Policy.Hard, x.Policy.Keep} {
		b = binary.AppendUvarint(b, uint64(d))
	}
	return b
}

func (e *entry) encode() []byte {
	flags := byte(0)
	if e.paused {
		flags |= 1
	}
	b := binary.AppendVarint([]byte{version, flags}, e.decided)
	b = appendTime(appendTime(b, e.created), e.success)
	for _, n := range [...]int{e.counts.Due, e.counts.Fired, e.counts.Skipped, e.counts.Missed, e.counts.Failed} {
		b = binary.AppendUvarint(b, uint64(n))
	}
	b = binary.AppendUvarint(b, e.task)
	b = binary.AppendUvarint(b, uint64(len(e.waiting)))
	for _, w := range e.waiting {
		b = append(binary.AppendVarint(b, w.at), bit(w.manual))
	}
	b = binary.AppendUvarint(b, uint64(len(e.history)))
	for _, p := range e.history {
		b = appendTime(appendTime(appendTime(b, p.Time), p.Started), p.Ended)
		b = append(binary.AppendUvarint(b, p.Task), byte(p.Outcome), bit(p.Manual))
		b = binary.AppendUvarint(b, uint64(p.Count))
	}
	return b
}

func bit(b bool) byte {
	if b {
		return 1
	}
	return 0
}

// Restore restores a record of an earlier process. Call it for all records in key order before the
// first Step, then send Tick. It keeps neither slice. An error means that the record is damaged. A
// schedule whose state is missing begins anew, and a state without a definition is ignored.
func (s *Schedules) Restore(key, value []byte) error {
	name, r := string(key[1:]), &reader{cursor.Over(value)}
	if !isRestorable(name) || r.Byte() != version {
		return fmt.Errorf("schedule %q: %w", name, errRecord)
	}
	var err error
	if key[0] == definitionKey {
		err = s.restoreSpec(name, r)
	} else {
		err = s.restoreState(name, r)
	}
	if err != nil {
		return fmt.Errorf("schedule %q: %w", name, err)
	}
	return nil
}

func (s *Schedules) restoreSpec(name string, r *reader) error {
	x := Spec{Name: name, Cron: r.String(), Zone: r.String(), Jitter: r.duration(), CatchUp: CatchUp(r.Byte()), Overlap: Overlap(r.Byte()),
		Priority: queue.Priority(r.Byte()), Function: r.String()}
	for range r.Count(1) {
		x.Program = append(x.Program, r.String())
	}
	if input := r.String(); input != "" {
		x.Input = []byte(input)
	}
	x.Policy.Attempts = int(r.Uint() & math.MaxUint16)
	for _, d := range [...]*time.Duration{&x.Policy.Backoff, &x.Policy.MaxBackoff, &x.Policy.Soft, &x.Policy.Hard, &x.Policy.Keep} {
		*d = r.duration()
	}
	if r.Failed() {
		return errRecord
	}
	e := &entry{spec: x}
	if expr, err := s.compile(&x); err != nil { // such as a time zone that this machine does not know
		e.broken = err.Error()
	} else {
		e.expr = expr
	}
	s.entries[name] = e
	return nil
}

func (s *Schedules) restoreState(name string, r *reader) error {
	e := s.entries[name]
	if e == nil { // its definition was lost, and the operator accepted that
		return nil
	}
	x := entry{paused: r.Byte()&1 != 0, decided: r.Int(), created: r.time(time.UTC), success: r.time(time.UTC)}
	for _, n := range [...]*int{&x.counts.Due, &x.counts.Fired, &x.counts.Skipped, &x.counts.Missed, &x.counts.Failed} {
		*n = r.int()
	}
	x.task = r.Uint()
	for range r.Count(1) {
		x.waiting = append(x.waiting, waiting{r.Int(), r.Byte() != 0})
	}
	loc := time.UTC
	if zone, err := s.zone(e.spec.Zone); err == nil {
		loc = zone
	}
	for range r.Count(1) {
		x.history = append(x.history, Past{Time: r.time(loc), Started: r.time(time.UTC), Ended: r.time(time.UTC), Task: r.Uint(), Outcome: Outcome(r.Byte()),
			Manual: r.Byte() != 0, Count: r.int()})
	}
	if r.Failed() {
		return errRecord
	}
	x.spec, x.expr, x.broken = e.spec, e.expr, e.broken
	*e = x
	if e.task != 0 {
		s.byTask[e.task] = e
	}
	s.plan(e)
	return nil
}

// reader decodes the value of a Record.
type reader struct{ cursor.Cursor }

// int reads a number that is not negative.
func (r *reader) int() int { return int(r.Uint() & math.MaxInt64) }

func (r *reader) duration() time.Duration { return time.Duration(r.Uint() & math.MaxInt64) }

func (r *reader) time(loc *time.Location) time.Time {
	ms := r.Int()
	if ms == math.MinInt64 || r.Failed() {
		return time.Time{}
	}
	return time.UnixMilli(ms).In(loc)
}
