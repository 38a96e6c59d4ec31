//go:build unix

package tasks

import (
	"os"
	"strings"
	"testing"
)

// runs is how often a task ran.
type runs struct {
	task  string
	times int
}

// readRecord returns what workers recorded: function -> input -> tasks.
func readRecord(t *testing.T, path string) map[string]map[string][]runs {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]map[string][]runs{}
	for line := range strings.Lines(string(b)) {
		f := strings.Fields(line)
		if len(f) != 3 {
			t.Fatalf("line %q in the record", line)
		}
		if out[f[0]] == nil {
			out[f[0]] = map[string][]runs{}
		}
		all := out[f[0]][f[1]]
		at := 0
		for at < len(all) && all[at].task != f[2] {
			at++
		}
		if at == len(all) {
			all = append(all, runs{task: f[2]})
		}
		all[at].times++
		out[f[0]][f[1]] = all
	}
	return out
}
