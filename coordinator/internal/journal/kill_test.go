package journal

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"
)

// TestKillNine kills a process repeatedly, at random moments, while it appends and takes snapshots.
// After each kill, all acknowledged events are there, in order. JOURNAL_KILLS sets the number of
// kills; the default is 4.
func TestKillNine(t *testing.T) {
	if dir := os.Getenv("JOURNAL_VICTIM"); dir != "" {
		victim(dir)
		return
	}
	t.Parallel()
	kills := 4
	if n, err := strconv.Atoi(os.Getenv("JOURNAL_KILLS")); err == nil {
		kills = n
	}
	dir := t.TempDir()
	r := rand.New(rand.NewPCG(uint64(kills), 0))
	var acked uint64
	for range kills {
		cmd := exec.Command(os.Args[0], "-test.run=^TestKillNine$")
		cmd.Env = append(os.Environ(), "JOURNAL_VICTIM="+dir)
		var stderr bytes.Buffer
		cmd.Stderr = &stderr
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		lines := bufio.NewScanner(out)
		for left := 1 + r.IntN(60); left > 0 && lines.Scan(); left-- {
			if acked, err = strconv.ParseUint(lines.Text(), 10, 64); err != nil {
				t.Fatalf("the victim says %s", lines.Text())
			}
		}
		if err := cmd.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		for lines.Scan() { // lines printed before the kill count
			if n, err := strconv.ParseUint(lines.Text(), 10, 64); err == nil {
				acked = n
			}
		}
		_ = cmd.Wait()
		j := open(t, dir, quick)
		seq, state, err := j.LoadSnapshot()
		if err != nil || seq > 0 && string(state) != fmt.Sprint(seq) {
			t.Fatalf("snapshot of %d is %q, %v", seq, state, err)
		}
		err = j.Replay(func(n uint64, ev []byte) error {
			if seq++; n != seq || !bytes.Equal(ev, victimEvent(n)) {
				return fmt.Errorf("event %d in the place of %d is %.20q", n, seq, ev)
			}
			return nil
		})
		if err != nil {
			t.Fatalf("%v (%s)", err, stderr.String())
		}
		if seq < acked || j.Last() != seq {
			t.Fatalf("the journal ends at %d, last is %d, %d was acknowledged (%s)", seq, j.Last(), acked, stderr.String())
		}
		if err := j.Close(); err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("%d events after %d kills", acked, kills)
}

// victimEvent returns the n-th event. Its size depends on n: most events are short, some are longer
// than a frame.
func victimEvent(n uint64) []byte {
	size := int(n * 2654435761 % 3000)
	if n%97 == 0 {
		size = frameLimit + 10*size
	}
	return []byte(fmt.Sprint(n, " ") + strings.Repeat("x", size))
}

// victim appends groups of events, prints each acknowledged number, and takes a snapshot now and
// then.
func victim(dir string) {
	j, err := Open(dir, quick)
	for group := 1; err == nil; group++ {
		var events [][]byte
		for n := j.Last() + 1; len(events) < 1+group%7; n++ {
			events = append(events, victimEvent(n))
		}
		var last uint64
		if last, err = j.Append(context.Background(), events...); err == nil {
			fmt.Println(last)
		}
		if err == nil && group%15 == 0 {
			err = j.Snapshot(last, fmt.Append(nil, last))
		}
	}
	fmt.Fprintln(os.Stderr, err)
}
