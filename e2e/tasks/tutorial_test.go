//go:build unix

package tasks

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/layshaft/layshaft/internal/porttest"
)

var console = regexp.MustCompile("(?s)```console\n(.*?)```\n")

// The commands of docs/tutorial.md work, and print what the page shows. They run in a directory
// beside the checkout, and without the network.
func TestTutorial(t *testing.T) {
	t.Parallel()
	root, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	page, err := os.ReadFile(filepath.Join(root, "docs/tutorial.md"))
	if err != nil {
		t.Fatal(err)
	}
	dir, address := t.TempDir(), porttest.Free(t)
	replace := strings.NewReplacer("-replace .", "-replace "+root, "../docs/sample", root+"/docs/sample", " docs/sample", " "+root+"/docs/sample", "127.0.0.1:7070", address)
	environment := append(slices.Clip(os.Environ()), "PATH="+binDir+string(os.PathListSeparator)+os.Getenv("PATH"), "GOPROXY=off", "GOFLAGS=-ldflags=-w", "GOWORK=off", "CGO_ENABLED=0")
	commands := 0
	for _, block := range console.FindAllStringSubmatch(string(page), -1) {
		at := dir
		for _, step := range strings.Split(block[1], "$ ")[1:] {
			command, want, _ := strings.Cut(step, "\n")
			commands++
			if to, ok := strings.CutPrefix(command, "cd "); ok {
				at = filepath.Join(at, to)
				continue
			}
			if background, ok := strings.CutSuffix(command, " &"); ok {
				args := append(strings.Fields(background)[1:], "-listen", address, "-http", "none", "-gossip", "127.0.0.1:0")
				args[2] = filepath.Join(dir, args[2]) // the directory of -data
				launch(t, "layshaft", args...).Await(t, 0, "worker joined")
				continue
			}
			if strings.HasPrefix(command, "go install") || strings.HasPrefix(command, "go test") {
				continue // binDir has the program, and the tests of package scaffold run the program of a module
			}
			cmd := exec.CommandContext(t.Context(), "sh", "-c", replace.Replace(command))
			cmd.Dir, cmd.Env = at, environment
			if strings.HasPrefix(command, "layshaft job") {
				cmd.Env = append(slices.Clip(environment), "LAYSHAFT_CLUSTER="+address)
			}
			var failed strings.Builder
			cmd.Stderr = &failed
			out, err := cmd.Output()
			if err != nil {
				t.Fatalf("%s: %v\n%s%s", command, err, out, failed.String())
			}
			got := strings.Split(string(out), "\n")
			for i, line := range strings.Split(strings.TrimSuffix(want, "\n"), "\n") {
				if i >= len(got) || !strings.HasPrefix(got[i], line) {
					t.Errorf("%s printed\n%s, the page has\n%s", command, out, want)
					break
				}
			}
		}
	}
	if commands < 10 {
		t.Errorf("the tutorial has %d commands, want 10 or more", commands)
	}
}
