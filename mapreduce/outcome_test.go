package mapreduce_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/layshaft/layshaft/mapreduce"
	"github.com/layshaft/layshaft/mapreduce/connector"
	"github.com/layshaft/layshaft/mapreduce/memio"
	"github.com/layshaft/layshaft/mapreduce/textio"
)

// The tests in this file make user code fail: retries, counters, bad records, panics, ends.

// start starts a plan without parameters. The job is closed when the test ends.
func start[T any](t *testing.T, ctx context.Context, target mapreduce.Target, build func(p *mapreduce.Plan) mapreduce.Dataset[T], opts ...mapreduce.PlanOption) *mapreduce.Job {
	t.Helper()
	d := mapreduce.Define("outcome", func(p *mapreduce.Plan, _ none) mapreduce.Dataset[T] { return build(p) }, opts...)
	j, err := d.Start(ctx, target, none{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := j.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
	})
	return j
}

func upTo(n int64) memio.Source[int64] {
	return memio.Generate(n, func(i int64) int64 { return i })
}

// once reports true the first time it is called with a number.
func once() func(n int64) bool {
	var seen sync.Map
	return func(n int64) bool {
		_, was := seen.LoadOrStore(n, true)
		return !was
	}
}

// TestCountersUnderRetries fails one attempt of every task, by error or by panic, in the map and in
// the reduce.
func TestCountersUnderRetries(t *testing.T) {
	const n, splits, parts = 3000, 4, 3
	failed, failedLate := once(), once()
	var calls atomic.Int64
	j := start(t, t.Context(), mapreduce.Local{Slots: 3, Workers: 2}, func(p *mapreduce.Plan) mapreduce.Dataset[int64] {
		read, keys, none := mapreduce.NewCounter(p, "read"), mapreduce.NewCounter(p, "keys"), mapreduce.NewCounter(p, "none")
		if mapreduce.NewCounter(p, "read") != read {
			t.Error("one name gives two counters")
		}
		d := mapreduce.TryMap(mapreduce.Read(p, upTo(n).Cut(splits)), func(_ context.Context, i int64) (int64, error) {
			calls.Add(1)
			read.Add(1)
			none.Add(0)
			if i%(n/splits) == 700 && failed(i) {
				if i > n/2 {
					panic("passing trouble")
				}
				return 0, errors.New("passing trouble")
			}
			return i, nil
		})
		return mapreduce.TryGroupBy(d, func(i int64) int64 { return i % 100 }, func(_ context.Context, k int64, values iter.Seq[int64], emit func(int64)) error {
			keys.Add(1)
			for v := range values {
				emit(v)
			}
			if k < 10 && failedLate(0) {
				return errors.New("passing trouble")
			}
			return nil
		}, mapreduce.Parallel(parts))
	})
	var rows []int64
	for r, err := range mapreduce.Rows[int64](j, "") {
		if err != nil {
			t.Fatal(err)
		}
		rows = append(rows, r)
	}
	if err := j.Wait(); err != nil {
		t.Fatal(err)
	}
	slices.Sort(rows)
	if len(rows) != n || rows[0] != 0 || rows[n-1] != n-1 || len(slices.Compact(rows)) != n {
		t.Errorf("rows are not 0 to %d", n-1)
	}
	c := j.Counters()
	if c["read"] != n || c["keys"] != 100 || c["none"] != 0 {
		t.Errorf("counters %v, want read %d, keys 100, none 0", c, n)
	}
	if calls.Load() <= n {
		t.Error("nothing was retried")
	}
}

func TestAttemptsRunOut(t *testing.T) {
	for _, attempts := range []int{1, 3} {
		var tries atomic.Int64
		j := start(t, t.Context(), mapreduce.Local{}, func(p *mapreduce.Plan) mapreduce.Dataset[int64] {
			return mapreduce.TryMap(mapreduce.Read(p, upTo(10).Cut(1)), func(_ context.Context, i int64) (int64, error) {
				if i == 7 {
					tries.Add(1)
					return 0, errors.New("the shop is closed")
				}
				return i, nil
			}, mapreduce.Named("ask the shop"), mapreduce.Retry(attempts))
		})
		checkError(t, j.Wait(), "the shop is closed", "ask the shop at outcome_test.go:", "memio.Generate(10 of int64):8")
		if got := tries.Load(); got != int64(attempts) {
			t.Errorf("%d attempts, want %d", got, attempts)
		}
		for _, err := range mapreduce.Rows[int64](j, "") {
			t.Error("a failed job has rows, or their error:", err)
		}
	}
}

