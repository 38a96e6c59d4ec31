//go:build unix

// Package script tests what users type and what they read: conversations with the programs, as
// files in testdata.
package script

import (
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/layshaft/layshaft/e2e/internal/programs"
)

var update = flag.Bool("update", false, "write the expected texts in the scripts anew")

// TestScript runs the conversations.
func TestScript(t *testing.T) {
	if testing.Short() {
		t.Skip("starts other processes")
	}
	bin := t.TempDir()
	if err := programs.Build(bin, "examples/wordcount", "examples/catalog", "e2e/internal/probe"); err != nil {
		t.Fatal(err)
	}
	for _, v := range os.Environ() { // flags of the programs have defaults there
		if name, value, _ := strings.Cut(v, "="); strings.HasPrefix(name, "LAYSHAFT_") {
			t.Setenv(name, value) // puts it back
			_ = os.Unsetenv(name)
		}
	}
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata",
		UpdateScripts:       *update,
		RequireExplicitExec: true,
		Setup: func(e *testscript.Env) error {
			e.Setenv("PATH", bin+string(os.PathListSeparator)+e.Getenv("PATH"))
			e.Setenv("LAYSHAFT_SLOTS", "2") // memory limits are stated for a number of slots
			return nil
		},
		Condition: func(cond string) (bool, error) {
			if cond == "root" {
				return os.Geteuid() == 0, nil
			}
			return false, fmt.Errorf("condition %q is not known", cond)
		},
	})
}
