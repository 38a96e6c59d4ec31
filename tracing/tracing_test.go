package tracing_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	sdk "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"

	"github.com/layshaft/layshaft/internal/job"
	"github.com/layshaft/layshaft/internal/report"
	"github.com/layshaft/layshaft/internal/spans"
	"github.com/layshaft/layshaft/layshafttest"
	"github.com/layshaft/layshaft/mapreduce"
	"github.com/layshaft/layshaft/mapreduce/memio"
	"github.com/layshaft/layshaft/tasks"
	"github.com/layshaft/layshaft/tracing"
)

// newTrace returns a provider that keeps all spans in memory.
func newTrace() (*tracetest.InMemoryExporter, *sdk.TracerProvider) {
	kept := tracetest.NewInMemoryExporter()
	return kept, sdk.NewTracerProvider(sdk.WithSyncer(kept))
}

// tree returns the spans as sorted lines, each with the names of its parents and its status.
func tree(all tracetest.SpanStubs) (lines []string) {
	byID := map[string]tracetest.SpanStub{}
	for _, s := range all {
		byID[s.SpanContext.SpanID().String()] = s
	}
	for _, s := range all {
		line := s.Name
		for p := s; p.Parent.HasSpanID(); {
			p = byID[p.Parent.SpanID().String()]
			line = p.Name + " > " + line
		}
		if s.Status.Code == codes.Error {
			line += ": " + s.Status.Description
		}
		lines = append(lines, line)
	}
	slices.Sort(lines)
	return lines
}

func attributeOf(s tracetest.SpanStub, key attribute.Key) string {
	for _, a := range s.Attributes {
		if a.Key == key {
			return a.Value.String()
		}
	}
	return ""
}

// TestJob checks the spans of a job whose first attempt fails, and of a job on a cluster that keeps
// no records.
func TestJob(t *testing.T) {
	run := func(t *testing.T, target mapreduce.Target, hasRecord bool) {
		kept, provider := newTrace()
		failed := false
		d := mapreduce.Define("traced", func(p *mapreduce.Plan, _ mapreduce.None) mapreduce.Dataset[mapreduce.KV[int, int64]] {
			numbers := mapreduce.TryMap(mapreduce.Read(p, memio.Of(1, 2, 3)), func(_ context.Context, n int) (int, error) {
				if !failed {
					failed = true
					return 0, errors.New("boom")
				}
				return n, nil
			})
			return mapreduce.CountBy(numbers, func(n int) int { return n % 2 }, mapreduce.Parallel(1))
		})
		ctx, span := provider.Tracer("test").Start(tracing.With(t.Context(), provider), "nightly")
		if _, err := d.Collect(ctx, target, mapreduce.None{}); err != nil {
			t.Fatal(err)
		}
		span.End()
		got := tree(kept.GetSpans())
		want := []string{
			"nightly",
			"nightly > job traced",
			"nightly > job traced > stage countby",
			"nightly > job traced > stage countby > attempt countby",
			"nightly > job traced > stage read > trymap",
			"nightly > job traced > stage read > trymap > attempt read > trymap",
			"nightly > job traced > stage read > trymap > attempt read > trymap: ",
		}
		if !hasRecord {
			want = want[:2]
		}
		if len(got) != len(want) {
			t.Fatalf("spans:\n%s", strings.Join(got, "\n"))
		}
		for i := range want {
			if got[i] != want[i] && (i < 6 || !strings.HasPrefix(got[i], want[i]) || !strings.HasSuffix(got[i], "boom")) {
				t.Errorf("span %s, want %s", got[i], want[i])
			}
		}
		for _, s := range kept.GetSpans() {
			if s.StartTime.After(s.EndTime) || s.StartTime.Year() < 2000 {
				t.Errorf("%s from %v to %v", s.Name, s.StartTime, s.EndTime)
			}
			if strings.HasPrefix(s.Name, "attempt countby") {
				if a, n := attributeOf(s, "layshaft.attempt"), attributeOf(s, "layshaft.wrote.records"); a != "1/0#1" || n != "2" {
					t.Errorf("attempt %s wrote %s records", a, n)
				}
			}
			if s.Name == "job traced" && !strings.HasPrefix(attributeOf(s, "layshaft.job"), "traced-") {
				t.Errorf("job %q", attributeOf(s, "layshaft.job"))
			}
		}
	}
	t.Run("embedded", func(t *testing.T) { run(t, mapreduce.Local{Slots: 1}, true) })
	t.Run("cluster", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) { run(t, layshafttest.Start(t, 1).Target(), false) })
	})
}

