package compare

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"time"
)

// With the variable LAYSHAFT_BENCH_FIRST, a program writes a line to standard error after its first
// record: this text, and the time in nanoseconds since 1970.
const firstRecord = "trace: first record at "

// once runs a command and discards its standard output.
func once(ctx context.Context, args []string, tmp string, env ...string) (Run, error) {
	cmd := exec.CommandContext(ctx, args[0], args[1:]...)
	cmd.Env = append(append(os.Environ(), "TMPDIR="+tmp, "LAYSHAFT_BENCH_FIRST=1"), env...)
	var stderr head
	cmd.Stderr = &stderr
	start := time.Now()
	err := cmd.Run()
	run := Run{Wall: time.Since(start)}
	if ctx.Err() != nil {
		return Run{}, context.Cause(ctx)
	}
	if err != nil {
		return Run{}, fmt.Errorf("%w: %s", err, bytes.TrimSpace(stderr.b))
	}
	run.CPU = cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()
	run.RSS = peakRSS(cmd.ProcessState)
	if _, line, ok := bytes.Cut(stderr.b, []byte(firstRecord)); ok {
		line, _, _ = bytes.Cut(line, []byte("\n"))
		at, err := strconv.ParseInt(string(line), 10, 64)
		if err != nil {
			return Run{}, fmt.Errorf("line %q on standard error: %w", firstRecord+string(line), err)
		}
		run.First = time.Unix(0, at).Sub(start)
	}
	return run, nil
}

// head keeps the first 16 KiB written to it.
type head struct{ b []byte }

func (h *head) Write(p []byte) (int, error) {
	h.b = append(h.b, p[:min(len(p), 16<<10-len(h.b))]...)
	return len(p), nil
}
