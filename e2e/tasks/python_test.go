//go:build unix

package tasks

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/layshaft/layshaft/internal/outside"
	"github.com/layshaft/layshaft/internal/porttest"
	layshaftv1 "github.com/layshaft/layshaft/proto/layshaft/v1"
	"github.com/layshaft/layshaft/tasks"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/types/descriptorpb"
)

const pythonDir = "../../python"

// pythonCommand returns a command of Python that finds the package of this repository.
func pythonCommand(t *testing.T, args ...string) *exec.Cmd {
	t.Helper()
	project, err := os.ReadFile(pythonDir + "/pyproject.toml")
	if err != nil {
		t.Fatal(err)
	}
	list := regexp.MustCompile(`(?m)^dependencies = \[(.*)\]$`).FindSubmatch(project)
	if list == nil {
		t.Fatal("pyproject.toml has no line with dependencies")
	}
	var requirements []string
	for _, quoted := range regexp.MustCompile(`"([^"]*)"`).FindAllStringSubmatch(string(list[1]), -1) {
		requirements = append(requirements, quoted[1])
	}
	program, path := python(t, requirements...)
	source, err := filepath.Abs(pythonDir + "/src")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	t.Cleanup(cancel)
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.Env = append(os.Environ(), "PYTHONPATH="+source+string(os.PathListSeparator)+path, "PYTHONDONTWRITEBYTECODE=1")
	return cmd
}

// pipMu is held while packages are installed.
var pipMu sync.Mutex

// python returns the program, and a value of PYTHONPATH with the required packages, such as
// "grpcio>=1.66". Packages that are missing are installed with pip into the user's cache, under the
// same conditions as in outside.Need. Otherwise the test is skipped, with the reason.
func python(t *testing.T, requirements ...string) (program, path string) {
	t.Helper()
	pipMu.Lock()
	defer pipMu.Unlock()
	program, err := exec.LookPath("python3")
	if err != nil {
		t.Skip("python3 is not installed")
	}
	out, err := exec.Command(program, "-c", "import sys; print('%d.%d' % sys.version_info[:2]); sys.exit(sys.version_info < (3, 10))").Output()
	version := strings.TrimSpace(string(out))
	if err != nil {
		t.Skipf("Python %s is too old; 3.10 or later is needed", version)
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		t.Skipf("no place for Python's packages: %v", err)
	}
	h := fnv.New32a()
	fmt.Fprint(h, requirements)
	path = filepath.Join(cache, "layshaft-tools", fmt.Sprintf("python-%s-%x", version, h.Sum32()))
	if _, err := os.Stat(path); err == nil {
		return program, path
	}
	if !outside.Installs() {
		t.Skipf("%s are not in %s; set %s=1 for the test to install them with pip", strings.Join(requirements, ", "), path, outside.InstallEnv)
	}
	if err := pip(program, path, requirements); err != nil {
		t.Skip(err)
	}
	return program, path
}

// pip installs packages into a new directory.
func pip(program, dir string, requirements []string) error {
	if err := os.MkdirAll(filepath.Dir(dir), 0o755); err != nil {
		return err
	}
	made, err := os.MkdirTemp(filepath.Dir(dir), "tmp.")
	if err != nil {
		return err
	}
	defer os.RemoveAll(made)
	args := append([]string{"-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--only-binary", ":all:", "--target", made}, requirements...)
	if out, err := exec.Command(program, args...).CombinedOutput(); err != nil {
		return fmt.Errorf("pip install %s: %w\n%s", strings.Join(requirements, " "), err, out[max(0, len(out)-500):])
	}
	if err := os.Rename(made, dir); err != nil && !errors.Is(err, os.ErrExist) {
		return err
	}
	return nil
}

