package tasks_test

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/layshaft/layshaft/internal/report"
	"github.com/layshaft/layshaft/tasks"
)

// TestReplay runs the handlers of tasks in files, without a coordinator.
func TestReplay(t *testing.T) {
	var seen []string
	replay := func(function, input string) error {
		w := tasks.NewWorker(tasks.Cluster{Address: "127.0.0.1:1"})
		tasks.Handle(w, "one", func(ctx context.Context, in string) (string, error) {
			seen = append(seen, in)
			if tasks.TaskID(ctx) != 0x2f || tasks.Attempt(ctx) != 3 {
				t.Errorf("task %s, attempt %d", tasks.TaskID(ctx), tasks.Attempt(ctx))
			}
			if in == "bad" {
				return "", tasks.Fatal(errors.New("too bad"))
			}
			return in, errors.Join(tasks.Warn(ctx, "careful"), tasks.Progress(ctx, 1, 2), tasks.Send(ctx, nil))
		})
		tasks.HandleBatch(w, "many", func(_ context.Context, in []string) ([]string, error) {
			seen = append(seen, in...)
			return in, nil
		})
		text, err := json.Marshal(report.Replay{Task: 0x2f, Function: function, Attempt: 3, Input: []byte(input)})
		file := filepath.Join(t.TempDir(), "task.json")
		if err := errors.Join(err, os.WriteFile(file, text, 0o600)); err != nil {
			t.Fatal(err)
		}
		t.Setenv(report.ReplayEnv, file)
		return w.Run(within(t))
	}
	for _, x := range []struct{ function, input, want string }{
		{"one", "good", ""},
		{"many", "of many", ""},
		{"one", "bad", "task 2f of one failed again after"},
		{"other", "", `no handler for function "other", only for [many, one]`},
	} {
		if err := replay(x.function, x.input); x.want == "" && err != nil || x.want != "" && (err == nil || !strings.Contains(err.Error(), x.want)) {
			t.Errorf("replay of %s with %q: %v, want %q", x.function, x.input, err, x.want)
		}
	}
	if want := []string{"good", "of many", "bad"}; !slices.Equal(seen, want) {
		t.Errorf("the handlers got %q, want %q", seen, want)
	}
}
