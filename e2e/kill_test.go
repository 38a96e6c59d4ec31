//go:build unix

// Package e2e tests the programs as users run them: real processes, real signals, real files.
package e2e

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"syscall"
	"testing"
	"time"
)

// text writes files of seeded random words and returns a glob for them.
func text(t *testing.T, files, bytesEach int) string {
	t.Helper()
	dir := t.TempDir()
	r := rand.New(rand.NewPCG(1, 2))
	z := rand.NewZipf(r, 1.1, 3, 60_000)
	for i := range files {
		var b bytes.Buffer
		for b.Len() < bytesEach {
			fmt.Fprintf(&b, "w%d", z.Uint64())
			b.WriteByte(" \n"[r.IntN(8)/7])
		}
		if err := os.WriteFile(filepath.Join(dir, fmt.Sprintf("%02d.txt", i)), b.Bytes(), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return filepath.Join(dir, "*.txt")
}

// contents returns the names and bytes of the part files in dir.
func contents(t *testing.T, dir string) string {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(dir, "part-*"))
	if err != nil || len(names) == 0 {
		t.Fatalf("no part files in %s (%v)", dir, err)
	}
	var all bytes.Buffer
	for _, n := range names {
		b, err := os.ReadFile(n)
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(&all, "%s\n%s\n", filepath.Base(n), b)
	}
	return all.String()
}

// TestKill kills a run at random moments with SIGKILL and starts it again until it is done, over
// and over. Every result must equal the result of an undisturbed run, to the byte, every record must be
// counted once, and work that was committed must not be done again.
func TestKill(t *testing.T) {
	t.Parallel()
	kills := 30
	if testing.Short() {
		kills = 4
	}
	bin, input := program("wordcount"), text(t, 8, 1<<20)
	work := t.TempDir()
	state, out := filepath.Join(work, "state"), filepath.Join(work, "out")
	args := func() []string {
		return []string{"-state", state, "-out", out, "-counters", "-progress", "none", "-slots", "2", input}
	}
	run := func(kill time.Duration) (stdout, stderr string, killed bool) {
		t.Helper()
		cmd := exec.Command(bin, args()...)
		var o, e bytes.Buffer
		cmd.Stdout, cmd.Stderr = &o, &e
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		if kill > 0 {
			timer := time.AfterFunc(kill, func() { _ = cmd.Process.Kill() })
			defer timer.Stop()
		}
		err := cmd.Wait()
		var exit *exec.ExitError
		if errors.As(err, &exit) && exit.Sys().(syscall.WaitStatus).Signal() == syscall.SIGKILL {
			return o.String(), e.String(), true
		}
		if err != nil {
			t.Fatalf("%v\n%s", err, e.String())
		}
		return o.String(), e.String(), false
	}

	start := time.Now()
	wantOut, first, _ := run(0)
	whole := time.Since(start)
	want, wantRead := contents(t, out), records(t, first)

	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d, an undisturbed run takes %v", seed, whole.Round(time.Millisecond))
	r := rand.New(rand.NewPCG(seed, 0))
	var killed, resumed int
	for killed < kills {
		if err := errors.Join(os.RemoveAll(state), os.RemoveAll(out)); err != nil {
			t.Fatal(err)
		}
		var done int
		for {
			gotOut, stderr, dead := run(1 + time.Duration(r.Int64N(int64(whole))))
			now := already(t, stderr)
			if dead && now == 0 { // killed before it could say
				killed++
				continue
			}
			if now < done {
				t.Fatalf("%d tasks were done before the kill, %d after it", done, now)
			}
			if done = now; done > 0 {
				resumed++
			}
			if dead {
				killed++
				continue
			}
			if gotOut != wantOut || contents(t, out) != want {
				t.Fatalf("after %d kills the output differs from that of an undisturbed run", killed)
			}
			if got := records(t, stderr); got != wantRead {
				t.Fatalf("after %d kills %d records were counted, want %d", killed, got, wantRead)
			}
			break
		}
	}
	t.Logf("%d kills; %d runs went on with committed tasks", killed, resumed)
	if resumed == 0 && !testing.Short() {
		t.Error("no run found committed tasks of the one before: all of it was done again")
	}
}

func number(t *testing.T, re, s string) int {
	t.Helper()
	m := regexp.MustCompile(re).FindStringSubmatch(s)
	if m == nil {
		return 0
	}
	n, err := strconv.Atoi(m[1])
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// already returns how many tasks a run found done.
func already(t *testing.T, stderr string) int {
	return number(t, `continues, (\d+) of`, stderr)
}

// records returns how many records a run counted.
func records(t *testing.T, stderr string) int {
	return number(t, `records read\t(\d+)`, stderr)
}
