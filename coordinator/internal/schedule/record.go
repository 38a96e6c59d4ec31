package schedule

import (
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/layshaft/layshaft/coordinator/internal/queue"
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

func appendString[T string | []byte](b []byte, s T) []byte {
	return append(binary.AppendUvarint(b, uint64(len(s))), s...)
}

func appendTime(b []byte, t time.Time) []byte {
	if t.IsZero() {
		return binary.AppendVarint(b, math.MinInt64)
	}
	return binary.AppendVarint(b, t.UnixMilli())
}

func encodeSpec(x *Spec) []byte {
	b := appendString([]byte{version}, x.Cron)
	b = appendString(b, x.Zone)
	b = binary.AppendUvarint(b, uint64(x.Jitter))
	b = append(b, byte(x.CatchUp), byte(x.Overlap), byte(x.Priority))
	b = appendString(b, x.Function)
	b = binary.AppendUvarint(b, uint64(len(x.Program)))
	for _, arg := range x.Program {
		b = appendString(b, arg)
	}
	b = binary.AppendUvarint(appendString(b, x.Input), uint64(x.Policy.Attempts))
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
	name, r := string(key[1:]), &reader{b: value}
	if !restorable(name) || r.byte() != version {
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
	x := Spec{Name: name, Cron: r.string(), Zone: r.string(), Jitter: r.duration(), CatchUp: CatchUp(r.byte()), Overlap: Overlap(r.byte()),
		Priority: queue.Priority(r.byte()), Function: r.string()}
	for range r.count() {
		x.Program = append(x.Program, r.string())
	}
	if input := r.string(); input != "" {
		x.Input = []byte(input)
	}
	x.Policy.Attempts = int(r.uint() & math.MaxUint16)
	for _, d := range [...]*time.Duration{&x.Policy.Backoff, &x.Policy.MaxBackoff, &x.Policy.Soft, &x.Policy.Hard, &x.Policy.Keep} {
		*d = r.duration()
	}
	if r.err != nil {
		return r.err
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
	x := entry{paused: r.byte()&1 != 0, decided: r.varint(), created: r.time(time.UTC), success: r.time(time.UTC)}
	for _, n := range [...]*int{&x.counts.Due, &x.counts.Fired, &x.counts.Skipped, &x.counts.Missed, &x.counts.Failed} {
		*n = int(r.uint() & math.MaxInt64)
	}
	x.task = r.uint()
	for range r.count() {
		x.waiting = append(x.waiting, waiting{r.varint(), r.byte() != 0})
	}
	loc := time.UTC
	if zone, err := s.zone(e.spec.Zone); err == nil {
		loc = zone
	}
	for range r.count() {
		x.history = append(x.history, Past{Time: r.time(loc), Started: r.time(time.UTC), Ended: r.time(time.UTC), Task: r.uint(), Outcome: Outcome(r.byte()),
			Manual: r.byte() != 0, Count: int(r.uint() & math.MaxInt64)})
	}
	if r.err != nil {
		return r.err
	}
	x.spec, x.expr, x.broken = e.spec, e.expr, e.broken
	*e = x
	if e.task != 0 {
		s.byTask[e.task] = e
	}
	s.plan(e)
	return nil
}

// reader decodes values. After an error it returns zeros.
type reader struct {
	b   []byte
	err error
}

func (r *reader) fail() { r.err, r.b = cmp.Or(r.err, errRecord), nil }

func (r *reader) byte() byte {
	if len(r.b) == 0 {
		r.fail()
		return 0
	}
	c := r.b[0]
	r.b = r.b[1:]
	return c
}

func (r *reader) uint() uint64 {
	v, n := binary.Uvarint(r.b)
	if n <= 0 {
		r.fail()
		return 0
	}
	r.b = r.b[n:]
	return v
}

func (r *reader) varint() int64 {
	v, n := binary.Varint(r.b)
	if n <= 0 {
		r.fail()
		return 0
	}
	r.b = r.b[n:]
	return v
}

// count reads the length of a list, of which each element has a byte or more.
func (r *reader) count() int {
	n := r.uint()
	if n > uint64(len(r.b)) {
		r.fail()
		return 0
	}
	return int(n)
}

func (r *reader) string() string {
	n := r.count()
	s := string(r.b[:n])
	r.b = r.b[n:]
	return s
}

func (r *reader) duration() time.Duration { return time.Duration(r.uint() & math.MaxInt64) }

func (r *reader) time(loc *time.Location) time.Time {
	ms := r.varint()
	if ms == math.MinInt64 || r.err != nil {
		return time.Time{}
	}
	return time.UnixMilli(ms).In(loc)
}
