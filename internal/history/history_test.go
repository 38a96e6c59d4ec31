package history

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"reflect"
	"testing"
	"time"

	"github.com/layshaft/layshaft/internal/job"
	"github.com/layshaft/layshaft/internal/report"
)

// sample returns a run with n attempts that look like a real job.
func sample(n int, seed uint64) *report.Run {
	rnd := rand.New(rand.NewPCG(seed, 0))
	at := time.UnixMicro(1_790_000_000_000_000)
	r := &report.Run{ID: "night-1", Name: "night", Owner: "ann", Hash: "h", Plan: "p", Params: []byte(`{"Glob":"*.jsonl"}`), Submitted: at.UTC(),
		Outcome: report.JobFailed, Failure: &job.Failure{Kind: job.Fatal, Message: "it broke"}, Ended: at.Add(time.Hour).UTC(),
		Stages: []report.RunStage{{Name: "read", Kind: "map", Tasks: n, Source: "a.txt", SourceBytes: 1 << 30},
			{Name: "reduce", Kind: "reduce", Tasks: 8, Inputs: []job.Edge{{From: 0}}, State: report.Stage{Tasks: 8, Done: 8}}},
		Causes: []report.Cause{{Kind: "transient", Message: "no route", Detail: "stack"}, {Kind: "worker lost", Message: "silent"}}}
	for i := range n {
		took := time.Duration(rnd.NormFloat64()*2e8 + 2e9).Truncate(time.Microsecond)
		at = at.Add(time.Duration(rnd.IntN(2e7)).Truncate(time.Microsecond))
		a := report.Attempt{Task: job.Task{Stage: i * 2 / n, Index: i}, N: 1, Worker: fmt.Sprintf("worker-%d", rnd.IntN(100)), Started: at.Add(-max(took, 0)), Ended: at,
			ReadRecords: 90_000 + int64(rnd.IntN(10_000)), ReadBytes: 60<<20 + int64(rnd.IntN(4<<20)), WroteRecords: int64(rnd.IntN(5_000)), WroteBytes: int64(rnd.IntN(1 << 20))}
		if rnd.IntN(50) == 0 {
			a = report.Attempt{Task: a.Task, N: 1_000_002, Worker: a.Worker, Ended: at, End: report.EndFailed, Speculative: true, Cause: 1 + rnd.IntN(2)}
		}
		r.Attempts = append(r.Attempts, a)
	}
	return r
}

func TestRoundTrip(t *testing.T) {
	for _, n := range []int{0, 1, 70_000} {
		want := sample(max(n, 1), 1)
		want.Attempts = want.Attempts[:n]
		want.Keys.Add(1, &job.KeySample{Records: 100, Squares: 1000, Distinct: 9, Keys: []job.KeyCount{{Hash: 1 << 63, Name: "<b>hot", Records: 70}}})
		got, err := Decode(Encode(want))
		if err != nil {
			t.Fatal(err)
		}
		if n < 100 { // the causes that no attempt refers to are not stored
			got.Causes, want.Causes = nil, nil
		}
		for i := range got.Attempts {
			a, b := got.Attempts[i], want.Attempts[i]
			if b.Cause > 0 && got.Causes[a.Cause-1] != want.Causes[b.Cause-1] {
				t.Fatalf("attempt %d: cause %v, want %v", i, got.Causes[a.Cause-1], want.Causes[b.Cause-1])
			}
			a.Cause = b.Cause
			if !reflect.DeepEqual(a, b) {
				t.Fatalf("attempt %d:\n%+v\n%+v", i, a, b)
			}
		}
		got.Attempts, want.Attempts, got.Causes, want.Causes = nil, nil, nil, nil
		if !reflect.DeepEqual(got, want) {
			t.Fatalf("%d attempts:\n%+v\n%+v", n, got, want)
		}
	}
}

// A job of 200,000 tasks must fit in 20 MB and open in less than a second.
func TestSizes(t *testing.T) {
	const n = 200_000
	b := Encode(sample(n, 2))
	began := time.Now()
	if _, err := Decode(b); err != nil {
		t.Fatal(err)
	}
	t.Logf("%d attempts: %d bytes, %.1f each, opened in %v", n, len(b), float64(len(b))/n, time.Since(began))
	if len(b) > 100*n {
		t.Errorf("%d bytes for each attempt, more than 100", len(b)/n)
	}
}

// A damaged history returns what comes before the damage, and an error that names the place.
func TestDamaged(t *testing.T) {
	whole := Encode(sample(150_000, 3))
	for _, cut := range []int{1, len(whole) / 2, len(whole) - 1} {
		r, err := Decode(whole[:cut])
		if !errors.Is(err, ErrDamaged) || r.Damaged == "" {
			t.Errorf("cut at %d: %v", cut, err)
		}
		if cut > len(whole)/2 && (r.ID != "night-1" || len(r.Attempts) < 1<<16) {
			t.Errorf("cut at %d: %d attempts of job %q", cut, len(r.Attempts), r.ID)
		}
	}
	whole[len(whole)/2] ^= 1
	if _, err := Decode(whole); !errors.Is(err, ErrDamaged) {
		t.Errorf("changed byte: %v", err)
	}
}

// Chunks that were written again after a restart count once each, and their order does not matter
// for names and causes.
func TestChunksAreIndependent(t *testing.T) {
	run := sample(4_000, 4)
	var a, b, j Chunk
	j.Job(run)
	a.Attempts(run.Attempts[:2000], run.Causes)
	b.Attempts(run.Attempts[2000:], run.Causes)
	var r Reader
	for _, c := range []*Chunk{&b, &j, &a} {
		if err := r.Add(c.Bytes()); err != nil {
			t.Fatal(err)
		}
	}
	if got := r.Run(); len(got.Attempts) != 4000 || got.ID != run.ID || len(got.Causes) != 2 || got.Attempts[0] != run.Attempts[2000] {
		t.Errorf("%d attempts, job %s, causes %v", len(got.Attempts), got.ID, got.Causes)
	}
}

func FuzzDecode(f *testing.F) {
	f.Add(Encode(sample(20, 5)))
	f.Add([]byte("LSH1"))
	f.Fuzz(func(t *testing.T, b []byte) {
		if r, err := Decode(b); err == nil {
			if again, err := Decode(Encode(r)); err != nil || len(again.Attempts) != len(r.Attempts) {
				t.Fatalf("%d attempts, then %d: %v", len(r.Attempts), len(again.Attempts), err)
			}
		}
		var r Reader
		_ = r.readParts(b) // hostile content with a valid checksum
	})
}

func BenchmarkEncode(b *testing.B) {
	r := sample(200_000, 6)
	for b.Loop() {
		b.SetBytes(int64(len(Encode(r))))
	}
}

func BenchmarkDecode(b *testing.B) {
	h := Encode(sample(200_000, 7))
	for b.Loop() {
		if _, err := Decode(h); err != nil {
			b.Fatal(err)
		}
	}
}
