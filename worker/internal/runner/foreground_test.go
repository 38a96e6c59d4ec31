package runner

import (
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/layshaft/layshaft/internal/child"
	"github.com/layshaft/layshaft/internal/job"
)

// TestForegroundOfOldPrograms checks that a program whose sinks would write gets no attempt.
func TestForegroundOfOldPrograms(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	env, err := exec.LookPath("env")
	if err != nil {
		t.Skip("there is no program env")
	}
	for _, c := range []struct {
		command []string
		want    string
	}{
		{[]string{self}, ""},
		{[]string{env, "-u", child.ReplayEnv, self}, "sinks would write"},
	} {
		f := &Foreground{Command: c.command, Env: []string{"TEST_CHILD=serve"}, Dir: t.TempDir(), Stdout: os.Stdout, Stderr: os.Stderr,
			Spec: &job.Spec{ID: "j", Stages: make([]job.Stage, len(stages))}}
		ran := false
		err := f.Run(func(*job.Program) error { ran = true; return nil })
		if ran != (c.want == "") || c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%s: ran %t, %v; want %q", c.command, ran, err, c.want)
		}
	}
}