func TestPanicNamesRecordAndPlace(t *testing.T) {
	j := start(t, t.Context(), mapreduce.Local{}, func(p *mapreduce.Plan) mapreduce.Dataset[int64] {
		return mapreduce.Map(mapreduce.Read(p, upTo(10)), func(i int64) int64 { return explode(i) })
	}, mapreduce.Retry(1))
	checkError(t, j.Wait(), "panic: no price for product 7\ngithub.com/layshaft/layshaft/mapreduce_test.explode", "memio.Generate(10 of int64):8", "outcome_test.go:")

	j = start(t, t.Context(), mapreduce.Local{}, func(p *mapreduce.Plan) mapreduce.Dataset[int64] {
		return mapreduce.GroupBy(mapreduce.Read(p, upTo(10)), func(i int64) int64 { return i }, func(i int64, _ iter.Seq[int64]) int64 { return explode(i) })
	}, mapreduce.Retry(1))
	checkError(t, j.Wait(), "groupby at outcome_test.go:", ": panic: no price for product 7 at outcome_test.go:", "\ngithub.com/layshaft/layshaft/mapreduce_test.explode", "outcome_test.go:")
}

// TestPlacesAreCheckedFirst checks that a job fails before it runs if its quarantine file cannot be
// written, and that Explain makes no directory.
func TestPlacesAreCheckedFirst(t *testing.T) {
	t.Chdir(t.TempDir())
	if err := os.WriteFile("file", nil, 0o644); err != nil {
		t.Fatal(err)
	}
	d := mapreduce.Define("places", func(p *mapreduce.Plan, _ none) mapreduce.Dataset[string] {
		words := mapreduce.Map(mapreduce.Read(p, memio.Of(1, 2)), func(int) string { t.Error("a function was called"); return "" })
		words.WriteTo(textio.Write("out"))
		return words
	}, mapreduce.MaxBad(1))
	_, err := d.Collect(t.Context(), mapreduce.Local{Reporting: mapreduce.Reporting{Quarantine: "file/bad.jsonl", Explain: true, Out: io.Discard}}, none{})
	if _, stat := os.Stat("out"); err != nil || !errors.Is(stat, fs.ErrNotExist) {
		t.Errorf("explained with error %v; out: %v", err, stat)
	}
	_, err = d.Collect(t.Context(), mapreduce.Local{Reporting: mapreduce.Reporting{Quarantine: "file/bad.jsonl"}}, none{})
	checkError(t, err, "quarantine file/bad.jsonl: it cannot be written", "name another file with -quarantine")
}

func explode(i int64) int64 {
	if i == 7 {
		panic(fmt.Sprintf("no price for product %d", i))
	}
	return i
}

func TestFatalEndsAtOnce(t *testing.T) {
	var tries atomic.Int64
	denied := errors.New("the key is wrong")
	j := start(t, t.Context(), mapreduce.Local{}, func(p *mapreduce.Plan) mapreduce.Dataset[int64] {
		return mapreduce.TryMap(mapreduce.Read(p, upTo(10)), func(_ context.Context, i int64) (int64, error) {
			if i == 3 {
				tries.Add(1)
				return 0, mapreduce.Fatal(fmt.Errorf("ask: %w", denied))
			}
			return i, nil
		})
	})
	checkError(t, j.Wait(), "ask: the key is wrong", "trymap at outcome_test.go:", "memio.Generate(10 of int64):4")
	if tries.Load() != 1 {
		t.Errorf("%d attempts, want 1", tries.Load())
	}
	if mapreduce.Fatal(nil) != nil || mapreduce.Skip(nil) != nil {
		t.Error("nil became an error")
	}
	if !errors.Is(mapreduce.Fatal(denied), denied) || !errors.Is(mapreduce.Skip(denied), denied) {
		t.Error("the cause is lost")
	}
}

// quarantined reads a quarantine file.
func quarantined(t *testing.T, path string) (all []mapreduce.Quarantined) {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for s := bufio.NewScanner(bytes.NewReader(b)); s.Scan(); {
		var q mapreduce.Quarantined
		if err := json.Unmarshal(s.Bytes(), &q); err != nil {
			t.Fatalf("%s: %v", s.Text(), err)
		}
		all = append(all, q)
	}
	return all
}

