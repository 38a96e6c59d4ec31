package wire

import (
	"math"
	"reflect"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"
	"pgregory.net/rapid"

	"github.com/layshaft/layshaft/internal/job"
	layshaftv1 "github.com/layshaft/layshaft/proto/layshaft/v1"
)

// Generators of everything that Go code may hold. Empty slices are nil, as they come back.
var (
	num  = rapid.IntRange(0, math.MaxInt)
	size = rapid.Int64Range(0, math.MaxInt64)
	data = rapid.Map(rapid.SliceOfN(rapid.Byte(), 0, 20), func(b []byte) []byte {
		if len(b) == 0 {
			return nil
		}
		return b
	})
	task    = rapid.Custom(func(t *rapid.T) job.Task { return job.Task{Stage: num.Draw(t, "stage"), Index: num.Draw(t, "index")} })
	attempt = rapid.Custom(func(t *rapid.T) job.Attempt {
		return job.Attempt{Job: job.ID(rapid.String().Draw(t, "job")), Task: task.Draw(t, "task"), N: num.Draw(t, "n")}
	})
	split = rapid.Custom(func(t *rapid.T) job.Split {
		return job.Split{Label: rapid.String().Draw(t, "label"), Bytes: size.Draw(t, "bytes"), Hosts: some(t, rapid.String()),
			Note: rapid.String().Draw(t, "note"), Data: data.Draw(t, "data")}
	})
	stage = rapid.Custom(func(t *rapid.T) job.Stage {
		return job.Stage{Name: rapid.String().Draw(t, "name"), Tasks: num.Draw(t, "tasks"), Splits: some(t, split),
			Inputs: some(t, rapid.Custom(func(t *rapid.T) job.Edge {
				return job.Edge{From: num.Draw(t, "from"), Port: num.Draw(t, "port"), Input: num.Draw(t, "input"),
					Mode: rapid.SampledFrom([]job.Mode{job.Shuffle, job.Broadcast, job.Range, job.Group}).Draw(t, "mode")}
			})),
			MaxAttempts: num.Draw(t, "max attempts"), Timeout: time.Duration(size.Draw(t, "timeout")), Combine: rapid.Bool().Draw(t, "combine"), Inner: rapid.Bool().Draw(t, "inner"), Slices: num.Draw(t, "slices")}
	})
	spec = rapid.Custom(func(t *rapid.T) *job.Spec {
		return &job.Spec{ID: job.ID(rapid.String().Draw(t, "id")), Name: rapid.String().Draw(t, "name"), Hash: rapid.String().Draw(t, "hash"),
			Params: data.Draw(t, "params"), Memory: size.Draw(t, "memory"), Stages: some(t, stage)}
	})
	launch = rapid.Custom(func(t *rapid.T) *job.Launch {
		l := &job.Launch{Attempt: attempt.Draw(t, "attempt"), Timeout: time.Duration(size.Draw(t, "timeout"))}
		if rapid.Bool().Draw(t, "has split") {
			s := split.Draw(t, "split")
			l.Split = &s
		}
		l.Producers = some(t, rapid.Custom(func(t *rapid.T) []job.Producer {
			stage := num.Draw(t, "stage")
			out := some(t, rapid.Custom(func(t *rapid.T) job.Producer {
				return job.Producer{Worker: rapid.SampledFrom([]string{"", "w1", "w2", "w3"}).Draw(t, "worker"),
					Attempt: job.Attempt{Job: l.Attempt.Job, N: num.Draw(t, "n")}}
			}))
			index, group := -1, rapid.Bool().Draw(t, "group")
			for i := range out {
				index++
				if group {
					index += rapid.IntRange(0, 3).Draw(t, "gap")
				}
				out[i].Attempt.Task = job.Task{Stage: stage, Index: index}
				if out[i].Attempt.N == 0 {
					out[i] = job.Producer{}
				}
			}
			return out
		}))
		return l
	})
	failure = rapid.Custom(func(t *rapid.T) *job.Failure {
		return &job.Failure{Kind: job.Kind(rapid.IntRange(0, int(job.WorkerLost)).Draw(t, "kind")), Message: rapid.String().Draw(t, "message"),
			Detail: rapid.String().Draw(t, "detail"), Record: rapid.String().Draw(t, "record"), Lost: some(t, attempt)}
	})
)

// some draws none, or a few.
func some[T any](t *rapid.T, g *rapid.Generator[T]) []T {
	n := rapid.IntRange(0, 4).Draw(t, "count")
	if n == 0 {
		return nil
	}
	return rapid.SliceOfN(g, n, n).Draw(t, "list")
}

// roundTrip checks that what is drawn survives the way over the wire.
func roundTrip[G any, P proto.Message](t *testing.T, g *rapid.Generator[*G], to func(*G) (P, error), from func(P) (*G, error)) {
	rapid.Check(t, func(t *rapid.T) {
		want := g.Draw(t, "value")
		p, err := to(want)
		if err != nil {
			t.Fatal(err)
		}
		b, err := proto.Marshal(p)
		if err != nil {
			t.Fatal(err)
		}
		q := p.ProtoReflect().New().Interface().(P)
		if err := proto.Unmarshal(b, q); err != nil {
			t.Fatal(err)
		}
		got, err := from(q)
		if err != nil {
			t.Fatal(err)
		}
		if !reflect.DeepEqual(got, want) {
			t.Fatalf("got  %+v\nwant %+v", got, want)
		}
	})
}

