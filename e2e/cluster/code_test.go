//go:build unix

package cluster

import (
	"cmp"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// TestUserCodeBreaksOnce breaks user code once, in every way: the attempt fails, the worker stands,
// the job gets done.
func TestUserCodeBreaksOnce(t *testing.T) {
	t.Parallel()
	m := startMembers(t, config{workers: 2})
	for _, verb := range []string{"exit", "panic", "fail", "flood"} {
		for _, point := range []string{"mapped-3", "reduce-5"} {
			r := m.prepare("-maps", "5").do(point, "once "+verb).start()
			r.succeeds()
			if n, flood := len(r.ran(point)), verb == "flood"; n != 2 && !flood || n != 1 && flood {
				t.Errorf("%s at %s: it ran %d times", verb, point, n)
			}
		}
	}
	for _, w := range m.workers {
		if !w.IsAlive() {
			t.Errorf("%s died of user code", w.Name)
		}
		if n := len(w.Err.String()); n > 8<<20 {
			t.Errorf("%s logged %d bytes of what user code said", w.Name, n)
		}
	}
}

// TestUserCodeBreaksAlways breaks user code each time: the job fails with what happened, and the
// cluster is as good as before.
func TestUserCodeBreaksAlways(t *testing.T) {
	t.Parallel()
	m := startMembers(t, config{workers: 2})
	for verb, want := range map[string]string{"exit": "exit status 7", "panic": "panic: told to", "fail": "told to fail"} {
		r := m.prepare("-maps", "5").do("map-3", verb).start()
		if code := r.Wait(t); code != 1 || !strings.Contains(r.Err.String(), want) {
			t.Errorf("%s: exit code %d, want 1 and an error with %q", verb, code, want)
		}
		want := map[string]int{"exit": 3}[verb] // the fourth one knows of the record, and does not give it to user code
		if n := len(r.ran("map-3")); n != cmp.Or(want, 4) {
			t.Errorf("%s: it ran %d times, want %d", verb, n, cmp.Or(want, 4))
		}
	}
	for _, w := range m.workerList() {
		if w.Running != 0 {
			t.Errorf("%+v still runs attempts", w)
		}
	}
	m.prepare().start().Wait(t)
	for _, j := range m.jobs()[:1] {
		if j.Outcome != "done" {
			t.Errorf("a job after those that failed is %s: %s", j.Outcome, j.Failure)
		}
	}
}

// TestDeadlyRecord has records end their process, each time. Where the plan continues without bad
// records they are set aside after two attempts that were alone with them, with place and cause;
// elsewhere the error names the place. Attempts beside them come to no harm.
func TestDeadlyRecord(t *testing.T) {
	t.Parallel()
	m := startMembers(t, config{workers: 2})
	quarantine := filepath.Join(t.TempDir(), "bad.jsonl")
	flags := []string{"-maps", "12", "-splits", "3", "-bad", "2", "-quarantine", quarantine}
	r := m.prepare(flags...).do("map-5", "exit").do("map-7", "panic")
	r.start()
	if code := r.Wait(t); code != 0 {
		t.Fatalf("exit code %d", code)
	}
	want, _, _ := strings.Cut(embedded(t, "-maps", "12", "-splits", "3", "-without", "5,7"), "items\t") // the counters tell of them
	if got := r.Out.String(); got != want {
		t.Errorf("the rows differ from those of a run without the two records:\n%s\nwant\n%s", got, want)
	}
	b, err := os.ReadFile(quarantine)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{`"line":6,"operator":"crash","error":"it ended two attempts: its process ended with exit status 7`, `"line":8,`, `"record":"5"`, `"record":"7"`} {
		if !strings.Contains(string(b), want) {
			t.Errorf("the quarantine holds no %s:\n%s", want, b)
		}
	}
	if n := len(r.ran("map-5")); n != 3 {
		t.Errorf("map-5 ran %d times, want 3: once, and twice alone", n)
	}
	if j := m.job(); j.Outcome != "done" {
		t.Errorf("the job is %s", j.Outcome)
	}
	few := m.prepare("-maps", "12", "-splits", "3", "-bad", "1", "-quarantine", quarantine+"2").do("map-5", "exit").do("map-7", "panic").start()
	if code := few.Wait(t); code != 1 || !strings.Contains(few.Err.String(), "2 bad records of the failed run in "+quarantine+"2") {
		t.Errorf("with more bad records than are allowed: exit code %d", code)
	}
	if b, err := os.ReadFile(quarantine + "2"); err != nil || !strings.Contains(string(b), `"line":6,`) || !strings.Contains(string(b), `"line":8,`) {
		t.Errorf("quarantine of the failed job: %v\n%s", err, b)
	}
	strict := m.prepare("-maps", "12", "-splits", "3").do("map-5", "exit").start()
	if code := strict.Wait(t); code != 1 || !strings.Contains(strict.Err.String(), "memio.Generate(12 of int64):6: ") || !strings.Contains(strict.Err.String(), "MaxBad") {
		t.Errorf("without permission: exit code %d, want 1 and an error that names the record", code)
	}
}

// TestEndlessLoop cancels a job whose user code never looks at its context: the child is killed and
// the slot is free again.
func TestEndlessLoop(t *testing.T) {
	t.Parallel()
	m := startMembers(t, config{workers: 1, worker: []string{"-grace", "500ms"}})
	r := m.prepare().do("map-3", "spin").start()
	r.at("map-3", 1)
	child := r.child("map-3")
	if out, stderr, code := m.layshaft("job", "cancel", m.job().Job[:8]); code != 0 {
		t.Fatalf("exit code %d\n%s%s", code, out, stderr)
	}
	if code := r.Wait(t); code != 1 || !strings.Contains(r.Err.String(), "cancel") {
		t.Errorf("exit code %d, want 1 and an error that tells of the cancellation", code)
	}
	if j := m.job(); j.Outcome != "cancelled" {
		t.Errorf("the job is %s", j.Outcome)
	}
	until(t, "the child is gone", func() bool { return syscall.Kill(child, 0) != nil })
	m.prepare("-maps", "3").start().awaitDone()
}

// TestCodeIsShippedOnlyWhenAllowed runs a program on workers that were given it, and refuses it on
// others.
func TestCodeIsShippedOnlyWhenAllowed(t *testing.T) {
	t.Parallel()
	m := startMembers(t, config{workers: 2, given: true})
	m.prepare().start().succeeds()
	if codes, _ := filepath.Glob(filepath.Join(m.dir, "*", "code*", "*")); len(codes) > 0 {
		t.Logf("files of programs: %q", codes)
	}
	input := filepath.Join(t.TempDir(), "a.txt")
	if err := os.WriteFile(input, []byte("a b a\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	p := launch(t, "wordcount", "wordcount", "-cluster", m.grpc, input)
	if code := p.Wait(t); code != 1 || !strings.Contains(p.Err.String(), "-allow-shipped-code") {
		t.Errorf("a program that no worker was given: exit code %d, want 1 and an error that names -allow-shipped-code", code)
	}
	if js := m.jobs(); len(js) != 1 {
		t.Errorf("%d jobs are remembered, want that of the given program alone", len(js))
	}
}

// TestShippedOnce sends a program to the cluster once, however many jobs run it, and again when
// nobody has it any more.
func TestShippedOnce(t *testing.T) {
	t.Parallel()
	m := startMembers(t, config{workers: 2})
	for range 3 {
		m.prepare().start().awaitDone()
	}
	if n := m.coord.Count(`"audit"`, `"ship"`); n != 1 {
		t.Errorf("the program was shipped %d times, want once", n)
	}
}
