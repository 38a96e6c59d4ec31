//go:build unix

package e2e

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// killedReports are statements whose time goes to one operator each. DIR has the files.
var killedReports = map[string]string{
	"scan":     "SELECT name, x FROM 'DIR/*.jsonl' WHERE x < -2.5",
	"fold":     "SELECT grp, count(*), sum(x), avg(x), approx_quantile(x, 0.9) FROM 'DIR/*.jsonl' GROUP BY grp ORDER BY grp",
	"join":     "SELECT a.grp, count(*), sum(a.x) FROM 'DIR/*.jsonl' a JOIN 'DIR/part-00.jsonl' b ON a.name = b.name GROUP BY a.grp ORDER BY 1",
	"window":   "SELECT grp, n, name, rank() OVER (PARTITION BY grp ORDER BY x, n) AS r FROM 'DIR/*.jsonl' QUALIFY r <= 200 ORDER BY 1, 4, 2",
	"sort":     "SELECT name, x, n FROM 'DIR/*.jsonl' ORDER BY x DESC, n, name",
	"distinct": "SELECT count(DISTINCT name), count(DISTINCT x) FROM 'DIR/*.jsonl'",
	"top":      "SELECT name, count(*) AS n, sum(x) AS s FROM 'DIR/*.jsonl' GROUP BY name ORDER BY s DESC LIMIT 50",
	"copy":     "COPY (SELECT grp, name, sum(x) AS s FROM 'DIR/*.jsonl' GROUP BY grp, name ORDER BY grp, name) TO 'OUT' (FORMAT csv)",
}

// TestKillReport kills reports with -state at random moments and starts them again, while each
// operator runs. The answer must equal the answer of an undisturbed run, to the byte, and a file that COPY
// writes is whole or absent.
func TestKillReport(t *testing.T) {
	t.Parallel()
	bin := program("layshaft")
	dir := t.TempDir()
	r := rand.New(rand.NewPCG(11, 0))
	for f := range 6 {
		var b bytes.Buffer
		for n := range 12_000 {
			fmt.Fprintf(&b, "{\"n\":%d,\"grp\":\"g%d\",\"name\":\"k%d\",\"x\":%g}\n", n, r.IntN(7), r.IntN(3000), r.NormFloat64())
		}
		if err := os.WriteFile(filepath.Join(dir, fmt.Sprintf("part-%02d.jsonl", f)), b.Bytes(), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for name, text := range killedReports {
		t.Run(name, func(t *testing.T) {
			work := t.TempDir()
			out := filepath.Join(work, "out.csv")
			text := strings.NewReplacer("DIR", dir, "OUT", out).Replace(text)
			run := func(state string, kill time.Duration) (answer string, killed bool) {
				t.Helper()
				// little memory, so that data goes to the disk
				cmd := exec.Command(bin, "report", "-progress", "none", "-memory", "24MiB", "-slots", "2", "-state", state, text)
				var stdout, stderr bytes.Buffer
				cmd.Stdout, cmd.Stderr = &stdout, &stderr
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
					return "", true
				}
				if err != nil {
					t.Fatalf("%v\n%s", err, stderr.String())
				}
				file, err := os.ReadFile(out)
				if err != nil && name == "copy" {
					t.Fatal(err)
				}
				return stdout.String() + string(file), false
			}
			began := time.Now()
			want, _ := run(filepath.Join(work, "first"), 0)
			whole := time.Since(began)
			if len(want) < 20 {
				t.Fatalf("the answer is %q", want)
			}
			seed := uint64(time.Now().UnixNano())
			t.Logf("seed %d, an undisturbed run takes %v", seed, whole.Round(time.Millisecond))
			r := rand.New(rand.NewPCG(seed, 0))
			for round, killed := 0, 0; killed < 6; round++ {
				state := filepath.Join(work, fmt.Sprint("state-", round))
				if err := os.RemoveAll(out); err != nil {
					t.Fatal(err)
				}
				for {
					got, dead := run(state, 1+time.Duration(r.Int64N(int64(whole))))
					if dead {
						killed++
						if file, err := os.ReadFile(out); err == nil && !strings.HasSuffix(want, string(file)) {
							t.Fatalf("a killed COPY left %d bytes", len(file))
						}
						continue
					}
					if got != want {
						t.Fatalf("after %d kills the answer differs:\n%.300s\nwant\n%.300s", killed, got, want)
					}
					break
				}
			}
		})
	}
}
