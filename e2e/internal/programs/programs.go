// Package programs builds the programs of end-to-end tests and runs the tests with them.
package programs

import (
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/layshaft/layshaft/internal/outside"
)

// HeavyEnv is the environment variable for long tests.
const HeavyEnv = "LAYSHAFT_E2E_HEAVY"

// TLSEnv is the environment variable that gives every process a certificate.
const TLSEnv = "LAYSHAFT_E2E_TLS"

// BuiltEnv is the environment variable for a directory with programs that were built before, each
// as PACKAGE/NAME. .ci/run builds them once for all packages of tests.
const BuiltEnv = "LAYSHAFT_E2E_PROGRAMS"

const module = "github.com/layshaft/layshaft/"

// built is the value of BuiltEnv when the process started.
var built = os.Getenv(BuiltEnv)

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
	given := false
	flag.Visit(func(f *flag.Flag) { given = given || f.Name == "test.parallel" })
	if !given && runtime.NumCPU() < 4 {
		_ = flag.Set("test.parallel", "4") // the tests wait most of the time
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
	if err := Build(made, packages...); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return m.Run()
}

// Build puts programs of this module into dir. packages are relative to the module. A change of the
// module ends the go command's cached results of the tests.
func Build(dir string, packages ...string) error {
	if err := noteSources(); err != nil {
		return err
	}
	// Nobody debugs these programs; linking without DWARF takes half of the time.
	args := []string{"build", "-ldflags=-w", "-o", dir + "/"}
	missing := false
	for _, p := range packages {
		name := path.Base(p)
		if built == "" || os.Link(filepath.Join(built, p, name), filepath.Join(dir, name)) != nil {
			missing, args = true, append(args, module+p)
		}
	}
	if !missing {
		return nil
	}
	build := exec.Command("go", args...)
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		return fmt.Errorf("go build: %w\n%s", err, out)
	}
	return nil
}

// noteSources looks at all folders with sources of the programs. The go command notes which files a
// test has looked at, and runs it again when they have changed.
func noteSources() error {
	root, err := os.Getwd()
	for ; err == nil; root = filepath.Dir(root) {
		if _, err := os.Stat(filepath.Join(root, "go.mod")); err == nil {
			break
		} else if root == filepath.Dir(root) {
			return fmt.Errorf("no go.mod above the working directory: %w", err)
		}
	}
	for _, top := range []string{"cmd", "coordinator", "e2e", "examples", "internal", "mapreduce", "proto", "report", "tasks", "worker"} {
		err = errors.Join(err, filepath.WalkDir(filepath.Join(root, top), func(_ string, d fs.DirEntry, err error) error {
			if err == nil && d.IsDir() && d.Name() == "testdata" {
				return filepath.SkipDir
			}
			return err
		}))
	}
	return err
}