func sure[G, P any](to func(*G) P) func(*G) (P, error) {
	return func(g *G) (P, error) { return to(g), nil }
}

func TestRoundTrip(t *testing.T) {
	t.Run("spec", func(t *testing.T) { roundTrip(t, spec, sure(SpecToProto), SpecFromProto) })
	t.Run("launch", func(t *testing.T) { roundTrip(t, launch, LaunchToProto, LaunchFromProto) })
	t.Run("failure", func(t *testing.T) { roundTrip(t, failure, sure(FailureToProto), FailureFromProto) })
}

// A field that is added to a type of package job and forgotten here would be lost on the way.
func TestEveryFieldIsKept(t *testing.T) {
	var s job.Spec
	var l job.Launch
	var f job.Failure
	for _, v := range []any{&s, &l, &f} {
		fill(reflect.ValueOf(v).Elem())
	}
	l.Producers[0][0].Attempt = job.Attempt{Job: l.Attempt.Job, Task: job.Task{Stage: 2}, N: 2}
	keeps(t, &s, sure(SpecToProto), SpecFromProto)
	keeps(t, &l, LaunchToProto, LaunchFromProto)
	keeps(t, &f, sure(FailureToProto), FailureFromProto)
}

func keeps[G, P any](t *testing.T, want *G, to func(*G) (P, error), from func(P) (*G, error)) {
	t.Helper()
	p, err := to(want)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := from(p); err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v, %v\nwant %+v", got, err, want)
	}
}

// fill sets everything that v holds to something but zero.
func fill(v reflect.Value) {
	switch v.Kind() {
	case reflect.String:
		v.SetString("text")
	case reflect.Bool:
		v.SetBool(true)
	case reflect.Int, reflect.Int64:
		v.SetInt(2)
	case reflect.Uint8, reflect.Uint64:
		v.SetUint(7)
	case reflect.Struct:
		for i := range v.NumField() {
			fill(v.Field(i))
		}
	case reflect.Pointer:
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

func TestRefused(t *testing.T) {
	whole := func() *layshaftv1.Attempt { return AttemptToProto(job.Attempt{Job: "j", N: 1}) }
	spec := func(s *layshaftv1.Stage) func() error {
		return func() error {
			_, err := SpecFromProto(&layshaftv1.Spec{Id: "nightly", Stages: []*layshaftv1.Stage{s}})
			return err
		}
	}
	launch := func(p *layshaftv1.Producers) func() error {
		return func() error {
			_, err := LaunchFromProto(&layshaftv1.Launch{Attempt: whole(), Producers: []*layshaftv1.Producers{p}})
			return err
		}
	}
	tests := []struct {
		name string
		err  func() error
		want string
	}{
		{"no job", func() error { _, err := SpecFromProto(nil); return err }, "job is not set"},
		{"memory", func() error { _, err := SpecFromProto(&layshaftv1.Spec{Memory: -8}); return err }, "memory is -8"},
		{"tasks", spec(&layshaftv1.Stage{Tasks: -1}), `job "nightly": tasks is -1`},
		{"timeout", spec(&layshaftv1.Stage{TimeoutNanos: -5}), "timeout is -5"},
		{"split", spec(&layshaftv1.Stage{Splits: []*layshaftv1.Split{{Bytes: -2}}}), "bytes of a split is -2"},
		{"nil split", spec(&layshaftv1.Stage{Splits: []*layshaftv1.Split{nil}}), ""},
		{"mode", spec(&layshaftv1.Stage{Inputs: []*layshaftv1.Edge{{}}}), "MODE_UNSPECIFIED is unknown"},
		{"new mode", spec(&layshaftv1.Stage{Inputs: []*layshaftv1.Edge{{Mode: 99}}}), "mode of an edge 99 is unknown"},
		{"no attempt", func() error { _, err := LaunchFromProto(nil); return err }, "attempt is not set"},
		{"columns", launch(&layshaftv1.Producers{Attempts: []int64{1}}), "0 holders for 1 attempts"},
		{"gaps", launch(&layshaftv1.Producers{Attempts: []int64{1, 1}, Holders: []uint32{0, 0}, Workers: []string{"w"}, Gaps: []uint32{3}}), "1 gaps for 2 attempts"},
		{"holder", launch(&layshaftv1.Producers{Attempts: []int64{1}, Holders: []uint32{1}, Workers: []string{"w"}}), "holder 1 of 1 workers"},
		{"attempt", launch(&layshaftv1.Producers{Attempts: []int64{-1}, Holders: []uint32{0}, Workers: []string{"w"}}), "attempt is -1"},
		{"task", func() error {
			_, err := AttemptFromProto(&layshaftv1.Attempt{Job: "j", N: 1, Task: &layshaftv1.Task{Stage: -3}})
			return err
		}, "stage is -3"},
		{"overflow", launch(&layshaftv1.Producers{Attempts: []int64{math.MaxInt64, 1}, Holders: []uint32{0, 0}, Workers: []string{"w"}}), "below 0"},
		{"failure", func() error { _, err := FailureFromProto(nil); return err }, "kind of a failure"},
		{"producers of two jobs", func() error {
			_, err := LaunchToProto(&job.Launch{Attempt: job.Attempt{Job: "a", N: 1},
				Producers: [][]job.Producer{{{Attempt: job.Attempt{Job: "b", N: 1}, Worker: "w"}}}})
			return err
		}, `of job "b"`},
		{"producers out of order", func() error {
			p := job.Producer{Attempt: job.Attempt{Job: "a", Task: job.Task{Index: 1}, N: 1}, Worker: "w"}
			_, err := LaunchToProto(&job.Launch{Attempt: p.Attempt, Producers: [][]job.Producer{{p, p}}})
			return err
		}, "task 0/2 or a later one"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			err := tt.err()
			if tt.want == "" && err != nil || tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)) {
				t.Errorf("err = %v, want %q", err, tt.want)
			}
		})
	}
}

