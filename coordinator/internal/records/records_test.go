package records

import (
	"reflect"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/layshaft/layshaft/coordinator/internal/sched"
	"github.com/layshaft/layshaft/internal/job"
	journalv1 "github.com/layshaft/layshaft/proto/layshaft/journal/v1"
)

func records() []sched.Record {
	a := job.Attempt{Job: "j", Task: job.Task{Stage: 1, Index: 7}, N: 3}
	return []sched.Record{
		sched.Submitted{Spec: job.Spec{ID: "j", Hash: "ab", Params: []byte("{}"), Stages: []job.Stage{
			{Name: "map", Tasks: 1, Splits: []job.Split{{Label: "a", Bytes: 3, Hosts: []string{"w"}, Data: []byte{0, 255}}}, Timeout: 5},
			{Name: "reduce", Tasks: 2, Inputs: []job.Edge{{From: 0, Port: 1, Input: 2, Mode: job.Range}}, MaxAttempts: 2},
		}}},
		sched.Committed{Attempt: a, Worker: "w", Summary: sched.Summary{Bytes: 1, Records: 2, Counters: map[string]int64{"x": 3}}},
		sched.OutputLost{Attempt: a},
		sched.Ended{Job: "j", Outcome: sched.Failed, Failure: &job.Failure{Kind: job.Fatal, Message: "m", Lost: []job.Attempt{a}}, Task: a.Task},
		sched.JobDropped{Job: "j"},
		sched.OutputMoved{Worker: "w", Attempt: a},
		sched.Grouped{Job: "j", Stage: 1, Groups: []int32{0, 1, 0}},
		sched.Epoch{N: 2},
		sched.Offered{WorkerID: "w", Datasets: []string{"a", "b"}},
	}
}

func TestEventsRoundTrip(t *testing.T) {
	for _, rec := range records() {
		b, err := Encode(rec)
		if err != nil {
			t.Fatal(err)
		}
		got, err := Decode(b)
		if err != nil || !reflect.DeepEqual(got, rec) {
			t.Errorf("%s: got %+v, %v, want %+v", b, got, err, rec)
		}
	}
}

// A field that is added to a record and forgotten in Encode or Decode would be lost at the next
// restart. The journal leaves out Death, which the history of a job keeps.
func TestEventsKeepEveryField(t *testing.T) {
	for _, rec := range records() {
		v := reflect.New(reflect.TypeOf(rec)).Elem()
		fill(v)
		want := v.Interface().(sched.Record)
		b, err := Encode(want)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := Decode(b); err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("got  %+v, %v\nwant %+v", got, err, want)
		}
	}
}

// fill sets everything that v holds to something but zero.
func fill(v reflect.Value) {
	if v.Type() == reflect.TypeFor[time.Time]() {
		v.Set(reflect.ValueOf(time.Unix(0, 2)))
		return
	}
	switch v.Kind() {
	case reflect.String:
		v.SetString("text")
	case reflect.Bool:
		v.SetBool(true)
	case reflect.Int, reflect.Int32, reflect.Int64:
		v.SetInt(2)
	case reflect.Uint8:
		v.SetUint(7)
	case reflect.Struct:
		for i := range v.NumField() {
			fill(v.Field(i))
		}
	case reflect.Pointer:
		if v.Type() == reflect.TypeFor[*job.Death]() {
			return
		}
		v.Set(reflect.New(v.Type().Elem()))
		fill(v.Elem())
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 1, 1))
		fill(v.Index(0))
	case reflect.Map:
		key, value := reflect.New(v.Type().Key()).Elem(), reflect.New(v.Type().Elem()).Elem()
		fill(key)
		fill(value)
		v.Set(reflect.MakeMap(v.Type()))
		v.SetMapIndex(key, value)
	default:
		panic(v.Kind())
	}
}

// What could not be read back is refused when it is written, and what nobody knows is refused when
// it is read.
func TestEventsRefused(t *testing.T) {
	for _, spec := range []job.Spec{
		{ID: "j", Stages: []job.Stage{{Name: "map", Splits: []job.Split{{Bytes: -1}}}}},
		{ID: "j\xff"},
	} {
		if _, err := Encode(sched.Submitted{Spec: spec}); err == nil {
			t.Errorf("%+v was encoded", spec)
		}
	}
	for _, p := range []*journalv1.Event{
		{},
		{Event: &journalv1.Event_Submitted{}},
		{Event: &journalv1.Event_Committed{}},
		{Event: &journalv1.Event_Committed{Committed: &journalv1.Committed{Attempt: &journalv1.Attempt{Job: "j"}}}},
		{Event: &journalv1.Event_OutputLost{}},
		{Event: &journalv1.Event_Ended{Ended: &journalv1.Ended{Job: "j"}}},
		{Event: &journalv1.Event_Ended{Ended: &journalv1.Ended{Job: "j", Outcome: 99}}},
		{Event: &journalv1.Event_Ended{Ended: &journalv1.Ended{Job: "j", Outcome: 2, Failure: &journalv1.Failure{}}}},
		{Event: &journalv1.Event_Epoch{}},
	} {
		b, err := proto.Marshal(p)
		if err != nil {
			t.Fatal(err)
		}
		if rec, err := Decode(b); err == nil {
			t.Errorf("%v became %+v", p, rec)
		}
	}
}

// A failure text that is not UTF-8 must not end the coordinator.
func TestEventsRepairText(t *testing.T) {
	for _, rec := range []sched.Record{
		sched.Ended{Job: "j", Outcome: sched.Failed, Failure: &job.Failure{Message: "caf\xe9"}},
		sched.Committed{Attempt: job.Attempt{Job: "j", N: 1}, Worker: "w\xff", Summary: sched.Summary{Counters: map[string]int64{"\xff": 1}}},
	} {
		b, err := Encode(rec)
		if err == nil {
			_, err = Decode(b)
		}
		if err != nil {
			t.Errorf("%+v: %v", rec, err)
		}
	}
}

// FuzzRestore gives the core what a damaged or foreign journal may hold: errors, never a panic.
func FuzzRestore(f *testing.F) {
	for _, rec := range records() {
		b, _ := Encode(rec)
		f.Add(b, b)
	}
	f.Fuzz(func(t *testing.T, a, b []byte) {
		s := sched.New(sched.Config{})
		for _, ev := range [][]byte{a, b} {
			rec, err := Decode(ev)
			if err != nil {
				continue
			}
			if sub, ok := rec.(sched.Submitted); ok && sub.Spec.Tasks() > 100_000 {
				return
			}
			s.Restore(rec)
		}
	})
}