// TestTasks checks that the attempts of tasks are below the calls that submitted them, over a retry,
// a call within a handler, and a restart of the coordinator.
func TestTasks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		kept, provider := newTrace()
		cluster := layshafttest.Start(t, 1, layshafttest.QueuedTasks())
		c, err := tasks.Dial(cluster.Tasks())
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		failed := false
		w := tasks.NewWorker(cluster.Tasks())
		tasks.Handle(w, "double", func(_ context.Context, n int) (int, error) {
			if n == 7 && !failed {
				failed = true
				return 0, errors.New("boom")
			}
			return 2 * n, nil
		})
		tasks.Handle(w, "outer", func(ctx context.Context, n int) (int, error) { return tasks.Do[int](ctx, c, "double", n) })
		tasks.Handle(w, "fail", func(context.Context, int) (int, error) { return 0, tasks.Fatal(errors.New("bang")) })

		ctx, span := provider.Tracer("test").Start(tracing.With(t.Context(), provider), "request")
		queued, err := tasks.Enqueue(ctx, c, "double", 7)
		if err != nil {
			t.Fatal(err)
		}
		cluster.Coordinator().Kill()
		cluster.Coordinator().Restart()
		var group sync.WaitGroup
		background, cancel := context.WithCancel(tracing.With(t.Context(), provider))
		group.Go(func() {
			if err := w.Run(background); err != nil {
				t.Error(err)
			}
		})
		if n, err := tasks.Attach[int](ctx, c, queued); err != nil || n != 14 {
			t.Errorf("%d, %v", n, err)
		}
		if n, err := tasks.Do[int](ctx, c, "outer", 5); err != nil || n != 10 {
			t.Errorf("%d, %v", n, err)
		}
		if _, err := tasks.Do[int](ctx, c, "fail", 5); err == nil {
			t.Error("fail did not fail")
		}
		for r := range tasks.Scatter[int](ctx, c, "double", []int{1, 2}) {
			if r.Err != nil {
				t.Error(r.Err)
			}
		}
		if n, err := tasks.Do[int](t.Context(), c, "double", 1); err != nil || n != 2 { // a caller without traces
			t.Errorf("%d, %v", n, err)
		}
		span.End()
		cancel()
		group.Wait()
		got, want := tree(kept.GetSpans()), []string{
			"request",
			"request > do fail: task ",
			"request > do fail > run fail: bang",
			"request > do outer",
			"request > do outer > run outer",
			"request > do outer > run outer > do double",
			"request > do outer > run outer > do double > run double",
			"request > enqueue double",
			"request > enqueue double > run double",
			"request > enqueue double > run double: boom",
			"request > scatter double",
			"request > scatter double > run double",
			"request > scatter double > run double",
			"run double",
		}
		slices.Sort(want)
		same := len(got) == len(want)
		for i := range min(len(got), len(want)) {
			same = same && strings.HasPrefix(got[i], want[i])
		}
		if !same {
			t.Errorf("spans:\n%s\nwant:\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
		}
		for _, s := range kept.GetSpans() {
			if strings.HasPrefix(s.Name, "run ") && (attributeOf(s, "layshaft.task") == "" || attributeOf(s, "layshaft.attempt") == "") {
				t.Errorf("%s has %v", s.Name, s.Attributes)
			}
		}
	})
}

// TestManyAttempts checks which attempts of a large job get spans.
func TestManyAttempts(t *testing.T) {
	kept, provider := newTrace()
	run := &report.Run{ID: "j", Name: "large", Stages: []report.RunStage{{Name: "read", Tasks: 5000}}, Causes: []report.Cause{{Message: "boom", Record: "a:7"}}}
	at := time.Date(2026, 11, 30, 0, 0, 0, 0, time.UTC)
	for i := range 5000 {
		a := report.Attempt{Task: job.Task{Index: i}, N: 1, Started: at, Ended: at.Add(time.Second)}
		switch i {
		case 4000:
			a.Ended, a.Cause, a.End = at, 1, report.EndFailed
		case 4001:
			a.Ended = at.Add(time.Hour)
		}
		run.Attempts = append(run.Attempts, a)
	}
	spans.Of(tracing.With(t.Context(), provider)).Job(t.Context(), run)
	found, attempts := "", 0
	for _, s := range kept.GetSpans() {
		if a := attributeOf(s, "layshaft.attempt"); a != "" {
			attempts++
			if a == "0/4000#1" || a == "0/4001#1" {
				found += fmt.Sprint(a, " ", s.Status.Description, attributeOf(s, "layshaft.record"), "; ")
			}
		}
		if s.Name == "job large" && (attributeOf(s, "layshaft.attempts.omitted") != "4000" || !s.EndTime.Equal(at.Add(time.Hour))) {
			t.Errorf("job: %v until %v", s.Attributes, s.EndTime)
		}
	}
	if attempts != tracing.MaxAttempts || found != "0/4000#1 booma:7; 0/4001#1 ; " {
		t.Errorf("%d attempts, %s", attempts, found)
	}
}