func TestSkippedRecordsGoToQuarantine(t *testing.T) {
	type visit struct {
		Path string
		Ms   int64
	}
	path := filepath.Join(t.TempDir(), "bad.jsonl")
	retried := once()
	j := start(t, t.Context(), mapreduce.Local{Slots: 2, Workers: 2, Reporting: mapreduce.Reporting{Quarantine: path}}, func(p *mapreduce.Plan) mapreduce.Dataset[visit] {
		visits := mapreduce.Read(p, memio.Generate(1000, func(i int64) visit { return visit{fmt.Sprint("/", i), i} }).Cut(4))
		good := visits.TryFilter(func(_ context.Context, v visit) (bool, error) {
			if v.Ms%300 == 299 {
				return false, mapreduce.Skip(fmt.Errorf("%d ms is too long", v.Ms))
			}
			if v.Ms == 600 && retried(0) { // after a bad record of the same task
				return false, errors.New("passing trouble")
			}
			return true, nil
		}, mapreduce.Named("check"))
		return mapreduce.TryGroupBy(good, func(v visit) int64 { return v.Ms % 10 }, func(_ context.Context, k int64, vs iter.Seq[visit], emit func(visit)) error {
			if k == 4 {
				return mapreduce.Skip(errors.New("nobody likes 4"))
			}
			for v := range vs {
				emit(v)
			}
			return nil
		})
	}, mapreduce.MaxBad(4))
	if err := j.Wait(); err != nil {
		t.Fatal(err)
	}
	n := 0
	for _, err := range mapreduce.Rows[visit](j, "") {
		if n++; err != nil {
			t.Fatal(err)
		}
	}
	if n != 1000-3-100 {
		t.Errorf("%d rows, want 897", n)
	}
	bad := quarantined(t, path)
	if len(bad) != 4 {
		t.Fatalf("quarantine holds %+v", bad)
	}
	for i, q := range bad[:3] {
		ms := int64(i*300 + 299)
		want := mapreduce.Quarantined{Job: j.ID(), Source: "memio.Generate(1000 of mapreduce_test.visit)", Offset: ms * 24, Line: ms + 1, Operator: q.Operator,
			Error: fmt.Sprint(ms, " ms is too long"), Record: fmt.Sprintf("{Path:/%d Ms:%d}", ms, ms)}
		if q != want || !strings.HasPrefix(q.Operator, "check at outcome_test.go:") {
			t.Errorf("got  %+v\nwant %+v", q, want)
		}
	}
	if q := bad[3]; q.Error != "nobody likes 4" || q.Record != "4" || !strings.HasPrefix(q.Operator, "trygroupby at outcome_test.go:") {
		t.Errorf("got %+v", q)
	}
}

func TestTooManyBadRecords(t *testing.T) {
	run := func(n int64, splits int, bad int64, opt mapreduce.PlanOption) (string, error) {
		path := filepath.Join(t.TempDir(), "bad.jsonl")
		j := start(t, t.Context(), mapreduce.Local{Reporting: mapreduce.Reporting{Quarantine: path}}, func(p *mapreduce.Plan) mapreduce.Dataset[int64] {
			return mapreduce.TryMap(mapreduce.Read(p, upTo(n).Cut(splits)), func(_ context.Context, i int64) (int64, error) {
				if i < bad {
					return 0, mapreduce.Skip(errors.New("too small"))
				}
				return i, nil
			})
		}, opt)
		return path, j.Wait()
	}
	path, err := run(100, 1, 1, mapreduce.MaxBad(0))
	checkError(t, err, "too small", "mapreduce.MaxBad lets a job tolerate bad records", "memio.Generate(100 of int64):1")
	if _, err := os.Stat(path); err == nil {
		t.Error("a quarantine file was made")
	}
	_, err = run(100, 1, 6, mapreduce.MaxBad(5))
	checkError(t, err, "too small", "this is bad record 6 of one task, MaxBad is 5")
	path, err = run(100, 10, 15, mapreduce.MaxBad(12)) // ten in one task, five in another
	checkError(t, err, "bad records: 15, more than the 12 that MaxBad allows; they are in "+path)
	if got := len(quarantined(t, path)); got != 15 {
		t.Errorf("quarantine holds %d records, want 15", got)
	}
	if _, err = run(100, 10, 15, mapreduce.MaxBad(15)); err != nil {
		t.Error(err)
	}
	if _, err = run(100, 3, 25, mapreduce.MaxBadShare(0.25)); err != nil {
		t.Error(err)
	}
	path, err = run(100, 3, 26, mapreduce.MaxBadShare(0.25))
	checkError(t, err, "bad records: 26 of 100, more than the share of 0.25 that MaxBadShare allows; they are in "+path)
}