// Text that is not UTF-8, from file names or a user's panic, must not keep a message from being
// sent.
func TestTextThatIsNotUTF8(t *testing.T) {
	bad := "caf\xe9"
	for _, p := range []proto.Message{
		SpecToProto(&job.Spec{Name: bad, Stages: []job.Stage{{Name: bad, Splits: []job.Split{{Label: bad, Note: bad}}}}}),
		FailureToProto(&job.Failure{Message: bad, Detail: bad, Record: bad}),
	} {
		if _, err := proto.Marshal(p); err != nil {
			t.Error(err)
		}
	}
	if got := CountersToProto(map[string]int64{bad: 1, "caf\xff": 2})["caf\uFFFD"]; got != 3 {
		t.Errorf("counters whose names meet = %d, want 3", got)
	}
}

// A launch of a reduce task names all map tasks, and must stay below what gRPC takes in one
// message.
func TestLaunchOfManyProducersIsSmall(t *testing.T) {
	l := &job.Launch{Attempt: job.Attempt{Job: "a-job-with-a-name-of-some-length", Task: job.Task{Stage: 1}, N: 1}, Producers: make([][]job.Producer, 1)}
	for i := range 200_000 {
		n := 1
		if i%50 == 0 {
			n = 2
		}
		l.Producers[0] = append(l.Producers[0], job.Producer{Worker: strings.Repeat("w", 10+i%100),
			Attempt: job.Attempt{Job: l.Attempt.Job, Task: job.Task{Index: i}, N: n}})
	}
	p, err := LaunchToProto(l)
	if err != nil {
		t.Fatal(err)
	}
	if n := proto.Size(p); n > 512<<10 {
		t.Errorf("%d bytes for 200,000 producers", n)
	}
}

// FuzzDecode reads hostile bytes as each of the messages: an error, or a value that survives
// another round.
func FuzzDecode(f *testing.F) {
	seeds := []proto.Message{
		SpecToProto(&job.Spec{ID: "j", Stages: []job.Stage{{Tasks: 1, Splits: []job.Split{{Bytes: 7}}, Inputs: []job.Edge{{Mode: job.Range}}}}}),
		&layshaftv1.Launch{Attempt: AttemptToProto(job.Attempt{Job: "j", N: 1}), Split: &layshaftv1.Split{},
			Producers: []*layshaftv1.Producers{{Stage: 1, Workers: []string{"w"}, Holders: []uint32{0, 0}, Attempts: []int64{2, -1}, Gaps: []uint32{4, 0}}}},
		FailureToProto(&job.Failure{Kind: job.InputLost, Lost: []job.Attempt{{N: 3}}}),
	}
	for i, p := range seeds {
		b, err := proto.Marshal(p)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(uint8(i), b)
	}
	f.Fuzz(func(t *testing.T, which uint8, b []byte) {
		switch which % 3 {
		case 0:
			again(t, b, &layshaftv1.Spec{}, SpecFromProto, sure(SpecToProto))
		case 1:
			again(t, b, &layshaftv1.Launch{}, LaunchFromProto, LaunchToProto)
		case 2:
			again(t, b, &layshaftv1.Failure{}, FailureFromProto, sure(FailureToProto))
		}
	})
}

func again[G any, P proto.Message](t *testing.T, b []byte, p P, from func(P) (*G, error), to func(*G) (P, error)) {
	if proto.Unmarshal(b, p) != nil {
		return
	}
	g, err := from(p)
	if err != nil {
		return
	}
	q, err := to(g)
	if err != nil {
		t.Fatalf("%+v: %v", g, err)
	}
	h, err := from(q)
	if err != nil || !reflect.DeepEqual(g, h) {
		t.Fatalf("%+v\nbecame %+v, %v", g, h, err)
	}
}
