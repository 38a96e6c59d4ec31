// Package programs builds the programs of end-to-end tests and runs the tests with them.
package programs

import (
	"flag"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"github.com/layshaft/layshaft/internal/outside"
)

// HeavyEnv is the environment variable for long tests.
const HeavyEnv = "LAYSHAFT_E2E_HEAVY"

// TLSEnv is the environment variable that gives every process a certificate.
const TLSEnv = "LAYSHAFT_E2E_TLS"

const module = "github.com/layshaft/layshaft/"

// Main builds programs into a temporary directory, sets dir to it, and runs the tests of a package.
// It removes all LAYSHAFT_ variables but HeavyEnv and TLSEnv from the environment: they are
// defaults for flags of the programs. packages are relative to the module. Main does not return;
// with -short it runs nothing.
func Main(m *testing.M, dir *string, packages ...string) {
	flag.Parse()
	if testing.Short() {
		fmt.Println("skipped: -short leaves out the tests that start other processes")
		os.Exit(0)
	}
	os.Exit(run(m, dir, packages))
}

// kept are the variables of this project that tests keep.
var kept = []string{HeavyEnv, TLSEnv, outside.InstallEnv}

func run(m *testing.M, dir *string, packages []string) int {
	made, err := os.MkdirTemp("", "layshaft-e2e-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(made)
	*dir = made
	for _, v := range os.Environ() {
		if name, _, _ := strings.Cut(v, "="); strings.HasPrefix(name, "LAYSHAFT_") && !slices.Contains(kept, name) {
			_ = os.Unsetenv(name)
		}
	}
	// Nobody debugs these programs; linking without DWARF takes half of the time.
	args := []string{"build", "-ldflags=-w", "-o", made + "/"}
	for _, p := range packages {
		args = append(args, module+p)
	}
	build := exec.Command("go", args...)
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "go build: %v\n%s", err, out)
		return 1
	}
	return m.Run()
}