// The tests of the Python package pass against this coordinator.
func TestPython(t *testing.T) {
	t.Parallel()
	var addresses []string
	for range 12 { // one for each coordinator of the tests, and two that nobody serves
		addresses = append(addresses, porttest.Free(t))
	}
	cmd := pythonCommand(t, "-m", "unittest", "-v", "test_layshaft")
	cmd.Dir = filepath.Join(pythonDir, "tests")
	cmd.Env = append(cmd.Env, "LAYSHAFT_BIN="+filepath.Join(binDir, "layshaft"), "LAYSHAFT_TEST_ADDRESSES="+strings.Join(addresses, ","))
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}

// The generated Python code is that of the schema.
func TestPythonStubs(t *testing.T) {
	t.Parallel()
	cmd := pythonCommand(t, "-c", "import sys; from layshaft.v1 import tasks_pb2; sys.stdout.buffer.write(tasks_pb2.DESCRIPTOR.serialized_pb)")
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	var got descriptorpb.FileDescriptorProto
	if err := proto.Unmarshal(out, &got); err != nil {
		t.Fatal(err)
	}
	want := protodesc.ToFileDescriptorProto(layshaftv1.File_layshaft_v1_tasks_proto)
	dropJSONNames(want.GetMessageType())
	if !proto.Equal(&got, want) {
		t.Error("python/src/layshaft/v1/tasks_pb2.py is not what proto/layshaft/v1/tasks.proto gives; run make python-stubs")
	}
}

// dropJSONNames drops the names that only Go's code has: they follow from the names of the fields.
func dropJSONNames(messages []*descriptorpb.DescriptorProto) {
	for _, m := range messages {
		for _, f := range m.GetField() {
			f.JsonName = nil
		}
		dropJSONNames(m.GetNestedType())
	}
}

// The examples of docs/languages.md are files of this repository, and work.
func TestLanguages(t *testing.T) {
	t.Parallel()
	page, err := os.ReadFile("../../docs/languages.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"python/examples/worker.py", "python/examples/client.py", "examples/node/client.mjs", "examples/node/worker.mjs"} {
		code, err := os.ReadFile("../../" + name)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Contains(page, bytes.TrimSpace(code)) {
			t.Errorf("docs/languages.md does not show %s as it is", name)
		}
	}
	c := &cluster{dir: t.TempDir(), http: porttest.Free(t)}
	c.launch(t)
	environment := append(os.Environ(), "LAYSHAFT_CLUSTER="+c.address)

	t.Run("python", func(t *testing.T) {
		worker := pythonCommand(t, pythonDir+"/examples/worker.py")
		worker.Env = append(worker.Env, "LAYSHAFT_CLUSTER="+c.address)
		if err := worker.Start(); err != nil {
			t.Fatal(err)
		}
		c.await(t, "the worker", func(o tasks.Overview) bool { return function(o, "reverse").Workers == 1 })
		client := pythonCommand(t, pythonDir+"/examples/client.py")
		client.Env = append(client.Env, "LAYSHAFT_CLUSTER="+c.address)
		out, err := client.CombinedOutput()
		if err != nil || !strings.HasPrefix(string(out), "olleh\nretal\n") || strings.Count(string(out), "\n") != 5 {
			t.Errorf("the client printed %q, %v", out, err)
		}
		if err := worker.Process.Signal(os.Interrupt); err != nil {
			t.Error(err)
		}
		if err := worker.Wait(); err != nil {
			t.Errorf("the worker ended with %v", err)
		}
	})
	t.Run("node", func(t *testing.T) {
		node, err := exec.LookPath("node")
		if err != nil {
			t.Skip("node is not installed")
		}
		worker := launch(t, "layshaft", "task", "work", "-cluster", c.address, "-function", "shout", "--", node, "../../examples/node/worker.mjs")
		defer worker.Kill()
		client := exec.CommandContext(t.Context(), node, "../../examples/node/client.mjs", "http://"+c.http, "shout", "hello")
		client.Env = environment
		if out, err := client.CombinedOutput(); err != nil || string(out) != "HELLO\n" {
			t.Errorf("the client printed %q, %v", out, err)
		}
	})
}