// TestPoisonRecord processes records whose function always panics. Exactly these records are set
// aside, after the second panic.
func TestPoisonRecord(t *testing.T) {
	for _, source := range []connector.Source[int64]{upTo(100).Cut(3), memio.Seq(func() iter.Seq[int64] {
		return func(yield func(int64) bool) {
			for i := int64(0); i < 100 && yield(i); i++ {
			}
		}
	})} {
		path := filepath.Join(t.TempDir(), "bad.jsonl")
		j := start(t, t.Context(), mapreduce.Local{Slots: 2, Workers: 2, Reporting: mapreduce.Reporting{Quarantine: path}}, func(p *mapreduce.Plan) mapreduce.Dataset[int64] {
			n := mapreduce.NewCounter(p, "n")
			return mapreduce.Map(mapreduce.Read(p, source), func(i int64) int64 { n.Add(1); return explode(i) })
		}, mapreduce.MaxBad(3))
		if err := j.Wait(); err != nil {
			t.Fatalf("%s: %v", source, err)
		}
		if n := j.Counters()["n"]; n != 99 {
			t.Errorf("%s: %d records counted, want 99", source, n)
		}
		bad := quarantined(t, path)
		if len(bad) != 1 || bad[0].Error != "panic: no price for product 7" || bad[0].Line != 8 || bad[0].Record != "7" || !strings.Contains(bad[0].Stack, "mapreduce_test.explode") {
			t.Errorf("%s: quarantine holds %+v", source, bad)
		}
	}
}

func TestCancelEndsTheRun(t *testing.T) {
	why := errors.New("the shop was sold")
	ctx, cancel := context.WithCancelCause(t.Context())
	var once sync.Once
	d := mapreduce.Define("endless", func(p *mapreduce.Plan, _ none) mapreduce.Dataset[int64] {
		return mapreduce.Map(mapreduce.Read(p, upTo(1<<40).Cut(3)), func(i int64) int64 {
			once.Do(func() { cancel(why) })
			return i & 1
		}).Filter(func(i int64) bool { return i < 0 })
	})
	begin := time.Now()
	_, err := d.Collect(ctx, mapreduce.Local{}, none{})
	if !errors.Is(err, why) {
		t.Errorf("error %v, want %v", err, why)
	}
	if took := time.Since(begin); took > 10*time.Second {
		t.Errorf("took %v", took)
	}
}

// TestCancelReachesUserCode cancels while a function waits.
func TestCancelReachesUserCode(t *testing.T) {
	why := errors.New("the shop was sold")
	ctx, cancel := context.WithCancelCause(t.Context())
	d := mapreduce.Define("waiting", func(p *mapreduce.Plan, _ none) mapreduce.Dataset[int64] {
		return mapreduce.TryMap(mapreduce.Read(p, upTo(1)), func(ctx context.Context, i int64) (int64, error) {
			cancel(why)
			<-ctx.Done()
			return 0, context.Cause(ctx)
		})
	})
	if _, err := d.Collect(ctx, mapreduce.Local{}, none{}); !errors.Is(err, why) {
		t.Errorf("error %v, want %v", err, why)
	}
}

func TestTimeoutEndsAnAttempt(t *testing.T) {
	hung := once()
	j := start(t, t.Context(), mapreduce.Local{}, func(p *mapreduce.Plan) mapreduce.Dataset[int64] {
		return mapreduce.TryMap(mapreduce.Read(p, upTo(3)), func(ctx context.Context, i int64) (int64, error) {
			if i == 1 && hung(i) {
				<-ctx.Done()
				return 0, context.Cause(ctx)
			}
			return i, nil
		}, mapreduce.Timeout(50*time.Millisecond))
	})
	if err := j.Wait(); err != nil {
		t.Errorf("the second attempt did not hang, but: %v", err)
	}
	j = start(t, t.Context(), mapreduce.Local{}, func(p *mapreduce.Plan) mapreduce.Dataset[int64] {
		return mapreduce.TryMap(mapreduce.Read(p, upTo(3)), func(ctx context.Context, _ int64) (int64, error) {
			<-ctx.Done()
			return 0, context.Cause(ctx)
		}, mapreduce.Timeout(5*time.Millisecond), mapreduce.Retry(2))
	})
	checkError(t, j.Wait(), "5ms")
}

