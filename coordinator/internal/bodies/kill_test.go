package bodies

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"testing"
)

// TestKilledProcessKeepsWhatItAcknowledged kills a process with SIGKILL while it writes; all tasks
// that it has acknowledged are there afterwards, each whole.
func TestKilledProcessKeepsWhatItAcknowledged(t *testing.T) {
	if dir := os.Getenv("LAYSHAFT_TEST_BODIES"); dir != "" {
		writeForEver(dir)
	}
	dir := t.TempDir()
	for round := range 3 {
		cmd := exec.Command(os.Args[0], "-test.run=^TestKilledProcessKeepsWhatItAcknowledged$")
		cmd.Env = append(os.Environ(), "LAYSHAFT_TEST_BODIES="+dir)
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		first, acked := uint64(0), uint64(0)
		lines := bufio.NewScanner(out)
		for n := 0; n < 20+50*round && lines.Scan(); n++ {
			if acked, err = strconv.ParseUint(lines.Text(), 10, 64); err != nil {
				t.Fatal(lines.Text())
			}
			if first == 0 {
				first = acked
			}
		}
		_ = cmd.Process.Kill()
		_, _ = io.Copy(io.Discard, out)
		_ = cmd.Wait()
		if acked == 0 {
			t.Fatal("nothing was acknowledged")
		}
		s, _, stop := open(t, dir, Options{})
		last := uint64(0)
		if err := s.Restore(func(k, v []byte) error {
			last++
			if string(k) != string(taskKey(last)) || string(v) != "record" {
				return fmt.Errorf("record %d is %x: %q", last, k, v)
			}
			return nil
		}); err != nil {
			t.Error(err)
		}
		for id := uint64(1); id <= last; id++ {
			if b, err := s.Get(nil, Input, id); err != nil || len(b) != bodySize(id) {
				t.Errorf("body %d: %d bytes, %v", id, len(b), err)
			}
		}
		if last < acked {
			t.Errorf("%d acknowledged, %d kept", acked, last)
		}
		stop()
	}
}

// bodySize is large for a few: those are written in pieces.
func bodySize(id uint64) int {
	if id%50 == 0 {
		return 3*pieceSize + 1
	}
	return int(id % 100)
}

// writeForEver continues from the last task in dir, and prints the durable tasks.
func writeForEver(dir string) {
	s, err := Open(dir, Options{Reserve: -1, Memory: 1 << 20})
	if err != nil {
		panic(err)
	}
	next := uint64(1)
	if err := s.Restore(func(k, v []byte) error { next++; return nil }); err != nil {
		panic(err)
	}
	acks := make(chan uint64, 100)
	from := next
	s.opt.Committed = func(n uint64) { acks <- from + n - 1 }
	go func() { panic(errors.Join(s.Run(context.Background()), errors.New("ended"))) }()
	for {
		for range 7 {
			s.WriteTask(next, taskKey(next), []byte("record"), make([]byte, bodySize(next)))
			s.Commit()
			next++
		}
		for acked := uint64(0); acked < next-1; {
			acked = <-acks
			fmt.Println(acked)
		}
	}
}