// TestTimeoutIsDeadline checks that user code sees the Timeout of its stage as a deadline.
func TestTimeoutIsDeadline(t *testing.T) {
	for _, limit := range []time.Duration{0, time.Hour} {
		j := start(t, t.Context(), mapreduce.Local{}, func(p *mapreduce.Plan) mapreduce.Dataset[int64] {
			return mapreduce.TryMap(mapreduce.Read(p, upTo(3)), func(ctx context.Context, i int64) (int64, error) {
				at, ok := ctx.Deadline()
				if ok != (limit > 0) || ok && (time.Until(at) > limit || time.Until(at) < limit/2) {
					return 0, fmt.Errorf("with Timeout %v: deadline %v, %v", limit, at, ok)
				}
				return i, nil
			}, mapreduce.Timeout(limit), mapreduce.Retry(1))
		})
		if err := j.Wait(); err != nil {
			t.Error(err)
		}
	}
}

// TestLeavingTheLoopEndsTheJob checks that no goroutine and no file stays.
func TestLeavingTheLoopEndsTheJob(t *testing.T) {
	temp := t.TempDir()
	t.Setenv("TMPDIR", temp)
	before := runtime.NumGoroutine()
	d := mapreduce.Define("endless", func(p *mapreduce.Plan, _ none) mapreduce.Dataset[int64] {
		few := mapreduce.Read(p, upTo(4))
		endless := mapreduce.Read(p, upTo(1<<40).Cut(3)).Filter(func(i int64) bool { return i < 0 })
		return mapreduce.Union(few, endless)
	})
	for i, err := range d.Run(t.Context(), mapreduce.Local{Slots: 4}, none{}) {
		if err != nil {
			t.Fatal(err)
		}
		if i == 2 {
			break
		}
	}
	for deadline := time.Now().Add(5 * time.Second); runtime.NumGoroutine() > before; runtime.Gosched() {
		if time.Now().After(deadline) {
			buf := make([]byte, 1<<20)
			t.Fatalf("%d goroutines, %d before:\n%s", runtime.NumGoroutine(), before, buf[:runtime.Stack(buf, true)])
		}
	}
	left, err := os.ReadDir(temp)
	if err != nil || len(left) > 0 {
		t.Errorf("left behind: %v %v", left, err)
	}
}

// TestFailedJobWritesNothing checks that sinks publish all or nothing.
func TestFailedJobWritesNothing(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "out")
	d := mapreduce.Define("half", func(p *mapreduce.Plan, fail bool) mapreduce.Dataset[string] {
		return mapreduce.TryMap(mapreduce.Read(p, upTo(100).Cut(5)), func(_ context.Context, i int64) (string, error) {
			if i == 99 && fail {
				return "", mapreduce.Fatal(errors.New("no more"))
			}
			return fmt.Sprint(i), nil
		})
	})
	checkError(t, d.WriteTo(t.Context(), mapreduce.Local{}, true, textio.Write(dir)), "no more")
	if left, err := filepath.Glob(filepath.Join(dir, "*")); err != nil || len(left) > 0 {
		t.Errorf("a failed job left %v %v", left, err)
	}
	if err := d.WriteTo(t.Context(), mapreduce.Local{}, false, textio.Write(dir)); err != nil {
		t.Fatal(err)
	}
	parts, err := filepath.Glob(filepath.Join(dir, "part-*.txt"))
	if err != nil || len(parts) != 5 {
		t.Errorf("files %v %v, want 5 parts", parts, err)
	}
}

// TestFinishedJobStands runs a job twice in one State directory, as two processes would: the second
// run repeats nothing.
func TestFinishedJobStands(t *testing.T) {
	target := mapreduce.Local{State: t.TempDir(), Reporting: mapreduce.Reporting{Err: io.Discard}}
	var calls atomic.Int64
	d := mapreduce.Define("stands", func(p *mapreduce.Plan, k int64) mapreduce.Dataset[int64] {
		return mapreduce.Sort(mapreduce.Map(mapreduce.Read(p, upTo(100)), func(i int64) int64 { calls.Add(1); return i * k % 101 }))
	})
	first, err := d.Collect(t.Context(), target, 7)
	if err != nil || calls.Load() != 100 {
		t.Fatal(calls.Load(), err)
	}
	mapreduce.ForgetRuns()
	again, err := d.Collect(t.Context(), target, 7)
	if err != nil || calls.Load() != 100 || !slices.Equal(again, first) {
		t.Errorf("%d calls, want 100; rows equal: %v; %v", calls.Load(), slices.Equal(again, first), err)
	}
}
